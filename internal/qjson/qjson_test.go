package qjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
)

func TestValues(t *testing.T) {
	tests := []struct {
		name, text string
		want       any
	}{
		{"null", " null\r\n\t", nil},
		{"true", "true", true},
		{"false", "false", false},
		{"zero", "-0", Number("-0")},
		{"big integer", "18446744073709551616", Number("18446744073709551616")},
		{"fraction", "-1.50E+05", Number("-1.50E+05")},
		{"list", `[1, [], "a"]`, []any{Number("1"), []any{}, "a"}},
		{"order of members", `{"b": 1, "a": {}}`, Object{{"b", Number("1")}, {"a", Object{}}}},
		{"single quotes", `{'qom-type': 'a"b\'c'}`, Object{{"qom-type", `a"b'c`}}},
		{"escapes", `"\"\'\\\/\b\f\n\r\t"`, "\"'\\/\b\f\n\r\t"},
		{"Unicode escapes", `"\u00e9\uD83D\uDE00\u20ac"`, "é😀€"},
		{"Unicode", `"é😀"`, "é😀"},
		{"NUL", `"a\u0000b"`, "a\xc0\x80b"},
		{"raw NUL", "\"a\xc0\x80b\"", "a\xc0\x80b"},
		{"DEL", "\"\x7f\"", "\x7f"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestText(t *testing.T) {
	const text = `{"a": [1.50, true, null, "\u0001\"\\/'é"], "b": {}, "c": []}`
	v, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := Text(v); got != text {
		t.Errorf("got  %s\nwant %s", got, text)
	}
}

func TestGet(t *testing.T) {
	o := Object{{"a", nil}, {"b", true}}
	if v, ok := o.Get("b"); v != true || !ok {
		t.Errorf("Get(b) = %v, %v", v, ok)
	}
	if v, ok := o.Get("c"); v != nil || ok {
		t.Errorf("Get(c) = %v, %v", v, ok)
	}
}

// failures are texts with the errors of QEMU 11.1 and, where they differ by
// more than the position, of 7.2 and 10.0. They begin with a brace, as --object
// wants it.
var failures = []struct {
	name, text string
	want, old  string
}{
	{"only a brace", `{`, "1:2: JSON parse error, premature end of input", "JSON parse error, premature EOI"},
	{"ends after a line", "{\n", "2:1: JSON parse error, premature end of input", "JSON parse error, premature EOI"},
	{"list not closed", `{"a":[[]`, "1:9: JSON parse error, premature end of input", "JSON parse error, premature EOI"},
	{"ends after a number", `{"a":1`, "1:7: JSON parse error, premature end of input", "JSON parse error, premature EOI"},
	{"no colon", `{"a"}`, "1:5: JSON parse error, expecting ':'", "JSON parse error, missing : in object pair"},
	{"value for colon", `{"a" 1}`, "1:6: JSON parse error, expecting ':'", "JSON parse error, missing : in object pair"},
	{"no value", `{"a":}`, "1:6: JSON parse error, expecting value", ""},
	{"no value after two octets", `{"é":}`, "1:7: JSON parse error, expecting value", ""},
	{"second line", "{\r\n\t\"a\":}", "2:6: JSON parse error, expecting value", ""},
	{"comma before the end", `{"a":1,}`, "1:8: JSON parse error, expecting key", "JSON parse error, expecting value"},
	{"comma in a list", `{"a":[1,]}`, "1:9: JSON parse error, expecting value", ""},
	{"number for key", `{1:2}`, "1:2: JSON parse error, expecting key", "JSON parse error, key is not a string in object"},
	{"bare key", `{a:1}`, "1:2: JSON parse error, expecting key", "JSON parse error, invalid keyword 'a'"},
	{"wrong bracket for key", `{]`, "1:2: JSON parse error, expecting key", "JSON parse error, expecting value"},
	{"no comma", `{"a":1 "b":2}`, "1:8: JSON parse error, expected ',' or '}'", "JSON parse error, expected separator in dict"},
	{"no comma in a list", `{"a":[1 2]}`, "1:9: JSON parse error, expected ',' or ']'", "JSON parse error, expected separator in list"},
	{"hexadecimal", `{"a":0x10}`, "1:7: JSON parse error, expected ',' or '}'", "JSON parse error, expected separator in dict"},
	{"duplicate key", `{"a":1,"a":2}`, "1:12: JSON parse error, duplicate key", ""},
	{"duplicate key with a list", `{"a":1,"a":[]}`, "1:13: JSON parse error, duplicate key", ""},
	{"keyword", `{"a":tru}`, "1:6: JSON parse error, invalid keyword 'tru'", ""},
	{"Python", `{"a":True}`, "1:6: JSON parse error, stray 'T'", ""},
	{"comment", `{"a":/**/1}`, "1:6: JSON parse error, stray '/'", ""},
	{"format", `{"a":%d}`, "1:6: JSON parse error, stray '%'", ""},
	{"leading zero", `{"a":-01}`, "1:6: JSON parse error, stray '-01'", ""},
	{"no fraction", `{"a":1.}`, "1:6: JSON parse error, stray '1.}'", ""},
	{"no fraction at the end", `{"a":1.`, "1:6: JSON parse error, stray '1.'", ""},
	{"second fraction", `{"a":1.5.5}`, "1:9: JSON parse error, stray '.'", ""},
	{"no exponent", `{"a":1e+}`, "1:6: JSON parse error, stray '1e+}'", ""},
	{"minus", `{"a":-a}`, "1:6: JSON parse error, stray '-a'", ""},
	{"plus", `{"a":+1}`, "1:6: JSON parse error, stray '+'", ""},
	{"quote not closed", `{"a":"x`, "1:6: JSON parse error, stray '\"x'", ""},
	{"ends in an escape", `{"a":"b\`, "1:6: JSON parse error, stray '\"b\\'", ""},
	{"control character", "{\"a\":\"\x01\"}", "1:6: JSON parse error, stray '\"\x01'", ""},
	{"FE", "{\"a\":\"b\xfe\"}", "1:6: JSON parse error, stray '\"b\xfe'", ""},
	{"escaped control character", "{\"a\":\"\\\x01\"}", "1:6: JSON parse error, stray '\"\\\x01'", ""},
	{"unknown escape", `{"a":"b\q"}`, "1:6: JSON parse error, invalid escape sequence in string", ""},
	{"unknown escape in a key", `{"\q" 1}`, "1:2: JSON parse error, invalid escape sequence in string", ""},
	{"no hexadecimal digits", `{"a":"b\u00g1"}`, `1:6: JSON parse error, \u00g1 is not a valid Unicode character`, ""},
	{"too few digits", `{"a":"b\u12"}`, `1:6: JSON parse error, \u12" is not a valid Unicode character`, ""},
	{"first surrogate alone", `{"a":"\ud800\u0041"}`, `1:6: JSON parse error, \ud800 is not a valid Unicode character`, ""},
	{"half a second surrogate", `{"a":"\ud83d\ude"}`, `1:6: JSON parse error, \ud83d is not a valid Unicode character`, ""},
	{"second surrogate alone", `{"a":"\udc00"}`, `1:6: JSON parse error, \udc00 is not a valid Unicode character`, ""},
	{"escaped noncharacter", `{"a":"\uffff"}`, `1:6: JSON parse error, \uffff is not a valid Unicode character`, ""},
	{"escaped noncharacter of a pair", `{"a":"\ud83f\udffe"}`, `1:6: JSON parse error, \ud83f\udffe is not a valid Unicode character`, ""},
	{"noncharacter", "{\"a\":\"\ufdd0\"}", "1:6: JSON parse error, invalid UTF-8 sequence in string", ""},
	{"cut UTF-8", "{\"a\":\"\xc3\"}", "1:6: JSON parse error, invalid UTF-8 sequence in string", ""},
	{"long UTF-8", "{\"a\":\"\xc1\x81\"}", "1:6: JSON parse error, invalid UTF-8 sequence in string", ""},
	{"UTF-8 of a surrogate", "{\"a\":\"\xed\xa0\x80\"}", "1:6: JSON parse error, invalid UTF-8 sequence in string", ""},
	{"two values", `{"a":1} {"b":2}`, "1:9: Expecting at most one JSON value", ""},
	{"something behind", "{}\n;", "2:1: Expecting at most one JSON value", ""},
	{"too deep", `{"a":` + strings.Repeat("[", 1100), "1:1029: JSON nesting depth limit exceeded", ""},
}

// miscounted are the positions that QEMU 11.1 gives instead: it counts the
// character twice that ends a number.
var miscounted = map[string]string{
	"ends after a number": "1:8:",
	"hexadecimal":         "1:8:",
	"second fraction":     "1:10:",
}

func TestFailures(t *testing.T) {
	for _, tt := range failures {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse([]byte(tt.text))
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("got %v, error %v; want an Error", v, err)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestFailuresOfQEMU proves that the texts are QEMU's. One shell asks about all:
// a root for each text would take much longer than the answers.
func TestFailuresOfQEMU(t *testing.T) {
	args := []string{"-c", `for text; do qemu-img info --object "$text" /dev/null; printf '\036' >&2; done`, "sh"}
	for _, tt := range failures {
		args = append(args, tt.text)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		positions := g.Version(t, peertest.QEMU).AtLeast("11.1")
		all := g.Run(t, peertest.Options{}, "sh", args...)
		said := strings.Split(all.Stderr, "\x1e")
		if len(said) != len(failures)+1 {
			t.Fatalf("%d answers to %d texts: %v", len(said)-1, len(failures), all)
		}
		for i, tt := range failures {
			t.Run(tt.name, func(t *testing.T) {
				position, want, _ := strings.Cut(tt.want, " ")
				if odd := miscounted[tt.name]; odd != "" {
					position = odd
				}
				if positions && strings.HasPrefix(want, "JSON parse error") {
					want = position + " " + want
				} else if !positions && tt.old != "" {
					want = tt.old
				}
				if want = "qemu-img: " + want + "\n"; said[i] != want {
					t.Errorf("got  %q\nwant %q", said[i], want)
				}
			})
		}
	})
}

func TestNothing(t *testing.T) {
	for _, text := range []string{"", " \n"} {
		_, err := Parse([]byte(text))
		if err == nil || !strings.HasSuffix(err.Error(), ": Expecting a JSON value") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"deepest", strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), ""},
		{"many levels one after the other", "[" + strings.Repeat("[],", 2*maxDepth) + "0]", ""},
		{"too many tokens", "[" + strings.Repeat("0,", maxTokens/2) + "0]", "JSON token count limit exceeded"},
		{"largest", `"` + strings.Repeat("a", MaxSize-2) + `"`, ""},
		{"too large", `"` + strings.Repeat("a", MaxSize-1) + `"`, "JSON token size limit exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			switch {
			case err == nil && tt.want != "", err != nil && (tt.want == "" || !strings.HasSuffix(err.Error(), tt.want)):
				t.Errorf("error %v; want %q", err, tt.want)
			}
		})
	}
}

// FuzzParse compares with encoding/json, wherever both dialects mean the same.
func FuzzParse(f *testing.F) {
	for _, tt := range failures {
		f.Add([]byte(tt.text))
	}
	f.Add([]byte(`{"policy":"deny","rules":[{"match":"O=*","policy":"allow","format":"glob"}]}`))
	f.Add([]byte(`{'a':[true,false,null,-1.5e3,"\ud83d\ude00\u0000"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse(data)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || got != nil {
				t.Fatalf("%v, %v", got, err)
			}
			if e.Line < 1 || e.Column < 1 || e.Line > 1+bytes.Count(data, []byte("\n")) || e.Column > len(data)+1 {
				t.Errorf("%v is not in the text", err)
			}
			if json.Valid(data) && utf8.Valid(data) && strings.Contains(e.Text, "stray") {
				t.Errorf("%v, but encoding/json takes it", err)
			}
			return
		}
		again, err := Parse([]byte(Text(got)))
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			t.Errorf("written as %s: %v %s", Text(got), err, diff)
		}
		if bytes.ContainsAny(data, `'`) || bytes.Contains(data, []byte("\xc0\x80")) {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		if diff := cmp.Diff(want, plain(got)); diff != "" {
			t.Error(diff)
		}
	})
}

// plain returns v as encoding/json has it.
func plain(v any) any {
	switch v := v.(type) {
	case Object:
		m := map[string]any{}
		for _, member := range v {
			m[plain(member.Key).(string)] = plain(member.Value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case string:
		return strings.ReplaceAll(v, "\xc0\x80", "\x00")
	case Number:
		return json.Number(v)
	}
	return v
}
