package pki

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/scrypt"

	"virtls/pki/dn"
)

// Bounds on the work that a foreign file may ask for before its password can
// be checked. They are variables for fuzzing alone.
var (
	maxPBKDF2Iterations = 10_000_000
	maxScryptWork       = 1 << 20 // N*r*p; 128 times as many octets. OpenSSL makes 1 << 17 and bears 1 << 18
)

// DefaultPBKDF2Iterations is what GnuTLS 3.7 and 3.8 use and OWASP recommends for PBKDF2-HMAC-SHA256.
const DefaultPBKDF2Iterations = 600_000

// A Cipher is a content encryption algorithm of PBES2 (RFC 8018, appendix B.2).
type Cipher struct {
	Name    string // certtool's --pkcs-cipher name
	oid     asn1.ObjectIdentifier
	keySize int
	new     func([]byte) (cipher.Block, error)
}

var aesArc = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1}

// Ciphers are those that a private key can be encrypted with.
var Ciphers = []Cipher{
	{"aes-128", under(aesArc, 2), 16, aes.NewCipher},
	{"aes-192", under(aesArc, 22), 24, aes.NewCipher},
	{"aes-256", under(aesArc, 42), 32, aes.NewCipher},
	{"3des", asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}, 24, des.NewTripleDESCipher},
}

// CipherByName finds a cipher by certtool's name for it.
func CipherByName(name string) (Cipher, bool) {
	for _, c := range Ciphers {
		if c.Name == name {
			return c, true
		}
	}
	return Cipher{}, false
}

// AES256 is the cipher of the keys that virtls encrypts itself.
var AES256 = Ciphers[2]

var (
	oidPBKDF2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	rsadsi     = asn1.ObjectIdentifier{1, 2, 840, 113549, 2}
	hmacSHA256 = under(rsadsi, 9)
	hmacHashes = []struct {
		oid asn1.ObjectIdentifier
		new func() hash.Hash
	}{
		{under(rsadsi, 7), sha1.New},
		{under(rsadsi, 8), sha256.New224},
		{hmacSHA256, sha256.New},
		{under(rsadsi, 10), sha512.New384},
		{under(rsadsi, 11), sha512.New},
		{under(rsadsi, 12), sha512.New512_224},
		{under(rsadsi, 13), sha512.New512_256},
	}
)

// ErrPassword is returned when an encrypted private key does not open with the
// password given. A damaged file cannot be told from a wrong password.
var ErrPassword = errors.New("the password is wrong, or the file is damaged")

// EncryptPKCS8 encrypts a PKCS#8 private key with PBES2: PBKDF2 with
// HMAC-SHA256 and a 16-octet salt, then the cipher in CBC mode (RFC 8018, 6.2).
func EncryptPKCS8(der, password []byte, c Cipher, iterations int) ([]byte, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	key, err := pbkdf2.Key(sha256.New, string(password), salt, iterations, c.keySize)
	if err != nil {
		return nil, err
	}
	block, err := c.new(key)
	if err != nil {
		return nil, err
	}
	iv := make([]byte, block.BlockSize())
	rand.Read(iv)
	pad := block.BlockSize() - len(der)%block.BlockSize()
	data := append(bytes.Clone(der), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)

	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidPBES2)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oidPBKDF2)
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1OctetString(salt)
						b.AddASN1Int64(int64(iterations))
						AlgorithmIdentifier{hmacSHA256, derNull}.add(b)
					})
				})
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(c.oid)
					b.AddASN1OctetString(iv)
				})
			})
		})
		b.AddASN1OctetString(data)
	})
	return b.Bytes()
}

// DecryptPKCS8 opens an EncryptedPrivateKeyInfo and returns the PKCS#8
// structure inside. It knows PBES2 with PBKDF2 or scrypt (RFC 8018, RFC 7914)
// and the triple DES of PKCS #12. The work it does before it can tell whether
// the password is right is bounded: see [PKCS8Rounds].
func DecryptPKCS8(der, password []byte) ([]byte, error) {
	e, data, err := readEncrypted(der)
	if err != nil {
		return nil, err
	}
	block, iv, err := e.cipher(password)
	if err != nil {
		return nil, err
	}
	return decryptCBC(block, iv, data)
}

// PKCS8Rounds returns how many rounds of a hash function [DecryptPKCS8] computes
// before it can tell whether the password is right, for those who open several
// structures of one file. The error is that of DecryptPKCS8 for what it does not
// even try to open.
func PKCS8Rounds(der []byte) (int, error) {
	e, _, err := readEncrypted(der)
	return e.rounds, err
}

// An encryption is how to make a cipher and its IV of a password. Its rounds
// are those of a hash function that this takes, or what takes as long.
type encryption struct {
	rounds int
	cipher func(password []byte) (cipher.Block, []byte, error)
}

// readEncrypted reads an EncryptedPrivateKeyInfo.
func readEncrypted(der []byte) (e encryption, data cryptobyte.String, err error) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return e, nil, errors.New("malformed encrypted private key")
	}
	id, ok := readAlgorithm(&seq)
	if !ok || !seq.ReadASN1(&data, cbasn1.OCTET_STRING) || !seq.Empty() {
		return e, nil, errors.New("malformed encrypted private key")
	}
	switch {
	case id.OID.Equal(oidPBES2):
		e, err = pbes2Encryption(id.Parameters)
	case id.OID.Equal(oidPBE3DES):
		e, err = pkcs12Encryption(id.Parameters)
	default:
		err = fmt.Errorf("the private key is encrypted with %s; only PBES2 is supported: rewrite it with `openssl pkcs8 -topk8`", dn.ShortOID(id.OID))
	}
	return e, data, err
}

// decryptCBC decrypts a private key and takes the padding off. What is not a
// SEQUENCE then was not the right password: one in 256 wrong ones leaves a
// valid padding behind.
func decryptCBC(block cipher.Block, iv, data []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(data) == 0 || len(data)%size != 0 || len(iv) != size {
		return nil, ErrPassword
	}
	plain := bytes.Clone(data)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, plain)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > size || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, ErrPassword
	}
	plain = plain[:len(plain)-pad]
	if in := cryptobyte.String(plain); !in.SkipASN1(cbasn1.SEQUENCE) || !in.Empty() {
		return nil, ErrPassword
	}
	return plain, nil
}

// pbes2Encryption reads PBES2-params.
func pbes2Encryption(params []byte) (e encryption, err error) {
	malformed := errors.New("malformed encryption parameters of the private key")
	in := cryptobyte.String(params)
	var seq, ivDER, iv cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return e, malformed
	}
	kdf, ok1 := readAlgorithm(&seq)
	enc, ok2 := readAlgorithm(&seq)
	ivDER = enc.Parameters
	if !ok1 || !ok2 || !seq.Empty() || !ivDER.ReadASN1(&iv, cbasn1.OCTET_STRING) || !ivDER.Empty() {
		return e, malformed
	}
	for _, c := range Ciphers {
		if !c.oid.Equal(enc.OID) {
			continue
		}
		d, err := readDerivation(kdf, c.keySize)
		return encryption{d.rounds, func(password []byte) (cipher.Block, []byte, error) {
			key, err := d.key(password)
			if err != nil {
				return nil, nil, err
			}
			block, err := c.new(key)
			if err == nil && len(iv) != block.BlockSize() {
				err = malformed
			}
			return block, iv, err
		}}, err
	}
	return e, fmt.Errorf("the private key is encrypted with cipher %s, which is not supported", dn.ShortOID(enc.OID))
}

// A derivation is how to make a key of a password.
type derivation struct {
	rounds int // as those of an [encryption]
	key    func(password []byte) ([]byte, error)
}

func readDerivation(kdf AlgorithmIdentifier, size int) (d derivation, err error) {
	in := cryptobyte.String(kdf.Parameters)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return d, errors.New("malformed key derivation parameters")
	}
	switch {
	case kdf.OID.Equal(oidPBKDF2):
		return readPBKDF2(seq, size)
	case kdf.OID.Equal(oidScrypt):
		return readScrypt(seq, size)
	}
	return d, fmt.Errorf("key derivation %s is not supported", dn.ShortOID(kdf.OID))
}

func readPBKDF2(seq cryptobyte.String, size int) (d derivation, err error) {
	malformed := errors.New("malformed PBKDF2 parameters")
	var salt cryptobyte.String
	var iterations, keyLen int
	if !seq.ReadASN1(&salt, cbasn1.OCTET_STRING) || !seq.ReadASN1Integer(&iterations) || iterations < 1 {
		return d, malformed
	}
	if iterations > maxPBKDF2Iterations {
		return d, fmt.Errorf("the private key asks for %d PBKDF2 iterations; the limit is %d", iterations, maxPBKDF2Iterations)
	}
	if seq.PeekASN1Tag(cbasn1.INTEGER) && (!seq.ReadASN1Integer(&keyLen) || keyLen != size) {
		return d, malformed
	}
	newHash := sha1.New // RFC 8018, A.2: the default PRF
	if !seq.Empty() {
		prf, ok := readAlgorithm(&seq)
		if !ok || !seq.Empty() {
			return d, malformed
		}
		newHash = nil
		for _, h := range hmacHashes {
			if h.oid.Equal(prf.OID) {
				newHash = h.new
			}
		}
		if newHash == nil {
			return d, fmt.Errorf("PBKDF2 with %s is not supported", dn.ShortOID(prf.OID))
		}
	}
	blocks := (size + newHash().Size() - 1) / newHash().Size()
	return derivation{blocks * iterations, func(password []byte) ([]byte, error) {
		return pbkdf2.Key(newHash, string(password), salt, iterations, size)
	}}, nil
}

// scryptRounds is how many rounds of SHA-256 take as long as scrypt for N*r*p = 1.
const scryptRounds = 3

func readScrypt(seq cryptobyte.String, size int) (d derivation, err error) {
	var salt cryptobyte.String
	var n, r, p, keyLen int
	if !seq.ReadASN1(&salt, cbasn1.OCTET_STRING) || !seq.ReadASN1Integer(&n) || !seq.ReadASN1Integer(&r) || !seq.ReadASN1Integer(&p) {
		return d, errors.New("malformed scrypt parameters")
	}
	if seq.PeekASN1Tag(cbasn1.INTEGER) && (!seq.ReadASN1Integer(&keyLen) || keyLen != size) || !seq.Empty() {
		return d, errors.New("malformed scrypt parameters")
	}
	if n < 2 || r < 1 || p < 1 || p > maxScryptWork || r > maxScryptWork/p || n > maxScryptWork/(r*p) {
		return d, fmt.Errorf("scrypt with N=%d, r=%d, p=%d is outside the limits", n, r, p)
	}
	return derivation{scryptRounds * n * r * p, func(password []byte) ([]byte, error) {
		return scrypt.Key(password, salt, n, r, p, size)
	}}, nil
}
