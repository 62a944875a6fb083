package creds

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"virtls/finding"
	"virtls/internal/strerror"
	"virtls/pki"
)

// A SecretFormat is how a secret's data is written down.
type SecretFormat int

// The formats; as in QEMU, data is raw unless told otherwise.
const (
	Raw SecretFormat = iota
	Base64
)

// SecretOptions are the properties of a secret object.
type SecretOptions struct {
	Data   []byte // nil if File has it
	File   string // taken whole, a newline at its end included
	Format SecretFormat

	// Key is the content of the secret that keyid names, if the data is
	// encrypted with AES-256-CBC; IV is the property iv, in base64.
	Key *Secret
	IV  string
}

var (
	kindSecretSource = finding.Define("secret-source", finding.Error,
		"a secret comes from its data or from a file: exactly one of them",
		"give the secret either data= or file=, better the file")
	kindSecretBase64 = finding.Define("secret-base64", finding.Error,
		"what should be base64 is not",
		"encode it with 'base64', or say format=raw")
	kindSecretKey = finding.Define("secret-key", finding.Error,
		"the key that encrypts the secret has the wrong size",
		"make a master key of 32 bytes: openssl rand -base64 32, and give it with format=base64")
	kindSecretIV = finding.Define("secret-iv", finding.Error,
		"the initialization vector of the encrypted secret is missing or has the wrong size",
		"give the 16 bytes with which the secret was encrypted, in base64: iv=$(base64 < FILE)")
	kindSecretDecrypt = finding.Define("secret-undecryptable", finding.Error,
		"the secret cannot be decrypted",
		"check that key and initialization vector are those that encrypted it: openssl enc -aes-256-cbc -a -K HEXKEY -iv HEXIV")
	kindSecretText = finding.Define("secret-not-text", finding.Error,
		"the secret is no text, and so no password",
		"check format= and the file; passwords are UTF-8")
)

// A Secret is a password or key. However it is printed, logged or marshalled,
// only its size shows; [Secret.Bytes] and [Secret.Password] are the ways to it.
// It is immutable.
type Secret struct {
	data func() []byte // a function, so that printing a struct that holds it by reflection shows nothing
}

// LoadSecret loads a secret object as QEMU does (crypto/secret_common.c): what
// is encrypted is decoded, if the format says so, and decrypted; what is not
// encrypted is decoded. The error is a *[finding.Failure] whose text is QEMU's.
func LoadSecret(o SecretOptions) (*Secret, error) {
	data, err := o.load()
	if err != nil {
		return nil, err
	}
	var block cipher.Block
	var iv []byte
	if o.Key != nil {
		if block, iv, err = o.cipher(); err != nil {
			return nil, err
		}
	}
	if o.Format == Base64 {
		if data, err = decodeBase64("data", data); err != nil {
			return nil, err
		}
	}
	if block != nil {
		if data, err = decrypt(block, iv, data); err != nil {
			return nil, err
		}
	}
	return &Secret{func() []byte { return data }}, nil
}

func (o SecretOptions) load() ([]byte, error) {
	switch {
	case o.File != "" && o.Data != nil:
		return nil, failure(Problem{kindSecretSource.Found("secret", "both"), "'file' and 'data' are mutually exclusive"})
	case o.File == "" && o.Data == nil:
		return nil, failure(Problem{kindSecretSource.Found("secret", "neither"), "Either 'file' or 'data' must be provided"})
	case o.Data != nil:
		if len(o.Data) > pki.MaxFileSize {
			return nil, kindTooLarge.Found("data", fmt.Sprintf("%d bytes", len(o.Data))).WithWant(fmt.Sprintf("at most %d bytes", pki.MaxFileSize), "").Wrong()
		}
		return slices.Clone(o.Data), nil
	}
	data, err := disk{here{}, NewCache()}.read(o.File)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, kindTooLarge.Found(o.File, "more than the limit").WithWant(fmt.Sprintf("at most %d bytes", pki.MaxFileSize), "").Wrong()
	case err != nil:
		return nil, failure(Problem{kindUnreadable.Found(o.File, strerror.Of(err)), "Unable to read " + o.File})
	}
	return data, nil
}

// cipher returns what decrypts the data.
func (o SecretOptions) cipher() (cipher.Block, []byte, error) {
	key := o.Key.data()
	if len(key) != 32 {
		return nil, nil, failure(Problem{kindSecretKey.Found("keyid", fmt.Sprintf("%d bytes", len(key))).WithWant("32 bytes", ""), "Key should be 32 bytes in length"})
	}
	if o.IV == "" {
		return nil, nil, failure(Problem{kindSecretIV.Found("iv", ""), "IV is required to decrypt secret"})
	}
	iv, err := decodeBase64("iv", []byte(o.IV))
	if err != nil {
		return nil, nil, err
	}
	if len(iv) != aes.BlockSize {
		return nil, nil, failure(Problem{kindSecretIV.Found("iv", fmt.Sprintf("%d bytes", len(iv))).WithWant("16 bytes", ""), fmt.Sprintf("IV should be 16 bytes in length not %d", len(iv))})
	}
	block, err := aes.NewCipher(key)
	return block, iv, err
}

// decrypt opens AES-256-CBC and takes the padding off, whose length is the last
// byte alone (QEMU looks at no other).
func decrypt(block cipher.Block, iv, data []byte) ([]byte, error) {
	if len(data)%aes.BlockSize != 0 || len(data) == 0 {
		return nil, failure(Problem{kindSecretDecrypt.Found("data", fmt.Sprintf("%d bytes", len(data))).WithWant("a multiple of 16", ""),
			fmt.Sprintf("Length %d must be a multiple of block size %d", len(data), aes.BlockSize)})
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding > aes.BlockSize {
		return nil, failure(Problem{kindSecretDecrypt.Found("data", ""),
			fmt.Sprintf("Incorrect number of padding bytes (%d) found on decrypted data", padding)})
	}
	return plain[:len(plain)-padding], nil
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// decodeBase64 decodes as QEMU does (util/base64.c and GLib's g_base64_decode):
// other characters than digits, padding and newlines are errors, what is
// missing at the end is not.
func decodeBase64(what string, text []byte) ([]byte, error) {
	if i := slices.IndexFunc(text, func(c byte) bool { return !strings.ContainsRune(base64Digits+"=\n", rune(c)) }); i >= 0 {
		reason := "Base64 data contains invalid characters"
		if slices.Contains(text, 0) {
			reason = "Base64 data contains embedded NUL characters"
		}
		return nil, failure(Problem{kindSecretBase64.Found(what, fmt.Sprintf("no digit of base64 at character %d", i+1)), reason})
	}
	var out []byte
	var bits uint32
	n, padding := 0, 0
	for _, c := range text {
		if c == '\n' {
			continue
		}
		digit := strings.IndexByte(base64Digits, c)
		if digit < 0 {
			digit = 0
			padding++
		}
		bits = bits<<6 | uint32(digit)
		if n++; n == 4 {
			out = append(out, []byte{byte(bits >> 16), byte(bits >> 8), byte(bits)}[:max(1, 3-padding)]...)
			bits, n, padding = 0, 0, 0
		}
	}
	return out, nil
}

// Bytes returns a copy of the secret.
func (s *Secret) Bytes() []byte { return slices.Clone(s.data()) }

// Password returns the secret as the password of a key. id names it in the
// error, whose text is QEMU's (qcrypto_secret_lookup_as_utf8).
func (s *Secret) Password(id string) ([]byte, error) {
	if !utf8.Valid(s.data()) || slices.Contains(s.data(), 0) {
		return nil, failure(Problem{kindSecretText.Found(id, ""), fmt.Sprintf("Data from secret %s is not valid UTF-8", id)})
	}
	return append([]byte{}, s.data()...), nil
}

// String says how long the secret is.
func (s *Secret) String() string { return fmt.Sprintf("[secret of %d bytes]", len(s.data())) }

// Format prints the same as [Secret.String] for every verb.
func (s *Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// LogValue logs the same as [Secret.String].
func (s *Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns the same as [Secret.String], for JSON and other encodings.
func (s *Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
