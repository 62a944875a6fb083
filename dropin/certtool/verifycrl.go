package certtool

import (
	"fmt"
	"strings"

	"virtls/pki"
	"virtls/pki/dn"
)

func (c *command) verifyCRL() error {
	issuer, err := c.loadAuthority()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nCA certificate:\n\tSubject: %s\n\n", issuer.Subject.RFC4514())
	crl, err := c.inputCRL()
	if err != nil {
		return err
	}
	if err := c.writeCRL(crl, c.out); err != nil {
		return err
	}
	v := crlVerdict(crl, issuer)
	text := v.String()
	if len(v) > 0 {
		text = strings.Replace(text, "Not verified. ", "Not verified.  ", 1)
	}
	fmt.Fprintf(c.out, "Verification output: %s\n", text)
	if len(v) > 0 {
		return &failure{keep: true}
	}
	return nil
}

// crlVerdict tells why a list is not to be believed.
func crlVerdict(crl *pki.CRL, issuer *pki.Certificate) verdict {
	v := verdict{}
	usage, restricted, err := issuer.Extensions.KeyUsage()
	switch {
	case string(crl.RawIssuer) != string(issuer.RawSubject):
		v[pki.UnknownIssuer] = true
		return v
	case !issuer.IsCA():
		v[pki.NotCA] = true
	case err != nil || restricted && usage&pki.CRLSign == 0:
		v[pki.WrongKeyUsage] = true
	}
	switch {
	case crl.CheckSignatureFrom(issuer) == nil:
	case crl.SignatureAlgorithm().Key != issuer.PublicKey.Algorithm:
		v[pki.WrongKeyUsage] = true // GnuTLS's idea of a key of another kind
	default:
		v[pki.BadSignature] = true
	}
	return v
}

// matchEmail tells whether a certificate belongs to an address: by its
// rfc822Names, or if it has none by the only address in its subject. Letters
// are compared whatever their case, as GnuTLS does.
func matchEmail(cert *pki.Certificate, email string) bool {
	names, err := cert.Extensions.SubjectAltName()
	if err != nil {
		return false
	}
	found := false
	for _, n := range names {
		if n.Kind != pki.EmailKind {
			continue
		}
		found = true
		if strings.EqualFold(n.Text(), email) {
			return true
		}
	}
	if found {
		return false
	}
	var addresses []string
	for _, rdn := range cert.Subject {
		for _, a := range rdn {
			if a.Type.Equal(dn.EmailAddressOID) {
				addresses = append(addresses, a.Text())
			}
		}
	}
	return len(addresses) == 1 && strings.EqualFold(addresses[0], email)
}
