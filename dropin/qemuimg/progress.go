package qemuimg

import (
	"fmt"
	"io"

	"virtls/dropin"
)

// A meter shows how much of some work is done. A nil meter shows nothing.
type meter struct {
	out           io.Writer
	finished, all int64
	lastPercent   float64
}

// newMeter begins to show work of that size.
func (r *run) newMeter(all int64) *meter {
	m := &meter{out: r.Out, all: all}
	m.show(0)
	return m
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
