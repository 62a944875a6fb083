package qjson

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The package object compares these texts with those of the real programs.
func TestReader(t *testing.T) {
	type rule struct {
		Match  string
		Policy int
	}
	type value struct {
		Name   string
		Text   string
		On     bool
		Policy int
		Rules  []rule
	}
	read := func(o Object, style Style) (value, error) {
		r := NewReader(o, style)
		v := value{Name: r.Required("name"), Text: r.Text("text"), On: r.Bool("on", true), Policy: r.Enum("policy", "deny", "allow")}
		r.List("rules", func(r *Reader) {
			v.Rules = append(v.Rules, rule{r.Required("match"), r.RequiredEnum("policy", "deny", "allow")})
			r.Text("format")
		})
		return v, r.Close()
	}
	o := func(members ...any) Object {
		obj := Object{{"name", "n"}}
		for i := 0; i < len(members); i += 2 {
			obj = append(obj, Member{members[i].(string), members[i+1]})
		}
		return obj
	}
	least := value{Name: "n", On: true}
	tests := []struct {
		name  string
		style Style
		obj   Object
		want  value
		err   string
	}{
		{"least", JSON, o(), least, ""},
		{"nothing", JSON, nil, value{}, "Parameter 'name' is missing"},
		{"nothing in options", Options, nil, value{}, "Parameter 'name' is missing"},
		{"text", JSON, o("text", "x"), value{Name: "n", Text: "x", On: true}, ""},
		{"number for text", JSON, o("text", Number("1")), value{}, "Invalid parameter type for 'text', expected: string"},
		{"object for text", Keyval, o("text", Object{}), value{}, "Parameters 'text.*' are unexpected"},
		{"last of several", Options, o("text", "x", "text", "y"), value{Name: "n", Text: "y", On: true}, ""},
		{"false", JSON, o("on", false), value{Name: "n"}, ""},
		{"text for boolean", JSON, o("on", "off"), value{}, "Invalid parameter type for 'on', expected: boolean"},
		{"list for boolean", Keyval, o("on", []any{}), value{}, "Parameters 'on.*' are unexpected"},
		{"on", Keyval, o("on", "on"), least, ""},
		{"yes", Keyval, o("on", "yes"), least, ""},
		{"true", Keyval, o("on", "true"), least, ""},
		{"y", Options, o("on", "y"), least, ""},
		{"off", Options, o("on", "off"), value{Name: "n"}, ""},
		{"no", Keyval, o("on", "no"), value{Name: "n"}, ""},
		{"n", Keyval, o("on", "n"), value{Name: "n"}, ""},
		{"f", Keyval, o("on", "f"), value{}, "Parameter 'on' expects 'on' or 'off'"},
		{"enum", JSON, o("policy", "allow"), value{Name: "n", On: true, Policy: 1}, ""},
		{"other word", JSON, o("policy", "Allow"), value{}, "Parameter 'policy' does not accept value 'Allow'"},
		{"null for enum", JSON, o("policy", nil), value{}, "Invalid parameter type for 'policy', expected: string"},
		{"list", JSON, o("rules", []any{o("match", "a", "policy", "deny")[1:], Object{{"match", "b"}, {"policy", "allow"}, {"format", "x"}}}),
			value{Name: "n", On: true, Rules: []rule{{"a", 0}, {"b", 1}}}, ""},
		{"empty list", Keyval, o("rules", []any{}), least, ""},
		{"object for list", JSON, o("rules", Object{}), value{}, "Invalid parameter type for 'rules', expected: array"},
		{"text in a list", JSON, o("rules", []any{Object{{"match", "a"}, {"policy", "deny"}}, "x"}), value{}, "Invalid parameter type for 'rules[1]', expected: object"},
		{"text in a dotted list", Keyval, o("rules", []any{"x"}), value{}, "Invalid parameter type for 'rules.0', expected: object"},
		{"element without", JSON, o("rules", []any{Object{{"match", "a"}}}), value{}, "Parameter 'rules[0].policy' is missing"},
		{"dotted element without", Keyval, o("rules", []any{Object{{"policy", "deny"}}}), value{}, "Parameter 'rules.0.match' is missing"},
		{"other word in an element", JSON, o("rules", []any{Object{{"match", "a"}, {"policy", "x"}}}), value{}, "Parameter 'policy' does not accept value 'x'"},
		{"more in an element", JSON, o("rules", []any{Object{{"match", "a"}, {"policy", "deny"}, {"p", "x"}}}), value{}, "Parameter 'rules[0].p' is unexpected"},
		{"more", JSON, o("p", "x"), value{}, "Parameter 'p' is unexpected"},
		{"more in a text", Options, o("p", "x"), value{}, "Invalid parameter 'p'"},
		{"list in options", Options, o("rules", "x", "rules", "deny"), value{}, "Parameter 'policy' does not accept value 'x'"},
		{"list of a word in options", Options, o("rules", "deny"), value{}, "Invalid parameter type for 'rules', expected: array"},
		{"the first error counts", JSON, Object{{"text", true}, {"on", "x"}}, value{}, "Parameter 'name' is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(tt.obj, tt.style)
			if tt.err != "" {
				if _, ok := errors.AsType[*ParameterError](err); !ok || err.Error() != tt.err {
					t.Errorf("got error %v; want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnexpected(t *testing.T) {
	r := NewReader(Object{{"a", "1"}, {"b", "2"}, {"c", "3"}}, JSON)
	r.Text("b")
	if diff := cmp.Diff([]string{"a", "c"}, r.Rest()); diff != "" {
		t.Error(diff)
	}
	want := &ParameterError{Parameter: "a", Text: "Parameter 'a' is unexpected", Unexpected: true}
	if diff := cmp.Diff(want, r.Close()); diff != "" {
		t.Error(diff)
	}
	if r.Err() == nil || r.Text("a") != "" {
		t.Error("the error does not stay")
	}
}
