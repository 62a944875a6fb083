package pki

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// A Certificate is an X.509 certificate as it was read (RFC 5280, 4.1). It is
// not judged by reading it: see [Verify].
type Certificate struct {
	Raw    []byte // the whole certificate, DER
	RawTBS []byte // the part that is signed

	Version      int      // 1 to 3
	Serial       *big.Int // negative in some certificates of certtool 3.7
	RawSerial    []byte   // content octets, as certtool prints them
	TBSAlgorithm AlgorithmIdentifier
	Issuer       dn.Name
	RawIssuer    []byte
	NotBefore    time.Time
	NotAfter     time.Time
	Subject      dn.Name
	RawSubject   []byte
	PublicKey    *PublicKey

	IssuerUniqueID, SubjectUniqueID []byte // content of the BIT STRINGs, nil if absent

	Extensions Extensions
	Algorithm  AlgorithmIdentifier // outside the signed part; must equal TBSAlgorithm
	Signature  []byte

	keyID, issuerKeyID []byte // the key identifiers, nil if absent or malformed
}

// ParseCertificate reads one DER certificate and nothing after it.
func ParseCertificate(der []byte) (*Certificate, error) {
	c := &Certificate{Raw: der}
	tbs, err := c.readOuter()
	if err != nil {
		return nil, err
	}
	if err := c.readTBS(tbs); err != nil {
		return nil, err
	}
	return c, nil
}

// readOuter splits SIGNED{TBSCertificate} and returns the content of the signed part.
func (c *Certificate) readOuter() (cryptobyte.String, error) {
	s, err := readSigned(c.Raw)
	if err != nil {
		return nil, fmt.Errorf("malformed certificate: %w", err)
	}
	c.RawTBS, c.Algorithm, c.Signature = s.raw, s.algorithm, s.signature
	return s.content, nil
}

// signed is the outer form that certificates, requests and CRLs share.
type signed struct {
	raw       []byte            // the signed part with its tag and length
	content   cryptobyte.String // the signed part's content
	algorithm AlgorithmIdentifier
	signature []byte
}

func readSigned(der []byte) (s signed, err error) {
	in := cryptobyte.String(der)
	var seq, raw cryptobyte.String
	var sig asn1.BitString
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return s, errors.New("no DER SEQUENCE")
	}
	if !in.Empty() {
		return s, errors.New("data after its end")
	}
	if !seq.ReadASN1Element(&raw, cbasn1.SEQUENCE) {
		return s, errors.New("signed part")
	}
	s.raw = raw
	raw.ReadASN1(&s.content, cbasn1.SEQUENCE)
	var ok bool
	if s.algorithm, ok = readAlgorithm(&seq); !ok {
		return s, errors.New("signature algorithm")
	}
	if !seq.ReadASN1BitString(&sig) || sig.BitLength%8 != 0 || !seq.Empty() {
		return s, errors.New("signature")
	}
	s.signature = sig.Bytes
	return s, nil
}

func (c *Certificate) readTBS(in cryptobyte.String) error {
	if err := c.readVersionAndSerial(&in); err != nil {
		return err
	}
	var ok bool
	if c.TBSAlgorithm, ok = readAlgorithm(&in); !ok {
		return errors.New("malformed certificate: inner signature algorithm")
	}
	var err error
	if c.RawIssuer, c.Issuer, err = readName(&in); err != nil {
		return fmt.Errorf("malformed certificate: issuer: %w", err)
	}
	if c.NotBefore, c.NotAfter, ok = readValidity(&in); !ok {
		return errors.New("malformed certificate: validity")
	}
	if c.RawSubject, c.Subject, err = readName(&in); err != nil {
		return fmt.Errorf("malformed certificate: subject: %w", err)
	}
	if c.PublicKey, err = readPublicKey(&in); err != nil {
		return fmt.Errorf("malformed certificate: %w", err)
	}
	return c.readOptional(&in)
}

func (c *Certificate) readVersionAndSerial(in *cryptobyte.String) error {
	var version, serial cryptobyte.String
	var present bool
	c.Version = 1
	if !in.ReadOptionalASN1(&version, &present, ctx(0)) {
		return errors.New("malformed certificate: version")
	}
	if present && (!version.ReadASN1Integer(&c.Version) || !version.Empty() || c.Version < 0 || c.Version > 2) {
		return errors.New("malformed certificate: version")
	} else if present {
		c.Version++
	}
	if !in.ReadASN1(&serial, cbasn1.INTEGER) || len(serial) == 0 {
		return errors.New("malformed certificate: serial number")
	}
	c.RawSerial = serial
	c.Serial = signedInt(serial)
	return nil
}

// signedInt reads the content octets of an INTEGER, minimal or not.
func signedInt(content []byte) *big.Int {
	n := new(big.Int).SetBytes(content)
	if content[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(content))))
	}
	return n
}

func readName(in *cryptobyte.String) (raw []byte, name dn.Name, err error) {
	var elem cryptobyte.String
	if !in.ReadASN1Element(&elem, cbasn1.SEQUENCE) {
		return nil, nil, errors.New("no SEQUENCE")
	}
	name, err = dn.ParseDER(elem)
	return elem, name, err
}

func readValidity(in *cryptobyte.String) (notBefore, notAfter time.Time, ok bool) {
	var seq cryptobyte.String
	ok = in.ReadASN1(&seq, cbasn1.SEQUENCE) && readTime(&seq, &notBefore) && readTime(&seq, &notAfter) && seq.Empty()
	return notBefore, notAfter, ok
}

// readTime reads a Time (RFC 5280, 4.1.2.5).
func readTime(in *cryptobyte.String, t *time.Time) bool {
	if in.PeekASN1Tag(cbasn1.UTCTime) {
		return in.ReadASN1UTCTime(t)
	}
	return in.ReadASN1GeneralizedTime(t)
}

func (c *Certificate) readOptional(in *cryptobyte.String) error {
	var issuerID, subjectID, ext cryptobyte.String
	var hasIssuerID, hasSubjectID, hasExt bool
	if !in.ReadOptionalASN1(&issuerID, &hasIssuerID, prim(1)) ||
		!in.ReadOptionalASN1(&subjectID, &hasSubjectID, prim(2)) ||
		!in.ReadOptionalASN1(&ext, &hasExt, ctx(3)) || !in.Empty() {
		return errors.New("malformed certificate: what follows the public key")
	}
	// The first octet of a BIT STRING counts the unused bits.
	if hasIssuerID && len(issuerID) > 0 {
		c.IssuerUniqueID = issuerID[1:]
	}
	if hasSubjectID && len(subjectID) > 0 {
		c.SubjectUniqueID = subjectID[1:]
	}
	if hasExt {
		var ok bool
		if c.Extensions, ok = readExtensions(&ext); !ok || !ext.Empty() {
			return errors.New("malformed certificate: extensions")
		}
	}
	c.keyID = c.Extensions.SubjectKeyID()
	if id, err := c.Extensions.AuthorityKeyID(); err == nil && id != nil {
		c.issuerKeyID = id.KeyID
	}
	return nil
}

// ParseCertificatesPEM reads all certificates in data, at least one, with any
// text around them.
func ParseCertificatesPEM(data []byte) ([]*Certificate, error) {
	return parsePEM(data, "certificate", ParseCertificate, PEMCertificate, "X509 CERTIFICATE")
}

// PEM returns the certificate in PEM form, without text.
func (c *Certificate) PEM() []byte { return EncodePEM(PEMCertificate, c.Raw) }

// SignatureAlgorithm returns how the certificate says it was signed; its Key is
// [UnknownKey] if that is unknown here.
func (c *Certificate) SignatureAlgorithm() SignatureAlgorithm {
	alg, ok := ParseSignatureAlgorithm(c.Algorithm)
	if !ok {
		return SignatureAlgorithm{}
	}
	return alg
}

// SelfIssued tells whether issuer and subject are the same name.
func (c *Certificate) SelfIssued() bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// IsCA tells whether the basic constraints make c an authority.
func (c *Certificate) IsCA() bool {
	bc, err := c.Extensions.BasicConstraints()
	return err == nil && bc != nil && bc.CA
}

// CheckSignatureFrom checks c's signature with the issuer's key, and nothing else.
func (c *Certificate) CheckSignatureFrom(issuer *Certificate) error {
	return checkSigned(issuer.PublicKey, c.Algorithm, c.TBSAlgorithm, c.RawTBS, c.Signature)
}

func checkSigned(key *PublicKey, outer, inner AlgorithmIdentifier, tbs, signature []byte) error {
	if !outer.equal(inner) {
		return errors.New("the signature algorithms inside and outside the signed part differ")
	}
	alg, ok := ParseSignatureAlgorithm(outer)
	if !ok {
		return fmt.Errorf("signature algorithm %s is not supported", dn.ShortOID(outer.OID))
	}
	if key.Key == nil {
		return fmt.Errorf("the issuer's key cannot be used: %w", key.Err)
	}
	return VerifyMessage(key.Key, alg, tbs, signature)
}

// Issued tells whether issuer's name, and its key identifier where both carry
// one, fit c, as GnuTLS judges it (gnutls_x509_crt_check_issuer); the signature
// is not looked at.
func (issuer *Certificate) Issued(c *Certificate) bool {
	if !bytes.Equal(issuer.RawSubject, c.RawIssuer) {
		return false
	}
	return c.issuerKeyID == nil || issuer.keyID == nil || bytes.Equal(c.issuerKeyID, issuer.keyID)
}

// SHA1 returns the fingerprint that certtool prints first.
func (c *Certificate) SHA1() [20]byte { return sha1.Sum(c.Raw) }

// SHA256 returns the fingerprint by which virtls names certificates.
func (c *Certificate) SHA256() [32]byte { return sha256.Sum256(c.Raw) }

// SerialHex returns the serial number's octets as certtool prints them.
func (c *Certificate) SerialHex() string { return hex.EncodeToString(c.RawSerial) }

// DNSNames returns the dNSName entries of the alternative names.
func (c *Certificate) DNSNames() []string {
	names, _ := c.Extensions.SubjectAltName()
	var dns []string
	for _, n := range names {
		if n.Kind == DNSKind {
			dns = append(dns, n.Text())
		}
	}
	return dns
}

// String names the certificate in messages: its subject and its serial number
// in hexadecimal, both cut if they are longer than any in use.
func (c *Certificate) String() string {
	subject := c.Subject.Short()
	if subject == "" {
		subject = "(empty subject)"
	}
	return fmt.Sprintf("%s (serial %s)", subject, briefSerial(c.Serial))
}
