package certtemplate

import (
	"encoding/asn1"
	"fmt"
	"math"
	"net/netip"
	"strings"

	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
	"virtls/pki/dn"
)

// addPurposes appends the key purposes that the template names by identifier.
func (b *builder) addPurposes() error {
	for _, text := range b.t.all("key_purpose_oid") {
		oid, err := dn.ParseOID(text)
		if err != nil {
			return quit("set_key_purpose_oid (%s): %s", text, b.unencodable(text))
		}
		if why := b.addPurpose(oid); why != "" {
			return quit("set_key_purpose_oid (%s): %s", text, why)
		}
	}
	return nil
}

// unencodable is what GnuTLS says of what is no object identifier.
func (b *builder) unencodable(text string) string {
	if b.isRequest && strings.Trim(text, "0123456789.") == "" {
		return "ASN1 parser: Generic parsing error."
	}
	return errASN1Value
}

// A purposeOption is an option that asks for a key purpose.
type purposeOption struct {
	name string
	oid  asn1.ObjectIdentifier
}

// addPurposeOptions appends the key purposes that the options ask for.
func (b *builder) addPurposeOptions(options ...purposeOption) error {
	for _, o := range options {
		if !b.t.has(o.name) {
			continue
		}
		if why := b.addPurpose(o.oid); why != "" {
			return fail("key_kp: %s", why)
		}
	}
	return nil
}

// addPurpose appends a key purpose, even one that is there already. In a
// certificate the extension becomes not critical, wherever it came from. In a
// request it keeps what it is, and a new one is as critical as the extension
// before it: GnuTLS looks for the extension, and keeps what it saw last.
func (b *builder) addPurpose(oid asn1.ObjectIdentifier) (why string) {
	purposes, err := b.ext.ExtKeyUsage()
	if err != nil {
		return errASN1DER
	}
	critical := false
	if b.isRequest {
		if old := b.ext.Find(pki.OIDExtKeyUsage); old != nil {
			critical = old.Critical
		} else if n := len(b.ext); n > 0 {
			critical = b.ext[n-1].Critical
		}
	}
	e, err := pki.ExtKeyUsageExtension(append(purposes, oid), critical)
	if err != nil {
		return errASN1Value
	}
	b.ext.Set(e)
	return ""
}

// addTLSFeatures adds the extension of RFC 7633.
func (b *builder) addTLSFeatures() error {
	const function, most = "gnutls_x509_tlsfeatures_add", 64
	var features []int64
	for _, v := range b.t.all("tls_feature") {
		n, _ := strtol(v)
		switch {
		case uint32(n) > math.MaxUint16:
			return quit("%s: %s", function, errInvalidRequest)
		case len(features) == most:
			return quit("%s: GnuTLS internal error.", function)
		}
		features = append(features, int64(uint32(n)))
	}
	if features != nil {
		b.ext.Set(pki.TLSFeatureExtension(features))
	}
	return nil
}

// addRaw adds the extensions that the template gives as they are.
func (b *builder) addRaw() error {
	for _, option := range []struct {
		name     string
		critical bool
	}{{"add_extension", false}, {"add_critical_extension", true}} {
		pairs, err := b.t.pairs(option.name)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			value, err := extensionValue(p.second)
			if err != nil {
				return err
			}
			oid, err := dn.ParseOID(p.first)
			switch {
			case err == nil:
				b.ext.Set(pki.Extension{OID: oid, Critical: option.critical, Value: value})
			case b.isRequest:
				return quit("set_extensions: %s", errASN1Value)
			default:
				b.unsignable = fail("crt_sign: %s", errASN1Value)
			}
		}
	}
	return nil
}

// extensionValue reads hexadecimal digits, perhaps behind 0x, perhaps inside
// octet_string(), which makes an OCTET STRING of them.
func extensionValue(text string) ([]byte, error) {
	function, digits, call := strings.Cut(text, "(")
	if !call {
		return decodeHex(strings.TrimPrefix(text, "0x"))
	}
	if !strings.HasPrefix(function, "octet_string") {
		return nil, quit("cannot parse: %s", text)
	}
	digits, _, closed := strings.Cut(digits, ")")
	if !closed {
		return nil, quit("there is no terminating parenthesis in: %s", text)
	}
	octets, err := decodeHex(strings.TrimPrefix(digits, "0x"))
	return encodeString(cbasn1.OCTET_STRING, string(octets)), err
}

// addPolicies adds inhibitAnyPolicy and the certificate policies, up to the
// first number that has no policy.
func (b *builder) addPolicies() error {
	const most = 8
	if skip := b.t.number("inhibit_anypolicy_skip_certs", -1); skip >= 0 {
		b.ext.Set(pki.InhibitAnyPolicyExtension(int64(skip)))
	}
	for i := 1; i <= most; i++ {
		name := fmt.Sprintf("policy%d", i)
		e, ok := b.t.lookup(name)
		if !ok {
			return nil
		}
		if why := b.addPolicy(e.Value, b.t.one(name+"_txt"), b.t.one(name+"_url")); why != "" {
			return quit("set_policy: %s", why)
		}
	}
	return nil
}

func (b *builder) addPolicy(text string, notices, uris []string) (why string) {
	const longestNotice = 200 // octets (RFC 5280, 4.2.1.4)
	policies, err := b.ext.Policies()
	if err != nil {
		return errASN1DER
	}
	oid, err := dn.ParseOID(text)
	if err != nil {
		return errASN1Value
	}
	for _, old := range policies {
		for _, q := range old.Qualifiers {
			if q.Notice == "" && q.URI == "" {
				return errASN1DER // GnuTLS writes it, and then cannot read it
			}
		}
	}
	p := pki.PolicyInformation{OID: oid}
	for _, notice := range notices {
		if len(notice) > longestNotice {
			return errInvalidRequest
		}
		p.Qualifiers = append(p.Qualifiers, pki.PolicyQualifier{Notice: notice})
	}
	for _, u := range uris {
		if u == "" {
			return errASN1DER // GnuTLS only finds it if another policy follows
		}
		p.Qualifiers = append(p.Qualifiers, pki.PolicyQualifier{URI: u})
	}
	e, err := pki.PoliciesExtension(append(policies, p))
	if err != nil {
		return errASN1Value
	}
	b.ext.Set(e)
	return ""
}

// addConstraints adds the name constraints of an authority.
func (b *builder) addConstraints() error {
	if !b.t.has("ca") {
		return nil
	}
	var c pki.NameConstraints
	for _, option := range []struct {
		name string
		list *pki.GeneralNames
		make func(string) (pki.GeneralName, error)
	}{
		{"nc_permit_ip", &c.Permitted, constrainIP},
		{"nc_exclude_ip", &c.Excluded, constrainIP},
		{"nc_permit_dns", &c.Permitted, constrain(pki.DNSKind)},
		{"nc_exclude_dns", &c.Excluded, constrain(pki.DNSKind)},
		{"nc_permit_email", &c.Permitted, constrain(pki.EmailKind)},
		{"nc_exclude_email", &c.Excluded, constrain(pki.EmailKind)},
	} {
		for _, v := range b.t.all(option.name) {
			n, err := option.make(v)
			if err != nil {
				return err
			}
			*option.list = append(*option.list, n)
		}
	}
	if c.Permitted != nil || c.Excluded != nil {
		b.ext.Set(c.Extension())
	}
	return nil
}

func constrain(kind pki.NameKind) func(string) (pki.GeneralName, error) {
	return func(name string) (pki.GeneralName, error) {
		if name == "." || strings.Contains(name, "..") {
			return pki.GeneralName{}, quit("error adding constraint: An illegal parameter was found.")
		}
		return pki.GeneralName{Kind: kind, Bytes: []byte(name)}, nil
	}
}

// constrainIP reads ADDRESS/BITS. As in certtool, text behind the digits of
// BITS does not count, nor do the bits of ADDRESS behind the first BITS.
func constrainIP(cidr string) (pki.GeneralName, error) {
	malformed := quit("error parsing IP constraint: CIDR name constraint is malformed in size or structure.")
	address, length, found := strings.Cut(cidr, "/")
	bits, rest := strtol(length)
	ip, err := netip.ParseAddr(address)
	if !found || rest == length || err != nil || ip.Is6() != strings.Contains(cidr, ":") ||
		ip.Zone() != "" || bits < 0 || bits > int64(ip.BitLen()) {
		return pki.GeneralName{}, malformed
	}
	return pki.IPRange(netip.PrefixFrom(ip, int(bits))), nil
}

// addAccess adds the authority information access.
func (b *builder) addAccess() error {
	for _, option := range []struct {
		name, label string
		method      asn1.ObjectIdentifier
	}{
		{"ocsp_uri", "OCSP", pki.AccessOCSP},
		{"ca_issuers_uri", "CA ISSUERS", pki.AccessCAIssuers},
	} {
		for _, v := range b.t.all(option.name) {
			location, why := uri(v)
			access, err := b.ext.AuthorityInfo()
			if err != nil {
				why = errASN1DER
			}
			if why != "" {
				return quit("set %s URI (%s): %s", option.label, v, why)
			}
			b.ext.Set(pki.AuthorityInfoExtension(append(access, pki.AccessDescription{Method: option.method, Location: location})))
		}
	}
	return nil
}

// addCRLDistribution adds one distribution point with all URIs, those that a
// request brought in included.
func (b *builder) addCRLDistribution() error {
	added := b.t.all("crl_dist_points")
	if added == nil {
		return nil
	}
	points, err := b.ext.CRLDistribution()
	var uris []string
	for _, p := range points {
		for _, n := range p.FullName {
			if n.Kind != pki.URIKind {
				err = errUnmergeable
			}
			uris = append(uris, n.Text())
		}
		if p.Reasons != nil || p.CRLIssuer != nil || p.Relative != nil {
			err = errUnmergeable
		}
	}
	if err != nil {
		return quit("gnutls_x509_crt_set_crl_dist_points: %s", err)
	}
	b.ext.Set(pki.CRLDistributionExtension(append(uris, added...)))
	return nil
}

// errUnmergeable is of our own: certtool would mix up points that are not alike.
var errUnmergeable = fmt.Errorf("the request's CRL distribution points are not URIs alone; leave out crl_dist_points or honor_crq_extensions")
