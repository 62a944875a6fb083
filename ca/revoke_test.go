package ca

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
)

func revocation(c *pki.Certificate, reason pki.RevocationReason, at time.Time) register.Revocation {
	return register.Revocation{Serial: c.SerialHex(), Reason: reason, At: at}
}

func TestRevoke(t *testing.T) {
	now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	s, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{})
	first, second := issueOne(t, a, order(t, "kvm1")), issueOne(t, a, order(t, "kvm2"))
	events := func() (n int) {
		for _, err := range s.Register().History(t.Context()) {
			must(t, err)
			n++
		}
		return n
	}
	rows, err := s.Revoke(t.Context(), []string{strings.ToUpper(first.SerialHex())}, pki.KeyCompromise)
	must(t, err)
	check(t, "revoked", *rows[0].Revoked, revocation(first, pki.KeyCompromise, now.Time))
	before := events()

	// Again, with another reason, later: nothing changes.
	now.Time = now.Add(time.Hour)
	rows, err = s.Revoke(t.Context(), []string{first.SerialHex()}, pki.Superseded)
	must(t, err)
	check(t, "revoked again", *rows[0].Revoked, revocation(first, pki.KeyCompromise, now.Add(-time.Hour)))
	check(t, "new events", events()-before, 0)

	rows, err = s.Revoke(t.Context(), []string{first.SerialHex(), second.SerialHex(), second.SerialHex()}, pki.Superseded)
	must(t, err)
	check(t, "second", *rows[1].Revoked, revocation(second, pki.Superseded, now.Time))
	check(t, "second again", *rows[2].Revoked, revocation(second, pki.Superseded, now.Time))

	third := issueOne(t, a, order(t, "kvm3"))
	for _, test := range []struct {
		serials []string
		reason  pki.RevocationReason
		kind    *finding.Kind
		exit    int
	}{
		{[]string{third.SerialHex(), "1234"}, pki.Unspecified, kindUnknown, finding.ExitWrong},
		{[]string{third.SerialHex(), "kvm3"}, pki.Unspecified, kindUnknown, finding.ExitUsage},
		{[]string{third.SerialHex()}, pki.RemoveFromCRL, kindOrder, finding.ExitUsage},
	} {
		_, err := s.Revoke(t.Context(), test.serials, test.reason)
		checkFailure(t, err, test.kind, test.exit)
	}
	row, err := s.Register().BySerial(t.Context(), third.SerialHex())
	must(t, err)
	if row.Revoked != nil {
		t.Error("revoked together with what could not be")
	}
}

func TestCRL(t *testing.T) {
	now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	s, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{})
	other, err := s.CreateAuthority(t.Context(), AuthoritySpec{Name: "other", Subject: cn("Other CA")})
	must(t, err)
	now.Time = now.Add(2 * time.Hour)
	short := order(t, "kvm1")
	short.Days = 10
	first, second, foreign := issueOne(t, a, short), issueOne(t, a, order(t, "kvm2")), issueOne(t, other, order(t, "kvm3"))
	_, err = s.Revoke(t.Context(), []string{first.SerialHex(), foreign.SerialHex()}, pki.KeyCompromise)
	must(t, err)
	_, err = s.Revoke(t.Context(), []string{second.SerialHex()}, pki.Unspecified)
	must(t, err)

	list := func(days int) *pki.CRL {
		crl, err := a.NewCRL(t.Context(), days)
		must(t, err)
		must(t, crl.CheckSignatureFrom(a.Certificate))
		written, err := pki.ParseCRLsPEM(read(t, a.CRLPath()))
		must(t, err)
		check(t, "file", string(written[0].Raw), string(crl.Raw))
		return crl
	}
	crl := list(0)
	check(t, "number", crl.Number().Int64(), int64(1))
	check(t, "issued", crl.ThisUpdate, now.Add(-5*time.Minute))
	check(t, "next", crl.NextUpdate, now.AddDate(0, 0, 30))
	check(t, "revoked", len(crl.Revoked), 2)
	check(t, "reason", crl.Find(first.Serial).Reason(), pki.KeyCompromise)
	check(t, "time", crl.Find(first.Serial).RevokedAt, now.Time)
	check(t, "extensions of one without reason", len(crl.Find(second.Serial).Extensions), 0)

	// Numbers go up and times never back, even if the clock does. An expired
	// certificate is listed once more and then no longer.
	now.Time = now.Add(-time.Hour)
	crl = list(7)
	check(t, "number", crl.Number().Int64(), int64(2))
	check(t, "issued", crl.ThisUpdate, now.Add(55*time.Minute))
	check(t, "next", crl.NextUpdate, now.AddDate(0, 0, 7))
	now.Time = now.AddDate(0, 0, 11)
	check(t, "revoked, first list after the end", len(list(0).Revoked), 2)
	crl = list(0)
	check(t, "revoked, second list after the end", len(crl.Revoked), 1)
	check(t, "number", crl.Number().Int64(), int64(4))
	_, err = a.NewCRL(t.Context(), -1)
	checkFailure(t, err, kindOrder, finding.ExitUsage)
}

// Real programs refuse what is revoked, and only that.
func TestCRLWithPeers(t *testing.T) {
	for _, keyType := range []string{"ec", "rsa2048", "ed25519"} {
		t.Run(keyType, func(t *testing.T) {
			spec, err := pki.ParseKeySpec(keyType)
			must(t, err)
			s, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{Key: spec})
			dir := t.TempDir()
			good := issueOne(t, a, order(t, "kvm1.example.com"))
			bad := issueOne(t, a, order(t, "kvm2.example.com"))
			goodFile, badFile := write(t, dir, "good.pem", good.PEM()), write(t, dir, "bad.pem", bad.PEM())
			_, err = s.Revoke(t.Context(), []string{bad.SerialHex()}, pki.KeyCompromise)
			must(t, err)
			_, err = a.NewCRL(t.Context(), 0)
			must(t, err)
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				openssl := []string{"verify", "-x509_strict", "-crl_check", "-CAfile", a.CertificatePath(), "-CRLfile", a.CRLPath()}
				certtool := []string{"--verify", "--load-ca-certificate", a.CertificatePath(), "--load-crl", a.CRLPath(), "--infile"}
				run(t, g, "openssl", append(openssl, goodFile)...)
				run(t, g, "certtool", append(certtool, goodFile)...)
				if r := g.Run(t, peertest.Options{}, "openssl", append(openssl, badFile)...); r.Code == 0 || !strings.Contains(r.Stderr, "certificate revoked") {
					t.Error(r)
				}
				if r := g.Run(t, peertest.Options{}, "certtool", append(certtool, badFile)...); r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "revoked") {
					t.Error(r)
				}
				run(t, g, "certtool", "--verify-crl", "--load-ca-certificate", a.CertificatePath(), "--infile", a.CRLPath())
			})
		})
	}
}

// OpenSSL of 3.5 and later verifies an ML-DSA chain and its list.
func TestMLDSAWithPeers(t *testing.T) {
	s, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{Key: pki.KeySpec{Algorithm: pki.MLDSA65}})
	spec, err := Leaf(cn("kvm1.example.com"), pki.GeneralNames{pki.DNSName("kvm1.example.com")}, Server|Client, newKey(t, "mldsa65").Public())
	must(t, err)
	cert := issueOne(t, a, Order{Spec: spec})
	file := write(t, t.TempDir(), "cert.pem", cert.PEM())
	verify := []string{"verify", "-x509_strict", "-crl_check", "-purpose", "sslserver", "-CAfile", a.CertificatePath(), "-CRLfile", a.CRLPath(), file}
	for _, g := range []peertest.Generation{peertest.Trixie, peertest.Forky} {
		t.Run(g.Name, func(t *testing.T) {
			g.Need(t)
			_, err := a.NewCRL(t.Context(), 0)
			must(t, err)
			run(t, g, "openssl", verify...)
			run(t, g, "openssl", "pkey", "-in", filepath.Join(s.Dir(), "ca/ca-key.pem"), "-noout")
		})
	}
	_, err = s.Revoke(t.Context(), []string{cert.SerialHex()}, pki.Unspecified)
	must(t, err)
	_, err = a.NewCRL(t.Context(), 0)
	must(t, err)
	for _, g := range []peertest.Generation{peertest.Trixie, peertest.Forky} {
		t.Run(g.Name+" after revocation", func(t *testing.T) {
			g.Need(t)
			if r := g.Run(t, peertest.Options{}, "openssl", verify...); r.Code == 0 || !strings.Contains(r.Stderr, "certificate revoked") {
				t.Error(r)
			}
		})
	}
}
