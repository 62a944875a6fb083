package creds

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
)

var (
	masterKey = bytes.Repeat([]byte("k"), 32)
	masterIV  = bytes.Repeat([]byte("i"), 16)
)

// encrypt encrypts as libvirt does for QEMU: AES-256-CBC with PKCS #7 padding.
func encrypt(plain []byte) []byte {
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	return encryptBlocks(append(bytes.Clone(plain), bytes.Repeat([]byte{byte(padding)}, padding)...))
}

func encryptBlocks(plain []byte) []byte {
	block, err := aes.NewCipher(masterKey)
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, masterIV).CryptBlocks(out, plain)
	return out
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// secretCases are secrets by their properties as QEMU has them. A key is
// master's, unless it says otherwise.
var secretCases = []struct {
	name      string
	data      string // "-" for none
	file      string // content of a file, "-" for one that is not there
	format    SecretFormat
	key, iv   string
	want      string // the secret
	err, code string
}{
	{name: "data", data: "letmein", want: "letmein"},
	{name: "empty data", data: "", want: ""},
	{name: "file", data: "-", file: "letmein\n", want: "letmein\n"},
	{name: "base64", data: b64([]byte("let\x00me")), format: Base64, want: "let\x00me"},
	{name: "base64 file with newline", data: "-", file: b64([]byte("letmein")) + "\n", format: Base64, want: "letmein"},
	{name: "base64 without its end", data: "bGV0bWVpbg", format: Base64, want: "letmei"},
	{name: "base64 padded within", data: "bGU=dA==", format: Base64, want: "let"},
	{name: "encrypted", data: b64(encrypt([]byte("letmein"))), format: Base64, key: "master", iv: b64(masterIV), want: "letmein"},
	{name: "encrypted file", data: "-", file: string(encrypt([]byte("letmein"))), key: "master", iv: b64(masterIV), want: "letmein"},
	{name: "encrypted with padding of 0", data: b64(encryptBlocks(append([]byte("0123456789abcde"), 0))), format: Base64, key: "master", iv: b64(masterIV), want: "0123456789abcde\x00"},
	{name: "both", data: "x", file: "y", err: "'file' and 'data' are mutually exclusive", code: "secret-source"},
	{name: "neither", data: "-", err: "Either 'file' or 'data' must be provided", code: "secret-source"},
	{name: "file missing", data: "-", file: "-", err: "Unable to read ", code: "credential-unreadable"},
	{name: "no base64", data: "let me in", format: Base64, err: "Base64 data contains invalid characters", code: "secret-base64"},
	{name: "NUL in base64", data: "-", file: "bGV0\x00", format: Base64, err: "Base64 data contains embedded NUL characters", code: "secret-base64"},
	{name: "short key", data: b64(encrypt([]byte("x"))), format: Base64, key: "short", iv: b64(masterIV), err: "Key should be 32 bytes in length", code: "secret-key"},
	{name: "no IV", data: b64(encrypt([]byte("x"))), format: Base64, key: "master", err: "IV is required to decrypt secret", code: "secret-iv"},
	{name: "short IV", data: b64(encrypt([]byte("x"))), format: Base64, key: "master", iv: b64(masterIV[:8]), err: "IV should be 16 bytes in length not 8", code: "secret-iv"},
	{name: "IV no base64", data: b64(encrypt([]byte("x"))), format: Base64, key: "master", iv: "???", err: "Base64 data contains invalid characters", code: "secret-base64"},
	{name: "not whole blocks", data: b64([]byte("12345")), format: Base64, key: "master", iv: b64(masterIV), err: "Length 5 must be a multiple of block size 16", code: "secret-undecryptable"},
	{name: "wrong padding", data: b64(encryptBlocks(append([]byte("0123456789abcde"), 17))), format: Base64, key: "master", iv: b64(masterIV), err: "Incorrect number of padding bytes (17) found on decrypted data", code: "secret-undecryptable"},
}

func TestLoadSecret(t *testing.T) {
	keys := map[string]*Secret{}
	for id, data := range map[string][]byte{"master": masterKey, "short": masterKey[:31]} {
		key, err := LoadSecret(SecretOptions{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		keys[id] = key
	}
	for _, test := range secretCases {
		t.Run(test.name, func(t *testing.T) {
			o := SecretOptions{Format: test.format, Key: keys[test.key], IV: test.iv}
			object := "secret,id=s,format=" + [...]string{"raw", "base64"}[test.format]
			if test.data != "-" {
				o.Data = append([]byte{}, test.data...)
				object += ",data=" + test.data
			}
			if test.file != "" {
				o.File = filepath.Join(t.TempDir(), "secret")
				object += ",file=" + o.File
				if test.file != "-" {
					writeFile(t, o.File, test.file)
				}
			}
			if test.key != "" {
				object += ",keyid=" + test.key
			}
			if test.iv != "" {
				object += ",iv=" + test.iv
			}
			s, err := LoadSecret(o)
			switch {
			case test.err == "" && (err != nil || string(s.Bytes()) != test.want):
				t.Errorf("%q, %v; want %q", s.Bytes(), err, test.want)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err) || finding.Of(err).Code != test.code):
				t.Errorf("%v (%s); want %q (%s)", err, finding.Of(err).Code, test.err, test.code)
			}
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				got := g.Run(t, peertest.Options{}, "qemu-img", "info", "-f", "raw",
					"--object", "secret,id=master,format=base64,data="+b64(masterKey),
					"--object", "secret,id=short,format=base64,data="+b64(masterKey[:31]),
					"--object", object, "/etc/hosts")
				if (got.Code == 0) != (test.err == "") || !strings.Contains(got.Stderr, test.err) {
					t.Errorf("want %q: %v", test.err, got)
				}
			})
		})
	}
}

// What QEMU would read before the beginning of its memory.
func TestSecretEmptyCiphertext(t *testing.T) {
	key, err := LoadSecret(SecretOptions{Data: masterKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSecret(SecretOptions{Data: []byte{}, Key: key, IV: b64(masterIV)}); finding.Of(err).Code != kindSecretDecrypt.Code {
		t.Error(err)
	}
	if _, err := LoadSecret(SecretOptions{Data: make([]byte, pki.MaxFileSize+1)}); finding.Of(err).Code != kindTooLarge.Code {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "large")
	writeFile(t, path, strings.Repeat("x", pki.MaxFileSize+1))
	if _, err := LoadSecret(SecretOptions{File: path}); finding.Of(err).Code != kindTooLarge.Code {
		t.Error(err)
	}
}

// However a secret is printed, it does not show; nor do errors about it.
func TestSecretHidden(t *testing.T) {
	s, err := LoadSecret(SecretOptions{Data: []byte("letmein")})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("secret", "s", s)
	text, err := json.Marshal(struct{ S *Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%v %+v %#v %s %x %q", s, s, s, s, s, s) + fmt.Sprintf("%v %#v %v", struct{ S *Secret }{s}, *s, struct{ S Secret }{*s}) + log.String() + string(text)
	for _, shown := range []string{"letmein", fmt.Sprintf("%x", "letmein"), "108 101"} {
		if strings.Contains(all, shown) {
			t.Errorf("%q shows in %s", shown, all)
		}
	}
	if _, err := LoadSecret(SecretOptions{Data: []byte("let me in"), Format: Base64}); err == nil || strings.Contains(err.Error(), "let") {
		t.Error(err)
	}
}

func TestPassword(t *testing.T) {
	for data, ok := range map[string]bool{"letmein": true, "Größe": true, "": true, "\xff": false, "a\x00b": false} {
		s, err := LoadSecret(SecretOptions{Data: []byte(data)})
		if err != nil {
			t.Fatal(err)
		}
		password, err := s.Password("sec0")
		if ok && (err != nil || string(password) != data || password == nil) || !ok && (codeOf(err) != kindSecretText.Code || !strings.Contains(err.Error(), "Data from secret sec0 is not valid UTF-8")) {
			t.Errorf("%q is %q, %v", data, password, err)
		}
	}
}
