package pki

import (
	"cmp"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds on the work that a bundle made to hurt can cause. A chain of a real
// authority needs a signature check for each of its certificates.
const (
	// DefaultMaxIntermediates is how many intermediate authorities a chain may
	// have unless told otherwise. GnuTLS takes 16 certificates in all.
	DefaultMaxIntermediates = 8
	maxSignatureChecks      = 128
	maxSteps                = 1024 // certificates tried as issuers
	maxSelfIssued           = 8    // self-issued intermediates, which have no other limit
)

// NoIntermediates as [VerifyOptions.MaxIntermediates] wants the leaf to be
// issued by an anchor.
const NoIntermediates = -1

// VerifyOptions say whom to trust and what for. The zero value trusts nobody.
type VerifyOptions struct {
	// Roots are the trust anchors: authorities that are believed without
	// further proof. They must be in order in every other way: an expired root
	// is refused, and its name constraints and path length apply, as with GnuTLS.
	Roots []*Certificate

	// PartialChain makes anchors also of those Roots that are not self-issued,
	// such as an intermediate authority without its root, as GnuTLS does
	// always. Without it they only help to build chains.
	PartialChain bool

	// Intermediates help to build chains and are not trusted by themselves.
	Intermediates []*Certificate

	// CRLs are consulted for every certificate below the anchor. One that no
	// list speaks for passes unless RequireCRL is set. A list past its
	// nextUpdate is refused unless AllowStaleCRL is set, and still believed in
	// what it revokes; GnuTLS never minds.
	CRLs          []*CRL
	RequireCRL    bool
	AllowStaleCRL bool

	Time     time.Time             // of the judgement; now if zero
	Purpose  asn1.ObjectIdentifier // what the chain must be good for; nil for anything
	KeyUsage KeyUsage              // what the leaf's key usage, if it has one, must allow
	Hostname string                // the host that the leaf must belong to ([MatchHostname]); not looked at if empty

	MaxIntermediates int             // self-issued ones not counted; 0 is DefaultMaxIntermediates
	Policy           *Policy         // StrictPolicy if nil
	Signatures       *SignatureCache // those found right in earlier calls; nil to check all
}

// A Result is a chain that can be trusted.
type Result struct {
	Chain []*Certificate // leaf first, anchor last
	Match NameMatch      // how the leaf matched Hostname; 0 if that was empty
}

// Verify finds a chain from leaf to one of the Roots that meets the options
// and RFC 5280, section 6: signatures, times, basic constraints, path lengths,
// key usage, purposes in leaf and authorities, name constraints, certificate
// policies, critical extensions, revocation. It takes classical, ML-DSA and
// mixed chains. The error is a *[VerifyError].
//
// The work is bounded whatever the certificates are. Verify changes none of
// its arguments and may be called concurrently.
func Verify(leaf *Certificate, o VerifyOptions) (*Result, error) {
	v := newVerifier(leaf, o)
	match, problems := v.checkLeaf()
	// The first search goes only through what is in order. If that leads
	// nowhere, the second one looks for the chain with the least amiss, to say why.
	if len(problems) == 0 && v.search([]*member{v.leaf}, nil, true) {
		return &Result{certificates(v.found), match}, nil
	}
	v.steps, v.work = maxSteps, maxNameWork
	v.search([]*member{v.leaf}, problems, false)
	slices.SortStableFunc(v.best, func(a, b Problem) int { return cmp.Compare(a.Reason, b.Reason) })
	return nil, &VerifyError{Problems: v.best, Chain: certificates(v.found)}
}

var errBudget = errors.New("too many signatures to check")

type verifier struct {
	o       VerifyOptions
	policy  *Policy
	now     time.Time
	leaf    *member
	members map[*Certificate]*member

	anchors  map[string]bool           // the DER of the Roots
	known    map[string][]*Certificate // where to look for issuers, by subject, anchors first
	lists    map[string][]*CRL         // by issuer
	entities map[string]int            // numbers of subjects with their keys

	steps, signatures, work int                      // what may still be done
	checked                 map[[2]any]error         // signatures: what is signed, and by which member
	revoked                 map[[2]*member][]Problem // what the CRLs of the second say of the first

	found []*member // the chain that is trusted, or the one that came closest
	best  []Problem // what is wrong with the latter
	rank  int       // how close it came
}

func newVerifier(leaf *Certificate, o VerifyOptions) *verifier {
	v := &verifier{
		o: o, policy: o.Policy, now: o.Time, steps: maxSteps, signatures: maxSignatureChecks, work: maxNameWork,
		members: map[*Certificate]*member{}, anchors: map[string]bool{}, known: map[string][]*Certificate{}, lists: map[string][]*CRL{},
		entities: map[string]int{}, checked: map[[2]any]error{}, revoked: map[[2]*member][]Problem{},
	}
	if v.policy == nil {
		v.policy = StrictPolicy()
	}
	if v.now.IsZero() {
		v.now = time.Now()
	}
	for _, c := range o.Roots {
		v.anchors[string(c.Raw)] = true
	}
	seen := map[string]bool{}
	for _, c := range slices.Concat(o.Roots, o.Intermediates) {
		if !seen[string(c.Raw)] {
			seen[string(c.Raw)] = true
			v.known[string(c.RawSubject)] = append(v.known[string(c.RawSubject)], c)
		}
	}
	for _, crl := range o.CRLs {
		v.lists[string(crl.RawIssuer)] = append(v.lists[string(crl.RawIssuer)], crl)
	}
	v.leaf = v.member(leaf)
	return v
}

// entity returns a number that a certificate shares with those of the same
// name and key. One of them is enough in a chain.
func (v *verifier) entity(c *Certificate) int {
	key := string(c.RawSubject) + string(c.PublicKey.Raw) // both tell their lengths
	if _, ok := v.entities[key]; !ok {
		v.entities[key] = len(v.entities)
	}
	return v.entities[key]
}

func (v *verifier) member(c *Certificate) *member {
	m := v.members[c]
	if m == nil {
		m = v.newMember(c)
		v.members[c] = m
	}
	return m
}

func certificates(chain []*member) (certs []*Certificate) {
	for _, m := range chain {
		certs = append(certs, m.cert)
	}
	return certs
}

// checkLeaf judges the leaf by itself.
func (v *verifier) checkLeaf() (match NameMatch, problems []Problem) {
	problems = append(problems, v.leaf.problems...)
	problems = append(problems, v.leaf.asLeaf(&v.o)...)
	if v.policy.Profile == WebPKI {
		problems = append(problems, v.leaf.checkWebPKILeaf(v.policy)...)
	}
	cn, ok := fallbackName(v.leaf.cert)
	if ok && mayName(cn) {
		v.leaf.hostCN = cn
	}
	if v.o.Hostname == "" {
		return 0, problems
	}
	match, err := MatchHostname(v.leaf.cert, v.o.Hostname)
	if match == ByCommonName {
		v.leaf.hostCN = cn // as odd as it may be
	}
	if match == ByCommonName && v.policy.Profile == WebPKI {
		err = &HostnameError{v.leaf.cert, v.o.Hostname}
	}
	var mismatch *HostnameError
	if errors.As(err, &mismatch) {
		problems = append(problems, Problem{NameMismatch, v.leaf.cert, "a certificate for " + mismatch.found(), v.o.Hostname})
	}
	return match, problems
}

// search extends a chain, whose problems are known, up to an anchor. A strict
// search gives up a chain at its first problem and returns true when it has
// found one without. The other kind notes the chain that came closest.
func (v *verifier) search(chain []*member, problems []Problem, strict bool) bool {
	last := chain[len(chain)-1]
	if last.anchor {
		problems = append(problems, v.complete(chain)...)
		v.note(chain, problems, rankAnchored)
		return len(problems) == 0
	}
	issuers, tooLong := v.candidates(chain)
	v.note(chain, append(slices.Clip(problems), last.unknown), rankUntrusted)
	if tooLong {
		v.note(chain, append(slices.Clip(problems), Problem{TooComplex, last.cert, "a chain that goes on",
			fmt.Sprintf("no more than %d intermediate authorities", v.maxIntermediates())}), rankTooComplex)
	}
	for _, issuer := range issuers {
		if v.steps--; v.steps < 0 {
			v.note(chain, append(slices.Clip(problems), Problem{TooComplex, last.cert, "more possible issuers than we try", ""}), rankTooComplex)
			return false
		}
		if err := v.checkSignature(last.cert, issuer); err != nil {
			reason, rank := BadSignature, rankBadSignature
			if errors.Is(err, errBudget) {
				reason, rank = TooComplex, rankTooComplex
			}
			v.note(chain, append(slices.Clip(problems), Problem{reason, last.cert, err.Error(), "the signature of " + issuer.cert.String()}), rank)
			continue
		}
		more := v.checkLink(chain, issuer)
		if strict && len(more) > 0 {
			continue
		}
		if v.search(append(slices.Clip(chain), issuer), append(slices.Clip(problems), more...), strict) {
			return true
		}
	}
	return false
}

// seek finds, once, who may have issued a certificate, and what to say if that
// leads to no anchor.
func (v *verifier) seek(m *member) {
	if m.sought {
		return
	}
	m.sought = true
	m.unknown = Problem{UnknownIssuer, m.cert, "issuer " + m.cert.Issuer.Short(), "one of the trusted authorities"}
	if m.selfIssued {
		m.unknown.Got, m.unknown.Want = "a self-issued certificate", "it among the trusted authorities"
	}
	var namesake *Certificate
	for _, c := range v.known[string(m.cert.RawIssuer)] {
		if c.Issued(m.cert) {
			m.issuers = append(m.issuers, v.member(c))
		} else if namesake == nil {
			namesake = c
		}
	}
	if namesake != nil {
		m.unknown.Got += " with key identifier " + briefHex(m.cert.issuerKeyID)
		m.unknown.Want = briefHex(namesake.keyID) + ": the known authority of that name has another key"
	}
	slices.SortStableFunc(m.issuers, func(a, b *member) int { return a.preference() - b.preference() })
}

// How close chains come to being trusted.
const (
	rankUntrusted = iota + 1
	rankBadSignature
	rankTooComplex
	rankAnchored
)

// note keeps a chain if it is the best so far. Among those that reach an
// anchor the one with fewest problems is the best, among others the longest.
func (v *verifier) note(chain []*member, problems []Problem, rank int) {
	better := len(chain) > len(v.found)
	if rank == rankAnchored {
		better = len(problems) < len(v.best)
	}
	if rank > v.rank || rank == v.rank && better {
		v.found, v.best, v.rank = slices.Clone(chain), slices.Clone(problems), rank
	}
}

// candidates returns the certificates that may have issued the last one of a
// chain: by name and key identifier, anchors first, then those that are in
// order. None stands in the chain already, and none makes it too long.
// tooLong tells whether the latter left one out.
func (v *verifier) candidates(chain []*member) (issuers []*member, tooLong bool) {
	last := chain[len(chain)-1]
	v.seek(last)
	for _, m := range last.issuers {
		switch {
		case slices.ContainsFunc(chain, func(o *member) bool { return o.entity == m.entity }):
		case !m.anchor && v.isLong(chain, m):
			tooLong = true
		default:
			issuers = append(issuers, m)
		}
	}
	return issuers, tooLong
}

func (v *verifier) maxIntermediates() int {
	return max(cmp.Or(v.o.MaxIntermediates, DefaultMaxIntermediates), 0)
}

// isLong tells whether a chain has no room for one more intermediate.
func (v *verifier) isLong(chain []*member, m *member) bool {
	counted := intermediates(chain)
	if m.selfIssued {
		return len(chain)-1-counted >= maxSelfIssued
	}
	return counted >= v.maxIntermediates()
}

func (m *member) preference() int {
	switch {
	case m.anchor:
		return 0
	case len(m.problems) == 0:
		return 1
	}
	return 2
}

// checkSignature checks, once, that issuer has signed a certificate or CRL.
func (v *verifier) checkSignature(signed signedBy, issuer *member) error {
	key := [2]any{signed, issuer}
	err, done := v.checked[key]
	if !done {
		if v.signatures--; v.signatures < 0 {
			return errBudget
		}
		err = v.o.Signatures.check(signed.der(), issuer.cert.PublicKey, func() error { return signed.CheckSignatureFrom(issuer.cert) })
		v.checked[key] = err
	}
	return err
}

// checkLink returns what is wrong with putting issuer on top of a chain.
func (v *verifier) checkLink(chain []*member, issuer *member) []Problem {
	last := chain[len(chain)-1]
	return slices.Concat(
		v.policy.checkSignature(last.cert, last.signature),
		issuer.problems,
		issuer.asIssuer(chain, v.o.Purpose),
		issuer.checkNames(chain, &v.work),
	)
}

// complete returns what is wrong with a chain as a whole.
func (v *verifier) complete(chain []*member) []Problem {
	return slices.Concat(v.checkPolicies(chain), v.checkRevocation(chain))
}
