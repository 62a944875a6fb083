package pki

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"filippo.io/mldsa"
)

// breaks reports a rule of the profile that a certificate does not keep.
func (m *member) breaks(got, want string) { m.fault(Nonconformant, got, want) }

// checkRFC5280 demands what RFC 5280 obliges authorities to and what has no
// bearing on whether the certificate can be believed.
func (m *member) checkRFC5280(profile Profile, constraints *NameConstraints) {
	if !m.selfIssued { // roots are found by other means, and a well-known one has number 0
		m.checkSerial()
	}
	m.checkCriticality(profile)
	x := m.cert.Extensions
	if !m.selfIssued && x.Find(OIDAuthorityKeyID) == nil {
		m.breaks("no authority key identifier", "one (RFC 5280, 4.2.1.1)")
	}
	if m.isCA() && x.Find(OIDSubjectKeyID) == nil {
		m.breaks("no subject key identifier", "one in an authority's certificate (RFC 5280, 4.2.1.2)")
	}
	if m.hasUsage && m.usage&KeyCertSign != 0 && !m.isCA() {
		m.breaks("keyCertSign without being an authority", "it in authorities' certificates only (RFC 5280, 4.2.1.9)")
	}
	if m.cert.Version != 3 && len(x) > 0 {
		m.breaks(fmt.Sprintf("extensions in version %d", m.cert.Version), "version 3 (RFC 5280, 4.1.2.1)")
	}
	if m.names != nil && len(m.names) == 0 {
		m.breaks("an empty subject alternative name", "at least one name (RFC 5280, 4.2.1.6)")
	}
	for _, n := range m.names {
		if n.Kind == DNSKind && !preferredSyntax(n.Text()) {
			m.breaks(n.String(), "a DNS name in preferred name syntax (RFC 5280, 4.2.1.6)")
		}
	}
	if constraints != nil {
		for _, n := range slices.Concat(constraints.Permitted, constraints.Excluded) {
			if n.Kind == DNSKind && strings.HasPrefix(n.Text(), ".") {
				m.breaks("name constraint "+n.String(), "DNS constraints without leading dot (RFC 5280, 4.2.1.10)")
			}
		}
	}
	if _, ok := m.cert.PublicKey.Key.(*mldsa.PublicKey); ok && m.hasUsage {
		m.checkMLDSAUsage()
	}
	if profile == WebPKI {
		m.checkWebPKI(constraints)
	}
}

func (m *member) checkSerial() {
	switch s := m.cert.Serial; {
	case s.Sign() <= 0:
		m.breaks("serial number "+briefSerial(s), "a positive one (RFC 5280, 4.1.2.2)")
	case len(m.cert.RawSerial) > 20:
		m.breaks(fmt.Sprintf("a serial number of %d octets", len(m.cert.RawSerial)), "at most 20 (RFC 5280, 4.1.2.2)")
	}
}

// checkCriticality compares the critical flags with those RFC 5280 prescribes.
func (m *member) checkCriticality(profile Profile) {
	for _, e := range m.cert.Extensions {
		must, may := false, true
		switch {
		case e.OID.Equal(OIDAuthorityKeyID), e.OID.Equal(OIDSubjectKeyID), e.OID.Equal(OIDAuthorityInfo):
			may = false
		case e.OID.Equal(OIDBasicConstraints):
			must = m.isCA()
		case e.OID.Equal(OIDPolicyConstraints), e.OID.Equal(OIDInhibitAnyPolicy):
			must = true
		case e.OID.Equal(OIDNameConstraints):
			must = profile != WebPKI
		case e.OID.Equal(OIDSubjectAltName):
			must = len(m.cert.Subject) == 0
		}
		switch {
		case must && !e.Critical:
			m.breaks("extension "+e.OID.String()+" not critical", "it critical (RFC 5280, 4.2)")
		case !may && e.Critical:
			m.breaks("extension "+e.OID.String()+" critical", "it not critical (RFC 5280, 4.2)")
		}
	}
}

// preferredSyntax is that of RFC 1034, 3.5, with the wildcard that TLS added.
// Addresses look like names but are none.
func preferredSyntax(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	return validHost(s) && !strings.Contains(s, "_")
}

// checkMLDSAUsage demands what RFC 9881, section 5, says of key usages.
func (m *member) checkMLDSAUsage() {
	const signing = DigitalSignature | NonRepudiation | KeyCertSign | CRLSign
	if m.usage&signing == 0 || m.usage&^signing != 0 {
		m.breaks(m.usage.String(), "only key usages for signing with an ML-DSA key (RFC 9881, 5)")
	}
}

// checkWebPKI demands what the Baseline Requirements (CA/Browser Forum, 2.0,
// section 7.1) say of every certificate.
func (m *member) checkWebPKI(constraints *NameConstraints) {
	x := m.cert.Extensions
	if m.cert.Version != 3 {
		m.breaks(fmt.Sprintf("version %d", m.cert.Version), "version 3 (BR 7.1.1)")
	}
	if k := m.cert.PublicKey; k.Algorithm == RSA && k.Size()%8 != 0 {
		m.breaks(fmt.Sprintf("an RSA key of %d bits", k.Size()), "a multiple of 8 (BR 6.1.5)")
	}
	if e := x.Find(OIDAuthorityInfo); e != nil {
		if access, err := x.AuthorityInfo(); err != nil || len(access) == 0 {
			m.breaks("authority information access without content", "at least one entry (BR 7.1.2)")
		}
	}
	if constraints != nil && len(constraints.Permitted)+len(constraints.Excluded) == 0 {
		m.breaks("empty name constraints", "at least one (BR 7.1.2.5.2)")
	}
	if m.isCA() && m.selfIssued {
		if m.purposes != nil {
			m.breaks("key purposes in a root", "none (BR 7.1.2.1.2)")
		}
		if aki, err := x.AuthorityKeyID(); err == nil && aki != nil &&
			(aki.Issuer != nil || aki.Serial != nil || !bytes.Equal(aki.KeyID, x.SubjectKeyID())) {
			m.breaks("an authority key identifier that is not just the root's own", "that one alone (BR 7.1.2.1.3)")
		}
	}
}

// checkWebPKILeaf demands what the Baseline Requirements say of servers' certificates.
func (m *member) checkWebPKILeaf(p *Policy) (problems []Problem) {
	breaks := func(got, want string) { problems = addProblem(problems, Problem{Nonconformant, m.cert, got, want}) }
	x := m.cert.Extensions
	if m.isCA() {
		breaks("an authority", "an end entity (BR 7.1.2.7.8)")
	}
	if e := x.Find(OIDExtKeyUsage); e == nil || e.Critical || containsOID(m.purposes, PurposeAny) {
		breaks("key purposes "+purposeList(m.purposes), "a non-critical list of particular purposes (BR 7.1.2.7.6)")
	}
	if !m.names.has(DNSKind) && !m.names.has(IPKind) {
		breaks("no alternative name", "a DNS name or an address (BR 7.1.2.7.12)")
	} else if x.Find(OIDSubjectAltName).Critical && len(m.cert.Subject) > 0 {
		breaks("critical alternative names beside a subject", "non-critical ones (BR 7.1.2.7.6)")
	}
	texts := map[string]bool{}
	for _, n := range m.names {
		texts[n.hostText()] = true
	}
	for _, cn := range m.cert.Subject.CommonNames() {
		if cn == "" || !texts[cn] {
			breaks("CN "+brief(cn), "a copy of an alternative name (BR 7.1.4.3)")
		}
	}
	for _, n := range m.names {
		if base, wild := strings.CutPrefix(n.Text(), "*."); wild && p.PublicSuffix != nil && p.PublicSuffix(base) {
			breaks("wildcard "+n.String(), "one below a registered domain (BR 3.2.2.6)")
		}
	}
	return problems
}

// hostText returns how a DNS name or, in the form of RFC 5952, an address is
// written, "" for other names.
func (n GeneralName) hostText() string {
	if ip, ok := n.IP(); ok {
		return ip.String()
	}
	if n.Kind == DNSKind {
		return n.Text()
	}
	return ""
}
