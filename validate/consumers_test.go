package validate

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
)

// TestConsumers has the real programs load the set-ups, and compares what they
// say with what is predicted for their build. The oldest generation loads all
// of them; the others those for which anything else is predicted than for the
// oldest, and every fourth of the rest, which the full run completes.
func TestConsumers(t *testing.T) {
	base := writeSetups(t)
	// What nobody can disagree about: it shows that the programs are asked.
	known := map[string]bool{
		"good": true, "foreign: certtool": true, "CA RSA": true, "intermediate in the bundle": true, "CRL": true,
		"expired": false, "CA expired": false, "no CA": false, "cert: junk": false, "key of another certificate": false,
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		t.Parallel()
		for _, c := range consumers {
			build := g.Version(t, c.program).Package
			row, err := creds.ConsumerFor(c.name, build)
			if err != nil {
				t.Fatal(err)
			}
			oldest, err := creds.ConsumerFor(c.name, peertest.Host.Version(t, c.program).Package)
			if err != nil {
				t.Fatal(err)
			}
			list := setups(t, c.role)
			if len(list) < 60 {
				t.Fatalf("%d set-ups, want 60 at least", len(list))
			}
			predicted := func(row creds.Consumer, i int) creds.Judgement {
				root, l := c.place(i)
				return row.Judge(l.Files(c.role), creds.JudgeOptions{Root: filepath.Join(base, root), Password: []byte(list[i].password)})
			}
			predictions := map[int]creds.Judgement{}
			var numbers []int
			for i, s := range list {
				j := predicted(row, i)
				_, sure := known[s.name]
				if g == peertest.Host || full() || sure || i%4 == 0 || differ(j, predicted(oldest, i)) {
					predictions[i], numbers = j, append(numbers, i)
				}
			}
			t.Logf("%s: %d of %d set-ups", c.name, len(numbers), len(list))
			for i, v := range c.verdicts(t, g, base, numbers) {
				s, j := list[i], predictions[i]
				if want, sure := known[s.name]; sure && v.accepted != want {
					t.Errorf("%s: %s: accepted %t: %s", c.name, s.name, v.accepted, v.text)
				}
				root, l := c.place(i)
				if text := refusal(j); j.Accepted != v.accepted || !strings.Contains(v.text, text) || !v.accepted && text == "" && !strings.HasPrefix(v.text, "Error reading file") {
					t.Errorf("%s %s: %s:\n  the program: %t %s\n  prediction:  %t %s", c.name, row.Version, s.name, v.accepted, v.text, j.Accepted, text)
				}
				c.compare(t, filepath.Join(base, root), l.Dir, s, build, v)
			}
		}
	})
}

// differ tells whether two builds are to say different things.
func differ(a, b creds.Judgement) bool {
	return a.Accepted != b.Accepted || refusal(a) != refusal(b)
}

// refusal returns what a consumer says when it refuses files.
func refusal(j creds.Judgement) string {
	if p := j.Refused(); p != nil {
		return p.Text
	}
	return ""
}

// compare wants Dir to come to a program's verdict, and to give a reason that is
// among the findings.
func (c consumer) compare(t *testing.T, root, dir string, s setup, build string, v verdict) {
	t.Helper()
	if c.program == peertest.QEMU {
		root = filepath.Join(root, dir)
	}
	r, err := Dir(t.Context(), root, Options{For: []string{c.name}, Against: []string{build}, Password: []byte(s.password)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Verdicts) != 1 || r.Accepted() != v.accepted {
		t.Errorf("%s %s: %s: the program says %t %s, the verdicts are %+v", c.name, build, s.name, v.accepted, v.text, r.Verdicts)
		return
	}
	because := r.Verdicts[0].Because
	if v.accepted != (len(because) == 0) {
		t.Errorf("%s %s: %s: accepted %t because of %q", c.name, build, s.name, v.accepted, because)
	}
	for _, code := range because {
		if !slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.Code == code && f.Severity == finding.Error && f.Fix != "" }) {
			t.Errorf("%s %s: %s: %s is no finding of %v", c.name, build, s.name, code, r.Findings)
		}
	}
}
