package wire

import (
	"math/big"

	"golang.org/x/crypto/cryptobyte"

	"virtls/pki/dh"
)

// Certificate12 is a chain in TLS 1.2 (RFC 5246, section 7.4.2).
type Certificate12 struct {
	Chain [][]byte // DER, the end entity's first
}

// ParseCertificate12 reads the message's body.
func ParseCertificate12(body []byte) (*Certificate12, error) {
	r := reader{String: body}
	m := &Certificate12{}
	list := reader{String: r.vector24(0)}
	for !list.bad && !list.Empty() {
		m.Chain = append(m.Chain, list.vector24(1))
	}
	r.ok(!list.bad)
	return m, r.end("certificate")
}

// Marshal writes the message.
func (m *Certificate12) Marshal() Message {
	return build(TypeCertificate, func(b *cryptobyte.Builder) {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, c := range m.Chain {
				addVector24(b, c)
			}
		})
	})
}

// Types of certificates that a server can ask for (RFC 5246, section 7.4.4).
const (
	RSASign   = 1
	ECDSASign = 64 // RFC 8422, section 5.5
)

// CertificateRequest12 asks a client for a certificate (RFC 5246, section 7.4.4).
type CertificateRequest12 struct {
	Types       []byte // both kinds of signature if nil
	Schemes     []SignatureScheme
	Authorities [][]byte
}

// ParseCertificateRequest12 reads the message's body.
func ParseCertificateRequest12(body []byte) (*CertificateRequest12, error) {
	r := reader{String: body}
	m := &CertificateRequest12{Types: r.vector8(1)}
	m.Schemes = readList16[SignatureScheme](&r, r.vector16(2))
	m.Authorities = r.names16(0, (*reader).vector16)
	return m, r.end("certificate_request")
}

// Marshal writes the message.
func (m *CertificateRequest12) Marshal() Message {
	types := m.Types
	if types == nil {
		types = []byte{RSASign, ECDSASign}
	}
	return build(TypeCertificateRequest, func(b *cryptobyte.Builder) {
		addVector8(b, types)
		addList16(b, m.Schemes)
		addNames16(b, m.Authorities, addVector16)
	})
}

// KeyKind says which fields the messages of a key exchange have.
type KeyKind struct {
	Curve  bool // an elliptic curve (RFC 8422, section 5.4)
	Finite bool // Diffie-Hellman in a finite field (RFC 5246, section 7.4.3)
	PSK    bool // with a pre-shared key (RFC 4279)
	Signed bool
}

// ServerKeyExchange has a server's share (RFC 5246, section 7.4.3; RFC 8422,
// section 5.4; RFC 4279, sections 2 and 3; RFC 5489, section 2).
type ServerKeyExchange struct {
	Hint  []byte
	Group Group // of a curve
	DH    dh.Params
	Share []byte
	// Params is what is signed behind the randoms: group and share.
	Params    []byte
	Scheme    SignatureScheme
	Signature []byte
}

const namedCurve = 3

// maxDHSize bounds Diffie-Hellman primes, in octets.
const maxDHSize = 1024

// ParseServerKeyExchange reads the message's body.
func ParseServerKeyExchange(body []byte, k KeyKind) (*ServerKeyExchange, error) {
	const what = "server_key_exchange"
	r := reader{String: body}
	m := &ServerKeyExchange{}
	if k.PSK {
		m.Hint = r.vector16(0)
	}
	start := r.String
	switch {
	case k.Curve:
		if r.uint8() != namedCurve && !r.bad {
			return nil, Errorf(IllegalParameter, "%s with a curve that has no name", what)
		}
		m.Group = Group(r.uint16())
		m.Share = r.vector8(1)
	case k.Finite:
		p, g := r.vector16(1), r.vector16(1)
		m.Share = r.vector16(1)
		if len(p) > maxDHSize || len(g) > len(p) {
			return nil, Errorf(IllegalParameter, "%s with a prime of %d octets; at most %d are taken", what, len(p), maxDHSize)
		}
		m.DH.Prime, m.DH.Generator = new(big.Int).SetBytes(p), new(big.Int).SetBytes(g)
	}
	if !r.bad {
		m.Params = start[:len(start)-len(r.String)]
	}
	if k.Signed {
		m.Scheme, m.Signature = SignatureScheme(r.uint16()), r.vector16(0)
	}
	return m, r.end(what)
}

// SetParams writes the group and share for signing.
func (m *ServerKeyExchange) SetParams(k KeyKind) {
	var b cryptobyte.Builder
	switch {
	case k.Curve:
		b.AddUint8(namedCurve)
		b.AddUint16(uint16(m.Group))
		addVector8(&b, m.Share)
	case k.Finite:
		addVector16(&b, m.DH.Prime.Bytes())
		addVector16(&b, m.DH.Generator.Bytes())
		addVector16(&b, m.Share)
	}
	m.Params = b.BytesOrPanic()
}

// Marshal writes the message with the params that [ServerKeyExchange.SetParams]
// has set.
func (m *ServerKeyExchange) Marshal(k KeyKind) Message {
	return build(TypeServerKeyExchange, func(b *cryptobyte.Builder) {
		if k.PSK {
			addVector16(b, m.Hint)
		}
		b.AddBytes(m.Params)
		if k.Signed {
			b.AddUint16(uint16(m.Scheme))
			addVector16(b, m.Signature)
		}
	})
}

// ClientKeyExchange has a client's share (RFC 5246, section 7.4.7; RFC 8422,
// section 5.7; RFC 4279; RFC 5489).
type ClientKeyExchange struct {
	Identity []byte // of a pre-shared key
	Share    []byte
}

// ParseClientKeyExchange reads the message's body.
func ParseClientKeyExchange(body []byte, k KeyKind) (*ClientKeyExchange, error) {
	r := reader{String: body}
	m := &ClientKeyExchange{}
	if k.PSK {
		m.Identity = r.vector16(0)
	}
	switch {
	case k.Curve:
		m.Share = r.vector8(1)
	case k.Finite:
		m.Share = r.vector16(1)
	}
	return m, r.end("client_key_exchange")
}

// Marshal writes the message.
func (m *ClientKeyExchange) Marshal(k KeyKind) Message {
	return build(TypeClientKeyExchange, func(b *cryptobyte.Builder) {
		if k.PSK {
			addVector16(b, m.Identity)
		}
		switch {
		case k.Curve:
			addVector8(b, m.Share)
		case k.Finite:
			addVector16(b, m.Share)
		}
	})
}
