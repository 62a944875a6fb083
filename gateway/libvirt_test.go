package gateway

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/pki"
)

// libvirtDir writes the same identity as libvirt's clients want it in a flat
// directory (pkipath).
func libvirtDir(t *testing.T, trusted *pki.Certificate, cert *pki.Certificate, key []byte) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "cacert.pem"), trusted.PEM(), 0o644))
	if cert != nil {
		must(t, os.WriteFile(filepath.Join(dir, "clientcert.pem"), cert.PEM(), 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "clientkey.pem"), key, 0o600))
	}
	return dir
}

// plainLibvirtd starts a daemon whose UNIX socket is open to everybody.
func plainLibvirtd(t *testing.T, g peertest.Generation, etc string) *peertest.Proc {
	t.Helper()
	p := g.Libvirtd(t, peertest.Options{Mounts: map[string]string{"/etc/pki": etc}}, "").Ready()
	p.Until(peertest.ListeningUnix(filepath.Join(p.Dir, "libvirt-sock")))
	return p
}

// etcPKI writes what a daemon wants in /etc/pki.
func etcPKI(t *testing.T, ca *authority) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"CA", "libvirt/private"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	cert, key := ca.issue(t, "localhost", "rsa2048")
	must(t, os.WriteFile(filepath.Join(dir, "CA/cacert.pem"), ca.cert.PEM(), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "libvirt/servercert.pem"), cert.PEM(), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "libvirt/private/serverkey.pem"), key, 0o600))
	return dir
}

// virsh reaches a plain libvirtd through a gateway, if it may.
func TestVirshThroughGateway(t *testing.T) {
	ca, foreign := shared().ca, shared().foreign
	server := ca.dir(t, "localhost", "ec")
	etc := etcPKI(t, ca)
	rsa, rsaKey := ca.issue(t, "admin", "rsa2048")
	visitor, visitorKey := ca.issue(t, "visitor", "rsa2048")
	revoked, revokedKey := ca.issue(t, "admin gone", "rsa2048")
	stranger, strangerKey := foreign.issue(t, "admin", "rsa2048")
	ca.revoke(t, server, revoked)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		daemon := plainLibvirtd(t, g, etc)
		gw := run(t, Options{
			Protocol: Libvirt,
			Listen:   Side{address(t, "tls://127.0.0.1:0"), holder(t, server, creds.Server)},
			Connect:  Side{Address: address(t, "unix://"+daemon.Dir+"/libvirt-sock")},
			Access:   Access{{DN: "O=Example,CN=admin*"}},
		})
		for _, tt := range []struct {
			name string
			cert *pki.Certificate
			key  []byte
			code string
			text string // libvirt's own, of the reason
		}{
			{"allowed", rsa, rsaKey, "", ""},
			{"another name", visitor, visitorKey, "peer-denied", "not on the list of allowed clients"},
			{"revoked", revoked, revokedKey, "peer-revoked", "The certificate has been revoked."},
			{"another authority", stranger, strangerKey, "peer-untrusted", "hasn't got a known issuer"},
			{"no certificate", nil, nil, "peer-no-certificate", "No certificate was found."},
		} {
			t.Run(tt.name, func(t *testing.T) {
				dir := libvirtDir(t, ca.cert, tt.cert, tt.key)
				got := g.Run(t, peertest.Options{}, "virsh", "-c",
					fmt.Sprintf("test+tls://localhost:%d/default?no_sanity=1&pkipath=%s", gw.Addr().(*net.TCPAddr).Port, dir), "list", "--name")
				if (got.Code == 0) != (tt.code == "") {
					t.Fatal(got)
				}
				if tt.code == "" {
					if !strings.Contains(got.Stdout, "test") {
						t.Error(got)
					}
					gw.log.await(t, "verdict=accepted", `dn="O=Example,CN=admin"`)
					return
				}
				gw.log.await(t, "verdict=refused", "code="+tt.code, tt.text, "mend=")
			})
		}
	})
}

// A virsh that is connected goes on when the gateway's certificate is renewed; the
// next one sees the new certificate.
func TestVirshWhileRenewed(t *testing.T) {
	ca := shared().ca
	etc := etcPKI(t, ca)
	cert, key := ca.issue(t, "admin", "rsa2048")
	dir := libvirtDir(t, ca.cert, cert, key)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := ca.dir(t, "localhost", "ec")
		daemon := plainLibvirtd(t, g, etc)
		h := holder(t, server, creds.Server)
		gw := run(t, Options{
			Protocol: Libvirt, Listen: Side{address(t, "tls://127.0.0.1:0"), h},
			Connect: Side{Address: address(t, "unix://"+daemon.Dir+"/libvirt-sock")},
		})
		uri := fmt.Sprintf("test+tls://localhost:%d/default?no_sanity=1&pkipath=%s", gw.Addr().(*net.TCPAddr).Port, dir)
		commands, stdin := io.Pipe()
		virsh := g.Start(t, peertest.Options{Stdin: commands}, peertest.Logged("running"), "virsh", "-c", uri)
		say := func(text string) {
			t.Helper()
			_, err := io.WriteString(stdin, text+"\n")
			must(t, err)
		}
		say("domstate test")
		virsh.Ready()
		old := h.Current().(*creds.X509).Identities[0].Chain[0]
		renewed := ca.renew(t, server, "localhost", "ec")
		must(t, h.Reload(t.Context()))
		say("suspend test")
		virsh.Until(peertest.Logged("suspended"))
		next, err := gw.open(t, ca.dir(t, "admin", "ec"))
		must(t, err)
		if got := next.State().PeerChain[0].SerialHex(); got != renewed.SerialHex() || got == old.SerialHex() {
			t.Errorf("the next connection sees %s, want %s", got, renewed.SerialHex())
		}
		next.Close()
		if got := g.Run(t, peertest.Options{}, "virsh", "-c", uri, "list", "--name"); got.Code != 0 {
			t.Error(got)
		}
		say("quit")
		must(t, stdin.Close())
		if got := virsh.Wait(); got.Code != 0 {
			t.Error(got)
		}
	})
}

// virsh without TLS reaches a daemon with TLS through a gateway, which waits for
// the daemon to confirm it.
func TestVirshToTLSLibvirtd(t *testing.T) {
	ca := shared().ca
	etc := etcPKI(t, ca)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		daemon := g.Libvirtd(t, peertest.Options{Mounts: map[string]string{"/etc/pki": etc}}, `tls_allowed_dn_list = ["O=Example,CN=admin"]`+"\n").Ready()
		for _, tt := range []struct{ name, cn, hostname, code string }{
			{"allowed", "admin", "", ""},
			{"refused by the daemon", "visitor", "", "libvirt-unconfirmed"},
			{"daemon of another name", "admin", "example.com", "peer-name-mismatch"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				sock := filepath.Join(peertest.SocketDir(t), "libvirt-sock")
				gw := run(t, Options{
					Protocol: Libvirt, Hostname: tt.hostname,
					Listen:  Side{Address: address(t, "unix://"+sock+"?mode=0666")},
					Connect: Side{address(t, fmt.Sprintf("tls://localhost:%d", daemon.Port)), holder(t, ca.dir(t, tt.cn, "rsa2048"), creds.Client)},
				})
				got := g.Run(t, peertest.Options{}, "virsh", "-c", "test+unix:///default?socket="+sock, "list", "--name")
				if (got.Code == 0) != (tt.code == "") {
					t.Fatal(got)
				}
				if tt.code == "" {
					gw.log.await(t, "verdict=accepted", "unix:pid=")
				} else {
					gw.log.await(t, "verdict=refused", "code="+tt.code, "mend=")
				}
			})
		}
	})
}
