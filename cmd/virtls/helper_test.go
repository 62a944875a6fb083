package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// memoryDir returns a directory in memory if there can be one. Many small runs
// that write their files durably spend most of their time waiting for a disk.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "virtls-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// fleetDir returns a new directory with the fleet file of some hosts.
func fleetDir(t *testing.T, hosts int) string {
	t.Helper()
	dir := memoryDir(t)
	var b strings.Builder
	b.WriteString("organization: Example Org\ndefaults:\n  uses: {libvirt: server}\nhosts:\n")
	for i := range hosts {
		fmt.Fprintf(&b, "  - name: kvm%d.example.com\n", i+1)
	}
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// program is a program to be run in a directory.
func program(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	return cmd
}

// execute runs a program in a directory to its end.
func execute(dir, name string, args ...string) (stdout, stderr string, err error) {
	cmd := program(dir, name, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if err != nil && !killed(err) {
		err = fmt.Errorf("%v: %w\n%s%s", cmd.Args, err, out.String(), errs.String())
	}
	return out.String(), errs.String(), err
}

func killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// until waits for something to become true, which a program brings about that
// has said so much.
func until(t *testing.T, what string, ok func() bool, said func() string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not come; the program says %q", what, said())
		}
	}
}
