package validate

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"virtls/finding"
)

// A Line sums up the verdicts of one consumer's releases on one set of files:
// all that say the same.
type Line struct {
	Subject, Consumer string
	Accepted          bool
	By                string // "QEMU 7.2 to 10.0.7"
	Says              string // what these releases say when they refuse
}

// Lines sums up the verdicts: a line for a set if all releases agree, else one
// for each opinion.
func (r *Result) Lines() []Line {
	var lines []Line
	for start := 0; start < len(r.Verdicts); {
		end := start
		for end < len(r.Verdicts) && r.Verdicts[end].Subject == r.Verdicts[start].Subject && r.Verdicts[end].Consumer == r.Verdicts[start].Consumer {
			end++
		}
		lines = append(lines, opinions(r.Verdicts[start:end])...)
		start = end
	}
	return lines
}

// opinions sums up the verdicts on one set.
func opinions(verdicts []Verdict) []Line {
	var lines []Line
	var versions [][]string
	for _, v := range verdicts {
		at := slices.IndexFunc(lines, func(l Line) bool { return l.Accepted == v.Accepted && l.Says == v.Says })
		if at < 0 {
			at = len(lines)
			lines = append(lines, Line{Subject: v.Subject, Consumer: v.Consumer, Accepted: v.Accepted, Says: v.Says})
			versions = append(versions, nil)
		}
		versions[at] = append(versions[at], v.Version)
	}
	for i := range lines {
		lines[i].By = program(lines[i].Consumer) + " " + stretch(versions[i], verdicts)
	}
	return lines
}

// stretch writes versions as "7.2 to 10.0.7" where they follow each other.
func stretch(versions []string, all []Verdict) string {
	first := slices.IndexFunc(all, func(v Verdict) bool { return v.Version == versions[0] })
	if n := len(versions); n > 2 && all[first+n-1].Version == versions[n-1] {
		return versions[0] + " to " + versions[n-1]
	}
	return strings.Join(versions, ", ")
}

// fewDirectories is up to how many directories each is printed.
const fewDirectories = 12

// Print writes the result for people: what each consumer makes of each
// directory, then what was found. Of many directories it leaves out those with
// which everybody is content.
func (r *Result) Print(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	lines := r.Lines()
	subjects := map[string]bool{} // to whether all is well
	for _, l := range lines {
		well, seen := subjects[l.Subject]
		subjects[l.Subject] = l.Accepted && (well || !seen)
	}
	last, left := "", 0
	for _, l := range lines {
		if subjects[l.Subject] && len(subjects) > fewDirectories {
			continue
		}
		if l.Subject != last {
			fmt.Fprintln(table, l.Subject)
			last = l.Subject
		}
		word, says := "accepted", ""
		if !l.Accepted {
			word, says = "refused", ": "+cmp.Or(l.Says, "see below")
		}
		fmt.Fprintf(table, "  %s\t%s\tby %s%s\n", l.Consumer, word, l.By, says)
	}
	for _, well := range subjects {
		if well && len(subjects) > fewDirectories {
			left++
		}
	}
	switch {
	case left == len(subjects) && left > 0:
		fmt.Fprintf(table, "All %d directories are accepted by every consumer and version.\n", left)
	case left > 0:
		fmt.Fprintf(table, "%d other directories are accepted by every consumer and version.\n", left)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(lines) > 0 && len(r.Findings) > 0 {
		fmt.Fprintln(w)
	}
	if err := finding.Print(w, r.Findings); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.summary(len(subjects)))
	return err
}

// summary counts what was found.
func (r *Result) summary(directories int) string {
	counts := map[finding.Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
	}
	var parts []string
	for _, s := range []finding.Severity{finding.Error, finding.Warning, finding.Info} {
		if n := counts[s]; n > 0 {
			parts = append(parts, counted(n, [...]string{finding.Error: "error", finding.Warning: "warning", finding.Info: "note"}[s]))
		}
	}
	if parts == nil {
		parts = []string{"Nothing is wrong"}
	}
	place := fmt.Sprintf(" in %d directories", directories)
	switch directories {
	case 0: // what was judged are no credentials
		place = ""
	case 1:
		place = " in 1 directory"
	}
	return strings.Join(parts, ", ") + place + "."
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
