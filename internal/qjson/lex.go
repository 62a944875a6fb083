package qjson

import (
	"bytes"
	"unicode/utf8"
)

// Kinds of tokens. The punctuation marks are their own kinds.
const (
	end byte = iota
	str
	number
	keyword
)

type token struct {
	kind         byte
	text         string
	line, column int
}

type lexer struct {
	data  []byte
	pos   int
	line  int
	start int // where the line begins in data
}

// skipBlanks goes on to the next token and reports whether there is one.
func (l *lexer) skipBlanks() bool {
	for ; l.pos < len(l.data); l.pos++ {
		switch l.data[l.pos] {
		case ' ', '\t', '\r':
		case '\n':
			l.line++
			l.start = l.pos + 1
		default:
			return true
		}
	}
	return false
}

// lex reads a token. What is none is QEMU's "stray" text: the octets up to and
// including the one that cannot belong to a token.
func (l *lexer) lex() (token, *Error) {
	more := l.skipBlanks()
	tok := token{line: l.line, column: l.pos - l.start + 1}
	if !more {
		return tok, nil
	}
	rest := l.data[l.pos:]
	n, ok := 1, true
	switch c := rest[0]; {
	case bytes.IndexByte([]byte("{}[]:,"), c) >= 0:
		tok.kind = c
	case c == '"' || c == '\'':
		tok.kind = str
		n, ok = stringLen(rest)
	case c == '-' || isDigit(c):
		tok.kind = number
		n, ok = numberLen(rest)
	case isLower(c):
		tok.kind = keyword
		n = run(rest, 0, isLower)
	default:
		ok = false
	}
	tok.text = string(rest[:n])
	if !ok {
		return tok, &Error{tok.line, tok.column, "JSON parse error, stray '" + tok.text + "'"}
	}
	l.pos += n
	return tok, nil
}

// stringLen returns the length of the quoted string at the start of s. Octets
// that never occur in UTF-8 are stray, 80 to FD are looked at later.
func stringLen(s []byte) (n int, ok bool) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c > 0xfd:
			return i + 1, false
		case c == s[0]:
			return i + 1, true
		case c == '\\':
			if i++; i < len(s) && (s[i] < ' ' || s[i] > 0xfd) {
				return i + 1, false
			}
		}
	}
	return len(s), false
}

// numberLen returns the length of the number at the start of s.
func numberLen(s []byte) (n int, ok bool) {
	i := 0
	if s[i] == '-' {
		i++
	}
	// digits wants one digit or more and returns where they end.
	digits := func(i int) (int, bool) {
		j := run(s, i, isDigit)
		return j, j > i
	}
	stray := func(i int) (int, bool) { return min(i+1, len(s)), false }

	if i < len(s) && s[i] == '0' {
		if i++; i < len(s) && isDigit(s[i]) {
			return stray(i)
		}
	} else if i, ok = digits(i); !ok {
		return stray(i)
	}
	if i < len(s) && s[i] == '.' {
		if i, ok = digits(i + 1); !ok {
			return stray(i)
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if i, ok = digits(i); !ok {
			return stray(i)
		}
	}
	return i, true
}

// run returns where the octets of a class that begin at i end.
func run(s []byte, i int, class func(byte) bool) int {
	for i < len(s) && class(s[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// charLen returns the length of the character at the start of s, 0 if QEMU
// takes it for none.
func charLen(s string) int {
	if len(s) >= 2 && s[:2] == "\xc0\x80" {
		return 2
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 || !isCharacter(r) {
		return 0
	}
	return n
}

// isCharacter tells characters from surrogates, noncharacters and -1.
func isCharacter(r rune) bool {
	return utf8.ValidRune(r) && r&0xfffe != 0xfffe && (r < 0xfdd0 || r > 0xfdef)
}

// unicodeEscape reads the escape of four digits at the start of s, which begins
// with \u, or the two of a surrogate pair. r is -1 if digits are missing; n is
// the length that the escape has or should have.
func unicodeEscape(s string) (r rune, n int) {
	r = hex4(s[2:])
	if r < 0xd800 || r > 0xdbff || len(s) < 8 || s[6:8] != `\u` {
		return r, 6
	}
	low := hex4(s[8:])
	if low < 0xdc00 || low > 0xdfff {
		return r, 6
	}
	return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), 12
}

func hex4(s string) rune {
	if len(s) < 4 {
		return -1
	}
	var r rune
	for _, c := range []byte(s[:4]) {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}
