package dropin

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// certtool is a part of the real one's command line, under its name so that
// the real one can be asked.
var certtool = Tool{
	Name:  "certtool",
	Title: "a part of certtool",
	Groups: []Group{
		{"None", []ToolOption{
			{Option: Option{Long: "debug", Short: 'd', Arg: RequiredArg}, Kind: "num", Help: "say more", Max: 9999},
			{Option: Option{Long: "infile", Arg: RequiredArg}, Kind: "file", Help: "file to read", MustExist: true},
		}},
		{"Others", []ToolOption{
			{Option: Option{Long: "generate-request", Short: 'q'}, Help: "make a request", Prohibits: []string{"infile"}},
			{Option: Option{Long: "bits", Arg: RequiredArg}, Kind: "num", Help: "size of the key"},
			{Option: Option{Long: "verify-provable-privkey"}, Help: "an option with a long name"},
			{Option: Option{Long: "verify-crl"}, Help: "verify a CRL", Requires: []string{"load-ca-certificate"}},
			{Option: Option{Long: "verify-hostname", Arg: RequiredArg}, Kind: "str", Help: "name to look for"},
			{Option: Option{Long: "verify-email", Arg: RequiredArg}, Kind: "str", Help: "address to look for", Prohibits: []string{"verify-hostname"}},
			{Option: Option{Long: "load-ca-certificate", Arg: RequiredArg}, Kind: "str", Help: "file of the authority"},
			{Option: Option{Long: "inder"}, Help: "read DER", Negatable: true},
			{Option: Option{Long: "text"}, Help: "print text too", Negatable: true, Default: true},
			{Option: Option{Long: "hidden"}},
		}},
	},
	About: "Lines about the program.\n",
}

func parseTool(t *testing.T, args ...string) (given Given, out, err string, code int, ok bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	given, code, ok = certtool.Parse(args, IO{strings.NewReader(""), &stdout, &stderr})
	return given, stdout.String(), stderr.String(), code, ok
}

func TestToolMessages(t *testing.T) {
	tests := []struct {
		args string
		want string // first line of stderr
	}{
		{"--foo", "certtool: unrecognized option '--foo'"},
		{"--bits abc --foo", "certtool: 'abc' is not a recognizable number."},
		{"--foo --bits abc", "certtool: unrecognized option '--foo'"},
		{"-d 10000", "certtool: debug option value 10000 is out of range"},
		{"-d -1", "certtool: debug option value -1 is out of range"},
		{"-d 10000 -h", "certtool: debug option value 10000 is out of range"},
		{"-d 10000 -q --infile x", "certtool: debug option value 10000 is out of range"},
		{"-q --infile x", "certtool: the 'generate-request' and 'infile' options conflict"},
		{"--infile x -q -h", "certtool: the 'generate-request' and 'infile' options conflict"},
		{"--verify-crl -q --infile x", "certtool: the 'generate-request' and 'infile' options conflict"},
		{"--verify-email a --verify-hostname b", "certtool: the 'verify-email' and 'verify_hostname' options conflict"},
		{"--verify-crl", "certtool: verify-crl option requires the load_ca_certificate options"},
		{"--verify-crl x", "certtool: verify-crl option requires the load_ca_certificate options"},
		{"x", "certtool: Command line arguments are not allowed."},
		{"x -h", "certtool: Command line arguments are not allowed."},
		{"-v", "certtool: option requires an argument -- 'v'"},
		{"-hv", "certtool: option requires an argument -- 'v'"},
		{"--version=x", "certtool: version option argument 'x' invalid.  Use:"},
		{"--bits 08 -h", "certtool: '08' is not a recognizable number."},
		{"--bits --infile", "certtool: '--infile' is not a recognizable number."},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			_, out, err, code, ok := parseTool(t, strings.Fields(test.args)...)
			first, _, _ := strings.Cut(err, "\n")
			check(t, "stderr", first, test.want)
			check(t, "stdout", out, "")
			if ok || code != 1 {
				t.Errorf("ok %v, code %d", ok, code)
			}
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				got := g.Run(t, peertest.Options{Stdin: strings.NewReader("")}, "certtool", strings.Fields(test.args)...)
				first, _, _ := strings.Cut(strings.TrimPrefix(got.Stderr, "/usr/bin/"), "\n") // it may run by its full path
				check(t, "stderr of the real one", likeNew(first), likeNew(test.want))
				check(t, "exit code of the real one", got.Code, 1)
			})
		})
	}
}

var versionArgument = regexp.MustCompile(`option argument '.' invalid`)

// likeNew returns a message without what 3.7.9 and 3.8 put differently: the
// program's name, a full stop, the reason "Success". Both name the same letter
// whatever --version was given.
func likeNew(message string) string {
	if !strings.Contains(message, "option '") && !strings.Contains(message, "option requires an argument --") {
		message = strings.TrimPrefix(message, "certtool: ")
	}
	message = strings.TrimSuffix(strings.TrimSuffix(message, ": Success"), ".")
	return versionArgument.ReplaceAllString(message, "option argument 'x' invalid")
}

func TestToolHelp(t *testing.T) {
	for _, args := range []string{"-h", "--help", "--more-help", "-!", "-v v -h", "-v x --help", "--hel"} {
		_, out, err, code, ok := parseTool(t, strings.Fields(args)...)
		check(t, args+": stderr", err, "")
		if ok || code != 0 {
			t.Errorf("%s: ok %v, code %d", args, ok, code)
		}
		golden(t, "help.txt", out)
	}
	_, _, err, _, _ := parseTool(t, "--foo")
	_, usage, _ := strings.Cut(err, "\n")
	golden(t, "help.txt", usage)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check(t, name, got, string(want))
}

func TestToolVersion(t *testing.T) {
	lines := map[string]int{"-v v": 1, "-vv": 1, "--version": 3, "--vers": 3, "-v c": 3, "--version=n": 6}
	for args, want := range lines {
		_, out, err, code, ok := parseTool(t, strings.Fields(args)...)
		if ok || code != 0 || err != "" || strings.Count(out, "\n") != want || !strings.HasPrefix(out, "certtool "+GnuTLSVersion+"\n") {
			t.Errorf("%s: ok %v, code %d, stderr %q, stdout %q", args, ok, code, err, out)
		}
	}
}

func TestToolGiven(t *testing.T) {
	given, _, err, _, ok := parseTool(t, "--bits", "0x10", "--no-text", "--inder", "-d", " 7", "--bits=010")
	if !ok {
		t.Fatal(err)
	}
	check(t, "bits", given.Number("bits", 3072), 8)
	check(t, "debug", given.Number("debug", 0), 7)
	check(t, "text", given.Enabled("text"), false)
	check(t, "inder", given.Enabled("inder"), true)

	given, _, err, _, ok = parseTool(t, "--no-text", "--text", "--inder", "--no-inder")
	if !ok {
		t.Fatal(err)
	}
	check(t, "bits", given.Number("bits", 3072), 3072)
	check(t, "text", given.Enabled("text"), true)
	check(t, "inder", given.Enabled("inder"), false)

	given, _, _, _, _ = parseTool(t)
	check(t, "text by default", given.Enabled("text"), true)
	check(t, "inder by default", given.Enabled("inder"), false)
}

func TestParseNumber(t *testing.T) {
	good := map[string]int{"": 0, "0": 0, "12": 12, "-5": -5, "+5": 5, " \t7": 7, "0x1F": 31, "0X1f": 31, "-0x1f": -31, "017": 15, "00": 0}
	for s, want := range good {
		if got, ok := parseNumber(s); !ok || got != want {
			t.Errorf("%q is %d, %v; want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{" ", "+", "-", "--5", "+-5", "7 ", "1e1", "08", "0b1", "0o7", "1_0", "0x", "0xg", "0x-1", "0+1", "5k", "99999999999999999999"} {
		if got, ok := parseNumber(s); ok {
			t.Errorf("%q is %d, want it refused", s, got)
		}
	}
}
