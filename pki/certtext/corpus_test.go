package certtext_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"virtls/pki"
	"virtls/pki/dn"
)

// authority is a signer whose signatures never change, so that the corpus is
// the same every time.
var authority = ed25519.NewKeyFromSeed([]byte("an authority known to every test"))

// A sample is a certificate with something in it that the printer must cope with.
type sample struct {
	name string
	spec func(*pki.Spec)
}

func extensions(x ...pki.Extension) func(*pki.Spec) {
	return func(s *pki.Spec) { s.Extensions = x }
}

// raw makes an extension of dotted identifier and hexadecimal value.
func raw(oid string, critical bool, value string) pki.Extension {
	id, err := dn.ParseOID(oid)
	if err != nil {
		panic(err)
	}
	der, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
	if err != nil {
		panic(err)
	}
	return pki.Extension{OID: id, Critical: critical, Value: der}
}

func must(e pki.Extension, err error) pki.Extension {
	if err != nil {
		panic(err)
	}
	return e
}

func other(oid string, value string) pki.GeneralName {
	n, err := pki.OtherName(raw(oid, false, "").OID, raw(oid, false, value).Value)
	if err != nil {
		panic(err)
	}
	return n
}

func subject(attrs ...dn.Attribute) func(*pki.Spec) {
	return func(s *pki.Spec) { s.Subject = dn.New(attrs...) }
}

// samples all are certificates that GnuTLS loads.
var samples = []sample{
	{"plain", func(*pki.Spec) {}},
	{"version 1", func(s *pki.Spec) { s.Version = 1 }},
	{"short serial", func(s *pki.Spec) { s.Serial = big.NewInt(5) }},
	{"serial with top bit", func(s *pki.Spec) { s.Serial = big.NewInt(0xff) }},
	{"never expires", func(s *pki.Spec) { s.NotAfter = pki.NeverExpires }},
	{"after 2049", func(s *pki.Spec) { s.NotAfter = time.Date(2050, 1, 2, 3, 4, 5, 0, time.UTC) }},
	{"empty subject", subject()},
	{"every attribute", subject(
		dn.Attr(dn.CountryOID, "GB"), dn.Attr(dn.StateOID, "London"), dn.Attr(dn.LocalityOID, "City Of London"),
		dn.Attr(dn.OrganizationOID, "Example, Org"), dn.Attr(dn.OrganizationalUnitOID, "a+b"), dn.Attr(dn.CommonNameOID, " ünï "),
		dn.Attr(dn.UserIDOID, "h1"), dn.Attr(dn.DomainComponentOID, "example"), dn.Attr(dn.EmailAddressOID, "a@example.com"),
		dn.Attr(asn1.ObjectIdentifier{1, 2, 3, 4}, "unknown"))},
	{"unique identifiers", func(s *pki.Spec) {
		s.IssuerUniqueID, s.SubjectUniqueID = []byte{0, 0x15, 0x32}, []byte("sixteen octets..")
	}},
	{"long unique identifier", func(s *pki.Spec) { s.SubjectUniqueID = make([]byte, 300) }},

	{"basic constraints", extensions(pki.BasicConstraints{CA: true, PathLen: 3}.Extension())},
	{"basic constraints without limit", extensions(pki.BasicConstraints{CA: true, PathLen: -1}.Extension())},
	{"malformed basic constraints", extensions(raw("2.5.29.19", true, "300401"))},
	{"basic constraints of another type", extensions(raw("2.5.29.19", true, "0101ff"))},
	{"all key usages", extensions(pki.KeyUsage(0x1ff).Extension(true))},
	{"no key usage", extensions(raw("2.5.29.15", false, "030100"))},
	{"malformed key usage", extensions(raw("2.5.29.15", true, "0402ffff"))},
	{"all key purposes", extensions(must(pki.ExtKeyUsageExtension([]asn1.ObjectIdentifier{
		pki.PurposeServer, pki.PurposeClient, pki.PurposeCodeSigning, pki.PurposeEmailProtection, pki.PurposeTimeStamping,
		pki.PurposeOCSPSigning, pki.PurposeIPsecIKE, pki.PurposeAny, {1, 3, 6, 1, 4, 1, 311, 20, 2, 2}, {1, 2, 3, 4},
	}, true)))},
	{"malformed key purposes", extensions(raw("2.5.29.37", false, "300506032a03"))},
	{"key identifiers", extensions(pki.SubjectKeyIDExtension([]byte{1, 2, 3}), pki.AuthorityKeyID{KeyID: []byte{4, 5}}.Extension())},
	{"malformed key identifiers", extensions(raw("2.5.29.14", false, "0303010203"), raw("2.5.29.35", false, "040101"))},
	{"authority by name and serial", extensions(raw("2.5.29.35", false, "3018 8001aa a110 a40e300c310a30080603550403130141 820109"))},
	{"empty authority identifier", extensions(raw("2.5.29.35", false, "3000"))},
	{"names", extensions(pki.GeneralNames{
		pki.DNSName("host"), pki.DNSName("*.example.com"), pki.DNSName("xn--n-nga1b.example"), pki.DNSName("xn--a.example"),
		pki.Email("a@example.com"), pki.Email("a@xn--n-nga1b.example"), pki.Email("xn--n-nga1b.example"), pki.URI("qemu://host1/system"),
		pki.IPAddress(netip.MustParseAddr("10.0.1.87")), pki.IPAddress(netip.MustParseAddr("2620:0:cafe::87")),
		pki.IPAddress(netip.MustParseAddr("fe80:0:1:0:1:0:1:1")), pki.DirectoryName(dn.New(dn.Attr(dn.CountryOID, "GB"), dn.Attr(dn.CommonNameOID, "x"))),
		{Kind: pki.RegisteredIDKind, Bytes: []byte{0x2a, 3, 4}},
	}.Extension())},
	{"odd addresses", extensions(pki.GeneralNames{
		{Kind: pki.IPKind, Bytes: []byte{1, 2, 3}}, {Kind: pki.IPKind, Bytes: make([]byte, 8)}, {Kind: pki.IPKind, Bytes: make([]byte, 16)},
		{Kind: pki.IPKind, Bytes: []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04")},
		{Kind: pki.IPKind, Bytes: []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04")},
		{Kind: pki.IPKind, Bytes: []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x04")},
		{Kind: pki.IPKind, Bytes: []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x03\x04")},
	}.Extension())},
	{"odd names", extensions(pki.GeneralNames{
		pki.DNSName("a\x00b.example"), pki.DNSName("bad\nline"), pki.DNSName("b\xfcd"), pki.DNSName("xn--\x01"), pki.URI("u\x00v"), pki.URI("line\nbreak"),
		pki.Email("\xff@example.com"), pki.Email("a\x00@example.com"),
	}.Extension())},
	{"empty name", extensions(pki.GeneralNames{pki.DNSName(""), pki.URI("")}.Extension())},
	{"no names", extensions(raw("2.5.29.17", false, "3000"))},
	{"malformed names", extensions(raw("2.5.29.17", false, "30058207616263"))},
	{"X.400 name", extensions(raw("2.5.29.17", false, "3007 820161 a3023000"))},
	{"issuer's names", extensions(raw("2.5.29.18", true, "3003 820161"))},
	{"other names", extensions(pki.GeneralNames{
		other("1.2.3.4.5", "0c0474657874"), other("1.3.6.1.5.5.7.8.5", "0c016a"), other("1.3.6.1.5.5.7.8.5", "16016a"),
		other("1.3.6.1.4.1.311.20.2.3", "0c0175"), other("1.3.6.1.5.5.7.8.7", "160373727600"[:10]),
		other("1.3.6.1.5.2.2", "302da00d1b0b4558414d504c452e434f4da11c301aa003020101a113301 11b076c6962766972741b06686f737431 31"),
		other("1.3.6.1.5.2.2", "0500"),
	}.Extension())},
	{"name constraints", extensions(pki.NameConstraints{
		Permitted: pki.GeneralNames{pki.IPRange(netip.MustParsePrefix("10.0.0.0/8")), pki.DNSName("example.com"), pki.Email("example.com")},
		Excluded:  pki.GeneralNames{pki.IPRange(netip.MustParsePrefix("fc00::/7")), pki.DNSName("")},
	}.Extension())},
	{"name constraints with holes", extensions(raw("2.5.29.30", true, "300e a00c 300a 8708 0a000000 ff00ff00"))},
	{"name constraints with a short address", extensions(raw("2.5.29.30", true, "300a a008 3006 8704 0a000000"))},
	{"malformed name constraints", extensions(raw("2.5.29.30", true, "3003 020101"))},
	{"empty name constraints", extensions(raw("2.5.29.30", true, "3000"))},
	{"policies", extensions(must(pki.PoliciesExtension([]pki.PolicyInformation{
		{OID: asn1.ObjectIdentifier{1, 2, 3}, Qualifiers: []pki.PolicyQualifier{{Notice: "a long notice"}, {URI: "http://www.example.com/policy"}}},
		{OID: asn1.ObjectIdentifier{2, 5, 29, 32, 0}}, {OID: asn1.ObjectIdentifier{2, 23, 140, 1, 2, 2}},
	})))},
	{"policy with an unknown qualifier", extensions(raw("2.5.29.32", true, "3010 300e 06022a03 3008 3006 06022a04 0500"))},
	{"policy with a notice of another type", extensions(raw("2.5.29.32", false, "301b 3019 06022a03 3013 3011 06082b06010505070202 3005 1e03004100"[:0]+"301a 3018 06022a03 3012 3010 06082b06010505070202 3004 1e020041"))},
	{"malformed policies", extensions(raw("2.5.29.32", false, "0500"))},
	{"no policies", extensions(raw("2.5.29.32", false, "3000"))},
	{"inhibit any policy", extensions(pki.InhibitAnyPolicyExtension(1))},
	{"inhibit any policy, large", extensions(raw("2.5.29.54", false, "0203010203"))},
	{"inhibit any policy, negative", extensions(raw("2.5.29.54", false, "0201ff"))},
	{"malformed inhibit any policy", extensions(raw("2.5.29.54", true, "0402 0102"))},
	{"authority information", extensions(pki.AuthorityInfoExtension([]pki.AccessDescription{
		{Method: pki.AccessOCSP, Location: pki.URI("http://ocsp.example.com/")}, {Method: pki.AccessCAIssuers, Location: pki.URI("http://ca.example.com/ca.crt")},
		{Method: asn1.ObjectIdentifier{1, 2, 3}, Location: pki.DNSName("x")},
	}))},
	{"malformed authority information", extensions(raw("1.3.6.1.5.5.7.1.1", false, "0500"))},
	{"no authority information", extensions(raw("1.3.6.1.5.5.7.1.1", false, "3000"))},
	{"distribution points", extensions(pki.CRLDistributionExtension([]string{"http://a/", "http://b/"}))},
	{"distribution point with reasons", extensions(raw("2.5.29.31", false, "3010 300e a007 a005 8603 756669 8103 0106 40"[:0]+"3011 300f a007 a005 8603756669 81020640 a200"))},
	{"malformed distribution points", extensions(raw("2.5.29.31", false, "3003 020101"))},
	{"TLS features", extensions(pki.TLSFeatureExtension([]int64{5, 17, 2, 23, 35, 40}))},
	{"malformed TLS features", extensions(raw("1.3.6.1.5.5.7.1.24", false, "3003 0c0141"))},
	{"proxy", extensions(raw("1.3.6.1.5.5.7.1.14", true, "300f 020101 300a 06082b06010505071501"))},
	{"proxy with policy", extensions(raw("1.3.6.1.5.5.7.1.14", true, "3009 3007 06022a03 040161"))},
	{"malformed proxy", extensions(raw("1.3.6.1.5.5.7.1.14", true, "3000"))},
	{"private key usage", extensions(raw("2.5.29.16", false, "3022 800f 32303237303130323033303430355a 810f 32303238303130323033303430355a"))},
	{"malformed private key usage", extensions(raw("2.5.29.16", false, "0500"))},
	{"timestamps", extensions(raw("1.3.6.1.4.1.11129.2.4.2", false, "0439 0037 0035 00"+strings.Repeat("ab", 32)+"0000018a0b0c0d0e 0000 0403 0006 300402010102"))},
	{"malformed timestamps", extensions(raw("1.3.6.1.4.1.11129.2.4.2", false, "0402 0005"))},
	{"unknown extension", extensions(raw("1.2.3.4.5.6", true, "0aab01acfe"), raw("1.2.3.4.5.7", false, ""))},
	{"the same extension twice", extensions(pki.GeneralNames{pki.DNSName("a")}.Extension(), pki.GeneralNames{pki.DNSName("b")}.Extension())},
	{"policy constraints", extensions(raw("2.5.29.36", true, "3003800100"))},
	{"certificate with a name for an extension", extensions(raw("2.5.4.3", false, "130141"))},
}

// make returns the certificate of a sample.
func (s sample) make(t *testing.T) *pki.Certificate {
	t.Helper()
	return sign(t, s.spec, authority.Public(), nil)
}

// sign makes a certificate; it is self-signed if there is no issuer.
func sign(t *testing.T, change func(*pki.Spec), key crypto.PublicKey, issuer *pki.Certificate) *pki.Certificate {
	t.Helper()
	spec := &pki.Spec{
		Serial:    big.NewInt(0x0123456789abcdef),
		Subject:   dn.New(dn.Attr(dn.OrganizationOID, "Example Org"), dn.Attr(dn.CommonNameOID, "host1.example.com")),
		NotBefore: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		NotAfter:  time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
		PublicKey: key,
	}
	change(spec)
	cert, err := pki.Sign(spec, issuer, authority, pki.SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
