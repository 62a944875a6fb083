package vnc

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/sasl"
	"virtls/sasl/gssapi"
)

// kerberos are clients and servers of one realm.
type kerberos struct {
	*peertest.KDC
	keytab string // of QEMU's principal, vnc/ and the machine's name
	cache  string // with fred's tickets
}

func startKerberos(t testing.TB, encryption ...string) kerberos {
	t.Helper()
	k := peertest.StartKDC(t, "EXAMPLE.COM", encryption...)
	k.User(user, password)
	return kerberos{k, k.Keytab("vnc/peer", "vnc/localhost"), k.Login(user, password)}
}

// cyrus makes a configuration of Cyrus SASL for QEMU with GSSAPI.
func (k kerberos) cyrus(t testing.TB, keytab string) peertest.Options {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "qemu.conf"), []byte("mech_list: gssapi\nkeytab: "+keytab+"\n"), 0o600))
	return peertest.Options{Env: append(k.Env(""), "SASL_CONF_PATH="+dir)}
}

func (k kerberos) client(host string) *gssapi.Client {
	return &gssapi.Client{Host: host, Config: k.Conf, Cache: k.cache}
}

// GSSAPI with Cyrus SASL and MIT's Kerberos in QEMU: without TLS and below
// anonymous TLS everything that follows is sealed, below certificates and on
// UNIX sockets nothing is.
func TestPeerGSSAPI(t *testing.T) {
	k := startKerberos(t)
	x, anon := x509Options(t, creds.Client, "localhost"), anonOptions(t, creds.Client)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		o := k.cyrus(t, k.keytab)
		for _, tt := range []struct {
			name, options, kind string
			client              Options
			security            Security
			ssf                 int
			code                string
		}{
			{"TCP", "", "", Options{}, SASL, 256, ""},
			{"anonymous TLS", ",tls-creds=tls0", "anon", Options{Anon: anon}, TLSSASL, 256, ""},
			{"certificates", ",tls-creds=tls0", "x509", Options{X509: x}, X509SASL, 0, ""},
			// The name of a user of the host's own realm has no realm.
			{"right user", ",sasl-authz=acl", "authz-simple,id=acl,identity=fred", Options{}, SASL, 256, ""},
			// QEMU seals what it answers to a user who is not on its list, together
			// with the end of the exchange, so that no client can read it.
			{"another user", ",sasl-authz=acl", "authz-simple,id=acl,identity=fred@EXAMPLE.COM", Options{}, SASL, 256, "vnc-closed"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				var objects []string
				switch {
				case strings.HasPrefix(tt.kind, "authz"):
					objects = append(objects, tt.kind)
				case tt.kind != "":
					objects = append(objects, object(t, tt.kind, ""))
				}
				q := startQEMU(t, g, o, ",sasl=on"+tt.options, objects...)
				tt.client.GSSAPI = k.client("peer")
				c, err := q.dial(t, tt.client)
				if wantCode(t, err, tt.code); err != nil {
					return
				}
				if c.Security != tt.security || c.SSF != tt.ssf || c.User != "fred@EXAMPLE.COM" {
					t.Errorf("%v, SSF %d, as %q", c.Security, c.SSF, c.User)
				}
				takePicture(t, c)
			})
		}
		if g.Name == "host" {
			return // QEMU 7.2 has no SASL on UNIX sockets
		}
		c, err := startLocalQEMU(t, g, o).dial(t, Options{GSSAPI: k.client("peer")})
		must(t, err)
		if c.SSF != 0 {
			t.Errorf("UNIX socket: SSF %d", c.SSF)
		}
		takePicture(t, c)
	})
}

// Each type of encryption that there is, with MIT's Kerberos. The usual one is
// that of the other tests.
func TestPeerGSSAPIEncryption(t *testing.T) {
	for encryption, ssf := range map[string]int{"aes128-cts": 128, "aes128-sha2": 128, "aes256-sha2": 256} {
		if os.Getenv("VIRTLS_INTEROP") != "full" && encryption != "aes256-sha2" {
			continue // one of these tells enough in the short run
		}
		t.Run(encryption, func(t *testing.T) {
			k := startKerberos(t, encryption)
			q := startQEMU(t, peertest.Host, k.cyrus(t, k.keytab), ",sasl=on")
			c, err := q.dial(t, Options{GSSAPI: k.client("peer")})
			must(t, err)
			if c.SSF != ssf {
				t.Errorf("SSF %d; want %d", c.SSF, ssf)
			}
			takePicture(t, c)
			seen, err := k.capture(t, "peer", k.cache, ServerOptions{SASL: &sasl.Server{GSSAPI: &gssapi.Server{Keytab: k.keytab}}})
			if err != nil {
				t.Fatal(err, seen)
			}
		})
	}
}

// What goes wrong with tickets, and what is said of it.
func TestPeerGSSAPIRefusals(t *testing.T) {
	k := startKerberos(t)
	k.Keytab("qemu/peer")
	other := peertest.StartKDC(t, "OTHER.COM")
	other.User(user, password)
	other.Keytab("vnc/peer")
	good := startQEMU(t, peertest.Host, k.cyrus(t, k.keytab), ",sasl=on")
	misnamed := startQEMU(t, peertest.Host, k.cyrus(t, k.Keytab("qemu/localhost")), ",sasl=on")
	short := k.Login(user, password, "-l", "1s")
	time.Sleep(1100 * time.Millisecond)
	for _, tt := range []struct {
		name   string
		server *qemu
		client *gssapi.Client
		code   string
		want   string
	}{
		{"no cache", good, &gssapi.Client{Host: "peer", Config: k.Conf, Cache: "/nonexistent"}, "gssapi-no-ticket", "no such file"},
		{"expired ticket", good, &gssapi.Client{Host: "peer", Config: k.Conf, Cache: short}, "gssapi-no-ticket", "ended at"},
		{"cache of another kind", good, &gssapi.Client{Host: "peer", Config: k.Conf, Cache: "KEYRING:persistent:0"}, "gssapi-no-ticket", "only FILE can be read"},
		{"no such host", good, k.client("elsewhere"), "gssapi-no-ticket", "vnc/elsewhere"},
		{"another host of the realm", good, k.client("localhost"), "vnc-closed", ""},
		{"another service", good, &gssapi.Client{Host: "peer", Service: "qemu", Config: k.Conf, Cache: k.cache}, "vnc-closed", ""},
		{"another realm", good, &gssapi.Client{Host: "peer", Config: other.Conf, Cache: other.Login(user, password)}, "vnc-closed", ""},
		{"QEMU with the principal qemu", misnamed, k.client("peer"), "vnc-closed", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.server.dial(t, Options{GSSAPI: tt.client})
			wantCode(t, err, tt.code)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want %q", err, tt.want)
			}
		})
	}
}

// capture has gvnccapture, with a cache of tickets, look at a plain QEMU through
// a server of ours, and returns the server's error.
func (k kerberos) capture(t *testing.T, host, cache string, o ServerOptions) (peertest.Result, error) {
	t.Helper()
	port, result := relay(t, o, startQEMU(t, peertest.Host, peertest.Options{}, ""))
	out := filepath.Join(t.TempDir(), "screen.png")
	seen := peertest.Host.Run(t, peertest.Options{Env: k.Env(cache), Mounts: map[string]string{"/etc/pki": gtkVNC(t, true)}},
		"script", "-qec", fmt.Sprintf("gvnccapture %s:%d %s", host, port-5900, out), "/dev/null")
	f, err := os.Open(out)
	if err == nil {
		defer f.Close()
		if config, _, err := image.DecodeConfig(f); err != nil || config.Width != 640 {
			t.Errorf("a picture %+v, %v", config, err)
		}
		return seen, <-result
	}
	select {
	case err = <-result:
	case <-t.Context().Done():
	}
	if err == nil {
		err = fmt.Errorf("gvnccapture has no picture: %v", seen)
	}
	return seen, err
}

// gtk-vnc with Cyrus SASL and MIT's Kerberos looks at a QEMU through a server of ours.
func TestPeerGSSAPIServer(t *testing.T) {
	k := startKerberos(t)
	x, anon := x509Options(t, creds.Server, ""), anonOptions(t, creds.Server)
	mine := func(s gssapi.Server) *sasl.Server {
		s.Keytab = k.keytab
		return &sasl.Server{GSSAPI: &s}
	}
	access := func(user string) *sasl.Server {
		s := mine(gssapi.Server{})
		s.Access = &authz.List{Rules: []authz.Rule{{Match: user, Policy: authz.Allow}}}
		return s
	}
	for _, tt := range []struct {
		name    string
		server  ServerOptions
		refused string // by the server's error
	}{
		{"TCP", ServerOptions{SASL: mine(gssapi.Server{})}, ""},
		// gtk-vnc takes anonymous TLS for as good as any and wants no other encryption:
		// it leaves, as it leaves QEMU.
		{"anonymous TLS", ServerOptions{Anon: anon, SASL: mine(gssapi.Server{})}, "EOF"},
		{"certificates", ServerOptions{X509: x, SASL: mine(gssapi.Server{})}, ""},
		{"on the list", ServerOptions{SASL: access("fred")}, ""},
		{"not on the list", ServerOptions{SASL: access("other")}, `does not let in "fred"`},
		{"another host", ServerOptions{SASL: mine(gssapi.Server{Host: "peer"})}, `a ticket for "vnc/localhost"; one for vnc/peer was due`},
		{"another service", ServerOptions{SASL: mine(gssapi.Server{Service: "qemu"})}, "one for qemu/HOST was due"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, err := k.capture(t, "localhost", k.cache, tt.server)
			switch {
			case tt.refused == "" && err != nil:
				t.Fatal(err, seen)
			case tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)):
				t.Errorf("got %v; want %q", err, tt.refused)
			}
		})
	}
}

// People whom the server's realm does not know, and those without a ticket.
func TestPeerGSSAPIStrangers(t *testing.T) {
	k, o := startKerberos(t), ServerOptions{}
	o.SASL = &sasl.Server{GSSAPI: &gssapi.Server{Keytab: k.keytab}}
	other := kerberos{KDC: peertest.StartKDC(t, "OTHER.COM")}
	other.User(user, password)
	other.Keytab("vnc/localhost")
	if _, err := other.capture(t, "localhost", other.Login(user, password), o); err == nil || !strings.Contains(err.Error(), "the ticket is not good") || !strings.Contains(err.Error(), "OTHER.COM") {
		t.Errorf("another realm: %v", err)
	}
	short := k.Login(user, password, "-l", "1s")
	time.Sleep(1100 * time.Millisecond)
	for name, cache := range map[string]string{"no ticket": filepath.Join(t.TempDir(), "none"), "an expired one": short} {
		if _, err := k.capture(t, "localhost", cache, o); findingOf(err).Code != "vnc-closed" { // gtk-vnc leaves
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A program's own keys in the place of a person's ticket, and both ends ours:
// below anonymous TLS everything is sealed once more.
func TestGSSAPIKeytab(t *testing.T) {
	k := startKerberos(t)
	own := k.Keytab("gateway/peer")
	near, far := peertest.Pair(t)
	served := make(chan error, 1)
	go func() {
		c, err := Accept(context.Background(), near, ServerOptions{Anon: anonOptions(t, creds.Server), SASL: &sasl.Server{GSSAPI: &gssapi.Server{Keytab: k.keytab}}})
		if err == nil && (c.User != "gateway/peer" || c.SSF != 256) {
			err = fmt.Errorf("%q, SSF %d", c.User, c.SSF)
		}
		if err == nil {
			_, err = io.Copy(c, c)
		}
		served <- err
	}()
	c, err := Dial(t.Context(), far, Options{Anon: anonOptions(t, creds.Client),
		GSSAPI: &gssapi.Client{Host: "peer", Config: k.Conf, Keytab: own, Principal: "gateway/peer"}})
	must(t, err)
	sent := bytes.Repeat([]byte("much more than fits into one frame "), 10_000)
	go c.Write(sent)
	got := make([]byte, len(sent))
	_, err = io.ReadFull(c, got)
	must(t, err)
	if !bytes.Equal(got, sent) {
		t.Error("what comes back is not what was sent")
	}
	c.Close()
	must(t, <-served)
}
