package qemuimg

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtls/internal/imagelock"
	"virtls/internal/strerror"
	"virtls/qcow2"
)

var createCommand = &command{
	name: "create", usage: "[-f FMT] [-o OPTIONS] [-b BACKING_FILE [-B BACKING_FMT]] [-u] [-q] [--object OBJDEF] FILE [SIZE]",
	about: "Make a new image",
	options: []option{helpOption,
		valued("format", 'f', "FMT", "format of the new image: raw (the default) or qcow2"),
		valued("options", 'o', "OPTIONS", "settings of the format: key=value,..."),
		valued("backing", 'b', "BACKING_FILE", "what the new image is built on"),
		valued("backing-format", 'B', "BACKING_FMT", "format of the backing file"),
		{Option: aliasShort('F', "backing-format")},
		flag("backing-unsafe", 'u', "do not look at the backing file"),
		quietOption, objectOption},
	run: (*run).create,
}

func (r *run) create(a *arguments) int {
	if len(a.Operands) == 0 {
		return r.complain(a.command, usageError{errFile})
	}
	if len(a.Operands) > 2 {
		return r.complain(a.command, usageError{say("Unexpected argument: %s", a.Operands[2])})
	}
	name := a.Operands[0]
	size := int64(-1)
	if len(a.Operands) == 2 {
		var ok bool
		if size, ok = parseSize(a.Operands[1]); !ok {
			return r.failf(r.badSize, a.sizeArgs(r)...)
		}
	}
	n := newImage{format: "raw", size: size}
	if a.format != "" {
		n.format = a.format
	}
	err := n.configure(a)
	if err == nil {
		err = r.prepare(&n, name, !a.Has("backing-unsafe"))
	}
	if noFormat, ok := errors.AsType[errNoFormat](err); ok && !r.detectedLine {
		fmt.Fprintf(r.Err, "qemu-img: %s: %v", name, noFormat)
		return exitWrong
	}
	if err != nil {
		return r.failf("%s: %v", name, err)
	}
	r.printf("Formatting '%s', fmt=%s%s\n", name, n.format, n.settings())
	if err := r.makeEmpty(&n, name); err != nil {
		return r.failf("%s: %v", name, err)
	}
	return exitOK
}

// errNoFormat names the format of a backing file that was not named.
type errNoFormat string

func (e errNoFormat) Error() string {
	return "Backing file specified without backing format\nDetected format of " + string(e) + "."
}

func (a *arguments) sizeArgs(r *run) []any {
	if strings.Contains(r.badSize, "%s") {
		return []any{a.Operands[1]}
	}
	return nil
}

// A newImage is what create and convert are to make.
type newImage struct {
	format        string
	size          int64 // -1 if not given
	options       qcow2.CreateOptions
	given         map[string]string // the options as given
	preallocation string            // "", "off", "metadata", "falloc", "full"
}

// Options of new images; those of qcow2 in the order in which they are printed.
var (
	qcow2Options = []string{"cluster_size", "extended_l2", "preallocation", "compression_type", "size", "compat", "backing_file", "backing_fmt", "lazy_refcounts", "refcount_bits", "nocow"}
	rawOptions   = []string{"size", "preallocation", "nocow"}
	// The real one has these, too.
	otherOptions = []string{"encryption", "encrypt.format", "encrypt.key-secret", "encrypt.cipher-alg", "encrypt.cipher-mode", "encrypt.ivgen-alg",
		"encrypt.ivgen-hash-alg", "encrypt.hash-alg", "encrypt.iter-time", "data_file", "data_file_raw", "keep_data_file", "extent_size_hint"}
)

// configure reads the options of the command line.
func (n *newImage) configure(a *arguments) error {
	if n.format != "raw" && n.format != "qcow2" {
		if slices.Contains(formats, n.format) {
			return fmt.Errorf("the format '%s' is not supported by virtls; there are raw and qcow2", n.format)
		}
		return say("Unknown file format '%s'", n.format)
	}
	known := rawOptions
	if n.format == "qcow2" {
		known = qcow2Options
	}
	n.given = map[string]string{}
	for _, text := range a.All("options") {
		list, err := settings(text)
		if err != nil {
			return err
		}
		for _, s := range list {
			if slices.Contains(otherOptions, s.Name) {
				return fmt.Errorf("the option '%s' is not supported by virtls", s.Name)
			}
			if !slices.Contains(known, s.Name) {
				return say("Invalid parameter '%s'", s.Name)
			}
			n.given[s.Name] = s.Value
		}
	}
	for option, key := range map[string]string{"backing": "backing_file", "backing-format": "backing_fmt"} {
		if v, ok := a.Last(option); ok {
			if n.format == "raw" {
				return say("Backing file not supported for file format 'raw'")
			}
			n.given[key] = v
		}
	}
	return n.readSizes()
}

// readSizes reads the options that are numbers, and switches.
func (n *newImage) readSizes() error {
	for _, s := range []struct {
		name string
		to   *int64
	}{{"size", &n.size}, {"cluster_size", &n.options.ClusterSize}} {
		text, ok := n.given[s.name]
		if !ok || s.name == "size" && n.size >= 0 {
			continue
		}
		v, ok := parseSize(text)
		if !ok {
			return say("Parameter '%s' expects a non-negative number below 2^64", s.name)
		}
		if *s.to = v; s.name == "cluster_size" && v == 0 {
			*s.to = 1 // which is refused, while 0 is the default
		}
	}
	for name, to := range map[string]*bool{"extended_l2": &n.options.ExtendedL2, "lazy_refcounts": &n.options.LazyRefcounts, "nocow": new(bool)} {
		switch text, ok := n.given[name]; {
		case !ok || slices.Contains([]string{"off", "no", "false", "n"}, text):
		case slices.Contains([]string{"on", "yes", "true", "y"}, text):
			if *to = true; name == "nocow" {
				return errors.New("the option 'nocow' is not supported by virtls")
			}
		default:
			return say("Parameter '%s' expects 'on' or 'off'", name)
		}
	}
	if text, ok := n.given["refcount_bits"]; ok {
		bits, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return say("Parameter 'refcount_bits' expects a number")
		}
		if n.options.RefcountBits = uint(bits); bits == 0 {
			n.options.RefcountBits = 128 // which is refused, while 0 is the default
		}
	}
	n.options.BackingFile, n.options.BackingFormat = n.given["backing_file"], n.given["backing_fmt"]
	return nil
}

// readWords reads the options that are words, which QEMU judges last.
func (n *newImage) readWords() error {
	wrong := func(parameter, value string) error {
		return say("Parameter '%s' does not accept value '%s'", parameter, value)
	}
	switch v := n.given["compat"]; v {
	case "", "1.1", "v3":
	case "0.10", "v2":
		n.options.Version = 2
	default:
		return wrong("version", v)
	}
	switch v := n.given["compression_type"]; v {
	case "", "zlib":
	case "zstd":
		n.options.Compression = qcow2.Zstd
	default:
		return wrong("compression-type", v)
	}
	n.preallocation = n.given["preallocation"]
	allowed := []string{"", "off", "metadata", "falloc", "full"}
	if !slices.Contains(allowed, n.preallocation) {
		return wrong("preallocation", n.preallocation)
	}
	if n.format == "raw" && n.preallocation == "metadata" {
		return say("Unsupported preallocation mode 'metadata'")
	}
	if n.options.BackingFile != "" && n.preallocation != "" && n.preallocation != "off" && !n.options.ExtendedL2 {
		return say("Backing file and preallocation can only be used at the same time if extended_l2 is enabled")
	}
	return nil
}

// prepare finds out the size, and looks at the backing file.
func (r *run) prepare(n *newImage, name string, look bool) error {
	backing := n.options.BackingFile
	if backing == "" && n.options.BackingFormat != "" {
		return say("Backing format cannot be used without backing file")
	}
	if backing != "" && look {
		if backing == name {
			return say("Error: Trying to create an image with the same filename as the backing file")
		}
		if err := knownFormat(n.options.BackingFormat); err != nil {
			return err
		}
		s, err := r.openBackingOf(name, backing, n.options.BackingFormat)
		if err != nil {
			return say("%w\nCould not open backing image.", err)
		}
		defer s.Close()
		if n.options.BackingFormat == "" {
			return errNoFormat(s.driver())
		}
		if n.size < 0 {
			n.size = s.Size()
		}
	}
	if n.size < 0 {
		return say("Image creation needs a size parameter")
	}
	return nil
}

func (r *run) openBackingOf(name, backing, format string) (*source, error) {
	resolved, err := qcow2.ResolveBacking(name, backing)
	if err != nil {
		return nil, err
	}
	return r.openDisk(resolved, openOptions{format: format})
}

// settings returns the options as "Formatting" prints them.
func (n *newImage) settings() string {
	if n.format == "raw" {
		text := fmt.Sprintf(" size=%d", n.size)
		if p := n.given["preallocation"]; p != "" {
			text += " preallocation=" + p
		}
		return text
	}
	onOff := map[bool]string{true: "on", false: "off"}
	value := map[string]string{
		"cluster_size":     strconv.FormatInt(max(n.options.ClusterSize, 0), 10),
		"extended_l2":      onOff[n.options.ExtendedL2],
		"preallocation":    n.given["preallocation"],
		"compression_type": cmp.Or(n.given["compression_type"], "zlib"),
		"size":             strconv.FormatInt(n.size, 10),
		"compat":           n.given["compat"],
		"backing_file":     n.options.BackingFile,
		"backing_fmt":      n.options.BackingFormat,
		"lazy_refcounts":   onOff[n.options.LazyRefcounts],
		"refcount_bits":    cmp.Or(n.given["refcount_bits"], "16"),
	}
	if n.options.ClusterSize == 0 {
		value["cluster_size"] = "65536"
	}
	var b strings.Builder
	for _, name := range qcow2Options {
		if value[name] != "" {
			fmt.Fprintf(&b, " %s=%s", name, strings.ReplaceAll(value[name], ",", ",,"))
		}
	}
	return b.String()
}

// A target is what is written to.
type target interface {
	io.WriterAt
	io.Closer
}

// createFile makes an empty file, or opens an export.
func (r *run) createFile(name string) (target, error) {
	p, err := r.place(name, openOptions{})
	if err != nil {
		return nil, err
	}
	if p.protocol == "nbd" {
		return r.connect(p.export, true)
	}
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, say("Could not create '%s': %s", p.path, strerror.Of(err))
	}
	if err := imagelock.Take(f, imagelock.Create); err != nil {
		f.Close()
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		if err := f.Truncate(0); err != nil {
			f.Close()
			return nil, say("Could not create '%s': %s", p.path, strerror.Of(err))
		}
	}
	return f, nil
}

// makeEmpty makes an image without content.
func (r *run) makeEmpty(n *newImage, name string) (err error) {
	if err := n.readWords(); err != nil {
		return err
	}
	n.options.Size = n.size
	if n.format == "qcow2" {
		if err := n.options.Check(); err != nil {
			return err
		}
	}
	t, err := r.createFile(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, finish(t)) }()
	if n.format == "raw" {
		return n.makeRaw(t)
	}
	w, err := qcow2.Create(t, n.options)
	if err != nil {
		return err
	}
	if err := n.preallocate(w, t); err != nil {
		return err
	}
	return w.Close()
}

// finish flushes and closes.
func finish(t target) error {
	var err error
	switch f := t.(type) {
	case *os.File:
		if err = f.Sync(); errors.Is(err, unix.EINVAL) { // a device that knows no flush
			err = nil
		}
	case interface{ Flush() error }:
		err = f.Flush()
	}
	return errors.Join(err, t.Close())
}

// makeRaw gives a raw file its size.
func (n *newImage) makeRaw(t target) error {
	f, ok := t.(*os.File)
	if !ok { // an export has the size it has
		if s, ok := t.(interface{ Size() int64 }); ok && s.Size() < n.size {
			return fmt.Errorf("the export has %d bytes, %d are wanted", s.Size(), n.size)
		}
		return nil
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		if err := f.Truncate(n.size); err != nil {
			return err
		}
	}
	return allocate(f, n.preallocation, 0, n.size)
}

// preallocate allocates every cluster in advance if that is wanted.
func (n *newImage) preallocate(w *qcow2.Writer, t target) error {
	if n.preallocation == "" || n.preallocation == "off" {
		return nil
	}
	for off := int64(0); off < n.size; off += w.ClusterSize() {
		place, err := w.Reserve(off)
		if err != nil {
			return err
		}
		if err := allocate(t, n.preallocation, place, w.ClusterSize()); err != nil {
			return err
		}
	}
	return nil
}

// allocate gives a part of a file room.
func allocate(t target, how string, off, length int64) error {
	f, ok := t.(*os.File)
	if !ok || length == 0 {
		return nil
	}
	switch how {
	case "falloc":
		return unix.Fallocate(int(f.Fd()), 0, off, length)
	case "full":
		zeros := make([]byte, min(length, 1<<20))
		for end := off + length; off < end; off += int64(len(zeros)) {
			if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off); err != nil {
				return err
			}
		}
	}
	return nil
}
