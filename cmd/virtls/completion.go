package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
}

func (*completionCmd) Help() string {
	return `Examples:
  source <(virtls completion bash)
  virtls completion fish > ~/.config/fish/completions/virtls.fish`
}

func (c *completionCmd) Run(a *app) error {
	commands := completions(a.parser.Model.Node, "")
	switch c.Shell {
	case "fish":
		a.printf("%s", fishScript(commands))
	case "zsh":
		a.printf("#compdef virtls\nautoload -U +X bashcompinit && bashcompinit\n%s", bashScript(commands))
	default:
		a.printf("%s", bashScript(commands))
	}
	return nil
}

// A completion is what may follow a command.
type completion struct {
	path  string // of the command, empty for virtls itself
	words []word // commands below it, and values of its arguments
	flags []word
}

// A word is one that may be typed.
type word struct {
	text, help string
	values     []string // of a flag that takes one of a few
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
		if arg.Enum != "" {
			for _, value := range arg.EnumSlice() {
				c.words = append(c.words, word{text: value})
			}
		}
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			flag := word{text: "--" + f.Name, help: f.Help}
			if f.Enum != "" {
				flag.values = f.EnumSlice()
			}
			if !slices.ContainsFunc(c.flags, func(w word) bool { return w.text == flag.text }) {
				c.flags = append(c.flags, flag)
			}
		}
	}
	return append([]completion{c}, below...)
}

func texts(words []word) string {
	var list []string
	for _, w := range words {
		list = append(list, w.text)
	}
	return strings.Join(list, " ")
}

// bashScript completes commands, flags and the values of flags that take one
// of a few; whatever else there may be is a file.
func bashScript(commands []completion) string {
	var b strings.Builder
	b.WriteString("# bash completion for virtls\n_virtls() {\n" +
		"  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= words= flags= w\n" +
		"  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$path $w\" in\n")
	for _, c := range commands[1:] {
		parent, name := "", c.path
		if i := strings.LastIndex(c.path, " "); i >= 0 {
			parent, name = c.path[:i], c.path[i+1:]
		}
		fmt.Fprintf(&b, "    \"%s %s\") path=\"%s\" ;;\n", parent, name, c.path)
	}
	b.WriteString("    esac\n  done\n  case \"$path\" in\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  \"%s\") words=\"%s\" flags=\"%s\" ;;\n", c.path, texts(c.words), texts(c.flags))
	}
	b.WriteString("  esac\n  case \"$path $prev\" in\n")
	for _, c := range commands {
		for _, f := range c.flags {
			if f.values != nil {
				fmt.Fprintf(&b, "  \"%s %s\") words=\"%s\" ;;\n", c.path, f.text, strings.Join(f.values, " "))
			}
		}
	}
	b.WriteString("  esac\n  [[ $cur != -* ]] || words=$flags\n" +
		"  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _virtls virtls\n")
	return b.String()
}

func fishScript(commands []completion) string {
	var b strings.Builder
	b.WriteString("# fish completion for virtls\n")
	for _, c := range commands {
		condition := "__fish_use_subcommand"
		if c.path != "" {
			condition = "__fish_seen_subcommand_from " + c.path[strings.LastIndex(c.path, " ")+1:]
		}
		for _, w := range c.words {
			fmt.Fprintf(&b, "complete -c virtls -n '%s' -a %s -d %s\n", condition, w.text, fishQuote(w.help))
		}
		for _, f := range c.flags {
			values := ""
			if f.values != nil {
				values = " -x -a " + fishQuote(strings.Join(f.values, " "))
			}
			fmt.Fprintf(&b, "complete -c virtls -n '%s' -l %s%s -d %s\n", condition, strings.TrimPrefix(f.text, "--"), values, fishQuote(f.help))
		}
	}
	return b.String()
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
