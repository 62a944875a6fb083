package ca

import (
	"bytes"
	"crypto"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
)

func TestCreateAuthority(t *testing.T) {
	for _, keyType := range []string{"ec", "p521", "rsa2048", "ed25519", "mldsa65"} {
		t.Run(keyType, func(t *testing.T) {
			spec, err := pki.ParseKeySpec(keyType)
			must(t, err)
			now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 500, time.UTC)}
			_, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{Key: spec})
			c := a.Certificate
			check(t, "subject", c.Subject.String(), "O=Example,CN=Example CA")
			check(t, "begin", c.NotBefore, time.Date(2026, 11, 22, 11, 55, 0, 0, time.UTC))
			check(t, "end", c.NotAfter, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).AddDate(0, 0, 3650))
			check(t, "key", pki.KeySpecOf(c.PublicKey.Key).String(), spec.String())
			bc, err := c.Extensions.BasicConstraints()
			must(t, err)
			check(t, "basic constraints", *bc, pki.BasicConstraints{CA: true})
			usage, _, err := c.Extensions.KeyUsage()
			must(t, err)
			check(t, "key usage", usage, pki.KeyCertSign|pki.CRLSign)
			check(t, "critical", []bool{c.Extensions.Find(pki.OIDBasicConstraints).Critical, c.Extensions.Find(pki.OIDKeyUsage).Critical}, []bool{true, true})
			check(t, "findings", a.Findings, []finding.Finding(nil))
		})
	}
}

func TestPassphrase(t *testing.T) {
	encryptKey = pki.EncodeEncryptedKeyPEM
	t.Cleanup(func() { encryptKey = encryptQuickly })
	s, _ := newCA(t, stateDir(t), Options{}, AuthoritySpec{Passphrase: secret})
	loaded, err := s.Authority(t.Context(), "ca")
	must(t, err)
	checkFailure(t, loaded.Unlock(nil), kindPassphrase, finding.ExitUnable)
	checkFailure(t, loaded.Unlock(wrong), kindPassphrase, finding.ExitUnable)
	asked := errors.New("nobody answered")
	if err := loaded.Unlock(func() ([]byte, error) { return nil, asked }); !errors.Is(err, asked) {
		t.Errorf("the passphrase's own error: %v", err)
	}
	_, err = loaded.Issue(t.Context(), nil)
	checkFailure(t, err, kindPassphrase, finding.ExitUnable)
	must(t, loaded.Unlock(secret))
}

func TestCreateAuthorityRefuses(t *testing.T) {
	s, _ := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	tests := []struct {
		name string
		spec AuthoritySpec
		kind *finding.Kind
		exit int
	}{
		{"exists", AuthoritySpec{Subject: cn("CA")}, kindAuthorityExists, finding.ExitUnable},
		{"path in its name", AuthoritySpec{Name: "../ca", Subject: cn("CA")}, kindAuthorityName, finding.ExitUsage},
		{"capitals in its name", AuthoritySpec{Name: "CA", Subject: cn("CA")}, kindAuthorityName, finding.ExitUsage},
		{"no subject", AuthoritySpec{Name: "other"}, kindOrder, finding.ExitUsage},
		{"no life", AuthoritySpec{Name: "other", Subject: cn("CA"), Days: -1}, kindOrder, finding.ExitUsage},
		{"empty passphrase", AuthoritySpec{Name: "other", Subject: cn("CA"), Passphrase: func() ([]byte, error) { return nil, nil }},
			kindPassphrase, finding.ExitUsage},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.CreateAuthority(t.Context(), test.spec)
			checkFailure(t, err, test.kind, test.exit)
		})
	}
	names, err := s.Authorities()
	must(t, err)
	check(t, "authorities", names, []string{"ca"})
	noTemps(t, s.Dir())
}

// A second authority for a hybrid fleet lives beside the first one.
func TestTwoAuthorities(t *testing.T) {
	s, classical := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	quantum, err := s.CreateAuthority(t.Context(), AuthoritySpec{Name: "mldsa", Subject: cn("Example PQ CA"), Key: pki.KeySpec{Algorithm: pki.MLDSA65}})
	must(t, err)
	names, err := s.Authorities()
	must(t, err)
	check(t, "authorities", names, []string{"ca", "mldsa"})
	a, b := issueOne(t, classical, order(t, "kvm1")), issueOne(t, quantum, order(t, "kvm1"))
	must(t, a.CheckSignatureFrom(classical.Certificate))
	must(t, b.CheckSignatureFrom(quantum.Certificate))
	check(t, "of the second", len(certificates(t, s.Register(), register.Filter{Authority: "mldsa"})), 1)
}

func TestAuthorityRefuses(t *testing.T) {
	tests := []struct {
		name   string
		damage func(t *testing.T, s *State, a *Authority)
		kind   *finding.Kind
		exit   int
	}{
		{"missing", func(t *testing.T, s *State, a *Authority) { must(t, os.Remove(a.CertificatePath())) }, kindAuthorityMissing, finding.ExitUnable},
		{"garbage", func(t *testing.T, s *State, a *Authority) { write(t, s.Dir(), "ca/ca-cert.pem", []byte("garbage")) }, kindAuthorityUnreadable, finding.ExitUnable},
		{"empty", func(t *testing.T, s *State, a *Authority) { write(t, s.Dir(), "ca/ca-cert.pem", nil) }, kindAuthorityUnreadable, finding.ExitUnable},
		{"huge", func(t *testing.T, s *State, a *Authority) {
			write(t, s.Dir(), "ca/ca-cert.pem", make([]byte, pki.MaxFileSize+1))
		}, kindAuthorityUnreadable, finding.ExitUnable},
		{"another key's", func(t *testing.T, s *State, a *Authority) {
			key, err := pki.EncodePrivateKeyPEM(newKey(t, "ec"), pki.MLDSABoth)
			must(t, err)
			write(t, s.Dir(), "ca/ca-key.pem", key)
		}, kindKeyMismatch, finding.ExitWrong},
		{"key gone", func(t *testing.T, s *State, a *Authority) { must(t, os.Remove(a.KeyPath())) }, kindAuthorityUnreadable, finding.ExitUnable},
		{"key garbage", func(t *testing.T, s *State, a *Authority) { write(t, s.Dir(), "ca/ca-key.pem", []byte("garbage")) }, kindAuthorityUnreadable, finding.ExitUnable},
		{"a leaf", func(t *testing.T, s *State, a *Authority) {
			write(t, s.Dir(), "ca/ca-cert.pem", issueOne(t, a, order(t, "kvm1")).PEM())
		}, kindNotAuthority, finding.ExitWrong},
		{"a stranger", func(t *testing.T, s *State, a *Authority) {
			_, other := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
			write(t, s.Dir(), "ca/ca-cert.pem", other.Certificate.PEM())
		}, kindAuthorityUnknown, finding.ExitUnable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
			test.damage(t, s, a)
			loaded, err := s.Authority(t.Context(), "ca")
			if err == nil {
				err = loaded.Unlock(nil)
			}
			checkFailure(t, err, test.kind, test.exit)
			if f := finding.Of(err); f.Fix == "" {
				t.Errorf("nothing says how to mend it: %+v", f)
			}
		})
	}
}

func TestExpiredAuthority(t *testing.T) {
	now := &clock{time.Now()}
	_, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{Days: 10})
	now.Time = now.AddDate(0, 0, 11)
	_, err := a.Issue(t.Context(), []Order{order(t, "kvm1")})
	checkFailure(t, err, kindExpired, finding.ExitWrong)
	_, err = a.NewCRL(t.Context(), 0)
	checkFailure(t, err, kindExpired, finding.ExitWrong)
	now.Time = now.AddDate(0, 0, -12)
	_, err = a.Issue(t.Context(), []Order{order(t, "kvm1")})
	checkFailure(t, err, kindNotYetValid, finding.ExitWrong)
}

// A parent, here an authority of another state, signs the request of an
// intermediate; what that one issues is good for everybody who trusts the parent.
func TestIntermediate(t *testing.T) {
	_, root := newCA(t, stateDir(t), Options{}, AuthoritySpec{Subject: cn("Root"), PathLen: 1})
	s := open(t, stateDir(t), Options{})
	request, err := s.RequestAuthority(t.Context(), AuthoritySpec{Subject: cn("Intermediate")})
	must(t, err)
	check(t, "files", names(t, s.Dir()+"/ca"), []string{"./ 0700", "ca-key.pem 0600", "ca-request.pem 0644"})
	_, err = s.Authority(t.Context(), "ca")
	checkFailure(t, err, kindAuthorityWaits, finding.ExitUnable)
	_, err = s.RequestAuthority(t.Context(), AuthoritySpec{Subject: cn("Intermediate")})
	checkFailure(t, err, kindAuthorityExists, finding.ExitUnable)

	must(t, CheckRequest("the request", request))
	sign := func(key crypto.PublicKey) *pki.Certificate {
		return issueOne(t, root, Order{Subordinate: true, Spec: pki.Spec{Subject: request.Subject, PublicKey: key, Extensions: request.Extensions}})
	}
	_, err = root.Issue(t.Context(), []Order{{Spec: pki.Spec{Subject: request.Subject, PublicKey: request.PublicKey.Key, Extensions: request.Extensions}}})
	checkFailure(t, err, kindOrder, finding.ExitWrong)

	for _, bad := range []struct {
		name  string
		certs []*pki.Certificate
		kind  *finding.Kind
		exit  int
	}{
		{"nothing", nil, kindChain, finding.ExitUsage},
		{"for another key", []*pki.Certificate{sign(newKey(t, "ec").Public()), root.Certificate}, kindKeyMismatch, finding.ExitWrong},
		{"in the wrong order", []*pki.Certificate{root.Certificate, sign(request.PublicKey.Key)}, kindChain, finding.ExitWrong},
		{"of a leaf", []*pki.Certificate{issueOne(t, root, order(t, "kvm1"))}, kindNotAuthority, finding.ExitWrong},
	} {
		_, err := s.InstallAuthority(t.Context(), "ca", bad.certs, nil)
		t.Log(bad.name, err)
		checkFailure(t, err, bad.kind, bad.exit)
	}
	certs := []*pki.Certificate{sign(request.PublicKey.Key)}

	// Without the root the authority works, with a warning; the root can come later.
	a, err := s.InstallAuthority(t.Context(), "ca", certs, nil)
	must(t, err)
	check(t, "findings", codes(a.Findings), []string{kindChainShort.Code})
	a, err = s.InstallAuthority(t.Context(), "ca", append(certs, root.Certificate), nil)
	must(t, err)
	check(t, "findings", codes(a.Findings), []string(nil))
	check(t, "files", names(t, s.Dir()+"/ca"), []string{"./ 0700", "ca-cert.pem 0644", "ca-key.pem 0600"})

	o := order(t, "kvm1.example.com")
	o.Place = &register.Placement{Paths: []string{filepath.Join(t.TempDir(), "cert.pem")}}
	issued, err := a.Issue(t.Context(), []Order{o})
	must(t, err)
	sent, err := pki.ParseCertificatesPEM(issued[0].Place.Content)
	must(t, err)
	check(t, "certificates in the file", len(sent), 2)
	check(t, "second", pki.SameCertificate(sent[1], certs[0]), true)
	must(t, s.Place(t.Context(), []*register.Placement{issued[0].Place}))

	rootFile := write(t, t.TempDir(), "root.pem", root.Certificate.PEM())
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		run(t, g, "openssl", "verify", "-x509_strict", "-CAfile", rootFile, "-untrusted", o.Place.Paths[0], o.Place.Paths[0])
		run(t, g, "certtool", "--verify", "--load-ca-certificate", rootFile, "--infile", o.Place.Paths[0])
	})
}

// Nothing is issued that the authority's own name constraints forbid.
func TestNameConstraints(t *testing.T) {
	_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{Constraints: &pki.NameConstraints{
		Permitted: pki.GeneralNames{pki.DNSName("example.com"), pki.IPRange(netip.MustParsePrefix("192.0.2.0/24"))},
	}})
	issueOne(t, a, order(t, "kvm1.example.com"))
	_, err := a.Issue(t.Context(), []Order{order(t, "kvm1.example.org")})
	checkFailure(t, err, kindOrder, finding.ExitWrong)
	if !strings.Contains(err.Error(), "example.org") {
		t.Errorf("the error does not name the name: %v", err)
	}
}

// Real programs open the key with the passphrase, and take the certificate for an authority's.
func TestAuthorityFilesWithPeers(t *testing.T) {
	for _, keyType := range []string{"ec", "rsa3072", "ed25519"} {
		t.Run(keyType, func(t *testing.T) {
			spec, err := pki.ParseKeySpec(keyType)
			must(t, err)
			_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{Key: spec, Passphrase: secret})
			if bytes.Contains(read(t, a.KeyPath()), []byte("BEGIN PRIVATE KEY")) {
				t.Error("the key is not encrypted")
			}
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				run(t, g, "openssl", "pkey", "-in", a.KeyPath(), "-passin", "pass:open sesame", "-noout")
				run(t, g, "certtool", "--key-info", "--infile", a.KeyPath(), "--password", "open sesame")
				run(t, g, "openssl", "verify", "-x509_strict", "-CAfile", a.CertificatePath(), a.CertificatePath())
				run(t, g, "certtool", "--verify", "--load-ca-certificate", a.CertificatePath(), "--infile", a.CertificatePath())
			})
		})
	}
}
