package watch

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replace puts a new file in the old one's place, as careful programs do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	check(t, os.Rename(path+".new", path))
}

// changes are things done to the file "f" in dir, after make has run there.
var changes = []struct {
	name string
	make func(t *testing.T, dir string)
	do   func(t *testing.T, dir string)
}{
	{"written in place", func(t *testing.T, dir string) { write(t, dir+"/f", "a") },
		func(t *testing.T, dir string) { write(t, dir+"/f", "b") }},
	{"renamed over", func(t *testing.T, dir string) { write(t, dir+"/f", "a") },
		func(t *testing.T, dir string) { replace(t, dir+"/f", "b") }},
	{"removed", func(t *testing.T, dir string) { write(t, dir+"/f", "a") },
		func(t *testing.T, dir string) { check(t, os.Remove(dir+"/f")) }},
	{"made", func(*testing.T, string) {},
		func(t *testing.T, dir string) { write(t, dir+"/f", "a") }},
	{"made readable", func(t *testing.T, dir string) { write(t, dir+"/f", "a") },
		func(t *testing.T, dir string) { check(t, os.Chmod(dir+"/f", 0o644)) }},
	{"old time and size kept", func(t *testing.T, dir string) {
		write(t, dir+"/f", "a")
		check(t, os.Chtimes(dir+"/f", time.Unix(1, 0), time.Unix(1, 0)))
	}, func(t *testing.T, dir string) {
		write(t, dir+"/f", "b")
		check(t, os.Chtimes(dir+"/f", time.Unix(1, 0), time.Unix(1, 0)))
	}},
	{"Kubernetes volume", func(t *testing.T, dir string) {
		check(t, os.Mkdir(dir+"/..1", 0o700))
		write(t, dir+"/..1/f", "a")
		check(t, os.Symlink("..1", dir+"/..data"))
		check(t, os.Symlink("..data/f", dir+"/f"))
	}, func(t *testing.T, dir string) {
		check(t, os.Mkdir(dir+"/..2", 0o700))
		write(t, dir+"/..2/f", "b")
		check(t, os.Symlink("..2", dir+"/..data_tmp"))
		check(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
	}},
	{"behind a link to elsewhere", func(t *testing.T, dir string) {
		check(t, os.MkdirAll(dir+"/live/archive", 0o700))
		write(t, dir+"/live/archive/1", "a")
		check(t, os.Symlink("archive/1", dir+"/live/f"))
		check(t, os.Symlink(dir+"/live/f", dir+"/f"))
	}, func(t *testing.T, dir string) { replace(t, dir+"/live/archive/1", "b") }},
	{"the link in the middle turned", func(t *testing.T, dir string) {
		check(t, os.MkdirAll(dir+"/live/archive", 0o700))
		write(t, dir+"/live/archive/1", "a")
		write(t, dir+"/live/archive/2", "b")
		check(t, os.Symlink("archive/1", dir+"/live/f"))
		check(t, os.Symlink("live/../live/f", dir+"/f"))
	}, func(t *testing.T, dir string) {
		check(t, os.Symlink("archive/2", dir+"/live/new"))
		check(t, os.Rename(dir+"/live/new", dir+"/live/f"))
	}},
	{"link in a circle mended", func(t *testing.T, dir string) { check(t, os.Symlink("f", dir+"/f")) },
		func(t *testing.T, dir string) { replace(t, dir+"/f", "a") }},
}

// start runs a watch and returns its calls, one value each.
func start(t *testing.T, w *Watcher) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	calls, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx, func() {
			select {
			case calls <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return calls
}

func TestChanges(t *testing.T) {
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.make(t, dir)
			w := New(filepath.Join(dir, "f"))
			w.every = time.Hour // the kernel's word alone
			calls := start(t, w)
			tt.do(t, dir)
			<-calls
			// The watch has followed the file to where it is now.
			write(t, filepath.Join(dir, "f"), "again")
			<-calls
		})
	}
}

// TestPolling finds the same changes where the kernel tells nothing.
func TestPolling(t *testing.T) {
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.make(t, dir)
			w := New(filepath.Join(dir, "f"))
			w.Close()
			w.notify = nil
			w.every = time.Millisecond
			calls := start(t, w)
			tt.do(t, dir)
			<-calls
		})
	}
}

func TestChangeBeforeRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	w := New(path)
	write(t, path, "b")
	<-start(t, w)
}

func TestDirectoryComesAndGoes(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a/b")
	w := New(filepath.Join(dir, "f"), filepath.Join(dir, "g"))
	w.every = time.Hour
	calls := start(t, w)
	for range 3 {
		check(t, os.MkdirAll(dir, 0o700))
		write(t, filepath.Join(dir, "g"), "a")
		<-calls
		check(t, os.RemoveAll(filepath.Dir(dir)))
		<-calls
	}
}

func TestReplacedDirectory(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "d")
	check(t, os.Mkdir(dir, 0o700))
	write(t, dir+"/f", "a")
	w := New(dir + "/f")
	w.every = time.Hour
	calls := start(t, w)
	for _, text := range []string{"b", "c"} {
		check(t, os.Mkdir(top+"/new", 0o700))
		write(t, top+"/new/f", text)
		check(t, os.Rename(dir, top+"/old"))
		check(t, os.Rename(top+"/new", dir))
		<-calls
		check(t, os.RemoveAll(top+"/old"))
		replace(t, dir+"/f", text+text)
		<-calls
	}
}

// TestNeighbours looks by itself, so that it need not wait for nothing to happen.
func TestNeighbours(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", "a")
	w := New(dir+"/f", dir+"/missing")
	defer w.Close()
	write(t, dir+"/g", "a")
	check(t, os.Mkdir(dir+"/d", 0o700))
	check(t, os.Symlink("f", dir+"/link"))
	if w.look() {
		t.Error("a change of other files counts")
	}
	for _, name := range []string{"/g", "/d", "/link"} {
		if w.names[dir+name] {
			t.Errorf("the kernel's word on %s counts", name)
		}
	}
	replace(t, dir+"/f", "b")
	if !w.look() {
		t.Error("the change of the file does not count")
	}
	if w.look() {
		t.Error("a change counts twice")
	}
}

func TestBurst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "")
	var count atomic.Int32
	started, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	w := New(path)
	go func() {
		defer close(done)
		w.Run(ctx, func() {
			if count.Add(1) == 1 {
				close(started)
				<-release
			} else if b, _ := os.ReadFile(path); string(b) == "last" {
				cancel()
			}
		})
	}()
	write(t, path, "first")
	<-started
	const writes = 1000
	for i := range writes {
		write(t, path, strings.Repeat("x", i))
	}
	write(t, path, "last")
	close(release)
	<-done
	if n := count.Load(); n > writes/10 {
		t.Errorf("%d writes while the first call ran led to %d calls; want few", writes, n)
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	before := runtime.NumGoroutine()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for ctx.Err() == nil {
				os.WriteFile(path, []byte("b"), 0o600)
				time.Sleep(2 * settle)
			}
		}()
		New(path).Run(ctx, cancel)
		New(path).Close()
	}
	for runtime.NumGoroutine() > before {
		runtime.Gosched() // a goroutine that has said its last word may still be counted
	}
}
