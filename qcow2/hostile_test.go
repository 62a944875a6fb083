package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/qcow2"
)

// memory is a file in memory. It implements qcow2.File, and fails the test when
// it is read outside of its bounds.
type memory struct {
	t    testing.TB
	data []byte
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m.data)) {
		m.t.Errorf("read of %d bytes at %d of a file of %d", len(p), off, len(m.data))
		return 0, io.EOF
	}
	return copy(p, m.data[off:]), nil
}

func (m *memory) Size() int64 { return int64(len(m.data)) }
func (*memory) Close() error  { return nil }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.data) {
		m.data = append(m.data, make([]byte, end-len(m.data))...)
	}
	return copy(m.data[off:], p), nil
}

// sound returns a small image with data, zeros, and a compressed cluster, on a
// backing file that need not be there.
func sound(t testing.TB, o qcow2.CreateOptions) *memory {
	t.Helper()
	f := &memory{t: t}
	o.Size = 1 << 20
	if o.ClusterSize == 0 {
		o.ClusterSize = 4096
	}
	w, err := qcow2.Create(f, o)
	if err != nil {
		t.Fatal(err)
	}
	cluster := bytes.Repeat([]byte("data"), int(w.ClusterSize()/4))
	compressed := func(off int64, p []byte) error {
		packed, err := w.Compress(p)
		if err != nil || packed == nil {
			return errors.Join(err, errors.New("the cluster does not become smaller"))
		}
		return w.Compressed(off, packed)
	}
	for i, step := range []func(int64, []byte) error{w.Data, compressed, w.Data, compressed} {
		if err := step(int64(i)*2*w.ClusterSize(), cluster); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Zero(16 * w.ClusterSize()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// A wide file goes on with zeros behind its data.
type wide struct {
	*memory
	size int64
}

func (w *wide) Size() int64 { return w.size }

func (w *wide) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > w.size {
		w.t.Errorf("read of %d bytes at %d of a file of %d", len(p), off, w.size)
		return 0, io.EOF
	}
	clear(p)
	if off < int64(len(w.data)) {
		copy(p, w.data[off:])
	}
	return len(p), nil
}

// Fields of the header, by offset.
const (
	fieldVersion, fieldBackingOffset, fieldBackingSize, fieldClusterBits = 4, 8, 16, 20
	fieldSize, fieldCrypt, fieldL1Size, fieldL1Offset                    = 24, 32, 36, 40
	fieldRefOffset, fieldRefClusters, fieldSnapshots, fieldSnapOffset    = 48, 56, 60, 64
	fieldIncompatible, fieldAutoclear, fieldRefOrder, fieldLength        = 72, 88, 96, 100
	fieldCompression, fieldExtensions                                    = 104, 112
)

func put32(at int, v uint32) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
}

func put64(at int, v uint64) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint64(b[at:], v) }
}

// TestRefused has each way in which a header can be wrong or too new.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name, want  string
		unsupported bool
		change      []func([]byte)
	}{
		{"magic", "not in qcow2 format", false, []func([]byte){put32(0, 0)}},
		{"version 4", "Unsupported qcow2 version 4", true, []func([]byte){put32(fieldVersion, 4)}},
		{"tiny clusters", "Unsupported cluster size: 2^8", false, []func([]byte){put32(fieldClusterBits, 8)}},
		{"huge clusters", "Unsupported cluster size: 2^22", false, []func([]byte){put32(fieldClusterBits, 22)}},
		{"short header", "header too short", false, []func([]byte){put32(fieldLength, 100)}},
		{"long header", "exceeds cluster size", false, []func([]byte){put32(fieldLength, 1<<30)}},
		{"wide counts", "may not exceed 64 bits", false, []func([]byte){put32(fieldRefOrder, 7)}},
		{"AES", "encrypted with AES-CBC", true, []func([]byte){put32(fieldCrypt, 1)}},
		{"LUKS", "encrypted with LUKS", true, []func([]byte){put32(fieldCrypt, 2)}},
		{"other encryption", "Unsupported encryption method 3", false, []func([]byte){put32(fieldCrypt, 3)}},
		{"data file", "external data file", true, []func([]byte){put64(fieldIncompatible, 4)}},
		{"unknown feature", "Unknown incompatible feature: 40", true, []func([]byte){put64(fieldIncompatible, 1<<6)}},
		{"named feature", "Unsupported qcow2 feature(s): teleportation", true, []func([]byte){put64(fieldIncompatible, 1<<6),
			func(b []byte) { copy(b[fieldExtensions+8:], "\x00\x06teleportation\x00\x00") }}},
		{"compression without its bit", "feature bit must be set", false, []func([]byte){func(b []byte) { b[fieldCompression] = 1 }}},
		{"bit without compression", "feature bit must not be set", false, []func([]byte){put64(fieldIncompatible, 8)}},
		{"unknown compression", "Unknown compression type: 9", true, []func([]byte){put64(fieldIncompatible, 8), func(b []byte) { b[fieldCompression] = 9 }}},
		{"subclusters too small", "only supported with cluster sizes", false, []func([]byte){put64(fieldIncompatible, 16)}},
		{"too big", "Image is too big", false, []func([]byte){put64(fieldSize, 1<<63)}},
		{"L1 too small", "L1 table is too small", false, []func([]byte){put64(fieldSize, 1<<40)}},
		{"L1 too large", "Active L1 table too large", false, []func([]byte){put32(fieldL1Size, 1<<31)}},
		{"L1 unaligned", "Active L1 table offset invalid", false, []func([]byte){put64(fieldL1Offset, 4097)}},
		{"L1 at minus one", "Active L1 table offset invalid", false, []func([]byte){put64(fieldL1Offset, 1<<64-4096)}},
		{"no counts", "does not contain a reference count table", false, []func([]byte){put32(fieldRefClusters, 0)}},
		{"counts too large", "Reference count table too large", false, []func([]byte){put32(fieldRefClusters, 1<<31)}},
		{"counts unaligned", "Reference count table offset invalid", false, []func([]byte){put64(fieldRefOffset, 1)}},
		{"too many snapshots", "Snapshot table too large", false, []func([]byte){put32(fieldSnapshots, 65537)}},
		{"snapshots unaligned", "Snapshot table offset invalid", false, []func([]byte){put32(fieldSnapshots, 1), put64(fieldSnapOffset, 1)}},
		{"backing name far away", "Invalid backing file offset", false, []func([]byte){put64(fieldBackingOffset, 1<<40)}},
		{"backing name too long", "Backing file name too long", false, []func([]byte){put64(fieldBackingOffset, 512), put32(fieldBackingSize, 1024)}},
		{"extension too long", "Header extension too large", false, []func([]byte){put32(fieldExtensions, 5), put32(fieldExtensions+4, 1<<31)}},
		{"bitmaps of wrong length", "bitmaps_ext", false, []func([]byte){put32(fieldExtensions, 0x23852875), put32(fieldExtensions+4, 8)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := sound(t, qcow2.CreateOptions{})
			for _, change := range c.change {
				change(f.data)
			}
			_, err := qcow2.Open(f, "x", qcow2.Options{Format: "qcow2"})
			var failure *qcow2.Error
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), c.want) || failure.Unsupported != c.unsupported {
				t.Fatalf("got %v, want %q, unsupported %v", err, c.want, c.unsupported)
			}
		})
	}
}

// TestDamagedTables has entries of tables that lead nowhere: reads of what they
// describe fail, and of nothing else.
func TestDamagedTables(t *testing.T) {
	l1 := func(b []byte) int { return int(binary.BigEndian.Uint64(b[fieldL1Offset:])) }
	l2 := func(b []byte) int { return int(binary.BigEndian.Uint64(b[l1(b):]) &^ (1 << 63)) }
	for _, c := range []struct {
		name, want string
		change     func([]byte)
	}{
		{"L2 unaligned", "L2 table offset 0x1200 unaligned", func(b []byte) { put64(l1(b), 0x1200)(b) }},
		{"data unaligned", "Cluster allocation offset 0x1200 unaligned", func(b []byte) { put64(l2(b), 0x1200)(b) }},
		{"compressed outside", "is outside of the file", func(b []byte) { put64(l2(b), 1<<62|1<<40)(b) }},
		{"compressed rubbish", "cannot be decompressed", func(b []byte) { put64(l2(b), 1<<62)(b) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := sound(t, qcow2.CreateOptions{})
			c.change(f.data)
			disk, err := qcow2.Open(f, "x", qcow2.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := disk.ReadAt(make([]byte, 4096), 0); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if _, err := disk.ReadAt(make([]byte, 512), 1<<20-512); c.name != "L2 unaligned" && err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("data outside reads as zeros", func(t *testing.T) { // as in QEMU
		f := sound(t, qcow2.CreateOptions{})
		put64(l2(f.data), 1<<50)(f.data)
		disk, err := qcow2.Open(f, "x", qcow2.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := []byte{1, 2, 3}
		if _, err := disk.ReadAt(p, 0); err != nil || !bytes.Equal(p, []byte{0, 0, 0}) {
			t.Fatal(p, err)
		}
	})
}

func TestZeroFlagNeedsVersion3(t *testing.T) {
	f := sound(t, qcow2.CreateOptions{Version: 2})
	l1 := binary.BigEndian.Uint64(f.data[fieldL1Offset:])
	l2 := binary.BigEndian.Uint64(f.data[l1:]) &^ (1 << 63)
	f.data[l2+7] |= 1
	disk, err := qcow2.Open(f, "x", qcow2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.ReadAt(make([]byte, 1), 0); err == nil || !strings.Contains(err.Error(), "Invalid cluster entry") {
		t.Fatal(err)
	}
}

// chainOf opens an image whose backing files come from a map of names.
func chainOf(t *testing.T, files map[string]*memory, name string, o qcow2.Options) (qcow2.Disk, error) {
	t.Helper()
	o.Open = func(name string) (qcow2.File, error) {
		if f, ok := files[name]; ok {
			return f, nil
		}
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return qcow2.Open(files[name], name, o)
}

func TestBackingNames(t *testing.T) {
	base := sound(t, qcow2.CreateOptions{})
	for _, c := range []struct{ image, backing, want, err string }{
		{"dir/top", "base", "dir/base", ""},
		{"top", "base", "base", ""},
		{"dir/top", "/abs/base", "/abs/base", ""},
		{"dir/top", "../base", "dir/../base", ""},
		{"dir/top", "file:base", "base", ""},
		{"dir/top", `json:{"driver":"qcow2","file":{"driver":"file","filename":"/x/base"}}`, "/x/base", ""},
		{"dir/top", `json:{"file.filename":"base"}`, "dir/base", ""},
		{"dir/top", `json:{"driver":"nbd","host":"x"}`, "", "only descriptions of a file are supported"},
		{"dir/top", `json:{`, "", "not JSON"},
		{"dir/top", "nbd://host/x", "nbd://host/x", ""},
		{"dir/top", "missing", "", "Could not open 'dir/missing'"},
		{"top", "top", "", "loop"},
		{"dir/top", "../dir/top", "", "loop"},
	} {
		t.Run(strings.ReplaceAll(c.backing, ",", " "), func(t *testing.T) {
			files := map[string]*memory{c.image: sound(t, qcow2.CreateOptions{BackingFile: c.backing, BackingFormat: "qcow2"})}
			if c.want != "" {
				files[c.want] = base
			}
			disk, err := chainOf(t, files, c.image, qcow2.Options{})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if disk.Backing() == nil || disk.(*qcow2.Image).BackingName != c.want {
				t.Fatalf("backing file is %q", disk.(*qcow2.Image).BackingName)
			}
		})
	}
}

func TestChains(t *testing.T) {
	on := func(name, format string) *memory {
		return sound(t, qcow2.CreateOptions{BackingFile: name, BackingFormat: format})
	}
	t.Run("loop of two", func(t *testing.T) {
		_, err := chainOf(t, map[string]*memory{"a": on("b", "qcow2"), "b": on("a", "qcow2")}, "a", qcow2.Options{})
		if err == nil || !strings.Contains(err.Error(), "loop") {
			t.Fatal(err)
		}
	})
	t.Run("too long", func(t *testing.T) {
		files := map[string]*memory{}
		name := func(i int) string { return strings.Repeat("x", i+1) }
		for i := range qcow2.MaxDepth + 1 {
			files[name(i)] = on(name(i+1), "qcow2")
		}
		_, err := chainOf(t, files, name(0), qcow2.Options{})
		if err == nil || !strings.Contains(err.Error(), "longer than 256") {
			t.Fatal(err)
		}
	})
	t.Run("too much to keep", func(t *testing.T) {
		files := map[string]qcow2.File{}
		name := func(i int) string { return strings.Repeat("x", i+1) }
		for i := range 10 {
			f := on(name(i+1), "qcow2")
			put32(fieldL1Size, 4<<20)(f.data)
			put64(fieldL1Offset, 1<<20)(f.data)
			files[name(i)] = &wide{f, 64 << 20}
		}
		open := func(name string) (qcow2.File, error) { return files[name], nil }
		_, err := qcow2.Open(files["x"], "x", qcow2.Options{Format: "qcow2", Open: open})
		if err == nil || !strings.Contains(err.Error(), "more than 256 MiB") {
			t.Fatal(err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		_, err := qcow2.Open(on("b", "raw"), "a", qcow2.Options{})
		if err == nil || !strings.Contains(err.Error(), "none may be opened") {
			t.Fatal(err)
		}
	})
	t.Run("alone", func(t *testing.T) {
		disk, err := qcow2.Open(on("b", "raw"), "a", qcow2.Options{NoBacking: true})
		if err != nil || disk.Backing() != nil {
			t.Fatal(disk, err)
		}
	})
	t.Run("format", func(t *testing.T) {
		_, err := chainOf(t, map[string]*memory{"a": on("b", "vmdk"), "b": {t: t}}, "a", qcow2.Options{})
		if err == nil || !strings.Contains(err.Error(), `"vmdk" is not supported`) {
			t.Fatal(err)
		}
	})
	t.Run("probed", func(t *testing.T) {
		_, err := chainOf(t, map[string]*memory{"a": on("b", ""), "b": {t: t, data: []byte("KDMV")}}, "a", qcow2.Options{})
		if err == nil || !strings.Contains(err.Error(), `"vmdk" is not supported`) {
			t.Fatal(err)
		}
	})
}

// TestRefusesRealOnes has what the real qemu-img makes and is not supported.
func TestRefusesRealOnes(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		kinds := map[string]string{"luks": "LUKS", "data-file": "external data file"}
		run(t, g, dir, `qemu-img create -q -f qcow2 -o data_file=ext.raw data-file.img 1M`)
		if g == peertest.Host || full() { // qemu-img measures for seconds how fast it can hash
			run(t, g, dir, `qemu-img create -q --object secret,id=s,data=x -f qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 luks.img 1M`)
		} else {
			delete(kinds, "luks")
		}
		for name, want := range kinds {
			_, err := qcow2.OpenFile(image(dir, name), qcow2.Options{})
			var failure *qcow2.Error
			if !errors.As(err, &failure) || !failure.Unsupported || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := qcow2.OpenFile(filepath.Join(dir, "none"), qcow2.Options{}); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		if _, err := qcow2.OpenFile(dir, qcow2.Options{}); err == nil {
			t.Error("a directory was opened")
		}
	})
}
