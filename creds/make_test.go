package creds

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/pki"
	"virtls/pki/dn"
)

// testNow is the time by which the tests' certificates are judged; real
// programs judge them at about the same time.
var testNow = time.Now().UTC().Truncate(time.Second)

var testDH = []byte(peertest.DHParams)

// An entity is a certificate with its key.
type entity struct {
	*pki.Certificate
	key crypto.Signer
}

// A mold is what a test says about a certificate to be made; zero values get
// what is usual.
type mold struct {
	cn                  string
	subject             dn.Name // instead of cn
	ca                  bool
	usage               *pki.KeyUsage // nil for what is usual
	usageNotCritical    bool
	purposes            []asn1.ObjectIdentifier // nil for both, empty for no extension
	purposeCritical     bool
	extensions          pki.Extensions // more, or instead of those of the same kind
	without             []asn1.ObjectIdentifier
	notBefore, notAfter time.Time
	key                 crypto.Signer
	alg                 pki.SignatureAlgorithm
}

func newEC() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// newRSA and newRSA1024 make one key each.
var newRSA, newRSA1024 = onceRSA(2048), onceRSA(1024)

func onceRSA(bits int) func() crypto.Signer {
	return sync.OnceValue(func() crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return key
	})
}

// newKey makes a key of a kind, such as "mldsa65".
func newKey(kind string) crypto.Signer {
	spec, err := pki.ParseKeySpec(kind)
	if err != nil {
		panic(err)
	}
	key, err := pki.GenerateSigner(spec)
	if err != nil {
		panic(err)
	}
	return key
}

// sharedKey saves the time to make a key for leaves whose keys do not matter.
var sharedKey = sync.OnceValue(newEC)

func usage(u pki.KeyUsage) *pki.KeyUsage { return &u }

func (m mold) spec(issuer *entity) *pki.Spec {
	if m.subject == nil && m.cn != "" {
		m.subject = dn.New(dn.Attr(dn.CommonNameOID, m.cn))
	}
	if m.notBefore.IsZero() {
		m.notBefore = testNow.Add(-time.Hour)
	}
	if m.notAfter.IsZero() {
		m.notAfter = testNow.Add(100 * 24 * time.Hour)
	}
	s := &pki.Spec{Serial: pki.NewSerial(), Subject: m.subject, NotBefore: m.notBefore, NotAfter: m.notAfter, PublicKey: m.key.Public()}
	if m.ca {
		s.Extensions.Set(pki.BasicConstraints{CA: true, PathLen: -1}.Extension())
		if m.usage == nil {
			m.usage = usage(pki.KeyCertSign | pki.CRLSign)
		}
	} else {
		s.Extensions.Set(pki.BasicConstraints{}.Extension())
		if m.usage == nil {
			m.usage = usage(pki.DigitalSignature | pki.KeyEncipherment)
		}
		if m.purposes == nil {
			m.purposes = []asn1.ObjectIdentifier{pki.PurposeServer, pki.PurposeClient}
		}
		s.Extensions.Set(pki.GeneralNames{pki.DNSName("localhost")}.Extension())
	}
	s.Extensions.Set(m.usage.Extension(!m.usageNotCritical))
	if len(m.purposes) > 0 {
		e, err := pki.ExtKeyUsageExtension(m.purposes, m.purposeCritical)
		if err != nil {
			panic(err)
		}
		s.Extensions.Set(e)
	}
	id, err := pki.KeyIDFor(m.key.Public())
	if err != nil {
		panic(err)
	}
	s.Extensions.Set(pki.SubjectKeyIDExtension(id))
	if issuer != nil {
		s.Extensions.Set(pki.AuthorityKeyID{KeyID: issuer.Extensions.SubjectKeyID()}.Extension())
	}
	for _, e := range m.extensions {
		s.Extensions.Set(e)
	}
	for _, oid := range m.without {
		s.Extensions.Remove(oid)
	}
	return s
}

// root makes a certificate that has signed itself, an authority's unless told otherwise.
func (m mold) root() *entity {
	if m.key == nil {
		m.key = newEC()
	}
	return m.sign(nil, m.key)
}

// authority makes the certificate of an authority of its own.
func authority(cn string) *entity { return mold{cn: cn, ca: true}.root() }

// by makes a certificate that issuer has signed.
func (m mold) by(issuer *entity) *entity {
	if m.key == nil && m.ca {
		m.key = newEC()
	} else if m.key == nil {
		m.key = sharedKey()
	}
	return m.sign(issuer, issuer.key)
}

func (m mold) sign(issuer *entity, key crypto.Signer) *entity {
	var by *pki.Certificate
	if issuer != nil {
		by = issuer.Certificate
	}
	c, err := pki.Sign(m.spec(issuer), by, key, m.alg)
	if err != nil {
		panic(err)
	}
	return &entity{c, m.key}
}

func pemOf(list ...*entity) (text []byte) {
	for _, e := range list {
		text = append(text, e.PEM()...)
	}
	return text
}

func keyOf(e *entity) []byte {
	text, err := pki.EncodePrivateKeyPEM(e.key, pki.MLDSABoth)
	if err != nil {
		panic(err)
	}
	return text
}

// sealed is a key encrypted with a password, as quickly as can be.
func sealed(e *entity, password string) []byte {
	der, err := pki.MarshalPKCS8(e.key, pki.MLDSABoth)
	if err != nil {
		panic(err)
	}
	if der, err = pki.EncryptPKCS8(der, []byte(password), pki.AES256, 1000); err != nil {
		panic(err)
	}
	return pki.EncodePEM(pki.PEMEncryptedKey, der)
}

// files are the content of a set of credential files by what each is, whatever
// it is called: ca, crl, dh, cert, key, cert0, key0 and so on.
type files map[string][]byte

// with returns a copy with another file; nil takes it away.
func (f files) with(name string, data []byte) files {
	f = maps.Clone(f)
	if f[name] = data; data == nil {
		delete(f, name)
	}
	return f
}

// usual are a good identity and what trusts it.
func usual(ca, leaf *entity) files {
	return files{"ca": pemOf(ca), "cert": pemOf(leaf), "key": keyOf(leaf)}
}

// place writes the files below a new root directory, where a consumer looks for
// them, and returns the root and where that is.
func (f files) place(t testing.TB, c Consumer) (root string, names layout.Files) {
	t.Helper()
	root, names = t.TempDir(), namesOf(c)
	paths := map[string]string{"ca": names.CA, "crl": names.CRL, "dh": names.DH}
	for _, p := range names.Pairs {
		index := ""
		if p.Index != layout.NoIndex {
			index = string(rune('0' + p.Index))
		}
		paths["cert"+index], paths["key"+index] = p.Cert, p.Key
	}
	for what, data := range f {
		path := paths[what]
		if path == "" {
			continue // the consumer reads no such file
		}
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "etc/pki"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root, names
}

// namesOf are the files that a consumer reads on a host.
func namesOf(c Consumer) layout.Files {
	service := layout.QEMU
	if c.isLibvirt() {
		service = layout.Libvirt
	}
	return layout.System(service, "").Files(c.Endpoint.Role())
}
