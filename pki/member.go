package pki

import (
	"encoding/asn1"
	"fmt"
	"strings"
	"time"

	"virtls/pki/dn"
)

// A member is a certificate on the way through [Verify]: its extensions
// decoded once, and what is wrong with it wherever in a chain it stands.
//
// Whatever costs more the larger the certificate is, is done once here: the
// search for a chain may meet a certificate a thousand times.
type member struct {
	cert        *Certificate
	entity      int  // the same for all certificates with the same name and key
	anchor      bool // it is trusted without further proof
	selfIssued  bool // not counted in path lengths and not bound by name constraints, so that an authority can change its key
	signature   SignatureAlgorithm
	basic       *BasicConstraints
	usage       KeyUsage
	hasUsage    bool
	purposes    []asn1.ObjectIdentifier
	fits        bool // its purposes allow the one asked for
	names       GeneralNames
	constraints *subtrees // nil if there are none, or none that can be read
	policies    certPolicies
	problems    []Problem

	hostCN     string // the CN, if it counts as a host name
	held       GeneralNames
	heldOctets int
	decoded    []comparand // held, when they were first compared

	sought  bool      // whether these are known:
	issuers []*member // who may have issued it, by name and key identifier, the most promising first
	unknown Problem   // what is wrong if none of them is trusted
}

func (v *verifier) newMember(c *Certificate) *member {
	m := &member{cert: c, entity: v.entity(c), selfIssued: c.SelfIssued(), signature: c.SignatureAlgorithm()}
	m.anchor = v.anchors[string(c.Raw)] && (v.o.PartialChain || m.selfIssued)
	x := c.Extensions
	var err error
	m.basic, err = x.BasicConstraints()
	m.malformed(err)
	m.usage, m.hasUsage, err = x.KeyUsage()
	m.malformed(err)
	m.purposes, err = x.ExtKeyUsage()
	m.malformed(err)
	m.fits = allowsPurpose(m.purposes, v.o.Purpose)
	m.names, err = x.SubjectAltName()
	m.malformed(err)
	constraints, err := x.NameConstraints()
	m.malformed(err)
	m.policies, err = x.certPolicies()
	m.malformed(err)
	_, err = x.AuthorityKeyID()
	m.malformed(err)
	if x.Find(OIDSubjectKeyID) != nil && x.SubjectKeyID() == nil {
		m.malformed(malformed("subject key identifier"))
	}
	m.checkForm()
	m.checkConstraints(constraints)
	m.checkTimes(v.now)
	m.problems = append(m.problems, v.policy.checkKey(c)...)
	if v.policy.Profile >= RFC5280 {
		m.checkRFC5280(v.policy.Profile, constraints)
	}
	return m
}

func (m *member) fault(r Reason, got, want string) {
	m.problems = addProblem(m.problems, Problem{r, m.cert, got, want})
}

// maxAlike is how many problems for one reason are told of one certificate: it
// may have as many as it has octets.
const maxAlike = 8

// addProblem appends a problem unless there are enough of its kind.
func addProblem(list []Problem, p Problem) []Problem {
	alike := 0
	for _, q := range list {
		if q.Reason == p.Reason && q.Certificate == p.Certificate {
			alike++
		}
	}
	if alike >= maxAlike {
		return list
	}
	return append(list, p)
}

func (m *member) malformed(err error) {
	if err != nil {
		m.fault(Malformed, "a bad "+strings.TrimPrefix(err.Error(), "malformed "), "")
	}
}

// criticalUnderstood are the extensions that may be critical: those whose
// restrictions are kept to, and those that restrict nobody.
var criticalUnderstood = []asn1.ObjectIdentifier{
	OIDSubjectKeyID, OIDKeyUsage, OIDPrivateKeyUsage, OIDSubjectAltName, OIDIssuerAltName, OIDBasicConstraints,
	OIDNameConstraints, OIDCRLDistribution, OIDCertificatePolicies, OIDPolicyMappings, OIDAuthorityKeyID,
	OIDPolicyConstraints, OIDExtKeyUsage, OIDInhibitAnyPolicy, OIDAuthorityInfo,
}

func containsOID(list []asn1.ObjectIdentifier, oid asn1.ObjectIdentifier) bool {
	for _, o := range list {
		if o.Equal(oid) {
			return true
		}
	}
	return false
}

// checkForm finds what makes the certificate ambiguous or unreadable.
func (m *member) checkForm() {
	c := m.cert
	if !c.Algorithm.equal(c.TBSAlgorithm) {
		m.fault(Malformed, fmt.Sprintf("signature algorithm %s outside the signed part and %s inside", dn.ShortOID(c.Algorithm.OID), dn.ShortOID(c.TBSAlgorithm.OID)),
			"the same in both places (RFC 5280, 4.1.1.2)")
	}
	if len(c.Issuer) == 0 {
		m.fault(Malformed, "an empty issuer", "a name (RFC 5280, 4.1.2.4)")
	}
	seen := make(map[string]bool, len(c.Extensions))
	for _, e := range c.Extensions {
		oid := e.OID.String()
		if seen[oid] {
			m.fault(Malformed, "extension "+dn.ShortOID(e.OID)+" twice", "each extension once (RFC 5280, 4.2)")
		}
		seen[oid] = true
		if e.Critical && !containsOID(criticalUnderstood, e.OID) {
			m.fault(UnknownCritical, dn.ShortOID(e.OID), "")
		}
	}
}

// checkConstraints decodes name constraints. Those that are malformed are not
// applied: the certificate is refused for them already.
func (m *member) checkConstraints(c *NameConstraints) {
	if c == nil {
		return
	}
	if !m.isCA() {
		m.fault(Malformed, "name constraints", "them in an authority's certificate only (RFC 5280, 4.2.1.10)")
	}
	s, err := c.subtrees()
	if err != nil {
		m.malformed(err)
		return
	}
	m.constraints = s
}

// checkTimes compares whole seconds, which is all that a certificate can hold.
func (m *member) checkTimes(now time.Time) {
	now = now.Truncate(time.Second)
	if now.After(m.cert.NotAfter) {
		m.fault(Expired, "notAfter "+stamp(m.cert.NotAfter), "a certificate valid at "+stamp(now))
	}
	if now.Before(m.cert.NotBefore) {
		m.fault(NotYetValid, "notBefore "+stamp(m.cert.NotBefore), "a certificate valid at "+stamp(now))
	}
}

func (m *member) isCA() bool { return m.basic != nil && m.basic.CA }

// asIssuer returns what keeps m from being the authority directly above below,
// whose last is the certificate that m has issued.
func (m *member) asIssuer(below []*member, purpose asn1.ObjectIdentifier) (problems []Problem) {
	fault := func(r Reason, got, want string) { problems = append(problems, Problem{r, m.cert, got, want}) }
	switch {
	case m.basic == nil:
		fault(NotCA, "no basic constraints", "basic constraints that say CA")
	case !m.basic.CA:
		fault(NotCA, "basic constraints that say it is no CA", "basic constraints that say CA")
	case m.basic.PathLen >= 0:
		if n := intermediates(below); n > m.basic.PathLen {
			fault(PathTooLong, fmt.Sprintf("%d intermediate authorities below it", n), fmt.Sprintf("at most %d", m.basic.PathLen))
		}
	}
	if m.hasUsage && m.usage&KeyCertSign == 0 {
		fault(WrongKeyUsage, "no keyCertSign", "keyCertSign in the key usage of an authority")
	}
	if !m.fits {
		fault(WrongPurpose, purposeList(m.purposes), "an authority for "+purposeName(purpose))
	}
	if len(m.cert.Subject) == 0 {
		fault(Malformed, "an empty subject", "a name for an authority (RFC 5280, 4.1.2.6)")
	}
	return problems
}

// intermediates counts the authorities between an issuer and the leaf below it.
func intermediates(below []*member) (n int) {
	for _, m := range below[1:] {
		if !m.selfIssued {
			n++
		}
	}
	return n
}

// asLeaf returns what keeps m from being used by the one who shows it.
func (m *member) asLeaf(o *VerifyOptions) (problems []Problem) {
	if !m.fits {
		problems = append(problems, Problem{WrongPurpose, m.cert, purposeList(m.purposes), purposeName(o.Purpose)})
	}
	if m.hasUsage && m.usage&o.KeyUsage != o.KeyUsage {
		problems = append(problems, Problem{WrongKeyUsage, m.cert, m.usage.String(), o.KeyUsage.String()})
	}
	return problems
}

func allowsPurpose(purposes []asn1.ObjectIdentifier, want asn1.ObjectIdentifier) bool {
	return want == nil || purposes == nil || containsOID(purposes, want) || containsOID(purposes, PurposeAny)
}
