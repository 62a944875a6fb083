// Package atomicfile replaces files so that each of them is, at any kill of
// the process and at any loss of power, either the old file or the new one,
// and never readable by more people than the new file's mode allows.
//
// A file is staged first: its content goes to a private temporary file in the
// target's own directory, made with the target's mode and owner before the
// first byte is in it. It is committed afterwards: synced to the disk, renamed
// over the target, the directory synced. [Write] does both for one file;
// [Stage] and [CommitAll] do it for a batch, whose files are synced together.
//
// A target that is a symbolic link is replaced by a file; the file that the
// link points to stays as it is. Programs that are to write through a link, as
// certtool and psktool do, ask [ResolveLink] for the real target first. A
// target that is a directory, a device, a FIFO or a socket is refused.
//
// The replaced file's hard links, ACLs, extended attributes and SELinux label
// do not pass to the new one.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"golang.org/x/sys/unix"
)

// An Option adds something to how a file is made.
type Option func(*Staged)

// Owner gives the new file to uid and gid before it has content; -1 keeps the
// process's own. Only root may give a file away; others may choose a group
// they belong to.
func Owner(uid, gid int) Option {
	return func(s *Staged) { s.uid, s.gid = uid, gid }
}

// Absent says that there is nothing at the path: the caller has just made the
// directory, and nobody else writes there. Stage then does not look.
func Absent() Option {
	return func(s *Staged) { s.absent = true }
}

// Write replaces the file at path by data with the given permissions, whatever
// the umask, and returns when that is on the disk. An error names the path and
// the step that failed; the old file is then still in place and nothing is left
// behind, except that an error of the last step, "sync directory", comes after
// the new file has taken its place.
func Write(path string, data []byte, mode fs.FileMode, opts ...Option) error {
	s, err := Stage(path, data, mode, opts...)
	if err != nil {
		return err
	}
	defer s.Discard()
	return s.Commit()
}

// A Staged file is complete in its temporary file and waits to take its place.
// It is not safe for concurrent use.
type Staged struct {
	path      string // what it will replace
	temp      string // where its content is now
	uid, gid  int    // new owner, -1 for the process's own
	absent    bool   // there is no old file
	device    uint64 // file system that it is in; 0 if unknown
	synced    bool
	committed bool
}

// Stage writes data to a temporary file beside path with the given permissions
// (mode holds nothing else, and lets the owner read) and owner. The caller
// commits or discards the result. No file is held open meanwhile, so a batch
// may be large.
func Stage(path string, data []byte, mode fs.FileMode, opts ...Option) (*Staged, error) {
	s := &Staged{path: path, uid: -1, gid: -1}
	for _, opt := range opts {
		opt(s)
	}
	if mode&^fs.ModePerm != 0 {
		return nil, s.failed("set mode", fmt.Errorf("%v is more than permissions", mode))
	}
	if !s.absent {
		if err := replaceable(path); err != nil {
			return nil, s.failed("look at the target", err)
		}
	}
	first := mode
	if s.newOwner() {
		first &= 0o700 // group bits never apply to a group that is not the final one
	}
	fd, err := s.create(first)
	if err != nil {
		return nil, s.failed("create a temporary file in "+filepath.Dir(path), err)
	}
	err = s.fill(fd, data, mode)
	if closeErr := unix.Close(fd); err == nil && closeErr != nil {
		err = s.failed("write data", closeErr)
	}
	if err != nil {
		s.Discard()
		return nil, err
	}
	return s, nil
}

// newOwner tells whether the file is for another user or group than the process's.
func (s *Staged) newOwner() bool { return s.uid != -1 || s.gid != -1 }

// fill gives the new file its owner, mode and content, in this order. It works
// on the bare descriptor, because an os.File costs four more system calls, which
// a fleet of thousands of small files pays dearly.
func (s *Staged) fill(fd int, data []byte, mode fs.FileMode) error {
	took(StepCreate, s.path)
	if s.newOwner() {
		if err := unix.Fchown(fd, s.uid, s.gid); err != nil {
			return s.failed(fmt.Sprintf("set owner %d:%d", s.uid, s.gid), err)
		}
		took(StepOwner, s.path)
	}
	if err := s.setMode(fd, mode); err != nil {
		return s.failed(fmt.Sprintf("set mode %04o", mode), err)
	}
	took(StepMode, s.path)
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return s.failed("write data", err)
		}
		data = data[n:]
	}
	took(StepWrite, s.path)
	return nil
}

// setMode gives the file the mode that the umask, or the directory's default
// ACL, kept it from being made with. A look is cheaper than a change, which the
// file system must write down.
func (s *Staged) setMode(fd int, mode fs.FileMode) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	s.device = stat.Dev
	if fs.FileMode(stat.Mode&0o7777) == mode {
		return nil
	}
	return unix.Fchmod(fd, uint32(mode))
}

// Resume returns the staged file that a journal remembers by its temporary
// file's name and its target, so that a later run can commit it.
func Resume(temp, path string) *Staged {
	return &Staged{path: path, temp: temp, uid: -1, gid: -1}
}

// Path returns the file that s is to replace.
func (s *Staged) Path() string { return s.path }

// Temp returns the temporary file that holds the content until it is
// committed. A journal that names both lets a later run finish the renames of
// a killed one.
func (s *Staged) Temp() string { return s.temp }

// Commit syncs the file, renames it over its target and syncs the directory.
// After an error the file is still staged, unless its last step failed.
func (s *Staged) Commit() error { return CommitAll([]*Staged{s}) }

// Discard removes the temporary file. It does nothing after a commit, so that
// it may be deferred. There is no error: [Sweep] finds what could not be removed.
func (s *Staged) Discard() {
	if !s.committed && s.temp != "" {
		os.Remove(s.temp)
	}
}

// failed wraps what went wrong so that the message names target and step. The
// temporary name that the system call knew means nothing to the reader.
func (s *Staged) failed(step string, err error) error {
	return fmt.Errorf("write %s: %s: %w", s.path, step, reason(err))
}

// reason strips the operation and the path from an error whose message will
// name them in its own words.
func reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	if linkErr, ok := errors.AsType[*os.LinkError](err); ok {
		return linkErr.Err
	}
	return err
}

// replaceable refuses targets over which no file may be renamed: renaming over
// /dev/null would break the machine.
func replaceable(path string) error {
	if base := filepath.Base(path); path == "" || os.IsPathSeparator(path[len(path)-1]) || base == "." || base == ".." {
		return fmt.Errorf("%q names no file", path)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return syscall.EISDIR
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("not a regular file but %v", info.Mode().Type())
	}
	return nil
}

const (
	tempAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	tempRandom   = 8   // characters of tempAlphabet
	tempBase     = 240 // bytes of the target's name, so that the whole stays below NAME_MAX, 255
)

var tempForm = regexp.MustCompile(`^\..+\.tmp-[a-z2-7]{8}$`)

// IsTemp reports whether name, without directory, has the form of this
// package's temporary files: .NAME.tmp-XXXXXXXX.
func IsTemp(name string) bool { return tempForm.MatchString(name) }

// tempStart is how the names of a target's temporary files begin; the random
// part follows.
func tempStart(base string) string { return "." + base[:min(len(base), tempBase)] + ".tmp-" }

// create makes the temporary file. O_EXCL makes sure that it is new and no
// link that somebody else laid there.
func (s *Staged) create(mode fs.FileMode) (fd int, err error) {
	dir, base := filepath.Split(s.path)
	for {
		random := make([]byte, tempRandom)
		for i := range random {
			random[i] = tempAlphabet[rand.IntN(len(tempAlphabet))]
		}
		temp := dir + tempStart(base) + string(random)
		fd, err := unix.Open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, uint32(mode))
		if err == unix.EEXIST || err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		s.temp = temp
		return fd, nil
	}
}
