package qemuimg

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A dict is a JSON object in the order in which QEMU fills it. QEMU keeps it in
// a hash table (qobject/qdict.c) and prints it in that table's order.
type dict []member

type member struct {
	key   string
	value any // string, bool, int64, int, dict, []any
}

// sorted returns the members in the order of QEMU's hash table: 512 buckets, in
// each of which the last comes first.
func (d dict) sorted() dict {
	s := slices.Clone(d)
	slices.Reverse(s)
	slices.SortStableFunc(s, func(a, b member) int { return int(bucket(a.key)) - int(bucket(b.key)) })
	return s
}

// bucket is QEMU's hash of a key.
func bucket(key string) uint32 {
	value := 0x238F13AF * uint32(len(key))
	for i := range len(key) {
		value += uint32(key[i]) << (i * 5 % 24)
	}
	return (1103515243*value + 12345) % 512
}

// pretty returns JSON as QEMU prints it, without a final newline.
func pretty(v any) string {
	var b strings.Builder
	writeJSON(&b, v, 0)
	return b.String()
}

func writeJSON(b *strings.Builder, v any, depth int) {
	line := func(depth int) { b.WriteString("\n" + strings.Repeat("    ", depth)) }
	switch v := v.(type) {
	case dict:
		b.WriteByte('{')
		for i, m := range v.sorted() {
			if i > 0 {
				b.WriteByte(',')
			}
			line(depth + 1)
			b.WriteString(quoted(m.key) + ": ")
			writeJSON(b, m.value, depth+1)
		}
		line(depth)
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			line(depth + 1)
			writeJSON(b, e, depth+1)
		}
		line(depth)
		b.WriteByte(']')
	case string:
		b.WriteString(quoted(v))
	default:
		fmt.Fprint(b, v)
	}
}

// quoted returns a JSON string in ASCII, as QEMU has it.
func quoted(s string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return `""` // cannot be: strings can be encoded
	}
	var ascii strings.Builder
	for _, c := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case c == 0x7f || c > 0x7f && c < 0x10000:
			fmt.Fprintf(&ascii, "\\u%04X", c)
		case c >= 0x10000:
			fmt.Fprintf(&ascii, "\\u%04X\\u%04X", 0xd800+(c-0x10000)>>10, 0xdc00+(c-0x10000)&0x3ff)
		default:
			ascii.WriteRune(c)
		}
	}
	return ascii.String()
}

// human returns a dict as lines for people.
func human(v any, depth int) string {
	var b strings.Builder
	indent := strings.Repeat("    ", depth)
	line := func(name string, v any) {
		if isComposite(v) {
			fmt.Fprintf(&b, "%s%s:\n%s", indent, name, human(v, depth+1))
		} else {
			fmt.Fprintf(&b, "%s%s: %v\n", indent, name, v)
		}
	}
	switch v := v.(type) {
	case dict:
		for _, m := range v.sorted() {
			line(strings.ReplaceAll(m.key, "-", " "), m.value)
		}
	case []any:
		for i, e := range v {
			line(fmt.Sprintf("[%d]", i), e)
		}
	}
	return b.String()
}

func isComposite(v any) bool {
	switch v.(type) {
	case dict, []any:
		return true
	}
	return false
}
