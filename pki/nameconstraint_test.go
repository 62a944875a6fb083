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
	typed := func(tag int, text string) GeneralName {
		return DirectoryName(dn.New(dn.Attribute{Type: dn.OrganizationOID, Tag: tag, Value: []byte(text)}))
	}
	mapped := func(s string) GeneralName {
		ip := netip.MustParseAddr(s).As16()
		return GeneralName{IPKind, ip[:]}
	}
	mappedPrefix := func(s string, bits int) GeneralName {
		return IPRange(netip.PrefixFrom(netip.AddrFrom16(netip.MustParseAddr(s).As16()), bits))
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
		{prefix("192.0.2.0/24"), mapped("192.0.2.1"), false, true},
		{prefix("192.0.2.0/24"), mapped("192.0.3.1"), false, false},
		{mappedPrefix("192.0.2.0", 120), ip("192.0.2.1"), false, true},
		{mappedPrefix("192.0.2.0", 120), mapped("192.0.2.1"), true, true},
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
		{dir("O=A"), typed(26, "a"), true, true},
		{dir("O=A"), typed(26, "b"), false, false},
		{dir("O=A"), typed(asn1.TagOctetString, "b"), false, true},
		{dir("O=A"), typed(asn1.TagBoolean, "b"), false, true},
		{other, other, false, true},
		{registered, registered, false, true},
		{DNSName("example.com"), ip("192.0.2.1"), true, false},
	} {
		t.Run(tt.constraint.String()+" "+tt.name.String(), func(t *testing.T) {
			constraint, err := NameConstraints{Permitted: GeneralNames{tt.constraint}}.subtrees()
			if err != nil {
				t.Fatal(err)
			}
			if err := constraint.allows(newName(tt.name)); (err == nil) != tt.permitted {
				t.Errorf("permitting: got %v, want permitted %t", err, tt.permitted)
			}
			constraint.permitted, constraint.excluded = nil, constraint.permitted
			if err := constraint.allows(newName(tt.name)); (err != nil) != tt.exclude {
				t.Errorf("excluding: got %v, want excluded %t", err, tt.exclude)
			}
		})
	}
	for _, bad := range []GeneralName{DNSName("*.example.com"), DNSName("a..b"), DNSName("."), DNSName("a b"), DNSName(strings.Repeat("a", 64) + ".com"),
		Email("a@b@c"), Email("@example.com"), Email("a@"), URI(""), URI("https://example.com"), ip("192.0.2.1"),
		{IPKind, []byte{192, 0, 2, 0, 255, 0, 255, 0}}, {DirectoryKind, []byte{1}}} {
		if _, err := (NameConstraints{Excluded: GeneralNames{bad}}).subtrees(); err == nil {
			t.Errorf("%s is taken for a constraint", bad)
		}
	}
}

// TestConstrainedNames shows what of a certificate name constraints apply to.
func TestConstrainedNames(t *testing.T) {
	email := dn.Attr(dn.EmailAddressOID, "a@example.com")
	root := mold{cn: "Root"}.root(t)
	client := []asn1.ObjectIdentifier{PurposeClient}
	bmp := dn.Attribute{Type: dn.CommonNameOID, Tag: 30, Value: []byte("\x00h\x00o\x00s\x00t")}
	long := strings.Repeat("a123456.", 31) + "c.org" // 253 octets, the most that a name may have
	for _, tt := range []struct {
		name string
		mold mold
		host string   // that was asked for
		want []string // besides the subject
	}{
		{"host in CN", mold{cn: "host.example.com"}, "", []string{`DNS "host.example.com"`}},
		{"final dot", mold{cn: "host.example.com."}, "", []string{`DNS "host.example.com."`}},
		{"longest name and final dot", mold{cn: long + "."}, "", []string{`DNS "` + long[:200] + `"...`}},
		{"ASCII form of IDN", mold{cn: "xn--mnchen-3ya.example.com"}, "", []string{`DNS "xn--mnchen-3ya.example.com"`}},
		{"IDN, which is compared with nothing", mold{cn: "münchen.example.com"}, "münchen.example.com", nil},
		{"BMPString", mold{subject: dn.New(bmp)}, "", []string{`DNS "host"`}},
		{"address in CN", mold{cn: "192.0.2.1"}, "", []string{`DNS "192.0.2.1"`}},
		{"wildcard in CN", mold{cn: "*.example.com"}, "", []string{`DNS "*.example.com"`}},
		{"wildcard glued to a name", mold{cn: "*www.example.com"}, "", []string{`DNS "*www.example.com"`}},
		{"wildcard glued to a hyphen", mold{cn: "*-a.example.com"}, "", []string{`DNS "*-a.example.com"`}},
		{"two CNs", mold{subject: dn.New(dn.Attr(dn.CommonNameOID, "a.example.com"), dn.Attr(dn.CommonNameOID, "b.example.com"))}, "a.example.com", nil},
		{"CN of a person", mold{cn: "Some Body"}, "", nil},
		{"CN of a person, asked for", mold{cn: "Some Body"}, "some body", []string{`DNS "Some Body"`}},
		{"two final dots", mold{cn: "host.example.com.."}, "", nil},
		{"two final dots, asked for", mold{cn: "host.example.com.."}, "host.example.com..", []string{`DNS "host.example.com.."`}},
		{"address with zone", mold{cn: "fe80::1%eth0"}, "fe80::1%eth0", []string{`DNS "fe80::1%eth0"`}},
		{"another asked for", mold{cn: "Some Body"}, "host.example.com", nil},
		{"CN of a client", mold{cn: "host", purposes: client}, "host", nil},
		{"CN beside a name", mold{cn: "host", names: dnsNames("other")}, "host", []string{`DNS "other"`}},
		{"email in subject", mold{subject: dn.New(email)}, "", []string{`email "a@example.com"`}},
		{"email beside one", mold{subject: dn.New(email), names: GeneralNames{Email("b@example.com")}}, "", []string{`email "b@example.com"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := newVerifier(tt.mold.by(t, root).Certificate, VerifyOptions{Hostname: tt.host})
			v.checkLeaf()
			var got []string
			for _, n := range v.leaf.constrainedNames() {
				if n.Kind != DirectoryKind {
					got = append(got, n.String())
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	ica := mold{cn: "host.example.com", ca: true}.by(t, root)
	v := newVerifier(mold{cn: "x"}.by(t, ica).Certificate, VerifyOptions{})
	if names := v.member(ica.Certificate).constrainedNames(); len(names) != 1 {
		t.Errorf("authority: got %s, want its subject alone", names)
	}
}

// TestConstrainedCN: whoever is held to names cannot get round them with a CN.
func TestConstrainedCN(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	permitting := mold{cn: "permitting", ca: true, extensions: permit(DNSName("good.example"))}.by(t, root)
	excluding := mold{cn: "excluding", ca: true, extensions: Extensions{NameConstraints{Excluded: dnsNames("victim.com")}.Extension()}}.by(t, root)
	for _, tt := range []struct{ cn, host string }{
		{"www.victim.com", "www.victim.com"}, {"WWW.victim.COM", "www.victim.com"}, {"*.victim.com", "www.victim.com"},
		{"*www.victim.com", "www.victim.com"}, {"*ww.victim.com", "www.victim.com"}, {"*-1.victim.com", "www-1.victim.com"},
		{"*w.victim.com", ""}, {"www.victim.com.", "www.victim.com."}, {"www.victim.com..", "www.victim.com.."},
		{"*" + strings.Repeat("w", 63) + ".victim.com", ""}, {strings.Repeat("w", 64) + ".victim.com", strings.Repeat("w", 64) + ".victim.com"},
		{"www victim.com", "www victim.com"}, {"www.victim.com:443", "www.victim.com:443"}, {"[fe80::1]", "[fe80::1]"},
	} {
		t.Run(tt.cn, func(t *testing.T) {
			for _, ica := range []*entity{permitting, excluding} {
				o := trust(root)
				o.Intermediates, o.Hostname = []*Certificate{ica.Certificate}, tt.host
				verifyCase{leaf: mold{cn: tt.cn}.by(t, ica), o: o, want: []Reason{NameNotPermitted}}.run(t)
			}
		})
	}
	o := trust(root)
	o.Intermediates = []*Certificate{permitting.Certificate, excluding.Certificate}
	verifyCase{leaf: mold{cn: "Some Body"}.by(t, permitting), o: o}.run(t)
	verifyCase{leaf: mold{cn: "Some Authority", ca: true}.by(t, permitting), o: o}.run(t)
	o.Hostname = "www.good.example"
	verifyCase{leaf: mold{cn: "*.good.example"}.by(t, permitting), o: o}.run(t)
	verifyCase{leaf: mold{cn: "*.good.example"}.by(t, excluding), o: o}.run(t)
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
