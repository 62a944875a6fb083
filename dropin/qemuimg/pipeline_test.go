package qemuimg

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// TestPipeline has pieces made ready several at once and written in order, or
// not, and ends at the first failure.
func TestPipeline(t *testing.T) {
	const pieces = 200
	for _, ordered := range []bool{true, false} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			p := newPipeline(4, 1, ordered)
			var reading, most atomic.Int32
			written := make(chan int, pieces)
			for i := range pieces {
				err := p.add(func([]byte) (func() error, error) {
					now := reading.Add(1)
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
					reading.Add(-1)
					return func() error { written <- i; return nil }, nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := p.wait(); err != nil || len(written) != pieces {
				t.Fatalf("%d of %d pieces are written: %v", len(written), pieces, err)
			}
			if n := most.Load(); n < 2 || n > 4 {
				t.Errorf("%d pieces are read at once, want 2 to 4", n)
			}
			for i := range pieces {
				if got := <-written; ordered && got != i {
					t.Fatalf("piece %d is written in place of %d", got, i)
				}
			}
		})
	}
	p, wrong := newPipeline(4, 1, true), errors.New("wrong")
	after := 0
	for i := range pieces {
		err := p.add(func([]byte) (func() error, error) {
			return func() error {
				if i > 5 {
					after++
				}
				return map[bool]error{true: wrong}[i == 5]
			}, nil
		})
		if err != nil {
			break
		}
	}
	if err := p.wait(); !errors.Is(err, wrong) || after > 0 {
		t.Errorf("it ends with %v, and %d pieces are written after the failure", err, after)
	}
}

// TestParallelConvert copies a disk of many pieces in every way.
func TestParallelConvert(t *testing.T) {
	t.Chdir(t.TempDir())
	rnd, data := rand.New(rand.NewPCG(1, 2)), make([]byte, 20<<20+512)
	for off := 0; off < len(data); off += 64 << 10 {
		part := data[off:min(off+64<<10, len(data))]
		switch rnd.IntN(3) {
		case 0:
			for i := range part {
				part[i] = byte(rnd.Uint32())
			}
		case 1:
			copy(part, bytes.Repeat([]byte("99 bottles of beer, "), len(part)/10))
		}
	}
	if err := os.WriteFile("data.raw", data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"-m 1 -O raw", "-m 16 -O raw", "-m 16 -W -O raw", "-W -S 0 -O raw", "-m 1 -O qcow2", "-m 16 -W -O qcow2", "-m 1 -c -O qcow2", "-m 16 -c -O qcow2", "-W -c -o compression_type=zstd -O qcow2"} {
		t.Run(how, func(t *testing.T) {
			if got := ours(newest, append(append([]string{"convert", "-f", "raw"}, strings.Fields(how)...), "data.raw", "out")); got.code != 0 || got.err != "" {
				t.Fatal(got)
			}
			if got := ours(newest, strings.Fields("compare -f raw data.raw out")); got.code != 0 {
				t.Error(got)
			}
			if strings.Contains(how, "qcow2") {
				if got := ours(newest, strings.Fields("check -q out")); got.code != 0 {
					t.Error(got)
				}
			}
		})
	}
}

var shownProgress = regexp.MustCompile(`(    \(\d+\.\d\d/100%\)\r)+`)

// TestProgress shows the progress as the real one does.
func TestProgress(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", "truncate -s 64M hole.raw; head -c 20M /dev/urandom >data.raw; cp data.raw other.raw; printf x | dd of=other.raw bs=1 seek=15M conv=notrunc status=none; truncate -s 0 empty.raw; truncate -s 512 small.raw"); res.Code != 0 {
			t.Fatal(res)
		}
		lines := []string{"convert -p small.raw x.raw", "convert -p empty.raw x.raw", "convert -p -q small.raw x.raw", "convert -p hole.raw x.raw", "convert -p data.raw x.raw", "convert -p -W -O qcow2 data.raw x.raw",
			"compare -p small.raw small.raw", "compare -p data.raw data.raw", "compare -p data.raw other.raw", "compare -p -q small.raw small.raw", "convert -p none x.raw", "compare -p none small.raw", "compare -p small.raw none"}
		want := theirs(t, g, dir, lines)
		t.Chdir(dir)
		// How many steps there are depends on how much is read at once.
		shape := func(line, text string) string {
			if strings.Contains(line, "small") || strings.Contains(line, "empty") {
				return text
			}
			return shownProgress.ReplaceAllStringFunc(text, func(steps string) string {
				last := strings.LastIndex(strings.TrimSuffix(steps, "\r"), "\r") + 1
				if strings.Contains(line, "other") {
					last = len(steps)
				}
				return steps[:strings.Index(steps, "\r")] + "..." + steps[last:]
			})
		}
		for i, line := range lines {
			got := ours(generations[g.Name], strings.Fields(line))
			if got.code != want[i].code || got.err != want[i].err || shape(line, got.out) != shape(line, want[i].out) {
				t.Errorf("%s: we print %q\nqemu-img prints %q", line, got, want[i])
			}
			if steps := strings.Count(got.out, "\r"); strings.Contains(line, "data") && steps < 5 {
				t.Errorf("%s: there are %d steps in %q", line, steps, got.out)
			}
		}
	})
}
