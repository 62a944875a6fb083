package pki

import (
	"fmt"
	"slices"
	"strings"
)

// A Reason says what about a chain is not to be trusted. Its text form is a
// stable name that other packages map to findings and to QEMU's and libvirt's
// messages.
type Reason int

// The reasons, most telling first. The text beside each completes "the certificate ...".
const (
	Malformed        Reason = iota + 1 // cannot be decoded where its meaning matters
	UnknownIssuer                      // was issued by an authority that is not among those known
	BadSignature                       // does not carry its issuer's signature
	Expired                            // has expired
	NotYetValid                        // is not valid yet
	NotCA                              // belongs to no authority and yet has issued certificates
	PathTooLong                        // has issued an authority that its path length forbids
	WrongKeyUsage                      // has a key that may not be used so
	WrongPurpose                       // is made for another purpose
	NameNotPermitted                   // has a name outside an authority's name constraints
	PolicyNotMet                       // leads to a chain without a valid certificate policy
	UnknownCritical                    // has a critical extension that nobody here understands
	WeakKey                            // has a key that is too weak, or of a kind not allowed
	WeakHash                           // is signed in a way that is too weak
	NameMismatch                       // belongs to somebody else
	Revoked                            // has been revoked
	CRLMissing                         // has an issuer whose revocation list is wanted and missing
	CRLExpired                         // has an issuer whose revocation list is out of date
	CRLUnusable                        // has an issuer whose revocation list cannot be believed
	Nonconformant                      // breaks a rule of the policy's Profile
	TooComplex                         // takes more work to verify than we are willing to do
)

var reasonTexts = [...]struct{ name, text string }{
	Malformed:        {"malformed", "is malformed"},
	UnknownIssuer:    {"unknown-issuer", "was issued by an authority that is not known"},
	BadSignature:     {"bad-signature", "is not signed by its issuer"},
	Expired:          {"expired", "has expired"},
	NotYetValid:      {"not-yet-valid", "is not valid yet"},
	NotCA:            {"not-ca", "has issued certificates without being an authority's"},
	PathTooLong:      {"path-too-long", "has more authorities below it than its path length allows"},
	WrongKeyUsage:    {"wrong-key-usage", "has a key usage that does not allow this use"},
	WrongPurpose:     {"wrong-purpose", "is made for another purpose"},
	NameNotPermitted: {"name-not-permitted", "has a name that its authorities are not permitted to certify"},
	PolicyNotMet:     {"policy-not-met", "is in a chain that no certificate policy covers"},
	UnknownCritical:  {"unknown-critical", "has a critical extension that is not understood"},
	WeakKey:          {"weak-key", "has a key that is too weak"},
	WeakHash:         {"weak-hash", "has a signature that is too weak"},
	NameMismatch:     {"name-mismatch", "belongs to somebody else"},
	Revoked:          {"revoked", "has been revoked"},
	CRLMissing:       {"crl-missing", "has an issuer whose CRL is missing"},
	CRLExpired:       {"crl-expired", "has an issuer whose CRL is out of date"},
	CRLUnusable:      {"crl-unusable", "has an issuer whose CRL cannot be used"},
	Nonconformant:    {"nonconformant", "breaks the rules for authorities"},
	TooComplex:       {"too-complex", "takes too much work to verify"},
}

// String returns the reason's stable name, such as "unknown-issuer".
func (r Reason) String() string {
	if r < Malformed || int(r) >= len(reasonTexts) {
		return fmt.Sprintf("reason %d", int(r))
	}
	return reasonTexts[r].name
}

// A Problem is one thing that is wrong with one certificate of a chain.
type Problem struct {
	Reason      Reason
	Certificate *Certificate
	Got         string // what was found; may be empty
	Want        string // what was wanted; may be empty
}

// String says which certificate, what is wrong, what was found and what was wanted.
func (p Problem) String() string {
	s := fmt.Sprintf("certificate %s %s", p.Certificate, reasonTexts[p.Reason].text)
	if p.Got != "" {
		s += ": found " + p.Got
	}
	if p.Want != "" {
		s += "; wanted " + p.Want
	}
	return s
}

// A VerifyError says why a certificate is not trusted: everything that is wrong
// with the chain that came closest, the most telling problem first.
type VerifyError struct {
	Problems []Problem      // at least one
	Chain    []*Certificate // the chain they were found on, leaf first, as far as it could be built
}

// Error names the first problem and counts the others.
func (e *VerifyError) Error() string {
	s := e.Problems[0].String()
	if n := len(e.Problems) - 1; n > 0 {
		var names []string
		for _, p := range e.Problems[1:] {
			if name := p.Reason.String(); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		s += fmt.Sprintf(" (and %d more: %s)", n, strings.Join(names, ", "))
	}
	return s
}

// Reason returns the reason of the first problem.
func (e *VerifyError) Reason() Reason { return e.Problems[0].Reason }

// Has tells whether any problem has one of the reasons.
func (e *VerifyError) Has(reasons ...Reason) bool {
	return slices.ContainsFunc(e.Problems, func(p Problem) bool { return slices.Contains(reasons, p.Reason) })
}
