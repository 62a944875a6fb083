// Package watch tells when files have changed, whatever way they were changed:
// written in place, renamed over, removed and made again, or reached through a
// symbolic link that now points elsewhere, as Kubernetes' ..data does.
//
// It asks the kernel to tell of every directory that leads to a file, not of
// the file, because a watch on a file stays with the old one when another takes
// its name. Besides it looks at the files now and then by itself, for file
// systems that tell nothing (NFS), for directories replaced far up a path, and
// for machines whose inotify limits are used up.
package watch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

const (
	// settle is how long it must be quiet before a change is told, so that a
	// key and its certificate that are renamed one after the other are one change.
	settle = 50 * time.Millisecond
	// patience bounds that wait if it never gets quiet.
	patience = time.Second
	// interval is the time between two looks that nothing asked for.
	interval = 10 * time.Second
	// maxLinks bounds the symbolic links in one path, as the kernel does.
	maxLinks = 40
)

// A Watcher knows how files were when it was made.
type Watcher struct {
	paths  []string
	marks  []mark                 // of each path
	dirs   map[string]fs.FileInfo // directories that are watched
	names  map[string]bool        // entries of them that lead to the files
	notify *fsnotify.Watcher      // nil: only polling
	every  time.Duration
}

// New remembers how the files at paths are now, so that a caller who makes a
// Watcher first, loads the files then and calls [Watcher.Run] last misses
// nothing. Files and directories may be missing and come later. Without
// inotify (see /proc/sys/fs/inotify) changes are noticed some seconds later.
// The caller must call Run or [Watcher.Close].
func New(paths ...string) *Watcher {
	w := &Watcher{dirs: map[string]fs.FileInfo{}, every: interval}
	for _, p := range paths {
		if abs, err := filepath.Abs(p); err == nil {
			p = abs
		}
		w.paths = append(w.paths, p)
	}
	if n, err := fsnotify.NewWatcher(); err == nil {
		w.notify = n
	}
	w.marks = make([]mark, len(w.paths))
	w.look()
	return w
}

// Close ends the watch of a Watcher whose Run is never called. It is harmless
// afterwards.
func (w *Watcher) Close() {
	if w.notify != nil {
		w.notify.Close()
	}
}

// Run calls changed whenever a file has changed since New or since the last
// call, a burst of changes only once, and returns when ctx has ended. changed
// runs in the caller's goroutine, so never twice at a time; what changes
// meanwhile leads to another call. A call may find the files as they were: it
// says that something was done to them. Nothing is left running. Run may be
// called once.
func (w *Watcher) Run(ctx context.Context, changed func()) {
	defer w.Close()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	var events chan fsnotify.Event
	var errs chan error
	if w.notify != nil {
		events, errs = w.notify.Events, w.notify.Errors
	}
	told := false // the kernel named one of the files
	for {
		var quiet <-chan time.Time // set once something was told
		var late <-chan time.Time
	collect:
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				break collect
			case <-quiet:
				break collect
			case <-late:
				break collect
			case e, ok := <-events:
				if !ok {
					events = nil
					continue
				}
				told = told || w.names[e.Name]
				if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
					// A directory that is made again may get the same inode number.
					delete(w.dirs, e.Name)
				}
			case err, ok := <-errs:
				if !ok {
					errs = nil
					continue
				}
				told = told || errors.Is(err, fsnotify.ErrEventOverflow)
			}
			quiet = time.After(settle)
			if late == nil {
				late = time.After(patience)
			}
		}
		// look comes first because it must run. An in-place write within one tick
		// of the file system's clock leaves no other trace than the kernel's word.
		if ctx.Err() == nil && (w.look() || told) {
			told = false
			changed()
		}
	}
}

// look brings the watches and the marks up to date and reports whether a mark
// is another than before.
func (w *Watcher) look() bool {
	w.follow()
	changed := false
	for i, p := range w.paths {
		if m := markOf(p); m != w.marks[i] {
			w.marks[i] = m
			changed = true
		}
	}
	return changed
}

// follow watches every directory that now leads to the files. What appears
// between the look at a directory and its watch would go unnoticed, so it looks
// again until nothing is new.
func (w *Watcher) follow() {
	for range 8 {
		dirs := map[string]fs.FileInfo{}
		w.names = map[string]bool{}
		for _, p := range w.paths {
			w.trace(p, dirs)
		}
		if w.notify == nil || !w.watch(dirs) {
			return
		}
	}
}

// watch changes the watched directories to dirs and reports whether there were
// new ones. A directory that has taken another's name is a new one.
func (w *Watcher) watch(dirs map[string]fs.FileInfo) bool {
	for dir, info := range w.dirs {
		if now, ok := dirs[dir]; !ok || !os.SameFile(info, now) {
			w.notify.Remove(dir)
			delete(w.dirs, dir)
		}
	}
	added := false
	for dir, info := range dirs {
		if w.dirs[dir] == nil && w.notify.Add(dir) == nil {
			w.dirs[dir] = info
			added = true
		}
	}
	return added
}

// trace follows path through its symbolic links. It notes in dirs each
// directory that holds one of the links, the file, or the place where the path
// ends before it, and in w.names what each holds.
func (w *Watcher) trace(path string, dirs map[string]fs.FileInfo) {
	dir, rest := "/", strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			dir = filepath.Dir(dir)
			continue
		}
		entry := filepath.Join(dir, name)
		info, err := os.Lstat(entry)
		if err == nil && info.IsDir() && len(rest) > 0 {
			dir = entry
			continue
		}
		w.names[entry] = true
		if holder, err := os.Stat(dir); err == nil {
			dirs[dir] = holder
		}
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return
		}
		target, err := os.Readlink(entry)
		if links++; err != nil || links > maxLinks {
			return
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
}

// A mark differs between two states of a file. The kernel sets the change time
// itself, so that content put back under an old modification time shows.
type mark struct {
	err              error // a unix.Errno
	dev, ino         uint64
	size             int64
	mode, uid, gid   uint32
	modified, change unix.Timespec
}

func markOf(path string) mark {
	var st unix.Stat_t
	for {
		err := unix.Stat(path, &st)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return mark{err: err}
		}
	}
	return mark{
		dev: uint64(st.Dev), ino: uint64(st.Ino), size: st.Size,
		mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid,
		modified: st.Mtim, change: st.Ctim,
	}
}
