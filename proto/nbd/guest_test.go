package nbd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/nbd"
)

// bootSector is a guest: it reads sector 1 of its disk, inverts it, writes it to
// sector 2 and says so on the serial port.
func bootSector() []byte {
	code := []byte{
		0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xfb, // cli; ds=es=ss=0; sp=7c00; sti
		0x88, 0x16, 0x00, 0x05, // mov [0500], dl: the disk
		0xb8, 0x01, 0x02, 0xb9, 0x02, 0x00, 0x30, 0xf6, 0xbb, 0x00, 0x80, 0xcd, 0x13, // int 13h: read 1 sector, number 2 from 1, to 8000
		0x72, 0x28, // jc fail
		0xbe, 0x00, 0x80, 0xb9, 0x00, 0x02, // si=8000, cx=512
		0xf6, 0x14, 0x46, 0xe2, 0xfb, // not byte [si]; inc si; loop
		0xb8, 0x01, 0x03, 0xb9, 0x03, 0x00, 0x30, 0xf6, 0x8a, 0x16, 0x00, 0x05, 0xbb, 0x00, 0x80, 0xcd, 0x13, // int 13h: write it to number 3
		0x72, 0x09, // jc fail
		0xba, 0xf8, 0x03, 0xb0, 'Y', 0xee, // out 3f8, 'Y'
		0xf4, 0xeb, 0xfd, // hlt; jmp back
		0xba, 0xf8, 0x03, 0xb0, 'N', 0xee, // fail: out 3f8, 'N'
		0xf4, 0xeb, 0xfd,
	}
	sector := make([]byte, 512)
	copy(sector, code)
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

// TestGuestDisk boots a guest from an export of ours, with TLS, that reads a
// sector of it and writes another.
func TestGuestDisk(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		s := securities[2]
		path, content := rawFile(t, 1<<20)
		copy(content, bootSector())
		copy(content[512:1024], bytes.Repeat([]byte("virtls!\n"), 64))
		must(t, os.WriteFile(path, content, 0o600))
		port := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), Exports: []nbd.Export{{Name: "guest", Device: openFile(t, path, true)}}})
		guest := g.Start(t, peertest.Options{}, peertest.Logged("Y"), "qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults", "-display", "none",
			"-serial", "stdio", "-object", s.qemuObject(t, creds.Client),
			"-blockdev", fmt.Sprintf("driver=nbd,node-name=d,server.type=inet,server.host=localhost,server.port=%d,export=guest,tls-creds=tls0", port),
			"-device", "ide-hd,drive=d").Ready()
		guest.Kill()
		want := bytes.Clone(content[512:1024])
		for i := range want {
			want[i] = ^want[i]
		}
		got := value(os.ReadFile(path))
		if !bytes.Equal(got[1024:1536], want) {
			t.Errorf("sector 2 is %q", got[1024:1060])
		}
	})
}

// TestPullBackup takes a backup of a guest's disk from QEMU's own export: a
// snapshot of the moment that is pulled over TLS while the guest may go on.
func TestPullBackup(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		s := securities[1]
		path, content := rawFile(t, 1<<20)
		fleece := filepath.Join(t.TempDir(), "fleece.qcow2")
		if r := g.Run(t, peertest.Options{}, "qemu-img", "create", "-f", "qcow2", fleece, "1M"); r.Code != 0 {
			t.Fatal(r)
		}
		qmp := filepath.Join(peertest.SocketDir(t), "qmp")
		g.Start(t, peertest.Options{}, peertest.ListeningUnix(qmp), "qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults", "-display", "none", "-S",
			"-qmp", "unix:"+qmp+",server=on,wait=off", "-object", s.qemuObject(t, creds.Server),
			"-blockdev", "driver=raw,node-name=disk,file.driver=file,file.filename="+path, "-device", "ide-hd,drive=disk",
			"-blockdev", "driver=qcow2,node-name=fleece,backing=disk,file.driver=file,file.filename="+fleece).Ready()
		port := peertest.FreePort(t)
		c := value(net.Dial("unix", qmp))
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		in := json.NewDecoder(c)
		var hello map[string]any
		must(t, in.Decode(&hello))
		for _, command := range []string{
			`{"execute":"qmp_capabilities"}`,
			`{"execute":"blockdev-backup","arguments":{"job-id":"b","device":"disk","target":"fleece","sync":"none"}}`,
			fmt.Sprintf(`{"execute":"nbd-server-start","arguments":{"addr":{"type":"inet","data":{"host":"127.0.0.1","port":"%d"}},"tls-creds":"tls0"}}`, port),
			`{"execute":"block-export-add","arguments":{"type":"nbd","id":"e","node-name":"fleece","name":"backup"}}`,
		} {
			_, err := c.Write([]byte(command))
			must(t, err)
			for answered := false; !answered; {
				var m map[string]any
				must(t, in.Decode(&m))
				if m["error"] != nil {
					t.Fatalf("%s: %v", command, m["error"])
				}
				_, answered = m["return"]
			}
		}
		target := nbd.Target{Network: "tcp", Host: "127.0.0.1", Port: strconv.Itoa(port), Export: "backup"}
		export, err := target.Connect(t.Context(), nbd.Options{Secure: s.secure(t, creds.Client)})
		must(t, err)
		defer export.Close()
		out := filepath.Join(t.TempDir(), "backup.raw")
		must(t, os.WriteFile(out, nil, 0o600))
		must(t, os.Truncate(out, 1<<20))
		must(t, nbd.Copy(t.Context(), []nbd.Device{openFile(t, out, true)}, []nbd.Device{export}, nbd.CopyOptions{Blank: true}))
		if got := value(os.ReadFile(out)); !bytes.Equal(got, content) {
			t.Error("the backup is not the disk")
		}
		if info := value(os.Stat(out)); info.Sys().(*syscall.Stat_t).Blocks*512 > 3<<18 {
			t.Errorf("the backup takes %d octets, with zeroes among them", info.Sys().(*syscall.Stat_t).Blocks*512)
		}
	})
}

// TestNbdsh has libnbd's shell ask for single requests.
func TestNbdsh(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		path, content := rawFile(t, 1<<20)
		port := serve(t, &nbd.Server{Exports: []nbd.Export{{Name: "disk", Device: openFile(t, path, true)}}})
		const script = `
assert h.get_size() == 1048576
assert h.can_multi_conn() and h.can_flush() and h.can_fua() and h.can_trim() and h.can_zero() and h.can_fast_zero() and h.can_cache() and h.can_df()
h.pwrite(b'x' * 1000, 100, nbd.CMD_FLAG_FUA)
assert h.pread(1002, 99) == b'\0' + b'x' * 1000 + b'\0'
assert h.pread_structured(4096, 0, lambda *a: None, nbd.CMD_FLAG_DF)[100:1100] == b'x' * 1000
h.zero(500, 100, nbd.CMD_FLAG_NO_HOLE)
h.trim(4096, 262144)
h.cache(4096, 0)
h.flush()
assert not hasattr(h, 'get_extended_headers_negotiated') or h.get_extended_headers_negotiated()
for f in (lambda: h.pread(2, 1048575), lambda: h.pwrite(b'xx', 1048575)):
    try:
        f()
    except nbd.Error as e:
        pass
    else:
        assert False
print("all well")
`
		r := g.Run(t, peertest.Options{}, "nbdsh", "-u", fmt.Sprintf("nbd://localhost:%d/disk", port), "-c", script)
		if r.Code != 0 || !strings.Contains(r.Stdout, "all well") {
			t.Error(r)
		}
		clear(content[262144 : 262144+4096])
		copy(content[100:1100], append(make([]byte, 500), bytes.Repeat([]byte("x"), 500)...))
		if got := value(os.ReadFile(path)); !bytes.Equal(got, content) {
			t.Error("the file does not hold what was written")
		}
	})
}

// TestServerKilled writes and flushes, and kills the server: what was flushed is
// there. Loss of power is not tested.
func TestServerKilled(t *testing.T) {
	path, content := rawFile(t, 1<<20)
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHelperServer$")
		cmd.Env = append(os.Environ(), "VIRTLS_NBD_SERVE="+path)
		out := value(cmd.StdoutPipe())
		must(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill() })
		var port int
		if _, err := fmt.Fscanf(out, "port %d\n", &port); err != nil {
			t.Fatal(err)
		}
		conn := value(net.Dial("tcp", address(port)))
		c, err := nbd.NewClient(t.Context(), conn, nbd.Options{})
		must(t, err)
		for i := range 20 {
			part := content[(round*20+i)*4096:][:4096]
			for k := range part {
				part[k] = byte(round*20 + i)
			}
			_, err := c.WriteAt(part, int64(round*20+i)*4096)
			must(t, err)
		}
		must(t, c.Flush())
		// More is written and flushed when it is killed, whenever that is.
		flushed := make(chan int, 1)
		go func() {
			n := 0
			for ; n < 64; n++ {
				part := bytes.Repeat([]byte{byte(100 + n)}, 4096)
				if _, err := c.WriteAt(part, 1<<19+int64(n)*4096); err != nil || c.Flush() != nil {
					break
				}
			}
			flushed <- n
		}()
		time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		safe := <-flushed
		_ = c.Close()
		got := value(os.ReadFile(path))
		if !bytes.Equal(got[:1<<19], content[:1<<19]) {
			t.Fatalf("round %d: something is lost", round)
		}
		for n := range safe {
			if at := 1<<19 + n*4096; !bytes.Equal(got[at:at+4096], bytes.Repeat([]byte{byte(100 + n)}, 4096)) {
				t.Fatalf("round %d: write %d of %d that were flushed is lost", round, n, safe)
			}
		}
	}
}

// TestHelperServer is the server that TestServerKilled kills.
func TestHelperServer(t *testing.T) {
	path := os.Getenv("VIRTLS_NBD_SERVE")
	if path == "" {
		return // it is run by TestServerKilled
	}
	l := value(net.Listen("tcp", "127.0.0.1:0"))
	fmt.Printf("port %d\n", l.Addr().(*net.TCPAddr).Port)
	d := value(nbd.OpenFile(path, nbd.FileOptions{Write: true}))
	must(t, (&nbd.Server{Exports: []nbd.Export{{Device: d}}}).Serve(t.Context(), l))
}
