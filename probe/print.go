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
//
// Texts of the service are on the lines where they belong: a line feed in a name
// does not begin a line that would look like one of virtls's own.
func (r *Result) Print(w io.Writer) error {
	var b lines
	if r.Posture != "" {
		b.add("  posture: %s", r.Posture)
	}
	for i, c := range r.Chain {
		label := "  chain:   "
		if i > 0 {
			label = "           "
		}
		b.add("%s%s, until %s (%s)", label, c.Subject, c.NotAfter.Format("2006-01-02"), daysLeft(c.DaysLeft))
	}
	if r.Asked != nil {
		from := "of anybody"
		if len(r.Asked.Authorities) > 0 {
			from = "issued by " + strings.Join(r.Asked.Authorities, ", or by ")
		}
		b.add("  asks:    for a client's certificate %s", from)
	}
	if r.NBD != nil && r.NBD.TLS != "" {
		fmt.Fprintf(&b, "  TLS:     %s\n", r.NBD.TLS)
		for _, e := range r.NBD.Exports {
			fmt.Fprintf(&b, "  export:  %s\n", e)
		}
	}
	if v := r.VNC; v != nil && v.Posture != "" {
		b.add("  VNC:     %s", v.Posture)
		if v.Clients != "" {
			b.add("           a client's certificate is %s", v.Clients)
		}
	}
	if r.Scan != nil {
		r.printScan(&b)
	}
	if len(r.Candidates) > 0 {
		b.add("  It can be, the most likely first:")
		for i, c := range r.Candidates {
			b.add("  %2d. %s", i+1, c.Cause)
			if c.Log != "" {
				b.add("      log:  %s", c.Log)
			}
			b.add("      mend: %s", c.Fix)
		}
	}
	if r.Decides != "" {
		b.add("  To know: %s", r.Decides)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lines is a text of lines.
type lines struct{ strings.Builder }

// lineFeeds are shown as JSON and Go write them.
var lineFeeds = strings.NewReplacer("\n", `\n`, "\r", `\r`)

func (l *lines) add(format string, args ...any) {
	lineFeeds.WriteString(l, fmt.Sprintf(format, args...))
	l.WriteByte('\n')
}

// printScan writes a table of versions, suites and groups.
func (r *Result) printScan(b *lines) {
	for _, v := range r.Scan.Versions {
		if !v.Accepted {
			refusal := v.Refusal
			if refusal == "" {
				refusal = "no"
			}
			b.add("  %-8s refused (%s)", v.Version, refusal)
			continue
		}
		b.add("  %-8s accepted", v.Version)
		for _, s := range v.Suites {
			b.add("           0x%04x %s", s.ID, s.Name)
		}
		if len(v.Groups) > 0 {
			b.add("           groups: %s", strings.Join(v.Groups, ", "))
		}
	}
}
