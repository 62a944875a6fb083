// Package qemuimg is QEMU's qemu-img, as far as TLS for disks needs it: info,
// map, check, compare, create and convert, of raw and qcow2 images in files and
// NBD exports, with the same options, messages, output and exit codes, those of
// 11.1. What else the real one has is refused by name, never ignored.
//
// It differs where the real one may harm or cannot be had:
//
//   - A target that is also a source is refused before anything is locked.
//   - New qcow2 images appear when they are complete: until then their file has
//     no header, where the real one leaves a valid image with half the data.
//   - --cache and --source-cache are checked but change nothing: reads and writes
//     use the page cache, and what was written is flushed at the end.
//   - -W writes out of order into raw targets; new qcow2 images, which grow, are
//     written in order. -C allows what is not done here: data pass through memory.
//   - Other formats than raw and qcow2 are told by their first bytes and refused,
//     where the real one would read them.
//   - --help has a text of its own.
package qemuimg

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"virtls/dropin"
	"virtls/object"
	"virtls/qcow2"
)

// Exit codes.
const (
	exitOK    = 0
	exitWrong = 1
	// Of compare: 1 means that images differ.
	exitCompareOpen = 2
	exitCompareRead = 4
	// Of check: 1 means that it could not be done.
	exitCorrupt = 2
	exitLeaks   = 3
	exitNoCheck = 63
)

// A run is one run of the program.
type run struct {
	dropin.IO
	generation
	objects object.Registry
	names   map[qcow2.File]string // what opened files are called in output
	quiet   bool
}

// A command is what the first operand names.
type command struct {
	name    string
	usage   string // how it is called
	about   string
	options []option
	run     func(*run, *arguments) int
}

var commands = []*command{checkCommand, compareCommand, convertCommand, createCommand, infoCommand, mapCommand}

// others are the real one's commands that are missing here.
var others = []string{"amend", "bench", "bitmap", "commit", "dd", "measure", "rebase", "resize", "snapshot"}

// Run runs qemu-img and returns its exit code.
func Run(args []string, std dropin.IO) int { return runAs(newest, args, std) }

// runAs runs the qemu-img of a generation.
func runAs(g generation, args []string, std dropin.IO) int {
	r := &run{IO: std, generation: g, names: map[qcow2.File]string{}}
	defer r.objects.Close()
	syntax := dropin.Syntax{Program: "qemu-img", StopAtOperand: true, Options: []dropin.Option{
		{Long: "help", Short: 'h'}, {Long: "version", Short: 'V'}, {Long: "trace", Short: 'T', Arg: dropin.RequiredArg}}}
	parsed, err := syntax.Parse(args)
	for _, m := range parsed.Matches {
		switch m.Name {
		case "help":
			r.help()
			return exitOK
		case "version":
			fmt.Fprintf(r.Out, "qemu-img version %s\n", r.version)
			return exitOK
		default:
			return r.failf("--%s is not supported by virtls", m.Name)
		}
	}
	if err != nil {
		fmt.Fprintln(r.Err, err)
		return r.tryHelp("")
	}
	if len(parsed.Operands) == 0 {
		r.failf("Not enough arguments")
		return r.tryHelp("")
	}
	name := parsed.Operands[0]
	for _, c := range commands {
		if c.name == name {
			return r.command(c, parsed.Operands[1:])
		}
	}
	if slices.Contains(others, name) {
		return r.failf("the command %s is not supported by virtls; there are %s", name, commandNames())
	}
	r.failf("Command not found: %s", name)
	return r.tryHelp("")
}

func commandNames() string {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

// command runs a command with its arguments.
func (r *run) command(c *command, args []string) int {
	a, err := r.parse(c, args)
	var option *dropin.OptionError
	var help *object.Help
	switch {
	case errors.As(err, &option):
		fmt.Fprintln(r.Err, err)
		return r.tryHelp(c.name)
	case errors.As(err, &help):
		fmt.Fprint(r.Out, help.Text)
		return exitOK
	case err != nil:
		return r.complain(c, err)
	}
	return c.run(r, a)
}

// A usageError is a mistake on the command line after which the program says
// where to find help.
type usageError struct{ error }

// say makes an error of QEMU's words, which follow other rules than ours.
func say(format string, args ...any) error { return fmt.Errorf(format, args...) }

func (r *run) complain(c *command, err error) int {
	r.failf("%v", err)
	var usage usageError
	if errors.As(err, &usage) {
		r.tryHelp(c.name)
	}
	return exitWrong
}

// failf prints an error and returns the usual exit code.
func (r *run) failf(format string, args ...any) int {
	fmt.Fprintf(r.Err, "qemu-img: "+format+"\n", args...)
	return exitWrong
}

func (r *run) printf(format string, args ...any) {
	if !r.quiet {
		fmt.Fprintf(r.Out, format, args...)
	}
}

func (r *run) tryHelp(command string) int {
	if command != "" && r.commandHelp {
		command = " " + command
	} else {
		command = ""
	}
	fmt.Fprintf(r.Err, "Try 'qemu-img%s --help' for %s\n", command, r.moreHelp)
	return exitWrong
}

func (r *run) help() {
	fmt.Fprintf(r.Out, "qemu-img of virtls, as that of QEMU %s: raw and qcow2 images in files and NBD exports.\n\n"+
		"  qemu-img COMMAND [OPTIONS] FILE...\n\n", r.version)
	for _, c := range commands {
		fmt.Fprintf(r.Out, "  %-8s %s\n", c.name, c.about)
	}
	fmt.Fprint(r.Out, "\nqemu-img COMMAND --help tells more about a command.\n")
}

// help of a command.
func (c *command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage:\n  qemu-img %s %s\n\n%s.\n\nArguments:\n", c.name, c.usage, c.about)
	for _, o := range c.options {
		if o.refused {
			continue
		}
		var names []string
		if o.Short != 0 {
			names = append(names, "-"+string(rune(o.Short)))
		}
		if o.Long != "" {
			names = append(names, "--"+o.Long)
		}
		fmt.Fprintf(&b, "  %s", strings.Join(names, ", "))
		if o.value != "" {
			b.WriteString(" " + o.value)
		}
		fmt.Fprintf(&b, "\n     %s\n", o.help)
	}
	return b.String()
}
