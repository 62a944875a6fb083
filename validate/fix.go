package validate

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"virtls/finding"
)

// A Step mends one finding.
type Step struct {
	Finding finding.Finding `json:"-"`
	Code    string          `json:"code"`    // the finding's
	Subject string          `json:"subject"` // the finding's
	Command string          `json:"command"` // for a shell; empty where somebody must think first
	Safe    bool            `json:"safe"`    // it changes modes, owners and labels alone, so that it can be run unasked
}

// commands begin the fixes that a shell can run. Others are advice.
var commands = []string{"chmod", "chown", "chgrp", "setfacl", "restorecon", "semanage", "mkdir", "mv", "rm", "rmdir", "install", "echo", "printf", "sed", "shred", "psktool"}

// Steps returns how to mend the findings, in their order, each command once.
func Steps(findings []finding.Finding) []Step {
	var steps []Step
	seen := map[string]bool{}
	for _, f := range findings {
		s := Step{Finding: f, Code: f.Code, Subject: f.Subject}
		word, _, more := strings.Cut(f.Fix, " ")
		if more && slices.Contains(commands, word) && !strings.Contains(f.Fix, "FILE") {
			if seen[f.Fix] {
				continue
			}
			seen[f.Fix] = true
			s.Command = f.Fix
			_, err := parseFix(f.Fix)
			s.Safe = err == nil
		}
		steps = append(steps, s)
	}
	return steps
}

// Script writes the steps as a shell script. What changes more than modes,
// owners and labels stands in it as a comment, to be judged first.
func Script(w io.Writer, steps []Step) error {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# Mends what virtls validate found. Read it before you run it: lines that change\n# more than modes, owners and labels are commented out.\nset -eu\n")
	for _, s := range steps {
		fmt.Fprintf(&b, "\n# %s: %s\n", s.Finding.Severity, comment(s.Finding.String()))
		switch {
		case s.Safe:
			fmt.Fprintln(&b, s.Command)
		case s.Command != "":
			fmt.Fprintf(&b, "#: %s\n", comment(s.Command))
		case s.Finding.Fix != "":
			fmt.Fprintf(&b, "# To mend: %s\n", comment(s.Finding.Fix))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// comment keeps a text in its line.
func comment(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
