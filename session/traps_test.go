package session

import (
	"bufio"
	"errors"
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
	"virtls/pki/dn"
)

// libvirtFiles writes the files of libvirt's client and server below /etc/pki,
// trusting an authority.
func libvirtFiles(t testing.TB, a *authority, w want) (root string) {
	t.Helper()
	root = t.TempDir()
	for _, dir := range []string{"CA", "libvirt/private"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	_, cert, key := a.issue(w)
	write(t, root, map[string][]byte{
		"CA/cacert.pem": a.cert.PEM(), "libvirt/servercert.pem": cert, "libvirt/private/serverkey.pem": key,
		"libvirt/clientcert.pem": cert, "libvirt/private/clientkey.pem": key,
	})
	return root
}

// serveLibvirt stands before a libvirtd as its own TLS listener would: libvirt's
// rules, its confirmation, then what the daemon's UNIX socket says.
func serveLibvirt(t *testing.T, o Options, socket string) (port int, outcomes chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	outcomes = make(chan error, 100)
	o.Rules = Libvirt
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c, err := Open(t.Context(), nc, o)
			outcomes <- err
			if err != nil {
				nc.Close()
				continue
			}
			daemon, err := net.Dial("unix", socket)
			if err != nil {
				t.Error(err)
				return
			}
			c.Write([]byte{1})
			go func() { c.WriteTo(daemon); daemon.Close() }()
			go func() { c.ReadFrom(daemon); c.Close() }()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, outcomes
}

// libvirt's clients take a session ticket for the end of the connection (GnuTLS
// 3.7), and keep RSA certificates back from a server that names authorities
// (before 3.8.13). None sends a server_name.
func TestPeerVirsh(t *testing.T) {
	for _, key := range []string{"ec", "rsa2048"} {
		ca := newAuthority(t, key)
		files := libvirtFiles(t, ca, want{key: key, encipher: true})
		alien := libvirtFiles(t, newAuthority(t, key), want{key: key, encipher: true})
		must(t, os.WriteFile(filepath.Join(alien, "CA/cacert.pem"), ca.cert.PEM(), 0o644))
		server := load(t, creds.X509Options{Dir: ca.dir(want{key: key, encipher: true}), Endpoint: creds.Server})
		peertest.Each(t, func(t *testing.T, g peertest.Generation) {
			daemon := g.Libvirtd(t, peertest.Options{Mounts: map[string]string{"/etc/pki": files}}, "tls_no_sanity_certificate = 1\n").Ready()
			for _, engine := range engines {
				t.Run(key+" "+string(engine), func(t *testing.T) {
					port, outcomes := serveLibvirt(t, Options{Credentials: server, Engine: engine, Authorizer: authz.DNList{"CN=peer"}}, daemon.Dir+"/libvirt-sock")
					for range 2 {
						r := g.Run(t, peertest.Options{Mounts: map[string]string{"/etc/pki": files}}, "virsh", "-c", fmt.Sprintf("test+tls://localhost:%d/default?no_sanity=1", port), "hostname")
						if err := <-outcomes; err != nil || r.Code != 0 {
							t.Errorf("%v\n%s", err, r)
						}
					}
					port, outcomes = serveLibvirt(t, Options{Credentials: server, Engine: engine, Authorizer: authz.DNList{"CN=else"}}, daemon.Dir+"/libvirt-sock")
					r := g.Run(t, peertest.Options{Mounts: map[string]string{"/etc/pki": files}}, "virsh", "-c", fmt.Sprintf("test+tls://localhost:%d/default?no_sanity=1", port), "hostname")
					if err := <-outcomes; err == nil || finding.Of(err).Code != "peer-denied" || !strings.Contains(r.Stderr, "Unable to read TLS confirmation: Input/output error") {
						t.Errorf("refused: %v\n%s", err, r)
					}
				})
			}
			// A certificate of another authority is kept back from who names authorities.
			for _, tt := range []struct {
				withhold bool
				code     string
			}{{false, "peer-no-certificate"}, {true, "peer-untrusted"}} {
				port, outcomes := serveLibvirt(t, Options{Credentials: server, Engine: Native, WithholdNames: tt.withhold}, daemon.Dir+"/libvirt-sock")
				g.Run(t, peertest.Options{Mounts: map[string]string{"/etc/pki": alien}}, "virsh", "-c", fmt.Sprintf("test+tls://localhost:%d/default?no_sanity=1", port), "hostname")
				if err := <-outcomes; codeOf(err) != tt.code {
					t.Errorf("foreign, names withheld %v: %v", tt.withhold, err)
				}
			}
			// The other way round: the byte comes, or the end without a word.
			for _, tt := range []struct {
				name, dir string
				confirmed bool
			}{{"let in", ca.dir(want{key: key, encipher: true}), true}, {"no certificate", ca.trusting(nil, nil), false}} {
				for _, engine := range engines {
					nc := dialTCP(t, daemon.Port)
					c, err := Open(t.Context(), nc, Options{Credentials: load(t, creds.X509Options{Dir: tt.dir}), Hostname: "localhost", Rules: Libvirt, Engine: engine})
					must(t, err)
					must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
					buf := make([]byte, 1)
					_, err = io.ReadFull(c, buf)
					if (err == nil && buf[0] == 1) != tt.confirmed {
						t.Errorf("%s, %s: %v %v", tt.name, engine, buf, err)
					}
					c.Close()
				}
			}
		})
	}
}

// QEMU's chardevs: it sends no server_name, names or keeps back certificates as
// GnuTLS does, and ends without close_notify.
func TestPeerQemuChardev(t *testing.T) {
	for _, key := range []string{"ec", "rsa2048"} {
		ca := newAuthority(t, key)
		dir := ca.dir(want{key: key})
		peertest.Each(t, func(t *testing.T, g peertest.Generation) {
			object := func(end string) string {
				return "tls-creds-x509,id=tls0,sanity-check=off,dir=" + dir + ",endpoint=" + end
			}
			qemu := func(chardev, end string) []string {
				return []string{"-nodefaults", "-accel", "tcg", "-machine", "none", "-display", "none", "-object", object(end),
					"-chardev", chardev + ",id=c0,tls-creds=tls0", "-mon", "chardev=c0,mode=control"}
			}
			t.Run(key+" server", func(t *testing.T) {
				port := peertest.FreePort(t)
				p := g.Start(t, peertest.Options{}, peertest.Listening(port), "qemu-system-x86_64", qemu(fmt.Sprintf("socket,host=127.0.0.1,port=%d,server=on,wait=off", port), "server")...).Ready()
				defer p.Kill()
				for i, engine := range engines {
					c, err := Open(t.Context(), dialTCP(t, port), Options{Credentials: load(t, creds.X509Options{Dir: dir}), Hostname: "localhost", Engine: engine})
					must(t, err)
					talk(t, c, i == len(engines)-1)
				}
			})
			for _, engine := range engines {
				t.Run(key+" client "+string(engine), func(t *testing.T) {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					must(t, err)
					defer l.Close()
					p := g.Start(t, peertest.Options{}, peertest.Logged("never"), "qemu-system-x86_64", qemu(fmt.Sprintf("socket,host=localhost,port=%d,server=off", l.Addr().(*net.TCPAddr).Port), "client")...)
					must(t, l.(*net.TCPListener).SetDeadline(time.Now().Add(20*time.Second)))
					nc, err := l.Accept()
					must(t, err)
					defer nc.Close()
					c, err := Open(t.Context(), nc, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine, Authorizer: authz.DNList{"CN=peer"}})
					must(t, err)
					talk(t, c, true)
					p.Kill()
				})
			}
		})
	}
}

// talk asks a QEMU how it is, by QMP, and perhaps to quit: an end without
// close_notify is one like any other.
func talk(t *testing.T, c *Conn, quit bool) {
	t.Helper()
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	lines := bufio.NewScanner(c)
	for _, step := range []struct{ say, want string }{
		{"", `"QMP"`}, {"qmp_capabilities", `"return"`}, {"query-status", `"status"`}, {"quit", "{"},
	} {
		if step.say == "quit" && !quit {
			return
		}
		if step.say != "" {
			// An octet each: a monitor takes no more, and QEMU 7.2 looks for the
			// rest of a record only when another one comes.
			for _, b := range []byte(fmt.Sprintf("{\"execute\": %q}", step.say)) {
				_, err := c.Write([]byte{b})
				must(t, err)
			}
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), step.want) {
			t.Fatalf("after %q: %q, %v", step.say, lines.Text(), lines.Err())
		}
	}
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// A refusal that is sent as an alert is told to the user by the peer; without
// one peers say no more than that the connection has ended.
func TestPeerHearsRefusal(t *testing.T) {
	ca := newAuthority(t, "")
	dir := ca.dir(want{})
	type saying struct{ std, native string }
	clients := []struct {
		name, program string
		args          func(port int) []string
		rules         Rules
		says          saying
	}{
		{"gnutls-cli", "gnutls-cli", func(port int) []string {
			return []string{"--x509cafile", dir + "/ca-cert.pem", "--x509certfile", dir + "/client-cert.pem", "--x509keyfile", dir + "/client-key.pem", "-p", fmt.Sprint(port), "localhost"}
		}, QEMU, saying{"Certificate is bad", "Access was denied"}},
		{"openssl", "openssl", func(port int) []string {
			return []string{"s_client", "-CAfile", dir + "/ca-cert.pem", "-cert", dir + "/client-cert.pem", "-key", dir + "/client-key.pem", "-ign_eof", "-connect", fmt.Sprintf("127.0.0.1:%d", port)}
		}, QEMU, saying{"alert bad certificate", "alert access denied"}},
		{"openssl by libvirt's rules", "openssl", func(port int) []string {
			return []string{"s_client", "-CAfile", dir + "/ca-cert.pem", "-cert", dir + "/client-cert.pem", "-key", dir + "/client-key.pem", "-ign_eof", "-connect", fmt.Sprintf("127.0.0.1:%d", port)}
		}, Libvirt, saying{"!alert", "!alert"}},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range clients {
			for _, engine := range engines {
				port, outcomes := serve(t, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine, Authorizer: authz.DNList{"CN=else"}, Rules: tt.rules})
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, tt.program, tt.args(port)...)
				if o := <-outcomes; o.err == nil || finding.Of(o.err).Code != "peer-denied" {
					t.Errorf("%s, %s: %v", tt.name, engine, o.err)
				}
				text := tt.says.std
				if engine == Native {
					text = tt.says.native
				}
				text, not := strings.CutPrefix(text, "!")
				if strings.Contains(r.Stdout+r.Stderr, text) == not {
					t.Errorf("%s, %s: no %q\n%s", tt.name, engine, text, r)
				}
			}
		}
		// Servers whose certificate a client does not like.
		for _, engine := range engines {
			for _, version := range []string{"-tls1_2", "-tls1_3"} {
				s := g.OpensslSServer(t, peertest.Options{}, "-cert", dir+"/server-cert.pem", "-key", dir+"/server-key.pem", version).Ready()
				_, err := Open(t.Context(), dialTCP(t, s.Port), Options{Credentials: load(t, creds.X509Options{Dir: dir}), Engine: engine, Hostname: "example.com"})
				if err == nil || finding.Of(err).Code != "peer-name-mismatch" {
					t.Errorf("%s: %v", engine, err)
				}
				s.Until(peertest.Logged("alert bad certificate")).Kill()
			}
		}
	})
}

// More traps of GnuTLS's clients: each with the certificates, the priority and
// the options that lead into it.
func TestPeerGnutlsTraps(t *testing.T) {
	rsaCA, edCA, ecCA, foreign := newAuthority(t, "rsa2048"), newAuthority(t, "ed25519"), newAuthority(t, ""), newAuthority(t, "")
	rsa, ed, ec := rsaCA.dir(want{key: "rsa2048"}), edCA.dir(want{key: "ed25519"}), ecCA.dir(want{})
	rsaOfEC := ecCA.dir(want{key: "rsa2048"})
	alien := mixed(ecCA, foreign)
	tests := []struct {
		name, server, client, priority string
		options                        Options
		code                           string // of the refusal
	}{
		{"RSA", rsa, rsa, "NORMAL", Options{}, ""},
		{"RSA of an EC authority", ec, rsaOfEC, "NORMAL", Options{}, ""},
		{"RSA in TLS 1.2", rsa, rsa, "NORMAL:-VERS-TLS1.3", Options{}, ""},
		{"RSA; no authorities are named", rsa, rsa, "NORMAL", Options{WithholdNames: true}, ""},
		{"Ed25519", ed, ed, "NORMAL", Options{}, ""},
		{"Ed25519 in TLS 1.2", ed, ed, "NORMAL:-VERS-TLS1.3", Options{WithholdNames: true}, ""},
		{"foreign", ec, alien, "NORMAL", Options{WithholdNames: true}, "peer-untrusted"},
		{"no server_name", ec, ec, "NORMAL", Options{}, ""},
		{"record_size_limit and other options", ec, ec, "NORMAL:%COMPAT", Options{}, ""},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range tests {
			for _, engine := range engines {
				o := tt.options
				o.Credentials, o.Engine = load(t, creds.X509Options{Dir: tt.server, Endpoint: creds.Server}), engine
				port, outcomes := serve(t, o)
				args := []string{"--x509cafile", tt.server + "/ca-cert.pem", "--x509certfile", tt.client + "/client-cert.pem", "--x509keyfile", tt.client + "/client-key.pem", "--priority", tt.priority, "-p", fmt.Sprint(port)}
				if tt.name == "no server_name" {
					args = append(args, "--disable-sni")
				}
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", append(args, "localhost")...)
				o2 := <-outcomes
				if code := codeOf(o2.err); code != tt.code {
					t.Errorf("%s, %s: %v, want %q\n%s", tt.name, engine, o2.err, tt.code, r)
				}
			}
		}
	})
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	if f, ok := errors.AsType[*finding.Failure](err); ok {
		return finding.Of(f).Code
	}
	return err.Error()
}

// Names in the order of the certificate, in the words of GnuTLS: with a string
// type that is not an attribute's own the value becomes hex, as access lists of
// QEMU and libvirt have it.
func TestPeerName(t *testing.T) {
	country := dn.Attr(dn.CountryOID, "GB")
	for _, tt := range []struct {
		name    string
		subject dn.Name
		want    string
	}{
		{"order of the certificate", dn.New(country, dn.Attr(dn.OrganizationOID, "Name, Of Org"), dn.Attr(dn.CommonNameOID, "peer")), `C=GB,O=Name\, Of Org,CN=peer`},
		{"the other order", dn.New(dn.Attr(dn.CommonNameOID, "peer"), country), "CN=peer,C=GB"},
	} {
		for _, engine := range engines {
			ca := newAuthority(t, "")
			dir := ca.dir(want{subject: tt.subject})
			s, c := open(t, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine, Authorizer: authz.DNList{tt.want}},
				Options{Credentials: load(t, creds.X509Options{Dir: dir}), Engine: engine, Hostname: "localhost"})
			must(t, errors.Join(s.err, c.err))
			if got := s.State().PeerName; got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}
