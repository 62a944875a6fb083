package tlsengine

import (
	"bytes"
	"crypto/mlkem"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"

	"virtls/pki"
	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/sigs"
	"virtls/tlsengine/internal/wire"
)

// A vector is a test of Wycheproof, with the fields of all kinds that are used.
type vector struct {
	ID                      int `json:"tcId"`
	Comment, Result         string
	Flags                   []string
	Public, Private, Shared string // ECDH
	Seed, EK, C, K          string // ML-KEM
	Msg, Sig                string
	Ctx                     *string // ML-DSA
	PublicKeyDER            string  `json:"-"` // of the group
}

// wycheproofVectors reads a file of Wycheproof's; vectors get their group's key.
func wycheproofVectors(t *testing.T, name string) (all []vector) {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, name+"_test.json")
	must(t, err)
	var file struct {
		TestGroups []struct {
			PublicKeyDER string `json:"publicKeyDer"`
			Tests        []vector
		}
	}
	must(t, json.Unmarshal(data, &file))
	sample := 2
	if strings.Contains(name, "384r1") || strings.Contains(name, "521r1") {
		sample = 8
	}
	for _, g := range file.TestGroups {
		for i, v := range g.Tests {
			if v.Result == "valid" && i%sample != 0 && !full() {
				continue // more of the same
			}
			v.PublicKeyDER = g.PublicKeyDER
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no vectors", name)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

// Key exchanges take what is valid, with the right result, and refuse the rest.
func TestWycheproofGroups(t *testing.T) {
	for name, g := range map[string]Group{
		"ecdh_secp256r1_ecpoint": wire.P256, "ecdh_secp384r1_ecpoint": wire.P384, "ecdh_secp521r1_ecpoint": wire.P521, "x25519": wire.X25519,
	} {
		t.Run(g.String(), func(t *testing.T) {
			for _, v := range wycheproofVectors(t, name) {
				private := unhex(t, v.Private)
				size := map[Group]int{wire.P256: 32, wire.P384: 48, wire.P521: 66, wire.X25519: 32}[g]
				private = private[max(0, len(private)-size):] // a leading zero
				private = append(make([]byte, size-len(private)), private...)
				x, err := kex.New(g, bytes.NewReader(private))
				must(t, err)
				secret, err := x.Finish(unhex(t, v.Public))
				// RFC 8446, section 4.2.8.2 has uncompressed points alone, 7.4.2 no result of zeros.
				refused := v.Result == "invalid" || slices.Contains(v.Flags, "CompressedPoint") || slices.Contains(v.Flags, "ZeroSharedSecret")
				switch {
				case refused && err == nil:
					t.Errorf("%d (%s %v) is accepted", v.ID, v.Comment, v.Flags)
				case !refused && (err != nil || !bytes.Equal(secret, unhex(t, v.Shared))):
					t.Errorf("%d (%s %v): %x, %v, want %s", v.ID, v.Comment, v.Flags, secret, err, v.Shared)
				}
			}
		})
	}
}

// The hybrids give the right ML-KEM secret in the right place, and refuse what
// is not ML-KEM.
func TestWycheproofHybrids(t *testing.T) {
	for _, h := range []struct {
		g        Group
		name     string
		curve    Group
		kemFirst bool
		scalar   int
	}{
		{wire.X25519MLKEM768, "mlkem_768", wire.X25519, true, 32},
		{wire.SecP256r1MLKEM768, "mlkem_768", wire.P256, false, 32},
		{wire.SecP384r1MLKEM1024, "mlkem_1024", wire.P384, false, 48},
	} {
		t.Run(h.g.String(), func(t *testing.T) {
			scalar := bytes.Repeat([]byte{7}, h.scalar)
			peer, err := kex.New(h.curve, bytes.NewReader(bytes.Repeat([]byte{9}, h.scalar)))
			must(t, err)
			join := func(point, kem []byte) []byte {
				if h.kemFirst {
					return slices.Concat(kem, point)
				}
				return slices.Concat(point, kem)
			}
			curve, err := kex.New(h.curve, bytes.NewReader(scalar))
			must(t, err)
			point, err := curve.Finish(peer.Share())
			must(t, err)
			for _, v := range wycheproofVectors(t, h.name) {
				if len(v.Seed) != 2*mlkem.SeedSize {
					continue // ours come from nobody else
				}
				x, err := kex.New(h.g, bytes.NewReader(slices.Concat(scalar, unhex(t, v.Seed))))
				if err != nil {
					if v.Result != "invalid" {
						t.Errorf("%d: %v", v.ID, err)
					}
					continue
				}
				secret, err := x.Finish(join(peer.Share(), unhex(t, v.C)))
				switch {
				case v.Result == "invalid" && err == nil:
					t.Errorf("%d (%v) is accepted", v.ID, v.Flags)
				case v.Result == "valid" && (err != nil || !bytes.Equal(secret, join(point, unhex(t, v.K))) || !bytes.Equal(x.Share(), join(curve.Share(), unhex(t, v.EK)))):
					t.Errorf("%d (%v): %v", v.ID, v.Flags, err)
				}
			}
			for _, v := range wycheproofVectors(t, h.name+"_encaps") {
				_, _, err := kex.Respond(h.g, join(peer.Share(), unhex(t, v.EK)), newSteady(3))
				if (err == nil) != (v.Result == "valid") {
					t.Errorf("key %d (%v) is %s: %v", v.ID, v.Flags, v.Result, err)
				}
			}
		})
	}
}

// Signatures are taken only if they are valid, under the scheme of their key.
func TestWycheproofSignatures(t *testing.T) {
	for _, tt := range []struct {
		name    string
		scheme  SignatureScheme
		version Version
	}{
		{"ecdsa_secp256r1_sha256", wire.ECDSAP256, TLS13},
		{"ecdsa_secp384r1_sha384", wire.ECDSAP384, TLS13},
		{"ecdsa_secp521r1_sha512", wire.ECDSAP521, TLS13},
		{"ecdsa_secp384r1_sha256", wire.ECDSAP256, TLS12},
		{"ed25519", wire.Ed25519, TLS13},
		{"rsa_pss_2048_sha256_mgf1_32", wire.RSAPSSSHA256, TLS13},
		{"rsa_pss_3072_sha256_mgf1_32", wire.RSAPSSSHA256, TLS13},
		{"rsa_pss_2048_sha384_mgf1_48", wire.RSAPSSSHA384, TLS13},
		{"rsa_pss_4096_sha512_mgf1_64", wire.RSAPSSSHA512, TLS13},
		{"rsa_pss_2048_sha256_mgf1_32_params", wire.PSSPSSSHA256, TLS13},
		{"rsa_pss_4096_sha512_mgf1_64_params", wire.PSSPSSSHA512, TLS13},
		{"rsa_signature_2048_sha256", wire.RSAPKCS1SHA256, TLS12},
		{"rsa_signature_2048_sha384", wire.RSAPKCS1SHA384, TLS12},
		{"rsa_signature_3072_sha512", wire.RSAPKCS1SHA512, TLS12},
		{"mldsa_44_verify", wire.MLDSA44, TLS13},
		{"mldsa_65_verify", wire.MLDSA65, TLS13},
		{"mldsa_87_verify", wire.MLDSA87, TLS13},
	} {
		t.Run(tt.name, func(t *testing.T) {
			valid := 0
			for _, v := range wycheproofVectors(t, tt.name) {
				pub, err := pki.ParsePublicKey(unhex(t, v.PublicKeyDER))
				if err != nil {
					if v.Result == "valid" {
						t.Errorf("%d (%s): the key cannot be read: %v", v.ID, v.Comment, err)
					}
					continue
				}
				if v.Ctx != nil && *v.Ctx != "" {
					continue // TLS has none (draft-ietf-tls-mldsa)
				}
				msg, sig := unhex(t, v.Msg), unhex(t, v.Sig)
				err = sigs.Verify(pub.Key, tt.scheme, tt.version, []SignatureScheme{tt.scheme}, msg, sig)
				switch {
				case v.Result == "valid" && err != nil:
					t.Errorf("%d (%s %v): %v", v.ID, v.Comment, v.Flags, err)
				case v.Result == "invalid" && err == nil:
					t.Errorf("%d (%s %v) is accepted", v.ID, v.Comment, v.Flags)
				case err == nil:
					if valid++; valid > 1 {
						continue
					}
					otherSchemes(t, v.ID, pub.Key, tt.scheme, msg, sig)
				}
			}
			if valid == 0 {
				t.Error("no signature is valid")
			}
		})
	}
}

// otherSchemes checks that a good signature is not taken under another scheme.
func otherSchemes(t *testing.T, id int, pub any, scheme SignatureScheme, msg, sig []byte) {
	t.Helper()
	for _, other := range sigs.All() {
		if other != scheme && sigs.Verify(pub, other, TLS13, sigs.All(), msg, sig) == nil {
			t.Errorf("%d: a signature with %s is taken for %s", id, scheme, other)
		}
	}
}
