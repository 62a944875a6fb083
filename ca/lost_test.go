package ca

import (
	"os"
	"testing"
	"time"

	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
)

// An authority that has lost its files gets no successor of the same name with
// another key by accident: only its own files, or none.
func TestLostAuthority(t *testing.T) {
	dir := stateDir(t)
	s, a := newCA(t, dir, Options{}, AuthoritySpec{Passphrase: secret})
	issueOne(t, a, order(t, "kvm1.example.com"))
	_, err := s.Revoke(t.Context(), []string{certificates(t, s.Register(), filterAll)[0].Serial}, pki.Superseded)
	must(t, err)
	_, err = a.NewCRL(t.Context(), 0)
	must(t, err)
	cert, key := read(t, a.CertificatePath()), read(t, a.KeyPath())
	must(t, os.RemoveAll(dir+"/ca"))

	_, err = s.Authority(t.Context(), "ca")
	checkFailure(t, err, kindAuthorityLost, finding.ExitUnable)
	check(t, "it is to be made", IsMissing(err), false)
	absent, err := s.Absent(t.Context())
	must(t, err)
	check(t, "absent", codes(absent), []string{"ca-lost"})
	_, err = s.CreateAuthority(t.Context(), AuthoritySpec{Subject: cn("Example CA")})
	checkFailure(t, err, kindAuthorityLost, finding.ExitUnable)
	_, err = s.RequestAuthority(t.Context(), AuthoritySpec{Subject: cn("Example CA")})
	checkFailure(t, err, kindAuthorityLost, finding.ExitUnable)
	_, other := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	_, err = s.AdoptAuthority(t.Context(), Adoption{Certificate: read(t, other.CertificatePath()), Key: read(t, other.KeyPath())})
	checkFailure(t, err, kindAuthorityLost, finding.ExitUnable)

	a, err = s.AdoptAuthority(t.Context(), Adoption{Certificate: cert, Key: key, KeyPassword: secret, Passphrase: secret})
	must(t, err)
	check(t, "certificates", len(certificates(t, s.Register(), filterAll)), 1)
	crl, err := a.NewCRL(t.Context(), 0)
	must(t, err)
	check(t, "number of the next list", crl.Number().Int64(), int64(2))
	check(t, "revoked in it", len(crl.Revoked), 1)
	absent, err = s.Absent(t.Context())
	must(t, err)
	check(t, "absent", codes(absent), []string(nil))
	_, err = s.AdoptAuthority(t.Context(), Adoption{Name: "again", Certificate: cert, Key: key, KeyPassword: secret})
	checkFailure(t, err, kindAuthorityExists, finding.ExitUnable)
	noTemps(t, dir)
}

// One that has issued nothing is simply made again.
func TestLostUnused(t *testing.T) {
	s, _ := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	must(t, os.RemoveAll(s.Dir()+"/ca"))
	_, err := s.CreateAuthority(t.Context(), AuthoritySpec{Subject: cn("Example CA")})
	must(t, err)
}

func TestRenewAuthority(t *testing.T) {
	now := &clock{time.Now().AddDate(0, 0, -3600)}
	s, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{Passphrase: secret, PathLen: -1})
	old := a.Certificate
	leaf := func(name string) string {
		o := order(t, name)
		o.Days = 4000
		return write(t, t.TempDir(), "leaf.pem", issueOne(t, a, o).PEM())
	}
	before := leaf("before.example.com")
	now.Time = time.Now()
	a, err := s.RenewAuthority(t.Context(), "ca", 0, secret)
	must(t, err)
	after := leaf("after.example.com")
	c := a.Certificate
	check(t, "life", c.NotAfter.Sub(c.NotBefore), old.NotAfter.Sub(old.NotBefore))
	check(t, "subject", c.Subject.String(), old.Subject.String())
	check(t, "key", c.PublicKey.ID256(), old.PublicKey.ID256())
	check(t, "same serial number", c.Serial.Cmp(old.Serial) == 0, false)
	check(t, "extensions", len(c.Extensions), len(old.Extensions))
	for _, e := range c.Extensions {
		check(t, e.OID.String(), *old.Extensions.Find(e.OID), e)
	}
	oldFile := write(t, t.TempDir(), "old.pem", old.PEM())
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, trust := range []string{oldFile, a.CertificatePath()} {
			for _, file := range []string{before, after} {
				run(t, g, "certtool", "--verify", "--load-ca-certificate", trust, "--infile", file)
				run(t, g, "openssl", "verify", "-CAfile", trust, file)
			}
		}
	})
	rows := 0
	for _, err := range s.Register().Authorities(t.Context()) {
		must(t, err)
		rows++
	}
	check(t, "certificates of the authority in the register", rows, 2)
	a, err = s.RenewAuthority(t.Context(), "ca", 10, secret)
	must(t, err)
	check(t, "end", a.End().Format(time.DateOnly), now.AddDate(0, 0, 10).UTC().Format(time.DateOnly))
	_, err = s.RenewAuthority(t.Context(), "ca", 0, wrong)
	checkFailure(t, err, kindPassphrase, finding.ExitUnable)
	_, err = s.RenewAuthority(t.Context(), "ca", -1, secret)
	checkFailure(t, err, kindOrder, finding.ExitUsage)
	// One that has ended can be renewed still, and only then issues again.
	now.Time = now.AddDate(0, 0, 60)
	_, err = a.Issue(t.Context(), []Order{order(t, "late.example.com")})
	checkFailure(t, err, kindExpired, finding.ExitWrong)
	_, err = s.InstallAuthority(t.Context(), "ca", []*pki.Certificate{old}, secret)
	checkFailure(t, err, kindExpired, finding.ExitWrong)
	a, err = s.RenewAuthority(t.Context(), "ca", 3650, secret)
	must(t, err)
	issueOne(t, a, order(t, "late.example.com"))
}

// An intermediate's certificate is its parent's to renew.
func TestRenewIntermediate(t *testing.T) {
	_, root := newCA(t, stateDir(t), Options{}, AuthoritySpec{PathLen: -1})
	s := open(t, stateDir(t), Options{})
	request, err := s.RequestAuthority(t.Context(), AuthoritySpec{Subject: cn("Intermediate")})
	must(t, err)
	issued, err := root.Issue(t.Context(), []Order{{Spec: pki.Spec{Subject: request.Subject, PublicKey: request.PublicKey.Key, Extensions: request.Extensions}, Subordinate: true}})
	must(t, err)
	_, err = s.InstallAuthority(t.Context(), "ca", []*pki.Certificate{issued[0].Certificate, root.Certificate}, nil)
	must(t, err)
	_, err = s.RenewAuthority(t.Context(), "ca", 0, nil)
	checkFailure(t, err, kindNotRoot, finding.ExitWrong)
}
