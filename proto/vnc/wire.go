package vnc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"virtls/finding"
	"virtls/internal/wait"
)

// DefaultLimit bounds a login whose context has no deadline.
const DefaultLimit = 20 * time.Second

// Bounds on what a peer may send before it is trusted.
const (
	maxReason     = 4 << 10
	maxSecurities = 255 // what its count can say
	maxLogin      = 1 << 10
)

// SecurityResult (RFC 6143, 7.1.3).
const (
	resultOK      = 0
	resultFailed  = 1
	resultTooMany = 2
)

// wire reads and writes the pieces of a handshake, each octet exactly when it is
// due, so that TLS can take over at any point. After the first error everything
// does nothing.
type wire struct {
	net.Conn
	err   error
	shook time.Duration // how long TLS's handshake took
}

func (w *wire) bytes(n int) []byte {
	p := make([]byte, n)
	if w.err == nil {
		_, w.err = io.ReadFull(w.Conn, p)
	}
	return p
}

func (w *wire) uint8() uint8   { return w.bytes(1)[0] }
func (w *wire) uint32() uint32 { return binary.BigEndian.Uint32(w.bytes(4)) }

// block reads a length and as many octets.
func (w *wire) block(limit int, what string) []byte {
	n := w.uint32()
	if w.err == nil && uint64(n) > uint64(limit) {
		w.fail("%s of %d octets; at most %d are taken", what, n, limit)
	}
	if w.err != nil {
		return nil
	}
	return w.bytes(int(n))
}

func (w *wire) send(p ...byte) {
	if w.err == nil {
		_, w.err = w.Write(p)
	}
}

func (w *wire) sendUint32(v uint32) { w.send(binary.BigEndian.AppendUint32(nil, v)...) }

// errProtocol marks what a peer did against the protocol.
type errProtocol struct{ text string }

func (e errProtocol) Error() string { return e.text }

func (w *wire) fail(format string, args ...any) {
	if w.err == nil {
		w.err = errProtocol{fmt.Sprintf(format, args...)}
	}
}

// reason reads why a server refuses. QEMU counts a NUL that C programs end
// strings with.
func (w *wire) reason() string {
	return strings.TrimRight(string(w.block(maxReason, "a reason")), "\x00")
}

// within runs a part of a handshake until the context ends, or after
// DefaultLimit if it has no deadline.
func within(ctx context.Context, c net.Conn, subject string, f func(context.Context) error) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultLimit)
		defer cancel()
	}
	late, err := wait.Within(ctx, func() error { return f(ctx) }, c)
	if cause := context.Cause(ctx); late && err != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return explain(subject, err)
}

// explain makes a finding of what ended a handshake.
func explain(subject string, err error) error {
	var protocol errProtocol
	var timeout net.Error
	switch failure := (*finding.Failure)(nil); {
	case err == nil || errors.As(err, &failure):
		return err
	case errors.As(err, &protocol):
		return kindProtocol.Found(subject, protocol.text).Wrong()
	case errors.As(err, &timeout) && timeout.Timeout():
		return because(kindLate.Found(subject, ""), err)
	}
	return because(kindClosed.Found(subject, err.Error()), err)
}

func because(f finding.Finding, cause error) *finding.Failure {
	e := f.Wrong()
	e.Cause = cause
	return e
}

func subjectOf(c net.Conn, name string) string {
	if name != "" || c.RemoteAddr() == nil {
		return name
	}
	return c.RemoteAddr().String()
}
