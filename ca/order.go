package ca

import (
	"crypto"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/pki"
	"virtls/pki/dn"
)

// An Order asks for one certificate.
type Order struct {
	// Spec is what the certificate is to be: see [Leaf] and [RenewalSpec], or a
	// template's. Serial, NotBefore and NotAfter may be left zero. Basic
	// constraints and key identifiers are added where they are missing.
	Spec pki.Spec

	Days   int // life if Spec.NotAfter is zero; DefaultDays if 0
	How    register.How
	Holder string // who has it, such as host:kvm1.example.com
	Slot   string // which of the holder's identities, such as qemu/both

	// Place holds the files that the certificate makes necessary, nil if there
	// are none. Issue fills in Content, the certificate and the authority's
	// intermediates, and makes the paths absolute. A staged key must
	// be on the disk (atomicfile.Sync); once Issue has returned without error
	// it belongs to the journal, and nobody else may discard it.
	Place *register.Placement

	Subordinate bool // the certificate may be that of another authority
}

// Uses tell what a certificate is for.
type Uses int

// The uses. A certificate may have both.
const (
	Server Uses = 1 << iota
	Client
)

// Leaf returns the certificate that QEMU 7.2 to 11.1 and libvirt 9.0 to 12.8
// take for TLS as it is, except for its times and what the issuer adds.
func Leaf(subject dn.Name, names pki.GeneralNames, uses Uses, key crypto.PublicKey) (pki.Spec, error) {
	var purposes []asn1.ObjectIdentifier
	if uses&Client != 0 {
		purposes = append(purposes, pki.PurposeClient)
	}
	if uses&Server != 0 {
		purposes = append(purposes, pki.PurposeServer)
	}
	if purposes == nil {
		return pki.Spec{}, kindOrder.Found(subject.String(), "no use").WithWant("server, client or both", "").Usage()
	}
	// Not critical: that makes libvirt refuse where it otherwise only warns.
	purpose, err := pki.ExtKeyUsageExtension(purposes, false)
	if err != nil {
		return pki.Spec{}, err
	}
	x := pki.Extensions{pki.BasicConstraints{}.Extension(), purpose}
	if len(names) > 0 {
		x = append(x, names.Extension())
	}
	return pki.Spec{Subject: subject, PublicKey: key, Extensions: append(x, leafUsage(key))}, nil
}

// leafUsage is the key usage of servers and clients.
//
// libvirt before 11.6 (virnettlscert.c; 11.5 except for ECDSA) wants
// keyEncipherment of every key, and refuses a certificate whose key usage lacks
// it if the extension is critical, else it warns. Only RSA keys can have that
// bit (RFC 5480, 3; RFC 8410, 5; RFC 9881, 5). So for the other keys the
// extension is not critical. QEMU asks for digitalSignature alone.
func leafUsage(key crypto.PublicKey) pki.Extension {
	if pki.AlgorithmOf(key) == pki.RSA {
		return (pki.DigitalSignature | pki.KeyEncipherment).Extension(true)
	}
	return pki.DigitalSignature.Extension(false)
}

// CheckRequest judges a request made elsewhere: whoever made it has the key,
// and the key is good enough. Which of the names it asks for are granted is up
// to the caller, and so is what else it asks for.
func CheckRequest(subject string, r *pki.Request) error {
	if r.PublicKey.Key == nil {
		return kindWeakKey.Found(subject, r.PublicKey.Err.Error()).Wrong()
	}
	if err := r.CheckSignature(); err != nil {
		return kindRequest.Found(subject, err.Error()).WithWant("a signature by the key in the request", "").Wrong()
	}
	return checkKey(subject, r.PublicKey.Key)
}

// minECBits refuses P-224, which no version of TLS 1.3 has.
const minECBits = 256

// checkKey refuses keys that are weak or cannot sign.
func checkKey(subject string, key crypto.PublicKey) error {
	refuse := func(got, want string) error { return kindWeakKey.Found(subject, got).WithWant(want, "").Wrong() }
	spec := pki.KeySpecOf(key)
	if k, ok := key.(*pki.PSSPublicKey); ok {
		key = k.PublicKey
	}
	if k, ok := key.(*rsa.PublicKey); ok {
		switch {
		case k.N.BitLen() < pki.MinRSABits:
			return refuse(fmt.Sprintf("an RSA key of %d bits", k.N.BitLen()), fmt.Sprintf("%d bits or more", pki.MinRSABits))
		case k.E < 3 || k.E%2 == 0:
			return refuse(fmt.Sprintf("an RSA key with exponent %d", k.E), "exponent 65537")
		}
		return nil
	}
	switch spec.Algorithm {
	case pki.ECDSA:
		if spec.Bits < minECBits {
			return refuse(fmt.Sprintf("an EC key of %d bits", spec.Bits), fmt.Sprintf("%d bits or more", minECBits))
		}
	case pki.Ed25519, pki.Ed448, pki.MLDSA44, pki.MLDSA65, pki.MLDSA87:
	default:
		return refuse("a key of type "+spec.Algorithm.String(), "a key that can sign")
	}
	return nil
}

// name identifies an order in messages.
func (o *Order) name() string {
	if o.Holder != "" {
		return strings.TrimSuffix(o.Holder+" "+o.Slot, " ")
	}
	return o.Spec.Subject.String()
}

// check refuses what no certificate may be, and returns what is worth knowing.
func (o *Order) check() ([]finding.Finding, error) {
	refuse := func(format string, args ...any) error {
		return kindOrder.Found(o.name(), "").WithText(format, args...).Wrong()
	}
	if err := checkKey(o.name(), o.Spec.PublicKey); err != nil {
		return nil, err
	}
	if o.Days < 0 {
		return nil, refuse("the certificate would live %d days", o.Days)
	}
	x := o.Spec.Extensions
	seen := make(map[string]bool, len(x)) // a request has as many as its maker likes
	for _, e := range x {
		id := e.OID.String()
		if seen[id] {
			return nil, refuse("extension %v is there twice", e.OID)
		}
		seen[id] = true
	}
	constraints, err := x.BasicConstraints()
	if err != nil {
		return nil, refuse("%v", err)
	}
	usage, _, err := x.KeyUsage()
	if err != nil {
		return nil, refuse("%v", err)
	}
	isCA := constraints != nil && constraints.CA
	switch {
	case isCA && !o.Subordinate:
		return nil, refuse("the certificate would be that of an authority, and is not asked for as such")
	case !isCA && usage&pki.KeyCertSign != 0:
		return nil, refuse("the certificate could sign others without being that of an authority")
	}
	// RFC 9881, 5.
	if strings.HasPrefix(pki.AlgorithmOf(o.Spec.PublicKey).String(), "ML-DSA") &&
		usage&(pki.KeyEncipherment|pki.DataEncipherment|pki.KeyAgreement|pki.EncipherOnly|pki.DecipherOnly) != 0 {
		return nil, refuse("an ML-DSA key can only sign, and the key usage says %v", usage)
	}
	return o.checkNames()
}

// checkNames looks at the names of a server.
func (o *Order) checkNames() ([]finding.Finding, error) {
	purposes, err := o.Spec.Extensions.ExtKeyUsage()
	if err != nil {
		return nil, kindOrder.Found(o.name(), "").WithText("%v", err).Wrong()
	}
	names, err := o.Spec.Extensions.SubjectAltName()
	if err != nil {
		return nil, kindOrder.Found(o.name(), "").WithText("%v", err).Wrong()
	}
	if text, ok := controlled(o.Spec.Subject, names); ok {
		return nil, kindOrder.Found("", "").WithText("the name %q holds control characters, which no name has", text).Wrong()
	}
	cn := o.Spec.Subject.CommonName()
	if len(o.Spec.Subject) == 0 && len(names) == 0 {
		return nil, kindOrder.Found(o.name(), "").WithText("the certificate would name nobody").Wrong()
	}
	isServer := false
	for _, p := range purposes {
		isServer = isServer || p.Equal(pki.PurposeServer)
	}
	if isServer && !coversName(names, cn) {
		return []finding.Finding{kindNameless.Found(o.name(), fmt.Sprintf("CN %q", cn))}, nil
	}
	return nil, nil
}

// controlled returns the first text of a subject and of alternative names that
// holds control characters. They would steer the terminals on which the name is
// shown, look like several lines in logs, and match no access list.
func controlled(subject dn.Name, names pki.GeneralNames) (text string, found bool) {
	texts := []string{subject.String()}
	for _, rdn := range subject {
		for _, a := range rdn {
			if a.Tag != tagBMPString && a.Tag != tagUniversalString {
				texts = append(texts, string(a.Value))
			}
		}
	}
	for _, n := range names {
		switch n.Kind {
		case pki.EmailKind, pki.DNSKind, pki.URIKind:
			texts = append(texts, string(n.Bytes))
		case pki.DirectoryKind:
			if directory, err := n.Directory(); err == nil {
				if text, found := controlled(directory, nil); found {
					return text, true
				}
			}
		}
	}
	for _, text := range texts {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return text, true
		}
	}
	return "", false
}

// Tags of texts that have more than one octet for each character (X.680, 8.4).
const (
	tagUniversalString = 28
	tagBMPString       = 30
)

// coversName tells whether a server's alternative names hold its CN, or any
// name at all if the CN is none of a host.
func coversName(names pki.GeneralNames, cn string) bool {
	ip, err := netip.ParseAddr(cn)
	isHost := err == nil || cn != "" && !strings.ContainsAny(cn, " @/:")
	for _, n := range names {
		if !isHost && (n.Kind == pki.DNSKind || n.Kind == pki.IPKind) {
			return true
		}
		if have, ok := n.IP(); ok && err == nil && have == ip.Unmap() || n.Kind == pki.DNSKind && strings.EqualFold(n.Text(), cn) {
			return true
		}
	}
	return false
}

// RenewalSpec returns the certificate that takes old's place: same subject,
// names, uses and whatever else it says, for the same key if key is nil. Times,
// serial number and the issuer's part are new.
func RenewalSpec(old *pki.Certificate, key crypto.PublicKey) (pki.Spec, error) {
	if old.PublicKey.Key == nil {
		return pki.Spec{}, kindWeakKey.Found(old.String(), old.PublicKey.Err.Error()).Wrong()
	}
	if old.IsCA() {
		return pki.Spec{}, kindOrder.Found(old.String(), "").WithText("an authority's certificate is not renewed like this").Wrong()
	}
	spec := pki.Spec{Subject: old.Subject, PublicKey: old.PublicKey.Key}
	for _, e := range old.Extensions {
		if !e.OID.Equal(pki.OIDSubjectKeyID) && !e.OID.Equal(pki.OIDAuthorityKeyID) {
			spec.Extensions = append(spec.Extensions, e)
		}
	}
	if key == nil {
		return spec, nil
	}
	spec.PublicKey = key
	if pki.AlgorithmOf(key) != old.PublicKey.Algorithm && spec.Extensions.Find(pki.OIDKeyUsage) != nil {
		spec.Extensions.Set(leafUsage(key)) // what a key may do depends on its type
	}
	return spec, nil
}
