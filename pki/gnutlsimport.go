package pki

import "bytes"

// A GnuTLSError is what GnuTLS says when it does not load something, in its own
// words (gnutls_strerror).
type GnuTLSError string

func (e GnuTLSError) Error() string { return string(e) }

// What GnuTLS says of certificates. Of what does not parse it may also say
// something else that begins with "ASN1 parser: ".
const (
	GnuTLSDuplicateExtension GnuTLSError = "Duplicate extension in X.509 certificate."
	GnuTLSCertificateError   GnuTLSError = "Error in the certificate."
	GnuTLSParseError         GnuTLSError = "ASN1 parser: Error in DER parsing."
	GnuTLSNoCertificate      GnuTLSError = "No certificate was found."
)

// PredictGnuTLSImport tells why GnuTLS 3.7.9 to 3.8.13 would not load a
// certificate that is read here, by its own words; nil if it would. QEMU and
// libvirt cannot even judge such a certificate. The error is a [GnuTLSError].
func PredictGnuTLSImport(c *Certificate) error {
	if !sameAlgorithm(c.Algorithm, c.TBSAlgorithm) {
		return GnuTLSCertificateError
	}
	for _, read := range []func() (GeneralNames, error){c.Extensions.SubjectAltName, c.Extensions.IssuerAltName} {
		names, err := read()
		if err != nil {
			return GnuTLSParseError
		}
		for _, n := range names {
			if _, _, ok := n.Other(); n.Kind == OtherNameKind && !ok {
				return GnuTLSParseError
			}
		}
	}
	if c.Version < 3 && len(c.Extensions) > 0 || c.Version == 1 && (c.IssuerUniqueID != nil || c.SubjectUniqueID != nil) {
		return GnuTLSCertificateError
	}
	seen := make(map[string]bool, len(c.Extensions))
	for _, e := range c.Extensions {
		if seen[e.OID.String()] {
			return GnuTLSDuplicateExtension
		}
		seen[e.OID.String()] = true
	}
	return nil
}

// sameAlgorithm takes NULL parameters and none for the same, as GnuTLS does.
func sameAlgorithm(a, b AlgorithmIdentifier) bool {
	for _, id := range []*AlgorithmIdentifier{&a, &b} {
		if bytes.Equal(id.Parameters, derNull) {
			id.Parameters = nil
		}
	}
	return a.equal(b)
}
