package probe

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"virtls/internal/promtext"
)

// Prometheus writes results as metrics: whether each stage was passed and how
// long it took, when the certificates end, posture and findings.
func Prometheus(w io.Writer, results []*Result) error {
	b := bufio.NewWriter(w)
	metric := func(name, help string, write func(name string, r *Result)) {
		fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		for _, r := range results {
			write(name, r)
		}
	}
	one := func(name string, value float64, pairs ...string) {
		fmt.Fprintf(b, "%s{%s} %g\n", name, promtext.Labels(pairs...), value)
	}
	metric("virtls_probe_success", "Whether nothing is wrong with the service.", func(name string, r *Result) {
		one(name, number(len(r.Stages) > 0 && r.Worst().String() != "error"), "target", r.Target)
	})
	metric("virtls_probe_reachable", "Whether a connection came about.", func(name string, r *Result) {
		one(name, number(!r.Unreachable), "target", r.Target)
	})
	metric("virtls_probe_duration_seconds", "How long a stage took.", func(name string, r *Result) {
		for _, s := range r.Stages {
			one(name, s.Seconds, "target", r.Target, "stage", s.Name, "status", string(s.Status))
		}
	})
	metric("virtls_probe_not_after_timestamp_seconds", "When a certificate ends that the service shows.", func(name string, r *Result) {
		for i, c := range r.Chain {
			fmt.Fprintf(b, "%s{%s} %d\n", name, promtext.Labels("target", r.Target, "position", fmt.Sprint(i), "subject", c.Subject, "serial", c.Serial, "names", strings.Join(c.Names, ",")), c.NotAfter.Unix())
		}
	})
	metric("virtls_probe_days_left", "Days until then.", func(name string, r *Result) {
		for i, c := range r.Chain {
			fmt.Fprintf(b, "%s{%s} %.3f\n", name, promtext.Labels("target", r.Target, "position", fmt.Sprint(i), "subject", c.Subject, "serial", c.Serial), c.DaysLeft)
		}
	})
	metric("virtls_probe_posture", "How far the service protects its sessions: 1 for what holds.", func(name string, r *Result) {
		for _, p := range Postures() {
			one(name, number(p == r.Posture), "target", r.Target, "posture", string(p))
		}
	})
	metric("virtls_probe_nbd_tls", "What a server of NBD does about TLS: 1 for what holds.", func(name string, r *Result) {
		for _, p := range []TLSPolicy{TLSOff, TLSOptional, TLSRequired} {
			if r.NBD != nil {
				one(name, number(p == r.NBD.TLS), "target", r.Target, "tls", string(p))
			}
		}
	})
	metric("virtls_probe_nbd_export_size_bytes", "Size of an export of NBD.", func(name string, r *Result) {
		if r.NBD == nil {
			return
		}
		seen := map[string]bool{}
		for _, e := range r.NBD.Exports {
			if e.Size >= 0 && !seen[e.Name] {
				seen[e.Name] = true
				fmt.Fprintf(b, "%s{%s} %d\n", name, promtext.Labels("target", r.Target, "export", e.Name, "read_only", strconv.FormatBool(e.ReadOnly)), e.Size)
			}
		}
	})
	metric("virtls_probe_reload_needed", "Whether the service shows another certificate than its file has.", func(name string, r *Result) {
		one(name, number(contains(r.Findings, kindStale.Code)), "target", r.Target)
	})
	metric("virtls_probe_findings", "How many things are wrong, by code.", func(name string, r *Result) {
		counts := map[string]int{}
		for _, f := range r.Findings {
			counts[promtext.Labels("target", r.Target, "code", f.Code, "severity", f.Severity.String())]++
		}
		var list []string
		for l := range counts {
			list = append(list, l)
		}
		slices.Sort(list)
		for _, l := range list {
			fmt.Fprintf(b, "%s{%s} %d\n", name, l, counts[l])
		}
	})
	return b.Flush()
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
