package pki

import (
	"bytes"
	"crypto"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"virtls/internal/peertest"
)

// eachForeign runs a script of testdata/foreign, which makes files with the real
// programs, for every generation, and check with the files that it made. Then
// it runs check with the files kept from an earlier run, which do not need the
// programs. -update keeps the new ones.
func eachForeign(t *testing.T, script string, check func(t *testing.T, files map[string][]byte)) {
	t.Helper()
	archive := func(g peertest.Generation) string {
		return filepath.Join("testdata", "foreign", fmt.Sprintf("%s-%s.txtar", script, g.Name))
	}
	t.Run("new", func(t *testing.T) {
		peertest.Each(t, func(t *testing.T, g peertest.Generation) {
			dir := t.TempDir()
			shell(t, g, "", fmt.Sprintf("sh testdata/foreign/%s.sh %s", script, dir))
			files := map[string][]byte{}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
					t.Fatal(err)
				}
			}
			check(t, files)
			if *update {
				keep(t, archive(g), g, files)
			}
		})
	})
	t.Run("kept", func(t *testing.T) {
		for _, g := range peertest.All {
			t.Run(g.Name, func(t *testing.T) {
				a, err := txtar.ParseFile(archive(g))
				if err != nil {
					t.Fatal(err)
				}
				files := map[string][]byte{}
				for _, f := range a.Files {
					files[f.Name] = f.Data
				}
				check(t, files)
			})
		}
	})
}

func keep(t *testing.T, name string, g peertest.Generation, files map[string][]byte) {
	t.Helper()
	a := &txtar.Archive{Comment: fmt.Appendf(nil, "Made by GnuTLS %s and OpenSSL %s.\n",
		g.Version(t, peertest.GnuTLS).Upstream, g.Version(t, peertest.OpenSSL).Upstream)}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		a.Files = append(a.Files, txtar.File{Name: name, Data: files[name]})
	}
	if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// foreignKeys says what the keys of testdata/foreign/keys.sh are, or, with a
// "!" before it, why they are refused.
var foreignKeys = map[string]string{
	"certtool-rsa": "rsa2048", "certtool-rsa-no-text": "rsa2048", "certtool-crlf": "rsa2048",
	"certtool-rsa-pss": "RSA-PSS", "certtool-rsa-pss-sha384": "RSA-PSS", "certtool-rsa-oaep": "RSA-OAEP",
	"certtool-secp224r1": "p224", "certtool-secp256r1": "p256", "certtool-secp384r1": "p384", "certtool-secp521r1": "p521",
	"certtool-33-octets": "p256",
	"certtool-ed25519":   "ed25519", "certtool-ed448": "EdDSA (Ed448)", "certtool-x25519": "ECDH (X25519)", "certtool-x448": "ECDH (X448)",
	"certtool-dsa": "!no private key in PEM form found: the file holds DSA PRIVATE KEY",
	"certtool-p8":  "p256", "certtool-p8-aes-128": "p256", "certtool-p8-aes-256": "p256",
	"certtool-p8-3des": "p256", "certtool-p8-3des-pkcs12": "p256",
	"certtool-p8-rc2-40": "!only PBES2 is supported", "certtool-p8-arcfour": "!only PBES2 is supported",

	"openssl-rsa": "rsa2048", "openssl-rsa-traditional": "rsa2048", "openssl-rsa-3-primes": "rsa2048", "openssl-rsa-exponent-3": "rsa2048",
	"openssl-rsa-pss": "RSA-PSS", "openssl-rsa-pss-sha256": "RSA-PSS",
	"openssl-P-224": "p224", "openssl-P-256": "p256", "openssl-P-384": "p384", "openssl-P-521": "p521",
	"openssl-brainpoolP256r1": "!elliptic curve 1.3.36.3.3.2.8.1.1.7 is not supported", "openssl-secp256k1": "!elliptic curve 1.3.132.0.10 is not supported",
	"openssl-explicit": "!the elliptic curve is not given by name", "openssl-parameters-block": "p256",
	"openssl-sec1": "p256", "openssl-sec1-no-public": "p256", "openssl-p8-no-public": "p256", "openssl-compressed": "p256",
	"openssl-ED25519": "ed25519", "openssl-ED448": "EdDSA (Ed448)", "openssl-X25519": "ECDH (X25519)", "openssl-X448": "ECDH (X448)",
	"openssl-p8-default": "p256", "openssl-p8-aes-128-cbc": "p256", "openssl-p8-aes-192-cbc": "p256", "openssl-p8-aes-256-cbc": "p256",
	"openssl-p8-des3": "p256", "openssl-p8-aes-256-cfb": "!cipher 2.16.840.1.101.3.4.1.44, which is not supported",
	"openssl-p8-camellia-256-cbc": "!which is not supported",
	"openssl-p8-SHA1":             "p256", "openssl-p8-SHA224": "p256", "openssl-p8-SHA256": "p256", "openssl-p8-SHA384": "p256",
	"openssl-p8-SHA512": "p256", "openssl-p8-SHA512-256": "p256", "openssl-p8-one-iteration": "p256",
	"openssl-p8-scrypt": "p256", "openssl-p8-sha1-3des": "p256", "openssl-p8-sha1-rc2": "!only PBES2 is supported",
	"openssl-headers-aes256": "rsa2048", "openssl-headers-3des": "p256",

	"openssl-mldsa44-seed-priv": "mldsa44", "openssl-mldsa44-seed-only": "mldsa44", "openssl-mldsa44-priv-only": "mldsa44",
	"openssl-mldsa65-seed-priv": "mldsa65", "openssl-mldsa65-seed-only": "mldsa65", "openssl-mldsa65-priv-only": "mldsa65",
	"openssl-mldsa87-seed-priv": "mldsa87", "openssl-mldsa87-seed-only": "mldsa87", "openssl-mldsa87-priv-only": "mldsa87",
	"openssl-mldsa44-bare-seed": "mldsa44", "openssl-mldsa44-bare-priv": "mldsa44", "openssl-mldsa44-oqskeypair": "mldsa44",
	"openssl-mldsa65": "mldsa65", "openssl-p8-mldsa65": "mldsa65",
}

func secret() ([]byte, error) { return []byte("secret"), nil }

// slow tells whether opening a key takes seconds with the race detector: these
// ask for 600000 iterations.
func slow(name string) bool {
	return slices.Contains([]string{"certtool-p8-aes-128", "certtool-p8-aes-256", "certtool-p8-3des"}, name)
}

// full tells whether everything is to be tried with every generation.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

func TestForeignKeys(t *testing.T) {
	eachForeign(t, "keys", func(t *testing.T, files map[string][]byte) {
		seen := 0
		for file, data := range files {
			name, isKey := strings.CutSuffix(file, ".pem")
			if !isKey {
				continue
			}
			// The default run opens one such key of each generation, all of the newest
			// one, and none of those kept, which are like them.
			if slow(name) && !full() && t.Name() != "TestForeignKeys/new/forky" && (name != "certtool-p8-aes-256" || strings.Contains(t.Name(), "/kept/")) {
				seen++
				continue
			}
			want, known := foreignKeys[name]
			if !known {
				t.Errorf("%s is not in the table", name)
			}
			seen++
			key, err := ParsePrivateKeyPEM(data, secret)
			if text, refused := strings.CutPrefix(want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%s: got %v, want an error with %q", name, err, text)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := KeySpecOf(key.Public()).String(); got != want {
				t.Errorf("%s: got a key of type %s, want %s", name, got, want)
			}
			checkForeignKey(t, name, key, files[name+".pub"])
		}
		if seen < 55 {
			t.Errorf("only %d keys", seen)
		}
	})
}

// checkForeignKey compares the public half with that which the program that
// made the key sees, and uses the key.
func checkForeignKey(t *testing.T, name string, key PrivateKey, public []byte) {
	t.Helper()
	blocks, err := pemBlocks(public, "public key", PEMPublicKey)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	theirs, err := ParsePublicKey(blocks[0].der)
	if err != nil || theirs.Key == nil {
		t.Errorf("%s: public key: %v, %v", name, err, theirs)
		return
	}
	ours, err := MarshalPublicKey(key.Public())
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if name != "openssl-compressed" && !bytes.Equal(ours, theirs.Raw) {
		t.Errorf("%s: got public key %x, want %x", name, ours, theirs.Raw)
	}
	if !SameKey(theirs.Key, key) {
		t.Errorf("%s: the public key does not belong to the private one", name)
	}
	form := MLDSABoth
	if _, ok := key.(*MLDSAExpandedKey); ok {
		form = MLDSAExpanded
	}
	der, err := MarshalPKCS8(key, form)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if again, err := ParsePKCS8(der); err != nil || !SameKey(key.Public(), again) {
		t.Errorf("%s: cannot be written and read again: %v", name, err)
	}
	if signer, ok := key.(crypto.Signer); ok && KeySpecOf(key.Public()).Algorithm != RSAOAEP {
		checkSigner(t, name, signer, theirs.Key)
	}
}

func checkSigner(t *testing.T, name string, key crypto.Signer, public crypto.PublicKey) {
	t.Helper()
	alg, err := PreferredSignature(public, 0)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	message := []byte("virtls")
	signature, err := SignMessage(key, alg, message)
	if err == nil {
		err = VerifyMessage(public, alg, message, signature)
	}
	if err != nil {
		t.Errorf("%s: %s: %v", name, alg, err)
	}
	signature[len(signature)/2] ^= 1
	if VerifyMessage(public, alg, message, signature) == nil {
		t.Errorf("%s: %s: a wrong signature verifies", name, alg)
	}
}

func TestForeignKeyWrongPassword(t *testing.T) {
	a, err := txtar.ParseFile("testdata/foreign/keys-host.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		name, isKey := strings.CutSuffix(f.Name, ".pem")
		// One is enough of those that only differ in their cipher.
		if !isKey || foreignKeys[name][0] == '!' || !bytes.Contains(f.Data, []byte("ENCRYPTED")) || slow(name) && name != "certtool-p8-aes-256" && !full() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			if _, err := ParsePrivateKeyPEM(f.Data, nil); err != ErrNoPassword {
				t.Errorf("without password: got %v", err)
			}
			wrongs := []string{"Secret", strings.Repeat("x", 1000)}
			if slow(name) && !full() {
				wrongs = wrongs[:1]
			}
			for _, wrong := range wrongs {
				if key, err := ParsePrivateKeyPEM(f.Data, func() ([]byte, error) { return []byte(wrong), nil }); err == nil {
					t.Errorf("with password %q: got a key %T", wrong, key)
				}
			}
		})
	}
}
