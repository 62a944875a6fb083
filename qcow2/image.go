package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// A Disk is what a guest sees of a raw file or of an image with all that it is
// built on. It may be read by any number of goroutines.
type Disk interface {
	io.ReaderAt
	Size() int64 // in bytes, a multiple of 512
	// Extent describes the bytes from off on, for at most length bytes, which
	// must be within the disk.
	Extent(off, length int64) (Extent, error)
	Format() string // "qcow2" or "raw"
	File() File     // that holds the disk, without its backing files
	Backing() Disk  // nil if there is none
	Close() error   // closes the files, of the backing chain too
}

// An Image is a qcow2 image. It implements [Disk].
type Image struct {
	Header
	// BackingName is how the backing file was found: its name in the image,
	// taken relative to the image's own name.
	BackingName string

	file     File
	backing  Disk
	cache    *cache
	l1       []uint64
	diskSize int64 // of the image or of the snapshot that is shown
	decoders sync.Pool

	preallocated sync.Once
	recurse      bool // look for holes below allocated clusters
}

// Size returns the size of the disk; QEMU counts in sectors of 512 bytes.
func (m *Image) Size() int64 { return (m.diskSize + 511) &^ 511 }

// Format returns "qcow2".
func (m *Image) Format() string { return "qcow2" }

// File returns the file that holds the image.
func (m *Image) File() File { return m.file }

// Backing returns the disk below, or nil.
func (m *Image) Backing() Disk { return m.backing }

// Close closes the image and its backing files.
func (m *Image) Close() error {
	err := m.file.Close()
	if m.backing != nil {
		err = errors.Join(err, m.backing.Close())
	}
	return err
}

// load reads the header and the active L1 table.
func load(f File, c *cache) (*Image, error) {
	h, err := readHeader(f)
	if err != nil {
		return nil, err
	}
	m := &Image{Header: *h, file: f, cache: c, diskSize: h.Size}
	m.l1, err = readTable(f, h.l1Offset, h.l1Entries)
	return m, err
}

// readTable reads a table of 64-bit words. It takes no more memory than the
// file has bytes: entries past its end are zero and left out at the end.
func readTable(f File, offset, entries int64) ([]uint64, error) {
	entries = min(entries, max(0, f.Size()-offset+7)/8)
	raw := make([]byte, entries*8)
	if err := readPadded(f, raw, offset); err != nil {
		return nil, err
	}
	table := make([]uint64, entries)
	for i := range table {
		table[i] = binary.BigEndian.Uint64(raw[i*8:])
	}
	return table, nil
}

// ReadAt reads from the disk.
func (m *Image) ReadAt(p []byte, off int64) (int, error) {
	return readDisk(m, p, off, m.read)
}

// readDisk bounds a read by the disk's size, as io.ReaderAt wants it, and
// leaves the rest to read.
func readDisk(d Disk, p []byte, off int64, read func(p []byte, off int64) error) (int, error) {
	if off < 0 {
		return 0, errors.New("qcow2: negative offset")
	}
	n := int(min(int64(len(p)), max(0, d.Size()-off)))
	if n > 0 {
		if err := read(p[:n], off); err != nil {
			return 0, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// read fills p, which lies within the disk.
func (m *Image) read(p []byte, off int64) error {
	for len(p) > 0 {
		r, err := m.lookup(off, int64(len(p)))
		if err != nil {
			return err
		}
		part := p[:r.length]
		switch r.kind {
		case normal:
			err = readPadded(m.file, part, r.host)
		case compressed:
			err = m.readCompressed(part, off, r.word)
		case zeroPlain, zeroAlloc:
			clear(part)
		default:
			err = readBacking(m.backing, part, off)
		}
		if err != nil {
			return err
		}
		p, off = p[r.length:], off+r.length
	}
	return nil
}

// readBacking reads what the image leaves to the disk below. Past its end, and
// where there is none, there are zeros.
func readBacking(backing Disk, p []byte, off int64) error {
	n := 0
	if backing != nil {
		var err error
		if n, err = backing.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	clear(p[n:])
	return nil
}

// readCompressed fills p, which lies in one compressed cluster.
func (m *Image) readCompressed(p []byte, off int64, word uint64) error {
	cluster, err := m.cache.get(cacheKey{m, word | flagCompressed}, func() ([]byte, error) {
		offset, length := m.compressedPlace(word)
		if offset >= m.file.Size() {
			return nil, damaged("Compressed cluster at offset %#x is outside of the file (guest offset: %#x)", offset, off)
		}
		packed := make([]byte, length)
		if err := readPadded(m.file, packed, offset); err != nil {
			return nil, err
		}
		cluster := make([]byte, m.ClusterSize())
		if err := m.decompress(cluster, packed); err != nil {
			return nil, damaged("Compressed cluster at offset %#x cannot be decompressed (guest offset: %#x): %v", offset, off, err)
		}
		return cluster, nil
	})
	if err != nil {
		return err
	}
	copy(p, cluster[off&(m.ClusterSize()-1):])
	return nil
}

// maxZstdWindow bounds the memory that a cluster's frame may ask for. No writer
// needs more than a cluster.
const maxZstdWindow = 8 << 20

// decompress fills cluster from the beginning of packed; what follows in the
// last sector belongs to others.
func (m *Image) decompress(cluster, packed []byte) error {
	if m.Compression == Zstd {
		d, _ := m.decoders.Get().(*zstd.Decoder)
		if d == nil {
			var err error
			d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
			if err != nil {
				return err
			}
		}
		defer m.decoders.Put(d)
		if err := d.Reset(bytes.NewReader(packed)); err != nil {
			return err
		}
		_, err := io.ReadFull(d, cluster)
		return err
	}
	d, _ := m.decoders.Get().(io.ReadCloser)
	if d == nil {
		d = flate.NewReader(nil)
	}
	defer m.decoders.Put(d)
	if err := d.(flate.Resetter).Reset(bytes.NewReader(packed), nil); err != nil {
		return err
	}
	_, err := io.ReadFull(d, cluster)
	return err
}
