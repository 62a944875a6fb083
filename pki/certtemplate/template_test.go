package certtemplate

import (
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"virtls/pki"
)

func TestScan(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Entry
		stop       int
	}{
		{"nothing", "", nil, 0},
		{"blank lines and comments", "\n \t\n# a = b\n  # c", nil, 0},
		{"name alone", "ca", []Entry{{Name: "ca", Line: 1}}, 0},
		{"equals", "a=b\n", []Entry{{Name: "a", Value: "b", Line: 1}}, 0},
		{"colon and blank", "a: b\n", []Entry{{Name: "a", Value: "b", Line: 1}}, 0},
		{"colon in the name", "a:b c\n", []Entry{{Name: "a:b", Value: "c", Line: 1}}, 0},
		{"two colons", "a:: b\n", []Entry{{Name: "a:", Value: "b", Line: 1}}, 0},
		{"blank", "a b c\n", []Entry{{Name: "a", Value: "b c", Line: 1}}, 0},
		{"two signs", "a == b\n", []Entry{{Name: "a", Value: "= b", Line: 1}}, 0},
		{"hash in the value", "a = b # c\n", []Entry{{Name: "a", Value: "b # c", Line: 1}}, 0},
		{"hash as value", "a = #c\n", []Entry{{Name: "a", Value: "#c", Line: 1}}, 0},
		{"empty value", "a =\nb = c\n", []Entry{{Name: "a", Line: 1}, {Name: "b", Value: "c", Line: 2}}, 0},
		{"trailing blanks", "a = b \t\n", []Entry{{Name: "a", Value: "b \t", Line: 1}}, 0},
		{"carriage return", "a = b\r\nc\r\nd\r\n", []Entry{{Name: "a", Value: "b\r", Line: 1}, {Name: "c", Value: "\r", Line: 2}, {Name: "d", Value: "\r", Line: 3}}, 0},
		{"double quotes", `a = "b 'c' \"d\" \e"`, []Entry{{Name: "a", Value: `b 'c' "d" `, Line: 1}}, 0},
		{"single quotes", `a = 'b "c"'` + "\n", []Entry{{Name: "a", Value: `b "c"`, Line: 1}}, 0},
		{"quoted lines", "a = \"b\nc\\\nd\"\ne = f\n", []Entry{{Name: "a", Value: "b\nc d", Line: 1}, {Name: "e", Value: "f", Line: 4}}, 0},
		{"behind the quotes", "a = 'b' c = d\n", []Entry{{Name: "a", Value: "b", Line: 1}, {Name: "c", Value: "d", Line: 1}}, 0},
		{"open quotes", "a = 'b\nc = d\n", []Entry{{Name: "a", Value: "b\nc = d\n", Line: 1}}, 0},
		{"continued", "a = b\\\nc\nd\n", []Entry{{Name: "a", Value: "b\nc", Line: 1}, {Name: "d", Line: 3}}, 0},
		{"dropped escapes", `a = b\c\\d\` + "\n" + "e\nf", []Entry{{Name: "a", Value: "bd\ne", Line: 1}, {Name: "f", Line: 3}}, 0},
		{"backslash first", "a = \\b\n", []Entry{{Name: "a", Value: "\\b", Line: 1}}, 0},
		{"backslash last", "a = b\\", []Entry{{Name: "a", Value: "b", Line: 1}}, 0},
		{"stop", "a\n\n-b\nc\n", []Entry{{Name: "a", Line: 1}}, 3},
		{"stop at once", "\ufeffa\n", nil, 1},
		{"NUL", "a\x00b = c\x00d\n\x00e", []Entry{{Name: "a", Value: "c", Line: 1}, {Name: "e", Line: 2}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, stop, closed := scan([]byte(tt.text))
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Entry{})); diff != "" || !closed {
				t.Errorf("want (-), got (+), closed: %v\n%s", closed, diff)
			}
			if line := 0; stop != nil {
				line = stop.Line
				if line != tt.stop {
					t.Errorf("stopped at line %d, want %d", line, tt.stop)
				}
			} else if tt.stop != 0 {
				t.Errorf("did not stop, want line %d", tt.stop)
			}
		})
	}
}

// TestEveryOptionIsCompared sees to it that the templates, which are compared
// with certtool's work, leave no option out.
func TestEveryOptionIsCompared(t *testing.T) {
	if len(keys) != 70 {
		t.Errorf("there are %d options, want 70", len(keys))
	}
	files, err := filepath.Glob("testdata/templates/*.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, f := range files {
		entries, _, _ := scan(readFile(t, f))
		for _, e := range entries {
			used[e.Name] = true
		}
	}
	for _, k := range keys {
		names := []string{k.name}
		if k.name == "policy*" {
			names = nil
			for i := 1; i <= 8; i++ {
				names = append(names, fmt.Sprintf("policy%d", i))
			}
			names = append(names, "policy1_txt", "policy1_url")
		}
		for _, name := range names {
			if !used[name] {
				t.Errorf("no template in testdata/templates has the option %s", name)
			}
		}
	}
}

func TestStrtol(t *testing.T) {
	tests := []struct {
		text string
		want int64
		rest string
	}{
		{"", 0, ""}, {"12", 12, ""}, {" \t-7x", -7, "x"}, {"+5", 5, ""}, {"x", 0, "x"}, {"- 5", 0, "- 5"}, {"+", 0, "+"},
		{"9223372036854775807", 1<<63 - 1, ""}, {"9223372036854775808 y", 1<<63 - 1, " y"}, {"-9223372036854775808", -1 << 63, ""},
		{"-9223372036854775809", -1 << 63, ""}, {"99999999999999999999999", 1<<63 - 1, ""}, {"0x10", 0, "x10"},
	}
	for _, tt := range tests {
		if n, rest := strtol(tt.text); n != tt.want || rest != tt.rest {
			t.Errorf("strtol(%q) = %d, %q, want %d, %q", tt.text, n, rest, tt.want, tt.rest)
		}
	}
}

func mustParse(t *testing.T, text string) *Template {
	t.Helper()
	tmpl, err := Parse("t.tmpl", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestAccessors(t *testing.T) {
	full := mustParse(t, "password = \"a b\"\nchallenge_password = c\npkcs12_key_name = d\nproxy_policy_language = 1.3.6.1.5.5.7.21.2\n")
	none := mustParse(t, "")
	pw, ok := full.Password()
	noPW, no := none.Password()
	got := []string{
		pw, fmt.Sprint(ok), full.ChallengePassword(), full.PKCS12KeyName(), full.ProxyPolicyLanguage(),
		noPW, fmt.Sprint(no), none.ChallengePassword(), none.PKCS12KeyName(), none.ProxyPolicyLanguage(),
	}
	want := []string{"a b", "true", "c", "d", "1.3.6.1.5.5.7.21.2", "", "false", "", "Anonymous", "1.3.6.1.5.5.7.21.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestValidity(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 4, 5, 600, time.UTC)
	later := now.AddDate(1, 0, 0)
	tests := []struct {
		name, text  string
		clock       Clock
		from, until string
	}{
		{"default", "", Clock{Now: now}, "2026-11-22T03:04:05Z", "2027-11-22T03:04:05Z"},
		{"at another time", "", Clock{Now: now, Today: later}, "2027-11-22T03:04:05Z", "2028-11-21T03:04:05Z"},
		{"relative dates do not care", "activation_date = now\nexpiration_date = +1 day\n", Clock{Now: now, Today: later, Location: time.UTC}, "2026-11-22T03:04:05Z", "2026-11-23T03:04:05Z"},
		{"counted from now and not from the beginning", "activation_date = 2030-01-01 UTC\nexpiration_days = 10\n", Clock{Now: now}, "2030-01-01T00:00:00Z", "2026-12-02T03:04:05Z"},
		{"date before days", "expiration_days = 10\nexpiration_date = 2027-01-01 UTC\n", Clock{Now: now}, "2026-11-22T03:04:05Z", "2027-01-01T00:00:00Z"},
		{"never", "expiration_days = -1\n", Clock{Now: now}, "2026-11-22T03:04:05Z", "9999-12-31T23:59:59Z"},
		{"two days ago", "expiration_days = -2\n", Clock{Now: now}, "2026-11-22T03:04:05Z", "2026-11-20T03:04:05Z"},
		{"three days ago", "expiration_days = -3\n", Clock{Now: now}, "2026-11-22T03:04:05Z", "2027-11-22T03:04:05Z"},
		{"suffix", "expiration_days = 10y\n", Clock{Now: now}, "2026-11-22T03:04:05Z", "2026-12-02T03:04:05Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, until, err := mustParse(t, tt.text).Validity(tt.clock)
			if err != nil || from.Format(time.RFC3339) != tt.from || until.Format(time.RFC3339) != tt.until {
				t.Errorf("from %s until %s, %v, want %s and %s", from.Format(time.RFC3339), until.Format(time.RFC3339), err, tt.from, tt.until)
			}
		})
	}
	for _, text := range []string{"activation_date = foo\n", "expiration_date = foo\n"} {
		_, _, err := mustParse(t, text).Validity(Clock{Now: now})
		if e, ok := errors.AsType[*Error](err); !ok || e.Text != "Cannot parse date: foo" || !e.LeavesFile {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestMLDSA compiles for keys that no certtool of Debian can load.
func TestMLDSA(t *testing.T) {
	key, err := pki.GenerateSigner(pki.KeySpec{Algorithm: pki.MLDSA44})
	if err != nil {
		t.Fatal(err)
	}
	tmpl := mustParse(t, "cn = x\nserial = 1\nencryption_key\ntls_www_server\n")
	spec, _, err := tmpl.Certificate(CertInput{Clock: Clock{Now: time.Now()}, PublicKey: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	c, err := pki.Sign(spec, nil, key, pki.SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	if u, present, err := c.Extensions.KeyUsage(); u != pki.DigitalSignature || !present || err != nil {
		t.Errorf("key usage %v, %v, %v; want digitalSignature alone", u, present, err)
	}
	_, notes, err := tmpl.Request(RequestInput{PublicKey: key.Public()})
	if err != nil || !slices.Equal(notes, []string{"warning: this algorithm does not support encryption; disabling the encryption flag"}) {
		t.Errorf("request: %q, %v", notes, err)
	}
}

func TestVersion1(t *testing.T) {
	w := newWorld(t)
	in := CertInput{Clock: Clock{Now: time.Now()}, PublicKey: w.caKey.Public(), Version1: true}
	spec, _, err := mustParse(t, "cn = x\nca\ndns_name = x\nserial = 1\n").Certificate(in)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := pki.Sign(spec, nil, w.caKey, pki.SignatureAlgorithm{}); err != nil || c.Version != 1 || c.Extensions != nil {
		t.Errorf("made %v, %v", c, err)
	}
	_, _, err = mustParse(t, "crl_dist_points = http://x/\n").Certificate(in)
	if e, ok := errors.AsType[*Error](err); !ok || e.LeavesFile || !strings.HasPrefix(e.Text, "crt_sign: ") {
		t.Errorf("extensions in version 1: %v", err)
	}
}

func TestCRLNumber(t *testing.T) {
	now := time.Unix(0x0102030405, 0x06070809)
	random := [11]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	want, _ := new(big.Int).SetString("01020304050607080901020304050607"+"08090a0b", 16)
	if got := NewCRLNumber(now, random); got.Cmp(want) != 0 {
		t.Errorf("%x, want %x", got, want)
	}
	if got := NewCRLNumber(time.Unix(-1, 0), random); got.Sign() <= 0 || got.BitLen() >= 160 {
		t.Errorf("before 1970: %x", got)
	}
}

// TestRequestDoesNotVerify refuses a request whose signature is wrong.
func TestRequestDoesNotVerify(t *testing.T) {
	w := newWorld(t)
	forged := *w.request
	forged.RawSignature = slices.Clone(forged.RawSignature)
	forged.RawTBS = append(slices.Clone(forged.RawTBS), 0)
	_, _, err := mustParse(t, "").Certificate(CertInput{Clock: Clock{Now: time.Now()}, Issuer: w.ca, Request: &forged})
	if err == nil || err.Error() != "set_crq: Public key signature verification has failed." {
		t.Errorf("error %v", err)
	}
}
