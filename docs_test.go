package virtls_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// shellBlocks returns the commands that a page shows: its ```sh blocks.
func shellBlocks(t *testing.T, page string) []string {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	var block []string
	inside := false
	for line := range strings.Lines(string(data)) {
		switch {
		case strings.TrimSpace(line) == "```sh":
			inside, block = true, nil
		case inside && strings.HasPrefix(line, "```"):
			inside = false
			blocks = append(blocks, strings.Join(block, ""))
		case inside:
			block = append(block, line)
		}
	}
	return blocks
}

// TestDocumentedCommands runs every command of the README and the guide, page
// by page, in a fresh directory of a machine with nothing in /etc/pki, with the
// program that the README's first commands have built.
func TestDocumentedCommands(t *testing.T) {
	bin := readmeFirstCommands(t)
	pages, err := filepath.Glob("docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append([]string{"README.md"}, pages...) {
		blocks := shellBlocks(t, page)
		if page == "README.md" {
			blocks = blocks[2:] // without the first commands
		}
		if len(blocks) == 0 {
			continue
		}
		t.Run(page, func(t *testing.T) {
			script := "set -euo pipefail\n" + strings.Join(blocks, "\n")
			got := peertest.Host.Run(t, peertest.Options{
				Dir: t.TempDir(),
				Env: []string{"PATH=" + bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			}, "bash", "-x", "-c", script)
			if got.Code != 0 {
				t.Fatalf("a command on this page fails:\n%s", got)
			}
		})
	}
}

// readmeFirstCommands runs what the README begins with, in a copy of the tree
// as a clean checkout has it, and returns the directory where virtls then is.
func readmeFirstCommands(t *testing.T) (bin string) {
	t.Helper()
	blocks := shellBlocks(t, "README.md")
	first := "go run ./cmd/virtls apply --no-passphrase examples/fleet.yaml"
	if want := first + "\nmake test\n"; blocks[0] != want {
		t.Fatalf("the README begins with\n%swant\n%s", blocks[0], want)
	}
	copyDir := t.TempDir()
	copyTree(t, copyDir)
	run := func(command string) string {
		t.Helper()
		cmd := exec.Command("bash", "-euc", command)
		cmd.Dir = copyDir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return string(out)
	}
	out := run(first)
	for _, want := range []string{"proved as server and client", "examples/pki/hosts/kvm1.example.com", "7 certificates issued"} {
		if !strings.Contains(out, want) {
			t.Errorf("the first command does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "not proved") {
		t.Errorf("the first command leaves something unproved:\n%s", out)
	}
	if out := run(first); !strings.Contains(out, "0 certificates issued, 0 other files written") {
		t.Errorf("the second run changes something:\n%s", out)
	}
	run(blocks[1])
	return copyDir
}

// TestTreeHasNothingBuilt: a program that was added by mistake stays in the
// history for ever. The largest of our files are tables of findings and of keys.
func TestTreeHasNothingBuilt(t *testing.T) {
	const most = 512 << 10
	for _, name := range trackedFiles(t) {
		if info, err := os.Lstat(name); err == nil && info.Size() > most {
			t.Errorf("%s has %d octets; at most %d are kept in the tree: what make builds belongs to .gitignore", name, info.Size(), most)
		}
	}
}

// trackedFiles lists the files that belong to the repository.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		peertest.Missing(t, fmt.Sprintf("git cannot list the tree's files: %v", err), "install git and run this in a checkout")
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// copyTree copies the files that belong to the repository.
func copyTree(t *testing.T, to string) {
	t.Helper()
	for _, name := range trackedFiles(t) {
		data, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
