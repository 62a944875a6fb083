package tlsengine

import (
	"bytes"
	"slices"

	"virtls/pki"
	"virtls/pki/dh"
	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/wire"
)

// The steps of a TLS 1.2 client (RFC 5246, section 7.3).
var (
	client12Certificate = &step{name: "a client (TLS 1.2)", want: []wire.HandshakeType{wire.TypeCertificate}}
	client12Keys        = &step{name: "a client (TLS 1.2)", want: []wire.HandshakeType{wire.TypeServerKeyExchange}}
	// A server with a pre-shared key alone may have nothing to say of keys.
	client12MaybeKeys = &step{name: "a client (TLS 1.2)", want: []wire.HandshakeType{wire.TypeServerKeyExchange, wire.TypeServerHelloDone}}
	client12Request   = &step{name: "a client (TLS 1.2)", want: []wire.HandshakeType{wire.TypeCertificateRequest, wire.TypeServerHelloDone}}
	client12Done      = &step{name: "a client (TLS 1.2)", want: []wire.HandshakeType{wire.TypeServerHelloDone}}
	client12Finished  = &step{name: "a client (TLS 1.2)", want: []wire.HandshakeType{wire.TypeFinished}}
)

func init() {
	// Set here because the steps refer to each other.
	client12Certificate.handle = (*Engine).serverCertificate12
	client12Keys.handle = (*Engine).serverKeys12
	client12MaybeKeys.handle = (*Engine).serverKeys12
	client12Request.handle = (*Engine).serverRequest12
	client12Done.handle = (*Engine).serverRequest12
	client12Finished.handle = (*Engine).serverFinished12
}

// downgraded are the last octets of a random value by which a server of TLS 1.3
// says that it would have spoken it (RFC 8446, section 4.1.3); downgradedFar goes
// with versions before TLS 1.2, and is no better with this one.
const (
	downgraded    = "DOWNGRD\x01"
	downgradedFar = "DOWNGRD\x00"
)

var inServerHello12 = []wire.ExtensionType{wire.ExtExtendedMasterSecret, wire.ExtRenegotiationInfo, wire.ExtPointFormats, wire.ExtRecordSizeLimit,
	wire.ExtSupportedGroups, // against RFC 8422, section 5.2, but some servers send it
	wire.ExtServerName}

func (e *Engine) serverHello12(h *wire.ServerHello, m wire.Message) error {
	allowed := inServerHello12
	if !e.hs.hello.HasServerName {
		allowed = allowed[:len(allowed)-1]
	}
	s := suiteByID(h.Suite)
	switch {
	case slices.Contains(e.cfg.Versions, wire.TLS13) && (string(h.Random[24:]) == downgraded || string(h.Random[24:]) == downgradedFar):
		return wire.Errorf(wire.IllegalParameter, "the server speaks TLS 1.3 and was made to choose TLS 1.2: somebody is in between")
	case len(h.SessionID) > 0 && bytes.Equal(h.SessionID, e.hs.hello.SessionID):
		return wire.Errorf(wire.IllegalParameter, "the server resumes a session that there never was")
	case !slices.Contains(e.cfg.Suites, h.Suite) || s.kx == nil:
		return wire.Errorf(wire.IllegalParameter, "the server chose %s, which was not offered for TLS 1.2", h.Suite)
	case h.Compression != 0:
		return wire.Errorf(wire.IllegalParameter, "a server_hello with compression")
	case len(h.RenegotiationInfo) > 0:
		return wire.Errorf(wire.HandshakeFailure, "a server_hello of a renegotiation")
	case h.PointFormats != nil && !slices.Contains(h.PointFormats, 0):
		return wire.Errorf(wire.IllegalParameter, "a server_hello without uncompressed points") // RFC 8422, section 5.1.2
	case s.needExtended() && !h.ExtendedMasterSecret:
		return wire.Errorf(wire.HandshakeFailure, "the server lacks the extended master secret, without which %s is not safe", s.id)
	}
	if err := checkExtensions(h.Extensions, allowed, "a server_hello"); err != nil {
		return err
	}
	e.start12(s, e.hs.hello, h)
	e.note12(m)
	if err := e.recordLimit12(h.RecordSizeLimit); err != nil {
		return err
	}
	switch {
	case s.kx.key != noCertificate:
		e.hs.step = client12Certificate
	case s.kx == plainPSK:
		e.hs.step = client12MaybeKeys
	default:
		e.hs.step = client12Keys
	}
	if s.kx.PSK {
		e.hs.psk, e.state.PSKIdentity = e.cfg.PSK.offered(0), e.cfg.PSK.Identity
	}
	return nil
}

func (e *Engine) serverCertificate12(m wire.Message) error {
	if err := e.peerCertificate12(m); err != nil {
		return err
	}
	if e.state.PeerChain == nil {
		return wire.Errorf(wire.DecodeError, "the server sent no certificate")
	}
	if got := keyOf(e.state.PeerChain[0]); got != e.hs.suite.kx.key {
		return wire.Errorf(wire.IllegalParameter, "the server's certificate has a key of type %s, which is not for %s", e.state.PeerChain[0].PublicKey.Algorithm, e.hs.suite.id)
	}
	if g := curveOf(e.state.PeerChain[0].PublicKey.Key); g != 0 && !slices.Contains(e.hs.hello.Groups, g) {
		return wire.Errorf(wire.IllegalParameter, "the server's certificate has a key on %s, which was not offered", g) // RFC 8422, section 5.1
	}
	e.hs.step = client12Keys
	return nil
}

// keyOf returns the kind of key of a certificate.
func keyOf(c *pki.Certificate) certKey {
	switch c.PublicKey.Algorithm {
	case pki.ECDSA, pki.Ed25519:
		return ecKey
	case pki.RSA, pki.RSAPSS:
		return rsaKey
	}
	return noCertificate
}

// certificateTypes are what a server asks for keys by (RFC 5246, section 7.4.4;
// RFC 8422, section 5.5).
var certificateTypes = map[certKey]byte{rsaKey: wire.RSASign, ecKey: wire.ECDSASign}

func (e *Engine) peerCertificate12(m wire.Message) error {
	c, err := wire.ParseCertificate12(m.Body())
	if err != nil {
		return err
	}
	e.note12(m)
	return e.takeChain(c.Chain)
}

// serverKeys12 takes the server's share.
func (e *Engine) serverKeys12(m wire.Message) error {
	if m.Type() == wire.TypeServerHelloDone {
		return e.serverRequest12(m)
	}
	k := e.hs.suite.kx
	x, err := wire.ParseServerKeyExchange(m.Body(), k.KeyKind)
	if err != nil {
		return err
	}
	if k.Signed {
		if err := e.checkKeys12(x); err != nil {
			return err
		}
	}
	if err := e.exchange12(x); err != nil {
		return err
	}
	e.note12(m)
	e.hs.step = client12Done
	if k.key != noCertificate {
		e.hs.step = client12Request
	}
	return nil
}

// checkKeys12 checks the signature of the server's share.
func (e *Engine) checkKeys12(x *wire.ServerKeyExchange) error {
	r := e.hs.v12.randoms
	content := slices.Concat(r.Client[:], r.Server[:], x.Params)
	if err := e.checkSignature(wire.TLS12, x.Scheme, content, x.Signature); err != nil {
		return err
	}
	e.state.PeerScheme = x.Scheme
	return e.verifyPeer()
}

// exchange12 makes this side's half of the key exchange.
func (e *Engine) exchange12(x *wire.ServerKeyExchange) (err error) {
	v, k := e.hs.v12, e.hs.suite.kx
	v.peer = x.Share
	switch {
	case k.Curve:
		if !slices.Contains(e.cfg.Groups, x.Group) || x.Group.IsHybrid() || x.Group.IsFFDHE() {
			return wire.Errorf(wire.IllegalParameter, "the server chose %s, which was not offered for TLS 1.2", x.Group)
		}
		v.group = x.Group
		v.exchange, err = kex.New(x.Group, e.cfg.Rand)
	case k.Finite:
		if v.group = kex.Named(x.DH); v.group == 0 {
			if bits := x.DH.Prime.BitLen(); bits < e.cfg.MinDHBits {
				return wire.Errorf(wire.InsufficientSecurity, "the server's Diffie-Hellman prime has %d bits, and this side wants %d", bits, e.cfg.MinDHBits)
			}
		}
		v.exchange, err = kex.NewFinite(ownKeyBits(x.DH, v.group), e.cfg.Rand)
	}
	e.state.Group = v.group
	if err != nil {
		return wire.Errorf(wire.IllegalParameter, "%v", err)
	}
	return nil
}

// ownKeyBits are the parameters of the named group, which allow shorter keys.
func ownKeyBits(p dh.Params, g wire.Group) dh.Params {
	if named, ok := kex.Parameters(g); ok {
		return named
	}
	return p
}

// serverRequest12 takes the server's request for a certificate, and then the end
// of its flight, which this side's answers.
func (e *Engine) serverRequest12(m wire.Message) error {
	if m.Type() == wire.TypeCertificateRequest {
		r, err := wire.ParseCertificateRequest12(m.Body())
		if err != nil {
			return err
		}
		e.hs.v12.request, e.hs.step = r, client12Done
		e.state.Request = &CertificateRequest{Schemes: r.Schemes, Authorities: r.Authorities}
		e.note12(m)
		return nil
	}
	if len(m.Body()) != 0 {
		return wire.Errorf(wire.DecodeError, "malformed server_hello_done")
	}
	e.note12(m)
	if e.cfg.Observe {
		return ErrObserved
	}
	return e.clientFlight12()
}

func (e *Engine) clientFlight12() error {
	hs, v := e.hs, e.hs.v12
	if v.request != nil {
		e.chooseClientIdentity12()
		e.send12(hs.identity.message12())
	}
	cke := &wire.ClientKeyExchange{}
	if v.exchange != nil {
		cke.Share = v.exchange.Share()
	}
	if hs.psk != nil {
		cke.Identity = hs.psk.user
	}
	e.send12(cke.Marshal(hs.suite.kx.KeyKind))
	if err := e.keys12(); err != nil {
		return err
	}
	messages := v.messages
	v.keep, v.messages = false, nil
	if hs.identity == nil {
		return e.clientFinish12()
	}
	return e.sign(messages, func(sig []byte) error {
		e.send12((&wire.CertificateVerify{Scheme: e.state.Scheme, Signature: sig}).Marshal())
		return e.clientFinish12()
	})
}

func (e *Engine) clientFinish12() error {
	e.finish12()
	e.hs.step = client12Finished
	return nil
}

func (e *Engine) chooseClientIdentity12() {
	r := e.hs.v12.request
	e.chooseClientIdentity(wire.TLS12, r.Schemes, r.Authorities, func(id *Identity) bool {
		return slices.Contains(r.Types, certificateTypes[keyOf(id.Chain[0])])
	})
}

func (id *Identity) message12() wire.Message {
	m := &wire.Certificate12{}
	if id != nil {
		for _, c := range id.Chain {
			m.Chain = append(m.Chain, c.Raw)
		}
	}
	return m.Marshal()
}

func (e *Engine) serverFinished12(m wire.Message) error {
	if err := e.peerFinished12(m); err != nil {
		return err
	}
	e.complete()
	return nil
}
