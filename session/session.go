// Package session is a TLS session as QEMU and libvirt have them, on any
// transport, made from a credential object.
//
// A [Session] does no I/O: the transport's bytes go in with [Session.Feed] and
// out with [Session.Output], [Session.Handshake] says what it waits for,
// [Session.CheckPeer] judges the peer once the handshake is complete, and only
// then may anything be read or written. A [Conn] does all that for those who
// have a net.Conn.
//
// Two engines serve sessions: crypto/tls wherever it can honour the credentials
// and the priority string exactly, and our own ([virtls/tlsengine]) for the rest.
// [State] tells which it was.
package session

import (
	"context"
	"errors"
	"io"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/priority"
	"virtls/tlsengine"
)

// Status says what a session waits for (QEMU's include/crypto/tlssession.h).
type Status = tlsengine.Status

// The statuses.
const (
	Complete  = tlsengine.Complete
	Sending   = tlsengine.Sending
	Receiving = tlsengine.Receiving
	Signing   = tlsengine.Signing // see Options.DeferSigning
)

// ErrWantInput is returned by [Session.Read] when it needs more bytes of the peer.
var ErrWantInput = tlsengine.ErrWantInput

// EngineChoice says which engine serves a session.
type EngineChoice string

// The choices.
const (
	Auto   EngineChoice = ""       // crypto/tls where it can, else our own
	Std    EngineChoice = "std"    // crypto/tls
	Native EngineChoice = "native" // our own
)

// Options say what a session is for.
type Options struct {
	// Credentials decide everything else: the endpoint, the kind of session and
	// its priority. They are used to the session's end, whatever is reloaded.
	Credentials creds.Credentials

	// Hostname is whom a client wants to talk to. A client that verifies its peer
	// by certificates must have one. It is not sent: QEMU and libvirt send no
	// server_name.
	Hostname string

	// Authorizer decides on the peer's name (its DN), for servers that verify
	// their peers by certificates; nil lets in everybody whose certificate is good.
	Authorizer authz.Authorizer

	Rules  Rules // whose order and words the peer check has
	Engine EngineChoice

	// System is the system's configuration of priorities, for @NAME.
	System priority.SystemConfig

	// WithholdNames keeps a server from naming its authorities when it asks for
	// a certificate, to all its clients. Without it crypto/tls withholds them
	// from those clients of GnuTLS that would keep back an RSA certificate.
	WithholdNames bool

	// Observe has a client look at the server and judge it, and end before it has
	// to answer: see [tlsengine.Config]. Nothing can be read or written, and the
	// server sees a client that goes away. Our own engine does it.
	Observe bool

	// StrictPQC lets a server show its ML-DSA certificate to every client that
	// claims to verify ML-DSA. Without it a client must offer an ML-KEM group, too,
	// if there is another certificate: GnuTLS 3.8.13 without leancrypto claims what
	// it cannot do. Only our own engine has the choice.
	StrictPQC bool

	// ImportPSK has pre-shared keys imported (RFC 9258): each session's key is
	// derived for TLS 1.3 and a hash, and TLS 1.2 does without keys. Both ends must
	// want it; GnuTLS and OpenSSL, and so QEMU, know nothing of it.
	ImportPSK bool
	// PSKContext is what both ends give imported keys: names of the two ends, so
	// that no key fits another pair or the other direction (RFC 9258, section 5.1).
	PSKContext []byte

	// DeferSigning has Session.Handshake return Signing where it needs a
	// signature, for keys that are slow or elsewhere: see [Session.Sign]. Our own
	// engine does it. A [Conn] needs no such option: it never waits for a key
	// longer than its context lasts.
	DeferSigning bool

	// RecordsPerKey is after how many records this end changes its key in TLS 1.3:
	// see [tlsengine.Limits]. crypto/tls has a limit of its own.
	RecordsPerKey int

	// KeyLog gets the session's secrets, for debugging: whoever reads them reads
	// the session. Nothing but this sets it, no environment variable either.
	KeyLog io.Writer

	Now func() time.Time // by which certificates are judged; time.Now if nil
}

// engine is what an engine must do for a session. It is a state machine without
// I/O, as [tlsengine.Engine] is.
type engine interface {
	Feed(p []byte) int
	Output() []byte
	Sent(n int)
	Handshake() (Status, error)
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	Pending() int
	CloseWrite()
	fill(s *State) // enters what was agreed
	refuse(error)  // tells the peer why it was refused, if it was not told yet
	close()        // ends what the engine runs
}

// A Session is one end of a TLS connection. One goroutine may read while another
// writes.
type Session struct {
	o     Options
	p     *plan
	e     engine // nil below a Conn that crypto/tls serves
	done  bool   // the handshake is complete
	state State

	signing context.Context // for how long crypto/tls waits for a key; nil if it does for ever

	judged  bool  // the peer was judged
	verdict error // and this came of it
}

// New returns a session that has said nothing yet. The error is a
// *finding.Failure.
func New(o Options) (*Session, error) {
	s, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if !s.p.native {
		s.e = newStdEngine(s)
		return s, nil
	}
	e, err := newNativeEngine(s.p)
	if err != nil {
		return nil, err
	}
	s.e = e
	return s, nil
}

// prepare makes a session without an engine.
func prepare(o Options) (*Session, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	p, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	return &Session{o: o, p: p, state: p.state()}, nil
}

// Feed takes bytes that the transport brought, and returns how many: fewer than
// all only if reading must come first.
func (s *Session) Feed(p []byte) int { return s.e.Feed(p) }

// Output returns bytes for the transport. They are valid until the next call of
// a method other than Pending.
func (s *Session) Output() []byte { return s.e.Output() }

// Sent says that the transport took n bytes of the output.
func (s *Session) Sent(n int) { s.e.Sent(n) }

// Handshake goes on as far as it can. After an error what is in the output, an
// alert, should still be sent.
func (s *Session) Handshake() (Status, error) {
	status, err := s.e.Handshake()
	if err != nil {
		return status, s.failed(err)
	}
	if status == Complete && !s.done {
		s.done = true
		s.e.fill(&s.state)
	}
	return status, nil
}

// failed says why a handshake failed.
func (s *Session) failed(err error) error {
	if s.verdict != nil {
		return s.verdict
	}
	if s.e != nil && s.p.native {
		s.e.fill(&s.state)    // what is known by now
		s.state.PeerName = "" // a user that was not proved
	}
	f, ok := s.p.pskRefused(s.state.subject(), err)
	if !ok {
		f = kindHandshake.Found(s.state.subject(), s.p.chosen.reason).WithText("TLS handshake failed: %v", err)
	}
	return wrong(f, err)
}

// Sign makes the signature that a handshake with the status [Signing] waits for,
// however long the key takes. It may be called by a goroutine of its own; other
// methods do not wait for it. Then Handshake goes on, and fails if signing did.
func (s *Session) Sign() error {
	e, ok := s.e.(*nativeSession)
	if !ok {
		return errors.New("session: Sign without need of a signature")
	}
	return e.Sign()
}

// CheckPeer judges the peer by the credentials, when the handshake is complete,
// as QEMU's qcrypto_tls_session_check_credentials and libvirt do. Nothing can be
// read or written before it has returned nil.
func (s *Session) CheckPeer() error {
	if !s.done {
		return errors.New("session: CheckPeer before the handshake is complete")
	}
	if s.judge(); s.verdict != nil && s.e != nil {
		s.e.refuse(s.verdict)
	}
	return s.verdict
}

// judge judges the peer once.
func (s *Session) judge() {
	if !s.judged {
		s.judged, s.verdict = true, s.checkPeer()
	}
}

func (s *Session) checked() bool { return s.judged && s.verdict == nil }

var errUnchecked = errors.New("session: the peer has not been checked")

// Read decrypts into p. It returns [ErrWantInput] when more must be fed, and
// io.EOF after the peer's goodbye.
func (s *Session) Read(p []byte) (int, error) {
	if !s.checked() {
		return 0, errUnchecked
	}
	return s.e.Read(p)
}

// Write encrypts p into the output.
func (s *Session) Write(p []byte) (int, error) {
	if !s.checked() {
		return 0, errUnchecked
	}
	return s.e.Write(p)
}

// Pending returns how many decrypted bytes Read would return at once: event
// loops must look here before they wait for the transport.
func (s *Session) Pending() int {
	if !s.checked() {
		return 0
	}
	return s.e.Pending()
}

// Bye says goodbye: it puts close_notify into the output and reports Sending
// until it is gone. The peer may still send. Before the handshake is complete
// there is nothing to say.
func (s *Session) Bye() Status {
	if !s.done {
		return Complete
	}
	s.e.CloseWrite()
	if len(s.e.Output()) > 0 {
		return Sending
	}
	return Complete
}

// Close ends the session without a word to the peer, and whatever runs for it.
func (s *Session) Close() error {
	s.e.close()
	return nil
}

// State tells what was agreed, once the handshake is complete.
func (s *Session) State() State { return s.state }

var _ io.Closer = (*Session)(nil)
