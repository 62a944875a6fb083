package certtext

import (
	"encoding/asn1"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
)

// levels are GnuTLS's security levels, and the sizes in bits from which a key
// has them.
var levels = []struct {
	name    string
	rsa, ec int
}{
	{"Future", 15360, 512},
	{"Ultra", 8192, 384},
	{"High", 3072, 256},
	{"Medium", 2048, 224},
	{"Legacy", 1776, 192},
	{"Low", 1024, 160},
	{"Weak", 1008, 160},
	{"Very weak", 767, 0},
	{"Export", 512, 0},
	{"Insecure", 1, 0},
}

// SecurityLevel returns GnuTLS's word for a key of that many bits. It takes
// every ML-DSA key for the strongest there are: it compares their bits with octets.
func SecurityLevel(alg pki.KeyAlgorithm, bits int) string {
	if alg.IsMLDSA() {
		return levels[0].name
	}
	for _, l := range levels {
		if alg.HasCurve() && bits >= l.ec || !alg.HasCurve() && bits >= l.rsa {
			return l.name
		}
	}
	return "Unknown"
}

// A keyForm is what there is to show of a public key.
type keyForm struct {
	bits    int
	curve   string
	numbers []keyNumber
}

type keyNumber struct {
	label   string
	content []byte // of a DER INTEGER, except for keys that are one string of octets
}

// form takes a key apart as GnuTLS does, which shows keys that pki would not
// use. why is GnuTLS's reason for not showing it.
func form(k *pki.PublicKey) (f keyForm, why string) {
	switch {
	case k.Algorithm == pki.ECDSA:
		return ecForm(k)
	case k.Algorithm == pki.DSA:
		return dsaForm(k)
	case k.Algorithm.IsMLDSA():
		return keyForm{bits: 8 * len(k.Bits)}, ""
	case k.Algorithm.HasCurve():
		return octetsForm(k)
	}
	return rsaForm(k)
}

func rsaForm(k *pki.PublicKey) (f keyForm, why string) {
	numbers := integers(k.Bits)
	if len(numbers) != 2 {
		return f, errDER
	}
	f.bits = bitLen(numbers[0])
	f.numbers = []keyNumber{
		{fmt.Sprintf("Modulus (bits %d)", f.bits), numbers[0]},
		{fmt.Sprintf("Exponent (bits %d)", 8*len(numbers[1])), numbers[1]},
	}
	return f, ""
}

func dsaForm(k *pki.PublicKey) (f keyForm, why string) {
	in := cryptobyte.String(k.Bits)
	var y cryptobyte.String
	params := integers(k.Identifier.Parameters)
	if len(params) != 3 || !in.ReadASN1(&y, cbasn1.INTEGER) || !in.Empty() {
		return f, errDER
	}
	f.bits = bitLen(params[0])
	f.numbers = []keyNumber{{fmt.Sprintf("Public key (bits %d)", f.bits), y}, {"P", params[0]}, {"Q", params[1]}, {"G", params[2]}}
	return f, ""
}

// curves are the named ones that GnuTLS shows, one of which pki does not use.
var curves = []struct {
	name string
	oid  asn1.ObjectIdentifier
	size int // of a coordinate, in octets
}{
	{"SECP192R1", asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 1}, 24},
	{"SECP224R1", asn1.ObjectIdentifier{1, 3, 132, 0, 33}, 28},
	{"SECP256R1", asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, 32},
	{"SECP384R1", asn1.ObjectIdentifier{1, 3, 132, 0, 34}, 48},
	{"SECP521R1", asn1.ObjectIdentifier{1, 3, 132, 0, 35}, 66},
}

func ecForm(k *pki.PublicKey) (f keyForm, why string) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(k.Identifier.Parameters, &oid); err != nil || len(rest) > 0 {
		return f, errDER
	}
	for _, c := range curves {
		if !c.oid.Equal(oid) {
			continue
		}
		if len(k.Bits) != 1+2*c.size || k.Bits[0] != 4 {
			return f, "Error in parsing."
		}
		x, y := k.Bits[1:1+c.size], k.Bits[1+c.size:]
		return keyForm{8 * c.size, c.name, []keyNumber{{"X", number(x)}, {"Y", number(y)}}}, ""
	}
	return f, "The curve is unsupported"
}

// octetsForm is that of the keys of RFC 8410.
func octetsForm(k *pki.PublicKey) (f keyForm, why string) {
	names := map[pki.KeyAlgorithm]string{pki.Ed25519: "Ed25519", pki.Ed448: "Ed448", pki.X25519: "X25519", pki.X448: "X448"}
	sizes := map[pki.KeyAlgorithm]int{pki.Ed25519: 32, pki.Ed448: 57, pki.X25519: 32, pki.X448: 56}
	if len(k.Bits) != sizes[k.Algorithm] {
		return f, errIllegal
	}
	return keyForm{8 * len(k.Bits), names[k.Algorithm], []keyNumber{{"X", k.Bits}}}, ""
}

// publicKey writes the algorithm and the numbers of a key, and tells whether
// it could: of others there is no identifier either. params tells to show the
// restrictions of an RSA-PSS key too.
func (p *printer) publicKey(prefix string, k *pki.PublicKey, params bool) bool {
	if k.Algorithm == pki.UnknownKey {
		p.line("\t%sPublic Key Algorithm: %s", prefix, k.Identifier.OID)
		return false
	}
	f, why := form(k)
	if why != "" {
		p.line("error importing public key: %s", why)
		p.line("\t%sPublic Key Algorithm: %s", prefix, k.Algorithm)
		return false
	}
	p.line("\t%sPublic Key Algorithm: %s", prefix, k.Algorithm)
	p.line("\tAlgorithm Security Level: %s (%d bits)", SecurityLevel(k.Algorithm, f.bits), f.bits)
	if alg, ok := pki.ParseSignatureAlgorithm(k.Identifier); ok && params && alg.Key == pki.RSAPSS {
		p.line("\t\tParameters:")
		p.line("\t\t\tHash Algorithm: %s", pki.HashName(alg.Hash))
		p.line("\t\t\tSalt Length: %d", alg.SaltLength)
	}
	if f.curve != "" {
		p.line("\t\tCurve:\t%s", f.curve)
	}
	for _, n := range f.numbers {
		p.number(n)
	}
	return true
}

func (p *printer) number(n keyNumber) {
	if p.HexNumbers {
		p.line("\t\t%s: %s", n.label, hexString(n.content))
		return
	}
	p.line("\t\t%s:", n.label)
	p.dump("\t\t\t", n.content)
}

// number returns a big-endian number as the content of a DER INTEGER.
func number(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

// integers returns the content octets of a SEQUENCE of INTEGERs, nil for
// anything else.
func integers(der []byte) (numbers [][]byte) {
	seq, ok := sequenceOf(der)
	for ok && !seq.Empty() {
		var content cryptobyte.String
		if ok = seq.ReadASN1(&content, cbasn1.INTEGER) && len(content) > 0; !ok {
			return nil
		}
		numbers = append(numbers, content)
	}
	return numbers
}

func bitLen(content []byte) int {
	return new(big.Int).SetBytes(content).BitLen()
}
