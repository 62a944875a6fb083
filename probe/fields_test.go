package probe

import (
	"encoding"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fields lists the members of a type's JSON, by their paths: "chain[].subject".
func fields(t reflect.Type, prefix string) (list []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		path, of := prefix+name, f.Type
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			if of.Kind() == reflect.Slice {
				path += "[]"
			}
			of = of.Elem()
		}
		list = append(list, path)
		if of.Kind() == reflect.Struct && !of.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
			list = append(list, fields(of, path+".")...)
		}
	}
	return list
}

// The guide lists every field of a probe's JSON, and no other.
func TestGuideListsFields(t *testing.T) {
	page, err := os.ReadFile("../docs/guide/probe.md")
	must(t, err)
	_, section, ok := strings.Cut(string(page), "\n## Fields\n")
	if !ok {
		t.Fatal("the guide has no section Fields")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^|]*)` \\|").FindAllStringSubmatch(section, -1) {
		got = append(got, strings.Split(row[1], "`, `")...)
	}
	want := fields(reflect.TypeFor[Result](), "")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
