package layout

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/finding"
	"virtls/internal/peertest"
)

// confCases are configuration files and what libvirt makes of them: the URI
// that uri_default names, or the line and the text of the syntax error.
var confCases = []struct {
	name, text string
	uri, wrong string
}{
	{"plain", "uri_default = \"test:///default\"\n", "test:///default", ""},
	{"no end of line", `uri_default="test:///default"`, "test:///default", ""},
	{"single quotes", "uri_default = 'test:///default'", "test:///default", ""},
	{"three quotes", "x = \"\"\"a\nb\"\"\"\nuri_default = \"\"\"test:///default\"\"\"", "test:///default", ""},
	{"empty between three quotes", "x = \"\"\"\"\"\"\nuri_default = 'test:///default'", "test:///default", ""},
	{"six quotes at the end", `x = """"""`, "", "1: expecting a separator"},
	{"the first counts", "uri_default = 'test:///default'\nuri_default = 'test:///other'", "test:///default", ""},
	{"comments", "# a\n  # b = \"\nuri_default = 'test:///default' # c", "test:///default", ""},
	{"CR LF", "x = 1\r\nuri_default = 'test:///default'\r\n", "test:///default", ""},
	{"CR alone", "x = 'a'\ry = 1\ruri_default = 'test:///default'", "test:///default", ""},
	{"semicolon", "x = 1; uri_default = 'test:///default';", "test:///default", ""},
	{"nested lists", "x = [ [ 'a' ], 1, [] ]\nuri_default = 'test:///default'", "test:///default", ""},
	{"comma at the end of a list", "x = [ 'a',\n\n ]\nuri_default = 'test:///default'", "test:///default", ""},
	{"great number", "x = 9223372036854775807\nuri_default = 'test:///default'", "test:///default", ""},
	{"too great a number", "x = 9223372036854775808\nuri_default = 'test:///default'", "", "1: numeric overflow in conf value"},
	{"negative number", "x = -5\nuri_default = 'test:///default'", "test:///default", ""},
	{"zero byte in a string", "uri_default = 'test:///default\x00x'", "test:///default", ""},
	{"two semicolons", "x = 5;;", "", "1: expecting a name"},
	{"number as a name", "\n1x = 1", "", "2: expecting a name"},
	{"quoted name", `"x" = 1`, "", "1: expecting a name"},
	{"byte order mark", "\xef\xbb\xbfx = 1", "", "1: expecting a name"},
	{"no assignment", "x\ny = 1", "", "1: expecting an assignment"},
	{"colon", "x: 1", "", "1: expecting an assignment"},
	{"hyphen in a name", "tls-port = '1'", "", "1: expecting an assignment"},
	{"zero byte in a name", "a\x00b = 1", "", "1: expecting an assignment"},
	{"no value", "x =\n", "", "1: expecting a value"},
	{"no value at the end", "x =", "", "1: expecting a value"},
	{"word", "x = yes\n", "", "1: expecting a value"},
	{"comment in a list", "x = [\n# c\n'a']", "", "2: expecting a value"},
	{"comma alone", "x = [ , ]", "", "1: expecting a value"},
	{"two commas", "x = [ 'a',, 'b' ]", "", "1: expecting a value"},
	{"list ends after comma", "x = [ 'a', \n", "", "2: expecting a value"},
	{"open list", "x = [ 'a' ", "", "1: list is not closed with ]"},
	{"empty open list", "x = [\n", "", "2: list is not closed with ]"},
	{"no comma", "x = [ 'a'\n 'b' ]", "", "2: expecting a separator in list"},
	{"open string", "x = \"abc\n", "", "1: unterminated string"},
	{"other quote", "x = \"abc'\n", "", "1: unterminated string"},
	{"open three quotes", "x = \"\"\"a\n\n\"", "", "2: unterminated string"},
	{"minus alone", "x = -\n", "", "1: unterminated number"},
	{"letters behind a number", "x = 12abc\n", "", "1: expecting a separator"},
	{"two on a line", "x = 1 y = 2\n", "", "1: expecting a separator"},
	{"text behind a string", "x = \"\"a\n", "", "1: expecting a separator"},
	{"form feed", "x = 1\x0c", "", "1: expecting a separator"},
}

func TestParseConf(t *testing.T) {
	for _, c := range confCases {
		t.Run(c.name, func(t *testing.T) {
			conf, err := ParseConf("f.conf", []byte(c.text))
			if c.wrong != "" {
				line, text, _ := strings.Cut(c.wrong, ": ")
				if err == nil {
					t.Fatalf("read %v, want %q", conf.Settings, c.wrong)
				}
				f := finding.Of(err)
				_, core, _ := strings.Cut(f.Text, ": ")
				check(t, "finding", f.Subject+" "+core+" "+f.Code, "f.conf:"+line+" "+text+" conf-syntax")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s, _ := conf.Get("uri_default")
			check(t, "uri_default", s.Value.Text, c.uri)
		})
	}
}

// The same files, read by real libvirt.
func TestParseConfAsLibvirt(t *testing.T) {
	dir := t.TempDir()
	for i, c := range confCases {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d", i)), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const script = `for f in "$1"/*; do echo "=$f"; cp "$f" /etc/libvirt/libvirt.conf; virsh uri 2>&1; done`
	ends(t, func(t *testing.T, g peertest.Generation) {
		r := g.Run(t, peertest.Options{}, "sh", "-c", script, "sh", dir)
		answers := strings.Split(r.Stdout, "="+dir+"/")[1:]
		if len(answers) != len(confCases) {
			t.Fatalf("%d answers to %d files\n%v", len(answers), len(confCases), r)
		}
		for i, c := range confCases {
			want := cmp.Or(c.uri, ": /etc/libvirt/libvirt.conf:"+c.wrong) + "\n"
			if g.Name == peertest.Host.Name && strings.Contains(c.wrong, "overflow") {
				want = "test:///default\n" // libvirt 9.0 wraps around
			}
			if !strings.Contains(answers[i], want) {
				t.Errorf("%s: libvirt says %q, want %q", c.name, answers[i], want)
			}
		}
	})
}

func TestConfValues(t *testing.T) {
	conf, err := ParseConf("f", []byte("a = 'x'\nb = [ \"y\", -1,\n [] ] # d\nc = 9223372036854775807\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range conf.Settings {
		got = append(got, fmt.Sprintf("%s %d-%d %s", s.Name, s.Line, s.Last, s.Value))
	}
	check(t, "settings", got, []string{`a 1-1 "x"`, `b 2-3 ["y", -1, []]`, "c 4-4 9223372036854775807"})
}

// Our own limits, with which libvirt would run out of memory or stack.
func TestConfLimits(t *testing.T) {
	for name, text := range map[string]string{
		"size":  strings.Repeat("#", MaxConfSize+1),
		"depth": "x = " + strings.Repeat("[", maxConfDepth+1),
	} {
		if conf, err := ParseConf("f", []byte(text)); err == nil {
			t.Errorf("%s: read %d settings", name, len(conf.Settings))
		}
	}
	if _, err := ParseConf("f", []byte("x = "+strings.Repeat("[", maxConfDepth)+strings.Repeat("]", maxConfDepth))); err != nil {
		t.Error(err)
	}
	if _, err := ParseConf("f", []byte(strings.Repeat("#", MaxConfSize))); err != nil {
		t.Error(err)
	}
}

// However much is wrong in a file, not all of it is told.
func TestConfFindingsBound(t *testing.T) {
	var text strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&text, "x%d_tls=1\n", i)
	}
	_, list := ReadDaemonConf(tree(t, map[string]string{LibvirtdConf: text.String()}), LibvirtdConf, "12.8")
	check(t, "findings", len(list), maxRest)
}

func FuzzParseConf(f *testing.F) {
	for _, c := range confCases {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		conf, err := ParseConf("f", data)
		if err != nil {
			if finding.Of(err).Code != "conf-syntax" {
				t.Fatal(err)
			}
			return
		}
		// What was read says the same when it is written down and read again, if
		// it can be written: the syntax has no escapes.
		var text strings.Builder
		for _, s := range conf.Settings {
			if !writable(s.Value) {
				return
			}
			fmt.Fprintf(&text, "%s = %s\n", s.Name, s.Value)
		}
		if text.Len() > MaxConfSize {
			return
		}
		again, err := ParseConf("f", []byte(text.String()))
		if err != nil {
			t.Fatalf("%v\n%q\nfrom %q", err, text.String(), data)
		}
		for i := range again.Settings {
			again.Settings[i].Line, again.Settings[i].Last = conf.Settings[i].Line, conf.Settings[i].Last
		}
		check(t, "read again", again.Settings, conf.Settings)
	})
}

// writable tells whether Value.String writes what ParseConf reads as the same.
func writable(v Value) bool {
	return !strings.ContainsAny(v.Text, "\"\r\n") && !slices.ContainsFunc(v.List, func(i Value) bool { return !writable(i) })
}
