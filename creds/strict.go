package creds

import (
	"bytes"
	"crypto"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// What no release of QEMU or libvirt refuses when it loads the files, and what
// yet goes wrong later or elsewhere.
var (
	kindEmptySubject = finding.Define("cert-subject-empty", finding.Warning,
		"the certificate has an empty subject: libvirt refuses such a peer in every session",
		"issue the certificate anew with a CN")
	kindCNOnly = finding.Define("cert-cn-only", finding.Warning,
		"the server's name is only in the CN, which programs other than QEMU's and libvirt's do not look at",
		"issue the certificate anew with all names of the host among the DNS names (certtool: dns_name)")
	kindNameless = finding.Define("cert-without-names", finding.Warning,
		"the server's certificate is for no host at all, so that clients will refuse it",
		"issue the certificate anew with the host's names and addresses (certtool: dns_name, ip_address)")
	kindAddressAsName = finding.Define("cert-address-as-name", finding.Warning,
		"an address is among the certificate's DNS names, where no client looks for it",
		"issue the certificate anew with the address as an address (certtool: ip_address)")
	kindWeakKey = finding.Define("cert-key-weak", finding.Warning,
		"the certificate's key is too short",
		"make a new key: EC P-256, or RSA with at least 2048 bits")
	kindWeakHash = finding.Define("cert-signature-weak", finding.Warning,
		"the certificate is signed with a hash function that is broken",
		"issue the certificate anew, signed with SHA-256")
	kindRevoked = finding.Define("cert-revoked", finding.Warning,
		"the own certificate has been revoked: it is served without complaint, and peers with the list refuse it",
		"issue a new certificate: virtls renew")
	kindCRLStale = finding.Define("crl-stale", finding.Warning,
		"the next revocation list was due: QEMU and libvirt go on with this one, which may lack what was revoked since",
		"fetch or sign a new list: virtls apply")
	kindCRLForeign = finding.Define("crl-foreign", finding.Warning,
		"none of the trusted authorities has issued the revocation list, so that it has no effect",
		"put the list of an authority in the CA file there")
	kindCRLForged = finding.Define("crl-signature", finding.Warning,
		"the revocation list is not signed by the authority that it names; QEMU and libvirt believe it unseen",
		"fetch the authority's list anew")
)

// strict is the judging of one loaded set.
type strict struct {
	x        *X509
	files    layout.Files
	now      time.Time
	findings []finding.Finding
}

// Check returns what virtls finds wrong with loaded files beyond what QEMU and
// libvirt check: warnings, because these programs load them all the same. Of a
// set that [Consumer.Load] returns, some of it may have been told already as a
// problem.
func (x *X509) Check(now time.Time) []finding.Finding {
	s := strict{x: x, now: now}
	s.files, _ = x.Options.files()
	for _, id := range x.Identities {
		s.identity(id)
	}
	for _, ca := range x.Anchors {
		s.anchor(ca)
	}
	for _, crl := range x.CRLs {
		s.crl(crl)
	}
	return s.findings
}

func (s *strict) found(f finding.Finding) {
	s.findings = append(s.findings, f.WithSeverity(finding.Warning))
}

// identity judges what the own side shows.
func (s *strict) identity(id Identity) {
	leaf := id.Chain[0]
	if len(leaf.Subject) == 0 {
		s.found(kindEmptySubject.Found(id.CertFile, leaf.String()).WithWant("a subject with a CN", "libvirt 9.0 to 12.8"))
	}
	if s.x.Endpoint() == Server {
		s.names(id.CertFile, leaf)
	}
	for _, c := range id.Chain {
		s.strength(id.CertFile, c)
	}
	if crl := s.revoking(leaf); crl != nil {
		s.found(kindRevoked.Found(id.CertFile, "serial number "+leaf.SerialHex()+" in "+s.files.CRL))
	}
}

// names judges whether clients can find the server by a name (RFC 9525).
func (s *strict) names(file string, leaf *pki.Certificate) {
	sans, _ := leaf.Extensions.SubjectAltName()
	named := false
	for _, n := range sans {
		switch n.Kind {
		case pki.IPKind:
			named = true
		case pki.DNSKind:
			if _, err := netip.ParseAddr(n.Text()); err == nil {
				s.found(kindAddressAsName.Found(file, n.Text()))
				continue
			}
			named = true
		}
	}
	if named {
		return
	}
	if names := (&pki.HostnameError{Certificate: leaf}).ValidFor(); len(sans) == 0 && len(names) == 1 {
		s.found(kindCNOnly.Found(file, "CN="+names[0]).WithWant(names[0]+" among the DNS names", "RFC 9525"))
		return
	}
	s.found(kindNameless.Found(file, leaf.String()))
}

// strength judges keys and signatures as OpenSSL at security level 2 does, the
// default of Debian's (openssl 3.0 to 3.6, SSL_CTX_set_security_level(3)).
func (s *strict) strength(file string, c *pki.Certificate) {
	least := 0
	switch c.PublicKey.Algorithm {
	case pki.RSA, pki.RSAPSS:
		least = pki.MinRSABits
	case pki.ECDSA:
		least = 224
	}
	if bits := c.PublicKey.Size(); bits < least {
		s.found(kindWeakKey.Found(file, fmt.Sprintf("%s: %s, %d bits", c, c.PublicKey.Algorithm, bits)).WithWant(fmt.Sprintf("at least %d bits", least), "OpenSSL"))
	}
	alg := c.SignatureAlgorithm()
	if !c.SelfIssued() && slices.Contains([]crypto.Hash{crypto.MD5, crypto.SHA1}, alg.Hash) {
		s.found(kindWeakHash.Found(file, fmt.Sprintf("%s: %s", c, alg)).WithWant("SHA-256", "OpenSSL"))
	}
}

// revoking returns the list in which a certificate stands.
func (s *strict) revoking(c *pki.Certificate) *pki.CRL {
	for _, crl := range s.x.CRLs {
		if bytes.Equal(crl.RawIssuer, c.RawIssuer) && crl.Find(c.Serial) != nil {
			return crl
		}
	}
	return nil
}

// anchor judges a trusted certificate that the newest QEMU looks at only if the
// own certificate comes from it; older releases refuse the whole file for it.
func (s *strict) anchor(ca *pki.Certificate) {
	const old = "QEMU up to 10.1, libvirt"
	switch {
	case ca.NotAfter.Before(s.now):
		s.found(kindAnchorExpired.Found(s.files.CA, ca.String()+", which ended "+stamp(ca.NotAfter)).WithWant("an end after "+stamp(s.now), old))
	case ca.NotBefore.After(s.now):
		s.found(kindAnchorNotYetValid.Found(s.files.CA, ca.String()+", which begins "+stamp(ca.NotBefore)).WithWant("a beginning before "+stamp(s.now), old))
	}
	if !ca.IsCA() {
		s.found(kindNotCA.Found(s.files.CA, ca.String()).WithWant("basic constraints that say CA", old))
	}
	s.strength(s.files.CA, ca)
}

// crl judges a revocation list, which QEMU and libvirt believe whatever its
// dates, signature and issuer are.
func (s *strict) crl(crl *pki.CRL) {
	file, issuer := s.files.CRL, crl.Issuer.String()
	if !crl.NextUpdate.IsZero() && crl.NextUpdate.Before(s.now) {
		s.found(kindCRLStale.Found(file, "the list of "+issuer+", due again "+stamp(crl.NextUpdate)))
	}
	var named, signed bool
	for _, ca := range s.x.Anchors {
		if bytes.Equal(ca.RawSubject, crl.RawIssuer) {
			named = true
			signed = signed || crl.CheckSignatureFrom(ca) == nil
		}
	}
	switch {
	case !named:
		s.found(kindCRLForeign.Found(file, "the list of "+issuer).WithWant("an issuer in "+s.files.CA, ""))
	case !signed:
		s.found(kindCRLForged.Found(file, "the list of "+issuer))
	}
}
