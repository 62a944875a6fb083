package explain

import (
	"path"
	"regexp"
	"strings"
	"sync"
)

// A part of a text is literal or stands for what varies.
type part struct {
	literal string
	name    string
}

var nameForm = regexp.MustCompile(`\{([a-z]+)\}`)

// split takes a text with {name}s apart.
func split(text string) (parts []part) {
	from := 0
	for _, at := range nameForm.FindAllStringSubmatchIndex(text, -1) {
		if from < at[0] {
			parts = append(parts, part{literal: text[from:at[0]]})
		}
		parts = append(parts, part{name: text[at[2]:at[3]]})
		from = at[1]
	}
	if from < len(text) {
		parts = append(parts, part{literal: text[from:]})
	}
	return parts
}

// A gap bounds what may stand for a {name}.
type gap struct {
	limit int  // octets without blanks
	word  bool // no blanks inside
	ok    func(string) bool
}

var anyGap = gap{limit: 512}

// gaps are the names with bounds other than anyGap's.
var gaps = map[string]gap{
	"n":       {limit: 20, ok: isNumber},
	"role":    {limit: 12, word: true, ok: isSomething},
	"host":    {limit: 255, word: true},
	"id":      {limit: 128, word: true},
	"type":    {limit: 64, word: true},
	"program": {limit: 64, word: true},
	"file":    {limit: 4096},
	"cert":    {limit: 4096},
	"key":     {limit: 4096},
	"ca":      {limit: 4096},
	"dn":      {limit: 2048},
}

func isSomething(s string) bool { return s != "" }

func isNumber(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// maxBreaks is how many ends of lines may be inside one match: a long line
// that was pasted from a terminal has one at every 80 columns.
const maxBreaks = 8

// A pattern is one text of an entry, ready to be found.
type pattern struct {
	entry    Entry
	text     string
	literals []string // canonical
	names    []string // what is between the literals; one more if the text ends with a name
	size     int      // octets of the literals
	trigrams map[string]bool
}

// patterns returns the patterns of all entries.
var patterns = sync.OnceValue(func() []*pattern {
	var all []*pattern
	for _, e := range Entries() {
		for _, s := range e.Texts {
			all = append(all, newPattern(e, s))
		}
	}
	return all
})

func newPattern(e Entry, s string) *pattern {
	p := &pattern{entry: e, text: s}
	for _, part := range split(s) {
		if part.name != "" {
			p.names = append(p.names, part.name)
			continue
		}
		literal := canonical(part.literal)
		p.literals = append(p.literals, literal)
		p.size += len(literal)
	}
	p.trigrams = trigrams(strings.Join(p.literals, ""))
	return p
}

// A hit is a place where a pattern is in a text.
type hit struct {
	pattern *pattern
	starts  []int // where each literal begins in the canonical text
}

func (h hit) end() int {
	last := len(h.starts) - 1
	return h.starts[last] + len(h.pattern.literals[last])
}

// literals calls f for the place of each octet of the pattern's literals.
func (h hit) literals(f func(at int)) {
	for i, start := range h.starts {
		for at := range len(h.pattern.literals[i]) {
			f(start + at)
		}
	}
}

// find returns every place where the pattern is in the text.
func (p *pattern) find(t *text) (found []hit) {
	for from := 0; ; {
		i := strings.Index(t.canon[from:], p.literals[0])
		if i < 0 {
			return found
		}
		from += i
		if h, ok := p.at(t, from); ok {
			found = append(found, h)
			from = h.end()
		} else {
			from++
		}
	}
}

// at matches the pattern from where its first literal is.
func (p *pattern) at(t *text, start int) (hit, bool) {
	h := hit{p, []int{start}}
	pos := start + len(p.literals[0])
	for i, literal := range p.literals[1:] {
		at, ok := t.next(literal, pos, p.names[i])
		if !ok {
			return h, false
		}
		h.starts = append(h.starts, at)
		pos = at + len(literal)
	}
	return h, strings.Count(t.original(start, pos), "\n") <= maxBreaks
}

// next finds a literal in the canonical text from pos on, behind what a name
// may stand for.
func (t *text) next(literal string, pos int, name string) (at int, ok bool) {
	g, known := gaps[name]
	if !known {
		g = anyGap
	}
	window := t.canon[pos:min(len(t.canon), pos+g.limit+len(literal))]
	for from := 0; ; from++ {
		i := strings.Index(window[from:], literal)
		if i < 0 {
			return 0, false
		}
		from += i
		value := t.value(pos, pos+from)
		if g.word && strings.ContainsAny(value, " \t") {
			return 0, false
		}
		if g.ok == nil || g.ok(value) {
			return pos + from, true
		}
	}
}

// match returns what a hit means.
func (h hit) match(t *text) Match {
	m := Match{Text: h.pattern.text, Values: map[string]string{}}
	names := h.pattern.names
	for i, start := range h.starts[1:] {
		m.Values[names[i]] = t.value(h.starts[i]+len(h.pattern.literals[i]), start)
	}
	end := t.cleanEnd(h.end())
	if len(names) == len(h.starts) {
		m.Values[names[len(names)-1]], end = t.word(end)
	}
	m.Found = strings.TrimSpace(t.clean[t.at[h.starts[0]]:end])
	values := m.Values
	if file := m.Values["file"]; file != "" {
		values = map[string]string{"dir": path.Dir(file)}
		for name, value := range m.Values {
			values[name] = value
		}
	}
	m.Entry = h.pattern.entry.with(values)
	return m
}
