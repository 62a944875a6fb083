package probe

import (
	"fmt"
	"io"
	"strings"
)

// String returns the stage as a line: name, status and detail.
func (s Stage) String() string {
	return fmt.Sprintf("  %-18s %-7s %8s  %s", s.Name, s.Status, milliseconds(s.Seconds), s.Detail)
}

func milliseconds(s float64) string { return fmt.Sprintf("%.1f ms", s*1000) }

// Print writes for people what the stages, which were shown as they happened,
// and the findings do not tell.
func (r *Result) Print(w io.Writer) error {
	var b strings.Builder
	if r.Posture != "" {
		fmt.Fprintf(&b, "  posture: %s\n", r.Posture)
	}
	for i, c := range r.Chain {
		label := "  chain:   "
		if i > 0 {
			label = "           "
		}
		fmt.Fprintf(&b, "%s%s, until %s (%s)\n", label, c.Subject, c.NotAfter.Format("2006-01-02"), daysLeft(c.DaysLeft))
	}
	if r.Asked != nil {
		from := "of anybody"
		if len(r.Asked.Authorities) > 0 {
			from = "issued by " + strings.Join(r.Asked.Authorities, ", or by ")
		}
		fmt.Fprintf(&b, "  asks:    for a client's certificate %s\n", from)
	}
	if r.Scan != nil {
		r.printScan(&b)
	}
	if len(r.Candidates) > 0 {
		b.WriteString("  It can be, the most likely first:\n")
		for i, c := range r.Candidates {
			fmt.Fprintf(&b, "  %2d. %s\n", i+1, c.Cause)
			if c.Log != "" {
				fmt.Fprintf(&b, "      log:  %s\n", c.Log)
			}
			fmt.Fprintf(&b, "      mend: %s\n", c.Fix)
		}
	}
	if r.Decides != "" {
		fmt.Fprintf(&b, "  To know: %s\n", r.Decides)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printScan writes a table of versions, suites and groups.
func (r *Result) printScan(b *strings.Builder) {
	for _, v := range r.Scan.Versions {
		if !v.Accepted {
			refusal := v.Refusal
			if refusal == "" {
				refusal = "no"
			}
			fmt.Fprintf(b, "  %-8s refused (%s)\n", v.Version, refusal)
			continue
		}
		fmt.Fprintf(b, "  %-8s accepted\n", v.Version)
		for _, s := range v.Suites {
			fmt.Fprintf(b, "           0x%04x %s\n", s.ID, s.Name)
		}
		if len(v.Groups) > 0 {
			fmt.Fprintf(b, "           groups: %s\n", strings.Join(v.Groups, ", "))
		}
	}
}
