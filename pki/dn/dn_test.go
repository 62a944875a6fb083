package dn_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/pki/dn"
)

func TestPrint(t *testing.T) {
	for _, tt := range names {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.gnutls, tt.dn.String()); diff != "" {
				t.Errorf("String (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.openssl, tt.dn.OpenSSL()); diff != "" {
				t.Errorf("OpenSSL (-want +got):\n%s", diff)
			}
		})
	}
}

func isError(found []finding.Finding) bool { return finding.Worst(found) == finding.Error }

var checks = []struct {
	name  string
	dn    dn.Name
	codes []string
}{
	{"fine", cn("a"), nil},
	{"no attributes", dn.Name{}, []string{"dn-empty"}},
	{"empty common name", cn(""), []string{"dn-empty-value"}},
	{"empty common name among others", dn.New(dn.Attr(dn.CountryOID, "GB"), dn.Attr(dn.CommonNameOID, ""), dn.Attr(dn.CommonNameOID, "a")), []string{"dn-empty-value"}},
	{"empty sequence as common name", dn.New(dn.Attribute{Type: dn.CommonNameOID, Raw: []byte{0x30, 0}}), []string{"dn-empty-value"}},
	{"empty country", dn.New(dn.Attr(dn.CountryOID, "")), []string{"dn-blank-value"}},
	{"empty country of another type", dn.New(value(dn.CountryOID, utf8Tag, "")), []string{"dn-blank-value"}},
	{"empty unknown attribute", dn.New(dn.Attr(unknownOID, "")), []string{"dn-hex-value"}},
	{"empty challenge password", dn.New(dn.Attr(oid("1.2.840.113549.1.9.7"), "")), []string{"dn-hex-value"}},
	{"country as UTF8String", dn.New(value(dn.CountryOID, utf8Tag, "GB")), []string{"dn-hex-value"}},
	{"TeletexString, not ASCII", dn.New(value(dn.CommonNameOID, t61Tag, "\xfc")), []string{"dn-hex-value"}},
	{"number sign in a PrintableString", dn.New(value(dn.CommonNameOID, printableTag, "#ab")), nil},
	{"NUL", cn("a\x00"), []string{"dn-hex-value"}},
	{"octets without NUL", dn.New(value(oid("1.2.840.113549.1.9.21"), asn1.TagOctetString, "a")), nil},
	{"octets with NUL", dn.New(value(oid("1.2.840.113549.1.9.21"), asn1.TagOctetString, "a\x00")), []string{"dn-unprintable"}},
	{"long object identifier", dn.New(value(longOID(125), utf8Tag, "a")), []string{"dn-hex-value"}},
	{"longer object identifier", dn.New(value(longOID(126), utf8Tag, "a")), []string{"dn-hex-value"}},
	{"too long object identifier", dn.New(value(longOID(127), utf8Tag, "a")), []string{"dn-unprintable"}},
	{"not UTF-8", cn("\xff"), []string{"dn-not-utf8"}},
	{"control character", cn("a\nb"), []string{"dn-control-character"}},
	{"two findings", dn.New(dn.Attr(dn.OrganizationOID, "\n"), dn.Attr(dn.CommonNameOID, "")), []string{"dn-control-character", "dn-empty-value"}},
}

func TestCheck(t *testing.T) {
	for _, tt := range checks {
		t.Run(tt.name, func(t *testing.T) {
			var codes []string
			for _, f := range tt.dn.Check("cert.pem") {
				codes = append(codes, f.Code)
			}
			if diff := cmp.Diff(tt.codes, codes); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseDER(t *testing.T) {
	for _, tt := range names {
		t.Run(tt.name, func(t *testing.T) {
			der := tt.dn.DER()
			n, err := dn.ParseDER(der)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.dn, n); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !bytes.Equal(der, n.DER()) {
				t.Errorf("DER: %x became %x", der, n.DER())
			}
		})
	}
}

func TestParseDERErrors(t *testing.T) {
	tests := []struct{ name, der, want string }{
		{"nothing", "", "found the end, wanted an ASN.1 element"},
		{"a set", "3100", "found ASN.1 element 0x31, wanted 0x30"},
		{"a primitive", "1000", "found ASN.1 element 0x10, wanted 0x30"},
		{"cut off", "3005", "truncated"},
		{"bytes after the name", "300000", "found 1 bytes after its end"},
		{"a sequence as RDN", "30023000", "RDN 1: found ASN.1 element 0x30, wanted 0x31"},
		{"empty RDN", "30023100", "RDN 1: found an empty SET, wanted at least one attribute"},
		{"no attribute", "300431020500", "found ASN.1 element 0x05, wanted 0x30"},
		{"empty attribute", "300431023000", "attribute 1: type"},
		{"no value", "300931073005060355040a", "value of 2.5.4.10: found the end"},
		{"two values", "300d310b3009060355040a05000500", "value of 2.5.4.10: found 2 bytes after the value"},
		{"bytes in the RDN", "300e310c3008060355040a0c01610500", "found ASN.1 element 0x05, wanted 0x30"},
		{"length not minimal", "300d310b3009060355040a0c810161", "non-minimal length"},
		{"indefinite length", "3080310a3008060355040a0c01610000", "indefinite"},
		{"large object identifier", "300f310d300b06065504ffffffff7f0500", "type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			der, err := hex.DecodeString(tt.der)
			if err != nil {
				t.Fatal(err)
			}
			n, err := dn.ParseDER(der)
			if err == nil {
				t.Fatalf("parsed as %q", n)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got the error %q, wanted one with %q", err, tt.want)
			}
		})
	}
}

func FuzzParseDER(f *testing.F) {
	for _, tt := range names[:len(names)-1] { // the last is long
		f.Add(tt.dn.DER())
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		n, err := dn.ParseDER(der)
		if err != nil {
			return
		}
		if !bytes.Equal(n.DER(), der) {
			t.Errorf("%x became %x", der, n.DER())
		}
		n.Check("")
		n.CommonNames()
		n.OpenSSL()
		if !n.EqualFold(n) || !n.Equal(n) || !n.Fold().MayLieWithin(n.Fold()) {
			t.Errorf("%x is not equal to itself", der)
		}
		again, err := dn.Parse(n.String())
		if err != nil {
			t.Fatalf("%x prints as %q: %v", der, n, err)
		}
		if again.String() != n.String() && !multiValued(n) {
			t.Errorf("%x prints as %q, and that as %q", der, n, again)
		}
	})
}

func TestCommonName(t *testing.T) {
	tests := []struct {
		name  string
		dn    dn.Name
		first string
		all   []string
	}{
		{"none", dn.New(dn.Attr(dn.OrganizationOID, "x")), "", nil},
		{"one", cn(`a, b`), "a, b", []string{"a, b"}},
		{"several", dn.Name{{dn.Attr(dn.OrganizationOID, "x"), dn.Attr(dn.CommonNameOID, "a")}, {dn.Attr(dn.CommonNameOID, "b")}}, "a", []string{"a", "b"}},
		{"BMPString", dn.New(value(dn.CommonNameOID, bmpTag, "\x00a")), "a", []string{"a"}},
		{"no text", dn.New(value(dn.CommonNameOID, ia5Tag, "a")), "#160161", []string{"#160161"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.dn.CommonName(); got != tt.first {
				t.Errorf("CommonName = %q, want %q", got, tt.first)
			}
			if diff := cmp.Diff(tt.all, tt.dn.CommonNames()); diff != "" {
				t.Errorf("CommonNames (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEqual(t *testing.T) {
	o, c := dn.Attr(dn.OrganizationOID, "Example Org"), dn.Attr(dn.CommonNameOID, "a")
	tests := []struct {
		name        string
		a, b        dn.Name
		equal, fold bool
	}{
		{"same", dn.New(o, c), dn.New(o, c), true, true},
		{"empty", dn.Name{}, nil, true, true},
		{"shorter", dn.New(o, c), dn.New(o), false, false},
		{"order", dn.New(o, c), dn.New(c, o), false, false},
		{"order in an RDN", dn.Name{{o, c}}, dn.Name{{c, o}}, false, true},
		{"RDNs joined", dn.Name{{o, c}}, dn.New(o, c), false, false},
		{"string type", cn("a"), dn.New(value(dn.CommonNameOID, utf8Tag, "a")), false, true},
		{"BMPString", cn("ü"), dn.New(value(dn.CommonNameOID, bmpTag, "\x00\xfc")), false, true},
		{"case", cn("Example"), cn("eXAMPLE"), false, true},
		{"case beyond ASCII", cn("ÜΣς"), cn("üσσ"), false, true},
		{"blanks", cn("  a  b "), cn("a b"), false, true},
		{"a blank less", cn("a b"), cn("ab"), false, false},
		{"accent", cn("u"), cn("ü"), false, false},
		{"types", cn("a"), dn.New(dn.Attr(dn.OrganizationOID, "a")), false, false},
		{"not UTF-8", cn("a\xff"), cn("a\xfe"), false, false},
		{"not UTF-16", dn.New(value(dn.CommonNameOID, bmpTag, "\xd8\x00")), dn.New(value(dn.CommonNameOID, bmpTag, "\xd8\x01")), false, false},
		{"digits", dn.New(value(dn.CommonNameOID, 4, "a")), cn("#040161"), false, false},
		{"no text", dn.New(value(dn.CommonNameOID, 4, "a")), dn.New(value(dn.CommonNameOID, 4, "A")), false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, ab := range [][2]dn.Name{{tt.a, tt.b}, {tt.b, tt.a}} {
				if got := ab[0].Equal(ab[1]); got != tt.equal {
					t.Errorf("Equal = %v, want %v", got, tt.equal)
				}
				if got := ab[0].EqualFold(ab[1]); got != tt.fold {
					t.Errorf("EqualFold = %v, want %v", got, tt.fold)
				}
			}
			if got := bytes.Equal(tt.a.DER(), tt.b.DER()); got != tt.equal {
				t.Errorf("the encodings are equal: %v, want %v", got, tt.equal)
			}
		})
	}
}

func TestWithin(t *testing.T) {
	parse := func(s string) dn.Name {
		n, err := dn.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	org := func(tag int, text string) dn.Name { return dn.New(value(dn.OrganizationOID, tag, text)) }
	raw := dn.New(dn.Attribute{Type: dn.OrganizationOID, Raw: []byte{0x30, 0}})
	evil, umlaut := parse("O=Evil"), parse("O=Évil")
	for _, tt := range []struct {
		name        string
		dn, base    dn.Name
		within, may bool
	}{
		{"everything", parse("C=GB,O=Example,CN=a"), nil, true, true},
		{"case", parse("C=GB,O=Example,CN=a"), parse("C=gb,O=EXAMPLE"), true, true},
		{"the same", parse("C=GB,O=Example"), parse("C=GB,O=Example"), true, true},
		{"above", parse("C=GB"), parse("C=GB,O=Example"), false, false},
		{"beside", parse("C=GB,O=Example2"), parse("C=GB,O=Example"), false, false},
		{"deeper", parse("ST=x,C=GB,O=Example"), parse("C=GB,O=Example"), false, false},
		{"empty", nil, parse("C=GB"), false, false},
		{"UTF8String", org(utf8Tag, "Evil"), evil, true, true},
		{"IA5String", org(ia5Tag, "Evil"), evil, true, true},
		{"NumericString", org(numericTag, "Evil"), evil, true, true},
		{"TeletexString", org(t61Tag, "Evil"), evil, true, true},
		{"BMPString", org(bmpTag, "\x00E\x00v\x00i\x00l"), evil, true, true},
		{"UniversalString", org(universalTag, "\x00\x00\x00E\x00\x00\x00v\x00\x00\x00i\x00\x00\x00l"), evil, true, true},
		{"VisibleString", org(visibleTag, "eVIL"), evil, true, true},
		{"VisibleString, other text", org(visibleTag, "Good"), evil, false, false},
		{"VisibleString, not ASCII", org(visibleTag, "\xc9vil"), umlaut, false, true},
		{"OCTET STRING", org(asn1.TagOctetString, "Evil"), evil, false, true},
		{"BOOLEAN", org(asn1.TagBoolean, "Evil"), evil, false, true},
		{"INTEGER", org(asn1.TagInteger, "Evil"), evil, false, true},
		{"GeneralString", org(asn1.TagGeneralString, "Good"), evil, false, true},
		{"SEQUENCE", raw, evil, false, true},
		{"SEQUENCE, not at that place", append(parse("O=Good"), raw...), evil, false, false},
		{"SEQUENCE of another type", dn.New(dn.Attribute{Type: dn.CommonNameOID, Raw: []byte{0x30, 0}}), evil, false, false},
		{"OCTET STRING as base", evil, org(asn1.TagOctetString, "Evil"), false, true},
		{"OCTET STRING as base, other type", parse("CN=Evil"), org(asn1.TagOctetString, "Evil"), false, false},
		{"not UTF-8", org(utf8Tag, "Evil\xff"), evil, false, true},
		{"not UTF-16", org(bmpTag, "\xd8\x00"), evil, false, true},
		{"odd BMPString", org(bmpTag, "\x00E\x00v\x00i\x00l0"), evil, false, true},
		{"UTF-8 in a PrintableString", org(printableTag, "Évil"), umlaut, false, true},
		{"TeletexString, not ASCII", org(t61Tag, "\xc2Evil"), umlaut, false, true},
		{"NUL", org(utf8Tag, "Evil\x00 not"), evil, false, true},
		{"control character", org(utf8Tag, "\x1bEvil"), evil, false, true},
		{"accent apart", org(utf8Tag, "E\u0301vil"), umlaut, false, true},
		{"compatible letters", org(utf8Tag, "Ｅｖｉｌ"), evil, false, true},
		{"letters nobody sees", org(utf8Tag, "E\u200bv\u00adi\ufe0f\u034fl"), evil, false, true},
		{"other letters", org(utf8Tag, "Good\u200b"), evil, false, false},
		{"more in the RDN", dn.Name{append(parse("CN=x")[0], evil[0]...)}, evil, false, true},
		{"less in the RDN", evil, dn.Name{append(parse("CN=x")[0], evil[0]...)}, false, false},
		{"one of many unreadable", dn.Name{append(parse("CN=x")[0], raw[0]...)}, dn.Name{append(parse("CN=y")[0], evil[0]...)}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, base := tt.dn.Fold(), tt.base.Fold()
			if got := n.Within(base); got != tt.within {
				t.Errorf("within: %v, want %v", got, tt.within)
			}
			if got := n.MayLieWithin(base); got != tt.may {
				t.Errorf("may lie within: %v, want %v", got, tt.may)
			}
		})
	}
}

// FuzzWithin: what lies within a subtree may lie within it.
func FuzzWithin(f *testing.F) {
	f.Add(uint8(utf8Tag), "Evil", uint8(visibleTag), "eVIL")
	f.Add(uint8(utf8Tag), "α\u0345", uint8(utf8Tag), "αι")
	f.Add(uint8(bmpTag), "\x00a", uint8(t61Tag), " A ")
	f.Fuzz(func(t *testing.T, tag uint8, text string, baseTag uint8, baseText string) {
		n := dn.New(value(dn.OrganizationOID, 1+int(tag%30), text), dn.Attr(dn.CommonNameOID, "x")).Fold()
		base := dn.New(value(dn.OrganizationOID, 1+int(baseTag%30), baseText)).Fold()
		if n.Within(base) && !n.MayLieWithin(base) || !n.MayLieWithin(n) {
			t.Errorf("%d %q lies within %d %q and may not", tag, text, baseTag, baseText)
		}
	})
}

func TestNames(t *testing.T) {
	for pair := range strings.SplitSeq(allNames, ",") {
		name, _, _ := strings.Cut(pair, "=")
		id, ok := dn.LookupName(strings.ToUpper(name))
		if !ok || dn.ShortName(id) != name {
			t.Errorf("LookupName(%q) = %v, %v, whose name is %q", name, id, ok, dn.ShortName(id))
		}
	}
	for _, name := range []string{"", "emailAddress", "2.5.4.3"} {
		if id, ok := dn.LookupName(name); ok {
			t.Errorf("LookupName(%q) = %v", name, id)
		}
	}
	if got := dn.ShortName(unknownOID); got != unknownOID.String() {
		t.Errorf("ShortName(%v) = %q", unknownOID, got)
	}
}

func TestUnencodableOID(t *testing.T) {
	der := dn.New(dn.Attr(asn1.ObjectIdentifier{5, 6, 7, 8}, "a")).DER()
	if n, err := dn.ParseDER(der); err == nil {
		t.Errorf("DER %x is read as %q, wanted an error", der, n)
	}
}
