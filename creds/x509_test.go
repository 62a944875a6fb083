package creds

import (
	"encoding/asn1"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/pki"
	"virtls/pki/dn"
)

// dirOf places files as QEMU has them and returns the directory.
func dirOf(t testing.TB, f files, e Endpoint) string {
	t.Helper()
	root, names := f.place(t, ourselves(e))
	return filepath.Join(root, names.Dir)
}

func TestLoadX509(t *testing.T) {
	w := theWorld()
	all := usual(w.root, w.deep).with("ca", pemOf(w.root, w.other)).with("cert", pemOf(w.deep, w.inter)).
		with("cert0", pemOf(w.rsa)).with("key0", keyOf(w.rsa)).
		with("crl", w.crl(w.root, testNow.Add(day)).PEM()).with("dh", testDH)
	dir := dirOf(t, all, Server)
	x, warnings, err := LoadX509(X509Options{Dir: dir, Endpoint: Server, NoVerifyPeer: true, Priority: "NORMAL", Password: []byte("secret"), Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"warning dh-params-deprecated"}, severities(warnings)); diff != "" {
		t.Error(diff)
	}
	if x.Type() != "tls-creds-x509" || x.Endpoint() != Server || x.VerifyPeer() || x.Priority() != "NORMAL" || x.Options.Password != nil {
		t.Errorf("%+v", x.Options)
	}
	if len(x.Anchors) != 2 || len(x.CRLs) != 1 || x.DH == nil || len(x.Identities) != 2 {
		t.Fatalf("%d anchors, %d CRLs, %d identities, DH %v", len(x.Anchors), len(x.CRLs), len(x.Identities), x.DH)
	}
	for i, want := range []struct {
		index, chain int
		cert         string
		e            *entity
	}{{layout.NoIndex, 2, "server-cert.pem", w.deep}, {0, 1, "server-cert-0.pem", w.rsa}} {
		id := x.Identities[i]
		if id.Index != want.index || len(id.Chain) != want.chain || id.CertFile != filepath.Join(dir, want.cert) ||
			!pki.SameCertificate(id.Chain[0], want.e.Certificate) || !pki.SameKey(want.e.PublicKey.Key, id.Key) {
			t.Errorf("identity %d is %+v", i, id)
		}
	}
	for _, name := range []string{"ca-cert.pem", "ca-crl.pem", "dh-params.pem", "server-cert.pem", "server-key.pem", "server-cert-0.pem", "server-key-3.pem"} {
		if !slices.Contains(x.Files(), filepath.Join(dir, name)) {
			t.Errorf("%s is not watched: %v", name, x.Files())
		}
	}
}

// A client needs no identity, and no CRL or DH parameters are read for it.
func TestLoadX509Client(t *testing.T) {
	w := theWorld()
	f := files{"ca": pemOf(w.root)}
	root, names := f.place(t, ourselves(Client))
	dir := filepath.Join(root, names.Dir)
	writeFile(t, filepath.Join(dir, "ca-crl.pem"), "junk")
	writeFile(t, filepath.Join(dir, "dh-params.pem"), "junk")
	x, warnings, err := LoadX509(X509Options{Dir: dir})
	if err != nil || len(x.Identities) > 0 || len(warnings) > 0 || x.CRLs != nil || !x.VerifyPeer() || x.Endpoint() != Client {
		t.Errorf("%+v, %v, %v", x, warnings, err)
	}
}

// Files that are named one by one, as libvirt's are, with libvirt's own list of
// revoked servers.
func TestLoadX509Named(t *testing.T) {
	w := theWorld()
	c, err := ConsumerFor(LibvirtClient, "")
	if err != nil {
		t.Fatal(err)
	}
	root, _ := w.good().with("crl", w.crl(w.root, testNow.Add(day)).PEM()).place(t, c)
	names := layout.System(layout.Libvirt, filepath.Join(root, "etc/pki/flat")).Files(layout.Client)
	if _, _, err := LoadX509(X509Options{Files: &names}); err == nil || !strings.Contains(err.Error(), "Unable to access credentials "+names.CA) {
		t.Error(err)
	}
	names.CA, names.CRL = filepath.Join(root, "etc/pki/CA/cacert.pem"), filepath.Join(root, "etc/pki/CA/cacrl.pem")
	names.Pairs = []layout.Pair{{Index: layout.NoIndex, Cert: filepath.Join(root, "etc/pki/libvirt/clientcert.pem"), Key: filepath.Join(root, "etc/pki/libvirt/private/clientkey.pem")}}
	names.Named = true
	x, _, err := LoadX509(X509Options{Files: &names})
	if err != nil || len(x.Identities) != 1 || len(x.CRLs) != 1 {
		t.Errorf("%+v, %v", x, err)
	}
	names.Pairs[0].Key += "x"
	if _, _, err := LoadX509(X509Options{Files: &names}); err == nil || !strings.Contains(err.Error(), "Unable to access credentials "+names.Pairs[0].Key+": No such file or directory") {
		t.Error(err)
	}
}

// What the newest QEMU refuses is an error here, in its words.
func TestLoadX509Refuses(t *testing.T) {
	if _, _, err := LoadX509(X509Options{}); err == nil || !strings.Contains(err.Error(), "Missing 'dir' property value") {
		t.Error(err)
	}
	refused := 0
	for _, s := range setups() {
		for _, e := range []Endpoint{Client, Server} {
			c := ourselves(e)
			root, names := s.files.place(t, c)
			want := c.Judge(names, JudgeOptions{Root: root, Now: testNow}).Refused()
			dir := filepath.Join(root, names.Dir)
			_, warnings, err := LoadX509(X509Options{Dir: dir, Endpoint: e, Now: testNow})
			for _, w := range warnings {
				if w.Severity != finding.Warning {
					t.Errorf("%s, %s: %v", s.name, e, w)
				}
			}
			if want == nil {
				if err != nil {
					t.Errorf("%s, %s: %v", s.name, e, err)
				}
				continue
			}
			refused++
			if text := strings.ReplaceAll(want.Text, names.Dir, dir); err == nil || !strings.Contains(err.Error(), text) || finding.ExitCode(err) != finding.ExitWrong {
				t.Errorf("%s, %s: %v; want %s", s.name, e, err, text)
			}
		}
	}
	if refused < 50 {
		t.Errorf("only %d were refused", refused)
	}
}

// Engines of our own can use what GnuTLS cannot.
func TestLoadX509MLDSA(t *testing.T) {
	ca := mold{cn: "PQC", ca: true, key: newKey("mldsa87")}.root()
	leaf := mold{cn: "localhost", key: newKey("mldsa44"), usage: usage(pki.DigitalSignature)}.by(ca)
	x, _, err := LoadX509(X509Options{Dir: dirOf(t, usual(ca, leaf), Server), Endpoint: Server})
	if err != nil || len(x.Identities) != 1 {
		t.Error(x, err)
	}
}

// Encrypted keys, of which one password opens all, as with the real QEMU.
func TestPasswordAsPeers(t *testing.T) {
	w := theWorld()
	one := w.good().with("key", sealed(w.leaf, "secret"))
	two := one.with("cert0", pemOf(w.rsa)).with("key0", sealed(w.rsa, "secret"))
	tests := []struct {
		name, password string // "-" for none
		files          files
		code           string
	}{
		{"right", "secret", one, ""},
		{"wrong", "secret\n", one, "private-key-password"},
		{"empty", "", one, "private-key-password"},
		{"none", "-", one, "private-key-encrypted"},
		{"not needed", "secret", w.good(), ""},
		{"two keys", "secret", two, ""},
		{"two keys with two passwords", "secret", two.with("key0", sealed(w.rsa, "other")), "private-key-password"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var password []byte
			if test.password != "-" {
				password = []byte(test.password)
			}
			_, _, err := LoadX509(X509Options{Dir: dirOf(t, test.files, Server), Endpoint: Server, Password: password})
			if got := codeOf(err); got != test.code {
				t.Errorf("%q, %v; want %q", got, err, test.code)
			}
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				for _, name := range []string{QEMUServer, QEMUClient} {
					c := consumerOf(t, g, name)
					f := test.files
					if c.Endpoint == Server {
						f = f.with("dh", testDH)
					}
					root, names := f.place(t, c)
					tr := trial{g: g, c: c, root: root}
					if password != nil {
						tr.objects = []string{"secret,id=sec0,format=base64,data=" + b64(password)}
						tr.extra = ",passwordid=sec0"
					}
					tr.compare(t, c.Judge(names, JudgeOptions{Root: root, Password: password}))
				}
			})
		})
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return finding.Of(err).Code
}

// libvirt has no way to tell its daemon a password.
func TestPasswordLibvirt(t *testing.T) {
	w := theWorld()
	for _, name := range []string{LibvirtServer, LibvirtClient} {
		c, err := ConsumerFor(name, "")
		if err != nil {
			t.Fatal(err)
		}
		root, names := w.good().with("key", sealed(w.leaf, "secret")).place(t, c)
		if p := c.Judge(names, JudgeOptions{Root: root, Password: []byte("secret")}).Refused(); p == nil || p.Finding.Code != kindKeyEncrypted.Code {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// What virtls warns of beyond what QEMU refuses.
func TestCheck(t *testing.T) {
	w := theWorld()
	leaf := func(m mold) files { return usual(w.root, m.by(w.root)) }
	san := func(names ...pki.GeneralName) pki.Extensions {
		return pki.Extensions{pki.GeneralNames(names).Extension()}
	}
	noSAN := []asn1.ObjectIdentifier{pki.OIDSubjectAltName}
	twoCNs := dn.New(dn.Attr(dn.CommonNameOID, "a"), dn.Attr(dn.CommonNameOID, "b"))
	short := mold{cn: "localhost", key: newRSA1024()}.by(w.root)
	sha1 := pki.SignatureAlgorithm{Key: pki.ECDSA, Hash: 3}
	forger := mold{cn: "Root", ca: true}.root()
	tests := []struct {
		name  string
		files files
		want  []string // of a server
		more  []string // of those, a client's
	}{
		{"good", w.good(), nil, nil},
		{"empty subject", leaf(mold{}), []string{"cert-subject-empty"}, []string{"cert-subject-empty"}},
		{"CN only", leaf(mold{cn: "host.example.com", without: noSAN}), []string{"cert-cn-only"}, nil},
		{"two CNs", leaf(mold{subject: twoCNs, without: noSAN}), []string{"cert-without-names"}, nil},
		{"email only", leaf(mold{cn: "a", extensions: san(pki.Email("a@example.com"))}), []string{"cert-without-names"}, nil},
		{"address as name", leaf(mold{cn: "a", extensions: san(pki.DNSName("192.0.2.1"), pki.DNSName("a"))}), []string{"cert-address-as-name"}, nil},
		{"short key", usual(w.root, short), []string{"cert-key-weak"}, []string{"cert-key-weak"}},
		{"SHA-1", leaf(mold{cn: "a", alg: sha1}), nil, nil},
		{"revoked", w.good().with("crl", w.crl(w.root, testNow.Add(day), w.leaf).PEM()), []string{"cert-revoked"}, nil},
		{"overdue list", w.good().with("crl", w.crl(w.root, testNow.Add(-time.Second)).PEM()), []string{"crl-stale"}, nil},
		{"list of another", w.good().with("crl", w.crl(w.other, testNow.Add(day)).PEM()), []string{"crl-foreign"}, nil},
		{"forged list", w.good().with("crl", w.crl(forger, testNow.Add(day)).PEM()), []string{"crl-signature"}, nil},
		{"expired anchor", w.good().with("ca", pemOf(w.root, w.old)), []string{"anchor-expired"}, []string{"anchor-expired"}},
		{"early anchor", w.good().with("ca", pemOf(w.root, mold{cn: "New", ca: true, notBefore: testNow.Add(day)}.root())),
			[]string{"anchor-not-yet-valid"}, []string{"anchor-not-yet-valid"}},
		{"leaf as anchor", w.good().with("ca", pemOf(w.root, w.leaf)), []string{"anchor-not-ca"}, []string{"anchor-not-ca"}},
		{"weak DH parameters", w.good().with("dh", pki.EncodePEM("DH PARAMETERS", []byte{0x30, 6, 2, 1, 23, 2, 1, 5})), []string{"dh-params-deprecated", "dh-params-weak"}, nil},
		{"usage not critical", leaf(mold{cn: "a", usage: usage(pki.KeyEncipherment), usageNotCritical: true}), []string{"cert-usage-signature"}, []string{"cert-usage-signature"}},
		{"purpose not critical", leaf(mold{cn: "a", purposes: []asn1.ObjectIdentifier{pki.PurposeEmailProtection}}), []string{"cert-purpose"}, []string{"cert-purpose"}},
	}
	for _, test := range tests {
		for _, e := range []Endpoint{Server, Client} {
			want := test.want
			if e == Client {
				want = test.more
			}
			_, warnings, err := LoadX509(X509Options{Dir: dirOf(t, test.files, e), Endpoint: e, Now: testNow})
			if test.name == "SHA-1" {
				if codeOf(err) != "chain-weak" {
					t.Errorf("%s, %s: %v", test.name, e, err)
				}
				_, warnings, err = LoadX509(X509Options{Dir: dirOf(t, test.files, e), Endpoint: e, Now: testNow, NoSanityCheck: true})
				want = []string{"cert-signature-weak"}
			}
			if err != nil {
				t.Errorf("%s, %s: %v", test.name, e, err)
				continue
			}
			var got []string
			for _, f := range warnings {
				got = append(got, f.Code)
				if f.Severity != finding.Warning || f.Fix == "" || f.Subject == "" {
					t.Errorf("%s, %s: %+v", test.name, e, f)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", test.name, e, diff)
			}
		}
	}
}

// Peers are judged by libvirt as its own files are, by QEMU by their times alone.
func TestJudgePeer(t *testing.T) {
	w := theWorld()
	ca := mold{cn: "a", ca: true}.by(w.root)
	client := mold{cn: "a", purposes: []asn1.ObjectIdentifier{pki.PurposeClient}, purposeCritical: true}.by(w.root)
	for _, test := range []struct {
		name string
		cert *entity
		want string
	}{
		{QEMUClient, w.leaf, "accepted"},
		{QEMUClient, ca, "accepted"},
		{QEMUServer, w.old, `refused cert-expired: "The client certificate [session] has expired"`},
		{LibvirtClient, w.leaf, "accepted"},
		{LibvirtClient, ca, `refused cert-is-ca: "The certificate [session] basic constraints show a CA, but we need one for a server"`},
		{LibvirtClient, client, `refused cert-purpose: "Certificate [session] purpose does not allow use for with a TLS server"`},
		{LibvirtServer, client, "accepted"},
	} {
		c, err := ConsumerFor(test.name, "")
		if err != nil {
			t.Fatal(err)
		}
		got, _, _ := strings.Cut(verdict(c.JudgePeer(test.cert.Certificate, testNow)), " [error")
		if got != test.want {
			t.Errorf("%s: %s; want %s", test.name, got, test.want)
		}
	}
}

// Printing options and credentials shows no password.
func TestPasswordHidden(t *testing.T) {
	dir := dirOf(t, theWorld().good(), Client)
	x, _, err := LoadX509(X509Options{Dir: dir, Password: []byte("letmein")})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v", *x); strings.Contains(text, fmt.Sprint([]byte("letmein"))) {
		t.Error(text)
	}
}
