package gateway

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// The sample units are what systemd understands. The program and its account are
// replaced by ones that every machine has.
func TestSampleUnits(t *testing.T) {
	peertest.NeedProgram(t, "systemd-analyze", "systemd")
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"virtls-gateway.service", "virtls-gateway.socket"} {
		b, err := os.ReadFile(filepath.Join("..", "examples", "systemd", name))
		must(t, err)
		text := strings.NewReplacer("/usr/bin/virtls", "/bin/true", "User=virtls-gateway", "User=daemon", "SupplementaryGroups=libvirt\n", "").Replace(string(b))
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte(text), 0o644))
		files = append(files, file)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("%v\n%s", err, out)
	}
}
