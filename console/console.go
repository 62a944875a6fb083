// Package console talks to a QEMU character device over a connection, from a
// terminal or from a script: what is typed goes out, what comes in is shown.
//
// On a terminal every key goes to the other end, but for one that ends the
// console (^] unless it is chosen otherwise, as virsh console has it). Without
// a terminal the input's octets are sent as they are, and the console ends when
// the other end has been silent for a while after the last of them.
package console

import (
	"context"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// Options say how a console works.
type Options struct {
	In  *os.File // where a person or a script writes
	Out io.Writer
	// Escape is the key that ends the console on a terminal.
	Escape Key
	// Linger is for how long the other end may be silent after the end of an
	// input that is no terminal, before the console ends.
	Linger time.Duration
}

// DefaultLinger is what a script waits for answers when it has said all.
const DefaultLinger = time.Second

// End is why a console ended.
type End int

// The ends.
const (
	Escaped End = iota // the escape key was typed
	Said               // the input has ended, and the other end is silent
	Hangup             // the other end has closed the connection
)

// Run is the console on a connection, until one of its ends. It returns how many
// octets came. When the context ends it returns the context's cause. A terminal is put into raw
// mode and back, however Run ends. It closes the connection.
func Run(ctx context.Context, c net.Conn, o Options) (end End, received int64, err error) {
	defer c.Close()
	fd := int(o.In.Fd())
	interactive := term.IsTerminal(fd)
	if interactive {
		before, err := term.MakeRaw(fd)
		if err != nil {
			return 0, 0, err
		}
		defer term.Restore(fd, before)
	}
	in, err := newInput(o.In)
	if err != nil {
		return 0, 0, err
	}
	r := &run{c: c, o: o, in: in, interactive: interactive}
	sent, got := make(chan result, 1), make(chan result, 1)
	go func() { sent <- r.send() }()
	go func() { got <- r.receive() }()
	defer func() {
		// Both end before the terminal is given back.
		c.Close()
		in.stop()
		if sent != nil {
			<-sent
		}
		if got != nil {
			<-got
		}
		in.close()
		received = r.received.Load()
	}()
	for {
		select {
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		case res := <-sent:
			sent = nil
			if res.err != nil || res.end == Escaped {
				return res.end, 0, res.err
			}
			go r.hangUp() // when the other end is silent
		case res := <-got:
			got = nil
			switch {
			case r.broken.Load():
				return Hangup, 0, nil
			case r.silent.Load():
				return Said, 0, nil
			}
			return res.end, 0, res.err
		}
	}
}

// result is what one direction ended with.
type result struct {
	end End
	err error
}

type run struct {
	c           net.Conn
	o           Options
	in          *input
	interactive bool

	received atomic.Int64
	heard    atomic.Int64 // when, in nanoseconds
	silent   atomic.Bool  // the other end was hung up on
	broken   atomic.Bool  // nothing can be sent any more
}

// send sends what is typed, each octet in a write of its own. That makes a TLS
// record of each: a device that takes less than a record at once never sees
// the rest in QEMU 7.2, because nothing wakes it.
func (r *run) send() result {
	buf := make([]byte, 4096)
	for {
		n, err := r.in.read(buf)
		for i, b := range buf[:n] {
			if r.interactive && r.o.Escape.is(b) {
				return result{end: Escaped}
			}
			if _, err := r.c.Write(buf[i : i+1]); err != nil {
				// Why, the receiving side knows better.
				r.broken.Store(true)
				return result{end: Hangup}
			}
		}
		switch {
		case err == io.EOF:
			return result{end: Said}
		case err != nil:
			return result{err: err}
		}
	}
}

// receive shows what comes. A connection that ends without a goodbye ends like
// any other: QEMU says none.
func (r *run) receive() result {
	buf := make([]byte, 16<<10)
	for {
		n, err := r.c.Read(buf)
		if n > 0 {
			r.received.Add(int64(n))
			r.heard.Store(time.Now().UnixNano())
			if _, err := r.o.Out.Write(buf[:n]); err != nil {
				return result{err: err}
			}
		}
		switch {
		case err == io.EOF:
			return result{end: Hangup}
		case err != nil:
			return result{err: err}
		}
	}
}

// hangUp ends the receiving side when nothing has come for a while.
func (r *run) hangUp() {
	for last := time.Now(); ; {
		if heard := time.Unix(0, r.heard.Load()); heard.After(last) {
			last = heard
		}
		wait := r.o.Linger - time.Since(last)
		if wait <= 0 {
			break
		}
		if r.in.sleep(wait) {
			return // the console has ended
		}
	}
	r.silent.Store(true)
	r.c.SetReadDeadline(time.Unix(1, 0))
}
