package nbd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/nbd"
)

// TestClientsUseOurServer has QEMU's and libnbd's programs read and write an
// export of ours.
func TestClientsUseOurServer(t *testing.T) {
	const size = 4 << 20
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		eachSecurity(t, func(t *testing.T, s security) {
			path, content := rawFile(t, size)
			port := serve(t, &nbd.Server{Secure: s.secure(t, creds.Server), Exports: []nbd.Export{
				{Name: "disk", Description: "a disk", Device: openFile(t, path, true)},
			}})
			run := func(name string, args ...string) peertest.Result {
				t.Helper()
				r := g.Run(t, peertest.Options{}, name, args...)
				if r.Code != 0 {
					t.Fatal(r)
				}
				return r
			}
			var object []string
			image := fmt.Sprintf("driver=nbd,host=localhost,port=%d,export=disk", port)
			if s.kind != "" {
				object = []string{"--object", s.qemuObject(t, creds.Client)}
				image += ",tls-creds=tls0"
			}
			info := append(append([]string{"info"}, object...), "--image-opts", image)
			if r := run("qemu-img", info...); !strings.Contains(r.Stdout, "virtual size: 4 MiB") {
				t.Error(r)
			}

			// Extents are seen as they are in the file.
			m := append(append([]string{"map", "--output=json"}, object...), "--image-opts", image)
			want := fmt.Sprintf(`"start": %d, "length": %d, "depth": 0, "present": true, "zero": false, "data": true`, size/4, size/4)
			if r := run("qemu-img", m...); !strings.Contains(r.Stdout, want) {
				t.Errorf("want %s in %v", want, r)
			}

			io := append(append([]string{}, object...), "--image-opts", image,
				"-c", fmt.Sprintf("write -P 0x5a %d 64k", size/2), "-c", fmt.Sprintf("write -z %d 64k", size/4),
				"-c", fmt.Sprintf("discard %d 64k", size/4+128<<10), "-c", "write -f -P 0x11 0 512", "-c", "flush", "-c", "read -P 0x5a 2M 64k")
			if r := run("qemu-io", io...); strings.Contains(r.Stdout, "failed") {
				t.Error(r)
			}
			copy(content[size/2:], bytes.Repeat([]byte{0x5a}, 64<<10))
			clear(content[size/4 : size/4+64<<10])
			clear(content[size/4+128<<10 : size/4+192<<10])
			copy(content, bytes.Repeat([]byte{0x11}, 512))
			if got := value(os.ReadFile(path)); !bytes.Equal(got, content) {
				t.Error("the file does not hold what qemu-io wrote")
			}

			uri, dir := nbdURI(t, s, port)
			out := filepath.Join(t.TempDir(), "copy.raw")
			run("nbdcopy", uri, out)
			if got := value(os.ReadFile(out)); !bytes.Equal(got, content) {
				t.Error("nbdcopy read something else")
			}
			_ = dir
			if r := run("nbdinfo", uri); !strings.Contains(r.Stdout, "base:allocation") || !strings.Contains(r.Stdout, "a disk") {
				t.Error(r)
			}
			if r := run("nbdinfo", "--list", uri); !strings.Contains(r.Stdout, `export="disk"`) {
				t.Error(r)
			}
		})
	})
}

// nbdURI is libnbd's address of an export, and the directory of its credentials.
func nbdURI(t testing.TB, s security, port int) (uri, dir string) {
	switch s.kind {
	case "":
		return fmt.Sprintf("nbd://localhost:%d/disk", port), ""
	case "tls-creds-psk":
		dir = credDir(t)
		return fmt.Sprintf("nbds://%s@localhost:%d/disk?tls-psk-file=%s/keys.psk", pskUser, port, dir), dir
	}
	dir = credDir(t, s.clientLacks...)
	return fmt.Sprintf("nbds://localhost:%d/disk?tls-certificates=%s", port, dir), dir
}
