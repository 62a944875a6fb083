package sigs

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"virtls/pki"
	"virtls/tlsengine/internal/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What each key may sign with (RFC 8446, section 4.2.3; RFC 5246 with RFC 8422;
// draft-ietf-tls-mldsa).
var allowed = map[string]map[wire.Version][]wire.SignatureScheme{
	"p256":    {wire.TLS13: {wire.ECDSAP256}, wire.TLS12: {wire.ECDSAP256, wire.ECDSAP384, wire.ECDSAP521}},
	"p384":    {wire.TLS13: {wire.ECDSAP384}, wire.TLS12: {wire.ECDSAP256, wire.ECDSAP384, wire.ECDSAP521}},
	"p521":    {wire.TLS13: {wire.ECDSAP521}, wire.TLS12: {wire.ECDSAP256, wire.ECDSAP384, wire.ECDSAP521}},
	"ed25519": {wire.TLS13: {wire.Ed25519}, wire.TLS12: {wire.Ed25519}},
	"mldsa44": {wire.TLS13: {wire.MLDSA44}},
	"mldsa65": {wire.TLS13: {wire.MLDSA65}},
	"mldsa87": {wire.TLS13: {wire.MLDSA87}},
	"rsa2048": {
		wire.TLS13: {wire.RSAPSSSHA256, wire.RSAPSSSHA384, wire.RSAPSSSHA512},
		wire.TLS12: {wire.RSAPSSSHA256, wire.RSAPSSSHA384, wire.RSAPSSSHA512, wire.RSAPKCS1SHA256, wire.RSAPKCS1SHA384, wire.RSAPKCS1SHA512},
	},
}

// Every scheme with every key: the key signs with what it may and nothing else,
// and what it signed is taken under that scheme alone.
func TestSchemesAndKeys(t *testing.T) {
	content := Content13(false, []byte("transcript"))
	for spec, versions := range allowed {
		ks, err := pki.ParseKeySpec(spec)
		must(t, err)
		made, err := pki.GenerateSigner(ks)
		must(t, err)
		for _, v := range []wire.Version{wire.TLS13, wire.TLS12} {
			for _, id := range All() {
				t.Run(fmt.Sprint(spec, " ", v, " ", id), func(t *testing.T) {
					want := slices.Contains(versions[v], id)
					if got := Choose(made.Public(), v, All(), []wire.SignatureScheme{id}); (got == id) != want {
						t.Fatalf("chosen %s, want %v", got, want)
					}
					if !want {
						var own *wire.Error
						if err := Verify(made.Public(), id, v, All(), content, []byte("sig")); !errors.As(err, &own) || own.Alert != wire.IllegalParameter {
							t.Errorf("a scheme of other keys: %v", err)
						}
						return
					}
					sig, err := Sign(made, id, content)
					must(t, err)
					must(t, Verify(made.Public(), id, v, []wire.SignatureScheme{id}, content, sig))
					for _, other := range All() {
						if other != id && Verify(made.Public(), other, v, All(), content, sig) == nil {
							t.Errorf("taken for %s", other)
						}
					}
					if err := Verify(made.Public(), id, v, slices.DeleteFunc(All(), func(s wire.SignatureScheme) bool { return s == id }), content, sig); err == nil {
						t.Error("taken, although it was not offered")
					}
					if err := Verify(made.Public(), id, v, All(), Content13(true, []byte("transcript")), sig); err == nil {
						t.Error("a server's signature is taken for a client's")
					}
				})
			}
		}
	}
}

// A key for RSA-PSS alone says which hash it is for, and a modulus must have
// room for it.
func TestRSAPSSKeys(t *testing.T) {
	modulus := new(big.Int).SetBit(big.NewInt(1), 1023, 1)
	small := &rsa.PublicKey{N: modulus, E: 65537}
	for _, tt := range []struct {
		pub  crypto.PublicKey
		id   wire.SignatureScheme
		want bool
	}{
		{small, wire.RSAPSSSHA384, true},
		{small, wire.RSAPSSSHA512, false},
		{&pki.PSSPublicKey{PublicKey: small, Hash: crypto.SHA256}, wire.PSSPSSSHA256, true},
		{&pki.PSSPublicKey{PublicKey: small, Hash: crypto.SHA256}, wire.PSSPSSSHA384, false},
		{&pki.PSSPublicKey{PublicKey: small, Hash: crypto.SHA256}, wire.RSAPSSSHA256, false},
		{&pki.PSSPublicKey{PublicKey: small, SaltLength: 48}, wire.PSSPSSSHA256, false},
	} {
		if got := find(tt.id).fits(tt.pub, wire.TLS13); got != tt.want {
			t.Errorf("%s fits %T: %v", tt.id, tt.pub, got)
		}
	}
}
