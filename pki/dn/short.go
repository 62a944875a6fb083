package dn

import (
	"encoding/asn1"
	"encoding/hex"
	"strings"
)

// Bounds on what a message quotes of a foreign certificate, which may hold a
// name as long as a file. Real names are shorter.
const (
	maxShort    = 200 // octets of a name
	maxShortOID = 32  // numbers of an object identifier
)

// Short returns [Name.String] for messages: of a long name the first 200 octets
// or a little more, and "...". It takes no longer for a name without end.
func (n Name) Short() string {
	var b strings.Builder
	separator := ""
	for _, rdn := range n {
		for _, a := range rdn {
			b.WriteString(separator)
			if b.Len() > maxShort {
				return b.String() + "..."
			}
			a.writeShort(&b)
			separator = "+"
		}
		separator = ","
	}
	return b.String()
}

func (a Attribute) writeShort(b *strings.Builder) {
	if len(a.Value)+len(a.Raw) <= maxShort && len(a.Type) <= maxShortOID {
		b.WriteString(a.String())
		return
	}
	name := ShortOID(a.Type)
	if t := lookupOID(a.Type); t != nil && t.name != "" {
		name = t.name
	}
	b.WriteString(name + "=")
	if a.Raw != nil {
		b.WriteString("#" + hex.EncodeToString(a.Raw[:min(len(a.Raw), maxShort/2)]) + "...")
		return
	}
	// A multiple of the width of every string type; half a letter goes.
	a.Value = a.Value[:min(len(a.Value), maxShort)]
	if text, ok := a.text(); ok {
		b.WriteString(escape(strings.ToValidUTF8(text, "")) + "...")
		return
	}
	b.WriteString(a.hex() + "...")
}

// ShortOID returns the dotted form of an object identifier for messages: of a
// long one the first numbers, and "...".
func ShortOID(oid asn1.ObjectIdentifier) string {
	if len(oid) > maxShortOID {
		return oid[:maxShortOID].String() + "..."
	}
	return oid.String()
}
