package explain

import (
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A text is what somebody pasted, and its canonical form: lower case, without
// blanks, quotes, backslashes and terminal sequences, so that none of these
// stands in the way.
type text struct {
	clean string // without terminal sequences and control characters but for line feeds and tabs
	canon string
	at    []int32 // where the character of each octet of canon is in clean
}

// terminalSequence is a colour or a title as terminals get it or as logs show it.
// It is large: programs that explain nothing are not to wait for it.
var terminalSequence = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:\x1b|\^\[|#033)(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\))`)
})

func newText(input string) *text {
	input = terminalSequence().ReplaceAllString(strings.ToValidUTF8(input, "?"), "")
	t := &text{clean: strings.Map(printable, input)}
	var canon strings.Builder
	for i, r := range t.clean {
		if ignored(r) {
			continue
		}
		for range utf8.RuneLen(unicode.ToLower(r)) {
			t.at = append(t.at, int32(i))
		}
		canon.WriteRune(unicode.ToLower(r))
	}
	t.canon = canon.String()
	return t
}

func canonical(s string) string { return newText(s).canon }

// printable drops characters that could do something to a terminal.
func printable(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return r
	case r == '\r', r == '\u2028', r == '\u2029':
		return '\n'
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

// ignored tells whether a character does not count when texts are compared.
func ignored(r rune) bool {
	return unicode.IsSpace(r) || strings.ContainsRune("'\"`\\‘’“”„‚‹›«»´", r)
}

// cleanEnd returns where canon[:to] ends in clean.
func (t *text) cleanEnd(to int) int {
	last := int(t.at[to-1])
	_, size := utf8.DecodeRuneInString(t.clean[last:])
	return last + size
}

// original returns what canon[from:to] is in clean, blanks and quotes inside included.
func (t *text) original(from, to int) string {
	if from >= to {
		return ""
	}
	return t.clean[t.at[from]:t.cleanEnd(to)]
}

// value returns what canon[from:to] says, in one line and without what is around it.
func (t *text) value(from, to int) string {
	return strings.TrimFunc(strings.ReplaceAll(t.original(from, to), "\n", ""), ignored)
}

var quotes = map[rune]string{'\'': "'", '"': `"`, '`': "'", '“': "”", '‘': "’"}

// word returns the word or quoted text of clean that follows from, in the same
// line, and where it ends.
func (t *text) word(from int) (word string, end int) {
	line, _, _ := strings.Cut(t.clean[from:], "\n")
	rest := strings.TrimLeft(line, " \t")
	at := from + len(line) - len(rest)
	first, size := utf8.DecodeRuneInString(rest)
	if closing := quotes[first]; closing != "" {
		if value, _, closed := strings.Cut(rest[size:], closing); closed {
			return value, at + size + len(value) + len(closing)
		}
	}
	if i := strings.IndexFunc(rest, unicode.IsSpace); i >= 0 {
		rest = rest[:i]
	}
	word = strings.TrimRight(rest, ".,;:'\"”’)")
	return word, at + len(word)
}
