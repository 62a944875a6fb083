package session

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
)

// heldKey is a key that signs when it is let go.
type heldKey struct {
	crypto.Signer
	asked chan struct{} // gets a value when a signature is asked for
	free  chan error    // what becomes of it
}

func (k heldKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.asked <- struct{}{}
	if err := <-k.free; err != nil {
		return nil, err
	}
	return k.Signer.Sign(rand, digest, opts)
}

// held returns options whose key is held, and the key.
func held(t *testing.T, o Options) (Options, heldKey) {
	t.Helper()
	x := o.Credentials.(*creds.X509)
	key := heldKey{x.Identities[0].Key.(crypto.Signer), make(chan struct{}, 1), make(chan error, 1)}
	slow := *x
	slow.Identities = []creds.Identity{x.Identities[0]}
	slow.Identities[0].Key = key
	o.Credentials = &slow
	return o, key
}

// A handshake waits for a key no longer than its context lasts, and the
// goroutine in which the key is ends with the key.
func TestSlowKey(t *testing.T) {
	gone := errors.New("the token is gone")
	for _, engine := range engines {
		for _, end := range []creds.Endpoint{creds.Server, creds.Client} {
			t.Run(fmt.Sprint(engine, " ", end), func(t *testing.T) {
				noneLeft(t)
				server, client := x509Pair(t, engine)
				slow, other := &server, &client
				if end == creds.Client {
					slow, other = other, slow
				}
				var key heldKey
				*slow, key = held(t, *slow)
				for _, tt := range []struct {
					name  string
					free  error
					hangs bool
					want  string
				}{
					{"in time", nil, false, ""},
					{"fails", gone, false, "the token is gone"},
					{"hangs", gone, true, "not complete in time: enough"},
				} {
					a, b := peertest.Pair(t)
					ctx, cancel := context.WithCancelCause(t.Context())
					opened := make(chan error, 2)
					go func() {
						c, err := Open(ctx, a, *slow)
						opened <- err
						if a.Close(); err == nil {
							c.Close()
						}
					}()
					done := make(chan struct{})
					go func() {
						if c, err := Open(t.Context(), b, *other); err == nil {
							io.Copy(io.Discard, c) // until the end
						}
						b.Close()
						close(done)
					}()
					<-key.asked
					select {
					case err := <-opened:
						t.Fatalf("%s: without the signature: %v", tt.name, err)
					case <-time.After(10 * time.Millisecond):
					}
					if !tt.hangs {
						key.free <- tt.free
					}
					if tt.hangs {
						cancel(errors.New("enough"))
					}
					err := <-opened
					if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
						t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
					}
					if tt.hangs {
						key.free <- tt.free
					}
					cancel(nil)
					<-done
				}
			})
		}
	}
}

// Who has no connection is told when a signature is wanted, and has it made
// where it likes.
func TestDeferSigning(t *testing.T) {
	server, client := x509Pair(t, Auto)
	server, key := held(t, server)
	server.DeferSigning = true
	s, err := New(server)
	must(t, err)
	c, err := New(client)
	must(t, err)
	defer s.Close()
	defer c.Close()
	if s.State().Engine != nativeName {
		t.Errorf("the engine is %s", s.State().Engine)
	}
	if err := s.Sign(); err == nil {
		t.Error("Sign without need was done")
	}
	signatures := 0
	for range 20 {
		a, err := s.Handshake()
		must(t, err)
		if a == Signing {
			signed := make(chan error, 1)
			go func() { signed <- s.Sign() }()
			<-key.asked
			if again, err := s.Handshake(); again != Signing || err != nil {
				t.Fatalf("while the key signs: %s, %v", again, err)
			}
			key.free <- nil
			must(t, <-signed)
			signatures++
		}
		c.Feed(s.Output())
		s.Sent(len(s.Output()))
		b, err := c.Handshake()
		must(t, err)
		s.Feed(c.Output())
		c.Sent(len(c.Output()))
		if a == Complete && b == Complete {
			must(t, errors.Join(s.CheckPeer(), c.CheckPeer()))
			if signatures != 1 {
				t.Errorf("%d signatures", signatures)
			}
			return
		}
	}
	t.Fatal("the handshake does not end")
}

// crypto/tls signs within the handshake: who wants it otherwise cannot pin it.
func TestDeferSigningStd(t *testing.T) {
	server, _ := x509Pair(t, Std)
	server.DeferSigning = true
	if _, err := New(server); codeOf(err) != "engine-cannot" {
		t.Errorf("got %v", err)
	}
	s, err := New(Options{Credentials: server.Credentials, Engine: Std})
	must(t, err)
	defer s.Close()
	if s.Sign() == nil {
		t.Error("Sign with crypto/tls was done")
	}
}

// Keys are imported where both ends want it, for the same pair.
func TestImportPSK(t *testing.T) {
	const line = "rich:30313233343536373839616263646566"
	server, client := pskCreds(t, creds.PSKOptions{}, creds.PSKOptions{Username: "rich"}, line, line)
	for _, tt := range []struct {
		name           string
		server, client Options
		want           string // of the client's error
	}{
		{"both", Options{ImportPSK: true}, Options{ImportPSK: true}, ""},
		{"both, with a context", Options{ImportPSK: true, PSKContext: []byte("a to b")}, Options{ImportPSK: true, PSKContext: []byte("a to b")}, ""},
		{"the server only", Options{ImportPSK: true}, Options{}, "psk-refused"},
		{"the client only", Options{}, Options{ImportPSK: true}, "psk-refused"},
		{"another context", Options{ImportPSK: true, PSKContext: []byte("a to b")}, Options{ImportPSK: true, PSKContext: []byte("b to a")}, "psk-refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Credentials, tt.client.Credentials = server, client
			s, c := open(t, tt.server, tt.client)
			if tt.want != "" {
				if codeOf(c.err) != tt.want || s.err == nil {
					t.Errorf("the client: %v; the server: %v", c.err, s.err)
				}
				return
			}
			must(t, errors.Join(s.err, c.err))
			exchangeSome(t, s, c, 1000)
			if st := s.State(); st.PeerName != "rich" || !st.Authenticated || st.Version != "TLS 1.3" {
				t.Errorf("%+v", st)
			}
		})
	}
	x, _ := x509Pair(t, Auto)
	for _, o := range []Options{{Credentials: server, PSKContext: []byte("x")}, {Credentials: x.Credentials, ImportPSK: true}} {
		if _, err := New(o); codeOf(err) != "session-credentials" {
			t.Errorf("got %v", err)
		}
	}
}

// After Close nothing of the secrets is left, whoever reads meanwhile.
func TestCloseForgets(t *testing.T) {
	noneLeft(t)
	server, client := x509Pair(t, Native)
	for _, way := range []string{"nobody reads", "a reader", "a copy"} {
		t.Run(way, func(t *testing.T) {
			s, c := open(t, server, client)
			must(t, errors.Join(s.err, c.err))
			exchangeSome(t, s, c, 1000)
			ended := make(chan error, 1)
			switch way {
			case "a reader":
				go func() { _, err := s.Read(make([]byte, 1)); ended <- err }()
			case "a copy":
				go func() { _, err := s.WriteTo(io.Discard); ended <- err }()
			default:
				ended <- nil
			}
			time.Sleep(5 * time.Millisecond)
			must(t, s.Close())
			if err := <-ended; way != "nobody reads" && err == nil {
				t.Error("the end of the reader is no error")
			}
			for end := time.Now().Add(5 * time.Second); s.native.Err() == nil; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the engine has its secrets still")
				}
			}
			if _, err := s.Write([]byte("more")); err == nil {
				t.Error("more was written")
			}
			if _, err := s.Read(make([]byte, 1)); err == nil {
				t.Error("more was read")
			}
			c.Close()
		})
	}
}

// A user's name is nobody's before it is proved: TLS 1.2 hears it long before.
func TestNameIsProved(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		priority := "NORMAL:-VERS-ALL:+VERS-TLS" + version
		server, client := pskCreds(t, creds.PSKOptions{Priority: priority}, creds.PSKOptions{Username: "rich", Priority: priority},
			"rich:30313233343536373839616263646566", "rich:66656463626139383736353433323130")
		a, b := peertest.Pair(t)
		go func() {
			_, _ = Open(t.Context(), b, Options{Credentials: client})
			b.Close()
		}()
		c, err := NewConn(a, Options{Credentials: server})
		must(t, err)
		err = c.Handshake(t.Context())
		if s := c.State(); codeOf(err) != "psk-refused" || s.PeerName != "" || s.Authenticated {
			t.Errorf("TLS %s: %v, and the state says %q, authenticated %v", version, err, s.PeerName, s.Authenticated)
		}
	}
}
