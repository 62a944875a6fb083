package pki

import (
	"bytes"
	"errors"
	"testing"

	"filippo.io/mldsa"
	"golang.org/x/crypto/cryptobyte"
)

// TestInconsistentMLDSA damages every part of private keys in the three forms
// of RFC 9881, 6, as its appendix C.4 does: an importer that did not notice
// would leak the key with its first signature or make none that verifies.
func TestInconsistentMLDSA(t *testing.T) {
	for _, alg := range []KeyAlgorithm{MLDSA44, MLDSA65, MLDSA87} {
		key := signer(t, alg).(*mldsa.PrivateKey)
		expanded, err := expandMLDSA(key)
		if err != nil {
			t.Fatal(err)
		}
		both := func(seed, expanded []byte) []byte {
			var b cryptobyte.Builder
			if err := addMLDSA(&b, key, MLDSABoth); err != nil {
				t.Fatal(err)
			}
			form := b.BytesOrPanic()
			form = bytes.Replace(form, key.Bytes(), seed, 1)
			start := len(form) - len(expanded)
			return append(form[:start:start], expanded...)
		}
		alone := func(expanded []byte) []byte {
			return encode(func(b *cryptobyte.Builder) { b.AddASN1OctetString(expanded) })
		}
		flip := func(b []byte, i int) []byte {
			b = bytes.Clone(b)
			b[i] ^= 1
			return b
		}
		parts := map[string]int{"rho": 0, "tr": 64, "s1": 128, "s2": 128 + len(expanded)/16, "end of tr": 127}
		for name, i := range parts {
			if _, err := readMLDSA(alg, alone(flip(expanded, i))); err == nil {
				t.Errorf("%s: expanded key with a wrong %s is taken", alg, name)
			}
		}
		parts["K"], parts["t0"], parts["end"] = 32, len(expanded)-416, len(expanded)-1
		for name, i := range parts {
			if _, err := readMLDSA(alg, both(key.Bytes(), flip(expanded, i))); !errors.Is(err, errInconsistent) {
				t.Errorf("%s: seed and expanded key with another %s: got %v", alg, name, err)
			}
		}
		if _, err := readMLDSA(alg, both(flip(key.Bytes(), 5), expanded)); !errors.Is(err, errInconsistent) {
			t.Errorf("%s: another seed: got %v", alg, err)
		}
		public := key.PublicKey().Bytes()
		if _, err := readMLDSA(alg, alone(append(bytes.Clone(expanded), public...))); err != nil {
			t.Errorf("%s: with the public key: %v", alg, err)
		}
		if _, err := readMLDSA(alg, alone(append(bytes.Clone(expanded), flip(public, 40)...))); !errors.Is(err, errInconsistent) {
			t.Errorf("%s: with another public key: got %v", alg, err)
		}
		for name, der := range map[string][]byte{
			"nothing": {}, "null": {5, 0}, "short seed": append([]byte{0x80, 31}, make([]byte, 31)...), "long seed": append([]byte{0x80, 33}, make([]byte, 33)...),
			"short": alone(expanded[1:]), "long": alone(append(bytes.Clone(expanded), 0)), "more": append(alone(expanded), 0),
			"zeros": alone(make([]byte, len(expanded))), "ones": alone(bytes.Repeat([]byte{0xff}, len(expanded))),
		} {
			if key, err := readMLDSA(alg, der); err == nil {
				t.Errorf("%s: %s: got a key %T", alg, name, key)
			}
		}
		for _, form := range []MLDSAForm{MLDSABoth, MLDSASeed, MLDSAExpanded} {
			der, err := MarshalPKCS8(key, form)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParsePKCS8(der)
			if err != nil || !SameKey(key.PublicKey(), again) {
				t.Errorf("%s, form %d: %v", alg, form, err)
			}
			if x, ok := again.(*MLDSAExpandedKey); ok {
				if _, err := MarshalPKCS8(x, MLDSASeed); err == nil {
					t.Errorf("%s: a seed was made from nothing", alg)
				}
			}
		}
	}
}
