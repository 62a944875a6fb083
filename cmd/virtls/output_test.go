package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
)

func TestVisible(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", "kvm1 Ж \uFFFD\n", "kvm1 Ж \uFFFD\n"},
		{"escape sequences", "a\x1b[31mb\x7f\r", `a\u001b[31mb\u007f\u000d`},
		{"C1", "\u009b31m", `\u009b31m`},
		{"direction", "a\u202eb\u2066", `a\u202eb\u2066`},
		{"octets that are no UTF-8", "\xff\x1b\xfe \uFFFD", "\xff\\u001b\xfe \uFFFD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, visible(tt.text, "\n\t")); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := oneLine("a\nb\tc"); got != `a\u000ab\u0009c` {
		t.Errorf("one line: %s", got)
	}
}

// A finding cannot look like two.
func TestPrintFindings(t *testing.T) {
	var b strings.Builder
	a := &app{stderr: &output{to: &b}}
	if err := a.printFindings([]finding.Finding{kindUsage.Found("x\nerror: y: forged [usage]", "\x1b]0;title\x07")}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "\nerror:") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("printed %q", b.String())
	}
}

func TestCapped(t *testing.T) {
	var many []finding.Finding
	for i := range 1000 {
		many = append(many, kindShowEarly.Found(fmt.Sprint(i), ""), kindShowNoName.Found(fmt.Sprint(i), "")) // two kinds
	}
	list := capped(append(many, kindShowStale.Found("one", "")))
	if len(list) != 2*(maxAlike+1)+1 {
		t.Fatalf("%d findings", len(list))
	}
	if got := list[2*maxAlike]; got.Text != "and 980 more like these" || got.Code != kindShowEarly.Code || got.Severity != finding.Error {
		t.Errorf("the last of a kind is %+v", got)
	}
}

// An interrupt ends a command that waits for a file which never comes.
func TestInterruptedWhileWaiting(t *testing.T) {
	dir := fleetDir(t, 0)
	if _, _, err := execute(dir, "virtls", "apply", "--no-passphrase"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(filepath.Join(dir, "fifo"), os.O_RDWR, 0) // somebody who opens it and writes nothing
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, args := range [][]string{
		{"show", "fifo"}, {"plan", "fifo"}, {"apply", "fifo"}, {"status", "fifo"}, {"issue", "--request", "fifo", "--server"},
		{"ca", "import", "--cert", "fifo", "--key", "x", "--state", "new"}, {"revoke", "fifo"},
		{"issue", "--cn", "a", "--client", "--key", "fifo"}, {"init", "--org", "A", "--passphrase-file", "fifo", "--file", "new.yaml", "--state", "new2"},
		{"probe", "--expect", "fifo", "tls://localhost:1"}, {"probe", "--token-file", "fifo", "wss://localhost:1/"}, {"validate", "--key-passphrase-file", "fifo", "pki"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			cmd := program(dir, "virtls", args...)
			var out strings.Builder
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for !hasOpen(cmd.Process.Pid, filepath.Join(dir, "fifo")) {
				time.Sleep(time.Millisecond)
			}
			cmd.Process.Signal(syscall.SIGTERM)
			err := cmd.Wait()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != finding.ExitUnable || !strings.Contains(out.String(), "[interrupted]") {
				t.Errorf("%v: %s", err, out.String())
			}
		})
	}
}

// hasOpen tells whether a process has opened a file, or is no more.
func hasOpen(pid int, path string) bool {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		return true
	}
	return slices.ContainsFunc(fds, func(fd string) bool {
		target, err := os.Readlink(fd)
		return err == nil && target == path
	})
}

// A row is one line of eight words, whatever an imported certificate is called.
func TestListRow(t *testing.T) {
	var out strings.Builder
	writeList(&out, []listRow{{Serial: "12", Subject: "CN=a\nb\tc", How: "import", State: "valid"}})
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(rows) != 2 || len(strings.Fields(rows[1])) != 8 {
		t.Errorf("%q", rows)
	}
}
