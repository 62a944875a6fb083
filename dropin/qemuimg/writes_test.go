package qemuimg

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// writes are command lines that make t.img, or write into old.img.
var writes = []string{
	"create t.img 10M", "create -f raw t.img 1.5k", "create -f raw -o preallocation=full t.img 64k", "create -f raw -o preallocation=falloc t.img 64k", "create -q t.img 3M",
	"create -f qcow2 t.img 10M", "create -f qcow2 -b base.qcow2 -F qcow2 t.img", "create -f qcow2 -F qcow2 -b base.qcow2 t.img 32M",
	"create -f qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2 t.img", "create -f qcow2 -o compat=v3,size=1M t.img", "create -f qcow2 -o compat=0.10 t.img 1M",
	"create -f qcow2 -o cluster_size=4k,refcount_bits=8,compression_type=zstd,lazy_refcounts=on t.img 1M", "create -f qcow2 -o extended_l2=on -o cluster_size=128k t.img 1M",
	"create -f qcow2 -o preallocation=metadata t.img 3M", "create -f qcow2 -o preallocation=falloc t.img 1M", "create -f qcow2 -o preallocation=full t.img 1M",
	"create -f qcow2 -u -b base.qcow2 -F qcow2 t.img 1M", "create -f qcow2 -o cluster_size=2M t.img 100T",
	"convert top.qcow2 t.img", "convert -O qcow2 top.qcow2 t.img", "convert -O qcow2 -c top.qcow2 t.img", "convert -O qcow2 -c -o compression_type=zstd top.qcow2 t.img",
	"convert -O qcow2 -c data.raw t.img", "convert -O qcow2 -o cluster_size=512 top.qcow2 t.img", "convert -O qcow2 -o extended_l2=on,cluster_size=32k new.qcow2 t.img",
	"convert -O qcow2 -o compat=0.10 base.qcow2 t.img", "convert -O qcow2 -o preallocation=metadata base.qcow2 t.img",
	"convert -S 0 top.qcow2 t.img", "convert -S 64k top.qcow2 t.img", "convert -O qcow2 -S 0 data.raw t.img", "convert -l s1 base.qcow2 t.img", "convert -l snapshot.name=s1 -O qcow2 base.qcow2 t.img",
	"convert -O qcow2 -B base.qcow2 -F qcow2 top.qcow2 t.img", "convert -O qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2 top.qcow2 t.img",
	"convert hole.raw data.raw new.qcow2 t.img", "convert -O qcow2 data.raw base.qcow2 t.img", "convert -f qcow2 -O raw -t none -T none -W -m 4 -U base.qcow2 t.img",
	"convert --image-opts driver=qcow2,file.filename=top.qcow2 t.img", "convert -n top.qcow2 old.img", "convert -n hole.raw old.img", "convert -n -S 0 data.raw old.img",
	"convert -n --target-is-zero base.qcow2 zero.img", "convert -n base.qcow2 data.raw", "convert -m 1 -O qcow2 -c data.raw t.img", "convert -W -m 16 -O qcow2 -c top.qcow2 t.img", "convert -W top.qcow2 t.img", "convert -m 0x2 -W data.raw base.qcow2 t.img", "convert -c -O qcow2 -o preallocation=metadata base.qcow2 t.img", "convert --target-is-zero base.qcow2 t.img",
}

// volatile are lines of info that differ from copy to copy.
var volatile = regexp.MustCompile(`(?m)^ *(disk size|file length): .*\n`)

// TestWrites has both programs make the same image, and the real one compare
// and check them.
func TestWrites(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		theirDir, ourDir := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
		script := "mkdir theirs; cd theirs\n" + fixtures + `
			truncate -s 4M zero.img; qemu-io -f raw -c 'write -P 7 0 4M' -c 'write -z -u 1M 1M' old.img 2>/dev/null || { truncate -s 4M old.img; qemu-io -f raw -c 'write -P 7 0 4M' old.img >/dev/null; }
			cd ..; cp -a theirs ours`
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", script); res.Code != 0 {
			t.Fatal(res)
		}
		var lines []string
		for i, line := range writes {
			lines = append(lines, strings.Replace(line, "t.img", fmt.Sprintf("t%d.img", i), 1))
		}
		want := theirs(t, g, theirDir, lines)
		back := chdir(t, ourDir)
		for i, line := range lines {
			if got := ours(generations[g.Name], strings.Fields(line)); got != want[i] {
				t.Errorf("%s: we say:\n%v\nqemu-img says:\n%v", line, got, want[i])
			}
			if line == "convert -n top.qcow2 old.img" { // the next ones write over it
				copyFile(t, "old.img", "old1.img")
			}
		}
		back()
		t.Setenv("TZ", "UTC")
		compareImages(t, g, dir, want)
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// compareImages has the real program look at what both have made.
func compareImages(t *testing.T, g peertest.Generation, dir string, made []outcome) {
	t.Helper()
	var lines, names []string
	for i, line := range writes {
		if made[i].code != 0 {
			continue
		}
		name := fmt.Sprintf("t%d.img", i)
		if !strings.Contains(line, "t.img") {
			name = line[strings.LastIndex(line, " ")+1:]
		}
		both := []string{"info ours/" + name, "info theirs/" + name, "compare ours/" + name + " theirs/" + name, "check -q ours/" + name}
		lines = append(lines, both...)
		names = append(names, line)
	}
	results := theirs(t, g, dir, lines)
	for i, line := range names {
		ourInfo, theirInfo, compared, checked := results[4*i], results[4*i+1], results[4*i+2], results[4*i+3]
		a := volatile.ReplaceAllString(ourInfo.out, "")
		b := strings.ReplaceAll(volatile.ReplaceAllString(theirInfo.out, ""), "theirs/", "ours/")
		if a != b {
			t.Errorf("%s: of ours it says:\n%s\nof its own:\n%s", line, a, b)
		}
		if compared.code != 0 {
			t.Errorf("%s: compare: %v", line, compared)
		}
		if checked.code != 0 && checked.code != 63 {
			t.Errorf("%s: check: %v", line, checked)
		}
	}
}
