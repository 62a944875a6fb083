// Command bogoshim puts tlsengine under BoGo, BoringSSL's protocol tests
// (ssl/test/PORTING.md in its repository): their runner starts it once for each
// test, with flags that say what the test wants, and plays the peer. It is a
// test's tool and no part of what is built for users. TestBoGo in this package
// runs it; docs/bogo.md has the results.
//
// A test that needs what the engine does not have ends with the exit code 89,
// which the runner counts as unimplemented.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"virtls/tlsengine"
)

// Exit codes that the runner knows.
const (
	exitFailed        = 1
	exitUnimplemented = 89
)

// reasonsVariable names a file that gets a line with the reason for each test
// that is unimplemented.
const reasonsVariable = "VIRTLS_BOGO_REASONS"

// An unimplemented error is a reason why a test does not apply.
type unimplemented string

func (u unimplemented) Error() string { return string(u) }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if slices.Contains(args, "-is-handshaker-supported") {
		fmt.Println("No")
		return 0
	}
	err := runConnections(args)
	var why unimplemented
	switch {
	case err == nil:
		return 0
	case errors.As(err, &why):
		note(string(why))
		return exitUnimplemented
	}
	fmt.Fprintln(os.Stderr, describe(err))
	return exitFailed
}

// note keeps the reason for a test that is not run.
func note(why string) {
	f, err := os.OpenFile(os.Getenv(reasonsVariable), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return // nobody wants to know
	}
	defer f.Close()
	_, _ = f.WriteString(why + "\n") // one write, so that lines of several shims do not mix
}

// describe says what bogo.json compares with the error that a test expects: the
// alert, and whose it is.
func describe(err error) string {
	var own *tlsengine.Error
	var peers *tlsengine.AlertError
	switch {
	case errors.As(err, &own):
		return fmt.Sprintf("[sent %s] %v", own.Alert, err)
	case errors.As(err, &peers):
		return fmt.Sprintf("[received %s] %v", peers.Alert, err)
	}
	return err.Error()
}

// runConnections makes as many connections as the test wants. The engine
// resumes no sessions, so those after the first are whole handshakes again.
func runConnections(args []string) error {
	first, err := parse(args, initial)
	if err != nil {
		return err
	}
	for i := range first.resumeCount + 1 {
		t := first
		if i > 0 {
			if t, err = parse(args, resumed); err != nil {
				return err
			}
			if !t.expectSessionMiss {
				return unimplemented("session resumption")
			}
		}
		if err := t.connect(); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	return nil
}

// connect makes one connection.
func (t *test) connect() error {
	engine, err := t.engine()
	if err != nil {
		return err
	}
	host := "127.0.0.1"
	if t.ipv6 {
		host = "::1"
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(t.port)))
	if err != nil {
		return err
	}
	defer drain(conn.(*net.TCPConn))
	if _, err := conn.Write(binary.LittleEndian.AppendUint64(nil, t.shimID)); err != nil {
		return err
	}
	s := &session{test: t, Engine: engine, conn: conn}
	err = s.exchange()
	if flushErr := s.flush(); err == nil {
		err = flushErr
	}
	return err
}

// drain closes the sending side and waits for the runner to do the same: a
// reset would take the last alert from it.
func drain(conn *net.TCPConn) {
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if conn.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}
