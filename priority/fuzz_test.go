package priority

import (
	"errors"
	"slices"
	"testing"

	"virtls/finding"
)

// FuzzExpand holds what must be true of any string on any system.
func FuzzExpand(f *testing.F) {
	for _, s := range virtualization {
		f.Add(s, "")
	}
	gen := newGenerator(5)
	for range 50 {
		config, s := gen.config()
		f.Add(s, config)
	}
	for _, s := range oddities {
		f.Add("NORMAL:"+s, "SYSTEM=NORMAL\n")
	}
	f.Fuzz(func(t *testing.T, text, config string) {
		sys, found := ParseSystem([]byte(config), "config")
		for _, w := range found {
			_ = w.String()
		}
		s, err := Parse(text)
		if err != nil {
			isFinding(t, err)
			return
		}
		if s.String() != text {
			t.Fatalf("%q became %q", text, s)
		}
		for _, b := range Builds() {
			l, err := s.Expand(b, sys)
			if err != nil {
				isFinding(t, err)
				continue
			}
			sound(t, l)
			if h, _, err := l.For(testEngine); err != nil {
				isFinding(t, err)
			} else {
				sound(t, h)
			}
		}
		s.Check(sys, Builds()...)
	})
}

func isFinding(t *testing.T, err error) {
	t.Helper()
	var failure *finding.Failure
	if !errors.As(err, &failure) || failure.Code == "" || err.Error() == "" {
		t.Fatalf("%v is no finding", err)
	}
}

// sound checks that a list has what a session needs, once each, and negotiates
// nothing that it does not have.
func sound(t *testing.T, l *List) {
	t.Helper()
	if len(l.Versions) == 0 {
		t.Fatal("no version")
	}
	for _, entries := range [][]Entry{l.Versions, l.Ciphers, l.MACs, l.KeyExchanges, l.Groups, l.Signatures, l.NegotiatedGroups, l.NegotiatedSignatures} {
		for i, e := range entries {
			if e.Name == "" || slices.ContainsFunc(entries[:i], func(o Entry) bool { return o.Name == e.Name }) {
				t.Fatalf("%q twice, or without a name: %v", e.Name, entries)
			}
		}
	}
	within(t, l.NegotiatedGroups, l.Groups)
	within(t, l.NegotiatedSignatures, l.Signatures)
	for i, s := range l.Suites {
		if slices.Contains(l.Suites[:i], s) {
			t.Fatalf("%s twice", s.Name)
		}
	}
}

func within(t *testing.T, some, all []Entry) {
	t.Helper()
	for _, e := range some {
		if e.ID == 0 || !slices.Contains(all, e) {
			t.Fatalf("%v is not in %v", e, all)
		}
	}
}
