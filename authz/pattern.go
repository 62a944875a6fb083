package authz

import (
	"regexp"
	"strings"

	"virtls/finding"
	"virtls/pki/dn"
)

var (
	kindNameWildcard = finding.Define("dn-wildcard-in-name", finding.Warning,
		"the name has a * or ? in it, which every pattern takes for a wildcard, so a pattern for it matches others too",
		"use an exact rule (authz-simple, or format=exact in an authz-list), or another name; tls_allowed_dn_list has patterns only")
	kindPatternForm = finding.Define("dn-pattern-form", finding.Warning,
		"no certificate's name looks like this, so the text matches nobody",
		"copy the name from 'virtls show FILE', or virt-pki-query-dn: C=GB,O=Example,CN=host")
	kindPatternOrder = finding.Define("dn-pattern-order", finding.Warning,
		"the name seems to be written backwards: access lists want the order of the encoding, which usually begins with the country and ends with the common name, not that of RFC 4514 and 'certtool -i'",
		"copy the name from 'virtls show FILE', or virt-pki-query-dn")
	kindPatternLiteral = finding.Define("dn-pattern-literal", finding.Warning,
		"the * or ? is no wildcard here, because the rule compares exactly",
		"say format=glob")
	kindEverybody = finding.Define("authz-everybody", finding.Warning,
		"the access list lets in everybody whose certificate is good",
		"name those who may come in, and deny the rest")
	kindNobody = finding.Define("authz-nobody", finding.Warning,
		"the access list lets in nobody",
		"add a rule with policy=allow")
	kindUnreachable = finding.Define("authz-rule-unreachable", finding.Warning,
		"the rule has no effect: an earlier one decides for all that it matches",
		"put it before the other, or remove it")
)

// PatternFor returns the text that stands for a name in access lists, as an
// exact text and as a pattern. GLib's patterns know no way to escape a wildcard:
// [CheckName] tells when the pattern matches other names too.
func PatternFor(n dn.Name) string { return n.String() }

// CheckName returns what is wrong with a name as an entry of an access list of
// patterns; subject says where the name is from. What is wrong with it for any
// purpose [dn.Name.Check] knows.
func CheckName(subject string, n dn.Name) []finding.Finding {
	if dn.HasWildcard(n.String()) {
		return []finding.Finding{kindNameWildcard.Found(subject, n.String())}
	}
	return nil
}

// Check returns what its author may not have meant; subject says where the list
// is from.
func (l *List) Check(subject string) []finding.Finding {
	var found []finding.Finding
	allows := l.Policy == Allow
	for i, r := range l.Rules {
		if strings.Contains(r.Match, "=") {
			found = append(found, checkText(subject, r.Match, r.Format)...)
		}
		if r.Policy == Allow {
			allows = true
		}
		if earlier, ok := l.decides(i); ok {
			found = append(found, kindUnreachable.Found(subject, r.Match).WithWant("nothing before it that matches as much, such as "+earlier.Match, ""))
		}
	}
	if !allows {
		found = append(found, kindNobody.Found(subject, ""))
	}
	if l.everybody() {
		found = append(found, kindEverybody.Found(subject, ""))
	}
	return found
}

// decides returns an earlier rule that matches all that rule i matches.
func (l *List) decides(i int) (Rule, bool) {
	for _, r := range l.Rules[:i] {
		same := r.Match == l.Rules[i].Match && r.Format == l.Rules[i].Format
		// An exact rule matches one text, a pattern at least itself.
		if same || r.Format == Glob && (matchesAll(r.Match) || l.Rules[i].Format == Exact && r.matches(l.Rules[i].Match)) {
			return r, true
		}
	}
	return Rule{}, false
}

// everybody reports whether nobody is denied.
func (l *List) everybody() bool {
	for _, r := range l.Rules {
		if r.Policy == Deny {
			return false
		}
		if r.Format == Glob && matchesAll(r.Match) {
			return true
		}
	}
	return l.Policy == Allow
}

// matchesAll reports whether a pattern consists of "*" alone.
func matchesAll(pattern string) bool {
	return pattern != "" && strings.Trim(pattern, "*") == ""
}

// Check returns what its author may not have meant; subject says where the list
// is from. An empty list is one that lets in nobody, and no finding of its own.
func (l DNList) Check(subject string) []finding.Finding {
	var found []finding.Finding
	everybody := false
	for _, pattern := range l {
		found = append(found, checkText(subject, pattern, Glob)...)
		everybody = everybody || matchesAll(pattern)
	}
	if everybody {
		found = append(found, kindEverybody.Found(subject, "*"))
	}
	return found
}

// checkText judges a text that is to match a certificate's name.
func checkText(subject, text string, format Format) []finding.Finding {
	var found []finding.Finding
	wild := dn.HasWildcard(text)
	if wild && format == Exact {
		found = append(found, kindPatternLiteral.Found(subject, text))
	}
	switch {
	case !wellFormed(text):
		f := kindPatternForm.Found(subject, text)
		if n, err := dn.ParseOpenSSL(text); err == nil && !wild {
			f = f.WithFix("write %s", n)
		}
		found = append(found, f)
	case backwards(text):
		f := kindPatternOrder.Found(subject, text)
		if n, err := dn.ParseRFC4514(text); err == nil && !wild {
			f = f.WithFix("write %s", n)
		}
		found = append(found, f)
	}
	return found
}

// step is one attribute of a text in GnuTLS's form: its type, and its value up
// to the separator that follows.
var step = regexp.MustCompile(`^([^=,+*? ]*)=(?:[^,+\\]|\\.)*`)

// steps returns the types of a text's attributes, in its order. It ends early
// where a wildcard stands in a type's place, because anything may follow; ok is
// false if it ends early for another reason.
func steps(text string) (types []string, ok bool) {
	for {
		m := step.FindStringSubmatch(text)
		if m == nil {
			end := strings.IndexAny(text+"=", "=,+")
			return types, dn.HasWildcard(text[:end])
		}
		types = append(types, m[1])
		if len(m[0]) == len(text) {
			return types, true
		}
		text = text[len(m[0])+1:]
	}
}

// wellFormed reports whether a certificate's name may look like the text: each
// attribute has a type as GnuTLS writes it, and no blank or slash before it.
func wellFormed(text string) bool {
	types, ok := steps(text)
	if !ok {
		return false
	}
	for _, typ := range types {
		oid, known := dn.LookupName(typ)
		if known && dn.ShortName(oid) != typ {
			return false
		}
		if _, err := dn.ParseOID(typ); !known && err != nil {
			return false
		}
	}
	return true
}

// Types that usually begin and end a name.
var (
	general  = map[string]bool{"C": true, "ST": true, "L": true, "O": true, "DC": true}
	specific = map[string]bool{"CN": true, "UID": true, "EMAIL": true}
)

// backwards reports whether the text begins with a person's or host's own name
// and ends with a country's or an organization's.
func backwards(text string) bool {
	types, _ := steps(text)
	return len(types) > 1 && specific[types[0]] && general[types[len(types)-1]]
}
