package finding

import (
	"strings"
	"unicode"
)

// Printable returns a peer's text with a question mark for each character that
// could disturb a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}
