package promtext

import (
	"errors"
	"strings"
	"testing"
)

func TestWriter(t *testing.T) {
	var b strings.Builder
	w := NewWriter(&b)
	w.Family("virtls_up", Gauge, "Whether it runs.")
	w.Sample(Bool(true))
	w.Sample(Bool(false), "a", "b", "c", "")
	w.Family("virtls_empty", Gauge, "Nothing.")
	w.Family("virtls_octets_total", Counter, "Octets.")
	w.Sample(1<<50, "dn", "CN=\"x\\y\"\nz")
	w.Sample(0.125, "dn", "a\xffb")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = `# HELP virtls_up Whether it runs.
# TYPE virtls_up gauge
virtls_up 1
virtls_up{a="b",c=""} 0
# HELP virtls_empty Nothing.
# TYPE virtls_empty gauge
# HELP virtls_octets_total Octets.
# TYPE virtls_octets_total counter
virtls_octets_total{dn="CN=\"x\\y\"\nz"} 1125899906842624
virtls_octets_total{dn="a` + "\uFFFD" + `b"} 0.125
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestFlushFails(t *testing.T) {
	w := NewWriter(full{})
	w.Family("virtls_up", Gauge, "Whether it runs.")
	if err := w.Flush(); err == nil {
		t.Error("what could not be written is taken for written")
	}
}
