package tlsengine

import (
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"virtls/internal/peertest"
	"virtls/pki/dh"
	"virtls/tlsengine/internal/wire"
)

// meetings are what became of our engine and other programs: program, our role
// and what was agreed to the generations' results.
var (
	meetingsMu sync.Mutex
	meetings   = map[[3]string]map[string]string{}
	peersSeen  = map[string]string{} // a generation's versions
)

// met notes what comes of the test's meeting with a program.
func met(t *testing.T, g peertest.Generation, program peertest.Program, name, role, what string) {
	t.Helper()
	version := g.Version(t, program).Upstream
	t.Cleanup(func() {
		result := "ok"
		switch {
		case t.Failed():
			result = "FAILED"
		case t.Skipped():
			return
		}
		noteMeeting(g.Name, name, role, what, result)
		meetingsMu.Lock()
		defer meetingsMu.Unlock()
		if seen := peersSeen[g.Name]; !strings.Contains(seen, name) {
			peersSeen[g.Name] = strings.TrimSpace(seen + " " + name + " " + version)
		}
	})
}

func noteMeeting(column, name, role, what, result string) {
	meetingsMu.Lock()
	defer meetingsMu.Unlock()
	key := [3]string{name, role, what}
	if meetings[key] == nil {
		meetings[key] = map[string]string{}
	}
	meetings[key][column] = result
}

// TestMain prints the table of all meetings behind the tests: go test -v shows it.
func TestMain(m *testing.M) {
	code := m.Run()
	if len(meetings) > 0 {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		columns := []string{peertest.Host.Name, peertest.Trixie.Name, peertest.Forky.Name}
		for _, c := range columns {
			fmt.Fprintf(w, "%s:\t%s\n", c, peersSeen[c])
		}
		fmt.Fprintf(w, "peer\tour role\twhat\t%s\n", strings.Join(columns, "\t"))
		keys := slices.SortedFunc(maps.Keys(meetings), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
		for _, key := range keys {
			fmt.Fprint(w, strings.Join(key[:], "\t"))
			for _, c := range columns {
				fmt.Fprintf(w, "\t%s", meetings[key][c])
			}
			fmt.Fprintln(w)
		}
		w.Flush()
		fmt.Printf("%d combinations\n", len(keys))
	}
	os.Exit(code)
}

func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// groupNames are the groups by the names of OpenSSL and GnuTLS; without a name
// the program's builds in Debian have none.
var groupNames = []struct {
	g               Group
	openssl, gnutls string
	newOpenssl      bool // since 3.5
	slow            bool // more of the same
}{
	{wire.X25519, "X25519", "X25519", false, false},
	{wire.P256, "P-256", "SECP256R1", false, false},
	{wire.P384, "P-384", "SECP384R1", false, false},
	{wire.P521, "P-521", "SECP521R1", false, false},
	{wire.FFDHE2048, "ffdhe2048", "FFDHE2048", false, false},
	{wire.FFDHE3072, "ffdhe3072", "FFDHE3072", false, true},
	{wire.FFDHE4096, "ffdhe4096", "FFDHE4096", false, true},
	{wire.FFDHE6144, "ffdhe6144", "FFDHE6144", false, true},
	{wire.FFDHE8192, "ffdhe8192", "FFDHE8192", false, true},
	{wire.X25519MLKEM768, "X25519MLKEM768", "", true, false},
	{wire.SecP256r1MLKEM768, "SecP256r1MLKEM768", "", true, false},
	{wire.SecP384r1MLKEM1024, "SecP384r1MLKEM1024", "", true, false},
}

var suiteNames13 = []struct {
	s               Suite
	openssl, gnutls string
}{
	{wire.AES128GCMSHA256, "TLS_AES_128_GCM_SHA256", "AES-128-GCM"},
	{wire.AES256GCMSHA384, "TLS_AES_256_GCM_SHA384", "AES-256-GCM"},
	{wire.ChaCha20Poly1305SHA256, "TLS_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"},
}

// Every group and suite of TLS 1.3 that OpenSSL has, in both roles, and a
// HelloRetryRequest of each side.
func TestPeerOpensslGroups(t *testing.T) {
	ca := newCA(t, "ec")
	id := ca.newLeaf(t, "ec")
	cert, key, anchor := id.files(t, ca)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		isNew := g.Version(t, peertest.OpenSSL).AtLeast("3.5")
		var names []string
		for _, n := range groupNames {
			if !n.newOpenssl || isNew {
				names = append(names, n.openssl)
			}
		}
		server := g.OpensslSServer(t, peertest.Options{}, "-cert", cert, "-key", key, "-tls1_3", "-rev", "-groups", strings.Join(names, ":")).Ready()
		p384 := g.OpensslSServer(t, peertest.Options{}, "-cert", cert, "-key", key, "-tls1_3", "-rev", "-groups", "P-384").Ready()
		port, errs := serve(t, Config{Identities: []Identity{id.Identity}})
		retryPort, retryErrs := serve(t, Config{Identities: []Identity{id.Identity}, Groups: []Group{wire.P384}})
		client := func(t *testing.T, port int, errs chan error, args ...string) {
			t.Helper()
			r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "openssl", append([]string{"s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port),
				"-CAfile", anchor, "-verify_return_error", "-tls1_3", "-ign_eof"}, args...)...)
			if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
				t.Errorf("%v\n%s", err, r)
			}
		}
		for _, n := range groupNames {
			if n.newOpenssl && !isNew || n.slow && !full() {
				continue
			}
			t.Run(n.openssl, func(t *testing.T) {
				met(t, g, peertest.OpenSSL, "openssl", "both", "TLS 1.3 "+n.g.String())
				c := dial(t, server.Port, Config{Groups: []Group{n.g}})
				must(t, c.handshake())
				checkState(t, c.Engine, State{Suite: wire.AES128GCMSHA256, Group: n.g})
				client(t, port, errs, "-groups", n.openssl)
			})
		}
		for _, n := range suiteNames13 {
			t.Run(n.openssl, func(t *testing.T) {
				met(t, g, peertest.OpenSSL, "openssl", "both", "TLS 1.3 "+n.openssl)
				c := dial(t, server.Port, Config{Suites: []Suite{n.s}, Groups: []Group{wire.X25519}})
				must(t, c.handshake())
				checkState(t, c.Engine, State{Suite: n.s, Group: wire.X25519})
				client(t, port, errs, "-ciphersuites", n.openssl)
			})
		}
		t.Run("retry", func(t *testing.T) {
			met(t, g, peertest.OpenSSL, "openssl", "both", "TLS 1.3 HelloRetryRequest")
			c := dial(t, p384.Port, Config{Groups: []Group{wire.X25519, wire.P384}})
			must(t, c.handshake())
			if s := c.State(); !s.Retried || s.Group != wire.P384 {
				t.Errorf("%s, retried %v", s.Group, s.Retried)
			}
			client(t, retryPort, retryErrs, "-groups", "X25519:P-384")
		})
	})
}

// Every group and suite of TLS 1.3 that GnuTLS has, in both roles.
func TestPeerGnutlsGroups(t *testing.T) {
	ca := newCA(t, "ec")
	id := ca.newLeaf(t, "ec")
	cert, key, anchor := id.files(t, ca)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.GnutlsServ(t, peertest.Options{}, "--echo", "--x509certfile", cert, "--x509keyfile", key).Ready()
		p384 := g.GnutlsServ(t, peertest.Options{}, "--echo", "--x509certfile", cert, "--x509keyfile", key, "--priority", "NORMAL:-GROUP-ALL:+GROUP-SECP384R1").Ready()
		port, errs := serve(t, Config{Identities: []Identity{id.Identity}})
		retryPort, retryErrs := serve(t, Config{Identities: []Identity{id.Identity}, Groups: []Group{wire.P521}})
		client := func(t *testing.T, port int, errs chan error, priority string) {
			t.Helper()
			r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", "--x509cafile", anchor, "--priority", priority, "-p", fmt.Sprint(port), "localhost")
			if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
				t.Errorf("%v\n%s", err, r)
			}
		}
		const only13 = "NORMAL:-VERS-ALL:+VERS-TLS1.3"
		for _, n := range groupNames {
			if n.gnutls == "" || n.slow && !full() {
				continue
			}
			t.Run(n.gnutls, func(t *testing.T) {
				met(t, g, peertest.GnuTLS, "gnutls", "both", "TLS 1.3 "+n.g.String())
				c := dial(t, server.Port, Config{Groups: []Group{n.g}})
				must(t, c.handshake())
				checkState(t, c.Engine, State{Suite: wire.AES128GCMSHA256, Group: n.g})
				echo(t, c)
				client(t, port, errs, only13+":-GROUP-ALL:+GROUP-"+n.gnutls)
			})
		}
		for _, n := range suiteNames13 {
			t.Run(n.gnutls, func(t *testing.T) {
				met(t, g, peertest.GnuTLS, "gnutls", "both", "TLS 1.3 "+n.openssl)
				c := dial(t, server.Port, Config{Suites: []Suite{n.s}, Groups: []Group{wire.X25519}})
				must(t, c.handshake())
				checkState(t, c.Engine, State{Suite: n.s, Group: wire.X25519})
				echo(t, c)
				client(t, port, errs, only13+":-CIPHER-ALL:+"+n.gnutls)
			})
		}
		t.Run("retry", func(t *testing.T) {
			met(t, g, peertest.GnuTLS, "gnutls", "both", "TLS 1.3 HelloRetryRequest")
			c := dial(t, p384.Port, Config{Groups: []Group{wire.X25519, wire.P384}})
			must(t, c.handshake())
			if s := c.State(); !s.Retried || s.Group != wire.P384 {
				t.Errorf("%s, retried %v", s.Group, s.Retried)
			}
			echo(t, c)
			client(t, retryPort, retryErrs, only13)
		})
	})
}

// opensslSuites12 are the suites of TLS 1.2 that OpenSSL has.
var opensslSuites12 = []struct {
	s    Suite
	name string
}{
	{wire.PSKWithAES128GCM, "PSK-AES128-GCM-SHA256"}, {wire.PSKWithAES256GCM, "PSK-AES256-GCM-SHA384"}, {wire.PSKWithChaCha20, "PSK-CHACHA20-POLY1305"},
	{wire.DHEPSKWithAES128GCM, "DHE-PSK-AES128-GCM-SHA256"}, {wire.DHEPSKWithAES256GCM, "DHE-PSK-AES256-GCM-SHA384"}, {wire.DHEPSKWithChaCha20, "DHE-PSK-CHACHA20-POLY1305"},
	{wire.ECDHEPSKWithChaCha20, "ECDHE-PSK-CHACHA20-POLY1305"},
	{wire.DHAnonWithAES128GCM, "ADH-AES128-GCM-SHA256"}, {wire.DHAnonWithAES256GCM, "ADH-AES256-GCM-SHA384"},
	{wire.ECDHEECDSAWithAES128GCM, "ECDHE-ECDSA-AES128-GCM-SHA256"}, {wire.ECDHEECDSAWithAES256GCM, "ECDHE-ECDSA-AES256-GCM-SHA384"}, {wire.ECDHEECDSAWithChaCha20, "ECDHE-ECDSA-CHACHA20-POLY1305"},
	{wire.ECDHERSAWithAES128GCM, "ECDHE-RSA-AES128-GCM-SHA256"}, {wire.ECDHERSAWithAES256GCM, "ECDHE-RSA-AES256-GCM-SHA384"}, {wire.ECDHERSAWithChaCha20, "ECDHE-RSA-CHACHA20-POLY1305"},
	{wire.DHERSAWithAES128GCM, "DHE-RSA-AES128-GCM-SHA256"}, {wire.DHERSAWithAES256GCM, "DHE-RSA-AES256-GCM-SHA384"}, {wire.DHERSAWithChaCha20, "DHE-RSA-CHACHA20-POLY1305"},
}

// dhFile is a file with a prime of 2048 bits: OpenSSL's own choice for suites
// with 128 bits and without a certificate has 1024, which our client refuses.
func dhFile(t *testing.T) string {
	t.Helper()
	p := dh.Group(2048)
	der, err := asn1.Marshal(struct{ P, G *big.Int }{p.Prime, p.Generator})
	must(t, err)
	file := filepath.Join(t.TempDir(), "dh.pem")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: dh.Label, Bytes: der}), 0o644))
	must(t, os.Chmod(filepath.Dir(file), 0o755))
	return file
}

func TestPeerOpensslSuites12(t *testing.T) {
	ca := newCA(t, "rsa2048")
	id := ca.newLeaf(t, "rsa2048")
	cert, key, anchor := id.files(t, ca)
	ec := ca.newLeaf(t, "ec")
	ecCert, ecKey, _ := ec.files(t, ca)
	psk := []string{"-psk_identity", string(testPSK.Identity), "-psk", hex.EncodeToString(testPSK.Key)}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		const all = "ALL:@SECLEVEL=0"
		server := g.OpensslSServer(t, peertest.Options{}, append(psk, "-dhparam", dhFile(t), "-cert", cert, "-key", key, "-dcert", ecCert, "-dkey", ecKey, "-tls1_2", "-rev", "-cipher", all)...).Ready()
		for _, n := range opensslSuites12 {
			t.Run(n.name, func(t *testing.T) {
				met(t, g, peertest.OpenSSL, "openssl", "both", "TLS 1.2 "+n.name)
				s := suiteByID(n.s)
				client, ours := Config{Suites: []Suite{n.s}, Versions: only12}, Config{}
				args := []string{"s_client", "-tls1_2", "-ign_eof", "-cipher", n.name + ":@SECLEVEL=0", "-CAfile", anchor}
				switch {
				case s.kx.PSK:
					client.PSK, client.PSKAlone = testPSK, s.kx == plainPSK
					ours.FindPSK, ours.PSKAlone = findPSK(testPSK), true
					args = append(args, psk...)
				case s.kx == dhAnon:
					client.Anonymous, ours.Anonymous = true, true
				default:
					ours.Identities = []Identity{id.Identity, ec.Identity}
					args = append(args, "-verify_return_error")
				}
				c := dial(t, server.Port, client)
				must(t, c.handshake())
				if got := c.State(); got.Suite != n.s || got.Version != TLS12 {
					t.Errorf("%s %s", got.Version, got.Suite)
				}
				_, err := c.Write([]byte("abc\n"))
				must(t, err)
				buf := make([]byte, 10)
				if n, err := c.Read(buf); err != nil || string(buf[:n]) != "cba\n" {
					t.Errorf("%q, %v", buf[:n], err)
				}
				port, errs := serve(t, ours)
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "openssl", append(args, "-connect", fmt.Sprintf("127.0.0.1:%d", port))...)
				if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
					t.Errorf("%v\n%s", err, r)
				}
			})
		}
	})
}

// Pre-shared keys go with every group, in both roles: those that [variants] do
// not have.
func TestPeerPSKGroups(t *testing.T) {
	dir := keysFile(t, testPSK)
	secret := []string{"-psk", hex.EncodeToString(testPSK.Key), "-psk_identity", string(testPSK.Identity)}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		isNew := g.Version(t, peertest.OpenSSL).AtLeast("3.5")
		var names []string
		for _, n := range groupNames {
			if !n.newOpenssl || isNew {
				names = append(names, n.openssl)
			}
		}
		openssl := g.OpensslSServer(t, peertest.Options{}, append(secret, "-nocert", "-tls1_3", "-rev", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", strings.Join(names, ":"))...).Ready()
		gnutls := g.GnutlsServ(t, peertest.Options{}, "--echo", "--pskpasswd", dir+"/keys.psk", "--priority", qemuPriority).Ready()
		port, errs := serve(t, Config{FindPSK: findPSK(testPSK)})
		for _, n := range groupNames {
			if n.slow && !full() {
				continue
			}
			cfg := Config{PSK: testPSK, Groups: []Group{n.g}}
			want := State{Suite: wire.AES128GCMSHA256, Group: n.g}
			run := func(t *testing.T, args ...string) {
				t.Helper()
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, args[0], args[1:]...)
				if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
					t.Errorf("%v\n%s", err, r)
				}
			}
			if !n.newOpenssl || isNew {
				t.Run("openssl "+n.openssl, func(t *testing.T) {
					met(t, g, peertest.OpenSSL, "openssl", "both", "TLS 1.3 PSK "+n.g.String())
					c := dial(t, openssl.Port, cfg)
					must(t, c.handshake())
					checkState(t, c.Engine, want)
					run(t, append([]string{"openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port), "-tls1_3", "-ign_eof", "-groups", n.openssl}, secret...)...)
				})
			}
			if n.gnutls != "" {
				t.Run("gnutls "+n.gnutls, func(t *testing.T) {
					met(t, g, peertest.GnuTLS, "gnutls", "both", "TLS 1.3 PSK "+n.g.String())
					c := dial(t, gnutls.Port, cfg)
					must(t, c.handshake())
					checkState(t, c.Engine, want)
					echo(t, c)
					run(t, "gnutls-cli", "--pskusername", string(testPSK.Identity), "--pskkey", hex.EncodeToString(testPSK.Key), "--priority",
						qemuPriority+":-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-"+n.gnutls, "-p", fmt.Sprint(port), "127.0.0.1")
				})
			}
		}
	})
}
