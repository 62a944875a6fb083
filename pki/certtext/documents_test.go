package certtext_test

import (
	"crypto"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/pki"
	"virtls/pki/certtext"
	"virtls/pki/dn"
)

// A document is something that certtool and we print.
type document struct {
	name   string
	args   []string // of certtool
	pem    []byte
	print  func(io.Writer) error
	before string // what certtool puts between the text and the PEM block

	generations string // the certtools that know the document; empty: all
}

// text returns what we print in front of a PEM block.
func (doc document) text(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	if err := doc.print(&text); err != nil {
		t.Fatal(err)
	}
	return text.String() + doc.before
}

var hexNumbers = certtext.Options{HexNumbers: true}

func documents(t *testing.T) (docs []document) {
	for _, s := range samples {
		docs = append(docs, certificate(s.name, s.make(t), certtext.Options{}))
	}
	docs = append(docs, foreignCertificates(t)...)
	docs = append(docs, keyDocuments(t)...)
	docs = append(docs, requests(t)...)
	docs = append(docs, crls(t)...)
	return append(docs, dhDocument())
}

func certificate(name string, c *pki.Certificate, o certtext.Options) document {
	args := []string{"-i"}
	if o.HexNumbers {
		args = append(args, "--hex-numbers")
	}
	return document{name: name, args: args, pem: c.PEM(), before: "\n",
		print: func(w io.Writer) error { return certtext.Certificate(w, c, o) }}
}

// foreignCertificates are made by OpenSSL and certtool, with keys and
// signatures that pki does not make.
func foreignCertificates(t *testing.T) (docs []document) {
	t.Helper()
	data, err := os.ReadFile("testdata/foreign.pem")
	if err != nil {
		t.Fatal(err)
	}
	for entry := range strings.SplitSeq(string(data)[len("# "):], "\n# ") {
		name, text, _ := strings.Cut(entry, "\n")
		certs, err := pki.ParseCertificatesPEM([]byte(text))
		if err != nil {
			t.Fatal(name, err)
		}
		docs = append(docs, certificate("foreign "+name, certs[0], certtext.Options{}),
			certificate("foreign "+name+", hex numbers", certs[0], hexNumbers))
	}
	return docs
}

var keySpecs = []pki.KeySpec{
	{Algorithm: pki.RSA, Bits: 2048}, {Algorithm: pki.RSAPSS, Bits: 2048}, {Algorithm: pki.RSAOAEP, Bits: 3072},
	{Algorithm: pki.ECDSA, Bits: 224}, {Algorithm: pki.ECDSA, Bits: 256}, {Algorithm: pki.ECDSA, Bits: 384}, {Algorithm: pki.ECDSA, Bits: 521},
	{Algorithm: pki.Ed25519}, {Algorithm: pki.Ed448}, {Algorithm: pki.X25519}, {Algorithm: pki.X448},
	{Algorithm: pki.MLDSA44}, {Algorithm: pki.MLDSA65}, {Algorithm: pki.MLDSA87},
}

// keyDocuments are new keys of every kind, private and public, and
// certificates for them. Four of most, because numbers with a first octet
// above 0x7f or of 0 look different.
func keyDocuments(t *testing.T) (docs []document) {
	t.Helper()
	for _, spec := range keySpecs {
		n := 4
		if spec.Bits > 1024 || spec.Algorithm.IsMLDSA() {
			n = 1
		}
		for i := range n {
			docs = append(docs, documentsOfKey(t, spec, fmt.Sprintf("%s %d", spec, i))...)
		}
	}
	return docs
}

func documentsOfKey(t *testing.T, spec pki.KeySpec, name string) []document {
	t.Helper()
	key, err := pki.GenerateKey(spec)
	if err != nil {
		t.Fatal(err)
	}
	private, err := pki.EncodePrivateKeyPEM(key, pki.MLDSABoth)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pki.PublicKeyOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	issuer := sign(t, func(*pki.Spec) {}, authority.Public(), nil)
	cert := sign(t, func(*pki.Spec) {}, key.Public(), issuer)
	docs := []document{
		{name: name + ", private", args: []string{"-k"}, pem: private,
			print: func(w io.Writer) error { return certtext.PrivateKey(w, key) }},
		publicKey(name+", public", public, certtext.Options{}),
		publicKey(name+", public, hex numbers", public, hexNumbers),
		certificate(name+", certificate", cert, certtext.Options{}),
	}
	switch {
	case spec.Algorithm == pki.RSAOAEP:
		docs = docs[:1]
		docs[0].generations = "trixie forky"
	case spec.Algorithm.IsMLDSA():
		// Debian's GnuTLS knows the name, and cannot use the keys.
		docs = docs[1:]
		for i := range docs {
			docs[i].generations = "forky"
		}
	}
	return docs
}

func publicKey(name string, k *pki.PublicKey, o certtext.Options) document {
	args := []string{"--pubkey-info"}
	if o.HexNumbers {
		args = append(args, "--hex-numbers")
	}
	return document{name: name, args: args, pem: pki.EncodePEM(pki.PEMPublicKey, k.Raw), before: "\n\n",
		print: func(w io.Writer) error { return certtext.PublicKey(w, k, 0, o) }}
}

// request makes a request by hand, because pki makes no odd ones. attributes
// are OBJECT IDENTIFIER and SET, in hexadecimal, for each attribute.
func request(t *testing.T, name dn.Name, attributes ...pki.Extension) *pki.Request {
	t.Helper()
	key, err := pki.MarshalPublicKey(authority.Public())
	if err != nil {
		t.Fatal(err)
	}
	algorithm := func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(pki.Ed25519.OID()) })
	}
	var info cryptobyte.Builder
	info.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddBytes(name.DER())
		b.AddBytes(key)
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			for _, a := range attributes {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(a.OID)
					b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(a.Value) })
				})
			}
		})
	})
	tbs := info.BytesOrPanic()
	signature, err := authority.Sign(nil, tbs, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		algorithm(b)
		b.AddASN1BitString(signature)
	})
	r, err := pki.ParseRequest(b.BytesOrPanic())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func requests(t *testing.T) (docs []document) {
	host := dn.New(dn.Attr(dn.OrganizationOID, "Example Org"), dn.Attr(dn.CommonNameOID, "host1"))
	const extensionRequest = "1.2.840.113549.1.9.14"
	all := "30 46 300c 0603551d13 0101ff 0402 3000 300e 0603551d0f 0101ff 0404 030205a0 3013 0603551d25 040c 300a 06082b06010505070301" +
		"3011 0603551d11 040a 3008 8206 686f73743131"
	ids := "301f 300c 0603551d0e 0405 0403 010203 300f 0603551d23 0408 3006 8004 01020304"
	for _, r := range []struct {
		name    string
		request *pki.Request
	}{
		{"plain request", request(t, host)},
		{"request without a name", request(t, nil)},
		{"request with extensions", request(t, host, raw(extensionRequest, false, all))},
		{"request with key identifiers", request(t, host, raw(extensionRequest, false, ids))},
		{"request with a password", request(t, host, raw("1.2.840.113549.1.9.7", false, "0c 03 616263"))},
		{"request with an unknown attribute", request(t, host, raw("1.2.3.4", false, "0c 03 616263"))},
	} {
		docs = append(docs, document{name: r.name, args: []string{"--crq-info"}, pem: pki.EncodePEM(pki.PEMRequestOld, r.request.Raw),
			print:  func(w io.Writer) error { return certtext.Request(w, r.request, certtext.Options{}) },
			before: "\nSelf signature: verified\n\n"})
	}
	return docs
}

func crls(t *testing.T) (docs []document) {
	t.Helper()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	revoked := []pki.RevokedCertificate{
		{Serial: big.NewInt(5), RevokedAt: at},
		{Serial: new(big.Int).Lsh(big.NewInt(0xff), 64), RevokedAt: at.AddDate(30, 0, 0), Extensions: pki.Extensions{pki.KeyCompromise.Extension()}},
	}
	issuer := sign(t, func(s *pki.Spec) {
		s.Extensions = pki.Extensions{pki.SubjectKeyIDExtension([]byte{1, 2, 3})}
	}, authority.Public(), nil)
	for _, c := range []struct {
		name string
		spec pki.CRLSpec
	}{
		{"empty CRL", pki.CRLSpec{ThisUpdate: at, NextUpdate: at.AddDate(1, 0, 0)}},
		{"CRL", pki.CRLSpec{ThisUpdate: at, NextUpdate: at.AddDate(1, 0, 0), Number: big.NewInt(0xff), Revoked: revoked}},
		{"CRL with the longest number", pki.CRLSpec{ThisUpdate: at, Number: new(big.Int).Lsh(big.NewInt(1), 8*127)}},
		{"CRL with a longer number", pki.CRLSpec{ThisUpdate: at, Number: new(big.Int).Lsh(big.NewInt(1), 8*128)}},
		{"CRL without an end", pki.CRLSpec{ThisUpdate: at, Revoked: revoked[:1]}},
		{"CRL with unknown extension", pki.CRLSpec{ThisUpdate: at, NextUpdate: at.AddDate(1, 0, 0), Number: big.NewInt(1),
			Extensions: pki.Extensions{raw("1.2.3.4", true, "0500"), raw("2.5.29.28", true, "3003 8101ff")}}},
	} {
		crl, err := pki.SignCRL(&c.spec, issuer, authority, pki.SignatureAlgorithm{})
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, document{name: c.name, args: []string{"--crl-info"}, pem: crl.PEM(), before: "\n",
			print: func(w io.Writer) error { return certtext.CRL(w, crl) }})
	}
	return docs
}

func dhDocument() document {
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1023), big.NewInt(1))
	der, err := asn1.Marshal(struct {
		P, G *big.Int
		Bits int
	}{prime, big.NewInt(2), 225})
	if err != nil {
		panic(err)
	}
	return document{name: "DH parameters", args: []string{"--dh-info"}, pem: pki.EncodePEM("DH PARAMETERS", der), before: "\n",
		print: func(w io.Writer) error { return certtext.DHParameters(w, prime.Bytes(), []byte{2}, 225) }}
}
