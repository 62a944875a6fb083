package qcow2

import (
	"fmt"
	"io"
	"math"
)

// A CheckResult is what [Image.Check] has counted, as "qemu-img check" does.
type CheckResult struct {
	Corruptions int64 // inconsistencies that endanger data
	Leaks       int64 // clusters that are counted but not used
	Errors      int64 // things that could not be checked
	ImageEnd    int64 // offset behind the last used cluster
	// Of the current state of the disk, in clusters:
	Total, Allocated, Fragmented, Compressed int64
}

// Check counts who uses each cluster and compares that with the image's own
// counts. Each inconsistency is a line to log, in QEMU's words. The image alone
// is checked, not its backing file. An error says that the check could not be
// done.
//
// Memory: 4 bytes for each cluster of the file that is in use or counted.
func (m *Image) Check(log io.Writer) (CheckResult, error) {
	c := &checker{Image: m, log: log, used: map[int64]*[usedChunk]uint32{}}
	clusters := (m.file.Size() + m.ClusterSize() - 1) >> m.ClusterBits
	if clusters > math.MaxInt32 {
		return c.CheckResult, damaged("the file has %d clusters, which is too many to check", clusters)
	}
	c.clusters = clusters
	c.Total = (m.Size() + m.ClusterSize() - 1) >> m.ClusterBits
	if err := c.countAll(); err != nil {
		return c.CheckResult, err
	}
	if err := c.compare(); err != nil {
		return c.CheckResult, err
	}
	return c.CheckResult, c.checkCopied()
}

const usedChunk = 4096

type checker struct {
	*Image
	CheckResult
	log      io.Writer
	clusters int64
	used     map[int64]*[usedChunk]uint32 // references to each cluster
}

func (c *checker) corrupt(format string, args ...any) {
	c.Corruptions++
	fmt.Fprintf(c.log, format+"\n", args...)
}

// use counts a reference to each cluster that a range of the file touches.
func (c *checker) use(offset, length int64) {
	if length <= 0 {
		return
	}
	if end := offset + length; offset < 0 || end < 0 || end-c.file.Size() >= c.ClusterSize() {
		c.corrupt("ERROR: counting reference for region exceeding the end of the file by one cluster or more: offset %#x size %#x", uint64(offset), length)
		return
	}
	for i := offset >> c.ClusterBits; i <= (offset+length-1)>>c.ClusterBits; i++ {
		chunk := c.used[i/usedChunk]
		if chunk == nil {
			chunk = new([usedChunk]uint32)
			c.used[i/usedChunk] = chunk
		}
		if chunk[i%usedChunk] == math.MaxUint32 {
			c.corrupt("ERROR: overflow cluster offset=%#x", i<<c.ClusterBits)
			continue
		}
		chunk[i%usedChunk]++
	}
}

func (c *checker) references(cluster int64) uint64 {
	if chunk := c.used[cluster/usedChunk]; chunk != nil {
		return uint64(chunk[cluster%usedChunk])
	}
	return 0
}

// countAll counts every reference in the image.
func (c *checker) countAll() error {
	c.use(0, c.ClusterSize())
	if err := c.countL1(c.l1Offset, c.l1Entries, true); err != nil {
		return err
	}
	snapshots, size, err := c.readSnapshots()
	if err != nil {
		return err
	}
	for _, s := range snapshots {
		if s.l1Offset < 0 || s.l1Offset&(c.ClusterSize()-1) != 0 {
			c.corrupt("ERROR snapshot %s (%s) l1_offset=%#x: L1 table is not cluster aligned; snapshot table entry corrupted", s.ID, s.Name, uint64(s.l1Offset))
			continue
		}
		if s.l1Entries > maxL1/8 {
			c.corrupt("ERROR snapshot %s (%s) l1_size=%#x: L1 table is too large; snapshot table entry corrupted", s.ID, s.Name, s.l1Entries)
			continue
		}
		if err := c.countL1(s.l1Offset, s.l1Entries, false); err != nil {
			return err
		}
	}
	c.use(c.snapshotOffset, size)
	if err := c.countBitmaps(); err != nil {
		return err
	}
	c.use(c.refcountOffset, c.refcountClusters<<c.ClusterBits)
	return c.countRefcountBlocks()
}

// countL1 counts what an L1 table refers to; active is the current state's.
func (c *checker) countL1(offset, entries int64, active bool) error {
	c.use(offset, entries*8)
	table, err := readTable(c.file, offset, entries)
	if err != nil {
		return err
	}
	for _, word := range table {
		if word == 0 {
			continue
		}
		if word&l1Reserved != 0 {
			c.corrupt("ERROR found L1 entry with reserved bits set: %x", word)
		}
		l2 := int64(word & offsetMask)
		c.use(l2, c.ClusterSize())
		if l2&(c.ClusterSize()-1) != 0 {
			c.corrupt("ERROR l2_offset=%x: Table is not cluster aligned; L1 entry corrupted", l2)
		}
		if err := c.countL2(l2, active); err != nil {
			return err
		}
	}
	return nil
}

// entries reads the entries of an L2 table. It yields nothing where the file
// has no such table.
func (c *checker) entries(table int64) ([]entry, error) {
	if table >= c.file.Size() {
		return nil, nil
	}
	raw := make([]byte, c.ClusterSize())
	if err := readPadded(c.file, raw, table); err != nil {
		return nil, err
	}
	size := int(c.ClusterSize() >> c.l2Bits())
	list := make([]entry, len(raw)/size)
	for i := range list {
		list[i] = c.entryAt(raw[i*size:])
	}
	return list, nil
}

// countL2 counts what an L2 table refers to.
func (c *checker) countL2(table int64, active bool) error {
	entries, err := c.entries(table)
	next := int64(0) // where an unfragmented disk goes on
	for _, e := range entries {
		switch {
		case e.word&flagCompressed != 0:
			if e.word&flagCopied != 0 {
				offset, _ := c.compressedPlace(e.word)
				c.corrupt("ERROR: coffset=0x%x: copied flag must never be set for compressed clusters", offset)
			}
			if e.bitmap != 0 {
				c.corrupt("ERROR compressed cluster with non-zero subcluster allocation bitmap, entry=0x%x", e.word)
				continue
			}
			c.use(c.compressedPlace(e.word))
			if active {
				c.Allocated++
				c.Compressed++
				c.Fragmented++ // its sectors are read again for the next one
			}
		default:
			next = c.countStandard(e, next, active)
		}
	}
	return err
}

// countStandard counts what an entry refers to that is not compressed.
func (c *checker) countStandard(e entry, next int64, active bool) int64 {
	reserved := uint64(l2Reserved)
	if c.ExtendedL2 {
		reserved |= flagZero
	}
	if e.word&reserved != 0 {
		c.corrupt("ERROR found l2 entry with reserved bits set: %x", e.word)
	}
	offset := int64(e.word & offsetMask)
	if offset == 0 {
		if uint32(e.bitmap) != 0 {
			c.corrupt("ERROR: Unallocated cluster with non-zero subcluster allocation map")
		}
		return next
	}
	if e.bitmap>>32&e.bitmap != 0 {
		c.corrupt("ERROR offset=%x: Allocated cluster with corrupted subcluster allocation bitmap", offset)
		return next
	}
	if offset&(c.ClusterSize()-1) != 0 {
		what := "Data cluster"
		if !c.ExtendedL2 && e.word&flagZero != 0 || c.ExtendedL2 && uint32(e.bitmap) == 0 {
			what = "Preallocated cluster"
		}
		c.corrupt("ERROR offset=%x: %s is not properly aligned; L2 entry corrupted.", offset, what)
	}
	if active {
		c.Allocated++
		if next != 0 && offset != next {
			c.Fragmented++
		}
		next = offset + c.ClusterSize()
	}
	c.use(offset, c.ClusterSize())
	return next
}

// countBitmaps counts the clusters of persistent bitmaps.
func (c *checker) countBitmaps() error {
	bitmaps, err := c.Bitmaps()
	if err != nil {
		c.corrupt("ERROR %v", err)
		return nil
	}
	c.use(c.bitmapsOff, c.bitmapSize)
	for _, b := range bitmaps {
		c.use(b.tableOffset, b.tableEntries*8)
		if b.tableOffset < 0 || b.tableEntries*8 > c.file.Size() {
			continue // use has said so
		}
		table, err := readTable(c.file, b.tableOffset, b.tableEntries)
		if err != nil {
			return err
		}
		for _, word := range table {
			if offset := int64(word & offsetMask); offset != 0 {
				c.use(offset, c.ClusterSize())
			}
		}
	}
	return nil
}

// countRefcountBlocks counts the blocks of reference counts themselves.
func (c *checker) countRefcountBlocks() error {
	table, err := readTable(c.file, c.refcountOffset, c.refcountClusters<<(c.ClusterBits-3))
	for i, word := range table {
		offset := int64(word &^ 511)
		cluster := int64(uint64(offset) >> c.ClusterBits)
		switch {
		case offset == 0:
		case offset&(c.ClusterSize()-1) != 0:
			c.corrupt("ERROR refcount block %d is not cluster aligned; refcount table entry corrupted", i)
		case cluster >= c.clusters:
			c.corrupt("ERROR refcount block %d is outside image", i)
		default:
			c.use(offset, c.ClusterSize())
			if n := c.references(cluster); n != 1 {
				c.corrupt("ERROR refcount block %d refcount=%d", i, n)
			}
		}
	}
	return err
}

// compare compares the counts of the image with ours.
func (c *checker) compare() error {
	r, err := c.newRefcountReader()
	if err != nil {
		return err
	}
	highest, bad := int64(0), int64(-1)
	for i := range c.clusters {
		counted, err := r.get(i)
		if err != nil {
			if block := i / c.perBlock(); block != bad { // one line a block is enough
				bad = block
				fmt.Fprintf(c.log, "Can't get refcount for cluster %d: %v\n", i, err)
			}
			c.Errors++
			continue
		}
		used := c.references(i)
		if counted > 0 || used > 0 {
			highest = i
		}
		switch {
		case counted < used:
			c.corrupt("ERROR cluster %d refcount=%d reference=%d", i, counted, used)
		case counted > used:
			c.Leaks++
			fmt.Fprintf(c.log, "Leaked cluster %d refcount=%d reference=%d\n", i, counted, used)
		}
	}
	c.ImageEnd = (highest + 1) << c.ClusterBits
	return nil
}

// checkCopied checks the flag of entries that says that nobody else uses a
// cluster, which may then be written in place.
func (c *checker) checkCopied() error {
	r, err := c.newRefcountReader()
	if err != nil {
		return err
	}
	wrong := func(word uint64, cluster int64) (uint64, bool) {
		n, err := r.get(cluster)
		return n, err == nil && (n == 1) != (word&flagCopied != 0)
	}
	table, err := readTable(c.file, c.l1Offset, c.l1Entries)
	if err != nil {
		return err
	}
	for i, word := range table {
		l2 := int64(word & offsetMask)
		if l2 == 0 {
			continue
		}
		if n, ok := wrong(word, l2>>c.ClusterBits); ok {
			c.corrupt("ERROR OFLAG_COPIED L2 cluster: l1_index=%d l1_entry=%x refcount=%d", i, word, n)
		}
		entries, err := c.entries(l2)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.word&flagCompressed != 0 || e.word&offsetMask == 0 {
				continue
			}
			if n, ok := wrong(e.word, int64(e.word&offsetMask)>>c.ClusterBits); ok {
				c.corrupt("ERROR OFLAG_COPIED data cluster: l2_entry=%x refcount=%d", e.word, n)
			}
		}
	}
	return nil
}
