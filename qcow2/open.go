package qcow2

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"virtls/internal/imagelock"
	"virtls/internal/qjson"
)

// MaxDepth is the greatest number of images in a chain.
const MaxDepth = 256

// Options say how an image is opened.
type Options struct {
	// Format is "qcow2" or "raw"; empty: whatever the first bytes look like. A
	// guest that owns a raw disk can make it look like anything, so who opens
	// what guests have written names the format.
	Format string
	// Snapshot shows an internal snapshot, by its id or name, instead of the
	// current state.
	Snapshot string
	// NoBacking leaves backing files closed. What they would supply reads as
	// zeros: for looking at an image alone.
	NoBacking bool
	// Open opens a backing file by its name, which was made absolute or relative
	// to the working directory by the name of the image. Nil refuses images that
	// have one.
	Open func(name string) (File, error)
	// Locks are those that are taken on files of this machine.
	Locks Locks
}

// Locks say what others must not do to the files of a chain while it is open, as
// QEMU's programs agree on it by locks on the files.
type Locks int

// What may be locked. An image that is written to by somebody else cannot be
// read: its tables change.
const (
	LockImages  Locks = iota // nobody writes to qcow2 images; raw files may be written to
	LockAll                  // nobody writes to any file: for copies
	LockLooking              // as LockImages, by somebody who reads no content
	LockNothing              // --force-share of QEMU's tools: what is read may be nonsense
)

// uses are the locks on raw files and on qcow2 images.
var uses = map[Locks]struct{ raw, image imagelock.Use }{
	LockImages:  {imagelock.Use{Needs: imagelock.Read}, imagelock.Use{Needs: imagelock.Read, Denies: imagelock.Write | imagelock.Resize}},
	LockAll:     {imagelock.Use{Needs: imagelock.Read, Denies: imagelock.Write | imagelock.Resize}, imagelock.Use{Needs: imagelock.Read, Denies: imagelock.Write | imagelock.Resize}},
	LockLooking: {imagelock.Use{}, imagelock.Use{Denies: imagelock.Write | imagelock.Resize}},
}

// lock takes the locks that a file is to have.
func (l Locks) lock(f File, format string) error {
	local, ok := f.(*localFile)
	if !ok {
		return nil
	}
	if format == "raw" {
		return local.take(uses[l].raw)
	}
	return local.take(uses[l].image)
}

// OpenFile opens a disk in a file of this machine, with its backing files,
// wherever the image says they are unless o.Open is set.
func OpenFile(name string, o Options) (Disk, error) {
	if o.Open == nil {
		o.Open = OpenLocal
	}
	f, err := OpenLocal(name)
	if err != nil {
		return nil, err
	}
	d, err := Open(f, name, o)
	if err != nil {
		f.Close()
	}
	return d, err
}

// Open opens the disk in f. The name is what names of backing files are
// relative to. On success the disk owns f and closes it.
func Open(f File, name string, o Options) (Disk, error) {
	c := chain{options: o, cache: newCache()}
	return c.open(f, name, o.Format, o.Snapshot)
}

// A chain is an image with its backing files while it is opened.
type chain struct {
	options Options
	cache   *cache
	names   []string // of the images opened up to now
	tables  int64    // bytes of their L1 tables
}

// maxChainL1 is how many bytes the L1 tables of a chain may have together: those of
// disks of 16 PiB in the usual clusters.
const maxChainL1 = 256 << 20

func (c *chain) open(f File, name, format, snapshot string) (Disk, error) {
	format, err := decideFormat(f, format)
	if err != nil {
		return nil, err
	}
	if err := c.options.Locks.lock(f, format); err != nil {
		return nil, err
	}
	if format == "raw" {
		if snapshot != "" {
			return nil, &SnapshotError{Name: snapshot}
		}
		return NewRaw(f), nil
	}
	m, err := load(f, c.cache)
	if err != nil {
		return nil, err
	}
	if c.tables += 8 * int64(len(m.l1)); c.tables > maxChainL1 {
		return nil, damaged("the L1 tables of the backing chain take more than %d MiB", maxChainL1>>20)
	}
	if snapshot != "" {
		if err := m.show(snapshot); err != nil {
			return nil, err
		}
	}
	if m.BackingFile == "" {
		return m, nil
	}
	m.BackingName, err = ResolveBacking(name, m.BackingFile)
	if err != nil || c.options.NoBacking {
		return m, err
	}
	m.backing, err = c.openBacking(m, name)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// A BackingError says that a backing file could not be opened.
type BackingError struct {
	Name string // as resolved
	Err  error
}

// Error returns QEMU's sentence.
func (e *BackingError) Error() string { return "Could not open backing file: " + e.Err.Error() }

// Unwrap returns what went wrong.
func (e *BackingError) Unwrap() error { return e.Err }

func (c *chain) openBacking(m *Image, name string) (Disk, error) {
	below := m.BackingName
	fail := func(err error) (Disk, error) { return nil, &BackingError{below, err} }
	c.names = append(c.names, path.Clean(name))
	switch {
	case c.options.Open == nil:
		return fail(unsupported("an image without a backing file", "the image has the backing file %q, and none may be opened", m.BackingFile))
	case slices.Contains(c.names, path.Clean(below)):
		return fail(damaged("the backing chain is a loop: %s is above itself", below))
	case len(c.names) >= MaxDepth:
		return fail(damaged("the backing chain is longer than %d images", MaxDepth))
	}
	f, err := c.options.Open(below)
	if err != nil {
		var missing *fs.PathError
		if errors.As(err, &missing) {
			err = &OpenError{below, missing.Err}
		}
		return fail(err)
	}
	d, err := c.open(f, below, m.BackingFormat, "")
	if err != nil {
		f.Close()
		return fail(err)
	}
	return d, nil
}

// An OpenError says why a file could not be opened.
type OpenError struct {
	Name string
	Err  error
}

// Error returns QEMU's sentence. Its errno texts begin with a capital.
func (e *OpenError) Error() string {
	text := e.Err.Error()
	return fmt.Sprintf("Could not open '%s': %s%s", e.Name, strings.ToUpper(text[:1]), text[1:])
}

// Unwrap returns the reason.
func (e *OpenError) Unwrap() error { return e.Err }

// ResolveBacking returns the name of a backing file as seen from where the image
// is.
func ResolveBacking(image, backing string) (string, error) {
	if text, ok := strings.CutPrefix(backing, "json:"); ok {
		return fromJSON(image, text)
	}
	if hasProtocol(backing) {
		if local, ok := strings.CutPrefix(backing, "file:"); ok {
			return local, nil
		}
		return backing, nil
	}
	if path.IsAbs(backing) {
		return backing, nil
	}
	image = strings.TrimPrefix(image, "file:")
	dir, _ := path.Split(image)
	return dir + backing, nil
}

// hasProtocol tells names that begin with a protocol, such as "nbd://host",
// from those of files.
func hasProtocol(name string) bool {
	i := strings.IndexAny(name, ":/")
	return i > 0 && name[i] == ':'
}

// fromJSON takes the name of a file from the forms of json: names that do no
// more than name a file.
func fromJSON(image, text string) (string, error) {
	refuse := unsupported("the name of a file", "the backing file %q is described in JSON; only descriptions of a file are supported", "json:"+text)
	v, err := qjson.Parse([]byte(text))
	if err != nil {
		return "", damaged("the backing file's description is not JSON: %v", err)
	}
	for depth := 0; depth < 3; depth++ {
		object, ok := v.(qjson.Object)
		if !ok {
			return "", refuse
		}
		name := ""
		v = nil
		for _, member := range object {
			value, isText := member.Value.(string)
			switch {
			case member.Key == "driver" && slices.Contains([]string{"file", "raw", "qcow2"}, value):
			case (member.Key == "filename" || member.Key == "file.filename") && isText:
				name = value
			case member.Key == "file.driver" && value == "file":
			case member.Key == "file" && !isText:
				v = member.Value
			default:
				return "", refuse
			}
		}
		if name != "" && v == nil {
			if strings.HasPrefix(name, "json:") {
				return "", refuse
			}
			return ResolveBacking(image, name)
		}
	}
	return "", refuse
}

// foreign are the formats that a probe tells from raw disks, in order not to
// serve their inside as a disk.
var foreign = []struct {
	format string
	offset int
	magic  string
}{
	{"qcow", 0, "QFI\xfb\x00\x00\x00\x01"},
	{"qed", 0, "QED\x00"},
	{"vmdk", 0, "KDMV"}, {"vmdk", 0, "COWD"}, {"vmdk", 0, "# Disk DescriptorFile"},
	{"vhdx", 0, "vhdxfile"},
	{"vpc", 0, "conectix"},
	{"vdi", 64, "\x7f\x10\xda\xbe"},
	{"luks", 0, "LUKS\xba\xbe"},
	{"parallels", 0, "WithoutFreeSpace"}, {"parallels", 0, "WithouFreSpacExt"},
}

// Probe tells what format a file seems to have: "qcow2", "raw", or the name of
// another one that QEMU knows.
func Probe(f File) (string, error) {
	start := make([]byte, 512)
	if err := readPadded(f, start, 0); err != nil {
		return "", err
	}
	if IsImage(start) {
		return "qcow2", nil
	}
	for _, k := range foreign {
		if bytes.HasPrefix(start[k.offset:], []byte(k.magic)) {
			return k.format, nil
		}
	}
	return "raw", nil
}

func decideFormat(f File, format string) (string, error) {
	if format == "" {
		var err error
		if format, err = Probe(f); err != nil {
			return "", err
		}
	}
	if format == "file" {
		format = "raw"
	}
	if format != "raw" && format != "qcow2" {
		return "", unsupported("raw or qcow2", "Format %q is not supported, only raw and qcow2 are", format)
	}
	return format, nil
}
