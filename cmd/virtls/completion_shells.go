package main

import (
	"fmt"
	"strings"
)

// walk is the part of a script that goes through the words before the cursor:
// which command they make, which flag still lacks its value, and which fleet
// file they name. A flag's value is no command, whatever it says.
//
// It is common to bash and zsh. (path is a name that zsh has taken.)
func walk(commands []completion) string {
	var b strings.Builder
	b.WriteString(`    [[ $w == *.yaml || $w == *.yml ]] && fleet=$w
    case $w in
    "=") continue ;;
    ":") flag=$last; continue ;;
    esac
    last=$flag
    if [[ -n $flag ]]; then flag=; continue; fi
    case "$cmd $w" in
`)
	for _, c := range commands[1:] {
		parent, name := c.split()
		fmt.Fprintf(&b, "    \"%s %s\") cmd=\"%s\" ;;\n", parent, name, c.path)
	}
	for _, c := range commands {
		for _, f := range c.flags {
			if f.value {
				fmt.Fprintf(&b, "    \"%s %s\") flag=%s ;;\n", c.path, f.text, f.text)
			}
		}
	}
	b.WriteString("    esac\n")
	return b.String()
}

// bashScript completes commands, flags and their values; whatever else there
// may be is a file. bash takes = and : for words of their own.
func bashScript(commands []completion) string {
	var b strings.Builder
	b.WriteString(`# bash completion for virtls
_virtls() {
  local cur=${COMP_WORDS[COMP_CWORD]} cmd= flag= last= fleet=fleet.yaml words= flags= lead= several= before= w
  for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
`)
	b.WriteString(walk(commands))
	b.WriteString("  done\n  [[ $cur == \"=\" ]] && cur=\n  [[ $cur == \":\" ]] && flag=$last\n  case \"$cmd\" in\n")
	for _, c := range commands {
		fmt.Fprintf(&b, "  \"%s\") words=\"%s\" flags=\"%s\" ;;\n", c.path, texts(c.words)+bashNames(c.names), texts(c.flags))
	}
	b.WriteString("  esac\n  [[ $cur == -* ]] && words=$flags\n  [[ -z $flag ]] || case \"$cmd $flag\" in\n")
	for _, c := range commands {
		for _, f := range c.flags {
			if list := strings.Join(f.values, " ") + bashNames(f.names); list != "" {
				fmt.Fprintf(&b, "  \"%s %s\") words=\"%s\"%s ;;\n", c.path, f.text, list, ifList(f, " several=yes"))
			}
		}
	}
	b.WriteString(`  *) words= ;;
  esac
  if [[ $cur == ":" ]]; then
    lead=${COMP_WORDS[COMP_CWORD-1]}: cur=
  elif ((COMP_CWORD > 1)) && [[ ${COMP_WORDS[COMP_CWORD-1]} == ":" ]]; then
    lead=${COMP_WORDS[COMP_CWORD-2]}:
  fi
  if [[ -n $several && $cur == *,* ]]; then before=${cur%,*}, cur=${cur##*,}; fi
  COMPREPLY=($(compgen -W "$words" -- "$lead$cur"))
  COMPREPLY=("${COMPREPLY[@]#"$lead"}")
  if [[ -n $before ]]; then COMPREPLY=("${COMPREPLY[@]/#/$before}"); fi
}
complete -o default -F _virtls virtls
`)
	return b.String()
}

// ifList returns the text for a flag that takes several values.
func ifList(f word, text string) string {
	if f.list {
		return text
	}
	return ""
}

func bashNames(what string) string {
	if what == "" {
		return ""
	}
	return fmt.Sprintf(`$(virtls completion bash --%ss "$fleet" 2>/dev/null)`, what)
}

// zshScript does the same for zsh, and says what commands and flags do.
func zshScript(commands []completion) string {
	var b strings.Builder
	b.WriteString(`#compdef virtls
_virtls() {
  local cmd= flag= last= fleet=fleet.yaml files= w i
  local -a list flags
  for ((i = 2; i < CURRENT; i++)); do
    w=${words[i]}
`)
	b.WriteString(walk(commands))
	b.WriteString("  done\n  if [[ -n $flag ]]; then\n    case \"$cmd $flag\" in\n")
	for _, c := range commands {
		for _, f := range c.flags {
			if list := strings.TrimSpace(strings.Join(f.values, " ") + " " + zshNames(f.names)); list != "" {
				fmt.Fprintf(&b, "    \"%s %s\") list=(%s);%s compadd -a list; return ;;\n", c.path, f.text, list, ifList(f, " compset -P '*,';"))
			}
		}
	}
	b.WriteString("    esac\n    _files\n    return\n  fi\n  case \"$cmd\" in\n")
	for _, c := range commands {
		files := ""
		if c.takesFiles() {
			files = "    files=yes\n"
		}
		fmt.Fprintf(&b, "  \"%s\")\n    list=(%s)\n    flags=(%s)\n%s    ;;\n", c.path, zshWords(c.words, c.names), zshWords(c.flags, ""), files)
	}
	b.WriteString(`  esac
  if [[ ${words[CURRENT]} == -* ]]; then
    _describe -o flag flags
    return
  fi
  ((${#list})) && _describe word list
  [[ -n $files ]] && _files
}
if [[ ${funcstack[1]} == _virtls ]]; then _virtls "$@"; else compdef _virtls virtls; fi
`)
	return b.String()
}

func zshNames(what string) string {
	if what == "" {
		return ""
	}
	return fmt.Sprintf(`${(f)"$(virtls completion zsh --%ss "$fleet" 2>/dev/null)"}`, what)
}

// zshWords lists words as _describe takes them: WORD:DESCRIPTION, where WORD
// has its colons escaped.
func zshWords(words []word, names string) string {
	var list []string
	for _, w := range words {
		list = append(list, shellQuote(strings.ReplaceAll(w.text, ":", `\:`)+":"+w.help))
	}
	if names != "" {
		list = append(list, strings.Replace(zshNames(names), `${(f)`, `${${(f)`, 1)+`//:/\\:}`)
	}
	return strings.Join(list, " ")
}

// fishScript does the same for fish.
func fishScript(commands []completion) string {
	var b strings.Builder
	b.WriteString(`# fish completion for virtls
function __virtls_walk
    set -g __virtls_cmd
    set -g __virtls_fleet fleet.yaml
    set -l flag
    for w in (commandline -opc)[2..-1]
        string match -qr '\.ya?ml$' -- $w; and set -g __virtls_fleet $w
        if test -n "$flag"
            set flag
            continue
        end
        switch "$__virtls_cmd $w"
`)
	for _, c := range commands[1:] {
		parent, name := c.split()
		fmt.Fprintf(&b, "            case '%s %s'\n                set -g __virtls_cmd '%s'\n", parent, name, c.path)
	}
	for _, c := range commands {
		for _, f := range c.flags {
			if f.value {
				fmt.Fprintf(&b, "            case '%s %s'\n                set flag %s\n", c.path, f.text, f.text)
			}
		}
	}
	b.WriteString(`        end
    end
end
function __virtls_at
    __virtls_walk
    test "$__virtls_cmd" = "$argv[1]"
end
function __virtls_names
    __virtls_walk
    virtls completion fish --$argv[1]s $__virtls_fleet 2>/dev/null
end
`)
	for _, c := range commands {
		condition := "complete -c virtls -n " + shellQuote("__virtls_at "+shellQuote(c.path))
		files := ""
		if !c.takesFiles() {
			files = " -f"
		}
		for _, w := range c.words {
			fmt.Fprintf(&b, "%s%s -a %s -d %s\n", condition, files, w.text, fishQuote(w.help))
		}
		if c.names != "" {
			fmt.Fprintf(&b, "%s%s -a '(__virtls_names %s)'\n", condition, files, c.names)
		}
		for _, f := range c.flags {
			fmt.Fprintf(&b, "%s %s -d %s\n", condition, fishFlag(f), fishQuote(f.help))
		}
	}
	return b.String()
}

// fishFlag says what a flag is and what follows it.
func fishFlag(f word) string {
	name, long := strings.CutPrefix(f.text, "--")
	option := "-l " + name
	if !long {
		option = "-s " + strings.TrimPrefix(f.text, "-")
	}
	values := strings.Join(f.values, " ")
	if f.names != "" {
		values = "(__virtls_names " + f.names + ")"
	}
	if f.list && values != "" {
		values = "(__fish_append , " + values + ")"
	}
	switch {
	case values != "":
		return option + " -x -a " + fishQuote(values)
	case f.value:
		return option + " -rF"
	}
	return option
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// shellQuote quotes a word for bash and zsh.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
