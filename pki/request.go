package pki

import (
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// Request attributes (RFC 2985, 5.4).
var (
	OIDChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	OIDExtensionRequest  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
)

// A Request is a PKCS #10 certificate request (RFC 2986).
type Request struct {
	Raw          []byte
	RawTBS       []byte
	Version      int // 1
	Subject      dn.Name
	RawSubject   []byte
	PublicKey    *PublicKey
	Attributes   []Attribute // in the order of their encoding
	Extensions   Extensions  // of the extensionRequest attribute
	Algorithm    AlgorithmIdentifier
	RawSignature []byte
}

// An Attribute is one attribute of a request; Values is the content of its SET.
type Attribute struct {
	OID    asn1.ObjectIdentifier
	Values []byte
}

// ParseRequest reads one DER request and nothing after it. The signature is
// not checked: see [Request.CheckSignature].
func ParseRequest(der []byte) (*Request, error) {
	s, err := readSigned(der)
	if err != nil {
		return nil, fmt.Errorf("malformed certificate request: %w", err)
	}
	r := &Request{Raw: der, RawTBS: s.raw, Algorithm: s.algorithm, RawSignature: s.signature}
	in := s.content
	if !in.ReadASN1Integer(&r.Version) || r.Version < 0 || r.Version > 2 {
		return nil, errors.New("malformed certificate request: version")
	}
	r.Version++
	if r.RawSubject, r.Subject, err = readName(&in); err != nil {
		return nil, fmt.Errorf("malformed certificate request: subject: %w", err)
	}
	if r.PublicKey, err = readPublicKey(&in); err != nil {
		return nil, fmt.Errorf("malformed certificate request: %w", err)
	}
	if err := r.readAttributes(in); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Request) readAttributes(in cryptobyte.String) error {
	var attrs cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&attrs, &present, ctx(0)) || !in.Empty() {
		return errors.New("malformed certificate request: attributes")
	}
	for !attrs.Empty() {
		var attr, values cryptobyte.String
		var a Attribute
		if !attrs.ReadASN1(&attr, cbasn1.SEQUENCE) || !attr.ReadASN1ObjectIdentifier(&a.OID) ||
			!attr.ReadASN1(&values, cbasn1.SET) || !attr.Empty() {
			return errors.New("malformed certificate request: attribute")
		}
		a.Values = values
		r.Attributes = append(r.Attributes, a)
		if a.OID.Equal(OIDExtensionRequest) {
			var ok bool
			if r.Extensions, ok = readExtensions(&values); !ok {
				return errors.New("malformed certificate request: requested extensions")
			}
		}
	}
	return nil
}

// ParseRequestPEM reads the first request in data, with any text around it.
func ParseRequestPEM(data []byte) (*Request, error) {
	blocks, err := pemBlocks(data, "certificate request", PEMRequest, PEMRequestOld)
	if err != nil {
		return nil, err
	}
	return ParseRequest(blocks[0].der)
}

// CheckSignature tells whether whoever made the request has the private key.
func (r *Request) CheckSignature() error {
	return checkSigned(r.PublicKey, r.Algorithm, r.Algorithm, r.RawTBS, r.RawSignature)
}

// SignatureAlgorithm returns how the request says it was signed.
func (r *Request) SignatureAlgorithm() SignatureAlgorithm {
	alg, ok := ParseSignatureAlgorithm(r.Algorithm)
	if !ok {
		return SignatureAlgorithm{}
	}
	return alg
}

// A RequestSpec is a certificate request to be made.
type RequestSpec struct {
	Subject           dn.Name
	Extensions        Extensions
	ChallengePassword string // left out if empty
}

// SignRequest makes the request. alg is the key's [PreferredSignature] if zero.
func SignRequest(s *RequestSpec, key crypto.Signer, alg SignatureAlgorithm) (*Request, error) {
	spki, err := MarshalPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	der, err := signDER(key, alg, func(b *cryptobyte.Builder, _ AlgorithmIdentifier) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddBytes(s.Subject.DER())
			b.AddBytes(spki)
			b.AddASN1(ctx(0), s.addAttributes)
		})
	})
	if err != nil {
		return nil, err
	}
	return ParseRequest(der)
}

// addAttributes writes the attributes in the order of their encodings, for
// they are a SET OF (X.690, 11.6).
func (s *RequestSpec) addAttributes(b *cryptobyte.Builder) {
	var attributes []string
	attribute := func(oid asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) {
		var a cryptobyte.Builder
		a.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddASN1(cbasn1.SET, value)
		})
		der, err := a.Bytes()
		if err != nil {
			b.SetError(err)
		}
		attributes = append(attributes, string(der))
	}
	if s.ChallengePassword != "" {
		attribute(OIDChallengePassword, func(b *cryptobyte.Builder) {
			attr := dn.Attr(OIDChallengePassword, s.ChallengePassword)
			b.AddASN1(cbasn1.Tag(attr.Tag), func(b *cryptobyte.Builder) { b.AddBytes(attr.Value) })
		})
	}
	if len(s.Extensions) > 0 {
		attribute(OIDExtensionRequest, s.Extensions.add)
	}
	slices.Sort(attributes)
	for _, a := range attributes {
		b.AddBytes([]byte(a))
	}
}

// PEM returns the request in PEM form under the label of RFC 7468.
func (r *Request) PEM() []byte { return EncodePEM(PEMRequest, r.Raw) }
