package peertest

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Terminal is a pseudo-terminal, open until the test ends. Its methods belong
// to the test's goroutine.
type Terminal struct {
	Master *os.File // what is typed and shown
	Slave  *os.File // the program's side

	t testing.TB
}

// OpenTerminal makes a terminal.
func OpenTerminal(t testing.TB) *Terminal {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	master := open("/dev/ptmx")
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return &Terminal{Master: master, Slave: open(fmt.Sprintf("/dev/pts/%d", n)), t: t}
}

// Echoes tells whether what is typed is shown.
func (tm *Terminal) Echoes() bool {
	tm.t.Helper()
	mode, err := unix.IoctlGetTermios(int(tm.Master.Fd()), unix.TCGETS)
	if err != nil {
		tm.t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO != 0
}

// Type types text.
func (tm *Terminal) Type(text string) {
	tm.t.Helper()
	if _, err := tm.Master.WriteString(text); err != nil {
		tm.t.Fatal(err)
	}
}

// A Prompt is a question that a program asks on its standard output, and what to
// type then.
type Prompt struct {
	Asks, Type string
	Hidden     bool // the program turns the echo off
}

// RunOnTerminal is [Generation.Run] with a terminal as standard input, on which
// the prompts are answered. A hidden answer is typed when the echo is off: what is
// typed earlier is lost to programs that use TCSAFLUSH, as getpass(3) does.
func (g Generation) RunOnTerminal(t testing.TB, o Options, prompts []Prompt, name string, args ...string) Result {
	t.Helper()
	terminal := OpenTerminal(t)
	o.Stdin = terminal.Slave
	p := g.Start(t, o, Condition{}, name, args...)
	hides := Condition{what: "turned off the echo", holds: func(*Proc) bool { return !terminal.Echoes() }}
	for _, prompt := range prompts {
		p.Until(Logged(prompt.Asks))
		if prompt.Hidden {
			p.Until(hides)
		}
		terminal.Type(prompt.Type + "\n")
	}
	return p.Wait()
}
