// Package qjson reads JSON as QEMU does: --object texts in braces and access
// list files are written in QEMU's dialect, and its complaints are what people
// look up.
//
// The dialect is RFC 8259 with these differences: strings may be in single
// quotes, where \' is an escape, as it is in double ones; a key may not be given
// twice; strings are valid UTF-8 without noncharacters (U+FFFE, ...), except
// that U+0000, written \u0000 or as the octets C0 80, becomes C0 80; nesting
// ends at 1024 levels. Errors have the texts of QEMU 11.1; older versions leave
// out the position and call some of them by other names.
package qjson

import (
	"fmt"
	"strings"
)

// Limits of what is read. QEMU's own are 64 MiB and 2 Mi tokens, which is more
// memory than any file for it deserves.
const (
	MaxSize   = 4 << 20 // octets
	maxTokens = 512 << 10
	maxDepth  = 1024
)

// An Object holds the members of a JSON object in the order of the text. No
// two have the same key.
type Object []Member

// A Member is a key with its value.
type Member struct {
	Key   string
	Value any
}

// Get returns the value of a key and whether there is one.
func (o Object) Get(key string) (any, bool) {
	for _, m := range o {
		if m.Key == key {
			return m.Value, true
		}
	}
	return nil, false
}

// A Number is the text of a number, in JSON's syntax.
type Number string

// An Error says what is wrong, in QEMU's words, and where: the line and the
// octet in it, counted from 1, where the offending token begins.
type Error struct {
	Line, Column int
	Text         string
}

// Error returns position and text as QEMU 11.1 does: "1:2: JSON parse error,
// expecting key".
func (e *Error) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Text) }

// Parse reads one value: nil, a bool, a [Number], a string, an []any or an
// [Object]. An error is an *[Error].
func Parse(data []byte) (any, error) {
	p := &parser{lexer: lexer{data: data, line: 1}}
	v, err := p.parse()
	if err != nil {
		return nil, err
	}
	return v, nil
}

type parser struct {
	lexer
	tok    token
	tokens int
	depth  int
}

func (p *parser) parse() (any, *Error) {
	if len(p.data) > MaxSize {
		return nil, &Error{1, 1, "JSON token size limit exceeded"}
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.tok.kind == end {
		return nil, p.fail("Expecting a JSON value")
	}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if rest := p.skipBlanks(); rest {
		return nil, &Error{p.line, p.pos - p.start + 1, "Expecting at most one JSON value"}
	}
	return v, nil
}

// next reads a token.
func (p *parser) next() *Error {
	if p.tokens++; p.tokens > maxTokens {
		return p.fail("JSON token count limit exceeded")
	}
	var err *Error
	p.tok, err = p.lex()
	return err
}

// fail returns an error at the current token.
func (p *parser) fail(text string) *Error { return &Error{p.tok.line, p.tok.column, text} }

// expected returns the error that another token should stand here.
func (p *parser) expected(what string) *Error {
	if p.tok.kind == end {
		return p.fail("JSON parse error, premature end of input")
	}
	return p.fail("JSON parse error, " + what)
}

// value reads the value whose first token is the current one; its last token
// is current afterwards.
func (p *parser) value() (any, *Error) {
	switch p.tok.kind {
	case '{', '[':
		if p.depth++; p.depth > maxDepth {
			return nil, p.fail("JSON nesting depth limit exceeded")
		}
		defer func() { p.depth-- }()
		if p.tok.kind == '{' {
			return p.object()
		}
		return p.array()
	case str:
		return p.unquote()
	case number:
		return Number(p.tok.text), nil
	case keyword:
		switch p.tok.text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		case "null":
			return nil, nil
		}
		return nil, p.fail("JSON parse error, invalid keyword '" + p.tok.text + "'")
	}
	return nil, p.expected("expecting value")
}

func (p *parser) array() (any, *Error) {
	list := []any{}
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.tok.kind == ']' {
		return list, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		more, err := p.separator(']')
		if err != nil {
			return nil, err
		}
		if !more {
			return list, nil
		}
	}
}

// separator reads what follows an element: a comma, and then the next element's
// first token, or the closing bracket.
func (p *parser) separator(closing byte) (more bool, err *Error) {
	if err := p.next(); err != nil {
		return false, err
	}
	switch p.tok.kind {
	case ',':
		return true, p.next()
	case closing:
		return false, nil
	}
	return false, p.expected("expected ',' or '" + string(closing) + "'")
}

func (p *parser) object() (any, *Error) {
	obj := Object{}
	keys := map[string]bool{}
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.tok.kind == '}' {
		return obj, nil
	}
	for {
		m, err := p.member()
		if err != nil {
			return nil, err
		}
		if keys[m.Key] {
			return nil, p.fail("JSON parse error, duplicate key")
		}
		keys[m.Key] = true
		obj = append(obj, m)
		more, err := p.separator('}')
		if err != nil {
			return nil, err
		}
		if !more {
			return obj, nil
		}
	}
}

func (p *parser) member() (Member, *Error) {
	if p.tok.kind != str {
		return Member{}, p.expected("expecting key")
	}
	key, err := p.unquote()
	if err != nil {
		return Member{}, err
	}
	if err := p.next(); err != nil {
		return Member{}, err
	}
	if p.tok.kind != ':' {
		return Member{}, p.expected("expecting ':'")
	}
	if err := p.next(); err != nil {
		return Member{}, err
	}
	v, err := p.value()
	return Member{key, v}, err
}

var escapes = map[byte]byte{
	'"': '"', '\'': '\'', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// unquote returns the text of the current token, a string in quotes.
func (p *parser) unquote() (string, *Error) {
	s := p.tok.text[1 : len(p.tok.text)-1]
	if isPlain(s) {
		return s, nil
	}
	var b strings.Builder
	for len(s) > 0 {
		if s[0] != '\\' {
			n := charLen(s)
			if n == 0 {
				return "", p.fail("JSON parse error, invalid UTF-8 sequence in string")
			}
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		if s[1] != 'u' {
			c, ok := escapes[s[1]]
			if !ok {
				return "", p.fail("JSON parse error, invalid escape sequence in string")
			}
			b.WriteByte(c)
			s = s[2:]
			continue
		}
		r, n := unicodeEscape(s)
		if !isCharacter(r) {
			// QEMU shows the octets that should have been the escape, even if
			// the closing quote is among them.
			from := p.tok.text[len(p.tok.text)-1-len(s):]
			return "", p.fail("JSON parse error, " + from[:min(n, len(from))] + " is not a valid Unicode character")
		}
		if r == 0 {
			b.WriteString("\xc0\x80")
		} else {
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String(), nil
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] == '\\' || s[i] >= 0x80 {
			return false
		}
	}
	return true
}
