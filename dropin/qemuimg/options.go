package qemuimg

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"virtls/dropin"
	"virtls/object"
)

// An option is one of a command's options.
type option struct {
	dropin.Option
	value   string // what its argument is called in the help
	help    string
	refused bool // the real one has it
}

func flag(long string, short byte, help string) option {
	return option{Option: dropin.Option{Long: long, Short: short}, help: help}
}

func valued(long string, short byte, value, help string) option {
	return option{Option: dropin.Option{Long: long, Short: short, Arg: dropin.RequiredArg}, value: value, help: help}
}

// refused is an option of the real program that this one has not.
func refused(o option) option {
	o.refused = true
	return o
}

// Options that several commands have.
var (
	helpOption   = flag("help", 'h', "print this help and exit")
	formatOption = valued("format", 'f', "FMT", "format of FILE: raw or qcow2; by default what it looks like")
	imageOpts    = flag("image-opts", 0, "FILE is a list of settings (key=value,...), not a name")
	objectOption = valued("object", 0, "OBJDEF", "make an object: tls-creds-x509, tls-creds-psk, secret, ...")
	shareOption  = flag("force-share", 'U', "read what another process writes to")
	quietOption  = flag("quiet", 'q', "print nothing but errors")
	progress     = flag("progress", 'p', "show the progress")
	outputOption = valued("output", 0, "human|json", "form of the output")
)

// arguments are a parsed command line.
type arguments struct {
	dropin.Parsed
	command   *command
	imageOpts bool
	format    string
	json      bool
}

var cacheModes = []string{"none", "off", "writeback", "writethrough", "directsync", "unsafe"}

// parse reads the arguments of a command and makes the objects.
func (r *run) parse(c *command, args []string) (*arguments, error) {
	program := "qemu-img"
	if r.commandHelp {
		program += " " + c.name
	}
	syntax := dropin.Syntax{Program: program}
	for _, o := range c.options {
		syntax.Options = append(syntax.Options, o.Option)
	}
	parsed, err := syntax.Parse(args)
	a := &arguments{Parsed: parsed, command: c}
	for _, m := range parsed.Matches { // in the order given, as the real one
		if err := r.take(c, a, m); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, r.optionText(err)
	}
	if a.imageOpts && a.format != "" {
		return nil, errors.New("--image-opts and --format are mutually exclusive")
	}
	return a, r.makeObjects(a)
}

// optionText gives a mistake with options the generation's words: up to 7.2
// they are QEMU's own, later the C library's.
func (r *run) optionText(err error) error {
	option, ok := errors.AsType[*dropin.OptionError](err)
	switch {
	case !ok || r.commandHelp:
		return err
	case option.Problem == dropin.MissingArgument:
		option.Text = fmt.Sprintf("missing argument for option '%s'", option.Option)
	default:
		option.Text = fmt.Sprintf("unrecognized option '%s'", option.Option)
	}
	return option
}

// take looks at one option.
func (r *run) take(c *command, a *arguments, m dropin.Match) error {
	for _, o := range c.options {
		if o.Long == m.Name && o.As == "" && o.refused {
			return fmt.Errorf("--%s is not supported by virtls", m.Name)
		}
	}
	switch m.Name {
	case "help":
		return &object.Help{Text: c.help()}
	case "format":
		a.format = m.Value
	case "image-opts":
		a.imageOpts = true
	case "quiet":
		r.quiet = true
	case "output":
		if m.Value != "human" && m.Value != "json" {
			return r.badForm(m.Value)
		}
		a.json = m.Value == "json"
	case "cache", "source-cache":
		if !slices.Contains(cacheModes, m.Value) {
			return say("Invalid cache option: %s", m.Value)
		}
	}
	return nil
}

func (r *run) badForm(form string) error {
	text := r.badOutput
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, form)
	}
	err := errors.New(text)
	if r.tryAfterForm {
		return usageError{err}
	}
	return err
}

// makeObjects makes the objects of the command line.
func (r *run) makeObjects(a *arguments) error {
	for _, text := range a.All("object") {
		findings, err := r.objects.Add(text)
		if err != nil {
			return plainText(err)
		}
		for _, f := range findings {
			fmt.Fprintf(r.Err, "qemu-img: warning: %v\n", f)
		}
	}
	return nil
}

var sizeSuffixes = map[byte]uint{'b': 0, 'k': 10, 'm': 20, 'g': 30, 't': 40, 'p': 50, 'e': 60}

// parseSize reads a number of bytes with a suffix, as qemu_strtosz does: 1.5G,
// 64k, 0x200.
func parseSize(text string) (int64, bool) {
	if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		n, err := strconv.ParseInt(hex, 16, 64)
		return n, err == nil
	}
	shift := uint(0)
	number := text
	if text != "" {
		if s, ok := sizeSuffixes[text[len(text)-1]|0x20]; ok {
			shift, number = s, text[:len(text)-1]
		}
	}
	whole, fraction, _ := strings.Cut(number, ".")
	if whole == "" || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, false
	}
	n <<= shift
	if fraction != "" {
		part, err := strconv.ParseFloat("0."+fraction, 64)
		if err != nil {
			return 0, false
		}
		n += int64(part * float64(int64(1)<<shift))
	}
	return n, n >= 0
}

// settings reads "key=value,key=value", in which ",," stands for a comma, in
// order. The last of a key counts.
func settings(text string) (list []dropin.Match, err error) {
	for text != "" {
		key, rest, found := strings.Cut(text, "=")
		if comma := strings.IndexByte(key, ','); comma >= 0 || !found {
			if comma >= 0 {
				key = key[:comma]
			}
			return nil, say("Invalid parameter '%s'", key)
		}
		var value strings.Builder
		for {
			before, after, more := strings.Cut(rest, ",")
			value.WriteString(before)
			rest = after
			if !more || !strings.HasPrefix(after, ",") {
				break
			}
			value.WriteByte(',')
			rest = after[1:]
		}
		list = append(list, dropin.Match{Name: key, Value: value.String()})
		text = rest
	}
	return list, nil
}
