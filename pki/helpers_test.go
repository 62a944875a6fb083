package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/pki/dn"
)

var update = flag.Bool("update", false, "make the files in testdata anew with the real programs")

// testNow is the time by which certificates of tests are judged. Certificates
// that real programs look at are valid now too.
var testNow = time.Now().UTC().Truncate(time.Second)

// An entity is a certificate with its key.
type entity struct {
	*Certificate
	key crypto.Signer
}

// A mold is what a test says about a certificate to be made; zero values get
// what is usual.
type mold struct {
	cn         string
	subject    dn.Name // instead of cn
	ca         bool
	pathLen    int // of a CA; 0 is no limit, -1 is 0
	usage      KeyUsage
	purposes   []asn1.ObjectIdentifier
	names      GeneralNames
	extensions Extensions // more, or instead of those of the same kind
	without    []asn1.ObjectIdentifier
	notBefore  time.Time
	notAfter   time.Time
	key        crypto.Signer
	alg        SignatureAlgorithm
}

// sharedKey saves the time to make a key for certificates whose keys do not matter.
var sharedKey = sync.OnceValue(func() crypto.Signer { return newP256() })

func newP256() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func (m mold) spec(issuer *entity) *Spec {
	if m.subject == nil && m.cn != "" {
		m.subject = dn.New(dn.Attr(dn.CommonNameOID, m.cn))
	}
	if m.notBefore.IsZero() {
		m.notBefore = testNow.Add(-time.Hour)
	}
	if m.notAfter.IsZero() {
		m.notAfter = testNow.Add(24 * time.Hour)
	}
	s := &Spec{Serial: NewSerial(), Subject: m.subject, NotBefore: m.notBefore, NotAfter: m.notAfter, PublicKey: m.key.Public()}
	if m.ca {
		limit := BasicConstraints{CA: true, PathLen: m.pathLen}
		switch m.pathLen {
		case 0:
			limit.PathLen = -1
		case -1:
			limit.PathLen = 0
		}
		s.Extensions.Set(limit.Extension())
		if m.usage == 0 {
			m.usage = KeyCertSign | CRLSign
		}
	}
	if m.usage != 0 {
		s.Extensions.Set(m.usage.Extension(true))
	}
	if m.purposes != nil {
		e, err := ExtKeyUsageExtension(m.purposes, false)
		if err != nil {
			panic(err)
		}
		s.Extensions.Set(e)
	}
	if m.names != nil {
		s.Extensions.Set(m.names.Extension())
	}
	id, err := KeyIDFor(m.key.Public())
	if err != nil {
		panic(err)
	}
	s.Extensions.Set(SubjectKeyIDExtension(id))
	if issuer != nil {
		s.Extensions.Set(AuthorityKeyID{KeyID: issuer.Extensions.SubjectKeyID()}.Extension())
	}
	for _, e := range m.extensions {
		s.Extensions.Set(e)
	}
	for _, oid := range m.without {
		s.Extensions.Remove(oid)
	}
	return s
}

// root makes a self-signed certificate, an authority's.
func (m mold) root(t testing.TB) *entity {
	t.Helper()
	m.ca = true
	if m.key == nil {
		m.key = newP256()
	}
	c, err := Sign(m.spec(nil), nil, m.key, m.alg)
	if err != nil {
		t.Fatal(err)
	}
	return &entity{c, m.key}
}

// by makes a certificate that issuer has signed.
func (m mold) by(t testing.TB, issuer *entity) *entity {
	t.Helper()
	if m.key == nil && m.ca {
		m.key = newP256()
	} else if m.key == nil {
		m.key = sharedKey()
	}
	c, err := Sign(m.spec(issuer), issuer.Certificate, issuer.key, m.alg)
	if err != nil {
		t.Fatal(err)
	}
	return &entity{c, m.key}
}

func dnsNames(names ...string) (list GeneralNames) {
	for _, n := range names {
		list = append(list, DNSName(n))
	}
	return list
}

func ipNames(names ...string) (list GeneralNames) {
	for _, n := range names {
		list = append(list, IPAddress(netip.MustParseAddr(n)))
	}
	return list
}

// writeFiles writes files into a new directory and returns its name.
func writeFiles(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shell runs commands with a generation's programs and returns what they print.
// It takes as long as it takes: one shell runs many programs, and the machine
// may be busy.
func shell(t *testing.T, g peertest.Generation, dir, commands string) string {
	t.Helper()
	cmd := g.Command(t, peertest.Options{Dir: dir}, "sh", "-c", commands)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	return string(out)
}
