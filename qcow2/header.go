package qcow2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// An Error says why an image cannot be used, in words that name what was found.
// Errors of reading the file itself are returned as they are.
type Error struct {
	Text string
	// Unsupported tells images that may be sound, but have a feature that is
	// refused, from damaged ones.
	Unsupported bool
	Want        string // what would not be refused
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

func damaged(format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...)}
}

func unsupported(want, format string, args ...any) error {
	return &Error{Text: fmt.Sprintf(format, args...), Unsupported: true, Want: want}
}

// A Compression is a method of compressing clusters.
type Compression byte

// The methods of the format's description; "compression_type" of qemu-img.
const (
	Deflate Compression = 0 // "zlib": raw deflate
	Zstd    Compression = 1
)

// String returns the name that qemu-img uses.
func (c Compression) String() string {
	switch c {
	case Deflate:
		return "zlib"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("type %d", byte(c))
}

// A Header is what the first cluster of an image says.
type Header struct {
	Version       int   // 2 ("compat 0.10") or 3 ("compat 1.1")
	Size          int64 // of the disk, in bytes
	ClusterBits   uint
	RefcountBits  uint // width of a reference count
	Compression   Compression
	BackingFile   string // as written in the image; "" for none
	BackingFormat string // "" if the image does not say
	LazyRefcounts bool
	Dirty         bool // not closed cleanly: reference counts may be stale, data is not
	Corrupt       bool // QEMU found it damaged and will not write to it
	ExtendedL2    bool

	l1Offset, l1Entries                 int64
	refcountOffset, refcountClusters    int64
	snapshotOffset, snapshots           int64
	bitmapsValid                        bool
	bitmapCount, bitmapSize, bitmapsOff int64
}

// ClusterSize returns the size of a cluster in bytes: 512 to 2 MiB.
func (h *Header) ClusterSize() int64 { return 1 << h.ClusterBits }

// Limits, those of QEMU's block/qcow2.h.
const (
	minClusterBits    = 9
	maxClusterBits    = 21
	maxL1             = 32 << 20 // bytes
	maxRefcountTable  = 8 << 20  // bytes
	maxSnapshots      = 65536
	maxSnapshotExtra  = 1024
	maxSnapshotTable  = 64 << 20 // bytes
	maxBitmaps        = 65535
	maxBitmapDir      = 64 << 20 // bytes
	maxBackingName    = 1023
	headerLength2     = 72
	headerLength3     = 104 // the shortest; writers of today have 112
	headerLengthToday = 112
)

// The bits of the header's feature words.
const (
	incompatDirty = 1 << iota
	incompatCorrupt
	incompatDataFile
	incompatCompression
	incompatExtendedL2

	compatLazyRefcounts = 1
	autoclearBitmaps    = 1
)

// Types of header extensions.
const (
	extEnd           = 0
	extBackingFormat = 0xe2792aca
	extFeatureNames  = 0x6803f857
	extBitmaps       = 0x23852875
	extCrypto        = 0x0537be77
	extDataFile      = 0x44415441
)

var magic = []byte("QFI\xfb")

// IsImage tells whether a file that begins with these bytes claims to be qcow2.
func IsImage(start []byte) bool {
	return len(start) >= 8 && bytes.HasPrefix(start, magic) && binary.BigEndian.Uint32(start[4:]) >= 2
}

// readHeader reads the header with its extensions.
func readHeader(f File) (*Header, error) {
	fixed := make([]byte, headerLengthToday)
	if err := readPadded(f, fixed, 0); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(fixed, magic) {
		return nil, damaged("Image is not in qcow2 format")
	}
	be := binary.BigEndian
	h := &Header{Version: int(be.Uint32(fixed[4:]))}
	if h.Version != 2 && h.Version != 3 {
		return nil, unsupported("version 2 or 3", "Unsupported qcow2 version %d", uint32(h.Version))
	}
	bits := be.Uint32(fixed[20:])
	if bits < minClusterBits || bits > maxClusterBits {
		return nil, damaged("Unsupported cluster size: 2^%d", bits)
	}
	h.ClusterBits = uint(bits)
	length := int64(headerLength2)
	h.RefcountBits = 16
	var incompatible uint64
	if h.Version == 3 {
		length = int64(be.Uint32(fixed[100:]))
		if length < headerLength3 {
			return nil, damaged("qcow2 header too short")
		}
		if length > h.ClusterSize() {
			return nil, damaged("qcow2 header exceeds cluster size")
		}
		order := be.Uint32(fixed[96:])
		if order > 6 {
			return nil, damaged("Reference count entry width too large; may not exceed 64 bits")
		}
		h.RefcountBits = 1 << order
		incompatible = be.Uint64(fixed[72:])
		if length > 104 {
			h.Compression = Compression(fixed[104])
		}
		h.LazyRefcounts = be.Uint64(fixed[80:])&compatLazyRefcounts != 0
		h.bitmapsValid = be.Uint64(fixed[88:])&autoclearBitmaps != 0
	}
	h.Dirty = incompatible&incompatDirty != 0
	h.Corrupt = incompatible&incompatCorrupt != 0
	h.ExtendedL2 = incompatible&incompatExtendedL2 != 0

	names, err := h.readExtensions(f, length, int64(be.Uint64(fixed[8:])))
	if err != nil {
		return nil, err
	}
	if err := h.judge(fixed, incompatible, names); err != nil {
		return nil, err
	}
	return h, h.readBackingName(f, int64(be.Uint64(fixed[8:])), int64(be.Uint32(fixed[16:])))
}

// judge refuses what is not supported, and takes and bounds the tables' places.
func (h *Header) judge(fixed []byte, incompatible uint64, names map[int]string) error {
	be := binary.BigEndian
	var unknown []string
	for bit := 5; bit < 64; bit++ {
		if incompatible&(1<<bit) == 0 {
			continue
		}
		if name := names[bit]; name != "" {
			unknown = append(unknown, name)
		} else {
			unknown = append(unknown, fmt.Sprintf("Unknown incompatible feature: %x", uint64(1)<<bit))
		}
	}
	switch {
	case unknown != nil:
		return unsupported("an image without these features", "Unsupported qcow2 feature(s): %s", strings.Join(unknown, ", "))
	case incompatible&incompatDataFile != 0:
		return unsupported("the data in the image itself", "The image keeps its data in an external data file, which is not supported")
	case h.Compression != Deflate && incompatible&incompatCompression == 0:
		return damaged("Compression type incompatible feature bit must be set")
	case h.Compression == Deflate && incompatible&incompatCompression != 0:
		return damaged("Compression type incompatible feature bit must not be set")
	case h.Compression > Zstd:
		return unsupported("zlib or zstd", "Unknown compression type: %d", byte(h.Compression))
	case h.ExtendedL2 && h.ClusterBits < 14:
		return damaged("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
	}
	switch method := be.Uint32(fixed[32:]); method {
	case 0:
	case 1:
		return unsupported("an image that is not encrypted", "The image is encrypted with AES-CBC, which is not supported")
	case 2:
		return unsupported("an image that is not encrypted", "The image is encrypted with LUKS, which is not supported")
	default:
		return damaged("Unsupported encryption method %d", method)
	}
	size := be.Uint64(fixed[24:])
	if size > 1<<63-1-(1<<maxClusterBits) {
		return damaged("Image is too big")
	}
	h.Size = int64(size)
	h.l1Offset, h.l1Entries = int64(be.Uint64(fixed[40:])), int64(be.Uint32(fixed[36:]))
	h.refcountOffset, h.refcountClusters = int64(be.Uint64(fixed[48:])), int64(be.Uint32(fixed[56:]))
	h.snapshots, h.snapshotOffset = int64(be.Uint32(fixed[60:])), int64(be.Uint64(fixed[64:]))
	if h.refcountClusters == 0 {
		return damaged("Image does not contain a reference count table")
	}
	if err := h.table("Reference count table", h.refcountOffset, h.refcountClusters, h.ClusterSize(), maxRefcountTable); err != nil {
		return err
	}
	if err := h.table("Snapshot table", h.snapshotOffset, h.snapshots, 40, maxSnapshots*40); err != nil {
		return err
	}
	if err := h.table("Active L1 table", h.l1Offset, h.l1Entries, 8, maxL1); err != nil {
		return err
	}
	if h.l1Entries < h.l1Needed(h.Size) {
		return damaged("L1 table is too small")
	}
	return nil
}

// table refuses a table that is too large or in no possible place.
func (h *Header) table(what string, offset, entries, entrySize, limit int64) error {
	if entries > limit/entrySize {
		return damaged("%s too large", what)
	}
	if entries == 0 {
		return nil
	}
	if offset < 0 || offset > 1<<62 || offset&(h.ClusterSize()-1) != 0 {
		return damaged("%s offset invalid", what)
	}
	return nil
}

// l2Bits is the binary logarithm of the number of entries in an L2 table.
func (h *Header) l2Bits() uint {
	if h.ExtendedL2 {
		return h.ClusterBits - 4
	}
	return h.ClusterBits - 3
}

// l1Needed returns the number of L1 entries for a disk of that size.
func (h *Header) l1Needed(size int64) int64 {
	shift := h.ClusterBits + h.l2Bits()
	n := size >> shift
	if size&(1<<shift-1) != 0 {
		n++
	}
	return n
}

// readExtensions takes what it knows from the header extensions, and returns
// the names that the image gives to incompatible features.
func (h *Header) readExtensions(f File, offset, backingOffset int64) (map[int]string, error) {
	end := h.ClusterSize()
	if backingOffset > end || backingOffset < 0 {
		return nil, damaged("Invalid backing file offset")
	}
	if backingOffset != 0 {
		end = backingOffset
	}
	if end > 64<<10 {
		end = 64 << 10 // writers put names of at most 1023 bytes and a table of a few features here
	}
	if offset > end {
		return nil, damaged("Header extension too large")
	}
	area := make([]byte, end-offset)
	if err := readPadded(f, area, offset); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	names := map[int]string{}
	for len(area) >= 8 {
		kind, length := be.Uint32(area), int64(be.Uint32(area[4:]))
		area = area[8:]
		if kind == extEnd {
			break
		}
		if length > int64(len(area)) {
			return nil, damaged("Header extension too large")
		}
		data := area[:length]
		switch kind {
		case extBackingFormat:
			h.BackingFormat = string(data)
		case extFeatureNames:
			for ; len(data) >= 48; data = data[48:] {
				if data[0] == 0 {
					name, _, _ := strings.Cut(string(data[2:48]), "\x00")
					names[int(data[1])] = name
				}
			}
		case extBitmaps:
			if err := h.takeBitmaps(data); err != nil {
				return nil, err
			}
		case extCrypto, extDataFile: // the header's own fields say so, and are refused
		}
		area = area[min((length+7)&^7, int64(len(area))):]
	}
	return names, nil
}

// takeBitmaps takes the place of the bitmap directory.
func (h *Header) takeBitmaps(data []byte) error {
	be := binary.BigEndian
	if len(data) != 24 {
		return damaged("bitmaps_ext: Invalid extension length")
	}
	if !h.bitmapsValid {
		return nil // written by a program that knows no bitmaps: they are void
	}
	count, size, offset := be.Uint32(data), be.Uint64(data[8:]), be.Uint64(data[16:])
	switch {
	case be.Uint32(data[4:]) != 0:
		return damaged("bitmaps_ext: Reserved field is not zero")
	case count == 0:
		return damaged("bitmaps_ext: found bitmaps extension with zero bitmaps")
	case count > maxBitmaps:
		return damaged("bitmaps_ext: image has %d bitmaps, exceeding the QEMU supported maximum of %d", count, maxBitmaps)
	case offset&uint64(h.ClusterSize()-1) != 0 || offset > 1<<62:
		return damaged("bitmaps_ext: invalid bitmap directory offset")
	case size > maxBitmapDir:
		return damaged("bitmaps_ext: bitmap directory size (%d) exceeds the maximum supported size (%d)", size, maxBitmapDir)
	}
	h.bitmapCount, h.bitmapSize, h.bitmapsOff = int64(count), int64(size), int64(offset)
	return nil
}

// readBackingName reads the name of the backing file.
func (h *Header) readBackingName(f File, offset, length int64) error {
	if offset == 0 {
		return nil
	}
	if length > maxBackingName || length > h.ClusterSize()-offset {
		return damaged("Backing file name too long")
	}
	name := make([]byte, length)
	if err := readPadded(f, name, offset); err != nil {
		return err
	}
	h.BackingFile = string(name)
	return nil
}
