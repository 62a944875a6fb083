package virtpki

import (
	"bytes"
	"encoding/base64"
	"regexp"

	"virtls/pki"
	"virtls/pki/certtext"
)

var certificateBlock = regexp.MustCompile(`(?s)-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)-----END`)

// firstCertificate reads the first certificate of a file in PEM form, as
// gnutls_x509_crt_import does. If there is none, why is what GnuTLS says.
func firstCertificate(data []byte) (c *pki.Certificate, why string) {
	const noPEM = "Base64 unexpected header error."
	block := certificateBlock.FindSubmatch(data)
	if block == nil {
		return nil, noPEM
	}
	text := bytes.Join(bytes.Fields(block[1]), nil)
	der := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(der, text)
	if err != nil || n == 0 {
		return nil, noPEM
	}
	c, err = pki.ParseCertificate(der[:n])
	if err != nil {
		return nil, certtext.Reason(der[:n])
	}
	if err := pki.PredictGnuTLSImport(c); err != nil {
		return nil, err.Error()
	}
	return c, ""
}
