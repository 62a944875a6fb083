package qemunbd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/dropin"
	"virtls/dropin/qemuimg"
	"virtls/internal/peertest"
)

// guest starts a machine that has disks, and waits until it has locked them:
// only then does it answer on its monitor.
func guest(t *testing.T, g peertest.Generation, dir string, disks ...string) *peertest.Proc {
	t.Helper()
	args := []string{"-accel", "tcg", "-m", "16", "-nodefaults", "-display", "none", "-S", "-monitor", "stdio"}
	for _, d := range disks {
		args = append(args, "-drive", "if=virtio,file="+d)
	}
	return g.Start(t, peertest.Options{Dir: dir, Stdin: strings.NewReader("info status\n")}, peertest.Logged("VM status: paused"), "qemu-system-x86_64", args...).Ready()
}

// used are command lines about disks that a guest writes to.
var used = []string{
	"qemu-nbd -f raw disk.raw", "qemu-nbd -r -f qcow2 disk.qcow2", "qemu-nbd -r -f qcow2 over.qcow2",
	"qemu-img info disk.qcow2", "qemu-img info -U disk.qcow2", "qemu-img info disk.raw", "qemu-img info --backing-chain over.qcow2",
	"qemu-img info --image-opts driver=qcow2,file.filename=disk.qcow2,force-share=on", "qemu-img info --image-opts driver=qcow2,file.filename=disk.qcow2,file.locking=off",
	"qemu-img check disk.qcow2", "qemu-img check -U disk.qcow2", "qemu-img check over.qcow2", "qemu-img map -f raw disk.raw", "qemu-img map disk.qcow2",
	"qemu-img compare -f raw -F raw disk.raw other.raw", "qemu-img compare other.raw disk.qcow2", "qemu-img compare -U -f raw other.raw disk.qcow2",
	"qemu-img convert -f raw -O raw disk.raw x.raw", "qemu-img convert -f raw -O raw -U disk.raw x.raw", "qemu-img convert -O raw disk.qcow2 x.raw",
	"qemu-img convert -n -f raw -O raw other.raw disk.raw", "qemu-img convert -f raw -O raw other.raw disk.raw", "qemu-img convert -f raw -O qcow2 other.raw disk.qcow2",
	"qemu-img create -q -f raw disk.raw 2M", "qemu-img create -q -f qcow2 disk.qcow2 1M",
}

// TestLocks has our programs keep away from disks that guests use in QEMU's
// words, and guests and QEMU's tools from disks that we serve.
func TestLocks(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		const make = `truncate -s 1M disk.raw other.raw; printf data | dd of=disk.raw conv=notrunc status=none
			qemu-img create -q -f qcow2 disk.qcow2 1M; qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 over.qcow2; sync *.raw *.qcow2`
		if res := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", make); res.Code != 0 {
			t.Fatal(res)
		}
		running := guest(t, g, dir, "disk.raw,format=raw", "disk.qcow2,format=qcow2")
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range used {
			args := strings.Fields(line)
			theirs := g.Run(t, peertest.Options{Dir: dir}, "timeout", append([]string{"20"}, args...)...)
			if err := os.Chdir(dir); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			run := qemuimg.Run
			if args[0] == "qemu-nbd" {
				run = func(args []string, std dropin.IO) int {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					return runAs(ctx, newest, args, std)
				}
			}
			code := run(args[1:], dropin.IO{In: strings.NewReader(""), Out: &out, Err: &errs})
			if err := os.Chdir(wd); err != nil {
				t.Fatal(err)
			}
			if code != theirs.Code || errs.String() != theirs.Stderr {
				t.Errorf("%s: %d: %s\nthe real one: %v", line, code, errs.String(), theirs)
			}
		}
		if data, err := os.ReadFile(filepath.Join(dir, "disk.raw")); err != nil || !bytes.HasPrefix(data, []byte("data")) {
			t.Errorf("the guest's disk has changed: %v", err)
		}
		running.Kill()

		serve(t, "-t", "-k", filepath.Join(peertest.SocketDir(t), "s"), "-f", "raw", filepath.Join(dir, "disk.raw"))
		serve(t, "-t", "-k", filepath.Join(peertest.SocketDir(t), "s"), "-r", "-f", "qcow2", filepath.Join(dir, "over.qcow2"))
		for _, c := range []struct{ line, want string }{
			{"qemu-system-x86_64 -accel tcg -m 16 -nodefaults -display none -S -drive if=virtio,format=raw,file=disk.raw", `Failed to get shared "write" lock`},
			{"qemu-system-x86_64 -accel tcg -m 16 -nodefaults -display none -S -drive if=virtio,format=qcow2,file=over.qcow2", `Failed to get "write" lock`},
			{"qemu-system-x86_64 -accel tcg -m 16 -nodefaults -display none -S -drive if=virtio,format=qcow2,file=disk.qcow2", `Failed to get "write" lock`},
			{"qemu-img convert -f raw -O raw disk.raw x.raw", `Failed to get shared "write" lock`},
			{"qemu-img resize -f raw disk.raw 2M", `Failed to get "resize" lock`},
			{"qemu-img check over.qcow2", ""}, // both only read
		} {
			res := g.Run(t, peertest.Options{Dir: dir}, "timeout", append([]string{"20"}, strings.Fields(c.line)...)...)
			if (res.Code == 0) != (c.want == "") || !strings.Contains(res.Stderr, c.want) {
				t.Errorf("while we serve: %s: %v", c.line, res)
			}
		}
	})
}
