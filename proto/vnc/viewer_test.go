package vnc

import (
	"context"
	"fmt"
	"image"
	_ "image/png"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/internal/peertest"
)

// gtkVNC makes what gtk-vnc looks for in /etc/pki.
func gtkVNC(t testing.TB, certificate bool) string {
	t.Helper()
	dir, files := t.TempDir(), peertest.Certificates()
	names := map[string]string{"CA/cacert.pem": "ca-cert.pem"}
	if certificate {
		names["gvnccapture/clientcert.pem"], names["gvnccapture/private/clientkey.pem"] = "client-cert.pem", "client-key.pem"
	}
	for to, from := range names {
		path := filepath.Join(dir, to)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, files[from], 0o600))
	}
	return dir
}

// relay lets one viewer in and connects it with a plain QEMU.
func relay(t testing.TB, o ServerOptions, to *qemu) (port int, result <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	back := to.open(t)
	o.Throttle = quick()
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			front, err := Accept(ctx, c, o)
			if err != nil {
				return err
			}
			behind, err := Dial(ctx, back, Options{})
			if err != nil {
				return err
			}
			go func() {
				io.Copy(behind, front)
				behind.Close()
			}()
			io.Copy(front, behind)
			return nil
		}()
	}()
	return l.Addr().(*net.TCPAddr).Port, done
}

// gtk-vnc sees QEMU's screen through a server of ours, by each way it knows.
func TestPeerGtkVNC(t *testing.T) {
	if !peertest.Host.Has("gvnccapture") {
		peertest.Host.Run(t, peertest.Options{}, "gvnccapture", "--help") // says how to get it
	}
	q := startQEMU(t, peertest.Host, peertest.Options{}, "")
	x509, anon := x509Options(t, creds.Server, ""), anonOptions(t, creds.Server)
	listed := with(x509, &authz.List{Rules: []authz.Rule{{Match: "O=Example,CN=client1", Policy: authz.Allow}}})
	accounts := saslServer(t)
	asks := func(password string) peertest.Prompt {
		return peertest.Prompt{Asks: "Password: ", Type: password, Hidden: true}
	}
	login := func(password string) []peertest.Prompt {
		return []peertest.Prompt{{Asks: "Username: ", Type: user}, asks(password)}
	}
	for _, tt := range []struct {
		name        string
		server      ServerOptions
		certificate bool
		prompts     []peertest.Prompt
		refused     string // by the server's error
	}{
		{"nothing", ServerOptions{}, false, nil, ""},
		{"password", ServerOptions{Password: passwordOf(password)}, false, []peertest.Prompt{asks(password)}, ""},
		{"wrong password", ServerOptions{Password: passwordOf(password)}, false, []peertest.Prompt{asks(wrongPassword)}, "password is wrong"},
		{"anonymous", ServerOptions{Anon: anon}, false, nil, ""},
		{"anonymous and password", ServerOptions{Anon: anon, Password: passwordOf(password)}, false, []peertest.Prompt{asks(password)}, ""},
		{"anonymous and Plain", ServerOptions{Anon: anon, SASL: accounts, Offer: []Security{TLSPlain}}, false, login(password), ""},
		{"x509 mutual", ServerOptions{X509: listed}, true, nil, ""},
		{"x509 without certificate", ServerOptions{X509: listed}, false, nil, "No certificate was found"},
		{"x509 and password", ServerOptions{X509: x509, Password: passwordOf(password)}, true, []peertest.Prompt{asks(password)}, ""},
		{"x509 and Plain", ServerOptions{X509: x509, SASL: accounts, Offer: []Security{X509Plain}}, true, login(password), ""},
		{"x509 and SASL", ServerOptions{X509: x509, SASL: accounts}, true, login(password), ""},
		{"x509 and wrong SASL password", ServerOptions{X509: x509, SASL: accounts}, true, login(wrongPassword), "password is wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port, result := relay(t, tt.server, q)
			out := filepath.Join(t.TempDir(), "screen.png")
			seen := peertest.Host.RunOnTerminal(t, peertest.Options{Mounts: map[string]string{"/etc/pki": gtkVNC(t, tt.certificate)}}, tt.prompts,
				"gvnccapture", fmt.Sprintf("localhost:%d", port-5900), out)
			err := <-result
			secrets.Check(t, seen, err)
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("got %v; want %q", err, tt.refused)
				}
				if _, err := os.Stat(out); err == nil {
					t.Error("gvnccapture has a picture all the same")
				}
				return
			}
			must(t, err)
			f, err := os.Open(out)
			if err != nil {
				t.Fatal(seen)
			}
			defer f.Close()
			if config, _, err := image.DecodeConfig(f); err != nil || config.Width != 640 || config.Height != 480 {
				t.Errorf("a picture %+v, %v", config, err)
			}
		})
	}
}
