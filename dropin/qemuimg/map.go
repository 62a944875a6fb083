package qemuimg

import (
	"bufio"
	"fmt"

	"virtls/qcow2"
)

var (
	errOneFile = say("Expecting one image file name")
	errFile    = say("Expecting image file name")
	errTwo     = say("Expecting two image file names")
)

var mapCommand = &command{
	name: "map", usage: "[-f FMT | --image-opts] [-s OFFSET] [-l LENGTH] [--output human|json] [-U] [--object OBJDEF] FILE",
	about: "Tell what is allocated, zero, compressed, and where",
	options: []option{helpOption, formatOption, imageOpts,
		valued("start-offset", 's', "OFFSET", "begin there"),
		valued("max-length", 'l', "LENGTH", "end after so many bytes"),
		outputOption, shareOption, objectOption},
	run: (*run).mapImage,
}

// size reads an option that is a number of bytes.
func (a *arguments) size(name, what string, def int64) (int64, error) {
	text, ok := a.Last(name)
	if !ok {
		return def, nil
	}
	n, ok := parseSize(text)
	if !ok {
		return 0, say("Invalid %s specified: '%s'", what, text)
	}
	return n, nil
}

func (r *run) mapImage(a *arguments) int {
	start, err := a.size("start-offset", "start offset", 0)
	if err != nil {
		return r.failf("%v", err)
	}
	length, err := a.size("max-length", "max length", -1)
	if err != nil {
		return r.failf("%v", err)
	}
	if len(a.Operands) != 1 {
		return r.complain(a.command, usageError{errOneFile})
	}
	s, err := r.open(a.Operands[0], a.opened())
	if err != nil {
		return r.failf("%v", err)
	}
	defer s.Close()
	end := s.Size()
	if length >= 0 && length < end-start {
		end = start + length
	}
	out := bufio.NewWriter(r.Out)
	defer out.Flush()
	print, finish := r.printMap(out, a.json)
	err = extents(s, start, end, print)
	if err == nil {
		err = finish()
	}
	if err != nil {
		out.Flush()
		return r.failf("%v", err)
	}
	return exitOK
}

// extents calls f with the extents of a part of a disk; neighbours that differ
// in nothing are one.
func extents(d qcow2.Disk, start, end int64, f func(qcow2.Extent) error) error {
	var held qcow2.Extent
	for off := start; off < end; {
		e, err := d.Extent(off, end-off)
		if err != nil {
			return err
		}
		off += e.Length
		if held.Length > 0 && mergeable(held, e) {
			held.Length += e.Length
			continue
		}
		if held.Length > 0 {
			if err := f(held); err != nil {
				return err
			}
		}
		held = e
	}
	if held.Length > 0 {
		return f(held)
	}
	return nil
}

func mergeable(a, b qcow2.Extent) bool {
	if a.Offset < 0 != (b.Offset < 0) || a.Offset >= 0 && a.Offset+a.Length != b.Offset {
		return false
	}
	return a.Depth == b.Depth && a.Present == b.Present && a.Zero == b.Zero && a.Data == b.Data && a.Compressed == b.Compressed && a.File == b.File
}

var errNoPlace = say("File contains external, encrypted or compressed clusters.")

// printMap returns what prints an extent, and what prints the end.
func (r *run) printMap(out *bufio.Writer, asJSON bool) (print func(qcow2.Extent) error, finish func() error) {
	if !asJSON {
		fmt.Fprintf(out, "%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File")
		print = func(e qcow2.Extent) error {
			if !e.Data || e.Zero {
				return nil
			}
			if e.Offset < 0 {
				return errNoPlace
			}
			fmt.Fprintf(out, "%-16s%-16s%-16s%s\n", hex(e.Start), hex(e.Length), hex(e.Offset), r.names[e.File])
			return nil
		}
		return print, func() error { return nil }
	}
	separator := "["
	print = func(e qcow2.Extent) error {
		fmt.Fprintf(out, "%s{ \"start\": %d, \"length\": %d, \"depth\": %d, \"present\": %t, \"zero\": %t, \"data\": %t",
			separator, e.Start, e.Length, e.Depth, e.Present, e.Zero, e.Data)
		separator = ",\n"
		if r.compressed {
			fmt.Fprintf(out, ", \"compressed\": %t", e.Compressed)
		}
		if e.Offset >= 0 {
			fmt.Fprintf(out, ", \"offset\": %d", e.Offset)
		}
		out.WriteString("}")
		return nil
	}
	return print, func() error {
		if separator == "[" {
			out.WriteString("[")
		}
		_, err := out.WriteString("]\n")
		return err
	}
}

// hex is C's %#x, which leaves zero alone.
func hex(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}
