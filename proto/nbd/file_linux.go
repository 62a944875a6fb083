package nbd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"virtls/internal/imagelock"
)

// FileOptions say how a file is opened.
type FileOptions struct {
	Write bool
}

// A File is a device of a raw file or a block device. Holes of files stay holes,
// and what is trimmed or zeroed becomes one where the file system can do that.
type File struct {
	f       *os.File
	size    int64
	block   bool // a block device
	write   bool
	logical int64 // block size of a block device

	noPunch, noZeroRange, noSeek atomic.Bool // the file system cannot

	// data is a range that was found to be data. To look for the next hole takes
	// tmpfs and others time in proportion to its distance, at each request anew.
	// That somebody else makes a hole in it does no harm: it is read, then.
	data    atomic.Pointer[dataRange]
	looking sync.Mutex // held while a range is looked for: once is enough
}

type dataRange struct{ from, to int64 }

// A writableFile is a File that may be written to.
type writableFile struct{ *File }

// OpenFile opens a file or a block device as a device. Unless it is opened for
// writing the device has none of the interfaces of devices that can be written.
// Close it when nobody uses it any more.
//
// It takes the locks that qemu-nbd takes on a raw file: it fails if a QEMU uses
// the file that wants nobody to write, or to read, and none can begin to.
func OpenFile(path string, o FileOptions) (interface {
	Device
	io.Closer
}, error) {
	how, use := os.O_RDONLY, imagelock.Use{Needs: imagelock.Read, Denies: imagelock.Resize}
	if o.Write {
		how, use.Needs = os.O_RDWR, imagelock.Read|imagelock.Write
	}
	// A FIFO would make it wait for somebody else.
	f, err := os.OpenFile(path, how|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	d := &File{f: f, write: o.Write, logical: 1}
	if err := errors.Join(d.measure(), imagelock.Take(f, use)); err != nil {
		f.Close()
		return nil, err
	}
	if o.Write {
		return writableFile{d}, nil
	}
	return d, nil
}

// measure finds out what and how large the file is.
func (d *File) measure() error {
	info, err := d.f.Stat()
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		d.size = info.Size()
		return nil
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		d.block = true
		if d.size, err = d.f.Seek(0, io.SeekEnd); err != nil {
			return err
		}
		logical, err := unix.IoctlGetInt(int(d.f.Fd()), unix.BLKSSZGET)
		if err != nil {
			return &os.PathError{Op: "BLKSSZGET", Path: d.f.Name(), Err: err}
		}
		d.logical = int64(logical)
		return nil
	}
	return fmt.Errorf("%s is neither a file nor a block device", d.f.Name())
}

// Size returns the size in octets that the file had when it was opened.
func (d *File) Size() int64 { return d.size }

// ReadAt implements [io.ReaderAt].
func (d *File) ReadAt(p []byte, off int64) (int, error) { return d.f.ReadAt(p, off) }

// Close closes the file. What was not flushed may be lost if the power fails.
func (d *File) Close() error { return d.f.Close() }

// Cache implements [Cacher].
func (d *File) Cache(off, length int64) error {
	return d.call(func(fd int) error { return unix.Fadvise(fd, off, length, unix.FADV_WILLNEED) })
}

// Extents implements [Extenter] by what the file system knows of holes.
func (d *File) Extents(off, length int64, limit int) (list []Extent, err error) {
	end := off + length
	if d.block || d.noSeek.Load() {
		return []Extent{{Length: length}}, nil
	}
	err = d.call(func(fd int) error {
		for at := off; at < end && len(list) < limit; {
			e, err := d.extentAt(fd, at)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
				d.noSeek.Store(true)
				e, err = Extent{Length: end - at}, nil
			}
			if err != nil {
				return err
			}
			list, at = append(list, e), at+e.Length
		}
		return nil
	})
	return list, err
}

// known returns the extent that begins at an offset if it was found to be data.
func (d *File) known(off int64) (e Extent, ok bool) {
	if known := d.data.Load(); known != nil && off >= known.from && off < known.to {
		return Extent{Length: known.to - off}, true
	}
	return e, false
}

// extentAt returns the extent that begins at an offset before the end. The
// file's position, which it moves, means nothing to anybody.
func (d *File) extentAt(fd int, off int64) (Extent, error) {
	if e, ok := d.known(off); ok {
		return e, nil
	}
	d.looking.Lock()
	defer d.looking.Unlock()
	if e, ok := d.known(off); ok {
		return e, nil
	}
	size := d.size
	data, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // no data from here on
		end, endErr := unix.Seek(fd, 0, unix.SEEK_END)
		if endErr == nil && off >= end {
			return Extent{}, fmt.Errorf("the file ends at %d: %w", end, io.ErrUnexpectedEOF)
		}
		size = min(size, end)
		data, err = size, endErr
	}
	if err != nil {
		return Extent{}, err
	}
	if data = min(data, size); data > off {
		return Extent{Length: data - off, Hole: true, Zero: true}, nil
	}
	hole, err := unix.Seek(fd, off, unix.SEEK_HOLE)
	if err != nil {
		return Extent{}, err
	}
	if hole = min(hole, size); hole <= off { // somebody punched it meanwhile
		hole = off + 1
	}
	d.data.Store(&dataRange{off, hole})
	return Extent{Length: hole - off}, nil
}

// call calls the system about the file.
func (d *File) call(f func(fd int) error) error {
	raw, err := d.f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}

// WriteAt implements [io.WriterAt].
func (d writableFile) WriteAt(p []byte, off int64) (int, error) { return d.f.WriteAt(p, off) }

// Flush implements [Flusher].
func (d writableFile) Flush() error {
	return d.call(func(fd int) error { return retry(func() error { return unix.Fdatasync(fd) }) })
}

// Trim implements [Trimmer]. It does nothing where nothing can be given up.
func (d writableFile) Trim(off, length int64) error {
	// Devices take whole blocks only.
	from := (off + d.logical - 1) / d.logical * d.logical
	to := (off + length) / d.logical * d.logical
	if from >= to || d.noPunch.Load() {
		return nil
	}
	if err := d.punch(from, to-from); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// WriteZeroes implements [Zeroer].
func (d writableFile) WriteZeroes(off, length int64, flags CommandFlag) error {
	if length == 0 {
		return nil
	}
	if (off|length)%d.logical == 0 {
		how := d.punch
		if flags&NoHole != 0 {
			how = d.zeroRange
		}
		if err := how(off, length); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	if flags&FastZero != 0 {
		return errors.ErrUnsupported
	}
	for zeroes := make([]byte, min(length, pieceSize)); length > 0; {
		n, err := d.f.WriteAt(zeroes[:min(length, pieceSize)], off)
		if err != nil {
			return err
		}
		off, length = off+int64(n), length-int64(n)
	}
	return nil
}

// punch makes a hole, which reads as zeroes.
func (d writableFile) punch(off, length int64) error {
	defer d.data.Store(nil)
	return d.allocate(&d.noPunch, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

// zeroRange makes zeroes that take up space.
func (d writableFile) zeroRange(off, length int64) error {
	return d.allocate(&d.noZeroRange, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

func (d writableFile) allocate(cannot *atomic.Bool, how uint32, off, length int64) error {
	if cannot.Load() {
		return errors.ErrUnsupported
	}
	err := d.call(func(fd int) error { return retry(func() error { return unix.Fallocate(fd, how, off, length) }) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		cannot.Store(true)
		return errors.ErrUnsupported
	}
	return err
}

// retry calls again what a signal interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
