package session

import (
	"crypto/tls"
	"crypto/x509"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"virtls/creds"
	"virtls/pki"
)

// shared is what all sessions with the same credentials share, made once and
// gone with them.
type shared struct {
	certs []tls.Certificate // of crypto/tls, one for each identity
	pool  func() *x509.CertPool

	checks     atomic.Int64
	signatures atomic.Pointer[pki.SignatureCache]
}

var allShared sync.Map // of *shared, by the credentials' weak.Pointer

// sharedBy returns what the sessions of credentials share.
func sharedBy(x *creds.X509) *shared {
	key := weak.Make(x)
	if s, ok := allShared.Load(key); ok {
		return s.(*shared)
	}
	// Nothing of it may lead to x, which would live for ever.
	anchors := x.Anchors
	s := &shared{pool: sync.OnceValue(func() *x509.CertPool { return pool(anchors) }), certs: make([]tls.Certificate, len(x.Identities))}
	for i, id := range x.Identities {
		s.certs[i].PrivateKey = id.Key
		for _, c := range id.Chain {
			s.certs[i].Certificate = append(s.certs[i].Certificate, c.Raw)
		}
		// One that crypto/x509 cannot read is parsed again, and refused, each time.
		s.certs[i].Leaf, _ = x509.ParseCertificate(id.Chain[0].Raw)
	}
	s.signatures.Store(new(pki.SignatureCache))
	got, loaded := allShared.LoadOrStore(key, s)
	if !loaded {
		runtime.AddCleanup(x, func(key weak.Pointer[creds.X509]) { allShared.Delete(key) }, key)
	}
	return got.(*shared)
}

// forgetAfter is after how many chains the signatures that were found right are
// forgotten: peers could make up ever new ones.
const forgetAfter = 4096

// known returns the signatures that were found right.
func (s *shared) known() *pki.SignatureCache {
	if s.checks.Add(1)%forgetAfter == 0 {
		s.signatures.Store(new(pki.SignatureCache))
	}
	return s.signatures.Load()
}

// pool returns authorities whose names crypto/tls sends in its request for a
// certificate. It trusts nobody by them. One that crypto/x509 cannot read is
// not named.
func pool(anchors []*pki.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, a := range anchors {
		if c, err := x509.ParseCertificate(a.Raw); err == nil {
			p.AddCert(c)
		}
	}
	return p
}
