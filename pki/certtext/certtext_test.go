package certtext_test

import (
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/certtext"
	"virtls/pki/dn"
)

var update = flag.Bool("update", false, "have certtool 3.8.13 write the golden files anew")

// TestGolden compares a few documents with recorded output of certtool 3.8.13,
// for machines that have no certtool.
func TestGolden(t *testing.T) {
	golden := []string{"names", "name constraints", "every attribute", "CRL", "request with extensions", "DH parameters"}
	docs := documents(t)
	for _, name := range golden {
		t.Run(name, func(t *testing.T) {
			for _, doc := range docs {
				if doc.name == name {
					doc.checkGolden(t)
				}
			}
		})
	}
}

func (doc document) checkGolden(t *testing.T) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(doc.name, " ", "-")+".txt")
	if *update {
		peertest.Forky.Need(t)
		printed := runCerttool(t, peertest.Forky, []document{doc})[0]
		text, _, _ := strings.Cut(printed, "-----BEGIN ")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), doc.text(t)); d != "" {
		t.Errorf("text (-recorded +ours):\n%s", d)
	}
}

// TestMLDSAPrivateKey has the text of a GnuTLS with ML-DSA, which Debian lacks.
// Its length (302 octets in front of the PEM block) is that of a real one.
func TestMLDSAPrivateKey(t *testing.T) {
	seed, err := hex.DecodeString("3034020100300b060960864801650304031204228020" + strings.Repeat("42", 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.ParsePKCS8(seed)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := certtext.PrivateKey(&got, key); err != nil {
		t.Fatal(err)
	}
	want := `Public Key Info:
	Public Key Algorithm: ML-DSA-65
	Key Security Level: Future (15616 bits)


Public Key PIN:
	pin-sha256:0+vz/nGX7M47S+ae8PIY7K14xBPJPdCsw6AcVxEAMcs=
Public Key ID:
	sha256:d3ebf3fe7197ecce3b4be69ef0f218ecad78c413c93dd0acc3a01c57110031cb
	sha1:9386309df96083916b9c939d158b0b45d70df35c

`
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got.Len() != 302 {
		t.Errorf("%d octets, want 302", got.Len())
	}
}

// TestUnsigned compares the text of a certificate about to be signed with that
// of the signed one: it is the same without what the issuer adds.
func TestUnsigned(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			var spec *pki.Spec
			cert := sign(t, func(sp *pki.Spec) { s.spec(sp); spec = sp }, authority.Public(), nil)
			var signed, unsigned strings.Builder
			if err := certtext.Certificate(&signed, cert, certtext.Options{}); err != nil {
				t.Fatal(err)
			}
			if err := certtext.Unsigned(&unsigned, spec); err != nil {
				t.Fatal(err)
			}
			want := cutLines(signed.String(), "\tIssuer:", "\tValidity:")
			want = cutLines(want, "\tSignature Algorithm:", "Other Information:")
			want = cutLines(want, "\tFingerprint:", "\tPublic Key ID:")
			if d := cmp.Diff(want, unsigned.String()); d != "" {
				t.Errorf("text (-signed +unsigned):\n%s", d)
			}
		})
	}
}

// cutLines removes the lines from the one that begins with from up to the one
// that begins with to.
func cutLines(text, from, to string) string {
	before, rest, _ := strings.Cut(text, "\n"+from)
	_, after, _ := strings.Cut(rest, "\n"+to)
	return before + "\n" + to + after
}

// FuzzDocuments looks for input that makes the printer panic.
func FuzzDocuments(f *testing.F) {
	data, err := os.ReadFile("testdata/foreign.pem")
	if err != nil {
		f.Fatal(err)
	}
	certs, err := pki.ParseCertificatesPEM(data)
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range certs {
		f.Add(c.Raw)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, o := range []certtext.Options{{}, hexNumbers} {
			if c, err := pki.ParseCertificate(der); err == nil {
				check(t, certtext.Certificate(io.Discard, c, o))
			}
			if r, err := pki.ParseRequest(der); err == nil {
				check(t, certtext.Request(io.Discard, r, o))
			}
			if k, err := pki.ParsePublicKey(der); err == nil {
				check(t, certtext.PublicKey(io.Discard, k, pki.DigitalSignature, o))
			}
		}
		if c, err := pki.ParseCRL(der); err == nil {
			check(t, certtext.CRL(io.Discard, c))
		}
	})
}

// FuzzExtension gives the printer extensions of every kind with any value.
func FuzzExtension(f *testing.F) {
	for _, s := range samples {
		var spec pki.Spec
		s.spec(&spec)
		for _, e := range spec.Extensions {
			f.Add(e.OID.String(), e.Value)
		}
	}
	f.Fuzz(func(t *testing.T, oid string, value []byte) {
		id, err := dn.ParseOID(oid)
		if err != nil {
			return
		}
		c := pki.Certificate{Version: 3, PublicKey: &pki.PublicKey{}, Extensions: pki.Extensions{{OID: id, Value: value}}}
		check(t, certtext.Certificate(io.Discard, &c, certtext.Options{}))
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
