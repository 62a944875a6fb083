package validate

import (
	"io"
	"math"

	"virtls/finding"
	"virtls/internal/promtext"
)

// Prometheus writes the result as metrics, for the textfile collector of
// Prometheus's node exporter: when each certificate ends, the days left, the
// verdicts, and how many findings there are of each code.
func (r *Result) Prometheus(w io.Writer) error {
	m := promtext.NewWriter(w)
	m.Family("virtls_not_after_timestamp_seconds", promtext.Gauge, "When a certificate ends, or the next revocation list is due.")
	for _, c := range r.Certificates {
		m.Sample(float64(c.NotAfter.Unix()), c.labels()...)
	}
	m.Family("virtls_days_left", promtext.Gauge, "Days until then.")
	for _, c := range r.Certificates {
		m.Sample(math.Round(c.DaysLeft*1000)/1000, c.labels()...)
	}
	m.Family("virtls_accepted", promtext.Gauge, "Whether a consumer loads the credentials in a directory.")
	for _, v := range r.Verdicts {
		m.Sample(promtext.Bool(v.Accepted), "subject", v.Subject, "consumer", v.Consumer, "version", v.Version)
	}
	m.Family("virtls_findings", promtext.Gauge, "How many things are wrong, by code.")
	for _, n := range finding.Counts(r.Findings) {
		m.Sample(float64(n.Number), "code", n.Code, "severity", n.Severity.String())
	}
	m.Family("virtls_problems", promtext.Gauge, "How many things are wrong, by severity.")
	for _, s := range []finding.Severity{finding.Error, finding.Warning, finding.Info} {
		n := 0
		for _, f := range r.Findings {
			if f.Severity == s {
				n++
			}
		}
		m.Sample(float64(n), "severity", s.String())
	}
	return m.Flush()
}

func (c Certificate) labels() []string {
	return []string{"file", c.File, "use", c.Use, "subject", c.Subject, "serial", c.Serial}
}
