package dn_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"virtls/internal/peertest"
	"virtls/pki/dn"
)

// globs are patterns and texts with GLib's answer: 1 or 0, or x where GLib
// leaves the text's memory or aborts, which Match takes for no match.
var globs = []struct {
	pattern, text string
	want          byte
}{
	{"", "", '1'},
	{"", "a", '0'},
	{"a", "a", '1'},
	{"a", "A", '0'},
	{"a", "", '0'},
	{"*", "", '1'},
	{"**", "a", '1'},
	{"*", "a,b/c\n", '1'},
	{"?", "", '0'},
	{"?", "é", '1'},
	{"?", "𝄞", '1'},
	{"??", "é", '0'},
	{"*?", "", '0'},
	{"*?", "é", '1'},
	{"?*?", "a", '0'},
	{"?*?", "ab", '1'},
	{"a*", "abc", '1'},
	{"*c", "abc", '1'},
	{"a*c", "abc", '1'},
	{"a*c", "abcd", '0'},
	{"a*a", "a", '0'},
	{"*b*", "abc", '1'},
	{"*abab*", "abacabab", '1'},
	{"a*b?c*d", "axxbyczzd", '1'},
	{"a*b?c*d", "axxbyyczzd", '0'},
	{"é*é", "éaé", '1'},
	{"*é?", "aéb", '1'},
	{"*é?", "aéé", '1'},
	{"C=GB,O=Example,CN=*", "C=GB,O=Example,CN=host1", '1'},
	{"C=GB,*,CN=host?", "C=GB,O=Example,OU=x,CN=host1", '1'},
	{"*CN=admin", "C=GB,O=x\\,CN=admin", '1'},
	{"[0-9]", "5", '0'},
	{"[0-9]", "[0-9]", '1'},
	{`\*`, "*", '0'},
	{`\*`, `\x`, '1'},
	{"{a,b}", "a", '0'},

	{"\xff", "\xff", '1'},
	{"?", "\xff", '1'},
	{"?", "\x80", '1'},
	{"*\xa9", "é", '1'},
	{"?\xa9", "é", '0'},
	{"a*", "a\xc3", '1'},
	{"*x", "\xc3x", '1'},
	{"*?x", "\xc3x", '0'},
	{"x?", "x\xc3", 'x'},
	{"?x?", "a\xc3x", '0'},
	{"x*?", "x\xc3", '1'},
	{"x*??", "x\xc3", '0'},
	{"*x*", "\xf0x", 'x'},
	{"*x*", "\xf0xax", '0'},
	{"?", "\xf8\x80\x80\x80\x80", '0'},
	{"?*", "\xf8\x80\x80\x80\x80", '1'},
	{"?*", "\xfc\x80\x80\x80\x80\x80", '1'},
	{"*?a?", "b\xc3a", '0'},
	{"*\xc3*?", "éb", '1'},
}

func TestMatch(t *testing.T) {
	for _, tt := range globs {
		if got := dn.Match(tt.pattern, tt.text); got != (tt.want == '1') {
			t.Errorf("Match(%q, %q) = %v, GLib says %c", tt.pattern, tt.text, got, tt.want)
		}
	}
}

func TestMatchNUL(t *testing.T) {
	for _, tt := range []struct{ pattern, text string }{{"a\x00", "a\x00"}, {"*", "\x00"}, {"a\x00b", "a"}} {
		if dn.Match(tt.pattern, tt.text) {
			t.Errorf("Match(%q, %q) = true: GLib cannot be given a NUL", tt.pattern, tt.text)
		}
	}
}

func TestHasWildcard(t *testing.T) {
	for pattern, want := range map[string]bool{"": false, "CN=[a-z]": false, "CN=*": true, "CN=a?": true, `CN=\*`: true} {
		if got := dn.HasWildcard(pattern); got != want {
			t.Errorf("HasWildcard(%q) = %v, want %v", pattern, got, want)
		}
	}
}

// TestMatchAsGLib compares the answers with those of the trees' GLib: those
// written above, and those to random questions.
func TestMatchAsGLib(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "glob")
	build := exec.Command("gcc", "-Wall", "-Werror", "testdata/glob.c", "-o", program, "-l:libglib-2.0.so.0")
	if out, err := build.CombinedOutput(); err != nil {
		peertest.Missing(t, fmt.Sprintf("gcc or libglib-2.0.so.0: %v\n%s", err, out), "run scripts/peers install")
	}
	type question struct{ pattern, text string }
	var questions []question
	for _, tt := range globs {
		questions = append(questions, question{tt.pattern, tt.text})
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(pieces []string, n int) string {
		var b strings.Builder
		for range random.IntN(n + 1) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		return b.String()
	}
	wild := []string{"a", "b", "é", "€", "𝄞", "*", "?", "*", "?"}
	tame := []string{"a", "b", "é", "€", "𝄞", "a", "b"}
	odd := []string{"a", "\xc3", "\xa9", "\xe2", "\xf0", "\xf8", "\xfc", "\xff"}
	for range 3000 {
		questions = append(questions,
			question{pick(wild, 7), pick(tame, 7)},
			question{pick(append(wild, odd...), 6), pick(append(tame, odd...), 6)})
	}
	var lines strings.Builder
	for _, q := range questions {
		fmt.Fprintf(&lines, ".%s .%s\n", hex.EncodeToString([]byte(q.pattern)), hex.EncodeToString([]byte(q.text)))
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		r := g.Run(t, peertest.Options{Stdin: strings.NewReader(lines.String())}, program)
		version, answers, _ := strings.Cut(r.Stdout, "\n")
		t.Log(version)
		if len(answers) != len(questions)+1 {
			t.Fatalf("%d answers to %d questions: %v", len(answers)-1, len(questions), r)
		}
		outside := 0
		for i, q := range questions {
			if i < len(globs) && answers[i] != globs[i].want {
				t.Errorf("GLib: %q, %q: %c, the table says %c", q.pattern, q.text, answers[i], globs[i].want)
			}
			if dn.Match(q.pattern, q.text) != (answers[i] == '1') {
				t.Errorf("Match(%q, %q) = %v, GLib says %c", q.pattern, q.text, answers[i] != '1', answers[i])
			}
			if answers[i] == 'x' {
				outside++
				if utf8.ValidString(q.pattern) && utf8.ValidString(q.text) {
					t.Errorf("GLib failed for %q, %q", q.pattern, q.text)
				}
			}
		}
		t.Logf("%d questions, to %d of which GLib has no answer", len(questions), outside)
	})
}

// TestMatchHostile would not end if the time were exponential.
func TestMatchHostile(t *testing.T) {
	text := strings.Repeat("a", 20000)
	for _, pattern := range []string{strings.Repeat("*a", 200) + "b", strings.Repeat("a*", 200) + "b", strings.Repeat("*?a", 200) + "b", strings.Repeat("*", 20000) + "b"} {
		if dn.Match(pattern, text) {
			t.Errorf("Match(%.20q..., %.20q...) = true", pattern, text)
		}
	}
}

func FuzzMatch(f *testing.F) {
	for _, tt := range globs {
		f.Add(tt.pattern, tt.text)
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern)+len(text) > 1<<10 {
			return // the time grows with the product
		}
		got := dn.Match(pattern, text)
		if !utf8.ValidString(pattern) || !utf8.ValidString(text) || strings.Contains(pattern+text, "\x00") {
			return
		}
		if want := matchByTable([]rune(pattern), []rune(text)); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, text, got, want)
		}
	})
}

// matchByTable is the definition of a match, for every pair of prefixes.
func matchByTable(pattern, text []rune) bool {
	row := make([]bool, len(text)+1) // whether the pattern so far matches text[:i]
	row[0] = true
	for _, p := range pattern {
		next := make([]bool, len(text)+1)
		for i := range next {
			switch p {
			case '*':
				next[i] = row[i] || i > 0 && next[i-1]
			case '?':
				next[i] = i > 0 && row[i-1]
			default:
				next[i] = i > 0 && row[i-1] && text[i-1] == p
			}
		}
		row = next
	}
	return row[len(text)]
}
