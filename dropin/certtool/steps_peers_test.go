package certtool

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
)

// TestSteps compares what the steps leave behind with what the real programs
// leave. Where these differ among themselves, 3.8.13 (forky) is followed.
func TestSteps(t *testing.T) {
	dir := fixtures(t)
	mine := ours(t, steps, dir)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		real := theirs(t, g, steps, dir)
		for i, s := range steps {
			t.Run(s.name, func(t *testing.T) { s.compare(t, g, real[i], mine[i], true) })
		}
	})
}

// compare compares the outcomes of a step but for the known differences.
// ourFiles tells whose fixtures they come from.
func (s step) compare(t *testing.T, g peertest.Generation, want, got outcome, ourFiles bool) {
	t.Helper()
	for _, d := range differences {
		if d.step == s.name && (d.generations == "" || slices.Contains(strings.Fields(d.generations), g.Name)) && (ourFiles || !d.ofOurFiles) {
			d.apply(t, &want, &got)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n-certtool +ours:\n%s", s.command, diff)
	}
}

// A difference is where we mean not to do as some certtool does.
type difference struct {
	step        string
	generations string // those that differ; empty: all
	why         string
	// theirs is a part of what that certtool leaves behind, ours what we have
	// there. Without both the outcomes have nothing to do with each other.
	theirs, ours string
	// ofOurFiles: only a file that we made shows the difference.
	ofOurFiles bool
}

// apply makes want what it would be without the difference.
func (d difference) apply(t *testing.T, want, got *outcome) {
	t.Helper()
	if d.theirs == "" && d.ours == "" {
		if cmp.Equal(want, got) {
			t.Error("there is no difference any more")
		}
		*want = *got
		return
	}
	n := 0
	replace := func(text *string) {
		n += strings.Count(*text, d.theirs)
		*text = strings.ReplaceAll(*text, d.theirs, d.ours)
	}
	replace(&want.Stdout)
	replace(&want.Stderr)
	for i := range want.Files {
		replace(&want.Files[i])
	}
	if n == 0 {
		t.Errorf("certtool does not print %q (%s)", d.theirs, d.why)
	}
}

// TestDifferences keeps the list of differences from outliving the steps.
func TestDifferences(t *testing.T) {
	for _, d := range differences {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.name == d.step }) {
			t.Errorf("there is no step %q", d.step)
		}
	}
}
