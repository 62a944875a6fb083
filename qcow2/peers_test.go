package qcow2_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
	"virtls/qcow2"
)

// full tells whether every combination of features is to be tried.
func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// seeds returns how the random part of images is varied.
func seeds() []uint64 {
	if full() {
		return []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	}
	return []uint64{1}
}

// TestReadsWhatQEMUWrites compares content, map and check of images of every
// feature with what the qemu-img that made them says.
func TestReadsWhatQEMUWrites(t *testing.T) {
	list := wanted(recipes, func(r recipe) bool { return r.extra })
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, seed := range seeds() {
			dir := makeImages(t, g, list, seed)
			for _, r := range list {
				t.Run(r.name, func(t *testing.T) {
					disk, err := qcow2.OpenFile(image(dir, r.name), qcow2.Options{Format: r.kind()})
					if err != nil {
						t.Fatal(err)
					}
					defer disk.Close()
					// The map first: reading fills unwritten parts of the file with data.
					compareMap(t, disk, filepath.Join(dir, r.name+".map"))
					if r.name != "huge" {
						compareContent(t, disk, filepath.Join(dir, r.name+".copy"))
					}
					if m, ok := disk.(*qcow2.Image); ok {
						compareCheck(t, m, filepath.Join(dir, r.name+".check"))
					}
				})
			}
		}
	})
}

func compareContent(t *testing.T, disk qcow2.Disk, copy string) {
	t.Helper()
	want, err := os.ReadFile(copy)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(want)) != disk.Size() {
		t.Fatalf("size is %d, qemu-img has %d", disk.Size(), len(want))
	}
	got := make([]byte, len(want))
	// In pieces that fit nothing.
	for off := 0; off < len(got); {
		n, err := disk.ReadAt(got[off:min(off+77777, len(got))], int64(off))
		if err != nil {
			t.Fatalf("at %d: %v", off, err)
		}
		off += n
	}
	if bytes.Equal(got, want) {
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %d is %#x, qemu-img has %#x", i, got[i], want[i])
		}
	}
}

// mapped is an element of what qemu-img map prints.
type mapped struct {
	Start, Length int64
	Depth         int
	Present       bool
	Zero          bool
	Data          bool
	Compressed    *bool
	Offset        *int64
}

func compareMap(t *testing.T, disk qcow2.Disk, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []mapped
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < disk.Size(); {
		e, err := disk.Extent(off, disk.Size()-off)
		if err != nil {
			t.Fatal(err)
		}
		if e.Start != off || e.Length <= 0 {
			t.Fatalf("at %d: %+v", off, e)
		}
		off += e.Length
		n := mapped{Start: e.Start, Length: e.Length, Depth: e.Depth, Present: e.Present, Zero: e.Zero, Data: e.Data}
		if len(want) > 0 && want[0].Compressed != nil { // since 8.2
			n.Compressed = &e.Compressed
		}
		if e.Offset >= 0 {
			n.Offset = &e.Offset
		}
		if last := len(got) - 1; last >= 0 && merges(got[last], n) {
			got[last].Length += n.Length
			continue
		}
		got = append(got, n)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("map differs (-qemu-img +ours):\n%s", d)
	}
}

func merges(a, b mapped) bool {
	if (a.Offset == nil) != (b.Offset == nil) || a.Offset != nil && *a.Offset+a.Length != *b.Offset {
		return false
	}
	if a.Compressed != nil && *a.Compressed != *b.Compressed {
		return false
	}
	return a.Depth == b.Depth && a.Present == b.Present && a.Zero == b.Zero && a.Data == b.Data
}

// checked is what qemu-img check prints.
type checked struct {
	End         int64 `json:"image-end-offset"`
	Total       int64 `json:"total-clusters"`
	Allocated   int64 `json:"allocated-clusters"`
	Fragmented  int64 `json:"fragmented-clusters"`
	Compressed  int64 `json:"compressed-clusters"`
	Corruptions int64 `json:"corruptions"`
	Leaks       int64 `json:"leaks"`
	Errors      int64 `json:"check-errors"`
}

func compareCheck(t *testing.T, m *qcow2.Image, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want checked
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r, err := m.Check(&log)
	if err != nil {
		t.Fatal(err)
	}
	got := checked{r.ImageEnd, r.Total, r.Allocated, r.Fragmented, r.Compressed, r.Corruptions, r.Leaks, r.Errors}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("check differs (-qemu-img +ours):\n%s%s", d, log.String())
	}
}
