package qcow2

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// CreateOptions describe a new image. The zero value of each field is what
// qemu-img does without the option.
type CreateOptions struct {
	Size          int64 // of the disk in bytes; rounded up to sectors of 512
	Version       int   // 3 (the default) or 2
	ClusterSize   int64 // a power of two from 512 to 2 MiB; 0 is 64 KiB
	RefcountBits  uint  // a power of two up to 64; 0 is 16
	Compression   Compression
	BackingFile   string // written into the image; whoever reads it opens it
	BackingFormat string
	LazyRefcounts bool
	ExtendedL2    bool
}

// Check tells, in QEMU's words, what is wrong with the options.
func (o CreateOptions) Check() error { return o.normalize() }

// normalize fills in defaults and refuses what cannot be, in QEMU's words.
func (o *CreateOptions) normalize() error {
	o.Version = cmp.Or(o.Version, 3)
	o.ClusterSize = cmp.Or(o.ClusterSize, 64<<10)
	o.RefcountBits = cmp.Or(o.RefcountBits, 16)
	o.Size = (o.Size + 511) &^ 511
	switch {
	case o.ClusterSize < 1<<minClusterBits || o.ClusterSize > 1<<maxClusterBits || o.ClusterSize&(o.ClusterSize-1) != 0:
		return damaged("Cluster size must be a power of two between %d and %dk", 1<<minClusterBits, 1<<(maxClusterBits-10))
	case o.RefcountBits > 64 || o.RefcountBits&(o.RefcountBits-1) != 0:
		return damaged("Refcount width must be a power of two and may not exceed 64 bits")
	case o.Version == 2 && o.RefcountBits != 16:
		return damaged("Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)")
	case o.Version == 2 && o.LazyRefcounts:
		return damaged("Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case o.Version == 2 && o.ExtendedL2:
		return damaged("Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case o.Version == 2 && o.Compression != Deflate:
		return damaged("Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case o.ExtendedL2 && o.ClusterSize < 16<<10:
		return damaged("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
	case len(o.BackingFile) > maxBackingName:
		return damaged("Backing file name too long")
	case o.BackingFormat != "" && o.BackingFile == "":
		return damaged("Backing format cannot be used without backing file")
	case o.Size < 0 || o.header().l1Needed(o.Size)*8 > maxL1:
		return damaged("The image size is too large for file format 'qcow2' (try using a larger cluster size)")
	}
	return nil
}

func (o *CreateOptions) header() *Header {
	return &Header{Version: o.Version, Size: o.Size, ClusterBits: uint(bits.TrailingZeros64(uint64(o.ClusterSize))),
		RefcountBits: o.RefcountBits, Compression: o.Compression, BackingFile: o.BackingFile, BackingFormat: o.BackingFormat,
		LazyRefcounts: o.LazyRefcounts, ExtendedL2: o.ExtendedL2}
}

// A Writer fills a new image, cluster after cluster in ascending order. What is
// left out is unallocated: it shows the backing file, or zeros. Until Close has
// returned, the file is no image.
//
// Memory: 2 bytes for each cluster in the file.
type Writer struct {
	*Header
	w        io.WriterAt
	l1       []uint64
	l1Start  int64
	l2       []byte // the table being filled
	l2Index  int64  // its index, -1 for none
	last     int64  // the offset behind the last cluster that was filled
	counts   []uint16
	packedAt int64 // where the next compressed cluster may begin, 0 for a new cluster
	packers  sync.Pool
}

// Create begins a new image in w, which must be empty or zero from the end of
// what is written on.
func Create(w io.WriterAt, o CreateOptions) (*Writer, error) {
	if err := o.normalize(); err != nil {
		return nil, err
	}
	n := &Writer{Header: o.header(), w: w, l2Index: -1}
	n.l1 = make([]uint64, n.l1Needed(o.Size))
	n.take(1) // the header
	n.l1Start = n.take(max(1, (int64(len(n.l1))*8+n.ClusterSize()-1)>>n.ClusterBits))
	return n, nil
}

// take allocates clusters at the end of the file.
func (n *Writer) take(clusters int64) (offset int64) {
	offset = int64(len(n.counts)) << n.ClusterBits
	for range clusters {
		n.counts = append(n.counts, 1)
	}
	return offset
}

// at makes the L2 table that describes off the one being filled, and returns
// its entry.
func (n *Writer) at(off int64) ([]byte, error) {
	if off&(n.ClusterSize()-1) != 0 || off < n.last || off >= n.Header.Size {
		return nil, fmt.Errorf("qcow2: offset %d is not that of a cluster behind %d and below %d", off, n.last, n.Header.Size)
	}
	n.last = off + n.ClusterSize()
	index := off >> (n.ClusterBits + n.l2Bits())
	if index != n.l2Index {
		if err := n.flush(); err != nil {
			return nil, err
		}
		n.l2, n.l2Index = make([]byte, n.ClusterSize()), index
		n.l1[index] = uint64(n.take(1)) | flagCopied
		n.packedAt = 0
	}
	size := n.ClusterSize() >> n.l2Bits()
	return n.l2[off>>n.ClusterBits&(1<<n.l2Bits()-1)*size:][:size], nil
}

// flush writes the L2 table being filled.
func (n *Writer) flush() error {
	if n.l2Index < 0 {
		return nil
	}
	_, err := n.w.WriteAt(n.l2, int64(n.l1[n.l2Index]&offsetMask))
	return err
}

// Data fills the cluster at off, which is a multiple of the cluster size. The
// last cluster of a disk may be given in part; zeros are added.
func (n *Writer) Data(off int64, p []byte) error {
	place, err := n.Reserve(off)
	if err != nil {
		return err
	}
	_, err = n.w.WriteAt(n.whole(p), place)
	return err
}

// whole returns p with zeros up to a cluster.
func (n *Writer) whole(p []byte) []byte {
	if int64(len(p)) < n.ClusterSize() {
		return append(bytes.Clone(p), make([]byte, n.ClusterSize()-int64(len(p)))...)
	}
	return p
}

// Reserve allocates the cluster at off, and returns where in the file its
// content belongs. Until something is written there, it is zero.
func (n *Writer) Reserve(off int64) (place int64, err error) {
	e, err := n.at(off)
	if err != nil {
		return 0, err
	}
	n.packedAt = 0
	place = n.take(1)
	binary.BigEndian.PutUint64(e, uint64(place)|flagCopied)
	if n.ExtendedL2 {
		binary.BigEndian.PutUint64(e[8:], 1<<subclusters-1)
	}
	return place, nil
}

// Zero makes the cluster at off read as zeros even if the backing file has
// something there.
func (n *Writer) Zero(off int64) error {
	if n.BackingFile == "" {
		return nil
	}
	if n.Version == 2 {
		_, err := n.Reserve(off)
		return err
	}
	e, err := n.at(off)
	if err != nil {
		return err
	}
	if n.ExtendedL2 {
		binary.BigEndian.PutUint64(e[8:], (1<<subclusters-1)<<32)
	} else {
		binary.BigEndian.PutUint64(e, flagZero)
	}
	return nil
}

// Compress returns the content of a cluster as it is to be given to
// [Writer.Compressed], or nil if it does not become smaller. Any number of
// goroutines may compress.
func (n *Writer) Compress(p []byte) (packed []byte, err error) {
	k, _ := n.packers.Get().(*packer)
	if k == nil {
		k = &packer{}
	}
	defer n.packers.Put(k)
	packed, err = k.pack(n.Compression, n.whole(p))
	if err != nil || int64(len(packed)) >= n.ClusterSize() {
		return nil, err
	}
	return bytes.Clone(packed), nil
}

// Compressed fills the cluster at off with what [Writer.Compress] made of its
// content.
func (n *Writer) Compressed(off int64, packed []byte) error {
	if int64(len(packed)) >= n.ClusterSize() {
		return fmt.Errorf("qcow2: %d octets are not a compressed cluster of %d", len(packed), n.ClusterSize())
	}
	e, err := n.at(off)
	if err != nil {
		return err
	}
	place := n.takeBytes(int64(len(packed)))
	shift := 62 - (n.ClusterBits - 8)
	sectors := uint64((place+int64(len(packed))-1)>>9 - place>>9)
	binary.BigEndian.PutUint64(e, flagCompressed|sectors<<shift|uint64(place))
	_, err = n.w.WriteAt(packed, place)
	return err
}

// takeBytes allocates room for a compressed cluster, behind the one before
// where a count of references has room for one more.
func (n *Writer) takeBytes(length int64) int64 {
	place := n.packedAt
	limit := uint64(1)<<min(n.RefcountBits, 16) - 1
	if left := -place & (n.ClusterSize() - 1); place == 0 || left == 0 ||
		uint64(n.counts[place>>n.ClusterBits]) >= limit ||
		length > left && place>>n.ClusterBits != int64(len(n.counts))-1 {
		place = n.take(1)
	} else {
		n.counts[place>>n.ClusterBits]++
		if length > left {
			n.take(1)
		}
	}
	n.packedAt = place + length
	return place
}

// Close completes the image. It does not close the file.
func (n *Writer) Close() error {
	if err := n.flush(); err != nil {
		return err
	}
	table := make([]byte, max(1, (int64(len(n.l1))*8+n.ClusterSize()-1)>>n.ClusterBits)<<n.ClusterBits)
	for i, word := range n.l1 {
		binary.BigEndian.PutUint64(table[i*8:], word)
	}
	if _, err := n.w.WriteAt(table, n.l1Start); err != nil {
		return err
	}
	if err := n.writeRefcounts(); err != nil {
		return err
	}
	header, err := n.encode()
	if err != nil {
		return err
	}
	_, err = n.w.WriteAt(header, 0)
	return err
}

// writeRefcounts allocates and writes the reference counts, their own among them.
func (n *Writer) writeRefcounts() error {
	per := n.ClusterSize() * 8 / int64(n.RefcountBits)
	start := int64(len(n.counts))
	blocks, tables := int64(0), int64(1)
	for { // until there are enough to count themselves, too
		need := (start + blocks + tables + per - 1) / per
		needTables := (need*8 + n.ClusterSize() - 1) >> n.ClusterBits
		if need == blocks && needTables == tables {
			break
		}
		blocks, tables = need, needTables
	}
	if tables<<n.ClusterBits > maxRefcountTable {
		return errors.New("qcow2: the image takes more clusters than can be counted; take larger ones")
	}
	firstBlock := n.take(blocks)
	n.refcountOffset, n.refcountClusters = n.take(tables), tables
	table := make([]byte, tables<<n.ClusterBits)
	block := make([]byte, n.ClusterSize())
	for i := range blocks {
		clear(block)
		for j, count := range n.counts[i*per : min((i+1)*per, int64(len(n.counts)))] {
			putRefcount(block, int64(j), n.RefcountBits, uint64(count))
		}
		place := firstBlock + i<<n.ClusterBits
		binary.BigEndian.PutUint64(table[i*8:], uint64(place))
		if _, err := n.w.WriteAt(block, place); err != nil {
			return err
		}
	}
	_, err := n.w.WriteAt(table, n.refcountOffset)
	return err
}

// featureNames are what the bits of the header's feature words are called, for
// programs that do not know them.
var featureNames = []struct {
	kind, bit byte
	name      string
}{
	{0, 0, "dirty bit"}, {0, 1, "corrupt bit"}, {0, 2, "external data file"}, {0, 3, "compression type"}, {0, 4, "extended L2 entries"},
	{1, 0, "lazy refcounts"}, {2, 0, "bitmaps"}, {2, 1, "raw external data"},
}

// encode returns the first cluster.
func (n *Writer) encode() ([]byte, error) {
	be := binary.BigEndian
	b := make([]byte, headerLength2, n.ClusterSize())
	copy(b, magic)
	be.PutUint32(b[4:], uint32(n.Version))
	be.PutUint32(b[20:], uint32(n.ClusterBits))
	be.PutUint64(b[24:], uint64(n.Header.Size))
	be.PutUint32(b[36:], uint32(len(n.l1)))
	be.PutUint64(b[40:], uint64(n.l1Start))
	be.PutUint64(b[48:], uint64(n.refcountOffset))
	be.PutUint32(b[56:], uint32(n.refcountClusters))
	if n.Version >= 3 {
		b = n.appendFeatures(b)
	}
	extension := func(kind uint32, data []byte) {
		b = be.AppendUint32(b, kind)
		b = be.AppendUint32(b, uint32(len(data)))
		b = append(b, data...)
		b = append(b, make([]byte, -len(data)&7)...)
	}
	if n.BackingFormat != "" {
		extension(extBackingFormat, []byte(n.BackingFormat))
	}
	if n.Version >= 3 && n.ClusterSize()-int64(len(b)) > int64(48*len(featureNames)+16+len(n.BackingFile)) {
		var names []byte
		for _, f := range featureNames {
			names = append(names, f.kind, f.bit)
			names = append(names, f.name...)
			names = append(names, make([]byte, 46-len(f.name))...)
		}
		extension(extFeatureNames, names)
	}
	extension(extEnd, nil)
	if n.BackingFile != "" {
		be.PutUint64(b[8:], uint64(len(b)))
		be.PutUint32(b[16:], uint32(len(n.BackingFile)))
		b = append(b, n.BackingFile...)
	}
	if int64(len(b)) > n.ClusterSize() {
		return nil, damaged("Backing file name too long")
	}
	return append(b, make([]byte, n.ClusterSize()-int64(len(b)))...), nil
}

// appendFeatures appends the part of the header that version 3 has more.
func (n *Writer) appendFeatures(b []byte) []byte {
	be := binary.BigEndian
	var incompatible, compatible uint64
	if n.Compression != Deflate {
		incompatible |= incompatCompression
	}
	if n.ExtendedL2 {
		incompatible |= incompatExtendedL2
	}
	if n.LazyRefcounts {
		compatible |= compatLazyRefcounts
	}
	b = be.AppendUint64(b, incompatible)
	b = be.AppendUint64(b, compatible)
	b = be.AppendUint64(b, 0)
	b = be.AppendUint32(b, uint32(bits.TrailingZeros(n.RefcountBits)))
	b = be.AppendUint32(b, headerLengthToday)
	return append(b, byte(n.Compression), 0, 0, 0, 0, 0, 0, 0)
}

// deflateWindow is how far back a compressed cluster may refer: QEMU's readers
// set zlib up for 12 bits.
const deflateWindow = 4 << 10

// A packer compresses clusters.
type packer struct {
	deflate *flate.Writer
	zstd    *zstd.Encoder
	buf     bytes.Buffer
}

// pack returns p compressed, valid until the next call.
func (k *packer) pack(method Compression, p []byte) (packed []byte, err error) {
	if method == Zstd {
		if k.zstd == nil {
			if k.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false)); err != nil {
				return nil, err
			}
		}
		return k.zstd.EncodeAll(p, k.buf.Bytes()[:0]), nil
	}
	if k.deflate == nil {
		if k.deflate, err = flate.NewWriterWindow(nil, deflateWindow); err != nil {
			return nil, err
		}
	}
	k.buf.Reset()
	k.deflate.Reset(&k.buf)
	if _, err = k.deflate.Write(p); err == nil {
		err = k.deflate.Close()
	}
	return k.buf.Bytes(), err
}
