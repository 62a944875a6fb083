package certtemplate

import (
	"fmt"
	"slices"
	"strings"

	"virtls/finding"
)

var (
	kindEndsEarly = finding.Define("template-ends-early", finding.Error,
		"the line begins with a character that begins no option; certtool stops reading here, without a word",
		"begin the line with the name of an option, or with # to make it a comment")
	kindOpenQuote = finding.Define("template-open-quote", finding.Error,
		"the quotes are never closed, so that the rest of the template is taken for the value",
		"close the quotes at the end of the value")
	kindTextBehindQuotes = finding.Define("template-text-behind-quotes", finding.Error,
		"text behind the closing quotes is taken for another option",
		"put all of the value inside the quotes, and each option on a line of its own")
	kindLostEscape = finding.Define("template-lost-backslash", finding.Error,
		"certtool drops a backslash in a value together with the character behind it",
		"write the value without backslashes")
	kindCarriageReturn = finding.Define("template-carriage-return", finding.Error,
		"the lines end as on Windows; certtool makes the carriage return a part of each value",
		"save the file with UNIX line ends: sed -i 's/\\r$//' FILE")
	kindBlankAtEnd = finding.Define("template-blank-at-end", finding.Error,
		"certtool makes the blank behind the value a part of it",
		"delete the blank, or put the value in quotes if it is meant")
	kindControl = finding.Define("template-control-character", finding.Error,
		"the value has a control character in it",
		"delete the character")

	kindUnknown = finding.Define("template-unknown-option", finding.Error,
		"there is no such option; certtool only warns, and goes on without it",
		"correct the name or delete the line")
	kindCase = finding.Define("template-option-case", finding.Error,
		"options are written in small letters; certtool passes this one over without a word",
		"write the name in small letters")
	kindRepeated = finding.Define("template-option-repeated", finding.Error,
		"the option counts once; certtool takes the first one",
		"keep the line that is meant and delete the others")
	kindTooMany = finding.Define("template-too-many-values", finding.Error,
		"certtool drops this value and all that follow, without a word",
		"make several certificates, or use a wildcard name")
	kindHidden = finding.Define("template-alias-ignored", finding.Error,
		"the short name of an option does not count beside the long one",
		"use the long name in all lines")
)

// grammar looks at how the lines are written.
func (l *linter) grammar() {
	if stop := l.t.stop; stop != nil {
		f := l.at(stop.Line, kindEndsEarly, quoteShort(stop.Value))
		if strings.HasPrefix(stop.Value, "\ufeff") {
			f = f.WithText("a byte order mark begins the file; certtool reads nothing of it, without a word").
				WithFix("save the file as UTF-8 without a byte order mark: sed -i '1s/^\\xef\\xbb\\xbf//' %s", l.t.Name)
		}
		l.add(stop.Line, f)
	}
	for i, e := range l.t.Entries {
		l.entryGrammar(e)
		if i > 0 && e.Line == l.t.Entries[i-1].end {
			l.add(e.Line, l.at(e.Line, kindTextBehindQuotes, quoteShort(e.text())))
		}
	}
	carriage := slices.IndexFunc(l.t.Entries, func(e Entry) bool { return strings.HasSuffix(e.Value, "\r") })
	if carriage >= 0 {
		e := l.t.Entries[carriage]
		l.add(e.Line, l.at(e.Line, kindCarriageReturn, e.shown()).WithFix("sed -i 's/\\r$//' %s", l.t.Name))
	}
}

func (l *linter) entryGrammar(e Entry) {
	value := strings.TrimRight(e.Value, "\r")
	switch {
	case e.open:
		l.add(e.Line, l.at(e.Line, kindOpenQuote, e.Name))
	case e.escapes > 0:
		l.add(e.Line, l.at(e.Line, kindLostEscape, "the value is read as "+e.shown()))
	case !e.quoted && strings.TrimRight(value, blanks) != value:
		l.add(e.Line, l.at(e.Line, kindBlankAtEnd, e.shown()).
			WithFix("write %s", Entry{Name: e.Name, Value: strings.TrimRight(value, blanks)}.text()))
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		l.add(e.Line, l.at(e.Line, kindControl, e.shown()))
	}
}

// names looks at the names of the options.
func (l *linter) names() {
	count := map[string]int{}
	for _, e := range l.t.Entries {
		k := lookupKey(e.Name)
		if k == nil || k.name == "policy*" && !isPolicyName(e.Name) {
			l.badName(e)
			continue
		}
		count[e.Name]++
		most := maxEntries
		if isPair(e.Name) {
			most /= 2
		}
		switch {
		case count[e.Name] == most+1 && k.kind == listOption && k.name != "policy*":
			l.add(e.Line, l.at(e.Line, kindTooMany, fmt.Sprintf("the %dth %s", most+1, e.Name)).
				WithWant(fmt.Sprintf("at most %d", most), "certtool"))
		case count[e.Name] == 2 && (k.kind != listOption || k.name == "policy*"):
			l.add(e.Line, l.at(e.Line, kindRepeated, quoteShort(e.text())))
		}
	}
	for _, alias := range []struct{ short, long string }{{"o", "organization"}, {"ou", "unit"}} {
		if e, ok := l.t.lookup(alias.short); ok && l.t.has(alias.long) {
			l.add(e.Line, l.at(e.Line, kindHidden, quoteShort(e.text())).WithFix("write %s = %s", alias.long, e.Value))
		}
	}
}

func (l *linter) badName(e Entry) {
	written := e.Name
	if lower := strings.ToLower(written); lower != written && lookupKey(lower) != nil {
		e.Name = lower
		l.add(e.Line, l.at(e.Line, kindCase, written).WithFix("write %s", e.text()))
		return
	}
	f := l.at(e.Line, kindUnknown, quoteShort(written))
	if name, value, ok := strings.Cut(e.Name, ":"); ok && lookupKey(name) != nil {
		f = f.WithText("a colon without a blank behind it belongs to the name; there is no such option").
			WithFix("write %s", Entry{Name: name, Value: value + e.Value}.text())
	} else if near := nearestKey(e.Name); near != "" {
		e.Name = near
		f = f.WithWant(near, "").WithFix("write %s, or delete the line", e.text())
	}
	l.add(e.Line, f)
}

// isPolicyName tells the options that certtool reads from those that it merely
// does not warn about, because they begin with "policy".
func isPolicyName(name string) bool {
	rest, _ := strings.CutPrefix(name, "policy")
	if rest == "" || rest[0] < '1' || rest[0] > '8' {
		return false
	}
	return rest[1:] == "" || rest[1:] == "_txt" || rest[1:] == "_url"
}

func isPair(name string) bool {
	switch name {
	case "dn_oid", "other_name", "other_name_octet", "other_name_utf8", "add_extension", "add_critical_extension":
		return true
	}
	return false
}

// nearestKey returns the option whose spelling is nearest to name, "" if none
// is near.
func nearestKey(name string) string {
	var names []string
	for _, k := range keys {
		if k.name == "policy*" {
			names = append(names, "policy1", "policy1_txt", "policy1_url")
		} else {
			names = append(names, k.name)
		}
	}
	return finding.Nearest(strings.ReplaceAll(name, "-", "_"), names)
}
