package layout

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"

	"virtls/finding"
)

// MaxConfSize bounds configuration files. libvirt takes up to 10 MiB; its own
// ones have 40 KiB.
const MaxConfSize = 1 << 20

// A Conf is a configuration file of libvirt: libvirtd.conf, qemu.conf, libvirt.conf.
type Conf struct {
	File     string
	Settings []Setting // in the file's order
}

// A Setting is one assignment.
type Setting struct {
	Name  string
	Line  int // on which the name is; the first is 1
	Last  int // on which the value ends
	Value Value
}

// A Value is what a setting says.
type Value struct {
	Type   ValueType
	Text   string  // of a StringValue
	Number int64   // of an IntegerValue
	List   []Value // of a ListValue
}

// A ValueType is one of the three that libvirt's configuration files know.
type ValueType int

// The types.
const (
	StringValue ValueType = iota
	IntegerValue
	ListValue
)

// Get returns the setting of that name. Of several the first counts, as in
// libvirt 9.0 and 12.8, without a word about the others.
func (c *Conf) Get(name string) (Setting, bool) {
	for _, s := range c.Settings {
		if s.Name == name {
			return s, true
		}
	}
	return Setting{}, false
}

var kindConfSyntax = finding.Define("conf-syntax", finding.Error,
	"the configuration file has a syntax error, with which libvirt does not start",
	"write settings as NAME = \"TEXT\", NAME = NUMBER or NAME = [\"TEXT\", ...], one a line")

// ParseConf reads libvirt's configuration syntax as libvirt 9.0 to 12.8 do
// (src/util/virconf.c). Strings stand in single or double quotes on one line,
// or in three double quotes on several, and know no escapes. Lists may be
// nested and end with a comma. A setting ends with its line, with a semicolon
// or with a comment, which begins with #.
//
// The error is a *finding.Failure about FILE:LINE with libvirt's text.
func ParseConf(file string, data []byte) (*Conf, error) {
	p := confParser{data: data, line: 1}
	c := &Conf{File: file}
	err := error(errConfSize)
	if len(data) <= MaxConfSize {
		c.Settings, err = p.settings()
	}
	if err != nil {
		where := fmt.Sprintf("%s:%d", file, p.line)
		what := "configuration file syntax error"
		if errors.Is(err, errConfOverflow) {
			what = "numerical overflow"
		}
		return nil, kindConfSyntax.Found(where, "").WithText("%s: %v", what, err).Wrong()
	}
	return c, nil
}

var (
	errConfSize     = fmt.Errorf("the file is larger than %d bytes", MaxConfSize)
	errConfOverflow = errors.New("numeric overflow in conf value")
	errConfDepth    = fmt.Errorf("lists are nested more than %d deep", maxConfDepth)
)

// maxConfDepth bounds the nesting of lists, of which no setting has any.
const maxConfDepth = 64

type confParser struct {
	data []byte
	pos  int
	line int
}

func (p *confParser) end() bool { return p.pos >= len(p.data) }

// is tells whether the next byte is one of the set.
func (p *confParser) is(set string) bool {
	return !p.end() && strings.IndexByte(set, p.data[p.pos]) >= 0
}

func (p *confParser) isDigit() bool { return p.is("0123456789") }

func (p *confParser) isLetter() bool {
	return !p.end() && (p.data[p.pos]|0x20) >= 'a' && (p.data[p.pos]|0x20) <= 'z'
}

// skip passes over the bytes of the set, counting lines.
func (p *confParser) skip(set string) {
	for p.is(set) {
		if p.data[p.pos] == '\n' {
			p.line++
		}
		p.pos++
	}
}

const (
	blanks  = " \t"
	lineEnd = "\r\n"
)

func (p *confParser) settings() ([]Setting, error) {
	var list []Setting
	for {
		p.skip(blanks + lineEnd)
		switch {
		case p.end():
			return list, nil
		case p.is("#"):
			p.comment()
			continue
		}
		s, err := p.setting()
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
}

func (p *confParser) comment() {
	for !p.end() && !p.is(lineEnd) {
		p.pos++
	}
}

func (p *confParser) setting() (Setting, error) {
	if !p.isLetter() {
		return Setting{}, errors.New("expecting a name")
	}
	start := p.pos
	for p.isLetter() || p.isDigit() || p.is("_") {
		p.pos++
	}
	s := Setting{Name: string(p.data[start:p.pos]), Line: p.line}
	p.skip(blanks)
	if !p.is("=") {
		return s, errors.New("expecting an assignment")
	}
	p.pos++
	p.skip(blanks)
	var err error
	if s.Value, err = p.value(0); err != nil {
		return s, err
	}
	s.Last = p.line
	switch p.skip(blanks); {
	case p.is(";"):
		p.pos++
	case p.is("#"):
		p.comment()
	case !p.end() && !p.is(lineEnd):
		return s, errors.New("expecting a separator")
	}
	return s, nil
}

func (p *confParser) value(depth int) (Value, error) {
	p.skip(blanks)
	switch {
	case p.is(`"'`):
		return p.text()
	case p.is("["):
		return p.list(depth)
	case p.isDigit() || p.is("-"):
		return p.number()
	}
	return Value{}, errors.New("expecting a value")
}

// text reads a string. Of what follows a zero byte libvirt sees nothing.
func (p *confParser) text() (Value, error) {
	quote, stop := string(p.data[p.pos]), lineEnd
	const block = `"""`
	if rest := p.data[p.pos:]; len(rest) > 2*len(block) && bytes.HasPrefix(rest, []byte(block)) {
		quote, stop = block, ""
	}
	p.pos += len(quote)
	start := p.pos
	for ; p.pos+len(quote) <= len(p.data) && !p.is(stop); p.pos++ {
		if bytes.HasPrefix(p.data[p.pos:], []byte(quote)) {
			text, _, _ := bytes.Cut(p.data[start:p.pos], []byte{0})
			p.pos += len(quote)
			return Value{Text: string(text)}, nil
		}
		if p.is("\n") {
			p.line++
		}
	}
	return Value{}, errors.New("unterminated string")
}

func (p *confParser) list(depth int) (Value, error) {
	if depth == maxConfDepth {
		return Value{}, errConfDepth
	}
	v := Value{Type: ListValue, List: []Value{}}
	p.pos++
	for p.skip(blanks + lineEnd); !p.is("]"); p.skip(blanks + lineEnd) {
		if p.end() {
			return v, errors.New("list is not closed with ]")
		}
		if len(v.List) > 0 {
			if !p.is(",") {
				return v, errors.New("expecting a separator in list")
			}
			p.pos++
			if p.skip(blanks + lineEnd); p.is("]") {
				break
			}
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.List = append(v.List, item)
	}
	p.pos++
	return v, nil
}

// number reads what fits 63 bits. libvirt 9.0 wraps greater ones around, 11.3
// and 12.8 refuse them.
func (p *confParser) number() (Value, error) {
	negative := p.is("-")
	if negative {
		p.pos++
	}
	if !p.isDigit() {
		return Value{}, errors.New("unterminated number")
	}
	v := Value{Type: IntegerValue}
	for ; p.isDigit(); p.pos++ {
		digit := int64(p.data[p.pos] - '0')
		if v.Number > (math.MaxInt64-digit)/10 {
			return Value{}, errConfOverflow
		}
		v.Number = v.Number*10 + digit
	}
	if negative {
		v.Number = -v.Number
	}
	return v, nil
}
