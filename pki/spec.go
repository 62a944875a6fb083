package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// A Spec is a certificate to be made, whoever asks for it. [Sign] adds the
// issuer and the signature and nothing else: what is in the certificate is
// what is in its Spec, in that order.
type Spec struct {
	Version    int      // 3 if 0; version 1 has no extensions
	Serial     *big.Int // 1 to 20 octets; see [NewSerial]
	Subject    dn.Name
	NotBefore  time.Time
	NotAfter   time.Time
	PublicKey  crypto.PublicKey
	Extensions Extensions

	IssuerUniqueID, SubjectUniqueID []byte // obsolete (RFC 5280, 4.1.2.8); nil to leave out
}

// NeverExpires is the notAfter of a certificate without a known end (RFC 5280, 4.1.2.5).
var NeverExpires = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// NewSerial returns a serial number of 20 random octets. The top bit is clear,
// so that the number is positive in 20 octets, and the next one is set, so that
// it always has 20, as certtool's have.
func NewSerial() *big.Int {
	b := make([]byte, 20)
	rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// Sign makes the certificate. issuer is nil for a self-signed one, whose key
// must then be the one in the Spec. alg is the key's [PreferredSignature] if zero.
func Sign(s *Spec, issuer *Certificate, key crypto.Signer, alg SignatureAlgorithm) (*Certificate, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	issuerDER := s.Subject.DER()
	if issuer != nil {
		issuerDER = issuer.RawSubject
		if !SameKey(issuer.PublicKey.Key, key) {
			return nil, errors.New("the issuer's private key does not belong to the issuer's certificate")
		}
	} else if !SameKey(s.PublicKey, key) {
		return nil, errors.New("a self-signed certificate is signed with its own key")
	}
	der, err := signDER(key, alg, func(b *cryptobyte.Builder, id AlgorithmIdentifier) { s.addTBS(b, id, issuerDER) })
	if err != nil {
		return nil, err
	}
	return ParseCertificate(der)
}

func (s *Spec) check() error {
	switch {
	case s.Serial == nil || s.Serial.Sign() <= 0 || s.Serial.BitLen() >= 160:
		return errors.New("a serial number is positive and has at most 20 octets (RFC 5280, 4.1.2.2)")
	case s.NotBefore.IsZero() || !s.NotAfter.After(s.NotBefore):
		return fmt.Errorf("the certificate would end (%s) before it begins (%s)", stamp(s.NotAfter), stamp(s.NotBefore))
	case s.NotAfter.After(NeverExpires):
		return errors.New("no certificate can hold a time after the year 9999")
	case s.Version == 1 && len(s.Extensions) > 0:
		return errors.New("a version 1 certificate has no extensions")
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (s *Spec) addTBS(b *cryptobyte.Builder, id AlgorithmIdentifier, issuer []byte) {
	spki, err := MarshalPublicKey(s.PublicKey)
	if err != nil {
		b.SetError(err)
		return
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		if s.Version != 1 {
			b.AddASN1(ctx(0), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
		}
		b.AddASN1BigInt(s.Serial)
		id.add(b)
		b.AddBytes(issuer)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, s.NotBefore)
			addTime(b, s.NotAfter)
		})
		b.AddBytes(s.Subject.DER())
		b.AddBytes(spki)
		addUniqueID(b, 1, s.IssuerUniqueID)
		addUniqueID(b, 2, s.SubjectUniqueID)
		if len(s.Extensions) > 0 {
			b.AddASN1(ctx(3), s.Extensions.add)
		}
	})
}

func addUniqueID(b *cryptobyte.Builder, tag int, id []byte) {
	if id != nil {
		b.AddASN1(prim(tag), func(b *cryptobyte.Builder) { b.AddBytes(append([]byte{0}, id...)) })
	}
}

// addTime writes UTCTime up to 2049 and GeneralizedTime after (RFC 5280, 4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	t = t.UTC()
	if y := t.Year(); y >= 1950 && y < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// signDER makes SIGNED{...} of what add writes.
func signDER(key crypto.Signer, alg SignatureAlgorithm, add func(*cryptobyte.Builder, AlgorithmIdentifier)) ([]byte, error) {
	if alg == (SignatureAlgorithm{}) {
		var err error
		if alg, err = PreferredSignature(key.Public(), 0); err != nil {
			return nil, err
		}
	}
	id, ok := alg.Identifier()
	if !ok {
		return nil, fmt.Errorf("there is no signature algorithm %s", alg)
	}
	var tbs cryptobyte.Builder
	add(&tbs, id)
	raw, err := tbs.Bytes()
	if err != nil {
		return nil, err
	}
	signature, err := SignMessage(key, alg, raw)
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", alg, err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(raw)
		id.add(b)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// KeyIDFor returns the subject key identifier that certificates made here
// carry: GnuTLS's key identifier, the SHA-1 of the SubjectPublicKeyInfo.
func KeyIDFor(pub crypto.PublicKey) ([]byte, error) {
	p, err := PublicKeyOf(pub)
	if err != nil {
		return nil, err
	}
	return p.ID(), nil
}

// SameCertificate tells whether two certificates are the same bytes.
func SameCertificate(a, b *Certificate) bool { return bytes.Equal(a.Raw, b.Raw) }
