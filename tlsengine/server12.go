package tlsengine

import (
	"crypto"
	"crypto/ecdsa"
	"io"
	"slices"

	"virtls/pki/dh"
	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/wire"
)

// The steps of a TLS 1.2 server (RFC 5246, section 7.3).
var (
	server12Certificate = &step{name: "a server (TLS 1.2)", want: []wire.HandshakeType{wire.TypeCertificate}}
	server12Keys        = &step{name: "a server (TLS 1.2)", want: []wire.HandshakeType{wire.TypeClientKeyExchange}}
	server12Verify      = &step{name: "a server (TLS 1.2)", want: []wire.HandshakeType{wire.TypeCertificateVerify}}
	server12Finished    = &step{name: "a server (TLS 1.2)", want: []wire.HandshakeType{wire.TypeFinished}}
)

func init() {
	// Set here because the steps refer to each other.
	server12Certificate.handle = (*Engine).clientCertificate12
	server12Keys.handle = (*Engine).clientKeys12
	server12Verify.handle = (*Engine).clientVerify12
	server12Finished.handle = (*Engine).clientFinished12
}

// answer12 answers a ClientHello in TLS 1.2.
func (e *Engine) answer12(h *wire.ClientHello, m wire.Message) error {
	switch {
	case !slices.Contains(h.Compression, 0):
		return wire.Errorf(wire.IllegalParameter, "a client_hello without the null compression")
	case len(h.RenegotiationInfo) > 0:
		return wire.Errorf(wire.HandshakeFailure, "a client_hello of a renegotiation")
	case h.PointFormats != nil && !slices.Contains(h.PointFormats, 0):
		return wire.Errorf(wire.IllegalParameter, "a client_hello without uncompressed points") // RFC 8422, section 5.1.2
	}
	s := e.chooseSuite(h.Suites, func(s *suite) bool { return s.kx != nil && e.fits12(s, h) })
	if s == nil {
		return wire.Errorf(wire.HandshakeFailure, "no cipher suite in common for TLS 1.2: the client offers %v", h.Suites)
	}
	sh := &wire.ServerHello{Version: wire.TLS12, Suite: s.id, ExtendedMasterSecret: h.ExtendedMasterSecret}
	if _, err := io.ReadFull(e.cfg.Rand, sh.Random[:]); err != nil {
		return err
	}
	if slices.Contains(e.cfg.Versions, wire.TLS13) {
		copy(sh.Random[24:], downgraded)
	}
	if h.SecureRenegotiation {
		sh.RenegotiationInfo = []byte{}
	}
	if s.kx.Curve && h.PointFormats != nil {
		sh.PointFormats = []byte{0}
	}
	if h.RecordSizeLimit != 0 {
		sh.RecordSizeLimit = ownRecordLimit - 1
	}
	e.hs.transcript.add(m)
	e.start12(s, h, sh)
	e.state.ServerName = h.ServerName
	if err := e.recordLimit12(h.RecordSizeLimit); err != nil {
		return err
	}
	e.send12(sh.Marshal())
	return e.serverFlight12(h)
}

// fits12 tells whether this side can use a suite with a client.
func (e *Engine) fits12(s *suite, h *wire.ClientHello) bool {
	k := s.kx
	switch {
	case s.needExtended() && !h.ExtendedMasterSecret:
		return false
	case k.Curve && e.curve12(h) == 0, k.Finite && !e.finiteFits12(h):
		return false
	case k.PSK:
		return e.cfg.FindPSK != nil
	case k.key == noCertificate:
		return e.cfg.Anonymous
	}
	id, _ := e.identity12(s, h)
	return id >= 0
}

// curve12 chooses a curve, 0 if there is none in common. A client that names
// none has P-256 (RFC 8422, section 4).
func (e *Engine) curve12(h *wire.ClientHello) wire.Group {
	offered := h.Groups
	if offered == nil {
		offered = []wire.Group{wire.P256}
	}
	first, second := inOrder(e, e.cfg.Groups, offered)
	for _, g := range first {
		if slices.Contains(second, g) && !g.IsHybrid() && !g.IsFFDHE() && kex.Known(g) {
			return g
		}
	}
	return 0
}

// finite12 chooses the parameters of a finite field: a group that the client
// names, or else those of the configuration.
func (e *Engine) finite12(h *wire.ClientHello) (dh.Params, wire.Group) {
	for _, g := range e.cfg.Groups {
		if p, ok := kex.Parameters(g); ok && slices.Contains(h.Groups, g) {
			return p, g
		}
	}
	if e.cfg.DH != nil {
		return *e.cfg.DH, 0
	}
	return dh.Group(2048), wire.FFDHE2048
}

// finiteFits12 refuses a client that names groups of RFC 7919, but none that
// this side has (RFC 7919, section 4).
func (e *Engine) finiteFits12(h *wire.ClientHello) bool {
	names := slices.ContainsFunc(h.Groups, wire.Group.IsFFDHE)
	return !names || slices.ContainsFunc(e.cfg.Groups, func(g wire.Group) bool { return g.IsFFDHE() && slices.Contains(h.Groups, g) })
}

// identity12 chooses the identity for a suite, -1 if there is none.
func (e *Engine) identity12(s *suite, h *wire.ClientHello) (int, wire.SignatureScheme) {
	for i := range e.cfg.Identities {
		id := &e.cfg.Identities[i]
		if keyOf(id.Chain[0]) != s.kx.key {
			continue
		}
		if g := curveOf(id.Key.Public()); g != 0 && h.Groups != nil && !slices.Contains(h.Groups, g) || !id.issuedBy(h.Authorities) {
			continue
		}
		if scheme := id.scheme(e.cfg, wire.TLS12, h.Schemes); scheme != 0 {
			return i, scheme
		}
	}
	return -1, 0
}

// curveOf returns the group with the curve of an ECDSA key, 0 for other keys.
func curveOf(pub crypto.PublicKey) wire.Group {
	if k, ok := pub.(*ecdsa.PublicKey); ok {
		return map[int]wire.Group{256: wire.P256, 384: wire.P384, 521: wire.P521}[k.Curve.Params().BitSize]
	}
	return 0
}

// serverFlight12 sends everything from Certificate to ServerHelloDone.
func (e *Engine) serverFlight12(h *wire.ClientHello) error {
	hs, k := e.hs, e.hs.suite.kx
	if k.key != noCertificate {
		i, scheme := e.identity12(hs.suite, h)
		hs.identity, e.state.Identity, e.state.Scheme = &e.cfg.Identities[i], i, scheme
		if i > 0 {
			e.state.Reason = "the client cannot verify the key of those before it"
		}
		e.send12(hs.identity.message12())
	}
	if k == plainPSK {
		return e.serverDone12()
	}
	return e.sendKeys12(h)
}

// serverDone12 sends what comes behind the server's share.
func (e *Engine) serverDone12() error {
	hs, v, k := e.hs, e.hs.v12, e.hs.suite.kx
	hs.step = server12Keys
	if k.key != noCertificate && e.cfg.RequestCertificate {
		v.request = &wire.CertificateRequest12{Schemes: e.cfg.Schemes, Authorities: e.cfg.Authorities}
		e.send12(v.request.Marshal())
		hs.step = server12Certificate
	}
	e.send12(wire.NewMessage(wire.TypeServerHelloDone, nil))
	return nil
}

// sendKeys12 sends the server's share, signed if there is a certificate.
func (e *Engine) sendKeys12(h *wire.ClientHello) (err error) {
	v, k := e.hs.v12, e.hs.suite.kx
	x := &wire.ServerKeyExchange{}
	if k.Curve {
		v.group = e.curve12(h)
		x.Group = v.group
		v.exchange, err = kex.New(v.group, e.cfg.Rand)
	} else {
		x.DH, v.group = e.finite12(h)
		v.exchange, err = kex.NewFinite(x.DH, e.cfg.Rand)
	}
	if err != nil {
		return wire.Errorf(wire.InternalError, "%v", err)
	}
	e.state.Group = v.group
	x.Share = v.exchange.Share()
	x.SetParams(k.KeyKind)
	if !k.Signed {
		e.send12(x.Marshal(k.KeyKind))
		return e.serverDone12()
	}
	return e.sign(slices.Concat(v.randoms.Client[:], v.randoms.Server[:], x.Params), func(sig []byte) error {
		x.Scheme, x.Signature = e.state.Scheme, sig
		e.send12(x.Marshal(k.KeyKind))
		return e.serverDone12()
	})
}

func (e *Engine) clientCertificate12(m wire.Message) error {
	if err := e.peerCertificate12(m); err != nil {
		return err
	}
	e.hs.step = server12Keys
	if e.state.PeerChain == nil {
		return e.verifyPeer()
	}
	return nil
}

func (e *Engine) clientKeys12(m wire.Message) error {
	hs, v, k := e.hs, e.hs.v12, e.hs.suite.kx
	x, err := wire.ParseClientKeyExchange(m.Body(), k.KeyKind)
	if err != nil {
		return err
	}
	v.peer = x.Share
	if k.PSK {
		if hs.psk, err = e.findPSK12(x.Identity); err != nil {
			return err
		}
	}
	e.note12(m)
	if err := e.keys12(); err != nil {
		return err
	}
	hs.step = server12Finished
	if e.state.PeerChain != nil {
		hs.step = server12Verify
		return nil
	}
	v.keep, v.messages = false, nil
	return nil
}

func (e *Engine) clientVerify12(m wire.Message) error {
	v := e.hs.v12
	c, err := wire.ParseCertificateVerify(m.Body())
	if err != nil {
		return err
	}
	if err := e.checkSignature(wire.TLS12, c.Scheme, v.messages, c.Signature); err != nil {
		return err
	}
	e.state.PeerScheme = c.Scheme
	v.keep, v.messages = false, nil
	e.note12(m)
	e.hs.step = server12Finished
	return e.verifyPeer()
}

func (e *Engine) clientFinished12(m wire.Message) error {
	if err := e.peerFinished12(m); err != nil {
		return err
	}
	e.finish12()
	e.complete()
	return nil
}
