package certtool

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"virtls/internal/peertest"
	"virtls/pki"
)

func somePFX(t testing.TB, password *string) []byte {
	t.Helper()
	secret := ""
	if password != nil {
		secret = *password
	}
	open := safe{bags: []bag{{kind: secretBag, data: []byte{0x30, 0}}, {kind: shroudedKeyBag, data: []byte{0x30, 0}, name: "näme", keyID: []byte{1, 2}}}}
	sealed, err := safe{bags: []bag{{kind: certBag, data: []byte{0x30, 1, 5}}, {kind: crlBag, data: []byte{0x30, 0}}}}.seal(secret, pki.AES256, fewIterations)
	if err != nil {
		t.Fatal(err)
	}
	der, err := marshalPFX([]safe{open, sealed}, password, crypto.SHA256, fewIterations)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestPFX(t *testing.T) {
	secret, wrong, empty := "pässword", "password", ""
	for name, password := range map[string]*string{"some": &secret, "empty": &empty, "none": nil} {
		t.Run(name, func(t *testing.T) {
			f, err := parsePFX(somePFX(t, password))
			must(t, err)
			if !f.isSigned || !f.verify(password) || f.verify(&wrong) {
				t.Error("the MAC does not tell passwords apart")
			}
			if password == nil && f.verify(&empty) {
				t.Error("no password and an empty one are the same to the MAC")
			}
			text := ""
			if password != nil {
				text = *password
			}
			if _, err := f.safes[1].open("wrong"); err == nil {
				t.Error("opened with a wrong password")
			}
			sealed, err := f.safes[1].open(text)
			must(t, err)
			want := []bag{{kind: secretBag, data: []byte{0x30, 0}}, {kind: shroudedKeyBag, data: []byte{0x30, 0}, name: "näme", keyID: []byte{1, 2}},
				{kind: certBag, data: []byte{0x30, 1, 5}}, {kind: crlBag, data: []byte{0x30, 0}}}
			if d := cmp.Diff(want, append(f.safes[0].bags, sealed...), cmp.AllowUnexported(bag{})); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestPFXWithOthers has a library and the real openssl read what we write. The
// real certtool reads it in TestSteps, and we read its files in TestTheirFiles.
func TestPFXWithOthers(t *testing.T) {
	inDir(t, fixtureFiles)
	runHere(t, "--generate-privkey --key-type ecdsa --outfile key.pem")
	runHere(t, "--generate-self-signed --load-privkey key.pem --template ca.tmpl --outfile cert.pem")
	key, cert := readPair(t)
	secret := "secret"
	for _, h := range macHashes {
		t.Run(pki.HashName(h.hash), func(t *testing.T) {
			der := pairPFX(t, key, cert, secret, h.hash)
			if h.hash != crypto.SHA224 && h.hash != crypto.SHA384 { // which the library does not know
				gotKey, gotCert, err := gopkcs12.Decode(der, secret)
				must(t, err)
				ec, ok := gotKey.(*ecdsa.PrivateKey)
				if !ok || !ec.Equal(key) || !gotCert.Equal(cert) {
					t.Errorf("key %T of %s", gotKey, gotCert.Subject)
				}
			}
			must(t, os.WriteFile("o.p12", der, 0o600))
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				for password, want := range map[string]int{secret: 0, "wrong": 1} {
					r := g.Run(t, peertest.Options{}, "openssl", "pkcs12", "-in", "o.p12", "-passin", "pass:"+password, "-nodes", "-noout")
					if r.Code != want {
						t.Error(r)
					}
				}
			})
		})
	}
	t.Run("made by a library", func(t *testing.T) {
		der, err := gopkcs12.Modern.Encode(key, cert, nil, secret)
		must(t, err)
		must(t, os.WriteFile("lib.p12", der, 0o600))
		out := runHere(t, "--p12-info --inder --infile lib.p12 --password secret --no-text")
		certs, why := certificates([]byte(out), false)
		if why != "" || !cert.Equal(mustParse(t, certs[0].Raw)) {
			t.Error(why, out)
		}
	})
}

// pairPFX makes a file of a key and its certificate.
func pairPFX(t *testing.T, key pki.PrivateKey, cert *x509.Certificate, secret string, hash crypto.Hash) []byte {
	t.Helper()
	sealed, err := safe{bags: []bag{{kind: certBag, data: cert.Raw, name: "host", keyID: []byte{1}}}}.seal(secret, pki.AES256, fewIterations)
	must(t, err)
	plain, err := pki.MarshalPKCS8(key, pki.MLDSABoth)
	must(t, err)
	shrouded, err := pki.EncryptPKCS8(plain, []byte(secret), pki.AES256, fewIterations)
	must(t, err)
	der, err := marshalPFX([]safe{sealed, {bags: []bag{{kind: shroudedKeyBag, data: shrouded, name: "host", keyID: []byte{1}}}}}, &secret, hash, fewIterations)
	must(t, err)
	return der
}

func readPair(t *testing.T) (pki.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := pki.ParsePrivateKeyPEM([]byte(readFile(t, "key.pem")), nil)
	must(t, err)
	certs, err := pki.ParseCertificatesPEM([]byte(readFile(t, "cert.pem")))
	must(t, err)
	return key, mustParse(t, certs[0].Raw)
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

func FuzzParsePFX(f *testing.F) {
	secret := "x"
	f.Add(somePFX(f, &secret))
	f.Add([]byte("\x30\x16\x02\x01\x03\x30\x11\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x04\x04\x02\x30\x00"))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := parsePFX(der)
		if err != nil {
			return
		}
		for _, s := range p.safes {
			safeEncryptionText(s.encrypted)
			for _, b := range s.bags {
				encryptionText(b.data, "\t")
			}
		}
	})
}

func FuzzReadBags(f *testing.F) {
	contents, err := safe{bags: []bag{{kind: certBag, data: []byte{0x30, 0}, name: "n", keyID: []byte{1}}, {kind: keyBag, data: []byte{0x30, 0}}}}.contents()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(contents)
	f.Fuzz(func(t *testing.T, der []byte) {
		bags, err := readBags(der)
		if err != nil {
			return
		}
		for _, b := range bags {
			encryptionText(b.data, "\t")
		}
	})
}
