package priority

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/internal/peertest"
)

func codes(found []finding.Finding) []string {
	var all []string
	for _, f := range found {
		all = append(all, f.Code+" "+f.Subject)
	}
	return all
}

func TestSystemStrings(t *testing.T) {
	sys, found := ParseSystem([]byte("[priorities]\nSYSTEM=NORMAL:-VERS-TLS1.0\nLIBVIRT = SECURE192\nBAD=NORMAL:+NONSENSE\nSYSTEM=second\n"), "/etc/gnutls/config")
	if len(found) > 0 {
		t.Fatal(found)
	}
	if diff := cmp.Diff([]string{"SYSTEM", "LIBVIRT", "BAD"}, sys.Names()); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct{ in, profile, code, got, subject string }{
		{in: "@SYSTEM", profile: "low"},
		{in: "@LIBVIRT,SYSTEM", profile: "high"},
		{in: "@QEMU,SYSTEM", profile: "low"},
		{in: "@QEMU,LIBVIRT:%PROFILE_ULTRA", profile: "ultra"},
		{in: "  @LIBVIRT:  -AES-256-CBC", profile: "high"},
		{in: "@QEMU", code: "priority-system", got: `"@QEMU"`, subject: `priority "@QEMU"`},
		{in: "@QEMU,NOBODY:+PSK", code: "priority-system", got: `"@QEMU,NOBODY"`, subject: `priority "@QEMU,NOBODY:+PSK"`},
		{in: "@system", code: "priority-system", got: `"@system"`, subject: `priority "@system"`},
		{in: "@BAD", code: "priority-system-string", got: `"+NONSENSE"`, subject: "/etc/gnutls/config:4"},
		{in: "@SYSTEM:-GROUP-MLKEM768", code: "priority-build", got: `"-GROUP-MLKEM768"`, subject: `priority "@SYSTEM:-GROUP-MLKEM768", character 9`},
	} {
		s, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		l, err := s.Expand(must(t, "3.8.13"), sys)
		if c.code == "" {
			if err != nil || string(l.Profile) != c.profile {
				t.Errorf("%s: got %+v, %v", c.in, l, err)
			}
			continue
		}
		if f := findingOf(t, err); f.Code != c.code || f.Got != c.got || f.Subject != c.subject {
			t.Errorf("%s: got %+v", c.in, f)
		}
	}
}

// TestWithoutSystemFile is what Debian has: QEMU's and libvirt's documentation
// name @SYSTEM, and every session fails with it there.
func TestWithoutSystemFile(t *testing.T) {
	s, err := Parse("@SYSTEM")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Expand(must(t, "3.7.9"), SystemConfig{})
	f := findingOf(t, err)
	if f.Want != `a setting "SYSTEM" below [priorities] in /etc/gnutls/config` || f.By != "GnuTLS 3.7.9" || f.Fix != "write NORMAL instead, or have such a setting" {
		t.Errorf("got %+v", f)
	}
}

// TestSystemNamesNothing makes sure that what the system's string adds counts as
// brought by a keyword, and what the string itself adds does not.
func TestSystemNamesNothing(t *testing.T) {
	sys, _ := ParseSystem([]byte("SYSTEM = NONE:+VERS-TLS1.2:+RSA:+AES-128-GCM:+AEAD:+SIGN-RSA-SHA256\n"), "")
	s, err := Parse("@SYSTEM:+PSK")
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Expand(must(t, "3.7.9"), sys)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(l.KeyExchanges); got != "RSA +PSK" {
		t.Errorf("got %s", got)
	}
}

func TestOverrides(t *testing.T) {
	sys, found := ParseSystem([]byte(`[global]
override-mode = allowlist
[overrides]
secure-hash = SHA256
secure-hash = SHA384
secure-sig = rsa-pss-rsae-sha256
enabled-version = TLS1.3
enabled-curve = X25519
tls-enabled-cipher = AES-128-GCM
tls-enabled-mac = AEAD
tls-enabled-group = GROUP-X25519
tls-enabled-group = SECP256R1
tls-session-hash = require
min-verification-profile = medium
default-priority-string = PFS
`), "config")
	if len(found) > 0 {
		t.Fatal(found)
	}
	if got := sys.Default(); got != "@SYSTEM" {
		t.Errorf("default: got %s", got)
	}
	s, err := Parse(sys.Default())
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Expand(must(t, "3.8.13"), sys)
	if err != nil {
		t.Fatal(err)
	}
	if l.Profile != "medium" || l.MinDHBits != 2048 || l.Options != (Options{ForceSessionHash: true}) {
		t.Errorf("got %s, %d, %+v", l.Profile, l.MinDHBits, l.Options)
	}
	// SECP256R1 is on the list, but its curve is not enabled.
	if got, want := names(l.Groups)+"|"+names(l.NegotiatedGroups), "X25519 SECP256R1|X25519"; got != want {
		t.Errorf("groups: got %s, want %s", got, want)
	}
	old, err := s.Expand(must(t, "3.7.9"), sys)
	if err != nil || old.Options != (Options{}) {
		t.Errorf("3.7.9 does not know tls-session-hash: got %+v, %v", old, err)
	}
}

func TestDisabledCurve(t *testing.T) {
	sys, _ := ParseSystem([]byte("[overrides]\ndisabled-curve = X25519\n"), "config")
	for _, c := range []struct{ in, code string }{
		{"NORMAL:-CURVE-X25519", "priority-curve-disabled"},
		{"NORMAL:-GROUP-X25519", ""},
		{"NORMAL:+CURVE-SECP256R1", ""},
	} {
		s, err := Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Expand(must(t, "3.8.13"), sys)
		switch {
		case c.code == "" && (err != nil || strings.Contains(names(l.NegotiatedGroups), "X25519")):
			t.Errorf("%s: got %+v, %v", c.in, l, err)
		case c.code != "":
			if f := findingOf(t, err); f.Code != c.code || f.Want != "a curve that config enables" {
				t.Errorf("%s: got %+v", c.in, f)
			}
		}
	}
}

func TestDefault(t *testing.T) {
	for config, want := range map[string]string{
		"": "NORMAL",
		"[overrides]\ndefault-priority-string = PFS\n":                                  "PFS",
		"[overrides]\ndefault-priority-string = PFS\ndefault-priority-string =\n":       "NORMAL",
		"[global]\noverride-mode=allowlist\n[overrides]\ndefault-priority-string=PFS\n": "@SYSTEM",
	} {
		sys, _ := ParseSystem([]byte(config), "")
		if got := sys.Default(); got != want {
			t.Errorf("%q: got %s, want %s", config, got, want)
		}
	}
}

func TestConfigFindings(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"all well", "# x\n[Priorities]\nA=NORMAL\n  SECURE128\n[global]\nktls = true\n[overrides]\nInsecure-Hash=sha1\n[provider]\nurl=x\n", nil},
		{"no value", "[priorities]\nSYSTEM\n", []string{"priority-config f:2"}},
		{"open section", "[priorities\nSYSTEM=NORMAL\n", []string{"priority-config f:1"}},
		{"unknown section", "[prioritys]\nSYSTEM=NORMAL\n", []string{"priority-config-ignored f:2"}},
		{"unknown setting", "[overrides]\ntls-disabled-ciphers = NULL\n", []string{"priority-config-ignored f:2"}},
		{"unknown algorithm", "[overrides]\ntls-disabled-cipher = AES-128-GMC\n", []string{"priority-config-ignored f:2"}},
		{"the other mode's setting", "[overrides]\ntls-enabled-cipher = AES-128-GCM\n", []string{"priority-config-ignored f:2"}},
		{"unknown mode", "[global]\noverride-mode = allow\n", []string{"priority-config-ignored f:2"}},
		{"profile with a hyphen", "[overrides]\nmin-verification-profile = very-weak\n", []string{"priority-config-ignored f:2"}},
		{"long line", "SYSTEM=" + strings.Repeat("NORMAL:", 300) + "PFS\n", []string{"priority-config-cut f:1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, found := ParseSystem([]byte(c.in), "f")
			if diff := cmp.Diff(c.want, codes(found)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestReadSystem(t *testing.T) {
	dir := t.TempDir()
	good, large := filepath.Join(dir, "good"), filepath.Join(dir, "large")
	writeFile(t, good, "SYSTEM=PFS\n")
	writeFile(t, large, strings.Repeat("#", maxConfig+1))
	for _, c := range []struct {
		name, file string
		names      []string
		want       []string
	}{
		{"there", good, []string{"SYSTEM"}, nil},
		{"missing", filepath.Join(dir, "none"), nil, nil},
		{"a directory", dir, nil, []string{"priority-config-unreadable " + dir}},
		{"too large", large, nil, []string{"priority-config-unreadable " + large}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("GNUTLS_SYSTEM_PRIORITY_FILE", c.file)
			sys, found := System()
			if diff := cmp.Diff(c.want, codes(found)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(c.names, sys.Names()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	t.Run("injected", func(t *testing.T) {
		read := func(name string) ([]byte, error) { return nil, fmt.Errorf("%s: %w", name, os.ErrPermission) }
		if _, found := ReadSystem(read, SystemFile); len(found) != 1 || found[0].Subject != SystemFile {
			t.Errorf("got %v", found)
		}
	})
}

// TestOddConfigurationsAgainstGnuTLS compares the reader of configuration files
// with GnuTLS's on files that are just about right or wrong.
func TestOddConfigurationsAgainstGnuTLS(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"before any section":   "SYSTEM=PFS\n",
		"CRLF":                 "[priorities]\r\nSYSTEM=PFS\r\n",
		"no newline":           "[priorities]\nSYSTEM=PFS",
		"colon":                "[priorities]\nSYSTEM: PFS:-VERS-TLS1.0\n",
		"first of two":         "[priorities]\nSYSTEM=PFS\nSYSTEM=SECURE192\n",
		"indented":             "[priorities]\n  SYSTEM = PFS\n",
		"continued name":       "[priorities]\nA=NORMAL\n  SYSTEM=PFS\n",
		"continued value":      "[priorities]\nSYSTEM=\n  PFS\n",
		"comment behind":       "[priorities]\nSYSTEM=PFS ; and more\n",
		"hash behind":          "[priorities]\nSYSTEM=PFS # and more\n",
		"comment at once":      "[priorities]\nSYSTEM=PFS#more\n",
		"comment in section":   "[priorities ;]\nSYSTEM=PFS\n",
		"section in capitals":  "[PRIORITIES]\nSYSTEM=PFS\n",
		"blank in section":     "[ priorities ]\nSYSTEM=PFS\n",
		"name in small":        "[priorities]\nsystem=PFS\n",
		"byte order mark":      "\xef\xbb\xbf[priorities]\nSYSTEM=PFS\n",
		"NUL":                  "[priorities]\nSYSTEM=PFS\x00:NONSENSE\n",
		"garbage behind":       "[priorities]\nSYSTEM=PFS\ngarbage\n",
		"garbage":              "\xff\xfe\x00\x01\n=\n",
		"empty name":           "[priorities]\n=PFS\n",
		"empty value":          "[priorities]\nSYSTEM=\n",
		"blanks inside":        "[priorities]\nSYSTEM=PFS: -VERS-TLS1.0:   -VERS-TLS1.1\n",
		"second @":             "[priorities]\nSYSTEM=@QEMU\nQEMU=PFS\n",
		"long":                 "[priorities]\nSYSTEM=PFS" + strings.Repeat(":-VERS-TLS1.0", 100) + "\n",
		"as long as it can be": "[priorities]\nSYSTEM=" + strings.Repeat("PFS:", 509) + "PFS\n",
		"too long":             "[priorities]\nSYSTEM=" + strings.Repeat("PFS:", 600) + "PFS\n",
		"too long for itself":  "[priorities]\nSYSTEM=PFS" + strings.Repeat(" ", 2100) + "garbage\n",
		"rest is another line": "[priorities]\nA=" + strings.Repeat("x", 2045) + "SYSTEM=PFS\n",
		"long section":         "[priorities" + strings.Repeat(" ", 60) + "]\nSYSTEM=PFS\n",
		"mode later":           "[overrides]\ntls-enabled-kx=PSK\ntls-enabled-cipher=AES-128-GCM\n[global]\noverride-mode=allowlist\n",
		"mode twice":           "[global]\noverride-mode=allowlist\noverride-mode=blocklist\n[priorities]\nSYSTEM=PFS\n",
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		var cases []testCase
		for _, config := range files {
			for _, s := range []string{"@SYSTEM", "@,SYSTEM:+PSK", "@A", "NORMAL"} {
				cases = append(cases, testCase{s, config})
			}
		}
		compare(t, g, cases)
	})
}
