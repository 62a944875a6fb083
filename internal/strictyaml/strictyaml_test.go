package strictyaml

import (
	"errors"
	"strings"
	"testing"
	"time"
)

type file struct {
	Name  string    `yaml:"name"`
	Names []string  `yaml:"names"`
	When  time.Time `yaml:"when"`
	List  []struct {
		Wait time.Duration `yaml:"wait"`
	} `yaml:"list"`
}

func TestDecode(t *testing.T) {
	var f file
	d, err := Decode([]byte("name: a\nwhen: 2026-01-02T03:04:05Z\nlist:\n- wait: 1s\n- wait: 2s\n"), 100, &f)
	if err == nil {
		_, err = Decode([]byte("name: 'null'\nnames: ['~']\n"), 100, &file{}) // which are texts
	}
	if err != nil || f.Name != "a" || f.When.Year() != 2026 || f.List[1].Wait != 2*time.Second || d.Line("list", 1) != 5 || d.Line("list", 2) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestDecodeRefused(t *testing.T) {
	for text, want := range map[string]string{
		"nam: a":                           `line 1: there is no field "nam"; did you mean name?`,
		"name: a\nwhen: soon":              `line 1: parsing time`,
		"name:":                            "line 1: there is no value; leave the field out",
		"name: null":                       "line 1: there is no value; leave the field out",
		"name: ~":                          "line 1: there is no value; leave the field out",
		"name: !!null a":                   "line 1: there is no value; leave the field out",
		"name: !!null ''":                  "line 1: there is no value; leave the field out",
		"when: null":                       "line 1: there is no value; leave the field out",
		"names: [~]":                       "line 1: there is no value; leave the field out",
		"list: [{wait: Null}]":             "line 1: there is no value; leave the field out",
		"list: [~]":                        "line 1: want fields, each with a colon",
		"list: ~":                          "line 1: want a list, each element after a dash",
		"when: 0001-01-01T00:00:00Z":       "line 1: there is no such time; leave the field out",
		"name: [a]":                        "line 1: want one value",
		"when: {a: b}":                     "line 1: want one value",
		"list: a":                          "line 1: want a list, each element after a dash",
		"name: &x a":                       "line 1: anchors and aliases are not taken here",
		"- a":                              "line 1: want fields, each with a colon",
		"name: a\n---\nname: b":            "line 1: there is a second document after ---",
		"":                                 "line 1: EOF",
		"name: " + strings.Repeat("a", 25): "line 1: the file has more than 30 octets",
	} {
		_, err := Decode([]byte(text), 30, &file{})
		var e *Error
		if !errors.As(err, &e) || len(e.Error()) < len(want) || e.Error()[:len(want)] != want {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}
