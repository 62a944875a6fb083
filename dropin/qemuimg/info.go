package qemuimg

import (
	"fmt"
	"math"
	"strings"
	"time"

	"virtls/qcow2"
)

var infoCommand = &command{
	name: "info", usage: "[-f FMT | --image-opts] [--backing-chain] [-U] [--output human|json] [--object OBJDEF] FILE",
	about: "Tell what an image is",
	options: []option{helpOption, formatOption, imageOpts,
		flag("backing-chain", 0, "and what it is built on"),
		valued("cache", 't', "CACHE", "accepted: nothing is written"),
		shareOption, refused(flag("limits", 0, "")), outputOption, objectOption},
	run: (*run).info,
}

func (r *run) info(a *arguments) int {
	if len(a.Operands) != 1 {
		return r.complain(a.command, usageError{errOneFile})
	}
	var list []any
	var texts []string
	name, o := a.Operands[0], a.opened()
	o.alone = true
	seen := map[string]bool{}
	for {
		if seen[name] {
			return r.failf("Backing file '%s' creates an infinite loop.", name)
		}
		seen[name] = true
		s, err := r.open(name, o)
		if err != nil {
			return r.failf("%v", err)
		}
		info, err := r.describe(s)
		s.Close()
		if err != nil {
			return r.failf("%v", err)
		}
		list = append(list, info.dict(r))
		texts = append(texts, info.human(r))
		if !a.Has("backing-chain") || info.backing == "" {
			break
		}
		name, o = info.fullBacking, openOptions{format: info.backingFormat, alone: true, locks: o.locks}
	}
	switch {
	case !a.json:
		fmt.Fprint(r.Out, strings.Join(texts, "\n"))
	case a.Has("backing-chain"):
		fmt.Fprintln(r.Out, pretty(list))
	default:
		fmt.Fprintln(r.Out, pretty(list[0]))
	}
	return exitOK
}

// An imageInfo is what info tells of one image.
type imageInfo struct {
	name, format, protocol              string
	size, fileSize, allocated           int64 // allocated is -1 if unknown
	clusterSize                         int64 // 0 if there are no clusters
	dirty                               bool
	backing, fullBacking, backingFormat string
	snapshots                           []qcow2.Snapshot
	specific                            dict
}

func (r *run) describe(s *source) (*imageInfo, error) {
	i := &imageInfo{name: s.name, format: s.driver(), protocol: s.protocol, size: s.Size(), allocated: -1,
		fileSize: (s.File().Size() + 511) &^ 511}
	if f, ok := s.File().(qcow2.Allocator); ok {
		var err error
		if i.allocated, err = f.Allocated(); err != nil {
			return nil, err
		}
	}
	m, ok := s.Disk.(*qcow2.Image)
	if !ok {
		return i, nil
	}
	i.clusterSize, i.dirty = m.ClusterSize(), m.Dirty
	i.backing, i.fullBacking, i.backingFormat = m.BackingFile, m.BackingName, m.BackingFormat
	var err error
	if i.snapshots, err = m.Snapshots(); err != nil {
		return nil, err
	}
	i.specific, err = specific(m)
	return i, err
}

// specific is what only qcow2 has, in the order of QEMU's ImageInfoSpecificQCow2.
func specific(m *qcow2.Image) (dict, error) {
	if m.Version < 3 {
		return dict{{"compat", "0.10"}, {"refcount-bits", m.RefcountBits}, {"compression-type", m.Compression.String()}}, nil
	}
	bitmaps, err := m.Bitmaps()
	if err != nil {
		return nil, err
	}
	d := dict{{"compat", "1.1"}, {"extended-l2", m.ExtendedL2}, {"lazy-refcounts", m.LazyRefcounts}, {"corrupt", m.Corrupt},
		{"refcount-bits", m.RefcountBits}}
	var list []any
	for _, b := range bitmaps {
		flags := []any{}
		if b.InUse {
			flags = append(flags, "in-use")
		}
		if b.Auto {
			flags = append(flags, "auto")
		}
		list = append(list, dict{{"name", b.Name}, {"granularity", b.Granularity}, {"flags", flags}})
	}
	if list != nil {
		d = append(d, member{"bitmaps", list})
	}
	return append(d, member{"compression-type", m.Compression.String()}), nil
}

// dict returns the info in the order of QEMU's ImageInfo.
func (i *imageInfo) dict(r *run) dict {
	d := dict{{"filename", i.name}, {"format", i.format}}
	if i.protocol == "file" {
		d = append(d, member{"dirty-flag", i.dirty})
	} else if i.clusterSize != 0 {
		d = append(d, member{"dirty-flag", i.dirty})
	}
	if i.allocated >= 0 {
		d = append(d, member{"actual-size", i.allocated})
	}
	d = append(d, member{"virtual-size", i.size})
	if i.clusterSize != 0 {
		d = append(d, member{"cluster-size", i.clusterSize})
	}
	if i.backing != "" {
		d = append(d, member{"backing-filename", i.backing}, member{"full-backing-filename", i.fullBacking})
		if i.backingFormat != "" {
			d = append(d, member{"backing-filename-format", i.backingFormat})
		}
	}
	if i.snapshots != nil {
		d = append(d, member{"snapshots", snapshotList(i.snapshots)})
	}
	if i.specific != nil {
		d = append(d, member{"format-specific", dict{{"type", i.format}, {"data", i.specific}}})
	}
	if r.children {
		children := []any{}
		if i.format != i.protocol {
			children = append(children, dict{{"name", "file"}, {"info", i.child().dict(r)}})
		}
		d = append(d, member{"children", children})
	}
	return d
}

// child is the file below the format.
func (i *imageInfo) child() *imageInfo {
	c := &imageInfo{name: i.name, format: i.protocol, protocol: i.protocol, size: i.fileSize, allocated: i.allocated}
	if i.protocol == "file" {
		c.specific = dict{}
	}
	return c
}

func snapshotList(snapshots []qcow2.Snapshot) []any {
	var list []any
	for _, s := range snapshots {
		d := dict{{"id", s.ID}, {"name", s.Name}, {"vm-state-size", s.VMStateSize},
			{"date-sec", s.Date.Unix()}, {"date-nsec", s.Date.Nanosecond()},
			{"vm-clock-sec", int64(s.VMClock / time.Second)}, {"vm-clock-nsec", int64(s.VMClock % time.Second)}}
		if s.ICount >= 0 {
			d = append(d, member{"icount", s.ICount})
		}
		list = append(list, d)
	}
	return list
}

// human returns the info as text.
func (i *imageInfo) human(r *run) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("image: %s", i.name)
	line("file format: %s", i.format)
	line("virtual size: %s (%d bytes)", humanSize(i.size), i.size)
	line("disk size: %s", i.diskSize())
	if i.clusterSize != 0 {
		line("cluster_size: %d", i.clusterSize)
	}
	if i.dirty {
		line("cleanly shut down: no")
	}
	if i.backing != "" {
		path := ""
		if i.fullBacking != i.backing {
			path = fmt.Sprintf(" (actual path: %s)", i.fullBacking)
		}
		line("backing file: %s%s", i.backing, path)
		if i.backingFormat != "" {
			line("backing file format: %s", i.backingFormat)
		}
	}
	if i.snapshots != nil {
		b.WriteString(r.snapshotTable(i.snapshots))
	}
	if i.specific != nil {
		line("Format specific information:\n%s", strings.TrimSuffix(human(i.specific, 1), "\n"))
	}
	if r.children && i.format != i.protocol {
		c := i.child()
		line("Child node '/file':")
		line("    filename: %s", c.name)
		line("    protocol type: %s", c.format)
		line("    file length: %s (%d bytes)", humanSize(c.size), c.size)
		line("    disk size: %s", c.diskSize())
	}
	return b.String()
}

func (i *imageInfo) diskSize() string {
	if i.allocated < 0 {
		return "unavailable"
	}
	return humanSize(i.allocated)
}

// humanSize returns a number of bytes with three significant digits.
func humanSize(n int64) string {
	units := []string{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
	// From 1000 on the next unit is taken.
	_, exponent := math.Frexp(float64(n) / (1000.0 / 1024.0))
	unit := max(0, (exponent-1)/10)
	return fmt.Sprintf("%.3g %sB", float64(n)/float64(int64(1)<<(unit*10)), units[unit])
}

func (r *run) snapshotTable(snapshots []qcow2.Snapshot) string {
	format := "%-10s%-17s%8s%20s%13s%11s\n"
	clock := "%02d:%02d:%02d.%03d"
	size, vmClock := "VM SIZE", "VM CLOCK"
	if r.wideSnapshots {
		format = "%-7s %-16s %8s %19s %15s %10s\n"
		clock = "%04d:%02d:%02d.%03d"
		size, vmClock = "VM_SIZE", "VM_CLOCK"
	}
	text := "Snapshot list:\n" + fmt.Sprintf(format, "ID", "TAG", size, "DATE", vmClock, "ICOUNT")
	for _, s := range snapshots {
		seconds := int64(s.VMClock / time.Second)
		count := "" // QEMU has no digits for an unknown one
		if r.wideSnapshots {
			count = "--"
		}
		if s.ICount >= 0 {
			count = fmt.Sprint(s.ICount)
		}
		text += fmt.Sprintf(format, s.ID, s.Name, humanSize(s.VMStateSize), s.Date.Local().Format("2006-01-02 15:04:05"),
			fmt.Sprintf(clock, seconds/3600, seconds/60%60, seconds%60, int64(s.VMClock%time.Second/time.Millisecond)), count)
	}
	return text
}
