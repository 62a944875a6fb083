package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// MaxFileSize bounds every key, certificate, request and CRL file that is
// read: 1 MiB. libvirt refuses more than 64 KiB (libvirt 11.3, virnettlscert.c).
const MaxFileSize = 1 << 20

// PEM labels, as RFC 7468 and, in the older forms, GnuTLS write them.
const (
	PEMCertificate  = "CERTIFICATE"
	PEMRequest      = "CERTIFICATE REQUEST"
	PEMRequestOld   = "NEW CERTIFICATE REQUEST"
	PEMCRL          = "X509 CRL"
	PEMPublicKey    = "PUBLIC KEY"
	PEMPrivateKey   = "PRIVATE KEY"
	PEMEncryptedKey = "ENCRYPTED PRIVATE KEY"
	PEMRSAKey       = "RSA PRIVATE KEY"
	PEMECKey        = "EC PRIVATE KEY"
)

// EncodePEM returns the PEM form of der.
func EncodePEM(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// ErrNoPEM says that a file holds no PEM block of the kind wanted. Want is
// what was looked for, Found the labels of what is there instead.
type ErrNoPEM struct {
	Want  string
	Found []string
}

func (e *ErrNoPEM) Error() string {
	if len(e.Found) == 0 {
		return "no " + e.Want + " in PEM form found: the file has no -----BEGIN line of a complete PEM block"
	}
	return fmt.Sprintf("no %s in PEM form found: the file holds %s", e.Want, strings.Join(e.Found, ", "))
}

// pemBlocks returns the blocks with one of the labels, and the labels of all blocks.
// Text around blocks is passed over, as certtool writes it.
func pemBlocks(data []byte, labels ...string) (blocks []*pem.Block, all []string) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return blocks, all
		}
		all = append(all, block.Type)
		for _, l := range labels {
			if block.Type == l {
				blocks = append(blocks, block)
			}
		}
	}
}

// A PasswordFunc yields the password of an encrypted key. It is asked only
// when there is one to open.
type PasswordFunc func() ([]byte, error)

// ErrNoPassword is returned for an encrypted key when there is no [PasswordFunc].
var ErrNoPassword = errors.New("the private key is encrypted and no password was given")

// ParsePrivateKeyPEM returns the first private key in data: PKCS#8, encrypted
// PKCS#8, PKCS#1 or SEC1, with any text around it.
func ParsePrivateKeyPEM(data []byte, password PasswordFunc) (PrivateKey, error) {
	blocks, all := pemBlocks(data, PEMPrivateKey, PEMEncryptedKey, PEMRSAKey, PEMECKey)
	if len(blocks) == 0 {
		return nil, &ErrNoPEM{"private key", all}
	}
	block := blocks[0]
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errors.New("the private key is encrypted in OpenSSL's old PEM form, which protects it badly: rewrite it with `openssl pkcs8 -topk8`")
	}
	der := block.Bytes
	if block.Type == PEMEncryptedKey || block.Type == PEMPrivateKey && isEncryptedPKCS8(der) {
		if password == nil {
			return nil, ErrNoPassword
		}
		pass, err := password()
		if err != nil {
			return nil, err
		}
		if der, err = DecryptPKCS8(der, pass); err != nil {
			return nil, err
		}
	}
	return ParsePrivateKeyDER(der)
}

// EncodePrivateKeyPEM returns the PKCS#8 PEM form of a private key.
func EncodePrivateKeyPEM(key PrivateKey, form MLDSAForm) ([]byte, error) {
	der, err := MarshalPKCS8(key, form)
	if err != nil {
		return nil, err
	}
	return EncodePEM(PEMPrivateKey, der), nil
}

// EncodeEncryptedKeyPEM returns the encrypted PKCS#8 PEM form of a private key,
// as [EncryptPKCS8] makes it with [AES256] and [DefaultPBKDF2Iterations].
func EncodeEncryptedKeyPEM(key PrivateKey, password []byte) ([]byte, error) {
	der, err := MarshalPKCS8(key, MLDSABoth)
	if err != nil {
		return nil, err
	}
	if der, err = EncryptPKCS8(der, password, AES256, DefaultPBKDF2Iterations); err != nil {
		return nil, err
	}
	return EncodePEM(PEMEncryptedKey, der), nil
}

// IsPEM tells whether data holds a PEM block at all.
func IsPEM(data []byte) bool {
	block, _ := pem.Decode(data)
	return block != nil
}

// HasPrivateKey tells whether data holds a private key in PEM form, encrypted or not.
func HasPrivateKey(data []byte) bool {
	return bytes.Contains(data, []byte("PRIVATE KEY-----"))
}
