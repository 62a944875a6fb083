package qemuimg

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/dropin"
	"virtls/internal/peertest"
)

// generations are the rows of the table by the release that has them.
var generations = map[string]generation{"host": qemu72, "trixie": qemu100, "forky": qemu111}

// fixtures makes the images that the tests look at.
const fixtures = `
	qemu-img create -q -f qcow2 base.qcow2 4M
	qemu-io -c 'write -P 1 0 64k' -c 'write -P 2 1M 128k' -c 'write -z 3M 64k' -c 'discard 1M 64k' base.qcow2 >/dev/null
	qemu-img snapshot -c s1 base.qcow2
	qemu-io -c 'write -P 9 2M 64k' base.qcow2 >/dev/null
	qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
	qemu-io -c 'write -P 3 128k 64k' top.qcow2 >/dev/null
	qemu-img bitmap --add top.qcow2 bm0
	qemu-img create -q -f qcow2 -u -b none -F raw orphan.qcow2 1M
	mkdir dir
	qemu-img create -q -f qcow2 -u -b ../base.qcow2 -F qcow2 dir/over.qcow2 4M
	qemu-img create -q -f qcow2 -o compat=0.10 old.qcow2 1M
	qemu-img create -q -f qcow2 -o extended_l2=on,compression_type=zstd,refcount_bits=8,lazy_refcounts=on new.qcow2 1M
	qemu-io -c 'write -c -P 5 0 64k' new.qcow2 >/dev/null
	truncate -s 1000000 hole.raw
	printf text | dd of=data.raw bs=1 seek=70000 status=none
	cp base.qcow2 leak.qcow2; printf '\0\1' | dd of=leak.qcow2 bs=1 seek=131122 conv=notrunc status=none
	truncate -s 2M leak.qcow2
	cp base.qcow2 bad.qcow2; printf '\0\0' | dd of=bad.qcow2 bs=1 seek=131074 conv=notrunc status=none
	cp old.qcow2 version9.qcow2; printf '\011' | dd of=version9.qcow2 bs=1 seek=7 conv=notrunc status=none
	cp new.qcow2 feature.qcow2; printf '\200' | dd of=feature.qcow2 bs=1 seek=72 conv=notrunc status=none
	cp old.qcow2 cut.qcow2; printf '\377\377\377\377' | dd of=cut.qcow2 bs=1 seek=36 conv=notrunc status=none
	sync *.qcow2 *.raw
`

// same are command lines that print the same as the real program and change nothing.
var same = []string{
	"info base.qcow2", "info --output=json base.qcow2", "info -f qcow2 --output json base.qcow2", "info -U old.qcow2", "info --output=json old.qcow2",
	"info new.qcow2", "info --output=json new.qcow2", "info --backing-chain top.qcow2", "info --output=json --backing-chain top.qcow2",
	"info top.qcow2", "info dir/over.qcow2", "info --backing-chain dir/over.qcow2", "info --output=json dir/over.qcow2", "info hole.raw", "info --output=json hole.raw", "info data.raw", "info file:base.qcow2",
	"info -f raw base.qcow2", "info --image-opts driver=qcow2,file.filename=base.qcow2", "info --image-opts file.filename=base.qcow2",
	"info --image-opts driver=file,filename=base.qcow2", `info json:{"driver":"raw","file":{"driver":"file","filename":"hole.raw"}}`,
	"info version9.qcow2", "check feature.qcow2", "map cut.qcow2", "convert feature.qcow2 x.raw", "compare cut.qcow2 base.qcow2", "info --output=json feature.qcow2", "check -f qcow2 hole.raw",
	"info none", "info .", "info foo:bar", "info --image-opts base.qcow2", "info --image-opts -f raw base.qcow2", "info --output=xml base.qcow2",
	"info", "info a b", "info --bad", "info -x", "info -f", "info -f nosuch base.qcow2", "info -f qcow2 hole.raw", "",
	"nosuch", "--nosuch", "info --object nosuch,id=x base.qcow2", "info --object secret base.qcow2",
	"map top.qcow2", "map --output=json top.qcow2", "map --output=json base.qcow2", "map --output=json hole.raw", "map --output=json data.raw", "map data.raw",
	"map --output=json new.qcow2", "map new.qcow2", "map --output=json -s 1M -l 128k base.qcow2", "map --output=json --start-offset=1M --max-length=128k base.qcow2", "map none", "map",
	"check base.qcow2", "check --output=json base.qcow2", "check new.qcow2", "check --output=json new.qcow2", "check -q base.qcow2", "check hole.raw", "check none",
	"check orphan.qcow2", "map orphan.qcow2", "info orphan.qcow2", "info --backing-chain orphan.qcow2", "check leak.qcow2", "check --output=json leak.qcow2", "check bad.qcow2", "check --output=json bad.qcow2", "check -q leak.qcow2",
	"compare base.qcow2 top.qcow2", "compare base.qcow2 base.qcow2", "compare -q base.qcow2 top.qcow2", "compare hole.raw old.qcow2", "compare -s hole.raw old.qcow2",
	"compare hole.raw base.qcow2", "compare none base.qcow2", "compare base.qcow2 none", "compare base.qcow2", "compare -f qcow2 -F raw base.qcow2 hole.raw",
	"convert base.qcow2", "convert -c base.qcow2 x.raw", "convert -O nosuch base.qcow2 x.raw", "convert -f nosuch base.qcow2 x.raw", "convert -O qcow2 -o foo=1 base.qcow2 x.raw",
	"convert -O qcow2 -o cluster_size=3 base.qcow2 x.raw", "convert -O qcow2 -l nosuch base.qcow2 x.raw", "convert -n base.qcow2 none", "convert -S 3 base.qcow2 x.raw", "convert none x.raw", "convert -m 0 base.qcow2 x.raw", "convert -m 17 base.qcow2 x.raw", "convert -m 2x base.qcow2 x.raw", "convert -m 99999999999999999999 base.qcow2 x.raw", "convert -p none x.raw", "convert -C -S 4k base.qcow2 x.raw", "convert -C -c -O qcow2 base.qcow2 x.raw",
	"create x.qcow2", "create x.raw 1x", "create x.raw 1 2", "create -f qcow2 -b none x.qcow2", "create -f qcow2 -b none -F qcow2 x.qcow2", "create -f qcow2 -b base.qcow2 x.qcow2",
	"create -q -f qcow2 -o compat=0.10,lazy_refcounts=on x.qcow2 1M", "create /nodir/f.raw 5", "create -f qcow2 -o compat=0.9 x.qcow2 1M", "create -f qcow2 -o preallocation=foo x.qcow2 1M",
	"create -f nosuch x 1M", "create",
}

// outcome is what a run left behind.
type outcome struct {
	out, err string
	code     int
}

func (o outcome) String() string { return fmt.Sprintf("%s[stderr]\n%s[exit %d]", o.out, o.err, o.code) }

// ours runs the command line with the imitation.
func ours(g generation, args []string) outcome {
	var out, err bytes.Buffer
	code := runAs(g, args, dropin.IO{In: strings.NewReader(""), Out: &out, Err: &err})
	return outcome{out.String(), err.String(), code}
}

// theirs runs command lines with the real program.
func theirs(t *testing.T, g peertest.Generation, dir string, lines []string) []outcome {
	t.Helper()
	results := t.TempDir()
	var script strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&script, "qemu-img %s >%s/%d.out 2>%s/%d.err; echo $? >%s/%d.code\n", quoteAll(line), results, i, results, i, results, i)
	}
	res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-c", script.String())
	if res.Code != 0 {
		t.Fatal(res)
	}
	list := make([]outcome, len(lines))
	for i := range lines {
		read := func(suffix string) string {
			data, err := os.ReadFile(filepath.Join(results, fmt.Sprint(i, suffix)))
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		list[i] = outcome{out: read(".out"), err: read(".err")}
		fmt.Sscan(read(".code"), &list[i].code)
	}
	return list
}

func quoteAll(line string) string {
	var words []string
	for _, w := range strings.Fields(line) {
		words = append(words, "'"+w+"'")
	}
	return strings.Join(words, " ")
}

// TestSame compares output and exit codes of commands with every generation's.
func TestSame(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", fixtures); res.Code != 0 {
			t.Fatal(res)
		}
		want := theirs(t, g, dir, same)
		t.Chdir(dir) // where other programs may not write from now on
		t.Setenv("TZ", "UTC")
		for i, line := range same {
			t.Run(strings.ReplaceAll(line, ",", " "), func(t *testing.T) {
				if got := ours(generations[g.Name], strings.Fields(line)); got != want[i] {
					t.Errorf("we say:\n%v\nqemu-img says:\n%v", got, want[i])
				}
			})
		}
	})
}
