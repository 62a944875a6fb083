// Command virtls makes TLS for virtualization hosts right by construction: one
// fleet file in, and every certificate, key and pre-shared key that QEMU and
// libvirt need out, where they look for it, checked and proved.
//
// It also answers to the names certtool, psktool, qemu-img,
// qemu-nbd, virt-pki-query-dn and virt-pki-validate, as a subcommand or through a symbolic link, with their
// arguments, output and exit codes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"virtls/dropin"
	"virtls/dropin/certtool"
	"virtls/dropin/psktool"
	"virtls/dropin/qemuimg"
	"virtls/dropin/qemunbd"
	"virtls/dropin/virtpki"
	"virtls/finding"
	"virtls/fleet"
)

// dropins are the imitated programs, by the name they are called by.
var dropins = map[string]func([]string, dropin.IO) int{
	"certtool":          certtool.Run,
	"psktool":           psktool.Run,
	"qemu-img":          qemuimg.Run,
	"qemu-nbd":          qemunbd.Run,
	"virt-pki-query-dn": virtpki.QueryDN,
	"virt-pki-validate": virtpki.Validate,
}

func main() {
	// A short-lived program that makes much garbage: memory is cheaper here than collecting it.
	debug.SetGCPercent(400)
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program. It returns the exit code.
func run(args []string, stdin *os.File, stdout, stderr *os.File) int {
	std := dropin.IO{In: stdin, Out: stdout, Err: stderr}
	if imitate, ok := dropins[filepath.Base(args[0])]; ok {
		return imitate(args[1:], std)
	}
	args = plain(args[1:])
	if imitate, ok := dropins[args[0]]; ok {
		return imitate(args[1:], std)
	}
	// A second signal kills at once: the handler is gone after the first.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	return command(ctx, args, stdin, stdout, stderr)
}

// exitPanic carries an exit code out of kong, which ends --help by a call to exit.
type exitPanic int

// command parses and runs a command of virtls's own.
func command(ctx context.Context, args []string, stdin, stdout, stderr *os.File) (code int) {
	app := &app{ctx: ctx, stdin: stdin, stdout: &output{to: stdout}, stderr: &output{to: stderr}, terminal: stderr, name: "virtls"}
	defer func() {
		if e := recover(); e != nil {
			exit, ok := e.(exitPanic)
			if !ok {
				panic(e)
			}
			code = max(int(exit), app.finish(nil))
		}
	}()
	var cli cli
	parser, err := kong.New(&cli,
		kong.Name("virtls"),
		kong.Description(description),
		kong.Writers(app.stdout, app.stderr),
		kong.Exit(func(code int) { panic(exitPanic(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, NoExpandSubcommands: true}),
		kong.ValueFormatter(withDefault),
		kong.Bind(app, &cli.Globals),
	)
	if err != nil {
		fmt.Fprintln(app.stderr, "virtls:", err)
		return finding.ExitUnable
	}
	app.parser = parser
	app.args = args
	parsed, err := parser.Parse(args)
	if err != nil {
		if app.stdout.err != nil { // a help that could not be printed
			return app.finish(nil)
		}
		app.json = slices.Contains(args, "--json")
		return app.finish(usageError(err))
	}
	app.json = cli.JSON
	app.name = commandName(parsed)
	if err = emptyID(parsed); err == nil {
		err = closedFD(parsed)
	}
	if err == nil {
		err = parsed.Run(ctx)
	}
	return app.finish(err)
}

const description = `TLS for virtualization hosts: certificates, keys and pre-shared keys for QEMU and libvirt.

  virtls init --org "Example Org"   an authority and a fleet.yaml here
  virtls apply fleet.yaml           every key and certificate that the fleet lacks
  virtls status fleet.yaml          what is where, until when, what is wrong

Exit codes: 0 done and nothing wrong, 1 something is wrong, 2 wrong usage, 3 could not be done.`

// app is what commands share.
type app struct {
	ctx      context.Context
	stdin    *os.File
	stdout   *output
	stderr   *output
	terminal *os.File // standard error, for what rewrites its own line
	parser   *kong.Kong
	args     []string
	name     string // of the command, such as "virtls ca import"
	json     bool
	pass     passphrases
	found    []finding.Finding // known when a command fails, and not yet printed
}

// plain turns what people try first into what kong knows.
func plain(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case args[0] == "--version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// withDefault adds a flag's default to its help, which kong shows only where it
// stands for the value's placeholder.
func withDefault(v *kong.Value) string {
	text := kong.DefaultHelpValueFormatter(v)
	if v.HasDefault && v.Default != "" && (v.Flag == nil || v.Tag.PlaceHolder != "") {
		text = strings.TrimSuffix(text, ".") + " (default: " + v.Default + ")."
	}
	return text
}

// usageError says what is wrong with a command line that could not be understood.
func usageError(err error) error {
	name, text := "virtls", listed(err.Error())
	if parse, ok := errors.AsType[*kong.ParseError](err); ok && parse.Context != nil {
		name = commandName(parse.Context)
		if f, ok := misspelt(parse); ok {
			return f.Usage()
		}
		if node := parse.Context.Selected(); leftOut(parse.Context, node) {
			name, text = strings.TrimSuffix(name, " "+node.Name), text+", or a command"
		}
	}
	return kindUsage.Found(name, "").WithText("%s", text).WithFix("%s --help shows how", name).Usage()
}

var notListed = regexp.MustCompile(`^(\S+) must be one of (".*") but got "(.*)"$`)

var notParsed = regexp.MustCompile(`^(--\S+): expected (duration|a valid 64 bit int) but got "(.*?)"`)

// listed says what a value may be, and which was probably meant, in the place
// of kong's text, which also lists the empty value.
func listed(text string) string {
	if m := notParsed.FindStringSubmatch(text); m != nil {
		want := "a whole number"
		if m[2] == "duration" {
			want = "a time, such as 30s, 5m or 12h"
		}
		return fmt.Sprintf("%s is %q, and must be %s", m[1], m[3], want)
	}
	m := notListed.FindStringSubmatch(text)
	if m == nil {
		return text
	}
	values := slices.DeleteFunc(strings.Split(strings.ReplaceAll(m[2], `"`, ""), ","), func(v string) bool { return v == "" })
	last := len(values) - 1
	text = fmt.Sprintf("%s must be %s or %s, and is %q", m[1], strings.Join(values[:last], ", "), values[last], m[3])
	if near := finding.Nearest(m[3], values); near != "" {
		text += fmt.Sprintf(", did you mean %q?", near)
	}
	return text
}

// leftOut tells whether a command was chosen because none was named.
func leftOut(c *kong.Context, node *kong.Node) bool {
	return node != nil && node.Parent != nil && node.Parent.DefaultCmd == node && !slices.Contains(c.Args, node.Name)
}

// misspelt tells of a word that is taken for an argument of a command which may be
// left out, as "run" of "virtls gateway vcn".
func misspelt(e *kong.ParseError) (f finding.Finding, ok bool) {
	word, ok := strings.CutPrefix(e.Error(), "unexpected argument ")
	node := e.Context.Selected()
	if !ok || !leftOut(e.Context, node) {
		return f, false
	}
	var names []string
	for _, c := range node.Parent.Children {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	name := strings.TrimSuffix(commandName(e.Context), " "+node.Name)
	f = kindUsage.Found(name, "").WithText("there is no command %s", word).WithFix("%s --help shows how", name)
	if near := finding.Nearest(word, names); near != "" {
		f = f.WithFix("did you mean %s %s?", name, near)
	}
	return f, true
}

// guards are flags without which more people come in, by the ends of their names.
var guards = []string{"tls-creds", "-authz", "accounts", "machines", "used-tokens", "password-file", "keytab", "principal"}

// emptyID refuses a flag that names credentials or an access list, and has no
// name: a variable of a script that is not set must not turn them off.
func emptyID(parsed *kong.Context) error {
	for _, step := range parsed.Path {
		f := step.Flag
		if f == nil || !slices.ContainsFunc(guards, func(end string) bool { return strings.HasSuffix(f.Name, end) }) {
			continue
		}
		if f.Target.Kind() == reflect.String && f.Target.String() == "" {
			return kindUsage.Found("--"+f.Name, "an empty value").WithText("this names nothing").WithFix("leave it out, or say which").Usage()
		}
	}
	return nil
}

// closedFD refuses the number of a file descriptor that was not handed to this
// process. It may have one of that number itself, which is closed on exec.
func closedFD(parsed *kong.Context) error {
	for _, step := range parsed.Path {
		if step.Flag == nil || step.Flag.Name != "passphrase-fd" {
			continue
		}
		fd := step.Flag.Target.Elem().Int()
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF
		}
		if err != nil {
			return kindPassphraseSource.Found(fmt.Sprintf("file descriptor %d", fd), "").Unable(err)
		}
	}
	return nil
}

// commandName returns what was typed of a command, without its arguments.
func commandName(parsed *kong.Context) string {
	name := "virtls"
	for _, step := range parsed.Path {
		if step.Command != nil {
			name += " " + step.Command.Name
		}
	}
	return name
}

// errWrong is returned by a command that has printed its findings, of which one
// at least is an error.
var errWrong = errors.New("something is wrong")

// errUnable is returned by a command that has printed why something could not be
// done.
var errUnable = errors.New("it could not be done")

// finish reports how a command ended, after what it had found until then, and
// returns the exit code.
func (a *app) finish(err error) int {
	if err != nil && a.ctx.Err() != nil {
		err = fleet.Interrupted()
	}
	if lost := a.stdout.err; lost != nil && (err == nil || errors.Is(err, errWrong) || errors.Is(err, errUnable) || errors.Is(err, lost)) {
		err = kindUnwritable.Found("standard output", "").Unable(lost)
	}
	switch {
	case err == nil:
		return finding.ExitOK
	case errors.Is(err, errWrong):
		return finding.ExitWrong
	case errors.Is(err, errUnable):
		return finding.ExitUnable
	case errors.Is(err, syscall.EPIPE):
		return finding.ExitUnable
	}
	last := finding.Of(err)
	if last.Code == kindUsage.Code && last.Fix == kindUsage.Cure {
		last.Fix = a.name + " --help shows how"
	}
	findings := a.found
	if !slices.Contains(findings, last) {
		findings = append(findings, last)
	}
	if a.json && a.stdout.err == nil {
		a.printJSON(finding.NewReport(findings))
	}
	if !a.json || a.stdout.err != nil {
		a.printFindings(findings)
	}
	return finding.ExitCode(err)
}

// judge returns errWrong if a finding is an error, and prints them for people.
func (a *app) judge(findings []finding.Finding) error {
	if !a.json {
		if err := a.printFindings(findings); err != nil {
			return err
		}
	}
	if finding.Worst(findings) == finding.Error {
		return errWrong
	}
	return nil
}

func (a *app) printJSON(v any) error {
	b, err := finding.JSON(v)
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(b)
	return err
}

func (a *app) printf(format string, args ...any) {
	fmt.Fprintf(a.stdout, format, args...)
}
