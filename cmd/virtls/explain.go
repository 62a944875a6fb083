package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"virtls/explain"
	"virtls/finding"
)

type explainCmd struct {
	Text []string `arg:"" optional:"" help:"What a program printed, or the code of a finding of virtls; - for standard input."`
	List bool     `help:"List every text that is known."`
}

func (*explainCmd) Help() string {
	return `Says what is behind a text that QEMU, libvirt, GnuTLS or OpenSSL printed: the causes, the most likely one
first, where to look and what to run. Paste as much of the log as you like; prefixes, colours and broken
lines do not matter. The code of a finding, as virtls prints it in brackets, is explained too.

Examples:
  virtls explain 'Unable to read TLS confirmation: Input/output error'
  journalctl -u libvirtd -n 50 | virtls explain -
  virtls explain certificate-expired
  virtls explain --list`
}

var kindTextUnknown = finding.Define("text-unknown", finding.Error,
	"no text that is known is in this", "virtls explain --list shows all; paste the whole line, and the lines around it")

// maxNearest is how many texts are offered when none fits.
const maxNearest = 3

type explainReport struct {
	finding.Report
	Explanations []explain.Match `json:"explanations"`
	Nearest      []explain.Match `json:"nearest,omitempty"` // when there is no explanation
	Codes        []codeEntry     `json:"codes,omitempty"`   // findings of virtls
}

type listReport struct {
	finding.Report
	Entries []explain.Entry `json:"entries"`
}

func (c *explainCmd) Run(a *app) error {
	switch {
	case c.List && c.Text == nil:
		return a.listTexts()
	case c.List || c.Text == nil:
		return kindUsage.Found("virtls explain", "").WithText("want either a text or --list").
			WithFix("virtls explain 'what the program printed', or virtls explain - to read it from standard input").Usage()
	}
	input := strings.Join(c.Text, " ")
	if input == "-" {
		data, err := a.input("-")
		if err != nil {
			return err
		}
		input = string(data)
	}
	report := explainReport{Report: finding.NewReport(nil), Explanations: []explain.Match{}, Codes: codesIn(input)}
	if report.Codes == nil {
		if found := explain.Explain(input); found != nil {
			report.Explanations = found
		} else {
			report.Nearest = explain.Nearest(input, maxNearest)
			report.Findings = append(report.Findings, report.unknown(input))
		}
	}
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else {
		report.print(a.stdout)
	}
	return a.judge(report.Findings)
}

// listTexts prints every text, by entry.
func (a *app) listTexts() error {
	entries := explain.Entries()
	if a.json {
		return a.printJSON(listReport{finding.NewReport(nil), entries})
	}
	for _, e := range entries {
		a.printf("%s (%s)\n", e.ID, e.By)
		for _, text := range e.Texts {
			a.printf("    %s\n", explain.Readable(text))
		}
	}
	return nil
}

var codeInText = regexp.MustCompile(`\[([a-z0-9]+(?:-[a-z0-9]+)*)\]`)

// codesIn returns the findings of virtls that the input names: it is a code, or
// has codes in brackets as findings are printed.
func codesIn(input string) (codes []codeEntry) {
	wanted := map[string]bool{strings.Trim(strings.TrimSpace(input), "[]"): true}
	for _, m := range codeInText.FindAllStringSubmatch(input, -1) {
		wanted[m[1]] = true
	}
	for _, k := range finding.Catalogue() {
		if wanted[k.Code] {
			codes = append(codes, entry(k))
		}
	}
	return codes
}

// unknown says that the input is not known, and what comes nearest to it.
func (r *explainReport) unknown(input string) finding.Finding {
	line := strings.Join(strings.Fields(input), " ")
	if runes := []rune(line); len(runes) > 100 {
		line = string(runes[:100]) + "..."
	}
	f := kindTextUnknown.Found("", fmt.Sprintf("%q", line))
	var codes []string
	for _, k := range finding.Catalogue() {
		codes = append(codes, k.Code)
	}
	switch code := finding.Nearest(line, codes); {
	case code != "":
		r.Nearest = nil
		return f.WithFix("virtls explain %s", code)
	case len(r.Nearest) > 0:
		return f.WithFix("see whether it is one of the nearest; virtls explain --list shows all")
	}
	return f
}

// lineWidth is where explanations are broken.
const lineWidth = 100

func (r *explainReport) print(w io.Writer) {
	for i, c := range r.Codes {
		separate(w, i)
		fmt.Fprintf(w, "%s (%s)\n", c.Code, c.Severity)
		wrap(w, "    cause: ", "           ", c.Cause)
		if c.Cure != "" {
			wrap(w, "    mend:  ", "           ", c.Cure)
		}
		if c.Example != nil {
			fmt.Fprintf(w, "\nFor example:\n\n%s", printed(*c.Example))
		}
	}
	for i, m := range r.Explanations {
		separate(w, i)
		fmt.Fprintf(w, "%s: %s\n", m.Entry.By, strings.ReplaceAll(m.Found, "\n", ""))
		printEntry(w, m.Entry)
	}
	for i, m := range r.Nearest {
		text := m.Entry.By + ": " + explain.Readable(m.Text)
		if i == 0 {
			fmt.Fprintf(w, "Nothing fits. The nearest is\n\n%s\n", text)
			printEntry(w, m.Entry)
			continue
		}
		fmt.Fprintf(w, "\nor %s\n", text)
	}
}

func separate(w io.Writer, i int) {
	if i > 0 {
		fmt.Fprintln(w)
	}
}

func printEntry(w io.Writer, e explain.Entry) {
	wrap(w, "    ", "    ", e.Means)
	if e.Versions != "" {
		wrap(w, "    versions: ", "              ", e.Versions)
	}
	for i, c := range e.Causes {
		text := c.Text
		if c.Versions != "" {
			text += " [" + c.Versions + "]"
		}
		wrap(w, fmt.Sprintf("%3d. ", i+1), "     ", text)
		wrap(w, "     look: ", "           ", c.Look)
		label := "     run:  "
		for _, run := range c.Run {
			fmt.Fprintf(w, "%s%s\n", label, run) // unbroken, to be copied
			label = "           "
		}
	}
}

// wrap prints text in lines of lineWidth, the first behind one prefix and the
// others behind another.
func wrap(w io.Writer, first, others, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len(line)+1+len(word) > lineWidth {
			fmt.Fprintln(w, line)
			line, empty = others, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	fmt.Fprintln(w, line)
}
