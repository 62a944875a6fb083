package creds

import (
	"strings"
	"testing"

	"virtls/finding"
	"virtls/pki"
)

func TestConsumerFor(t *testing.T) {
	tests := []struct{ name, version, want string }{
		{QEMUServer, "", "11.1"},
		{QEMUServer, "7.2", "7.2"},
		{QEMUServer, "7.2.0", "7.2"},
		{QEMUServer, "7.2.21", "7.2"},
		{QEMUServer, "7.2.22", "7.2.22"},
		{QEMUServer, "7.2.30", "7.2.22"},
		{QEMUClient, "1:7.2+dfsg-7+deb12u18+b3", "7.2.22"},
		{QEMUClient, "1:7.2+dfsg-7+deb12u13", "7.2"},
		{QEMUClient, "8.0", "7.2"}, // no backport of another branch
		{QEMUClient, "9.2.4", "7.2"},
		{QEMUClient, "10.0", "10.0"},
		{QEMUClient, "10.0.6", "10.0"},
		{QEMUClient, "1:10.0.13+ds-0+deb13u1", "10.0.7"},
		{QEMUClient, "10.1.0", "10.0"},
		{QEMUClient, "10.2.2", "10.2"},
		{QEMUClient, "11.0.2", "10.2"},
		{QEMUClient, "1:11.1.2+ds-3", "11.1"},
		{QEMUClient, "42", "11.1"},
		{LibvirtServer, "9.0.0-4+deb12u2", "9.0"},
		{LibvirtServer, "10.5", "9.0"},
		{LibvirtServer, "11.3", "11.3"},
		{LibvirtServer, "11.3.0", "11.3"},
		{LibvirtServer, "11.3.0-3", "11.3"},
		{LibvirtServer, "11.3.0-3+deb13u2", "11.3"},
		{LibvirtServer, "11.3.0-3+deb13u3", "11.3-3+deb13u3"},
		{LibvirtServer, "11.3-3+deb13u3", "11.3-3+deb13u3"},
		{LibvirtServer, "11.3.0-3+deb13u10~bpo1", "11.3-3+deb13u3"},
		{LibvirtServer, "11.3.0-5.el10", "11.3"}, // somebody else's package
		{LibvirtServer, "11.4.0-1", "11.3"},
		{LibvirtServer, "11.5.0", "11.5"},
		{LibvirtServer, "11.9", "11.6"},
		{LibvirtServer, "11.10", "11.10"},
		{LibvirtClient, "12.8.0-1", "12.8"},
	}
	for _, test := range tests {
		c, err := ConsumerFor(test.name, test.version)
		if err != nil || c.Version != test.want || c.Name != test.name {
			t.Errorf("%s %q is %s %q, %v; want %q", test.name, test.version, c.Name, c.Version, err, test.want)
		}
	}
	errors := []struct {
		name, version string
		kind          *finding.Kind
	}{
		{"qemu", "7.2", kindConsumer},
		{"", "", kindConsumer},
		{QEMUServer, "6.2", kindVersion},
		{QEMUServer, "newest", kindVersion},
		{QEMUServer, "99999999999999999999", kindVersion},
		{LibvirtClient, "8.0", kindVersion},
	}
	for _, test := range errors {
		if c, err := ConsumerFor(test.name, test.version); err == nil || finding.Of(err).Code != test.kind.Code {
			t.Errorf("%s %q is %s, %v; want %s", test.name, test.version, c, err, test.kind.Code)
		}
	}
}

func TestConsumers(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Consumers() {
		again, err := ConsumerFor(c.Name, c.Version)
		if err != nil || again != c {
			t.Errorf("%s %s is found as %+v, %v", c.Name, c.Version, again, err)
		}
		if (c.Endpoint == Server) != (c.Name == QEMUServer || c.Name == LibvirtServer) {
			t.Errorf("%s is at the wrong end", c.Name)
		}
		seen[c.Name] = true
	}
	if len(seen) != len(ConsumerNames()) {
		t.Errorf("rows for %v", seen)
	}
}

// What distinguishes the rows, by their sources. Of some of them no build can
// be had to ask.
func TestRows(t *testing.T) {
	w := theWorld()
	expired := w.good().with("ca", pemOf(w.root, w.old))
	ownChain := usual(w.root, w.deep).with("cert", pemOf(w.deep, w.inter))
	anchorOnly := usual(w.inter, w.deep)
	broken := w.good().with("cert0", pemOf(w.rsa)).with("key0", keyOf(w.leaf))
	halfPair := w.good().with("key", nil)
	ec := usual(w.root, mold{cn: "localhost", usage: usage(pki.DigitalSignature)}.by(w.root))
	ed := usual(w.root, mold{cn: "localhost", usage: usage(pki.DigitalSignature), key: newKey("ed25519")}.by(w.root))
	rsa := usual(w.root, w.rsa)
	tests := []struct {
		source  string
		files   files
		version map[string]string // of a consumer, to the code with which it refuses
	}{
		{"key encipherment of EC keys: QEMU stable 7.2.22, 10.0.7, 10.2", ec, map[string]string{
			"qemu-server 7.2": "cert-usage-encipherment", "qemu-server 7.2.22": "",
			"qemu-server 10.0": "cert-usage-encipherment", "qemu-server 10.0.7": "", "qemu-server 10.2": "", "qemu-client 11.1": ""}},
		{"key encipherment of EC keys: libvirt 11867b0224a2 in 11.5, Debian bug 1110816", ec, map[string]string{
			"libvirt-server 9.0": "cert-usage-encipherment", "libvirt-client 11.3": "cert-usage-encipherment",
			"libvirt-server 11.3-3+deb13u3": "", "libvirt-server 11.4": "cert-usage-encipherment",
			"libvirt-server 11.5": "", "libvirt-client 11.6": ""}},
		{"key encipherment of RSA keys: libvirt 8cecd3249e5f in 11.6", rsa, map[string]string{
			"libvirt-server 9.0": "cert-usage-encipherment", "libvirt-server 11.3-3+deb13u3": "",
			"libvirt-server 11.5": "cert-usage-encipherment", "libvirt-client 11.5": "cert-usage-encipherment", "libvirt-server 11.6": ""}},
		{"key encipherment of Ed25519 keys: not among the exceptions of libvirt 11867b0224a2", ed, map[string]string{
			"libvirt-server 11.5": "cert-usage-encipherment", "libvirt-server 11.6": "", "qemu-server 7.2": "cert-usage-encipherment"}},
		{"authorities that nobody needs: QEMU 10.2 judges the own chain alone", expired, map[string]string{
			"qemu-server 10.0.7": "anchor-expired", "qemu-server 10.2": "", "libvirt-server 12.8": "anchor-expired"}},
		{"intermediates in the own file: QEMU 10.2, not libvirt", ownChain, map[string]string{
			"qemu-client 10.0": "chain-unknown-issuer", "qemu-client 10.2": "", "libvirt-client 12.8": "chain-unknown-issuer"}},
		{"an intermediate as anchor: QEMU 10.2 wants a root", anchorOnly, map[string]string{
			"qemu-server 10.0.7": "", "qemu-server 10.2": "chain-incomplete", "libvirt-server 12.8": ""}},
		{"parallel identities: QEMU 10.2, libvirt 11.10", broken, map[string]string{
			"qemu-server 10.0.7": "", "qemu-server 10.2": "private-key-mismatch",
			"libvirt-server 11.6": "", "libvirt-server 11.10": "private-key-mismatch"}},
		{"half a pair: QEMU 10.2, libvirt 11.10", halfPair, map[string]string{
			"qemu-client 10.0.7": "", "qemu-client 10.2": "pair-incomplete",
			"libvirt-client 11.6": "", "libvirt-client 11.10": "pair-incomplete", "libvirt-server 9.0": "credential-missing"}},
	}
	for _, test := range tests {
		for consumer, want := range test.version {
			name, version, _ := strings.Cut(consumer, " ")
			c, err := ConsumerFor(name, version)
			if err != nil {
				t.Fatal(err)
			}
			root, names := test.files.place(t, c)
			got := ""
			if p := c.Judge(names, JudgeOptions{Root: root, Now: testNow}).Refused(); p != nil {
				got = p.Finding.Code
			}
			if got != want {
				t.Errorf("%s: %s says %q, want %q", test.source, consumer, got, want)
			}
		}
	}
}
