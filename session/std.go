package session

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"virtls/pki"
)

// stdConfig is crypto/tls for a session. Whom to trust is judged by
// [Session.CheckPeer]. By QEMU's rules that is at the end of the handshake,
// where crypto/tls can still send an alert; libvirt sends none.
func (s *Session) stdConfig() *tls.Config {
	p := s.p
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// GnuTLS 3.7 clients of libvirt take a ticket for the end of the connection.
		SessionTicketsDisabled: true,
		// Small records at first would spare a browser some milliseconds.
		DynamicRecordSizingDisabled: true,
		KeyLogWriter:                p.o.KeyLog,
		InsecureSkipVerify:          true,
		Time:                        p.o.Now,
	}
	if p.o.Rules == QEMU {
		cfg.VerifyConnection = func(c tls.ConnectionState) error {
			p.fillStd(&s.state, c)
			s.judge()
			return s.verdict
		}
	}
	common := sharedBy(p.x509)
	certs := common.certs
	if !p.server() {
		cfg.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.impatient(p.pick(certs, r.SupportsCertificate)), nil
		}
		return cfg
	}
	cfg.ClientAuth = tls.RequestClientCert
	cfg.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		hello := *h
		hello.ServerName = "" // names decide nothing: there is one set of credentials
		if c := p.pick(certs, hello.SupportsCertificate); len(c.Certificate) > 0 {
			return s.impatient(c), nil
		}
		return nil, errors.New("the client cannot verify the key of any of this side's certificates")
	}
	if !p.o.WithholdNames {
		cfg.ClientCAs = common.pool()
		cfg.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if !needsNoNames(h) {
				return nil, nil
			}
			nameless := cfg.Clone()
			nameless.ClientCAs = nil
			return nameless, nil
		}
	}
	return cfg
}

// Extensions of a ClientHello that GnuTLS sends and hardly anybody else: both of
// them nobody (RFC 7366, RFC 8449).
const (
	encryptThenMAC  = 22
	recordSizeLimit = 28
)

// needsNoNames tells whether a client may keep back an RSA certificate from a
// server that names authorities: GnuTLS before 3.8.13 does in TLS 1.3, because
// crypto/tls does not ask for PKCS #1 signatures there (GnuTLS issue 1842). The
// first that does not is the first that knows ML-DSA. Without names a client
// shows the one certificate that it has; of several it would show none.
func needsNoNames(h *tls.ClientHelloInfo) bool {
	return slices.Contains(h.Extensions, encryptThenMAC) && slices.Contains(h.Extensions, recordSizeLimit) &&
		slices.Contains(h.SupportedVersions, tls.VersionTLS13) &&
		!slices.ContainsFunc(h.SignatureSchemes, func(s tls.SignatureScheme) bool { return s == mldsa65 })
}

const mldsa65 tls.SignatureScheme = 0x0905

// pick takes the first certificate that the peer can verify, an empty one if
// there is none.
func (p *plan) pick(certs []tls.Certificate, fits func(*tls.Certificate) error) *tls.Certificate {
	for i := range certs {
		if err := fits(&certs[i]); err != nil {
			p.chosen.reason = err.Error()
			continue
		}
		p.chosen.identity = &p.x509.Identities[i]
		if i == 0 {
			p.chosen.reason = ""
		}
		return &certs[i]
	}
	return &tls.Certificate{}
}

// fillStd enters what crypto/tls agreed.
func (p *plan) fillStd(s *State, c tls.ConnectionState) {
	s.Version, s.Suite, s.KeySize, s.Group = tls.VersionName(c.Version), tls.CipherSuiteName(c.CipherSuite), keySize(c.CipherSuite), groupName(c.CurveID)
	seen := s.PeerChain // when the peer was judged
	s.Identity, s.Reason, s.PeerChain = p.chosen.identity, p.chosen.reason, nil
	if s.Identity != nil {
		s.Scheme = UnknownScheme
	}
	if len(c.PeerCertificates) > 0 {
		s.PeerScheme = UnknownScheme
	}
	for i, cert := range c.PeerCertificates {
		if i < len(seen) && bytes.Equal(seen[i].Raw, cert.Raw) {
			s.PeerChain = append(s.PeerChain, seen[i])
			continue
		}
		parsed, err := pki.ParseCertificate(cert.Raw)
		if err != nil {
			// A chain that cannot be read is none.
			s.PeerChain = nil
			return
		}
		s.PeerChain = append(s.PeerChain, parsed)
	}
}

// stdEngine makes a state machine of crypto/tls. The handshake runs in a
// goroutine of its own, because its state is on its stack; what comes later
// does not.
type stdEngine struct {
	p     *plan
	conn  *tls.Conn
	b     *bridge
	mem   *[copySize]byte // nil without plain
	plain []byte          // what Pending has found
}

func newStdEngine(s *Session) *stdEngine {
	b := newBridge()
	return &stdEngine{p: s.p, conn: s.stdConn(b), b: b}
}

func (s *Session) stdConn(c net.Conn) *tls.Conn {
	if s.p.server() {
		return tls.Server(c, s.stdConfig())
	}
	return tls.Client(c, s.stdConfig())
}

func (e *stdEngine) Feed(b []byte) int { return e.b.feed(b) }
func (e *stdEngine) Output() []byte    { return e.b.output() }
func (e *stdEngine) Sent(n int)        { e.b.sent(n) }
func (e *stdEngine) close()            { e.b.end() }
func (e *stdEngine) refuse(error)      {}
func (e *stdEngine) fill(s *State)     { e.p.fillStd(s, e.conn.ConnectionState()) }

func (e *stdEngine) Handshake() (Status, error) {
	finished, err := e.b.run(e.conn.Handshake)
	switch {
	case err != nil:
		return Complete, err
	case len(e.b.output()) > 0:
		return Sending, nil
	case !finished:
		return Receiving, nil
	}
	return Complete, nil
}

func (e *stdEngine) Read(p []byte) (int, error) {
	if len(e.plain) == 0 {
		return e.read(p)
	}
	n := copy(p, e.plain)
	if e.plain = e.plain[n:]; len(e.plain) == 0 {
		copies.Put(e.mem)
		e.mem = nil
	}
	return n, nil
}

func (e *stdEngine) read(p []byte) (int, error) {
	n, err := e.conn.Read(p)
	if errors.Is(err, errNothing) {
		err = ErrWantInput
	}
	return n, err
}

func (e *stdEngine) Write(p []byte) (int, error) { return e.conn.Write(p) }

// Pending has to read, because crypto/tls does not tell. Errors come again.
func (e *stdEngine) Pending() int {
	if len(e.plain) > 0 {
		return len(e.plain)
	}
	mem := copies.Get().(*[copySize]byte)
	n, _ := e.read(mem[:])
	if n == 0 {
		copies.Put(mem)
		return 0
	}
	e.mem, e.plain = mem, mem[:n]
	return n
}

func (e *stdEngine) CloseWrite() {
	// It fails only after an error that the caller has been told.
	_ = e.conn.CloseWrite()
}

// A bridge is a net.Conn in memory between crypto/tls and a session.
type bridge struct {
	mu      sync.Mutex
	changed sync.Cond
	in, out []byte
	started bool
	waiting bool // the handshake waits for input
	over    bool // the handshake has returned err
	err     error
	ended   bool
}

func newBridge() *bridge {
	b := &bridge{}
	b.changed.L = &b.mu
	return b
}

// run runs the handshake until it waits for input or ends.
func (b *bridge) run(handshake func() error) (finished bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.started {
		b.started = true
		go func() {
			err := handshake()
			b.mu.Lock()
			defer b.mu.Unlock()
			b.over, b.err = true, err
			b.changed.Broadcast()
		}()
	}
	for !b.over && (!b.waiting || len(b.in) > 0) {
		b.changed.Wait()
	}
	return b.over, b.err
}

func (b *bridge) feed(p []byte) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(p), maxBridged-len(b.in))
	if n <= 0 {
		return 0
	}
	b.in = append(b.in, p[:n]...)
	b.changed.Broadcast()
	return n
}

// maxBridged bounds what is taken before somebody reads.
const maxBridged = 64 << 10

func (b *bridge) output() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out
}

func (b *bridge) sent(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out = without(b.out, n)
}

// without removes octets from the front, and the memory with the last of many.
func without(b []byte, n int) []byte {
	b = b[:copy(b, b[n:])]
	if len(b) == 0 && cap(b) > 4<<10 {
		return nil
	}
	return b
}

// end makes a handshake return that waits.
func (b *bridge) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// Read waits for input during the handshake, and not afterwards.
func (b *bridge) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.in) == 0 {
		switch {
		case b.ended:
			return 0, io.ErrClosedPipe
		case b.over:
			return 0, errNothing
		}
		b.waiting = true
		b.changed.Broadcast()
		b.changed.Wait()
	}
	b.waiting = false
	n := copy(p, b.in)
	b.in = without(b.in, n)
	return n, nil
}

func (b *bridge) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, io.ErrClosedPipe
	}
	b.out = append(b.out, p...)
	return len(p), nil
}

func (b *bridge) Close() error                     { return nil }
func (b *bridge) LocalAddr() net.Addr              { return bridgeAddr{} }
func (b *bridge) RemoteAddr() net.Addr             { return bridgeAddr{} }
func (b *bridge) SetDeadline(time.Time) error      { return nil }
func (b *bridge) SetReadDeadline(time.Time) error  { return nil }
func (b *bridge) SetWriteDeadline(time.Time) error { return nil }

type bridgeAddr struct{}

func (bridgeAddr) Network() string { return "memory" }
func (bridgeAddr) String() string  { return "memory" }
