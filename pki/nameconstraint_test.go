package pki

import (
	"encoding/asn1"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"virtls/pki/dn"
)

func TestNameConstraints(t *testing.T) {
	prefix := func(s string) GeneralName { return IPRange(netip.MustParsePrefix(s)) }
	ip := func(s string) GeneralName { return IPAddress(netip.MustParseAddr(s)) }
	dir := func(s string) GeneralName {
		n, err := dn.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return DirectoryName(n)
	}
	other, err := OtherName(asn1.ObjectIdentifier{1, 2, 3}, []byte{5, 0})
	if err != nil {
		t.Fatal(err)
	}
	registered := GeneralName{RegisteredIDKind, []byte{42, 3}}
	for _, tt := range []struct {
		constraint, name   GeneralName
		permitted, exclude bool // what the constraint says where it permits, and where it excludes
	}{
		{DNSName("example.com"), DNSName("example.com"), true, true},
		{DNSName("example.com"), DNSName("EXAMPLE.com"), true, true},
		{DNSName("Example.com"), DNSName("a.b.example.com"), true, true},
		{DNSName("example.com"), DNSName("example.com."), true, true},
		{DNSName("example.com"), DNSName("notexample.com"), false, false},
		{DNSName("example.com"), DNSName("com"), false, false},
		{DNSName(""), DNSName("anything.org"), true, true},
		{DNSName(".example.com"), DNSName("a.example.com"), true, true},
		{DNSName(".example.com"), DNSName("example.com"), false, false},
		{DNSName("example.com"), DNSName("*.example.com"), true, true},
		{DNSName(".example.com"), DNSName("*.example.com"), true, true},
		{DNSName("a.example.com"), DNSName("*.example.com"), false, true},
		{DNSName("a.b.example.com"), DNSName("*.example.com"), false, false},
		{DNSName("example.com"), DNSName("*.com"), false, true},
		{DNSName("example.com"), DNSName(".example.com"), false, true},
		{DNSName("example.com"), DNSName("a..example.com"), false, true},
		{DNSName("example.com"), DNSName("a b"), false, true},
		{DNSName("example.com"), DNSName(""), false, true},
		{Email("a@example.com"), Email("a@example.com"), true, true},
		{Email("a@example.com"), Email("a@EXAMPLE.com"), true, true},
		{Email("a@example.com"), Email("A@example.com"), false, false},
		{Email("example.com"), Email("a@example.com"), true, true},
		{Email("example.com"), Email("a@b.example.com"), false, false},
		{Email(".example.com"), Email("a@b.example.com"), true, true},
		{Email(".example.com"), Email("a@example.com"), false, false},
		{Email(""), Email("a@example.com"), true, true},
		{Email("example.com"), Email("a@b@example.com"), false, true},
		{Email("example.com"), Email(`"a@b"@example.com`), false, true},
		{Email("example.com"), Email("example.com"), false, true},
		{prefix("192.0.2.0/24"), ip("192.0.2.255"), true, true},
		{prefix("192.0.2.0/24"), ip("192.0.3.0"), false, false},
		{prefix("0.0.0.0/0"), ip("192.0.3.0"), true, true},
		{prefix("2001:db8::/32"), ip("2001:db8::1"), true, true},
		{prefix("2001:db8::/32"), ip("192.0.2.1"), false, false},
		{prefix("192.0.2.0/24"), GeneralName{IPKind, []byte{192, 0, 2}}, false, true},
		{prefix("192.0.2.0/24"), prefix("192.0.2.0/24"), false, true},
		{URI("host.example.com"), URI("https://host.example.com:8443/x"), true, true},
		{URI("host.example.com"), URI("https://user@HOST.example.com/x"), true, true},
		{URI("host.example.com"), URI("https://a.host.example.com/x"), false, false},
		{URI(".example.com"), URI("https://host.example.com/x"), true, true},
		{URI("example.com"), URI("urn:example:x"), false, true},
		{URI("example.com"), URI("https://192.0.2.1/"), false, true},
		{URI("example.com"), URI("https://[2001:db8::1]/"), false, true},
		{URI("example.com"), URI("://"), false, true},
		{dir("O=A"), dir("O=A,CN=x"), true, true},
		{dir("O=A"), dir("O=a,CN=x"), true, true},
		{dir("O=A"), dir("CN=x,O=A"), false, false},
		{dir("O=A,CN=x"), dir("O=A"), false, false},
		{dir("O=A"), GeneralName{DirectoryKind, []byte{1}}, false, true},
		{other, other, false, true},
		{registered, registered, false, true},
		{DNSName("example.com"), ip("192.0.2.1"), true, false},
	} {
		t.Run(tt.constraint.String()+" "+tt.name.String(), func(t *testing.T) {
			if err := (&NameConstraints{Permitted: GeneralNames{tt.constraint}}).allows(tt.name); (err == nil) != tt.permitted {
				t.Errorf("permitting: got %v, want permitted %t", err, tt.permitted)
			}
			if err := (&NameConstraints{Excluded: GeneralNames{tt.constraint}}).allows(tt.name); (err != nil) != tt.exclude {
				t.Errorf("excluding: got %v, want excluded %t", err, tt.exclude)
			}
		})
	}
	for _, bad := range []GeneralName{DNSName("*.example.com"), DNSName("a..b"), DNSName("."), DNSName("a b"), DNSName(strings.Repeat("a", 64) + ".com"),
		Email("a@b@c"), Email("@example.com"), Email("a@"), URI(""), URI("https://example.com"), ip("192.0.2.1"),
		{IPKind, []byte{192, 0, 2, 0, 255, 0, 255, 0}}, {DirectoryKind, []byte{1}}} {
		if (&NameConstraints{Excluded: GeneralNames{bad}}).check() == nil {
			t.Errorf("%s is taken for a constraint", bad)
		}
	}
}

// TestConstrainedNames shows what of a certificate name constraints apply to.
func TestConstrainedNames(t *testing.T) {
	email := dn.Attr(dn.EmailAddressOID, "a@example.com")
	root := mold{cn: "Root"}.root(t)
	v := newVerifier(root.Certificate, VerifyOptions{})
	for _, tt := range []struct {
		name string
		mold mold
		leaf bool
		want []string // besides the subject
	}{
		{"host in CN", mold{cn: "host.example.com"}, true, []string{`DNS "host.example.com"`}},
		{"wildcard in CN", mold{cn: "*.example.com"}, true, []string{`DNS "*.example.com"`}},
		{"CN of an authority", mold{cn: "host.example.com"}, false, nil},
		{"CN of a person", mold{cn: "Some Body"}, true, nil},
		{"CN of a client", mold{cn: "host", purposes: []asn1.ObjectIdentifier{PurposeClient}}, true, nil},
		{"CN beside a name", mold{cn: "host", names: dnsNames("other")}, true, []string{`DNS "other"`}},
		{"email in subject", mold{subject: dn.New(email)}, true, []string{`email "a@example.com"`}},
		{"email beside one", mold{subject: dn.New(email), names: GeneralNames{Email("b@example.com")}}, true, []string{`email "b@example.com"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.mold.by(t, root).Certificate
			var got []string
			for _, n := range v.newMember(c).constrainedNames(tt.leaf) {
				if n.Kind != DirectoryKind {
					got = append(got, n.String())
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMLDSAKeyUsage(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	key := signer(t, MLDSA44)
	for usage, ok := range map[KeyUsage]bool{
		DigitalSignature: true, DigitalSignature | NonRepudiation: true, DigitalSignature | KeyEncipherment: false, KeyAgreement: false,
	} {
		o := trust(root)
		o.Policy = StrictPolicy()
		leaf := mold{cn: "x", key: key, usage: usage}.by(t, root)
		if _, err := Verify(leaf.Certificate, o); err != nil {
			t.Errorf("private PKI: %v", err)
		}
		o.Policy.Profile = RFC5280
		if _, err := Verify(leaf.Certificate, o); (err == nil) != ok {
			t.Errorf("%v: got %v, want ok %t", usage, err, ok)
		}
	}
}
