package certtemplate

import "strings"

// An Entry is one option of a template, as certtool's grammar reads it.
type Entry struct {
	Name  string // as written: certtool compares it exactly when it reads values
	Value string // "" if there is none
	Line  int    // of the name, from 1

	end     int  // the line in which the value ends
	quoted  bool // the value stands in quotes
	open    bool // and they are never closed
	escapes int  // backslashes that were dropped together with the character behind them
}

// The characters of the grammar. certtool looks them up with strchr, which
// finds a NUL in every string.
const (
	blanks     = "\t "
	whitespace = "\t \n\v\f\r\b"
	nameFirst  = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	nameRest   = ":^-0123456789" + nameFirst
)

func isOneOf(set string, c byte) bool { return c == 0 || strings.IndexByte(set, c) >= 0 }

// A scanner splits a template into entries.
type scanner struct {
	data []byte
	pos  int
	line int
}

func (s *scanner) done() bool { return s.pos >= len(s.data) }

func (s *scanner) next() byte {
	c := s.data[s.pos]
	s.pos++
	if c == '\n' {
		s.line++
	}
	return c
}

func (s *scanner) skip(set string) {
	for !s.done() && isOneOf(set, s.data[s.pos]) {
		s.next()
	}
}

// scan reads all entries. It stops, as certtool does without a word, where a
// name begins with a character that no name begins with; stop is that line, nil
// if everything was read. closed is false if the data ends behind a backslash
// inside quotes, which certtool takes for a missing file.
func scan(data []byte) (entries []Entry, stop *Entry, closed bool) {
	s := &scanner{data: data, line: 1}
	for {
		s.skipToName()
		if s.done() {
			return entries, nil, true
		}
		if !isOneOf(nameFirst, s.data[s.pos]) {
			text, _, _ := strings.Cut(string(s.data[s.pos:]), "\n")
			return entries, &Entry{Value: text, Line: s.line}, true
		}
		e := Entry{Line: s.line}
		e.Name = s.name()
		closed = s.value(&e)
		e.end = s.line
		if entries = append(entries, e); !closed {
			return entries, nil, false
		}
	}
}

// skipToName passes blanks, empty lines and comments. A comment begins only
// here: elsewhere # is a character like any other.
func (s *scanner) skipToName() {
	for !s.done() {
		switch c := s.data[s.pos]; {
		case c == '#':
			for !s.done() && s.data[s.pos] != '\n' {
				s.next()
			}
		case isOneOf(whitespace, c):
			s.next()
		default:
			return
		}
	}
}

// name reads a name. A colon belongs to it unless it is the last character,
// so that "cn:host" is one long name.
func (s *scanner) name() string {
	start := s.pos
	for !s.done() && isOneOf(nameRest, s.data[s.pos]) {
		s.next()
	}
	if s.data[s.pos-1] == ':' {
		s.pos--
	}
	return cString(s.data[start:s.pos])
}

// value reads the value up to the end of the line or the closing quote. It is
// false if there is none, see [scan].
func (s *scanner) value(e *Entry) bool {
	s.skip(blanks)
	if !s.done() && (s.data[s.pos] == ':' || s.data[s.pos] == '=') {
		s.next()
		s.skip(blanks)
	}
	if s.done() {
		return true
	}
	switch c := s.next(); c {
	case '\n':
		s.line--
		s.pos-- // the end of this line, not of the next
		return true
	case '"', '\'':
		return s.quoted(e, c)
	default:
		s.unquoted(e, c)
	}
	return true
}

func (s *scanner) quoted(e *Entry, quote byte) bool {
	var value []byte
	e.quoted, e.open = true, true
	for !s.done() {
		c := s.next()
		if c == quote {
			e.open = false
			break
		}
		if c != '\\' {
			value = append(value, c)
			continue
		}
		if s.done() {
			e.Value = cString(value)
			return false
		}
		switch c = s.next(); c {
		case '\n':
			value = append(value, ' ')
		case quote:
			value = append(value, c)
		default:
			e.escapes++
		}
	}
	e.Value = cString(value)
	return true
}

// unquoted reads a value that began with c, which is taken as it is, even if
// it is a backslash.
func (s *scanner) unquoted(e *Entry, c byte) {
	value := []byte{c}
	for !s.done() {
		if s.data[s.pos] == '\n' {
			break
		}
		c := s.next()
		if c != '\\' {
			value = append(value, c)
			continue
		}
		if s.done() {
			break
		}
		if c = s.next(); c == '\n' {
			value = append(value, c)
		} else {
			e.escapes++
		}
	}
	e.Value = cString(value)
}

// cString cuts text where C does.
func cString(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	return text
}
