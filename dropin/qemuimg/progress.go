package qemuimg

import (
	"fmt"
	"io"
	"sync"

	"virtls/dropin"
)

// A meter shows how much of some work is done. A nil meter shows nothing.
type meter struct {
	out         io.Writer
	all         int64
	mu          sync.Mutex
	finished    int64
	lastPercent float64
}

// newMeter returns a meter if one was asked for.
func (r *run) newMeter(a *arguments) *meter {
	if !a.Has("progress") || r.quiet {
		return nil
	}
	return &meter{out: r.Out}
}

// begin shows that nothing is done yet.
func (m *meter) begin() {
	if m != nil {
		m.show(0)
	}
}

// measure sets how much all of the work is.
func (m *meter) measure(all int64) {
	if m != nil {
		m.all = all
	}
}

func (m *meter) show(percent float64) {
	m.lastPercent = percent
	fmt.Fprintf(m.out, "    (%.2f/100%%)\r", percent)
}

// add says that n more of the work is done. A change of less than one percent is
// not shown.
func (m *meter) add(n int64) {
	if m == nil || m.all == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finished += n
	if percent := float64(m.finished) * 100 / float64(m.all); percent-m.lastPercent >= 1 {
		m.show(percent)
	}
}

// done ends the line.
func (m *meter) done() {
	if m != nil {
		fmt.Fprint(m.out, "\n")
	}
}

// complete says that all is done.
func (m *meter) complete() {
	if m != nil && m.lastPercent < 100 {
		m.show(100)
	}
}

// alias is another long name of an option.
func alias(long, of string) dropin.Option {
	return dropin.Option{Long: long, As: of, Arg: dropin.RequiredArg}
}

// aliasShort is another letter for an option.
func aliasShort(letter byte, of string) dropin.Option {
	return dropin.Option{Short: letter, As: of, Arg: dropin.RequiredArg}
}
