package priority

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/pki"
)

// must returns the build of a version.
func must(t testing.TB, version string) Build {
	t.Helper()
	b, err := BuildFor(version)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// expand parses and expands a string that is right.
func expand(t testing.TB, s, version string) *List {
	t.Helper()
	p, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.Expand(must(t, version), SystemConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func names(entries []Entry) string {
	var all []string
	for _, e := range entries {
		name := e.Name
		if e.Named {
			name = "+" + name
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

func findingOf(t testing.TB, err error) finding.Finding {
	t.Helper()
	var f *finding.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a finding", err)
	}
	if f.Exit != finding.ExitUsage {
		t.Errorf("exit code %d, want %d", f.Exit, finding.ExitUsage)
	}
	return f.Finding
}

func TestSyntaxErrors(t *testing.T) {
	const seeManual = "see the manual of GnuTLS, \"Priority strings\""
	for _, c := range []struct{ name, in, subject, got, fix string }{
		{"nothing", "", `priority ""`, `""`, "remove the colon"},
		{"colon at the end", "NORMAL:", `priority "NORMAL:", character 8`, `""`, "remove the colon"},
		{"two colons", "NORMAL::+PSK", `priority "NORMAL::+PSK", character 8`, `""`, "remove the colon"},
		{"keyword", "NORMALE", `priority "NORMALE"`, `"NORMALE"`, "write NORMAL"},
		{"trailing blank", "NORMAL ", `priority "NORMAL "`, `"NORMAL "`, "write NORMAL"},
		{"blanks before an element count", "NORMAL:   +PKS", `priority "NORMAL:   +PKS", character 11`, `"+PKS"`, "write +PSK"},
		{"signature", "NORMAL:-SIGN-RSA-SHA265", `priority "NORMAL:-SIGN-RSA-SHA265", character 8`, `"-SIGN-RSA-SHA265"`, "write -SIGN-RSA-SHA256"},
		{"version", "NORMAL:-VERS-TLS1.O", `priority "NORMAL:-VERS-TLS1.O", character 8`, `"-VERS-TLS1.O"`, "write -VERS-TLS1.0"},
		{"group", "NORMAL:+GROUP-X25519MLKEM768", `priority "NORMAL:+GROUP-X25519MLKEM768", character 8`, `"+GROUP-X25519MLKEM768"`, "write +GROUP-X25519-MLKEM768"},
		{"option in lower case", "NORMAL:%compat", `priority "NORMAL:%compat", character 8`, `"%compat"`, "write %COMPAT"},
		{"option", "NORMAL:%SERVER_PRECEDENC", `priority "NORMAL:%SERVER_PRECEDENC", character 8`, `"%SERVER_PRECEDENC"`, "write %SERVER_PRECEDENCE"},
		{"no sign", "NORMAL:AES-128-GCM", `priority "NORMAL:AES-128-GCM", character 8`, `"AES-128-GCM"`, "write +AES-128-GCM or -AES-128-GCM"},
		{"keyword removed", "NORMAL:-PFS", `priority "NORMAL:-PFS", character 8`, `"-PFS"`, "remove algorithms by their names"},
		{"NONE not in front", "NORMAL:NONE", `priority "NORMAL:NONE", character 8`, `"NONE"`, "move NONE to the front"},
		{"NONE added", "NORMAL:+NONE", `priority "NORMAL:+NONE", character 8`, `"+NONE"`, "move NONE to the front"},
		{"system behind", "NORMAL:@SYSTEM", `priority "NORMAL:@SYSTEM", character 8`, `"@SYSTEM"`, `move "@SYSTEM" to the front`},
		{"wrong in the rest of @", "@SYSTEM:+NONSENSE-WORD", `priority "@SYSTEM:+NONSENSE-WORD", character 9`, `"+NONSENSE-WORD"`, seeManual},
		{"Kelvin sign is no K", "NORMAL:+\u212aX-ALL", `priority "NORMAL:+` + "\u212a" + `X-ALL", character 8`, `"+` + "\u212a" + `X-ALL"`, "write +KX-ALL"},
		{"not text", "NORMAL:\x00\xff", `priority "NORMAL:\x00\xff", character 8`, `"\x00\xff"`, seeManual},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.in)
			f := findingOf(t, err)
			got := []string{f.Code, f.Subject, f.Got, f.Fix}
			if diff := cmp.Diff([]string{"priority-syntax", c.subject, c.got, c.fix}, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestLongStrings(t *testing.T) {
	_, err := Parse(strings.Repeat("NORMAL:", maxLength))
	if f := findingOf(t, err); f.Code != "priority-syntax" {
		t.Errorf("got %v", f)
	}
	// What is behind the 128th element counts for nothing, not even as an error.
	l := expand(t, "NORMAL"+strings.Repeat(":+PSK", maxElements-1)+":-VERS-ALL:nonsense", "3.7.9")
	if len(l.Versions) != 6 || len(l.Notes) != 1 || l.Notes[0].Code != "priority-ignored" {
		t.Errorf("got %s, %v", names(l.Versions), l.Notes)
	}
}

// TestRightHereWrongThere shows strings that some builds know and others do not.
func TestRightHereWrongThere(t *testing.T) {
	for _, c := range []struct {
		name, in string
		wrong    []string // builds
		right    string   // as the finding says it
	}{
		{"ML-DSA", "NORMAL:-SIGN-ML-DSA-65", []string{"GnuTLS 3.7.9"}, "GnuTLS 3.8.9, GnuTLS 3.8.13 and GnuTLS 3.8.13 with leancrypto"},
		{"libvirt's way to turn ML-KEM off", "NORMAL:-GROUP-X25519-MLKEM768", []string{"GnuTLS 3.7.9", "GnuTLS 3.8.9", "GnuTLS 3.8.13"}, "GnuTLS 3.8.13 with leancrypto"},
		{"SRP", "NORMAL:+SRP", []string{"GnuTLS 3.8.9", "GnuTLS 3.8.13", "GnuTLS 3.8.13 with leancrypto"}, "GnuTLS 3.7.9"},
		{"option", "NORMAL:%FORCE_SESSION_HASH", []string{"GnuTLS 3.7.9"}, "GnuTLS 3.8.9, GnuTLS 3.8.13 and GnuTLS 3.8.13 with leancrypto"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			var wrong []string
			for _, f := range s.Check(SystemConfig{}, Builds()...) {
				if f.Severity != finding.Error {
					continue // SRP rules TLS 1.3 out, which is another matter
				}
				wrong = append(wrong, f.By)
				if f.Code != "priority-build" || !strings.HasSuffix(f.Want, "right for "+c.right) || !strings.HasPrefix(f.Text, f.By) {
					t.Errorf("got %+v", f)
				}
			}
			if diff := cmp.Diff(c.wrong, wrong); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestNothingLeft(t *testing.T) {
	for _, c := range []struct{ name, in, got, fix string }{
		{"no keyword", "-VERS-TLS1.0", "no cipher suite", "add what is missing"},
		{"no version", "NORMAL:-VERS-ALL", "no protocol version", "add what is missing"},
		{"NONE", "NONE", "no protocol version", "add what is missing"},
		{"TLS 1.3 without a group", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL", "no protocol version", "add what is missing"},
		{"only SSL 3.0", "NORMAL:-VERS-ALL:+VERS-SSL3.0", "no protocol version", "add what is missing"},
		{"option alone", "%COMPAT", "no cipher suite", "begin with a keyword, such as NORMAL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse(c.in)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Expand(must(t, "3.8.13"), SystemConfig{})
			f := findingOf(t, err)
			if f.Code != "priority-empty" || f.Got != c.got || c.name == "option alone" && f.Fix != c.fix {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string // code and what was found
	}{
		{"nothing to say", "NORMAL:-VERS-TLS1.0", nil},
		{"ignored class", "NORMAL:+MAC-FOO", []string{`priority-ignored "+MAC-FOO"`}},
		{"compression", "NORMAL:+COMP-NULL", []string{`priority-ignored "+COMP-NULL"`}},
		{"dead words", "NORMAL:+RSA-EXPORT:%NEW_PADDING:-CTYPE-OPENPGP:-ARCFOUR-40", []string{
			`priority-ignored "+RSA-EXPORT"`, `priority-ignored "%NEW_PADDING"`, `priority-ignored "-CTYPE-OPENPGP"`, `priority-ignored "-ARCFOUR-40"`}},
		{"TLS 1.3 needs 1.2 beside older ones", "NORMAL:-VERS-TLS1.2", []string{"priority-version-dropped VERS-TLS1.3"}},
		{"RSA-PSK", "NORMAL:+RSA-PSK", []string{"priority-version-dropped VERS-TLS1.3"}},
		{"NULL", "NORMAL:+NULL", []string{"priority-version-dropped VERS-TLS1.3"}},
		{"no extensions", "NORMAL:%NO_EXTENSIONS", []string{"priority-version-dropped VERS-TLS1.3"}},
		{"no signatures", "NORMAL:-SIGN-ALL", []string{
			"priority-version-dropped VERS-TLS1.3", "priority-version-dropped VERS-TLS1.2", "priority-version-dropped VERS-DTLS1.2"}},
		{"SSL 3.0", "NORMAL:+VERS-SSL3.0", []string{"priority-version-dropped VERS-SSL3.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, n := range expand(t, c.in, "3.8.13").Notes {
				got = append(got, n.Code+" "+n.Got)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestProfilesAndOptions(t *testing.T) {
	for _, c := range []struct {
		in      string
		profile pki.GnuTLSProfile
		bits    int
		options Options
	}{
		{"NORMAL", "low", 1008, Options{}},
		{"LEGACY", pki.NoGnuTLSProfile, 767, Options{}},
		{"PFS", "low", 1008, Options{NoTicketsTLS12: true}},
		{"PFS:+NORMAL", "low", 1008, Options{}},
		{"SECURE128", "low", 1024, Options{}},
		{"SECURE192", "high", 3072, Options{}},
		{"SECURE192:+NORMAL", "low", 1008, Options{}},
		{"NORMAL:+SECURE192", "low", 1008, Options{}},
		{"SUITEB128", "suiteb128", 3072, Options{}},
		{"SUITEB192", "suiteb192", 8192, Options{}},
		{"NORMAL:%PROFILE_HIGH", "high", 3072, Options{}},
		{"NORMAL:%PROFILE_VERY_WEAK", "very weak", 767, Options{}}, // certtool --verify-profile knows no "very-weak"
		{"%PROFILE_HIGH:NORMAL", "low", 1008, Options{}},
		{"NORMAL:%PROFILE_SUITEB192", "suiteb128", 3072, Options{}},
		{"NORMAL:%PROFILE_MEDIUM:%SERVER_PRECEDENCE", "medium", 2048, Options{ServerPrecedence: true}},
		{"NORMAL:%COMPAT", "low", 1008, Options{AllowLargeRecords: true, AllowSmallRecords: true, NoEncryptThenMAC: true,
			NoSessionHash: true, AllowKeyUsage: true, DumbFirewall: true}},
		{"NORMAL:%SAFE_RENEGOTIATION:%LATEST_RECORD_VERSION", "low", 1008, Options{Renegotiation: SafeRenegotiation, LatestRecordVersion: true}},
		{"NORMAL:%LATEST_RECORD_VERSION:%SSL3_RECORD_VERSION", "low", 1008, Options{}},
		{"NORMAL:%NO_TICKETS:+NORMAL", "low", 1008, Options{}},
	} {
		l := expand(t, c.in, "3.8.13")
		if l.Profile != c.profile || l.MinDHBits != c.bits || l.Options != c.options {
			t.Errorf("%s: got %s, %d, %+v", c.in, l.Profile, l.MinDHBits, l.Options)
		}
	}
}

// TestOptionsAreDistinct makes sure that no option sets another's flag.
func TestOptionsAreDistinct(t *testing.T) {
	seen := map[Options]string{}
	for _, o := range options {
		l := expand(t, "NORMAL:%"+o.name, "3.8.13")
		switch {
		case o.set == nil || o.name == "SSL3_RECORD_VERSION" || o.name == "PARTIAL_RENEGOTIATION":
			if (l.Options != Options{}) {
				t.Errorf("%%%s changes %+v", o.name, l.Options)
			}
		case strings.HasPrefix(o.name, "PROFILE_"):
		case seen[l.Options] != "" || l.Options == Options{}:
			t.Errorf("%%%s does the same as %%%s", o.name, seen[l.Options])
		default:
			seen[l.Options] = o.name
		}
	}
}

// TestLeancrypto has no real program to compare with: it holds the rules of
// GnuTLS 3.8.13 for builds with leancrypto.
func TestLeancrypto(t *testing.T) {
	l := expand(t, "NORMAL:-GROUP-ALL:+GROUP-SECP256R1:+GROUP-FFDHE2048:+GROUP-X25519-MLKEM768:+GROUP-X25519:+GROUP-MLKEM768", "3.8.13+leancrypto")
	if got, want := names(l.Groups), "+SECP256R1 +FFDHE2048 +X25519-MLKEM768 +X25519 +MLKEM768"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := names(l.NegotiatedGroups), "+X25519-MLKEM768 +SECP256R1 +X25519 +FFDHE2048"; got != want {
		t.Errorf("negotiated: got %s, want %s", got, want)
	}
	if l := expand(t, "NORMAL:+GROUP-ALL", "3.8.13+leancrypto"); slices.ContainsFunc(l.Groups, func(e Entry) bool { return strings.Contains(e.Name, "MLKEM") }) {
		t.Errorf("GROUP-ALL brings %s", names(l.Groups))
	}
}

func TestNamed(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"keyword", "PFS", "ECDHE-ECDSA ECDHE-RSA DHE-RSA"},
		{"added", "PFS:+PSK", "ECDHE-ECDSA ECDHE-RSA DHE-RSA +PSK"},
		{"there already", "PFS:+ECDHE-RSA", "ECDHE-ECDSA +ECDHE-RSA DHE-RSA"},
		{"class", "PFS:+KX-ALL", "ECDHE-ECDSA ECDHE-RSA DHE-RSA RSA"},
		{"removed and brought by a keyword", "PFS:+RSA:-RSA:+NORMAL", "ECDHE-ECDSA ECDHE-RSA DHE-RSA RSA"},
		{"reordered", "PFS:-ECDHE-ECDSA:+ECDHE-ECDSA", "ECDHE-RSA DHE-RSA +ECDHE-ECDSA"},
	} {
		if got := names(expand(t, c.in, "3.7.9").KeyExchanges); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestBuildFor(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"3.7.9", "GnuTLS 3.7.9"},
		{"3.7.9-2+deb12u7", "GnuTLS 3.7.9"},
		{"3.8.3", "GnuTLS 3.7.9"},
		{"3.8.9-3+deb13u1", "GnuTLS 3.8.9"},
		{"3.8.12", "GnuTLS 3.8.9"},
		{"3.8.13", "GnuTLS 3.8.13"},
		{"3.8.13.1", "GnuTLS 3.8.13"},
		{"3.9", "GnuTLS 3.8.13"},
		{"4.0.0", "GnuTLS 3.8.13"},
		{"3.8.13+leancrypto", "GnuTLS 3.8.13 with leancrypto"},
		{"3.8.10+leancrypto", "GnuTLS 3.8.9 with leancrypto"},
		{"3.7.9+leancrypto", ""},
		{"3.6.16", ""},
		{"3", ""},
		{"", ""},
		{"3.x", ""},
		{"3.8.99999999999999999999", ""},
	} {
		b, err := BuildFor(c.in)
		switch {
		case c.want != "" && (err != nil || b.String() != c.want):
			t.Errorf("%q: got %s, %v, want %s", c.in, b, err, c.want)
		case c.want == "" && err == nil:
			t.Errorf("%q: got %s, want an error", c.in, b)
		case c.want == "":
			if f := findingOf(t, err); f.Code != "priority-build-unknown" {
				t.Errorf("%q: got %v", c.in, f)
			}
		}
	}
}

// TestPSKSuites holds what QEMU offers for pre-shared keys before TLS 1.3.
func TestPSKSuites(t *testing.T) {
	var got []uint16
	for _, s := range expand(t, "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK", "3.7.9").Suites {
		if strings.HasSuffix(s.KeyExchange, "PSK") {
			got = append(got, s.ID)
		}
	}
	want := []uint16{0xccac, 0xc036, 0xc035, 0x00ab, 0xccad, 0xc0a7, 0x0091, 0x00aa, 0xc0a6, 0x0090, 0x00a9, 0xccab, 0xc0a5, 0x008d, 0x00a8, 0xc0a4, 0x008c}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
