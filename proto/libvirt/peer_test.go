package libvirt

import (
	"context"
	"crypto"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/pki"
	"virtls/pki/dn"
	"virtls/session"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sign(t testing.TB, name string, issuer *pki.Certificate, issuerKey crypto.Signer, x pki.Extensions) (*pki.Certificate, crypto.Signer) {
	t.Helper()
	spec, err := pki.ParseKeySpec("p256")
	must(t, err)
	key, err := pki.GenerateSigner(spec)
	must(t, err)
	if issuerKey == nil {
		issuerKey = key
	}
	c, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.CommonNameOID, name)), PublicKey: key.Public(),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Extensions: x,
	}, issuer, issuerKey, pki.SignatureAlgorithm{})
	must(t, err)
	return c, key
}

// pkiDir writes the files of a server and of a client that trust each other, by
// libvirt's flat names.
func pkiDir(t testing.TB) string {
	t.Helper()
	ca, caKey := sign(t, "Test CA", nil, nil, pki.Extensions{pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true)})
	names := pki.GeneralNames{pki.DNSName("localhost"), pki.IPAddress(netip.MustParseAddr("127.0.0.1"))}
	leaf := pki.Extensions{pki.BasicConstraints{}.Extension(), (pki.DigitalSignature | pki.KeyEncipherment).Extension(true), names.Extension()}
	dir := t.TempDir()
	write := func(name string, data []byte) { must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600)) }
	write("cacert.pem", ca.PEM())
	for _, end := range []string{"server", "client"} {
		c, key := sign(t, end, ca, caKey, leaf)
		pem, err := pki.EncodePrivateKeyPEM(key.(pki.PrivateKey), pki.MLDSABoth)
		must(t, err)
		write(end+"cert.pem", c.PEM())
		write(end+"key.pem", pem)
	}
	return dir
}

// confOf names the files of a directory in libvirtd.conf.
func confOf(dir string) string {
	return fmt.Sprintf("ca_file = %q\ncert_file = %q\nkey_file = %q\n", dir+"/cacert.pem", dir+"/servercert.pem", dir+"/serverkey.pem")
}

// A real server confirms a client and answers it.
func TestPeerClient(t *testing.T) {
	dir := pkiDir(t)
	want := map[string]string{"host": "9.0.", "trixie": "11.3.", "forky": "12."}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		server := g.Libvirtd(t, peertest.Options{}, confOf(dir)).Ready()
		u, err := ParseURI(fmt.Sprintf("test+tls://localhost:%d/default?pkipath=%s", server.Port, dir))
		must(t, err)
		x, findings, err := u.Credentials(Machine{})
		must(t, err)
		if finding.Worst(findings) == finding.Error {
			t.Error(findings)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		nc, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(u.Port)))
		must(t, err)
		defer nc.Close()
		s, err := session.Open(ctx, nc, session.Options{Credentials: x, Hostname: u.Host, Rules: session.Libvirt})
		must(t, err)
		must(t, AwaitConfirmation(ctx, s))
		c := NewClient(s)
		auth, err := c.AuthList(ctx)
		must(t, err)
		if len(auth) != 1 || auth[0] != AuthNone {
			t.Errorf("authentication %v", auth)
		}
		err = c.Open(ctx, "nosuch:///", false)
		if remote, ok := err.(*RemoteError); !ok || remote.Message == "" {
			t.Errorf("a driver that is not there: %v", err)
		}
		must(t, c.Open(ctx, u.Remote(), true))
		if name, err := c.Hostname(ctx); err != nil || name != "peer" {
			t.Errorf("host name %q, %v", name, err)
		}
		if v, err := c.LibVersion(ctx); err != nil || v.String()[:len(want[g.Name])] != want[g.Name] {
			t.Errorf("version %s, %v", v, err)
		}
		must(t, c.Close(ctx))
	})
}

// The files of a URI are those that libvirt's client takes.
func TestCredentials(t *testing.T) {
	dir := pkiDir(t)
	root, home := t.TempDir(), "/home/u"
	must(t, os.MkdirAll(filepath.Join(root, home, ".pki"), 0o755))
	must(t, os.CopyFS(filepath.Join(root, home, ".pki/libvirt"), os.DirFS(dir)))
	user := Machine{View: layout.Root(root), Account: layout.Account{UID: 1000, Home: home}}
	for _, tt := range []struct {
		name, uri  string
		machine    Machine
		identities int
		code       string // of the error
	}{
		{"pkipath", "qemu://h/system?pkipath=" + dir, Machine{}, 1, ""},
		{"home", "qemu://h/system", user, 1, ""},
		{"root reads the system's", "qemu://h/system", Machine{View: layout.Root(root), Account: layout.Account{Home: home}}, 0, "credential-missing"},
		{"nothing to trust, nobody to verify", "qemu://h/system?no_verify=1&pkipath=/nonexistent", Machine{}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := ParseURI(tt.uri)
			must(t, err)
			x, findings, err := u.Credentials(tt.machine)
			if tt.code != "" {
				if err == nil || finding.Of(err).Code != tt.code {
					t.Fatalf("got %v, want %s", err, tt.code)
				}
				return
			}
			must(t, err)
			if len(x.Identities) != tt.identities || x.Endpoint() != creds.Client || x.VerifyPeer() == u.NoVerify {
				t.Errorf("%d identities, %s, %v; %v", len(x.Identities), x.Endpoint(), x.VerifyPeer(), findings)
			}
		})
	}
}
