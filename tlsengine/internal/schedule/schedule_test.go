package schedule

import (
	"bytes"
	"crypto"
	"crypto/hkdf"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// key are the octets from 0 to 31.
var key = func() (k []byte) {
	for n := range byte(32) {
		k = append(k, n)
	}
	return k
}()

// What an external key is imported as, and the binder that it makes for a
// transcript "hello": RFC 9258 has no vectors, these were computed from its text
// with another HMAC than ours.
func TestImport(t *testing.T) {
	for _, tt := range []struct {
		name            string
		own, target     crypto.Hash
		context         string
		identity, ipskx string
		binder          string
	}{
		{"SHA-256", crypto.SHA256, crypto.SHA256, "", "000472696368000003040001", "3cdce1e2a72fa7e2384ebd28befd6b1d2e72358d81417ca0a6568357fcba70b2",
			"762f6f4dbf517005dbce7f2e928d3191115c9bfaf15e7d6286f8d6a6c80349b7"},
		{"SHA-256 for SHA-384", crypto.SHA256, crypto.SHA384, "", "000472696368000003040002",
			"6a1457b29a5c412bdb7d75f10329cd725673425dc014bf212f6be48d9501f9d6b8d59be74cd7a9058e523c1264ae1553",
			"385c59590c2404d626bcc4d7912942f6144612a48bccd865b231465c073ddb3ba34fc06032312e3c3dc25809624bed62"},
		{"SHA-384 for SHA-256", crypto.SHA384, crypto.SHA256, "", "000472696368000003040001", "bf4ed48b972851630780ce5f5ec7eb4caa16fcfbf2b3922d26529c69fdca2d4f",
			"215904ee16b86ee638f548f912bace9ce26f703f411ce516f9c1e5940050cd99"},
		{"a context", crypto.SHA256, crypto.SHA256, "rack 7", "00047269636800067261636b203703040001", "85b7601e0436f424852dc1962e261922b5764e390e6b735ee3cd1d14a477b33e",
			"acc425474e8238a86cf84e05b310efcd91f1f979eeca1541ca9c762add95753f"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := ImportedIdentity{[]byte("rich"), []byte(tt.context), 0x0304, TargetKDF(tt.target)}
			identity, ipskx := Import(tt.own, key, id, tt.target)
			if got := hex.EncodeToString(identity); got != tt.identity {
				t.Errorf("identity %s, want %s", got, tt.identity)
			}
			if got := hex.EncodeToString(ipskx); got != tt.ipskx {
				t.Errorf("key %s, want %s", got, tt.ipskx)
			}
			binder := New(tt.target, ipskx).Binder(ImportedBinder, sum(tt.target, []byte("hello")))
			if got := hex.EncodeToString(binder); got != tt.binder {
				t.Errorf("binder %s, want %s", got, tt.binder)
			}
			again, ok := ParseImported(identity)
			if !ok || !bytes.Equal(again.Marshal(), identity) || again.TargetHash() != tt.target {
				t.Errorf("read again: %+v, %v", again, ok)
			}
		})
	}
	for name, bad := range map[string]string{"nothing": "", "a name": "72696368", "too short": "0004726963680000030400", "too long": "00047269636800000304000100", "no identity": "0000000003040001"} {
		if id, ok := ParseImported(unhex(t, bad)); ok {
			t.Errorf("%s is read as %+v", name, id)
		}
	}
	if h := (ImportedIdentity{KDF: 3}).TargetHash(); h != 0 {
		t.Errorf("KDF 3 has the hash %s", h)
	}
}

func TestExternalBinder(t *testing.T) {
	const want = "b092ab04aa0bcbbc28d7a2efad572cbd7528e46e97421c047fb2db85e7c83432" // computed as those above
	if got := hex.EncodeToString(New(crypto.SHA256, key).Binder(ExternalBinder, sum(crypto.SHA256, []byte("hello")))); got != want {
		t.Errorf("binder %s, want %s", got, want)
	}
}

// TLS 1.2's PRF with SHA-256, by the vector that the TLS working group's
// mailing list published.
func TestPRF(t *testing.T) {
	got := PRF(crypto.SHA256, unhex(t, "9bbe436ba940f017b17652849a71db35"), "test label", unhex(t, "a0ba9f936cda311827a6f796ffd5198c"), 100)
	const want = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab" +
		"4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66"
	if hex.EncodeToString(got) != want {
		t.Errorf("%x, want %s", got, want)
	}
}

// The secret that a pre-shared key makes, alone and with an exchange (RFC 4279,
// section 2).
func TestPSKPremaster(t *testing.T) {
	for _, tt := range []struct{ other, psk, want string }{
		{"", "0102", "0002" + "0000" + "0002" + "0102"},
		{"aabbcc", "0102", "0003" + "aabbcc" + "0002" + "0102"},
	} {
		var other []byte
		if tt.other != "" {
			other = unhex(t, tt.other)
		}
		if got := hex.EncodeToString(PSKPremaster(other, unhex(t, tt.psk))); got != tt.want {
			t.Errorf("%s with %q: %s, want %s", tt.psk, tt.other, got, tt.want)
		}
	}
}

// An exporter's context of nothing is not the lack of one in TLS 1.2 (RFC 5705,
// section 4), and is in TLS 1.3 (RFC 8446, section 7.5).
func TestExportContext(t *testing.T) {
	var r Randoms
	if bytes.Equal(Export12(crypto.SHA256, key, r, "l", nil, 20), Export12(crypto.SHA256, key, r, "l", []byte{}, 20)) {
		t.Error("TLS 1.2: an empty context is as none")
	}
	if !bytes.Equal(Export(crypto.SHA256, key, "l", nil, 20), Export(crypto.SHA256, key, "l", []byte{}, 20)) {
		t.Error("TLS 1.3: an empty context is not as none")
	}
}

func TestForget(t *testing.T) {
	s := New(crypto.SHA256, key)
	early := s.secret
	s.Handshake([]byte("shared"))
	late := s.secret
	s.Forget()
	if zero := make([]byte, 32); !bytes.Equal(early, zero) || !bytes.Equal(late, zero) {
		t.Errorf("%x and %x are left", early, late)
	}
}

// HKDF is the standard's, by Wycheproof's vectors.
func TestWycheproofHKDF(t *testing.T) {
	for file, h := range map[string]crypto.Hash{"hkdf_sha256": crypto.SHA256, "hkdf_sha384": crypto.SHA384} {
		data, err := fs.ReadFile(wycheproof.TestVectors, file+"_test.json")
		if err != nil {
			t.Fatal(err)
		}
		var all struct {
			TestGroups []struct {
				Tests []struct {
					ID                           int `json:"tcId"`
					IKM, Salt, Info, OKM, Result string
					Size                         int
				}
			}
		}
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, g := range all.TestGroups {
			for _, v := range g.Tests {
				done++
				got, err := hkdf.Expand(h.New, extract(h, unhex(t, v.IKM), unhex(t, v.Salt)), string(unhex(t, v.Info)), v.Size)
				if (err == nil) != (v.Result == "valid") || err == nil && hex.EncodeToString(got) != v.OKM {
					t.Errorf("%s %d is %s: %x, %v", file, v.ID, v.Result, got, err)
				}
			}
		}
		if done < 50 {
			t.Errorf("%s: %d vectors", file, done)
		}
	}
}
