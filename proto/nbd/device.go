package nbd

import (
	"io"

	"virtls/authz"
)

// A Device is what an export is made of. It is used by any number of goroutines
// at once, and for as long as a server serves it its size does not change. What
// it can do beyond being read it tells by implementing more interfaces.
//
// An error that wraps an [Errno], [errors.ErrUnsupported], [io/fs.ErrPermission]
// or a [syscall.Errno] is told to the client as such, all others as EIO. Offsets
// and lengths are within the size and the block size when methods are called.
type Device interface {
	io.ReaderAt
	Size() int64 // in octets
}

// A Flusher is a device that can bring what was written to stable storage.
type Flusher interface {
	// Flush returns when all writes that had returned before it was called,
	// whoever made them, will survive a loss of power.
	Flush() error
}

// A Trimmer is a device of which parts can be given up.
type Trimmer interface {
	// Trim says that the content of a range is not needed any more. What is read
	// there afterwards is undefined, and it may do nothing.
	Trim(off, length int64) error
}

// A Zeroer is a device that can make ranges zero without being sent zeroes.
type Zeroer interface {
	// WriteZeroes makes a range read as zeroes. The flags are NoHole and FastZero;
	// it fails with [errors.ErrUnsupported] at once if FastZero cannot be had.
	WriteZeroes(off, length int64, flags CommandFlag) error
}

// A Cacher is a device that can be told what will be read soon.
type Cacher interface {
	Cache(off, length int64) error
}

// An Extenter is a device that knows where it is allocated.
type Extenter interface {
	// Extents describes a range from its beginning, in order and without gaps, by
	// at least one and at most limit extents. It may end early; the last one may
	// end after the range.
	Extents(off, length int64, limit int) ([]Extent, error)
}

// A BlockSizer is a device whose requests must be aligned.
type BlockSizer interface {
	BlockSize() BlockSize
}

// A Flagger is a device that has the methods of interfaces whose work it cannot
// always do, such as a [Client]: it tells by flags what it can.
type Flagger interface {
	Flags() Flags
}

// An Extent is a part of a device that is alike throughout.
type Extent struct {
	Length int64
	Hole   bool // takes no space
	Zero   bool // reads as zeroes
}

// status returns the extent as base:allocation has it.
func (e Extent) status() uint32 {
	var s uint32
	if e.Hole {
		s |= 1
	}
	if e.Zero {
		s |= 2
	}
	return s
}

func extentOf(length uint64, status uint64) Extent {
	return Extent{Length: int64(length), Hole: status&1 != 0, Zero: status&2 != 0}
}

// A BlockSize are the sizes of requests that suit a device, in octets.
type BlockSize struct {
	Min       uint32 // offsets and lengths must be multiples of it; a power of 2 up to 64 KiB
	Preferred uint32 // and better are multiples of it; a power of 2
	Max       uint32 // of a read or write
}

// defaultSizes are what is true without being said.
var defaultSizes = BlockSize{Min: 1, Preferred: 4096, Max: maxPayload}

// An Export is a device under a name.
type Export struct {
	Name        string // what clients ask for; the empty name is the one they get without asking
	Description string
	Device      Device
	ReadOnly    bool // whatever the device can do

	// Access decides who sees the export, by the name that the peer proved: a
	// certificate's DN or the user of a pre-shared key. All others are told that
	// there is no such export, and so is who proved no name. Nil lets in everybody
	// who has come so far.
	Access authz.Authorizer
}

// abilities are what a device can do, asked once.
type abilities struct {
	Device
	write   io.WriterAt
	flush   Flusher
	trim    Trimmer
	zero    Zeroer
	cache   Cacher
	extents Extenter
	sizes   BlockSize
}

func (e *Export) abilities() *abilities {
	a := &abilities{Device: e.Device, sizes: defaultSizes}
	a.cache, _ = e.Device.(Cacher)
	a.extents, _ = e.Device.(Extenter)
	if b, ok := e.Device.(BlockSizer); ok {
		a.sizes = b.BlockSize()
		a.sizes.Max = min(a.sizes.Max, maxPayload)
	}
	if w, ok := e.Device.(io.WriterAt); ok && !e.ReadOnly {
		a.write = w
		a.flush, _ = e.Device.(Flusher)
		a.trim, _ = e.Device.(Trimmer)
		a.zero, _ = e.Device.(Zeroer)
	}
	if f, ok := e.Device.(Flagger); ok {
		a.restrict(f.Flags())
	}
	return a
}

// restrict takes away what the device itself cannot do now.
func (a *abilities) restrict(f Flags) {
	if f.Has(ReadOnly) {
		a.write, a.flush, a.trim, a.zero = nil, nil, nil, nil
	}
	if !f.Has(SendFlush) {
		a.flush = nil
	}
	if !f.Has(SendTrim) {
		a.trim = nil
	}
	if !f.Has(SendWriteZeroes) {
		a.zero = nil
	}
	if !f.Has(SendCache) {
		a.cache = nil
	}
}

// flags returns what a client of the export is told. All connections share one
// device, so what one of them flushes is flushed for all.
func (a *abilities) flags(m mode) Flags {
	f := HasFlags | CanMultiConn
	if m >= structured {
		f |= SendDF
	}
	if a.cache != nil {
		f |= SendCache
	}
	if a.write == nil {
		return f | ReadOnly
	}
	if a.flush != nil {
		f |= SendFlush | SendFUA
	}
	if a.trim != nil {
		f |= SendTrim
	}
	if a.zero != nil {
		f |= SendWriteZeroes | SendFastZero
	}
	return f
}
