package pki

import (
	"cmp"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/dh/x448"
	"github.com/cloudflare/circl/sign/ed448"
)

// Bounds of the RSA keys that are generated, in bits.
const (
	MinRSABits = 2048
	MaxRSABits = 16384
)

// A PrivateKey is any private key of this package. All but the key exchange
// keys (*ecdh.PrivateKey, *X448Key) are also a crypto.Signer.
type PrivateKey interface {
	Public() crypto.PublicKey
}

// A PSSKey is an RSA key whose file restricts it to PSS signatures (RFC 4055),
// and perhaps to one hash and a least length of salts in octets: Hash is 0 if not.
type PSSKey struct {
	*rsa.PrivateKey
	Hash       crypto.Hash
	SaltLength int
	parameters []byte // the restriction as it was read, nil if it was not
}

// A PSSPublicKey is the public half of a [PSSKey].
type PSSPublicKey struct {
	*rsa.PublicKey
	Hash       crypto.Hash
	SaltLength int
	parameters []byte
}

// Public returns a *PSSPublicKey.
func (k *PSSKey) Public() crypto.PublicKey {
	return &PSSPublicKey{&k.PrivateKey.PublicKey, k.Hash, k.SaltLength, k.parameters}
}

// Equal reports whether x is the same restricted key.
func (k *PSSPublicKey) Equal(x crypto.PublicKey) bool {
	other, ok := x.(*PSSPublicKey)
	return ok && k.PublicKey.Equal(other.PublicKey) && k.Hash == other.Hash && k.SaltLength == other.SaltLength
}

// permits tells whether the key may make such signatures.
func (k *PSSPublicKey) permits(alg SignatureAlgorithm) bool {
	return alg.Key == RSAPSS && (k.Hash == 0 || alg.Hash == k.Hash && alg.SaltLength >= k.SaltLength)
}

// identifier returns the algorithm with the parameters that say the restriction.
func (k *PSSPublicKey) identifier() AlgorithmIdentifier {
	id := AlgorithmIdentifier{OID: RSAPSS.OID()}
	if id.Parameters = k.parameters; id.Parameters == nil && k.Hash != 0 {
		id.Parameters = pssParameters(k.Hash, k.SaltLength)
	}
	return id
}

// newPSSPublicKey reads the restriction that parameters say, if there are any.
func newPSSPublicKey(k *rsa.PublicKey, parameters []byte) (*PSSPublicKey, error) {
	if parameters == nil {
		return &PSSPublicKey{PublicKey: k}, nil
	}
	limit, ok := parsePSSParameters(parameters)
	if !ok {
		return nil, errors.New("malformed parameters of an RSA-PSS key")
	}
	return &PSSPublicKey{k, limit.Hash, limit.SaltLength, parameters}, nil
}

// An OAEPKey is an RSA key whose file restricts it to OAEP encryption (RFC
// 4055). virtls makes and shows such keys, and uses them for nothing.
type OAEPKey struct {
	rsa        *rsa.PrivateKey
	parameters []byte // as they were read
}

// An OAEPPublicKey is the public half of an [OAEPKey].
type OAEPPublicKey struct {
	*rsa.PublicKey
	parameters []byte
}

// Public returns an *OAEPPublicKey.
func (k *OAEPKey) Public() crypto.PublicKey { return &OAEPPublicKey{&k.rsa.PublicKey, k.parameters} }

// An X448Key is a private key for X448 key exchange (RFC 7748).
type X448Key struct{ secret, public x448.Key }

// An X448PublicKey is the public half of an [X448Key].
type X448PublicKey x448.Key

// Public returns an *X448PublicKey.
func (k *X448Key) Public() crypto.PublicKey { return (*X448PublicKey)(&k.public) }

func newX448Key(secret []byte) (*X448Key, error) {
	k := new(X448Key)
	if len(secret) != x448.Size {
		return nil, fmt.Errorf("X448 private key has %d octets, want %d", len(secret), x448.Size)
	}
	copy(k.secret[:], secret)
	x448.KeyGen(&k.public, &k.secret)
	return k, nil
}

// A KeySpec says which key to generate.
type KeySpec struct {
	Algorithm KeyAlgorithm
	Bits      int // RSA: size of the modulus; ECDSA: 224, 256, 384 or 521; else ignored
}

// keySpecNames are the names used in fleet files and flags.
var keySpecNames = []struct {
	name string
	spec KeySpec
}{
	{"ec", KeySpec{ECDSA, 256}},
	{"p256", KeySpec{ECDSA, 256}},
	{"p384", KeySpec{ECDSA, 384}},
	{"p521", KeySpec{ECDSA, 521}},
	{"rsa", KeySpec{RSA, 3072}},
	{"ed25519", KeySpec{Algorithm: Ed25519}},
	{"mldsa44", KeySpec{Algorithm: MLDSA44}},
	{"mldsa65", KeySpec{Algorithm: MLDSA65}},
	{"mldsa87", KeySpec{Algorithm: MLDSA87}},
}

// KeySpecNames lists what [ParseKeySpec] accepts, for help texts.
const KeySpecNames = "ec, p256, p384, p521, rsa, rsa2048 to rsa8192, ed25519, mldsa44, mldsa65, mldsa87"

// ParseKeySpec reads a key type as fleet files and flags name it. "ec" is
// P-256, "rsa" is 3072 bits, "rsaN" is N bits from 2048 to 8192.
func ParseKeySpec(s string) (KeySpec, error) {
	name := strings.ReplaceAll(strings.ToLower(s), "-", "")
	for _, k := range keySpecNames {
		if k.name == name {
			return k.spec, nil
		}
	}
	if bits, ok := strings.CutPrefix(name, "rsa"); ok {
		if n, err := strconv.Atoi(bits); err == nil && n >= MinRSABits && n <= 8192 && n%8 == 0 {
			return KeySpec{RSA, n}, nil
		}
	}
	return KeySpec{}, fmt.Errorf("unknown key type %q: want one of %s", s, KeySpecNames)
}

// String returns the name that [ParseKeySpec] reads back, GnuTLS's name for
// keys that it does not know.
func (s KeySpec) String() string {
	switch s.Algorithm {
	case RSA:
		return fmt.Sprintf("rsa%d", s.Bits)
	case ECDSA:
		return fmt.Sprintf("p%d", s.Bits)
	}
	for _, k := range keySpecNames {
		if k.spec.Algorithm == s.Algorithm {
			return k.name
		}
	}
	return s.Algorithm.String()
}

// GenerateKey makes a new key from the system's random source.
func GenerateKey(spec KeySpec) (PrivateKey, error) {
	switch spec.Algorithm {
	case RSA, RSAPSS, RSAOAEP:
		return generateRSA(spec)
	case ECDSA:
		curve := curveOfSize(spec.Bits)
		if curve == nil {
			return nil, fmt.Errorf("no elliptic curve of %d bits: want 224, 256, 384 or 521", spec.Bits)
		}
		return ecdsa.GenerateKey(curve, rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case Ed448:
		_, key, err := ed448.GenerateKey(rand.Reader)
		return key, err
	case X25519:
		return ecdh.X25519().GenerateKey(rand.Reader)
	case X448:
		secret := make([]byte, x448.Size)
		rand.Read(secret)
		return newX448Key(secret)
	case MLDSA44, MLDSA65, MLDSA87:
		return mldsa.GenerateKey(mldsaParameters(spec.Algorithm))
	}
	return nil, fmt.Errorf("keys of type %s cannot be generated", spec.Algorithm)
}

func generateRSA(spec KeySpec) (PrivateKey, error) {
	if spec.Bits < MinRSABits || spec.Bits > MaxRSABits {
		return nil, fmt.Errorf("an RSA key of %d bits: want %d to %d", spec.Bits, MinRSABits, MaxRSABits)
	}
	key, err := newRSAKey(spec.Bits)
	if err != nil {
		return nil, err
	}
	switch spec.Algorithm {
	case RSAPSS:
		return &PSSKey{PrivateKey: key}, nil
	case RSAOAEP:
		return &OAEPKey{rsa: key}, nil
	}
	return key, nil
}

// GenerateSigner is [GenerateKey] for keys that can sign.
func GenerateSigner(spec KeySpec) (crypto.Signer, error) {
	key, err := GenerateKey(spec)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %s cannot sign", spec.Algorithm)
	}
	return signer, nil
}

func curveOfSize(bits int) elliptic.Curve {
	switch bits {
	case 224:
		return elliptic.P224()
	case 256:
		return elliptic.P256()
	case 384:
		return elliptic.P384()
	case 521:
		return elliptic.P521()
	}
	return nil
}

// AlgorithmOf returns the algorithm of a public key of this package's types.
func AlgorithmOf(pub crypto.PublicKey) KeyAlgorithm {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return RSA
	case *PSSPublicKey:
		return RSAPSS
	case *OAEPPublicKey:
		return RSAOAEP
	case *ecdsa.PublicKey:
		return ECDSA
	case ed25519.PublicKey:
		return Ed25519
	case ed448.PublicKey:
		return Ed448
	case *ecdh.PublicKey:
		if k.Curve() == ecdh.X25519() {
			return X25519
		}
	case *X448PublicKey:
		return X448
	case *mldsa.PublicKey:
		return mldsaAlgorithm(k.Parameters())
	}
	return UnknownKey
}

// KeySpecOf returns the specification that would generate a key like pub.
func KeySpecOf(pub crypto.PublicKey) KeySpec {
	spec := KeySpec{Algorithm: AlgorithmOf(pub)}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		spec.Bits = k.N.BitLen()
	case *PSSPublicKey:
		spec.Bits = k.N.BitLen()
	case *OAEPPublicKey:
		spec.Bits = k.N.BitLen()
	case *ecdsa.PublicKey:
		spec.Bits = k.Curve.Params().BitSize
	}
	return spec
}

// PreferredSignature returns how a key signs unless told otherwise, which is
// what certtool 3.8 chooses: the hash of an ECDSA key's size, SHA-256 for RSA,
// a PSS salt as long as the hash or as the key demands. hash 0 asks for that default.
func PreferredSignature(pub crypto.PublicKey, hash crypto.Hash) (SignatureAlgorithm, error) {
	alg := SignatureAlgorithm{Key: AlgorithmOf(pub), Hash: hash}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if hash == 0 {
			alg.Hash = crypto.SHA256
		}
	case *PSSPublicKey:
		if hash == 0 {
			alg.Hash = cmp.Or(k.Hash, crypto.SHA256)
		}
		alg.SaltLength = max(alg.Hash.Size(), k.SaltLength)
		if !k.permits(alg) {
			return SignatureAlgorithm{}, fmt.Errorf("the RSA-PSS key is restricted to %s; it cannot sign with %s", HashName(k.Hash), HashName(hash))
		}
	case *ecdsa.PublicKey:
		if hash == 0 {
			alg.Hash = ecdsaHash(k.Curve)
		}
	case ed25519.PublicKey, ed448.PublicKey, *mldsa.PublicKey:
		alg.Hash = 0
	default:
		return SignatureAlgorithm{}, fmt.Errorf("a key of type %T cannot sign", pub)
	}
	if _, ok := alg.Identifier(); !ok {
		return SignatureAlgorithm{}, fmt.Errorf("there is no signature algorithm %s", alg)
	}
	return alg, nil
}

func ecdsaHash(c elliptic.Curve) crypto.Hash {
	switch bits := c.Params().BitSize; {
	case bits <= 256:
		return crypto.SHA256
	case bits <= 384:
		return crypto.SHA384
	}
	return crypto.SHA512
}

// SignMessage signs message, which is not yet hashed.
func SignMessage(key crypto.Signer, alg SignatureAlgorithm, message []byte) ([]byte, error) {
	// A signer does as its options say, even where its key is of another kind.
	if of := AlgorithmOf(key.Public()); alg.Key != of && (alg.Key != RSAPSS || of != RSA) {
		return nil, fmt.Errorf("a key of type %s cannot make a %s signature", of, alg)
	}
	var opts crypto.SignerOpts = alg.Hash
	switch alg.Key {
	case RSAPSS:
		opts = &rsa.PSSOptions{SaltLength: alg.SaltLength, Hash: alg.Hash}
	case MLDSA44, MLDSA65, MLDSA87:
		opts = &mldsa.Options{}
	}
	if alg.Hash != 0 {
		if !alg.Hash.Available() {
			return nil, fmt.Errorf("hash function of %s is not available", alg)
		}
		h := alg.Hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	return key.Sign(rand.Reader, message, opts)
}

// VerifyMessage checks the signature of a message, which is not yet hashed.
// It judges neither the strength of the key nor that of the hash: see [Policy].
func VerifyMessage(pub crypto.PublicKey, alg SignatureAlgorithm, message, signature []byte) error {
	digest := message
	if alg.Hash != 0 {
		if !alg.Hash.Available() {
			return fmt.Errorf("hash function of %s is not available", alg)
		}
		h := alg.Hash.New()
		h.Write(message)
		digest = h.Sum(nil)
	}
	mismatch := fmt.Errorf("a %s signature cannot be checked with a key of type %s", alg, AlgorithmOf(pub))
	invalid := fmt.Errorf("the %s signature is wrong", alg)
	valid := false
	switch k := pub.(type) {
	case *rsa.PublicKey:
		switch alg.Key {
		case RSA:
			valid = rsa.VerifyPKCS1v15(k, alg.Hash, digest, signature) == nil
		case RSAPSS:
			valid = verifyPSS(k, alg, digest, signature)
		default:
			return mismatch
		}
	case *PSSPublicKey:
		if !k.permits(alg) {
			return mismatch
		}
		valid = verifyPSS(k.PublicKey, alg, digest, signature)
	case *ecdsa.PublicKey:
		if alg.Key != ECDSA {
			return mismatch
		}
		valid = ecdsa.VerifyASN1(k, digest, signature)
	case ed25519.PublicKey:
		if alg.Key != Ed25519 {
			return mismatch
		}
		valid = ed25519.Verify(k, message, signature)
	case ed448.PublicKey:
		if alg.Key != Ed448 {
			return mismatch
		}
		valid = ed448.Verify(k, message, signature, "")
	case *mldsa.PublicKey:
		if alg.Key != AlgorithmOf(k) {
			return mismatch
		}
		valid = mldsa.Verify(k, message, signature, nil) == nil
	default:
		return mismatch
	}
	if !valid {
		return invalid
	}
	return nil
}

func verifyPSS(k *rsa.PublicKey, alg SignatureAlgorithm, digest, signature []byte) bool {
	return rsa.VerifyPSS(k, alg.Hash, digest, signature, &rsa.PSSOptions{SaltLength: alg.SaltLength, Hash: alg.Hash}) == nil
}

// Sign signs a digest with PSS whatever the options say: this key does nothing else.
func (k *PSSKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	pss, ok := opts.(*rsa.PSSOptions)
	if !ok {
		pss = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: opts.HashFunc()}
	}
	return rsa.SignPSS(rand, k.PrivateKey, opts.HashFunc(), digest, pss)
}

// SameKey tells whether a public key is the one that belongs to a private key.
// What a key made for PSS is restricted to does not matter.
func SameKey(pub crypto.PublicKey, key PrivateKey) bool {
	if a, ok := pub.(*ecdsa.PublicKey); ok { // as most are, and asked for each
		if b, ok := key.Public().(*ecdsa.PublicKey); ok {
			return a.Equal(b)
		}
	}
	a, errA := MarshalPublicKey(unrestricted(pub))
	b, errB := MarshalPublicKey(unrestricted(key.Public()))
	return errA == nil && errB == nil && string(a) == string(b)
}

func unrestricted(pub crypto.PublicKey) crypto.PublicKey {
	if k, ok := pub.(*PSSPublicKey); ok {
		return &PSSPublicKey{PublicKey: k.PublicKey}
	}
	return pub
}
