package pki

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"virtls/pki/dn"
)

// GnuTLSPolicy returns what GnuTLS 3.7.9 to 3.8.13 demand of keys and
// signatures under the priority NORMAL (verification profile LOW), which is
// what QEMU and libvirt use: RSA keys of 1024 bits, any curve, no MD5 and no
// SHA-1. It is for those who must accept what QEMU and libvirt accept;
// [PredictGnuTLS] tells what they accept.
func GnuTLSPolicy() *Policy {
	return &Policy{
		MinRSABits: 1024,
		MinECBits:  160,
		Hashes: []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512,
			crypto.SHA3_224, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512},
		AnyPSSSalt: true,
	}
}

// GnuTLSOptions say how GnuTLS is asked for its opinion.
type GnuTLSOptions struct {
	Trusted []*Certificate // in the order of their file
	CRLs    []*CRL         // in the order of their file; never checked themselves

	// Own asks as QEMU and libvirt ask about their own certificate before they
	// use it (gnutls_x509_crt_list_verify): the chain as it is in the file,
	// keys of any size, no CRLs. Else they ask about a peer's
	// (gnutls_certificate_verify_peers2), whose certificates may come in any order.
	Own bool

	// NotSame does without the rule that a leaf found among Trusted is trusted
	// whatever it is, as certtool --verify does.
	NotSame bool

	Profile GnuTLSProfile         // that of NORMAL if empty; what suiteb128 and suiteb192 demand is not looked at
	Purpose asn1.ObjectIdentifier // what certtool's --verify-purpose asks for; QEMU and libvirt ask for nothing
	Time    time.Time             // now if zero
	MLDSA   GnuTLSMLDSA           // what GnuTLS makes of ML-DSA
}

// A GnuTLSProfile is a verification profile by the name that certtool's
// --verify-profile has for it. Priority strings set one too: NORMAL is "low".
type GnuTLSProfile string

// NoGnuTLSProfile is what certtool uses unless told otherwise.
const NoGnuTLSProfile GnuTLSProfile = "none"

// gnutlsProfiles holds the least sizes that each profile demands: of the
// strength of a hash, half its length, and of keys, in bits (GnuTLS 3.8.13, secparams.c).
var gnutlsProfiles = map[GnuTLSProfile]struct{ hash, rsa, ec int }{
	NoGnuTLSProfile: {0, 0, 0},
	"very weak":     {64, 767, 0},
	"low":           {80, 1024, 160},
	"legacy":        {96, 1776, 192},
	"medium":        {112, 2048, 224},
	"high":          {128, 3072, 256},
	"ultra":         {192, 8192, 384},
	"future":        {256, 15360, 512},
}

// A GnuTLSMLDSA says what a build of GnuTLS makes of ML-DSA.
type GnuTLSMLDSA int

// The kinds of builds. GnuTLS 3.7.9 has never heard of it; Debian's 3.8.9 and
// 3.8.13 know the name but cannot compute; builds with leancrypto or liboqs can.
const (
	MLDSAUnknown GnuTLSMLDSA = iota
	MLDSANamed
	MLDSAUsable
)

const (
	gnutlsMaxChain      = 16      // certificates that GnuTLS takes from a peer
	gnutlsMaxNameChecks = 1 << 20 // comparisons of names; 3.7.9 has no limit
)

// PredictGnuTLS judges a chain, leaf first, as GnuTLS 3.7.9 to 3.8.13 does, its
// omissions included: anything among Trusted is an anchor, only the leaf is
// held to name constraints, those that permit directory names or URIs are not
// looked at and those that exclude some exclude all, certificate policies, nested purposes and the dates of CRLs not
// at all. QEMU and libvirt put their own checks on top. What GnuTLS does not
// load in the first place is for [PredictGnuTLSImport]. DSA signatures, which
// it knows, are not computed here and count as wrong.
//
// The error is a *[VerifyError] with the reasons that correspond to the bits of
// gnutls_certificate_status_t; every problem sets GNUTLS_CERT_INVALID too. For
// no chain at all it is [GnuTLSNoCertificate].
func PredictGnuTLS(chain []*Certificate, o GnuTLSOptions) error {
	if len(chain) == 0 {
		return GnuTLSNoCertificate
	}
	if o.Profile == "" {
		o.Profile = "low"
	}
	if o.Own {
		o.Profile = NoGnuTLSProfile
	}
	g := &gnutls{o: o, now: o.Time}
	if g.now.IsZero() {
		g.now = time.Now()
	}
	g.now = g.now.Truncate(time.Second)
	if o.Own {
		return gnutlsError(g.verify(chain, o.Trusted), chain)
	}
	if len(chain) > gnutlsMaxChain {
		return gnutlsError([]Problem{{TooComplex, chain[0], fmt.Sprintf("%d certificates", len(chain)), fmt.Sprintf("at most %d", gnutlsMaxChain)}}, chain)
	}
	chain = g.arrange(chain)
	last := chain[len(chain)-1]
	problems := g.verify(chain, g.named(last.RawIssuer))
	first := VerifyError{Problems: problems}
	if first.Has(UnknownIssuer, Expired, WeakKey, WeakHash) && !last.SelfIssued() {
		// The last certificate may itself be trusted.
		if again := g.verify(chain, g.named(last.RawSubject)); again == nil || first.Has(UnknownIssuer) {
			problems = again
		}
	}
	if !gnutlsAllows(chain[0], o.Purpose, true) {
		problems = append(problems, Problem{WrongPurpose, chain[0], "", purposeName(o.Purpose)})
	}
	if problems == nil {
		problems = g.revoked(chain)
	}
	return gnutlsError(problems, chain)
}

func gnutlsError(problems []Problem, chain []*Certificate) error {
	if problems == nil {
		return nil
	}
	return &VerifyError{Problems: problems, Chain: chain}
}

type gnutls struct {
	o        GnuTLSOptions
	now      time.Time
	maxPath  int
	limits   []*subtrees
	v1       bool // authorities without basic constraints are still allowed
	problems []Problem
}

func (g *gnutls) fault(r Reason, c *Certificate, got, want string) {
	g.problems = append(g.problems, Problem{r, c, got, want})
}

// named returns the trusted certificates of a name.
func (g *gnutls) named(subject []byte) (cas []*Certificate) {
	for _, c := range g.o.Trusted {
		if bytes.Equal(c.RawSubject, subject) {
			cas = append(cas, c)
		}
	}
	return cas
}

// arrange puts each certificate before its issuer as far as that can be done,
// and ends the chain where a trusted issuer is reached.
func (g *gnutls) arrange(chain []*Certificate) []*Certificate {
	chain = slices.Clone(chain)
	seen := map[string]bool{}
	for i := 0; i < len(chain); {
		n := sortSegment(chain[i:])
		if j := slices.IndexFunc(chain[i:i+n], func(c *Certificate) bool { return seen[string(c.Raw)] }); j >= 0 {
			chain = slices.Delete(chain, i+j, i+j+1)
			continue
		}
		for ; n > 0; n, i = n-1, i+1 {
			seen[string(chain[i].Raw)] = true
		}
		if slices.ContainsFunc(g.o.Trusted, func(ca *Certificate) bool { return ca.Issued(chain[i-1]) }) {
			chain = chain[:i]
		}
	}
	if len(chain) > 1 && gnutlsSelfIssued(chain[len(chain)-1]) {
		chain = chain[:len(chain)-1]
	}
	return chain
}

// sortSegment moves the issuers of the first certificate right behind it and
// returns how many certificates the chain has that way.
func sortSegment(chain []*Certificate) int {
	sorted := []*Certificate{chain[0]}
	rest := slices.Clone(chain[1:])
	for {
		last := sorted[len(sorted)-1]
		i := -1
		if !gnutlsSelfIssued(last) {
			i = slices.IndexFunc(rest, func(c *Certificate) bool { return c.Issued(last) })
		}
		if i < 0 {
			break
		}
		sorted = append(sorted, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	copy(chain, append(slices.Clone(sorted), rest...))
	return len(sorted)
}

func gnutlsSelfIssued(c *Certificate) bool { return c.Issued(c) }

// verify judges a chain against the authorities that may have issued its end.
func (g *gnutls) verify(chain, cas []*Certificate) []Problem {
	g.problems, g.limits, g.maxPath, g.v1 = nil, nil, 4096, true
	if n := len(chain); n > 1 && gnutlsSelfIssued(chain[n-1]) {
		chain = chain[:n-1]
	}
	for i, c := range chain {
		if i == 0 && g.o.NotSame {
			continue
		}
		if ca := trustedTwin(c, cas, i > 0); ca != nil {
			g.checkTime(ca)
			g.checkKey(ca)
			if g.problems != nil {
				return g.problems
			}
			chain = chain[:i]
			break
		}
	}
	for i := len(chain) - 1; i >= 0 && g.problems == nil; i-- {
		if i < len(chain)-1 {
			cas, g.v1 = chain[i+1:i+2], false
			if !gnutlsAllows(chain[i+1], g.o.Purpose, false) {
				g.fault(WrongPurpose, chain[i+1], "", purposeName(g.o.Purpose))
				break
			}
		}
		g.verifyLink(chain[i], cas, i == 0)
	}
	return g.problems
}

// trustedTwin finds a trusted certificate that is the same, or for an
// authority one of the same name and key.
func trustedTwin(c *Certificate, cas []*Certificate, authority bool) *Certificate {
	for _, ca := range cas {
		if bytes.Equal(ca.Raw, c.Raw) || authority && bytes.Equal(ca.RawSubject, c.RawSubject) && bytes.Equal(ca.PublicKey.Raw, c.PublicKey.Raw) {
			return ca
		}
	}
	return nil
}

// verifyLink judges a certificate and the one of cas that has issued it.
func (g *gnutls) verifyLink(c *Certificate, cas []*Certificate, leaf bool) {
	if g.maxPath == 0 {
		g.fault(PathTooLong, c, "", "")
		return
	}
	g.maxPath--
	issuer := g.issuer(c, cas)
	alg := c.SignatureAlgorithm()
	known := alg != SignatureAlgorithm{} && (g.o.MLDSA != MLDSAUnknown || !alg.Key.IsMLDSA())
	if issuer == nil {
		g.fault(UnknownIssuer, c, "issuer "+c.Issuer.Short(), "one of the trusted authorities")
	} else {
		g.checkNames(c, issuer, leaf)
		g.checkAuthority(c, issuer)
		if !known || !g.signed(c, issuer, alg) {
			g.fault(BadSignature, c, alg.String(), "the signature of "+issuer.String())
		}
		g.checkCritical(issuer)
	}
	if leaf {
		g.checkCritical(c)
	}
	if known {
		g.checkStrength(c, issuer, alg)
	}
	if issuer != nil {
		g.checkTime(issuer)
	}
	g.checkTime(c)
}

// issuer takes the first that fits, but a later one that is valid now over it.
func (g *gnutls) issuer(c *Certificate, cas []*Certificate) (issuer *Certificate) {
	for _, ca := range cas {
		if ca.Issued(c) && (issuer == nil || g.now.Before(ca.NotAfter) && !g.now.Before(ca.NotBefore)) {
			issuer = ca
		}
	}
	return issuer
}

// signed checks a signature. RSA keys must use PSS with a salt as long as the
// hash, keys made for PSS need not.
func (g *gnutls) signed(c, issuer *Certificate, alg SignatureAlgorithm) bool {
	if alg.Key.IsMLDSA() && g.o.MLDSA != MLDSAUsable ||
		alg.Key == RSAPSS && issuer.PublicKey.Algorithm == RSA && alg.SaltLength != alg.Hash.Size() {
		return false
	}
	key := issuer.PublicKey.Key
	return key != nil && VerifyMessage(key, alg, c.RawTBS, c.Signature) == nil
}

func (g *gnutls) checkAuthority(c, issuer *Certificate) {
	if issuer.Version == 1 && g.v1 {
		return
	}
	basic, err := issuer.Extensions.BasicConstraints()
	switch {
	case bytes.Equal(issuer.Raw, c.Raw) && !g.o.NotSame:
	case err == nil && basic != nil && basic.CA:
		if basic.PathLen >= 0 {
			g.maxPath = min(g.maxPath, basic.PathLen)
		}
	case err == nil && basic == nil && g.v1 && gnutlsSelfIssued(issuer):
	default:
		g.fault(NotCA, issuer, "", "basic constraints that say CA")
	}
	if usage, present, err := issuer.Extensions.KeyUsage(); present && (err != nil || usage&KeyCertSign == 0) {
		g.fault(WrongKeyUsage, issuer, "no keyCertSign", "keyCertSign")
	}
}

// gnutlsCritical are the extensions that GnuTLS lets be critical, whether it
// heeds them or not.
var gnutlsCritical = []asn1.ObjectIdentifier{
	OIDSubjectKeyID, OIDKeyUsage, OIDSubjectAltName, OIDIssuerAltName, OIDBasicConstraints, OIDNameConstraints,
	OIDCRLDistribution, OIDAuthorityKeyID, OIDExtKeyUsage, OIDAuthorityInfo, OIDTLSFeature, OIDCertificatePolicies,
	OIDInhibitAnyPolicy, {1, 3, 6, 1, 5, 5, 7, 1, 14}, // the last for proxy certificates
}

func (g *gnutls) checkCritical(c *Certificate) {
	for _, e := range c.Extensions {
		if e.Critical && !containsOID(gnutlsCritical, e.OID) {
			g.fault(UnknownCritical, c, dn.ShortOID(e.OID), "")
			return
		}
	}
}

// checkStrength applies the profile, and refuses MD5 and SHA-1 where they
// matter. A profile minds a weak hash even in a self-issued certificate.
func (g *gnutls) checkStrength(c, issuer *Certificate, alg SignatureAlgorithm) {
	g.checkKey(c)
	if issuer != nil {
		g.checkKey(issuer)
	}
	weak := alg.Hash != 0 && 4*alg.Hash.Size() < gnutlsProfiles[g.o.Profile].hash
	broken := alg.Hash == crypto.MD5 || alg.Hash == crypto.SHA1
	if weak || broken && !gnutlsSelfIssued(c) {
		g.fault(WeakHash, c, alg.String(), "")
	}
}

// checkKey applies the profile to a key. A kind of key that GnuTLS does not
// know has no size at all.
func (g *gnutls) checkKey(c *Certificate) {
	k, limits := c.PublicKey, gnutlsProfiles[g.o.Profile]
	least := limits.rsa
	switch {
	case k.Algorithm.HasCurve():
		least = limits.ec
	case k.Algorithm.IsMLDSA():
		if least = 0; g.o.MLDSA == MLDSAUnknown && g.o.Profile != NoGnuTLSProfile {
			g.fault(WeakKey, c, "an unknown kind of key", "")
			return
		}
	}
	if k.Size() < least {
		g.fault(WeakKey, c, fmt.Sprintf("%s, %d bits", k.Algorithm, k.Size()), fmt.Sprintf("at least %d bits", least))
	}
}

func (g *gnutls) checkTime(c *Certificate) {
	switch {
	case g.now.Before(c.NotBefore):
		g.fault(NotYetValid, c, "notBefore "+stamp(c.NotBefore), "")
	case g.now.After(c.NotAfter):
		g.fault(Expired, c, "notAfter "+stamp(c.NotAfter), "")
	}
}

// gnutlsAllows checks a purpose. Authorities must name it: "any" does not do.
func gnutlsAllows(c *Certificate, purpose asn1.ObjectIdentifier, anyDoes bool) bool {
	if purpose == nil || c.Extensions.Find(OIDExtKeyUsage) == nil {
		return true
	}
	purposes, _ := c.Extensions.ExtKeyUsage()
	return containsOID(purposes, purpose) || anyDoes && containsOID(purposes, PurposeAny)
}

// checkNames gathers the constraints on the way down and holds the leaf to them.
func (g *gnutls) checkNames(c, issuer *Certificate, leaf bool) {
	limits, err := issuer.Extensions.NameConstraints()
	var decoded *subtrees
	if err == nil && limits != nil {
		decoded, err = limits.subtrees()
	}
	if err != nil {
		g.fault(NameNotPermitted, issuer, err.Error(), "")
		return
	}
	if decoded != nil {
		g.limits = append(g.limits, decoded)
	}
	if !leaf || len(g.limits) == 0 {
		return
	}
	names, _ := c.Extensions.SubjectAltName()
	cns := c.Subject.CommonNames()
	if names.has(DNSKind) || !gnutlsAllows(c, PurposeServer, true) {
		cns = nil
	}
	for _, cn := range cns {
		names = append(names, DNSName(cn))
	}
	var comparands []comparand
	for _, n := range names {
		comparands = append(comparands, newName(n))
	}
	for _, l := range g.limits {
		if len(names)*l.len() > gnutlsMaxNameChecks {
			g.fault(NameNotPermitted, c, fmt.Sprintf("%d names", len(names)), fmt.Sprintf("at most %d comparisons with constraints", gnutlsMaxNameChecks))
			return
		}
		permitted, excluded := kinds(l.permitted), kinds(l.excluded)
		if excluded[DirectoryKind] || len(cns) > 1 && (permitted[DNSKind] || excluded[DNSKind]) {
			g.fault(NameNotPermitted, c, c.Subject.Short(), "")
			return
		}
		for _, n := range comparands {
			if !l.gnutlsAllows(n) {
				g.fault(NameNotPermitted, c, n.String(), ofKind(l.permitted, n.Kind).String())
				return
			}
		}
	}
}

// gnutlsAllows applies constraints to one name as GnuTLS does: a wildcard is a
// label like any other, addresses of the other family are free, and where URIs
// are excluded there must be none.
func (s *subtrees) gnutlsAllows(n comparand) bool {
	for _, x := range s.excluded {
		if x.Kind == n.Kind && (n.Kind == URIKind || x.gnutlsMatches(n)) {
			return false
		}
	}
	constrained := false
	for _, p := range s.permitted {
		comparable := n.Kind == DNSKind || n.Kind == EmailKind || n.Kind == IPKind && len(p.Bytes) == 2*len(n.Bytes)
		if p.Kind != n.Kind || !comparable || len(p.Bytes) == 0 {
			continue
		}
		if p.gnutlsMatches(n) {
			return true
		}
		constrained = true
	}
	return !constrained
}

func (c comparand) gnutlsMatches(n comparand) bool {
	switch n.Kind {
	case DNSKind, EmailKind, IPKind:
		return c.matches(n)
	}
	return false
}

func kinds(list []comparand) map[NameKind]bool {
	found := map[NameKind]bool{}
	for _, c := range list {
		found[c.Kind] = true
	}
	return found
}

// revoked looks the chain up in the CRLs. Of an issuer's lists only the newest
// counts, and neither its signature nor its dates do.
func (g *gnutls) revoked(chain []*Certificate) []Problem {
	for _, c := range chain {
		var newest *CRL
		for _, crl := range g.o.CRLs {
			if bytes.Equal(crl.RawIssuer, c.RawIssuer) && (newest == nil || !crl.ThisUpdate.Before(newest.ThisUpdate)) {
				newest = crl
			}
		}
		if newest == nil {
			continue
		}
		for _, r := range newest.Revoked {
			if bytes.Equal(r.RawSerial, c.RawSerial) {
				return []Problem{{Revoked, c, "since " + stamp(r.RevokedAt), ""}}
			}
		}
	}
	return nil
}
