package certtext

import (
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
)

// PrivateKey writes what certtool --key-info shows, and what it writes above
// the PEM block of a new key: all of the key, in clear.
func PrivateKey(w io.Writer, key pki.PrivateKey) error {
	public, err := pki.PublicKeyOf(key.Public())
	if err != nil {
		return err
	}
	f, why := form(public)
	if why != "" {
		return errors.New(why)
	}
	var p printer
	p.line("Public Key Info:")
	p.line("\tPublic Key Algorithm: %s", public.Algorithm)
	if alg, ok := pki.ParseSignatureAlgorithm(public.Identifier); ok && alg.Key == pki.RSAPSS {
		p.line("\t\tHash Algorithm: %s\n\t\tSalt Length: %d", pki.HashName(alg.Hash), alg.SaltLength)
	}
	p.line("\tKey Security Level: %s (%d bits)\n", SecurityLevel(public.Algorithm, f.bits), f.bits)
	// GnuTLS shows no numbers of these.
	if !public.Algorithm.IsMLDSA() && public.Algorithm != pki.RSAOAEP {
		if err := p.secrets(key, public.Algorithm, f); err != nil {
			return err
		}
	}
	p.line("")
	p.line("Public Key PIN:\n\tpin-sha256:%s", base64.StdEncoding.EncodeToString(public.ID256()))
	p.line("Public Key ID:\n\tsha256:%x\n\tsha1:%x\n", public.ID256(), public.ID())
	return p.flush(w)
}

// rsaLabels are in certtool's order; index is the place in RSAPrivateKey
// (RFC 8017, A.1.2).
var rsaLabels = []struct {
	label string
	index int
}{
	{"modulus", 1}, {"public exponent", 2}, {"private exponent", 3}, {"prime1", 4},
	{"prime2", 5}, {"coefficient", 8}, {"exp1", 6}, {"exp2", 7},
}

// secrets takes the numbers from the key's PKCS#8 form.
func (p *printer) secrets(key pki.PrivateKey, alg pki.KeyAlgorithm, f keyForm) error {
	der, err := pki.MarshalPKCS8(key, pki.MLDSABoth)
	if err != nil {
		return err
	}
	var info struct {
		Version   int
		Algorithm asn1.RawValue
		Content   []byte
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return err
	}
	if alg.HasCurve() {
		return p.curveSecrets(info.Content, alg, f)
	}
	numbers := integers(info.Content)
	if len(numbers) < 9 {
		return errors.New("malformed RSA private key")
	}
	for _, l := range rsaLabels {
		p.secret(l.label, numbers[l.index])
	}
	return nil
}

func (p *printer) curveSecrets(content []byte, alg pki.KeyAlgorithm, f keyForm) error {
	in := cryptobyte.String(content)
	var seq, k cryptobyte.String
	var version int
	if alg == pki.ECDSA { // ECPrivateKey (RFC 5915, 3); the others are the OCTET STRING alone
		if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1Integer(&version) {
			return errors.New("malformed EC private key")
		}
		in = seq
	}
	if !in.ReadASN1(&k, cbasn1.OCTET_STRING) {
		return errors.New("malformed private key")
	}
	if alg == pki.ECDSA {
		k = number(k)
	}
	p.line("curve:\t%s", f.curve)
	p.secret("private key", k)
	for i, label := range []string{"x", "y"}[:len(f.numbers)] {
		p.secret(label, f.numbers[i].content)
	}
	return nil
}

// DHParameters writes Diffie-Hellman parameters as certtool --dh-info shows
// them: content octets of INTEGERs, and how many bits a private key should
// have, 0 if that is not known.
func DHParameters(w io.Writer, prime, generator []byte, keyBits int) error {
	var p printer
	if keyBits > 0 {
		p.line("\nRecommended key length: %d bits\n", keyBits)
	}
	p.secret("generator", generator)
	p.secret("prime", prime)
	return p.flush(w)
}

// secret writes a number in the form of private keys and DH parameters. Unlike
// [printer.dump] it puts a colon after a short last line, and leaves a line
// with a lone tab when the last one is full.
func (p *printer) secret(label string, content []byte) {
	p.line("%s:", label)
	for len(content) >= 16 {
		p.line("\t%s", colons(content[:16]))
		content = content[16:]
	}
	p.WriteString("\t")
	if len(content) > 0 {
		p.WriteString(colons(content) + ":")
	}
	p.WriteString("\n\n")
}
