package console

import (
	"fmt"
	"strings"
)

// A Key is a key that a terminal sends as one octet. The zero Key is none.
type Key struct {
	code byte
	set  bool
}

// DefaultEscape is ^], as in virsh console and telnet.
var DefaultEscape = Key{0x1d, true}

// ParseKey reads a key as virsh writes it, "^]": Control and one of the letters or
// @ [ \ ] ^ _; or one printable character; or "none".
func ParseKey(text string) (Key, error) {
	switch {
	case text == "none":
		return Key{}, nil
	case len(text) == 2 && text[0] == '^':
		c := strings.ToUpper(text)[1]
		if c >= '@' && c <= '_' {
			return Key{c & 0x1f, true}, nil
		}
	case len(text) == 1 && text[0] > ' ' && text[0] < 0x7f && text != "^":
		return Key{text[0], true}, nil
	}
	return Key{}, fmt.Errorf("%q is not a key: write ^ and a letter or one of @ [ \\ ] ^ _, such as ^], a single character, or none", text)
}

func (k Key) is(b byte) bool { return k.set && b == k.code }

// String returns what ParseKey reads.
func (k Key) String() string {
	switch {
	case !k.set:
		return "none"
	case k.code < ' ':
		return "^" + string(rune(k.code|0x40))
	}
	return string(rune(k.code))
}
