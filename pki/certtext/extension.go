package certtext

import (
	"encoding/asn1"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
	"virtls/pki/dn"
)

// The reasons that GnuTLS gives for values that do not decode.
const (
	errDER     = "ASN1 parser: Error in DER parsing."
	errTag     = "ASN1 parser: Error in TAG."
	errGeneric = "ASN1 parser: Generic parsing error."
	errAbsent  = "The requested data were not available."
	errCIDR    = "CIDR name constraint is malformed in size or structure."
	errIllegal = "An illegal parameter was found."
	errShort   = "The given memory buffer is too short to hold parameters."
)

// Reason returns GnuTLS's words for what is wrong with DER that does not decode
// as what it should be: DER of another type, or a SEQUENCE that is none.
func Reason(der []byte) string {
	if len(der) == 0 || der[0] != 0x30 || wellFormed(der, 0) {
		return errTag
	}
	return errDER
}

// wellFormed tells whether der is a series of elements of DER, down to their
// innermost parts.
func wellFormed(der []byte, depth int) bool {
	in := cryptobyte.String(der)
	for !in.Empty() {
		var content cryptobyte.String
		var tag cbasn1.Tag
		if !in.ReadAnyASN1(&content, &tag) || depth > 20 {
			return false
		}
		if tag&0x20 != 0 && !wellFormed(content, depth+1) {
			return false
		}
	}
	return true
}

// extensionForms lists the extensions that GnuTLS knows: their titles, what it
// calls them when there are two (nothing if it does not mind; "SKI" for the
// subject's names is its own mistake), and how their values are shown.
var extensionForms = []struct {
	oid   asn1.ObjectIdentifier
	title string
	again string
	show  func(p *printer, indent string, e pki.Extension)
}{
	{pki.OIDBasicConstraints, "Basic Constraints", "basic constraint", (*printer).basicConstraints},
	{pki.OIDSubjectKeyID, "Subject Key Identifier", "SKI extension", (*printer).subjectKeyID},
	{pki.OIDAuthorityKeyID, "Authority Key Identifier", "AKI extension", (*printer).authorityKeyID},
	{pki.OIDKeyUsage, "Key Usage", "key usage extension", (*printer).keyUsage},
	{pki.OIDPrivateKeyUsage, "Private Key Usage Period", "private key usage period extension", (*printer).privateKeyUsage},
	{pki.OIDExtKeyUsage, "Key Purpose", "key purpose extension", (*printer).keyPurpose},
	{pki.OIDSubjectAltName, "Subject Alternative Name", "SKI extension", (*printer).altName},
	{pki.OIDIssuerAltName, "Issuer Alternative Name", "Issuer AltName extension", (*printer).altName},
	{pki.OIDCRLDistribution, "CRL Distribution points", "CRL distribution point", (*printer).crlDistribution},
	{oidProxyCertInfo, "Proxy Certificate Information", "proxy extension", (*printer).proxy},
	{pki.OIDAuthorityInfo, "Authority Information Access", "", (*printer).authorityInfo},
	{pki.OIDNameConstraints, "Name Constraints", "name constraints extension", (*printer).nameConstraints},
	{dn.CommonNameOID, "Common Name", "", (*printer).commonName},
	{oidSCTs, "CT Precertificate SCTs", "", (*printer).timestamps},
	{pki.OIDTLSFeature, "TLS Features", "tlsfeatures extension", (*printer).tlsFeatures},
}

// extensions writes a list of extensions; indent is one tab deeper for those
// of a request.
func (p *printer) extensions(indent string, x pki.Extensions) {
	seen := map[string]bool{}
	for i, e := range x {
		if i == 0 {
			p.line("%s\tExtensions:", indent)
		}
		p.extension(indent, e, seen[e.OID.String()])
		seen[e.OID.String()] = true
	}
}

func (p *printer) extension(indent string, e pki.Extension, again bool) {
	for _, form := range extensionForms {
		if !form.oid.Equal(e.OID) {
			continue
		}
		if again && form.again != "" {
			p.line("warning: more than one %s", form.again)
		}
		p.line("%s\t\t%s (%s):", indent, form.title, criticality(e.Critical))
		form.show(p, indent+"\t\t\t", e)
		return
	}
	switch {
	case e.OID.Equal(pki.OIDCertificatePolicies):
		p.policies(indent, e)
	case e.OID.Equal(pki.OIDInhibitAnyPolicy):
		p.inhibitAnyPolicy(indent, e)
	default:
		p.line("%s\t\tUnknown extension %s (%s):", indent, e.OID, criticality(e.Critical))
		p.raw(indent+"\t\t\t", e.Value)
	}
}

// failed says that a value does not decode.
func (p *printer) failed(what string, e pki.Extension) { p.error(what, Reason(e.Value)) }

func (p *printer) error(what, why string) { p.line("error: %s: %s", what, why) }

func (p *printer) basicConstraints(indent string, e pki.Extension) {
	bc, err := pki.Extensions{e}.BasicConstraints()
	if err != nil {
		p.failed("get_basic_constraints", e)
		return
	}
	ca := "FALSE"
	if bc.CA {
		ca = "TRUE"
	}
	p.line("%sCertificate Authority (CA): %s", indent, ca)
	if bc.PathLen >= 0 {
		p.line("%sPath Length Constraint: %d", indent, bc.PathLen)
	}
}

// subjectKeyID has the same indentation in requests and certificates, and so
// have all the others below that do not use indent.
func (p *printer) subjectKeyID(_ string, e pki.Extension) {
	id := pki.Extensions{e}.SubjectKeyID()
	if id == nil {
		p.failed("get_subject_key_id", e)
		return
	}
	p.line("\t\t\t%s", hexString(id))
}

func (p *printer) authorityKeyID(_ string, e pki.Extension) {
	id, err := pki.Extensions{e}.AuthorityKeyID()
	if err != nil {
		p.failed("gnutls_x509_ext_import_authority_key_id", e)
		return
	}
	if len(id.Issuer) > 0 {
		p.generalName("\t\t\t", id.Issuer[0])
		p.line("\t\t\tserial: %s", hexString(id.Serial))
	}
	if id.KeyID != nil {
		p.line("\t\t\t%s", hexString(id.KeyID))
	}
}

var usageWords = []string{
	"Digital signature", "Non repudiation", "Key encipherment", "Data encipherment", "Key agreement",
	"Certificate signing", "CRL signing", "Key encipher only", "Key decipher only",
}

func (p *printer) keyUsage(indent string, e pki.Extension) {
	usage, _, err := pki.Extensions{e}.KeyUsage()
	if err != nil {
		p.failed("get_key_usage", e)
		return
	}
	p.usageWords(indent, usage)
}

func (p *printer) usageWords(indent string, usage pki.KeyUsage) {
	for i, word := range usageWords {
		if usage&(1<<i) != 0 {
			p.line("%s%s.", indent, word)
		}
	}
}

var purposeWords = []struct {
	oid  asn1.ObjectIdentifier
	word string
}{
	{pki.PurposeServer, "TLS WWW Server"},
	{pki.PurposeClient, "TLS WWW Client"},
	{pki.PurposeCodeSigning, "Code signing"},
	{pki.PurposeEmailProtection, "Email protection"},
	{pki.PurposeTimeStamping, "Time stamping"},
	{pki.PurposeOCSPSigning, "OCSP signing"},
	{pki.PurposeIPsecIKE, "Ipsec IKE"},
	{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2}, "Smart Card Logon"},
	{pki.PurposeAny, "Any purpose"},
}

func (p *printer) keyPurpose(indent string, e pki.Extension) {
	purposes, err := pki.Extensions{e}.ExtKeyUsage()
	if err != nil {
		p.failed("gnutls_x509_ext_import_key_purposes", e)
		return
	}
	for _, oid := range purposes {
		p.line("%s%s", indent, purposeText(oid))
	}
}

func purposeText(oid asn1.ObjectIdentifier) string {
	for _, w := range purposeWords {
		if w.oid.Equal(oid) {
			return w.word + "."
		}
	}
	return oid.String()
}

func (p *printer) altName(indent string, e pki.Extension) {
	names, err := pki.Extensions{{OID: pki.OIDSubjectAltName, Value: e.Value}}.SubjectAltName()
	if err != nil {
		p.failed("gnutls_x509_ext_import_subject_alt_names", e)
		return
	}
	for _, n := range names {
		p.generalName(indent, n)
	}
}

func (p *printer) crlDistribution(_ string, e pki.Extension) {
	points, err := pki.Extensions{e}.CRLDistribution()
	if err != nil {
		p.failed("gnutls_x509_ext_import_crl_dist_points", e)
		return
	}
	for _, point := range points {
		for _, n := range point.FullName {
			p.generalName("\t\t\t", n)
		}
	}
}

func (p *printer) authorityInfo(_ string, e pki.Extension) {
	access, err := pki.Extensions{e}.AuthorityInfo()
	if err != nil {
		p.failed("get_aia", e)
		return
	}
	for _, a := range access {
		method := "UNKNOWN"
		switch {
		case a.Method.Equal(pki.AccessOCSP):
			method = "id-ad-ocsp"
		case a.Method.Equal(pki.AccessCAIssuers):
			method = "id-ad-caIssuers"
		}
		p.line("\t\t\tAccess Method: %s (%s)", a.Method, method)
		p.generalName("\t\t\tAccess Location ", a.Location)
	}
}

func (p *printer) nameConstraints(indent string, e pki.Extension) {
	c, err := pki.Extensions{e}.NameConstraints()
	if err != nil {
		p.failed("gnutls_x509_ext_import_name_constraints()", e)
		return
	}
	if why := badRange(slices.Concat(c.Permitted, c.Excluded)); why != "" {
		p.error("gnutls_x509_ext_import_name_constraints()", why)
		return
	}
	for _, list := range []struct {
		title string
		names pki.GeneralNames
	}{{"Permitted", c.Permitted}, {"Excluded", c.Excluded}} {
		if len(list.names) > 0 {
			p.line("%s%s:", indent, list.title)
		}
		for _, n := range list.names {
			p.constraint(indent+"\t", n)
		}
	}
}

// badRange tells what is wrong with the address ranges among the names, "" if
// nothing is.
func badRange(names pki.GeneralNames) string {
	for _, n := range names {
		if n.Kind != pki.IPKind {
			continue
		}
		if len(n.Bytes) != 8 && len(n.Bytes) != 32 {
			return errIllegal
		}
		if _, ok := n.Range(); !ok {
			return errCIDR
		}
	}
	return ""
}

// policies shows its title only above the first policy.
func (p *printer) policies(indent string, e pki.Extension) {
	if seq, ok := sequenceOf(e.Value); ok && seq.Empty() {
		return
	}
	policies, err := pki.Extensions{e}.Policies()
	if err != nil {
		p.failed("certificate policies import", e)
		return
	}
	p.line("%s\t\tCertificate Policies (%s):", indent, criticality(e.Critical))
	for _, policy := range policies {
		p.line("%s\t\t\t%s", indent, policyText(policy.OID))
		for _, q := range policy.Qualifiers {
			p.line("%s\t\t\t\t%s", indent, qualifierText(q))
		}
	}
}

var policyNames = map[string]string{
	"2.5.29.32.0":       "anyPolicy",
	"2.23.140.1.2.1":    "CA/B Domain Validated",
	"2.23.140.1.2.2":    "CA/B Organization Validated",
	"2.23.140.1.2.3":    "CA/B Individual Validated",
	"2.23.140.1.1":      "CA/B Extended Validation",
	"1.2.643.100.113.1": "Russian security class KC1",
	"1.2.643.100.113.2": "Russian security class KC2",
	"1.2.643.100.113.3": "Russian security class KC3",
	"1.2.643.100.113.4": "Russian security class KB1",
	"1.2.643.100.113.5": "Russian security class KB2",
	"1.2.643.100.113.6": "Russian security class KA1",
}

func policyText(oid asn1.ObjectIdentifier) string {
	if name, ok := policyNames[oid.String()]; ok {
		return fmt.Sprintf("%s (%s)", oid, name)
	}
	return oid.String()
}

func qualifierText(q pki.PolicyQualifier) string {
	switch {
	case q.URI != "":
		return "URI: " + cString(q.URI)
	case q.Notice != "":
		return "Note: " + cString(q.Notice)
	}
	return "Unknown qualifier: (null)"
}

func (p *printer) inhibitAnyPolicy(indent string, e pki.Extension) {
	content, err := pki.Extensions{e}.Integer(pki.OIDInhibitAnyPolicy)
	switch {
	case err != nil:
		p.failed("certificate inhibit any policy import", e)
		return
	case len(content) > 4 || content[0]&0x80 != 0:
		p.error("certificate inhibit any policy import", errGeneric)
		return
	}
	p.line("%s\t\tInhibit anyPolicy skip certs: %d (%s)", indent, unsigned32(content), criticality(e.Critical))
}

// sequenceOf opens a value that is one SEQUENCE and nothing else.
func sequenceOf(der []byte) (cryptobyte.String, bool) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	ok := in.ReadASN1(&seq, cbasn1.SEQUENCE) && in.Empty()
	return seq, ok
}

// unsigned32 reads up to four octets as GnuTLS does, without a sign.
func unsigned32(content []byte) (n uint32) {
	for _, b := range content {
		n = n<<8 | uint32(b)
	}
	return n
}

// tlsExtensions are the names GnuTLS has for TLS extensions (RFC 7633 lists
// them by number).
var tlsExtensions = map[uint32]string{
	0: "Server Name Indication", 1: "Maximum Record Size", 5: "OCSP Status Request", 10: "Supported Groups",
	11: "Supported EC Point Formats", 13: "Signature Algorithms", 14: "SRTP", 16: "ALPN",
	19: "Client Certificate Type", 20: "Server Certificate Type", 21: "ClientHello Padding",
	22: "Encrypt-then-MAC", 23: "Extended Master Secret", 27: "Compress Certificate", 28: "Record Size Limit",
	35: "Session Ticket", 41: "Pre Shared Key", 42: "Early Data", 43: "Supported Versions", 44: "Cookie",
	45: "PSK Key Exchange Modes", 49: "Post Handshake Auth", 51: "Key Share",
}

func (p *printer) tlsFeatures(indent string, e pki.Extension) {
	seq, ok := sequenceOf(e.Value)
	var features []uint32
	for ok && !seq.Empty() {
		var n uint32
		ok = seq.ReadASN1Integer(&n)
		features = append(features, n)
	}
	if !ok {
		p.failed("get_tlsfeatures", e)
		return
	}
	for _, n := range features {
		if name, ok := tlsExtensions[n]; ok {
			p.line("%s%s(%d)", indent, name, n)
		} else {
			p.line("%s%d", indent, n)
		}
	}
}
