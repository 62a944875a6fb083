// Package explain says what is behind the texts that QEMU, libvirt, GnuTLS and
// OpenSSL print when TLS does not come about: the causes of each, most likely
// first, where to look, what to run, and in which versions.
//
// The texts are data: entries of tables, in the files named after the programs.
// A text stands there with a {name} for each part that varies. [Explain] finds
// texts in whatever people paste: with the prefixes of logs, colours, other
// quotes and line breaks, several at once.
package explain

import (
	"slices"
	"strings"
)

// An Entry explains texts that mean the same.
type Entry struct {
	ID       string   `json:"id"`                 // stable name of the entry
	By       string   `json:"by"`                 // the programs that print it
	Texts    []string `json:"texts"`              // {name} stands for what varies
	Means    string   `json:"means"`              // what the program wants to say
	Versions string   `json:"versions,omitempty"` // which versions of the programs print it, empty for those of issue's support range
	Causes   []Cause  `json:"causes"`             // most likely first
	// Vague entries only say that there is a reason elsewhere, or are what
	// follows from another fault. They count only if nothing else is known.
	Vague bool `json:"-"`
}

// A Cause is one thing that can be wrong.
type Cause struct {
	Text     string   `json:"cause"`
	Look     string   `json:"look,omitempty"`     // where to see whether it is this one: whose log, which file
	Run      []string `json:"run,omitempty"`      // commands that show or mend it
	Versions string   `json:"versions,omitempty"` // of the programs for which it can be the cause, empty for all
}

// Entries returns every entry, grouped by program.
func Entries() []Entry { return slices.Concat(tables...) }

// A Match is an entry whose text was found.
type Match struct {
	Text   string            `json:"text"`             // the entry's text that fits
	Found  string            `json:"found,omitempty"`  // what it was in the input
	Values map[string]string `json:"values,omitempty"` // what stood for each {name}
	Entry  Entry             `json:"entry"`            // with the values in its commands
}

// MaxText bounds what [Explain] looks at: 1 MiB.
const MaxText = 1 << 20

// Explain finds the texts of all entries in what people paste, in the order in
// which they appear, each entry once. Where texts overlap the longest counts:
// "The certificate is not trusted" is not found inside a longer text that is
// known. It looks at the first MaxText octets.
func Explain(input string) []Match {
	t := newText(input[:min(len(input), MaxText)])
	var hits []hit
	for _, p := range patterns() {
		hits = append(hits, p.find(t)...)
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return b.pattern.size - a.pattern.size })
	hits = disjoint(hits, len(t.canon))
	slices.SortStableFunc(hits, func(a, b hit) int { return a.starts[0] - b.starts[0] })
	return distinct(hits, t)
}

// disjoint drops the hits that share literal text with one before them.
func disjoint(hits []hit, size int) (kept []hit) {
	taken := make([]bool, size)
	for _, h := range hits {
		free := true
		h.literals(func(at int) { free = free && !taken[at] })
		if free {
			h.literals(func(at int) { taken[at] = true })
			kept = append(kept, h)
		}
	}
	return kept
}

// distinct returns the first match of each entry, vague ones only if there is no other.
func distinct(hits []hit, t *text) []Match {
	vague := !slices.ContainsFunc(hits, func(h hit) bool { return !h.pattern.entry.Vague })
	known := map[string]bool{}
	var out []Match
	for _, h := range hits {
		e := h.pattern.entry
		if known[e.ID] || e.Vague && !vague {
			continue
		}
		known[e.ID] = true
		out = append(out, h.match(t))
	}
	return out
}

// with returns the entry with values in its commands, quoted for a shell.
func (e Entry) with(values map[string]string) Entry {
	e.Causes = slices.Clone(e.Causes)
	for i, c := range e.Causes {
		run := slices.Clone(c.Run)
		for j := range run {
			run[j] = fill(run[j], values)
		}
		e.Causes[i].Run = run
	}
	return e
}

// fill replaces each {name} in a command by its value, or by NAME without one.
func fill(command string, values map[string]string) string {
	var b strings.Builder
	for _, part := range split(command) {
		value, known := values[part.name]
		switch {
		case part.name == "":
			b.WriteString(part.literal)
		case known && value != "" && value[0] != '-': // what begins with a dash would be taken for an option
			b.WriteString(shellQuote(value))
		default:
			b.WriteString(strings.ToUpper(part.name))
		}
	}
	return b.String()
}

// shellQuote returns s as one word of a shell.
func shellQuote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@%+,=", r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Readable returns a text with NAME for {name}, as people are used to.
func Readable(text string) string { return fill(text, nil) }
