package certtemplate

import (
	"fmt"
	"strings"
)

// A Template is a template that was read. One that is made of a Name and Entries,
// without being read, compiles like any other.
type Template struct {
	Name     string   // of the file, for findings
	Entries  []Entry  // everything that was read, known or not, in order
	Warnings []string // lines that certtool prints to its standard error as it reads the template

	stop *Entry // the line at which reading ended early, nil if it did not
}

// An Error is why certtool gives up.
type Error struct {
	Text string // what certtool prints to its standard error, without the final newline

	// LeavesFile tells that certtool leaves an empty output file behind, whatever
	// was in it before; otherwise it removes the file.
	LeavesFile bool
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// quit is the error of certtool's template code, which leaves the output file.
func quit(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), LeavesFile: true}
}

// fail is the error of the rest of certtool, which removes the output file.
func fail(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...)}
}

// Parse reads a template as certtool does. name is what the user called the
// file, for messages. An error is an [*Error], and leaves the Template usable
// for nothing but its Warnings and [Template.Lint].
//
// Whatever the file contains is a template for certtool, except a few values
// that it decodes at once: numbers, hexadecimal identifiers and pairs.
func Parse(name string, data []byte) (*Template, error) {
	t := &Template{Name: name}
	var closed bool
	if t.Entries, t.stop, closed = scan(data); !closed {
		return t, quit("configFileLoad: No such file or directory\nError loading template: %s", name)
	}
	t.warn()
	return t, t.decode()
}

// warn collects the warnings about names. They are compared without regard to
// case here, and only here.
func (t *Template) warn() {
	seen := map[string]bool{}
	for _, e := range t.Entries {
		k := lookupKey(strings.ToLower(e.Name))
		switch {
		case k == nil:
			t.Warnings = append(t.Warnings, fmt.Sprintf("Warning: skipping unknown option '%s'", e.Name))
		case k.kind != listOption && seen[k.name]:
			t.Warnings = append(t.Warnings, fmt.Sprintf("Warning: multiple options found for '%s'; only the first will be taken into account.", k.name))
		default:
			seen[k.name] = true
		}
	}
}

// decode tries the values that certtool decodes before it does anything else,
// in its order, for that decides which of two errors is reported.
func (t *Template) decode() error {
	for _, name := range []string{"issuer_unique_id", "subject_unique_id"} {
		if _, _, err := t.hex(name); err != nil {
			return err
		}
	}
	for _, name := range []string{"other_name", "other_name_octet", "other_name_utf8", "dn_oid", "add_extension", "add_critical_extension"} {
		if _, err := t.pairs(name); err != nil {
			return err
		}
	}
	for _, name := range []string{"serial", "crl_number"} {
		if _, _, err := t.integer(name); err != nil {
			return err
		}
	}
	return nil
}

// maxEntries is how many values certtool keeps of an option that may be
// repeated. It drops the rest without a word.
const maxEntries = 128

// lookup returns the first option of exactly that name.
func (t *Template) lookup(name string) (Entry, bool) {
	for _, e := range t.Entries {
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// has is the value of a boolean option: whether it is there. What is written
// behind it does not count.
func (t *Template) has(name string) bool {
	_, ok := t.lookup(name)
	return ok
}

// all returns the values of an option that may be repeated.
func (t *Template) all(name string) []string {
	var values []string
	for _, e := range t.Entries {
		if e.Name == name && len(values) < maxEntries {
			values = append(values, e.Value)
		}
	}
	return values
}

// allOrAlias is all for an option with an old, short name, which counts only
// if the long one is nowhere.
func (t *Template) allOrAlias(name, alias string) []string {
	if t.has(name) {
		return t.all(name)
	}
	return t.all(alias)
}

// A pair is a value of two parts, split at the first blank: "1.2.3.4 text".
type pair struct{ first, second string }

// pairs returns the values of an option that may be repeated and has two
// parts. certtool keeps half as many of those.
func (t *Template) pairs(name string) ([]pair, error) {
	var pairs []pair
	for _, e := range t.Entries {
		if e.Name != name || len(pairs) == maxEntries/2 {
			continue
		}
		i := strings.IndexByte(e.Value, ' ')
		if i < 0 {
			i = strings.IndexByte(e.Value, '\t')
		}
		if i < 0 {
			return nil, quit("Error parsing %s", name)
		}
		second := strings.TrimLeft(e.Value[i+1:], blanks)
		if second == "" {
			return nil, quit("Error (2) parsing %s", name)
		}
		pairs = append(pairs, pair{e.Value[:i], second})
	}
	return pairs, nil
}
