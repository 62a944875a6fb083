// Package sigs has the signature schemes of TLS: which a key can use, and how
// handshakes are signed with them (RFC 8446, section 4.2.3; draft-ietf-tls-mldsa).
package sigs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"slices"

	"virtls/pki"
	"virtls/tlsengine/internal/wire"
)

// A scheme is a row of the table of schemes.
type scheme struct {
	id    wire.SignatureScheme
	alg   pki.SignatureAlgorithm
	key   pki.KeyAlgorithm // of the key that signs
	curve int              // in TLS 1.3 the size of an ECDSA key's curve, in bits
	tls13 bool             // for handshakes of TLS 1.3; the others are for TLS 1.2 and certificates
	tls12 bool
}

func pss(hash crypto.Hash) pki.SignatureAlgorithm {
	return pki.SignatureAlgorithm{Key: pki.RSAPSS, Hash: hash, SaltLength: hash.Size()}
}

func alg(key pki.KeyAlgorithm, hash crypto.Hash) pki.SignatureAlgorithm {
	return pki.SignatureAlgorithm{Key: key, Hash: hash}
}

// schemes are in the order in which they are preferred.
var schemes = []scheme{
	{wire.MLDSA65, alg(pki.MLDSA65, 0), pki.MLDSA65, 0, true, false},
	{wire.MLDSA87, alg(pki.MLDSA87, 0), pki.MLDSA87, 0, true, false},
	{wire.MLDSA44, alg(pki.MLDSA44, 0), pki.MLDSA44, 0, true, false},
	{wire.Ed25519, alg(pki.Ed25519, 0), pki.Ed25519, 0, true, true},
	{wire.ECDSAP256, alg(pki.ECDSA, crypto.SHA256), pki.ECDSA, 256, true, true},
	{wire.ECDSAP384, alg(pki.ECDSA, crypto.SHA384), pki.ECDSA, 384, true, true},
	{wire.ECDSAP521, alg(pki.ECDSA, crypto.SHA512), pki.ECDSA, 521, true, true},
	{wire.RSAPSSSHA256, pss(crypto.SHA256), pki.RSA, 0, true, true},
	{wire.RSAPSSSHA384, pss(crypto.SHA384), pki.RSA, 0, true, true},
	{wire.RSAPSSSHA512, pss(crypto.SHA512), pki.RSA, 0, true, true},
	{wire.PSSPSSSHA256, pss(crypto.SHA256), pki.RSAPSS, 0, true, true},
	{wire.PSSPSSSHA384, pss(crypto.SHA384), pki.RSAPSS, 0, true, true},
	{wire.PSSPSSSHA512, pss(crypto.SHA512), pki.RSAPSS, 0, true, true},
	{wire.RSAPKCS1SHA256, alg(pki.RSA, crypto.SHA256), pki.RSA, 0, false, true},
	{wire.RSAPKCS1SHA384, alg(pki.RSA, crypto.SHA384), pki.RSA, 0, false, true},
	{wire.RSAPKCS1SHA512, alg(pki.RSA, crypto.SHA512), pki.RSA, 0, false, true},
}

func find(id wire.SignatureScheme) *scheme {
	for i := range schemes {
		if schemes[i].id == id {
			return &schemes[i]
		}
	}
	return nil
}

// All lists the schemes, preferred ones first.
func All() []wire.SignatureScheme {
	var list []wire.SignatureScheme
	for _, s := range schemes {
		list = append(list, s.id)
	}
	return list
}

// Known tells whether the package has a scheme.
func Known(id wire.SignatureScheme) bool { return find(id) != nil }

// fits tells whether a key may be used with the scheme in a version.
func (s *scheme) fits(pub crypto.PublicKey, v wire.Version) bool {
	if v == wire.TLS13 && !s.tls13 || v == wire.TLS12 && !s.tls12 || pki.AlgorithmOf(pub) != s.key {
		return false
	}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return v == wire.TLS12 || k.Curve.Params().BitSize == s.curve
	case *rsa.PublicKey:
		return s.alg.Key != pki.RSAPSS || fitsPSS(k, s.alg)
	case *pki.PSSPublicKey:
		return (k.Hash == 0 || k.Hash == s.alg.Hash) && k.SaltLength <= s.alg.SaltLength && fitsPSS(k.PublicKey, s.alg)
	}
	return true
}

// fitsPSS tells whether a modulus has room for the hash and a salt of its size
// (RFC 8017, section 9.1.1).
func fitsPSS(k *rsa.PublicKey, a pki.SignatureAlgorithm) bool {
	return k.Size() >= 2*a.Hash.Size()+2
}

// Choose returns the first scheme of the peer's list, in the order of ours, that
// a key can use; 0 if there is none.
func Choose(pub crypto.PublicKey, v wire.Version, ours, peers []wire.SignatureScheme) wire.SignatureScheme {
	for _, id := range ours {
		if s := find(id); s != nil && slices.Contains(peers, id) && s.fits(pub, v) {
			return id
		}
	}
	return 0
}

// Signed tells whether a certificate was signed with one of the schemes. What
// curve signed it is not asked: the issuer need not be known.
func Signed(c *pki.Certificate, ids []wire.SignatureScheme) bool {
	have := c.SignatureAlgorithm()
	return slices.ContainsFunc(ids, func(id wire.SignatureScheme) bool {
		s := find(id)
		return s != nil && s.alg.Key == have.Key && s.alg.Hash == have.Hash
	})
}

// Sign signs what was made by [Content13], or a transcript of TLS 1.2.
func Sign(key crypto.Signer, id wire.SignatureScheme, content []byte) ([]byte, error) {
	s := find(id)
	if s == nil {
		return nil, wire.Errorf(wire.InternalError, "%s is not there", id)
	}
	return pki.SignMessage(key, s.alg, content)
}

// Verify checks a signature of the peer. A scheme must not only have been
// offered but be the key's own: a signature of one ML-DSA parameter set must not
// pass for another's.
func Verify(pub crypto.PublicKey, id wire.SignatureScheme, v wire.Version, offered []wire.SignatureScheme, content, signature []byte) error {
	s := find(id)
	if s == nil || !slices.Contains(offered, id) {
		return wire.Errorf(wire.IllegalParameter, "the peer signed with %s, which was not offered", id)
	}
	if !s.fits(pub, v) {
		return wire.Errorf(wire.IllegalParameter, "the peer signed with %s, which is not for its key (%s)", id, pki.KeySpecOf(pub))
	}
	if err := pki.VerifyMessage(pub, s.alg, content, signature); err != nil {
		return wire.Errorf(wire.DecryptError, "the peer's signature of the handshake: %v", err)
	}
	return nil
}

// Content13 returns what a CertificateVerify of TLS 1.3 signs (RFC 8446,
// section 4.4.3).
func Content13(client bool, transcript []byte) []byte {
	who := "server"
	if client {
		who = "client"
	}
	content := slices.Repeat([]byte{' '}, 64)
	content = append(content, "TLS 1.3, "+who+" CertificateVerify\x00"...)
	return append(content, transcript...)
}
