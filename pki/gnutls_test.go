package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/cryptobyte"

	"virtls/internal/peertest"
	"virtls/pki/dn"
)

// A gnutlsCase is a chain as a peer sends it, and what GnuTLS says of it.
type gnutlsCase struct {
	name    string
	trusted []*entity
	chain   []*entity
	crls    []*CRL
	purpose asn1.ObjectIdentifier
	want    []Reason // none: it is trusted
}

// gnutlsTexts are what certtool prints for the reasons.
var gnutlsTexts = map[Reason]string{
	UnknownIssuer:    "The certificate issuer is unknown",
	NotCA:            "The certificate issuer is not a CA",
	PathTooLong:      "The certificate chain violates the signer's constraints",
	WrongKeyUsage:    "The certificate chain violates the signer's constraints",
	NameNotPermitted: "The certificate chain violates the signer's constraints",
	BadSignature:     "The signature in the certificate is invalid",
	WeakKey:          "The certificate chain uses insecure algorithm",
	WeakHash:         "The certificate chain uses insecure algorithm",
	Expired:          "The certificate chain uses expired certificate",
	NotYetValid:      "The certificate chain uses not yet valid certificate",
	Revoked:          "The certificate chain is revoked",
	WrongPurpose:     "The certificate chain does not match the intended purpose",
	UnknownCritical:  "The certificate contains an unknown critical extension",
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signer(t testing.TB, alg KeyAlgorithm) crypto.Signer {
	t.Helper()
	key, err := GenerateSigner(KeySpec{Algorithm: alg, Bits: 2048})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var unknownCritical = Extensions{{OID: asn1.ObjectIdentifier{1, 2, 3, 4, 5}, Critical: true, Value: []byte{5, 0}}}

func permit(names ...GeneralName) Extensions {
	return Extensions{NameConstraints{Permitted: names}.Extension()}
}

func exclude(names ...GeneralName) Extensions {
	return Extensions{NameConstraints{Excluded: names}.Extension()}
}

func gnutlsCases(t testing.TB) []gnutlsCase {
	past, future := testNow.Add(-48*time.Hour), testNow.Add(48*time.Hour)
	root := mold{cn: "Root"}.root(t)
	other := mold{cn: "Other"}.root(t)
	namesake := mold{cn: "Root"}.root(t)
	ica := mold{cn: "ICA", ca: true}.by(t, root)
	ica2 := mold{cn: "ICA 2", ca: true}.by(t, ica)
	leaf := mold{cn: "leaf"}
	noKeyID := []asn1.ObjectIdentifier{OIDSubjectKeyID, OIDAuthorityKeyID}
	two := func(a *entity, b ...*entity) []*entity { return append([]*entity{a}, b...) }

	expiredRoot := mold{cn: "Expired Root", notBefore: past.Add(-time.Hour), notAfter: past}.root(t)
	futureRoot := mold{cn: "Future Root", notBefore: future, notAfter: future.Add(time.Hour)}.root(t)
	oldKey := newP256()
	twinA := mold{cn: "Twin", key: oldKey, notBefore: past.Add(-time.Hour), notAfter: past}.root(t)
	twinB := mold{cn: "Twin", key: oldKey}.root(t)
	noBasic := mold{cn: "No Basic", without: []asn1.ObjectIdentifier{OIDBasicConstraints}}.root(t)
	noBasicICA := mold{cn: "No Basic ICA", key: newP256()}.by(t, root)
	notCA := mold{cn: "Not CA", extensions: Extensions{BasicConstraints{}.Extension()}}.root(t)
	noSign := mold{cn: "No Sign", usage: CRLSign}.root(t)
	noUsage := mold{cn: "No Usage", without: []asn1.ObjectIdentifier{OIDKeyUsage}}.root(t)
	bare := mold{cn: "Bare", without: noKeyID}.root(t)
	pathZero := mold{cn: "Path Zero", pathLen: -1}.root(t)
	belowZero := mold{cn: "Below Zero", ca: true}.by(t, pathZero)
	pathOne := mold{cn: "Path One", pathLen: 1}.root(t)
	belowOne := mold{cn: "Below One", ca: true}.by(t, pathOne)
	selfIssued := mold{cn: "Path Zero", ca: true}.by(t, pathZero)
	critical := mold{cn: "Critical", extensions: unknownCritical}.root(t)
	criticalICA := mold{cn: "Critical ICA", ca: true, extensions: unknownCritical}.by(t, root)
	rsa1024 := mold{cn: "RSA 1024", key: rsaKey(t, 1024)}.root(t)
	rsa1032 := mold{cn: "RSA 1032", key: rsaKey(t, 1032)}.root(t)
	rsaRoot := mold{cn: "RSA", key: rsaKey(t, 2048)}.root(t)
	sha1Root := mold{cn: "SHA1", key: rsaRoot.key, alg: SignatureAlgorithm{Key: RSA, Hash: crypto.SHA1}}.root(t)
	md5Root := mold{cn: "MD5", key: rsaRoot.key, alg: SignatureAlgorithm{Key: RSA, Hash: crypto.MD5}}.root(t)
	sha1ICA := mold{cn: "SHA1 ICA", ca: true, alg: SignatureAlgorithm{Key: RSA, Hash: crypto.SHA1}}.by(t, rsaRoot)
	ed25519 := mold{cn: "Ed25519", key: signer(t, Ed25519)}.root(t)
	ed448 := mold{cn: "Ed448", key: signer(t, Ed448)}.root(t)
	pss := mold{cn: "PSS", key: signer(t, RSAPSS)}.root(t)
	mldsa := mold{cn: "ML-DSA", key: signer(t, MLDSA65)}.root(t)
	clientICA := mold{cn: "Client ICA", ca: true, purposes: []asn1.ObjectIdentifier{PurposeClient}}.by(t, root)
	anyICA := mold{cn: "Any ICA", ca: true, purposes: []asn1.ObjectIdentifier{PurposeAny}}.by(t, root)
	clientRoot := mold{cn: "Client Root", purposes: []asn1.ObjectIdentifier{PurposeClient}}.root(t)

	dnsRoot := mold{cn: "DNS Root", extensions: permit(DNSName("example.com"))}.root(t)
	dotRoot := mold{cn: "Dot Root", extensions: permit(DNSName(".example.com"))}.root(t)
	noDNS := mold{cn: "No DNS", extensions: exclude(DNSName("bad.example.com"))}.root(t)
	ipRoot := mold{cn: "IP Root", extensions: permit(IPRange(netip.MustParsePrefix("192.0.2.0/24")))}.root(t)
	mailRoot := mold{cn: "Mail Root", extensions: permit(Email("example.com"))}.root(t)
	dirRoot := mold{cn: "Dir Root", extensions: permit(DirectoryName(dn.New(dn.Attr(dn.OrganizationOID, "O"))))}.root(t)
	noDir := mold{cn: "No Dir", extensions: exclude(DirectoryName(dn.New(dn.Attr(dn.OrganizationOID, "O"))))}.root(t)
	uriRoot := mold{cn: "URI Root", extensions: permit(URI("example.com"))}.root(t)
	noURI := mold{cn: "No URI", extensions: exclude(URI("bad.example.com"))}.root(t)
	badICA := mold{cn: "bad.example.com", ca: true, names: dnsNames("bad.example.com")}.by(t, noDNS)
	policyRoot := mold{cn: "Policy Root"}.root(t)
	policyICA := mold{cn: "Policy ICA", ca: true, extensions: Extensions{
		{OIDPolicyConstraints, false, encodeSequence(func(b *cryptobyte.Builder) { b.AddASN1(prim(0), func(b *cryptobyte.Builder) { b.AddBytes([]byte{0}) }) })}}}.by(t, policyRoot)
	v1Root := v1Authority(t, "V1 Root", nil)
	v1ICA := v1Authority(t, "V1 ICA", root)

	expired := mold{cn: "leaf", notBefore: past.Add(-time.Hour), notAfter: past}
	names := func(n ...GeneralName) mold { return mold{cn: "leaf", names: n} }
	forged := *leaf.by(t, root).Certificate
	forged.Raw = bytes.Clone(forged.Raw)
	forged.Raw[len(forged.Raw)-1] ^= 1
	forgedCert, err := ParseCertificate(forged.Raw)
	if err != nil {
		t.Fatal(err)
	}
	dup := mold{cn: "leaf"}.by(t, root)
	revoked := leaf.by(t, root)
	revokedICA := mold{cn: "Revoked ICA", ca: true}.by(t, root)
	server, client := []asn1.ObjectIdentifier{PurposeServer}, []asn1.ObjectIdentifier{PurposeClient}

	return []gnutlsCase{
		{"one", two(root), two(leaf.by(t, root)), nil, nil, nil},
		{"root sent too", two(root), two(leaf.by(t, root), root), nil, nil, nil},
		{"two", two(root), two(leaf.by(t, ica), ica), nil, nil, nil},
		{"three", two(root), two(leaf.by(t, ica2), ica2, ica), nil, nil, nil},
		{"three in disorder", two(root), two(leaf.by(t, ica2), ica, ica2), nil, nil, nil},
		{"stranger between", two(root), two(leaf.by(t, ica), other, ica), nil, nil, nil},
		{"twice the same", two(root), two(leaf.by(t, ica), ica, ica), nil, nil, nil},
		{"intermediate missing", two(root), two(leaf.by(t, ica)), nil, nil, []Reason{UnknownIssuer}},
		{"intermediate among trusted", two(root, ica), two(leaf.by(t, ica)), nil, nil, nil},
		{"intermediate trusted alone", two(ica), two(leaf.by(t, ica)), nil, nil, nil},
		{"intermediate trusted alone, sent too", two(ica), two(leaf.by(t, ica), ica), nil, nil, nil},
		{"intermediate trusted alone, two below", two(ica), two(leaf.by(t, ica2), ica2), nil, nil, nil},
		{"unknown root", two(other), two(leaf.by(t, root)), nil, nil, []Reason{UnknownIssuer}},
		{"unknown root sent", two(other), two(leaf.by(t, root), root), nil, nil, []Reason{UnknownIssuer}},
		{"namesake of root", two(namesake), two(leaf.by(t, root)), nil, nil, []Reason{UnknownIssuer}},
		{"namesake without key identifier", two(mold{cn: "Bare"}.root(t)), two(mold{cn: "leaf", without: noKeyID}.by(t, bare)), nil, nil, []Reason{BadSignature}},
		{"two roots of one name", two(namesake, root), two(leaf.by(t, root)), nil, nil, nil},
		{"two roots of one name, no key identifiers", two(mold{cn: "Bare", without: noKeyID}.root(t), bare), two(mold{cn: "leaf", without: noKeyID}.by(t, bare)), nil, nil, nil},
		{"two roots of one name, wrong last", two(bare, mold{cn: "Bare", without: noKeyID}.root(t)), two(mold{cn: "leaf", without: noKeyID}.by(t, bare)), nil, nil, []Reason{BadSignature}},
		{"no key identifiers", two(bare), two(mold{cn: "leaf", without: noKeyID}.by(t, bare)), nil, nil, nil},
		{"leaf is trusted itself", two(root, ica), two(ica), nil, nil, nil},
		{"leaf alone is trusted", two(ica2), two(ica2), nil, nil, []Reason{UnknownIssuer}},
		{"self-signed leaf trusted", two(root), two(root), nil, nil, nil},
		{"self-signed leaf unknown", two(other), two(root), nil, nil, []Reason{UnknownIssuer}},
		{"expired leaf", two(root), two(expired.by(t, root)), nil, nil, []Reason{Expired}},
		{"leaf of the future", two(root), two(mold{cn: "leaf", notBefore: future, notAfter: future.Add(time.Hour)}.by(t, root)), nil, nil, []Reason{NotYetValid}},
		{"expired root", two(expiredRoot), two(leaf.by(t, expiredRoot)), nil, nil, []Reason{Expired}},
		{"expired root sent", two(expiredRoot), two(leaf.by(t, expiredRoot), expiredRoot), nil, nil, []Reason{Expired}},
		{"root of the future", two(futureRoot), two(leaf.by(t, futureRoot)), nil, nil, []Reason{NotYetValid}},
		{"expired leaf of unknown issuer", two(other), two(expired.by(t, root)), nil, nil, []Reason{UnknownIssuer, Expired}},
		{"expired twin first", two(twinA, twinB), two(leaf.by(t, twinB)), nil, nil, nil},
		{"expired twin last", two(twinB, twinA), two(leaf.by(t, twinB)), nil, nil, nil},
		{"expired twin trusted, valid one sent", two(twinA), two(leaf.by(t, twinB), twinB), nil, nil, []Reason{Expired}},
		{"other root expired", two(expiredRoot, root), two(leaf.by(t, root)), nil, nil, nil},
		{"forged", two(root), two(&entity{forgedCert, nil}), nil, nil, []Reason{BadSignature}},
		{"root without basic constraints", two(noBasic), two(leaf.by(t, noBasic)), nil, nil, nil},
		{"intermediate without basic constraints", two(root), two(leaf.by(t, noBasicICA), noBasicICA), nil, nil, []Reason{NotCA}},
		{"intermediate without basic constraints trusted", two(noBasicICA), two(leaf.by(t, noBasicICA)), nil, nil, []Reason{NotCA}},
		{"root says no CA", two(notCA), two(leaf.by(t, notCA)), nil, nil, []Reason{NotCA}},
		{"version 1 root", two(v1Root), two(leaf.by(t, v1Root)), nil, nil, nil},
		{"version 1 intermediate", two(root), two(leaf.by(t, v1ICA), v1ICA), nil, nil, []Reason{NotCA}},
		{"version 1 intermediate trusted", two(v1ICA), two(leaf.by(t, v1ICA)), nil, nil, nil},
		{"root without keyCertSign", two(noSign), two(leaf.by(t, noSign)), nil, nil, []Reason{WrongKeyUsage}},
		{"root without key usage", two(noUsage), two(leaf.by(t, noUsage)), nil, nil, nil},
		{"path length 0, leaf below", two(pathZero), two(leaf.by(t, pathZero)), nil, nil, nil},
		{"path length 0, authority below", two(pathZero), two(leaf.by(t, belowZero), belowZero), nil, nil, []Reason{PathTooLong}},
		{"path length 0, self-issued below", two(pathZero), two(leaf.by(t, selfIssued), selfIssued), nil, nil, []Reason{PathTooLong}},
		{"path length 1", two(pathOne), two(leaf.by(t, belowOne), belowOne), nil, nil, nil},
		{"unknown critical in leaf", two(root), two(mold{cn: "leaf", extensions: unknownCritical}.by(t, root)), nil, nil, []Reason{UnknownCritical}},
		{"unknown critical in intermediate", two(root), two(leaf.by(t, criticalICA), criticalICA), nil, nil, []Reason{UnknownCritical}},
		{"unknown critical in root", two(critical), two(leaf.by(t, critical)), nil, nil, []Reason{UnknownCritical}},
		{"RSA 1024 root", two(rsa1024), two(leaf.by(t, rsa1024)), nil, nil, nil},
		{"RSA 1032 root", two(rsa1032), two(leaf.by(t, rsa1032)), nil, nil, nil},
		{"RSA 1024 leaf", two(root), two(mold{cn: "leaf", key: rsa1024.key}.by(t, root)), nil, nil, nil},
		{"SHA-1 leaf", two(rsaRoot), two(mold{cn: "leaf", alg: SignatureAlgorithm{Key: RSA, Hash: crypto.SHA1}}.by(t, rsaRoot)), nil, nil, []Reason{WeakHash}},
		{"MD5 leaf", two(rsaRoot), two(mold{cn: "leaf", alg: SignatureAlgorithm{Key: RSA, Hash: crypto.MD5}}.by(t, rsaRoot)), nil, nil, []Reason{WeakHash}},
		{"SHA-1 ECDSA leaf", two(root), two(mold{cn: "leaf", alg: SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA1}}.by(t, root)), nil, nil, []Reason{WeakHash}},
		{"SHA-224 leaf", two(root), two(mold{cn: "leaf", alg: SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA224}}.by(t, root)), nil, nil, nil},
		{"SHA3-256 leaf", two(rsaRoot), two(mold{cn: "leaf", alg: SignatureAlgorithm{Key: RSA, Hash: crypto.SHA3_256}}.by(t, rsaRoot)), nil, nil, nil},
		{"SHA-1 root", two(sha1Root), two(leaf.by(t, sha1Root)), nil, nil, nil},
		{"MD5 root", two(md5Root), two(leaf.by(t, md5Root)), nil, nil, nil},
		{"MD5 root as leaf", two(other), two(md5Root), nil, nil, []Reason{UnknownIssuer, WeakHash}},
		{"SHA-1 root as leaf", two(other), two(sha1Root), nil, nil, []Reason{UnknownIssuer}},
		{"SHA-1 intermediate", two(rsaRoot), two(leaf.by(t, sha1ICA), sha1ICA), nil, nil, []Reason{WeakHash}},
		{"SHA-1 intermediate trusted", two(sha1ICA), two(leaf.by(t, sha1ICA), sha1ICA), nil, nil, nil},
		{"Ed25519", two(ed25519), two(leaf.by(t, ed25519)), nil, nil, nil},
		{"Ed448", two(ed448), two(leaf.by(t, ed448)), nil, nil, nil},
		{"RSA-PSS key", two(pss), two(leaf.by(t, pss)), nil, nil, nil},
		{"RSA-PSS by RSA key", two(rsaRoot), two(mold{cn: "leaf", alg: SignatureAlgorithm{RSAPSS, crypto.SHA256, 32}}.by(t, rsaRoot)), nil, nil, nil},
		{"RSA-PSS short salt", two(rsaRoot), two(mold{cn: "leaf", alg: SignatureAlgorithm{RSAPSS, crypto.SHA256, 20}}.by(t, rsaRoot)), nil, nil, []Reason{BadSignature}},
		{"RSA-PSS long salt", two(rsaRoot), two(mold{cn: "leaf", alg: SignatureAlgorithm{RSAPSS, crypto.SHA256, 64}}.by(t, rsaRoot)), nil, nil, []Reason{BadSignature}},
		{"RSA-PSS key, short salt", two(pss), two(mold{cn: "leaf", alg: SignatureAlgorithm{RSAPSS, crypto.SHA256, 20}}.by(t, pss)), nil, nil, nil},
		{"RSA-PSS key, long salt", two(pss), two(mold{cn: "leaf", alg: SignatureAlgorithm{RSAPSS, crypto.SHA256, 64}}.by(t, pss)), nil, nil, nil},
		{"ML-DSA root among others", two(mldsa, root), two(leaf.by(t, root)), nil, nil, nil},
		{"client, nobody asks", two(root), two(mold{cn: "leaf", purposes: client}.by(t, root)), nil, nil, nil},
		{"client as server", two(root), two(mold{cn: "leaf", purposes: client}.by(t, root)), nil, PurposeServer, []Reason{WrongPurpose}},
		{"server as server", two(root), two(mold{cn: "leaf", purposes: server}.by(t, root)), nil, PurposeServer, nil},
		{"any as server", two(root), two(mold{cn: "leaf", purposes: []asn1.ObjectIdentifier{PurposeAny}}.by(t, root)), nil, PurposeServer, nil},
		{"client intermediate as server", two(root), two(leaf.by(t, clientICA), clientICA), nil, PurposeServer, []Reason{WrongPurpose}},
		{"any intermediate as server", two(root), two(leaf.by(t, anyICA), anyICA), nil, PurposeServer, []Reason{WrongPurpose}},
		{"client root as server", two(clientRoot), two(leaf.by(t, clientRoot)), nil, PurposeServer, nil},
		{"DNS permitted", two(dnsRoot), two(names(DNSName("host.example.com")).by(t, dnsRoot)), nil, nil, nil},
		{"DNS permitted itself", two(dnsRoot), two(names(DNSName("example.com")).by(t, dnsRoot)), nil, nil, nil},
		{"DNS not permitted", two(dnsRoot), two(names(DNSName("example.org")).by(t, dnsRoot)), nil, nil, []Reason{NameNotPermitted}},
		{"DNS suffix without dot", two(dnsRoot), two(names(DNSName("badexample.com")).by(t, dnsRoot)), nil, nil, []Reason{NameNotPermitted}},
		{"DNS wildcard permitted", two(dnsRoot), two(names(DNSName("*.example.com")).by(t, dnsRoot)), nil, nil, nil},
		{"DNS by CN", two(dnsRoot), two(mold{cn: "host.example.com"}.by(t, dnsRoot)), nil, nil, nil},
		{"DNS by CN not permitted", two(dnsRoot), two(leaf.by(t, dnsRoot)), nil, nil, []Reason{NameNotPermitted}},
		{"DNS by CN of client", two(dnsRoot), two(mold{cn: "client 1", purposes: client}.by(t, dnsRoot)), nil, nil, nil},
		{"DNS by two CNs", two(dnsRoot), two(mold{subject: dn.New(dn.Attr(dn.CommonNameOID, "host.example.com"), dn.Attr(dn.CommonNameOID, "x.example.com"))}.by(t, dnsRoot)), nil, nil, []Reason{NameNotPermitted}},
		{"DNS no name", two(dnsRoot), two(mold{subject: dn.New(dn.Attr(dn.OrganizationOID, "O"))}.by(t, dnsRoot)), nil, nil, nil},
		{"DNS constraint with dot, below", two(dotRoot), two(names(DNSName("host.example.com")).by(t, dotRoot)), nil, nil, nil},
		{"DNS constraint with dot, itself", two(dotRoot), two(names(DNSName("example.com")).by(t, dotRoot)), nil, nil, []Reason{NameNotPermitted}},
		{"DNS excluded", two(noDNS), two(names(DNSName("x.bad.example.com")).by(t, noDNS)), nil, nil, []Reason{NameNotPermitted}},
		{"DNS not excluded", two(noDNS), two(names(DNSName("good.example.com")).by(t, noDNS)), nil, nil, nil},
		{"DNS excluded by wildcard", two(noDNS), two(names(DNSName("*.example.com")).by(t, noDNS)), nil, nil, nil},
		{"DNS excluded in intermediate", two(noDNS), two(names(DNSName("good.example.com")).by(t, badICA), badICA), nil, nil, nil},
		{"IP permitted", two(ipRoot), two(names(ipNames("192.0.2.7")...).by(t, ipRoot)), nil, nil, nil},
		{"IP not permitted", two(ipRoot), two(names(ipNames("192.0.3.7")...).by(t, ipRoot)), nil, nil, []Reason{NameNotPermitted}},
		{"IP of other family", two(ipRoot), two(names(ipNames("2001:db8::1")...).by(t, ipRoot)), nil, nil, nil},
		{"email permitted", two(mailRoot), two(names(Email("a@example.com")).by(t, mailRoot)), nil, nil, nil},
		{"email not permitted", two(mailRoot), two(names(Email("a@host.example.com")).by(t, mailRoot)), nil, nil, []Reason{NameNotPermitted}},
		{"directory name not permitted", two(dirRoot), two(leaf.by(t, dirRoot)), nil, nil, nil},
		{"directory name excluded", two(noDir), two(mold{subject: dn.New(dn.Attr(dn.OrganizationOID, "O"))}.by(t, noDir)), nil, nil, []Reason{NameNotPermitted}},
		{"directory name not excluded", two(noDir), two(leaf.by(t, noDir)), nil, nil, []Reason{NameNotPermitted}},
		{"no URI where some are excluded", two(noURI), two(leaf.by(t, noURI)), nil, nil, nil},
		{"directory name excluded, with URI", two(noDir), two(names(URI("https://example.org/")).by(t, noDir)), nil, nil, []Reason{NameNotPermitted}},
		{"URI not permitted", two(uriRoot), two(names(URI("https://example.org/")).by(t, uriRoot)), nil, nil, nil},
		{"URI excluded", two(noURI), two(names(URI("https://bad.example.com/")).by(t, noURI)), nil, nil, []Reason{NameNotPermitted}},
		{"URI not excluded", two(noURI), two(names(URI("https://example.org/")).by(t, noURI)), nil, nil, []Reason{NameNotPermitted}},
		{"explicit policy wanted", two(policyRoot), two(leaf.by(t, policyICA), policyICA), nil, nil, nil},
		{"not revoked", two(root), two(dup), []*CRL{crlOf(t, root, testNow, revoked)}, nil, nil},
		{"revoked", two(root), two(revoked), []*CRL{crlOf(t, root, testNow, revoked)}, nil, []Reason{Revoked}},
		{"revoked intermediate", two(root), two(leaf.by(t, revokedICA), revokedICA), []*CRL{crlOf(t, root, testNow, revokedICA)}, nil, []Reason{Revoked}},
		{"revoked by stale CRL", two(root), two(revoked), []*CRL{crlOf(t, root, past, revoked)}, nil, []Reason{Revoked}},
		{"stale CRL", two(root), two(dup), []*CRL{crlOf(t, root, past, revoked)}, nil, nil},
		{"CRL of somebody else", two(root, other), two(revoked), []*CRL{crlOf(t, other, testNow, revoked)}, nil, nil},
	}
}

// v1Authority makes a version 1 certificate, which has no extensions.
func v1Authority(t testing.TB, cn string, issuer *entity) *entity {
	t.Helper()
	key := newP256()
	spec := mold{cn: cn, key: key}.spec(nil)
	spec.Version, spec.Extensions = 1, nil
	signer := &entity{key: key}
	if issuer != nil {
		signer = issuer
	}
	c, err := Sign(spec, signer.Certificate, signer.key, SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	return &entity{c, key}
}

// crlOf makes a CRL that is valid for a day.
func crlOf(t testing.TB, issuer *entity, since time.Time, revoked ...*entity) *CRL {
	t.Helper()
	s := &CRLSpec{ThisUpdate: since.Add(-time.Hour), NextUpdate: since.Add(24 * time.Hour), Number: big.NewInt(1)}
	for _, r := range revoked {
		s.Revoked = append(s.Revoked, RevokedCertificate{Serial: r.Serial, RevokedAt: since.Add(-2 * time.Hour)})
	}
	crl, err := SignCRL(s, issuer.Certificate, issuer.key, SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	return crl
}

func unwrap(list []*entity) (certs []*Certificate) {
	for _, e := range list {
		certs = append(certs, e.Certificate)
	}
	return certs
}

func pemOf(certs []*Certificate) (text []byte) {
	for _, c := range certs {
		text = append(text, c.PEM()...)
	}
	return text
}

// gnutlsSays turns reasons into what certtool says, sorted.
func gnutlsSays(reasons []Reason) (texts []string) {
	for _, r := range reasons {
		if text := gnutlsTexts[r]; !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	slices.Sort(texts)
	return texts
}

// verdictOf returns what is wrong by certtool's texts, nothing if err is nil.
func verdictOf(err error) []string {
	var reasons []Reason
	var ve *VerifyError
	if errors.As(err, &ve) {
		for _, p := range ve.Problems {
			reasons = append(reasons, p.Reason)
		}
	}
	return gnutlsSays(reasons)
}

// certtoolVerdicts asks the real certtool about all cases.
func certtoolVerdicts(t *testing.T, g peertest.Generation, cases []gnutlsCase) (verdicts []string) {
	t.Helper()
	files := map[string][]byte{}
	var script strings.Builder
	for i, tt := range cases {
		files[fmt.Sprintf("%d.chain", i)] = pemOf(unwrap(tt.chain))
		files[fmt.Sprintf("%d.ca", i)] = pemOf(unwrap(tt.trusted))
		fmt.Fprintf(&script, "certtool --verify --verify-profile low --load-ca-certificate %d.ca --infile %d.chain", i, i)
		if tt.crls != nil {
			files[fmt.Sprintf("%d.crl", i)] = tt.crls[0].PEM()
			fmt.Fprintf(&script, " --load-crl %d.crl", i)
		}
		if tt.purpose != nil {
			fmt.Fprintf(&script, " --verify-purpose %v", tt.purpose)
		}
		fmt.Fprintf(&script, " 2>&1 | grep -a '^Chain verification output' || echo nothing\n")
	}
	out := shell(t, g, writeFiles(t, files), script.String())
	verdicts = strings.Split(strings.TrimSpace(out), "\n")
	if len(verdicts) != len(cases) {
		t.Fatal(out)
	}
	return verdicts
}

func TestPredictGnuTLS(t *testing.T) {
	cases := gnutlsCases(t)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			err := PredictGnuTLS(unwrap(tt.chain), GnuTLSOptions{Trusted: unwrap(tt.trusted), CRLs: tt.crls, Purpose: tt.purpose, Time: testNow, NotSame: true})
			if diff := cmp.Diff(gnutlsSays(tt.want), verdictOf(err)); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for i, verdict := range certtoolVerdicts(t, g, cases) {
			tt := cases[i]
			var says []string
			for text := range strings.SplitSeq(verdict, ".") {
				if text = strings.TrimSpace(text); slices.Contains(slices.Collect(maps.Values(gnutlsTexts)), text) {
					says = append(says, text)
				}
			}
			slices.Sort(says)
			trusted := strings.HasPrefix(verdict, "Chain verification output: Verified.")
			if diff := cmp.Diff(gnutlsSays(tt.want), says); diff != "" || trusted != (tt.want == nil) {
				t.Errorf("%s: certtool says %s (-want +got):\n%s", tt.name, verdict, diff)
			}
		}
	})
}

// TestPredictGnuTLSMLDSA keeps to whether a chain is trusted: GnuTLS 3.7.9,
// 3.8.9 and 3.8.13 each give other reasons.
func TestPredictGnuTLSMLDSA(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	mldsa := mold{cn: "ML-DSA", key: signer(t, MLDSA65)}.root(t)
	cases := []gnutlsCase{
		{name: "root", trusted: []*entity{mldsa}, chain: []*entity{mold{cn: "leaf"}.by(t, mldsa)}},
		{name: "leaf", trusted: []*entity{root}, chain: []*entity{mold{cn: "leaf", key: mldsa.key}.by(t, root)}},
		{name: "both", trusted: []*entity{mldsa}, chain: []*entity{mold{cn: "leaf", key: mldsa.key}.by(t, mldsa)}},
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		build := MLDSAUnknown
		if g.Version(t, peertest.GnuTLS).AtLeast("3.8.9") {
			build = MLDSANamed
		}
		for i, verdict := range certtoolVerdicts(t, g, cases) {
			tt := cases[i]
			err := PredictGnuTLS(unwrap(tt.chain), GnuTLSOptions{Trusted: unwrap(tt.trusted), NotSame: true, MLDSA: build})
			if trusted := strings.HasPrefix(verdict, "Chain verification output: Verified."); trusted != (err == nil) {
				t.Errorf("%s: certtool says %s, we %v", tt.name, verdict, err)
			}
		}
	})
	for _, tt := range cases {
		if err := PredictGnuTLS(unwrap(tt.chain), GnuTLSOptions{Trusted: unwrap(tt.trusted), MLDSA: MLDSAUsable}); err != nil {
			t.Errorf("%s: with a GnuTLS that can compute ML-DSA: %v", tt.name, err)
		}
	}
}

// TestPredictGnuTLSOwn compares with what QEMU says of its own certificate.
func TestPredictGnuTLSOwn(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	rsaRoot := mold{cn: "RSA", key: rsaKey(t, 2048)}.root(t)
	rsa1024 := mold{cn: "RSA 1024", key: rsaKey(t, 1024)}.root(t)
	ica := mold{cn: "ICA", ca: true}.by(t, root)
	constrained := mold{cn: "Constrained", extensions: permit(DNSName("example.com"))}.root(t)
	noKeyID := []asn1.ObjectIdentifier{OIDSubjectKeyID, OIDAuthorityKeyID}
	bare := mold{cn: "Bare", without: noKeyID}.root(t)
	leaf := mold{cn: "leaf", usage: DigitalSignature | KeyEncipherment}
	hashed := func(h crypto.Hash) mold {
		m := leaf
		m.alg = SignatureAlgorithm{Key: RSA, Hash: h}
		return m
	}
	cases := []gnutlsCase{
		{name: "good", trusted: []*entity{root}, chain: []*entity{leaf.by(t, root)}},
		{name: "RSA 1024", trusted: []*entity{rsa1024}, chain: []*entity{leaf.by(t, rsa1024)}},
		{name: "SHA-1", trusted: []*entity{rsaRoot}, chain: []*entity{hashed(crypto.SHA1).by(t, rsaRoot)}, want: []Reason{WeakHash}},
		{name: "MD5", trusted: []*entity{rsaRoot}, chain: []*entity{hashed(crypto.MD5).by(t, rsaRoot)}, want: []Reason{WeakHash}},
		{name: "SHA-224", trusted: []*entity{rsaRoot}, chain: []*entity{hashed(crypto.SHA224).by(t, rsaRoot)}},
		{name: "unknown issuer", trusted: []*entity{root}, chain: []*entity{leaf.by(t, rsaRoot)}, want: []Reason{UnknownIssuer}},
		{name: "wrong key", trusted: []*entity{mold{cn: "Bare", without: noKeyID}.root(t)}, chain: []*entity{mold{cn: "leaf", without: noKeyID}.by(t, bare)}, want: []Reason{BadSignature}},
		{name: "intermediate and root", trusted: []*entity{root, ica}, chain: []*entity{leaf.by(t, ica)}},
		{name: "name not permitted", trusted: []*entity{constrained}, chain: []*entity{mold{cn: "leaf", names: dnsNames("a.org")}.by(t, constrained)}, want: []Reason{NameNotPermitted}},
		{name: "unknown critical", trusted: []*entity{root}, chain: []*entity{mold{cn: "leaf", extensions: unknownCritical}.by(t, root)}, want: []Reason{UnknownCritical}},
	}
	texts := map[Reason]string{WeakHash: "The certificate uses an insecure algorithm", UnknownIssuer: "The certificate hasn't got a known issuer",
		BadSignature: "The certificate is not trusted", NameNotPermitted: "The certificate is not trusted", UnknownCritical: "The certificate is not trusted"}
	key, err := EncodePrivateKeyPEM(sharedKey(), MLDSABoth)
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	var s strings.Builder
	for _, tt := range cases {
		err := PredictGnuTLS(unwrap(tt.chain), GnuTLSOptions{Trusted: unwrap(tt.trusted), Own: true, Time: testNow})
		if !slices.Equal(reasons(err), tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
		dir := writeFiles(t, map[string][]byte{"ca-cert.pem": pemOf(unwrap(tt.trusted)), "server-cert.pem": pemOf(unwrap(tt.chain)), "server-key.pem": key})
		dirs = append(dirs, dir)
		fmt.Fprintf(&s, "qemu-img info --object tls-creds-x509,id=tls0,endpoint=server,dir=%s --image-opts driver=null-co 2>&1 | head -n 1\n", dir)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		lines := strings.Split(strings.TrimSpace(shell(t, g, "", s.String())), "\n")
		for i, tt := range cases {
			want := "image: "
			if tt.want != nil {
				want = "failed validation against " + dirs[i] + "/ca-cert.pem: " + texts[tt.want[0]]
			}
			if tt.name == "unknown issuer" && g.Version(t, peertest.QEMU).AtLeast("10.2") {
				want = "has no issuer in CA chain" // which it looks at first
			}
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: QEMU says %q, want %q", tt.name, lines[i], want)
			}
		}
	})
}
