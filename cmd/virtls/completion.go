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
	words := completions(a.parser.Model.Node, "")
	switch c.Shell {
	case "fish":
		a.printf("%s", fishScript(words))
	case "zsh":
		a.printf("autoload -U +X bashcompinit && bashcompinit\n%s", bashScript(words))
	default:
		a.printf("%s", bashScript(words))
	}
	return nil
}

// A completion is what may follow a command.
type completion struct {
	path  string // of the command, empty for virtls itself
	words []string
	help  map[string]string
}

// completions lists commands and flags, by command.
func completions(n *kong.Node, path string) []completion {
	c := completion{path: path, help: map[string]string{}}
	var below []completion
	for _, child := range n.Children {
		if child.Type != kong.CommandNode || child.Hidden {
			continue
		}
		c.words = append(c.words, child.Name)
		c.help[child.Name] = child.Help
		below = append(below, completions(child, strings.TrimSpace(path+" "+child.Name))...)
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			word := "--" + f.Name
			if !slices.Contains(c.words, word) {
				c.words = append(c.words, word)
				c.help[word] = f.Help
			}
		}
	}
	return append([]completion{c}, below...)
}

// bashScript completes commands and flags, and files elsewhere.
func bashScript(all []completion) string {
	var b strings.Builder
	b.WriteString("# bash completion for virtls\n_virtls() {\n  local cur=${COMP_WORDS[COMP_CWORD]} path= w\n" +
		"  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$path $w\" in\n")
	for _, c := range all[1:] {
		parent, name := "", c.path
		if i := strings.LastIndex(c.path, " "); i >= 0 {
			parent, name = c.path[:i], c.path[i+1:]
		}
		fmt.Fprintf(&b, "    \"%s %s\") path=\"%s\" ;;\n", parent, name, c.path)
	}
	b.WriteString("    esac\n  done\n  local words=\n  case \"$path\" in\n")
	for _, c := range all {
		fmt.Fprintf(&b, "  \"%s\") words=\"%s\" ;;\n", c.path, strings.Join(c.words, " "))
	}
	b.WriteString("  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n" +
		"  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$cur\"))\n}\ncomplete -o filenames -F _virtls virtls\n")
	return b.String()
}

func fishScript(all []completion) string {
	var b strings.Builder
	b.WriteString("# fish completion for virtls\n")
	for _, c := range all {
		condition := "__fish_use_subcommand"
		if c.path != "" {
			condition = "__fish_seen_subcommand_from " + c.path[strings.LastIndex(c.path, " ")+1:]
		}
		for _, w := range c.words {
			option := "-a " + w
			if long, ok := strings.CutPrefix(w, "--"); ok {
				option = "-l " + long
			}
			fmt.Fprintf(&b, "complete -c virtls -n '%s' %s -d '%s'\n", condition, option, strings.ReplaceAll(c.help[w], "'", `\'`))
		}
	}
	return b.String()
}
