package qcow2_test

import (
	"errors"
	"io"
	"os"
	"testing"

	"virtls/internal/peertest"
	"virtls/qcow2"
)

// FuzzImage has hostile images do what they can: no panic, no read outside of
// the file (memory sees to that), no extents that go nowhere.
func FuzzImage(f *testing.F) {
	for _, o := range []qcow2.CreateOptions{
		{ClusterSize: 512},
		{ClusterSize: 512, Version: 2},
		{ClusterSize: 512, RefcountBits: 1},
		{ClusterSize: 1024, Compression: qcow2.Zstd},
		{ClusterSize: 16 << 10, ExtendedL2: true},
		{ClusterSize: 512, BackingFile: "b", BackingFormat: "raw"},
		{ClusterSize: 512, BackingFile: `json:{"file.filename":"b"}`},
	} {
		f.Add(sound(f, o).data)
	}
	dir := f.TempDir()
	run(f, peertest.Host, dir, `qemu-img create -q -f qcow2 -o cluster_size=512 s.img 64k; qemu-io -c 'write -P 1 0 8k' s.img >/dev/null; qemu-img snapshot -c first s.img
		qemu-io -c 'write -P 2 4k 8k' s.img >/dev/null; qemu-img snapshot -c second s.img; qemu-img bitmap --add -g 512 s.img marks; qemu-io -c 'write -P 3 0 512' s.img >/dev/null`)
	data, err := os.ReadFile(image(dir, "s"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 256<<10 {
			return
		}
		backing := func(string) (qcow2.File, error) { return &memory{t, data}, nil }
		disk, err := qcow2.Open(&memory{t, data}, "a", qcow2.Options{Format: "qcow2", Open: backing})
		if err != nil {
			return
		}
		buf := make([]byte, 5000)
		size := disk.Size()
		for _, off := range []int64{0, 1000, 8192, size / 2, size - 4999} {
			if off < 0 {
				continue
			}
			if n, err := disk.ReadAt(buf, off); err != nil && n != 0 && !errors.Is(err, io.EOF) {
				t.Errorf("%d bytes and %v", n, err)
			}
			if off >= size {
				continue
			}
			if e, err := disk.Extent(off, size-off); err == nil && (e.Start != off || e.Length <= 0 || e.Length > size-off) {
				t.Errorf("at %d of %d: %+v", off, size, e)
			}
		}
		m := disk.(*qcow2.Image)
		_, _ = m.Bitmaps()
		list, _ := m.Snapshots()
		_, _ = m.Check(io.Discard)
		for i, s := range list {
			if i > 3 {
				break
			}
			shown, err := qcow2.Open(&memory{t, data}, "a", qcow2.Options{Format: "qcow2", Snapshot: s.ID, NoBacking: true})
			if err == nil {
				_, _ = shown.ReadAt(buf, 0)
			}
		}
	})
}
