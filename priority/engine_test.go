package priority

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// testEngine is about what a modern implementation has.
var testEngine = Engine{
	Name:       "the test engine",
	Versions:   []uint16{tls13, tls12},
	Suites:     []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xcca9, 0xc02f, 0xc030, 0xcca8, 0xccac, 0x00a8, 0x00aa, 0x00ab, 0x00a6, 0x00a7},
	Groups:     []uint16{23, 24, 25, 29, 0x100, 0x101},
	Signatures: []uint16{0x0401, 0x0501, 0x0601, 0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0904, 0x0905, 0x0906},
}

func TestForDropsWhatKeywordsBring(t *testing.T) {
	l, dropped, err := expand(t, "NORMAL", "3.8.13").For(testEngine)
	if err != nil {
		t.Fatal(err)
	}
	want := "VERS-TLS1.1 VERS-TLS1.0 RSA DHE-RSA AES-256-CCM AES-256-CBC AES-128-CCM AES-128-CBC SHA1 " +
		"GROUP-X448 GROUP-FFDHE4096 GROUP-FFDHE6144 GROUP-FFDHE8192 " +
		"SIGN-RSA-PSS-SHA256 SIGN-RSA-PSS-SHA384 SIGN-EdDSA-Ed448 SIGN-RSA-PSS-SHA512 SIGN-RSA-SHA1 SIGN-ECDSA-SHA1"
	if diff := cmp.Diff(want, strings.Join(dropped, " ")); diff != "" {
		t.Errorf("dropped: -want +got\n%s", diff)
	}
	var suites []uint16
	for _, s := range l.Suites {
		suites = append(suites, s.ID)
	}
	if diff := cmp.Diff([]uint16{0x1302, 0x1303, 0x1301, 0xc02c, 0xcca9, 0xc02b, 0xc030, 0xcca8, 0xc02f}, suites); diff != "" {
		t.Errorf("suites: -want +got\n%s", diff)
	}
	for _, c := range []struct{ what, want, got string }{
		{"versions", "TLS1.3 TLS1.2", names(l.Versions)},
		{"groups", "SECP256R1 SECP384R1 SECP521R1 X25519 FFDHE2048 FFDHE3072", names(l.NegotiatedGroups)},
		{"first schemes", "ML-DSA-44 ML-DSA-65", names(l.NegotiatedSignatures[:2])},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestForRefusesWhatIsNamed(t *testing.T) {
	for _, c := range []struct{ name, in, refused string }{
		{"QEMU's PSK", "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK", ""},
		{"QEMU's anonymous", "NORMAL:+ANON-DH", ""},
		{"key exchange", "NORMAL:+ANON-ECDH", "+ANON-ECDH"},
		{"key exchange that is there anyway", "NORMAL:+RSA", "+RSA"},
		{"cipher", "NORMAL:+AES-256-CBC", "+AES-256-CBC"},
		{"cipher without suites", "NORMAL:+AES-192-GCM", "+AES-192-GCM"},
		{"MAC", "NORMAL:+SHA256", "+SHA256"},
		{"versions", "NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.1:+VERS-DTLS1.2", "+VERS-TLS1.1, +VERS-DTLS1.2"},
		{"group", "NORMAL:+GROUP-X448", "+GROUP-X448"},
		{"curve that is no group", "NORMAL:+CURVE-ED25519", "+GROUP-Ed25519"},
		{"scheme", "NORMAL:+SIGN-EDDSA-ED448", "+SIGN-EdDSA-Ed448"},
		{"scheme without a code point", "NORMAL:+SIGN-RSA-MD5", "+SIGN-RSA-MD5"},
		{"raw public keys", "NORMAL:+CTYPE-SRV-RAWPK", "+CTYPE-SRV-RAWPK"},
		{"X.509", "NORMAL:+CTYPE-X509", ""},
		{"named and taken back", "NORMAL:+RSA:-RSA", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := expand(t, c.in, "3.8.13").For(testEngine)
			if c.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if f := findingOf(t, err); f.Code != "priority-unsupported" || f.Got != c.refused {
				t.Errorf("got %+v, want %s", f, c.refused)
			}
		})
	}
}

func TestForWithNothingLeft(t *testing.T) {
	for _, c := range []struct{ name, in, got string }{
		{"version", "NORMAL:-VERS-TLS1.2:-VERS-TLS1.3", "no protocol version"},
		{"suite", "NORMAL:-VERS-TLS1.3:-KX-ALL:+PSK:-CIPHER-ALL:+CHACHA20-POLY1305", "no cipher suite"},
		{"suites of a version that is off", "NORMAL:-VERS-TLS1.3:-ECDHE-RSA:-ECDHE-ECDSA", "no cipher suite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := expand(t, c.in, "3.8.13").For(testEngine)
			if f := findingOf(t, err); f.Code != "priority-empty" || f.Got != c.got {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// TestForLeavesTheListAlone matters because lists are shared.
func TestForLeavesTheListAlone(t *testing.T) {
	l, again := expand(t, "NORMAL", "3.8.13"), expand(t, "NORMAL", "3.8.13")
	if _, _, err := l.For(testEngine); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again, l, cmpopts.EquateComparable(Build{})); diff != "" {
		t.Error(diff)
	}
}
