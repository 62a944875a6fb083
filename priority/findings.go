package priority

import (
	"fmt"
	"slices"
	"strings"

	"virtls/finding"
)

var (
	kindSyntax = finding.Define("priority-syntax", finding.Error,
		"no version of GnuTLS understands this part of the priority string",
		"see the manual of GnuTLS, \"Priority strings\"")
	kindBuild = finding.Define("priority-build", finding.Error,
		"this version of GnuTLS does not know a word that others know, and refuses the whole string",
		"leave the word out on hosts with this version")
	kindSystem = finding.Define("priority-system", finding.Error,
		"the system's configuration of GnuTLS has no priority string of this name",
		"write NORMAL instead")
	kindSystemString = finding.Define("priority-system-string", finding.Error,
		"the priority string in the system's configuration of GnuTLS is wrong",
		"correct the configuration")
	kindCurveDisabled = finding.Define("priority-curve-disabled", finding.Error,
		"the system's configuration of GnuTLS disables this curve, and so the whole string is refused",
		"leave the curve out: GROUP- instead of CURVE- is not refused, only ignored")
	kindEmpty = finding.Define("priority-empty", finding.Error,
		"the priority string leaves nothing to negotiate",
		"add what is missing")
	kindIgnored = finding.Define("priority-ignored", finding.Warning,
		"this part of the priority string has no effect",
		"leave it out, or correct it if it was to have one")
	kindDropped = finding.Define("priority-version-dropped", finding.Warning,
		"GnuTLS silently drops a protocol version that the priority string leaves on",
		"exclude the version, or what keeps it off")
)

// syntaxError is the error of an element that a build does not know.
func syntaxError(s string, e element, b Build) error {
	var others []string
	for _, known := range builds {
		if newMachine(known, policy{}, none).apply(e.text, true) != unknown {
			others = append(others, known.String())
		}
	}
	if len(others) > 0 {
		return kindBuild.Found(where(s, e.pos), clip(e.text)).
			WithText("%s does not know this word and refuses the whole string", b).
			WithWant("words that it knows; this one is right for "+enumerate(others), b.String()).Usage()
	}
	found := kindSyntax.Found(where(s, e.pos), clip(e.text)).
		WithWant("a keyword such as NORMAL, a name behind +, - or !, or an option behind %", "GnuTLS")
	return advise(found, e.text).Usage()
}

// advise adds what was probably meant.
func advise(f finding.Finding, text string) finding.Finding {
	if text == "" {
		return f.WithText("there is nothing between two colons, or before the first or behind the last").WithFix("remove the colon")
	}
	bare := strings.TrimSpace(text)
	name := strings.TrimLeft(bare, "+-!")
	if sameName(name, none) {
		return f.WithText("NONE can only stand in front").WithFix("move NONE to the front")
	}
	if name != bare && isKeyword(name) {
		return f.WithText("a keyword can be added, but not removed").WithFix("remove algorithms by their names")
	}
	if strings.HasPrefix(bare, "@") {
		return f.WithText("a string of the system can only stand in front").WithFix("move %s to the front", clip(bare))
	}
	if word := nearest(bare); word != "" {
		return f.WithWant(word, f.By).WithFix("write %s", word)
	}
	return f
}

func isKeyword(name string) bool {
	return slices.ContainsFunc(anyBuild.keywords(), func(k keyword) bool { return k.is(name) })
}

// nearest returns the element that a wrong one most likely was to be.
func nearest(text string) string {
	if text == "" {
		return ""
	}
	switch text[0] {
	case '%':
		var names []string
		for _, o := range options {
			names = append(names, o.name)
		}
		if word := finding.Nearest(text[1:], names); word != "" {
			return "%" + word
		}
		return ""
	case '+', '-', '!':
		if word := finding.Nearest(text[1:], itemNames()); word != "" {
			return text[:1] + word
		}
		return ""
	}
	var names []string
	for _, k := range anyBuild.keywords() {
		names = append(names, k.names...)
	}
	for _, item := range itemNames() {
		if sameName(item, text) {
			return "+" + item + " or -" + item
		}
	}
	return finding.Nearest(text, append(names, none))
}

// itemNames returns the names that +, - and ! take.
func itemNames() []string {
	var names []string
	for _, c := range []struct {
		prefix string
		table  []algorithm
		more   []string
	}{
		{"", macs, []string{"MAC-ALL", "MAC-GOST-ALL"}},
		{"", ciphers, []string{"CIPHER-ALL", "CIPHER-GOST-ALL"}},
		{"", keyExchanges, []string{"KX-ALL", "KX-GOST-ALL"}},
		{"VERS-", versions, []string{"VERS-ALL", "VERS-TLS-ALL", "VERS-DTLS-ALL"}},
		{"GROUP-", groups, []string{"GROUP-ALL", "GROUP-DH-ALL", "GROUP-EC-ALL", "GROUP-GOST-ALL"}},
		{"CURVE-", curves, []string{"CURVE-ALL"}},
		{"SIGN-", signatures, []string{"SIGN-ALL", "SIGN-GOST-ALL"}},
		{"CTYPE-", certificateTypes, []string{"CTYPE-ALL"}},
		{"CTYPE-CLI-", certificateTypes, []string{"CTYPE-CLI-ALL"}},
		{"CTYPE-SRV-", certificateTypes, []string{"CTYPE-SRV-ALL"}},
	} {
		for _, a := range c.table {
			names = append(names, c.prefix+a.name)
		}
		names = append(names, c.more...)
	}
	return names
}

func enumerate(words []string) string {
	if n := len(words); n > 1 {
		return fmt.Sprintf("%s and %s", strings.Join(words[:n-1], ", "), words[n-1])
	}
	return strings.Join(words, "")
}
