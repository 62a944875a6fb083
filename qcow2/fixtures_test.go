package qcow2_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// A recipe makes an image with qemu-img and qemu-io.
type recipe struct {
	name    string
	options string // for qemu-img create
	size    int64
	base    string // name of the recipe of the backing file
	format  string // of the image; empty: qcow2
	steps   []string
	// writes is the number of random operations, in units of a grain of bytes.
	writes int
	grain  int64
	// extra are made only if VIRTLS_INTEROP is full: the others have every feature once.
	extra bool
}

// recipes cover what qemu-img makes; what others are built on comes first.
var recipes = []recipe{
	{name: "default", size: 5<<20 + 512, writes: 30, grain: 4096},
	{name: "v2", options: "compat=0.10", size: 4 << 20, writes: 20, grain: 4096},
	{name: "c512", options: "cluster_size=512", size: 300 << 10, writes: 40, grain: 512},
	{name: "c2M", options: "cluster_size=2M", size: 9 << 20, writes: 10, grain: 65536, extra: true},
	{name: "l2", options: "extended_l2=on", size: 4 << 20, writes: 60, grain: 2048},
	{name: "l2-16k", options: "extended_l2=on,cluster_size=16k", size: 2 << 20, writes: 60, grain: 512, extra: true},
	{name: "zstd", options: "compression_type=zstd", size: 4 << 20, writes: 20, grain: 65536, steps: []string{"write -c -P 7 1M 128k", "write -c -P 8 2M 64k"}},
	{name: "deflate", size: 4 << 20, writes: 10, grain: 65536, steps: []string{"write -c -P 7 1M 128k", "write -c -P 8 2M 64k", "write -P 9 2M 4k"}},
	{name: "refcount1", options: "refcount_bits=1", size: 4 << 20, writes: 20, grain: 4096},
	{name: "refcount2", options: "refcount_bits=2", size: 4 << 20, writes: 20, grain: 4096, extra: true},
	{name: "refcount64", options: "refcount_bits=64,cluster_size=4k", size: 2 << 20, writes: 20, grain: 4096, extra: true},
	{name: "lazy", options: "lazy_refcounts=on", size: 4 << 20, writes: 20, grain: 4096, extra: true},
	{name: "prealloc", options: "preallocation=metadata", size: 4 << 20, writes: 20, grain: 4096, extra: true},
	{name: "prealloc-l2", options: "preallocation=metadata,extended_l2=on", size: 4 << 20, writes: 20, grain: 2048},
	{name: "falloc", options: "preallocation=falloc", size: 1 << 20, writes: 4, grain: 4096, extra: true},
	{name: "raw", format: "raw", size: 3<<20 + 1000, writes: 15, grain: 4096},
	{name: "on-raw", base: "raw", size: 5 << 20, writes: 15, grain: 4096},
	{name: "on-default", base: "default", size: 4 << 20, writes: 15, grain: 4096},
	{name: "on-on-default", base: "on-default", size: 6 << 20, options: "cluster_size=4k", writes: 15, grain: 4096},
	{name: "v2-on-v2", base: "v2", options: "compat=0.10", size: 4 << 20, writes: 15, grain: 4096, extra: true},
	{name: "l2-on-l2", base: "l2", options: "extended_l2=on", size: 4 << 20, writes: 40, grain: 2048},
	{name: "empty", size: 1 << 20, extra: true},
	{name: "huge", size: 1 << 50, options: "cluster_size=2M", steps: []string{"write -P 3 1000T 64k"}},
}

// wanted leaves out what only the full run has.
func wanted[T any](list []T, extra func(T) bool) []T {
	if full() {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), extra)
}

// operations returns random operations of qemu-io on the recipe's disk.
func (r recipe) operations(seed uint64) []string {
	rnd := rand.New(rand.NewPCG(seed, uint64(len(r.name))))
	ops := append([]string{}, r.steps...)
	for range r.writes {
		units := r.size / r.grain
		length := min(rnd.Int64N(24)+1, units)
		at := rnd.Int64N(units - length + 1)
		where := fmt.Sprintf("%d %d", at*r.grain, length*r.grain)
		switch n := rnd.IntN(8); {
		case n == 0 && r.kind() != "raw": // room without data becomes data once it was read
			ops = append(ops, "write -z "+where)
		case n <= 1:
			ops = append(ops, "write -z -u "+where)
		case n == 2:
			ops = append(ops, "discard "+where)
		default:
			ops = append(ops, fmt.Sprintf("write -P %d %s", rnd.IntN(255)+1, where))
		}
	}
	return ops
}

func (r recipe) kind() string {
	if r.format != "" {
		return r.format
	}
	return "qcow2"
}

// script returns the shell commands that make the image, its raw copy, its map
// and its check in the working directory.
func (r recipe) script(seed uint64) string {
	var b strings.Builder
	create := "qemu-img create -q -f " + r.kind()
	if r.options != "" {
		create += " -o " + r.options
	}
	for _, base := range recipes {
		if base.name == r.base {
			create += " -b " + base.name + ".img -F " + base.kind()
		}
	}
	fmt.Fprintf(&b, "%s %s.img %d\n", create, r.name, r.size)
	if ops := r.operations(seed); len(ops) > 0 {
		fmt.Fprintf(&b, "qemu-io -d unmap -f %s", r.kind())
		for _, op := range ops {
			fmt.Fprintf(&b, " -c '%s'", op)
		}
		fmt.Fprintf(&b, " %s.img >%s.log\n", r.name, r.name)
	}
	// Holes move while a file system writes back.
	fmt.Fprintf(&b, "sync %s.img\n", r.name)
	if r.name != "huge" {
		fmt.Fprintf(&b, "qemu-img convert -f %s -O raw %s.img %s.copy\n", r.kind(), r.name, r.name)
	}
	fmt.Fprintf(&b, "qemu-img map -f %s --output=json %s.img >%s.map\n", r.kind(), r.name, r.name)
	if r.kind() == "qcow2" {
		fmt.Fprintf(&b, "qemu-img check --output=json %s.img >%s.check\n", r.name, r.name)
	}
	return b.String()
}

// makeImages makes images with the programs of a generation, and returns their
// directory.
func makeImages(t *testing.T, g peertest.Generation, list []recipe, seed uint64) string {
	t.Helper()
	dir := t.TempDir()
	for _, r := range list {
		run(t, g, dir, r.script(seed))
	}
	return dir
}

// run runs a shell script in a directory.
func run(t testing.TB, g peertest.Generation, dir, script string) peertest.Result {
	t.Helper()
	res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", script)
	if res.Code != 0 {
		t.Fatal(res)
	}
	return res
}

func image(dir, name string) string { return filepath.Join(dir, name+".img") }
