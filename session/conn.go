package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// DefaultHandshakeLimit bounds a handshake whose context has no deadline, as
// QEMU's NBD servers do since 10.0.
const DefaultHandshakeLimit = 10 * time.Second

// A Conn is a session on a net.Conn whose peer has been checked. Like every
// net.Conn it may be used by several goroutines at once.
type Conn struct {
	nc  net.Conn
	s   *Session
	std *tls.Conn // nil if our own engine serves

	reading sync.Mutex
	writing sync.Mutex
	buf     []byte // guarded by reading
}

// Open makes a session on a connection and returns it when the handshake is
// complete and the peer has been checked: [NewConn] and [Conn.Handshake].
func Open(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	c, err := NewConn(nc, o)
	if err != nil {
		return nil, err
	}
	if err := c.Handshake(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// NewConn returns a session on a connection that has said nothing yet.
func NewConn(nc net.Conn, o Options) (*Conn, error) {
	s, err := prepare(o)
	if err != nil {
		return nil, err
	}
	c := &Conn{nc: nc, s: s}
	if s.p.native {
		if s.e, err = newNativeEngine(s.p); err != nil {
			return nil, err
		}
	} else {
		c.std = s.stdConn(nc)
	}
	return c, nil
}

// Handshake makes the handshake and checks the peer. It fails when the context
// ends, or after [DefaultHandshakeLimit] if the context has no deadline. The
// connection below stays the caller's to close if it fails, and [Conn.State] has
// what was agreed and seen until then.
func (c *Conn) Handshake(ctx context.Context) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultHandshakeLimit)
		defer cancel()
	}
	return c.shake(ctx)
}

// shake makes the handshake and checks the peer within the context.
func (c *Conn) shake(ctx context.Context) error {
	past := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(past) })
	err := c.handshake()
	if !stop() {
		return c.s.failed(fmt.Errorf("it was not complete in time: %w", context.Cause(ctx)))
	}
	if err != nil {
		return err
	}
	err = c.s.CheckPeer()
	if err != nil && c.s.e != nil {
		// The alert is a courtesy; the refusal stands without it.
		_ = c.flush()
	}
	return err
}

func (c *Conn) handshake() error {
	if c.std != nil {
		if err := c.std.Handshake(); err != nil {
			return c.s.failed(err)
		}
		c.s.done = true
		c.s.p.fillStd(&c.s.state, c.std.ConnectionState())
		return nil
	}
	for {
		status, err := c.s.Handshake()
		if flushErr := c.flush(); err == nil && flushErr != nil {
			err = c.s.failed(flushErr)
		}
		if err != nil {
			return err
		}
		switch status {
		case Complete:
			return nil
		case Receiving:
			if err := c.fill(); err != nil {
				return c.s.failed(err)
			}
		}
	}
}

// readSize is how much is read from the connection at once: a record and more.
const readSize = 32 << 10

// fill brings bytes from the connection.
func (c *Conn) fill() error {
	if c.buf == nil {
		c.buf = make([]byte, readSize)
	}
	n, err := c.nc.Read(c.buf)
	for fed := 0; fed < n; {
		took := c.s.Feed(c.buf[fed:n])
		if took == 0 {
			return errors.New("session: the peer sends more than the handshake needs")
		}
		fed += took
	}
	if n > 0 {
		return nil
	}
	if err == io.EOF && (!c.s.done || c.s.e.(*nativeSession).Partial()) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// flush sends what is to be sent.
func (c *Conn) flush() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.send()
}

func (c *Conn) send() error {
	for out := c.s.Output(); len(out) > 0; out = c.s.Output() {
		n, err := c.nc.Write(out)
		c.s.Sent(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// Read reads what the peer sent. It returns io.EOF after the peer's goodbye, and
// where the connection ends without one, as QEMU's and libvirt's do: whether
// something is missing is for the protocol inside to tell.
func (c *Conn) Read(p []byte) (int, error) {
	if c.std != nil {
		return c.std.Read(p)
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		n, err := c.s.Read(p)
		if !errors.Is(err, ErrWantInput) {
			return n, err
		}
		// A KeyUpdate may want an answer. A writer at work sends it too.
		if c.writing.TryLock() {
			err := c.send()
			c.writing.Unlock()
			if err != nil {
				return n, err
			}
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// writeSize is how much is encrypted before it is sent.
const writeSize = 64 << 10

// Write encrypts and sends p.
func (c *Conn) Write(p []byte) (written int, err error) {
	if c.std != nil {
		return c.std.Write(p)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	for len(p) > 0 {
		n, err := c.s.Write(p[:min(len(p), writeSize)])
		if err != nil {
			return written, err
		}
		if err := c.send(); err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

// CloseWrite says goodbye: the peer reads io.EOF. It may still send.
func (c *Conn) CloseWrite() error {
	if c.std != nil {
		return c.std.CloseWrite()
	}
	c.s.Bye()
	return c.flush()
}

// goodbyeLimit bounds how long Close waits to get its goodbye out.
const goodbyeLimit = 5 * time.Second

// Close says goodbye and closes the connection.
func (c *Conn) Close() error {
	if c.std != nil {
		return c.std.Close()
	}
	c.nc.SetWriteDeadline(time.Now().Add(goodbyeLimit))
	c.s.Bye()
	err := c.flush()
	return errors.Join(err, c.s.Close(), c.nc.Close())
}

// State tells what was agreed, once the handshake is complete, and what is known
// of a handshake that failed.
func (c *Conn) State() State { return c.s.state }

// NetConn returns the connection below. Reading from it or writing to it
// corrupts the session.
func (c *Conn) NetConn() net.Conn { return c.nc }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline implements net.Conn. A write that did not end in time leaves a
// session that cannot be written to any more.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }
