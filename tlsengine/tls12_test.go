package tlsengine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/tlsengine/internal/wire"
)

var only12 = []Version{TLS12}

// suiteConfigs returns what both ends need for a suite of TLS 1.2.
func suiteConfigs(t testing.TB, s *suite) (client, server Config) {
	t.Helper()
	client = Config{Versions: only12, Suites: []Suite{s.id}}
	switch {
	case s.kx.PSK:
		client.PSK, client.PSKAlone = testPSK, s.kx == plainPSK
		server.FindPSK, server.PSKAlone = findPSK(testPSK), true
	case s.kx == dhAnon:
		client.Anonymous, server.Anonymous = true, true
	default:
		ca := newCA(t, "ec")
		spec := map[certKey]string{ecKey: "ec", rsaKey: "rsa2048"}[s.kx.key]
		client.Identities = []Identity{ca.newLeaf(t, spec).Identity}
		server = Config{Identities: client.Identities, RequestCertificate: true}
	}
	return client, server
}

func TestSuites12(t *testing.T) {
	for _, s := range allSuites {
		if s.kx == nil {
			continue
		}
		t.Run(s.id.String(), func(t *testing.T) {
			client, server := suiteConfigs(t, s)
			p := newPair(t, client, server)
			a, b := p.shake(1)
			must(t, errors.Join(a, b))
			c, srv := p.client.State(), p.server.State()
			if c.Version != TLS12 || c.Suite != s.id || srv.Suite != s.id || c.Group != srv.Group || (c.Group == 0) != (s.kx == plainPSK) {
				t.Errorf("client %+v, server %+v", c, srv)
			}
			if s.kx.key != noCertificate && (len(c.PeerChain) == 0 || len(srv.PeerChain) == 0 || c.PeerScheme != srv.Scheme) {
				t.Error("certificates are missing")
			}
			x, err := p.client.Export("EXPERIMENTAL test", nil, 20)
			must(t, err)
			y, err := p.server.Export("EXPERIMENTAL test", nil, 20)
			must(t, err)
			if string(x) != string(y) {
				t.Error("the ends export different keys")
			}
			transfer(t, p.client, p.server, random(100_000))
			transfer(t, p.server, p.client, random(100_000))
			if err := p.client.KeyUpdate(true); !errors.Is(err, errNoUpdate) {
				t.Errorf("KeyUpdate: %v", err)
			}
			p.client.CloseWrite()
			carry(p.client, p.server, 1000)
			if _, err := p.server.Read(make([]byte, 1)); err == nil || errors.Is(err, ErrWantInput) {
				t.Errorf("after close_notify: %v", err)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	id := []Identity{newCA(t, "ec").newLeaf(t, "ec").Identity}
	for _, tt := range []struct {
		name           string
		client, server Config
		want           Version
	}{
		{"best", Config{}, Config{Identities: id}, TLS13},
		{"an old client", Config{Versions: only12}, Config{Identities: id}, TLS12},
		{"an old server", Config{}, Config{Identities: id, Versions: only12}, TLS12},
		{"none", Config{Versions: []Version{TLS13}}, Config{Identities: id, Versions: only12}, 0},
		{"PSK, an old server", Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK), Versions: only12}, TLS12},
		{"PSK, an old client", Config{PSK: testPSK, Versions: only12}, Config{FindPSK: findPSK(testPSK)}, TLS12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, tt.client, tt.server)
			clientErr, serverErr := p.shake(1 << 20)
			if tt.want == 0 {
				if clientErr == nil || serverErr == nil {
					t.Errorf("client %v, server %v", clientErr, serverErr)
				}
				return
			}
			must(t, errors.Join(clientErr, serverErr))
			if got := p.client.State().Version; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// Somebody in between who makes both speak TLS 1.2 is found out.
func TestDowngrade(t *testing.T) {
	id := []Identity{newCA(t, "ec").newLeaf(t, "ec").Identity}
	p := newPair(t, Config{}, Config{Identities: id})
	p.client.Handshake()
	hello := p.client.Output()
	// supported_versions loses TLS 1.3.
	i := strings.Index(string(hello), "\x00\x2b\x00\x05\x04\x03\x04\x03\x03")
	if i < 0 {
		t.Fatal("no supported_versions")
	}
	copy(hello[i+5:], "\x03\x03\x03\x03")
	clientErr, serverErr := p.shake(1 << 20)
	if clientErr == nil || !strings.Contains(clientErr.Error(), "somebody is in between") || serverErr == nil {
		t.Errorf("client %v, server %v", clientErr, serverErr)
	}
}

func TestPSK12Refused(t *testing.T) {
	for want, psk := range map[string]*PSK{`user "rich" has another key`: wrongPSK, `user "poor" is not known here`: {Identity: []byte("poor"), Key: random(32)}} {
		p := newPair(t, Config{PSK: psk, Versions: only12}, Config{FindPSK: findPSK(testPSK)})
		clientErr, serverErr := p.shake(1 << 20)
		var alert *AlertError
		if !errors.As(clientErr, &alert) || alert.Alert != wire.BadRecordMAC || serverErr == nil || !strings.Contains(serverErr.Error(), want) {
			t.Errorf("client %v, server %v", clientErr, serverErr)
		}
	}
}

// gnutlsKX are the key exchanges of GnuTLS's priorities with the suites that
// both have.
var gnutlsKX = []struct{ name, kx string }{
	{"ECDHE-ECDSA", "+ECDHE-ECDSA"}, {"ECDHE-RSA", "+ECDHE-RSA"}, {"DHE-RSA", "+DHE-RSA"},
	{"ECDHE-PSK", "+ECDHE-PSK"}, {"DHE-PSK", "+DHE-PSK"}, {"PSK", "+PSK"}, {"ANON-DH", "+ANON-DH"},
}

var gnutlsCiphers = []string{"AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"}

// gnutlsCase returns our configuration for a key exchange, and GnuTLS's flags.
func gnutlsCase(t *testing.T, kx string, server bool) (Config, []string) {
	t.Helper()
	cfg := Config{PSKAlone: true}
	switch {
	case strings.Contains(kx, "PSK"):
		dir := keysFile(t, testPSK)
		if server {
			cfg.FindPSK = findPSK(testPSK)
			return cfg, []string{"--pskusername", string(testPSK.Identity), "--pskkey", hex.EncodeToString(testPSK.Key)}
		}
		cfg.PSK = testPSK
		return cfg, []string{"--pskpasswd", dir + "/keys.psk"}
	case strings.Contains(kx, "ANON"):
		cfg.Anonymous = true
		return cfg, nil
	}
	spec := "rsa2048"
	if strings.Contains(kx, "ECDSA") {
		spec = "ec"
	}
	ca := newCA(t, spec)
	id := ca.newLeaf(t, spec)
	cert, key, anchor := id.files(t, ca)
	cfg.Identities, cfg.RequestCertificate = []Identity{id.Identity}, true
	return cfg, []string{"--x509cafile", anchor, "--x509certfile", cert, "--x509keyfile", key}
}

// hasSuite tells whether GnuTLS has a suite.
func hasSuite(kx, cipher string) bool {
	switch kx {
	case "ECDHE-PSK":
		return cipher == "CHACHA20-POLY1305"
	case "ANON-DH":
		return cipher != "CHACHA20-POLY1305"
	}
	return true
}

func TestPeerGnutlsServer12(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, kx := range gnutlsKX {
			t.Run(kx.name, func(t *testing.T) {
				cfg, flags := gnutlsCase(t, kx.name, false)
				for _, cipher := range gnutlsCiphers {
					if !hasSuite(kx.name, cipher) {
						continue
					}
					met(t, g, peertest.GnuTLS, "gnutls-serv", "client", "TLS 1.2 "+kx.name+" "+cipher)
					priority := "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:" + kx.kx + ":-CIPHER-ALL:+" + cipher
					server := g.GnutlsServ(t, peertest.Options{}, append([]string{"--echo", "--priority", priority}, flags...)...).Ready()
					c := dial(t, server.Port, cfg)
					if err := c.handshake(); err != nil {
						t.Errorf("%s: %v", cipher, err)
						continue
					}
					echo(t, c)
				}
			})
		}
	})
}

func TestPeerGnutlsClient12(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, kx := range gnutlsKX {
			t.Run(kx.name, func(t *testing.T) {
				cfg, flags := gnutlsCase(t, kx.name, true)
				port, errs := serve(t, cfg)
				for _, cipher := range gnutlsCiphers {
					if !hasSuite(kx.name, cipher) {
						continue
					}
					met(t, g, peertest.GnuTLS, "gnutls-cli", "server", "TLS 1.2 "+kx.name+" "+cipher)
					priority := "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:" + kx.kx + ":-CIPHER-ALL:+" + cipher
					args := append([]string{"--priority", priority, "-p", fmt.Sprint(port), "localhost"}, flags...)
					r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", args...)
					err := <-errs
					if g == peertest.Host && strings.HasSuffix(kx.name, "DHE-PSK") && r.Code == 139 && errors.Is(err, io.EOF) {
						continue // gnutls-cli 3.7.9 crashes when such a handshake is complete, with gnutls-serv too
					}
					if err != nil || !strings.Contains(r.Stdout, greeting) {
						t.Errorf("%s: %v\n%s", cipher, err, r)
					}
				}
			})
		}
	})
}

func TestPeerOpenssl12(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, spec := range []string{"ec", "rsa2048"} {
			met(t, g, peertest.OpenSSL, "openssl", "both", "TLS 1.2 certificates of both "+spec)
			ca := newCA(t, spec)
			id := ca.newLeaf(t, spec)
			cert, key, anchor := id.files(t, ca)
			server := g.OpensslSServer(t, peertest.Options{}, "-cert", cert, "-key", key, "-CAfile", anchor, "-Verify", "3", "-verify_return_error", "-tls1_2", "-rev").Ready()
			c := dial(t, server.Port, Config{Identities: []Identity{id.Identity}})
			must(t, c.handshake())
			_, err := c.Write([]byte("abc\n"))
			must(t, err)
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			must(t, err)
			if string(buf[:n]) != "cba\n" {
				t.Errorf("got %q", buf[:n])
			}
			port, errs := serve(t, Config{Identities: []Identity{id.Identity}, RequestCertificate: true, VerifyPeer: wantChain})
			r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port),
				"-CAfile", anchor, "-cert", cert, "-key", key, "-verify_return_error", "-verify_hostname", "localhost", "-tls1_2", "-ign_eof")
			if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
				t.Errorf("%v\n%s", err, r)
			}
		}
	})
}
