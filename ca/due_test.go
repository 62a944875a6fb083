package ca

import (
	"os"
	"testing"
	"time"

	"virtls/pki"
)

func TestCRLDue(t *testing.T) {
	now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	s, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{})
	due := func(what string, want bool) {
		t.Helper()
		got, err := a.CRLDue(t.Context())
		must(t, err)
		check(t, what, got, want)
	}
	list := func() {
		t.Helper()
		_, err := a.NewCRL(t.Context(), 30)
		must(t, err)
	}
	due("no list", true)
	list()
	due("a new list", false)
	cert := issueOne(t, a, order(t, "kvm1"))
	_, err := s.Revoke(t.Context(), []string{cert.SerialHex()}, pki.Unspecified)
	must(t, err)
	due("a revocation that is not listed", true)
	list()
	due("a list with all revocations", false)
	now.Time = now.AddDate(0, 0, 19)
	due("before two thirds of its time", false)
	now.Time = now.AddDate(0, 0, 2)
	due("after two thirds of its time", true)
	list()
	must(t, os.WriteFile(a.CRLPath(), []byte("garbage"), 0o644))
	due("garbage", true)
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
}
