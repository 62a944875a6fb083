package qemuimg

import (
	"bytes"
	"fmt"

	"virtls/qcow2"
)

var compareCommand = &command{
	name: "compare", usage: "[[-f FMT] [-F FMT] | --image-opts] [-s] [-U] [-p] [-q] [--object OBJDEF] FILE1 FILE2",
	about: "Compare what two images contain",
	options: []option{helpOption, formatOption,
		{Option: alias("a-format", "format")},
		valued("b-format", 'F', "FMT", "format of FILE2"),
		imageOpts,
		flag("strict", 's', "sizes and allocation must be the same, too"),
		valued("cache", 'T', "CACHE", "accepted: reads use the page cache"),
		shareOption, progress, quietOption, objectOption},
	run: (*run).compare,
}

func (r *run) compare(a *arguments) int {
	if len(a.Operands) != 2 {
		return r.complain(a.command, usageError{errTwo})
	}
	meter := r.newMeter(a)
	defer meter.done()
	o1, o2 := a.opened(), a.opened()
	o2.format, _ = a.Last("b-format")
	d1, err := r.open(a.Operands[0], o1)
	if err != nil {
		r.failf("%v", err)
		return exitCompareOpen
	}
	defer d1.Close()
	d2, err := r.open(a.Operands[1], o2)
	if err != nil {
		r.failf("%v", err)
		return exitCompareOpen
	}
	defer d2.Close()
	meter.begin()
	meter.measure(max(d1.Size(), d2.Size()))
	c := comparison{run: r, a: d1, b: d2, strict: a.Has("strict"), meter: meter}
	verdict, err := c.compare()
	if err != nil {
		r.failf("%v", err)
		return exitCompareRead
	}
	if verdict != "" {
		r.printf("%s\n", verdict)
		return exitWrong
	}
	r.printf("Images are identical.\n")
	return exitOK
}

// A comparison goes through two disks side by side.
type comparison struct {
	*run
	a, b   *source
	strict bool
	meter  *meter
	p, q   []byte
}

// compareChunk is how much is compared at once, in bytes.
const compareChunk = 1 << 20

// compare returns what differs, "" if nothing does.
func (c *comparison) compare() (string, error) {
	if c.strict && c.a.Size() != c.b.Size() {
		return "Strict mode: Image size mismatch!", nil
	}
	c.p, c.q = make([]byte, compareChunk), make([]byte, compareChunk)
	common, end := min(c.a.Size(), c.b.Size()), max(c.a.Size(), c.b.Size())
	for off := int64(0); off < end; {
		if off == common {
			c.printf("Warning: Image size mismatch!\n")
		}
		e1, err := extentOrZeros(c.a, off, end-off)
		if err != nil {
			return "", say("Sector allocation test failed for %s: %w", c.a.name, err)
		}
		e2, err := extentOrZeros(c.b, off, end-off)
		if err != nil {
			return "", say("Sector allocation test failed for %s: %w", c.b.name, err)
		}
		n := min(e1.Length, e2.Length)
		if off < common {
			n = min(n, common-off)
		}
		if c.strict && (e1.Present != e2.Present || e1.Zero != e2.Zero || e1.Data != e2.Data || e1.Compressed != e2.Compressed || e1.Offset < 0 != (e2.Offset < 0)) {
			return fmt.Sprintf("Strict mode: Offset %d block status mismatch!", off), nil
		}
		if !empty(e1) || !empty(e2) {
			n = min(n, compareChunk)
			at, err := c.differ(off, n)
			if err != nil {
				return "", err
			}
			if at >= 0 {
				return fmt.Sprintf("Content mismatch at offset %d!", off+at), nil
			}
		}
		off += n
		c.meter.add(n)
	}
	return "", nil
}

// empty tells extents that read as zeros.
func empty(e qcow2.Extent) bool { return e.Zero || !e.Data }

// extentOrZeros describes a disk, which past its end is zero.
func extentOrZeros(d qcow2.Disk, off, length int64) (qcow2.Extent, error) {
	if off >= d.Size() {
		return qcow2.Extent{Start: off, Length: length, Zero: true, Offset: -1}, nil
	}
	return d.Extent(off, min(length, d.Size()-off))
}

// differ returns the first sector of a part in which the disks differ, relative
// to its start; -1 if there is none.
func (c *comparison) differ(off, n int64) (int64, error) {
	p, q := c.p[:n], c.q[:n]
	for _, side := range []struct {
		disk *source
		buf  []byte
	}{{c.a, p}, {c.b, q}} {
		clear(side.buf)
		if off >= side.disk.Size() {
			continue
		}
		if _, err := side.disk.ReadAt(side.buf[:min(n, side.disk.Size()-off)], off); err != nil {
			return 0, say("Error while reading offset %d of %s: %w", off, side.disk.name, err)
		}
	}
	if bytes.Equal(p, q) {
		return -1, nil
	}
	for at := int64(0); at < n; at += 512 {
		if !bytes.Equal(p[at:min(at+512, n)], q[at:min(at+512, n)]) {
			return at, nil
		}
	}
	return -1, nil
}
