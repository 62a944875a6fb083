package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"virtls/finding"
	"virtls/internal/peertest"
)

// A terminal is a pseudo-terminal with a program on it.
type terminal struct {
	*peertest.Terminal
	t    *testing.T
	cmd  *exec.Cmd
	text peertest.Log // all that the program wrote to it
	done chan struct{}
}

// onTerminal starts virtls with a terminal as standard input and standard
// error; standard output goes to stdout if there is one, else there too.
func onTerminal(t *testing.T, dir string, stdout io.Writer, args ...string) *terminal {
	t.Helper()
	tm := &terminal{Terminal: peertest.OpenTerminal(t), t: t, cmd: program(dir, "virtls", args...), done: make(chan struct{})}
	tm.cmd.Stdin, tm.cmd.Stdout, tm.cmd.Stderr = tm.Slave, stdout, tm.Slave
	if stdout == nil {
		tm.cmd.Stdout = tm.Slave
	}
	tm.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := tm.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tm.cmd.Process.Kill() })
	go tm.read()
	return tm
}

// read collects what the program writes. The slave stays open, so that the
// mode of the terminal can be looked at when the program has ended.
func (tm *terminal) read() {
	defer close(tm.done)
	buf := make([]byte, 4096)
	for {
		n, err := tm.Master.Read(buf)
		tm.text.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

func (tm *terminal) shown() string { return tm.text.String() }

// until waits for something to become true.
func (tm *terminal) until(what string, ok func() bool) {
	tm.t.Helper()
	until(tm.t, what, ok, tm.shown)
}

// asks waits for the n-th question of the program, which hides the answer.
func (tm *terminal) asks(prompt string) {
	tm.t.Helper()
	tm.until(prompt, func() bool { return strings.HasSuffix(tm.shown(), prompt) && !tm.Echoes() })
}

// ends waits for the program to end and returns its exit code.
func (tm *terminal) ends() int {
	tm.t.Helper()
	err := tm.cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		tm.t.Fatal(err)
	}
	return tm.cmd.ProcessState.ExitCode()
}

// What is typed as a passphrase is not shown.
func TestPassphraseIsHidden(t *testing.T) {
	tm := onTerminal(t, t.TempDir(), nil, "init", "--org", "Example Org")
	tm.asks("Passphrase of the authority's key: ")
	tm.Type("correct-horse\n")
	tm.asks("The same again: ")
	tm.Type("correct-horse\n")
	if code := tm.ends(); code != finding.ExitOK {
		t.Errorf("exit code %d", code)
	}
	tm.until("the end", func() bool { return strings.Contains(tm.shown(), "fleet.yaml written.") })
	if strings.Contains(tm.shown(), "correct") {
		t.Errorf("the terminal shows the passphrase: %q", tm.shown())
	}
	if !tm.Echoes() {
		t.Error("the terminal does not show any more what is typed")
	}
}

// Ctrl-C ends a question, and the terminal shows again what is typed.
func TestPassphraseInterrupted(t *testing.T) {
	dir := t.TempDir()
	tm := onTerminal(t, dir, nil, "init", "--org", "Example Org")
	tm.asks("Passphrase of the authority's key: ")
	tm.Type("\x03")
	if code := tm.ends(); code != finding.ExitUnable {
		t.Errorf("exit code %d, want %d", code, finding.ExitUnable)
	}
	tm.until("the reason", func() bool { return strings.Contains(tm.shown(), "[interrupted]") })
	if !tm.Echoes() {
		t.Error("the terminal does not show any more what is typed")
	}
	if _, err := os.Stat(filepath.Join(dir, "fleet.yaml")); err == nil {
		t.Error("there is a fleet file")
	}
}

// On a terminal one line says how far apply is, and is gone at the end.
func TestProgressOnTerminal(t *testing.T) {
	var stdout bytes.Buffer
	tm := onTerminal(t, fleetDir(t, 40), &stdout, "apply", "--no-passphrase")
	if code := tm.ends(); code != finding.ExitOK {
		t.Fatalf("exit code %d: %s", code, tm.shown())
	}
	const clear = "\r\x1b[K"
	tm.until("the end of the line", func() bool { return strings.HasSuffix(tm.shown(), "left"+clear) })
	lines := strings.Split(strings.TrimSuffix(tm.shown(), clear), clear)
	if len(lines) != 41 || lines[0] != "" {
		t.Fatalf("the line is written %d times, want 40: %q", len(lines)-1, tm.shown())
	}
	for i, line := range lines[1:] {
		if want := fmt.Sprintf("%d of 40 done, ", i+1); !strings.HasPrefix(line, want) || !strings.HasSuffix(line, " left") {
			t.Errorf("line %q, want %q", line, want+"... left")
		}
	}
	if out := stdout.String(); strings.Contains(out, "kvm1.example.com") || !strings.Contains(out, "40 hosts and clients, 40 certificates issued") {
		t.Errorf("standard output is\n%s", out)
	}
}

// Elsewhere a large fleet gets one line for each host.
func TestProgressElsewhere(t *testing.T) {
	stdout, stderr, err := execute(fleetDir(t, 40), "virtls", "apply", "--no-passphrase", "--prove", "none")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^host kvm\d+\.example\.com: 1 issued, \d+ files written, 0 of 1 proved$`)
	if n := len(line.FindAllString(stdout, -1)); n != 40 {
		t.Errorf("%d lines for 40 hosts:\n%s", n, stdout)
	}
	if stderr != "" {
		t.Errorf("standard error is %q", stderr)
	}
}

// Ctrl-C ends apply with what is finished kept, and the next run does the rest.
func TestInterruptedApply(t *testing.T) {
	const hosts = 33 // more than fit in a table, so that each is reported as it is finished
	dir := fleetDir(t, hosts)
	text, err := os.ReadFile(filepath.Join(dir, "fleet.yaml"))
	if err == nil {
		slow := strings.Replace(string(text), "defaults:\n", "defaults:\n  key: rsa2048\n", 1)
		err = os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte(slow), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(dir, "virtls", "apply", "--no-passphrase")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(os.Interrupt)
	io.Copy(io.Discard, stdout)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != finding.ExitUnable {
		t.Errorf("exit code %d, want %d", code, finding.ExitUnable)
	}
	const want = `error: the run was interrupted; what was finished is kept [interrupted]
    mend:   run the same command again: it does the rest
`
	if stderr.String() != want {
		t.Errorf("standard error is %q, want %q", stderr.String(), want)
	}
	judgeTree(t, dir)
	done := len(registered(t, filepath.Join(dir, "pki"))) - 1
	if done < 1 || done >= hosts {
		t.Fatalf("%d of %d hosts were finished when interrupted", done, hosts)
	}
	out, _, err := execute(dir, "virtls", "apply", "--no-passphrase")
	if err != nil {
		t.Fatal(err)
	}
	if rest := fmt.Sprintf("%d certificates issued", hosts-done); !strings.Contains(out, rest) {
		t.Errorf("the next run does not say %q:\n%s", rest, out)
	}
	finishes(t, dir, hosts)
}
