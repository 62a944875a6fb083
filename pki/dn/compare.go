package dn

import (
	"slices"
	"strings"
	"unicode"
)

// Equal reports whether both names have the same DER encoding. That is how
// GnuTLS compares an issuer's name with a subject's: another string type or
// another case makes another name.
func (n Name) Equal(m Name) bool {
	return slices.EqualFunc(n, m, func(a, b RDN) bool {
		return slices.EqualFunc(a, b, Attribute.Equal)
	})
}

// Equal reports whether both attributes have the same DER encoding.
func (a Attribute) Equal(b Attribute) bool {
	return a.Type.Equal(b.Type) && string(a.valueDER()) == string(b.valueDER())
}

// EqualFold reports whether both names are the same by the rules of RFC 5280,
// 7.1: text is compared whatever its string type, its case and the number of
// blanks between words, and the attributes of an RDN in any order. Values that
// are no text are compared as encoded. OpenSSL compares names so; unlike it
// EqualFold knows the case of letters beyond ASCII, as the RFC asks, but like
// it does no Unicode normalization.
func (n Name) EqualFold(m Name) bool {
	return len(n) == len(m) && n.Within(m)
}

// Within reports whether the name lies in the subtree below base, as a
// directoryName in a name constraint wants it (RFC 5280, 4.2.1.10): its first
// RDNs are those of base, compared as [Name.EqualFold] does.
func (n Name) Within(base Name) bool {
	return len(n) >= len(base) && slices.EqualFunc(n[:len(base)], base, equalFoldRDN)
}

func equalFoldRDN(a, b RDN) bool { return slices.Equal(foldKeys(a), foldKeys(b)) }

// foldKeys returns one string for each attribute, sorted, such that equal
// attributes have equal strings.
func foldKeys(rdn RDN) []string {
	keys := make([]string, len(rdn))
	for i, a := range rdn {
		text, ok := a.utf8()
		if !ok {
			keys[i] = a.Type.String() + "#" + string(a.valueDER())
			continue
		}
		keys[i] = a.Type.String() + "=" + foldText(string(text))
	}
	slices.Sort(keys)
	return keys
}

// foldText makes each run of blanks one space, and each letter the first of
// those that Unicode's simple case folding takes for equal.
func foldText(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.Map(func(r rune) rune {
		first := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			first = min(first, other)
		}
		return first
	}, text)
}
