package certtext

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/net/idna"

	"virtls/pki"
)

// generalName writes one name. A text with a NUL in it, which is somebody's
// attempt to pass for another name, has it replaced and a warning above it.
func (p *printer) generalName(indent string, n pki.GeneralName) {
	switch n.Kind {
	case pki.DNSKind, pki.EmailKind, pki.URIKind:
		text := p.withoutNUL(n.Text())
		switch n.Kind {
		case pki.DNSKind:
			p.line("%sDNSname: %s%s", indent, text, unicodeNote(text, text))
		case pki.EmailKind:
			p.line("%sRFC822Name: %s%s", indent, text, emailNote(text))
		default:
			p.line("%sURI: %s", indent, text)
		}
	case pki.IPKind:
		p.line("%sIPAddress: %s", indent, addressText(n.Bytes))
	case pki.DirectoryKind:
		p.line("%sdirectoryName: %s", indent, directoryText(n))
	case pki.RegisteredIDKind:
		p.line("%sRegistered ID: %s", indent, oidText(n.Bytes))
	case pki.OtherNameKind:
		p.otherName(indent, n)
	default:
		p.line("%sUnknown name: %s", indent, hexString(n.Bytes))
	}
}

// constraint writes a name of a name constraint, where addresses are ranges.
func (p *printer) constraint(indent string, n pki.GeneralName) {
	if r, ok := n.Range(); ok {
		p.line("%sIPAddress: %s/%d", indent, addressText(n.Bytes[:len(n.Bytes)/2]), r.Bits())
		return
	}
	p.generalName(indent, n)
}

func (p *printer) withoutNUL(text string) string {
	if !strings.Contains(text, "\x00") {
		return text
	}
	p.line("warning: SAN contains an embedded NUL, replacing with '!'")
	return strings.ReplaceAll(text, "\x00", "!")
}

// unicodeNote is what follows a name: a warning if it has characters that do
// not belong there, and its Unicode form if it has one.
func unicodeNote(text, domain string) string {
	if !isPrintable(text) {
		return " (contains illegal chars)"
	}
	if !strings.Contains(text, "xn--") {
		return ""
	}
	// GnuTLS decodes and does not judge.
	decoded, err := idna.New().ToUnicode(domain)
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSuffix(text, domain) + decoded + ")"
}

func emailNote(text string) string {
	_, domain, ok := strings.Cut(text, "@")
	if !ok && isPrintable(text) {
		return ""
	}
	return unicodeNote(text, domain)
}

func isPrintable(text string) bool { return printable([]byte(text)) == text }

// addressText writes an address as inet_ntop does.
func addressText(b []byte) string {
	ip, ok := netip.AddrFromSlice(b)
	if !ok {
		return "(error)"
	}
	// inet_ntop still knows the IPv4-compatible addresses of RFC 4291, 2.5.5.1.
	if v6 := ip.As16(); len(b) == 16 && bytes.Equal(v6[:12], make([]byte, 12)) && (v6[12] != 0 || v6[13] != 0) {
		return "::" + netip.AddrFrom4([4]byte(v6[12:])).String()
	}
	return ip.String()
}

func directoryText(n pki.GeneralName) string {
	name, err := n.Directory()
	if err != nil {
		return "(error)"
	}
	return name.RFC4514()
}

// oidText reads the content octets of an object identifier.
func oidText(content []byte) string {
	der := append([]byte{asn1.TagOID, byte(len(content))}, content...)
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(der, &oid); err != nil || len(rest) > 0 || len(content) > 127 {
		return "(error)"
	}
	return oid.String()
}

// otherForms are the other names that GnuTLS has words for.
var otherForms = []struct {
	oid   asn1.ObjectIdentifier
	label string
	text  func(value []byte) (string, bool)
}{
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}, "XMPP Address", stringOf(cbasn1.UTF8String)},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 2, 2}, "KRB5Principal", principal},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, "User Principal Name", stringOf(cbasn1.UTF8String)},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}, "SRVName", stringOf(cbasn1.IA5String)},
}

func (p *printer) otherName(indent string, n pki.GeneralName) {
	oid, value, ok := n.Other()
	if !ok {
		p.line("%sUnknown name: %s", indent, hexString(n.Bytes))
		return
	}
	for _, form := range otherForms {
		if !form.oid.Equal(oid) {
			continue
		}
		if text, ok := form.text(value); ok {
			p.line("%s%s: %s", indent, form.label, p.withoutNUL(text))
			return
		}
	}
	p.line("%sotherName OID: %s", indent, oid)
	p.line("%sotherName DER: %s", indent, hexString(value))
	p.line("%sotherName ASCII: %s", indent, printable(value))
}

// stringOf reads a string of one type and nothing else.
func stringOf(tag cbasn1.Tag) func([]byte) (string, bool) {
	return func(value []byte) (string, bool) {
		in := cryptobyte.String(value)
		var text cryptobyte.String
		ok := in.ReadASN1(&text, tag) && in.Empty()
		return string(text), ok
	}
}

// principal reads a KRB5PrincipalName (RFC 4556, 3.2.2). One of a kind that
// has no text form is # and its octets in hexadecimal.
func principal(value []byte) (string, bool) {
	const generalString = cbasn1.Tag(27)
	context := func(n int) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }
	in := cryptobyte.String(value)
	var seq, realm, name, kind, parts cryptobyte.String
	var realmText cryptobyte.String
	var nameType int
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) ||
		!seq.ReadASN1(&realm, context(0)) || !realm.ReadASN1(&realmText, generalString) ||
		!seq.ReadASN1(&name, context(1)) || !name.ReadASN1(&seq, cbasn1.SEQUENCE) ||
		!seq.ReadASN1(&kind, context(0)) || !kind.ReadASN1Integer(&nameType) ||
		!seq.ReadASN1(&parts, context(1)) || !parts.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return "", false
	}
	var components []string
	for !seq.Empty() {
		var part cryptobyte.String
		if !seq.ReadASN1(&part, generalString) {
			return "", false
		}
		components = append(components, string(part))
	}
	// NT-PRINCIPAL, NT-SRV-INST and NT-ENTERPRISE (RFC 4120, 7.5.8).
	if nameType != 1 && nameType != 2 && nameType != 10 {
		return "#" + hex.EncodeToString(value), true
	}
	return strings.Join(components, "/") + "@" + string(realmText), true
}

// cString cuts a text where C would.
func cString(text string) string {
	before, _, _ := strings.Cut(text, "\x00")
	return before
}

// firstElement returns the first value of a request attribute, with tag and length.
func firstElement(set []byte) []byte {
	in := cryptobyte.String(set)
	var element cryptobyte.String
	var tag cbasn1.Tag
	if !in.ReadAnyASN1Element(&element, &tag) {
		return set
	}
	return element
}

// firstString returns the text of the first value of a request attribute.
func firstString(set []byte) string {
	in := cryptobyte.String(set)
	var text cryptobyte.String
	var tag cbasn1.Tag
	in.ReadAnyASN1(&text, &tag)
	return string(text)
}

// reversed returns octets last first.
func reversed(b []byte) []byte {
	b = bytes.Clone(b)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return b
}
