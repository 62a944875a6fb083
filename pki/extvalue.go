package pki

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// BasicConstraints tell whether a certificate is an authority's (RFC 5280, 4.2.1.9).
type BasicConstraints struct {
	CA      bool
	PathLen int // -1 if there is no limit
}

// Extension returns the DER form, critical as certtool and RFC 5280 have it.
func (c BasicConstraints) Extension() Extension {
	return Extension{OIDBasicConstraints, true, encodeSequence(func(b *cryptobyte.Builder) {
		if c.CA {
			b.AddASN1Boolean(true)
		}
		if c.CA && c.PathLen >= 0 {
			b.AddASN1Int64(int64(c.PathLen))
		}
	})}
}

// malformed is the error of a value that does not decode.
func malformed(what string) error { return errors.New("malformed " + what) }

// BasicConstraints reads the extension; nil without error if it is absent.
func (x Extensions) BasicConstraints() (*BasicConstraints, error) {
	e := x.Find(OIDBasicConstraints)
	if e == nil {
		return nil, nil
	}
	c := &BasicConstraints{PathLen: -1}
	seq, ok := sequence(e.Value)
	if ok && seq.PeekASN1Tag(cbasn1.BOOLEAN) {
		ok = seq.ReadASN1Boolean(&c.CA)
	}
	if ok && seq.PeekASN1Tag(cbasn1.INTEGER) {
		ok = seq.ReadASN1Integer(&c.PathLen) && c.PathLen >= 0
	}
	if !ok || !seq.Empty() {
		return nil, malformed("basic constraints")
	}
	return c, nil
}

// SubjectKeyIDExtension returns the DER form of a subject key identifier.
func SubjectKeyIDExtension(id []byte) Extension {
	return Extension{OIDSubjectKeyID, false, encode(func(b *cryptobyte.Builder) { b.AddASN1OctetString(id) })}
}

// SubjectKeyID reads the identifier; nil if the extension is absent or malformed.
func (x Extensions) SubjectKeyID() []byte {
	e := x.Find(OIDSubjectKeyID)
	if e == nil {
		return nil
	}
	in := cryptobyte.String(e.Value)
	var id cryptobyte.String
	if !in.ReadASN1(&id, cbasn1.OCTET_STRING) || !in.Empty() {
		return nil
	}
	return id
}

// AuthorityKeyID points at the issuer's key (RFC 5280, 4.2.1.1).
type AuthorityKeyID struct {
	KeyID  []byte
	Issuer GeneralNames
	Serial []byte // content octets of the INTEGER
}

// Extension returns the DER form with the key identifier alone, as certtool writes it.
func (a AuthorityKeyID) Extension() Extension {
	return Extension{OIDAuthorityKeyID, false, encodeSequence(func(b *cryptobyte.Builder) {
		b.AddASN1(prim(0), func(b *cryptobyte.Builder) { b.AddBytes(a.KeyID) })
	})}
}

// AuthorityKeyID reads the extension; nil without error if it is absent.
func (x Extensions) AuthorityKeyID() (*AuthorityKeyID, error) {
	e := x.Find(OIDAuthorityKeyID)
	if e == nil {
		return nil, nil
	}
	a := new(AuthorityKeyID)
	seq, ok := sequence(e.Value)
	var id, issuer, serial cryptobyte.String
	var hasID, hasIssuer, hasSerial bool
	ok = ok && seq.ReadOptionalASN1(&id, &hasID, prim(0)) &&
		seq.ReadOptionalASN1(&issuer, &hasIssuer, ctx(1)) &&
		seq.ReadOptionalASN1(&serial, &hasSerial, prim(2)) && seq.Empty()
	if ok && hasIssuer {
		a.Issuer, ok = readGeneralNames(issuer)
	}
	if !ok {
		return nil, malformed("authority key identifier")
	}
	if hasID {
		a.KeyID = id
	}
	if hasSerial {
		a.Serial = serial
	}
	return a, nil
}

// InhibitAnyPolicyExtension returns the DER form (RFC 5280, 4.2.1.14), critical.
func InhibitAnyPolicyExtension(skip int64) Extension {
	return Extension{OIDInhibitAnyPolicy, true, encode(func(b *cryptobyte.Builder) { b.AddASN1Int64(skip) })}
}

// TLSFeatureExtension returns the DER form (RFC 7633, 4).
func TLSFeatureExtension(features []int64) Extension {
	return Extension{OIDTLSFeature, false, encodeSequence(func(b *cryptobyte.Builder) {
		for _, f := range features {
			b.AddASN1Int64(f)
		}
	})}
}

// A PolicyInformation is one certificate policy (RFC 5280, 4.2.1.4).
type PolicyInformation struct {
	OID        asn1.ObjectIdentifier
	Qualifiers []PolicyQualifier
}

// A PolicyQualifier is a user notice or, if URI is set, a pointer to a practice statement.
type PolicyQualifier struct {
	Notice string
	URI    string
	OID    asn1.ObjectIdentifier // of a qualifier that is neither
}

var (
	oidCPS        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 1}
	oidUserNotice = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 2}
)

// PoliciesExtension returns the DER form, with notices as UTF8String as certtool writes them.
func PoliciesExtension(policies []PolicyInformation) (Extension, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, p := range policies {
			b.AddASN1(cbasn1.SEQUENCE, p.add)
		}
	})
	value, err := b.Bytes()
	return Extension{OIDCertificatePolicies, false, value}, err
}

func (p PolicyInformation) add(b *cryptobyte.Builder) {
	b.AddASN1ObjectIdentifier(p.OID)
	if len(p.Qualifiers) == 0 {
		return
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, q := range p.Qualifiers {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				if q.URI != "" {
					b.AddASN1ObjectIdentifier(oidCPS)
					b.AddASN1(cbasn1.IA5String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(q.URI)) })
					return
				}
				b.AddASN1ObjectIdentifier(oidUserNotice)
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(q.Notice)) })
				})
			})
		}
	})
}

// Policies reads the certificate policies; nil if the extension is absent.
func (x Extensions) Policies() ([]PolicyInformation, error) {
	e := x.Find(OIDCertificatePolicies)
	if e == nil {
		return nil, nil
	}
	seq, ok := sequence(e.Value)
	var policies []PolicyInformation
	for ok && !seq.Empty() {
		var p PolicyInformation
		p, ok = readPolicy(&seq)
		policies = append(policies, p)
	}
	if !ok || len(policies) == 0 {
		return nil, malformed("certificate policies")
	}
	return policies, nil
}

func readPolicy(seq *cryptobyte.String) (p PolicyInformation, ok bool) {
	var info, quals cryptobyte.String
	if !seq.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&p.OID) {
		return p, false
	}
	if info.Empty() {
		return p, true
	}
	if !info.ReadASN1(&quals, cbasn1.SEQUENCE) || !info.Empty() {
		return p, false
	}
	for !quals.Empty() {
		var qual, text cryptobyte.String
		var tag cbasn1.Tag
		var q PolicyQualifier
		if !quals.ReadASN1(&qual, cbasn1.SEQUENCE) || !qual.ReadASN1ObjectIdentifier(&q.OID) {
			return p, false
		}
		switch {
		case q.OID.Equal(oidCPS):
			if !qual.ReadAnyASN1(&text, &tag) {
				return p, false
			}
			q.URI = string(text)
		case q.OID.Equal(oidUserNotice):
			var notice cryptobyte.String
			if !qual.ReadASN1(&notice, cbasn1.SEQUENCE) {
				return p, false
			}
			// noticeRef, a SEQUENCE, may come before the text.
			for !notice.Empty() {
				if !notice.ReadAnyASN1(&text, &tag) {
					return p, false
				}
				if tag != cbasn1.SEQUENCE {
					q.Notice = string(text)
				}
			}
		}
		p.Qualifiers = append(p.Qualifiers, q)
	}
	return p, true
}

// An AccessDescription is an entry of the authority information access
// extension (RFC 5280, 4.2.2.1).
type AccessDescription struct {
	Method   asn1.ObjectIdentifier
	Location GeneralName
}

// Access methods.
var (
	AccessOCSP      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1}
	AccessCAIssuers = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 2}
)

// AuthorityInfoExtension returns the DER form.
func AuthorityInfoExtension(access []AccessDescription) Extension {
	return Extension{OIDAuthorityInfo, false, encodeSequence(func(b *cryptobyte.Builder) {
		for _, a := range access {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(a.Method)
				a.Location.add(b)
			})
		}
	})}
}

// AuthorityInfo reads the extension; nil if it is absent.
func (x Extensions) AuthorityInfo() ([]AccessDescription, error) {
	e := x.Find(OIDAuthorityInfo)
	if e == nil {
		return nil, nil
	}
	seq, ok := sequence(e.Value)
	var access []AccessDescription
	for ok && !seq.Empty() {
		var entry cryptobyte.String
		var a AccessDescription
		ok = seq.ReadASN1(&entry, cbasn1.SEQUENCE) && entry.ReadASN1ObjectIdentifier(&a.Method)
		if ok {
			a.Location, ok = readGeneralName(&entry)
			ok = ok && entry.Empty()
		}
		access = append(access, a)
	}
	if !ok {
		return nil, malformed("authority information access")
	}
	return access, nil
}

// A DistributionPoint tells where a CRL is to be had (RFC 5280, 4.2.1.13).
type DistributionPoint struct {
	FullName  GeneralNames
	Relative  []byte // nameRelativeToCRLIssuer, undecoded
	Reasons   []byte // content of the BIT STRING
	CRLIssuer GeneralNames
}

// CRLDistributionExtension returns the DER form of one distribution point with
// all the URIs, as certtool writes crl_dist_points.
func CRLDistributionExtension(uris []string) Extension {
	return Extension{OIDCRLDistribution, false, encodeSequence(func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(ctx(0), func(b *cryptobyte.Builder) {
				b.AddASN1(ctx(0), func(b *cryptobyte.Builder) {
					for _, u := range uris {
						URI(u).add(b)
					}
				})
			})
		})
	})}
}

// CRLDistribution reads the distribution points; nil if the extension is absent.
func (x Extensions) CRLDistribution() ([]DistributionPoint, error) {
	e := x.Find(OIDCRLDistribution)
	if e == nil {
		return nil, nil
	}
	seq, ok := sequence(e.Value)
	var points []DistributionPoint
	for ok && !seq.Empty() {
		var p DistributionPoint
		p, ok = readDistributionPoint(&seq)
		points = append(points, p)
	}
	if !ok || len(points) == 0 {
		return nil, malformed("CRL distribution points")
	}
	return points, nil
}

func readDistributionPoint(seq *cryptobyte.String) (p DistributionPoint, ok bool) {
	var dp, name, names, reasons, issuer cryptobyte.String
	var hasName, hasReasons, hasIssuer bool
	if !seq.ReadASN1(&dp, cbasn1.SEQUENCE) || !dp.ReadOptionalASN1(&name, &hasName, ctx(0)) ||
		!dp.ReadOptionalASN1(&reasons, &hasReasons, prim(1)) || !dp.ReadOptionalASN1(&issuer, &hasIssuer, ctx(2)) || !dp.Empty() {
		return p, false
	}
	if hasName {
		var full bool
		if !name.ReadOptionalASN1(&names, &full, ctx(0)) {
			return p, false
		}
		if full {
			if p.FullName, ok = readGeneralNames(names); !ok {
				return p, false
			}
		} else {
			p.Relative = name
		}
	}
	if hasIssuer {
		if p.CRLIssuer, ok = readGeneralNames(issuer); !ok {
			return p, false
		}
	}
	if hasReasons {
		p.Reasons = reasons
	}
	return p, true
}

// Integer reads an extension that is one INTEGER, such as the CRL number. It
// returns the content octets, nil if the extension is absent.
func (x Extensions) Integer(oid asn1.ObjectIdentifier) ([]byte, error) {
	e := x.Find(oid)
	if e == nil {
		return nil, nil
	}
	in := cryptobyte.String(e.Value)
	var content cryptobyte.String
	if !in.ReadASN1(&content, cbasn1.INTEGER) || !in.Empty() || len(content) == 0 {
		return nil, fmt.Errorf("malformed integer in extension %v", oid)
	}
	return content, nil
}
