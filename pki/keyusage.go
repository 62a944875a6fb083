package pki

import (
	"encoding/asn1"
	"math/bits"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki/dn"
)

// KeyUsage is a set of key usage bits (RFC 5280, 4.2.1.3).
type KeyUsage uint16

// The key usages; bit 0 of the BIT STRING is the lowest bit here.
const (
	DigitalSignature KeyUsage = 1 << iota
	NonRepudiation
	KeyEncipherment
	DataEncipherment
	KeyAgreement
	KeyCertSign
	CRLSign
	EncipherOnly
	DecipherOnly
)

var keyUsageNames = [...]string{"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment",
	"keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"}

// String lists the bits by the names RFC 5280 gives them.
func (u KeyUsage) String() string {
	var names []string
	for i, name := range keyUsageNames {
		if u&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "no key usage at all"
	}
	return strings.Join(names, ", ")
}

// Extension returns the DER form. Bits are numbered from the left, and
// trailing zero bits are left out (X.690, 11.2.2).
func (u KeyUsage) Extension(critical bool) Extension {
	var raw [2]byte
	raw[0] = bits.Reverse8(byte(u))
	raw[1] = bits.Reverse8(byte(u >> 8))
	n := bits.Len16(uint16(u))
	content := []byte{byte((8 - n%8) % 8)}
	content = append(content, raw[:(n+7)/8]...)
	return Extension{OIDKeyUsage, critical, encode(func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	})}
}

// KeyUsage reads the extension. An absent one, which allows everything, and an
// empty one, which allows nothing, are told apart by present. Non-minimal
// encodings are accepted, as GnuTLS does.
func (x Extensions) KeyUsage() (u KeyUsage, present bool, err error) {
	e := x.Find(OIDKeyUsage)
	if e == nil {
		return 0, false, nil
	}
	in := cryptobyte.String(e.Value)
	var bs asn1.BitString
	if !in.ReadASN1BitString(&bs) || !in.Empty() {
		return 0, true, malformed("key usage")
	}
	for i := range 9 {
		if bs.At(i) == 1 {
			u |= 1 << i
		}
	}
	return u, true, nil
}

var idKP = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3}

// Key purposes (RFC 5280, 4.2.1.12; RFC 4945, 5.1.3.12).
var (
	PurposeAny             = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
	PurposeServer          = under(idKP, 1)
	PurposeClient          = under(idKP, 2)
	PurposeCodeSigning     = under(idKP, 3)
	PurposeEmailProtection = under(idKP, 4)
	PurposeTimeStamping    = under(idKP, 8)
	PurposeOCSPSigning     = under(idKP, 9)
	PurposeIPsecIKE        = under(idKP, 17)
)

var purposeNames = []struct {
	oid  asn1.ObjectIdentifier
	name string
}{
	{PurposeAny, "any purpose"},
	{PurposeServer, "TLS servers"},
	{PurposeClient, "TLS clients"},
	{PurposeCodeSigning, "code signing"},
	{PurposeEmailProtection, "email protection"},
	{PurposeTimeStamping, "time stamping"},
	{PurposeOCSPSigning, "OCSP signing"},
	{PurposeIPsecIKE, "IPsec IKE"},
}

func purposeName(oid asn1.ObjectIdentifier) string {
	for _, p := range purposeNames {
		if p.oid.Equal(oid) {
			return p.name
		}
	}
	return "purpose " + dn.ShortOID(oid)
}

func purposeList(purposes []asn1.ObjectIdentifier) string {
	return briefList(len(purposes), func(i int) string { return purposeName(purposes[i]) })
}

// ExtKeyUsageExtension returns the DER form of a list of key purposes.
func ExtKeyUsageExtension(purposes []asn1.ObjectIdentifier, critical bool) (Extension, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, p := range purposes {
			b.AddASN1ObjectIdentifier(p)
		}
	})
	value, err := b.Bytes()
	return Extension{OIDExtKeyUsage, critical, value}, err
}

// ExtKeyUsage reads the key purposes; nil if the extension is absent.
func (x Extensions) ExtKeyUsage() ([]asn1.ObjectIdentifier, error) {
	e := x.Find(OIDExtKeyUsage)
	if e == nil {
		return nil, nil
	}
	seq, ok := sequence(e.Value)
	purposes := []asn1.ObjectIdentifier{}
	for ok && !seq.Empty() {
		var oid asn1.ObjectIdentifier
		ok = seq.ReadASN1ObjectIdentifier(&oid)
		purposes = append(purposes, oid)
	}
	if !ok || len(purposes) == 0 {
		return nil, malformed("extended key usage")
	}
	return purposes, nil
}
