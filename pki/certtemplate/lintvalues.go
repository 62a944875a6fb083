package certtemplate

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"virtls/finding"
	"virtls/pki/dn"
)

var (
	kindNoValue = finding.Define("template-value-missing", finding.Error,
		"the option has no value",
		"write a value behind the name, or delete the line")
	kindValue = finding.Define("template-value-invalid", finding.Error,
		"the value of an option is not valid",
		"correct the value")
	kindBoolean = finding.Define("template-boolean-value", finding.Error,
		"the option is on because it is there; what is written behind it does not count",
		"delete the line to turn the option off")
	kindCountry = finding.Define("template-country", finding.Error,
		"a country is two capital letters (ISO 3166); certtool takes anything",
		"write the code of the country, such as GB or DE")
	kindLocalTime = finding.Define("template-local-time", finding.Warning,
		"the date names no time zone, so that it means another time on another machine",
		"write UTC behind the date")
	kindHostName = finding.Define("template-host-name", finding.Error,
		"the value is no host name, and no peer can be found by it",
		"write a host name, such as host.example.com or *.example.com")
	kindAddressAsName = finding.Define("template-address-as-name", finding.Error,
		"an address in dns_name is never compared with the address of a peer",
		"write it as ip_address")
)

// A valueCheck says what a value should have been; it returns "" if it is that.
type valueCheck func(l *linter, value string) (want string)

// valueChecks are the options whose values have a form of their own. The
// others take any text.
var valueChecks = map[string]valueCheck{
	"dn": func(l *linter, v string) string {
		_, err := (&Template{Entries: []Entry{{Name: "dn", Value: v}}}).distinguishedName()
		return wantIf(err != nil, "a name as in CN=host,O=Example,C=GB, without +")
	},
	"dn_oid": wantPair(func(oid, _ string) string {
		_, known := knownAttribute(oid)
		return wantIf(!known, "OID VALUE, with an attribute that GnuTLS knows, such as 2.5.4.12 for a title")
	}),
	"ip_address": func(l *linter, v string) string {
		_, err := parseIP(v)
		return wantIf(err != nil, "one IPv4 or IPv6 address, without a prefix length")
	},
	"email":          wantEmail,
	"pkcs9_email":    wantEmail,
	"uri":            wantURI,
	"ocsp_uri":       wantURI,
	"ca_issuers_uri": wantURI, "crl_dist_points": wantURI,
	"krb5_principal": func(l *linter, v string) string {
		_, why := krb5Principal(v)
		return wantIf(why != "", "SERVICE/HOST@REALM")
	},
	"xmpp_name": func(l *linter, v string) string {
		_, why := xmppName(v)
		return wantIf(why != "", "USER@DOMAIN, with the domain in its ASCII form (xn--...)")
	},
	"other_name": wantPair(func(oid, v string) string {
		_, err := decodeHex(v)
		return wantIf(err != nil || !isOID(oid), "OID HEX, the hexadecimal digits of a DER encoding")
	}),
	"other_name_octet":       wantPair(wantOIDFirst),
	"other_name_utf8":        wantPair(wantOIDFirst),
	"add_extension":          wantPair(wantExtension),
	"add_critical_extension": wantPair(wantExtension),
	"key_purpose_oid":        wantOID, "honor_crq_ext": wantOID, "proxy_policy_language": wantOID,
	"nc_permit_ip": wantRange, "nc_exclude_ip": wantRange,
	"nc_permit_dns": wantTree, "nc_exclude_dns": wantTree, "nc_permit_email": wantTree, "nc_exclude_email": wantTree,
	"tls_feature":     wantNumber(0, 65535, "such as 5 for OCSP stapling"),
	"expiration_days": wantNumber(1, 3_650_000, "days; 3650 are ten years"), "crl_next_update": wantNumber(1, 3_650_000, "days"),
	"path_len":                     wantNumber(0, 100, "authorities below this one"),
	"inhibit_anypolicy_skip_certs": wantNumber(0, 100, "certificates"),
	"serial":                       wantSerial, "crl_number": wantSerial,
	"subject_unique_id": wantHex, "issuer_unique_id": wantHex,
	"activation_date": wantDate, "expiration_date": wantDate,
	"crl_revocation_date": wantDate, "crl_this_update_date": wantDate, "crl_next_update_date": wantDate,
}

func wantIf(wrong bool, want string) string {
	if wrong {
		return want
	}
	return ""
}

func isOID(text string) bool {
	_, err := dn.ParseOID(text)
	return err == nil
}

func wantOID(_ *linter, v string) string {
	return wantIf(!isOID(v), "an object identifier, such as 1.3.6.1.5.5.7.3.1")
}

func wantPair(want func(first, second string) string) valueCheck {
	return func(l *linter, v string) string {
		pairs, err := (&Template{Entries: []Entry{{Name: "x", Value: v}}}).pairs("x")
		if err != nil {
			return "an object identifier, a blank and a value"
		}
		return want(pairs[0].first, pairs[0].second)
	}
}

func wantOIDFirst(oid, _ string) string {
	return wantIf(!isOID(oid), "OID TEXT, such as 1.3.6.1.4.1.311.20.2.3 user@example.com")
}

func wantExtension(oid, v string) string {
	_, err := extensionValue(v)
	return wantIf(err != nil || !isOID(oid), "OID HEX or OID octet_string(HEX), with an object identifier that begins with 0, 1 or 2")
}

func wantEmail(_ *linter, v string) string {
	_, why := email(v)
	local, domain, _ := strings.Cut(v, "@")
	return wantIf(why != "" || local == "" || domain == "", "USER@DOMAIN, in ASCII before the @")
}

func wantURI(_ *linter, v string) string {
	_, why := uri(v)
	u, err := url.Parse(v)
	return wantIf(why != "" || err != nil || u.Scheme == "" || strings.Contains(v, " "), "a complete URI in ASCII, such as http://example.com/ca.crl")
}

func wantRange(_ *linter, v string) string {
	p, err := netip.ParsePrefix(v)
	if err == nil && p != p.Masked() {
		return p.Masked().String()
	}
	return wantIf(err != nil, "ADDRESS/BITS, such as 10.0.0.0/8 or fc00::/7")
}

func wantTree(_ *linter, v string) string {
	_, err := constrain(0)(v)
	return wantIf(err != nil || v == "", "a domain, such as example.com")
}

func wantNumber(least, most int64, what string) valueCheck {
	return func(l *linter, v string) string {
		n, rest := strtol(v)
		return wantIf(rest != "" || n < least || n > most, fmt.Sprintf("a whole number from %d to %d (%s)", least, most, what))
	}
}

func wantSerial(_ *linter, v string) string {
	octets, _, err := (&Template{Entries: []Entry{{Name: "x", Value: v}}}).integer("x")
	if err == nil {
		_, err = checkedNumber(octets, "", "")
	}
	return wantIf(err != nil || strings.Trim(v, "0x") == "", "a number from 1, or 0x and up to 40 hexadecimal digits, with 00 before a first digit above 7")
}

func wantHex(_ *linter, v string) string {
	_, err := decodeHex(v)
	return wantIf(err != nil, "hexadecimal digits, two for an octet")
}

func wantDate(l *linter, v string) string {
	_, err := ParseDate(v, l.in.Clock)
	return wantIf(err != nil, `a date as date(1) reads it, such as "2027-01-31 12:00:00 UTC" or +2 years`)
}

// values looks at each value on its own.
func (l *linter) values() {
	for _, e := range l.t.Entries {
		k := lookupKey(e.Name)
		e.Value = strings.TrimRight(e.Value, "\r") // found already
		switch {
		case k == nil:
		case k.kind == flagOption:
			l.boolean(e)
		case e.Value == "":
			l.add(e.Line, l.at(e.Line, kindNoValue, e.Name))
		case e.Name == "country":
			l.country(e)
		case e.Name == "dns_name":
			l.hostName(e)
		default:
			l.value(e)
		}
	}
}

func (l *linter) value(e Entry) {
	check := valueChecks[e.Name]
	if isPolicyName(e.Name) && len(e.Name) == len("policy1") {
		check = wantOID
	}
	if strings.HasSuffix(e.Name, "_url") {
		check = wantURI
	}
	if check == nil {
		return
	}
	if want := check(l, e.Value); want != "" {
		l.add(e.Line, l.at(e.Line, kindValue, quoteShort(e.Value)).WithText("the value of %s is not valid", e.Name).WithWant(want, "").WithFix("%s", valueFix(e, want)))
		return
	}
	if strings.HasSuffix(e.Name, "_date") && dateIsLocal(e.Value) {
		l.add(e.Line, l.at(e.Line, kindLocalTime, quoteShort(e.Value)).WithFix("write %s = \"%s UTC\"", e.Name, e.Value))
	}
}

// valueFix says what to write instead of a wrong value, as far as that can be guessed.
func valueFix(e Entry, want string) string {
	if strings.HasSuffix(e.Name, "_days") {
		n, rest := strtol(e.Value)
		days := map[string]int64{"y": 365, "year": 365, "years": 365, "m": 30, "months": 30, "w": 7, "weeks": 7, "d": 1, "days": 1}
		if each := days[strings.ToLower(strings.TrimSpace(rest))]; each > 0 && n > 0 && n < 100000 {
			return fmt.Sprintf("write %s = %d", e.Name, n*each)
		}
		if n == never {
			return "write expiration_date = \"9999-12-31 UTC\" if the certificate is never to end"
		}
	}
	if _, err := netip.ParsePrefix(want); err == nil {
		return fmt.Sprintf("write %s = %s", e.Name, want)
	}
	if ip, _, ok := strings.Cut(e.Value, "/"); ok && e.Name == "ip_address" {
		return "write ip_address = " + ip
	}
	return "correct the value or delete the line"
}

// boolean looks at what is written behind an option that takes no value.
func (l *linter) boolean(e Entry) {
	switch strings.ToLower(e.Value) {
	case "", "true", "yes", "on", "1", "y", "t":
	case "false", "no", "off", "0", "n", "f":
		l.add(e.Line, l.at(e.Line, kindBoolean, e.text()).WithFix("delete the line to turn %s off", e.Name))
	default:
		l.add(e.Line, l.at(e.Line, kindBoolean, quoteShort(e.text())).WithFix("write %s alone, or delete the line to turn it off", e.Name))
	}
}

func (l *linter) country(e Entry) {
	upper := strings.ToUpper(e.Value)
	isCode := len(upper) == 2 && isLetter(upper[0]) && isLetter(upper[1])
	if isCode && upper == e.Value {
		return
	}
	f := l.at(e.Line, kindCountry, quoteShort(e.Value))
	if isCode {
		f = f.WithFix("write country = %s", upper)
	}
	l.add(e.Line, f)
}

// hostName looks at a dns_name. Names beyond ASCII must have an ASCII form
// that loses nothing.
func (l *linter) hostName(e Entry) {
	if ip, err := netip.ParseAddr(strings.Trim(e.Value, "[]")); err == nil {
		l.add(e.Line, l.at(e.Line, kindAddressAsName, e.Value).WithFix("write ip_address = %s", ip))
		return
	}
	name, wild := strings.CutPrefix(e.Value, "*.")
	ascii, why := toASCII(name)
	switch {
	case why != "" || !isHostName(ascii):
		l.add(e.Line, l.at(e.Line, kindHostName, quoteShort(e.Value)))
	case wild && ascii != name:
		l.add(e.Line, l.at(e.Line, kindHostName, quoteShort(e.Value)).
			WithText("certtool loses the asterisk of a name with letters beyond ASCII").WithFix("write dns_name = *.%s", ascii))
	case len(strings.Map(hostCharacter, name)) < len(name) && ascii != name:
		l.add(e.Line, l.at(e.Line, kindHostName, quoteShort(e.Value)).
			WithText("certtool loses a character of the name").WithWant("the name's ASCII form", "").WithFix("write the name in its ASCII form (xn--...)"))
	}
}

// isHostName reports whether the name has the form of RFC 952 and RFC 1123,
// with the underscore that many networks have besides.
func isHostName(name string) bool {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" {
			return false
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && c != '_' && !isDigit(c) && !isLetter(c) {
				return false
			}
		}
	}
	return fitsDNS(name)
}
