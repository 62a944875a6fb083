package validate

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"math/big"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/layout"
	"virtls/pki"
	"virtls/pki/dn"
)

// testNow is when the certificates of tests are made. Real programs look at
// them, so that it cannot be any time.
var testNow = time.Now().UTC().Truncate(time.Second)

const day = 24 * time.Hour

// A cert is a certificate with its key.
type cert struct {
	*pki.Certificate
	key crypto.Signer
}

// An order is a certificate to be made.
type order struct {
	pki.Spec
	key    crypto.Signer
	alg    pki.SignatureAlgorithm
	tamper func(tbs []byte) []byte // changes what is signed
}

// A change makes a certificate other than usual.
type change func(*order)

func with(extensions ...pki.Extension) change {
	return func(o *order) {
		for _, e := range extensions {
			o.Extensions.Set(e)
		}
	}
}

func again(e pki.Extension) change {
	return func(o *order) { o.Extensions = append(o.Extensions, e) }
}

func without(oids ...asn1.ObjectIdentifier) change {
	return func(o *order) {
		for _, oid := range oids {
			o.Extensions.Remove(oid)
		}
	}
}

func valid(from, until time.Duration) change {
	return func(o *order) { o.NotBefore, o.NotAfter = testNow.Add(from), testNow.Add(until) }
}

func called(cn string) change { return named(dn.New(dn.Attr(dn.CommonNameOID, cn))) }

func named(n dn.Name) change { return func(o *order) { o.Subject = n } }

func keyed(key crypto.Signer) change {
	return func(o *order) {
		o.key, o.PublicKey = key, key.Public()
		if o.Extensions.Find(pki.OIDSubjectKeyID) != nil {
			o.Extensions.Set(pki.SubjectKeyIDExtension(keyID(key)))
		}
	}
}

func signedWith(alg pki.SignatureAlgorithm) change { return func(o *order) { o.alg = alg } }

func usage(u pki.KeyUsage, critical bool) change { return with(u.Extension(critical)) }

func purposes(critical bool, oids ...asn1.ObjectIdentifier) change {
	e, err := pki.ExtKeyUsageExtension(oids, critical)
	if err != nil {
		panic(err)
	}
	return with(e)
}

func constraints(ca, critical bool) change {
	e := pki.BasicConstraints{CA: ca, PathLen: -1}.Extension()
	e.Critical = critical
	return with(e)
}

func pathLen(n int) change {
	return with(pki.BasicConstraints{CA: true, PathLen: n}.Extension())
}

var (
	noKeyIDs = without(pki.OIDSubjectKeyID, pki.OIDAuthorityKeyID)
	plainV1  = func(o *order) { o.Version, o.Extensions = 1, nil }
	expired  = valid(-3*day, -day)
	early    = valid(day, 3*day)
)

func keyID(key crypto.Signer) []byte {
	id, err := pki.KeyIDFor(key.Public())
	if err != nil {
		panic(err)
	}
	return id
}

func newKey(spec string) crypto.Signer {
	s, err := pki.ParseKeySpec(spec)
	if err != nil {
		panic(err)
	}
	key, err := pki.GenerateSigner(s)
	if err != nil {
		panic(err)
	}
	return key
}

var keys sync.Map

// keyOf returns a key of a type, always the same one.
func keyOf(spec string) crypto.Signer {
	if key, ok := keys.Load(spec); ok {
		return key.(crypto.Signer)
	}
	var key crypto.Signer
	switch spec {
	case "rsa1024":
		weak, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			panic(err)
		}
		key = weak
	case "rsapss":
		key = &pki.PSSKey{PrivateKey: keyOf("rsa2048").(*rsa.PrivateKey)}
	default:
		key = newKey(spec)
	}
	actual, _ := keys.LoadOrStore(spec, key)
	return actual.(crypto.Signer)
}

// authority makes a CA certificate, self-signed unless there is an issuer.
func authority(t testing.TB, issuer *cert, changes ...change) *cert {
	t.Helper()
	key := newKey("ec")
	o := &order{key: key, Spec: pki.Spec{Subject: dn.New(dn.Attr(dn.CommonNameOID, "Test CA")), PublicKey: key.Public()}}
	with(pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true))(o)
	return o.make(t, issuer, changes)
}

// leaf makes a certificate for a role, right for every consumer unless changed.
func leaf(t testing.TB, issuer *cert, r layout.Role, changes ...change) *cert {
	t.Helper()
	key := keyOf("ec")
	o := &order{key: key, Spec: pki.Spec{Subject: dn.New(dn.Attr(dn.CommonNameOID, "host1.example.com")), PublicKey: key.Public()}}
	constraints(false, true)(o)
	usage(pki.DigitalSignature|pki.KeyEncipherment, true)(o)
	purposes(false, rightPurpose(r))(o)
	with(pki.GeneralNames{pki.DNSName("host1.example.com")}.Extension())(o)
	return o.make(t, issuer, changes)
}

func rightPurpose(r layout.Role) asn1.ObjectIdentifier {
	return [...]asn1.ObjectIdentifier{layout.Server: pki.PurposeServer, layout.Client: pki.PurposeClient}[r]
}

func wrongPurpose(r layout.Role) asn1.ObjectIdentifier {
	return rightPurpose(layout.Server + layout.Client - r)
}

func (o *order) make(t testing.TB, issuer *cert, changes []change) *cert {
	t.Helper()
	o.Serial, o.NotBefore, o.NotAfter = pki.NewSerial(), testNow.Add(-time.Hour), testNow.Add(90*day)
	with(pki.SubjectKeyIDExtension(keyID(o.key)))(o)
	if issuer != nil {
		if id := issuer.Extensions.SubjectKeyID(); id != nil {
			with(pki.AuthorityKeyID{KeyID: id}.Extension())(o)
		}
	}
	for _, c := range changes {
		c(o)
	}
	by, key := (*pki.Certificate)(nil), o.key
	if issuer != nil {
		by, key = issuer.Certificate, issuer.key
	}
	c, err := pki.Sign(&o.Spec, by, key, o.alg)
	if err != nil {
		t.Fatal(err)
	}
	if o.tamper != nil {
		if c, err = resign(c, o.tamper(c.RawTBS), key); err != nil {
			t.Fatal(err)
		}
	}
	return &cert{c, o.key}
}

// resign puts another signed part into a certificate.
func resign(c *pki.Certificate, tbs []byte, key crypto.Signer) (*pki.Certificate, error) {
	signature, err := pki.SignMessage(key, c.SignatureAlgorithm(), tbs)
	if err != nil {
		return nil, err
	}
	return encodeCertificate(tbs, c.Algorithm, signature)
}

func encodeCertificate(tbs []byte, alg pki.AlgorithmIdentifier, signature []byte) (*pki.Certificate, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(alg.OID)
			b.AddBytes(alg.Parameters)
		})
		b.AddASN1BitString(signature)
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return pki.ParseCertificate(der)
}

// keyPEM returns a key's file.
func keyPEM(t testing.TB, key pki.PrivateKey) []byte {
	t.Helper()
	text, err := pki.EncodePrivateKeyPEM(key, pki.MLDSABoth)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (c *cert) keyPEM(t testing.TB) []byte { return keyPEM(t, c.key) }

// bundle returns a file of certificates.
func bundle(certs ...*cert) (text []byte) {
	for _, c := range certs {
		text = append(text, c.PEM()...)
	}
	return text
}

// crlOf makes a CRL that was due to be replaced at a time.
func crlOf(t testing.TB, issuer *cert, next time.Duration, revoked ...*cert) []byte {
	t.Helper()
	s := &pki.CRLSpec{ThisUpdate: testNow.Add(next - 7*day), NextUpdate: testNow.Add(next), Number: big.NewInt(1)}
	for _, r := range revoked {
		s.Revoked = append(s.Revoked, pki.RevokedCertificate{Serial: r.Serial, RevokedAt: testNow.Add(-time.Hour)})
	}
	crl, err := pki.SignCRL(s, issuer.Certificate, issuer.key, pki.SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	return crl.PEM()
}
