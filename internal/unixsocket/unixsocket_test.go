package unixsocket

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"virtls/internal/peertest"
)

func TestListen(t *testing.T) {
	for _, tt := range []struct {
		name    string
		there   func(t *testing.T, path string)
		refused bool
	}{
		{"nothing", func(*testing.T, string) {}, false},
		{"dead socket", func(t *testing.T, path string) { listen(t, path).Close() }, false},
		{"live socket", func(t *testing.T, path string) {
			l := listen(t, path)
			t.Cleanup(func() { l.Close() })
		}, true},
		{"file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"link to a dead socket", func(t *testing.T, path string) {
			listen(t, path+".dead").Close()
			if err := os.Symlink(path+".dead", path); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(peertest.SocketDir(t), "s")
			tt.there(t, path)
			before, _ := os.Lstat(path)
			l, err := Listen(t.Context(), net.ListenConfig{}, path, 0o600)
			if tt.refused {
				after, statErr := os.Lstat(path)
				if !errors.Is(err, syscall.EADDRINUSE) || statErr != nil || !os.SameFile(before, after) {
					t.Errorf("%v, then %v: want it left alone", err, statErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

// listen leaves its socket behind when it is closed.
func listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	return l
}

func TestMode(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	for _, tt := range []struct{ asked, atFirst, want fs.FileMode }{
		{0, 0o750, 0o750},
		{0o600, 0o600, 0o600},
		{0o666, 0o640, 0o666},
		{0o660, 0o640, 0o660},
	} {
		t.Run(tt.asked.String(), func(t *testing.T) {
			dir := peertest.SocketDir(t)
			first, err := bind(t.Context(), net.ListenConfig{}, filepath.Join(dir, "first"), tt.asked)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			l, err := Listen(t.Context(), net.ListenConfig{}, filepath.Join(dir, "s"), tt.asked)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for name, want := range map[string]fs.FileMode{"first": tt.atFirst, "s": tt.want} {
				if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
					t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
				}
			}
		})
	}
}
