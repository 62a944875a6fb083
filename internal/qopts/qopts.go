// Package qopts takes apart the text of options as QEMU writes it:
// key=value,key=value, with the commas of a value doubled (util/keyval.c and
// util/qemu-option.c).
package qopts

import "strings"

// Cut returns the value at the start of text, in which ",," stands for a comma,
// and what follows the single comma that ends it.
func Cut(text string) (value, rest string) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, ",")
		b.WriteString(before)
		if !found || !strings.HasPrefix(after, ",") {
			return b.String(), after
		}
		b.WriteByte(',')
		text = after[1:]
	}
}

// Split returns the parts of text between single commas, at least one.
func Split(text string) (parts []string) {
	for {
		part, rest := Cut(text)
		parts = append(parts, part)
		// A comma at the end has an empty part behind it.
		if rest == "" && !endsInComma(text) {
			return parts
		}
		text = rest
	}
}

// endsInComma tells whether text ends in a comma that is not half of a double one.
func endsInComma(text string) bool {
	return (len(text)-len(strings.TrimRight(text, ",")))%2 == 1
}
