package validate

import (
	"testing"

	"virtls/internal/peertest"
)

// TestConsumers asks the real programs about every set-up.
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
			list := setups(t, c.role)
			if len(list) < 60 {
				t.Fatalf("%d set-ups, want 60 at least", len(list))
			}
			for i, v := range c.verdicts(t, g, base) {
				if !v.accepted && v.text == "" {
					t.Errorf("%s: %s: refused without a word", c.name, list[i].name)
				}
				if want, sure := known[list[i].name]; sure && v.accepted != want {
					t.Errorf("%s: %s: accepted %t: %s", c.name, list[i].name, v.accepted, v.text)
				}
			}
		}
	})
}
