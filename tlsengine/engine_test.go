package tlsengine

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/tlsengine/internal/wire"
)

var testPSK = &PSK{Identity: []byte("rich"), Key: []byte("0123456789abcdef0123456789abcdef")}

func findPSK(keys ...*PSK) func([]byte) (*PSK, error) {
	return func(identity []byte) (*PSK, error) {
		for _, k := range keys {
			if bytes.Equal(k.Identity, identity) {
				return k, nil
			}
		}
		return nil, nil
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type pair struct{ client, server *Engine }

func newPair(t testing.TB, c, s Config) pair {
	t.Helper()
	client, err := Client(&c)
	must(t, err)
	server, err := Server(&s)
	must(t, err)
	return pair{client, server}
}

// carry moves what one has to send to the other, at most n octets.
func carry(from, to *Engine, n int) bool {
	out := from.Output()
	out = out[:min(n, len(out))]
	taken := to.Feed(out)
	from.Sent(taken)
	return taken > 0
}

// shake brings the handshake to its end, n octets at a time.
func (p pair) shake(n int) (client, server error) {
	for {
		a, clientErr := p.client.Handshake()
		b, serverErr := p.server.Handshake()
		moved := carry(p.client, p.server, n)
		moved = carry(p.server, p.client, n) || moved
		if !moved {
			if clientErr == nil && serverErr == nil && (a != Complete || b != Complete) {
				return fmt.Errorf("client %s, server %s, and nothing to say", a, b), nil
			}
			return clientErr, serverErr
		}
	}
}

func (p pair) shaken(t testing.TB) pair {
	t.Helper()
	a, b := p.shake(1 << 20)
	must(t, errors.Join(a, b))
	return p
}

// transfer writes at one end and reads at the other until all is there.
func transfer(t testing.TB, from, to *Engine, data []byte) {
	t.Helper()
	_, err := from.Write(data)
	must(t, err)
	var got []byte
	buf := make([]byte, 1<<15)
	for len(got) < len(data) {
		carry(from, to, 10_000)
		n, err := to.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil && !errors.Is(err, ErrWantInput) {
			t.Fatalf("after %d octets: %v", len(got), err)
		}
	}
	if !bytes.Equal(got, data) {
		t.Fatal("other octets came than were sent")
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestPSKHandshake(t *testing.T) {
	other := &PSK{Identity: []byte("jane"), Key: random(16)}
	sha384 := &PSK{Identity: []byte("rich"), Key: random(48), Hash: crypto.SHA384}
	server := Config{FindPSK: findPSK(other, testPSK)}
	tests := []struct {
		name           string
		client, server Config
		want           State
	}{
		{"defaults", Config{PSK: testPSK}, server, State{Suite: wire.AES128GCMSHA256, Group: wire.X25519MLKEM768}},
		{"ChaCha20", Config{PSK: testPSK, Suites: []Suite{wire.ChaCha20Poly1305SHA256}}, server, State{Suite: wire.ChaCha20Poly1305SHA256, Group: wire.X25519MLKEM768}},
		{"SHA-384", Config{PSK: sha384}, Config{FindPSK: findPSK(sha384)}, State{Suite: wire.AES256GCMSHA384, Group: wire.X25519MLKEM768}},
		{"the client's order", Config{PSK: testPSK, Suites: []Suite{wire.ChaCha20Poly1305SHA256, wire.AES128GCMSHA256}}, Config{FindPSK: server.FindPSK, PreferPeer: true},
			State{Suite: wire.ChaCha20Poly1305SHA256, Group: wire.X25519MLKEM768}},
		{"retry", Config{PSK: testPSK, Groups: []Group{wire.X25519, wire.P384}}, Config{FindPSK: server.FindPSK, Groups: []Group{wire.P384}},
			State{Suite: wire.AES128GCMSHA256, Group: wire.P384, Retried: true}},
		{"a share is worth more than the order", Config{PSK: testPSK, Groups: []Group{wire.P256, wire.P521}}, Config{FindPSK: server.FindPSK, Groups: []Group{wire.P521, wire.P256}},
			State{Suite: wire.AES128GCMSHA256, Group: wire.P256}},
		{"alone", Config{PSK: testPSK, Groups: []Group{}, PSKAlone: true}, Config{FindPSK: server.FindPSK, PSKAlone: true}, State{Suite: wire.AES128GCMSHA256}},
		{"both modes", Config{PSK: testPSK, PSKAlone: true, Groups: []Group{wire.P256}}, Config{FindPSK: server.FindPSK, PSKAlone: true},
			State{Suite: wire.AES128GCMSHA256, Group: wire.P256}},
	}
	for _, g := range []Group{wire.P256, wire.P384, wire.P521, wire.X25519, wire.SecP256r1MLKEM768, wire.SecP384r1MLKEM1024} {
		tests = append(tests, struct {
			name           string
			client, server Config
			want           State
		}{g.String(), Config{PSK: testPSK, Groups: []Group{g}}, server, State{Suite: wire.AES128GCMSHA256, Group: g}})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, tt.client, tt.server)
			a, b := p.shake(1) // an octet at a time
			must(t, errors.Join(a, b))
			tt.want.Version, tt.want.PSKIdentity, tt.want.Identity = wire.TLS13, []byte("rich"), -1
			for _, e := range []*Engine{p.client, p.server} {
				s := e.State()
				x, err := e.Export("EXPERIMENTAL test", []byte("context"), 20)
				must(t, err)
				y, err := p.server.Export("EXPERIMENTAL test", []byte("context"), 20)
				must(t, err)
				if !bytes.Equal(x, y) {
					t.Error("the ends export different keys")
				}
				if diff := cmp.Diff(tt.want, s); diff != "" {
					t.Error(diff)
				}
			}
			transfer(t, p.client, p.server, random(100_000))
			transfer(t, p.server, p.client, random(100_000))
		})
	}
}

func TestPSKRefused(t *testing.T) {
	tests := []struct {
		name           string
		client, server Config
		clientErr      string
		serverErr      string
	}{
		{"wrong key", Config{PSK: &PSK{Identity: []byte("rich"), Key: random(32)}}, Config{FindPSK: findPSK(testPSK)},
			"the peer sent the alert decrypt_error", `user "rich" has another key than this side's`},
		{"unknown user", Config{PSK: &PSK{Identity: []byte("poor"), Key: random(32)}}, Config{FindPSK: findPSK(testPSK)},
			"the peer sent the alert decrypt_error", `user "poor" is not known here`},
		{"no group in common", Config{PSK: testPSK, Groups: []Group{wire.P256}}, Config{FindPSK: findPSK(testPSK), Groups: []Group{wire.P384}},
			"the peer sent the alert handshake_failure", "no key exchange in common"},
		{"no key alone for this server", Config{PSK: testPSK, Groups: []Group{}, PSKAlone: true}, Config{FindPSK: findPSK(testPSK)},
			"the peer sent the alert handshake_failure", "no key exchange in common"},
		{"no suite in common", Config{PSK: testPSK, Suites: []Suite{wire.AES128GCMSHA256}}, Config{FindPSK: findPSK(testPSK), Suites: []Suite{wire.ChaCha20Poly1305SHA256}},
			"the peer sent the alert handshake_failure", "no cipher suite in common"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, tt.client, tt.server)
			clientErr, serverErr := p.shake(1 << 20)
			if clientErr == nil || !strings.Contains(clientErr.Error(), tt.clientErr) {
				t.Errorf("the client says %v, want %q", clientErr, tt.clientErr)
			}
			if serverErr == nil || !strings.Contains(serverErr.Error(), tt.serverErr) {
				t.Errorf("the server says %v, want %q", serverErr, tt.serverErr)
			}
		})
	}
}

// The same octets go out for an unknown user as for a wrong key.
func TestPSKUsersAreNotTold(t *testing.T) {
	var replies [][]byte
	for _, psk := range []*PSK{{Identity: []byte("rich"), Key: random(32)}, {Identity: []byte("poor"), Key: random(32)}} {
		p := newPair(t, Config{PSK: psk}, Config{FindPSK: findPSK(testPSK)})
		p.client.Handshake()
		carry(p.client, p.server, 1<<20)
		p.server.Handshake()
		replies = append(replies, bytes.Clone(p.server.Output()))
	}
	if !bytes.Equal(replies[0], replies[1]) || len(replies[0]) == 0 {
		t.Errorf("a wrong key is answered with %x, an unknown user with %x", replies[0], replies[1])
	}
}

func TestKeyUpdate(t *testing.T) {
	p := newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK)}).shaken(t)
	for range 5 {
		must(t, p.client.KeyUpdate(true))
		transfer(t, p.client, p.server, random(1000))
		if !p.server.out.answer {
			t.Fatal("the server owes no answer")
		}
		transfer(t, p.server, p.client, random(1000))
		if p.server.out.answer {
			t.Fatal("the server still owes an answer")
		}
	}
	for range defaultLimits.KeyUpdates + 1 {
		must(t, p.server.KeyUpdate(false))
	}
	carry(p.server, p.client, 1<<20)
	if _, err := p.client.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "key_update") {
		t.Errorf("a flood of KeyUpdates brings %v", err)
	}
}

func TestClose(t *testing.T) {
	p := newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK)}).shaken(t)
	_, err := p.client.Write([]byte("last words"))
	must(t, err)
	p.client.CloseWrite()
	if _, err := p.client.Write([]byte("more")); !errors.Is(err, ErrClosed) {
		t.Errorf("Write after CloseWrite: %v", err)
	}
	carry(p.client, p.server, 1<<20)
	buf := make([]byte, 100)
	n, err := p.server.Read(buf)
	must(t, err)
	if got := string(buf[:n]); got != "last words" {
		t.Errorf("read %q", got)
	}
	if _, err := p.server.Read(buf); err != io.EOF {
		t.Errorf("Read after close_notify: %v", err)
	}
	// The other direction goes on.
	transfer(t, p.server, p.client, random(100))
}

func TestNotTLS(t *testing.T) {
	for _, tt := range []struct{ name, sent, want string }{
		{"NBD", "NBDMAGICIHAVEOPT", "NBD without TLS"},
		{"VNC", "RFB 003.008\n", "VNC without TLS"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n", "HTTP without TLS"},
		{"something", "hello there", "does not speak TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := Client(&Config{PSK: testPSK})
			must(t, err)
			client.Handshake()
			client.Feed([]byte(tt.sent))
			if _, err := client.Handshake(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
