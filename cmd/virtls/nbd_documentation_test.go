package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/internal/peertest"
)

// The example of QEMU's documentation, word for word.
const (
	documentedServer = `qemu-nbd -t -x / --object tls-creds-psk,id=tls0,endpoint=server,dir=/tmp/keys --tls-creds tls0 image.qcow2`
	documentedClient = `qemu-img info --object tls-creds-psk,id=tls0,dir=/tmp/keys,username=rich,endpoint=client ` +
		`--image-opts file.driver=nbd,file.host=localhost,file.port=10809,file.tls-creds=tls0,file.export=/`
)

// TestDocumentedExample runs QEMU's documentation's example, with our programs on
// either side and on both, where /tmp and the network are its own.
func TestDocumentedExample(t *testing.T) {
	peertest.NeedRoot(t, "having a network of its own")
	// Programs see the test's temporary files, which are not to be their /tmp.
	t.Setenv("TMPDIR", t.TempDir())
	bin := dropIns(t, "qemu-nbd", "qemu-img")
	keys := filepath.Join(os.TempDir(), "keys")
	if err := errors.Join(os.Mkdir(keys, 0o700), os.WriteFile(filepath.Join(keys, "keys.psk"), []byte("rich:"+strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		path := map[string]string{"ours": bin + ":/usr/bin:/bin", "theirs": "/usr/bin:/bin"}
		for _, sides := range [][2]string{{"ours", "theirs"}, {"theirs", "ours"}, {"ours", "ours"}} {
			t.Run(sides[0]+" to "+sides[1], func(t *testing.T) {
				ownNetwork(t)
				with := func(side string) peertest.Options {
					return peertest.Options{Dir: t.TempDir(), Mounts: map[string]string{"/tmp/keys": keys}, Env: []string{"PATH=" + path[side], "GORACE=atexit_sleep_ms=0"}}
				}
				server, client := with(sides[0]), with(sides[1])
				if r := g.Run(t, peertest.Options{Dir: server.Dir}, "qemu-img", "create", "-q", "-f", "qcow2", "image.qcow2", "4M"); r.Code != 0 {
					t.Fatal(r)
				}
				s := g.Start(t, server, peertest.Listening(10809), "sh", "-c", documentedServer).Ready()
				r := g.Run(t, client, "sh", "-c", documentedClient)
				if r.Code != 0 || !strings.Contains(r.Stdout, "virtual size: 4 MiB (4194304 bytes)") || !strings.HasPrefix(r.Stdout, "image: nbd://localhost:10809//\nfile format: raw\n") {
					t.Error(r)
				}
				if sides[0] == "ours" {
					s.Until(peertest.Logged("served read-only"))
				}
				// Whoever has no key gets nowhere.
				if r := g.Run(t, client, "sh", "-c", "qemu-img info nbd://localhost:10809//"); r.Code != 1 || !strings.Contains(r.Stderr, "TLS negotiation required") {
					t.Error(r)
				}
			})
		}
	})
}

// dropIns returns a directory with this program under other names.
func dropIns(t *testing.T, names ...string) string {
	t.Helper()
	bin, err := os.MkdirTemp("", "bin")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(bin, name), data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// ownNetwork gives the test, and the programs that it starts, a network of its
// own. The thread has it until it ends, with the test.
func ownNetwork(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		peertest.Missing(t, "there can be no network of its own here: "+err.Error(), "run the test as root with CAP_SYS_ADMIN")
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestServesNoDiskInUse has nbd serve keep away from the disk of a guest.
func TestServesNoDiskInUse(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		if r := g.Run(t, peertest.Options{Dir: dir}, "sh", "-ec", "truncate -s 1M disk.raw; qemu-img create -q -f qcow2 disk.qcow2 1M"); r.Code != 0 {
			t.Fatal(r)
		}
		// What it prints last, it prints when its disks are open.
		g.Start(t, peertest.Options{Dir: dir, Stdin: strings.NewReader("info status\n")}, peertest.Logged("VM status: paused"), "qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults",
			"-display", "none", "-S", "-monitor", "stdio", "-drive", "if=virtio,format=raw,file=disk.raw", "-drive", "if=virtio,format=qcow2,file=disk.qcow2").Ready()
		for _, c := range []struct{ args, want string }{
			{"--format raw disk.raw", `disk.raw: Failed to get "write" lock`},
			{"--format qcow2 disk.qcow2", `disk.qcow2: Failed to get shared "write" lock`},
			{"disk.qcow2", `disk.qcow2: Failed to get shared "write" lock`},
		} {
			args := append([]string{"10", "virtls", "nbd", "serve", "--listen", "nbd+unix:///?socket=s"}, strings.Fields(c.args)...)
			_, stderr, err := execute(dir, "timeout", args...)
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 3 || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "nbd-disk-in-use") {
				t.Errorf("%s: %v\n%s", c.args, err, stderr)
			}
		}
	})
}
