package session

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
)

const greeting = "good morning\n"

func dialTCP(t testing.TB, port int) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	t.Cleanup(func() { nc.Close() })
	return nc
}

// startTLS asks an NBD server for TLS, as a client of the NBD protocol does.
func startTLS(t testing.TB, c net.Conn) {
	t.Helper()
	_, err := io.ReadFull(c, make([]byte, 18))
	must(t, err)
	request := append(binary.BigEndian.AppendUint32(nil, 3), "IHAVEOPT"...)
	_, err = c.Write(binary.BigEndian.AppendUint64(request, 5<<32))
	must(t, err)
	reply := make([]byte, 20)
	_, err = io.ReadFull(c, reply)
	must(t, err)
	if typ := binary.BigEndian.Uint32(reply[12:]); typ != 1 {
		t.Fatalf("the server answers STARTTLS with %#x", typ)
	}
}

// listExports asks for the name of the one export, through TLS.
func listExports(c io.ReadWriter) (string, error) {
	if _, err := c.Write(append([]byte("IHAVEOPT"), 0, 0, 0, 3, 0, 0, 0, 0)); err != nil {
		return "", err
	}
	head := make([]byte, 20)
	if _, err := io.ReadFull(c, head); err != nil {
		return "", err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[16:]))
	_, err := io.ReadFull(c, body)
	return string(body[min(4, len(body)):]), err
}

// QEMU's servers let our clients in as they would QEMU's.
func TestPeerQemuNBD(t *testing.T) {
	ca, foreign := newAuthority(t, ""), newAuthority(t, "")
	dir := ca.dir(want{})
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.QemuNBD(t, peertest.Options{}, "--object", "tls-creds-x509,id=tls0,endpoint=server,sanity-check=off,dir="+dir, "--tls-creds", "tls0",
			"--format=raw", "--export-name", "disk", "--persistent", "--shared=9", image).Ready()
		for _, tt := range []struct {
			name, dir, host string
			engine          EngineChoice
			code            string // of our refusal
			refused         bool   // by the server, which closes without a word
		}{
			{"crypto/tls", dir, "localhost", Std, "", false},
			{"our engine", dir, "localhost", Native, "", false},
			{"another host", dir, "example.com", Auto, "peer-name-mismatch", false},
			{"a server of somebody else", foreign.dir(want{}), "localhost", Auto, "peer-untrusted", false},
			{"no certificate, crypto/tls", ca.trusting(nil, nil), "localhost", Std, "", true},
			{"no certificate, our engine", ca.trusting(nil, nil), "localhost", Native, "", true},
		} {
			t.Run(tt.name, func(t *testing.T) {
				nc := dialTCP(t, server.Port)
				startTLS(t, nc)
				c, err := Open(t.Context(), nc, Options{Credentials: load(t, creds.X509Options{Dir: tt.dir}), Hostname: tt.host, Engine: tt.engine})
				if tt.code != "" {
					if err == nil || finding.Of(err).Code != tt.code {
						t.Errorf("got %v, want %s", err, tt.code)
					}
					return
				}
				must(t, err)
				defer c.Close()
				must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
				got, err := listExports(c)
				switch {
				case tt.refused && err == nil:
					t.Error("the server lets in who has no certificate")
				case !tt.refused && (err != nil || got != "disk"):
					t.Errorf("exports %q, %v", got, err)
				}
			})
		}
	})
}

// serve opens a session for each connection and echoes a line.
func serve(t *testing.T, o Options) (port int, outcomes chan outcome) {
	t.Helper()
	outcomes = make(chan outcome, 100)
	return peertest.ServePort(t, func(nc net.Conn) { outcomes <- serveOne(t.Context(), nc, o) }), outcomes
}

func serveOne(ctx context.Context, nc net.Conn, o Options) outcome {
	c, err := Open(ctx, nc, o)
	if err != nil {
		return outcome{nil, err}
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, len(greeting))
	if _, err := io.ReadFull(c, buf); err != nil {
		return outcome{c, err}
	}
	_, err = c.Write(buf)
	c.CloseWrite()
	return outcome{c, err}
}

// GnuTLS's clients of all generations, with each kind of key.
func TestPeerGnutlsClient(t *testing.T) {
	for _, key := range []string{"ec", "rsa2048", "ed25519"} {
		ca := newAuthority(t, key)
		dir := ca.dir(want{key: key})
		for _, engine := range []EngineChoice{Std, Native} {
			port, outcomes := serve(t, Options{
				Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine,
				Authorizer: authz.DNList{"CN=peer"},
			})
			t.Run(key+" "+string(engine), func(t *testing.T) {
				peertest.Each(t, func(t *testing.T, g peertest.Generation) {
					args := []string{"--x509cafile", dir + "/ca-cert.pem", "-p", fmt.Sprint(port), "localhost"}
					own := []string{"--x509certfile", dir + "/client-cert.pem", "--x509keyfile", dir + "/client-key.pem"}
					r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", append(own, args...)...)
					if o := <-outcomes; o.err != nil || !strings.Contains(r.Stdout, greeting) {
						t.Errorf("%v\n%s", o.err, r)
					}
					r = g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", args...)
					if o := <-outcomes; o.err == nil || finding.Of(o.err).Code != "peer-no-certificate" {
						t.Errorf("without a certificate: %v\n%s", o.err, r)
					}
				})
			})
		}
	}
}

// qemu-img's PSK client with our server: see that GnuTLS's own order of suites
// does not win over ours.
func TestPeerGnutlsPSK(t *testing.T) {
	server, _ := pskCreds(t, creds.PSKOptions{}, creds.PSKOptions{Username: "rich"}, "rich:30313233343536373839616263646566\n", "rich:30313233343536373839616263646566\n")
	port, outcomes := serve(t, Options{Credentials: server})
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", "--pskusername", "rich", "--pskkey", "30313233343536373839616263646566",
			"--priority", "NORMAL"+pskSuffix, "-p", fmt.Sprint(port), "localhost")
		o := <-outcomes
		if o.err != nil || !strings.Contains(r.Stdout, greeting) {
			t.Fatalf("%v\n%s", o.err, r)
		}
		if s := o.State(); s.Suite != "TLS_AES_128_GCM_SHA256" || s.PeerName != "rich" || !s.Authenticated {
			t.Errorf("%+v", s)
		}
	})
}
