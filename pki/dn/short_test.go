package dn_test

import (
	"encoding/asn1"
	"strings"
	"testing"
	"unicode/utf8"

	"virtls/pki/dn"
)

// TestShort: names of usual length are shown as they are, and the others cut.
func TestShort(t *testing.T) {
	const most = 1000 // octets
	repeat := func(n int, a dn.Attribute) (list []dn.Attribute) {
		for range n {
			list = append(list, a)
		}
		return list
	}
	for _, tt := range names[:len(names)-2] { // the last are long
		if got := tt.dn.Short(); got != tt.gnutls {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.gnutls)
		}
	}
	long := strings.Repeat("ü", 100_000)
	for _, tt := range []struct {
		name  string
		dn    dn.Name
		begin string
	}{
		{"text", cn(long), "CN=üüü"},
		{"escaped text", cn(strings.Repeat(",", 100_000)), `CN=\,\,`},
		{"BMPString", dn.New(value(dn.CommonNameOID, bmpTag, strings.Repeat("\x00a", 100_000))), "CN=aaa"},
		{"UniversalString", dn.New(value(dn.CommonNameOID, universalTag, strings.Repeat("\x00\x00\x00a", 100_000))), `CN=\#00000061`},
		{"digits", dn.New(value(unknownOID, utf8Tag, long)), unknownOID.String() + "=#0c"},
		{"raw", dn.New(dn.Attribute{Type: dn.CommonNameOID, Raw: append([]byte{0x30, 0x83, 1, 0x86, 0xa0}, make([]byte, 100_000)...)}), "CN=#30830186a000"},
		{"many RDNs", dn.New(repeat(10_000, dn.Attr(dn.CommonNameOID, "a"))...), "CN=a,CN=a"},
		{"many attributes", dn.Name{repeat(10_000, dn.Attr(dn.CommonNameOID, "a"))}, "CN=a+CN=a"},
		{"long object identifier", dn.New(value(longOID(10_000), utf8Tag, "a")), "1.1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.dn.Short()
			if len(got) > most || !strings.HasPrefix(got, tt.begin) || !strings.HasSuffix(got, "...") || !utf8.ValidString(got) {
				t.Errorf("got %d octets, %.100q", len(got), got)
			}
		})
	}
	if got, want := dn.ShortOID(asn1.ObjectIdentifier{1, 2, 3}), "1.2.3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestCheckHostile: what is found about a name does not grow with it.
func TestCheckHostile(t *testing.T) {
	var n dn.Name
	for range 10_000 {
		n = append(n, cn("a\n"+strings.Repeat("a", 10))...)
	}
	n[0][0].Value = []byte("\n" + strings.Repeat("b", 100_000))
	found := n.Check("cert.pem")
	if len(found) == 0 || len(found) > 20 {
		t.Errorf("got %d findings", len(found))
	}
	for _, f := range found {
		if len(f.Got) > 1000 {
			t.Errorf("got a finding of %d octets", len(f.Got))
		}
	}
}
