package pki

import (
	"crypto"
	_ "crypto/md5" // certificates signed with MD5 are read, and refused by policy
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// A KeyAlgorithm is what a public key is for.
type KeyAlgorithm int

// The key algorithms that can be read. DSA keys can only be recognised.
const (
	UnknownKey KeyAlgorithm = iota
	RSA
	RSAPSS  // RSA restricted to PSS signatures (RFC 4055)
	RSAOAEP // RSA restricted to OAEP encryption (RFC 4055)
	ECDSA
	Ed25519
	Ed448
	X25519
	X448
	DSA
	MLDSA44
	MLDSA65
	MLDSA87
)

var keyAlgorithms = []struct {
	alg  KeyAlgorithm
	name string // as certtool 3.8 prints it
	oid  asn1.ObjectIdentifier
}{
	{RSA, "RSA", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}},
	{RSAPSS, "RSA-PSS", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}},
	{RSAOAEP, "RSA-OAEP", asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}},
	{ECDSA, "EC/ECDSA", asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}},
	{Ed25519, "EdDSA (Ed25519)", asn1.ObjectIdentifier{1, 3, 101, 112}},
	{Ed448, "EdDSA (Ed448)", asn1.ObjectIdentifier{1, 3, 101, 113}},
	{X25519, "ECDH (X25519)", asn1.ObjectIdentifier{1, 3, 101, 110}},
	{X448, "ECDH (X448)", asn1.ObjectIdentifier{1, 3, 101, 111}},
	{DSA, "DSA", asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}},
	{MLDSA44, "ML-DSA-44", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}},
	{MLDSA65, "ML-DSA-65", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}},
	{MLDSA87, "ML-DSA-87", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}},
}

// String returns the name GnuTLS prints, "unknown" for [UnknownKey].
func (a KeyAlgorithm) String() string {
	for _, k := range keyAlgorithms {
		if k.alg == a {
			return k.name
		}
	}
	return "unknown"
}

// OID returns the algorithm's identifier in a SubjectPublicKeyInfo, nil for [UnknownKey].
func (a KeyAlgorithm) OID() asn1.ObjectIdentifier {
	for _, k := range keyAlgorithms {
		if k.alg == a {
			return k.oid
		}
	}
	return nil
}

// IsMLDSA tells whether a is one of the three ML-DSA parameter sets.
func (a KeyAlgorithm) IsMLDSA() bool { return a == MLDSA44 || a == MLDSA65 || a == MLDSA87 }

// HasCurve tells whether keys of the algorithm are points on an elliptic curve,
// whose sizes in bits are not to be compared with those of RSA keys.
func (a KeyAlgorithm) HasCurve() bool {
	switch a {
	case ECDSA, Ed25519, Ed448, X25519, X448:
		return true
	}
	return false
}

func keyAlgorithmOf(oid asn1.ObjectIdentifier) KeyAlgorithm {
	for _, k := range keyAlgorithms {
		if k.oid.Equal(oid) {
			return k.alg
		}
	}
	return UnknownKey
}

// An AlgorithmIdentifier is the ASN.1 type of that name (RFC 5280, 4.1.1.2).
type AlgorithmIdentifier struct {
	OID        asn1.ObjectIdentifier
	Parameters []byte // DER with tag and length, nil if absent
}

var derNull = []byte{5, 0}

func readAlgorithm(s *cryptobyte.String) (id AlgorithmIdentifier, ok bool) {
	var seq cryptobyte.String
	if !s.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&id.OID) {
		return id, false
	}
	if seq.Empty() {
		return id, true
	}
	var params cryptobyte.String
	var tag cbasn1.Tag
	if !seq.ReadAnyASN1Element(&params, &tag) || !seq.Empty() {
		return id, false
	}
	id.Parameters = params
	return id, true
}

func (id AlgorithmIdentifier) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id.OID)
		b.AddBytes(id.Parameters)
	})
}

func (id AlgorithmIdentifier) equal(other AlgorithmIdentifier) bool {
	return id.OID.Equal(other.OID) && string(id.Parameters) == string(other.Parameters)
}

// A SignatureAlgorithm tells how something is signed. Its zero value is no algorithm.
type SignatureAlgorithm struct {
	Key        KeyAlgorithm
	Hash       crypto.Hash // 0 where the algorithm hashes by itself (EdDSA, ML-DSA)
	SaltLength int         // octets; RSA-PSS only
}

var (
	oidMGF1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	hashNames = []struct {
		hash crypto.Hash
		name string
		oid  asn1.ObjectIdentifier
	}{
		{crypto.MD5, "MD5", asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}},
		{crypto.SHA1, "SHA1", asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}},
		{crypto.SHA224, "SHA224", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}},
		{crypto.SHA256, "SHA256", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}},
		{crypto.SHA384, "SHA384", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}},
		{crypto.SHA512, "SHA512", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}},
		{crypto.SHA3_224, "SHA3-224", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 7}},
		{crypto.SHA3_256, "SHA3-256", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8}},
		{crypto.SHA3_384, "SHA3-384", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 9}},
		{crypto.SHA3_512, "SHA3-512", asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 10}},
	}
	pkcs1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1}
	x962  = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3}
	nist  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3}
	x957  = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 3}
)

func under(arc asn1.ObjectIdentifier, last int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier{}, arc...), last)
}

// signatureOIDs lists the algorithms whose identifier alone says everything.
// RSA-PSS, whose parameters matter, is handled apart.
var signatureOIDs = []struct {
	alg SignatureAlgorithm
	oid asn1.ObjectIdentifier
}{
	{SignatureAlgorithm{Key: RSA, Hash: crypto.MD5}, under(pkcs1, 4)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA1}, under(pkcs1, 5)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA224}, under(pkcs1, 14)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA256}, under(pkcs1, 11)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA384}, under(pkcs1, 12)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA512}, under(pkcs1, 13)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA3_224}, under(nist, 13)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA3_256}, under(nist, 14)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA3_384}, under(nist, 15)},
	{SignatureAlgorithm{Key: RSA, Hash: crypto.SHA3_512}, under(nist, 16)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA1}, asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA224}, under(x962, 1)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA256}, under(x962, 2)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA384}, under(x962, 3)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA512}, under(x962, 4)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA3_224}, under(nist, 9)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA3_256}, under(nist, 10)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA3_384}, under(nist, 11)},
	{SignatureAlgorithm{Key: ECDSA, Hash: crypto.SHA3_512}, under(nist, 12)},
	{SignatureAlgorithm{Key: DSA, Hash: crypto.SHA1}, under(x957, 3)},
	{SignatureAlgorithm{Key: DSA, Hash: crypto.SHA224}, under(nist, 1)},
	{SignatureAlgorithm{Key: DSA, Hash: crypto.SHA256}, under(nist, 2)},
	{SignatureAlgorithm{Key: Ed25519}, Ed25519.OID()},
	{SignatureAlgorithm{Key: Ed448}, Ed448.OID()},
	{SignatureAlgorithm{Key: MLDSA44}, MLDSA44.OID()},
	{SignatureAlgorithm{Key: MLDSA65}, MLDSA65.OID()},
	{SignatureAlgorithm{Key: MLDSA87}, MLDSA87.OID()},
}

// String returns the name GnuTLS prints, such as "RSA-SHA256", "ECDSA-SHA384",
// "EdDSA-Ed25519" or "ML-DSA-65".
func (a SignatureAlgorithm) String() string {
	switch {
	case a.Key == UnknownKey:
		return "unknown"
	case a.Key == Ed25519:
		return "EdDSA-Ed25519"
	case a.Key == Ed448:
		return "EdDSA-Ed448"
	case a.Hash == 0:
		return a.Key.String()
	case a.Key == ECDSA:
		return "ECDSA-" + HashName(a.Hash)
	}
	return a.Key.String() + "-" + HashName(a.Hash)
}

// HashName returns GnuTLS's name of a hash function, such as "SHA256" or "SHA3-256".
func HashName(h crypto.Hash) string {
	for _, n := range hashNames {
		if n.hash == h {
			return n.name
		}
	}
	return fmt.Sprintf("hash %d", h)
}

// Identifier returns the DER form's value of a, false if a has none.
func (a SignatureAlgorithm) Identifier() (AlgorithmIdentifier, bool) {
	if a.Key == RSAPSS {
		return AlgorithmIdentifier{RSAPSS.OID(), pssParameters(a.Hash, a.SaltLength)}, true
	}
	for _, s := range signatureOIDs {
		if s.alg == a {
			id := AlgorithmIdentifier{OID: s.oid}
			if a.Key == RSA {
				id.Parameters = derNull
			}
			return id, true
		}
	}
	return AlgorithmIdentifier{}, false
}

// ParseSignatureAlgorithm returns what id stands for, false if that is unknown
// or its parameters are malformed. RSA may come with or without NULL parameters
// (RFC 4055, 5); the others must have none.
func ParseSignatureAlgorithm(id AlgorithmIdentifier) (SignatureAlgorithm, bool) {
	if id.OID.Equal(RSAPSS.OID()) {
		return parsePSSParameters(id.Parameters)
	}
	for _, s := range signatureOIDs {
		if !s.oid.Equal(id.OID) {
			continue
		}
		absent := id.Parameters == nil
		null := string(id.Parameters) == string(derNull)
		return s.alg, absent || null && s.alg.Key == RSA
	}
	return SignatureAlgorithm{}, false
}

// pssParameters writes RSASSA-PSS-params. Hashes come without the NULL that
// OpenSSL adds, as GnuTLS writes them and RFC 5754, 2, prefers.
func pssParameters(h crypto.Hash, salt int) []byte {
	var id AlgorithmIdentifier
	for _, n := range hashNames {
		if n.hash == h {
			id.OID = n.oid
		}
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(ctx(0), id.add)
		b.AddASN1(ctx(1), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidMGF1)
				id.add(b)
			})
		})
		b.AddASN1(ctx(2), func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(salt)) })
	})
	return b.BytesOrPanic() // built from constants
}

// parsePSSParameters reads RSASSA-PSS-params (RFC 4055, 3.1). The mask
// generation function must be MGF1 with the same hash, as everybody writes it.
func parsePSSParameters(der []byte) (SignatureAlgorithm, bool) {
	a := SignatureAlgorithm{Key: RSAPSS, Hash: crypto.SHA1, SaltLength: 20}
	mgfHash := crypto.SHA1
	in := cryptobyte.String(der)
	var seq, field cryptobyte.String
	var present bool
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() {
		return a, false
	}
	if !seq.ReadOptionalASN1(&field, &present, ctx(0)) {
		return a, false
	}
	if present {
		id, ok := readAlgorithm(&field)
		if a.Hash = hashOf(id.OID); !ok || a.Hash == 0 {
			return a, false
		}
	}
	if !seq.ReadOptionalASN1(&field, &present, ctx(1)) {
		return a, false
	}
	if present {
		var mgf cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !field.ReadASN1(&mgf, cbasn1.SEQUENCE) || !mgf.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidMGF1) {
			return a, false
		}
		id, ok := readAlgorithm(&mgf)
		if mgfHash = hashOf(id.OID); !ok {
			return a, false
		}
	}
	if !seq.ReadOptionalASN1(&field, &present, ctx(2)) {
		return a, false
	}
	if present && (!field.ReadASN1Integer(&a.SaltLength) || a.SaltLength < 0 || a.SaltLength > 1024) {
		return a, false
	}
	if !seq.ReadOptionalASN1(&field, &present, ctx(3)) {
		return a, false
	}
	trailer := 1
	if present && !field.ReadASN1Integer(&trailer) {
		return a, false
	}
	return a, seq.Empty() && trailer == 1 && mgfHash == a.Hash
}

func hashOf(oid asn1.ObjectIdentifier) crypto.Hash {
	for _, n := range hashNames {
		if n.oid.Equal(oid) {
			return n.hash
		}
	}
	return 0
}

// ctx is the constructed context-specific tag [n].
func ctx(n int) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// prim is the primitive context-specific tag [n].
func prim(n int) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }
