package explain

import (
	"cmp"
	"slices"
)

// leastNear is the least part of the shorter text's trigrams that both texts
// must have to be near.
const leastNear = 0.55

// Nearest returns the texts that are most like the input, at most n, for an
// input in which [Explain] finds nothing. A part of a text is like it.
func Nearest(input string, n int) []Match {
	// Not all of a long input: it is compared with every text.
	of := trigrams(newText(input[:min(len(input), 4096)]).canon)
	type candidate struct {
		pattern *pattern
		score   float64
	}
	var near []candidate
	for _, p := range patterns() {
		own := p.trigrams
		least := min(len(of), len(own))
		if least < 6 {
			continue
		}
		both := 0
		for tri := range own {
			if of[tri] {
				both++
			}
		}
		if share := float64(both) / float64(least); share >= leastNear {
			near = append(near, candidate{p, float64(both) / float64(len(of)+len(own))})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	var out []Match
	for _, c := range near {
		known := func(m Match) bool { return m.Entry.ID == c.pattern.entry.ID }
		if len(out) < n && !slices.ContainsFunc(out, known) {
			out = append(out, Match{Text: c.pattern.text, Entry: c.pattern.entry.with(nil)})
		}
	}
	return out
}

// trigrams returns the runs of three octets of s.
func trigrams(s string) map[string]bool {
	set := make(map[string]bool, len(s))
	for i := 3; i <= len(s); i++ {
		set[s[i-3:i]] = true
	}
	return set
}
