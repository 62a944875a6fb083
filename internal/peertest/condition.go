package peertest

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A Condition is something that a started program brings about.
type Condition struct {
	what  string // completes "the program ..."
	holds func(*Proc) bool
}

// Listening holds when something listens on the TCP port of 127.0.0.1. It asks
// the kernel: a connection would be the first client of a server that may take
// only one.
func Listening(port int) Condition {
	at := []string{
		fmt.Sprintf("0100007F:%04X", port),
		fmt.Sprintf("00000000:%04X", port),
		fmt.Sprintf("%032d:%04X", 0, port),
	}
	listens := func(fields []string) bool {
		return len(fields) > 3 && slices.Contains(at, fields[1]) && fields[3] == "0A"
	}
	return Condition{
		what:  fmt.Sprintf("listened on port %d", port),
		holds: func(p *Proc) bool { return p.hasSocket("tcp", listens) || p.hasSocket("tcp6", listens) },
	}
}

// ListeningUnix holds when something listens on the UNIX socket of that path.
func ListeningUnix(path string) Condition {
	const accepts = "00010000" // __SO_ACCEPTCON of linux/net.h
	listens := func(fields []string) bool { return len(fields) > 7 && fields[3] == accepts && fields[7] == path }
	return Condition{
		what:  "listened on " + path,
		holds: func(p *Proc) bool { return p.hasSocket("unix", listens) },
	}
}

// Logged holds when the program has written the text to its standard output or
// standard error.
func Logged(text string) Condition {
	return Condition{
		what:  fmt.Sprintf("wrote %q", text),
		holds: func(p *Proc) bool { return p.stdout.contains(text) || p.stderr.contains(text) },
	}
}

// hasSocket looks for a line of the kernel's table of the program's network.
func (p *Proc) hasSocket(table string, match func(fields []string) bool) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", p.cmd.Process.Pid, table))
	if err != nil {
		return false // the program has ended, or there is no IPv6
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if match(strings.Fields(lines.Text())) {
			return true
		}
	}
	return false
}

// await polls until the condition holds (true) or the program has ended
// without it (false), and fails the test when neither happens.
func (p *Proc) await(c Condition) bool {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		began := time.Now()
		if c.holds(p) {
			return true
		}
		select {
		case <-p.done:
			p.Wait()
			return c.holds(p)
		// The kernel takes milliseconds for its tables, which the programs need to begin.
		case <-time.After(max(pollInterval, 8*time.Since(began))):
		}
	}
	p.fatal(fmt.Sprintf("it has neither ended nor %s after %v", c.what, patience))
	return false
}
