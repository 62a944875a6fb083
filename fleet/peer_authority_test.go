package fleet

import (
	"os"
	"path/filepath"
	"testing"

	"virtls/ca"
	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
)

// A host that is known by its address, in its name or beside it.
func TestPeerAddress(t *testing.T) {
	c := staged(t, parse(t, `
organization: A
defaults: {platform: debian-12}
hosts: [{name: 127.0.0.1}, {name: kvm2.example.com, addresses: [127.0.0.1, "::1"]}]
clients: [{name: admin}]
`))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, host := range []string{"127.0.0.1", kvm2} {
			daemon := g.Libvirtd(t, c.on(c.host(host)), conf(t, c.host(host))).Ready()
			nbd := nbdServer(t, g, c, c.host(host), "tls-server").Ready()
			admin := visit{opts: c.as("admin"), dir: c.client("admin"), home: "/home/virtls", host: "127.0.0.1"}
			admin.nbd(t, g, nbd)
			wantResult(t, g.Run(t, admin.opts, "virsh", "-c", uri(t, admin.dir, "127.0.0.1", daemon.Port), "hostname"), "")
		}
	})
}

// An authority that was there before, trusted beside the new one: its clients
// go on. One that has expired is left out, for nothing would start with it.
func TestPeerTrust(t *testing.T) {
	old := staged(t, example(t))
	gone := newSite(t, parse(t, "organization: Gone\nauthority: {days: 30}"))
	gone.now = gone.clock().AddDate(-1, 0, 0)
	gone.apply(Options{})
	c := staged(t, example(t, "organization: Example Org\nauthority: {name: New CA, trust: ["+old.path("ca/ca-cert.pem")+", "+gone.path("ca/ca-cert.pem")+"]}"))
	result, _ := c.apply(Options{})
	check(t, "findings", codes(result.Findings), []string{"trust-expired"})
	client := c.copied(c.host(kvm2))
	for _, file := range []string{"qemu/client-cert.pem", "qemu/client-key.pem", "libvirt/clientcert.pem", "libvirt/private/clientkey.pem"} {
		put(t, client+"/etc/pki/"+file, old.host(kvm2, "etc/pki", file))
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		nbd := nbdServer(t, g, c, c.host(kvm1), "tls-server").Ready()
		visit{opts: c.on(client), dir: client}.nbd(t, g, nbd)
		daemon := g.Libvirtd(t, c.on(c.host(kvm1)), conf(t, c.host(kvm1))).Ready()
		visit{opts: c.on(client), dir: c.host(kvm2)}.virsh(t, g, daemon)
		acceptsAll(t, g, c)
	})
}

// An authority below another one: its chain reaches whoever needs it.
func TestPeerIntermediate(t *testing.T) {
	root := staged(t, parse(t, "organization: Root"))
	key, err := pki.ParsePrivateKeyPEM(read(t, root.path("ca/ca-key.pem")), nil)
	must(t, err)
	c := newSite(t, example(t))
	c.open(ca.Options{}, func(state *ca.State) {
		request, err := state.RequestAuthority(t.Context(), ca.AuthoritySpec{Subject: dn.New(dn.Attr(dn.CommonNameOID, "Below")), PathLen: 0})
		must(t, err)
		id, err := pki.KeyIDFor(request.PublicKey.Key)
		must(t, err)
		parent := root.cert("ca/ca-cert.pem")
		cert, err := pki.Sign(&pki.Spec{
			Serial: pki.NewSerial(), Subject: request.Subject, PublicKey: request.PublicKey.Key, NotBefore: parent.NotBefore, NotAfter: parent.NotAfter,
			Extensions: pki.Extensions{pki.BasicConstraints{CA: true, PathLen: 0}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true), pki.SubjectKeyIDExtension(id)},
		}, parent, signer(t, key), pki.SignatureAlgorithm{})
		must(t, err)
		_, err = state.InstallAuthority(t.Context(), ca.DefaultName, []*pki.Certificate{cert, parent}, nil)
		must(t, err)
	})
	c.apply(Options{})
	certs, err := pki.ParseCertificatesPEM(read(t, c.host(kvm1, "etc/pki/qemu/server-cert.pem")))
	must(t, err)
	check(t, "certificates in the server's file", len(certs), 2)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		acceptsAll(t, g, c)
		for _, stack := range stacks {
			server := stack.server(t, g, qemuParty(c.host(kvm1, "etc/pki/qemu"), "server"))
			wantResult(t, stack.client(t, g, qemuParty(c.host(kvm2, "etc/pki/qemu"), "client"), peertest.Options{Hosts: c.names()}, kvm1, portOf(server)), "")
		}
	})
	before := tree(t, c.dir)
	c.apply(Options{})
	check(t, "changed by another run", changes(before, tree(t, c.dir)), []string(nil))
	must(t, os.Remove(c.host(kvm1, "etc/pki/qemu/client-cert.pem")))
	c.apply(Options{})
	check(t, "a copy", string(read(t, c.host(kvm1, "etc/pki/qemu/client-cert.pem"))), string(read(t, filepath.Join(c.host(kvm1), "etc/pki/qemu/server-cert.pem"))))
}
