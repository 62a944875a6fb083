package creds

import (
	"bytes"
	"errors"

	"virtls/pki"
)

// What GnuTLS says of files that it cannot use (gnutls_strerror).
const (
	gnutlsBase64     pki.GnuTLSError = "Base64 decoding error."
	gnutlsFile       pki.GnuTLSError = "Error while reading file."
	gnutlsDecryption pki.GnuTLSError = "Decryption has failed."
	gnutlsNoData     pki.GnuTLSError = "The requested data were not available."
	gnutlsMismatch   pki.GnuTLSError = "The certificate and the given key do not match."
)

// cString returns data up to the first NUL byte: QEMU and libvirt hand many
// files to GnuTLS as C strings.
func cString(data []byte) []byte {
	s, _, _ := bytes.Cut(data, []byte{0})
	return s
}

// parseCertificates reads PEM certificates as GnuTLS imports a list of them:
// one that it does not load spoils them all. reason is what GnuTLS says.
func parseCertificates(data []byte) (certs []*pki.Certificate, reason error, err error) {
	certs, err = pki.ParseCertificatesPEM(data)
	var noPEM *pki.ErrNoPEM
	switch {
	case errors.As(err, &noPEM):
		return nil, pki.GnuTLSNoCertificate, err
	case err != nil:
		return nil, gnutlsBase64, err
	}
	for _, c := range certs {
		if err := pki.PredictGnuTLSImport(c); err != nil {
			return nil, err, err
		}
	}
	return certs, nil, nil
}

// parseKey reads a PEM private key.
func (l *loader) parseKey(data []byte) (key pki.PrivateKey, reason error, err error) {
	var password pki.PasswordFunc
	if l.password != nil {
		password = func() ([]byte, error) { return l.password, nil }
	}
	key, err = pki.ParsePrivateKeyPEM(data, password)
	switch {
	case errors.Is(err, pki.ErrNoPassword), errors.Is(err, pki.ErrPassword):
		return nil, gnutlsDecryption, err
	case err != nil:
		return nil, gnutlsNoData, err
	case l.MLDSA != pki.MLDSAUsable && pki.AlgorithmOf(key.Public()).IsMLDSA():
		return nil, gnutlsNoData, errors.New("an ML-DSA key, for which its GnuTLS is not made")
	}
	return key, nil, nil
}

// parseFirst reads the first certificate of a file (gnutls_x509_crt_import),
// whatever comes after it.
func parseFirst(data []byte) (c *pki.Certificate, reason error, err error) {
	const begin, end = "-----BEGIN ", "-----END "
	for _, label := range []string{pki.PEMCertificate + "-----", "X509 CERTIFICATE-----"} {
		if i := bytes.Index(data, []byte(begin+label)); i >= 0 {
			data = data[i:]
			break
		}
	}
	if i := bytes.Index(data, []byte(end)); i >= 0 {
		if j := bytes.IndexByte(data[i:], '\n'); j >= 0 {
			data = data[:i+j]
		}
	}
	certs, reason, err := parseCertificates(data)
	if err != nil {
		return nil, reason, err
	}
	return certs[0], nil, nil
}
