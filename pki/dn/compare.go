package dn

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
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
	return len(n) == len(m) && n.Fold().Within(m.Fold())
}

// A Folded is a name that was made ready to be compared with many others as
// subtrees are (RFC 5280, 4.2.1.10).
type Folded []foldedRDN

// A foldedRDN holds sorted keys: exact ones, of which equal attributes have
// equal ones, and loose ones for [Folded.MayLieWithin]: of each attribute its
// type, and its type with [sure] and its text, or with [unsure].
type foldedRDN struct{ exact, loose []string }

const sure, unsure = "=", "?"

// Fold makes a name ready to be compared.
func (n Name) Fold() Folded {
	f := make(Folded, len(n))
	for i, rdn := range n {
		for _, a := range rdn {
			f[i].add(a)
		}
		slices.Sort(f[i].exact)
		slices.Sort(f[i].loose)
	}
	return f
}

func (r *foldedRDN) add(a Attribute) {
	typ := a.Type.String()
	text, ok := a.comparable()
	folded := foldText(text)
	if ok {
		r.exact = append(r.exact, typ+"="+folded)
	} else {
		r.exact = append(r.exact, typ+"#"+string(a.valueDER()))
	}
	r.loose = append(r.loose, typ)
	if ok && a.unambiguous(text) {
		// Made of the folded text: what lies within may lie within.
		r.loose = append(r.loose, typ+sure+foldText(prepare(folded)))
	} else {
		r.loose = append(r.loose, typ+unsure)
	}
}

// Within reports whether the name lies in the subtree below base, as one that
// permits must be read: its first RDNs are those of base, compared as
// [Name.EqualFold] does.
func (f Folded) Within(base Folded) bool {
	return len(f) >= len(base) && slices.EqualFunc(f[:len(base)], base, func(a, b foldedRDN) bool {
		return slices.Equal(a.exact, b.exact)
	})
}

// MayLieWithin reports whether anybody could think that the name lies in the
// subtree below base, as one that excludes must be read: each attribute of
// base's RDNs has its like in the RDN of the name at the same place. A value
// is like every other of its type if it is no text or if programs differ about
// what text it is: octets beyond ASCII in a string type that has none, control
// characters. Text is compared in the form of RFC 4518, 2, so that neither
// composed letters nor characters that nobody sees make another text.
func (f Folded) MayLieWithin(base Folded) bool {
	return len(f) >= len(base) && slices.EqualFunc(f[:len(base)], base, foldedRDN.mayHold)
}

func (r foldedRDN) mayHold(base foldedRDN) bool {
	has := func(key string) bool {
		_, found := slices.BinarySearch(r.loose, key)
		return found
	}
	for _, key := range base.loose {
		typ, _, isText := strings.Cut(key, sure)
		typ = strings.TrimSuffix(typ, unsure)
		if !has(typ) || isText && !has(key) && !has(typ+unsure) {
			return false
		}
	}
	return true
}

// comparable returns the value as text to be compared. Beyond the string types
// that openssl takes in names it knows VisibleString, which GnuTLS takes too.
func (a Attribute) comparable() (text string, ok bool) {
	if a.Tag == tagVisible {
		return string(a.Value), isASCII(string(a.Value))
	}
	b, ok := a.utf8()
	return string(b), ok
}

// unambiguous reports whether every program reads the value as this text.
func (a Attribute) unambiguous(text string) bool {
	return !strings.ContainsFunc(text, unicode.IsControl) && (isUnicode(a.Tag) || isASCII(text))
}

func isUnicode(tag int) bool { return tag == tagUTF8 || tag == tagBMP || tag == tagUniversal }

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}

// prepare maps characters that nobody sees to nothing and normalizes the
// others (RFC 4518, 2.2 and 2.3).
func prepare(text string) string {
	return norm.NFKC.String(strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector) || r == combiningGraphemeJoiner || r == objectReplacement {
			return -1
		}
		return r
	}, text))
}

const combiningGraphemeJoiner, objectReplacement = '\u034f', '\ufffc'

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
