package qcow2

// An Extent is a stretch of a disk that is alike all along. Without Data and
// Zero nothing is known of its content but that no file of the chain has it;
// it reads as zeros.
type Extent struct {
	Start, Length int64
	// Depth counts the layers above the one that answers: 0 for the disk itself.
	Depth int
	// Present: a layer of the chain says what is here, if only that it is zero.
	Present    bool
	Zero       bool // reads as zeros
	Data       bool // takes room for its content
	Compressed bool
	// Offset is where the content, or the room set aside, begins in the file of
	// the layer; -1 if there is no such place.
	Offset int64
	File   File // of the layer that answers; nil without Offset
}

// Extent describes the disk from off on: what "qemu-img map" prints, and NBD's
// base:allocation is made of. Neighbours may be alike.
func (m *Image) Extent(off, length int64) (Extent, error) {
	e := Extent{Start: off, Offset: -1}
	if off >= m.diskSize { // the rest of the last sector
		e.Length, e.Zero = length, true
		return e, nil
	}
	r, err := m.lookup(off, min(length, m.diskSize-off))
	if err != nil {
		return e, err
	}
	e.Length = r.length
	switch r.kind {
	case normal, compressed:
		e.Data, e.Compressed = true, r.kind == compressed
	case zeroPlain, zeroAlloc:
		e.Zero = true
	case unallocated, unallocatedAll:
		return m.below(e, r)
	}
	e.Present = true
	if r.kind == normal || r.kind == zeroAlloc {
		e.Offset, e.File = r.host, m.file
	}
	if r.kind == normal {
		m.lookBelow(&e)
	}
	return e, nil
}

// below describes what the image leaves to its backing file.
func (m *Image) below(e Extent, r run) (Extent, error) {
	if m.backing == nil || e.Start >= m.backing.Size() {
		e.Zero = true
		if r.kind == unallocatedAll {
			e.Offset, e.File = r.host, m.file
		}
		return e, nil
	}
	under, err := m.backing.Extent(e.Start, min(e.Length, m.backing.Size()-e.Start))
	under.Depth++
	return under, err
}

// lookBelow looks for holes below an extent of data. QEMU does so only in
// images whose clusters were allocated in advance.
func (m *Image) lookBelow(e *Extent) {
	m.preallocated.Do(func() { m.recurse = m.looksPreallocated() })
	if !m.recurse {
		return
	}
	if e.Offset >= m.file.Size() {
		e.Zero = true
		return
	}
	holes, ok := m.file.(HoleFinder)
	if !ok {
		return
	}
	hole, n, err := holes.Hole(e.Offset, e.Length)
	if err != nil {
		return
	}
	switch end := m.file.Size() - e.Offset; {
	case n < end: // within the file
		e.Length, e.Zero = min(n, e.Length), hole
	case hole: // to the end of the file and beyond
		e.Zero = true
	default:
		e.Length = min(e.Length, (end+511)&^511)
	}
}

// maxProbed bounds the reference counts that looksPreallocated reads: those of
// 1 TiB in the usual clusters.
const maxProbed = 1 << 24

// looksPreallocated tells whether the file has fewer blocks than its reference
// counts say, by QEMU's threshold.
func (m *Image) looksPreallocated() bool {
	allocator, ok := m.file.(Allocator)
	if !ok {
		return false
	}
	allocated, err := allocator.Allocated()
	if err != nil {
		return false
	}
	real := allocated >> m.ClusterBits
	threshold := max(real*10/9, real+2)
	clusters := (m.file.Size() + m.ClusterSize() - 1) >> m.ClusterBits
	counted := int64(0)
	err = m.eachRefcount(min(clusters, maxProbed), func(_ int64, count uint64) bool {
		if count != 0 {
			counted++
		}
		return counted < threshold
	})
	return err == nil && counted >= threshold
}
