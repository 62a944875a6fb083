package session

import (
	"crypto/x509"

	"virtls/pki"
)

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
