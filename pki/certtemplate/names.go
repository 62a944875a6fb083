package certtemplate

import (
	"encoding/asn1"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"virtls/pki"
	"virtls/pki/dn"
)

// The kinds of otherName that have an option of their own.
var (
	xmppOID = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	krb5OID = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 2, 2}
)

// addNames appends the option's values to the subject alternative names. make
// turns a value into a name, or says why not in GnuTLS's words; function is
// the one that certtool blames.
func (b *builder) addNames(option, function string, make func(string) (pki.GeneralName, string)) error {
	for _, v := range b.t.all(option) {
		n, why := make(v)
		if err := b.addName(n, why, function); err != nil {
			return err
		}
	}
	return nil
}

// addName appends one name, unless GnuTLS cannot. It reads the names that are
// there already, and those without content it does not understand.
func (b *builder) addName(n pki.GeneralName, why, function string) error {
	if why != "" {
		return quit("%s: %s", function, why)
	}
	names, err := b.ext.SubjectAltName()
	if err != nil {
		return quit("%s: %s", function, errASN1DER)
	}
	for _, old := range names {
		if len(old.Bytes) == 0 {
			return quit("%s: Unknown Subject Alternative name in X.509 certificate.", function)
		}
	}
	e := append(names, n).Extension()
	if old := b.ext.Find(e.OID); old != nil {
		e.Critical = old.Critical
	}
	b.ext.Set(e)
	return nil
}

// addHostNames appends the names that come first in certificates and requests.
func (b *builder) addHostNames() error {
	const function = "set_subject_alt_name"
	if err := b.addNames("dns_name", function, dnsName); err != nil {
		return err
	}
	if err := b.addNames("uri", function, uri); err != nil {
		return err
	}
	for _, v := range b.t.all("ip_address") {
		ip, err := parseIP(v)
		if err != nil {
			return err
		}
		if err := b.addName(ip, "", function); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) addEmails() error {
	return b.addNames("email", "set_subject_alt_name", email)
}

func (b *builder) addOtherNames() error {
	for _, option := range []struct {
		name   string
		encode func(string) ([]byte, error)
	}{
		{"other_name", decodeHex},
		{"other_name_octet", func(s string) ([]byte, error) { return encodeString(cbasn1.OCTET_STRING, s), nil }},
		{"other_name_utf8", func(s string) ([]byte, error) { return encodeString(cbasn1.UTF8String, s), nil }},
	} {
		if err := b.addPairs(option.name, option.encode); err != nil {
			return err
		}
	}
	if err := b.addNames("xmpp_name", "set_subject_alt_name(XMPP)", xmppName); err != nil {
		return err
	}
	return b.addNames("krb5_principal", "set_subject_alt_name(GNUTLS_SAN_OTHERNAME_KRB5PRINCIPAL)", krb5Principal)
}

func (b *builder) addPairs(option string, encode func(string) ([]byte, error)) error {
	pairs, err := b.t.pairs(option)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		value, err := encode(p.second)
		if err != nil {
			return err
		}
		n, why := otherName(p.first, value)
		if err := b.addName(n, why, "set_subject_alt_othername"); err != nil {
			return err
		}
	}
	return nil
}

func otherName(oid string, value []byte) (pki.GeneralName, string) {
	id, err := dn.ParseOID(oid)
	if err != nil {
		return pki.GeneralName{}, errASN1Value
	}
	n, err := pki.OtherName(id, value)
	if err != nil {
		return pki.GeneralName{}, errASN1Value
	}
	return n, ""
}

func encodeString(tag cbasn1.Tag, text string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
	return b.BytesOrPanic() // a template's line has no length that DER could not write
}

const (
	errNotUTF8       = "The given string contains invalid UTF-8 characters."
	errEmail         = "The given email string contains non-ASCII characters before '@'."
	errUnimplemented = "An unimplemented or disabled feature has been requested."
)

func dnsName(name string) (pki.GeneralName, string) {
	ascii, why := toASCII(name)
	return pki.DNSName(ascii), why
}

func uri(u string) (pki.GeneralName, string) {
	if !isPrintableASCII(u) {
		return pki.GeneralName{}, errUnimplemented
	}
	return pki.URI(u), ""
}

func email(address string) (pki.GeneralName, string) {
	local, domain, found := strings.Cut(address, "@")
	if !isPrintableASCII(local) {
		return pki.GeneralName{}, errEmail
	}
	if !found {
		return pki.Email(address), ""
	}
	ascii, why := toASCII(domain)
	return pki.Email(local + "@" + ascii), why
}

func xmppName(name string) (pki.GeneralName, string) {
	ascii, why := toASCII(name)
	if why != "" {
		return pki.GeneralName{}, why
	}
	return otherName(xmppOID.String(), encodeString(cbasn1.UTF8String, ascii))
}

// uts46 is how libidn2 reads host names for GnuTLS.
var uts46 = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.Transitional(false))

// toASCII turns a domain name with letters beyond ASCII into the form that DNS
// has (RFC 5891). Other names stay as they are, whatever is in them.
func toASCII(name string) (ascii, why string) {
	if isPrintableASCII(name) {
		return name, ""
	}
	const longest = 4096 // octets: far more than a name can shrink from
	if len(name) > longest {
		return "", errNotUTF8
	}
	name = strings.Map(hostCharacter, name)
	ascii, err := uts46.ToASCII(name)
	if err != nil || !fitsDNS(ascii) || strings.Contains("."+strings.ToLower(name), ".xn--.") {
		return "", errNotUTF8
	}
	return ascii, ""
}

// hostCharacter removes the characters that host names do not have (STD 3), and
// those that stand for some: a wildcard, an underscore, a blank. libidn2 loses
// them so in names with letters beyond ASCII.
func hostCharacter(r rune) rune {
	if r == 'ẞ' {
		return 'ß' // since Unicode 15.1, later than the idna package's tables
	}
	for _, part := range norm.NFKC.String(string(r)) {
		if part < 0x80 && part != '-' && part != '.' && !isDigit(byte(part)) && !isLetter(byte(part)) {
			return -1
		}
	}
	return r
}

// fitsDNS reports whether DNS could hold the name (RFC 1035, 2.3.4). Empty
// labels do not matter here.
func fitsDNS(name string) bool {
	const longestLabel, longestName = 63, 255
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > longestLabel || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return len(name) <= longestName
}

func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// parseIP reads an address as inet_pton does. What has a colon or more than 16
// characters is meant to be IPv6. An IPv4 address written as IPv6 stays so.
func parseIP(text string) (pki.GeneralName, error) {
	ip, err := netip.ParseAddr(text)
	six := strings.Contains(text, ":") || len(text) > 16
	switch {
	case six && (err != nil || ip.Is4() || ip.Zone() != ""):
		return pki.GeneralName{}, quit("Error in IPv6 address %s", text)
	case !six && (err != nil || !ip.Is4()):
		return pki.GeneralName{}, quit("Error in IPv4 address %s", text)
	}
	return pki.GeneralName{Kind: pki.IPKind, Bytes: ip.AsSlice()}, nil
}

// Types of Kerberos names (RFC 4120, 6.2; RFC 6806, 5).
const (
	krbPrincipal  = 1
	krbService    = 2
	krbEnterprise = 10
)

// krb5Principal makes the KRB5PrincipalName (RFC 4556, 3.2.2) of
// PART/PART@REALM. With more than one @ all before the last is one part.
func krb5Principal(principal string) (pki.GeneralName, string) {
	const maxParts = 6
	at := strings.LastIndexByte(principal, '@')
	if at < 0 {
		return pki.GeneralName{}, errParsing
	}
	name, realm := principal[:at], principal[at+1:]
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	nameType := int64(krbPrincipal)
	switch {
	case strings.Contains(name, "@"):
		parts, nameType = []string{name}, krbEnterprise
	case len(parts) > maxParts:
		return pki.GeneralName{}, errParsing
	case len(parts) == 2 && parts[0] == "krbtgt":
		nameType = krbService
	}
	return otherName(krb5OID.String(), encodeKRB5(realm, nameType, parts))
}

func encodeKRB5(realm string, nameType int64, parts []string) []byte {
	general := func(b *cryptobyte.Builder, s string) {
		b.AddASN1(cbasn1.GeneralString, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
	}
	field := func(b *cryptobyte.Builder, n int, f func(*cryptobyte.Builder)) {
		b.AddASN1(cbasn1.Tag(n).ContextSpecific().Constructed(), f)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		field(b, 0, func(b *cryptobyte.Builder) { general(b, realm) })
		field(b, 1, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				field(b, 0, func(b *cryptobyte.Builder) { b.AddASN1Int64(nameType) })
				field(b, 1, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						for _, part := range parts {
							general(b, part)
						}
					})
				})
			})
		})
	})
	return b.BytesOrPanic()
}
