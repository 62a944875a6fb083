package certtool

import (
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"time"

	"virtls/pki"
	"virtls/pki/certtemplate"
	"virtls/pki/certtext"
)

func (c *command) generateCRL() error {
	fmt.Fprintln(c.log, "Generating a signed CRL...")
	issuer, err := c.loadIssuer()
	if err != nil {
		return err
	}
	spec, err := c.specifyCRL()
	if err != nil {
		return err
	}
	fmt.Fprintln(c.log)
	alg, err := pki.PreferredSignature(issuer.key.Public(), c.hash)
	if err != nil {
		return fail("crl_privkey_sign: %v", err)
	}
	crl, err := pki.SignCRL(spec, issuer.cert, issuer.key, alg)
	if err != nil {
		return fail("crl_privkey_sign: %v", err)
	}
	return c.writeCRL(crl, c.log)
}

// specifyCRL collects what a list is to say: the entries of --load-crl and the
// certificates of --load-certificate.
func (c *command) specifyCRL() (*pki.CRLSpec, error) {
	spec := new(pki.CRLSpec)
	base, err := c.loadCRLs()
	if err != nil {
		return nil, err
	}
	if len(base) > 1 {
		return nil, fail("load_crl: too many CRLs present")
	}
	for _, crl := range base {
		spec.Revoked = slices.Clone(crl.Revoked)
		spec.Extensions = slices.Clone(crl.Extensions)
		spec.Extensions.Remove(pki.OIDAuthorityKeyID)
		spec.Extensions.Remove(pki.OIDCRLNumber)
	}
	certs, err := c.loadCertificates()
	if err != nil {
		return nil, err
	}
	values, err := c.crlValues()
	if err != nil {
		return nil, err
	}
	for _, cert := range certs {
		spec.Revoked = append(spec.Revoked, pki.RevokedCertificate{Serial: cert.Serial, RevokedAt: values.RevocationDate})
	}
	spec.ThisUpdate, spec.NextUpdate, spec.Number = values.ThisUpdate, values.NextUpdate, values.Number
	if spec.Number == nil {
		spec.Number = certtemplate.NewCRLNumber(time.Now(), random11())
	}
	return spec, nil
}

func random11() (b [11]byte) {
	rand.Read(b[:])
	return b
}

// writeCRL shows a list on w, which may be the same place, and writes it.
func (c *command) writeCRL(crl *pki.CRL, w io.Writer) error {
	if c.text() {
		if err := certtext.CRL(w, crl); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	_, err := c.out.Write(c.encode(pki.PEMCRL, crl.Raw))
	return err
}

// inputCRL reads the list that is to be shown or verified.
func (c *command) inputCRL() (*pki.CRL, error) {
	data, err := c.input()
	if err != nil {
		return nil, err
	}
	ders, why := blocks(data, c.Enabled("inder"), pki.PEMCRL)
	if why != "" {
		return nil, fail("import error: %s", why)
	}
	crl, err := pki.ParseCRL(ders[0])
	if err != nil {
		return nil, fail("import error: %s", certtext.Reason(ders[0]))
	}
	return crl, nil
}

func (c *command) crlInfo() error {
	crl, err := c.inputCRL()
	if err != nil {
		return err
	}
	return c.writeCRL(crl, c.out)
}
