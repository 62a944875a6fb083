package creds

import (
	"bytes"
	"errors"

	"virtls/pki"
)

// What GnuTLS says of files that it cannot use (gnutls_strerror, 3.7.9 to 3.8.13).
const (
	gnutlsFile       pki.GnuTLSError = "Error while reading file."
	gnutlsNoPEM      pki.GnuTLSError = "Base64 unexpected header error."
	gnutlsBase64     pki.GnuTLSError = "Base64 decoding error."
	gnutlsDecryption pki.GnuTLSError = "Decryption has failed."
	gnutlsNoData     pki.GnuTLSError = "The requested data were not available."
	gnutlsMismatch   pki.GnuTLSError = "The certificate and the given key do not match."

	// What it says of damaged files depends on where they are damaged, and so
	// is not predicted.
	gnutlsDamaged pki.GnuTLSError = ""
)

// cString returns data up to the first NUL byte: QEMU and libvirt hand many
// files to GnuTLS as C strings.
func cString(data []byte) []byte {
	s, _, _ := bytes.Cut(data, []byte{0})
	return s
}

// parseCertificates reads PEM certificates as GnuTLS imports a list of them:
// one that it does not load spoils them all. reason is what GnuTLS says.
func (l *loader) parseCertificates(data []byte) (certs []*pki.Certificate, reason pki.GnuTLSError, err error) {
	p := remember(l.disk.cache.certs, string(data), func() parsedCertificates { return importCertificates(data) })
	return p.certs, p.reason, p.err
}

func importCertificates(data []byte) (p parsedCertificates) {
	certs, err := pki.ParseCertificatesPEM(data)
	var noPEM *pki.ErrNoPEM
	switch {
	case errors.As(err, &noPEM):
		return parsedCertificates{nil, pki.GnuTLSNoCertificate, err}
	case err != nil:
		return parsedCertificates{nil, gnutlsDamaged, err}
	}
	for _, c := range certs {
		if err := pki.PredictGnuTLSImport(c); err != nil {
			reason, _ := err.(pki.GnuTLSError)
			if reason == pki.GnuTLSParseError {
				reason = gnutlsDamaged
			}
			return parsedCertificates{nil, reason, err}
		}
	}
	return parsedCertificates{certs, "", nil}
}

// parseFirst reads the first certificate of a file (gnutls_x509_crt_import),
// whatever comes after it.
func (l *loader) parseFirst(data []byte) (c *pki.Certificate, reason pki.GnuTLSError, err error) {
	certs, reason, err := l.parseCertificates(firstPEM(data))
	switch {
	case reason == pki.GnuTLSNoCertificate:
		return nil, gnutlsNoPEM, err
	case err != nil:
		return nil, reason, err
	}
	return certs[0], "", nil
}

// firstPEM cuts off what comes after the first certificate.
func firstPEM(data []byte) []byte {
	const end = "-----END "
	for _, label := range []string{"-----BEGIN CERTIFICATE-----", "-----BEGIN X509 CERTIFICATE-----"} {
		if i := bytes.Index(data, []byte(label)); i >= 0 {
			data = data[i:]
			break
		}
	}
	if i := bytes.Index(data, []byte(end)); i >= 0 {
		if j := bytes.IndexByte(data[i:], '\n'); j >= 0 {
			return data[:i+j]
		}
	}
	return data
}

// parseKey reads a PEM private key.
func (l *loader) parseKey(data []byte) (key pki.PrivateKey, reason pki.GnuTLSError, err error) {
	p := remember(l.disk.cache.keys, keyInput{string(data), l.password != nil}, func() parsedKey {
		var password pki.PasswordFunc
		if l.password != nil {
			password = func() ([]byte, error) { return l.password, nil }
		}
		key, err := pki.ParsePrivateKeyPEM(data, password)
		return parsedKey{key, err}
	})
	var noPEM *pki.ErrNoPEM
	switch {
	case errors.Is(p.err, pki.ErrNoPassword), errors.Is(p.err, pki.ErrPassword):
		return nil, gnutlsDecryption, p.err
	case errors.As(p.err, &noPEM):
		return nil, gnutlsNoData, p.err
	case p.err != nil:
		return nil, gnutlsDamaged, p.err
	case l.MLDSA != pki.MLDSAUsable && pki.AlgorithmOf(p.key.Public()).IsMLDSA():
		return nil, gnutlsDamaged, errors.New("an ML-DSA key, for which its GnuTLS is not made")
	}
	return p.key, "", nil
}
