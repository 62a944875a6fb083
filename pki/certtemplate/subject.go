package certtemplate

import (
	"encoding/asn1"
	"encoding/hex"
	"strings"

	"virtls/pki/dn"
)

// What GnuTLS calls the errors met here.
const (
	errInvalidRequest = "The request is invalid."
	errParsing        = "Error in parsing."
	errOID            = "The OID is not supported."
	errASN1Value      = "ASN1 parser: Value is not valid."
	errASN1DER        = "ASN1 parser: Error in DER parsing."
)

// subject builds the name in certtool's order: the parts of `dn`, then those
// of the single options. Each attribute is an RDN of its own. In a request
// certtool leaves the e-mail address out, and blames other functions.
func (t *Template) subject(request bool) (dn.Name, error) {
	attrs, err := t.distinguishedName()
	if err != nil {
		return nil, err
	}
	cnFunction := "set_dn_by_oid"
	if request {
		cnFunction = "set_dn"
	}
	for _, part := range []struct {
		function string
		oid      asn1.ObjectIdentifier
		values   []string
	}{
		{"set_dn", dn.CountryOID, t.one("country")},
		{"set_dn", dn.StateOID, t.one("state")},
		{"set_dn", dn.LocalityOID, t.one("locality")},
		{"set_dn", dn.OrganizationOID, t.allOrAlias("organization", "o")},
		{"set_dn", dn.OrganizationalUnitOID, t.allOrAlias("unit", "ou")},
		{cnFunction, dn.CommonNameOID, t.one("cn")},
		{"set_dn", dn.UserIDOID, t.one("uid")},
		{"set_dn_by_oid", dn.DomainComponentOID, t.all("dc")},
	} {
		for _, v := range part.values {
			if v == "" {
				return nil, quit("%s: %s", part.function, errInvalidRequest)
			}
			attrs = append(attrs, dn.Attr(part.oid, v))
		}
	}
	pairs, err := t.pairs("dn_oid")
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		oid, known := knownAttribute(p.first)
		if !known {
			return nil, quit("set_dn_oid: %s", errOID)
		}
		attrs = append(attrs, dn.Attr(oid, p.second))
	}
	// By way of DER, so that values that were given as DER are what a reader finds.
	name, err := dn.ParseDER(dn.New(attrs...).DER())
	if err != nil {
		return nil, fail("crt_sign: %s", errASN1DER)
	}
	return name, nil
}

// addEmail appends the address that stands last in the name, for certificates only.
func (t *Template) addEmail(name dn.Name) (dn.Name, error) {
	for _, v := range t.one("pkcs9_email") {
		if v == "" {
			return nil, quit("set_dn: %s", errInvalidRequest)
		}
		name = append(name, dn.RDN{dn.Attr(dn.EmailAddressOID, v)})
	}
	return name, nil
}

// one returns the value of an option that counts once, as a list of at most one.
func (t *Template) one(name string) []string {
	if e, ok := t.lookup(name); ok {
		return []string{e.Value}
	}
	return nil
}

// knownAttribute reads the identifier of an attribute that GnuTLS can write as text.
func knownAttribute(text string) (asn1.ObjectIdentifier, bool) {
	oid, err := dn.ParseOID(text)
	return oid, err == nil && dn.ShortName(oid) != text
}

// A dnPart is one NAME=VALUE of the option `dn`, and what certtool reports as
// the place of an error in it: the text behind it.
type dnPart struct{ name, value, rest string }

// distinguishedName reads the option `dn`, RFC 4514 as GnuTLS understands it:
// no attributes joined by "+", a value ends at a comma without a backslash
// before it, and the name ends at the end of the line. The most specific part
// comes first in the text and last in the result.
func (t *Template) distinguishedName() ([]dn.Attribute, error) {
	e, _ := t.lookup("dn")
	var parts []dnPart
	for rest := e.Value; rest != "" && rest[0] != '\n'; {
		part, err := readDNPart(rest, len(parts) == 0)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		rest = strings.TrimPrefix(part.rest, ",")
	}
	var attrs []dn.Attribute
	for i := len(parts) - 1; i >= 0; i-- {
		a, ok := parts[i].attribute()
		if !ok {
			return nil, quit("set_dn: %s at: %s", errParsing, parts[i].rest)
		}
		attrs = append(attrs, a)
	}
	return attrs, nil
}

const dnSpace = " \t\n\v\f\r"

// readDNPart reads the part that text begins with. GnuTLS looks for a plus sign
// in all that follows, and so finds it in the first part or nowhere.
func readDNPart(text string, first bool) (dnPart, error) {
	malformed := func() (dnPart, error) { return dnPart{}, quit("set_dn: %s at: %s", errParsing, text) }
	name, value, found := strings.Cut(strings.TrimLeft(text, dnSpace), "=")
	name = strings.TrimRight(name, dnSpace)
	if !found || strings.ContainsAny(name, dnSpace) {
		return malformed()
	}
	value = strings.TrimLeft(value, dnSpace)
	end := 0
	for end < len(value) && value[end] != '\n' && (value[end] != ',' || end > 0 && value[end-1] == '\\') {
		end++
	}
	rest := value[end:]
	if first && hasPlus(value) {
		return malformed()
	}
	value = trimDNValue(value[:end])
	if value == "" || name == "" {
		return malformed()
	}
	rest = strings.TrimLeft(rest, dnSpace)
	if rest != "" && rest[0] != ',' {
		return malformed()
	}
	return dnPart{name, value, rest}, nil
}

// hasPlus reports whether there is a plus sign without a backslash before it.
func hasPlus(text string) bool {
	for i := range len(text) {
		if text[i] == '+' && (i == 0 || text[i-1] != '\\') {
			return true
		}
	}
	return false
}

// trimDNValue cuts blanks off the end, but for one behind a backslash.
func trimDNValue(value string) string {
	for value != "" && isSpace(value[len(value)-1]) {
		if len(value) > 2 && value[len(value)-2] == '\\' {
			break
		}
		value = value[:len(value)-1]
	}
	return value
}

func (p dnPart) attribute() (dn.Attribute, bool) {
	raw, isRaw := strings.CutPrefix(p.value, "#")
	var oid asn1.ObjectIdentifier
	var ok bool
	if isDigit(p.name[0]) {
		var known bool
		oid, known = knownAttribute(p.name)
		ok = known || isRaw && oid != nil
	} else {
		oid, ok = dn.LookupName(p.name)
	}
	if !ok {
		return dn.Attribute{}, false
	}
	if isRaw {
		der, err := hex.DecodeString(raw)
		return dn.Attribute{Type: oid, Raw: der}, err == nil && len(der) > 0
	}
	text, ok := unescapeDN(p.value)
	return dn.Attr(oid, text), ok && text != ""
}

// unescapeDN removes backslashes. One that is the last character stays.
func unescapeDN(value string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
			if strings.IndexByte(`,# +"<>;\=`, value[i]) < 0 {
				return "", false
			}
		}
		b.WriteByte(value[i])
	}
	return b.String(), true
}
