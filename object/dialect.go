package object

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/internal/qjson"
	"virtls/layout"
)

// A Dialect is one of the ways in which QEMU's programs read an object's text.
// Texts that begin with a brace are JSON in both.
type Dialect int

const (
	// Tools is the dialect of qemu-nbd, qemu-img, qemu-io, the storage daemon
	// and the monitors: dotted keys make lists ("rules.0.match=fred"), and every
	// key has a value.
	Tools Dialect = iota

	// System is that of the emulator's command line: no lists except in JSON,
	// and a key alone is switched on, which is deprecated.
	System
)

// maxText is the largest text of key=value that is read, in octets.
const maxText = 64 << 10

var (
	kindMalformed = finding.Define("object-malformed", finding.Error,
		"the text of an object cannot be read",
		"write it as TYPE,id=ID,KEY=VALUE,... with each comma in a value doubled, or as JSON")
	kindType = finding.Define("object-type", finding.Error,
		"there is no such type of objects",
		"--object help lists the types")
	kindID = finding.Define("object-id", finding.Error,
		"an object needs an id: a letter, then letters, digits, '-', '.' and '_'",
		"give it one, such as id=tls0")
	kindProperty = finding.Define("object-property", finding.Error,
		"a property of the object is unknown, missing or has a wrong value",
		"--object TYPE,help lists the properties of a type")
	kindOutdated = finding.Define("object-outdated", finding.Error,
		"the object's text is from an old manual, or from one with a mistake",
		"--object TYPE,help lists the properties of a type")
	kindShort = finding.Define("object-short-boolean", finding.Warning,
		"a property without a value is deprecated",
		"write KEY=on or KEY=off")
)

// A Help is the answer to a text that asks for help: an error, because no
// object was made. Programs print it and end with exit code 0.
type Help struct {
	Text string // with the final newline
}

// Error returns the text.
func (h *Help) Error() string { return h.Text }

// A spec is a text that was understood.
type spec struct {
	id      string
	make    maker
	options bool // it came through the emulator's options
}

// read understands a text. The errors are those of Registry.Add.
func (d Dialect) read(text string) (*spec, []finding.Finding, error) {
	s, shorts, err := d.understand(text)
	if err != nil {
		if _, ok := errors.AsType[*Help](err); ok {
			return nil, nil, err
		}
		return nil, nil, d.failure(text, err)
	}
	var warnings []finding.Finding
	for _, short := range shorts {
		word := conceal(text, short.word)
		f := kindShort.Found(subject(s.id), word).WithText("short-form boolean option '%s' deprecated", word)
		if word == short.word {
			f = f.WithFix("use %s=%s instead", short.key, short.value)
		}
		warnings = append(warnings, f)
	}
	return s, warnings, nil
}

// understand is read with errors that are a *[Help], a *[qjson.Error] or a
// *[qjson.ParameterError].
func (d Dialect) understand(text string) (s *spec, shorts []short, err error) {
	if strings.HasPrefix(text, "{") {
		v, err := qjson.Parse([]byte(text))
		if err != nil {
			return nil, nil, err
		}
		s, err := readSpec(v.(qjson.Object), qjson.JSON)
		return s, nil, err
	}
	if len(text) > maxText {
		return nil, nil, malformed("", "The text has %d octets, more than %d", len(text), maxText)
	}
	if d == System {
		obj, shorts := parseOptions(text)
		if err := optionsHelp(obj); err != nil {
			return nil, nil, err
		}
		s, err := readSpec(obj, qjson.Options)
		return s, shorts, err
	}
	obj, help, err := parseKeyval(text)
	if err != nil {
		return nil, nil, err
	}
	if help {
		typ, _ := obj.Get(typeKey)
		name, _ := typ.(string)
		return nil, nil, &Help{HelpText(name)}
	}
	s, err = readSpec(obj, qjson.Keyval)
	return s, nil, err
}

// optionsHelp returns the help that options ask for, or the error that the
// emulator finds before it looks for that.
func optionsHelp(obj qjson.Object) error {
	typ, id, help := "", "", false
	var named bool
	for _, m := range obj {
		switch value := m.Value.(string); {
		case m.Key == typeKey:
			typ = value
		case m.Key == "id":
			id, named = value, true
		case isHelp(m.Key):
			help = true
		}
	}
	if named && !wellFormed(id) {
		return malformedID()
	}
	if isHelp(typ) || help && kindsByName[typ] != nil {
		return &Help{HelpText(typ)}
	}
	return nil
}

// readSpec reads the members of an object in the order of QEMU's schema
// (qapi/qom.json).
func readSpec(obj qjson.Object, style qjson.Style) (*spec, error) {
	rd := qjson.NewReader(obj, style)
	typ := typeNames[rd.RequiredEnum(typeKey, typeNames...)]
	s := &spec{id: rd.Required("id"), options: style == qjson.Options}
	if err := rd.Err(); err != nil {
		return nil, err
	}
	s.make = kindsByName[typ].read(rd)
	if err := rd.Close(); err != nil {
		return nil, err
	}
	if !wellFormed(s.id) {
		return nil, malformedID()
	}
	return s, nil
}

func malformedID() error { return malformed("id", "Parameter 'id' expects an identifier") }

// wellFormed reports whether an identifier is one (util/id.c).
func wellFormed(id string) bool {
	return id != "" && isLetter(id[0]) && run(id, func(c byte) bool {
		return isLetter(c) || isDigit(c) || strings.IndexByte("-._", c) >= 0
	}) == len(id)
}

// failure returns what is wrong with a text as a finding, with the corrected
// text if there is one.
func (d Dialect) failure(text string, err error) error {
	f := kindMalformed.Found("object", "").WithText("%s", concealQuoted(text, err.Error()))
	if e, ok := errors.AsType[*qjson.ParameterError](err); ok {
		f = d.parameterFailure(text, e)
	}
	if line, outdated := d.correct(text); line != "" {
		if outdated {
			f.Code = kindOutdated.Code
		}
		f = f.WithFix("--object %s", layout.ShellQuote(line))
	}
	return f.Usage()
}

func (d Dialect) parameterFailure(text string, e *qjson.ParameterError) finding.Finding {
	parameter := conceal(text, e.Parameter)
	f := kindProperty.Found("object", "")
	switch e.Parameter {
	case typeKey:
		f = kindType.Found("object", "").WithWant("one of "+strings.Join(Types(), ", "), "")
	case "id":
		f = kindID.Found("object", "")
	case "":
		f = kindMalformed.Found("object", "")
	default:
		f = f.WithWant(e.Want, "")
		if e.Unexpected {
			f = f.WithWant(d.expected(text), "")
		}
	}
	return f.WithText("%s", strings.ReplaceAll(e.Text, "'"+e.Parameter, "'"+parameter))
}

// expected lists the properties of the type in a text.
func (d Dialect) expected(text string) string {
	l, ok := parseLine(text)
	if !ok {
		return ""
	}
	k := kindsByName[l.get(typeKey)]
	if k == nil {
		return ""
	}
	names := []string{"id"}
	for _, p := range k.properties {
		names = append(names, p.name)
	}
	return "one of " + strings.Join(names, ", ")
}

// secretive reports whether a text may have a secret in it.
func secretive(text string) bool {
	return strings.Contains(text, "secret") || strings.Contains(text, "data")
}

// conceal returns a parameter's name for use in messages. If the text has a
// secret in it, a name that no type knows may be the part of the secret that
// follows a comma.
func conceal(text, parameter string) string {
	if !secretive(text) || parameter == typeKey || parameter == "id" {
		return parameter
	}
	if slices.ContainsFunc(kinds, func(k *kind) bool { _, ok := k.property(parameter); return ok }) {
		return parameter
	}
	return "..."
}

var quoted = regexp.MustCompile(`(?s)'.*'|\\u.* is`)

// concealQuoted is conceal for the complaint about a JSON text, which may quote
// any part of it.
func concealQuoted(text, complaint string) string {
	if !secretive(text) || strings.Contains(complaint, "expected") {
		return complaint
	}
	return quoted.ReplaceAllString(complaint, "...")
}
