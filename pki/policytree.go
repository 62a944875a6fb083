package pki

import (
	"encoding/asn1"
	"fmt"
	"maps"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// certPolicies are the extensions about certificate policies of one
// certificate. Counts are -1 where the extension or the field is absent.
type certPolicies struct {
	policies        []PolicyInformation
	mappings        [][2]asn1.ObjectIdentifier // issuer's, subject's
	requireExplicit int
	inhibitMapping  int
	inhibitAny      int
	work            int // what applying them costs of [maxNameWork]
}

var anyPolicy = asn1.ObjectIdentifier{2, 5, 29, 32, 0}

func (x Extensions) certPolicies() (p certPolicies, err error) {
	p.requireExplicit, p.inhibitMapping, p.inhibitAny = -1, -1, -1
	if p.policies, err = x.Policies(); err != nil {
		return p, err
	}
	defer func() { p.work = nameWork * (len(p.policies) + len(p.mappings)) }()
	if e := x.Find(OIDPolicyMappings); e != nil {
		seq, ok := sequence(e.Value)
		for ok && !seq.Empty() {
			var pair cryptobyte.String
			var m [2]asn1.ObjectIdentifier
			ok = seq.ReadASN1(&pair, cbasn1.SEQUENCE) && pair.ReadASN1ObjectIdentifier(&m[0]) &&
				pair.ReadASN1ObjectIdentifier(&m[1]) && pair.Empty() && !m[0].Equal(anyPolicy) && !m[1].Equal(anyPolicy)
			p.mappings = append(p.mappings, m)
		}
		if !ok || len(p.mappings) == 0 {
			return p, malformed("policy mappings")
		}
	}
	if e := x.Find(OIDPolicyConstraints); e != nil {
		seq, ok := sequence(e.Value)
		ok = ok && !seq.Empty() && readSkip(&seq, prim(0), &p.requireExplicit) && readSkip(&seq, prim(1), &p.inhibitMapping)
		if !ok || !seq.Empty() {
			return p, malformed("policy constraints")
		}
	}
	if e := x.Find(OIDInhibitAnyPolicy); e != nil {
		in := cryptobyte.String(e.Value)
		if !readSkip(&in, cbasn1.INTEGER, &p.inhibitAny) || p.inhibitAny < 0 || !in.Empty() {
			return p, malformed("inhibitAnyPolicy")
		}
	}
	return p, nil
}

// readSkip reads an optional count of certificates, under any tag.
func readSkip(in *cryptobyte.String, tag cbasn1.Tag, n *int) bool {
	if !in.PeekASN1Tag(tag) {
		return true
	}
	var content cryptobyte.String
	if !in.ReadASN1(&content, tag) || len(content) == 0 || content[0]&0x80 != 0 {
		return false
	}
	// No chain is so long that a greater number would make a difference.
	*n = 1 << 20
	if v := signedInt(content); v.IsInt64() && v.Int64() < 1<<20 {
		*n = int(v.Int64())
	}
	return true
}

// A policySet is the bottom level of RFC 5280's policy tree: the policies that
// are valid so far, each with those that the next certificate may have for it.
// Where the relying party asks for no policy in particular, as here, nothing
// above the bottom level matters: it is the graph of RFC 9618 without history.
type policySet map[string][]asn1.ObjectIdentifier

// checkPolicies applies RFC 5280, 6.1, as far as it is about certificate
// policies, to a chain, leaf first. Any policy will do, but where an authority
// demands that there be one the chain must have one. The anchor's own
// constraints count, its policies do not.
func (v *verifier) checkPolicies(chain []*member) []Problem {
	for _, m := range chain {
		if v.work -= m.policies.work; v.work < 0 {
			return []Problem{{TooComplex, m.cert, "more certificate policies than we compare", fmt.Sprintf("at most %d", maxNameWork/nameWork)}}
		}
	}
	n := len(chain) - 1
	anchor := chain[n].policies
	explicit := lower(n+1, anchor.requireExplicit)
	mapping := lower(n+1, anchor.inhibitMapping)
	inhibitAny := lower(n+1, anchor.inhibitAny)
	set := policySet{anyPolicy.String(): {anyPolicy}}
	for i := n - 1; i >= 0; i-- {
		m := chain[i]
		set = set.next(m.policies.policies, inhibitAny > 0 || i > 0 && m.selfIssued)
		if i == 0 {
			break
		}
		set.apply(m.policies.mappings, mapping > 0)
		if !m.selfIssued {
			explicit, mapping, inhibitAny = max(explicit-1, 0), max(mapping-1, 0), max(inhibitAny-1, 0)
		}
		explicit = lower(explicit, m.policies.requireExplicit)
		mapping = lower(mapping, m.policies.inhibitMapping)
		inhibitAny = lower(inhibitAny, m.policies.inhibitAny)
	}
	explicit = max(explicit-1, 0)
	if n > 0 && chain[0].policies.requireExplicit == 0 {
		explicit = 0
	}
	if explicit == 0 && len(set) == 0 {
		return []Problem{{PolicyNotMet, chain[0].cert, "", "a certificate policy, which an authority above it demands"}}
	}
	return nil
}

func lower(n, limit int) int {
	if limit >= 0 {
		return min(n, limit)
	}
	return n
}

// next goes down to a certificate's policies (RFC 5280, 6.1.3 (d) and (e)).
func (s policySet) next(policies []PolicyInformation, allowAny bool) policySet {
	expected := policySet{}
	for _, oids := range s {
		for _, oid := range oids {
			expected[oid.String()] = []asn1.ObjectIdentifier{oid}
		}
	}
	below := policySet{}
	hasAny := false
	for _, p := range policies {
		name := p.OID.String()
		if p.OID.Equal(anyPolicy) {
			hasAny = true
		} else if expected[name] != nil || expected[anyPolicy.String()] != nil {
			below[name] = []asn1.ObjectIdentifier{p.OID}
		}
	}
	if hasAny && allowAny {
		maps.Copy(below, expected)
	}
	return below
}

// apply maps policies to those of the subject's domain, or drops them where
// mapping is inhibited (RFC 5280, 6.1.4 (b)).
func (s policySet) apply(mappings [][2]asn1.ObjectIdentifier, allowed bool) {
	mapped := map[string][]asn1.ObjectIdentifier{}
	for _, m := range mappings {
		mapped[m[0].String()] = append(mapped[m[0].String()], m[1])
	}
	for from, to := range mapped {
		_, valid := s[from]
		_, wild := s[anyPolicy.String()]
		switch {
		case !allowed:
			delete(s, from)
		case valid || wild:
			s[from] = to
		}
	}
}
