package priority

import (
	"bytes"
	"fmt"
)

// Bounds of GnuTLS's reader of configuration files (inih as GnuTLS 3.7.9 to
// 3.8.13 builds it): what goes beyond is cut, silently.
const (
	iniLine    = 2047 // characters of a line; the rest counts as a line of its own
	iniSection = 49   // characters of a section's name
	iniName    = 49   // characters of a name that further lines continue
)

// A setting is one NAME = VALUE of a configuration file.
type setting struct {
	section, name, value string
	line                 int // counted from 1
}

// iniError says at which line a file stops being a configuration file. GnuTLS
// then ignores the whole file.
type iniError struct {
	line int
	text string
}

func (e *iniError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// parseINI reads a file as GnuTLS does: comments begin with ; or #, also behind
// blanks; = and : both separate name and value; an indented line is one more
// value for the last name. Cut reports each line that is longer than GnuTLS reads.
func parseINI(data []byte, cut func(line int)) ([]setting, *iniError) {
	var settings []setting
	var section, last string
	for n := 1; len(data) > 0; n++ {
		var physical []byte
		physical, data, _ = bytes.Cut(data, []byte("\n"))
		if n == 1 {
			physical = bytes.TrimPrefix(physical, []byte("\xef\xbb\xbf"))
		}
		if len(physical) > iniLine {
			cut(n)
		}
		for first := true; first || len(physical) > 0; first = false {
			var chunk []byte
			chunk, physical = physical[:min(iniLine, len(physical))], physical[min(iniLine, len(physical)):]
			chunk, _, _ = bytes.Cut(chunk, []byte{0}) // a C string ends there
			text := trimSpace(chunk)
			indented := len(chunk) > 0 && isSpace(chunk[0])
			switch {
			case text == "" || text[0] == ';' || text[0] == '#':
			case last != "" && indented:
				settings = append(settings, setting{section, last, text, n})
			case text[0] == '[':
				name := text[1:]
				end := findOrComment(name, "]")
				if end == len(name) || name[end] != ']' {
					return nil, &iniError{n, "a section without a closing bracket"}
				}
				section, last = name[:min(end, iniSection)], ""
			default:
				end := findOrComment(text, "=:")
				if end == len(text) || text[end] != '=' && text[end] != ':' {
					return nil, &iniError{n, "neither a section nor NAME = VALUE"}
				}
				value := text[end+1:]
				value = value[:findOrComment(value, "")]
				name := trimSpace([]byte(text[:end]))
				last = name[:min(len(name), iniName)]
				settings = append(settings, setting{section, name, trimSpace([]byte(value)), n})
			}
		}
	}
	return settings, nil
}

// findOrComment returns the index of the first of chars, or of a comment,
// which is a ; or # behind a blank; the length of s if there is neither.
func findOrComment(s, chars string) int {
	blank := false
	for i := range len(s) {
		if bytes.IndexByte([]byte(chars), s[i]) >= 0 || blank && (s[i] == ';' || s[i] == '#') {
			return i
		}
		blank = isSpace(s[i])
	}
	return len(s)
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func trimSpace(b []byte) string {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return string(b)
}

// firstWord returns what stands before the first blank.
func firstWord(s string) string {
	for i := range len(s) {
		if isSpace(s[i]) {
			return s[:i]
		}
	}
	return s
}
