// Package dn holds distinguished names (RFC 5280, 4.1.2.4) and writes them the
// way the programs around QEMU and libvirt do, because those programs compare
// and show names as text: GnuTLS's DER-order form, which access lists match
// ([Name.String]), RFC 4514, which certtool prints ([Name.RFC4514]), and
// OpenSSL's forms ([Name.OpenSSL]). It also holds GLib's pattern matching
// ([Match]), which access lists apply to these texts.
//
// What is said of GnuTLS here holds for 3.7.9 to 3.8.13, of OpenSSL for 3.0 to
// 3.6, of GLib for 2.74 to 2.90, unless a version is named: the tests compare
// with the programs themselves.
//
// Nothing here changes a name after it was made, so names may be shared among
// goroutines.
package dn

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Universal tags of the string types met in names (X.680, 8.6).
const (
	tagOctet     = 4
	tagUTF8      = 12
	tagNumeric   = 18
	tagPrintable = 19
	tagT61       = 20
	tagIA5       = 22
	tagVisible   = 26
	tagUniversal = 28
	tagBMP       = 30
)

// An Attribute is one AttributeTypeAndValue. Its value is Tag and Value if it
// is a primitive of a universal type, which every string is; any other value
// is kept in Raw.
type Attribute struct {
	Type  asn1.ObjectIdentifier
	Tag   int    // universal tag: 12 UTF8String, 19 PrintableString, 22 IA5String, ...; 0 if Raw is set
	Value []byte // content octets, in the encoding that Tag says
	Raw   []byte // complete DER encoding of a value that has no Tag
}

// An RDN is a relative distinguished name: attributes that form one step of a
// name, in the order of their encoding. It nearly always has just one.
type RDN []Attribute

// A Name is a distinguished name, its RDNs in the order of their encoding:
// usually the country first and the common name last.
type Name []RDN

// New returns a name that has each attribute as an RDN of its own.
func New(attrs ...Attribute) Name {
	n := make(Name, len(attrs))
	for i, a := range attrs {
		n[i] = RDN{a}
	}
	return n
}

// Attr returns an attribute with the string type that certtool gives it:
// the attribute's own if it has one (PrintableString for country,
// serialNumber, dnQualifier, telephoneNumber; IA5String for domainComponent
// and emailAddress; see [LookupName]), whatever the text; else PrintableString
// if the characters allow and UTF8String if not. certtool counts the
// apostrophe among the characters that do not allow it, against X.680.
func Attr(typ asn1.ObjectIdentifier, text string) Attribute {
	a := Attribute{Type: typ, Tag: tagUTF8, Value: []byte(text)}
	if t := lookupOID(typ); t != nil && t.tag > 0 {
		a.Tag = t.tag
	} else if isPrintable(text) {
		a.Tag = tagPrintable
	}
	if a.Tag == tagBMP {
		a.Value = encodeBMP(text)
	}
	return a
}

func isPrintable(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(" ()+,-./:=?", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// ParseDER reads the DER encoding of a Name. It refuses bytes that are left
// over at any level and lengths that are not DER, and takes every type of
// value. [Name.DER] of the result is der again.
func ParseDER(der []byte) (Name, error) {
	n := Name{}
	rdns, err := only(der, asn1.TagSequence)
	if err != nil {
		return nil, fmt.Errorf("distinguished name: %w", err)
	}
	for len(rdns) > 0 {
		var set []byte
		if set, rdns, err = element(rdns, asn1.TagSet); err != nil {
			return nil, fmt.Errorf("distinguished name: RDN %d: %w", len(n)+1, err)
		}
		rdn, err := parseRDN(set)
		if err != nil {
			return nil, fmt.Errorf("distinguished name: RDN %d: %w", len(n)+1, err)
		}
		n = append(n, rdn)
	}
	return n, nil
}

func parseRDN(set []byte) (RDN, error) {
	if len(set) == 0 {
		return nil, errors.New("found an empty SET, wanted at least one attribute")
	}
	var rdn RDN
	for len(set) > 0 {
		var seq []byte
		var err error
		if seq, set, err = element(set, asn1.TagSequence); err != nil {
			return nil, err
		}
		a, err := parseAttribute(seq)
		if err != nil {
			return nil, fmt.Errorf("attribute %d: %w", len(rdn)+1, err)
		}
		rdn = append(rdn, a)
	}
	return rdn, nil
}

func parseAttribute(seq []byte) (Attribute, error) {
	var a Attribute
	rest, err := asn1.Unmarshal(seq, &a.Type)
	if err != nil {
		return a, fmt.Errorf("type: %w", err)
	}
	if err := a.setDER(rest); err != nil {
		return a, fmt.Errorf("value of %v: %w", a.Type, err)
	}
	return a, nil
}

// setDER makes the value the one that der encodes.
func (a *Attribute) setDER(der []byte) error {
	v, rest, err := readElement(der)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("found %d bytes after the value, wanted none", len(rest))
	}
	// Tags above 30 have more than one identifier octet; appendElement writes one.
	if v.Class == asn1.ClassUniversal && !v.IsCompound && 0 < v.Tag && v.Tag <= 30 {
		a.Tag, a.Value = v.Tag, bytes.Clone(v.Bytes)
	} else {
		a.Raw = bytes.Clone(v.FullBytes)
	}
	return nil
}

func readElement(der []byte) (v asn1.RawValue, rest []byte, err error) {
	if len(der) == 0 {
		return v, nil, errors.New("found the end, wanted an ASN.1 element")
	}
	rest, err = asn1.Unmarshal(der, &v)
	return v, rest, err
}

// element reads one constructed element of a universal type.
func element(der []byte, tag int) (content, rest []byte, err error) {
	v, rest, err := readElement(der)
	if err != nil {
		return nil, nil, err
	}
	if v.Class != asn1.ClassUniversal || v.Tag != tag || !v.IsCompound {
		return nil, nil, fmt.Errorf("found ASN.1 element %#02x, wanted %#02x", v.FullBytes[0], constructed|tag)
	}
	return v.Bytes, rest, nil
}

// only reads an element that is all of der.
func only(der []byte, tag int) ([]byte, error) {
	content, rest, err := element(der, tag)
	if err == nil && len(rest) > 0 {
		return nil, fmt.Errorf("found %d bytes after its end, wanted none", len(rest))
	}
	return content, err
}

const constructed = 0x20

// DER returns the encoding of the name. The attributes of an RDN are written
// in the order they have: an RDN made by hand with several must have them in
// the order of their encodings to be DER, as [Parse] and its like see to.
// An object identifier that ASN.1 cannot express (see [ParseOID]) becomes an
// empty one, which every reader refuses.
func (n Name) DER() []byte {
	var rdns []byte
	for _, rdn := range n {
		var set []byte
		for _, a := range rdn {
			set = append(set, a.der()...)
		}
		rdns = appendElement(rdns, constructed|asn1.TagSet, set)
	}
	return appendElement(nil, constructed|asn1.TagSequence, rdns)
}

func (a Attribute) der() []byte {
	typ, err := asn1.Marshal(a.Type)
	if err != nil {
		typ = []byte{asn1.TagOID, 0}
	}
	return appendElement(nil, constructed|asn1.TagSequence, append(typ, a.valueDER()...))
}

// valueDER returns the complete encoding of the value.
func (a Attribute) valueDER() []byte {
	if a.Raw != nil {
		return a.Raw
	}
	return appendElement(nil, byte(a.Tag), a.Value)
}

func appendElement(b []byte, id byte, content []byte) []byte {
	b = append(b, id)
	n := len(content)
	if n < 0x80 {
		b = append(b, byte(n))
	} else {
		var size []byte
		for ; n > 0; n >>= 8 {
			size = append(size, byte(n))
		}
		slices.Reverse(size)
		b = append(append(b, 0x80|byte(len(size))), size...)
	}
	return append(b, content...)
}

// sorted returns the RDN in DER's order, that of the encodings (X.690, 11.6).
func (rdn RDN) sorted() RDN {
	slices.SortStableFunc(rdn, func(a, b Attribute) int { return bytes.Compare(a.der(), b.der()) })
	return rdn
}

// CommonNames returns the text of every CN, in the order of the encoding.
func (n Name) CommonNames() []string {
	var names []string
	for _, rdn := range n {
		for _, a := range rdn {
			if a.Type.Equal(CommonNameOID) {
				names = append(names, a.Text())
			}
		}
	}
	return names
}

// CommonName returns the first CN in the order of the encoding, which is the
// one that GnuTLS gives for index 0, or "" if there is none. GnuTLS compares
// it with a host name only if it is the only one.
func (n Name) CommonName() string {
	if names := n.CommonNames(); len(names) > 0 {
		return names[0]
	}
	return ""
}
