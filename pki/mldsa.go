package pki

import (
	"bytes"
	"crypto"
	"crypto/sha3"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func mldsaParameters(a KeyAlgorithm) mldsa.Parameters {
	switch a {
	case MLDSA44:
		return mldsa.MLDSA44()
	case MLDSA87:
		return mldsa.MLDSA87()
	}
	return mldsa.MLDSA65()
}

func mldsaAlgorithm(p mldsa.Parameters) KeyAlgorithm {
	switch p {
	case mldsa.MLDSA44():
		return MLDSA44
	case mldsa.MLDSA87():
		return MLDSA87
	}
	return MLDSA65
}

// mldsaScheme is the implementation that knows expanded private keys, which
// filippo.io/mldsa leaves out on purpose.
func mldsaScheme(a KeyAlgorithm) sign.Scheme {
	switch a {
	case MLDSA44:
		return mldsa44.Scheme()
	case MLDSA87:
		return mldsa87.Scheme()
	}
	return mldsa65.Scheme()
}

// A MLDSAExpandedKey is an ML-DSA private key whose file holds no seed. It
// signs like any other; it cannot be written back in seed form.
type MLDSAExpandedKey struct {
	alg    KeyAlgorithm
	secret sign.PrivateKey
	raw    []byte
	public *mldsa.PublicKey
}

// Public returns an *mldsa.PublicKey.
func (k *MLDSAExpandedKey) Public() crypto.PublicKey { return k.public }

// Sign signs a message, not a digest: opts.HashFunc() must be 0.
func (k *MLDSAExpandedKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != nil && opts.HashFunc() != 0 {
		return nil, errors.New("ML-DSA signs messages, not digests")
	}
	return mldsaScheme(k.alg).Sign(k.secret, message, nil), nil
}

// errInconsistent is what RFC 9881, 8.2 asks an importer to notice.
var errInconsistent = errors.New("the parts of the ML-DSA private key do not belong together (RFC 9881, section 8.2)")

// newMLDSAExpanded reads an expanded private key (FIPS 204, algorithm 24:
// rho, K, tr, s1, s2, t0) and checks that its parts belong together: tr is the
// hash of the public key that s1 and s2 give, and a signature made with t0
// verifies.
func newMLDSAExpanded(a KeyAlgorithm, raw []byte) (*MLDSAExpandedKey, error) {
	scheme := mldsaScheme(a)
	if len(raw) != scheme.PrivateKeySize() {
		return nil, fmt.Errorf("expanded %s private key has %d octets, want %d", a, len(raw), scheme.PrivateKeySize())
	}
	secret, err := scheme.UnmarshalBinaryPrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("malformed expanded %s private key", a)
	}
	packed, err := secret.Public().(sign.PublicKey).MarshalBinary()
	if err != nil {
		return nil, err
	}
	public, err := mldsa.NewPublicKey(mldsaParameters(a), packed)
	if err != nil {
		return nil, err
	}
	k := &MLDSAExpandedKey{alg: a, secret: secret, raw: append([]byte(nil), raw...), public: public}
	tr := sha3.SumSHAKE256(packed, 64)
	if subtle.ConstantTimeCompare(tr, raw[64:128]) != 1 {
		return nil, errInconsistent
	}
	probe := []byte("virtls")
	sig, err := k.Sign(nil, probe, nil)
	if err != nil || mldsa.Verify(public, probe, sig, nil) != nil {
		return nil, errInconsistent
	}
	return k, nil
}

// expandMLDSA returns the expanded form of a key, which is derived from its seed.
func expandMLDSA(k *mldsa.PrivateKey) ([]byte, error) {
	_, secret := mldsaScheme(mldsaAlgorithm(k.PublicKey().Parameters())).DeriveKey(k.Bytes())
	return secret.MarshalBinary()
}

// An MLDSAForm is one of the three private key forms of RFC 9881, section 6.
type MLDSAForm int

// The forms. Both is what GnuTLS and OpenSSL write by default.
const (
	MLDSABoth MLDSAForm = iota
	MLDSASeed
	MLDSAExpanded
)

// addMLDSA writes the CHOICE inside the PKCS#8 privateKey OCTET STRING.
func addMLDSA(b *cryptobyte.Builder, key PrivateKey, form MLDSAForm) error {
	if k, ok := key.(*MLDSAExpandedKey); ok {
		if form != MLDSAExpanded {
			return errors.New("this ML-DSA private key has no seed; it can be written in expanded form only")
		}
		b.AddASN1OctetString(k.raw)
		return nil
	}
	k := key.(*mldsa.PrivateKey)
	expanded, err := expandMLDSA(k)
	if err != nil {
		return err
	}
	switch form {
	case MLDSASeed:
		b.AddASN1(prim(0), func(b *cryptobyte.Builder) { b.AddBytes(k.Bytes()) })
	case MLDSAExpanded:
		b.AddASN1OctetString(expanded)
	default:
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1OctetString(k.Bytes())
			b.AddASN1OctetString(expanded)
		})
	}
	return nil
}

// readMLDSA reads any of the three forms. Where a seed is there it is the key,
// and an expanded key beside it must be what the seed gives. Three forms from
// before RFC 9881 that OpenSSL still writes on request are read too: seed or
// expanded key without ASN.1 around it, and the expanded key followed by the
// public key.
func readMLDSA(a KeyAlgorithm, der []byte) (PrivateKey, error) {
	malformed := fmt.Errorf("malformed %s private key", a)
	in := cryptobyte.String(der)
	var seed, expanded, seq cryptobyte.String
	ok := true
	switch {
	case len(der) == mldsa.PrivateKeySize:
		seed, in = in, nil
	case len(der) == mldsaScheme(a).PrivateKeySize():
		expanded, in = in, nil
	case in.PeekASN1Tag(prim(0)):
		ok = in.ReadASN1(&seed, prim(0))
	case in.PeekASN1Tag(cbasn1.OCTET_STRING):
		ok = in.ReadASN1(&expanded, cbasn1.OCTET_STRING)
	default:
		ok = in.ReadASN1(&seq, cbasn1.SEQUENCE) && seq.ReadASN1(&seed, cbasn1.OCTET_STRING) &&
			seq.ReadASN1(&expanded, cbasn1.OCTET_STRING) && seq.Empty()
	}
	if !ok || !in.Empty() {
		return nil, malformed
	}
	if seed == nil {
		return readMLDSAExpanded(a, expanded)
	}
	key, err := mldsa.NewPrivateKey(mldsaParameters(a), seed)
	if err != nil {
		return nil, fmt.Errorf("seed of the %s private key has %d octets, want %d", a, len(seed), mldsa.PrivateKeySize)
	}
	if expanded != nil {
		derived, err := expandMLDSA(key)
		if err != nil {
			return nil, err
		}
		if subtle.ConstantTimeCompare(derived, expanded) != 1 {
			return nil, errInconsistent
		}
	}
	return key, nil
}

// readMLDSAExpanded reads an expanded key that the public key may follow.
func readMLDSAExpanded(a KeyAlgorithm, raw []byte) (PrivateKey, error) {
	size := mldsaScheme(a).PrivateKeySize()
	public := raw[min(size, len(raw)):]
	if len(public) == mldsaParameters(a).PublicKeySize() {
		raw = raw[:size]
	} else {
		public = nil
	}
	k, err := newMLDSAExpanded(a, raw)
	if err == nil && public != nil && !bytes.Equal(k.public.Bytes(), public) {
		err = errInconsistent
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}
