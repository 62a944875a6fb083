package dn_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/pki/dn"
)

// TestParseReadsPrinted parses what the printers print, and prints it again.
func TestParseReadsPrinted(t *testing.T) {
	forms := []struct {
		name  string
		print func(dn.Name) string
		parse func(string) (dn.Name, error)
	}{
		{"String", dn.Name.String, dn.Parse},
		{"RFC4514", dn.Name.RFC4514, dn.ParseRFC4514},
		{"OpenSSL", dn.Name.OpenSSL, dn.ParseOpenSSL},
	}
	for _, form := range forms {
		for _, tt := range names {
			if strings.Contains(tt.name, "not in DER's order") {
				continue // parsing puts the attributes in that order
			}
			t.Run(form.name+"/"+tt.name, func(t *testing.T) {
				printed := form.print(tt.dn)
				n, err := form.parse(printed)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(printed, form.print(n)); diff != "" {
					t.Errorf("printed again (-first +again):\n%s", diff)
				}
			})
		}
	}
}

func TestParse(t *testing.T) {
	a, b, c := dn.Attr(dn.OrganizationOID, "a"), dn.Attr(dn.CommonNameOID, "b"), dn.Attr(dn.CountryOID, "GB")
	ab, ba := dn.New(a, b), dn.New(b, a)
	tests := []struct {
		name  string
		parse func(string) (dn.Name, error)
		text  string
		want  dn.Name
	}{
		{"empty", dn.Parse, "", dn.Name{}},
		{"blank", dn.ParseOpenSSL, "  ", dn.Name{}},
		{"DER order", dn.Parse, "O=a,CN=b", ab},
		{"reverse order", dn.ParseRFC4514, "O=a,CN=b", ba},
		{"blanks", dn.Parse, "  O =  a , CN= b  ", ab},
		{"case of names", dn.Parse, "o=a,cN=b", ab},
		{"dotted", dn.Parse, "2.5.4.10=a,2.5.4.3=b", ab},
		{"digits", dn.Parse, "O=#130161, CN=#130162 ", ab},
		{"digits of another type", dn.Parse, "C=#0C024742", dn.New(value(dn.CountryOID, utf8Tag, "GB"))},
		{"digits of a sequence", dn.Parse, "CN=#3000", dn.New(dn.Attribute{Type: dn.CommonNameOID, Raw: []byte{0x30, 0}})},
		{"multi-valued, put in order", dn.Parse, "O=a+CN=b", dn.Name{{b, a}}},
		{"octets", dn.Parse, `CN=\62,O=\c3\BC`, dn.New(b, dn.Attr(dn.OrganizationOID, "ü"))},
		{"quotes are text", dn.Parse, `CN="b"`, cn(`"b"`)},
		{"equals sign in value", dn.Parse, "CN=a=b", cn("a=b")},
		{"empty country", dn.Parse, "C=,CN=b", dn.New(dn.Attr(dn.CountryOID, ""), b)},
		{"escaped blank alone", dn.Parse, `CN=\ `, cn(" ")},
		{"number sign alone", dn.ParseOpenSSL, "CN = #, O = #", dn.New(dn.Attr(dn.CommonNameOID, "#"), dn.Attr(dn.OrganizationOID, "#"))},
		{"openssl RFC2253", dn.ParseRFC4514, `CN=b,1.3.6.1.4.1.99999.1=#0C0161,O=\C3\BC\, \#`,
			dn.New(dn.Attr(dn.OrganizationOID, "ü, #"), value(unknownOID, utf8Tag, "a"), b)},
		{"OpenSSL's name", dn.ParseRFC4514, "emailAddress=x", dn.New(dn.Attr(dn.EmailAddressOID, "x"))},
		{"GnuTLS's UID", dn.ParseRFC4514, "uid=x", dn.New(dn.Attr(dn.UserIDOID, "x"))},

		{"3.0", dn.ParseOpenSSL, "O = a, CN = b", ab},
		{"3.2", dn.ParseOpenSSL, "O=a, CN=b", ab},
		{"compat", dn.ParseOpenSSL, "/O=a/CN=b", ab},
		{"compat, multi-valued", dn.ParseOpenSSL, "/C=GB/CN=b+O=a", dn.Name{{c}, {b, a}}},
		{"compat, slash in value", dn.ParseOpenSSL, `/CN=a/b/O=\/`, dn.New(dn.Attr(dn.CommonNameOID, "a/b"), dn.Attr(dn.OrganizationOID, "/"))},
		{"compat, comma in value", dn.ParseOpenSSL, "/CN=a, O=b", cn("a, O=b")},
		{"3.2, comma in value", dn.ParseOpenSSL, "O=Example, Inc., CN=b", dn.New(dn.Attr(dn.OrganizationOID, "Example, Inc."), b)},
		{"3.2, comma at the end", dn.ParseOpenSSL, "CN=b,", cn("b,")},
		{"3.2, plus in value", dn.ParseOpenSSL, "O=C++ + D, CN=b", dn.New(dn.Attr(dn.OrganizationOID, "C++ + D"), b)},
		{"quoted", dn.ParseOpenSSL, `O = "a, \"b\" \\ =", CN = "b"`, dn.New(dn.Attr(dn.OrganizationOID, `a, "b" \ =`), b)},
		{"not PrintableString", dn.ParseOpenSSL, `C = \C3\BC`, dn.New(value(dn.CountryOID, utf8Tag, "ü"))},
		{"NUL", dn.ParseOpenSSL, `CN = a\00`, cn("a\x00")},
		{"unknown attribute", dn.ParseOpenSSL, "1.3.6.1.4.1.99999.1 = a", dn.New(dn.Attr(unknownOID, "a"))},
		{"empty common name", dn.ParseOpenSSL, "CN = ", cn("")},
		{"OpenSSL's uid", dn.ParseOpenSSL, "uid = x", dn.New(dn.Attr(oid("0.9.2342.19200300.100.1.44"), "x"))},
		{"GnuTLS's name", dn.ParseOpenSSL, "EMAIL = x", dn.New(dn.Attr(dn.EmailAddressOID, "x"))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name  string
		parse func(string) (dn.Name, error)
		text  string
		want  string // in the error
	}{
		{"no name", dn.Parse, "host1", `at character 1: found "host1", wanted NAME=VALUE`},
		{"comma at the end", dn.Parse, "CN=a,", `at character 6: found "", wanted NAME=VALUE`},
		{"two commas", dn.Parse, "CN=a,,O=b", `found attribute name ",O"`},
		{"unknown name", dn.Parse, "CN=a, foo=b", `at character 7: found attribute name "foo", wanted one like C, ST,`},
		{"OpenSSL's name", dn.Parse, "emailAddress=b", `wanted GnuTLS's name for it, EMAIL`},
		{"empty name", dn.Parse, "=b", `found attribute name ""`},
		{"folding beyond ASCII", dn.Parse, "\u017fT=b", "found attribute name"},
		{"empty value", dn.Parse, "O=,CN=b", "at character 3: found no value for O"},
		{"blank value", dn.Parse, "CN=  ", "found no value for CN"},
		{"object identifier", dn.Parse, "5.6.7.8=x", "the first 0 to 2"},
		{"short object identifier", dn.Parse, "1=x", "wanted at least two numbers"},
		{"large object identifier", dn.Parse, "1.2.4294967296=x", "wanted a number below 2^31"},
		{"leading zero", dn.Parse, "2.5.4.03=x", "wanted a number below 2^31"},
		{"text for an unknown attribute", dn.Parse, "2.5.4.97=NTR-1", "at character 10: found text as the value of attribute 2.5.4.97"},
		{"odd digits", dn.Parse, "CN=#123", "hexadecimal value"},
		{"no digits", dn.Parse, "CN=#", "hexadecimal value"},
		{"not digits", dn.ParseOpenSSL, "CN = #a, O = x", "hexadecimal value"},
		{"no DER", dn.Parse, "CN=#0c0261", "hexadecimal value"},
		{"more than a value", dn.Parse, "CN=#0c016100", "found 1 bytes after the value"},
		{"backslash at the end", dn.Parse, `CN=a\`, `at character 5: found a backslash before ""`},
		{"unknown escape", dn.Parse, `CN=a\n`, `found a backslash before "n"`},
		{"half an octet", dn.Parse, `CN=a\4x`, `found a backslash before "4x"`},
		{"open quotes", dn.ParseOpenSSL, `CN = "a`, "at character 6: found no closing quote"},
		{"text after quotes", dn.ParseOpenSSL, `CN = "a" b`, `found "b" after the closing quote`},
		{"unknown name after a comma", dn.ParseOpenSSL, "O=a, b=c", `found attribute name "b"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := tt.parse(tt.text)
			if err == nil {
				t.Fatalf("parsed as %q", n)
			}
			if n != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v and the error %q, wanted an error with %q", n, err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range names[:len(names)-1] { // the last is long
		f.Add(tt.gnutls)
		f.Add(tt.openssl)
		f.Add(tt.dn.FormatOpenSSL(dn.NameDefault))
	}
	f.Add("/C=GB/CN=a/b")
	f.Fuzz(func(t *testing.T, text string) {
		forms := []struct {
			name  string
			parse func(string) (dn.Name, error)
			print func(dn.Name) string
		}{
			{"Parse", dn.Parse, dn.Name.String},
			{"ParseRFC4514", dn.ParseRFC4514, dn.Name.RFC4514},
			{"ParseOpenSSL", dn.ParseOpenSSL, dn.Name.OpenSSL},
		}
		for _, form := range forms {
			n, err := form.parse(text)
			if err != nil {
				continue
			}
			printed := form.print(n)
			again, err := form.parse(printed)
			if err != nil {
				t.Fatalf("%s(%q) prints as %q: %v", form.name, text, printed, err)
			}
			if form.print(again) != printed && !multiValued(n) {
				t.Errorf("%s(%q) prints as %q, and that as %q", form.name, text, printed, form.print(again))
			}
			if parsed, err := dn.ParseDER(n.DER()); err != nil || !parsed.Equal(n) {
				t.Errorf("%s(%q): DER %x: %v", form.name, text, n.DER(), err)
			}
		}
	})
}

// multiValued reports whether a name has an RDN whose attributes may change
// places when their string types change.
func multiValued(n dn.Name) bool {
	return slices.ContainsFunc(n, func(rdn dn.RDN) bool { return len(rdn) > 1 })
}
