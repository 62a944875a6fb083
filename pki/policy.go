package pki

import (
	"crypto"
	"fmt"
	"slices"
)

// A Profile says how many of the rules that bind authorities are demanded of
// the certificates met. Every profile demands what a relying party needs to be
// safe; the stricter ones also refuse certificates that are harmless but
// should not have been made like that.
type Profile int

// The profiles, each with all rules of those before it unless said otherwise.
const (
	// PrivatePKI demands what security needs and no more: certtool, OpenSSL and
	// easy-rsa make certificates without key identifiers, with non-critical
	// basic constraints or with odd serial numbers, and those are in use.
	PrivatePKI Profile = iota
	// RFC5280 adds what RFC 5280 asks of a conforming authority: key
	// identifiers, criticality, serial numbers, syntax of names.
	RFC5280
	// WebPKI adds what the CA/Browser Forum's Baseline Requirements ask, as far
	// as a certificate shows it. Names are never taken from the CN. As the
	// requirements say, name constraints need not be critical.
	WebPKI
)

// String returns "private", "rfc5280" or "webpki".
func (p Profile) String() string {
	return [...]string{"private", "rfc5280", "webpki"}[p]
}

// A Policy is what is demanded of a chain beyond its being in order: which
// keys and signatures are strong enough and which [Profile] applies. The zero
// value demands nothing of keys and signatures; [StrictPolicy] is the default
// of [Verify]. The guide (docs/guide/policy.md) explains the choices.
type Policy struct {
	Profile Profile

	// MinRSABits and MinECBits are the sizes that keys must have at least, the
	// anchors' included.
	MinRSABits int
	MinECBits  int

	// Hashes are those that the signatures of certificates below an anchor and
	// of CRLs may use; nil allows all. An anchor's own signature protects
	// nothing. EdDSA and ML-DSA, which hash by themselves, need no entry.
	Hashes []crypto.Hash

	// AnyPSSSalt allows RSA-PSS signatures whose salt is not as long as their
	// hash. OpenSSL accepts any length, GnuTLS from keys made for PSS only.
	AnyPSSSalt bool

	// PublicSuffix tells whether anybody can register names directly below a
	// domain ("com", "co.uk"). The WebPKI profile refuses wildcards there; nil
	// leaves that out.
	PublicSuffix func(domain string) bool
}

// StrictPolicy returns the policy that virtls judges by unless told otherwise:
// RSA keys of 2048 bits or more, elliptic curves of 256 bits or more, any EdDSA
// and ML-DSA key; no MD5 and no SHA-1, which can be forged, and no SHA-224; PSS
// salts as long as the hash (RFC 8446, 4.2.3); profile [PrivatePKI].
func StrictPolicy() *Policy {
	return &Policy{
		MinRSABits: MinRSABits,
		MinECBits:  256,
		Hashes: []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512,
			crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512},
	}
}

// checkKey returns what is wrong with the strength of a certificate's key.
func (p *Policy) checkKey(c *Certificate) []Problem {
	k := c.PublicKey
	weak := func(got, want string) []Problem { return []Problem{{WeakKey, c, got, want}} }
	if k.Key == nil {
		return weak("a key that cannot be used: "+k.Err.Error(), "a key of a supported kind")
	}
	least, kind := 0, ""
	switch k.Algorithm {
	case RSA, RSAPSS, RSAOAEP:
		least, kind = p.MinRSABits, "RSA"
	case ECDSA:
		least, kind = p.MinECBits, "EC"
	}
	if k.Size() < least {
		return weak(fmt.Sprintf("%d bits", k.Size()), fmt.Sprintf("%s keys of at least %d bits", kind, least))
	}
	return nil
}

// checkSignature returns what is wrong with the strength of a signature. about
// is the certificate that the problem is reported for.
func (p *Policy) checkSignature(about *Certificate, alg SignatureAlgorithm) []Problem {
	weak := func(want string) []Problem { return []Problem{{WeakHash, about, alg.String(), want}} }
	if alg.Hash == 0 {
		return nil
	}
	if p.Hashes != nil && !slices.Contains(p.Hashes, alg.Hash) {
		return weak("a signature with " + hashList(p.Hashes))
	}
	if alg.Key == RSAPSS && !p.AnyPSSSalt && alg.SaltLength != alg.Hash.Size() {
		return []Problem{{WeakHash, about, fmt.Sprintf("%s with a salt of %d octets", alg, alg.SaltLength),
			fmt.Sprintf("a salt of %d octets, as long as the hash", alg.Hash.Size())}}
	}
	return nil
}

func hashList(hashes []crypto.Hash) (s string) {
	for i, h := range hashes {
		switch {
		case i == 0:
		case i == len(hashes)-1:
			s += " or "
		default:
			s += ", "
		}
		s += HashName(h)
	}
	return s
}
