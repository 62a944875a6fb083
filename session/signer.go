package session

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"io"
	"virtls/internal/wait"
)

// An impatientSigner is a key for crypto/tls, which waits for as long as a key
// takes.
type impatientSigner struct {
	crypto.Signer
	ctx context.Context
}

func (s impatientSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return wait.For(s.ctx, func() ([]byte, error) { return s.Signer.Sign(rand, digest, opts) })
}

// impatient returns a certificate whose key is waited for no longer than the
// handshake may last, which matters with keys that are not in this process.
func (s *Session) impatient(c *tls.Certificate) *tls.Certificate {
	switch key := c.PrivateKey.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
	case crypto.Signer:
		if s.signing != nil {
			bound := *c
			bound.PrivateKey = impatientSigner{key, s.signing}
			return &bound
		}
	}
	return c
}
