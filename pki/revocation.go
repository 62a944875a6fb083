package pki

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"virtls/pki/dn"
)

// checkRevocation looks every certificate of a chain but the anchor up in the
// CRLs of its issuer (RFC 5280, 6.3.3).
func (v *verifier) checkRevocation(chain []*member) (problems []Problem) {
	for i, m := range chain[:len(chain)-1] {
		pair := [2]*member{m, chain[i+1]}
		found, known := v.revoked[pair]
		if !known {
			found = v.checkRevoked(m, chain[i+1])
			v.revoked[pair] = found
		}
		problems = append(problems, found...)
	}
	return problems
}

// checkRevoked says whether issuer has revoked m. Every list that speaks for
// the issuer is consulted: one of them is enough to refuse m.
func (v *verifier) checkRevoked(m, issuer *member) []Problem {
	var doubts []Problem
	judged := false
	for _, crl := range v.lists[string(issuer.cert.RawSubject)] {
		entry := crl.Find(m.cert.Serial)
		signer, err := v.crlSigner(crl, issuer)
		if err == nil {
			err = v.crlForm(crl, signer)
		}
		if errors.Is(err, errBudget) {
			// What this list says might matter more than what others do.
			return []Problem{{TooComplex, m.cert, err.Error(), ""}}
		}
		if err != nil {
			doubts = addProblem(doubts, Problem{CRLUnusable, m.cert, err.Error(), ""})
			continue
		}
		if entry != nil {
			return []Problem{{Revoked, m.cert,
				fmt.Sprintf("it in the CRL of %s since %s: %s", issuer.cert.Subject.Short(), stamp(entry.RevokedAt), entry.Reason()), ""}}
		}
		if stale := v.crlTimes(m, crl); stale != nil {
			doubts = addProblem(doubts, *stale)
			continue
		}
		judged = true
	}
	if judged {
		return nil
	}
	if doubts == nil && v.o.RequireCRL {
		return []Problem{{CRLMissing, m.cert, "none", "a CRL of " + issuer.cert.Subject.Short()}}
	}
	return doubts
}

// crlSigner finds who signed a list in the issuer's name: the issuer, or an
// anchor of the same name, because an authority that changes its key revokes
// what it issued with the old one.
func (v *verifier) crlSigner(crl *CRL, issuer *member) (*member, error) {
	err := v.checkSignature(crl, issuer)
	if err == nil {
		return issuer, nil
	}
	for _, c := range v.known[string(crl.RawIssuer)] {
		if !v.anchors[string(c.Raw)] || v.signatures <= 0 {
			break // anchors come first
		}
		if m := v.member(c); c != issuer.cert && v.checkSignature(crl, m) == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("a CRL of %s that does not carry its signature: %w", issuer.cert.Subject.Short(), err)
}

// crlForm says what makes a list unusable whatever it holds.
func (v *verifier) crlForm(crl *CRL, signer *member) error {
	if signer.hasUsage && signer.usage&CRLSign == 0 {
		return fmt.Errorf("a CRL signed by %s, whose key usage lacks cRLSign", signer.cert)
	}
	if weak := v.policy.checkSignature(signer.cert, crl.SignatureAlgorithm()); weak != nil {
		return fmt.Errorf("a CRL signed with %s; wanted %s", weak[0].Got, weak[0].Want)
	}
	seen := map[string]bool{}
	for _, e := range crl.Extensions {
		oid := e.OID.String()
		if seen[oid] {
			return fmt.Errorf("a CRL with extension %s twice", dn.ShortOID(e.OID))
		}
		seen[oid] = true
		switch {
		case e.OID.Equal(OIDIssuingDistribution) && !plainDistribution(e.Value):
			return fmt.Errorf("a CRL that covers some certificates only")
		case e.OID.Equal(OIDDeltaCRL):
			return fmt.Errorf("a delta CRL, which is not supported")
		case e.Critical && !e.OID.Equal(OIDIssuingDistribution) && !e.OID.Equal(OIDCRLNumber) && !e.OID.Equal(OIDAuthorityKeyID):
			return fmt.Errorf("a CRL with critical extension %s, which is not understood", dn.ShortOID(e.OID))
		}
	}
	for _, r := range crl.Revoked {
		for _, e := range r.Extensions {
			if e.Critical && !e.OID.Equal(OIDReasonCode) && !e.OID.Equal(OIDInvalidityDate) {
				return fmt.Errorf("a CRL with critical entry extension %s, which is not understood", dn.ShortOID(e.OID))
			}
		}
	}
	if v.policy.Profile >= RFC5280 {
		if n := crl.Extensions.Find(OIDCRLNumber); n == nil || n.Critical {
			return fmt.Errorf("a CRL without a non-critical CRL number (RFC 5280, 5.2.3)")
		}
	}
	return nil
}

// plainDistribution tells whether an issuing distribution point (RFC 5280,
// 5.2.5) says no more than where the list is to be had.
func plainDistribution(der []byte) bool {
	seq, ok := sequence(der)
	var name cryptobyte.String
	var present bool
	return ok && seq.ReadOptionalASN1(&name, &present, ctx(0)) && seq.Empty()
}

// crlTimes says what is wrong with the age of a list. Without nextUpdate it
// has no end, as certtool and GnuTLS see it.
func (v *verifier) crlTimes(m *member, crl *CRL) *Problem {
	now := v.now.Truncate(time.Second)
	switch {
	case now.Before(crl.ThisUpdate):
		return &Problem{CRLUnusable, m.cert, "a CRL issued at " + stamp(crl.ThisUpdate), "one issued before " + stamp(now)}
	case !v.o.AllowStaleCRL && !crl.NextUpdate.IsZero() && now.After(crl.NextUpdate):
		return &Problem{CRLExpired, m.cert, "a CRL whose next update was due at " + stamp(crl.NextUpdate), "one that is valid at " + stamp(now)}
	}
	return nil
}
