package pki

import (
	"encoding/asn1"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// An Extension is one extension of a certificate, request, CRL or CRL entry
// (RFC 5280, 4.1). Value is the content of the extnValue OCTET STRING.
type Extension struct {
	OID      asn1.ObjectIdentifier
	Critical bool
	Value    []byte
}

// Extensions are in the order of their encoding.
type Extensions []Extension

var idCE = asn1.ObjectIdentifier{2, 5, 29}

// Identifiers of the extensions that this package makes and reads.
var (
	OIDSubjectKeyID        = under(idCE, 14)
	OIDKeyUsage            = under(idCE, 15)
	OIDPrivateKeyUsage     = under(idCE, 16)
	OIDSubjectAltName      = under(idCE, 17)
	OIDIssuerAltName       = under(idCE, 18)
	OIDBasicConstraints    = under(idCE, 19)
	OIDCRLNumber           = under(idCE, 20)
	OIDReasonCode          = under(idCE, 21)
	OIDInvalidityDate      = under(idCE, 24)
	OIDDeltaCRL            = under(idCE, 27)
	OIDIssuingDistribution = under(idCE, 28)
	OIDNameConstraints     = under(idCE, 30)
	OIDCRLDistribution     = under(idCE, 31)
	OIDCertificatePolicies = under(idCE, 32)
	OIDPolicyMappings      = under(idCE, 33)
	OIDAuthorityKeyID      = under(idCE, 35)
	OIDPolicyConstraints   = under(idCE, 36)
	OIDExtKeyUsage         = under(idCE, 37)
	OIDInhibitAnyPolicy    = under(idCE, 54)
	OIDAuthorityInfo       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	OIDTLSFeature          = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
)

// Find returns the first extension with the identifier, nil if there is none.
func (x Extensions) Find(oid asn1.ObjectIdentifier) *Extension {
	for i := range x {
		if x[i].OID.Equal(oid) {
			return &x[i]
		}
	}
	return nil
}

// Set replaces the extension with e's identifier in its place, or appends e.
func (x *Extensions) Set(e Extension) {
	if old := x.Find(e.OID); old != nil {
		*old = e
		return
	}
	*x = append(*x, e)
}

// SetAll does what [Extensions.Set] does for each of more, however many there are.
func (x *Extensions) SetAll(more Extensions) {
	places := make(map[string]int, len(*x)+len(more))
	for i, e := range slices.Backward(*x) {
		places[e.OID.String()] = i // of the first
	}
	for _, e := range more {
		oid := e.OID.String()
		if i, ok := places[oid]; ok {
			(*x)[i] = e
			continue
		}
		places[oid] = len(*x)
		*x = append(*x, e)
	}
}

// Remove deletes every extension with the identifier.
func (x *Extensions) Remove(oid asn1.ObjectIdentifier) {
	*x = slices.DeleteFunc(*x, func(e Extension) bool { return e.OID.Equal(oid) })
}

func readExtensions(in *cryptobyte.String) (Extensions, bool) {
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return nil, false
	}
	var x Extensions
	for !seq.Empty() {
		var e Extension
		var ext, value cryptobyte.String
		if !seq.ReadASN1(&ext, cbasn1.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&e.OID) {
			return nil, false
		}
		// DER forbids an explicit FALSE, and everybody's certificates hold some.
		if ext.PeekASN1Tag(cbasn1.BOOLEAN) && !ext.ReadASN1Boolean(&e.Critical) {
			return nil, false
		}
		if !ext.ReadASN1(&value, cbasn1.OCTET_STRING) || !ext.Empty() {
			return nil, false
		}
		e.Value = value
		x = append(x, e)
	}
	return x, true
}

func (x Extensions) add(b *cryptobyte.Builder) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range x {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(e.OID)
				if e.Critical {
					b.AddASN1Boolean(true)
				}
				b.AddASN1OctetString(e.Value)
			})
		}
	})
}

// encode builds the value of an extension whose parts are known to be encodable.
func encode(f func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	f(&b)
	return b.BytesOrPanic()
}

// encodeSequence is encode inside a SEQUENCE.
func encodeSequence(f func(*cryptobyte.Builder)) []byte {
	return encode(func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, f) })
}

// sequence opens a value that is one SEQUENCE and nothing else.
func sequence(der []byte) (cryptobyte.String, bool) {
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	return seq, in.ReadASN1(&seq, cbasn1.SEQUENCE) && in.Empty()
}
