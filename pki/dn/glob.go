package dn

import "strings"

// HasWildcard reports whether a pattern for [Match] has a wildcard. GLib knows
// no way to escape one, so that a literal with * or ? in it cannot be written
// as a pattern that matches only itself: such text needs an exact rule.
func HasWildcard(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// Match reports whether pattern matches all of s, as QEMU's "glob" rules and
// libvirt's tls_allowed_dn_list do (GLib's g_pattern_match_simple): "*" stands
// for any run of characters, commas and none at all included, "?" for one
// character, and everything else for itself.
//
// In valid UTF-8 a character is a code point. Elsewhere GLib takes the length
// of a character from its first octet alone, and so does Match. Where that
// leads GLib out of the string, so that it reads foreign memory or aborts, and
// where s or pattern has a NUL, Match reports false.
//
// The time taken is at most proportional to the product of the lengths.
func Match(pattern, s string) bool {
	if strings.IndexByte(pattern, 0) >= 0 || strings.IndexByte(s, 0) >= 0 {
		return false
	}
	g := newGlob(pattern)
	if len(s) < g.min || g.max >= 0 && len(s) > g.max {
		return false
	}
	switch literal := strings.Trim(g.pattern, "*"); {
	case g.firstJoker >= 0 || g.firstStar != g.lastStar:
		return g.matchFrom(s)
	case g.firstStar < 0:
		return s == literal
	case g.firstStar == 0:
		return strings.HasSuffix(s, literal)
	case g.firstStar == len(literal):
		return strings.HasPrefix(s, literal)
	}
	return g.matchFrom(s)
}

// A glob is a pattern in GLib's canonical form: in each run of wildcards one
// star at most, then the jokers, as question marks are called there.
type glob struct {
	pattern               string
	min, max              int // length in octets of what can match; max -1: no limit
	firstStar, lastStar   int // index, or -1
	firstJoker, lastJoker int
}

func newGlob(pattern string) glob {
	g := glob{firstStar: -1, lastStar: -1, firstJoker: -1, lastJoker: -1}
	var b strings.Builder
	jokers, star := 0, false
	flush := func() {
		if jokers > 0 {
			if g.firstJoker < 0 {
				g.firstJoker = b.Len()
			}
			g.lastJoker = b.Len() + jokers - 1
		}
		b.WriteString(strings.Repeat("?", jokers))
		jokers, star = 0, false
	}
	for i := range len(pattern) {
		switch c := pattern[i]; c {
		case '?':
			jokers++
			g.min++
			g.max += 4
		case '*':
			if star {
				continue
			}
			star = true
			if g.firstStar < 0 {
				g.firstStar = b.Len()
			}
			g.lastStar = b.Len()
			b.WriteByte(c)
		default:
			flush()
			g.min++
			g.max++
			b.WriteByte(c)
		}
	}
	atEnd := b.Len()
	if flush(); g.lastJoker >= atEnd {
		g.lastJoker = atEnd // GLib does not count on in a run that ends the pattern
	}
	g.pattern = b.String()
	if g.firstStar >= 0 {
		g.max = -1
	}
	return g
}

// matchFrom matches from the end that has the longer stretch without
// wildcards, which only matters where s is not UTF-8.
func (g glob) matchFrom(s string) bool {
	first, last := g.firstStar, g.lastStar
	if first < 0 {
		first, last = g.firstJoker, g.lastJoker
	}
	if len(g.pattern)-1-last <= first {
		return match(g.pattern, s)
	}
	pattern, ok := reverse(g.pattern)
	if !ok {
		return false
	}
	s, ok = reverse(s)
	return ok && match(pattern, s)
}

// match is the usual greedy algorithm: on a mismatch it goes back to the last
// star only, because that one already has the shortest run it can have.
func match(pattern, s string) bool {
	p, i := 0, 0
	after, from := -1, 0 // where pattern and s go on after the first octet behind the last star
	for i <= len(s) {
		switch {
		case p == len(pattern) && i == len(s):
			return true
		case p < len(pattern) && pattern[p] == '*':
			// Reversing what is not UTF-8 can bring stars together.
			for p++; p < len(pattern) && (pattern[p] == '?' || pattern[p] == '*'); p++ {
				if pattern[p] == '*' {
					continue
				}
				if i >= len(s) {
					return false
				}
				i += charLen(s[i])
			}
			if p == len(pattern) {
				return true
			}
			after, from = p+1, i
		case p < len(pattern) && pattern[p] == '?' && i < len(s):
			p++
			i += charLen(s[i])
			continue
		case p < len(pattern) && i < len(s) && pattern[p] == s[i]:
			p++
			i++
			continue
		case after < 0:
			return false
		}
		for i = from; i < len(s) && s[i] != pattern[after-1]; {
			i += charLen(s[i])
		}
		if i >= len(s) {
			return false
		}
		i++
		p, from = after, i
	}
	return false
}

// charLen returns the length of a UTF-8 character by its first octet, in
// UTF-8's original form of up to six octets.
func charLen(first byte) int {
	switch {
	case first < 0xc0 || first >= 0xfe:
		return 1
	case first < 0xe0:
		return 2
	case first < 0xf0:
		return 3
	case first < 0xf8:
		return 4
	case first < 0xfc:
		return 5
	}
	return 6
}

// reverse returns the characters of s in reverse order, each whole.
func reverse(s string) (string, bool) {
	b := make([]byte, len(s))
	end := len(s)
	for i := 0; i < len(s); {
		after := i + charLen(s[i])
		if after > len(s) {
			return "", false
		}
		end -= after - i
		copy(b[end:], s[i:after])
		i = after
	}
	return string(b), true
}
