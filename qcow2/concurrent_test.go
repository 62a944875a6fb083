package qcow2_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"virtls/internal/peertest"
	"virtls/qcow2"
)

// TestConcurrentReads reads one image of compressed clusters and a backing file
// from many goroutines, more than its cache holds, which stays bounded.
func TestConcurrentReads(t *testing.T) {
	dir := t.TempDir()
	const size = 24 << 20
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i >> 9) // compresses well
	}
	if err := os.WriteFile(filepath.Join(dir, "data.raw"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, peertest.Host, dir, `qemu-img convert -f raw -c -O qcow2 data.raw base.img; qemu-img create -q -f qcow2 -b base.img -F qcow2 top.img; qemu-io -c 'write -P 5 3M 1M' top.img >/dev/null`)
	copy(data[3<<20:4<<20], bytes.Repeat([]byte{5}, 1<<20))
	disk, err := qcow2.OpenFile(image(dir, "top"), qcow2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var running sync.WaitGroup
	for seed := range uint64(8) {
		running.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			p := make([]byte, 100_000)
			for range 60 {
				off := random.Int64N(size)
				part := p[:min(1+random.Int64N(int64(len(p))), size-off)]
				if _, err := disk.ReadAt(part, off); err != nil || !bytes.Equal(part, data[off:off+int64(len(part))]) {
					t.Errorf("%d octets at %d are not those of the disk: %v", len(part), off, err)
					return
				}
			}
		})
	}
	running.Wait()
	if _, err := disk.ReadAt(make([]byte, size), 0); err != nil {
		t.Error(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > qcow2.CacheSize*5/4 {
		t.Errorf("the disk holds %d octets, want at most %d", held, qcow2.CacheSize)
	}
}

// TestMarked reads images that are marked as dirty or corrupt, as QEMU's tools do.
func TestMarked(t *testing.T) {
	dir := t.TempDir()
	run(t, peertest.Host, dir, `qemu-img create -q -f qcow2 -o lazy_refcounts=on sound.img 1M; qemu-io -c 'write -P 1 0 64k' sound.img >/dev/null
		for bit in 1 2; do cp sound.img marked$bit.img; printf "\\00$bit" | dd of=marked$bit.img bs=1 seek=79 conv=notrunc status=none; done`)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for name, field := range map[string]string{"marked1": "", "marked2": "corrupt: true"} {
			res := run(t, g, dir, "qemu-img info -U "+name+".img; qemu-io -r -f qcow2 -c 'read -P 1 0 64k' "+name+".img")
			if !strings.Contains(res.Stdout, field) || strings.Contains(res.Stdout, "failed") {
				t.Fatal(res)
			}
			disk, err := qcow2.OpenFile(image(dir, name), qcow2.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 64<<10)
			if _, err := disk.ReadAt(got, 0); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{1}, len(got))) {
				t.Errorf("%s reads as something else: %v", name, err)
			}
			disk.Close()
		}
	})
}
