package pki

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/ed448"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// Bounds on numbers read from foreign keys, so that nobody makes us compute for minutes.
const (
	maxRSAModulusBits  = 16384
	maxRSAExponentBits = 31
)

// A PublicKey is a SubjectPublicKeyInfo as it was read (RFC 5280, 4.1.2.7).
type PublicKey struct {
	Raw        []byte // the whole structure, DER
	Algorithm  KeyAlgorithm
	Identifier AlgorithmIdentifier
	Bits       []byte           // content of the BIT STRING
	Key        crypto.PublicKey // nil if the key is of a kind that this package cannot use
	Err        error            // why Key is nil
}

var namedCurves = []struct {
	curve elliptic.Curve
	oid   asn1.ObjectIdentifier
}{
	{elliptic.P224(), asn1.ObjectIdentifier{1, 3, 132, 0, 33}},
	{elliptic.P256(), asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}},
	{elliptic.P384(), asn1.ObjectIdentifier{1, 3, 132, 0, 34}},
	{elliptic.P521(), asn1.ObjectIdentifier{1, 3, 132, 0, 35}},
}

// ParsePublicKey reads a SubjectPublicKeyInfo. A well-formed one of an
// algorithm or curve unknown here is no error: its Key is nil and Err says why.
func ParsePublicKey(der []byte) (*PublicKey, error) {
	in := cryptobyte.String(der)
	p, err := readPublicKey(&in)
	if err != nil {
		return nil, err
	}
	if !in.Empty() {
		return nil, errors.New("data after the public key")
	}
	return p, nil
}

func readPublicKey(in *cryptobyte.String) (*PublicKey, error) {
	var raw, seq cryptobyte.String
	var bits asn1.BitString
	p := new(PublicKey)
	if !in.ReadASN1Element(&raw, cbasn1.SEQUENCE) {
		return nil, errors.New("malformed public key")
	}
	p.Raw = raw
	ok := raw.ReadASN1(&seq, cbasn1.SEQUENCE)
	if ok {
		p.Identifier, ok = readAlgorithm(&seq)
	}
	if !ok || !seq.ReadASN1BitString(&bits) || !seq.Empty() {
		return nil, errors.New("malformed public key")
	}
	p.Bits = bits.Bytes
	p.Algorithm = keyAlgorithmOf(p.Identifier.OID)
	// A failed decoder may return a nil pointer, which is no nil interface.
	if p.Key, p.Err = decodePublicKey(p.Algorithm, p.Identifier, bits); p.Err != nil {
		p.Key = nil
	}
	return p, nil
}

func decodePublicKey(alg KeyAlgorithm, id AlgorithmIdentifier, bits asn1.BitString) (crypto.PublicKey, error) {
	if bits.BitLength%8 != 0 {
		return nil, errors.New("public key is not a whole number of octets")
	}
	raw := bits.Bytes
	switch alg {
	case RSA, RSAPSS, RSAOAEP:
		k, err := decodeRSA(raw)
		if err != nil {
			return nil, err
		}
		switch alg {
		case RSAPSS:
			return newPSSPublicKey(k, id.Parameters)
		case RSAOAEP:
			return &OAEPPublicKey{k, id.Parameters}, nil
		}
		return k, nil
	case ECDSA:
		return decodeEC(id.Parameters, raw)
	}
	if id.Parameters != nil && alg != DSA {
		return nil, fmt.Errorf("a key of type %s must have no parameters", alg)
	}
	switch alg {
	case Ed25519:
		if len(raw) == ed25519.PublicKeySize {
			return ed25519.PublicKey(raw), nil
		}
	case Ed448:
		if len(raw) == ed448.PublicKeySize {
			return ed448.PublicKey(raw), nil
		}
	case X25519:
		return ecdh.X25519().NewPublicKey(raw)
	case X448:
		if k := new(X448PublicKey); len(raw) == len(k) {
			copy(k[:], raw)
			return k, nil
		}
	case MLDSA44, MLDSA65, MLDSA87:
		return mldsa.NewPublicKey(mldsaParameters(alg), raw)
	default:
		return nil, fmt.Errorf("key algorithm %s (%s) is not supported", alg, dn.ShortOID(id.OID))
	}
	return nil, fmt.Errorf("a public key of type %s has %d octets", alg, len(raw))
}

func decodeRSA(raw []byte) (*rsa.PublicKey, error) {
	in := cryptobyte.String(raw)
	var seq cryptobyte.String
	n, e := new(big.Int), new(big.Int)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1Integer(n) || !seq.ReadASN1Integer(e) || !seq.Empty() {
		return nil, errors.New("malformed RSA public key")
	}
	if n.Sign() <= 0 || n.BitLen() > maxRSAModulusBits {
		return nil, fmt.Errorf("RSA modulus has %d bits, want at most %d", n.BitLen(), maxRSAModulusBits)
	}
	if e.Sign() <= 0 || e.BitLen() > maxRSAExponentBits {
		return nil, fmt.Errorf("RSA exponent has %d bits, want at most %d", e.BitLen(), maxRSAExponentBits)
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func decodeEC(params, raw []byte) (*ecdsa.PublicKey, error) {
	curve, err := namedCurve(params)
	if err != nil {
		return nil, err
	}
	return decodePoint(curve, raw)
}

// namedCurve reads the parameters of an EC key (RFC 5480, 2.1.1).
func namedCurve(params []byte) (elliptic.Curve, error) {
	var oid asn1.ObjectIdentifier
	in := cryptobyte.String(params)
	if !in.ReadASN1ObjectIdentifier(&oid) || !in.Empty() {
		return nil, errors.New("the elliptic curve is not given by name")
	}
	for _, n := range namedCurves {
		if n.oid.Equal(oid) {
			return n.curve, nil
		}
	}
	return nil, fmt.Errorf("elliptic curve %s is not supported", dn.ShortOID(oid))
}

// decodePoint reads a point in uncompressed or, as GnuTLS does not but OpenSSL
// does, compressed form (RFC 5480, 2.2).
func decodePoint(curve elliptic.Curve, raw []byte) (*ecdsa.PublicKey, error) {
	if len(raw) > 0 && (raw[0] == 2 || raw[0] == 3) {
		x, y := elliptic.UnmarshalCompressed(curve, raw)
		if x == nil {
			return nil, errors.New("point is not on the curve")
		}
		size := (curve.Params().BitSize + 7) / 8
		full := make([]byte, 1+2*size)
		full[0] = 4
		x.FillBytes(full[1 : 1+size])
		y.FillBytes(full[1+size:])
		raw = full
	}
	return ecdsa.ParseUncompressedPublicKey(curve, raw)
}

// MarshalPublicKey returns the SubjectPublicKeyInfo of a key of this package's types.
func MarshalPublicKey(pub crypto.PublicKey) ([]byte, error) {
	alg := AlgorithmOf(pub)
	id := AlgorithmIdentifier{OID: alg.OID()}
	var bits []byte
	var err error
	switch k := pub.(type) {
	case *rsa.PublicKey:
		id.Parameters = derNull
		bits = marshalRSA(k)
	case *PSSPublicKey:
		id = k.identifier()
		bits = marshalRSA(k.PublicKey)
	case *OAEPPublicKey:
		id.Parameters = k.parameters
		bits = marshalRSA(k.PublicKey)
	case *ecdsa.PublicKey:
		if id.Parameters, err = curveParameters(k.Curve); err == nil {
			bits, err = k.Bytes()
		}
	case ed25519.PublicKey:
		bits = k
	case ed448.PublicKey:
		bits = k
	case *ecdh.PublicKey:
		bits = k.Bytes()
	case *X448PublicKey:
		bits = k[:]
	case *mldsa.PublicKey:
		bits = k.Bytes()
	}
	if err == nil && (alg == UnknownKey || bits == nil) {
		err = fmt.Errorf("a public key of type %T cannot be written", pub)
	}
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		id.add(b)
		b.AddASN1BitString(bits)
	})
	return b.Bytes()
}

func marshalRSA(k *rsa.PublicKey) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(k.N)
		b.AddASN1Int64(int64(k.E))
	})
	return b.BytesOrPanic()
}

func curveParameters(c elliptic.Curve) ([]byte, error) {
	for _, n := range namedCurves {
		if n.curve == c {
			var b cryptobyte.Builder
			b.AddASN1ObjectIdentifier(n.oid)
			return b.Bytes()
		}
	}
	return nil, errors.New("unnamed elliptic curves are not supported")
}

// Size returns the size of the key in bits as GnuTLS counts it: of the
// modulus, of the curve, or eight times the length of an ML-DSA public key.
// It is 0 for a key that this package cannot use.
func (p *PublicKey) Size() int {
	switch k := p.Key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen()
	case *PSSPublicKey:
		return k.N.BitLen()
	case *OAEPPublicKey:
		return k.N.BitLen()
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize
	case ed25519.PublicKey, *ecdh.PublicKey:
		return 256
	case ed448.PublicKey, *X448PublicKey:
		return 448
	case *mldsa.PublicKey:
		return 8 * len(k.Bytes())
	}
	return 0
}

// ID returns GnuTLS's key identifier, the SHA-1 of the whole structure, which
// certtool also writes as subject key identifier.
func (p *PublicKey) ID() []byte {
	sum := sha1.Sum(p.Raw)
	return sum[:]
}

// ID256 returns the SHA-256 of the whole structure (RFC 7469's pin).
func (p *PublicKey) ID256() []byte {
	sum := sha256.Sum256(p.Raw)
	return sum[:]
}

// PublicKeyOf returns the structure for a key of this package's types.
func PublicKeyOf(pub crypto.PublicKey) (*PublicKey, error) {
	der, err := MarshalPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return ParsePublicKey(der)
}
