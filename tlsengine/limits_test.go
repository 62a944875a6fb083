package tlsengine

import (
	"crypto/rsa"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"virtls/pki"
	"virtls/pki/dn"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// Limits can be lowered and not raised.
func TestLimits(t *testing.T) {
	if got := (Limits{}).complete(); got.Message != 128<<10 || got.RecordsPerKey != 0 {
		t.Errorf("the defaults are %+v", got)
	}
	most := 1 << 30
	if got, want := (Limits{most, most, most, most, most, most, most, most, most}).complete(), (Limits{}).complete(); got != want {
		t.Errorf("raised to %+v", got)
	}
	low := Limits{1, 2, 3, 4, 3, 6, 7, 8, 9}
	if got := low.complete(); got != low {
		t.Errorf("lowered to %+v, want %+v", got, low)
	}
}

// The limits of a handshake hold, whatever they are set to.
func TestHandshakeLimits(t *testing.T) {
	cert := certified(Config{})(t)
	for _, tt := range []struct {
		name   string
		limits Limits
		want   string
	}{
		{"enough", Limits{Message: 2000, Handshake: 4000, Chain: 1, ChangeCipherSpecs: 1}, ""},
		{"message", Limits{Message: 200}, "a certificate of"},
		{"handshake", Limits{Handshake: 300}, "a handshake of more than 300 octets"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := fast(Config{Limits: tt.limits})
			p := newPair(t, client, cert)
			clientErr, serverErr := p.shake(1 << 20)
			if tt.want == "" {
				must(t, errors.Join(clientErr, serverErr))
				return
			}
			if clientErr == nil || !strings.Contains(clientErr.Error(), tt.want) {
				t.Errorf("got %v, want %q", clientErr, tt.want)
			}
		})
	}
	t.Run("chain", func(t *testing.T) {
		ca := newCA(t, "ec")
		id := ca.newLeaf(t, "ec").Identity
		id.Chain = append(id.Chain, ca.Chain[0])
		p := newPair(t, fast(Config{Limits: Limits{Chain: 1}}), Config{Identities: []Identity{id}})
		if err, _ := p.shake(1 << 20); err == nil || !strings.Contains(err.Error(), "a chain of 2 certificates; at most 1") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("change_cipher_spec", func(t *testing.T) {
		e, err := Client(&Config{PSK: testPSK, Limits: Limits{ChangeCipherSpecs: 2}})
		must(t, err)
		e.Handshake()
		ccs := record.AppendPlain(nil, wire.ChangeCipherSpec, wire.TLS12, []byte{1})
		for n := range 3 {
			e.Feed(ccs)
			if _, err := e.Handshake(); (err != nil) != (n == 2) {
				t.Errorf("number %d: %v", n+1, err)
			}
		}
	})
}

// A key is changed before it has protected too much, by either suite's rule or
// the configuration's.
func TestAutomaticKeyUpdate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		suite Suite
		lasts int
		start uint64 // sequence number
		want  bool
	}{
		{"AES-GCM", wire.AES128GCMSHA256, 0, 1<<24 - 5, true},
		{"AES-GCM, in time", wire.AES128GCMSHA256, 0, 1<<24 - 9, false},
		{"ChaCha20", wire.ChaCha20Poly1305SHA256, 0, 1<<24 + 5, false},
		{"set, AES-GCM", wire.AES128GCMSHA256, 3, 0, true},
		{"set, ChaCha20", wire.ChaCha20Poly1305SHA256, 3, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, Config{PSK: testPSK, Suites: []Suite{tt.suite}, Limits: Limits{RecordsPerKey: tt.lasts}}, Config{FindPSK: findPSK(testPSK)}).shaken(t)
			p.client.out.keys.SetSealed(tt.start)
			p.server.in.keys.SetSealed(tt.start)
			first := p.client.out.keys
			for range 4 {
				transfer(t, p.client, p.server, random(100))
			}
			if changed := p.client.out.keys != first; changed != tt.want {
				t.Errorf("the key changed: %v, want %v", changed, tt.want)
			}
		})
	}
}

// A server passes over a client's early data, up to its limit, with and without
// a HelloRetryRequest.
func TestEarlyDataSkipped(t *testing.T) {
	for _, tt := range []struct {
		name    string
		retry   bool
		records int // of 1000 octets
		want    string
	}{
		{"none", false, 0, ""},
		{"some", false, 5, ""},
		{"some before a retry", true, 5, ""},
		{"too much", false, 70, "cannot be decrypted"},
		{"too much before a retry", true, 70, "application data"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := fast(Config{FindPSK: findPSK(testPSK)})
			if tt.retry {
				server.Groups = []Group{wire.P256}
			}
			p := newPair(t, fast(Config{PSK: testPSK}), server)
			p.client.out.twist = func(m wire.Message) []byte {
				if m.Type() != wire.TypeClientHello || p.client.hs.retry != nil {
					return m
				}
				early := wire.Message(rebound(t, m, func(h *wire.ClientHello) { h.EarlyData = true }))
				p.client.hs.transcript = transcript{}
				p.client.hs.transcript.add(early)
				return early
			}
			p.client.Handshake()
			p.client.out.flush()
			for range tt.records {
				p.client.out.buf = record.AppendPlain(p.client.out.buf, wire.ApplicationData, wire.TLS12, make([]byte, 1000))
			}
			clientErr, serverErr := p.shake(1 << 20)
			if tt.want != "" {
				if serverErr == nil || !strings.Contains(serverErr.Error(), tt.want) {
					t.Errorf("got %v, want %q", serverErr, tt.want)
				}
				return
			}
			must(t, errors.Join(clientErr, serverErr))
			transfer(t, p.client, p.server, random(1000))
		})
	}
	// Nobody passes over what was not announced.
	p := newPair(t, fast(Config{PSK: testPSK}), fast(Config{FindPSK: findPSK(testPSK)}))
	p.client.Handshake()
	p.client.out.flush()
	p.client.out.buf = record.AppendPlain(p.client.out.buf, wire.ApplicationData, wire.TLS12, make([]byte, 1000))
	if _, err := p.shake(1 << 20); err == nil {
		t.Error("early data without an announcement was passed over")
	}
}

// RSA keys whose signatures cost a tenth of a second and more each are not looked
// at, wherever in the chain they are.
func TestHugeKeys(t *testing.T) {
	ca := newCA(t, "ec")
	id := ca.newLeaf(t, "ec")
	huge := new(big.Int).SetBit(new(big.Int).SetBytes(random(2048)), 16383, 1)
	cert, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), PublicKey: &rsa.PublicKey{N: huge.SetBit(huge, 0, 1), E: 1<<31 - 1}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		Subject: dn.New(dn.Attr(dn.CommonNameOID, "huge")),
	}, ca.Chain[0], ca.Key, pki.SignatureAlgorithm{})
	must(t, err)
	for name, chain := range map[string][]*pki.Certificate{"first": {cert}, "second": {id.Chain[0], cert}} {
		for _, v := range []Version{TLS13, TLS12} {
			evil := []Identity{{Chain: chain, Key: id.Key}}
			if v == TLS12 && name == "first" {
				continue // the key does not go with the suite
			}
			client, server := newPair(t, Config{Versions: []Version{v}}, Config{Identities: evil}).shake(1 << 20)
			wantAlert(t, client, wire.BadCertificate)
			if server == nil {
				t.Errorf("%s %s: the server was not told", name, v)
			}
			_, server = newPair(t, Config{Versions: []Version{v}, Identities: evil}, Config{Identities: []Identity{id.Identity}, RequestCertificate: true}).shake(1 << 20)
			wantAlert(t, server, wire.BadCertificate)
		}
	}
}

// Close comes when it likes: who reads or writes meanwhile gets an error, and
// memory that others may have by then is not touched.
func TestCloseMeanwhile(t *testing.T) {
	for range 20 {
		p := newPair(t, Config{PSK: testPSK, Limits: soakLimits}, Config{FindPSK: findPSK(testPSK), Limits: soakLimits}).shaken(t)
		var ends sync.WaitGroup
		data := random(1 << 12)
		ends.Go(func() { // writes, and sends what both halves of the client have to say
			for {
				_, err := p.client.Write(data)
				p.client.Sent(p.server.Feed(p.client.Output()))
				if err != nil {
					return
				}
			}
		})
		ends.Go(func() {
			buf := make([]byte, 1<<14)
			for {
				if _, err := p.server.Read(buf); err != nil && !errors.Is(err, ErrWantInput) {
					return
				}
			}
		})
		time.Sleep(time.Millisecond)
		p.client.Close()
		p.server.Close()
		ends.Wait()
		if _, err := p.server.Read(data); !errors.Is(err, ErrClosed) && p.server.Err() == nil {
			t.Errorf("after Close: %v", err)
		}
	}
}
