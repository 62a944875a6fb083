package pki

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/md5"
	"crypto/sha1"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Keys that were encrypted before PBES2 became usual are read, never written.

// headerCiphers are those of OpenSSL's old PEM form, by their names in DEK-Info.
var headerCiphers = map[string]struct {
	keySize int
	new     func([]byte) (cipher.Block, error)
}{
	"AES-128-CBC":  {16, aes.NewCipher},
	"AES-192-CBC":  {24, aes.NewCipher},
	"AES-256-CBC":  {32, aes.NewCipher},
	"DES-EDE3-CBC": {24, des.NewTripleDESCipher},
}

// decryptHeaders returns how to open a key that is encrypted as PEM headers
// say (RFC 1421, 4.6), nil if they do not speak of encryption.
func decryptHeaders(headers map[string]string) func(der, password []byte) ([]byte, error) {
	if !strings.Contains(headers["Proc-Type"], "ENCRYPTED") {
		return nil
	}
	return func(der, password []byte) ([]byte, error) {
		name, ivHex, _ := strings.Cut(headers["DEK-Info"], ",")
		c, known := headerCiphers[name]
		if !known {
			return nil, fmt.Errorf("the private key is encrypted with cipher %s, which is not supported", briefQuote([]byte(name)))
		}
		iv, err := hex.DecodeString(ivHex)
		if err != nil || len(iv) < 8 {
			return nil, errors.New("malformed DEK-Info header of an encrypted private key")
		}
		block, err := c.new(openSSLKey(password, iv[:8], c.keySize))
		if err != nil {
			return nil, err
		}
		return decryptCBC(block, iv, der)
	}
}

// openSSLKey is OpenSSL's EVP_BytesToKey with MD5 and one round.
func openSSLKey(password, salt []byte, size int) (key []byte) {
	var digest []byte
	for len(key) < size {
		sum := md5.Sum(slices.Concat(digest, password, salt))
		digest = sum[:]
		key = append(key, digest...)
	}
	return key[:size]
}

// oidPBE3DES is PKCS #12's pbeWithSHAAnd3-KeyTripleDES-CBC, which certtool
// calls 3des-pkcs12 and OpenSSL PBE-SHA1-3DES.
var oidPBE3DES = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}

// pkcs12Encryption reads the parameters of [oidPBE3DES].
func pkcs12Encryption(params []byte) (e encryption, err error) {
	in := cryptobyte.String(params)
	var seq, salt cryptobyte.String
	var iterations int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1(&salt, cbasn1.OCTET_STRING) ||
		!seq.ReadASN1Integer(&iterations) || !seq.Empty() || iterations < 1 || len(salt) == 0 {
		return e, errors.New("malformed encryption parameters of the private key")
	}
	if iterations > maxPBKDF2Iterations {
		return e, fmt.Errorf("the private key asks for %d iterations; the limit is %d", iterations, maxPBKDF2Iterations)
	}
	// SHA-1 is run twice for the key, which is longer than its result, and once for the IV.
	return encryption{3 * iterations, func(password []byte) (cipher.Block, []byte, error) {
		block, err := des.NewTripleDESCipher(pkcs12Key(1, password, salt, iterations, 24))
		return block, pkcs12Key(2, password, salt, iterations, des.BlockSize), err
	}}, nil
}

// pkcs12Key derives a key (id 1) or an IV (id 2) with SHA-1 (RFC 7292, B.2).
func pkcs12Key(id byte, password, salt []byte, iterations, size int) (key []byte) {
	const blockSize = 64
	var text []byte // BMPString with a final zero
	for _, u := range append(utf16.Encode([]rune(string(password))), 0) {
		text = append(text, byte(u>>8), byte(u))
	}
	fill := func(b []byte) []byte {
		n := (len(b) + blockSize - 1) / blockSize * blockSize
		return bytes.Repeat(b, n/len(b)+1)[:n]
	}
	input := append(fill(salt), fill(text)...)
	for {
		digest := sha1.Sum(slices.Concat(bytes.Repeat([]byte{id}, blockSize), input))
		for range iterations - 1 {
			digest = sha1.Sum(digest[:])
		}
		if key = append(key, digest[:]...); len(key) >= size {
			return key[:size]
		}
		b := fill(digest[:])[:blockSize]
		for i := 0; i < len(input); i += blockSize {
			addOne(input[i:i+blockSize], b)
		}
	}
}

// addOne sets sum to sum + b + 1, both big-endian and of the same length.
func addOne(sum, b []byte) {
	carry := 1
	for i := len(sum) - 1; i >= 0; i-- {
		carry += int(sum[i]) + int(b[i])
		sum[i] = byte(carry)
		carry >>= 8
	}
}
