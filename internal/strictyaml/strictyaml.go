// Package strictyaml reads configuration files in YAML strictly: a field that
// nobody knows, a value that is missing and an alias are errors, because each of
// them may mean that less is refused than the author thinks.
package strictyaml

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"virtls/finding"
)

// An Error is what is wrong with a text, and in which of its lines, from 1.
type Error struct {
	Line int
	Text string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// A Document is a text that was read.
type Document struct{ node yaml.Node }

// Decode reads data, which must be one document of at most limit octets, into
// the struct that v points to. The fields are those with a tag yaml. The error is
// an *[Error]; an unknown field is one that names the nearest known.
func Decode(data []byte, limit int, v any) (*Document, error) {
	if len(data) > limit {
		return nil, &Error{1, fmt.Sprintf("the file has more than %d octets", limit)}
	}
	d := &Document{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&d.node); err != nil {
		return nil, explain(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, &Error{1, "there is a second document after ---"}
	}
	if n, text := strange(d.node.Content[0], reflect.TypeOf(v).Elem()); n != nil {
		return nil, &Error{n.Line, text}
	}
	if err := d.node.Decode(v); err != nil {
		return nil, explain(err)
	}
	return d, nil
}

// explain is an error of package yaml's with its place apart.
func explain(err error) *Error {
	e := &Error{1, strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")}
	if _, after, ok := strings.Cut(err.Error(), "line "); ok {
		fmt.Sscanf(after, "%d", &e.Line)
	}
	if rest, ok := strings.CutPrefix(e.Text, "line "); ok {
		if _, rest, ok = strings.Cut(rest, ": "); ok {
			e.Text = strings.ReplaceAll(rest, "\n", ";")
		}
	}
	return e
}

// Line returns the line where an element of a list at the top begins, 1 if it is
// not there.
func (d *Document) Line(list string, i int) int {
	top := d.node.Content[0].Content
	for k := 0; k+1 < len(top); k += 2 {
		if top[k].Value == list && i < len(top[k+1].Content) {
			return top[k+1].Content[i].Line
		}
	}
	return 1
}

// reads tells whether a type reads its values itself.
func reads(t reflect.Type, what reflect.Type) bool { return reflect.PointerTo(t).Implements(what) }

// strange returns the first node that does not fit a type, and what is wrong.
// Aliases are not needed here, and can make a small file huge.
func strange(n *yaml.Node, t reflect.Type) (*yaml.Node, string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return n, "anchors and aliases are not taken here"
	}
	text := reads(t, reflect.TypeFor[encoding.TextUnmarshaler]())
	var when time.Time
	switch {
	case reads(t, reflect.TypeFor[yaml.Unmarshaler]()):
		return nil, ""
	case t.Kind() == reflect.Slice && !text:
		if n.Kind != yaml.SequenceNode {
			return n, "want a list, each element after a dash"
		}
		for _, c := range n.Content {
			if bad, text := strange(c, t.Elem()); bad != nil {
				return bad, text
			}
		}
	case t.Kind() == reflect.Struct && !text:
		return strangeField(n, t)
	case n.Kind != yaml.ScalarNode:
		return n, "want one value"
	case n.Value == "" || n.ShortTag() == "!!null":
		// What is left of a template must not turn off TLS or an access list: nor
		// does null, or ~, which other programs write for what they do not have.
		return n, "there is no value; leave the field out"
	case t == reflect.TypeFor[time.Time]() && n.Decode(&when) == nil && when.IsZero():
		// Go's zero time is such a value, too.
		return n, "there is no such time; leave the field out"
	}
	return nil, ""
}

func strangeField(n *yaml.Node, t reflect.Type) (*yaml.Node, string) {
	if n.Kind != yaml.MappingNode {
		return n, "want fields, each with a colon"
	}
	types := Fields(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		typ, ok := types[key.Value]
		if !ok {
			var names []string
			for name := range types {
				names = append(names, name)
			}
			text := fmt.Sprintf("there is no field %q", key.Value)
			if near := finding.Nearest(key.Value, names); near != "" {
				text += fmt.Sprintf("; did you mean %s?", near)
			}
			return key, text
		}
		if bad, text := strange(n.Content[i+1], typ); bad != nil {
			return bad, text
		}
	}
	return nil, ""
}

// Fields are the types of a struct's fields by their names in the file.
func Fields(t reflect.Type) map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if option != "inline" {
			types[name] = f.Type
			continue
		}
		for name, typ := range Fields(f.Type) {
			types[name] = typ
		}
	}
	return types
}
