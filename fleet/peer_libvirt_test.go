package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// virsh visits libvirtd on kvm1.
func (v visit) virsh(t *testing.T, g peertest.Generation, server *peertest.Proc) {
	t.Helper()
	target := uri(t, v.dir, kvm1, server.Port)
	if v.host != "" {
		target = strings.Replace(target, kvm1, v.host, 1)
	}
	if v.extra != "" {
		target += "?" + v.extra
	}
	r := g.Run(t, v.opts, "virsh", "-c", target, "hostname")
	wantResult(t, r, v.refused)
}

// libvirtd on kvm1, and virsh on kvm2 and everywhere else.
func TestPeerLibvirt(t *testing.T) {
	c := newCast(t)
	server, client := c.host(kvm1), c.host(kvm2)
	admin, backup := c.client("admin"), c.client("backup")
	const (
		unwilling = "error: failed to connect to the hypervisor"
		untrusted = "Failed to verify peer's certificate"
	)
	visits := []visit{
		{name: "host", opts: c.on(client), dir: client},
		{name: "short name", opts: c.on(client), dir: client, host: "kvm1"},
		{name: "migration network", opts: c.on(client), dir: client, host: "kvm1-migration.example.com"},
		{name: "program", opts: c.on(backup), dir: backup},
		{name: "person", opts: c.as("admin"), dir: admin},
		{name: "pkipath", opts: peertest.Options{Hosts: c.names()}, dir: admin, extra: "pkipath=" + admin + "/.pki/libvirt"},
		{name: "wrong name", opts: c.on(client), dir: client, host: "other.example.com", refused: untrusted},
		{name: "foreign authority", opts: c.on(c.foreign.host(kvm2)), dir: client, refused: untrusted},
		{name: "foreign client", opts: c.on(c.trees["foreign client"]), dir: client, extra: "no_sanity=1", refused: unwilling, because: "The certificate hasn't got a known issuer"},
		{name: "foreign client's own check", opts: c.on(c.trees["foreign client"]), dir: client, refused: "/etc/pki/libvirt/clientcert.pem failed validation against"},
		{name: "revoked", opts: c.on(c.trees["revoked client"]), dir: client, refused: unwilling, because: "The certificate has been revoked"},
		{name: "expired", opts: c.on(c.trees["expired client"]), dir: client, extra: "no_sanity=1", refused: unwilling, because: "The certificate is not trusted"},
		{name: "expired client's own check", opts: c.on(c.trees["expired client"]), dir: client, refused: "The client certificate /etc/pki/libvirt/clientcert.pem has expired"},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		visitAll(t, g, g.Libvirtd(t, c.on(server), conf(t, server)).Ready(), visits, visit.virsh)
		t.Run("expired server", func(t *testing.T) {
			r := g.Libvirtd(t, c.on(c.trees["expired host"]), conf(t, server)).Refused()
			wantResult(t, r, "The server certificate /etc/pki/libvirt/servercert.pem has expired")
		})
	})
}

// The names of tls_allowed_dn_list: exactly those that the fleet file allows,
// whatever characters they have.
func TestPeerLibvirtNames(t *testing.T) {
	for name, organization := range map[string]string{"plain": "Example Org", "odd": `"#\"ACME\", 'Müller' & Söhne \\ <x;y>=+"`} {
		t.Run(name, func(t *testing.T) {
			c := staged(t, parse(t, "organization: "+organization+`
hosts:
  - {name: kvm1.example.com, platform: debian-12, allow: [kvm2.example.com, admin]}
  - {name: kvm2.example.com}
  - {name: kvm3.example.com}
clients: [{name: admin}, {name: admin2}]
`))
			refused, reason := "error: failed to connect to the hypervisor", "not on the list of allowed clients"
			visits := []visit{
				{name: "host", opts: c.on(c.host(kvm2)), dir: c.host(kvm2)},
				{name: "person", opts: c.as("admin"), dir: c.client("admin")},
				{name: "another host", opts: c.on(c.host("kvm3.example.com")), dir: c.host("kvm3.example.com"), refused: refused, because: reason},
				{name: "another person", opts: c.as("admin2"), dir: c.client("admin2"), refused: refused, because: reason},
			}
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				visitAll(t, g, g.Libvirtd(t, c.on(c.host(kvm1)), conf(t, c.host(kvm1))).Ready(), visits, visit.virsh)
			})
		})
	}
}

// Directories of their own: settings name them, and URIs.
func TestPeerLibvirtElsewhere(t *testing.T) {
	c := staged(t, parse(t, `
organization: A
defaults: {platform: debian-12, uses: {libvirt: {roles: both, dir: /srv/tls/libvirt}, qemu: {dir: /srv/tls/qemu}}}
hosts: [{name: kvm1.example.com}, {name: kvm2.example.com}, {name: kvm3.example.com, uses: [qemu]}]
`))
	at := func(host string) peertest.Options {
		return peertest.Options{Mounts: map[string]string{"/srv/tls": c.host(host, "srv/tls")}, Hosts: c.names()}
	}
	revoked := c.copied(c.host(kvm2))
	c.revoke(revoked + "/srv/tls/libvirt/clientcert.pem")
	c.apply(Options{})
	visits := []visit{
		{name: "host", opts: at(kvm2), dir: c.host(kvm2)},
		{name: "revoked", opts: peertest.Options{Mounts: map[string]string{"/srv/tls": filepath.Join(revoked, "srv/tls")}, Hosts: c.names()}, dir: c.host(kvm2),
			refused: "error: failed to connect to the hypervisor", because: "The certificate has been revoked"},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		visitAll(t, g, g.Libvirtd(t, at(kvm1), conf(t, c.host(kvm1))).Ready(), visits, visit.virsh)
		server, client := objects(t, c.host(kvm1), "")["tls-server"], objects(t, c.host(kvm2), "")["tls-client"]
		nbd := g.QemuNBD(t, at(kvm1), "--object", server, "--tls-creds=tls-server", "--read-only", "--format=raw", imageFile(t)).Ready()
		wantResult(t, g.Run(t, at(kvm2), "qemu-img", "info", "--object", client, "--image-opts",
			"driver=nbd,host=kvm1.example.com,tls-creds=tls-client,port="+portOf(nbd)), "")
	})
}

// What a renewal stages is served after server-update-tls, without a restart.
func TestPeerLibvirtRenewal(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		c := staged(t, example(t))
		dir := c.host(kvm1)
		server := g.Libvirtd(t, c.on(dir), conf(t, dir)).Ready()
		serial := func() string {
			r := g.Run(t, peertest.Options{Dir: dir, Mounts: c.on(dir).Mounts}, "gnutls-cli", "--insecure", "--print-cert", "--port="+portOf(server), "localhost")
			cert := filepath.Join(t.TempDir(), "served.pem")
			must(t, os.WriteFile(cert, []byte(r.Stdout), 0o600))
			return c.cert(cert).SerialHex()
		}
		first := c.cert("hosts/" + kvm1 + "/etc/pki/libvirt/servercert.pem").SerialHex()
		check(t, "served at first", serial(), first)
		for _, opts := range []Options{{Renew: true}, {Renew: true, Rekey: true}} {
			c.apply(opts)
			wantResult(t, g.Run(t, peertest.Options{}, "virt-admin", "-c", "libvirtd+unix:///system?socket="+server.Dir+"/libvirt-admin-sock", "server-update-tls", "libvirtd"), "")
			check(t, "served afterwards", serial(), c.cert("hosts/"+kvm1+"/etc/pki/libvirt/servercert.pem").SerialHex())
			visit{opts: c.on(c.host(kvm2)), dir: c.host(kvm2)}.virsh(t, g, server)
		}
		if c.cert("hosts/"+kvm1+"/etc/pki/libvirt/servercert.pem").SerialHex() == first {
			t.Error("nothing was renewed")
		}
	})
}
