package fleet

import (
	"fmt"
	"os"
	"testing"

	"virtls/internal/peertest"
	"virtls/pki"
)

// resigned replaces a certificate by one that says the same, with its extended
// key usage critical or not.
func (s *site) resigned(path string, critical bool) {
	s.t.Helper()
	key, err := pki.ParsePrivateKeyPEM(read(s.t, s.path("ca/ca-key.pem")), nil)
	must(s.t, err)
	old := s.cert(path)
	spec := pki.Spec{Serial: pki.NewSerial(), Subject: old.Subject, PublicKey: old.PublicKey.Key, NotBefore: old.NotBefore, NotAfter: old.NotAfter}
	spec.Extensions = append(spec.Extensions, old.Extensions...)
	for i := range spec.Extensions {
		if spec.Extensions[i].OID.Equal(pki.OIDExtKeyUsage) {
			spec.Extensions[i].Critical = critical
		}
	}
	c, err := pki.Sign(&spec, s.cert("ca/ca-cert.pem"), signer(s.t, key), pki.SignatureAlgorithm{})
	must(s.t, err)
	must(s.t, os.WriteFile(path, c.PEM(), 0o644))
}

// Certificates in the wrong role. The extended key usage decides, and QEMU and
// libvirt mind it only if it is critical: QEMU when it checks its own files,
// never in a session; libvirt in both.
func TestPeerWrongRole(t *testing.T) {
	c := newCast(t)
	for _, critical := range []bool{false, true} {
		dir := c.swapped()
		for _, f := range []string{"qemu/server-cert.pem", "qemu/client-cert.pem", "libvirt/servercert.pem", "libvirt/clientcert.pem"} {
			c.resigned(dir+"/etc/pki/"+f, critical)
		}
		t.Run(fmt.Sprintf("critical %t", critical), func(t *testing.T) {
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				if !critical && g != peertest.Host && !full() {
					t.Skip("what is not critical is let pass by every generation alike: VIRTLS_INTEROP=full asks this one, too")
				}
				t.Run("qemu", func(t *testing.T) { t.Parallel(); c.wrongRoleQemu(t, g, dir, critical) })
				t.Run("libvirt", func(t *testing.T) { t.Parallel(); c.wrongRoleLibvirt(t, g, dir, critical) })
			})
		})
	}
}

// when returns a text that is wanted only then.
func when(critical bool, s string) string {
	if critical {
		return s
	}
	return ""
}

func (c *cast) wrongRoleQemu(t *testing.T, g peertest.Generation, dir string, critical bool) {
	right := nbdServer(t, g, c.site, c.host(kvm1), "tls-server").Ready()
	wrong := g.QemuNBD(t, c.on(dir), "--object", objects(t, dir, "")["tls-server"]+",sanity-check=off", "--tls-creds=tls-server",
		"--read-only", "--format=raw", imageFile(t)).Ready()
	visit{opts: c.on(c.host(kvm2)), dir: c.host(kvm2), host: split}.nbd(t, g, wrong)
	visit{opts: c.on(dir), dir: dir, extra: ",sanity-check=off"}.nbd(t, g, right)
	visit{opts: c.on(dir), dir: dir, refused: when(critical, "/etc/pki/qemu/client-cert.pem purpose does not allow use with a TLS client")}.nbd(t, g, right)
	if server := nbdServer(t, g, c.site, dir, "tls-server"); critical {
		wantResult(t, server.Refused(), "/etc/pki/qemu/server-cert.pem purpose does not allow use with a TLS server")
	} else {
		server.Ready()
	}
}

func (c *cast) wrongRoleLibvirt(t *testing.T, g peertest.Generation, dir string, critical bool) {
	right := g.Libvirtd(t, c.on(c.host(kvm1)), conf(t, c.host(kvm1))).Ready()
	wrong := g.Libvirtd(t, c.on(dir), "tls_no_sanity_certificate = 1\n"+conf(t, dir)).Ready()
	r := g.Run(t, c.on(c.host(kvm2)), "virsh", "-c", uri(t, c.host(kvm2), split, wrong.Port), "hostname")
	wantResult(t, r, when(critical, "Failed to verify peer's certificate"))
	visit{opts: c.on(dir), dir: c.host(kvm2), extra: "no_sanity=1", refused: when(critical, "error: failed to connect to the hypervisor")}.virsh(t, g, right)
	right.Until(peertest.Logged("Certificate [session] purpose does not allow use for with a TLS client"))
	visit{opts: c.on(dir), dir: c.host(kvm2), refused: when(critical, "/etc/pki/libvirt/clientcert.pem purpose does not allow use for with a TLS client")}.virsh(t, g, right)
	if server := g.Libvirtd(t, c.on(dir), conf(t, dir)); critical {
		wantResult(t, server.Refused(), "/etc/pki/libvirt/servercert.pem purpose does not allow use for with a TLS server")
	} else {
		server.Ready()
	}
}
