// Package tlsengine is TLS for what crypto/tls cannot do: external pre-shared
// keys, ML-DSA certificates, exact lists of suites, groups and signature schemes. It is a state
// machine without I/O: bytes of the peer go in with [Engine.Feed], bytes for the
// peer come out of [Engine.Output], and [Engine.Handshake] says which of the two
// it waits for.
//
// It speaks TLS 1.3 (RFC 8446) and TLS 1.2 (RFC 5246) with AEAD suites.
//
// There are no tickets, no early data, no renegotiation and no compression.
package tlsengine

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// Status says what a handshake waits for, as QEMU's sessions do
// (include/crypto/tlssession.h).
type Status int

// The statuses.
const (
	Complete  Status = iota // nothing: application data may flow
	Sending                 // for Output to be sent
	Receiving               // for bytes of the peer
	Signing                 // for a signature: see Config.DeferSigning
)

func (s Status) String() string {
	return [...]string{"complete", "sending", "receiving", "signing"}[s]
}

// ErrWantInput is returned by [Engine.Read] when it needs more bytes of the peer.
var ErrWantInput = errors.New("tlsengine: more input is needed")

// ErrClosed is returned by [Engine.Write] after [Engine.CloseWrite], and by
// every method that can fail after [Engine.Close].
var ErrClosed = errors.New("tlsengine: this side has said goodbye")

// ErrObserved ends the handshake of a client that only wanted to look.
var ErrObserved = errors.New("tlsengine: the server has said what it has to say, and this side only looks")

// An AlertError is what the peer ended the connection with.
type AlertError struct{ Alert Alert }

func (e *AlertError) Error() string { return fmt.Sprintf("the peer sent the alert %s", e.Alert) }

// An Error is what the connection was ended for, with the alert that the peer
// is sent.
type Error = wire.Error

// An Engine is one end of a connection. Feed, Handshake and Read may be called
// from one goroutine while another calls Write, KeyUpdate and CloseWrite; Output
// and Sent belong to whoever sends.
type Engine struct {
	cfg    *Config
	client bool

	in  inbound
	out outbound

	hs       *handshake // nil when it is complete; guarded by in.mu
	state    State      // guarded by in.mu
	exporter exporter   // guarded by in.mu

	errMu sync.Mutex
	err   error // what the connection ended with
}

// Client returns the client's end of a connection. The configuration must not
// change afterwards.
func Client(cfg *Config) (*Engine, error) { return newEngine(cfg, true) }

// Server returns the server's end of a connection.
func Server(cfg *Config) (*Engine, error) { return newEngine(cfg, false) }

func newEngine(cfg *Config, client bool) (*Engine, error) {
	cfg, err := cfg.complete(client)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, client: client, hs: &handshake{}}
	e.in.limit = record.MaxPlaintext
	e.out.limit = record.MaxPlaintext
	e.out.lasts = cfg.Limits.RecordsPerKey
	e.state.Identity = -1
	e.hs.step = serverStart
	if client {
		e.hs.step = clientStart
	}
	return e, nil
}

// fail ends the connection: the first error stays, and the peer is told unless
// it is the one who ended it.
func (e *Engine) fail(err error) error {
	e.errMu.Lock()
	defer e.errMu.Unlock()
	if e.err != nil {
		return e.err
	}
	e.err = err
	var own *Error
	var peers *AlertError
	switch {
	case errors.As(err, &own):
		e.out.alert(own.Alert)
	case errors.Is(err, ErrObserved):
		e.out.alert(wire.UserCanceled)
	case !errors.As(err, &peers):
		e.out.alert(wire.InternalError)
	}
	return err
}

// Err returns what the connection ended with, nil while it goes on.
func (e *Engine) Err() error {
	e.errMu.Lock()
	defer e.errMu.Unlock()
	return e.err
}

// Feed takes bytes of the peer. It takes all of them, unless the peer has sent
// more than a handshake or a reader has use for: then fewer, and a reader must
// come first.
func (e *Engine) Feed(p []byte) int {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	return e.in.feed(p)
}

// FeedFrom has read put bytes of the peer into the engine's own memory, which
// saves a copy, and returns what read does. The memory is shared by all engines
// while it is empty: an engine that waits for its peer has none. read must not
// wait, because other methods wait for it.
func (e *Engine) FeedFrom(read func([]byte) (int, error)) (int, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	return e.in.feedFrom(read)
}

// Output returns the bytes to be sent to the peer. They are valid until the next
// call of [Engine.Sent] or of a method that adds to them.
func (e *Engine) Output() []byte {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	e.out.flush()
	return e.out.buf
}

// Sent removes n bytes from the front of the output.
func (e *Engine) Sent(n int) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	e.out.sent(n)
}

// Handshake goes as far as the bytes that were fed allow. An error ends the
// connection; an alert for the peer is then in the output.
func (e *Engine) Handshake() (Status, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if err := e.Err(); err != nil {
		return Complete, err
	}
	if err := e.advance(); err != nil {
		return Complete, e.fail(err)
	}
	switch {
	case e.hs != nil && e.hs.signing != nil:
		return Signing, nil // before Sending: a flight goes out as a whole
	case e.out.pending():
		return Sending, nil
	case e.hs != nil:
		return Receiving, nil
	}
	return Complete, nil
}

// advance handles records until the handshake is complete or needs more.
func (e *Engine) advance() error {
	if e.hs != nil && e.hs.step.start != nil && !e.hs.started {
		e.hs.started = true
		if err := e.hs.step.start(e); err != nil {
			return err
		}
	}
	for e.hs != nil {
		if s := e.hs.signing; s != nil {
			if !s.made && e.cfg.DeferSigning {
				return nil
			}
			if err := e.signed(s); err != nil {
				return err
			}
			continue
		}
		more, err := e.nextRecord()
		if err != nil || !more {
			return err
		}
	}
	e.in.release()
	return nil
}

// Read decrypts application data into p. It returns [ErrWantInput] when there is
// none, and io.EOF after the peer's close_notify.
func (e *Engine) Read(p []byte) (int, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.hs != nil {
		return 0, errors.New("tlsengine: Read before the handshake is complete")
	}
	if err := e.decrypt(); err != nil {
		return 0, err
	}
	n := copy(p, e.in.plain)
	e.in.plain = e.in.plain[n:]
	return n, nil
}

// Peek returns application data where it is, for who passes it on and needs no
// copy, and the errors of Read. It is valid until the next call of Discard, Feed,
// FeedFrom or Read.
func (e *Engine) Peek() ([]byte, error) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.hs != nil {
		return nil, errors.New("tlsengine: Peek before the handshake is complete")
	}
	if err := e.decrypt(); err != nil {
		return nil, err
	}
	return e.in.plain, nil
}

// Discard removes the first n octets of what Peek returned.
func (e *Engine) Discard(n int) {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	e.in.plain = e.in.plain[n:]
}

// decrypt makes sure that there is application data.
func (e *Engine) decrypt() error {
	for len(e.in.plain) == 0 {
		if e.in.closed {
			return io.EOF
		}
		if err := e.Err(); err != nil {
			return err
		}
		more, err := e.nextRecord()
		if err != nil {
			return e.fail(err)
		}
		if !more && len(e.in.plain) == 0 && !e.in.closed {
			return ErrWantInput
		}
	}
	return nil
}

// Pending returns how many bytes a Read would return at once. What ended the
// connection, if it has ended, is for Read to say.
func (e *Engine) Pending() int {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.hs == nil && e.decrypt() != nil {
		return 0
	}
	return len(e.in.plain)
}

// Partial tells whether a part of a record has come: a transport that ends now
// has lost something.
func (e *Engine) Partial() bool {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	return e.in.r < e.in.w || len(e.in.msgs) > 0
}

// Write encrypts p into the output.
func (e *Engine) Write(p []byte) (int, error) {
	if err := e.Err(); err != nil {
		return 0, err
	}
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if err := e.out.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// KeyUpdate changes this side's key, and asks the peer to do the same if
// request is set (RFC 8446, section 4.6.3).
func (e *Engine) KeyUpdate(request bool) error {
	if err := e.Err(); err != nil {
		return err
	}
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	return e.out.updateKey(request)
}

// CloseWrite puts close_notify into the output. Nothing can be written after it.
func (e *Engine) CloseWrite() {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	e.out.close()
}

// Close forgets the connection's secrets. It says nothing to the peer. What is in
// the output may still be sent.
func (e *Engine) Close() {
	e.errMu.Lock()
	if e.err == nil {
		e.err = ErrClosed
	}
	e.errMu.Unlock()
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	if e.hs != nil {
		e.hs.forget()
		e.hs = nil
	}
	e.exporter.forget()
	e.in.forget()
	e.out.forget()
}

// Refuse ends the connection with an alert for the peer.
func (e *Engine) Refuse(a Alert) {
	_ = e.fail(wire.Errorf(a, "this side refused the peer"))
}

// State tells what was agreed. It is whole once the handshake is complete.
func (e *Engine) State() State {
	e.in.mu.Lock()
	defer e.in.mu.Unlock()
	return e.state
}
