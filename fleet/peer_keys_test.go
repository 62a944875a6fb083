package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/pki"
)

// Fleets of every type of key, with the oldest and the newest programs at least.
func TestPeerKeyTypes(t *testing.T) {
	keys := []string{"rsa2048", "p384", "ed25519"}
	if full() {
		keys = append(keys, "ec", "p521", "rsa3072", "rsa4096")
	}
	for _, key := range keys {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			c := staged(t, example(t, "platform: debian-12\n  key: "+key, "organization: Example Org\nauthority: {key: "+key+"}"))
			spec, err := pki.ParseKeySpec(key)
			must(t, err)
			check(t, "key of the authority", pki.KeySpecOf(c.cert("ca/ca-cert.pem").PublicKey.Key), spec)
			check(t, "key of the host", pki.KeySpecOf(c.cert(c.host(kvm1, "etc/pki/libvirt/servercert.pem")).PublicKey.Key), spec)
			for _, g := range peertest.All {
				if g == peertest.Trixie && !full() {
					continue
				}
				t.Run(g.Name, func(t *testing.T) {
					g.Need(t)
					acceptsAll(t, g, c)
				})
			}
		})
	}
}

// acceptsAll has QEMU and libvirt on kvm1 used from kvm2 and by the administrator.
func acceptsAll(t *testing.T, g peertest.Generation, c *site) {
	t.Helper()
	host, admin := c.host(kvm2), c.client("admin")
	nbd := nbdServer(t, g, c, c.host(kvm1), "tls-server").Ready()
	visit{opts: c.on(host), dir: host}.nbd(t, g, nbd)
	visit{opts: c.as("admin"), dir: admin, home: "/home/virtls"}.nbd(t, g, nbd)
	daemon := g.Libvirtd(t, c.on(c.host(kvm1)), conf(t, c.host(kvm1))).Ready()
	visit{opts: c.on(host), dir: host}.virsh(t, g, daemon)
	visit{opts: c.as("admin"), dir: admin}.virsh(t, g, daemon)
}

// hybridFile is a hybrid fleet of Debian hosts, whose GnuTLS cannot load
// ML-DSA, and one whose GnuTLS can.
func hybridFile(t *testing.T, platform string) *File {
	t.Helper()
	return parse(t, `
organization: Example Org
pqc: hybrid
defaults: {platform: `+platform+`}
hosts:
  - name: kvm1.example.com
  - name: kvm2.example.com
  - {name: pq.example.com, ml-dsa: true, gnutls: 3.8.13, qemu: 11.1, libvirt: 12.8}
clients: [{name: admin}]
`)
}

var platformOf = map[peertest.Generation]string{peertest.Host: "debian-12", peertest.Trixie: "debian-13", peertest.Forky: "debian-forky"}

// Debian's hosts in a hybrid fleet go on as before.
func TestPeerHybridDebian(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		acceptsAll(t, g, staged(t, hybridFile(t, platformOf[g])))
	})
}

// priorities returns what is printed for a holder: every priority string of its
// activation files, and whether they are in force.
func priorities(t *testing.T, dir string) (list []string, inForce bool) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, activationDir, "*"))
	must(t, err)
	for _, name := range names {
		for line := range strings.Lines(string(read(t, name))) {
			if !strings.Contains(line, "SIGN-ML-DSA") {
				continue
			}
			inForce = inForce || !strings.HasPrefix(line, "#")
			start := strings.Index(line, "NORMAL:")
			if at := strings.Index(line, "@SYSTEM:"); at >= 0 {
				start = at
			}
			text := line[start:]
			if end := strings.IndexAny(text, "\",\n"); end >= 0 {
				text = text[:end]
			}
			list = append(list, text)
		}
	}
	return list, inForce
}

// The priority strings printed for a host are valid for its GnuTLS, and are in
// force where that offers ML-DSA.
func TestPeerPriorities(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		c := staged(t, hybridFile(t, platformOf[g]))
		signatures := func(priority string) string {
			r := g.Run(t, peertest.Options{}, "gnutls-cli", "--list", "--priority="+priority)
			wantResult(t, r, "")
			_, list, _ := strings.Cut(r.Stdout, "PK-signatures: ")
			return list
		}
		offers := strings.Contains(signatures("NORMAL"), "SIGN-ML-DSA")
		list, inForce := priorities(t, c.host(kvm1))
		check(t, "in force", inForce, offers)
		if known := g.Version(t, peertest.GnuTLS).AtLeast("3.8.10"); known != (len(list) > 0) {
			t.Errorf("priority strings %q", list)
		}
		// A person's GnuTLS is not known; the string is offered to those it is for.
		persons, inForce := priorities(t, c.client("admin"))
		check(t, "in force for a person", inForce, false)
		if offers {
			list = append(list, persons...)
		}
		for _, p := range list {
			if list := signatures(p); strings.Contains(list, "ML-DSA") || !strings.Contains(list, "SIGN-ECDSA-SHA256") {
				t.Errorf("priority %q gives %s", p, list)
			}
		}
		signatures(pskPriority)
	})
}

// opensslHybrid starts OpenSSL with both identities of a hybrid host.
func opensslHybrid(t *testing.T, g peertest.Generation, dir string) *peertest.Proc {
	t.Helper()
	q := dir + "/etc/pki/qemu/"
	return g.OpensslSServer(t, peertest.Options{}, "-CAfile", q+"ca-cert.pem", "-cert", q+"server-cert.pem", "-key", q+"server-key.pem",
		"-dcert", q+"server-cert-0.pem", "-dkey", q+"server-key-0.pem", "-Verify", "1", "-verify_return_error").Ready()
}

// Debian's GnuTLS 3.8.13 offers ML-DSA and cannot verify it. What is printed
// for such a host mends that, in GnuTLS's own client, in QEMU's and in libvirt's.
func TestPeerPriorityMends(t *testing.T) {
	g := peertest.Forky
	g.Need(t)
	c := staged(t, hybridFile(t, platformOf[g]))
	server := opensslHybrid(t, g, c.host("pq.example.com"))
	q := c.host(kvm1, "etc/pki/qemu/")
	connect := func(priority string) peertest.Result {
		return g.Run(t, peertest.Options{Hosts: c.names()}, "gnutls-cli", "--port="+portOf(server), "--priority="+priority,
			"--x509cafile="+q+"/ca-cert.pem", "--x509certfile="+q+"/client-cert.pem", "--x509keyfile="+q+"/client-key.pem", "pq.example.com")
	}
	wantResult(t, connect("NORMAL"), "Public key signature verification has failed")
	list, _ := priorities(t, c.host(kvm1))
	for _, p := range list {
		wantResult(t, connect(p), "")
	}

	// A libvirt client gets through the handshake, which is all that OpenSSL can do for it.
	settings := filepath.Join(t.TempDir(), "libvirt")
	must(t, os.Mkdir(settings, 0o755))
	put(t, settings+"/libvirt.conf", c.host(kvm1, activationDir, "libvirt.conf"))
	server = opensslHybrid(t, g, c.host("pq.example.com"))
	target := fmt.Sprintf("test+tls://pq.example.com:%d/default", server.Port)
	o := c.on(c.host(kvm1))
	wantResult(t, g.Run(t, o, "virsh", "-c", target, "hostname"), "Public key signature verification has failed")
	o.Mounts["/etc/libvirt"] = settings
	g.Start(t, o, peertest.Condition{}, "virsh", "-c", target, "hostname")
	server.Until(peertest.Logged("CIPHER is TLS_"))
}

// What is staged for hosts with ML-DSA, in the hands of those that have it.
func TestPeerMLDSA(t *testing.T) {
	node := peertest.Node(t)
	for _, pqc := range []PQC{PQCHybrid, PQCExclusive} {
		t.Run(string(pqc), func(t *testing.T) {
			text := `
organization: Example Org
pqc: ` + string(pqc) + `
defaults: {platform: fedora}
hosts:
  - {name: kvm1.example.com, ml-dsa: true, gnutls: 3.8.13, qemu: 11.1, libvirt: 12.8}
  - {name: kvm2.example.com, ml-dsa: true, gnutls: 3.8.13, qemu: 11.1, libvirt: 12.8, uses: {qemu: [server, client], libvirt: both}}
clients: [{name: admin, ml-dsa: true}]
`
			c := newSite(t, parse(t, text))
			c.now = c.clock().AddDate(-2, 0, 0)
			c.apply(Options{})
			expiredServer, expiredClient := c.copied(c.host(kvm1)), c.copied(c.host(kvm2))
			c.now = c.now.AddDate(2, 0, 0)
			c.apply(Options{})
			revoked := c.copied(c.host(kvm2))
			c.revoke(revoked + "/etc/pki/qemu/client-cert.pem")
			c.apply(Options{})
			foreign := staged(t, c.file)
			good := qemuParty(c.host(kvm2, "etc/pki/qemu"), "client")
			client := func(dir, role string) party {
				p := qemuParty(dir+"/etc/pki/qemu", role)
				p.ca, p.crl = good.ca, good.crl
				return p
			}
			server := qemuParty(c.host(kvm1, "etc/pki/qemu"), "server")
			check(t, "server's key", c.cert(server.cert).PublicKey.Algorithm.IsMLDSA(), true)
			visits := []pqVisit{
				{name: "host", server: server, client: good},
				{name: "person", server: server, client: qemuParty(c.client("admin", ".pki/qemu"), "client")},
				{name: "wrong name", server: server, client: good, host: "other.example.com", by: "client"},
				{name: "foreign client", server: server, client: client(foreign.host(kvm2), "client"), by: "server"},
				{name: "expired client", server: server, client: client(expiredClient, "client"), by: "server"},
				{name: "revoked client", server: server, client: client(revoked, "client"), by: "server"},
				{name: "client in the wrong role", server: server, client: client(c.host(kvm2), "server"), by: "server"},
				{name: "foreign server", server: qemuParty(foreign.host(kvm1)+"/etc/pki/qemu", "server"), client: good, by: "client"},
				{name: "expired server", server: client(expiredServer, "server"), client: good, by: "client"},
				{name: "server in the wrong role", server: client(c.host(kvm2), "client"), client: good, host: kvm2, by: "client"},
			}
			if pqc == PQCHybrid {
				second := func(p party) party {
					p.cert, p.key = strings.Replace(p.cert, "cert.pem", "cert-0.pem", 1), strings.Replace(p.key, "key.pem", "key-0.pem", 1)
					return p
				}
				visits = append(visits,
					pqVisit{name: "classical host", server: second(server), client: second(good)},
					pqVisit{name: "mixed", server: server, client: second(good)},
				)
			}
			for _, g := range []peertest.Generation{peertest.Trixie, peertest.Forky} {
				if g == peertest.Forky && pqc == PQCExclusive && !full() {
					continue // OpenSSL 3.6 as 3.5, with the certificates it gets in the hybrid fleet
				}
				t.Run(g.Name, func(t *testing.T) {
					g.Need(t)
					for _, v := range visits {
						t.Run(v.name, func(t *testing.T) {
							t.Parallel()
							v.openssl(t, g, c.names())
							if g == peertest.Trixie {
								v.node(t, node)
							}
						})
					}
				})
			}
		})
	}
}
