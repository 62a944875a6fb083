package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"virtls/pki"
)

// leaves calls f for every command that does something and is not another
// program's, which has help of its own.
func leaves(n *kong.Node, path string, f func(path string, n *kong.Node)) {
	commands := 0
	for _, child := range n.Children {
		if child.Type == kong.CommandNode {
			commands++
			leaves(child, strings.TrimSpace(path+" "+child.Name), f)
		}
	}
	if commands == 0 && dropins[path] == nil {
		f(path, n)
	}
}

func model(t *testing.T) *kong.Node {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("virtls"))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Node
}

// Every command explains itself with an example of itself that could be typed.
func TestHelpHasExamples(t *testing.T) {
	example := regexp.MustCompile(`(?s)\nExamples?:\n(.*)$`)
	leaves(model(t), "", func(path string, n *kong.Node) {
		t.Run(path, func(t *testing.T) {
			found := example.FindStringSubmatch("\n" + n.Detail)
			if found == nil {
				t.Fatalf("the help has no examples:\n%s", n.Detail)
			}
			for line := range strings.Lines(found[1]) {
				if !strings.Contains(line, "virtls "+path) && !strings.HasPrefix(line, "    ") {
					t.Errorf("example %q is not one of %q", line, path)
				}
			}
			for _, flag := range n.Flags {
				if flag.Help == "" {
					t.Errorf("--%s has no help", flag.Name)
				}
				if !flag.IsBool() && flag.Tag.PlaceHolder == "" {
					t.Errorf("--%s does not say what its value is", flag.Name)
				}
			}
		})
	})
}

// The key types that the help names exist.
func TestHelpOfKeyTypes(t *testing.T) {
	named := regexp.MustCompile(`\b(ec|p[0-9]+|rsa[0-9]*|ed25519|mldsa[0-9]+)\b`)
	leaves(model(t), "", func(path string, n *kong.Node) {
		for _, flag := range n.Flags {
			if flag.PlaceHolder != "TYPE" {
				continue
			}
			types := named.FindAllString(flag.Help, -1)
			if len(types) < 7 {
				t.Errorf("%s --%s: the help names %q", path, flag.Name, types)
			}
			for _, name := range types {
				if _, err := pki.ParseKeySpec(name); err != nil {
					t.Errorf("%s --%s: %v", path, flag.Name, err)
				}
			}
		}
	})
}

// The examples of the help are understood: no flag and no command in them has
// been renamed.
func TestHelpExamplesParse(t *testing.T) {
	leaves(model(t), "", func(path string, n *kong.Node) {
		text := strings.ReplaceAll(n.Detail, "\\\n", "")
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "virtls "+path+" ") {
				continue
			}
			line, _, _ = strings.Cut(line, " > ")
			words := shellWords(t, line)
			parser, err := kong.New(&cli{}, kong.Name("virtls"), kong.Exit(func(int) {}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(words[1:]); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	})
}

// shellWords splits an example as a shell does.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `printf '%s\n' `+line).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// Each script says in its first line which behaviour it is about.
func TestScriptsSayWhatTheyShow(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range scripts {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(data), "# ") {
			t.Errorf("%s does not begin with a comment", name)
		}
	}
}
