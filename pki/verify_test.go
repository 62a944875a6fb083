package pki

import (
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// reasons returns what an error of Verify says, most telling first, each once.
func reasons(err error) (list []Reason) {
	var ve *VerifyError
	if errors.As(err, &ve) {
		for _, p := range ve.Problems {
			if !slices.Contains(list, p.Reason) {
				list = append(list, p.Reason)
			}
		}
	}
	return list
}

type verifyCase struct {
	name string
	leaf *entity
	o    VerifyOptions
	want []Reason // none: it is trusted
}

func (tt verifyCase) run(t *testing.T) {
	t.Helper()
	tt.o.Time = testNow
	result, err := Verify(tt.leaf.Certificate, tt.o)
	if err == nil && (result.Chain[0] != tt.leaf.Certificate || len(result.Chain) < 1) {
		t.Errorf("got chain %v", result.Chain)
	}
	if (err == nil) != (tt.want == nil) || !slices.Equal(reasons(err), tt.want) {
		t.Errorf("got %v (%v), want %v", reasons(err), err, tt.want)
	}
}

func trust(roots ...*entity) VerifyOptions { return VerifyOptions{Roots: unwrap(roots)} }

func TestVerifyChains(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	other := mold{cn: "Other"}.root(t)
	ica := mold{cn: "ICA", ca: true}.by(t, root)
	ica2 := mold{cn: "ICA 2", ca: true}.by(t, ica)
	leaf, below, below2 := mold{cn: "leaf"}.by(t, root), mold{cn: "leaf"}.by(t, ica), mold{cn: "leaf"}.by(t, ica2)
	with := func(o VerifyOptions, more ...*entity) VerifyOptions {
		o.Intermediates = unwrap(more)
		return o
	}
	partial := func(o VerifyOptions) VerifyOptions {
		o.PartialChain = true
		return o
	}
	depth := func(o VerifyOptions, n int) VerifyOptions {
		o.MaxIntermediates = n
		return o
	}
	// Two authorities that have signed each other, one of them also signed by the root.
	keyA, keyB := newP256(), newP256()
	a := &entity{mold{cn: "A", key: keyA}.root(t).Certificate, keyA}
	b := &entity{mold{cn: "B", key: keyB}.root(t).Certificate, keyB}
	aByB := mold{cn: "A", ca: true, key: keyA}.by(t, b)
	bByA := mold{cn: "B", ca: true, key: keyB}.by(t, a)
	aByRoot := mold{cn: "A", ca: true, key: keyA}.by(t, root)
	expired := mold{cn: "ICA", ca: true, key: ica.key, notBefore: testNow.Add(-2 * time.Hour), notAfter: testNow.Add(-time.Hour)}.by(t, root)
	long := []*entity{mold{cn: "0"}.root(t)}
	for i := 1; i < 12; i++ {
		long = append(long, mold{cn: fmt.Sprint(i), ca: true}.by(t, long[i-1]))
	}
	end := mold{cn: "leaf"}.by(t, long[11])

	for _, tt := range []verifyCase{
		{"one", leaf, trust(root), nil},
		{"among roots", leaf, trust(other, root), nil},
		{"no roots", leaf, trust(), []Reason{UnknownIssuer}},
		{"other root", leaf, trust(other), []Reason{UnknownIssuer}},
		{"root as intermediate only", leaf, with(trust(other), root), []Reason{UnknownIssuer}},
		{"namesake with key identifier", leaf, trust(mold{cn: "Root"}.root(t)), []Reason{UnknownIssuer}},
		{"namesake without key identifier", mold{cn: "leaf", without: []asn1.ObjectIdentifier{OIDAuthorityKeyID}}.by(t, root),
			trust(mold{cn: "Root"}.root(t)), []Reason{BadSignature}},
		{"two", below, with(trust(root), ica), nil},
		{"intermediate among roots", below, trust(root, ica), nil},
		{"intermediate missing", below, trust(root), []Reason{UnknownIssuer}},
		{"three", below2, with(trust(root), ica2, ica), nil},
		{"three in disorder", below2, with(trust(root), other, ica, root, ica2, ica), nil},
		{"intermediate as anchor refused", below, trust(ica), []Reason{UnknownIssuer}},
		{"intermediate as anchor", below, partial(trust(ica)), nil},
		{"intermediate as anchor, two below", below2, with(partial(trust(ica)), ica2), nil},
		{"leaf as anchor refused", leaf, trust(leaf), []Reason{UnknownIssuer}},
		{"leaf as anchor", leaf, partial(trust(leaf)), nil},
		{"root as leaf", root, trust(root), nil},
		{"unknown root as leaf", root, trust(other), []Reason{UnknownIssuer}},
		{"cycle without root", mold{cn: "leaf"}.by(t, a), with(trust(root), aByB, bByA), []Reason{UnknownIssuer}},
		{"cycle with root", mold{cn: "leaf"}.by(t, a), with(trust(root), aByB, bByA, aByRoot), nil},
		{"expired twin first", below, with(trust(root), expired, ica), nil},
		{"expired twin alone", below, with(trust(root), expired), []Reason{Expired}},
		{"too long", end, with(trust(long[0]), long[1:]...), []Reason{TooComplex}},
		{"long", end, depth(with(trust(long[0]), long[1:]...), 11), nil},
		{"one intermediate too many", below2, depth(with(trust(root), ica, ica2), 1), []Reason{TooComplex}},
		{"two intermediates allowed", below2, depth(with(trust(root), ica, ica2), 2), nil},
		{"no intermediates allowed", below, depth(with(trust(root), ica), NoIntermediates), []Reason{TooComplex}},
		{"none needed", leaf, depth(trust(root), NoIntermediates), nil},
	} {
		t.Run(tt.name, tt.run)
	}
}

func TestVerifyRules(t *testing.T) {
	hour := time.Hour
	root := mold{cn: "Root"}.root(t)
	critical := func(oid asn1.ObjectIdentifier, value []byte) Extensions { return Extensions{{oid, true, value}} }
	null := []byte{5, 0}
	server, client := []asn1.ObjectIdentifier{PurposeServer}, []asn1.ObjectIdentifier{PurposeClient}
	asServer := func(ca *entity, more ...*entity) VerifyOptions {
		return VerifyOptions{Roots: unwrap([]*entity{ca}), Intermediates: unwrap(more), Purpose: PurposeServer}
	}
	chain := func(ca *entity, m mold) verifyCase {
		return verifyCase{leaf: m.by(t, ca), o: trust(ca)}
	}
	under := func(m mold) verifyCase { // a root of that form and a leaf
		if m.cn == "" && m.subject == nil {
			m.cn = "Odd Root"
		}
		return chain(m.root(t), mold{cn: "leaf"})
	}
	twice := mold{cn: "leaf", key: sharedKey()}.spec(root)
	twice.Extensions = append(twice.Extensions, twice.Extensions[0])
	duplicate, err := Sign(twice, root.Certificate, root.key, SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	zero := mold{cn: "Zero", pathLen: -1}.root(t)
	belowZero := mold{cn: "Below", ca: true}.by(t, zero)
	selfIssued := mold{cn: "Zero", ca: true}.by(t, zero)
	clientICA := mold{cn: "ICA", ca: true, purposes: client}.by(t, root)
	anyICA := mold{cn: "ICA", ca: true, purposes: []asn1.ObjectIdentifier{PurposeAny}}.by(t, root)
	clientRoot := mold{cn: "Client Root", purposes: client}.root(t)
	v1 := v1Authority(t, "V1", nil)
	serial := mold{cn: "leaf", key: sharedKey()}.spec(root)
	rsaRoot := mold{cn: "RSA", key: rsaKey(t, 2048)}.root(t)

	for name, tt := range map[string]struct {
		verifyCase
		want []Reason
	}{
		"expired leaf":               {chain(root, mold{cn: "x", notBefore: testNow.Add(-hour), notAfter: testNow.Add(-time.Second)}), []Reason{Expired}},
		"leaf of the future":         {chain(root, mold{cn: "x", notBefore: testNow.Add(time.Second), notAfter: testNow.Add(hour)}), []Reason{NotYetValid}},
		"last second":                {chain(root, mold{cn: "x", notBefore: testNow.Add(-hour), notAfter: testNow}), nil},
		"first second":               {chain(root, mold{cn: "x", notBefore: testNow, notAfter: testNow.Add(hour)}), nil},
		"expired root":               {under(mold{notBefore: testNow.Add(-2 * hour), notAfter: testNow.Add(-hour)}), []Reason{Expired}},
		"root without CA":            {under(mold{extensions: Extensions{BasicConstraints{}.Extension()}}), []Reason{NotCA}},
		"root without constraints":   {under(mold{without: []asn1.ObjectIdentifier{OIDBasicConstraints}}), []Reason{NotCA}},
		"version 1 root":             {chain(v1, mold{cn: "x"}), []Reason{NotCA}},
		"root without keyCertSign":   {under(mold{usage: CRLSign | DigitalSignature}), []Reason{WrongKeyUsage}},
		"root without key usage":     {under(mold{without: []asn1.ObjectIdentifier{OIDKeyUsage}}), nil},
		"root without subject":       {under(mold{subject: dn.Name{}}), []Reason{Malformed}},
		"path length":                {verifyCase{leaf: mold{cn: "x"}.by(t, belowZero), o: asServer(zero, belowZero)}, []Reason{PathTooLong}},
		"path length met":            {chain(zero, mold{cn: "x"}), nil},
		"path length, self-issued":   {verifyCase{leaf: mold{cn: "x"}.by(t, selfIssued), o: asServer(zero, selfIssued)}, nil},
		"unknown critical":           {chain(root, mold{cn: "x", extensions: unknownCritical}), []Reason{UnknownCritical}},
		"unknown critical in root":   {under(mold{extensions: unknownCritical}), []Reason{UnknownCritical}},
		"critical must-staple":       {chain(root, mold{cn: "x", extensions: critical(OIDTLSFeature, TLSFeatureExtension([]int64{5}).Value)}), []Reason{UnknownCritical}},
		"bad basic constraints":      {chain(root, mold{cn: "x", extensions: critical(OIDBasicConstraints, null)}), []Reason{Malformed}},
		"bad key usage":              {chain(root, mold{cn: "x", extensions: critical(OIDKeyUsage, null)}), []Reason{Malformed}},
		"bad purposes":               {chain(root, mold{cn: "x", extensions: critical(OIDExtKeyUsage, null)}), []Reason{Malformed}},
		"bad names":                  {chain(root, mold{cn: "x", extensions: critical(OIDSubjectAltName, null)}), []Reason{Malformed}},
		"bad name constraints":       {under(mold{extensions: critical(OIDNameConstraints, null)}), []Reason{Malformed}},
		"bad policies":               {chain(root, mold{cn: "x", extensions: critical(OIDCertificatePolicies, null)}), []Reason{Malformed}},
		"bad policy constraints":     {chain(root, mold{cn: "x", extensions: critical(OIDPolicyConstraints, null)}), []Reason{Malformed}},
		"bad policy mappings":        {chain(root, mold{cn: "x", extensions: critical(OIDPolicyMappings, null)}), []Reason{Malformed}},
		"bad inhibitAnyPolicy":       {chain(root, mold{cn: "x", extensions: critical(OIDInhibitAnyPolicy, null)}), []Reason{Malformed}},
		"bad key identifiers":        {chain(root, mold{cn: "x", extensions: Extensions{{OIDAuthorityKeyID, false, null}, {OIDSubjectKeyID, false, null}}}), []Reason{Malformed}},
		"bad AIA does not matter":    {chain(root, mold{cn: "x", extensions: Extensions{{OIDAuthorityInfo, false, null}}}), nil},
		"extension twice":            {verifyCase{leaf: &entity{duplicate, nil}, o: trust(root)}, []Reason{Malformed}},
		"constraints in leaf":        {chain(root, mold{cn: "x", extensions: permit(DNSName("x"))}), []Reason{Malformed}},
		"server":                     {verifyCase{leaf: mold{cn: "x", purposes: server}.by(t, root), o: asServer(root)}, nil},
		"client as server":           {verifyCase{leaf: mold{cn: "x", purposes: client}.by(t, root), o: asServer(root)}, []Reason{WrongPurpose}},
		"server by client ICA":       {verifyCase{leaf: mold{cn: "x"}.by(t, clientICA), o: asServer(root, clientICA)}, []Reason{WrongPurpose}},
		"server by any ICA":          {verifyCase{leaf: mold{cn: "x"}.by(t, anyICA), o: asServer(root, anyICA)}, nil},
		"server by client root":      {verifyCase{leaf: mold{cn: "x"}.by(t, clientRoot), o: asServer(clientRoot)}, []Reason{WrongPurpose}},
		"anything by client root":    {chain(clientRoot, mold{cn: "x", purposes: server}), nil},
		"several problems at once":   {chain(mold{cn: "Old", notAfter: testNow.Add(-time.Minute), usage: CRLSign}.root(t), mold{cn: "x", extensions: unknownCritical}), []Reason{Expired, WrongKeyUsage, UnknownCritical}},
		"serial zero, private PKI":   {verifyCase{leaf: withSerial(t, serial, root, 0), o: trust(root)}, nil},
		"MD5":                        {chain(rsaRoot, mold{cn: "x", alg: SignatureAlgorithm{Key: RSA, Hash: crypto.MD5}}), []Reason{WeakHash}},
		"SHA-1":                      {chain(rsaRoot, mold{cn: "x", alg: SignatureAlgorithm{Key: RSA, Hash: crypto.SHA1}}), []Reason{WeakHash}},
		"SHA-1 root":                 {under(mold{key: rsaRoot.key, alg: SignatureAlgorithm{Key: RSA, Hash: crypto.SHA1}}), nil},
		"SHA-224":                    {chain(root, mold{cn: "x", alg: SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA224}}), []Reason{WeakHash}},
		"SHA3-256":                   {chain(rsaRoot, mold{cn: "x", alg: SignatureAlgorithm{Key: RSA, Hash: crypto.SHA3_256}}), nil},
		"PSS":                        {chain(rsaRoot, mold{cn: "x", alg: SignatureAlgorithm{RSAPSS, crypto.SHA384, 48}}), nil},
		"PSS salt":                   {chain(rsaRoot, mold{cn: "x", alg: SignatureAlgorithm{RSAPSS, crypto.SHA384, 32}}), []Reason{WeakHash}},
		"RSA 1024 root":              {under(mold{key: rsaKey(t, 1024)}), []Reason{WeakKey}},
		"RSA 1024 leaf":              {chain(root, mold{cn: "x", key: rsaKey(t, 1024)}), []Reason{WeakKey}},
		"RSA 2047 leaf":              {chain(root, mold{cn: "x", key: rsaKey(t, 2047)}), []Reason{WeakKey}},
		"P-224 leaf":                 {chain(root, mold{cn: "x", key: signerOf(t, KeySpec{ECDSA, 224})}), []Reason{WeakKey}},
		"P-521 root":                 {under(mold{key: signerOf(t, KeySpec{ECDSA, 521})}), nil},
		"Ed25519 root":               {under(mold{key: signer(t, Ed25519)}), nil},
		"Ed448 root":                 {under(mold{key: signer(t, Ed448)}), nil},
		"RSA-PSS root":               {under(mold{key: signer(t, RSAPSS)}), nil},
		"ML-DSA-44 root":             {under(mold{key: signer(t, MLDSA44)}), nil},
		"ML-DSA-65 root":             {under(mold{key: signer(t, MLDSA65)}), nil},
		"ML-DSA-87 root":             {under(mold{key: signer(t, MLDSA87)}), nil},
		"ML-DSA leaf, EC root":       {chain(root, mold{cn: "x", key: signer(t, MLDSA65)}), nil},
		"ML-DSA leaf, ML-DSA root":   {chain(mold{cn: "PQ", key: signer(t, MLDSA87)}.root(t), mold{cn: "x", key: signer(t, MLDSA44)}), nil},
		"ML-DSA wrong issuer's key":  {verifyCase{leaf: mold{cn: "x", without: []asn1.ObjectIdentifier{OIDAuthorityKeyID}}.by(t, mold{cn: "PQ", key: signer(t, MLDSA65)}.root(t)), o: trust(mold{cn: "PQ", key: signer(t, MLDSA65)}.root(t))}, []Reason{BadSignature}},
		"ML-DSA of another strength": {verifyCase{leaf: mold{cn: "x", without: []asn1.ObjectIdentifier{OIDAuthorityKeyID}}.by(t, mold{cn: "PQ", key: signer(t, MLDSA65)}.root(t)), o: trust(mold{cn: "PQ", key: signer(t, MLDSA87)}.root(t))}, []Reason{BadSignature}},
	} {
		tt.verifyCase.name, tt.verifyCase.want = name, tt.want
		t.Run(name, tt.run)
	}
}

func signerOf(t testing.TB, spec KeySpec) crypto.Signer {
	t.Helper()
	key, err := GenerateSigner(spec)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// withSerial signs what [Sign] refuses to.
func withSerial(t testing.TB, s *Spec, issuer *entity, serial int64) *entity {
	t.Helper()
	s.Serial = big.NewInt(serial)
	der, err := signDER(issuer.key, SignatureAlgorithm{}, func(b *cryptobyte.Builder, id AlgorithmIdentifier) { s.addTBS(b, id, issuer.RawSubject) })
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &entity{c, nil}
}

func TestVerifyHostname(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	named := mold{cn: "x", names: dnsNames("host.example.com")}.by(t, root)
	byCN := mold{cn: "host.example.com"}.by(t, root)
	o := trust(root)
	o.Hostname = "host.example.com"
	for _, tt := range []struct {
		leaf *entity
		want NameMatch
	}{{named, ByDNSName}, {byCN, ByCommonName}} {
		result, err := Verify(tt.leaf.Certificate, o)
		if err != nil || result.Match != tt.want {
			t.Errorf("got %v and %v, want match %d", result, err, tt.want)
		}
	}
	o.Hostname = "other.example.com"
	verifyCase{leaf: named, o: o, want: []Reason{NameMismatch}}.run(t)
	o.Hostname, o.Policy = "host.example.com", StrictPolicy()
	o.Policy.Profile = WebPKI
	if _, err := Verify(byCN.Certificate, o); !slices.Contains(reasons(err), NameMismatch) {
		t.Errorf("WebPKI took the CN: %v", err)
	}
}

func TestVerifyCRLs(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	other := mold{cn: "Other"}.root(t)
	ica := mold{cn: "ICA", ca: true}.by(t, root)
	good, bad := mold{cn: "good"}.by(t, ica), mold{cn: "bad"}.by(t, ica)
	fresh, stale := testNow, testNow.Add(-48*time.Hour)
	noSign := mold{cn: "No Sign", usage: KeyCertSign}.root(t)
	oldKey, newKey := mold{cn: "Renewed"}.root(t), mold{cn: "Renewed"}.root(t)
	byOld := mold{cn: "by old"}.by(t, oldKey)
	sha1Root := mold{cn: "RSA", key: rsaKey(t, 2048)}.root(t)
	list := func(c ...*CRL) VerifyOptions {
		return VerifyOptions{Roots: unwrap([]*entity{root, other, oldKey, newKey, noSign, sha1Root}), Intermediates: unwrap([]*entity{ica}), CRLs: c}
	}
	require := func(o VerifyOptions) VerifyOptions { o.RequireCRL = true; return o }
	allowStale := func(o VerifyOptions) VerifyOptions { o.AllowStaleCRL = true; return o }
	special := func(issuer *entity, alg SignatureAlgorithm, revoked Extensions, extensions ...Extension) *CRL {
		s := &CRLSpec{ThisUpdate: testNow.Add(-time.Hour), NextUpdate: testNow.Add(time.Hour), Number: big.NewInt(1), Extensions: extensions,
			Revoked: []RevokedCertificate{{Serial: big.NewInt(99), RevokedAt: testNow.Add(-time.Hour), Extensions: revoked}}}
		crl, err := SignCRL(s, issuer.Certificate, issuer.key, alg)
		if err != nil {
			t.Fatal(err)
		}
		return crl
	}
	noDate := &CRLSpec{ThisUpdate: testNow.Add(-time.Hour)}
	endless, err := SignCRL(noDate, ica.Certificate, ica.key, SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	forged := *crlOf(t, ica, fresh)
	forged.Signature = slices.Clone(forged.Signature)
	forged.Signature[10] ^= 1
	reasoned := crlOf(t, ica, fresh)
	plain := Extension{OIDIssuingDistribution, true, encodeSequence(func(b *cryptobyte.Builder) {
		b.AddASN1(ctx(0), func(b *cryptobyte.Builder) { b.AddASN1(ctx(0), URI("http://example.com/crl").add) })
	})}
	usersOnly := Extension{OIDIssuingDistribution, true, encodeSequence(func(b *cryptobyte.Builder) {
		b.AddASN1(prim(1), func(b *cryptobyte.Builder) { b.AddUint8(0xff) })
	})}

	for _, tt := range []verifyCase{
		{"none", good, list(), nil},
		{"none, one wanted", good, require(list()), []Reason{CRLMissing}},
		{"both levels", good, require(list(crlOf(t, ica, fresh, bad), crlOf(t, root, fresh))), nil},
		{"one level wanting", good, require(list(crlOf(t, ica, fresh, bad))), []Reason{CRLMissing}},
		{"not revoked", good, list(crlOf(t, ica, fresh, bad)), nil},
		{"revoked", bad, list(crlOf(t, ica, fresh, bad)), []Reason{Revoked}},
		{"revoked in second list", bad, list(crlOf(t, ica, fresh), crlOf(t, ica, fresh, bad)), []Reason{Revoked}},
		{"authority revoked", good, list(crlOf(t, root, fresh, ica)), []Reason{Revoked}},
		{"revoked by somebody else", bad, list(crlOf(t, other, fresh, bad)), nil},
		{"same serial at another issuer", good, list(crlOf(t, root, fresh, good)), nil},
		{"stale", good, list(crlOf(t, ica, stale)), []Reason{CRLExpired}},
		{"stale beside fresh", good, list(crlOf(t, ica, stale), crlOf(t, ica, fresh)), nil},
		{"stale allowed", good, allowStale(list(crlOf(t, ica, stale))), nil},
		{"revoked in stale", bad, list(crlOf(t, ica, stale, bad)), []Reason{Revoked}},
		{"of the future", good, list(crlOf(t, ica, testNow.Add(2*time.Hour))), []Reason{CRLUnusable}},
		{"without next update", good, list(endless), nil},
		{"forged", good, list(&forged), []Reason{CRLUnusable}},
		{"forged beside good", good, list(&forged, reasoned), nil},
		{"issuer may not sign CRLs", mold{cn: "x"}.by(t, noSign), list(crlOf(t, noSign, fresh)), []Reason{CRLUnusable}},
		{"authority with new key revokes", byOld, list(crlOf(t, newKey, fresh, byOld)), []Reason{Revoked}},
		{"SHA-1", mold{cn: "x"}.by(t, sha1Root), list(special(sha1Root, SignatureAlgorithm{Key: RSA, Hash: crypto.SHA1}, nil)), []Reason{CRLUnusable}},
		{"unknown critical", good, list(special(ica, SignatureAlgorithm{}, nil, unknownCritical...)), []Reason{CRLUnusable}},
		{"unknown critical in entry", good, list(special(ica, SignatureAlgorithm{}, unknownCritical)), []Reason{CRLUnusable}},
		{"entry with reason", good, list(special(ica, SignatureAlgorithm{}, Extensions{KeyCompromise.Extension()})), nil},
		{"plain distribution point", good, list(special(ica, SignatureAlgorithm{}, nil, plain)), nil},
		{"for some certificates only", good, list(special(ica, SignatureAlgorithm{}, nil, usersOnly)), []Reason{CRLUnusable}},
		{"delta", good, list(special(ica, SignatureAlgorithm{}, nil, Extension{OIDDeltaCRL, true, []byte{2, 1, 1}})), []Reason{CRLUnusable}},
	} {
		t.Run(tt.name, tt.run)
	}

	s := &CRLSpec{ThisUpdate: testNow, NextUpdate: testNow.Add(time.Hour), Revoked: []RevokedCertificate{
		{Serial: bad.Serial, RevokedAt: testNow.Add(-time.Hour), Extensions: Extensions{KeyCompromise.Extension()}}}}
	crl, err := SignCRL(s, ica.Certificate, ica.key, SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	o := list(crl)
	if _, err := Verify(bad.Certificate, o); err == nil || !strings.Contains(err.Error(), "keyCompromise") {
		t.Errorf("the error does not name the reason: %v", err)
	}
}

// The extensions about certificate policies, as one certificate has them.
func policyExtensions(t *testing.T, policies []string, more ...Extension) Extensions {
	t.Helper()
	var list []PolicyInformation
	for _, p := range policies {
		oid, err := dn.ParseOID(p)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, PolicyInformation{OID: oid})
	}
	x := append(Extensions(nil), more...)
	if list != nil {
		e, err := PoliciesExtension(list)
		if err != nil {
			t.Fatal(err)
		}
		x = append(x, e)
	}
	return x
}

func TestVerifyPolicies(t *testing.T) {
	const p1, p2, anyP = "1.2.3.1", "1.2.3.2", "2.5.29.32.0"
	constraints := func(tag int, n byte) Extension {
		return Extension{OIDPolicyConstraints, true, encodeSequence(func(b *cryptobyte.Builder) {
			b.AddASN1(prim(tag), func(b *cryptobyte.Builder) { b.AddBytes([]byte{n}) })
		})}
	}
	explicit := constraints(0, 0)
	mapping := func(from, to string) Extension {
		return Extension{OIDPolicyMappings, true, encodeSequence(func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, s := range []string{from, to} {
					oid, err := dn.ParseOID(s)
					if err != nil {
						t.Fatal(err)
					}
					b.AddASN1ObjectIdentifier(oid)
				}
			})
		})}
	}
	for _, tt := range []struct {
		name           string
		root, ica, end Extensions
		want           []Reason
	}{
		{"none anywhere", nil, nil, nil, nil},
		{"different, nobody minds", nil, policyExtensions(t, []string{p1}), policyExtensions(t, []string{p2}), nil},
		{"explicit and none", nil, policyExtensions(t, nil, explicit), nil, []Reason{PolicyNotMet}},
		{"explicit by root and none", policyExtensions(t, nil, explicit), nil, nil, []Reason{PolicyNotMet}},
		{"explicit and met", nil, policyExtensions(t, []string{p1}, explicit), policyExtensions(t, []string{p1}), nil},
		{"explicit and missing in leaf", nil, policyExtensions(t, []string{p1}, explicit), nil, []Reason{PolicyNotMet}},
		{"explicit and different", nil, policyExtensions(t, []string{p1}, explicit), policyExtensions(t, []string{p2}), []Reason{PolicyNotMet}},
		{"explicit and any above", nil, policyExtensions(t, []string{anyP}, explicit), policyExtensions(t, []string{p2}), nil},
		{"explicit and any below", nil, policyExtensions(t, []string{p1}, explicit), policyExtensions(t, []string{anyP}), nil},
		{"explicit by leaf", nil, nil, policyExtensions(t, nil, explicit), []Reason{PolicyNotMet}},
		{"any inhibited", nil, policyExtensions(t, []string{p1}, explicit, InhibitAnyPolicyExtension(0)), policyExtensions(t, []string{anyP}), []Reason{PolicyNotMet}},
		{"any inhibited later", nil, policyExtensions(t, []string{p1}, explicit, InhibitAnyPolicyExtension(1)), policyExtensions(t, []string{anyP}), nil},
		{"mapped", nil, policyExtensions(t, []string{p1}, explicit, mapping(p1, p2)), policyExtensions(t, []string{p2}), nil},
		{"mapped away", nil, policyExtensions(t, []string{p1}, explicit, mapping(p1, p2)), policyExtensions(t, []string{p1}), []Reason{PolicyNotMet}},
		{"mapping inhibited", policyExtensions(t, nil, constraints(1, 0)), policyExtensions(t, []string{p1}, mapping(p1, p2)), policyExtensions(t, []string{p2}, explicit), []Reason{PolicyNotMet}},
		{"mapped from any", nil, policyExtensions(t, []string{anyP}, explicit, mapping(p1, p2)), policyExtensions(t, []string{p2}), nil},
		{"mapping of any", nil, policyExtensions(t, []string{p1}, mapping(anyP, p2)), nil, []Reason{Malformed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := mold{cn: "Root", extensions: tt.root}.root(t)
			ica := mold{cn: "ICA", ca: true, extensions: tt.ica}.by(t, root)
			o := trust(root)
			o.Intermediates = []*Certificate{ica.Certificate}
			verifyCase{leaf: mold{cn: "leaf", extensions: tt.end}.by(t, ica), o: o, want: tt.want}.run(t)
		})
	}
}

// TestVerifyErrorTexts shows what users read.
func TestVerifyErrorTexts(t *testing.T) {
	date := func(y int) time.Time { return time.Date(y, 1, 2, 3, 4, 5, 0, time.UTC) }
	root := mold{cn: "Root", notBefore: date(2020), notAfter: date(2040)}.root(t)
	m := mold{cn: "leaf", key: sharedKey(), names: dnsNames("a.example.com", "b.example.com"), purposes: []asn1.ObjectIdentifier{PurposeClient},
		notBefore: date(2021), notAfter: date(2022)}
	leaf := withSerial(t, m.spec(root), root, 0x1234)
	o := trust(root)
	o.Time = date(2023)
	_, err := Verify(leaf.Certificate, o)
	want := "certificate CN=leaf (serial 1234) has expired: found notAfter 2022-01-02T03:04:05Z; wanted a certificate valid at 2023-01-02T03:04:05Z"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	o.Time, o.Hostname, o.Purpose = date(2021), "c.example.com", PurposeServer
	_, err = Verify(leaf.Certificate, o)
	want = "certificate CN=leaf (serial 1234) is made for another purpose: found TLS clients; wanted TLS servers (and 1 more: name-mismatch)"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	var ve *VerifyError
	if !errors.As(err, &ve) || !ve.Has(NameMismatch) || ve.Has(Expired) || ve.Reason() != WrongPurpose || len(ve.Chain) != 2 {
		t.Fatalf("got %#v", ve)
	}
	want = "certificate CN=leaf (serial 1234) belongs to somebody else: found a certificate for a.example.com, b.example.com; wanted c.example.com"
	if diff := cmp.Diff(want, ve.Problems[1].String()); diff != "" {
		t.Error(diff)
	}
	for r := Malformed; int(r) < len(reasonTexts); r++ {
		if reasonTexts[r].name == "" || reasonTexts[r].text == "" {
			t.Errorf("reason %d has no text", int(r))
		}
	}
}
