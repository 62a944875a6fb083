package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"virtls/finding"
)

// An output is standard output or standard error. It remembers the first error,
// so that no command ends well that could not say what it had to, and shows
// control characters instead of passing them on: names in foreign certificates
// do not steer a terminal.
type output struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if _, o.err = io.WriteString(o.to, visible(string(b), "\n\t")); o.err != nil {
		return 0, o.err
	}
	return len(b), nil
}

// visible writes control characters, and those that turn the direction of
// writing, as JSON and Go do, except for some.
func visible(text, except string) string {
	steers := func(r rune) bool {
		return (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) && !strings.ContainsRune(except, r)
	}
	if !strings.ContainsFunc(text, steers) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		if steers(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else if r == unicode.ReplacementChar {
			b.WriteString(text[i : i+1]) // an octet that is no UTF-8, or the first of the character itself
			if strings.HasPrefix(text[i:], "\uFFFD") {
				b.WriteString(text[i+1 : i+len("\uFFFD")])
			}
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// oneLine shows all control characters of a name, so that it cannot look like
// several lines or columns.
func oneLine(text string) string { return visible(text, "") }

// printFindings writes findings for people. What they quote cannot look like
// further findings: lines after the first are indented.
func (a *app) printFindings(findings []finding.Finding) error {
	shown := make([]finding.Finding, len(findings))
	for i, f := range findings {
		for _, text := range []*string{&f.Subject, &f.Text, &f.Got, &f.Want, &f.By, &f.Fix} {
			*text = strings.ReplaceAll(*text, "\n", "\n            ")
		}
		shown[i] = f
	}
	return finding.Print(a.stderr, shown)
}

// maxAlike is how many findings of one kind are listed where a file decides
// how many there are.
const maxAlike = 20

// capped cuts long lists of findings of the same kind, and says how long they were.
func capped(findings []finding.Finding) []finding.Finding {
	count := map[string]int{}
	for _, f := range findings {
		count[f.Code]++
	}
	var list []finding.Finding
	seen := map[string]int{}
	for _, f := range findings {
		switch seen[f.Code]++; {
		case seen[f.Code] <= maxAlike:
			list = append(list, f)
		case seen[f.Code] == maxAlike+1:
			more := finding.Finding{Code: f.Code, Severity: f.Severity, Subject: f.Subject}
			list = append(list, more.WithText("and %d more like these", count[f.Code]-maxAlike))
		}
	}
	return list
}
