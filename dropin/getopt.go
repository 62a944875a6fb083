// Package dropin holds what the imitations of other programs' command lines
// share: where they read and write ([IO]), how GNU programs read options
// ([Syntax]), and the shape that GnuTLS gives its tools ([Tool]).
//
// Each imitated program is a package below this one with a function
//
//	func Run(args []string, std dropin.IO) int
//
// that gets the arguments without the program's name and returns its exit code.
package dropin

import (
	"fmt"
	"io"
	"strings"
)

// IO is what an imitated program has for standard input, output and error.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Arg tells whether an option takes an argument.
type Arg int

// As getopt_long(3) has it. An optional argument belongs to its option only
// when joined to it: --name=value, -nvalue.
const (
	NoArg Arg = iota
	RequiredArg
	OptionalArg
)

// An Option is one spelling or two of an option: --long, -s.
type Option struct {
	Long  string // without dashes; "" for none
	Short byte   // 0 for none
	Arg   Arg
	As    string // the Long of the option that this one is another spelling of, "" for itself
}

func (o Option) name() string {
	if o.As != "" {
		return o.As
	}
	return o.Long
}

// A Syntax is the command line of a program that uses getopt_long(3) of the
// GNU C library. Messages are the C library's, of Debian 12 to forky.
type Syntax struct {
	Program string
	Options []Option // in the order in which the program declares them, which some messages show
	// StopAtOperand ends the options at the first operand, for programs with
	// subcommands. Else options and operands may be mixed.
	StopAtOperand bool
}

// A Match is one occurrence of an option.
type Match struct {
	Name  string // Long of the option it is
	Value string
}

// Parsed is a command line taken apart.
type Parsed struct {
	Matches  []Match // in the order given
	Operands []string
}

// Parse takes args apart. Long options may be shortened while they stay
// unambiguous, short ones bundled, and "--" ends the options. On an
// [OptionError] the result holds what came before it.
func (s *Syntax) Parse(args []string) (Parsed, error) {
	p := parse{syntax: s, rest: args}
	for len(p.rest) > 0 {
		arg := p.next()
		var err error
		switch {
		case arg == "--":
			p.Operands = append(p.Operands, p.rest...)
			return p.Parsed, nil
		case strings.HasPrefix(arg, "--"):
			err = p.long(arg[2:])
		case len(arg) > 1 && arg[0] == '-':
			err = p.short(arg[1:])
		case s.StopAtOperand:
			p.Operands = append([]string{arg}, p.rest...)
			return p.Parsed, nil
		default:
			p.Operands = append(p.Operands, arg)
		}
		if err != nil {
			return p.Parsed, err
		}
	}
	return p.Parsed, nil
}

type parse struct {
	syntax *Syntax
	rest   []string
	Parsed
}

// next takes the next argument off the rest.
func (p *parse) next() string {
	arg := p.rest[0]
	p.rest = p.rest[1:]
	return arg
}

func (p *parse) match(o Option, value string) {
	p.Matches = append(p.Matches, Match{o.name(), value})
}

// long parses one long option, given without its dashes.
func (p *parse) long(arg string) error {
	name, value, joined := strings.Cut(arg, "=")
	o, err := p.findLong(name, arg)
	switch {
	case err != nil:
		return err
	case joined && o.Arg == NoArg:
		return p.wrong(UnwantedArgument, "--"+o.Long, "option '--%s' doesn't allow an argument", o.Long)
	case !joined && o.Arg == RequiredArg && len(p.rest) == 0:
		return p.wrong(MissingArgument, "--"+o.Long, "option '--%s' requires an argument", o.Long)
	case !joined && o.Arg == RequiredArg:
		value = p.next()
	}
	p.match(o, value)
	return nil
}

// findLong returns the option of that name, or else the only one that begins so.
func (p *parse) findLong(name, arg string) (Option, error) {
	var found []Option
	for _, o := range p.syntax.Options {
		if o.Long == "" || !strings.HasPrefix(o.Long, name) {
			continue
		}
		if o.Long == name {
			return o, nil
		}
		found = append(found, o)
	}
	switch len(found) {
	case 0:
		return Option{}, p.wrong(UnknownOption, "--"+arg, "unrecognized option '--%s'", arg)
	case 1:
		return found[0], nil
	}
	var possible strings.Builder
	for _, o := range found {
		fmt.Fprintf(&possible, " '--%s'", o.Long)
	}
	return Option{}, p.wrong(AmbiguousOption, "--"+arg, "option '--%s' is ambiguous; possibilities:%s", arg, possible.String())
}

// short parses a bundle of short options, given without its dash.
func (p *parse) short(bundle string) error {
	for i := range len(bundle) {
		o, ok := p.findShort(bundle[i])
		joined := bundle[i+1:]
		letter := bundle[i : i+1] // a byte: the C library knows no characters here
		switch {
		case !ok:
			return p.wrong(UnknownOption, "-"+letter, "invalid option -- '%s'", letter)
		case o.Arg == NoArg:
			p.match(o, "")
			continue
		case joined == "" && o.Arg == RequiredArg && len(p.rest) == 0:
			return p.wrong(MissingArgument, "-"+letter, "option requires an argument -- '%s'", letter)
		case joined == "" && o.Arg == RequiredArg:
			joined = p.next()
		}
		p.match(o, joined)
		return nil
	}
	return nil
}

func (p *parse) findShort(letter byte) (Option, bool) {
	for _, o := range p.syntax.Options {
		if o.Short == letter && letter != 0 {
			return o, true
		}
	}
	return Option{}, false
}

// An OptionProblem is what can be wrong with an option.
type OptionProblem int

// What getopt_long(3) tells apart.
const (
	UnknownOption OptionProblem = iota
	AmbiguousOption
	MissingArgument
	UnwantedArgument
)

// An OptionError says which option is wrong and how. Its message is what the C
// library prints; a program with texts of its own makes them from the fields.
type OptionError struct {
	Program string
	Problem OptionProblem
	Option  string // as given, with dashes and a joined value: "--x=1", "-x"; in full where the option is known
	Text    string // the C library's sentence
}

// Error returns the line that the C library prints to standard error.
func (e *OptionError) Error() string { return e.Program + ": " + e.Text }

func (p *parse) wrong(problem OptionProblem, option, format string, args ...any) error {
	return &OptionError{p.syntax.Program, problem, option, fmt.Sprintf(format, args...)}
}

// Has reports whether the option of that long name was given.
func (p Parsed) Has(name string) bool {
	_, ok := p.Last(name)
	return ok
}

// Last returns the value that the option was last given.
func (p Parsed) Last(name string) (value string, ok bool) {
	for _, m := range p.Matches {
		if m.Name == name {
			value, ok = m.Value, true
		}
	}
	return value, ok
}

// All returns every value that the option was given, in order.
func (p Parsed) All(name string) []string {
	var values []string
	for _, m := range p.Matches {
		if m.Name == name {
			values = append(values, m.Value)
		}
	}
	return values
}
