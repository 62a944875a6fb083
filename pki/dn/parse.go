package dn

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse reads the form that [Name.String] writes: "C=GB,O=Example,CN=host",
// in the order of the encoding.
//
// Attribute names are GnuTLS's, in any case, or dotted object identifiers.
// Values get their string type as [Attr] does it, or are # and the hexadecimal
// digits of their DER, the only form for attributes that GnuTLS does not know.
// A backslash escapes one of the characters , + " \ < > ; = # and blank, or
// stands before the two hexadecimal digits of an octet. Blanks around names
// and values do not count. The attributes of an RDN, joined by "+", are put
// into DER's order. No text at all is the empty name.
func Parse(s string) (Name, error) {
	p := parser{text: s, lookup: LookupName, separators: ",+"}
	return p.name()
}

// ParseRFC4514 reads the form that [Name.RFC4514] writes, most specific RDN
// first, otherwise like [Parse]: certtool's template key `dn`, and what
// certtool -i prints. certtool itself refuses "+" between attributes and \ with
// digits, lets a comma end the text, takes the comma of \\, for part of the
// value, and a value that is one escaped blank for a backslash. The names that
// only OpenSSL has are taken too, for what openssl prints with -nameopt RFC2253.
func ParseRFC4514(s string) (Name, error) {
	p := parser{text: s, lookup: lookupAny, separators: ",+"}
	n, err := p.name()
	slices.Reverse(n)
	return n, err
}

// ParseOpenSSL reads what [Name.OpenSSL] writes, "C = GB, O = Example", with
// any blanks; what openssl 3.2 and later print, "C=GB, O=Example"; and the form
// of openssl's -subj and -nameopt compat, "/C=GB/O=Example".
//
// Attribute names are OpenSSL's, or GnuTLS's, or dotted. The last two forms do
// not escape separators, so a comma, plus or slash counts as one only if a name
// and an equals sign follow it: "O=Example, Inc., CN=host" has two RDNs.
func ParseOpenSSL(s string) (Name, error) {
	p := parser{text: s, lookup: lookupOpenSSLFirst, separators: ",+", loose: true}
	if strings.HasPrefix(s, "/") {
		p.separators, p.pos = "/+", 1
	}
	return p.name()
}

// A parser reads a name from text, from pos on.
type parser struct {
	text       string
	pos        int
	lookup     func(string) (asn1.ObjectIdentifier, bool)
	separators string // of RDNs and of attributes
	loose      bool   // OpenSSL's rules
}

func (p *parser) errorf(pos int, format string, args ...any) error {
	at := utf8.RuneCountInString(p.text[:pos]) + 1
	return fmt.Errorf("distinguished name %.200q: at character %d: %s", p.text, at, fmt.Sprintf(format, args...))
}

func (p *parser) name() (Name, error) {
	n := Name{}
	if p.blanks(); p.pos == len(p.text) {
		return n, nil
	}
	var rdn RDN
	for {
		a, err := p.attribute()
		if err != nil {
			return nil, err
		}
		rdn = append(rdn, a)
		end := p.pos == len(p.text)
		if end || p.text[p.pos] == p.separators[0] {
			n, rdn = append(n, rdn.sorted()), nil
		}
		if end {
			return n, nil
		}
		p.pos++
	}
}

func (p *parser) blanks() {
	for p.pos < len(p.text) && p.text[p.pos] == ' ' {
		p.pos++
	}
}

func (p *parser) attribute() (Attribute, error) {
	p.blanks()
	start := p.pos
	length := strings.IndexByte(p.text[start:], '=')
	if length < 0 {
		return Attribute{}, p.errorf(start, "found %.40q, wanted NAME=VALUE", p.text[start:])
	}
	p.pos += length + 1
	a, err := p.attributeType(start, strings.TrimRight(p.text[start:start+length], " "))
	if err != nil {
		return a, err
	}
	p.blanks()
	if p.atDigits() {
		return a, p.hexValue(&a)
	}
	value := p.pos
	text, err := p.value()
	if err != nil {
		return a, err
	}
	if p.loose {
		return looseAttr(a.Type, text), nil
	}
	switch t := lookupOID(a.Type); {
	case t == nil:
		return a, p.errorf(value, "found text as the value of attribute %v, which GnuTLS does not know; wanted # and the hexadecimal digits of its DER encoding", a.Type)
	case text == "" && t.tag < 0:
		return a, p.errorf(value, "found no value for %s, wanted at least one character", ShortName(a.Type))
	}
	return Attr(a.Type, text), nil
}

func (p *parser) attributeType(pos int, name string) (Attribute, error) {
	if name != "" && '0' <= name[0] && name[0] <= '9' {
		oid, err := ParseOID(name)
		if err != nil {
			return Attribute{}, p.errorf(pos, "%v", err)
		}
		return Attribute{Type: oid}, nil
	}
	if oid, ok := p.lookup(name); ok {
		return Attribute{Type: oid}, nil
	}
	if oid, ok := lookupAny(name); ok {
		return Attribute{}, p.errorf(pos, "found attribute name %.40q, wanted GnuTLS's name for it, %s", name, ShortName(oid))
	}
	return Attribute{}, p.errorf(pos, "found attribute name %.40q, wanted one like C, ST, L, O, OU, CN, UID, DC or an object identifier", name)
}

// lookupAny takes GnuTLS's names and then OpenSSL's.
func lookupAny(name string) (asn1.ObjectIdentifier, bool) {
	if oid, ok := LookupName(name); ok {
		return oid, true
	}
	return lookupOpenSSL(name)
}

// lookupOpenSSLFirst takes uid for OpenSSL's and not for GnuTLS's UID.
func lookupOpenSSLFirst(name string) (asn1.ObjectIdentifier, bool) {
	if oid, ok := lookupOpenSSL(name); ok {
		return oid, true
	}
	return LookupName(name)
}

// looseAttr is Attr, but never makes a string of octets above 127 that is not
// a UTF8String, because OpenSSL would take them for ISO 8859-1.
func looseAttr(oid asn1.ObjectIdentifier, text string) Attribute {
	if strings.ContainsFunc(text, func(r rune) bool { return r > 0x7f }) {
		return Attribute{Type: oid, Tag: tagUTF8, Value: []byte(text)}
	}
	return Attr(oid, text)
}

// atDigits reports whether a value in hexadecimal digits comes next. OpenSSL
// does not escape a number sign that is all of a value.
func (p *parser) atDigits() bool {
	rest, found := strings.CutPrefix(p.text[p.pos:], "#")
	rest = strings.TrimLeft(rest, " ")
	return found && !(p.loose && (rest == "" || strings.IndexByte(p.separators, rest[0]) >= 0))
}

func (p *parser) hexValue(a *Attribute) error {
	start := p.pos
	end := len(p.text)
	if i := strings.IndexAny(p.text[start:], p.separators); i >= 0 {
		end = start + i
	}
	p.pos = end
	der, err := hex.DecodeString(strings.TrimRight(p.text[start+1:end], " "))
	if err == nil {
		err = a.setDER(der)
	}
	if err != nil {
		return p.errorf(start, "hexadecimal value: %v; wanted # and the digits of a DER encoding, or \\# for text that begins with #", err)
	}
	return nil
}

// value reads text up to the next separator, which it leaves in place.
func (p *parser) value() (string, error) {
	if p.loose && p.pos < len(p.text) && p.text[p.pos] == '"' {
		return p.quoted()
	}
	var text []byte
	kept := 0 // blanks at the end of text count only if they were escaped
	for p.pos < len(p.text) && !p.atSeparator() {
		c := p.text[p.pos]
		if c == '\\' {
			var err error
			if c, err = p.escape(); err != nil {
				return "", err
			}
			kept = len(text) + 1
		} else if c != ' ' {
			kept = len(text) + 1
		}
		text = append(text, c)
		p.pos++
	}
	return string(text[:kept]), nil
}

func (p *parser) atSeparator() bool {
	if strings.IndexByte(p.separators, p.text[p.pos]) < 0 {
		return false
	}
	if !p.loose {
		return true
	}
	rest := p.text[p.pos+1:]
	i := strings.IndexAny(rest, p.separators+`=\"`)
	return i >= 0 && rest[i] == '='
}

// escape reads the character after a backslash and stays on its last octet.
func (p *parser) escape() (byte, error) {
	rest := p.text[p.pos+1:]
	if rest != "" && strings.IndexByte(escaped+`=# /`, rest[0]) >= 0 {
		p.pos++
		return rest[0], nil
	}
	if len(rest) >= 2 {
		if octet, err := hex.DecodeString(rest[:2]); err == nil {
			p.pos += 2
			return octet[0], nil
		}
	}
	return 0, p.errorf(p.pos, `found a backslash before %.2q, wanted one before , + " \ < > ; = # / a blank, or two hexadecimal digits`, rest)
}

// quoted reads a value in quotes, and the blanks after it.
func (p *parser) quoted() (string, error) {
	start := p.pos
	var text []byte
	for p.pos++; p.pos < len(p.text); p.pos++ {
		c := p.text[p.pos]
		if c == '"' {
			p.pos++
			p.blanks()
			if p.pos < len(p.text) && strings.IndexByte(p.separators, p.text[p.pos]) < 0 {
				return "", p.errorf(p.pos, "found %.40q after the closing quote, wanted a separator or the end", p.text[p.pos:])
			}
			return string(text), nil
		}
		if c == '\\' {
			var err error
			if c, err = p.escape(); err != nil {
				return "", err
			}
		}
		text = append(text, c)
	}
	return "", p.errorf(start, "found no closing quote")
}
