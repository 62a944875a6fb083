package pki

import (
	"crypto"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// A CRL is a certificate revocation list as it was read (RFC 5280, 5).
type CRL struct {
	Raw          []byte
	RawTBS       []byte
	Version      int // 1 or 2
	TBSAlgorithm AlgorithmIdentifier
	Issuer       dn.Name
	RawIssuer    []byte
	ThisUpdate   time.Time
	NextUpdate   time.Time // zero if absent
	Revoked      []RevokedCertificate
	Extensions   Extensions
	Algorithm    AlgorithmIdentifier
	Signature    []byte
}

// A RevokedCertificate is an entry of a [CRL].
type RevokedCertificate struct {
	Serial     *big.Int
	RawSerial  []byte // content octets; filled in by ParseCRL
	RevokedAt  time.Time
	Extensions Extensions
}

// A RevocationReason tells why a certificate was revoked (RFC 5280, 5.3.1).
type RevocationReason int

// The reasons. RemoveFromCRL is for delta CRLs, which are not made here.
const (
	Unspecified          RevocationReason = 0
	KeyCompromise        RevocationReason = 1
	CACompromise         RevocationReason = 2
	AffiliationChanged   RevocationReason = 3
	Superseded           RevocationReason = 4
	CessationOfOperation RevocationReason = 5
	CertificateHold      RevocationReason = 6
	RemoveFromCRL        RevocationReason = 8
	PrivilegeWithdrawn   RevocationReason = 9
	AACompromise         RevocationReason = 10
)

var reasonNames = map[RevocationReason]string{
	Unspecified: "unspecified", KeyCompromise: "keyCompromise", CACompromise: "cACompromise",
	AffiliationChanged: "affiliationChanged", Superseded: "superseded", CessationOfOperation: "cessationOfOperation",
	CertificateHold: "certificateHold", RemoveFromCRL: "removeFromCRL", PrivilegeWithdrawn: "privilegeWithdrawn",
	AACompromise: "aACompromise",
}

// String returns the name RFC 5280 gives the reason.
func (r RevocationReason) String() string {
	if s, ok := reasonNames[r]; ok {
		return s
	}
	return fmt.Sprintf("reason %d", int(r))
}

// ParseRevocationReason reads a reason by the name RFC 5280 gives it. RemoveFromCRL is
// none that a certificate can be revoked for.
func ParseRevocationReason(s string) (RevocationReason, error) {
	for r, name := range reasonNames {
		if name == s && r != RemoveFromCRL {
			return r, nil
		}
	}
	return 0, fmt.Errorf("unknown reason %q: want unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn or aACompromise", s)
}

// Extension returns the reason as a CRL entry extension.
func (r RevocationReason) Extension() Extension {
	return Extension{OIDReasonCode, false, encode(func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(r)) })}
}

// Reason returns why the certificate was revoked, [Unspecified] if the entry does not say.
func (r *RevokedCertificate) Reason() RevocationReason {
	e := r.Extensions.Find(OIDReasonCode)
	if e == nil {
		return Unspecified
	}
	in := cryptobyte.String(e.Value)
	var n int
	if !in.ReadASN1Enum(&n) {
		return Unspecified
	}
	return RevocationReason(n)
}

// ParseCRL reads one DER CRL and nothing after it. The signature is not checked.
func ParseCRL(der []byte) (*CRL, error) {
	s, err := readSigned(der)
	if err != nil {
		return nil, fmt.Errorf("malformed CRL: %w", err)
	}
	c := &CRL{Raw: der, RawTBS: s.raw, Algorithm: s.algorithm, Signature: s.signature, Version: 1}
	in := s.content
	if in.PeekASN1Tag(cbasn1.INTEGER) {
		if !in.ReadASN1Integer(&c.Version) || c.Version < 0 || c.Version > 1 {
			return nil, errors.New("malformed CRL: version")
		}
		c.Version++
	}
	var ok bool
	if c.TBSAlgorithm, ok = readAlgorithm(&in); !ok {
		return nil, errors.New("malformed CRL: signature algorithm")
	}
	if c.RawIssuer, c.Issuer, err = readName(&in); err != nil {
		return nil, fmt.Errorf("malformed CRL: issuer: %w", err)
	}
	if !readTime(&in, &c.ThisUpdate) {
		return nil, errors.New("malformed CRL: time of issue")
	}
	if in.PeekASN1Tag(cbasn1.UTCTime) || in.PeekASN1Tag(cbasn1.GeneralizedTime) {
		if !readTime(&in, &c.NextUpdate) {
			return nil, errors.New("malformed CRL: time of next issue")
		}
	}
	if in.PeekASN1Tag(cbasn1.SEQUENCE) {
		if c.Revoked, ok = readRevoked(&in); !ok {
			return nil, errors.New("malformed CRL: revoked certificates")
		}
	}
	var ext cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&ext, &present, ctx(0)) || !in.Empty() {
		return nil, errors.New("malformed CRL: extensions")
	}
	if present {
		if c.Extensions, ok = readExtensions(&ext); !ok || !ext.Empty() {
			return nil, errors.New("malformed CRL: extensions")
		}
	}
	return c, nil
}

func readRevoked(in *cryptobyte.String) (revoked []RevokedCertificate, ok bool) {
	var list cryptobyte.String
	if !in.ReadASN1(&list, cbasn1.SEQUENCE) {
		return nil, false
	}
	for !list.Empty() {
		var entry, serial cryptobyte.String
		var r RevokedCertificate
		if !list.ReadASN1(&entry, cbasn1.SEQUENCE) || !entry.ReadASN1(&serial, cbasn1.INTEGER) ||
			len(serial) == 0 || !readTime(&entry, &r.RevokedAt) {
			return nil, false
		}
		r.RawSerial, r.Serial = serial, signedInt(serial)
		if !entry.Empty() {
			if r.Extensions, ok = readExtensions(&entry); !ok || !entry.Empty() {
				return nil, false
			}
		}
		revoked = append(revoked, r)
	}
	return revoked, true
}

// ParseCRLsPEM reads all CRLs in data, at least one, with any text around them.
func ParseCRLsPEM(data []byte) ([]*CRL, error) {
	return parsePEM(data, "CRL", ParseCRL, PEMCRL)
}

// A CRLSpec is a certificate revocation list to be made.
type CRLSpec struct {
	ThisUpdate time.Time
	NextUpdate time.Time // left out if zero
	Revoked    []RevokedCertificate
	Number     *big.Int // CRL number; left out if nil
	Extensions Extensions
}

// SignCRL makes the list in the name of issuer. Its extensions are the
// authority key identifier, the CRL number and those of the CRLSpec. alg is
// the key's [PreferredSignature] if zero.
func SignCRL(s *CRLSpec, issuer *Certificate, key crypto.Signer, alg SignatureAlgorithm) (*CRL, error) {
	if !SameKey(issuer.PublicKey.Key, key) {
		return nil, errors.New("the issuer's private key does not belong to the issuer's certificate")
	}
	if !s.NextUpdate.IsZero() && !s.NextUpdate.After(s.ThisUpdate) {
		return nil, fmt.Errorf("the CRL's next update (%s) would come before it is issued (%s)", stamp(s.NextUpdate), stamp(s.ThisUpdate))
	}
	der, err := signDER(key, alg, func(b *cryptobyte.Builder, id AlgorithmIdentifier) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { s.addTBS(b, id, issuer) })
	})
	if err != nil {
		return nil, err
	}
	return ParseCRL(der)
}

func (s *CRLSpec) addTBS(b *cryptobyte.Builder, id AlgorithmIdentifier, issuer *Certificate) {
	b.AddASN1Int64(1)
	id.add(b)
	b.AddBytes(issuer.RawSubject)
	addTime(b, s.ThisUpdate)
	if !s.NextUpdate.IsZero() {
		addTime(b, s.NextUpdate)
	}
	if len(s.Revoked) > 0 {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, r := range s.Revoked {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1BigInt(r.Serial)
					addTime(b, r.RevokedAt)
					if len(r.Extensions) > 0 {
						r.Extensions.add(b)
					}
				})
			}
		})
	}
	var ext Extensions
	if id := issuer.Extensions.SubjectKeyID(); id != nil {
		ext = append(ext, AuthorityKeyID{KeyID: id}.Extension())
	}
	if s.Number != nil {
		ext = append(ext, Extension{OIDCRLNumber, false, encode(func(b *cryptobyte.Builder) { b.AddASN1BigInt(s.Number) })})
	}
	ext = append(ext, s.Extensions...)
	if len(ext) > 0 {
		b.AddASN1(ctx(0), ext.add)
	}
}

// CheckSignatureFrom checks the list's signature with the issuer's key, and nothing else.
func (c *CRL) CheckSignatureFrom(issuer *Certificate) error {
	return checkSigned(issuer.PublicKey, c.Algorithm, c.TBSAlgorithm, c.RawTBS, c.Signature)
}

// SignatureAlgorithm returns how the list says it was signed.
func (c *CRL) SignatureAlgorithm() SignatureAlgorithm {
	alg, ok := ParseSignatureAlgorithm(c.Algorithm)
	if !ok {
		return SignatureAlgorithm{}
	}
	return alg
}

// Find returns the entry for a serial number, nil if it is not revoked.
func (c *CRL) Find(serial *big.Int) *RevokedCertificate {
	for i := range c.Revoked {
		if c.Revoked[i].Serial.Cmp(serial) == 0 {
			return &c.Revoked[i]
		}
	}
	return nil
}

// Number returns the CRL number, nil if the list has none.
func (c *CRL) Number() *big.Int {
	content, err := c.Extensions.Integer(OIDCRLNumber)
	if err != nil || content == nil {
		return nil
	}
	return signedInt(content)
}

// PEM returns the list in PEM form.
func (c *CRL) PEM() []byte { return EncodePEM(PEMCRL, c.Raw) }
