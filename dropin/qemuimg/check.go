package qemuimg

import (
	"fmt"
	"strings"

	"virtls/qcow2"
)

var checkCommand = &command{
	name: "check", usage: "[-f FMT | --image-opts] [-U] [--output human|json] [-q] [--object OBJDEF] FILE",
	about: "Count the references in a qcow2 image",
	options: []option{helpOption, formatOption, imageOpts,
		valued("cache", 'T', "CACHE", "accepted: reads use the page cache"),
		refused(valued("repair", 'r', "", "")), shareOption, outputOption, quietOption, objectOption},
	run: (*run).check,
}

func (r *run) check(a *arguments) int {
	if len(a.Operands) != 1 {
		return r.complain(a.command, usageError{errOneFile})
	}
	name := a.Operands[0]
	s, err := r.open(name, a.opened())
	if err != nil {
		return r.failf("%v", err)
	}
	defer s.Close()
	m, ok := s.Disk.(*qcow2.Image)
	if !ok {
		r.failf("This image format does not support checks")
		return exitNoCheck
	}
	result, err := m.Check(r.Err)
	if err != nil {
		return r.failf("Check failed: %v", err)
	}
	if a.json {
		r.printf("%s\n", pretty(checkDict(result, name)))
	} else {
		r.printf("%s", checkText(result))
	}
	switch {
	case result.Errors > 0:
		return r.failf("Check failed")
	case result.Corruptions > 0:
		return exitCorrupt
	case result.Leaks > 0:
		return exitLeaks
	}
	return exitOK
}

// checkDict is the result in the order of QEMU's ImageCheck; what is 0 is left out.
func checkDict(c qcow2.CheckResult, name string) dict {
	d := dict{{"filename", name}, {"format", "qcow2"}, {"check-errors", c.Errors}}
	for _, m := range (dict{{"image-end-offset", c.ImageEnd}, {"corruptions", c.Corruptions}, {"leaks", c.Leaks},
		{"total-clusters", c.Total}, {"allocated-clusters", c.Allocated}, {"fragmented-clusters", c.Fragmented},
		{"compressed-clusters", c.Compressed}}) {
		if m.value != int64(0) {
			d = append(d, m)
		}
	}
	return d
}

func checkText(c qcow2.CheckResult) string {
	var b strings.Builder
	if c.Corruptions == 0 && c.Leaks == 0 && c.Errors == 0 {
		b.WriteString("No errors were found on the image.\n")
	}
	if c.Corruptions > 0 {
		fmt.Fprintf(&b, "\n%d errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n", c.Corruptions)
	}
	if c.Leaks > 0 {
		fmt.Fprintf(&b, "\n%d leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n", c.Leaks)
	}
	if c.Errors > 0 {
		fmt.Fprintf(&b, "\n%d internal errors have occurred during the check.\n", c.Errors)
	}
	if c.Total != 0 && c.Allocated != 0 {
		percent := func(n, of int64) float64 { return float64(n) * 100 / float64(of) }
		fmt.Fprintf(&b, "%d/%d = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n", c.Allocated, c.Total,
			percent(c.Allocated, c.Total), percent(c.Fragmented, c.Allocated), percent(c.Compressed, c.Allocated))
	}
	if c.ImageEnd > 0 {
		fmt.Fprintf(&b, "Image end offset: %d\n", c.ImageEnd)
	}
	return b.String()
}
