package dn_test

import (
	"encoding/asn1"
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

