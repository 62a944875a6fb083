package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"virtls/explain"
)

// The commands of virtls that explanations name are understood: none of them
// and none of their flags has been renamed.
func TestExplainedCommandsParse(t *testing.T) {
	tried := map[string]bool{}
	for _, e := range explain.Entries() {
		for _, c := range e.Causes {
			for _, run := range c.Run {
				line := explain.Readable(run)
				name, _, _ := strings.Cut(strings.TrimPrefix(line, "virtls "), " ")
				if !strings.HasPrefix(line, "virtls ") || dropins[name] != nil || tried[line] {
					continue
				}
				tried[line] = true
				words := shellWords(t, line)
				parser, err := kong.New(&cli{}, kong.Name("virtls"), kong.Exit(func(int) {}))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := parser.Parse(words[1:]); err != nil {
					t.Errorf("%s: %s: %v", e.ID, line, err)
				}
			}
		}
	}
	if len(tried) < 40 {
		t.Errorf("only %d commands", len(tried))
	}
}

// Every command that explanations name is one that a shell can read.
func TestExplainedCommandsAreShell(t *testing.T) {
	var script strings.Builder
	for _, e := range explain.Entries() {
		for _, c := range e.Causes {
			for _, run := range c.Run {
				script.WriteString(explain.Readable(run) + "\n")
			}
		}
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
