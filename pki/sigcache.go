package pki

import (
	"crypto/sha256"
	"sync"
)

// A SignatureCache remembers signatures that were found right, so that what
// verifies many chains of one authority checks the authority's certificate and
// revocation list once. Wrong signatures are not remembered. It grows with what
// it remembers. Its zero value is empty; it may be used by several goroutines.
type SignatureCache struct{ known sync.Map }

// signatureKey names what was signed and by whose key. The lengths of both are
// inside their DER forms, so that no two pairs give the same input.
func signatureKey(signed []byte, issuer *PublicKey) (key [sha256.Size]byte) {
	h := sha256.New()
	h.Write(signed)
	h.Write(issuer.Raw)
	h.Sum(key[:0])
	return key
}

// Add remembers a certificate's signature without checking it, for callers
// who have just made it with issuer's key.
func (c *SignatureCache) Add(cert, issuer *Certificate) {
	c.known.Store(signatureKey(cert.Raw, issuer.PublicKey), struct{}{})
}

// check returns what f says of a signature, unless it is known to be right.
func (c *SignatureCache) check(signed []byte, issuer *PublicKey, f func() error) error {
	if c == nil {
		return f()
	}
	key := signatureKey(signed, issuer)
	if _, ok := c.known.Load(key); ok {
		return nil
	}
	err := f()
	if err == nil {
		c.known.Store(key, struct{}{})
	}
	return err
}

// signedBy is a certificate or revocation list.
type signedBy interface {
	CheckSignatureFrom(*Certificate) error
	der() []byte
}

func (c *Certificate) der() []byte { return c.Raw }
func (c *CRL) der() []byte         { return c.Raw }
