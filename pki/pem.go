package pki

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
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
		return "no " + e.Want + " in PEM form found: the file has no -----BEGIN line"
	}
	found := slices.Compact(slices.Sorted(slices.Values(e.Found)))
	return fmt.Sprintf("no %s in PEM form found: the file holds %s", e.Want,
		briefList(len(found), func(i int) string { return briefLabel(found[i]) }))
}

func briefLabel(s string) string {
	if printable(s) {
		return brief(s)
	}
	return briefQuote([]byte(s))
}

// A pemBlock is one PEM block (RFC 7468). The headers are those of the older
// RFC 1421, which only encrypted keys still have.
type pemBlock struct {
	label   string
	headers map[string]string
	der     []byte
	err     error // why der could not be read
}

const pemBegin, pemEnd, pemDashes = "-----BEGIN ", "-----END ", "-----"

// scanPEM finds the blocks in data. It takes what GnuTLS takes, which is more
// than encoding/pem does: text before a block on the same line (a byte order
// mark, indentation, the end of a block whose file lacks its last line feed),
// lines of any length and with any line ends, an end line with another label
// or none before the next block.
func scanPEM(data []byte) (blocks []pemBlock) {
	for {
		_, rest, found := bytes.Cut(data, []byte(pemBegin))
		if !found {
			return blocks
		}
		label, rest, found := bytes.Cut(rest, []byte(pemDashes))
		if !found || bytes.ContainsAny(label, "\r\n") {
			data = rest
			continue
		}
		b := pemBlock{label: string(label)}
		if n := bytes.Index(rest, []byte(pemDashes)); n >= 0 {
			b.read(rest[:n])
			data = rest[n:]
			if after, ended := bytes.CutPrefix(data, []byte(pemEnd)); ended {
				_, data, _ = bytes.Cut(after, []byte(pemDashes))
			}
		} else {
			b.err = errors.New("its -----END line is missing")
			data = nil
		}
		blocks = append(blocks, b)
	}
}

func (b *pemBlock) read(body []byte) {
	if bytes.Contains(body, []byte(":")) {
		body = b.readHeaders(body)
	}
	text := bytes.Join(bytes.Fields(body), nil)
	b.der = make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(b.der, text)
	if err != nil {
		b.err = errors.New("it is not proper base64")
	}
	b.der = b.der[:n]
}

// readHeaders takes the headers off a body and returns the rest.
func (b *pemBlock) readHeaders(body []byte) []byte {
	b.headers = map[string]string{}
	for body = bytes.TrimLeft(body, "\r\n"); len(body) > 0; {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			break
		}
		b.headers[string(bytes.TrimSpace(name))] = string(bytes.TrimSpace(value))
		body = rest
	}
	return body
}

// parsePEM parses the blocks with one of the labels, at least one.
func parsePEM[T any](data []byte, what string, parse func(der []byte) (T, error), labels ...string) ([]T, error) {
	blocks, err := pemBlocks(data, what, labels...)
	if err != nil {
		return nil, err
	}
	var list []T
	for i, block := range blocks {
		v, err := parse(block.der)
		if err != nil {
			return nil, fmt.Errorf("%s %d of %d: %w", what, i+1, len(blocks), err)
		}
		list = append(list, v)
	}
	return list, nil
}

// pemBlocks returns the blocks with one of the labels, at least one: what
// names them in the error. Other blocks and text around them are passed over.
func pemBlocks(data []byte, what string, labels ...string) (blocks []pemBlock, err error) {
	none := &ErrNoPEM{Want: what}
	for _, b := range scanPEM(data) {
		none.Found = append(none.Found, b.label)
		if !slices.Contains(labels, b.label) {
			continue
		}
		if b.err != nil {
			return nil, fmt.Errorf("PEM block %d of the file, %s, is damaged: %w", len(none.Found), b.label, b.err)
		}
		blocks = append(blocks, b)
	}
	if blocks == nil {
		return nil, none
	}
	return blocks, nil
}

// A PasswordFunc yields the password of an encrypted key. It is asked only
// when there is one to open.
type PasswordFunc func() ([]byte, error)

// ErrNoPassword is returned for an encrypted key when there is no [PasswordFunc].
var ErrNoPassword = errors.New("the private key is encrypted and no password was given")

// ParsePrivateKeyPEM returns the first private key in data: PKCS#8, encrypted
// PKCS#8, PKCS#1 or SEC1, with any text around it. The two older ways to
// encrypt keys, OpenSSL's in PEM headers and PKCS #12's, are read too.
func ParsePrivateKeyPEM(data []byte, password PasswordFunc) (PrivateKey, error) {
	blocks, err := pemBlocks(data, "private key", PEMPrivateKey, PEMEncryptedKey, PEMRSAKey, PEMECKey)
	if err != nil {
		return nil, err
	}
	block := blocks[0]
	open := decryptHeaders(block.headers)
	if open == nil && (block.label == PEMEncryptedKey || block.label == PEMPrivateKey && isEncryptedPKCS8(block.der)) {
		open = DecryptPKCS8
	}
	if open == nil {
		return ParsePrivateKeyDER(block.der)
	}
	if password == nil {
		return nil, ErrNoPassword
	}
	pass, err := password()
	if err != nil {
		return nil, err
	}
	der, err := open(block.der, pass)
	if err != nil {
		return nil, err
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
func IsPEM(data []byte) bool { return len(scanPEM(data)) > 0 }

// HasPrivateKey tells whether data holds a private key in PEM form, encrypted or not.
func HasPrivateKey(data []byte) bool {
	return bytes.Contains(data, []byte("PRIVATE KEY-----"))
}
