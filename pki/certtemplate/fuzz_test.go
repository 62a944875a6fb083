package certtemplate

import (
	"crypto/ed25519"
	"path/filepath"
	"testing"
	"time"
)

// FuzzTemplate parses, lints and compiles anything.
func FuzzTemplate(f *testing.F) {
	files, err := filepath.Glob("testdata/templates/*.tmpl")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		f.Add(readFuzzSeed(f, name))
	}
	for _, c := range lintCases {
		f.Add([]byte(c.text))
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	clock := Clock{Now: lintNow, Location: time.UTC}
	f.Fuzz(func(t *testing.T, data []byte) {
		tmpl, err := Parse("t.tmpl", data)
		line := 1
		for _, e := range tmpl.Entries {
			if e.Line < line || e.end < e.Line || e.Name == "" {
				t.Fatalf("entry %+v behind line %d", e, line)
			}
			line = e.Line
		}
		in := CertInput{Clock: clock, PublicKey: key.Public()}
		for _, found := range tmpl.Lint(in) {
			if found.Text == "" || found.Fix == "" || found.Subject == "" {
				t.Errorf("finding without a subject, text or cure: %+v", found)
			}
		}
		if err != nil {
			return
		}
		spec, _, err := tmpl.Certificate(in)
		if err == nil && spec.NotAfter.IsZero() {
			t.Error("a certificate without an end")
		}
		if _, _, err := tmpl.Request(RequestInput{PublicKey: key.Public()}); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		if _, err := tmpl.CRL(clock); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

// FuzzDate reads any text as a date, in a place with summer time and out of it.
func FuzzDate(f *testing.F) {
	for _, d := range dates {
		f.Add(d)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, loc := range []*time.Location{time.UTC, berlin} {
			first, ok := dateSeconds(text, lintNow, loc)
			again, okAgain := dateSeconds(text, lintNow, loc)
			if first != again || ok != okAgain {
				t.Errorf("%q is %d (%v), and then %d (%v)", text, first, ok, again, okAgain)
			}
			if _, err := ParseDate(text, Clock{Now: lintNow, Location: loc}); (err == nil) != ok {
				t.Errorf("%q: %v and %v", text, ok, err)
			}
		}
		dateIsLocal(text)
	})
}

// FuzzHostName converts any name.
func FuzzHostName(f *testing.F) {
	for _, name := range hostNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ascii, why := toASCII(name)
		if why == "" && !isPrintableASCII(ascii) {
			t.Errorf("%q becomes %q", name, ascii)
		}
	})
}
