package validate

import (
	"bufio"
	"fmt"
	"io"

	"virtls/finding"
	"virtls/internal/promtext"
)

// Prometheus writes the result as metrics, for the textfile collector of
// Prometheus's node exporter: when each certificate ends, the days left, the
// verdicts, and how many findings there are of each code.
func (r *Result) Prometheus(w io.Writer) error {
	b := bufio.NewWriter(w)
	metric := func(name, help string, write func(name string)) {
		fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		write(name)
	}
	metric("virtls_not_after_timestamp_seconds", "When a certificate ends, or the next revocation list is due.", func(name string) {
		for _, c := range r.Certificates {
			fmt.Fprintf(b, "%s{%s} %d\n", name, c.labels(), c.NotAfter.Unix())
		}
	})
	metric("virtls_days_left", "Days until then.", func(name string) {
		for _, c := range r.Certificates {
			fmt.Fprintf(b, "%s{%s} %.3f\n", name, c.labels(), c.DaysLeft)
		}
	})
	metric("virtls_accepted", "Whether a consumer loads the credentials in a directory.", func(name string) {
		for _, v := range r.Verdicts {
			accepted := 0
			if v.Accepted {
				accepted = 1
			}
			fmt.Fprintf(b, "%s{%s} %d\n", name, promtext.Labels("subject", v.Subject, "consumer", v.Consumer, "version", v.Version), accepted)
		}
	})
	metric("virtls_findings", "How many things are wrong, by code.", func(name string) {
		counts := map[string]int{}
		for _, f := range r.Findings {
			counts[promtext.Labels("code", f.Code, "severity", f.Severity.String())]++
		}
		for _, l := range sorted(counts) {
			fmt.Fprintf(b, "%s{%s} %d\n", name, l, counts[l])
		}
	})
	metric("virtls_problems", "How many things are wrong, by severity.", func(name string) {
		for _, s := range []finding.Severity{finding.Error, finding.Warning, finding.Info} {
			n := 0
			for _, f := range r.Findings {
				if f.Severity == s {
					n++
				}
			}
			fmt.Fprintf(b, "%s{%s} %d\n", name, promtext.Labels("severity", s.String()), n)
		}
	})
	return b.Flush()
}

func (c Certificate) labels() string {
	return promtext.Labels("file", c.File, "use", c.Use, "subject", c.Subject, "serial", c.Serial)
}
