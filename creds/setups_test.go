package creds

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"

	"virtls/pki"
)

// A setup is a set of credential files that may have something wrong with it.
// The real programs look at those marked peer in every run, and at all of them
// if VIRTLS_INTEROP is full.
type setup struct {
	name  string
	peer  bool
	files files
}

const day = 24 * time.Hour

// A world is the authorities and certificates of which set-ups are made.
type world struct {
	root, other, inter, old *entity // authorities; inter is root's, old has expired
	leaf, deep, rsa         *entity // of root, of inter, of root with an RSA key
}

var theWorld = sync.OnceValue(func() *world {
	w := &world{root: authority("Root"), other: authority("Other")}
	w.inter = mold{cn: "Inter", ca: true}.by(w.root)
	w.old = mold{cn: "Old", ca: true, notBefore: testNow.Add(-2 * day), notAfter: testNow.Add(-day)}.root()
	w.leaf = mold{cn: "localhost"}.by(w.root)
	w.deep = mold{cn: "localhost"}.by(w.inter)
	w.rsa = mold{cn: "localhost", key: newRSA(), usage: usage(pki.DigitalSignature)}.by(w.root)
	return w
})

// setups are all set-ups. They are made once.
var setups = sync.OnceValue(func() (all []setup) {
	w := theWorld()
	for _, some := range [][]setup{w.caSetups(), w.identitySetups(), w.keySetups(), w.chainSetups(), w.sanitySetups(), w.extraSetups()} {
		all = append(all, some...)
	}
	return all
})

// good is a set with which nothing is wrong.
func (w *world) good() files { return usual(w.root, w.leaf) }

// damaged spoils the base64 of the first PEM block.
func damaged(pem []byte) []byte { return bytes.Replace(pem, []byte("-----\nM"), []byte("-----\n!"), 1) }

// crowd are n authorities that have nothing to do with anybody.
func (w *world) crowd(n int) (list []*entity) {
	for i := range n {
		list = append(list, mold{cn: fmt.Sprint("Extra ", i), ca: true, key: sharedKey()}.root())
	}
	return list
}

// sized appends text to PEM data up to a size.
func sized(pem []byte, n int) []byte {
	return append(bytes.Clone(pem), strings.Repeat("x", n-len(pem))...)
}

func (w *world) caSetups() []setup {
	ca, other := pemOf(w.root), pemOf(w.other)
	with := func(ca ...[]byte) files { return w.good().with("ca", bytes.Join(ca, nil)) }
	many := append([]*entity{w.root}, w.crowd(15)...)
	forger := mold{cn: "Root", ca: true, extensions: pki.Extensions{pki.SubjectKeyIDExtension(w.root.Extensions.SubjectKeyID())}}.root()
	return []setup{
		{"good", true, w.good()},
		{"no CA file", true, w.good().with("ca", nil)},
		{"CA file is junk", false, with([]byte("junk\n"))},
		{"CA file is empty", false, with()},
		{"CA in DER", false, with(w.root.Raw)},
		{"CA file is a key", false, with(keyOf(w.leaf))},
		{"CA damaged", false, with(damaged(ca))},
		{"CA truncated", false, with(ca[:200])},
		{"CA with malformed DER", false, with(pki.EncodePEM(pki.PEMCertificate, w.root.Raw[:100]))},
		{"CA then damaged", false, with(ca, damaged(other))},
		{"CA then truncated", false, with(ca, other[:200])},
		{"other CA", true, with(other)},
		{"expired extra CA", true, with(ca, pemOf(w.old))},
		{"expired extra CA first", false, with(pemOf(w.old), ca)},
		{"17th CA expired", false, with(pemOf(append(many, w.old)...))},
		{"CA behind 16 others", false, with(pemOf(append(w.crowd(16), w.root)...))},
		{"CA then NUL and expired", false, with(ca, []byte{0}, pemOf(w.old))},
		{"NUL then CA", false, with([]byte{0}, ca)},
		{"CA within text", false, with([]byte("hello\n"), ca, []byte("bye\n"))},
		{"CA indented", false, with([]byte("  "), ca)},
		{"CA twice", false, with(ca, ca)},
		{"CA and leaf", false, with(ca, pemOf(w.leaf))},
		{"CA file of 65536 bytes", false, with(sized(ca, 65536))},
		{"CA file of 65537 bytes", true, with(sized(ca, 65537))},
		{"forged by another CA of that name", false, usual(w.root, mold{cn: "localhost"}.by(forger))},
	}
}

func (w *world) identitySetups() []setup {
	cert := pemOf(w.leaf)
	with := func(cert ...[]byte) files { return w.good().with("cert", bytes.Join(cert, nil)) }
	expired := mold{cn: "localhost", notBefore: testNow.Add(-2 * day), notAfter: testNow.Add(-day)}.by(w.root)
	two := w.good().with("cert0", pemOf(w.rsa)).with("key0", keyOf(w.rsa))
	return []setup{
		{"no certificate", false, w.good().with("cert", nil)},
		{"no key", true, w.good().with("key", nil)},
		{"no key for an expired certificate", false, usual(w.root, expired).with("key", nil)},
		{"neither certificate nor key", false, w.good().with("cert", nil).with("key", nil)},
		{"certificate is junk", false, with([]byte("junk"))},
		{"certificate is empty", false, with()},
		{"certificate damaged", false, with(damaged(cert))},
		{"certificate then damaged", false, with(cert, damaged(pemOf(w.root)))},
		{"certificate behind key", false, with(keyOf(w.leaf), cert)},
		{"certificate and key in both files", false, with(keyOf(w.leaf), cert).with("key", append(keyOf(w.leaf), cert...))},
		{"certificate file of 65536 bytes", false, with(sized(cert, 65536))},
		{"certificate file of 65537 bytes", false, with(sized(cert, 65537))},
		{"two identities", false, two},
		{"second identity without key", false, two.with("key0", nil)},
		{"second identity without certificate", false, two.with("cert0", nil)},
		{"second identity with another key", true, two.with("key0", keyOf(w.leaf))},
		{"second identity expired", false, two.with("cert0", pemOf(expired)).with("key0", keyOf(expired))},
		{"broken identity behind a gap", false, w.good().with("cert1", pemOf(w.rsa)).with("key1", keyOf(w.leaf))},
		{"index 0 alone", true, files{"ca": pemOf(w.root), "cert0": cert, "key0": keyOf(w.leaf)}},
		{"index 0 and half a plain pair", false, files{"ca": pemOf(w.root), "cert0": cert, "key0": keyOf(w.leaf), "key": keyOf(w.leaf)}},
	}
}

func (w *world) keySetups() []setup {
	key := keyOf(w.leaf)
	with := func(key []byte) files { return w.good().with("key", key) }
	encrypted := sealed(w.leaf, "secret")
	special := func(spec string) *entity {
		return mold{cn: "localhost", key: newKey(spec), usage: usage(pki.DigitalSignature)}.by(w.root)
	}
	pqc := mold{cn: "PQC", ca: true, key: newKey("mldsa65")}.root()
	return []setup{
		{"key is junk", false, with([]byte("junk"))},
		{"key is empty", false, with([]byte{})},
		{"key damaged", false, with(damaged(key))},
		{"key is a certificate", false, with(pemOf(w.leaf))},
		{"key of another", true, with(keyOf(w.root))},
		{"key of another kind", false, with(keyOf(w.rsa))},
		{"key encrypted", false, with(encrypted)},
		{"key encrypted and damaged", false, with(damaged(encrypted))},
		{"Ed25519", false, usual(w.root, special("ed25519"))},
		{"ML-DSA", true, usual(w.root, special("mldsa65"))},
		{"ML-DSA authority", false, usual(pqc, mold{cn: "localhost"}.by(pqc))},
	}
}

func (w *world) chainSetups() []setup {
	with := func(chain ...*entity) files { return usual(w.root, w.deep).with("cert", pemOf(chain...)) }
	long := func(n int) files { return w.good().with("cert", pemOf(append([]*entity{w.leaf}, w.crowd(n-1)...)...)) }
	self := mold{cn: "localhost"}.root()
	bare := mold{cn: "Root", ca: true, without: []asn1.ObjectIdentifier{pki.OIDSubjectKeyID}}.root()
	cross := authority("Cross")
	crossed := mold{cn: "Root", ca: true, key: w.root.key}.by(cross)
	back := mold{cn: "Cross", ca: true, key: cross.key}.by(crossed)
	return []setup{
		{"intermediate in own file", true, with(w.deep, w.inter)},
		{"intermediate and root in own file", false, with(w.deep, w.inter, w.root)},
		{"expired stranger in own file", false, with(w.deep, w.old)},
		{"intermediate before leaf", false, with(w.inter, w.deep)},
		{"root before intermediate", false, with(w.deep, w.root, w.inter)},
		{"stranger between", false, with(w.deep, w.other, w.inter)},
		{"leaf twice", false, w.good().with("cert", pemOf(w.leaf, w.leaf))},
		{"root behind leaf", false, w.good().with("cert", pemOf(w.leaf, w.root))},
		{"root before leaf", false, w.good().with("cert", pemOf(w.root, w.leaf))},
		{"stranger behind leaf", false, w.good().with("cert", pemOf(w.leaf, w.other))},
		{"own file of 16", false, long(16)},
		{"own file of 17", false, long(17)},
		{"intermediate missing", false, with(w.deep)},
		{"intermediate in CA file", false, with(w.deep).with("ca", pemOf(w.root, w.inter))},
		{"intermediate first in CA file", false, with(w.deep).with("ca", pemOf(w.inter, w.root))},
		{"intermediate alone trusted", true, usual(w.inter, w.deep)},
		{"root trusted across", false, usual(w.root, w.leaf).with("ca", pemOf(crossed, cross))},
		{"self-signed authority as leaf", false, usual(w.root, w.root)},
		{"self-signed leaf", false, usual(self, self)},
		{"leaf named as its authority", false, usual(w.root, mold{cn: "Root"}.by(w.root))},
		{"leaf named as its authority without key identifiers", false,
			usual(bare, mold{cn: "Root", without: []asn1.ObjectIdentifier{pki.OIDSubjectKeyID, pki.OIDAuthorityKeyID}}.by(bare))},
		{"empty subject", false, usual(w.root, mold{}.by(w.root))},
		// Not for QEMU 10.2 and newer, which never end here.
		{circle, false, usual(w.root, w.leaf).with("ca", pemOf(crossed, back))},
	}
}

// circle is the set-up whose authorities have issued each other.
const circle = "authorities in a circle"

func (w *world) sanitySetups() []setup {
	leaf := func(m mold) files { m.cn = "localhost"; return usual(w.root, m.by(w.root)) }
	under := func(ca mold) files {
		ca.cn, ca.ca = "Authority", true
		root := ca.root()
		return usual(root, mold{cn: "localhost"}.by(root))
	}
	raw := func(oid asn1.ObjectIdentifier, critical bool) mold {
		return mold{extensions: pki.Extensions{{OID: oid, Critical: critical, Value: []byte{4, 1, 1}}}}
	}
	purpose := func(critical bool, oids ...asn1.ObjectIdentifier) mold {
		return mold{purposes: oids, purposeCritical: critical}
	}
	leafAsRoot := mold{cn: "Authority"}.root()
	return []setup{
		{"expired", true, leaf(mold{notBefore: testNow.Add(-2 * day), notAfter: testNow.Add(-day)})},
		{"not yet valid", false, leaf(mold{notBefore: testNow.Add(2 * day)})},
		{"authority as leaf", false, leaf(mold{ca: true})},
		{"no basic constraints", false, leaf(mold{without: []asn1.ObjectIdentifier{pki.OIDBasicConstraints}})},
		{"usage without signature", false, leaf(mold{usage: usage(pki.KeyEncipherment)})},
		{"usage without signature not critical", false, leaf(mold{usage: usage(pki.KeyEncipherment), usageNotCritical: true})},
		{"usage without encipherment EC", false, leaf(mold{usage: usage(pki.DigitalSignature)})},
		{"usage without encipherment RSA", true, usual(w.root, w.rsa)},
		{"usage without encipherment not critical", false, leaf(mold{usage: usage(pki.DigitalSignature), usageNotCritical: true})},
		{"no usage", false, leaf(mold{without: []asn1.ObjectIdentifier{pki.OIDKeyUsage}})},
		{"empty usage", false, leaf(mold{usage: usage(0)})},
		{"no purpose", false, leaf(purpose(false))},
		{"purpose email critical", false, leaf(purpose(true, pki.PurposeEmailProtection))},
		{"purpose email", false, leaf(purpose(false, pki.PurposeEmailProtection))},
		{"purpose any critical", true, leaf(purpose(true, pki.PurposeAny))},
		{"purpose client critical", false, leaf(purpose(true, pki.PurposeClient))},
		{"purpose server critical", false, leaf(purpose(true, pki.PurposeServer))},
		{"malformed basic constraints", false, leaf(raw(pki.OIDBasicConstraints, false))},
		{"malformed usage", false, leaf(raw(pki.OIDKeyUsage, false))},
		{"malformed purpose", false, leaf(raw(pki.OIDExtKeyUsage, false))},
		{"malformed names", false, leaf(raw(pki.OIDSubjectAltName, false))},
		{"authority without basic constraints", false, under(mold{without: []asn1.ObjectIdentifier{pki.OIDBasicConstraints}})},
		{"leaf as authority", false, usual(leafAsRoot, mold{cn: "localhost"}.by(leafAsRoot))},
		{"authority that may not sign", false, under(mold{usage: usage(pki.CRLSign)})},
		{"authority that may not sign not critical", false, under(mold{usage: usage(pki.CRLSign), usageNotCritical: true})},
		{"authority not yet valid", false, under(mold{notBefore: testNow.Add(day)})},
	}
}

func (w *world) extraSetups() []setup {
	crl := w.crl(w.root, testNow.Add(day)).PEM()
	dh := func(p, g *big.Int) []byte {
		der, err := asn1.Marshal(struct{ P, G *big.Int }{p, g})
		if err != nil {
			panic(err)
		}
		return pki.EncodePEM("DH PARAMETERS", der)
	}
	odd := func(bits uint) *big.Int {
		return new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits-1), big.NewInt(7))
	}
	two := big.NewInt(2)
	with := func(dh []byte) files { return w.good().with("dh", dh) }
	return []setup{
		{"CRL", false, w.good().with("crl", crl)},
		{"CRL is junk", true, w.good().with("crl", []byte("junk"))},
		{"CRL is a certificate", false, w.good().with("crl", pemOf(w.root))},
		{"CRL is empty", false, w.good().with("crl", []byte{})},
		{"CRL overdue", false, w.good().with("crl", w.crl(w.root, testNow.Add(-time.Minute)).PEM())},
		{"CRL of another", false, w.good().with("crl", w.crl(w.other, testNow.Add(day)).PEM())},
		{"DH parameters", false, with(testDH)},
		{"DH parameters are junk", true, with([]byte("junk"))},
		{"DH parameters are a certificate", false, with(pemOf(w.root))},
		{"DH parameters with malformed DER", false, with(pki.EncodePEM("DH PARAMETERS", []byte{0x30, 6, 2, 1, 0x80}))},
		{"DH parameters with data behind", false, with(pki.EncodePEM("DH PARAMETERS", []byte{0x30, 6, 2, 1, 23, 2, 1, 2, 0}))},
		{"DH prime of 0", false, with(dh(new(big.Int), two))},
		{"DH prime below 0", false, with(pki.EncodePEM("DH PARAMETERS", []byte{0x30, 6, 2, 1, 0x81, 2, 1, 2}))},
		{"DH prime even", false, with(dh(big.NewInt(24), two))},
		{"DH prime of 256 bits", false, with(dh(odd(256), two))},
		{"DH prime of 20000 bits", false, with(dh(odd(20000), two))},
		{"DH generator larger than the prime", false, with(dh(big.NewInt(23), big.NewInt(29)))},
		{"DH parameters behind NUL and text", false, with(append([]byte("\x00hello\n"), testDH...))},
	}
}

// crl makes an authority's revocation list.
func (w *world) crl(ca *entity, next time.Time, revoked ...*entity) *pki.CRL {
	spec := &pki.CRLSpec{ThisUpdate: testNow.Add(-time.Hour), NextUpdate: next}
	for _, e := range revoked {
		spec.Revoked = append(spec.Revoked, pki.RevokedCertificate{Serial: e.Serial, RevokedAt: testNow.Add(-time.Hour)})
	}
	crl, err := pki.SignCRL(spec, ca.Certificate, ca.key, pki.SignatureAlgorithm{})
	if err != nil {
		panic(err)
	}
	return crl
}
