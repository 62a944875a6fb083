package nbd_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/proto/nbd"
	"virtls/qcow2"
)

// TestOutOfOrder has a request that takes long answered after one that came later.
func TestOutOfOrder(t *testing.T) {
	d := slow{nbd.Discard(1 << 20), make(chan struct{}), make(chan struct{})}
	port := serve(t, &nbd.Server{Exports: []nbd.Export{{Device: d}}})
	c, err := connect(t, port, "", nbd.Options{})
	must(t, err)
	read := make(chan error, 1)
	go func() {
		_, err := c.ReadAt(make([]byte, 100), 0)
		read <- err
	}()
	<-d.asked
	_, err = c.WriteAt(make([]byte, 100), 0) // on the same connection
	must(t, err)
	select {
	case err := <-read:
		t.Errorf("the read is answered before it is done: %v", err)
	default:
	}
	close(d.answer)
	must(t, <-read)
}

// TestUnknownRequests sends requests that the server does not know, resizing
// among them: each is refused, and the connection goes on.
func TestUnknownRequests(t *testing.T) {
	path, content := rawFile(t, 1<<20)
	port := serve(t, &nbd.Server{Exports: []nbd.Export{{Device: openFile(t, path, true)}}})
	c := value(net.Dial("tcp", address(port)))
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err := c.Write([]byte(fixed + opt(1, "")))
	must(t, err)
	head := make([]byte, 18+10)
	_, err = io.ReadFull(c, head)
	must(t, err)
	if flags := nbd.Flags(binary.BigEndian.Uint16(head[26:])); flags.Has(nbd.SendResize) {
		t.Errorf("the flags %b offer to resize", flags)
	}
	ask := func(command uint16, offset uint64, length uint32) uint32 {
		t.Helper()
		b := binary.BigEndian.AppendUint32(nil, 0x25609513)
		b = binary.BigEndian.AppendUint32(b, uint32(command))
		b = binary.BigEndian.AppendUint64(b, 7)
		b = binary.BigEndian.AppendUint64(b, offset)
		_, err := c.Write(binary.BigEndian.AppendUint32(b, length))
		must(t, err)
		reply := make([]byte, 16)
		_, err = io.ReadFull(c, reply)
		must(t, err)
		return binary.BigEndian.Uint32(reply[4:])
	}
	for _, command := range []uint16{8, 9, 1000} { // 8 resizes
		if errno := ask(command, 0, 512); errno != uint32(nbd.EINVAL) {
			t.Errorf("request %d is answered by %d, want EINVAL", command, errno)
		}
	}
	if errno := ask(0, 1<<18, 512); errno != 0 {
		t.Fatalf("a read is answered by %d", errno)
	}
	data := make([]byte, 512)
	_, err = io.ReadFull(c, data)
	must(t, err)
	if !bytes.Equal(data, content[1<<18:][:512]) {
		t.Error("the read has other data than the file")
	}
	if info := value(os.Stat(path)); info.Size() != 1<<20 {
		t.Errorf("the file has %d octets", info.Size())
	}
}

// TestTrimPunches gives room in the file back where a client trims or zeroes,
// unless the client wants to keep it.
func TestTrimPunches(t *testing.T) {
	const size, part = 4 << 20, 256 << 10
	path, _ := rawFile(t, size)
	room := func() int64 { return value(os.Stat(path)).Sys().(*syscall.Stat_t).Blocks * 512 }
	c, err := connect(t, serve(t, &nbd.Server{Exports: []nbd.Export{{Device: openFile(t, path, true)}}}), "", nbd.Options{})
	must(t, err)
	for _, step := range []struct {
		name string
		do   func() error
		less int64
	}{
		{"keep", func() error { return c.WriteZeroes(size/4, part, nbd.NoHole) }, 0},
		{"trim", func() error { return c.Trim(size/4, part) }, part},
		{"zero", func() error { return c.WriteZeroes(size/4+part, part, 0) }, part},
		{"trim a hole", func() error { return c.Trim(0, part) }, 0},
	} {
		before := room()
		must(t, step.do())
		must(t, c.Flush())
		if less := before - room(); less < step.less || less > step.less+64<<10 {
			t.Errorf("%s: the file has %d octets less, want %d", step.name, less, step.less)
		}
	}
}

// allocation is an element of what qemu-img map prints.
type allocation struct {
	Start, Length int64
	Zero          bool
}

// mapOf has qemu-img map an image, and joins parts that differ in nothing but
// where they are kept.
func mapOf(t *testing.T, g peertest.Generation, dir string, image ...string) (list []allocation) {
	t.Helper()
	r := g.Run(t, peertest.Options{Dir: dir}, "qemu-img", append([]string{"map", "--output=json"}, image...)...)
	var all []allocation
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		t.Fatalf("%v: %v", err, r)
	}
	for _, a := range all {
		if n := len(list); n > 0 && list[n-1].Zero == a.Zero {
			list[n-1].Length += a.Length
			continue
		}
		list = append(list, a)
	}
	return list
}

// TestServesQCOW2 compares exports of qcow2 images, of every kind that is read,
// with what qemu-img says of the files.
func TestServesQCOW2(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		const script = `head -c 1M /dev/urandom >noise; for i in 1 2 3; do yes "line $i"; done | head -c 2M >text; cat noise text noise >data.raw; truncate -s 6M data.raw
			qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 6M; qemu-io -c 'write -P 1 1M 300k' old.qcow2 >/dev/null
			qemu-img convert -c -O qcow2 data.raw deflate.qcow2
			qemu-img convert -c -O qcow2 -o compression_type=zstd data.raw zstd.qcow2
			qemu-img create -q -f qcow2 -o extended_l2=on -b deflate.qcow2 -F qcow2 sub.qcow2 7M; qemu-io -c 'write -P 2 100k 10k' -c 'write -z 2M 65k' -c 'write -P 3 6M 512' sub.qcow2 >/dev/null
			qemu-img create -q -f qcow2 -b sub.qcow2 -F qcow2 top.qcow2; qemu-io -c 'write -P 4 3M 64k' -c 'write -z 1M 128k' top.qcow2 >/dev/null
			qemu-img create -q -f qcow2 snap.qcow2 6M; qemu-io -c 'write -P 5 0 1M' snap.qcow2 >/dev/null; qemu-img snapshot -c before snap.qcow2; qemu-io -c 'write -P 6 512k 1M' snap.qcow2 >/dev/null
			qemu-img convert -l before -O raw snap.qcow2 before.raw`
		if r := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", script); r.Code != 0 {
			t.Fatal(r)
		}
		for _, tt := range []struct{ name, file, snapshot, same string }{
			{"v2", "old.qcow2", "", "old.qcow2"}, {"deflate", "deflate.qcow2", "", "deflate.qcow2"}, {"zstd", "zstd.qcow2", "", "zstd.qcow2"}, {"subclusters", "sub.qcow2", "", "sub.qcow2"},
			{"chain", "top.qcow2", "", "top.qcow2"}, {"now", "snap.qcow2", "", "snap.qcow2"}, {"snapshot", "snap.qcow2", "before", "before.raw"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				disk, err := qcow2.OpenFile(filepath.Join(dir, tt.file), qcow2.Options{Format: "qcow2", Snapshot: tt.snapshot})
				must(t, err)
				t.Cleanup(func() { disk.Close() })
				port := serve(t, &nbd.Server{Exports: []nbd.Export{{Name: "disk", Device: nbd.Disk(disk)}}})
				uri := fmt.Sprintf("nbd://localhost:%d/disk", port)
				if r := g.Run(t, peertest.Options{Dir: dir}, "qemu-img", "compare", "-f", "raw", uri, tt.same); r.Code != 0 {
					t.Error(r)
				}
				if ours, theirs := mapOf(t, g, dir, "-f", "raw", uri), mapOf(t, g, dir, tt.same); tt.snapshot == "" && !slices.Equal(ours, theirs) {
					t.Errorf("the export is mapped as\n%v\nthe file as\n%v", ours, theirs)
				}
				r := g.Run(t, peertest.Options{Dir: dir}, "qemu-io", "-f", "raw", "-c", "write 0 512", uri)
				if r.Code == 0 || !strings.Contains(r.Stderr, "Permission denied") {
					t.Errorf("a write to it: %v", r)
				}
			})
		}
	})
}

// TestOldServers uses servers that can do less: no fixed newstyle, so that the
// export is chosen by its name alone, or no structured replies.
func TestOldServers(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, tt := range []struct {
			flag, code string
			fixed      bool
		}{{"--mask-handshake=0", "", false}, {"--no-sr", "", true}, {"--oldstyle", "nbd-not-nbd", false}} {
			path, content := rawFile(t, 4<<20)
			target := nbd.Target{Network: "tcp", Host: "127.0.0.1", Port: fmt.Sprint(g.Nbdkit(t, peertest.Options{}, tt.flag, "file", path).Ready().Port), Export: "disk"}
			c, err := target.Connect(t.Context(), nbd.Options{})
			if tt.code != "" {
				wantCode(t, err, tt.code)
				continue
			}
			must(t, err)
			useExport(t, c, nbd.SimpleReplies, content)
			must(t, c.Close())
			if got := value(os.ReadFile(path)); !bytes.Equal(got, content) {
				t.Errorf("%s: the file does not hold what was written", tt.flag)
			}
			conn, err := target.Dial(t.Context())
			must(t, err)
			if _, err := nbd.Query(t.Context(), conn, nbd.Options{}); (err == nil) != tt.fixed {
				t.Errorf("%s: a list: %v", tt.flag, err)
			}
		}
	})
}

// endless is a disk of any size that is alike everywhere.
type endless struct {
	qcow2.Disk
	looked int
}

func (*endless) Size() int64 { return 1 << 62 }

func (d *endless) Extent(off, _ int64) (qcow2.Extent, error) {
	d.looked++
	return qcow2.Extent{Start: off, Length: 4096, Data: true}, nil
}

// TestEndlessDisk has a question for the block status answered in part where the
// whole answer would take for ever.
func TestEndlessDisk(t *testing.T) {
	d := &endless{}
	c, err := connect(t, serve(t, &nbd.Server{Exports: []nbd.Export{{Device: nbd.Disk(d)}}}), "", nbd.Options{})
	must(t, err)
	list, err := c.Extents(0, c.Size(), 10)
	if err != nil || len(list) == 0 || list[0].Length < 1<<20 || d.looked > 10_000 {
		t.Errorf("%d lookups for %+v, error %v", d.looked, list, err)
	}
}
