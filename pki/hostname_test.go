package pki

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/pki/dn"
)

func srvName(t testing.TB, s string) GeneralName {
	t.Helper()
	value, err := asn1.MarshalWithParams(s, "ia5")
	if err != nil {
		t.Fatal(err)
	}
	n, err := OtherName(oidSRVName, value)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type hostnameCase struct {
	name string
	cert mold
	host string
	want NameMatch // 0: none
}

func hostnameCases(t testing.TB) []hostnameCase {
	cn := func(cns ...string) (n dn.Name) {
		for _, c := range cns {
			n = append(n, dn.RDN{dn.Attr(dn.CommonNameOID, c)})
		}
		return n
	}
	server, client := []asn1.ObjectIdentifier{PurposeServer}, []asn1.ObjectIdentifier{PurposeClient}
	email := GeneralNames{Email("admin@host.example.com")}
	long := strings.Repeat("a.", 130) + "example.com"
	return []hostnameCase{
		{"dns", mold{cn: "x", names: dnsNames("host.example.com")}, "host.example.com", ByDNSName},
		{"dns second", mold{cn: "x", names: dnsNames("a.example.com", "host.example.com")}, "host.example.com", ByDNSName},
		{"dns other", mold{cn: "x", names: dnsNames("host.example.com")}, "other.example.com", 0},
		{"dns case of name", mold{cn: "x", names: dnsNames("Host.Example.COM")}, "host.example.com", ByDNSName},
		{"dns case of host", mold{cn: "x", names: dnsNames("host.example.com")}, "HOST.example.com", ByDNSName},
		{"dns short name", mold{cn: "x", names: dnsNames("host")}, "host", ByDNSName},
		{"dns short for long", mold{cn: "x", names: dnsNames("host")}, "host.example.com", 0},
		{"dns long for short", mold{cn: "x", names: dnsNames("host.example.com")}, "host", 0},
		{"dns prefix", mold{cn: "x", names: dnsNames("host.example.com")}, "host.example.co", 0},
		{"dns trailing dot of host", mold{cn: "x", names: dnsNames("host.example.com")}, "host.example.com.", 0},
		{"dns trailing dot of name", mold{cn: "x", names: dnsNames("host.example.com.")}, "host.example.com", 0},
		{"dns trailing dots of both", mold{cn: "x", names: dnsNames("host.example.com.")}, "host.example.com.", ByDNSName},
		{"dns underscore", mold{cn: "x", names: dnsNames("host_1.example.com")}, "host_1.example.com", ByDNSName},
		{"dns with NUL", mold{cn: "x", names: dnsNames("host.example.com\x00.evil.org")}, "host.example.com", 0},
		{"dns not ASCII", mold{cn: "x", names: dnsNames("münchen.example.com")}, "münchen.example.com", 0},
		{"dns very long", mold{cn: "x", names: dnsNames(long)}, long, 0},
		{"dns empty", mold{cn: "x", names: dnsNames("")}, "host", 0},
		{"idna of host", mold{cn: "x", names: dnsNames("xn--mnchen-3ya.example.com")}, "münchen.example.com", ByDNSName},
		{"idna upper case", mold{cn: "x", names: dnsNames("xn--mnchen-3ya.example.com")}, "MÜNCHEN.example.com", ByDNSName},
		{"idna nontransitional", mold{cn: "x", names: dnsNames("xn--strae-oqa.example.com")}, "straße.example.com", ByDNSName},
		{"idna not transitional", mold{cn: "x", names: dnsNames("strasse.example.com")}, "straße.example.com", 0},
		{"idna already ASCII", mold{cn: "x", names: dnsNames("xn--mnchen-3ya.example.com")}, "xn--mnchen-3ya.example.com", ByDNSName},
		{"idna disallowed", mold{cn: "x", names: dnsNames("host.ca/c.example.com")}, "host.c℀.example.com", 0},
		{"wildcard", mold{cn: "x", names: dnsNames("*.example.com")}, "host.example.com", ByDNSName},
		{"wildcard case", mold{cn: "x", names: dnsNames("*.Example.com")}, "host.exaMple.com", ByDNSName},
		{"wildcard no label", mold{cn: "x", names: dnsNames("*.example.com")}, "example.com", 0},
		{"wildcard empty label", mold{cn: "x", names: dnsNames("*.example.com")}, ".example.com", ByDNSName},
		{"wildcard two labels", mold{cn: "x", names: dnsNames("*.example.com")}, "a.host.example.com", 0},
		{"wildcard two components", mold{cn: "x", names: dnsNames("*.com")}, "example.com", 0},
		{"wildcard alone", mold{cn: "x", names: dnsNames("*")}, "host", 0},
		{"wildcard not leftmost", mold{cn: "x", names: dnsNames("host.*.com")}, "host.example.com", 0},
		{"wildcard as suffix of label", mold{cn: "x", names: dnsNames("ho*.example.com")}, "host.example.com", 0},
		{"wildcard as prefix of label", mold{cn: "x", names: dnsNames("*st.example.com")}, "host.example.com", ByDNSName},
		{"wildcard twice", mold{cn: "x", names: dnsNames("*.*.example.com")}, "a.b.example.com", 0},
		{"wildcard trailing dot", mold{cn: "x", names: dnsNames("*.example.com.")}, "host.example.com.", 0},
		{"ip4", mold{cn: "x", names: ipNames("192.0.2.1")}, "192.0.2.1", ByIPAddress},
		{"ip4 other", mold{cn: "x", names: ipNames("192.0.2.1")}, "192.0.2.2", 0},
		{"ip4 as DNS name", mold{cn: "x", names: dnsNames("192.0.2.1")}, "192.0.2.1", 0},
		{"ip4 as CN", mold{cn: "192.0.2.1"}, "192.0.2.1", 0},
		{"ip4 leading zero", mold{cn: "x", names: ipNames("192.0.2.1")}, "192.0.2.01", 0},
		{"ip4 wildcard", mold{cn: "x", names: dnsNames("*.0.2.1")}, "192.0.2.1", 0},
		{"ip4 mapped", mold{cn: "x", names: ipNames("192.0.2.1")}, "::ffff:192.0.2.1", 0},
		{"ip4 mapped in cert", mold{cn: "x", names: GeneralNames{{IPKind, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01")}}}, "::ffff:192.0.2.1", ByIPAddress},
		{"ip6", mold{cn: "x", names: ipNames("2001:db8::1")}, "2001:db8::1", ByIPAddress},
		{"ip6 long form", mold{cn: "x", names: ipNames("2001:db8::1")}, "2001:0DB8:0:0:0:0:0:1", ByIPAddress},
		{"ip6 brackets", mold{cn: "x", names: ipNames("2001:db8::1")}, "[2001:db8::1]", 0},
		{"ip6 zone", mold{cn: "x", names: ipNames("fe80::1")}, "fe80::1%eth0", 0},
		{"colon and no address", mold{cn: "x", names: dnsNames("host:1")}, "host:1", ByDNSName},
		{"cn", mold{cn: "host.example.com"}, "host.example.com", ByCommonName},
		{"cn for server", mold{cn: "host.example.com", purposes: server}, "host.example.com", ByCommonName},
		{"cn for anything", mold{cn: "host.example.com", purposes: []asn1.ObjectIdentifier{PurposeAny}}, "host.example.com", ByCommonName},
		{"cn for client", mold{cn: "host.example.com", purposes: client}, "host.example.com", 0},
		{"cn case", mold{cn: "HOST.example.com"}, "host.example.com", ByCommonName},
		{"cn wildcard", mold{cn: "*.example.com"}, "host.example.com", ByCommonName},
		{"cn two", mold{subject: cn("host.example.com", "x")}, "host.example.com", 0},
		{"cn beside DNS", mold{cn: "host.example.com", names: dnsNames("other.example.com")}, "host.example.com", 0},
		{"cn beside IP", mold{cn: "host.example.com", names: ipNames("192.0.2.1")}, "host.example.com", 0},
		{"cn beside URI", mold{cn: "host.example.com", names: GeneralNames{URI("spiffe://example.com/x")}}, "host.example.com", 0},
		{"cn beside SRV", mold{cn: "host.example.com", names: GeneralNames{srvName(t, "_x.example.com")}}, "host.example.com", 0},
		{"cn beside email", mold{cn: "host.example.com", names: email}, "host.example.com", ByCommonName},
		{"cn beside directory name", mold{cn: "host.example.com", names: GeneralNames{DirectoryName(cn("x"))}}, "host.example.com", ByCommonName},
		{"cn beside very long name", mold{cn: "host.example.com", names: dnsNames(long)}, "host.example.com", 0},
		{"cn idna", mold{cn: "xn--mnchen-3ya.example.com"}, "münchen.example.com", ByCommonName},
		{"cn not ASCII", mold{cn: "münchen.example.com"}, "münchen.example.com", 0},
		{"cn localhost", mold{cn: "localhost"}, "localhost", ByCommonName},
		{"no names", mold{subject: dn.New(dn.Attr(dn.OrganizationOID, "host.example.com"))}, "host.example.com", 0},
		{"client with DNS name", mold{cn: "x", names: dnsNames("host.example.com"), purposes: client}, "host.example.com", ByDNSName},
	}
}

func TestMatchHostname(t *testing.T) {
	ca := mold{cn: "CA"}.root(t)
	for _, tt := range hostnameCases(t) {
		t.Run(tt.name, func(t *testing.T) {
			cert := tt.cert.by(t, ca).Certificate
			got, err := MatchHostname(cert, tt.host)
			if got != tt.want || (err == nil) != (tt.want != 0) {
				t.Errorf("got %d and %v, want %d", got, err, tt.want)
			}
			var mismatch *HostnameError
			if err != nil && !errors.As(err, &mismatch) {
				t.Errorf("got %T, want a *HostnameError", err)
			}
		})
	}
}

// TestMatchHostnameAsGnuTLS asks the real certtool the same questions.
func TestMatchHostnameAsGnuTLS(t *testing.T) {
	cases := hostnameCases(t)
	ca := mold{cn: "CA"}.root(t)
	files := map[string][]byte{"ca.pem": ca.PEM()}
	for i, tt := range cases {
		files[fmt.Sprintf("%d.pem", i)] = tt.cert.by(t, ca).PEM()
		files[fmt.Sprintf("%d.name", i)] = []byte(tt.host)
	}
	dir := writeFiles(t, files)
	// One shell for all cases: starting programs is what takes time.
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do
certtool --verify --load-ca-certificate ca.pem --infile $i.pem --verify-hostname "$(cat $i.name)" >/dev/null 2>&1; echo $?
i=$((i+1)); done`, len(cases))
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		out := shell(t, g, dir, script)
		codes := strings.Fields(out)
		if len(codes) != len(cases) {
			t.Fatal(out)
		}
		for i, tt := range cases {
			if matched := codes[i] == "0"; matched != (tt.want != 0) {
				t.Errorf("%s: %s matches %t with certtool, want %t", tt.name, tt.host, matched, tt.want != 0)
			}
		}
	})
}
