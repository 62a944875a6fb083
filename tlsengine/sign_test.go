package tlsengine

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// slowKey signs when it is told to.
type slowKey struct {
	crypto.Signer
	asked chan struct{} // gets a value when a signature is asked for
	go_   chan error    // what becomes of it
}

func (k *slowKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.asked <- struct{}{}
	if err := <-k.go_; err != nil {
		return nil, err
	}
	return k.Signer.Sign(rand, digest, opts)
}

// untilSigning brings a handshake forward until it waits for a signature, and tells whose.
func (p pair) untilSigning(t *testing.T) *Engine {
	t.Helper()
	for range 100 {
		a, err := p.client.Handshake()
		must(t, err)
		b, err := p.server.Handshake()
		must(t, err)
		switch {
		case a == Signing:
			return p.client
		case b == Signing:
			return p.server
		case a == Complete && b == Complete:
			return nil
		}
		carry(p.client, p.server, 1<<20)
		carry(p.server, p.client, 1<<20)
	}
	t.Fatal("the handshake does not end")
	return nil
}

// While a key signs, nobody waits for it: the engine takes octets, gives
// octets, and tells its state.
func TestDeferredSigning(t *testing.T) {
	id := newCA(t, "ec").newLeaf(t, "ec").Identity
	for _, v := range []Version{TLS13, TLS12} {
		t.Run(v.String(), func(t *testing.T) {
			key := &slowKey{id.Key, make(chan struct{}), make(chan error)}
			slow := []Identity{{Chain: id.Chain, Key: key}}
			p := newPair(t, Config{Identities: slow, DeferSigning: true, Versions: []Version{v}},
				Config{Identities: slow, DeferSigning: true, RequestCertificate: true})
			for _, want := range []*Engine{p.server, p.client} {
				if got := p.untilSigning(t); got != want {
					t.Fatal("the wrong end signs")
				}
				signed := make(chan error, 1)
				go func() { signed <- want.Sign() }()
				<-key.asked
				for range 3 { // it does not go on by itself
					if status, err := want.Handshake(); err != nil || status != Signing {
						t.Fatalf("while the key signs: %s, %v", status, err)
					}
					want.State()
					want.Output()
					want.Feed(nil)
				}
				key.go_ <- nil
				must(t, <-signed)
			}
			if p.untilSigning(t) != nil {
				t.Fatal("a third signature is wanted")
			}
			transfer(t, p.client, p.server, random(100))
			if err := p.client.Sign(); err == nil {
				t.Error("Sign without need was done")
			}
		})
	}
}

// Octets that come while a key signs are looked at afterwards.
func TestOctetsDuringSigning(t *testing.T) {
	id := newCA(t, "ec").newLeaf(t, "ec").Identity
	p := newPair(t, Config{}, Config{Identities: []Identity{id}, DeferSigning: true})
	if p.untilSigning(t) != p.server {
		t.Fatal("the server does not sign")
	}
	p.server.Feed([]byte{22, 3, 3, 0, 4, 20, 0, 0, 0}) // an unprotected Finished
	if status, err := p.server.Handshake(); err != nil || status != Signing {
		t.Fatalf("%s, %v", status, err)
	}
	must(t, p.server.Sign())
	if _, err := p.server.Handshake(); err == nil {
		t.Error("the Finished was taken")
	}
}

func TestSigningFails(t *testing.T) {
	id := newCA(t, "ec").newLeaf(t, "ec").Identity
	broken := errors.New("the token is gone")
	for _, deferred := range []bool{false, true} {
		key := &slowKey{id.Key, make(chan struct{}, 1), make(chan error, 1)}
		key.go_ <- broken
		p := newPair(t, Config{}, Config{Identities: []Identity{{Chain: id.Chain, Key: key}}, DeferSigning: deferred})
		p.client.Handshake()
		carry(p.client, p.server, 1<<20)
		_, err := p.server.Handshake()
		if deferred {
			for p.server.Sent(len(p.server.Output())); err == nil; _, err = p.server.Handshake() {
				if err := p.server.Sign(); !errors.Is(err, broken) {
					t.Errorf("Sign: %v", err)
				}
			}
		}
		var own *Error
		if !errors.As(err, &own) || own.Alert.String() != "internal_error" || !strings.Contains(err.Error(), "the token is gone") {
			t.Errorf("deferred %v: %v", deferred, err)
		}
	}
}

// After Close nothing of the secrets is left, and nothing can be done.
func TestCloseForgets(t *testing.T) {
	for name, cfg := range map[string]Config{"TLS 1.3": {PSK: testPSK}, "TLS 1.2": {PSK: testPSK, Versions: only12}} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, cfg, Config{FindPSK: findPSK(testPSK)}).shaken(t)
			e := p.server
			secrets := [][]byte{e.exporter.secret, e.in.keys.secret, e.out.keys.secret}
			_, err := p.client.Write([]byte("not read in time"))
			must(t, err)
			carry(p.client, e, 1<<20)
			e.Close()
			for i, s := range secrets {
				if !bytes.Equal(s, make([]byte, len(s))) {
					t.Errorf("secret %d is still there", i)
				}
			}
			for name, f := range map[string]func() error{
				"Read":      func() error { _, err := e.Read(make([]byte, 1)); return err },
				"Write":     func() error { _, err := e.Write([]byte("more")); return err },
				"Handshake": func() error { _, err := e.Handshake(); return err },
				"KeyUpdate": func() error { return e.KeyUpdate(true) },
			} {
				if err := f(); !errors.Is(err, ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := e.Export("EXPERIMENTAL test", nil, 20); err == nil {
				t.Error("Export has a secret still")
			}
			e.CloseWrite()
			e.Close()
			if testPSK.Key[0] != '0' {
				t.Error("Close overwrote the caller's key")
			}
		})
	}
	// In the middle of a handshake, too.
	p := newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK)})
	p.client.Handshake()
	carry(p.client, p.server, 1<<20)
	p.server.Handshake()
	hs := p.server.hs
	p.server.Close()
	if !bytes.Equal(hs.client, make([]byte, 32)) {
		t.Error("the handshake's secret is still there")
	}
}

// The key log has what decrypts the session, and is written only by who asks
// for it.
func TestKeyLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	t.Setenv("SSLKEYLOGFILE", file)
	newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK)}).shaken(t)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an environment variable had secrets written: %v", err)
	}
	for _, tt := range []struct {
		version Version
		labels  string
	}{
		{TLS13, "CLIENT_HANDSHAKE_TRAFFIC_SECRET SERVER_HANDSHAKE_TRAFFIC_SECRET CLIENT_TRAFFIC_SECRET_0 SERVER_TRAFFIC_SECRET_0 EXPORTER_SECRET"},
		{TLS12, "CLIENT_RANDOM"},
	} {
		var client, server bytes.Buffer
		newPair(t, Config{PSK: testPSK, Versions: []Version{tt.version}, KeyLog: &client}, Config{FindPSK: findPSK(testPSK), KeyLog: &server}).shaken(t)
		var labels []string
		for line := range strings.Lines(client.String()) {
			labels = append(labels, strings.Fields(line)[0])
		}
		if client.String() != server.String() || strings.Join(labels, " ") != tt.labels {
			t.Errorf("client:\n%sserver:\n%s", &client, &server)
		}
	}
}
