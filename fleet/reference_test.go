package fleet

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"virtls/layout"
)

var updateReference = flag.Bool("update-reference", false, "rewrite docs/fleet-file.md and docs/fleet.schema.json")

const (
	referenceFile = "../docs/fleet-file.md"
	schemaFile    = "../docs/fleet.schema.json"
)

// TestReference keeps the fleet file's reference and schema what the code says:
// both are generated from the doc tags of the structs.
func TestReference(t *testing.T) {
	schema, err := json.MarshalIndent(fileSchema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{referenceFile: reference(), schemaFile: append(schema, '\n')} {
		if *updateReference {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the code says; run: go test ./fleet -run TestReference -update-reference", name)
		}
	}
}

// A section of the reference is one struct.
var sections = []struct {
	title, path string
	typ         reflect.Type
}{
	{"The file", "", reflect.TypeFor[File]()},
	{"authority", "authority", reflect.TypeFor[Authority]()},
	{"defaults", "defaults", reflect.TypeFor[Defaults]()},
	{"hosts", "hosts[]", reflect.TypeFor[Host]()},
	{"clients", "clients[]", reflect.TypeFor[Client]()},
	{"psk", "psk[]", reflect.TypeFor[PSKUser]()},
}

func reference() []byte {
	var b bytes.Buffer
	b.WriteString("# The fleet file\n\n" +
		"A fleet file says what should be: the organization, its authority, the hosts, who connects to them. `virtls apply` makes it so.\n" +
		"It is YAML. A field that is not listed here is an error, and the message names the line and the nearest right name.\n" +
		"Editors that know JSON schemas find one in `docs/fleet.schema.json`. A complete example is `examples/fleet.yaml`.\n")
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| field | type | default | meaning |\n|---|---|---|---|\n", s.title)
		for _, f := range documented(s.typ) {
			standard := f.Tag.Get("default")
			if f.Tag.Get("required") == "true" {
				standard = "required"
			}
			if standard != "" && standard != "required" {
				standard = "`" + standard + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Tag.Get("yaml"), typeText(f), standard, describe(f))
		}
	}
	return b.Bytes()
}

// documented lists the fields of a struct, inline ones in their place.
func documented(t reflect.Type) []reflect.StructField {
	var list []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		switch tag := f.Tag.Get("yaml"); {
		case tag == ",inline":
			list = append(list, documented(f.Type)...)
		case tag != "":
			list = append(list, f)
		}
	}
	return list
}

func describe(f reflect.StructField) string {
	text := f.Tag.Get("doc")
	if e := f.Tag.Get("enum-text"); e != "" {
		text += " One of: " + e + "."
	}
	if f.Tag.Get("enum") == "platforms" {
		text += " One of: " + strings.Join(layout.PlatformNames(), ", ") + "."
	}
	return text
}

func typeText(f reflect.StructField) string {
	switch t := f.Type; {
	case t == reflect.TypeFor[Uses]():
		return "list or map"
	case t == reflect.TypeFor[ClientUse]():
		return "list"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list of maps"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Struct:
		return "map"
	case t.Kind() == reflect.Int:
		return "number"
	case t.Kind() == reflect.Bool, t.Kind() == reflect.Pointer:
		return "true or false"
	}
	return "text"
}

type object = map[string]any

func fileSchema() object {
	schema := structSchema(reflect.TypeFor[File]())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "virtls fleet file"
	return schema
}

func structSchema(t reflect.Type) object {
	properties := object{}
	required := []string{}
	for _, f := range documented(t) {
		name := f.Tag.Get("yaml")
		property := fieldSchema(f)
		property["description"] = describe(f)
		properties[name] = property
		if f.Tag.Get("required") == "true" {
			required = append(required, name)
		}
	}
	schema := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

func fieldSchema(f reflect.StructField) object {
	text := object{"type": "string"}
	switch t := f.Type; {
	case t == reflect.TypeFor[PQC]():
		return object{"enum": []any{"off", "hybrid", "exclusive", false}}
	case t == reflect.TypeFor[Uses]():
		return usesSchema()
	case t == reflect.TypeFor[ClientUse]():
		service := object{"enum": []string{"libvirt", "qemu"}}
		return object{"anyOf": []any{service, object{"type": "array", "items": service}}}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return object{"type": []string{"array", "null"}, "items": structSchema(t.Elem())}
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": text}
	case t.Kind() == reflect.Struct:
		return structSchema(t)
	case t.Kind() == reflect.Int:
		return object{"type": "integer", "minimum": 1}
	case t.Kind() == reflect.Bool, t.Kind() == reflect.Pointer:
		return object{"type": "boolean"}
	}
	if f.Tag.Get("enum") == "platforms" {
		return object{"enum": layout.PlatformNames()}
	}
	// Versions look like numbers to YAML.
	return object{"type": []string{"string", "number"}}
}

func usesSchema() object {
	roles := object{"oneOf": []any{
		object{"enum": []string{"server", "client", "both"}},
		object{"type": "array", "items": object{"enum": []string{"server", "client"}}},
	}}
	full := object{"type": "object", "additionalProperties": false, "properties": object{"roles": roles, "dir": object{"type": "string", "pattern": "^/"}}}
	services := object{}
	names := []string{}
	for _, s := range layout.Services() {
		services[string(s)] = object{"anyOf": []any{roles, full, object{"type": "null"}}}
		names = append(names, string(s))
	}
	return object{"anyOf": []any{
		object{"enum": names},
		object{"type": "array", "items": object{"enum": names}},
		object{"type": "object", "additionalProperties": false, "properties": services},
	}}
}

// The schema takes what the decoder takes, and refuses what it refuses for its form.
func TestSchema(t *testing.T) {
	text, err := json.Marshal(fileSchema())
	must(t, err)
	var schema object
	must(t, json.Unmarshal(text, &schema))
	for _, tt := range []struct {
		good bool
		text string
	}{
		{true, "organization: A"},
		{true, "organization: A\npqc: \"off\""},
		{true, "organization: A\nhosts:\nclients:"},
		{true, "organization: A\nauthority: {name: B, key: rsa, days: 10, crl-days: 3, country: GB, trust: [a.pem]}"},
		{true, "organization: A\nhosts: [{name: h, uses: qemu}]"},
		{true, "organization: A\nhosts: [{name: h, uses: [qemu, libvirt-vnc]}]"},
		{true, "organization: A\nhosts: [{name: h, uses: {qemu: [server, client], libvirt: both, libvirt-vnc: }}]"},
		{true, "organization: A\nhosts: [{name: h, uses: {qemu: {roles: server, dir: /srv/tls/x}}}]"},
		{true, "organization: A\nhosts: [{name: h, libvirt: 9.0, qemu: 7.2, platform: debian-12, ml-dsa: false, allow: []}]"},
		{true, "organization: A\nclients: [{name: c, uses: libvirt, system: true, ml-dsa: true}]"},
		{true, "organization: A\nhosts: [{name: h}]\npsk: [{user: u, servers: [h], holders: [h]}]"},
		{false, "hosts: []"},
		{false, "- organization"},
		{false, "organization: A\nhost: []"},
		{false, "organization: [A]"},
		{false, "organization: A\nhosts: {}"},
		{false, "organization: A\nhosts: [h]"},
		{false, "organization: A\nhosts: [{nam: h}]"},
		{false, "organization: A\nhosts: [{addresses: []}]"},
		{false, "organization: A\nhosts: [{name: h, days: 0}]"},
		{false, "organization: A\nhosts: [{name: h, days: 1.5}]"},
		{false, "organization: A\nhosts: [{name: h, ml-dsa: maybe}]"},
		{false, "organization: A\nhosts: [{name: h, platform: beos}]"},
		{false, "organization: A\nhosts: [{name: h, uses: [qemuu]}]"},
		{false, "organization: A\nhosts: [{name: h, uses: {qemu: boss}}]"},
		{false, "organization: A\nhosts: [{name: h, uses: {qemu: [both]}}]"},
		{false, "organization: A\nhosts: [{name: h, uses: {qemu: {roles: server, mode: 1}}}]"},
		{false, "organization: A\nhosts: [{name: h, uses: {qemu: {dir: srv}}}]"},
		{false, "organization: A\nclients: [{name: c, uses: [libvirt-vnc]}]"},
		{false, "organization: A\npqc: maybe"},
		{false, "organization: A\npsk: [{user: u}]"},
	} {
		var value any
		must(t, yaml.Unmarshal([]byte(tt.text), &value))
		_, err := Parse("fleet.yaml", []byte(tt.text))
		if accepted := schemaAccepts(schema, value); accepted != tt.good || (err == nil) != tt.good {
			t.Errorf("%q: the schema says %v, the decoder %v; want %v", tt.text, accepted, err, tt.good)
		}
	}
}

// schemaAccepts evaluates the keywords of JSON Schema (draft 2020-12) that fileSchema uses.
func schemaAccepts(schema object, value any) bool {
	for keyword, s := range schema {
		ok := true
		switch keyword {
		case "$schema", "title", "description":
		case "type":
			types, several := s.([]any)
			if !several {
				types = []any{s}
			}
			ok = slices.ContainsFunc(types, func(name any) bool { return hasType(value, name.(string)) })
		case "enum":
			ok = slices.Contains(s.([]any), value)
		case "anyOf", "oneOf":
			n := 0
			for _, alternative := range s.([]any) {
				if schemaAccepts(alternative.(object), value) {
					n++
				}
			}
			ok = n == 1 || n > 1 && keyword == "anyOf"
		case "minimum":
			n, isNumber := value.(int)
			ok = !isNumber || float64(n) >= s.(float64)
		case "pattern":
			text, isText := value.(string)
			ok = !isText || regexp.MustCompile(s.(string)).MatchString(text)
		case "items":
			list, _ := value.([]any)
			ok = !slices.ContainsFunc(list, func(item any) bool { return !schemaAccepts(s.(object), item) })
		case "required":
			fields, isMap := value.(object)
			ok = !isMap || !slices.ContainsFunc(s.([]any), func(name any) bool { return fields[name.(string)] == nil })
		case "properties":
			fields, _ := value.(object)
			for name, field := range fields {
				property, known := s.(object)[name]
				ok = ok && known && schemaAccepts(property.(object), field)
			}
		case "additionalProperties": // always false: see properties
		default:
			panic("schema keyword " + keyword)
		}
		if !ok {
			return false
		}
	}
	return true
}

func hasType(value any, name string) bool {
	switch value.(type) {
	case nil:
		return name == "null"
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case int:
		return name == "integer" || name == "number"
	case float64:
		return name == "number"
	case []any:
		return name == "array"
	case object:
		return name == "object"
	}
	return false
}
