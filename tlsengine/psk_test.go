package tlsengine

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

func TestImportedPSK(t *testing.T) {
	imported := &PSK{Identity: []byte("rich"), Key: testPSK.Key, Import: true}
	sha384 := &PSK{Identity: []byte("rich"), Key: testPSK.Key, Import: true, Hash: crypto.SHA384}
	context := &PSK{Identity: []byte("rich"), Key: testPSK.Key, Import: true, Context: []byte("rack 7")}
	for _, tt := range []struct {
		name           string
		client, server *PSK
		suites         []Suite // of the server
		retry          bool
		want           Suite // 0: refused
	}{
		{"both hashes", imported, imported, nil, false, wire.AES128GCMSHA256},
		{"another suite's hash", imported, imported, []Suite{wire.AES256GCMSHA384}, false, wire.AES256GCMSHA384},
		{"after a retry", imported, imported, []Suite{wire.AES256GCMSHA384}, true, wire.AES256GCMSHA384},
		{"a key with SHA-384", sha384, sha384, nil, false, wire.AES128GCMSHA256},
		{"a context", context, context, nil, false, wire.AES128GCMSHA256},
		{"another context", context, imported, nil, false, 0},
		{"another hash of the key", sha384, imported, nil, false, 0},
		{"only the client imports", imported, testPSK, nil, false, 0},
		{"only the server imports", testPSK, imported, nil, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := Config{FindPSK: findPSK(tt.server), Suites: tt.suites}
			if tt.retry {
				server.Groups = []Group{wire.P521}
			}
			p := newPair(t, Config{PSK: tt.client}, server)
			clientErr, serverErr := p.shake(1 << 20)
			if tt.want == 0 {
				var alert *AlertError
				if !errors.As(clientErr, &alert) || alert.Alert != wire.DecryptError || serverErr == nil {
					t.Errorf("client %v, server %v", clientErr, serverErr)
				}
				return
			}
			must(t, errors.Join(clientErr, serverErr))
			if s := p.server.State(); s.Suite != tt.want || string(s.PSKIdentity) != "rich" || s.Retried != tt.retry {
				t.Errorf("%s for %q, retried %v", s.Suite, s.PSKIdentity, s.Retried)
			}
			transfer(t, p.client, p.server, random(1000))
		})
	}
	// RFC 9258 is for TLS 1.3 alone.
	if _, err := Client(&Config{PSK: imported, Versions: only12}); err == nil {
		t.Error("an imported key is offered in TLS 1.2")
	}
	p := newPair(t, Config{PSK: testPSK, Versions: only12}, Config{FindPSK: findPSK(imported)})
	if _, err := p.shake(1 << 20); err == nil || !strings.Contains(err.Error(), "not known here") {
		t.Errorf("an imported key is taken in TLS 1.2: %v", err)
	}
}

// counting counts what is read of it.
type counting struct {
	io.Reader
	read int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

// For a user that is not known a key is made up, and a binder computed with it,
// so that the refusal is not the faster for it.
func TestUnknownUserCostsABinder(t *testing.T) {
	for _, tt := range []struct {
		name    string
		version Version
		user    string
		extra   int // octets of randomness that a server uses before it refuses
	}{
		{"TLS 1.3, a wrong key", TLS13, "rich", 0}, {"TLS 1.3, unknown", TLS13, "poor", 32},
		{"TLS 1.2, a wrong key", TLS12, "rich", 0}, {"TLS 1.2, unknown", TLS12, "poor", 32},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hello := 0
			if tt.version == TLS12 {
				hello = 32 + 32 // the server's random and its share come before the user's name
			}
			rand := &counting{Reader: newSteady(4)}
			p := newPair(t, fast(Config{PSK: &PSK{Identity: []byte(tt.user), Key: random(32)}, Versions: []Version{tt.version}}), fast(Config{FindPSK: findPSK(testPSK), Rand: rand}))
			if clientErr, serverErr := p.shake(1 << 20); clientErr == nil || serverErr == nil {
				t.Fatal("nobody was refused")
			}
			if rand.read != hello+tt.extra {
				t.Errorf("%d octets of randomness, want %d", rand.read, hello+tt.extra)
			}
		})
	}
}

// Whoever takes over after a HelloRetryRequest cannot go on with the proof of
// the first ClientHello.
func TestPSKIsProvedAgain(t *testing.T) {
	jane := &PSK{Identity: []byte("jane"), Key: random(32)}
	for _, tt := range []struct {
		name   string
		change func(*wire.ClientHello)
		want   Alert
	}{
		{"no key", func(h *wire.ClientHello) { h.PSKs, h.Binders = nil, nil }, wire.MissingExtension},
		{"an unknown user", func(h *wire.ClientHello) { h.PSKs[0].Identity = []byte("poor") }, wire.IllegalParameter},
		{"another user", func(h *wire.ClientHello) { h.PSKs[0].Identity = jane.Identity }, wire.DecryptError},
		{"a stale binder", func(*wire.ClientHello) {}, wire.DecryptError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := newCA(t, "ec").newLeaf(t, "ec").Identity
			p := newPair(t, Config{PSK: testPSK, Groups: []Group{wire.X25519, wire.P384}},
				Config{FindPSK: findPSK(testPSK, jane), Identities: []Identity{id}, Groups: []Group{wire.P384}})
			p.client.Handshake()
			first := bytes.Clone(p.client.Output())
			carry(p.client, p.server, 1<<20)
			if _, err := p.server.Handshake(); err != nil || !p.server.State().Retried {
				t.Fatalf("no retry: %v", err)
			}
			h, err := wire.ParseClientHello(first[record.HeaderSize+wire.HeaderSize:])
			must(t, err)
			x, err := kex.New(wire.P384, rand.Reader)
			must(t, err)
			h.KeyShares = []wire.KeyShare{{Group: wire.P384, Data: x.Share()}}
			h.Schemes = []SignatureScheme{wire.ECDSAP256}
			tt.change(h)
			p.server.Feed(record.AppendPlain(nil, wire.HandshakeRecord, wire.TLS12, h.Marshal()))
			var own *Error
			if _, err := p.server.Handshake(); !errors.As(err, &own) || own.Alert != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A key that comes with the second ClientHello only is not looked at: a client
// may take keys away after a HelloRetryRequest, not bring others (RFC 8446,
// section 4.1.2), and the server has chosen its certificate by then.
func TestPSKAfterRetry(t *testing.T) {
	for name, first := range map[string][]byte{"no key": nil, "an unknown user": []byte("poor")} {
		t.Run(name, func(t *testing.T) {
			id := newCA(t, "ec").newLeaf(t, "ec").Identity
			p := newPair(t, Config{Groups: []Group{wire.X25519, wire.P384}}, Config{FindPSK: findPSK(testPSK), Identities: []Identity{id}, Groups: []Group{wire.P384}})
			h := helloOf(t, p.client)
			x, err := kex.New(wire.P384, rand.Reader)
			must(t, err)
			for _, user := range [][]byte{first, testPSK.Identity} {
				h.PSKModes = []wire.PSKMode{wire.PSKWithDHE}
				if user != nil {
					h.PSKs, h.Binders = []wire.PSKIdentity{{Identity: user}}, [][]byte{make([]byte, 32)}
				}
				feedHandshake(p.server, h.Marshal())
				_, err := p.server.Handshake()
				must(t, err)
				h.KeyShares = []wire.KeyShare{{Group: wire.P384, Data: x.Share()}}
			}
			if s := p.server.State(); !s.Retried || s.PSKIdentity != nil || s.Identity != 0 || s.Version != TLS13 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A key that does not fit the client's suites is refused as an unknown user is,
// and the log says what is wrong.
func TestPSKWithOtherHash(t *testing.T) {
	sha384 := &PSK{Identity: []byte("rich"), Key: testPSK.Key, Hash: crypto.SHA384}
	p := newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(sha384)})
	clientErr, serverErr := p.shake(1 << 20)
	var alert *AlertError
	if !errors.As(clientErr, &alert) || alert.Alert != wire.DecryptError || !strings.Contains(serverErr.Error(), "a key for SHA-384") {
		t.Errorf("client %v, server %v", clientErr, serverErr)
	}
}
