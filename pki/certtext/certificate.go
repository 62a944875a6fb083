package certtext

import (
	"crypto"
	"slices"

	"virtls/pki"
	"virtls/pki/dn"
)

func (p *printer) certificate(c *pki.Certificate, unsigned bool) {
	p.line("X.509 Certificate Information:")
	p.line("\tVersion: %d", c.Version)
	p.serial("\t", c.RawSerial)
	if !unsigned {
		p.name("Issuer", c.Issuer)
	}
	p.line("\tValidity:")
	p.line("\t\tNot Before: %s", timeText(c.NotBefore))
	p.line("\t\tNot After: %s", timeText(c.NotAfter))
	p.name("Subject", c.Subject)
	shown := p.publicKey("Subject ", c.PublicKey, true)
	p.uniqueID("Issuer", c.IssuerUniqueID)
	p.uniqueID("Subject", c.SubjectUniqueID)
	if c.Version >= 3 {
		p.extensions("", c.Extensions)
	}
	if !unsigned {
		p.signature(c.Algorithm, c.Signature, true)
	}
	p.line("Other Information:")
	if !unsigned {
		p.line("\tFingerprint:")
		p.line("\t\tsha1:%x", c.SHA1())
		p.line("\t\tsha256:%x", c.SHA256())
	}
	if shown {
		p.keyID("\t", c.PublicKey)
	}
}

func (p *printer) serial(indent string, content []byte) {
	if len(content) > maxNumber {
		p.line("error: get_serial: %s", errShort)
		return
	}
	p.line("%sSerial Number (hex): %s", indent, hexString(content))
}

// maxNumber is the size of GnuTLS's buffer for the number of a certificate or CRL.
const maxNumber = 128

// name writes a distinguished name. certtool writes nothing but the label of
// an empty one, not even the blank.
func (p *printer) name(label string, n dn.Name) {
	if len(n) == 0 {
		p.line("\t%s:", label)
		return
	}
	p.line("\t%s: %s", label, n.RFC4514())
}

func (p *printer) uniqueID(whose string, id []byte) {
	// GnuTLS does not show longer ones.
	if id == nil || len(id) > 256 {
		return
	}
	p.line("\t%s Unique ID:", whose)
	p.dump("\t\t\t", id)
	if len(id) == 16 {
		p.line("\t\t\t{%X-%X-%X-%X-%X}", reversed(id[:4]), reversed(id[4:6]), reversed(id[6:8]), id[8:10], id[10:])
	}
}

// signature writes the end of everything signed. The salt of RSA-PSS is shown
// for certificates and requests, but not for CRLs.
func (p *printer) signature(id pki.AlgorithmIdentifier, signature []byte, salt bool) {
	alg := p.signatureAlgorithm(id, salt)
	if broken(alg) {
		p.line("warning: signed using a broken signature algorithm that can be forged.")
	}
	p.line("\tSignature:")
	p.dump("\t\t", signature)
}

func (p *printer) signatureAlgorithm(id pki.AlgorithmIdentifier, salt bool) pki.SignatureAlgorithm {
	alg, name := signatureName(id)
	p.line("\tSignature Algorithm: %s", name)
	if salt && alg.Key == pki.RSAPSS {
		p.line("\t\tSalt Length: %d", alg.SaltLength)
	}
	return alg
}

// signatureName returns the name GnuTLS has for an algorithm, or its identifier.
func signatureName(id pki.AlgorithmIdentifier) (pki.SignatureAlgorithm, string) {
	alg, ok := pki.ParseSignatureAlgorithm(id)
	// GnuTLS has RSA-PSS with the hash functions of TLS 1.3 alone.
	if !ok || alg.Key == pki.RSAPSS && !slices.Contains([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}, alg.Hash) {
		return pki.SignatureAlgorithm{}, id.OID.String()
	}
	return alg, alg.String()
}

// broken tells whether GnuTLS thinks that signatures of this kind can be forged.
func broken(alg pki.SignatureAlgorithm) bool {
	return alg.Hash == crypto.MD5 || alg.Hash == crypto.SHA1
}

func (p *printer) request(r *pki.Request) {
	p.line("PKCS #10 Certificate Request Information:")
	p.line("\tVersion: %d", r.Version)
	p.name("Subject", r.Subject)
	shown := p.publicKey("Subject ", r.PublicKey, true)
	p.signatureAlgorithm(r.Algorithm, true)
	p.attributes(r)
	p.line("Other Information:")
	if shown {
		p.keyID("\t", r.PublicKey)
	}
}

func (p *printer) attributes(r *pki.Request) {
	seen := map[string]bool{}
	for i, a := range r.Attributes {
		if i == 0 {
			p.line("\tAttributes:")
		}
		again := seen[a.OID.String()]
		seen[a.OID.String()] = true
		switch {
		case a.OID.Equal(pki.OIDExtensionRequest):
			if again {
				p.line("warning: more than one extensionsRequest")
			}
			p.extensions("\t", r.Extensions)
		case a.OID.Equal(pki.OIDChallengePassword):
			if again {
				p.line("warning: more than one Challenge password attribute")
			}
			p.line("\t\tChallenge password: %s", cString(firstString(a.Values)))
		default:
			p.line("\t\tUnknown attribute %s:", a.OID)
			p.raw("\t\t\t", firstElement(a.Values))
		}
	}
}

func (p *printer) crl(c *pki.CRL) {
	p.line("X.509 Certificate Revocation List Information:")
	p.line("\tVersion: %d", c.Version)
	p.name("Issuer", c.Issuer)
	p.line("\tUpdate dates:")
	p.line("\t\tIssued: %s", timeText(c.ThisUpdate))
	if c.NextUpdate.IsZero() {
		p.line("\t\tNo next update time.")
	} else {
		p.line("\t\tNext at: %s", timeText(c.NextUpdate))
	}
	if c.Version >= 2 {
		p.crlExtensions(c.Extensions)
	}
	if len(c.Revoked) == 0 {
		p.line("\tNo revoked certificates.")
	} else {
		p.line("\tRevoked certificates (%d):", len(c.Revoked))
	}
	for _, r := range c.Revoked {
		p.serial("\t\t", r.RawSerial)
		p.line("\t\tRevoked at: %s", timeText(r.RevokedAt))
	}
	p.signature(c.Algorithm, c.Signature, false)
}

func (p *printer) crlExtensions(x pki.Extensions) {
	numbers, authorities := 0, 0
	for i, e := range x {
		if i == 0 {
			p.line("\tExtensions:")
		}
		switch {
		case e.OID.Equal(pki.OIDCRLNumber):
			if numbers++; numbers > 1 {
				p.line("warning: more than one CRL number")
			}
			p.crlNumber(x)
		case e.OID.Equal(pki.OIDAuthorityKeyID):
			if authorities++; authorities > 1 {
				p.line("warning: more than one AKI extension")
			}
			p.line("\t\tAuthority Key Identifier (%s):", criticality(e.Critical))
			p.authorityKeyID("", e)
		default:
			p.line("\t\tUnknown extension %s (%s):", e.OID, criticality(e.Critical))
			p.raw("\t\t\t", e.Value)
		}
	}
}

// crlNumber shows the first number of a list, as GnuTLS does for every one.
func (p *printer) crlNumber(x pki.Extensions) {
	critical := criticality(x.Find(pki.OIDCRLNumber).Critical)
	number, err := x.Integer(pki.OIDCRLNumber)
	if err != nil {
		p.line("\t\tCRL Number (%s): error: get_number: %s", critical, Reason(x.Find(pki.OIDCRLNumber).Value))
		return
	}
	if len(number) > maxNumber {
		p.line("\t\tCRL Number (%s): error: get_number: %s", critical, errShort)
		return
	}
	p.line("\t\tCRL Number (%s): %s", critical, hexString(number))
}
