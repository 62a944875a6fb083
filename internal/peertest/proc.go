package peertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// patience bounds every wait. It is long because it only ever ends a test
	// that would hang; machines may be slow and busy.
	patience     = 2 * time.Minute
	pollInterval = 2 * time.Millisecond
	// exitGrace is how long a program's output may stay open after its exit,
	// which only a stray child can bring about.
	exitGrace   = 2 * time.Second
	outputLimit = 1 << 20
)

// A Result is what a program left behind.
type Result struct {
	Command        string
	Stdout, Stderr string // at most the last MiB of each
	Code           int    // exit code; 128 + N when signal N ended it
}

// String shows the result for the message of a failed test.
func (r Result) String() string {
	return fmt.Sprintf("%s\nexit code %d\nstdout: %s\nstderr: %s",
		r.Command, r.Code, strings.TrimSpace(r.Stdout), strings.TrimSpace(r.Stderr))
}

// Run runs a program of the generation to its end and returns what it said. The
// test fails if the program does not end within patience.
func (g Generation) Run(t testing.TB, o Options, name string, args ...string) Result {
	t.Helper()
	return g.start(t, o, name, args).Wait()
}

// A Proc is a program that a test has started. Its methods end the test when
// what they wait for cannot happen any more or takes more than patience, so they belong to the test's goroutine.
type Proc struct {
	Port int    // the port of 127.0.0.1 that a server listens on
	Dir  string // libvirtd's directory of UNIX sockets

	t              testing.TB
	cmd            *exec.Cmd
	command        string
	sandboxed      bool
	ready          Condition
	stdout, stderr output
	done           chan struct{} // closed when the program has ended
	code           int           // valid once done is closed
	shown          bool          // the test's output has the result already
}

// Start starts a program of the generation that serves until it is stopped.
// Ready and Refused of what it returns judge by the condition. Standard input
// stays open and says nothing unless the options have one.
func (g Generation) Start(t testing.TB, o Options, ready Condition, name string, args ...string) *Proc {
	t.Helper()
	if o.Stdin == nil {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		t.Cleanup(func() { w.Close() })
		o.Stdin = r
	}
	p := g.start(t, o, name, args)
	p.ready = ready
	t.Cleanup(func() {
		if t.Failed() && !p.shown {
			t.Log(p.result())
		}
	})
	return p
}

func (g Generation) start(t testing.TB, o Options, name string, args []string) *Proc {
	t.Helper()
	p := &Proc{
		t:         t,
		cmd:       g.Command(t, o, name, args...),
		command:   fmt.Sprintf("%s: %s", g.Name, strings.Join(append([]string{name}, args...), " ")),
		sandboxed: sandboxError() == nil,
		done:      make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", p.command, err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState tells more
		p.code = p.cmd.ProcessState.ExitCode()
		if ws := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
			p.code = 128 + int(ws.Signal())
		}
		close(p.done)
	}()
	t.Cleanup(func() { p.Kill() })
	return p
}

// Ready waits until the server is ready, and returns it.
func (p *Proc) Ready() *Proc {
	p.t.Helper()
	return p.Until(p.ready)
}

// Until waits until the condition holds.
func (p *Proc) Until(c Condition) *Proc {
	p.t.Helper()
	if !p.await(c) {
		p.fatal("it ended, and never " + c.what)
	}
	return p
}

// Refused waits until the program ends without ever having been ready, as a
// server does that dislikes its configuration, and returns what it said.
func (p *Proc) Refused() Result {
	p.t.Helper()
	if p.await(p.ready) {
		p.fatal("it was to refuse, but it " + p.ready.what)
	}
	return p.result()
}

// Wait waits until the program ends.
func (p *Proc) Wait() Result {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.fatal(fmt.Sprintf("it has not ended after %v", patience))
	}
	if p.sandboxed && p.code == noSandbox {
		p.fatal("cannot make the root that it was to run in")
	}
	return p.result()
}

// Stop asks the program to end (SIGTERM) and waits until it has.
func (p *Proc) Stop() Result {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Kill ends the program and all it started, at once.
func (p *Proc) Kill() Result {
	// A program with a PID namespace has left nothing behind when it has ended,
	// and its number may be another's; without one there may be children.
	if !p.sandboxed || !p.ended() {
		_ = p.cmd.Cancel() // fails if there is nothing to kill
	}
	<-p.done
	return p.result()
}

func (p *Proc) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal to the program alone.
func (p *Proc) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.PID(), sig); err != nil {
		p.fatal(fmt.Sprintf("cannot send it signal %v: %v", sig, err))
	}
}

// PID returns the program's process id as the test sees it, for looking at
// its memory or sending it signals.
func (p *Proc) PID() int {
	p.t.Helper()
	pid := p.cmd.Process.Pid
	if !p.sandboxed {
		return pid
	}
	// Process 1 of the namespace is a shell, the program its only child.
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err == nil {
		_, err = fmt.Sscan(string(children), &pid)
	}
	if err != nil {
		p.fatal("it has no process")
	}
	return pid
}

// Stdout returns what the program has written to standard output up to now.
func (p *Proc) Stdout() string { return p.stdout.String() }

// Stderr returns what the program has written to standard error up to now.
func (p *Proc) Stderr() string { return p.stderr.String() }

// result returns what there is by now; the code is -1 while the program runs.
func (p *Proc) result() Result {
	r := Result{Command: p.command, Stdout: p.Stdout(), Stderr: p.Stderr(), Code: -1}
	if p.ended() {
		r.Code = p.code
	}
	return r
}

// fatal ends the test because of the program.
func (p *Proc) fatal(why string) {
	p.t.Helper()
	p.shown = true
	p.t.Fatalf("%s: %v", why, p.result())
}

// An output keeps the last part of what is written to it.
type output struct {
	mu   sync.Mutex
	text []byte
	cut  int
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	if drop := len(o.text) - outputLimit; drop > 0 {
		o.text = o.text[:copy(o.text, o.text[drop:])]
		o.cut += drop
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cut > 0 {
		return fmt.Sprintf("[%d bytes cut]%s", o.cut, o.text)
	}
	return string(o.text)
}

func (o *output) contains(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Contains(o.text, []byte(text))
}
