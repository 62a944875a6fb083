package main

import (
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
	"virtls/proto/vnc"
)

type completionCmd struct {
	Shell   string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
	Names   string `help:"Print the names of a fleet file's hosts and clients, for the script." placeholder:"FLEET" hidden:""`
	Holders string `help:"Print them as revoke and list take them." placeholder:"FLEET" hidden:""`
}

func (*completionCmd) Help() string {
	return `Prints a script that completes commands, flags, their values, and the names of the hosts and clients in
the fleet file that stands in the command line, or in fleet.yaml.

Examples:
  source <(virtls completion bash)
  virtls completion zsh > ~/.zfunc/_virtls
  virtls completion fish > ~/.config/fish/completions/virtls.fish`
}

func (c *completionCmd) Run(a *app) error {
	if file := c.Names + c.Holders; file != "" {
		c.printNames(a, file)
		return nil
	}
	script := map[string]func([]completion) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell](
		completions(a.parser.Model.Node, ""))
	if a.json {
		return a.printJSON(completionReport{finding.NewReport(nil), script})
	}
	_, err := io.WriteString(a.stdout, script)
	return err
}

type completionReport struct {
	finding.Report
	Script string `json:"script"`
}

// printNames prints nothing for a file that cannot be read: this is no moment to complain.
func (c *completionCmd) printNames(a *app, name string) {
	file, err := a.load(name)
	if err != nil {
		return
	}
	for h, err := range file.Holders {
		switch {
		case err != nil:
		case c.Holders != "":
			a.printf("%s\n", h.ID())
		default:
			a.printf("%s\n", h.Name)
		}
	}
}

// A completion is what may follow a command.
type completion struct {
	path  string // of the command, empty for virtls itself
	words []word // commands below it, and values of its arguments
	names string // what its arguments are: see word
	files bool   // its arguments may be files beside the words
	flags []word
}

// A word is one that may be typed.
type word struct {
	text, help string
	value      bool     // it is a flag, and a value follows
	values     []string // that value is one of these
	names      string   // that value is a "name" or a "holder" (host:NAME) of the fleet file
	list       bool     // there may be several of them, with commas in between
}

// completions lists commands and flags, by command.
func completions(n *kong.Node, path string) []completion {
	c := completion{path: path}
	var below []completion
	for _, child := range n.Children {
		if child.Type != kong.CommandNode || child.Hidden {
			continue
		}
		c.words = append(c.words, word{text: child.Name, help: child.Help})
		below = append(below, completions(child, strings.TrimSpace(path+" "+child.Name))...)
	}
	for _, arg := range n.Positional {
		switch what := arg.Tag.Get("complete"); what {
		case "nbd", "nbd or file":
			c.words, c.files = nbdSchemes, what != "nbd"
		default:
			c.names = what
		}
		if arg.Enum != "" {
			for _, value := range arg.EnumSlice() {
				c.words = append(c.words, word{text: value})
			}
		}
	}
	if n.Passthrough {
		return []completion{c}
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			c.addFlag(f)
		}
	}
	if n.DefaultCmd != nil { // whose name may be left out
		for _, f := range n.DefaultCmd.Flags {
			c.addFlag(f)
		}
	}
	return append([]completion{c}, below...)
}

func (c *completion) addFlag(f *kong.Flag) {
	flag := word{text: "--" + f.Name, help: f.Help, value: !f.IsBool(), list: f.IsSlice() && f.Tag.Sep != -1}
	switch what := f.Tag.Get("complete"); {
	case f.Enum != "":
		flag.values = slices.DeleteFunc(f.EnumSlice(), func(v string) bool { return v == "" })
	case what == "name" || what == "holder":
		flag.names = what
	case what != "":
		flag.values = valuesOf(what)
	}
	if slices.ContainsFunc(c.flags, func(w word) bool { return w.text == flag.text }) {
		return
	}
	c.flags = append(c.flags, flag)
	if f.Short != 0 {
		flag.text = "-" + string(f.Short)
		c.flags = append(c.flags, flag)
	}
}

// valuesOf lists what a flag may say that no enum limits, because other forms are
// understood, too, or another package knows them.
func valuesOf(what string) (list []string) {
	switch what {
	case "consumer":
		return creds.ConsumerNames()
	case "key":
		return []string{"ec", "p384", "p521", "rsa", "rsa2048", "rsa3072", "rsa4096", "ed25519"}
	case "any key":
		return append(valuesOf("key"), "mldsa44", "mldsa65", "mldsa87")
	case "mechanism":
		return mechanisms
	case "reason":
		for r := pki.Unspecified; r <= pki.AACompromise; r++ {
			if _, err := pki.ParseRevocationReason(r.String()); err == nil && r != pki.RemoveFromCRL {
				list = append(list, r.String())
			}
		}
	case "security":
		for _, s := range vnc.Strongest() {
			list = append(list, s.String())
		}
	}
	return list
}

// takesFiles tells whether an argument may be a file.
func (c *completion) takesFiles() bool {
	return c.files || len(c.words) == 0 && c.names != "name"
}

// nbdSchemes are what addresses of exports begin with.
var nbdSchemes = []word{
	{text: "nbd://", help: "a host"}, {text: "nbds://", help: "a host, with TLS"},
	{text: "nbd+unix:///", help: "a UNIX socket"}, {text: "nbds+unix:///", help: "a UNIX socket, with TLS"},
}

// split returns the command above a command, and its own name.
func (c *completion) split() (parent, name string) {
	if i := strings.LastIndex(c.path, " "); i >= 0 {
		return c.path[:i], c.path[i+1:]
	}
	return "", c.path
}

func texts(words []word) string {
	var list []string
	for _, w := range words {
		list = append(list, w.text)
	}
	return strings.Join(list, " ")
}
