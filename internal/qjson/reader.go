package qjson

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Style says where an [Object] comes from, which decides what a Reader takes
// for a value and which words it finds for what is wrong. QEMU has an input
// visitor for each.
type Style int

// The styles.
const (
	JSON    Style = iota // a JSON text: booleans are true and false
	Keyval               // key=value of QEMU's tools and monitors, with dotted keys: every scalar is a string
	Options              // key=value of the emulator's options: flat, every value is a string, the last of a key counts
)

// A ParameterError says in QEMU's words what is wrong with a member.
type ParameterError struct {
	Parameter  string // its key, with the path that leads to it: "rules[0].policy"
	Text       string
	Want       string // the words that would do, where there are such
	Unexpected bool   // nobody knows the member
}

// Error returns the text.
func (e *ParameterError) Error() string { return e.Text }

// A Reader takes the members of an object one after the other. Its first error
// stays, and every later read finds nothing. Members must be read in the order
// of QEMU's schema (qapi/*.json) for the errors to be QEMU's.
type Reader struct {
	style  Style
	path   string // of the object, with the separator that follows it
	obj    Object
	scalar *string // in the place of obj, see List
	read   []string
	err    *error // shared by a reader and those of its lists' elements
}

// NewReader returns a reader for o.
func NewReader(o Object, style Style) *Reader {
	return &Reader{style: style, obj: o, err: new(error)}
}

// Err returns the first error, a *[ParameterError].
func (r *Reader) Err() error { return *r.err }

func (r *Reader) fail(name, format string, args ...any) {
	if *r.err == nil {
		*r.err = &ParameterError{Parameter: r.path + name, Text: fmt.Sprintf(format, args...)}
	}
}

func (r *Reader) failWords(name string, words []string, format string, args ...any) {
	if *r.err == nil {
		*r.err = &ParameterError{Parameter: r.path + name, Text: fmt.Sprintf(format, args...), Want: strings.Join(words, ", ")}
	}
}

func (r *Reader) wrongType(name, want string) {
	r.fail(name, "Invalid parameter type for '%s', expected: %s", r.path+name, want)
}

// get returns the last value of a member.
func (r *Reader) get(name string) (any, bool) {
	if *r.err != nil {
		return nil, false
	}
	r.read = append(r.read, name)
	for _, m := range slices.Backward(r.obj) {
		if m.Key == name {
			return m.Value, true
		}
	}
	return nil, false
}

// Optional returns the text of a member, and whether it is there.
func (r *Reader) Optional(name string) (string, bool) {
	v, ok := r.get(name)
	if !ok {
		return "", false
	}
	s, ok := v.(string)
	if !ok {
		r.notText(name)
	}
	return s, ok
}

func (r *Reader) notText(name string) {
	if r.style == Keyval {
		r.fail(name, "Parameters '%s.*' are unexpected", r.path+name)
		return
	}
	r.wrongType(name, "string")
}

// Text returns the text of an optional member, "" if it is not there.
func (r *Reader) Text(name string) string {
	s, _ := r.Optional(name)
	return s
}

// Required returns the text of a member that must be there.
func (r *Reader) Required(name string) string {
	if r.scalar != nil && *r.err == nil {
		return *r.scalar
	}
	s, ok := r.Optional(name)
	if !ok {
		r.fail(name, "Parameter '%s' is missing", r.path+name)
	}
	return s
}

// Bool returns an optional boolean, def if it is not there.
func (r *Reader) Bool(name string, def bool) bool {
	v, ok := r.get(name)
	if !ok {
		return def
	}
	if r.style == JSON {
		b, ok := v.(bool)
		if !ok {
			r.wrongType(name, "boolean")
		}
		return b
	}
	s, ok := v.(string)
	if !ok {
		r.notText(name)
		return def
	}
	switch s {
	case "on", "yes", "true", "y":
		return true
	case "off", "no", "false", "n":
		return false
	}
	r.failWords(name, []string{"on", "off"}, "Parameter '%s' expects 'on' or 'off'", name)
	return def
}

// Enum returns the index in values of an optional member, 0 if it is not there.
func (r *Reader) Enum(name string, values ...string) int {
	s, ok := r.Optional(name)
	if !ok {
		return 0
	}
	return r.index(name, s, values)
}

// RequiredEnum is Enum for a member that must be there.
func (r *Reader) RequiredEnum(name string, values ...string) int {
	s := r.Required(name)
	if *r.err != nil {
		return 0
	}
	return r.index(name, s, values)
}

func (r *Reader) index(name, value string, values []string) int {
	i := slices.Index(values, value)
	if i < 0 {
		r.failWords(name, values, "Parameter '%s' does not accept value '%s'", name, value)
		return 0
	}
	return i
}

// List calls each with a reader for every element of an optional list of
// objects.
//
// The emulator's options have no syntax for that. It takes each occurrence of
// the key for an element and its text for the text of all members that must be
// there, which goes wrong sooner or later; the error says that a list is wanted
// where the emulator crashes (up to 11.1 at least).
func (r *Reader) List(name string, each func(*Reader)) {
	v, ok := r.get(name)
	if !ok {
		return
	}
	if s, ok := v.(string); ok && r.style == Options {
		if i := slices.IndexFunc(r.obj, func(m Member) bool { return m.Key == name }); i >= 0 {
			s, _ = r.obj[i].Value.(string)
		}
		each(&Reader{style: r.style, scalar: &s, err: r.err})
		r.wrongType(name, "array")
		return
	}
	list, ok := v.([]any)
	if !ok {
		r.wrongType(name, "array")
		return
	}
	for i, v := range list {
		at := r.path + name + "[" + strconv.Itoa(i) + "]"
		if r.style == Keyval {
			at = r.path + name + "." + strconv.Itoa(i)
		}
		o, ok := v.(Object)
		if !ok {
			r.fail(name, "Invalid parameter type for '%s', expected: object", at)
			return
		}
		element := &Reader{style: r.style, path: at + ".", obj: o, err: r.err}
		each(element)
		if element.Close() != nil {
			return
		}
	}
}

// Rest returns the keys of the members that nobody has read, in their order.
func (r *Reader) Rest() []string {
	var rest []string
	for _, m := range r.obj {
		if !slices.Contains(r.read, m.Key) {
			rest = append(rest, m.Key)
		}
	}
	return rest
}

// Close returns the first error. Without one, members that nobody has read are
// an error.
func (r *Reader) Close() error {
	if *r.err != nil {
		return *r.err
	}
	rest := r.Rest()
	if len(rest) == 0 {
		return nil
	}
	e := &ParameterError{Parameter: r.path + rest[0], Unexpected: true}
	e.Text = fmt.Sprintf("Parameter '%s' is unexpected", e.Parameter)
	if r.style == Options {
		e.Text = fmt.Sprintf("Invalid parameter '%s'", e.Parameter)
	}
	*r.err = e
	return e
}
