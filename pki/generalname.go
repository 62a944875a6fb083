package pki

import (
	"encoding/asn1"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// A NameKind is the tag of a GeneralName (RFC 5280, 4.2.1.6).
type NameKind int

// The kinds of general names.
const (
	OtherNameKind NameKind = iota
	EmailKind
	DNSKind
	X400Kind
	DirectoryKind
	EDIKind
	URIKind
	IPKind
	RegisteredIDKind
)

// A GeneralName is one name as it is encoded. Bytes are the content octets
// under the context tag: text for email, dNSName and URI, 4 or 16 octets for an
// address (8 or 32 in name constraints), DER for the rest.
type GeneralName struct {
	Kind  NameKind
	Bytes []byte
}

// GeneralNames are in the order of their encoding.
type GeneralNames []GeneralName

// DNSName makes a dNSName.
func DNSName(s string) GeneralName { return GeneralName{DNSKind, []byte(s)} }

// Email makes an rfc822Name.
func Email(s string) GeneralName { return GeneralName{EmailKind, []byte(s)} }

// URI makes a uniformResourceIdentifier.
func URI(s string) GeneralName { return GeneralName{URIKind, []byte(s)} }

// IPAddress makes an iPAddress.
func IPAddress(ip netip.Addr) GeneralName { return GeneralName{IPKind, ip.Unmap().AsSlice()} }

// IPRange makes the address and mask of a name constraint (RFC 5280, 4.2.1.10).
func IPRange(p netip.Prefix) GeneralName {
	addr := p.Masked().Addr().AsSlice()
	mask := make([]byte, len(addr))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return GeneralName{IPKind, append(addr, mask...)}
}

// OtherName makes an otherName; value is DER.
func OtherName(oid asn1.ObjectIdentifier, value []byte) (GeneralName, error) {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(oid)
	b.AddASN1(ctx(0), func(b *cryptobyte.Builder) { b.AddBytes(value) })
	content, err := b.Bytes()
	return GeneralName{OtherNameKind, content}, err
}

// DirectoryName makes a directoryName.
func DirectoryName(n dn.Name) GeneralName { return GeneralName{DirectoryKind, n.DER()} }

// Text returns the name as it was written if it is email, dNSName or URI.
func (n GeneralName) Text() string {
	switch n.Kind {
	case EmailKind, DNSKind, URIKind:
		return string(n.Bytes)
	}
	return ""
}

// String names kind and value, for messages: of a long value the beginning.
func (n GeneralName) String() string {
	switch n.Kind {
	case EmailKind:
		return "email " + briefQuote(n.Bytes)
	case DNSKind:
		return "DNS " + briefQuote(n.Bytes)
	case URIKind:
		return "URI " + briefQuote(n.Bytes)
	case IPKind:
		if ip, ok := n.IP(); ok {
			return "IP " + ip.String()
		}
		if p, ok := n.Range(); ok {
			return "IP " + p.String()
		}
	case DirectoryKind:
		if name, err := n.Directory(); err == nil {
			return "directory name " + name.Short()
		}
	}
	return fmt.Sprintf("name of kind %d: %s", n.Kind, briefHex(n.Bytes))
}

// String lists the names, for messages: of many the first.
func (names GeneralNames) String() string {
	return briefList(len(names), func(i int) string { return names[i].String() })
}

// IP returns the address of an iPAddress, false if it is none.
func (n GeneralName) IP() (netip.Addr, bool) {
	if n.Kind != IPKind {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(n.Bytes)
}

// Range returns the address range of a name constraint. ok is false if the
// name is no range or its mask has holes.
func (n GeneralName) Range() (p netip.Prefix, ok bool) {
	if n.Kind != IPKind || len(n.Bytes) != 8 && len(n.Bytes) != 32 {
		return p, false
	}
	half := len(n.Bytes) / 2
	addr, _ := netip.AddrFromSlice(n.Bytes[:half])
	ones, ended := 0, false
	for i := range half * 8 {
		bit := n.Bytes[half+i/8]&(0x80>>(i%8)) != 0
		if bit && ended {
			return p, false
		}
		ended = ended || !bit
		if bit {
			ones++
		}
	}
	return netip.PrefixFrom(addr, ones), true
}

// Other returns the identifier and the DER value of an otherName.
func (n GeneralName) Other() (oid asn1.ObjectIdentifier, value []byte, ok bool) {
	if n.Kind != OtherNameKind {
		return nil, nil, false
	}
	in := cryptobyte.String(n.Bytes)
	var content cryptobyte.String
	ok = in.ReadASN1ObjectIdentifier(&oid) && in.ReadASN1(&content, ctx(0)) && in.Empty()
	return oid, content, ok
}

// Directory returns the name inside a directoryName.
func (n GeneralName) Directory() (dn.Name, error) {
	if n.Kind != DirectoryKind {
		return nil, malformed("directory name")
	}
	return dn.ParseDER(n.Bytes)
}

func (n GeneralName) add(b *cryptobyte.Builder) {
	tag := prim(int(n.Kind))
	switch n.Kind {
	case OtherNameKind, X400Kind, DirectoryKind, EDIKind:
		tag = ctx(int(n.Kind))
	}
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(n.Bytes) })
}

func readGeneralName(in *cryptobyte.String) (n GeneralName, ok bool) {
	var content cryptobyte.String
	var tag cbasn1.Tag
	if !in.ReadAnyASN1(&content, &tag) {
		return n, false
	}
	kind := tag & 0x1f
	if tag&0xc0 != 0x80 || kind > 8 {
		return n, false
	}
	return GeneralName{NameKind(kind), content}, true
}

// readGeneralNames reads the content of a GeneralNames SEQUENCE.
func readGeneralNames(in cryptobyte.String) (names GeneralNames, ok bool) {
	for !in.Empty() {
		n, ok := readGeneralName(&in)
		if !ok {
			return nil, false
		}
		names = append(names, n)
	}
	return names, true
}

// Extension returns names as a subject alternative name extension.
func (names GeneralNames) Extension() Extension {
	return Extension{OIDSubjectAltName, false, encodeSequence(func(b *cryptobyte.Builder) {
		for _, n := range names {
			n.add(b)
		}
	})}
}

// SubjectAltName reads the alternative names; nil if the extension is absent.
func (x Extensions) SubjectAltName() (GeneralNames, error) {
	return x.generalNames(OIDSubjectAltName, "subject alternative name")
}

// IssuerAltName reads the issuer's alternative names; nil if the extension is absent.
func (x Extensions) IssuerAltName() (GeneralNames, error) {
	return x.generalNames(OIDIssuerAltName, "issuer alternative name")
}

func (x Extensions) generalNames(oid asn1.ObjectIdentifier, what string) (GeneralNames, error) {
	e := x.Find(oid)
	if e == nil {
		return nil, nil
	}
	seq, ok := sequence(e.Value)
	if !ok {
		return nil, malformed(what)
	}
	names, ok := readGeneralNames(seq)
	if !ok {
		return nil, malformed(what)
	}
	return names, nil
}

// NameConstraints limit the names below an authority (RFC 5280, 4.2.1.10).
type NameConstraints struct {
	Permitted, Excluded GeneralNames
}

// Extension returns the DER form, critical.
func (c NameConstraints) Extension() Extension {
	subtrees := func(b *cryptobyte.Builder, tag int, names GeneralNames) {
		if len(names) == 0 {
			return
		}
		b.AddASN1(ctx(tag), func(b *cryptobyte.Builder) {
			for _, n := range names {
				b.AddASN1(cbasn1.SEQUENCE, n.add)
			}
		})
	}
	return Extension{OIDNameConstraints, true, encodeSequence(func(b *cryptobyte.Builder) {
		subtrees(b, 0, c.Permitted)
		subtrees(b, 1, c.Excluded)
	})}
}

// NameConstraints reads the extension; nil without error if it is absent.
func (x Extensions) NameConstraints() (*NameConstraints, error) {
	e := x.Find(OIDNameConstraints)
	if e == nil {
		return nil, nil
	}
	seq, ok := sequence(e.Value)
	c := new(NameConstraints)
	for tag, list := range []*GeneralNames{&c.Permitted, &c.Excluded} {
		var trees cryptobyte.String
		var present bool
		if ok = ok && seq.ReadOptionalASN1(&trees, &present, ctx(tag)); !ok {
			break
		}
		for ok && !trees.Empty() {
			var tree cryptobyte.String
			var n GeneralName
			if ok = trees.ReadASN1(&tree, cbasn1.SEQUENCE); ok {
				n, ok = readGeneralName(&tree)
				// RFC 5280 wants minimum 0 and no maximum; what says otherwise is not understood.
				ok = ok && tree.Empty()
				*list = append(*list, n)
			}
		}
	}
	if !ok || !seq.Empty() {
		return nil, malformed("name constraints")
	}
	return c, nil
}
