package qcow2

import "encoding/binary"

// A refcountReader reads reference counts in ascending order of clusters,
// keeping one block of them.
type refcountReader struct {
	image *Image
	table []uint64
	index int64 // of the block that is held
	block []byte
}

func (m *Image) newRefcountReader() (*refcountReader, error) {
	table, err := readTable(m.file, m.refcountOffset, m.refcountClusters<<(m.ClusterBits-3))
	return &refcountReader{image: m, table: table, index: -1}, err
}

// perBlock is the number of counts in a block, a cluster of them.
func (m *Image) perBlock() int64 { return m.ClusterSize() * 8 / int64(m.RefcountBits) }

// get returns the count of a cluster.
func (r *refcountReader) get(cluster int64) (uint64, error) {
	per := r.image.perBlock()
	index := cluster / per
	if index >= int64(len(r.table)) {
		return 0, nil
	}
	place := int64(r.table[index] &^ 511)
	if place == 0 {
		return 0, nil
	}
	if place < 0 || place&(r.image.ClusterSize()-1) != 0 {
		return 0, damaged("Refblock offset %#x unaligned (reftable index: %#x)", uint64(place), index)
	}
	if r.index != index {
		if r.block == nil {
			r.block = make([]byte, r.image.ClusterSize())
		}
		r.index = -1
		if err := readPadded(r.image.file, r.block, place); err != nil {
			return 0, err
		}
		r.index = index
	}
	return refcountAt(r.block, cluster%per, r.image.RefcountBits), nil
}

// refcountAt returns a count of a block. Counts narrower than a byte fill it
// from its low bits on.
func refcountAt(block []byte, i int64, bits uint) uint64 {
	be := binary.BigEndian
	switch bits {
	case 8:
		return uint64(block[i])
	case 16:
		return uint64(be.Uint16(block[i*2:]))
	case 32:
		return uint64(be.Uint32(block[i*4:]))
	case 64:
		return be.Uint64(block[i*8:])
	}
	bit := uint(i) * bits
	return uint64(block[bit/8]>>(bit%8)) & (1<<bits - 1)
}

// putRefcount writes a count into a block.
func putRefcount(block []byte, i int64, bits uint, count uint64) {
	be := binary.BigEndian
	switch bits {
	case 8:
		block[i] = byte(count)
	case 16:
		be.PutUint16(block[i*2:], uint16(count))
	case 32:
		be.PutUint32(block[i*4:], uint32(count))
	case 64:
		be.PutUint64(block[i*8:], count)
	default:
		bit := uint(i) * bits
		mask := byte(1<<bits-1) << (bit % 8)
		block[bit/8] = block[bit/8]&^mask | byte(count)<<(bit%8)
	}
}

// eachRefcount calls f with the counts of the first clusters, until it returns
// false. It may leave out counts that are 0.
func (m *Image) eachRefcount(clusters int64, f func(cluster int64, count uint64) bool) error {
	r, err := m.newRefcountReader()
	if err != nil {
		return err
	}
	clusters = min(clusters, int64(len(r.table))*m.perBlock())
	for i := int64(0); i < clusters; i++ {
		// Blocks that do not exist hold zeros, which few care about and a hostile
		// file can have any number of.
		if per := m.perBlock(); i%per == 0 && r.table[i/per]&^511 == 0 {
			i += per - 1
			continue
		}
		count, err := r.get(i)
		if err != nil {
			return err
		}
		if !f(i, count) {
			return nil
		}
	}
	return nil
}
