package nbd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/proto/nbd"
)

// TestBlockDevice serves a block device: a loop device over a file.
func TestBlockDevice(t *testing.T) {
	path, content := rawFile(t, 4<<20)
	out, err := exec.Command("losetup", "--find", "--show", path).Output()
	if err != nil {
		peertest.Missing(t, "no loop device can be had: "+err.Error(), "run the test as root, with the kernel's loop driver")
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	port := serve(t, &nbd.Server{Exports: []nbd.Export{{Device: openFile(t, device, true)}}})
	c, err := connect(t, port, "", nbd.Options{})
	must(t, err)
	useExport(t, c, nbd.AnyReplies, content)
	// What is not whole blocks is zeroed, too, and trimmed not at all.
	must(t, c.WriteZeroes(1<<20+100, 1000, 0))
	clear(content[1<<20+100 : 1<<20+1100])
	must(t, c.Trim(1<<20+2048, 100))
	must(t, c.Flush())
	got := make([]byte, len(content))
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the device does not hold what was written (error %v)", err)
	}
	if file := value(os.ReadFile(path)); !bytes.Equal(file, content) {
		t.Error("the file below does not hold what was flushed")
	}
	if _, err := nbd.OpenFile(filepath.Dir(path), nbd.FileOptions{}); err == nil {
		t.Error("a directory is a device")
	}
}
