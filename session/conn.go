package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"virtls/internal/wait"
	"virtls/tlsengine"
)

// DefaultHandshakeLimit bounds a handshake whose context has no deadline, as
// QEMU's NBD servers do since 10.0.
const DefaultHandshakeLimit = 10 * time.Second

// A Conn is a session on a net.Conn whose peer has been checked. Like every
// net.Conn it may be used by several goroutines at once. On TCP and UNIX
// sockets it has no memory for records while it waits, if our own engine
// serves; crypto/tls keeps that of the largest record which it has read.
type Conn struct {
	nc net.Conn
	s  *Session

	// One of the two: crypto/tls, or our own engine and where it reads.
	std    *tls.Conn
	native *nativeSession
	in     *source

	patient *patient // below crypto/tls
	reading sync.Mutex
	writing sync.Mutex
	lost    error // what a write failed with, guarded by writing

	cause atomic.Pointer[error] // of what Bind has ended
	gone  atomic.Bool           // Close has been called
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
	s.p.o.DeferSigning = true // if our own engine serves
	c := &Conn{nc: nc, s: s}
	if !s.p.native {
		c.patient = newPatient(nc)
		c.std = s.stdConn(c.patient)
		return c, nil
	}
	if c.native, err = newNativeEngine(s.p); err != nil {
		return nil, err
	}
	s.e, c.in = c.native, newSource(nc, c.native.FeedFrom)
	return c, nil
}

// Handshake makes the handshake and checks the peer. It fails when the context
// ends, or after [DefaultHandshakeLimit] if the context has no deadline. The
// connection below stays the caller's to close if it fails, and [Conn.State] has
// what was agreed and seen until then. A key that is still at work then, in a
// token or on another machine, ends when it likes, and so does the goroutine in
// which it is: crypto.Signer has no way to call it off.
func (c *Conn) Handshake(ctx context.Context) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultHandshakeLimit)
		defer cancel()
	}
	return c.shake(ctx)
}

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// shake makes the handshake and checks the peer within the context.
func (c *Conn) shake(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(past) })
	err := c.handshake(ctx)
	switch {
	case !stop():
		err = c.s.failed(fmt.Errorf("it was not complete in time: %w", context.Cause(ctx)))
	case err == nil:
		if err = c.s.CheckPeer(); err != nil && c.native != nil {
			// The alert is a courtesy; the refusal stands without it.
			c.nc.SetWriteDeadline(time.Now().Add(goodbyeLimit))
			_ = c.flush()
		}
	}
	if err != nil {
		c.forget()
	}
	return err
}

func (c *Conn) handshake(ctx context.Context) error {
	if c.std != nil {
		c.s.signing = ctx
		if err := c.std.Handshake(); err != nil {
			return c.s.failed(err)
		}
		c.s.done, c.patient.shaking = true, false
		c.s.p.fillStd(&c.s.state, c.std.ConnectionState())
		return nil
	}
	for {
		status, err := c.s.Handshake()
		if status != Signing { // what comes before a signature goes out with it
			if flushErr := c.flush(); err == nil && flushErr != nil {
				err = c.s.failed(flushErr)
			}
		}
		if err != nil {
			return err
		}
		switch status {
		case Complete:
			return nil
		case Signing:
			// Handshake says why it failed, if it did.
			_, _ = wait.For(ctx, func() (any, error) { return nil, c.native.Sign() })
			if ctx.Err() != nil {
				return c.s.failed(context.Cause(ctx))
			}
		case Receiving:
			if err := c.fill(); err != nil {
				return c.s.failed(err)
			}
			if c.in.raw != nil {
				acknowledge(c.nc, c.in.raw)
			}
		}
	}
}

// fill brings bytes from the connection.
func (c *Conn) fill() error {
	partial := c.native.Partial()
	n, err := c.in.read(partial)
	if n > 0 {
		return nil
	}
	if err == io.EOF && (partial || !c.s.done) {
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

// send is flush for who holds the lock. After an error nobody knows what has
// arrived: it is the last one.
func (c *Conn) send() error {
	for out := c.s.Output(); len(out) > 0 && c.lost == nil; out = c.s.Output() {
		n, err := c.nc.Write(out)
		c.s.Sent(n)
		if err != nil {
			c.lost = c.ended(err)
		}
	}
	return c.lost
}

// Read reads what the peer sent. It returns io.EOF after the peer's goodbye, and
// where the connection ends without one, as QEMU's and libvirt's do: whether
// something is missing is for the protocol inside to tell.
func (c *Conn) Read(p []byte) (n int, err error) {
	if !c.s.checked() {
		return 0, errUnchecked
	}
	c.reading.Lock()
	defer c.doneReading()
	if c.std != nil {
		n, err = c.std.Read(p)
		return n, c.ended(err)
	}
	err = c.await(func() error { n, err = c.s.Read(p); return err })
	return n, err
}

// doneReading lets the next one read.
func (c *Conn) doneReading() {
	c.reading.Unlock()
	if c.gone.Load() {
		c.forget()
	}
}

// forget overwrites the secrets. Who reads at the moment, from memory that is
// overwritten too, does it afterwards.
func (c *Conn) forget() {
	if c.native != nil && c.reading.TryLock() {
		c.native.Close()
		c.reading.Unlock()
	}
}

// await brings bytes until use needs no more of them.
func (c *Conn) await(use func() error) error {
	for {
		err := use()
		if !errors.Is(err, ErrWantInput) {
			if errors.Is(err, tlsengine.ErrClosed) {
				return net.ErrClosed
			}
			if err != nil && err != io.EOF {
				_ = c.answer() // with the alert that says why
			}
			return err
		}
		if err := c.answer(); err != nil {
			return err
		}
		if err := c.fill(); err != nil {
			return c.ended(err)
		}
	}
}

// answer sends what reading has led to: the answer to a KeyUpdate, an alert. A
// writer at work sends it too.
func (c *Conn) answer() error {
	if !c.writing.TryLock() {
		return nil
	}
	defer c.writing.Unlock()
	return c.send()
}

// writeSize is how much is encrypted before it is sent, but for a rest that is
// not worth a system call of its own.
const (
	writeSize = 64 << 10
	writeRest = 512
)

// firstPiece returns what of p is encrypted and sent at once.
func firstPiece(p []byte) []byte {
	if len(p) <= writeSize+writeRest {
		return p
	}
	return p[:writeSize]
}

// Write encrypts and sends p. After an error nothing more can be written.
func (c *Conn) Write(p []byte) (written int, err error) {
	if !c.s.checked() {
		return 0, errUnchecked
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.std != nil {
		return c.writeStd(p)
	}
	for len(p) > 0 {
		if c.lost != nil {
			return written, c.lost
		}
		n, err := c.s.Write(firstPiece(p))
		if err != nil {
			if c.gone.Load() {
				err = net.ErrClosed
			}
			return written, err
		}
		if err := c.send(); err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

// writeStd sends several records at once. A single one needs no help.
func (c *Conn) writeStd(p []byte) (written int, err error) {
	for c.lost == nil && (len(p) > 0 || written == 0) {
		piece := firstPiece(p)
		if len(piece) > recordSize {
			c.patient.hold()
		}
		n, err := c.std.Write(piece)
		if c.lost = c.ended(cmp.Or(err, c.patient.release())); c.lost == nil {
			written += n
		}
		if p = p[n:]; len(p) == 0 {
			break
		}
	}
	return written, c.lost
}

// CloseWrite says goodbye: the peer reads io.EOF. It may still send.
func (c *Conn) CloseWrite() error {
	if c.std != nil {
		if !c.s.done {
			return nil // as Session.Bye has it
		}
		c.writing.Lock()
		defer c.writing.Unlock()
		if c.lost != nil {
			return c.lost
		}
		return c.ended(c.std.CloseWrite())
	}
	c.s.Bye()
	return c.flush()
}

// goodbyeLimit bounds how long it may take to get the last words out.
const goodbyeLimit = 5 * time.Second

// Close says goodbye, closes the connection and forgets its secrets, as far as
// our own engine has them. It waits for nobody: a write that is not through yet
// is cut off, and then there is no goodbye.
func (c *Conn) Close() error {
	var err error
	if c.std != nil {
		if !c.writing.TryLock() {
			return c.nc.Close()
		}
		defer c.writing.Unlock()
		if c.lost != nil { // whoever does not read hears no goodbye either
			return c.nc.Close()
		}
		c.lost = net.ErrClosed
		return c.std.Close()
	}
	if c.writing.TryLock() {
		c.nc.SetWriteDeadline(time.Now().Add(goodbyeLimit))
		c.s.Bye()
		err = c.send()
		c.lost = net.ErrClosed
		c.writing.Unlock()
	}
	err = errors.Join(err, c.nc.Close())
	c.gone.Store(true)
	c.forget()
	return err
}

// Bind ends all reads and writes when the context ends: they fail with its
// cause. The function that it returns undoes that, and tells whether it came in
// time.
func (c *Conn) Bind(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		err := fmt.Errorf("session: %w", context.Cause(ctx))
		c.cause.Store(&err)
		c.nc.SetDeadline(past)
	})
}

// ended gives the cause of what Bind has ended in the place of the error that
// came of it.
func (c *Conn) ended(err error) error {
	if cause := c.cause.Load(); err != nil && err != io.EOF && cause != nil {
		return *cause
	}
	return err
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
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadline(c.nc.SetDeadline, t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.nc.SetReadDeadline, t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(c.nc.SetWriteDeadline, t) }

// setDeadline gives no new time to what Bind has ended.
func (c *Conn) setDeadline(set func(time.Time) error, t time.Time) error {
	err := set(t)
	if c.cause.Load() != nil {
		return set(past)
	}
	return err
}
