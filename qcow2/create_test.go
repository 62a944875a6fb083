package qcow2_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/qcow2"
)

// A making is one way to write a new image.
type making struct {
	name       string
	options    qcow2.CreateOptions
	compressed bool
	reserve    bool // allocate everything in advance, and write nothing
	empty      bool // write nothing
	extra      bool // only if VIRTLS_INTEROP is full: the others have every feature once
}

const madeSize = 3<<20 + 5*512

var makings = []making{
	{name: "default"},
	{name: "v2", options: qcow2.CreateOptions{Version: 2}},
	{name: "c512", options: qcow2.CreateOptions{ClusterSize: 512}},
	{name: "c2M", options: qcow2.CreateOptions{ClusterSize: 2 << 20}, extra: true},
	{name: "refcount1", options: qcow2.CreateOptions{RefcountBits: 1, ClusterSize: 4096}},
	{name: "refcount64", options: qcow2.CreateOptions{RefcountBits: 64, ClusterSize: 1024}, extra: true},
	{name: "lazy", options: qcow2.CreateOptions{LazyRefcounts: true}, extra: true},
	{name: "l2", options: qcow2.CreateOptions{ExtendedL2: true, ClusterSize: 32 << 10}},
	{name: "deflate", compressed: true},
	{name: "deflate-c512", options: qcow2.CreateOptions{ClusterSize: 512}, compressed: true, extra: true},
	{name: "deflate-c2M", options: qcow2.CreateOptions{ClusterSize: 2 << 20}, compressed: true, extra: true},
	{name: "deflate-refcount2", options: qcow2.CreateOptions{RefcountBits: 2}, compressed: true, extra: true},
	{name: "deflate-v2", options: qcow2.CreateOptions{Version: 2}, compressed: true, extra: true},
	{name: "zstd", options: qcow2.CreateOptions{Compression: qcow2.Zstd}, compressed: true, extra: true},
	{name: "zstd-l2", options: qcow2.CreateOptions{Compression: qcow2.Zstd, ExtendedL2: true}, compressed: true},
	{name: "backing", options: qcow2.CreateOptions{BackingFile: "base.raw", BackingFormat: "raw"}},
	{name: "backing-v2", options: qcow2.CreateOptions{BackingFile: "base.raw", BackingFormat: "raw", Version: 2}, extra: true},
	{name: "backing-l2", options: qcow2.CreateOptions{BackingFile: "base.raw", BackingFormat: "raw", ExtendedL2: true}},
	{name: "backing-c512", options: qcow2.CreateOptions{BackingFile: "base.raw", BackingFormat: "raw", ClusterSize: 512}, extra: true},
	{name: "empty", empty: true, extra: true},
	{name: "reserve", reserve: true, extra: true},
	{name: "reserve-l2", options: qcow2.CreateOptions{ExtendedL2: true}, reserve: true},
}

// content returns a disk of zeros, noise and text, and tells for a place what it is.
func content(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	disk := make([]byte, madeSize)
	for off := 0; off < len(disk); {
		n := min(rnd.IntN(300<<10), len(disk)-off)
		switch part := disk[off : off+n]; rnd.IntN(3) {
		case 0:
			for i := range part {
				part[i] = byte(rnd.Uint32())
			}
		case 1:
			copy(part, bytes.Repeat([]byte(fmt.Sprintf("%d bottles of beer, ", rnd.IntN(100))), n/10))
		}
		off += n
	}
	return disk
}

// write makes the image and returns what it is to contain.
func (m making) write(t *testing.T, dir string, base []byte) []byte {
	t.Helper()
	want := content(7)
	f, err := os.Create(image(dir, m.name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.options.Size = madeSize
	w, err := qcow2.Create(f, m.options)
	if err != nil {
		t.Fatal(err)
	}
	for i, off := 0, int64(0); off < madeSize; i, off = i+1, off+w.ClusterSize() {
		part := want[off:min(off+w.ClusterSize(), madeSize)]
		empty := len(bytes.Trim(part, "\x00")) == 0
		switch {
		case m.empty:
			clear(part)
		case m.reserve:
			clear(part)
			_, err = w.Reserve(off)
		case base != nil && i%3 == 0:
			copy(part, base[off:])
		case empty:
			err = w.Zero(off)
		case m.compressed:
			var packed []byte
			if packed, err = w.Compress(part); err == nil && packed != nil {
				err = w.Compressed(off, packed)
			} else if err == nil {
				err = w.Data(off, part)
			}
		default:
			err = w.Data(off, part)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

// TestQEMUReadsWhatWeWrite has every generation check our images and compare
// them with what they are to contain.
func TestQEMUReadsWhatWeWrite(t *testing.T) {
	dir := t.TempDir()
	base := content(8)
	if err := os.WriteFile(filepath.Join(dir, "base.raw"), base, 0o600); err != nil {
		t.Fatal(err)
	}
	list := wanted(makings, func(m making) bool { return m.extra })
	var script strings.Builder
	for _, m := range list {
		var below []byte
		if m.options.BackingFile != "" {
			below = base
		}
		want := m.write(t, dir, below)
		if err := os.WriteFile(filepath.Join(dir, m.name+".copy"), want, 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "echo %[1]s; qemu-img check -q %[1]s.img; qemu-img compare -q -f qcow2 -F raw %[1]s.img %[1]s.copy\n"+
			"qemu-img check --output=json %[1]s.img >%[1]s.check; qemu-img map --output=json %[1]s.img >%[1]s.map\n", m.name)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		run(t, g, dir, script.String())
		for _, m := range list {
			t.Run(m.name, func(t *testing.T) {
				disk, err := qcow2.OpenFile(image(dir, m.name), qcow2.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer disk.Close()
				compareContent(t, disk, filepath.Join(dir, m.name+".copy"))
				compareMap(t, disk, filepath.Join(dir, m.name+".map"))
				compareCheck(t, disk.(*qcow2.Image), filepath.Join(dir, m.name+".check"))
			})
		}
		// Images can be written on, too.
		run(t, g, dir, "cp default.img grown.img; qemu-io -c 'write -P 1 0 3M' grown.img >/dev/null; qemu-img check -q grown.img")
	})
}

func TestCreateRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		options    qcow2.CreateOptions
	}{
		{"cluster size", "Cluster size must be a power of two between 512 and 2048k", qcow2.CreateOptions{ClusterSize: 65535}},
		{"refcount width", "Refcount width must be a power of two and may not exceed 64 bits", qcow2.CreateOptions{RefcountBits: 128}},
		{"v2 refcount", "Different refcount widths than 16 bits", qcow2.CreateOptions{RefcountBits: 8, Version: 2}},
		{"v2 lazy", "Lazy refcounts only supported", qcow2.CreateOptions{LazyRefcounts: true, Version: 2}},
		{"v2 l2", "Extended L2 entries are only supported with compatibility", qcow2.CreateOptions{ExtendedL2: true, Version: 2}},
		{"v2 zstd", "Non-zlib compression type", qcow2.CreateOptions{Compression: qcow2.Zstd, Version: 2}},
		{"l2 cluster", "Extended L2 entries are only supported with cluster sizes", qcow2.CreateOptions{ExtendedL2: true, ClusterSize: 8192}},
		{"backing name", "Backing file name too long", qcow2.CreateOptions{BackingFile: strings.Repeat("x", 1024)}},
		{"backing format", "Backing format cannot be used without backing file", qcow2.CreateOptions{BackingFormat: "raw"}},
		{"size", "The image size is too large", qcow2.CreateOptions{Size: 1 << 60}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := qcow2.Create(nil, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}
