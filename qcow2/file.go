package qcow2

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"virtls/internal/imagelock"
)

// A File holds an image or the backing file of one. Reads at different offsets
// may run at the same time.
type File interface {
	io.ReaderAt
	Size() int64 // in bytes
	Close() error
}

// A HoleFinder is a [File] that knows its holes.
type HoleFinder interface {
	// Hole tells whether the byte at off lies in a hole, which reads as zeros,
	// and for how many bytes from there on this holds, at most length.
	Hole(off, length int64) (hole bool, n int64, err error)
}

// An Allocator is a [File] that knows how much room it takes.
type Allocator interface {
	Allocated() (int64, error) // bytes
}

// readPadded fills p from f; what lies past the end of the file is zero, as
// QEMU has it.
func readPadded(f File, p []byte, off int64) error {
	if off < 0 {
		return damaged("Offset %#x is outside of every file", uint64(off))
	}
	n := min(int64(len(p)), max(0, f.Size()-off))
	if n > 0 {
		got, err := f.ReadAt(p[:n], off)
		if int64(got) < n && err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		n = int64(got)
	}
	clear(p[n:])
	return nil
}

// localFile is a file or block device of this machine. It implements
// [HoleFinder] and [Allocator].
type localFile struct {
	*os.File
	size int64
}

// OpenLocal opens a file or block device of this machine for reading. [Open]
// takes QEMU's locks on it.
func OpenLocal(name string) (File, error) {
	// A FIFO would make it wait for somebody else.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode().Type() != os.ModeDevice {
		err = &os.PathError{Op: "open", Path: name, Err: errNoImage(info.Mode())}
	}
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &localFile{f, size}, nil
}

func errNoImage(mode os.FileMode) error {
	if mode.IsDir() {
		return unix.EISDIR
	}
	return errors.New("neither a regular file nor a block device")
}

// take takes locks until the file is closed.
func (f *localFile) take(u imagelock.Use) error { return imagelock.Take(f.File, u) }

// Size returns the length when the file was opened.
func (f *localFile) Size() int64 { return f.size }

// Hole asks the file system. One that does not know has no holes.
func (f *localFile) Hole(off, length int64) (bool, int64, error) {
	length = min(length, f.size-off)
	data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // a hole up to the end
		return true, length, nil
	case err != nil:
		return false, length, nil
	case data > off:
		return true, min(data-off, length), nil
	}
	hole, err := unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE)
	if err != nil || hole <= off {
		return false, length, nil
	}
	return false, min(hole-off, length), nil
}

// Allocated returns the room that the file takes in its file system.
func (f *localFile) Allocated() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return st.Blocks * 512, nil
}
