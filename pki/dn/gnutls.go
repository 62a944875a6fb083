package dn

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// String returns the name as QEMU's authorization objects, libvirt's
// tls_allowed_dn_list and virt-pki-query-dn have it: RDNs in the order of the
// encoding, "C=GB,O=Example,CN=host" (GnuTLS: gnutls_x509_crt_get_dn2, or
// GNUTLS_X509_DN_FLAG_COMPAT).
//
// Values are escaped with a backslash: the characters , + " \ < > ; anywhere,
// # and a blank at the start, a blank at the end. Everything else is written
// as it is in the certificate, control characters and bytes that are not UTF-8
// too. A value that GnuTLS does not take for text is # and the hexadecimal
// digits of its DER: values of unknown attributes, of a string type that is
// not the attribute's (a country as UTF8String), and text with a NUL. A
// TeletexString that is not ASCII, a UniversalString, and a BMPString that is
// not UTF-16 become \# and the digits of their content octets.
//
// An empty value of an attribute that has a string type of its own, like a
// country, is shown as GnuTLS 3.8 does it, "C="; 3.7 shows the DER's digits.
// GnuTLS gives no text at all, but an error, for the names that [Name.Check]
// reports as errors.
func (n Name) String() string {
	rdns := make([]string, len(n))
	for i, rdn := range n {
		rdns[i] = rdn.String()
	}
	return strings.Join(rdns, ",")
}

// RFC4514 returns the name with its RDNs in reverse, "CN=host,O=Example,C=GB",
// as certtool -i prints it. Access lists never match this form. Escapes are
// those of [Name.String], which go a little further than RFC 4514 asks, except
// that control characters stay as they are.
func (n Name) RFC4514() string {
	n = slices.Clone(n)
	slices.Reverse(n)
	return n.String()
}

// String returns the attributes joined by "+", in the form of [Name.String].
func (rdn RDN) String() string {
	attrs := make([]string, len(rdn))
	for i, a := range rdn {
		attrs[i] = a.String()
	}
	return strings.Join(attrs, "+")
}

// String returns the attribute in the form of [Name.String].
func (a Attribute) String() string {
	text, ok := a.text()
	if !ok {
		return ShortName(a.Type) + "=" + a.hex()
	}
	return ShortName(a.Type) + "=" + escape(text)
}

// Text returns the value without escapes, as GnuTLS understands it; what is
// not text is # and hexadecimal digits, as in [Name.String].
func (a Attribute) Text() string {
	text, ok := a.text()
	if !ok {
		return a.hex()
	}
	return text
}

func (a Attribute) hex() string { return "#" + hex.EncodeToString(a.valueDER()) }

// text returns what GnuTLS escapes and prints, or false where it prints the
// DER of the value instead. GnuTLS judges each attribute by its type: first
// whether the tag is one it expects there, then whether it can decode it.
func (a Attribute) text() (text string, ok bool) {
	t := lookupOID(a.Type)
	switch {
	case t == nil:
		return "", false
	case t.tag > 0 && a.empty():
		return "", true // GnuTLS 3.8 looks at the tag only if something follows
	case a.Raw != nil || a.empty():
		return "", false
	case t.tag > 0 && t.tag != a.Tag, t.tag < 0 && !slices.Contains(choices[t.tag], a.Tag):
		return "", false
	}
	text, ok = a.decode()
	if !ok {
		return "#" + hex.EncodeToString(a.Value), true
	}
	return text, strings.IndexByte(text, 0) < 0
}

// empty reports whether the value has no content octets.
func (a Attribute) empty() bool {
	if a.Raw == nil {
		return len(a.Value) == 0
	}
	v, _, err := readElement(a.Raw)
	return err == nil && len(v.Bytes) == 0
}

var choices = map[int][]int{
	directoryString:   {tagT61, tagPrintable, tagUniversal, tagUTF8, tagBMP},
	challengePassword: {tagPrintable, tagUTF8},
}

// decode converts the octets of a string, where GnuTLS can.
func (a Attribute) decode() (text string, ok bool) {
	switch text = string(a.Value); a.Tag {
	case tagBMP:
		return decodeBMP(a.Value)
	case tagT61:
		return text, !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
	case tagUniversal:
		return "", false
	}
	return text, true
}

// decodeBMP reads UTF-16, as GnuTLS takes a BMPString to be: with surrogate
// pairs, and without a final NUL. It fails on half a pair. An octet that is
// left over is not looked at.
func decodeBMP(b []byte) (string, bool) {
	if len(b) > 2 && bytes.HasSuffix(b, []byte{0, 0}) {
		b = b[:len(b)-2]
	}
	var text []byte
	for len(b) >= 2 {
		r := rune(binary.BigEndian.Uint16(b))
		b = b[2:]
		if utf16.IsSurrogate(r) {
			if len(b) < 2 {
				return "", false
			}
			if r = utf16.DecodeRune(r, rune(binary.BigEndian.Uint16(b))); r == utf8.RuneError {
				return "", false
			}
			b = b[2:]
		}
		text = utf8.AppendRune(text, r)
	}
	return string(text), true
}

func encodeBMP(text string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.BigEndian.AppendUint16(b, unit)
	}
	return b
}

// escaped are the characters that have a backslash wherever they stand.
const escaped = `,+"\<>;`

func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case strings.IndexByte(escaped, c) >= 0,
			i == 0 && (c == '#' || c == ' '),
			i == len(text)-1 && c == ' ':
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}
