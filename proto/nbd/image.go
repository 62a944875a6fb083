package nbd

import "virtls/qcow2"

// Disk makes a device, which cannot be written, of what a guest sees of a raw
// file or a qcow2 image. Closing the disk stays the caller's.
func Disk(d qcow2.Disk) Device { return disk{d} }

type disk struct{ qcow2.Disk }

// maxLookups bounds the work for one question: an image can make its guest believe
// in a disk of any size that is alike everywhere.
const maxLookups = 4096

// Extents implements [Extenter] by what the images of the chain say.
func (d disk) Extents(off, length int64, limit int) ([]Extent, error) {
	var list []Extent
	end := off + length
	for looked := 0; off < end && looked < maxLookups; looked++ {
		e, err := d.Extent(off, end-off)
		if err != nil {
			return nil, err
		}
		// What no image of the chain has reads as zeroes, too.
		next := Extent{Length: e.Length, Hole: !e.Data, Zero: e.Zero || !e.Data}
		off += e.Length
		if n := len(list); n > 0 && list[n-1].Hole == next.Hole && list[n-1].Zero == next.Zero {
			list[n-1].Length += next.Length
			continue
		}
		if len(list) == limit {
			break
		}
		list = append(list, next)
	}
	return list, nil
}
