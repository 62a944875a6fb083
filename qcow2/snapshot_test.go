package qcow2_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/qcow2"
)

// TestSnapshots reads internal snapshots by name and by id.
func TestSnapshots(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		run(t, g, dir, `
			qemu-img create -q -f qcow2 s.img 2M
			qemu-io -c 'write -P 1 0 1M' s.img >/dev/null
			qemu-img snapshot -c first s.img
			qemu-io -c 'write -P 2 512k 1M' s.img >/dev/null
			qemu-img snapshot -c 1 s.img  # a name that is another one's id
			qemu-img resize -q s.img 3M
			qemu-io -c 'write -P 3 0 3M' s.img >/dev/null
			for s in first 1 2; do qemu-img convert -l $s -O raw s.img $s.copy; done
			qemu-img convert -l snapshot.name=1 -O raw s.img name-1.copy
			qemu-img convert -O raw s.img now.copy
			qemu-img info --output=json s.img >s.info
			qemu-img check --output=json s.img >s.check`)
		for snapshot, copy := range map[string]string{"first": "first", "2": "2", "1": "1", "": "now"} {
			disk, err := qcow2.OpenFile(image(dir, "s"), qcow2.Options{Snapshot: snapshot})
			if err != nil {
				t.Fatal(err)
			}
			compareContent(t, disk, filepath.Join(dir, copy+".copy"))
			disk.Close()
		}
		if _, err := qcow2.OpenFile(image(dir, "s"), qcow2.Options{Snapshot: "third"}); err == nil || !strings.Contains(err.Error(), `Can't find snapshot "third"`) {
			t.Error(err)
		}
		disk, err := qcow2.OpenFile(image(dir, "s"), qcow2.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		compareCheck(t, disk.(*qcow2.Image), filepath.Join(dir, "s.check"))
		compareSnapshots(t, disk.(*qcow2.Image), filepath.Join(dir, "s.info"))
	})
}

func compareSnapshots(t *testing.T, m *qcow2.Image, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		Snapshots []struct {
			ID, Name string
			Sec      int64 `json:"date-sec"`
			Nsec     int64 `json:"date-nsec"`
			ICount   int64 `json:"icount"`
		}
	}
	if err := json.Unmarshal(text, &info); err != nil {
		t.Fatal(err)
	}
	list, err := m.Snapshots()
	if err != nil || len(list) != 2 || len(info.Snapshots) != 2 {
		t.Fatal(list, err)
	}
	for i, s := range list {
		w := info.Snapshots[i]
		if s.ID != w.ID || s.Name != w.Name || !s.Date.Equal(time.Unix(w.Sec, w.Nsec)) || s.ICount != w.ICount {
			t.Errorf("%+v, want %+v", s, w)
		}
	}
}

// TestBitmaps lists persistent bitmaps and counts their clusters.
func TestBitmaps(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		run(t, g, dir, `
			qemu-img create -q -f qcow2 b.img 2M
			qemu-img bitmap --add -g 4096 b.img one
			qemu-img bitmap --add --disable b.img two
			qemu-io -c 'write -P 1 0 1M' b.img >/dev/null
			qemu-img check --output=json b.img >b.check`)
		disk, err := qcow2.OpenFile(image(dir, "b"), qcow2.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		m := disk.(*qcow2.Image)
		compareCheck(t, m, filepath.Join(dir, "b.check"))
		list, err := m.Bitmaps()
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		if b := list[0]; b.Name != "one" || b.Granularity != 4096 || !b.Auto || b.InUse {
			t.Errorf("%+v", b)
		}
		if b := list[1]; b.Name != "two" || b.Granularity != 65536 || b.Auto {
			t.Errorf("%+v", b)
		}
	})
}

// inconsistencies leaves out what was not checked: QEMU has a line for every
// cluster of a block of counts that cannot be read, we have one for the block.
func inconsistencies(log string) string {
	var kept strings.Builder
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "ERROR") || strings.HasPrefix(line, "Leaked") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// damages are what a disk can do to an image; each is a place and what is put there.
var damages = []struct {
	name   string
	places map[int64][]byte
}{
	{name: "leak", places: map[int64][]byte{0x20000 + 9*2: {0, 1}}},
	{name: "uncounted", places: map[int64][]byte{0x20000 + 5*2: {0, 0}}},
	{name: "overcounted", places: map[int64][]byte{0x20000 + 5*2: {0, 2}}},
	{name: "L1 reserved", places: map[int64][]byte{0x30000: {0x81}}},
	{name: "L2 unaligned", places: map[int64][]byte{0x40006: {2}}},
	{name: "L2 outside", places: map[int64][]byte{0x40002: {1}}},
	{name: "no copied flag", places: map[int64][]byte{0x40000: {0}}},
	{name: "L1 no copied flag", places: map[int64][]byte{0x30000: {0}}},
	{name: "same cluster twice", places: map[int64][]byte{0x40008: {0x80, 0, 0, 0, 0, 5, 0, 0}}},
	{name: "refcount block unaligned", places: map[int64][]byte{0x10006: {2}}},
	{name: "refcount block outside", places: map[int64][]byte{0x10002: {1}}},
}

// TestCheckFindsWhatQEMUFinds damages images and compares counts and texts.
func TestCheckFindsWhatQEMUFinds(t *testing.T) {
	dir := t.TempDir()
	run(t, peertest.Host, dir, `qemu-img create -q -f qcow2 sound.img 4M; qemu-io -c 'write -P 1 0 256k' sound.img >/dev/null`)
	sound, err := os.ReadFile(image(dir, "sound"))
	if err != nil {
		t.Fatal(err)
	}
	sound = append(sound, make([]byte, 2<<16)...)
	var script strings.Builder
	for i, d := range damages {
		data := bytes.Clone(sound)
		for at, b := range d.places {
			copy(data[at:], b)
		}
		name := string(rune('a' + i))
		if err := os.WriteFile(image(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		script.WriteString(strings.ReplaceAll("qemu-img check --output=json X.img >X.check 2>X.err || test $? -lt 4\n", "X", name))
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		run(t, g, dir, script.String())
		for i, d := range damages {
			t.Run(d.name, func(t *testing.T) {
				name := string(rune('a' + i))
				disk, err := qcow2.OpenFile(image(dir, name), qcow2.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer disk.Close()
				compareCheck(t, disk.(*qcow2.Image), filepath.Join(dir, name+".check"))
				want, err := os.ReadFile(filepath.Join(dir, name+".err"))
				if err != nil {
					t.Fatal(err)
				}
				var log strings.Builder
				if _, err := disk.(*qcow2.Image).Check(&log); err != nil {
					t.Fatal(err)
				}
				if got, want := inconsistencies(log.String()), inconsistencies(string(want)); got != want {
					t.Errorf("we say:\n%s\nqemu-img says:\n%s", got, want)
				}
			})
		}
	})
}
