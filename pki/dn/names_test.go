package dn_test

import (
	"encoding/asn1"
	"strings"

	"virtls/pki/dn"
)

// unknownOID is an attribute type that no program has a name for.
var unknownOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}

// Tags of the string types.
const (
	utf8Tag, numericTag, printableTag, t61Tag, ia5Tag, visibleTag, universalTag, bmpTag = 12, 18, 19, 20, 22, 26, 28, 30
)

func value(typ asn1.ObjectIdentifier, tag int, text string) dn.Attribute {
	return dn.Attribute{Type: typ, Tag: tag, Value: []byte(text)}
}

func cn(text string) dn.Name { return dn.New(dn.Attr(dn.CommonNameOID, text)) }

// names are names as programs print them. The tests compare all of this with
// the programs, and with what this package makes of it.
var names = []struct {
	name    string
	dn      dn.Name
	gnutls  string // String
	openssl string // OpenSSL
}{
	{"usual", dn.New(
		dn.Attr(dn.CountryOID, "GB"), dn.Attr(dn.StateOID, "London"), dn.Attr(dn.LocalityOID, "City Of London"),
		dn.Attr(dn.OrganizationOID, "Example Org"), dn.Attr(dn.OrganizationalUnitOID, "Virt"), dn.Attr(dn.CommonNameOID, "host1.example.com"),
		dn.Attr(dn.UserIDOID, "h1"), dn.Attr(dn.DomainComponentOID, "example"), dn.Attr(dn.DomainComponentOID, "com"),
		dn.Attr(dn.EmailAddressOID, "root@example.com")),
		"C=GB,ST=London,L=City Of London,O=Example Org,OU=Virt,CN=host1.example.com,UID=h1,DC=example,DC=com,EMAIL=root@example.com",
		"C = GB, ST = London, L = City Of London, O = Example Org, OU = Virt, CN = host1.example.com, UID = h1, DC = example, DC = com, emailAddress = root@example.com"},
	{"comma and quotes", dn.New(dn.Attr(dn.OrganizationOID, `Name, Of "Org"`)), `O=Name\, Of \"Org\"`, `O = "Name, Of \"Org\""`},
	{"quotes only", cn(`a"b`), `CN=a\"b`, `CN = a\"b`},
	{"backslash", cn(`a\b`), `CN=a\\b`, `CN = a\\b`},
	{"all escapes", cn(`,+"\<>;`), `CN=\,\+\"\\\<\>\;`, `CN = ",+\"\\<>;"`},
	{"equals and slash", cn(`a=b/c`), `CN=a=b/c`, `CN = a=b/c`},
	{"leading number sign", cn("#a"), `CN=\#a`, `CN = "#a"`},
	{"number sign alone", cn("#"), `CN=\#`, `CN = #`},
	{"number sign inside", cn("a#"), "CN=a#", "CN = a#"},
	{"blanks around", cn(" a "), `CN=\ a\ `, `CN = " a "`},
	{"many blanks around", cn("  a  "), `CN=\  a \ `, `CN = "  a  "`},
	{"one blank", cn(" "), `CN=\ `, `CN = " "`},
	{"two blanks", cn("  "), `CN=\ \ `, `CN = "  "`},
	{"blanks inside", cn("a  b"), "CN=a  b", "CN = a  b"},
	{"tabs around", cn("\ta\t"), "CN=\ta\t", `CN = \09a\09`},
	{"control characters", cn("a\r\nb\x7f"), "CN=a\r\nb\x7f", `CN = a\0D\0Ab\7F`},
	{"apostrophe", cn("O'Brien"), "CN=O'Brien", "CN = O'Brien"},
	{"backslash and digits", cn(`\41`), `CN=\\41`, `CN = \\41`},
	{"wildcards", cn("*.example.com?"), "CN=*.example.com?", "CN = *.example.com?"},
	{"UTF-8", cn("ünï 𝄞"), "CN=ünï 𝄞", `CN = \C3\BCn\C3\AF \F0\9D\84\9E`},
	{"not UTF-8", dn.New(value(dn.CommonNameOID, utf8Tag, "a\xff")), "CN=a\xff", "CN = #0C0261FF"},
	{"multi-valued", dn.Name{{dn.Attr(dn.LocalityOID, "b"), dn.Attr(dn.OrganizationalUnitOID, "a ")}, {dn.Attr(dn.CommonNameOID, "x")}},
		`L=b+OU=a\ ,CN=x`, `L = b + OU = "a ", CN = x`},
	{"multi-valued, not in DER's order", dn.Name{{dn.Attr(dn.OrganizationalUnitOID, "a"), dn.Attr(dn.LocalityOID, "b")}},
		"OU=a+L=b", "OU = a + L = b"},
	{"two common names", dn.New(dn.Attr(dn.CommonNameOID, "a"), dn.Attr(dn.CommonNameOID, "b")), "CN=a,CN=b", "CN = a, CN = b"},
	{"country as UTF8String", dn.New(value(dn.CountryOID, utf8Tag, "GB")), "C=#0c024742", "C = GB"},
	{"country in lower case", dn.New(dn.Attr(dn.CountryOID, "gbr")), "C=gbr", "C = gbr"},
	{"country beyond PrintableString", dn.New(dn.Attr(dn.CountryOID, "@\xfc")), "C=@\xfc", `C = @\C3\BC`},
	{"email as UTF8String", dn.New(value(dn.EmailAddressOID, utf8Tag, "a@b")), "EMAIL=#0c03614062", "emailAddress = a@b"},
	{"common name as IA5String", dn.New(value(dn.CommonNameOID, ia5Tag, "a")), "CN=#160161", "CN = a"},
	{"TeletexString", dn.New(value(dn.CommonNameOID, t61Tag, "a, b")), `CN=a\, b`, `CN = "a, b"`},
	{"TeletexString, not ASCII", dn.New(value(dn.CommonNameOID, t61Tag, "\xfcber")), `CN=\#fc626572`, `CN = \C3\BCber`},
	{"BMPString", dn.New(value(dn.CommonNameOID, bmpTag, "\x00a\x20\xac")), "CN=a€", `CN = a\E2\82\AC`},
	{"BMPString, surrogates", dn.New(value(dn.CommonNameOID, bmpTag, "\xd8\x34\xdd\x1e")), "CN=𝄞", "CN = #1E04D834DD1E"},
	{"BMPString, half a pair", dn.New(value(dn.CommonNameOID, bmpTag, "\x00a\xd8\x34")), `CN=\#0061d834`, "CN = #1E040061D834"},
	{"BMPString, odd length", dn.New(value(dn.CommonNameOID, bmpTag, "\x00ab")), "CN=a", "CN = #1E03006162"},
	{"BMPString, final NUL", dn.New(value(dn.CommonNameOID, bmpTag, "\x00a\x00\x00")), "CN=a", `CN = a\00`},
	{"BMPString, NUL inside", dn.New(value(dn.CommonNameOID, bmpTag, "\x00\x00\x00a")), "CN=#1e0400000061", `CN = \00a`},
	{"UniversalString", dn.New(value(dn.CommonNameOID, universalTag, "\x00\x00\x20\xac")), `CN=\#000020ac`, `CN = \E2\82\AC`},
	{"NUL", dn.New(value(dn.CommonNameOID, utf8Tag, "a\x00b")), "CN=#0c03610062", `CN = a\00b`},
	{"integer", dn.New(value(dn.CommonNameOID, asn1.TagInteger, "a")), "CN=#020161", "CN = #020161"},
	{"sequence", dn.New(dn.Attribute{Type: dn.CommonNameOID, Raw: []byte{0x30, 3, 12, 1, 'a'}}), "CN=#30030c0161", "CN = #30030C0161"},
	{"tag of several octets", dn.New(dn.Attribute{Type: dn.CommonNameOID, Raw: []byte{0x1f, 0x1f, 1, 'a'}}), "CN=#1f1f0161", "CN = #1F1F0161"},
	{"numeric", dn.New(dn.Attr(oid("1.2.643.100.1"), "123")), "OGRN=123", "OGRN = 123"},
	{"unknown attribute", dn.New(value(unknownOID, utf8Tag, "a, b")), "1.3.6.1.4.1.99999.1=#0c04612c2062", `1.3.6.1.4.1.99999.1 = "a, b"`},
	{"unknown to GnuTLS", dn.New(dn.Attr(oid("2.5.4.97"), "NTR-1"), dn.Attr(oid("2.5.4.45"), "x")),
		"2.5.4.97=#13054e54522d31,2.5.4.45=#130178", "organizationIdentifier = NTR-1, x500UniqueIdentifier = x"},
	{"without a name in GnuTLS", dn.New(value(oid("1.2.840.113549.1.9.20"), bmpTag, "\x00a"), dn.Attr(oid("1.2.840.113549.1.9.7"), "pw"), dn.Attr(oid("1.2.840.113549.1.9.21"), "id")),
		"1.2.840.113549.1.9.20=a,1.2.840.113549.1.9.7=pw,1.2.840.113549.1.9.21=id",
		"friendlyName = a, challengePassword = pw, localKeyID = #04026964"},
	{"long", cn(strings.Repeat("x", 300)), "CN=" + strings.Repeat("x", 300), "CN = " + strings.Repeat("x", 300)},
	{"longer than a buffer", cn(strings.Repeat("a,", 70000)), "CN=" + strings.Repeat(`a\,`, 70000), `CN = "` + strings.Repeat("a,", 70000) + `"`},
}

func oid(dotted string) asn1.ObjectIdentifier {
	id, err := dn.ParseOID(dotted)
	if err != nil {
		panic(err)
	}
	return id
}

// longOID returns an object identifier whose dotted form has n characters.
func longOID(n int) asn1.ObjectIdentifier {
	return oid("1." + strings.Repeat("1.", (n-3)/2) + strings.Repeat("1", 1+(n-3)%2))
}
