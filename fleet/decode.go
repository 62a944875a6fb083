package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"

	"virtls/finding"
	"virtls/internal/readfile"
)

var (
	kindFleetSyntax = finding.Define("fleet-file-syntax", finding.Error,
		"the fleet file is not valid YAML", "correct the line; docs/fleet-file.md describes the file")
	kindFleetField = finding.Define("fleet-file-field", finding.Error,
		"the fleet file has a field that does not exist", "correct or remove the field; docs/fleet-file.md lists all fields")
	kindFleetValue = finding.Define("fleet-file-value", finding.Error,
		"the fleet file has a value that cannot be used", "correct the value; docs/fleet-file.md describes each field")
	kindFleetUnreadable = finding.Define("fleet-file-unreadable", finding.Error,
		"the fleet file cannot be read", "name an existing fleet file, or make one with virtls init")
)

// maxFleetFile bounds the file: 10,000 hosts with all fields need about 4 MiB.
const maxFleetFile = 64 << 20

// Load reads and checks a fleet file. Every error is a [finding.Failure] whose
// subject is FILE:LINE.
func Load(name string) (*File, error) {
	data, err := readfile.File(name, maxFleetFile)
	if large, ok := errors.AsType[*readfile.LimitError](err); ok {
		return nil, kindFleetUnreadable.Found(name, large.Error()).Wrong()
	}
	if err != nil {
		return nil, kindFleetUnreadable.Found(name, "").Unable(err)
	}
	return Parse(name, data)
}

// Parse decodes and checks the text of a fleet file.
func Parse(name string, data []byte) (*File, error) {
	doc, err := firstDocument(data)
	if err != nil {
		return nil, syntaxError(name, data, err)
	}
	d := decoder{name: name, lines: map[string]int{}}
	f := &File{}
	d.limit(doc)
	d.expand(doc, 0)
	d.value(doc.Content[0], reflect.ValueOf(f).Elem(), "")
	if d.err != nil {
		return nil, d.err
	}
	f.lines, f.name = d.lines, name
	if err := f.check(); err != nil {
		return nil, err
	}
	f.index()
	return f, nil
}

var (
	errNoDocument = errors.New("the file is empty")
	errDocuments  = errors.New("a second document follows after ---")
)

// firstDocument parses the only document of a file.
func firstDocument(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, errNoDocument
	}
	if err != nil {
		return nil, err
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return nil, errDocuments
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &doc, nil
}

// syntaxError says which line is wrong. Package yaml names the one where the
// construct around it begins, or none; so this is the last line of the shortest
// beginning of the file that has the same error.
func syntaxError(name string, data []byte, err error) error {
	var ends []int
	for i, b := range data {
		if b == '\n' {
			ends = append(ends, i+1)
		}
	}
	line := 1 + sort.Search(len(ends), func(i int) bool {
		_, e := firstDocument(data[:ends[i]])
		return e != nil && e.Error() == err.Error()
	})
	text := yamlPrefix.ReplaceAllString(err.Error(), "")
	f := kindFleetSyntax.Found(fmt.Sprintf("%s:%d", name, line), "").WithText("%s: %s", kindFleetSyntax.Cause, text)
	if tabIndent.Match(bytes.SplitAfterN(data, []byte{'\n'}, line+1)[line-1]) {
		f = f.WithFix("indent the line with blanks: YAML takes no tabs there")
	}
	return f.Wrong()
}

var (
	yamlPrefix = regexp.MustCompile(`^yaml: (line [0-9]+: )?`)
	tabIndent  = regexp.MustCompile(`^ *\t`)
)

// A decoder fills a struct from a YAML tree strictly and remembers the line of
// every field. The first error stops it.
type decoder struct {
	name  string
	lines map[string]int
	nodes int // that may still come of expanding aliases
	err   error
}

// Bounds on what aliases may grow a file to: aliases of aliases grow
// exponentially, and one inside its own anchor grows for ever. A file may grow
// to some times its size, a small one to a thousand hosts.
const (
	maxGrowth   = 10
	smallGrowth = 1 << 14
	maxNodes    = 1 << 20 // beyond those that stand in the file
	maxDepth    = 64      // the fields need 6
)

// limit sets the number of nodes that the file may grow to.
func (d *decoder) limit(doc *yaml.Node) {
	own := countNodes(doc)
	d.nodes = own + min(maxNodes, maxGrowth*own+smallGrowth)
}

// countNodes counts what stands in the file.
func countNodes(n *yaml.Node) int {
	count := 1
	for _, c := range n.Content {
		count += countNodes(c)
	}
	return count
}

// expand puts what an alias stands for in its place.
func (d *decoder) expand(n *yaml.Node, depth int) {
	d.nodes--
	if d.nodes < 0 || depth > maxDepth {
		d.fail(kindFleetSyntax, n.Line, "the fleet file is nested too deeply, or its aliases make it too large")
		return
	}
	for i, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			n.Content[i] = c.Alias
		}
		if d.expand(n.Content[i], depth+1); d.err != nil {
			return
		}
	}
}

// lineError is an error at a place in the file, made by an UnmarshalYAML method.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return e.text }

func fieldError(n *yaml.Node, format string, args ...any) error {
	return &lineError{n.Line, fmt.Sprintf(format, args...)}
}

func (d *decoder) fail(kind *finding.Kind, line int, format string, args ...any) {
	if d.err == nil {
		d.err = kind.Found(fmt.Sprintf("%s:%d", d.name, line), "").WithText(format, args...).Wrong()
	}
}

// unmarshaler is what yaml.v3 asks of types that decode themselves.
type unmarshaler interface{ UnmarshalYAML(*yaml.Node) error }

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if d.err != nil {
		return
	}
	d.lines[path] = n.Line
	if n.Tag == "!!null" {
		return
	}
	if u, ok := v.Addr().Interface().(unmarshaler); ok {
		d.custom(n, u, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.sequence(n, v, path)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	default:
		if n.Kind != yaml.ScalarNode {
			d.fail(kindFleetValue, n.Line, "%s: found %s, want %s", path, kindName(n), typeName(v.Kind()))
			return
		}
		if v.Kind() == reflect.String {
			// Whatever YAML makes of it, a field that is text takes the text: versions look like numbers.
			v.SetString(n.Value)
			return
		}
		// Every number of the file is one of days; package yaml would cut fractions off.
		err := n.Decode(v.Addr().Interface())
		if err != nil || v.Kind() == reflect.Int && (n.Tag != "!!int" || v.Int() < 1) {
			d.fail(kindFleetValue, n.Line, "%s: found %q, want %s", path, n.Value, typeName(v.Kind()))
		}
	}
}

func (d *decoder) custom(n *yaml.Node, u unmarshaler, path string) {
	err := u.UnmarshalYAML(n)
	if err == nil {
		return
	}
	line := n.Line
	if le, ok := errors.AsType[*lineError](err); ok {
		line = le.line
	}
	d.fail(kindFleetValue, line, "%s: %v", path, err)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		where := path
		if where == "" {
			where = "the file"
		}
		example := ""
		if parent, _, _ := strings.Cut(path, "["); parent == "hosts" || parent == "clients" {
			if n.Kind == yaml.ScalarNode && plainItem.MatchString(n.Value) {
				example = fmt.Sprintf(": {name: %s}", n.Value)
			}
		}
		d.fail(kindFleetValue, n.Line, "%s: found %s, want a map of fields%s", where, kindName(n), example)
		return
	}
	fields := fieldsOf(v)
	seen := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		target, ok := fields[key.Value]
		if !ok {
			names := make([]string, 0, len(fields))
			for name := range fields {
				names = append(names, name)
			}
			where := ""
			if path != "" {
				where = " in " + path
			}
			d.fail(kindFleetField, key.Line, "unknown field %q%s%s", key.Value, where, suggest(key.Value, names))
			return
		}
		if first, twice := seen[key.Value]; twice {
			d.fail(kindFleetField, key.Line, "field %q stands here and in line %d", key.Value, first)
			return
		}
		seen[key.Value] = key.Line
		d.value(value, target, join(path, key.Value))
		d.lines[join(path, key.Value)] = key.Line
	}
}

// plainItem is what stands in a list between brackets as it is.
var plainItem = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,80}$`)

func (d *decoder) sequence(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		example := ""
		if n.Kind == yaml.ScalarNode && plainItem.MatchString(n.Value) {
			example = fmt.Sprintf(": [%s]", n.Value)
		}
		d.fail(kindFleetValue, n.Line, "%s: found %s, want a list%s", path, kindName(n), example)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// fieldsOf returns the fields of a struct by their YAML names, inline ones included.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("yaml")
		switch {
		case tag == ",inline":
			for name, f := range fieldsOf(v.Field(i)) {
				fields[name] = f
			}
		case tag != "":
			fields[tag] = v.Field(i)
		}
	}
	return fields
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}

func typeName(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number, 1 or more"
	}
	return "text"
}

// suggest returns "; did you mean X?" for the nearest candidate that is near enough.
func suggest(got string, candidates []string) string {
	best := finding.Nearest(got, candidates)
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
