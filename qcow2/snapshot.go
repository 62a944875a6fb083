package qcow2

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A Snapshot is a state of the disk that the image keeps.
type Snapshot struct {
	ID, Name    string
	Date        time.Time
	VMClock     time.Duration // how long the guest had run
	VMStateSize int64         // bytes of the guest's memory and devices
	ICount      int64         // instructions that the guest had executed, -1 if unknown
	DiskSize    int64         // bytes; the image's if the snapshot does not say

	l1Offset, l1Entries int64
}

// Snapshots reads the list of internal snapshots.
func (m *Image) Snapshots() ([]Snapshot, error) {
	list, _, err := m.readSnapshots()
	return list, err
}

// readSnapshots also returns the size of the table in the file.
func (m *Image) readSnapshots() (list []Snapshot, size int64, err error) {
	be := binary.BigEndian
	at := m.snapshotOffset
	for i := range m.snapshots {
		at = (at + 7) &^ 7
		if at-m.snapshotOffset > maxSnapshotTable || at >= m.file.Size() {
			return nil, 0, damaged("Snapshot table is too large or cut off at snapshot %d of %d", i, m.snapshots)
		}
		fixed := make([]byte, 40)
		if err := readPadded(m.file, fixed, at); err != nil {
			return nil, 0, err
		}
		extraSize := int64(be.Uint32(fixed[36:]))
		if extraSize > maxSnapshotExtra {
			return nil, 0, damaged("Too much extra metadata in snapshot table entry %d", i)
		}
		idSize, nameSize := int64(be.Uint16(fixed[12:])), int64(be.Uint16(fixed[14:]))
		rest := make([]byte, extraSize+idSize+nameSize)
		if err := readPadded(m.file, rest, at+40); err != nil {
			return nil, 0, err
		}
		s := Snapshot{
			ID:          string(rest[extraSize : extraSize+idSize]),
			Name:        string(rest[extraSize+idSize:]),
			Date:        time.Unix(int64(be.Uint32(fixed[16:])), int64(be.Uint32(fixed[20:]))),
			VMClock:     time.Duration(be.Uint64(fixed[24:]) &^ (1 << 63)),
			VMStateSize: int64(be.Uint32(fixed[32:])),
			ICount:      -1,
			DiskSize:    m.Header.Size,
			l1Offset:    int64(be.Uint64(fixed)),
			l1Entries:   int64(be.Uint32(fixed[8:])),
		}
		if extraSize >= 8 {
			s.VMStateSize = int64(be.Uint64(rest) &^ (1 << 63))
		}
		if extraSize >= 16 {
			s.DiskSize = int64(be.Uint64(rest[8:]))
		}
		if extraSize >= 24 {
			s.ICount = int64(be.Uint64(rest[16:]))
		}
		list = append(list, s)
		at += 40 + int64(len(rest))
	}
	return list, at - m.snapshotOffset, nil
}

// show replaces the current state by that of a snapshot. An id counts more than
// a name, as in QEMU. A disk that has grown since keeps its size, with zeros at
// the end, as QEMU has it; where one has shrunk, QEMU cuts the snapshot off.
func (m *Image) show(snapshot string) error {
	list, err := m.Snapshots()
	if err != nil {
		return err
	}
	for _, name := range []func(Snapshot) string{
		func(s Snapshot) string { return s.ID },
		func(s Snapshot) string { return s.Name },
	} {
		for _, s := range list {
			if name(s) == snapshot {
				return m.use(s)
			}
		}
	}
	return &SnapshotError{Name: snapshot, There: list}
}

// A SnapshotError says that an image has no snapshot of that id or name.
type SnapshotError struct {
	Name  string
	There []Snapshot // those that it has
}

// Error returns QEMU's sentence with the name.
func (e *SnapshotError) Error() string { return fmt.Sprintf("Can't find snapshot %q", e.Name) }

func (m *Image) use(s Snapshot) error {
	if err := m.table("Snapshot L1 table", s.l1Offset, s.l1Entries, 8, maxL1); err != nil {
		return err
	}
	if s.DiskSize < 0 || s.DiskSize > 1<<62 || s.l1Entries < m.l1Needed(s.DiskSize) {
		return damaged("Snapshot %q has an impossible size or too small an L1 table", s.Name)
	}
	var err error
	m.l1, err = readTable(m.file, s.l1Offset, s.l1Entries)
	m.diskSize = max(m.diskSize, s.DiskSize)
	return err
}

// A Bitmap is a persistent dirty bitmap of an image. Its content is not read.
type Bitmap struct {
	Name        string
	Granularity int64 // bytes that a bit stands for
	InUse       bool  // not closed cleanly: its content is void
	Auto        bool  // is kept up to date whenever the disk is written

	tableOffset, tableEntries int64
}

// Bitmaps reads the list of persistent bitmaps.
func (m *Image) Bitmaps() ([]Bitmap, error) {
	if m.bitmapCount == 0 {
		return nil, nil
	}
	if m.bitmapSize > m.file.Size() {
		return nil, damaged("bitmap directory is larger than the file")
	}
	dir := make([]byte, m.bitmapSize)
	if err := readPadded(m.file, dir, m.bitmapsOff); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	var list []Bitmap
	for len(dir) > 0 {
		bad := damaged("Broken bitmap directory: entry %d", len(list))
		if len(dir) < 24 || len(list) == int(m.bitmapCount) {
			return nil, bad
		}
		flags, granularity := be.Uint32(dir[12:]), dir[17]
		nameSize, extra := int64(be.Uint16(dir[18:])), int64(be.Uint32(dir[20:]))
		size := 24 + extra + nameSize
		if size > int64(len(dir)) || granularity > 31 || nameSize > 1023 {
			return nil, bad
		}
		list = append(list, Bitmap{
			Name:         string(dir[24+extra : size]),
			Granularity:  1 << granularity,
			InUse:        flags&1 != 0,
			Auto:         flags&2 != 0,
			tableOffset:  int64(be.Uint64(dir)),
			tableEntries: int64(be.Uint32(dir[8:])),
		})
		dir = dir[min((size+7)&^7, int64(len(dir))):]
	}
	if len(list) != int(m.bitmapCount) {
		return nil, damaged("Broken bitmap directory: %d bitmaps where the header says %d", len(list), m.bitmapCount)
	}
	return list, nil
}
