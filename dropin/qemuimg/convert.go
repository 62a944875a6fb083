package qemuimg

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"virtls/dropin"
	"virtls/internal/imagelock"
	"virtls/qcow2"
)

var convertCommand = &command{
	name: "convert", usage: "[-f FMT | --image-opts] [-l SNAPSHOT] [-O FMT] [-o OPTIONS] [-b BACKING_FILE -F BACKING_FMT] [-S SIZE] [-n] [-c] [-p] [-q] [-U] [--object OBJDEF] FILE [FILE2...] TARGET",
	about: "Copy images into a new one",
	options: []option{helpOption,
		valued("source-format", 'f', "FMT", "format of all sources: raw or qcow2; by default what they look like"),
		{Option: alias("format", "source-format")},
		imageOpts,
		valued("source-cache", 'T', "CACHE", "accepted: reads use the page cache"),
		valued("snapshot", 'l', "SNAPSHOT", "internal snapshot of the source: its id or name, snapshot.id=ID or snapshot.name=NAME"),
		refused(flag("bitmaps", 0, "")), refused(flag("skip-broken-bitmaps", 0, "")), refused(flag("salvage", 0, "")),
		valued("target-format", 'O', "FMT", "format of TARGET: raw (the default) or qcow2"),
		refused(flag("target-image-opts", 0, "")),
		valued("target-format-options", 'o', "OPTIONS", "settings of the target's format: key=value,..."),
		valued("cache", 't', "CACHE", "accepted: what was written is flushed at the end"),
		{Option: alias("target-cache", "cache")},
		valued("backing", 'b', "BACKING_FILE", "what the target is built on; what the source leaves to its own backing file is not copied"),
		{Option: aliasShort('B', "backing")},
		valued("backing-format", 'F', "BACKING_FMT", "format of the backing file"),
		valued("sparse-size", 'S', "SIZE", "zeros of that length become a gap; 0 allocates everything; default 4k"),
		flag("no-create", 'n', "TARGET is there already: a raw file, a device or an export"),
		flag("target-is-zero", 0, "with -n: TARGET contains nothing but zeros"),
		flag("compress", 'c', "compress clusters of qcow2"),
		shareOption, refused(valued("rate-limit", 'r', "", "")),
		valued("parallel", 'm', "NUM", "how many pieces are copied at once, 1 to 16; default 8"),
		flag("oob-writes", 'W', "write pieces of a raw target as they come, not in their order"), flag("copy-range-offloading", 'C', "accepted"),
		progress, quietOption, objectOption},
	run: (*run).convert,
}

func (r *run) convert(a *arguments) int {
	a.format, _ = a.Last("source-format")
	if a.imageOpts && a.format != "" {
		return r.failf("--image-opts and --format are mutually exclusive")
	}
	if len(a.Operands) < 2 {
		return r.failf("Must specify image file name")
	}
	c, err := r.newConversion(a)
	if err != nil {
		return r.failf("%v", err)
	}
	defer c.close()
	c.meter = r.newMeter(a)
	c.meter.begin()
	defer c.meter.done()
	if err := c.open(a); err != nil {
		return r.failf("%v", err)
	}
	if err := c.run(); err != nil {
		return r.failf("%v", err)
	}
	return exitOK
}

// A conversion copies sources to a target.
type conversion struct {
	*run_
	newImage
	name     string // of the target
	sources  []*source
	create   bool
	zero     bool // what is not written is zero
	compress bool
	sparse   int64 // shortest run of zeros that becomes a gap; 0: none does
	snapshot string
	parallel int  // pieces that are copied at once
	ordered  bool // they are written in their order
	meter    *meter
}

// run_ lets conversion have a method run of its own.
type run_ = run

const (
	defaultSparse, maxSparse     = 4096, 16 << 20
	defaultParallel, maxParallel = 8, 16
)

func (r *run) newConversion(a *arguments) (*conversion, error) {
	c := &conversion{run_: r, name: a.Operands[len(a.Operands)-1], create: !a.Has("no-create"), compress: a.Has("compress"), sparse: defaultSparse, parallel: defaultParallel, ordered: !a.Has("oob-writes")}
	c.format, c.size = "raw", -1
	if f, ok := a.Last("target-format"); ok {
		c.format = f
	}
	mapped := &arguments{} // the options by the names that create has for them
	for _, m := range a.Matches {
		if m.Name == "target-format-options" {
			m.Name = "options"
		}
		mapped.Matches = append(mapped.Matches, dropin.Match{Name: m.Name, Value: m.Value})
	}
	if err := c.configure(mapped); err != nil {
		return nil, err
	}
	if _, ok := c.given["size"]; ok {
		return nil, errors.New("the option 'size' of convert is not supported by virtls: the target is as large as the sources")
	}
	if text, ok := a.Last("sparse-size"); ok {
		n, ok := parseSize(text)
		if !ok || n%512 != 0 || n > maxSparse {
			return nil, say("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to %d. Select 0 to disable sparse detection (fully allocates output).", maxSparse)
		}
		c.sparse = n
	}
	if text, ok := a.Last("parallel"); ok {
		n, err := strconv.ParseInt(text, 0, 64)
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			return nil, errors.New(strings.Replace(r.badParallel, "%s", text, 1))
		case err != nil || n < 1 || n > maxParallel:
			return nil, errors.New(r.parallelRange)
		}
		c.parallel = int(n)
	}
	switch {
	case a.Has("copy-range-offloading") && a.Has("sparse-size"):
		return nil, say("Cannot enable copy offloading when -S is used")
	case a.Has("copy-range-offloading") && c.compress:
		return nil, say("Cannot enable copy offloading when -c is used")
	case a.Has("target-is-zero") && c.create:
		return nil, errors.New("--target-is-zero requires use of -n flag")
	case !c.create && c.options.BackingFile != "":
		return nil, errors.New("-b with -n is not supported by virtls")
	case !c.create && c.format != "raw":
		return nil, fmt.Errorf("-n with the format %s is not supported by virtls: targets that are there are raw", c.format)
	case !c.create && len(c.given) > 0:
		fmt.Fprintln(r.Err, "qemu-img: warning: -o has no effect when skipping image creation")
	case c.compress && c.format != "qcow2":
		return nil, say("Compression not supported for this file format")
	case c.compress && c.given["preallocation"] != "" && c.given["preallocation"] != "off":
		return nil, say("Compression and preallocation not supported at the same time")
	case a.Has("snapshot") && len(a.Operands) > 2:
		return nil, say("No support for concatenating multiple snapshot")
	}
	c.zero = a.Has("target-is-zero")
	c.snapshot, _ = a.Last("snapshot")
	return c, nil
}

// open opens the sources, and looks at the target's backing file.
func (c *conversion) open(a *arguments) error {
	c.size = 0
	for _, name := range a.Operands[:len(a.Operands)-1] {
		o := a.opened()
		if c.snapshot != "" {
			var err error
			if o.snapshot, err = c.findSnapshot(name, o); err != nil {
				return err
			}
		}
		s, err := c.run_.open(name, o)
		if err != nil {
			return err
		}
		c.sources = append(c.sources, s)
		c.size += s.Size()
	}
	if err := c.distinct(); err != nil {
		return err
	}
	if backing := c.options.BackingFile; backing != "" {
		if c.options.BackingFormat == "" {
			return fmt.Errorf("%s: error while converting %s: Backing file specified without backing format", c.name, c.format)
		}
		s, err := c.openBackingOf(c.name, backing, c.options.BackingFormat)
		if err != nil {
			return err
		}
		s.Close()
	}
	c.meter.measure(c.size)
	return nil
}

// findSnapshot returns the id of the wanted snapshot.
func (c *conversion) findSnapshot(name string, o openOptions) (string, error) {
	o.alone = true
	s, err := c.run_.open(name, o)
	if err != nil {
		return "", err
	}
	defer s.Close()
	var list []qcow2.Snapshot
	if m, ok := s.Disk.(*qcow2.Image); ok {
		if list, err = m.Snapshots(); err != nil {
			return "", err
		}
	}
	id, name, explicit := "", "", false
	if wanted, err := settings(c.snapshot); err == nil {
		for _, w := range wanted {
			switch w.Name {
			case "snapshot.id":
				id, explicit = w.Value, true
			case "snapshot.name":
				name, explicit = w.Value, true
			}
		}
	}
	for _, match := range []func(qcow2.Snapshot) bool{
		func(s qcow2.Snapshot) bool {
			return explicit && (id == "" || s.ID == id) && (name == "" || s.Name == name)
		},
		func(s qcow2.Snapshot) bool { return !explicit && s.ID == c.snapshot },
		func(s qcow2.Snapshot) bool { return !explicit && s.Name == c.snapshot },
	} {
		for _, s := range list {
			if match(s) {
				return s.ID, nil
			}
		}
	}
	return "", say("Failed to load snapshot: Can't find snapshot")
}

// distinct refuses a target that is a source or below one.
func (c *conversion) distinct() error {
	target, err := os.Stat(strings.TrimPrefix(c.name, "file:"))
	if err != nil {
		return nil
	}
	for _, s := range c.sources {
		for d := qcow2.Disk(s); d != nil; d = d.Backing() {
			f, ok := d.File().(interface{ Stat() (os.FileInfo, error) })
			if !ok {
				continue
			}
			if info, err := f.Stat(); err == nil && os.SameFile(info, target) {
				return fmt.Errorf("%s: error while converting %s: the target is also read from", c.name, c.format)
			}
		}
	}
	return nil
}

func (c *conversion) close() {
	for _, s := range c.sources {
		s.Close()
	}
}

// run does the copying.
func (c *conversion) run() (err error) {
	fail := func(err error) error {
		return fmt.Errorf("%s: error while converting %s: %w", c.name, c.format, err)
	}
	if err := c.readWords(); err != nil {
		return fail(err)
	}
	c.options.Size = c.size
	if c.format == "qcow2" {
		if err := c.options.Check(); err != nil {
			return fail(err)
		}
	}
	t, err := c.openTarget()
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, finish(t)); err == nil {
			c.meter.complete()
		}
	}()
	if c.format == "qcow2" {
		w, err := qcow2.Create(t, c.options)
		if err != nil {
			return fail(err)
		}
		if err := c.copy(&imageSink{conversion: c, Writer: w, target: t}, w.ClusterSize()); err != nil {
			return err
		}
		return w.Close()
	}
	if c.create {
		if err := c.makeRaw(t); err != nil {
			return fail(err)
		}
	}
	return c.copy(&rawSink{conversion: c, target: t}, max(c.sparse, 64<<10))
}

// openTarget makes the target or opens the one that is there.
func (c *conversion) openTarget() (target, error) {
	p, err := c.place(c.name, openOptions{})
	if err != nil {
		return nil, say("Could not open '%s': %w", c.name, err)
	}
	if p.protocol == "file" && c.create {
		info, err := os.Stat(p.path)
		c.zero = err != nil || info.Mode().IsRegular() // it will be truncated
		t, err := c.createFile(c.name)
		if err != nil {
			return nil, fmt.Errorf("%s: error while converting %s: %w", c.name, c.format, err)
		}
		return t, nil
	}
	var t target
	if p.protocol == "nbd" {
		t, err = c.connect(p.export, true)
	} else {
		t, err = openLocked(p.path)
	}
	if err != nil {
		return nil, say("Could not open '%s': %w", c.name, err)
	}
	if c.format == "raw" {
		if size, ok := sizeOf(t); ok && size < c.size {
			t.Close()
			return nil, errors.New("output file is smaller than input file")
		}
	}
	return t, nil
}

// openLocked opens a raw file or device to write to it.
func openLocked(path string) (target, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, localError(path, err)
	}
	if err := imagelock.Take(f, imagelock.Use{Needs: imagelock.Read | imagelock.Write}); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sizeOf returns the size of a target.
func sizeOf(t target) (int64, bool) {
	switch t := t.(type) {
	case *os.File:
		n, err := t.Seek(0, 2)
		return n, err == nil
	case interface{ Size() int64 }:
		return t.Size(), true
	}
	return 0, false
}

// copyChunk is how much is read at once, in bytes: a multiple of every cluster.
const copyChunk = 2 << 20

// copy gives the sink the disk in pieces that begin and end at multiples of a
// grain, but for the end.
func (c *conversion) copy(to sink, grain int64) error {
	disk := concatenation{c.sources, c.size}
	chunk := max(copyChunk, grain)
	p := newPipeline(c.parallel, chunk, c.ordered || !to.anyOrder())
	for at := int64(0); at < c.size; {
		off := at
		e, err := disk.extent(off, c.size-off)
		if err != nil {
			p.fail(fmt.Errorf("error while reading block status at offset %d: %w", off, err))
			break
		}
		n := e.Length
		if off+n < c.size {
			n &^= grain - 1
		}
		var read func(buf []byte) (write func() error, err error)
		switch below := c.options.BackingFile != "" && e.Depth > 0; {
		case n >= grain && below:
			read = func([]byte) (func() error, error) { return func() error { return to.skip(off, n) }, nil }
		case n >= grain && empty(e) && c.sparse > 0:
			read = func([]byte) (func() error, error) { return func() error { return to.zeros(off, n) }, nil }
		default:
			n = min(max(n, grain), chunk, c.size-off)
			read = func(buf []byte) (func() error, error) {
				if _, err := disk.readAt(buf[:n], off); err != nil {
					return nil, fmt.Errorf("error while reading at byte %d: %w", off, err)
				}
				return to.data(off, buf[:n])
			}
		}
		if p.add(c.counted(off, n, read)) != nil {
			break
		}
		at += n
	}
	return p.wait()
}

// counted tells where writing fails, and the meter what was written.
func (c *conversion) counted(off, n int64, read func([]byte) (func() error, error)) func([]byte) (func() error, error) {
	return func(buf []byte) (func() error, error) {
		write, err := read(buf)
		return func() error {
			if err := write(); err != nil {
				return fmt.Errorf("error while writing at byte %d: %w", off, err)
			}
			c.meter.add(n)
			return nil
		}, err
	}
}

// A concatenation is several disks one after the other.
type concatenation struct {
	disks []*source
	size  int64
}

// at returns the disk at an offset, and the offset in it.
func (c concatenation) at(off int64) (*source, int64) {
	for _, d := range c.disks {
		if off < d.Size() {
			return d, off
		}
		off -= d.Size()
	}
	return nil, 0
}

func (c concatenation) extent(off, length int64) (qcow2.Extent, error) {
	d, at := c.at(off)
	return d.Extent(at, min(length, d.Size()-at))
}

func (c concatenation) readAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		d, at := c.at(off + int64(n))
		k := min(int64(len(p)-n), d.Size()-at)
		if _, err := d.ReadAt(p[n:n+int(k)], at); err != nil {
			return n, err
		}
		n += int(k)
	}
	return n, nil
}
