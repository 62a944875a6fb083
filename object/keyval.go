package object

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"virtls/internal/qjson"
	"virtls/internal/qopts"
)

// typeKey is the key whose value may stand alone at the beginning of a text.
const typeKey = "qom-type"

// A node is what the keys of a text with the same beginning lead to: a value,
// or more nodes.
type node struct {
	leaf  bool
	value string
	keys  []string // in the order of the text
	nodes map[string]*node
}

// maxFragment is the size in octets at which a part of a key is too long.
const maxFragment = 128

// parseKeyval reads key=value,... as QEMU's tools and monitors do
// (util/keyval.c): keys are names joined by dots, a number for a name is an
// index into a list, and ",," is a comma in a value. help reports whether help
// was asked for. The error is a *[qjson.ParameterError].
func parseKeyval(text string) (obj qjson.Object, help bool, err error) {
	root := &node{}
	for first := true; text != ""; first = false {
		end := strings.IndexAny(text, "=,")
		if end < 0 {
			end = len(text)
		}
		alone := end > 0 && (end == len(text) || text[end] == ',')
		switch word := text[:end]; {
		case alone && isHelp(word):
			help = true
			text = strings.TrimPrefix(text[end:], ",")
		case alone && first:
			root.set([]string{typeKey}, word)
			text = strings.TrimPrefix(text[end:], ",")
		default:
			path, err := splitKey(word)
			if err != nil {
				return nil, false, err
			}
			if alone {
				return nil, false, malformed(word, "Expected '=' after parameter '%s'", word)
			}
			var value string
			value, text = qopts.Cut(text[end+1:])
			if at := root.set(path, value); at != nil {
				return nil, false, inconsistent(at)
			}
		}
	}
	v, err := root.resolve(nil)
	if err != nil {
		return nil, false, err
	}
	obj, _ = v.(qjson.Object)
	return obj, help, nil
}

func isHelp(word string) bool { return word == "help" || word == "?" }

func malformed(parameter, format string, args ...any) error {
	return &qjson.ParameterError{Parameter: parameter, Text: fmt.Sprintf(format, args...)}
}

func inconsistent(path []string) error {
	key := strings.Join(path, ".")
	return malformed(key, "Parameters '%s.*' used inconsistently", key)
}

// splitKey returns the parts of a key: names, and after the first also indexes.
func splitKey(key string) ([]string, error) {
	var path []string
	for rest := key; ; rest = rest[1:] {
		n := indexLen(rest)
		if len(path) == 0 || n == 0 || n < len(rest) && rest[n] != '.' {
			n = nameLen(rest)
		}
		if n == 0 || n < len(rest) && rest[n] != '.' {
			return nil, malformed(key, "Invalid parameter '%s'", key)
		}
		if n >= maxFragment {
			what := "Parameter fragment"
			if n == len(key) {
				what = "Parameter"
			}
			return nil, malformed(rest[:n], "%s '%s' is too long", what, rest[:n])
		}
		path = append(path, rest[:n])
		if rest = rest[n:]; rest == "" {
			return path, nil
		}
	}
}

func indexLen(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

// nameLen returns the length of the QAPI name at the start of s, 0 if there is
// none: letters, digits, - and _, a letter first. A vendor's names have "__",
// the vendor's domain and "_" before them.
func nameLen(s string) int {
	start := 0
	if vendor, ok := strings.CutPrefix(s, "__"); ok {
		n := run(vendor, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' || c == '.' })
		if n == len(vendor) || vendor[n] != '_' {
			return 0
		}
		start = 2 + n + 1
	}
	if start == len(s) || !isLetter(s[start]) {
		return 0
	}
	return start + run(s[start:], func(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' || c == '_' })
}

func run(s string, class func(byte) bool) int {
	i := 0
	for i < len(s) && class(s[i]) {
		i++
	}
	return i
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// set puts a value at the end of a path. It returns the part of the path where
// a value and more keys would meet, nil if all is well.
func (n *node) set(path []string, value string) []string {
	for i, name := range path {
		last := i == len(path)-1
		next := n.nodes[name]
		switch {
		case next == nil:
			next = &node{leaf: last}
			if n.nodes == nil {
				n.nodes = map[string]*node{}
			}
			n.nodes[name] = next
			n.keys = append(n.keys, name)
		case next.leaf != last:
			return path[:i+1]
		}
		n = next
	}
	n.value = value
	return nil
}

// resolve returns the value of a node: text, an object, or a list if the keys
// are indexes. path leads to it.
func (n *node) resolve(path []string) (any, error) {
	if n.leaf {
		return n.value, nil
	}
	indexes := 0
	for _, key := range n.keys {
		if isDigit(key[0]) {
			indexes++
		}
	}
	if indexes > 0 && indexes < len(n.keys) {
		return nil, inconsistent(path)
	}
	obj := make(qjson.Object, len(n.keys))
	for i, key := range n.keys {
		v, err := n.nodes[key].resolve(append(path, key))
		if err != nil {
			return nil, err
		}
		obj[i] = qjson.Member{Key: key, Value: v}
	}
	if indexes == 0 {
		return obj, nil
	}
	return listOf(obj, path)
}

// listOf returns the values of an object whose keys are indexes. The last of
// several with the same index counts.
func listOf(obj qjson.Object, path []string) (any, error) {
	list := make([]any, len(obj))
	filled := make([]bool, len(obj))
	length := 0
	for _, m := range obj {
		i, err := strconv.Atoi(m.Key)
		if err != nil || i >= len(obj) {
			length = len(obj) + 1 // some index before it is missing
			continue
		}
		list[i], filled[i] = m.Value, true
		length = max(length, i+1)
	}
	missing := slices.Index(append(filled, false)[:length], false)
	if missing >= 0 {
		key := strings.Join(append(path, strconv.Itoa(missing)), ".")
		return nil, malformed(key, "Parameter '%s' missing", key)
	}
	return list[:length], nil
}
