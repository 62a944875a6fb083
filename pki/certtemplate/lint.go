package certtemplate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtls/finding"
	"virtls/pki"
)

// Lint returns what is wrong with the template, or not what its author is
// likely to have meant, if a certificate is made of it from in. Each finding
// names file and line, and says what to write instead. Findings of severity
// error are reasons to refuse the template: certtool takes many of them
// without a word.
//
// A Template whose [Parse] failed can be linted too. Without a PublicKey and a
// Request, what depends on the key is not looked at.
func (t *Template) Lint(in CertInput) []finding.Finding {
	l := &linter{t: t, in: in}
	l.grammar()
	l.names()
	l.values()
	l.combinations()
	l.compiled()
	slices.SortStableFunc(l.found, func(a, b located) int { return cmp.Compare(a.line, b.line) })
	findings := make([]finding.Finding, len(l.found))
	for i, f := range l.found {
		findings[i] = f.Finding
	}
	return findings
}

// A linter collects findings.
type linter struct {
	t     *Template
	in    CertInput
	found []located
}

// A located finding knows its line, for sorting; what concerns the whole
// template comes last.
type located struct {
	finding.Finding
	line int
}

const wholeFile = 1 << 30

// subject is FILE:LINE.
func (l *linter) subject(line int) string {
	if line == wholeFile {
		return l.t.Name
	}
	return fmt.Sprintf("%s:%d", l.t.Name, line)
}

// at starts a finding about a line.
func (l *linter) at(line int, k *finding.Kind, got string) finding.Finding {
	return k.Found(l.subject(line), got)
}

func (l *linter) add(line int, f finding.Finding) {
	l.found = append(l.found, located{f, line})
}

func (l *linter) hasErrors() bool {
	return slices.ContainsFunc(l.found, func(f located) bool { return f.Severity == finding.Error })
}

// line returns where an option stands, the whole file if it does not.
func (l *linter) line(option string) int {
	if e, ok := l.t.lookup(option); ok {
		return e.Line
	}
	return wholeFile
}

// key returns the algorithm of the certificate's key, false if none is known.
func (l *linter) key() (pki.KeyAlgorithm, bool) {
	pub := l.in.PublicKey
	if l.in.Request != nil {
		pub = l.in.Request.PublicKey.Key
	}
	return pki.AlgorithmOf(pub), pub != nil
}

// text shows an entry as it should have been written.
func (e Entry) text() string {
	switch {
	case e.Value == "":
		return e.Name
	case maySecret(e.Name):
		return e.Name + " = ..."
	}
	return e.Name + " = " + e.Value
}

// shown shows the value of an entry.
func (e Entry) shown() string {
	if maySecret(e.Name) {
		return notShown
	}
	return quoteShort(e.Value)
}

const notShown = "(not shown: it may be a password)"

// maySecret reports whether text may name a password, spelt right or wrong, or
// hold one.
func maySecret(text string) bool { return strings.Contains(strings.ToLower(text), "pass") }

// quoteShort shows text of a template without flooding the screen or giving a
// password away.
func quoteShort(text string) string {
	const longest = 80
	switch {
	case maySecret(text):
		return notShown
	case len(text) > longest:
		return strconv.Quote(text[:longest]) + "..."
	}
	return strconv.Quote(text)
}
