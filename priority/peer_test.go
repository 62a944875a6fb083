package priority

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/internal/peertest"
)

// full asks for more cases.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// A testCase is a string on a system with that configuration file.
type testCase struct{ priority, config string }

// buildOf returns the row of the generation's GnuTLS.
func buildOf(t *testing.T, g peertest.Generation) Build {
	t.Helper()
	g.Need(t)
	version := g.Version(t, peertest.GnuTLS).Upstream
	b, err := BuildFor(version)
	if err != nil {
		t.Fatal(err)
	}
	if b.Version != version {
		t.Logf("GnuTLS %s has no row of its own; comparing it with that of %s", version, b.Version)
	}
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	b.SlowAES = !strings.Contains(string(cpu), " aes ")
	return b
}

// listings asks gnutls-cli what it makes of the cases. Many share one shell: a
// sandbox of its own for each would take longer than gnutls-cli itself.
func listings(t *testing.T, g peertest.Generation, cases []testCase) []string {
	t.Helper()
	const separator = "\x1e\n"
	const script = `i=0
while IFS= read -r priority; do
	export GNUTLS_SYSTEM_PRIORITY_FILE="$1/$i.config"
	gnutls-cli --list --priority="$priority" 2>&1
	printf '\036\n'
	i=$((i+1))
done`
	var all []string
	for batch := range slices.Chunk(cases, 250) { // as many as surely end before peertest's limit
		dir := t.TempDir()
		var in strings.Builder
		for i, c := range batch {
			in.WriteString(c.priority + "\n")
			if c.config != "" {
				writeFile(t, filepath.Join(dir, strconv.Itoa(i)+".config"), c.config)
			}
		}
		writeFile(t, filepath.Join(dir, "script"), script)
		out := filepath.Join(dir, "out")
		r := g.Run(t, peertest.Options{Stdin: strings.NewReader(in.String())}, "bash", "-c",
			`bash "$1/script" "$1" >"$1/out"`, "bash", dir)
		if r.Code != 0 || r.Stderr != "" {
			t.Fatal(r)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		answers := strings.SplitAfter(string(text), separator)
		if len(answers) != len(batch)+1 {
			t.Fatalf("%d answers for %d strings", len(answers)-1, len(batch))
		}
		for _, a := range answers[:len(batch)] {
			all = append(all, title.ReplaceAllString(strings.TrimSuffix(a, separator), ""))
		}
	}
	return all
}

// title is what gnutls-cli prints first, and shows behind its errors.
var title = regexp.MustCompile(`(?m)^Cipher suites for .*\n`)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const insufficient = "Error in priorities: No or insufficient priorities were set.\n"

// listing is what gnutls-cli is expected to print.
func listing(c testCase, b Build) string {
	sys, _ := ParseSystem([]byte(c.config), "config")
	s, err := scan(c.priority)
	if err != nil {
		return syntaxText(c.priority, err)
	}
	m, err := s.run(b, sys)
	if err != nil {
		return syntaxText(c.priority, err)
	}
	l, lacking := m.finish(c.priority)
	if lacking != "" {
		return insufficient
	}
	var out strings.Builder
	for _, s := range l.Suites {
		version := map[uint16]string{tls10: "TLS1.0", tls12: "TLS1.2", tls13: "TLS1.3"}[s.MinVersion]
		fmt.Fprintf(&out, "%-50s\t0x%02x, 0x%02x\t%s\n", s.Name, s.ID>>8, s.ID&0xff, version)
	}
	out.WriteString("\n")
	for _, list := range []struct {
		title, prefix string
		entries       []Entry
	}{
		{"Protocols", "VERS-", l.Versions}, {"Ciphers", "", l.Ciphers}, {"MACs", "", l.MACs}, {"Key Exchange Algorithms", "", l.KeyExchanges},
		{"Groups", "GROUP-", l.Groups}, {"PK-signatures", "SIGN-", l.Signatures},
	} {
		names := []string{"none"}
		for i, e := range list.entries {
			name := list.prefix + e.Name
			if _, isGroup := find(groups, e.Name, b); list.prefix == "GROUP-" && !isGroup {
				name = "GROUP-(null)" // a curve that is no group
			}
			names = append(names[:i], name)
		}
		fmt.Fprintf(&out, "%s: %s\n", list.title, strings.Join(names, ", "))
	}
	return out.String()
}

var character = regexp.MustCompile(`, character (\d+)$`)

// syntaxText is what gnutls-cli says of a syntax error: the rest of the string
// from the error on, or all of it where a system's string is in front. (It
// counts blanks behind colons wrong; then only that it complains is compared.)
func syntaxText(priority string, err error) string {
	var failure *finding.Failure
	if !errors.As(err, &failure) {
		return err.Error()
	}
	pos := 0
	if at := character.FindStringSubmatch(failure.Subject); at != nil && !strings.HasPrefix(priority, "@") && !strings.HasPrefix(priority, " ") {
		pos, _ = strconv.Atoi(at[1])
		pos--
	}
	return "Syntax error at: " + priority[pos:] + "\n"
}

// compare asks the generation's gnutls-cli about all cases.
func compare(t *testing.T, g peertest.Generation, cases []testCase) {
	t.Helper()
	b := buildOf(t, g)
	wrong := 0
	outcomes := map[string]int{}
	for i, want := range listings(t, g, cases) {
		got := listing(cases[i], b)
		if strings.Contains(cases[i].priority, ": ") && strings.HasPrefix(want, "Syntax error at: ") && strings.HasPrefix(got, "Syntax error at: ") {
			got = want
		}
		word, _, _ := strings.Cut(want, " ")
		outcomes[map[bool]string{true: word, false: "list"}[word == "Syntax" || word == "Error"]]++
		if diff := cmp.Diff(want, got); diff != "" {
			if wrong++; wrong <= 5 {
				t.Errorf("%s: %q, config:\n%s(-gnutls-cli +ours)\n%s", b, cases[i].priority, cases[i].config, diff)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d differ", wrong, len(cases))
	}
	t.Logf("%d cases: %v", len(cases), outcomes)
}

func TestGeneratedStringsAgainstGnuTLS(t *testing.T) {
	t.Parallel()
	count := 600
	if full() {
		count = 20000
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		gen := newGenerator(1)
		var cases []testCase
		for range count {
			cases = append(cases, testCase{priority: gen.priority()})
		}
		compare(t, g, cases)
	})
}

func TestGeneratedConfigurationsAgainstGnuTLS(t *testing.T) {
	t.Parallel()
	count := 200
	if full() {
		count = 5000
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		gen := newGenerator(2)
		var cases []testCase
		for range count {
			config, priority := gen.config()
			cases = append(cases, testCase{priority, config})
		}
		compare(t, g, cases)
	})
}

// virtualization are the strings that QEMU and libvirt use, of themselves and as
// their documentation advises.
var virtualization = func() []string {
	var all []string
	for _, base := range []string{
		"NORMAL", "@SYSTEM", "@QEMU,SYSTEM", "@LIBVIRT,SYSTEM", "NORMAL:-CHACHA20-POLY1305", "NORMAL:-VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2",
		"NORMAL:-VERS-TLS1.0:-VERS-TLS1.1", "SECURE256:-VERS-ALL:+VERS-TLS1.3", "SECURE192", "NORMAL:-VERS-SSL3.0", "NORMAL:%SERVER_PRECEDENCE",
		"@SYSTEM:-SIGN-ML-DSA-65:-SIGN-ML-DSA-44:-SIGN-ML-DSA-87:-GROUP-X25519-MLKEM768:-GROUP-SECP256R1-MLKEM768:-GROUP-SECP384R1-MLKEM1024",
		"NORMAL:-SIGN-ML-DSA-65:-SIGN-ML-DSA-44:-SIGN-ML-DSA-87",
	} {
		all = append(all, base, base+":+ECDHE-PSK:+DHE-PSK:+PSK", base+":+ANON-DH")
	}
	return all
}()

func TestQEMUAndLibvirtAgainstGnuTLS(t *testing.T) {
	t.Parallel()
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		var cases []testCase
		for _, s := range virtualization {
			cases = append(cases, testCase{priority: s}, testCase{s, "SYSTEM=NORMAL:-VERS-TLS1.0:-VERS-TLS1.1\nLIBVIRT=SECURE128\n"})
		}
		compare(t, g, cases)
	})
}
