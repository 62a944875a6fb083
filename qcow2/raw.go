package qcow2

// A Raw is a file that holds a disk as it is. It implements [Disk].
type Raw struct {
	file File
}

// NewRaw returns the disk that a file holds.
func NewRaw(f File) *Raw { return &Raw{f} }

// Size returns the file's size, rounded up to whole sectors of 512 bytes as
// QEMU does.
func (r *Raw) Size() int64 { return (r.file.Size() + 511) &^ 511 }

// Format returns "raw".
func (r *Raw) Format() string { return "raw" }

// File returns the file.
func (r *Raw) File() File { return r.file }

// Backing returns nil: there is none.
func (r *Raw) Backing() Disk { return nil }

// Close closes the file.
func (r *Raw) Close() error { return r.file.Close() }

// ReadAt reads from the disk; the rest of the last sector is zero.
func (r *Raw) ReadAt(p []byte, off int64) (int, error) {
	return readDisk(r, p, off, func(p []byte, off int64) error { return readPadded(r.file, p, off) })
}

// Extent asks the file for its holes.
func (r *Raw) Extent(off, length int64) (Extent, error) {
	if d, ok := r.file.(Extenter); ok {
		return d.Extent(off, length)
	}
	end := r.file.Size()
	if off >= end { // the rest of the last sector
		return Extent{Start: off, Length: length, Present: true, Zero: true, Offset: off, File: r.file}, nil
	}
	e := Extent{Start: off, Length: min(length, end-off), Present: true, Data: true, Offset: off, File: r.file}
	holes, ok := r.file.(HoleFinder)
	if !ok {
		return e, nil
	}
	hole, n, err := holes.Hole(off, e.Length)
	e.Length, e.Data, e.Zero = n, !hole, hole
	return e, err
}

// An Extenter is a [File] that describes its parts itself, as an NBD export does.
type Extenter interface {
	Extent(off, length int64) (Extent, error)
}
