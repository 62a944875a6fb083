package nbd_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"virtls/creds"
	"virtls/proto/nbd"
)

// TestShrunkFile reads where a file has become shorter: an error of the request,
// not of the connection.
func TestShrunkFile(t *testing.T) {
	for _, s := range securities[:3] {
		for _, shape := range []nbd.Replies{nbd.AnyReplies, nbd.StructuredReplies, nbd.SimpleReplies} {
			path, _ := rawFile(t, 1<<20)
			port := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), Exports: []nbd.Export{{Device: openFile(t, path, false)}}})
			c, err := connect(t, port, "", nbd.Options{Secure: s.secure(t, creds.Client), Replies: shape})
			must(t, err)
			must(t, os.Truncate(path, 300<<10))
			if _, err := c.ReadAt(make([]byte, 128<<10), 256<<10); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s, replies %d: read gives %v", s.name, shape, err)
			}
			if _, err := c.ReadAt(make([]byte, 4096), 256<<10); err != nil {
				t.Errorf("%s, replies %d: the next read gives %v", s.name, shape, err)
			}
		}
	}
}

// TestStreams reads pieces of a file of sizes around those at which it is read
// and sent piece by piece, over every kind of connection.
func TestStreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.raw")
	content := make([]byte, 3<<20)
	rand.Read(content)
	writeFile(t, path, content)
	d := openFile(t, path, false)
	sizes := []int{1, 32<<10 - 1, 32 << 10, 64<<10 - 100, 64<<10 - 28, 64 << 10, 64<<10 + 1, 64<<10 + 20, 64<<10 + 100, 128<<10 - 28, 128 << 10, 200_001, 1 << 20, 2<<20 + 17}
	eachSecurity(t, func(t *testing.T, s security) {
		server := &nbd.Server{Secure: s.secure(t, creds.Server), Exports: []nbd.Export{{Device: d}}}
		port := serve(t, server)
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
		must(t, err)
		serveOn(t, server, l)
		for _, shape := range []nbd.Replies{nbd.AnyReplies, nbd.StructuredReplies, nbd.SimpleReplies} {
			o := nbd.Options{Secure: s.secure(t, creds.Client), Replies: shape}
			tcp, err := connect(t, port, "", o)
			must(t, err)
			unix, err := nbd.NewClient(t.Context(), value(net.Dial("unix", l.Addr().String())), o)
			must(t, err)
			t.Cleanup(func() { unix.Close() })
			var running sync.WaitGroup
			for i, size := range sizes {
				for _, c := range []*nbd.Client{tcp, unix} {
					running.Go(func() { // at the same time, so that replies wait for each other
						off, got := int64(i*4093), make([]byte, size)
						if _, err := c.ReadAt(got, off); err != nil || !bytes.Equal(got, content[off:][:size]) {
							t.Errorf("replies %d: %d octets at %d are not those of the file (error %v)", shape, size, off, err)
						}
					})
				}
			}
			running.Wait()
		}
	})
}
