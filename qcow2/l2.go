package qcow2

import (
	"encoding/binary"
	"math/bits"
)

// A kind is what an image says about a part of the disk.
type kind int

const (
	unallocated    kind = iota // look into the backing file
	unallocatedAll             // the same, with room set aside (subclusters)
	zeroPlain                  // zeros
	zeroAlloc                  // zeros, with room set aside
	normal                     // data
	compressed                 // a compressed cluster
)

// Fields of L1 and L2 entries.
const (
	offsetMask     = 0x00fffffffffffe00
	flagCopied     = 1 << 63
	flagCompressed = 1 << 62
	flagZero       = 1
	l1Reserved     = 0x7f000000000001ff
	l2Reserved     = 0x3f000000000001fe
)

// subclusters is the number of parts that an extended L2 entry tells apart.
const subclusters = 32

// An entry is one L2 entry; bitmap is 0 unless entries are extended.
type entry struct {
	word, bitmap uint64
}

// kind returns what the entry says about a subcluster, which is 0 unless
// entries are extended. ok is false for what cannot be.
func (m *Image) kind(e entry, subcluster uint) (k kind, ok bool) {
	room := e.word&offsetMask != 0
	switch {
	case e.word&flagCompressed != 0:
		return compressed, true
	case m.ExtendedL2:
		data, zero := e.bitmap>>subcluster&1 != 0, e.bitmap>>(32+subcluster)&1 != 0
		switch {
		case data && (zero || !room):
			return 0, false
		case data:
			return normal, true
		case zero && room:
			return zeroAlloc, true
		case zero:
			return zeroPlain, true
		case room:
			return unallocatedAll, true
		}
		return unallocated, true
	case e.word&flagZero != 0:
		if room {
			return zeroAlloc, m.Version >= 3
		}
		return zeroPlain, m.Version >= 3
	case room:
		return normal, true
	}
	return unallocated, true
}

// A run is a stretch of the disk that the image describes alike: of one kind
// and, where there is a place, in consecutive bytes of the file.
type run struct {
	kind   kind
	host   int64  // offset in the file of normal, zeroAlloc and unallocatedAll
	word   uint64 // the descriptor of a compressed cluster
	length int64
}

// lookup describes the disk from off on, for at most length bytes. length is
// positive and the range within the disk.
func (m *Image) lookup(off, length int64) (run, error) {
	r, err := m.lookupSlice(off, length)
	for err == nil && r.length < length && r.kind != compressed {
		var next run
		next, err = m.lookupSlice(off+r.length, length-r.length)
		if err != nil {
			return r, nil // a later call will come upon it
		}
		if !r.continues(next) {
			break
		}
		r.length += next.length
	}
	return r, err
}

// continues tells whether next, which follows r on the disk, belongs to it.
func (r run) continues(next run) bool {
	if r.kind != next.kind {
		return false
	}
	switch r.kind {
	case normal, zeroAlloc, unallocatedAll:
		return next.host == r.host+r.length
	}
	return r.kind != compressed
}

// sliceSize is how much of an L2 table is read and kept at once.
const sliceSize = 4 << 10

// lookupSlice is lookup within what one slice of an L2 table describes.
func (m *Image) lookupSlice(off, length int64) (run, error) {
	l2Shift := m.ClusterBits + m.l2Bits()
	index := off >> l2Shift
	word := uint64(0)
	if index < int64(len(m.l1)) {
		word = m.l1[index]
	}
	table := int64(word & offsetMask)
	if table == 0 {
		left := int64(1)<<l2Shift - off&(1<<l2Shift-1)
		return run{kind: unallocated, length: min(left, length)}, nil
	}
	if table&(m.ClusterSize()-1) != 0 {
		return run{}, damaged("L2 table offset %#x unaligned (L1 index: %#x)", table, index)
	}
	entrySize := m.ClusterSize() >> m.l2Bits()
	at := off >> m.ClusterBits & (1<<m.l2Bits() - 1) * entrySize
	base := table + at&^(sliceSize-1)
	slice, err := m.slice(base)
	if err != nil {
		return run{}, err
	}
	return m.scan(slice[at&(sliceSize-1):], off, length)
}

// slice returns a slice of an L2 table.
func (m *Image) slice(offset int64) ([]byte, error) {
	return m.cache.get(cacheKey{m, uint64(offset)}, func() ([]byte, error) {
		data := make([]byte, min(sliceSize, m.ClusterSize()))
		return data, readPadded(m.file, data, offset)
	})
}

// entryAt reads the first entry of a piece of an L2 table.
func (m *Image) entryAt(slice []byte) entry {
	e := entry{word: binary.BigEndian.Uint64(slice)}
	if m.ExtendedL2 {
		e.bitmap = binary.BigEndian.Uint64(slice[8:])
	}
	return e
}

// scan describes the disk from off on by entries, the first of which is off's.
func (m *Image) scan(entries []byte, off, length int64) (run, error) {
	entrySize := int(m.ClusterSize() >> m.l2Bits())
	r, err := m.describe(m.entryAt(entries), off)
	for err == nil && r.length < length && len(entries) > entrySize && r.kind != compressed {
		// Only a run that reaches the cluster's end can go on in the next entry.
		if (off+r.length)&(m.ClusterSize()-1) != 0 {
			break
		}
		entries = entries[entrySize:]
		next, err := m.describe(m.entryAt(entries), off+r.length)
		if err != nil || !r.continues(next) {
			break
		}
		r.length += next.length
	}
	r.length = min(r.length, length)
	return r, err
}

// describe says what an entry says from off to where it says something else, at
// most to the end of the cluster.
func (m *Image) describe(e entry, off int64) (run, error) {
	within := off & (m.ClusterSize() - 1)
	r := run{length: m.ClusterSize() - within}
	var sub uint
	if m.ExtendedL2 {
		sub = uint(within >> (m.ClusterBits - 5))
	}
	k, ok := m.kind(e, sub)
	if !ok {
		return r, damaged("Invalid cluster entry found (guest offset: %#x, L2 entry: %#x, bitmap: %#x)", off, e.word, e.bitmap)
	}
	r.kind = k
	switch k {
	case compressed:
		r.word = e.word
		return r, nil
	case normal, zeroAlloc, unallocatedAll:
		place := int64(e.word & offsetMask)
		if place&(m.ClusterSize()-1) != 0 {
			return r, damaged("Cluster allocation offset %#x unaligned (guest offset: %#x)", place, off)
		}
		r.host = place + within
	}
	if m.ExtendedL2 {
		r.length = m.subclusterRun(e, sub)<<(m.ClusterBits-5) - within&(m.ClusterSize()/subclusters-1)
	}
	return r, nil
}

// subclusterRun returns for how many subclusters from sub on the entry says the same.
func (m *Image) subclusterRun(e entry, sub uint) int64 {
	differs := func(word uint32) int {
		word >>= sub
		if word&1 != 0 {
			word = ^word
		}
		return bits.TrailingZeros32(word)
	}
	same := min(differs(uint32(e.bitmap)), differs(uint32(e.bitmap>>32)))
	return int64(min(same, subclusters-int(sub)))
}

// compressedPlace returns where a compressed cluster lies in the file. The
// length is rounded up to whole 512-byte sectors.
func (h *Header) compressedPlace(word uint64) (offset, length int64) {
	shift := 62 - (h.ClusterBits - 8)
	offset = int64(word & (1<<shift - 1))
	sectors := int64(word>>shift&(1<<(h.ClusterBits-8)-1)) + 1
	return offset, sectors*512 - offset&511
}
