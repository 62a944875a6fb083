package validate

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
)

// TestSuperset has virt-pki-validate 12.8 look at what it finds nothing wrong
// with (its check of the own certificate looks at none) and we do.
func TestSuperset(t *testing.T) {
	g := peertest.Forky
	g.Need(t)
	c := newCast(t)
	const hostname = "host1.example.com"
	good := func(more layer) layer {
		f := layer{}.put(t, libvirtAt, bundle(c.root), layout.Server, c.server)
		maps.Copy(f, more)
		return f
	}
	servercert, serverkey := libvirtAt.Cert(layout.Server, layout.NoIndex), libvirtAt.Key(layout.Server, layout.NoIndex)
	cases := []struct {
		name  string
		files layer
		conf  string
		code  string
	}{
		{"good", good(nil), "", ""},
		{"expired server certificate", good(layer{servercert: bundle(c.oldServer), serverkey: c.oldServer.keyPEM(t)}), "", "cert-expired"},
		{"client certificate as a server's", good(layer{servercert: bundle(clientOf(t, c)), serverkey: clientOf(t, c).keyPEM(t)}), "", "cert-purpose"},
		{"key of another certificate", good(layer{serverkey: c.client.keyPEM(t)}), "", "private-key-mismatch"},
		{"broken servercert0 beside a good plain one", good(layer{
			libvirtAt.Cert(layout.Server, 0): []byte("broken\n"), libvirtAt.Key(layout.Server, 0): c.server.keyPEM(t)}), "", "cert-malformed"},
		{"crl_file without ca_file", good(layer{"/etc/pki/CA/revoked.pem": crlOf(t, c.root, day)}), "crl_file = \"/etc/pki/CA/revoked.pem\"\n", "conf-crl-ignored"},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			if tt.conf != "" {
				tt.files[layout.LibvirtdConf] = []byte(tt.conf)
			}
			root := tt.files.write(t)
			peer := g.Run(t, peertest.Options{Mounts: map[string]string{"/etc/pki": filepath.Join(root, "etc/pki")}, Hostname: hostname}, "virt-pki-validate", "server")
			if peer.Code != 0 || strings.Contains(peer.Stdout, "FAIL") || strings.Contains(peer.Stdout, "WARN") {
				t.Errorf("the real one has found something: %v", peer)
			}
			r, err := Dir(t.Context(), root, Options{})
			if err != nil {
				t.Fatal(err)
			}
			switch got := codes(r); {
			case tt.code == "" && got != nil:
				t.Error(r.Findings)
			case tt.code != "" && !slices.Contains(got, "error "+tt.code):
				t.Errorf("no %s: %v", tt.code, r.Findings)
			}
		})
	}
}

// clientOf makes a client's certificate that has the server's name, which
// virt-pki-validate compares.
func clientOf(t *testing.T, c *cast) *cert {
	t.Helper()
	return leaf(t, c.root, layout.Client)
}
