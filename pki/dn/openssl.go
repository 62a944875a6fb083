package dn

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A NameOption selects one of the forms in which openssl prints names.
type NameOption struct {
	reverse             bool   // last RDN first, and so within an RDN
	comma, plus, equals string // what stands between RDNs, attributes, and type and value
	escapes             bool   // escape what RFC 2253 wants escaped, and octets above 127
	quotes              bool   // where one can, by quotes around the value
	dumpUnknown         bool   // dump the values of unknown attributes
}

// The forms of openssl's -nameopt.
var (
	// NameOneline is "C = GB, O = Example": -nameopt oneline, and what openssl
	// 3.0 and 3.1 print when not told otherwise.
	NameOneline = NameOption{comma: ", ", plus: " + ", equals: " = ", escapes: true, quotes: true}

	// NameDefault is "C=GB, O=Example": what openssl 3.2 and later print when
	// not told otherwise. A comma or plus in a value looks like one between them.
	NameDefault = NameOption{comma: ", ", plus: " + ", equals: "="}

	// NameRFC2253 is "O=Example,C=GB": -nameopt RFC2253.
	NameRFC2253 = NameOption{reverse: true, comma: ",", plus: "+", equals: "=", escapes: true, dumpUnknown: true}
)

// OpenSSL returns the name as openssl's -nameopt oneline prints it:
// "C = GB, O = Example, CN = host". It is the one form of openssl that has the
// order of the encoding and can be read back.
func (n Name) OpenSSL() string { return n.FormatOpenSSL(NameOneline) }

// FormatOpenSSL returns the name in one of openssl's forms, as it stands after
// "subject=". Values that are not text become # and the hexadecimal digits of
// their DER.
func (n Name) FormatOpenSSL(opt NameOption) string {
	rdns := make([]string, len(n))
	for i, rdn := range n {
		attrs := make([]string, len(rdn))
		for j, a := range rdn {
			attrs[j] = a.formatOpenSSL(opt)
		}
		if opt.reverse {
			slices.Reverse(attrs)
		}
		rdns[i] = strings.Join(attrs, opt.plus)
	}
	if opt.reverse {
		slices.Reverse(rdns)
	}
	return strings.Join(rdns, opt.comma)
}

func (a Attribute) formatOpenSSL(opt NameOption) string {
	name, known := opensslName(a.Type)
	text, ok := a.utf8()
	if !ok || opt.dumpUnknown && !known {
		return name + opt.equals + "#" + strings.ToUpper(hex.EncodeToString(a.valueDER()))
	}
	return name + opt.equals + opt.escape(text)
}

// widths are the octets of a character in the string types that openssl takes
// in names; one octet is ISO 8859-1.
var widths = map[int]int{tagNumeric: 1, tagPrintable: 1, tagT61: 1, tagIA5: 1, tagBMP: 2, tagUniversal: 4}

// utf8 converts the value to UTF-8, character by character, as openssl does.
// It fails where openssl does: with any other type of value it prints digits,
// and it does not load a name that breaks the rules of its type.
func (a Attribute) utf8() (text []byte, ok bool) {
	width := widths[a.Tag]
	switch {
	case a.Tag == tagUTF8:
		return a.Value, utf8.Valid(a.Value)
	case width == 0 || len(a.Value)%width != 0:
		return nil, false
	}
	for value := range slices.Chunk(a.Value, width) {
		var unit [4]byte
		copy(unit[4-width:], value)
		char := binary.BigEndian.Uint32(unit[:])
		if char > utf8.MaxRune || !utf8.ValidRune(rune(char)) {
			return nil, false
		}
		text = utf8.AppendRune(text, rune(char))
	}
	return text, true
}

func (opt NameOption) escape(text []byte) string {
	var b strings.Builder
	quote := false
	for i, c := range text {
		last := i == len(text)-1
		special := strings.IndexByte(",+<>;", c) >= 0 || c == ' ' && (i == 0 || last) || c == '#' && i == 0 && !last
		switch {
		case c == '\\', c == '"' && opt.escapes, special && opt.escapes && !opt.quotes:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f, c > 0x7f && opt.escapes:
			fmt.Fprintf(&b, `\%02X`, c)
		default:
			quote = quote || special && opt.quotes
			b.WriteByte(c)
		}
	}
	if quote {
		return `"` + b.String() + `"`
	}
	return b.String()
}
