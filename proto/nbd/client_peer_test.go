package nbd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/nbd"
)

// Servers of others, each serving a file of its own under the name disk.
var peerServers = []struct {
	name  string
	start func(t *testing.T, g peertest.Generation, s security, path string) *peertest.Proc
}{
	{"qemu-nbd", func(t *testing.T, g peertest.Generation, s security, path string) *peertest.Proc {
		args := []string{"--format=raw", "--export-name=disk", "--description=a disk", "--shared=4", "--discard=unmap", "--detect-zeroes=off"}
		if s.kind != "" {
			args = append(args, "--object", s.qemuObject(t, creds.Server), "--tls-creds=tls0")
		}
		return g.QemuNBD(t, peertest.Options{}, append(args, path)...)
	}},
	{"nbdkit", func(t *testing.T, g peertest.Generation, s security, path string) *peertest.Proc {
		var args []string
		switch {
		case s.kind == "tls-creds-psk":
			args = []string{"--tls=require", "--tls-psk=" + filepath.Join(credDir(t), "keys.psk")}
		case s.kind != "":
			args = []string{"--tls=require", "--tls-certificates=" + credDir(t)}
			if s.clientLacks == nil {
				args = append(args, "--tls-verify-peer")
			}
		}
		return g.Nbdkit(t, peertest.Options{}, append(args, "file", path)...)
	}},
}

// TestOurClientUsesServers reads and writes exports of qemu-nbd's and nbdkit's.
func TestOurClientUsesServers(t *testing.T) {
	const size = 4 << 20
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, server := range peerServers {
			t.Run(server.name, func(t *testing.T) {
				eachSecurity(t, func(t *testing.T, s security) {
					path, content := rawFile(t, size)
					target := nbd.Target{Network: "tcp", Host: "127.0.0.1", Port: fmt.Sprint(server.start(t, g, s, path).Ready().Port), Export: "disk"}
					for _, shape := range []nbd.Replies{nbd.AnyReplies, nbd.StructuredReplies, nbd.SimpleReplies} {
						c, err := target.Connect(context.Background(), nbd.Options{Secure: s.secure(t, creds.Client), Replies: shape})
						must(t, err)
						useExport(t, c, shape, content)
						must(t, c.Close())
						if got := value(os.ReadFile(path)); !bytes.Equal(got, content) {
							t.Fatalf("replies %d: the file does not hold what was written", shape)
						}
					}
				})
			})
		}
	})
}

// useExport does all that a client can do, and with the content what the export
// should have become.
func useExport(t *testing.T, c *nbd.Client, shape nbd.Replies, content []byte) {
	t.Helper()
	size := int64(len(content))
	if c.Size() != size {
		t.Fatalf("a size of %d, want %d", c.Size(), size)
	}
	got := make([]byte, size)
	if n, err := c.ReadAt(got, 0); err != nil || n != len(got) || !bytes.Equal(got, content) {
		t.Fatalf("read %d octets (error %v), or others than there are", n, err)
	}
	if shape != nbd.SimpleReplies {
		all := value(c.Extents(0, size, 100))
		if all[0].Length < size/4 && shape == nbd.AnyReplies {
			t.Errorf("the first extent is %+v", all[0])
		}
	}
	fresh := bytes.Repeat([]byte{byte(shape) + 1}, 70000)
	at := size/2 + int64(shape)*100000
	_, err := c.Write(fresh, at, nbd.FUA)
	must(t, err)
	copy(content[at:], fresh)
	must(t, c.WriteZeroes(size/4, 65536, nbd.NoHole))
	must(t, c.WriteZeroes(size/4+65536, 65536, 0))
	clear(content[size/4 : size/4+131072])
	must(t, c.Trim(size/4, 65536))
	if c.Flags().Has(nbd.SendCache) {
		must(t, c.Cache(0, 65536))
	}
	must(t, c.Flush())
	back := make([]byte, len(fresh))
	if _, err := c.ReadAt(back, at); err != nil || !bytes.Equal(back, fresh) {
		t.Errorf("what was written is not read back (error %v)", err)
	}
}
