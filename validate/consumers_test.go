package validate

import (
	"path/filepath"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
)

// TestConsumers has the real programs load every set-up, and compares what they
// say with what is predicted for their build.
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
			row, err := creds.ConsumerFor(c.name, g.Version(t, c.program).Package)
			if err != nil {
				t.Fatal(err)
			}
			list := setups(t, c.role)
			if len(list) < 60 {
				t.Fatalf("%d set-ups, want 60 at least", len(list))
			}
			for i, v := range c.verdicts(t, g, base) {
				if want, sure := known[list[i].name]; sure && v.accepted != want {
					t.Errorf("%s: %s: accepted %t: %s", c.name, list[i].name, v.accepted, v.text)
				}
				root, l := c.place(i)
				j := row.Judge(l.Files(c.role), creds.JudgeOptions{Root: filepath.Join(base, root), Password: []byte(list[i].password)})
				if text := refusal(j); j.Accepted != v.accepted || !strings.Contains(v.text, text) || !v.accepted && text == "" {
					t.Errorf("%s %s: %s:\n  the program: %t %s\n  prediction:  %t %s", c.name, row.Version, list[i].name, v.accepted, v.text, j.Accepted, text)
				}
			}
		}
	})
}

// refusal returns what a consumer says when it refuses files.
func refusal(j creds.Judgement) string {
	if p := j.Refused(); p != nil {
		return p.Text
	}
	return ""
}
