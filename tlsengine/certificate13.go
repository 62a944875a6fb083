package tlsengine

import (
	"bytes"
	"errors"
	"slices"

	"virtls/pki"
	"virtls/tlsengine/internal/sigs"
	"virtls/tlsengine/internal/wire"
)

// chooseIdentity chooses the identity that a server shows: the first whose key
// can sign and whose chain was signed as the client can verify (RFC 8446, section
// 4.4.2.2). Chains that no identity has give way before keys do.
func (e *Engine) chooseIdentity(h *wire.ClientHello) error {
	chains := h.CertSchemes
	if chains == nil {
		chains = h.Schemes
	}
	careful := !e.cfg.StrictPQC && !slices.ContainsFunc(h.Groups, wire.Group.IsHybrid) &&
		slices.ContainsFunc(e.cfg.Identities, func(id Identity) bool { return !id.isPQC() })
	why := ""
	for _, anyChain := range []bool{false, true} {
		for i := range e.cfg.Identities {
			id := &e.cfg.Identities[i]
			scheme := id.scheme(e.cfg, wire.TLS13, h.Schemes)
			switch {
			case scheme == 0:
				why = "the client cannot verify the key of those before it"
			case careful && id.isPQC():
				why = "the client offers ML-DSA without ML-KEM, as GnuTLS builds do that cannot verify it"
			case !id.issuedBy(h.Authorities):
				why = "the client names authorities, and those before it are of others"
			case !anyChain && !id.signedWith(chains):
				why = "the client cannot verify the chain of those before it"
			default:
				e.hs.identity, e.state.Identity, e.state.Scheme = id, i, scheme
				if e.state.Reason = why; i == 0 {
					e.state.Reason = ""
				}
				return nil
			}
		}
	}
	return wire.Errorf(wire.HandshakeFailure, "none of the %d identities has a key that the client can verify, and the issuer it wants: it offers %v", len(e.cfg.Identities), h.Schemes)
}

func (id *Identity) isPQC() bool { return pki.AlgorithmOf(id.Key.Public()).IsMLDSA() }

// signedWith tells whether the chain was signed with the schemes. A root's own
// signature is nobody's concern.
func (id *Identity) signedWith(schemes []wire.SignatureScheme) bool {
	for i, c := range id.Chain {
		if i > 0 && c.SelfIssued() {
			break
		}
		if !sigs.Signed(c, schemes) {
			return false
		}
	}
	return true
}

func (id *Identity) message() wire.Message {
	m := &wire.Certificate13{}
	if id != nil {
		for _, c := range id.Chain {
			m.Chain = append(m.Chain, c.Raw)
		}
	}
	return m.Marshal()
}

// sendServerCertificate asks for the client's certificate, if it is wanted,
// proves the server's identity, and goes on with then.
func (e *Engine) sendServerCertificate(then func() error) error {
	if e.cfg.RequestCertificate {
		e.hs.request = &wire.CertificateRequest13{Schemes: e.cfg.Schemes, Authorities: e.cfg.Authorities}
		e.send(e.hs.request.Marshal())
		e.hs.step = serverWaitCertificate
	}
	e.send(e.hs.identity.message())
	return e.prove(then)
}

// sendClientCertificate answers a server's request, with an empty list if no
// identity fits it, and goes on with then.
func (e *Engine) sendClientCertificate(then func() error) error {
	r := e.hs.request
	e.chooseClientIdentity(wire.TLS13, r.Schemes, r.Authorities, func(*Identity) bool { return true })
	e.send(e.hs.identity.message())
	if e.hs.identity == nil {
		return then()
	}
	return e.prove(then)
}

// chooseClientIdentity chooses the first identity that fits a server's request;
// there may be none. hasType tells whether the server takes the type of its key.
func (e *Engine) chooseClientIdentity(v wire.Version, schemes []wire.SignatureScheme, authorities [][]byte, hasType func(*Identity) bool) {
	for i := range e.cfg.Identities {
		id := &e.cfg.Identities[i]
		scheme := id.scheme(e.cfg, v, schemes)
		switch {
		case scheme == 0 || !hasType(id):
			e.state.Reason = "the server cannot verify the key of those before it"
		case !id.issuedBy(authorities):
			e.state.Reason = "the server names authorities, and those before it are of others"
		default:
			e.hs.identity, e.state.Identity, e.state.Scheme = id, i, scheme
			if i == 0 {
				e.state.Reason = ""
			}
			return
		}
	}
}

// issuedBy tells whether one of the names issued a certificate of the chain, if
// that matters. No names stand for all.
func (id *Identity) issuedBy(names [][]byte) bool {
	return !id.MatchIssuer || len(names) == 0 || slices.ContainsFunc(id.Chain, func(c *pki.Certificate) bool {
		return slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, c.RawIssuer) })
	})
}

// prove signs the transcript, and goes on with then.
func (e *Engine) prove(then func() error) error {
	return e.sign(sigs.Content13(e.client, e.hs.transcript.sum()), func(sig []byte) error {
		e.send((&wire.CertificateVerify{Scheme: e.state.Scheme, Signature: sig}).Marshal())
		return then()
	})
}

// serverCertificate takes the server's certificate, or its request for the
// client's before it.
func (e *Engine) serverCertificate(m wire.Message) error {
	if m.Type() == wire.TypeCertificateRequest {
		r, err := wire.ParseCertificateRequest13(m.Body())
		if err != nil {
			return err
		}
		if len(r.Context) > 0 {
			return wire.Errorf(wire.IllegalParameter, "a certificate_request with a context during the handshake")
		}
		e.hs.request, e.hs.step = r, clientWaitRequested
		e.state.Request = &CertificateRequest{Schemes: r.Schemes, CertSchemes: r.CertSchemes, Authorities: r.Authorities}
		e.hs.transcript.add(m)
		return nil
	}
	if err := e.peerCertificate(m); err != nil {
		return err
	}
	if e.state.PeerChain == nil {
		return wire.Errorf(wire.DecodeError, "the server sent no certificate")
	}
	e.hs.step = clientWaitVerify
	return nil
}

func (e *Engine) clientCertificate(m wire.Message) error {
	if err := e.peerCertificate(m); err != nil {
		return err
	}
	e.hs.step = serverWaitVerify
	if e.state.PeerChain == nil {
		e.hs.step = serverWaitFinished
		return e.verifyPeer()
	}
	return nil
}

func (e *Engine) peerCertificate(m wire.Message) error {
	c, err := wire.ParseCertificate13(m.Body())
	if err != nil {
		return err
	}
	switch {
	case len(c.Context) > 0:
		return wire.Errorf(wire.IllegalParameter, "a certificate with a context during the handshake")
	case len(c.Answered) > 0:
		return wire.Errorf(wire.UnsupportedExtension, "a certificate with the extension %s, which was not asked for", c.Answered[0])
	}
	e.hs.transcript.add(m)
	return e.takeChain(c.Chain)
}

// maxRSABits bounds the RSA keys of peers, as crypto/tls does: a signature of
// 16384 bits costs a tenth of a second, and a chain has many.
const maxRSABits = 8192

// takeChain reads the peer's certificates.
func (e *Engine) takeChain(chain [][]byte) error {
	if most := e.cfg.Limits.Chain; len(chain) > most {
		return wire.Errorf(wire.BadCertificate, "a chain of %d certificates; at most %d are taken", len(chain), most)
	}
	for i, der := range chain {
		cert, err := pki.ParseCertificate(der)
		if err != nil {
			return wire.Errorf(wire.DecodeError, "certificate %d of the peer's chain: %v", i+1, err)
		}
		if spec := pki.KeySpecOf(cert.PublicKey.Key); (cert.PublicKey.Algorithm == pki.RSA || cert.PublicKey.Algorithm == pki.RSAPSS) && spec.Bits > maxRSABits {
			return wire.Errorf(wire.BadCertificate, "certificate %d of the peer's chain has an RSA key of %d bits; at most %d are taken", i+1, spec.Bits, maxRSABits)
		}
		e.state.PeerChain = append(e.state.PeerChain, cert)
	}
	return nil
}

// verifyPeer lets the caller judge the peer's chain.
func (e *Engine) verifyPeer() error {
	if e.cfg.VerifyPeer == nil {
		return nil
	}
	err := e.cfg.VerifyPeer(e.state.PeerChain)
	var own *Error
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case e.state.PeerChain == nil && e.isTLS12():
		return wire.Errorf(wire.HandshakeFailure, "%v", err) // RFC 5246, section 7.4.6
	case e.state.PeerChain == nil:
		return wire.Errorf(wire.CertificateRequired, "%v", err)
	}
	return wire.Errorf(wire.BadCertificate, "%v", err)
}

// certificateVerify checks that the peer has the key of its certificate, and
// then lets the caller judge the chain.
func (e *Engine) certificateVerify(m wire.Message) error {
	v, err := wire.ParseCertificateVerify(m.Body())
	if err != nil {
		return err
	}
	content := sigs.Content13(!e.client, e.hs.transcript.sum())
	if err := e.checkSignature(wire.TLS13, v.Scheme, content, v.Signature); err != nil {
		return err
	}
	if err := e.verifyPeer(); err != nil {
		return err
	}
	e.state.PeerScheme = v.Scheme
	e.hs.transcript.add(m)
	e.hs.step = serverWaitFinished
	if e.client {
		e.hs.step = clientWaitFinished
	}
	return nil
}

// checkSignature checks a signature by the peer's certificate, which must be one
// for signatures (RFC 8446, section 4.4.2.2; RFC 5246, section 7.4.2).
func (e *Engine) checkSignature(v wire.Version, scheme wire.SignatureScheme, content, signature []byte) error {
	leaf := e.state.PeerChain[0]
	usage, present, err := leaf.Extensions.KeyUsage()
	if err != nil {
		return wire.Errorf(wire.BadCertificate, "the peer's certificate: %v", err)
	}
	if present && usage&pki.DigitalSignature == 0 {
		return wire.Errorf(wire.BadCertificate, "the key usage of the peer's certificate (%s) lacks digitalSignature, and every handshake here is signed", usage)
	}
	return sigs.Verify(leaf.PublicKey.Key, scheme, v, e.cfg.Schemes, content, signature)
}
