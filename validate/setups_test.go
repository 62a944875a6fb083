package validate

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/pki"
)

// A setup is what one end of a connection finds in its files.
type setup struct {
	name     string
	files    files
	password string // of the keys; QEMU alone can be told one
	rare     bool   // only asked about by make interop
}

// files are contents by what the file is for: ca, crl, dh, cert, key, and the
// indexed cert0, key0 and so on.
type files map[string][]byte

// What is there instead of a file.
var (
	directory = []byte("\x00directory")
	dangling  = []byte("\x00dangling link")
	loop      = []byte("\x00link to itself")
)

// A maker makes the setups of one role.
type maker struct {
	t     testing.TB
	role  layout.Role
	root  *cert // EC P-256
	rsa   *cert // RSA 2048
	other *cert // nobody's
	good  *cert // a leaf by root
	list  []setup
}

var (
	made   = map[layout.Role][]setup{}
	madeMu sync.Mutex
)

// setups returns all set-ups of a role, always the same ones.
func setups(t testing.TB, r layout.Role) []setup {
	t.Helper()
	madeMu.Lock()
	defer madeMu.Unlock()
	if made[r] == nil {
		made[r] = makeSetups(t, r)
	}
	return made[r]
}

func makeSetups(t testing.TB, r layout.Role) []setup {
	t.Helper()
	m := &maker{t: t, role: r, root: authority(t, nil), rsa: authority(t, nil, called("RSA CA"), keyed(keyOf("rsa2048"))),
		other: authority(t, nil, called("Other CA"))}
	m.good = m.leaf(m.root)
	m.certificates()
	m.authorities()
	m.chains()
	m.bundles()
	m.keys()
	m.contents()
	m.missing()
	m.indexed()
	m.crls()
	m.foreign()
	seen := map[string]bool{}
	for _, s := range m.list {
		if seen[s.name] {
			t.Fatalf("two set-ups %q", s.name)
		}
		seen[s.name] = true
	}
	if full() {
		return m.list
	}
	return slices.DeleteFunc(m.list, func(s setup) bool { return s.rare })
}

// full tells whether every combination is to be tested.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// rarely marks what was added since there were n set-ups as rare.
func (m *maker) rarely(n int) {
	for i := range m.list[n:] {
		m.list[n+i].rare = true
	}
}

func (m *maker) leaf(issuer *cert, changes ...change) *cert {
	m.t.Helper()
	return leaf(m.t, issuer, m.role, changes...)
}

func (m *maker) ca(issuer *cert, changes ...change) *cert {
	m.t.Helper()
	return authority(m.t, issuer, changes...)
}

// identity adds a certificate with its key that root has issued.
func (m *maker) identity(name string, changes ...change) {
	m.t.Helper()
	m.chain(name, []*cert{m.leaf(m.root, changes...)}, m.root)
}

// chain adds a certificate's file, whose first certificate has the key, and
// the authorities' file.
func (m *maker) chain(name string, own []*cert, anchors ...*cert) {
	m.t.Helper()
	m.add(name, files{"ca": bundle(anchors...), "cert": bundle(own...), "key": own[0].keyPEM(m.t)})
}

// changed adds the good set-up with some files instead; nil is none.
func (m *maker) changed(name string, other files) {
	m.t.Helper()
	f := files{"ca": bundle(m.root), "cert": bundle(m.good), "key": m.good.keyPEM(m.t)}
	maps.Copy(f, other)
	m.add(name, f)
}

// add has every server read DH parameters: QEMU up to 10.1 makes its own for a
// quarter of a second otherwise.
func (m *maker) add(name string, f files) {
	if _, given := f["dh"]; !given {
		f["dh"] = []byte(peertest.DHParams)
	}
	m.list = append(m.list, setup{name: name, files: f})
}

// certificates are about the leaf.
func (m *maker) certificates() {
	right, wrong := rightPurpose(m.role), wrongPurpose(m.role)
	m.identity("good")
	m.identity("no key usage", without(pki.OIDKeyUsage))
	m.identity("no purposes", without(pki.OIDExtKeyUsage))
	m.identity("expired", expired)
	m.identity("early", early)
	m.identity("ends in a day", valid(-day, day))
	m.identity("ends never", func(o *order) { o.NotAfter = pki.NeverExpires })

	m.identity("leaf is a CA", constraints(true, true))
	m.identity("leaf is a CA, not critical", constraints(true, false))
	m.identity("no basic constraints", without(pki.OIDBasicConstraints))
	m.identity("basic constraints not critical", constraints(false, false))
	m.identity("broken basic constraints", with(pki.Extension{OID: pki.OIDBasicConstraints, Critical: true, Value: []byte{5, 0}}))

	for _, critical := range []bool{true, false} {
		kind := map[bool]string{true: "critical", false: "not critical"}[critical]
		m.identity("key usage empty, "+kind, usage(0, critical))
		m.identity("key usage signature, "+kind, usage(pki.DigitalSignature, critical))
		m.identity("key usage encipherment, "+kind, usage(pki.KeyEncipherment, critical))
		m.identity("key usage agreement, "+kind, usage(pki.KeyAgreement, critical))
		m.identity("key usage of a CA, "+kind, usage(pki.KeyCertSign, critical))
		m.identity("key usage signature, RSA, "+kind, usage(pki.DigitalSignature, critical), keyed(keyOf("rsa2048")))
		m.identity("key usage signature, Ed25519, "+kind, usage(pki.DigitalSignature, critical), keyed(keyOf("ed25519")))
		m.identity("purpose right, "+kind, purposes(critical, right))
		m.identity("purpose wrong, "+kind, purposes(critical, wrong))
		m.identity("purpose both, "+kind, purposes(critical, wrong, right))
		m.identity("purpose any, "+kind, purposes(critical, pki.PurposeAny))
		m.identity("purpose any and wrong, "+kind, purposes(critical, pki.PurposeAny, wrong))
		m.identity("purpose code signing, "+kind, purposes(critical, pki.PurposeCodeSigning))
		common := len(m.list)
		m.identity("purpose code signing and wrong, "+kind, purposes(critical, wrong, pki.PurposeCodeSigning))
		m.identity("purposes empty, "+kind, with(pki.Extension{OID: pki.OIDExtKeyUsage, Critical: critical, Value: []byte{0x30, 0}}))
		m.identity("purposes broken, "+kind, with(pki.Extension{OID: pki.OIDExtKeyUsage, Critical: critical, Value: []byte{5, 0}}))
		m.identity("key usage broken, "+kind, with(pki.Extension{OID: pki.OIDKeyUsage, Critical: critical, Value: []byte{5, 0}}))
		m.identity("unknown extension, "+kind, with(pki.Extension{OID: []int{1, 2, 3, 4, 5}, Critical: critical, Value: []byte{5, 0}}))
		if !critical {
			m.rarely(common)
		}
	}

	m.identity("empty subject", named(nil))
	m.identity("empty CN", called(""))
	m.identity("no names", without(pki.OIDSubjectAltName))
	m.identity("broken names", with(pki.Extension{OID: pki.OIDSubjectAltName, Value: []byte{5, 0}}))
	m.identity("extension twice", again(pki.DigitalSignature.Extension(true)))
	m.identity("no key identifiers", noKeyIDs)
	m.identity("version 1", plainV1)
	m.identity("version 1 with extensions", version(0))
	m.identity("version 2 with extensions", version(1))
	m.identity("subject of the CA", named(m.root.Subject))
	m.identity("subject of the CA, no key identifiers", named(m.root.Subject), noKeyIDs)
	m.identity("other algorithm outside", func(o *order) {})
	last := &m.list[len(m.list)-1]
	alg := pki.AlgorithmIdentifier{OID: []int{1, 2, 840, 10045, 4, 3, 3}}
	odd, err := encodeCertificate(m.good.RawTBS, alg, m.good.Signature)
	if err != nil {
		m.t.Fatal(err)
	}
	last.files["cert"] = odd.PEM()
}

// version changes the number in the certificate and nothing else.
func version(n byte) change {
	return func(o *order) {
		o.tamper = func(tbs []byte) []byte { return replaced(tbs, []byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, n}) }
	}
}

// authorities are about the CA certificate.
func (m *maker) authorities() {
	ca := func(name string, changes ...change) {
		root := m.ca(nil, append([]change{called("Odd CA")}, changes...)...)
		m.chain("CA "+name, []*cert{m.leaf(root)}, root)
	}
	ca("expired", expired)
	ca("early", early)
	ca("without basic constraints", without(pki.OIDBasicConstraints))
	ca("that is none", constraints(false, true))
	ca("basic constraints not critical", constraints(true, false))
	ca("basic constraints broken", with(pki.Extension{OID: pki.OIDBasicConstraints, Critical: true, Value: []byte{5, 0}}))
	ca("path length 0", pathLen(0))
	for _, critical := range []bool{true, false} {
		kind := map[bool]string{true: "critical", false: "not critical"}[critical]
		ca("key usage CRL, "+kind, usage(pki.CRLSign, critical))
		ca("key usage empty, "+kind, usage(0, critical))
		ca("key usage signature, "+kind, usage(pki.DigitalSignature, critical))
		ca("unknown extension, "+kind, with(pki.Extension{OID: []int{1, 2, 3, 4, 5}, Critical: critical, Value: []byte{5, 0}}))
		ca("purpose wrong, "+kind, purposes(critical, wrongPurpose(m.role)))
	}
	ca("without key usage", without(pki.OIDKeyUsage))
	ca("without key identifiers", noKeyIDs)
	ca("version 1", plainV1)
	ca("empty subject", named(nil))
	ca("RSA 1024", keyed(keyOf("rsa1024")))
	ca("extension twice", again(pki.CRLSign.Extension(true)))
	ca("RSA", keyed(keyOf("rsa2048")))
	ca("P-384", keyed(keyOf("p384")))
	ca("P-521", keyed(keyOf("p521")))
	ca("Ed25519", keyed(keyOf("ed25519")))
	ca("ML-DSA-65", keyed(keyOf("mldsa65")))
	ca("names not permitted", with(pki.NameConstraints{Permitted: pki.GeneralNames{pki.DNSName("example.org")}}.Extension()))

	forged := m.ca(nil, noKeyIDs)
	twin := m.ca(nil, noKeyIDs)
	m.chain("CA of the same name", []*cert{m.leaf(forged)}, twin)
	m.chain("CA of the same name, then the right one", []*cert{m.leaf(forged)}, twin, forged)
	m.chain("CA of another name", []*cert{m.good}, m.other)
	for _, c := range []struct {
		name string
		ca   bool
	}{{"self-signed leaf", false}, {"self-signed CA as leaf", true}} {
		own := m.leaf(nil, constraints(c.ca, true))
		m.chain(c.name, []*cert{own}, m.root)
		m.chain(c.name+", trusted", []*cert{own}, own)
	}
	own := m.leaf(nil, without(pki.OIDBasicConstraints))
	m.chain("self-signed without basic constraints, trusted", []*cert{own}, own)
}

// chains are about intermediate authorities.
func (m *maker) chains() {
	ica := m.ca(m.root, called("Intermediate"))
	below := m.ca(ica, called("Below"))
	own := m.leaf(ica)
	m.chain("chain in own file", []*cert{own, ica}, m.root)
	m.chain("chain with root in own file", []*cert{own, ica, m.root}, m.root)
	m.chain("intermediate in the bundle", []*cert{own}, m.root, ica)
	m.chain("intermediate first in the bundle", []*cert{own}, ica, m.root)
	m.chain("intermediate in both files", []*cert{own, ica}, m.root, ica)
	m.chain("intermediate alone in the bundle", []*cert{own}, ica)
	m.chain("intermediate alone in the bundle, also in own file", []*cert{own, ica}, ica)
	m.chain("intermediate nowhere", []*cert{own}, m.root)
	m.chain("two intermediates in own file", []*cert{m.leaf(below), below, ica}, m.root)
	m.chain("two intermediates in the wrong order", []*cert{m.leaf(below), ica, below}, m.root)
	m.chain("one of two intermediates", []*cert{m.leaf(below), below}, m.root)
	m.chain("one intermediate in each file", []*cert{m.leaf(below), below}, m.root, ica)
	m.add("intermediate before leaf", files{"ca": bundle(m.root), "cert": bundle(ica, own), "key": own.keyPEM(m.t)})
	m.chain("unrelated certificate behind leaf", []*cert{m.good, m.other}, m.root)
	m.chain("leaf twice", []*cert{m.good, m.good}, m.root)
	m.chain("leaf and root in own file", []*cert{m.good, m.root}, m.root)
	m.chain("another leaf behind", []*cert{m.good, m.leaf(m.root, called("host2.example.com"))}, m.root)

	odd := func(name string, changes ...change) {
		ica := m.ca(m.root, append([]change{called("Odd intermediate")}, changes...)...)
		own := m.leaf(ica)
		m.chain(name+" in own file", []*cert{own, ica}, m.root)
		m.chain(name+" in the bundle", []*cert{own}, m.root, ica)
	}
	odd("expired intermediate", expired)
	odd("early intermediate", early)
	odd("intermediate that is no CA", constraints(false, true))
	odd("intermediate that may not sign", usage(pki.CRLSign, true))
	short := m.ca(nil, pathLen(0), called("Short"))
	ica = m.ca(short, called("Too deep"))
	m.chain("path too long, in own file", []*cert{m.leaf(ica), ica}, short)
	m.chain("path too long, in the bundle", []*cert{m.leaf(ica)}, short, ica)
}

// bundles are about other members of the CA's file.
func (m *maker) bundles() {
	own := []*cert{m.good}
	m.chain("unrelated CA behind", own, m.root, m.other)
	m.chain("unrelated CA before", own, m.other, m.root)
	m.chain("CA twice", own, m.root, m.root)
	m.chain("own certificate in the bundle", own, m.root, m.good)
	m.chain("own certificate first in the bundle", own, m.good, m.root)
	odd := []struct {
		name string
		ca   *cert
	}{
		{"expired", m.ca(nil, called("Old CA"), expired)},
		{"early", m.ca(nil, called("New CA"), early)},
		{"no CA", m.leaf(nil, called("No CA"))},
		{"weak", m.ca(nil, called("Weak CA"), keyed(keyOf("rsa1024")))},
		{"version 1", m.ca(nil, called("Older CA"), plainV1)},
		{"may not", m.ca(nil, called("Other use"), usage(pki.DigitalSignature, true))},
		{"ML-DSA", m.ca(nil, called("PQC CA"), keyed(keyOf("mldsa65")))},
		{"unreadable", m.ca(nil, called("Twice"), again(pki.CRLSign.Extension(true)))},
		{"intermediate", m.ca(m.other, called("Elsewhere"))},
		{"empty names", m.ca(nil, named(nil))},
	}
	for _, o := range odd {
		m.chain("unrelated CA behind: "+o.name, own, m.root, o.ca)
		m.chain("unrelated CA before: "+o.name, own, o.ca, m.root)
		m.rarely(len(m.list) - 1)
	}
	renewed := m.ca(nil, keyed(m.root.key), expired)
	m.chain("older CA certificate behind", own, m.root, renewed)
	m.chain("older CA certificate before", own, renewed, m.root)
	many := func(n int, last ...*cert) []*cert {
		list := []*cert{m.root}
		for i := 1; i < n; i++ {
			list = append(list, m.other)
		}
		return append(list, last...)
	}
	m.chain("16 CAs", own, many(16)...)
	m.chain("17 CAs", own, many(17)...)
	m.chain("17 CAs, the last expired", own, many(16, odd[0].ca)...)
	m.chain("17 CAs, the last one right", own, append(many(17)[1:], m.root)...)
}

// keys are about keys, their files and signatures.
func (m *maker) keys() {
	for _, spec := range []string{"rsa2048", "rsa1024", "rsapss", "p384", "p521", "ed25519", "mldsa65"} {
		m.identity("key "+spec, keyed(keyOf(spec)))
	}
	m.changed("key of another certificate", files{"key": keyPEM(m.t, newKey("ec"))})
	m.changed("key of another type", files{"key": keyPEM(m.t, keyOf("rsa2048"))})
	m.changed("key of another curve", files{"key": keyPEM(m.t, keyOf("p384"))})
	m.changed("ML-DSA key", files{"key": keyPEM(m.t, keyOf("mldsa65"))})
	der, err := pki.MarshalPKCS8(m.good.key, pki.MLDSABoth)
	if err != nil {
		m.t.Fatal(err)
	}
	// As many iterations as OpenSSL has: those of EncodeEncryptedKeyPEM would
	// cost every reader of every generation half a second.
	if der, err = pki.EncryptPKCS8(der, []byte("sesame"), pki.AES256, 2048); err != nil {
		m.t.Fatal(err)
	}
	encrypted := pki.EncodePEM(pki.PEMEncryptedKey, der)
	m.changed("encrypted key", files{"key": encrypted})
	m.changed("encrypted key and its password", files{"key": encrypted})
	m.list[len(m.list)-1].password = "sesame"
	m.changed("encrypted key and a wrong password", files{"key": encrypted})
	m.list[len(m.list)-1].password = "mustard"
	m.changed("password for a plain key", nil)
	m.list[len(m.list)-1].password = "sesame"

	for _, alg := range weakAndOther {
		own := m.leaf(m.rsa, signedWith(alg))
		m.chain(fmt.Sprintf("signed with %s, salt %d", alg, alg.SaltLength), []*cert{own}, m.rsa)
	}
	for _, alg := range weakAndOther[:2] {
		root := m.ca(nil, keyed(keyOf("rsa2048")), signedWith(alg))
		m.chain("CA signed with "+alg.String(), []*cert{m.leaf(root)}, root)
		ica := m.ca(m.rsa, called("Intermediate"), signedWith(alg))
		m.chain("intermediate signed with "+alg.String(), []*cert{m.leaf(ica), ica}, m.rsa)
		m.chain("intermediate in the bundle signed with "+alg.String(), []*cert{m.leaf(ica)}, m.rsa, ica)
	}
}

// contents are about what files can hold.
func (m *maker) contents() {
	good := files{"ca": bundle(m.root), "cert": bundle(m.good), "key": m.good.keyPEM(m.t)}
	der := files{"ca": m.root.Raw, "cert": m.good.Raw}
	for _, f := range []string{"ca", "cert", "key"} {
		text := good[f]
		of := func(what string, data []byte) { m.changed(f+": "+what, files{f: data}) }
		of("empty", []byte{})
		of("junk", []byte("no certificate here\n"))
		of("blank lines", []byte("\n\n\n"))
		if der[f] != nil {
			of("DER", der[f])
			of("only a key", good["key"])
			of("key behind", join(text, good["key"]))
			of("key before", join(good["key"], text))
			of("a certificate and a broken one", join(text, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")))
			of("a certificate and an unfinished one", join(text, text[:len(text)/2]))
			of("old label", replaced(text, []byte("CERTIFICATE"), []byte("X509 CERTIFICATE")))
			of("OpenSSL's trusted label", replaced(text, []byte("CERTIFICATE"), []byte("TRUSTED CERTIFICATE")))
		} else {
			of("only a certificate", good["cert"])
			of("certificate before", join(good["cert"], text))
			of("certificate behind", join(text, good["cert"]))
			of("two keys", join(text, keyPEM(m.t, newKey("ec"))))
			of("two keys, the second right", join(keyPEM(m.t, newKey("ec")), text))
			of("public key", publicPEM(m.t, m.good.key))
		}
		common := len(m.list)
		of("text before", join([]byte("Certificate information:\n\tVersion: 3\n"), text))
		of("text behind", join(text, []byte("the end\n")))
		of("CRLF", replaced(text, []byte("\n"), []byte("\r\n")))
		of("byte order mark", join([]byte("\xef\xbb\xbf"), text))
		of("indented", replaced(text, []byte("\n"), []byte("\n  ")))
		of("no newline at the end", text[:len(text)-1])
		of("unfinished", text[:len(text)/2])
		of("NUL before", join([]byte{0}, text))
		of("NUL behind", join(text, []byte{0}))
		of("broken base64", replaced(text, text[60:64], []byte("****")))
		for _, size := range []int{65535, 65536, 65537} {
			of(fmt.Sprintf("%d bytes", size), padded(text, size))
		}
		of("1 MiB", padded(text, 1<<20))
		if f != "cert" {
			m.rarely(common)
		}
	}
}

// missing are about files that are not there, or are no files.
func (m *maker) missing() {
	m.changed("no CA", files{"ca": nil})
	m.changed("no certificate", files{"cert": nil})
	m.changed("no key", files{"key": nil})
	m.changed("neither certificate nor key", files{"cert": nil, "key": nil})
	m.changed("nothing", files{"ca": nil, "cert": nil, "key": nil})
	m.changed("only a bad CA", files{"ca": bundle(m.good), "cert": nil, "key": nil})
	m.changed("only an expired CA", files{"ca": bundle(m.ca(nil, expired)), "cert": nil, "key": nil})
	for _, f := range []string{"ca", "cert", "key", "crl"} {
		m.changed(f+" is a directory", files{f: directory})
		m.changed(f+" is a dangling link", files{f: dangling})
		m.changed(f+" is a link to itself", files{f: loop})
	}
}

// indexed are about parallel identities.
func (m *maker) indexed() {
	key := m.good.keyPEM(m.t)
	second := m.leaf(m.root, keyed(keyOf("rsa2048")))
	pair := func(n int, c *cert) files {
		return files{fmt.Sprintf("cert%d", n): bundle(c), fmt.Sprintf("key%d", n): c.keyPEM(m.t)}
	}
	both := func(name string, more ...files) {
		f := files{}
		for _, x := range more {
			maps.Copy(f, x)
		}
		m.changed(name, f)
	}
	none := files{"cert": nil, "key": nil}
	both("plain and 0", pair(0, second))
	both("plain and 0 to 3", pair(0, second), pair(1, second), pair(2, second), pair(3, second))
	both("only 0", none, pair(0, second))
	both("only 1", none, pair(1, second))
	both("plain and 1", pair(1, second))
	both("plain, 0 and 2", pair(0, second), pair(2, second))
	both("0 expired", pair(0, m.leaf(m.root, expired)))
	both("0 with the key of another", pair(0, second), files{"key0": key})
	both("0 half: certificate", files{"cert0": bundle(second)})
	both("0 half: key", files{"key0": key})
	both("only 0, half", none, files{"cert0": bundle(second)})
	both("0 and half of 1", pair(0, second), files{"cert1": bundle(second)})
	both("0 and half of 2", pair(0, second), files{"cert2": bundle(second)})
	both("1 expired, no 0", pair(1, m.leaf(m.root, expired)))
	both("0 junk", files{"cert0": []byte("junk\n"), "key0": key})
	both("0 ML-DSA", pair(0, m.leaf(m.root, keyed(keyOf("mldsa65")))))
	both("0 of another CA", pair(0, m.leaf(m.other)))
	both("half plain and 0", files{"key": nil}, pair(0, second))
	both("plain expired and 0", files{"cert": bundle(m.leaf(m.root, expired))}, pair(0, second))
}

// crls are about revocation lists.
func (m *maker) crls() {
	list := crlOf(m.t, m.root, day)
	m.changed("CRL", files{"crl": list})
	m.changed("CRL past its time", files{"crl": crlOf(m.t, m.root, -day)})
	m.changed("CRL before its time", files{"crl": crlOf(m.t, m.root, 30*day)})
	m.changed("CRL of another CA", files{"crl": crlOf(m.t, m.other, day)})
	m.changed("CRL with the own certificate", files{"crl": crlOf(m.t, m.root, day, m.good)})
	m.changed("CRL twice", files{"crl": join(list, list)})
	m.changed("CRL junk", files{"crl": []byte("no list here\n")})
	m.changed("CRL empty", files{"crl": []byte{}})
	m.changed("CRL is a certificate", files{"crl": bundle(m.root)})
	m.changed("CRL with text", files{"crl": join([]byte("X.509 CRL information\n"), list)})
	m.changed("CRL broken", files{"crl": replaced(list, list[40:44], []byte("****"))})
	m.changed("CRL unfinished", files{"crl": list[:len(list)/2]})
	m.changed("CRL good and junk", files{"crl": join(list, []byte("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"))})
	m.changed("CRL oversized", files{"crl": padded(list, 70000)})
	m.changed("no DH parameters", files{"dh": nil})
	m.changed("DH parameters junk", files{"dh": []byte("junk\n")})
	m.changed("DH parameters empty", files{"dh": []byte{}})
	m.changed("DH parameters are a directory", files{"dh": directory})
}

// write lays the setup out below root as a consumer wants it.
func (s setup) write(t testing.TB, root string, l layout.Location, r layout.Role) {
	t.Helper()
	put := func(what, path string) {
		data := s.files[what]
		if data == nil {
			return
		}
		path = filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			switch string(data) {
			case string(directory):
				err = os.Mkdir(path, 0o755)
			case string(dangling):
				err = os.Symlink("nowhere", path)
			case string(loop):
				err = os.Symlink(filepath.Base(path), path)
			default:
				err = os.WriteFile(path, data, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, filepath.Dir(l.Cert(r, layout.NoIndex))), 0o755); err != nil {
		t.Fatal(err)
	}
	put("ca", l.CA())
	put("crl", l.CRL())
	if l.Service == layout.QEMU {
		put("dh", l.DH())
	}
	put("cert", l.Cert(r, layout.NoIndex))
	put("key", l.Key(r, layout.NoIndex))
	for i := 0; i <= layout.MaxIndex; i++ {
		put(fmt.Sprintf("cert%d", i), l.Cert(r, i))
		put(fmt.Sprintf("key%d", i), l.Key(r, i))
	}
}
