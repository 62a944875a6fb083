package dropin

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// GnuTLSVersion is the version of GnuTLS whose tools are imitated; --version
// says it, because scripts ask. Where 3.7.9 and 3.8.13 print different
// messages, [Tool] prints 3.7.9's, which name the program.
const GnuTLSVersion = "3.8.13"

// A Tool is the command line of a program of GnuTLS: certtool, psktool.
// Version, help and more-help options come with it.
type Tool struct {
	Name   string
	Title  string // one line
	Groups []Group
	About  string // lines for the end of the help
}

// A Group is a section of the help.
type Group struct {
	Heading string
	Options []ToolOption
}

// A ToolOption is an option with what GnuTLS's tools check of themselves.
type ToolOption struct {
	Option
	Kind      string   // of the value, for the help: "num", which is checked, "str", "file"
	Help      string   // one line; an option without is accepted but not shown
	Max       int      // greatest number, from 0; 0 for no bounds
	Negatable bool     // there is --no-LONG too
	Default   bool     // a negatable option holds unless it is negated
	MustExist bool     // for the help: the value is an existing file
	Prohibits []string // options that may not be given beside this one
	Requires  []string // options that must be
}

// Given is a Tool's command line, found correct.
type Given struct {
	Parsed
	tool *Tool
}

var standardGroup = Group{"Version, usage and configuration options", []ToolOption{
	{Option: Option{Long: "version", Short: 'v', Arg: OptionalArg}, Kind: "arg", Help: "print the version and exit"},
	{Option: Option{Long: "help", Short: 'h'}, Help: "print this help and exit"},
	{Option: Option{Long: "more-help", Short: '!'}, Help: "the same as --help"},
}}

// Parse reads the command line. If there is nothing left to do for the
// program, because the arguments are wrong or ask for help or version, it
// prints what GnuTLS's tool would print and returns its exit code and false.
func (t *Tool) Parse(args []string, std IO) (given Given, code int, ok bool) {
	parsed, err := t.syntax().Parse(args)
	given = Given{parsed, t}
	// As in the real tools, a number is looked at before the next option is.
	for _, m := range parsed.Matches {
		o := t.option(m.Name)
		if _, good := parseNumber(m.Value); o.Kind == "num" && !good {
			fmt.Fprintf(std.Err, "%s: '%s' is not a recognizable number.\n", t.Name, m.Value)
			return given, 1, false
		}
	}
	if err != nil {
		fmt.Fprintln(std.Err, err)
		t.usage(std.Err)
		return given, 1, false
	}
	if wrong := given.check(); wrong != "" {
		fmt.Fprintf(std.Err, "%s: %s\n", t.Name, wrong)
		return given, 1, false
	}
	switch version, asked := given.Last("version"); {
	case given.Has("help"), given.Has("more-help"):
		t.usage(std.Out)
		return given, 0, false
	case asked:
		code := t.version(version, std)
		return given, code, false
	}
	return given, 0, true
}

// check looks at the options in the order of the table, as the real tools do,
// and returns the message about the first that is wrong, or "".
func (g Given) check() string {
	for _, group := range g.tool.Groups {
		for _, o := range group.Options {
			if wrong := g.checkOption(o); wrong != "" {
				return wrong
			}
		}
	}
	if len(g.Operands) > 0 {
		return "Command line arguments are not allowed."
	}
	return ""
}

func (g Given) checkOption(o ToolOption) string {
	if !g.Has(o.Long) {
		return ""
	}
	if n := g.Number(o.Long, 0); o.Max > 0 && (n < 0 || n > o.Max) {
		return fmt.Sprintf("%s option value %d is out of range", o.Long, n)
	}
	for _, other := range o.Prohibits {
		if g.Has(other) {
			return fmt.Sprintf("the '%s' and '%s' options conflict", o.Long, identifier(other))
		}
	}
	for _, other := range o.Requires {
		if !g.Has(other) {
			return fmt.Sprintf("%s option requires the %s options", o.Long, identifier(other))
		}
	}
	return ""
}

// identifier is how the real tools name the other option in some messages.
func identifier(long string) string { return strings.ReplaceAll(long, "-", "_") }

// Number returns the value of a numeric option, or the default without it.
func (g Given) Number(name string, otherwise int) int {
	value, ok := g.Last(name)
	if !ok {
		return otherwise
	}
	n, _ := parseNumber(value)
	return n
}

// Enabled tells whether a negatable option holds: by its last occurrence, else
// by default.
func (g Given) Enabled(name string) bool {
	enabled := g.tool.option(name).Default
	for _, m := range g.Matches {
		switch m.Name {
		case name:
			enabled = true
		case "no-" + name:
			enabled = false
		}
	}
	return enabled
}

// parseNumber reads what strtol(3) with base 0 reads, to the end: blanks, a
// sign, then decimal, octal (0...) or hexadecimal (0x...) digits. Nothing is 0.
func parseNumber(s string) (int, bool) {
	digits := strings.TrimLeft(s, " \t\n\v\f\r")
	if s == "" {
		return 0, true
	}
	sign := ""
	if digits != "" && strings.Contains("+-", digits[:1]) {
		sign, digits = digits[:1], digits[1:]
	}
	base := 10
	if lower := strings.ToLower(digits); strings.HasPrefix(lower, "0x") {
		base, digits = 16, digits[2:]
	} else if strings.HasPrefix(digits, "0") {
		base = 8
	}
	if digits == "" || strings.Contains("+-", digits[:1]) {
		return 0, false // ParseInt would take a second sign
	}
	n, err := strconv.ParseInt(sign+digits, base, strconv.IntSize)
	return int(n), err == nil
}

func (t *Tool) syntax() *Syntax {
	s := &Syntax{Program: t.Name}
	for _, group := range t.allGroups() {
		for _, o := range group.Options {
			if o.Long == "version" {
				// The short form must have the argument that the long one may have.
				s.Options = append(s.Options, Option{Long: "version", Arg: OptionalArg}, Option{Short: 'v', Arg: RequiredArg, As: "version"})
				continue
			}
			s.Options = append(s.Options, o.Option)
			if o.Negatable {
				s.Options = append(s.Options, Option{Long: "no-" + o.Long})
			}
		}
	}
	return s
}

func (t *Tool) allGroups() []Group { return append(slices.Clip(t.Groups), standardGroup) }

// option returns the option of that name, one without anything if there is none.
func (t *Tool) option(name string) ToolOption {
	for _, group := range t.allGroups() {
		for _, o := range group.Options {
			if o.Long == name {
				return o
			}
		}
	}
	return ToolOption{}
}

// version prints what --version=FORM asks for, and returns the exit code.
func (t *Tool) version(form string, std IO) int {
	const about = `This is virtls in place of the GnuTLS program of this name. It is another
program, of the same usage, without warranty.
`
	const notice = `
Licensed under the Apache License, Version 2.0:
<http://www.apache.org/licenses/LICENSE-2.0>
`
	switch form {
	case "v":
		fmt.Fprintf(std.Out, "%s %s\n", t.Name, GnuTLSVersion)
	case "", "c":
		fmt.Fprintf(std.Out, "%s %s\n%s", t.Name, GnuTLSVersion, about)
	case "n":
		fmt.Fprintf(std.Out, "%s %s\n%s%s", t.Name, GnuTLSVersion, about, notice)
	default:
		fmt.Fprintf(std.Err, "%s: version option argument '%s' invalid.  Use:\n"+
			"\t'v' - version only\n\t'c' - version and copyright\n\t'n' - version and full copyright notice\n", t.Name, form)
		return 1
	}
	return 0
}

// usage prints the help in the layout of GnuTLS's tools.
func (t *Tool) usage(w io.Writer) {
	fmt.Fprintf(w, "%s - %s\nUsage:  %s [ -<flag> [<val>] | --<name>[{=| }<val>] ]... \n\n", t.Name, t.Title, t.Name)
	for _, group := range t.allGroups() {
		fmt.Fprintf(w, "%s:\n\n", group.Heading)
		for _, o := range group.Options {
			if o.Help != "" {
				o.usage(w)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "Long options may be shortened while they stay unambiguous.\n\n%s\n", t.About)
}

func (o ToolOption) usage(w io.Writer) {
	short := "    "
	if o.Short != 0 {
		short = "-" + string(o.Short) + ", "
	}
	form := o.Long
	switch o.Arg {
	case RequiredArg:
		form += "=" + o.Kind
	case OptionalArg:
		form += "[=" + o.Kind + "]"
	}
	fmt.Fprintf(w, "   %s--%-20s %s\n", short, form, o.Help)
	note := func(format string, args ...any) { fmt.Fprintf(w, "\t\t\t\t- "+format+"\n", args...) }
	if o.MustExist {
		note("file must pre-exist")
	}
	for _, other := range o.Requires {
		note("requires the option '%s'", other)
	}
	for _, other := range o.Prohibits {
		note("prohibits the option '%s'", other)
	}
	if o.Default {
		note("enabled by default\n\t\t\t\t- disabled as '--no-%s'", o.Long)
	}
	if o.Max > 0 {
		note("it must be in the range:\n\t\t\t\t  0 to %d", o.Max)
	}
}
