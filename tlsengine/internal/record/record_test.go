package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"virtls/tlsengine/internal/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

var aeads = map[string]AEAD{"AES-128-GCM": AES128GCM, "AES-256-GCM": AES256GCM, "ChaCha20-Poly1305": ChaCha20Poly1305}

func protectors(t testing.TB, a AEAD, tls13 bool) (seal, open *Protector) {
	t.Helper()
	made := NewTLS12
	if tls13 {
		made = NewTLS13
	}
	key, iv := bytes.Repeat([]byte{1}, a.KeySize()), bytes.Repeat([]byte{2}, a.FixedIVSize())
	if tls13 {
		iv = bytes.Repeat([]byte{2}, nonceSize)
	}
	seal, err := made(a, key, iv)
	must(t, err)
	open, err = made(a, key, iv)
	must(t, err)
	return seal, open
}

func TestRecords(t *testing.T) {
	for name, a := range aeads {
		for _, tls13 := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				seal, open := protectors(t, a, tls13)
				for n, payload := range [][]byte{{}, []byte("good morning"), make([]byte, MaxPlaintext)} {
					rec, err := seal.Append([]byte("before"), wire.ApplicationData, payload)
					must(t, err)
					rec = rec[len("before"):]
					if got, want := len(rec), len(payload)+seal.Overhead(); got != want {
						t.Errorf("record %d has %d octets, want %d", n, got, want)
					}
					typ, got, err := open.Open(rec)
					must(t, err)
					if typ != wire.ApplicationData || !bytes.Equal(got, payload) {
						t.Errorf("record %d is of type %s with %d octets", n, typ, len(got))
					}
				}
				if seal.Sealed() != 3 || open.Sealed() != 3 {
					t.Errorf("%d sealed, %d opened", seal.Sealed(), open.Sealed())
				}
			})
		}
	}
}

// A record whose bits were changed, all of them in turn, cannot be opened, and a
// record that could not be opened does not count.
func TestChangedRecords(t *testing.T) {
	for name, a := range aeads {
		for _, tls13 := range []bool{true, false} {
			seal, open := protectors(t, a, tls13)
			rec, err := seal.Append(nil, wire.ApplicationData, []byte("good morning"))
			must(t, err)
			for bit := range 8 * len(rec) {
				bad := bytes.Clone(rec)
				bad[bit/8] ^= 1 << (bit % 8)
				if !tls13 && bit/8 >= 1 && bit/8 < HeaderSize {
					continue // TLS 1.2 authenticates version and length as it knows them
				}
				if _, _, err := open.Open(bad); err == nil {
					t.Errorf("%s: bit %d changed and not noticed", name, bit)
				}
			}
			if _, _, err := open.Open(rec); err != nil {
				t.Errorf("%s: the good record: %v", name, err)
			}
		}
	}
}

func TestSequenceNumber(t *testing.T) {
	seal, _ := protectors(t, AES128GCM, true)
	seal.SetSealed(^uint64(0))
	if _, err := seal.Append(nil, wire.ApplicationData, []byte("one too many")); err == nil {
		t.Error("the sequence number wraps")
	}
}

// Nonces do not come twice.
func TestNonces(t *testing.T) {
	for name, a := range aeads {
		for _, tls13 := range []bool{true, false} {
			p, _ := protectors(t, a, tls13)
			seen := map[[nonceSize]byte]bool{}
			for range 1000 {
				_, err := p.Append(nil, wire.ApplicationData, nil)
				must(t, err)
				if seen[p.nonce] {
					t.Fatalf("%s: a nonce comes twice", name)
				}
				seen[p.nonce] = true
			}
		}
	}
}

// Steady work needs no memory.
func TestAllocations(t *testing.T) {
	for name, a := range aeads {
		for _, tls13 := range []bool{true, false} {
			seal, open := protectors(t, a, tls13)
			buf, payload := make([]byte, 0, MaxRecord+explicitSize), make([]byte, MaxPlaintext)
			if n := testing.AllocsPerRun(20, func() {
				rec, err := seal.Append(buf, wire.ApplicationData, payload)
				must(t, err)
				_, _, err = open.Open(rec)
				must(t, err)
			}); n > 0 {
				t.Errorf("%s, TLS 1.3 %v: %v allocations for a record", name, tls13, n)
			}
		}
	}
}

func TestOversized(t *testing.T) {
	for _, tls13 := range []bool{true, false} {
		seal, open := protectors(t, AES128GCM, tls13)
		rec, err := seal.Append(nil, wire.ApplicationData, make([]byte, MaxPlaintext+2))
		must(t, err)
		var own *wire.Error
		if _, _, err := open.Open(rec); !errors.As(err, &own) || own.Alert != wire.RecordOverflow {
			t.Errorf("TLS 1.3 %v: %v", tls13, err)
		}
	}
}

// The algorithms are those of the standards, by Wycheproof's vectors.
func TestWycheproof(t *testing.T) {
	for file, algorithms := range map[string][]AEAD{"aes_gcm": {AES128GCM, AES256GCM}, "chacha20_poly1305": {ChaCha20Poly1305}} {
		data, err := fs.ReadFile(wycheproof.TestVectors, file+"_test.json")
		must(t, err)
		var all struct {
			TestGroups []struct {
				IVSize, TagSize int
				Tests           []struct {
					ID                                 int `json:"tcId"`
					Key, IV, AAD, Msg, CT, Tag, Result string
				}
			}
		}
		must(t, json.Unmarshal(data, &all))
		done := 0
		for _, g := range all.TestGroups {
			for _, v := range g.Tests {
				key := unhex(t, v.Key)
				for _, a := range algorithms {
					if len(key) != a.KeySize() || g.IVSize != 96 || g.TagSize != 128 {
						continue
					}
					done++
					aead, err := a.new(key)
					must(t, err)
					got, err := aead.Open(nil, unhex(t, v.IV), append(unhex(t, v.CT), unhex(t, v.Tag)...), unhex(t, v.AAD))
					if (err == nil) != (v.Result == "valid") || err == nil && !bytes.Equal(got, unhex(t, v.Msg)) {
						t.Errorf("%s %d is %s: %v", file, v.ID, v.Result, err)
					}
				}
			}
		}
		if done < 50 {
			t.Errorf("%s: %d vectors", file, done)
		}
	}
}
