package probe

import (
	"io"
	"math"
	"strconv"
	"strings"

	"virtls/finding"
	"virtls/internal/promtext"
)

// A metric is a family of samples, of each result those that write makes.
type metric struct {
	name, help string
	write      func(m sample, r *Result)
}

// A sample writes a value with its labels.
type sample func(value float64, labels ...string)

// metrics are all that are written, in their order.
var metrics = []metric{
	{"success", "Whether nothing is wrong with the service.", func(m sample, r *Result) {
		m(promtext.Bool(len(r.Stages) > 0 && r.Worst() != finding.Error))
	}},
	{"reachable", "Whether a connection came about.", func(m sample, r *Result) { m(promtext.Bool(!r.Unreachable)) }},
	{"duration_seconds", "How long a stage took.", func(m sample, r *Result) {
		for _, s := range r.Stages {
			m(s.Seconds, "stage", s.Name, "status", string(s.Status))
		}
	}},
	{"not_after_timestamp_seconds", "When a certificate ends that the service shows.", func(m sample, r *Result) {
		for i, c := range r.Chain {
			m(float64(c.NotAfter.Unix()), "position", strconv.Itoa(i), "subject", c.Subject, "serial", c.Serial, "names", strings.Join(c.Names, ","))
		}
	}},
	{"days_left", "Days until then.", func(m sample, r *Result) {
		for i, c := range r.Chain {
			m(math.Round(c.DaysLeft*1000)/1000, "position", strconv.Itoa(i), "subject", c.Subject, "serial", c.Serial)
		}
	}},
	{"posture", "How far the service protects its sessions: 1 for what holds.", func(m sample, r *Result) {
		for _, p := range Postures() {
			m(promtext.Bool(p == r.Posture), "posture", string(p))
		}
	}},
	{"nbd_tls", "What a server of NBD does about TLS: 1 for what holds.", nbdTLS},
	{"nbd_export_size_bytes", "Size of an export of NBD.", nbdSizes},
	{"vnc_posture", "What keeps strangers from a VNC server's screen: 1 for what holds.", vncPosture},
	{"reload_needed", "Whether the service shows another certificate than its file has.", func(m sample, r *Result) {
		m(promtext.Bool(contains(r.Findings, kindStale.Code)))
	}},
	{"findings", "How many things are wrong, by code.", findingCounts},
}

func nbdTLS(m sample, r *Result) {
	if r.NBD == nil {
		return
	}
	for _, p := range []TLSPolicy{TLSOff, TLSOptional, TLSRequired} {
		m(promtext.Bool(p == r.NBD.TLS), "tls", string(p))
	}
}

func nbdSizes(m sample, r *Result) {
	if r.NBD == nil {
		return
	}
	seen := map[string]bool{}
	for _, e := range r.NBD.Exports {
		if e.Size >= 0 && !seen[e.Name] {
			seen[e.Name] = true
			m(float64(e.Size), "export", e.Name, "read_only", strconv.FormatBool(e.ReadOnly))
		}
	}
}

func vncPosture(m sample, r *Result) {
	if r.VNC == nil {
		return
	}
	for _, p := range VNCPostures() {
		m(promtext.Bool(p == r.VNC.Posture), "posture", string(p))
	}
}

func findingCounts(m sample, r *Result) {
	for _, c := range finding.Counts(r.Findings) {
		m(float64(c.Number), "code", c.Code, "severity", c.Severity.String())
	}
}

// Prometheus writes results as metrics: whether each stage was passed and how
// long it took, when the certificates end, posture and findings.
func Prometheus(w io.Writer, results []*Result) error {
	out := promtext.NewWriter(w)
	for _, m := range metrics {
		out.Family("virtls_probe_"+m.name, promtext.Gauge, m.help)
		for _, r := range results {
			m.write(func(value float64, labels ...string) {
				out.Sample(value, append([]string{"target", r.Target}, labels...)...)
			}, r)
		}
	}
	return out.Flush()
}
