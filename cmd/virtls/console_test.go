package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"virtls/finding"
	"virtls/internal/peertest"
)

// monitors starts a QEMU whose monitor is on a chardev with TLS, and returns the
// flags that reach it.
func monitors(t *testing.T, g peertest.Generation, dir string) (p *peertest.Proc, args []string) {
	t.Helper()
	port := peertest.FreePort(t)
	p = g.Start(t, peertest.Options{}, peertest.Listening(port), "qemu-system-x86_64", "-nodefaults", "-accel", "tcg", "-machine", "none", "-display", "none",
		"-object", "tls-creds-x509,id=tls0,endpoint=server,dir="+dir, "-chardev", fmt.Sprintf("socket,id=c0,host=127.0.0.1,port=%d,server=on,wait=off,tls-creds=tls0", port),
		"-mon", "chardev=c0,mode=readline").Ready()
	return p, []string{"console", fmt.Sprintf("tls://localhost:%d", port), "--object", "tls-creds-x509,id=tls0,dir=" + dir, "--tls-creds", "tls0", "--linger", "2s"}
}

// qemuDir is a directory of credentials for both ends on this machine.
func qemuDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir() // which peers see
	fleet := "organization: Example Org\nhosts:\n  - {name: localhost.localdomain, names: [localhost], uses: {qemu: [server, client]}}\n"
	if err := os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(fleet), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := execute(dir, "virtls", "apply", "--no-passphrase", "fleet.yaml"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "pki/hosts/localhost.localdomain/etc/pki/qemu")
}

// The monitors of QEMUs of all generations, from a terminal and from a script.
func TestConsole(t *testing.T) {
	dir := qemuDir(t)
	alone := t.TempDir()
	ca, err := os.ReadFile(filepath.Join(dir, "ca-cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(alone, "ca-cert.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		p, args := monitors(t, g, dir)
		defer p.Kill()

		cmd := program(t.TempDir(), "virtls", args...)
		cmd.Stdin = strings.NewReader("info status\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "VM status") {
			t.Errorf("from a script: %v\n%s", err, out)
		}

		cmd = program(t.TempDir(), "virtls", append(args, "--object", "tls-creds-x509,id=tls1,dir="+alone, "--tls-creds", "tls1")...)
		out, err = cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "console-refused") {
			t.Errorf("without a certificate: %v\n%s", err, out)
		}

		for _, tt := range []struct {
			name  string
			flags []string
			end   func(*terminal)
			code  int
		}{
			{"the escape key", nil, func(tm *terminal) { tm.Type("\x1d") }, finding.ExitOK},
			{"another escape key", []string{"--escape", "^a"}, func(tm *terminal) { tm.Type("\x1d\x01") }, finding.ExitOK},
			{"a signal", nil, func(tm *terminal) { tm.cmd.Process.Signal(syscall.SIGTERM) }, finding.ExitUnable},
			{"a hangup", nil, func(tm *terminal) { tm.cmd.Process.Signal(syscall.SIGHUP) }, finding.ExitUnable},
			{"quit", nil, func(tm *terminal) { tm.Type("quit\r") }, finding.ExitOK},
		} {
			tm := onTerminal(t, t.TempDir(), nil, append(args, tt.flags...)...)
			tm.until("the monitor's prompt", func() bool { return strings.Contains(tm.shown(), "(qemu) ") })
			if tm.Echoes() {
				t.Errorf("%s: the terminal echoes what is typed", tt.name)
			}
			tm.Type("info status\r")
			tm.until("an answer", func() bool { return strings.Contains(tm.shown(), "VM status") })
			tt.end(tm)
			if code := tm.ends(); code != tt.code {
				t.Errorf("%s: exit code %d, want %d; %q", tt.name, code, tt.code, tm.shown())
			}
			if !tm.Echoes() {
				t.Errorf("%s: the terminal does not echo any more", tt.name)
			}
		}
	})
}
