package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
)

// identities are a directory with several identities, in the order of their
// files: the plain names, then index 0, 1, ...
func identities(t testing.TB, trusted *authority, list ...want) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{"ca-cert.pem": trusted.cert.PEM()}
	for i, w := range list {
		issuer := trusted
		if w.issuer != nil {
			issuer = w.issuer
			files["ca-cert.pem"] = append(files["ca-cert.pem"], issuer.cert.PEM()...)
		}
		_, cert, key := issuer.issue(w)
		suffix := ".pem"
		if i > 0 {
			suffix = fmt.Sprintf("-%d.pem", i-1)
		}
		for _, end := range []string{"server", "client"} {
			files[end+"-cert"+suffix], files[end+"-key"+suffix] = cert, key
		}
	}
	write(t, dir, files)
	return dir
}

// The identity is the first that the peer can verify, in the order of the files.
func TestPeerChoosesIdentity(t *testing.T) {
	ca := newAuthority(t, "")
	ecFirst, rsaFirst := identities(t, ca, want{}, want{key: "rsa2048"}), identities(t, ca, want{key: "rsa2048"}, want{})
	curves := identities(t, ca, want{key: "p384"}, want{})
	const onlyRSA, onlyEC = "NORMAL:-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-SHA256:+SIGN-ECDSA-SECP521R1-SHA512", "NORMAL:-SIGN-ALL:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SHA256"
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range []struct {
			name, dir, priority string
			want                int // -1: the plain files
		}{
			{"the first", ecFirst, "NORMAL", -1},
			{"the first", rsaFirst, "NORMAL", -1},
			{"RSA alone", ecFirst, onlyRSA, 0},
			{"EC alone", rsaFirst, onlyEC, 0},
			{"EC alone in TLS 1.2", rsaFirst, onlyEC + ":-VERS-TLS1.3", 0},
			{"a curve in TLS 1.2", curves, "NORMAL:-VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP256R1:-SIGN-ALL:+SIGN-ECDSA-SHA256", 0},
		} {
			for _, engine := range engines {
				port, outcomes := serve(t, Options{Credentials: load(t, creds.X509Options{Dir: tt.dir, Endpoint: creds.Server, NoVerifyPeer: true}), Engine: engine})
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", "--no-ca-verification", "--priority", tt.priority, "-p", fmt.Sprint(port), "localhost")
				o := <-outcomes
				if o.err != nil {
					t.Errorf("%s, %s: %v\n%s", tt.name, engine, o.err, r)
					continue
				}
				s := o.State()
				if s.Identity == nil || s.Identity.Index != tt.want || (s.Reason == "") != (tt.want < 0) {
					t.Errorf("%s, %s: %+v", tt.name, engine, s)
				}
				if scheme := s.Scheme; (scheme == UnknownScheme) != (engine == Std) || scheme == "" {
					t.Errorf("%s, %s: signature scheme %q", tt.name, engine, scheme)
				}
			}
		}
		// A client's by the names of the server's authorities.
		other := newAuthority(t, "")
		mine := identities(t, other, want{}, want{issuer: ca})
		theirs := ca.dir(want{})
		server := g.GnutlsServ(t, peertest.Options{}, "--echo", "--require-client-cert", "--verify-client-cert", "--x509cafile", theirs+"/ca-cert.pem",
			"--x509certfile", theirs+"/server-cert.pem", "--x509keyfile", theirs+"/server-key.pem").Ready()
		for _, engine := range engines {
			c, err := Open(t.Context(), dialTCP(t, server.Port), Options{Credentials: load(t, creds.X509Options{Dir: mine}), Hostname: "localhost", Engine: engine})
			must(t, err)
			must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
			fmt.Fprint(c, greeting)
			_, err = io.ReadFull(c, make([]byte, len(greeting)))
			if s := c.State(); err != nil || s.Identity == nil || s.Identity.Index != 0 || s.Reason == "" {
				t.Errorf("%s: %v, %+v", engine, err, s.Identity)
			}
			c.Close()
		}
	})
}

// Credentials are loaded anew again and again while sessions are made and used:
// none of them notices, and each has one set from its beginning to its end.
func TestReloadUnderLoad(t *testing.T) {
	sessions := 60
	ca := newAuthority(t, "")
	dirs := []string{ca.dir(want{}), ca.dir(want{})}
	client := load(t, creds.X509Options{Dir: dirs[0]})
	var turn atomic.Int64
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			noneLeft(t)
			holder, err := creds.NewHolder(t.Context(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
				return creds.LoadX509(creds.X509Options{Dir: dirs[turn.Add(1)%2], Endpoint: creds.Server, NoSanityCheck: true})
			})
			must(t, err)
			// One that lives through all of it.
			a, b := peertest.Pair(t)
			oldServer, oldClient := both(t, a, b, Options{Credentials: holder.Current(), Engine: engine}, Options{Credentials: client, Engine: engine, Hostname: "localhost"})
			stop, reloads := make(chan struct{}), 0
			var reloading, wg sync.WaitGroup
			reloading.Go(func() {
				for ; ; reloads++ {
					select {
					case <-stop:
						return
					default:
						if err := holder.Reload(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
			errs := make(chan error, sessions)
			for range sessions {
				wg.Go(func() {
					a, b := net.Pipe()
					errs <- transfer(t.Context(), a, b, holder, Options{Credentials: client, Engine: engine, Hostname: "localhost"})
				})
			}
			wg.Wait()
			close(stop)
			reloading.Wait()
			for range sessions {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			exchange(t, oldServer, oldClient)
			oldClient.Close()
			oldServer.Close()
			if reloads < 3 {
				t.Errorf("%d reloads", reloads)
			}
		})
	}
}

// transfer opens a session and sends something through it.
func transfer(ctx context.Context, a, b net.Conn, holder *creds.Holder, client Options) error {
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	server := holder.Current()
	go func() {
		c, err := Open(ctx, a, Options{Credentials: server, Engine: client.Engine})
		if err == nil {
			_, err = io.CopyN(c, c, 50_000)
		}
		done <- err
	}()
	c, err := Open(ctx, b, client)
	if err != nil {
		return errors.Join(err, <-done)
	}
	shown := server.(*creds.X509).Identities[0].Chain[0]
	if got := c.State().PeerChain[0]; string(got.Raw) != string(shown.Raw) {
		return errors.New("the server shows a certificate of another set")
	}
	data := make([]byte, 50_000)
	rand.Read(data)
	go c.Write(data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != string(data) {
		return errors.New("other bytes came back")
	}
	return <-done
}

// OpenSSL asks for new keys (K) while a server of ours sends as fast as it can:
// each is answered, and nothing is lost.
func TestPeerKeyUpdate(t *testing.T) {
	dir := newAuthority(t, "").dir(want{})
	const updates, line = 4, "a line of text that is long enough\n"
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, engine := range engines {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			stdin, keyboard := io.Pipe()
			served := make(chan error, 1)
			go func() {
				served <- func() error {
					nc, err := l.Accept()
					if err != nil {
						return err
					}
					defer nc.Close()
					c, err := Open(t.Context(), nc, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server, NoVerifyPeer: true}), Engine: engine})
					if err != nil {
						return err
					}
					c.SetDeadline(time.Now().Add(25 * time.Second))
					received := make(chan error, 1)
					go func() { _, err := io.Copy(io.Discard, c); received <- err }()
					bulk := []byte(strings.Repeat(line, 10_000))
					for range updates {
						go keyboard.Write([]byte("K\n"))
						if _, err := c.Write(bulk); err != nil {
							return err
						}
						time.Sleep(300 * time.Millisecond)
					}
					fmt.Fprintln(c, "the end")
					return <-received
				}()
			}()
			log := filepath.Join(t.TempDir(), "messages")
			p := g.Start(t, peertest.Options{Stdin: stdin}, peertest.Logged("the end\n"), "openssl", "s_client", "-CAfile", dir+"/ca-cert.pem", "-msg", "-msgfile", log, "-connect", l.Addr().String()).Ready()
			keyboard.Write([]byte("Q\n"))
			keyboard.Close()
			r := p.Wait()
			err = <-served
			messages, _ := os.ReadFile(log)
			received := strings.Count(string(messages), "<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
			if err != nil || received < 1 {
				t.Errorf("%s: %v, %d answers\n%.2000s", engine, err, received, r.Stderr)
			}
			if n := strings.Count(r.Stdout, line[:len(line)-1]); n < 25_000 { // of the last MiB
				t.Errorf("%s: only %d lines came", engine, n)
			}
		}
	})
}

// Keys are changed by our own engine's peer during bulk transfer in both
// directions, under the session of either engine.
func TestKeyUpdateUnderLoad(t *testing.T) {
	for _, engine := range engines {
		noneLeft(t)
		server, client := x509Pair(t, engine)
		client.Engine = Native
		a, b := peertest.Pair(t)
		s, c := both(t, a, b, server, client)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 0; n < 6; n++ {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					if err := c.native.KeyUpdate(true); err != nil {
						t.Error(err)
					}
				}
			}
		})
		var bulk sync.WaitGroup
		for _, end := range []struct{ from, to *Conn }{{s, c}, {c, s}} {
			data := make([]byte, 8<<20)
			rand.Read(data)
			bulk.Go(func() {
				if _, err := end.from.Write(data); err != nil {
					t.Error(err)
				}
			})
			bulk.Go(func() {
				got := make([]byte, len(data))
				if _, err := io.ReadFull(end.to, got); err != nil || string(got) != string(data) {
					t.Errorf("%s: %v", engine, err)
				}
			})
		}
		bulk.Wait()
		close(stop)
		wg.Wait()
		exchange(t, s, c)
		s.Close()
		c.Close()
	}
}
