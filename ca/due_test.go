package ca

import (
	"os"
	"strings"
	"testing"
	"time"

	"virtls/finding"
	"virtls/pki"
)

func TestCRLDue(t *testing.T) {
	now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	s, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{})
	due := func(what string, want *finding.Kind) {
		t.Helper()
		f, err := a.CRLDue(t.Context())
		must(t, err)
		got, wanted := "", ""
		if f != nil {
			got = f.Severity.String() + " " + f.Code
			check(t, what, f.Subject, a.CRLPath())
		}
		if want != nil {
			wanted = want.Severity.String() + " " + want.Code
		}
		check(t, what, got, wanted)
	}
	list := func() {
		t.Helper()
		_, err := a.NewCRL(t.Context(), 30)
		must(t, err)
	}
	due("no list", kindCRLWrong)
	list()
	due("a new list", nil)
	cert := issueOne(t, a, order(t, "kvm1"))
	_, err := s.Revoke(t.Context(), []string{cert.SerialHex()}, pki.Unspecified)
	must(t, err)
	due("a revocation that is not listed", kindCRLWrong)
	list()
	due("a list with all revocations", nil)
	now.Time = now.AddDate(0, 0, 19)
	due("before two thirds of its time", nil)
	now.Time = now.AddDate(0, 0, 2)
	due("after two thirds of its time", kindCRLDue)
	list()
	must(t, os.WriteFile(a.CRLPath(), []byte("garbage"), 0o644))
	due("garbage", kindCRLWrong)
	list()
	due("a list in its place", nil)
	_, other := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{})
	_, err = other.NewCRL(t.Context(), 30)
	must(t, err)
	data, err := os.ReadFile(other.CRLPath())
	must(t, err)
	must(t, os.WriteFile(a.CRLPath(), data, 0o644))
	due("another authority's list", kindCRLWrong)
}

func TestRenewalPoint(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	check(t, "two thirds", RenewalPoint(from, from.AddDate(0, 0, 90)), from.AddDate(0, 0, 60))
}

func TestIsMissing(t *testing.T) {
	s := open(t, stateDir(t), Options{})
	_, err := s.Authority(t.Context(), "ca")
	check(t, "no authority", IsMissing(err), true)
	_, err = s.RequestAuthority(t.Context(), AuthoritySpec{Subject: cn("Intermediate")})
	must(t, err)
	_, err = s.Authority(t.Context(), "ca")
	check(t, "an authority that waits", IsMissing(err), false)
	_, err = s.RequestAuthority(t.Context(), AuthoritySpec{Name: "two", Subject: cn("Another")})
	must(t, err)
	_, err = s.CreateAuthority(t.Context(), AuthoritySpec{Name: "made", Subject: cn("A third")})
	must(t, err)
	waiting, err := s.Absent(t.Context())
	must(t, err)
	for i, command := range []string{"virtls ca install ANSWER", "virtls ca install --name two ANSWER"} {
		check(t, "code", waiting[i].Code, "ca-waiting")
		if !strings.Contains(waiting[i].Fix, command) {
			t.Errorf("cure %q does not name %q", waiting[i].Fix, command)
		}
	}
	check(t, "those who wait", len(waiting), 2)
}
