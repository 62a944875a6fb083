// Package imagelock has the locks by which QEMU's programs keep out of each
// other's way when they use a disk in a file (block/file-posix.c, the same from
// 2.10 to 11.1). They are advisory and go when the file is closed.
//
// Each permission has two bytes of the file. Who has the permission holds a read
// lock on the one at 100, who does not want others to have it a read lock on the
// one at 200. To take a permission is to see that nobody holds its other byte.
package imagelock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Permissions are what a program may do to a file, a set of bits.
type Permissions uint8

// The permissions, as QEMU numbers them.
const (
	Read   Permissions = 1 << 0
	Write  Permissions = 1 << 1
	Resize Permissions = 1 << 3
)

const (
	needsBase  = 100
	deniesBase = 200
)

// names are what QEMU calls the permissions, by bit.
var names = [...]string{"consistent read", "write", "write unchanged", "resize"}

// A Use is what a program does to a file, and what it wants nobody to do
// meanwhile.
type Use struct{ Needs, Denies Permissions }

// Create is the use of who makes a file anew.
var Create = Use{Needs: Write | Resize, Denies: Resize}

// An Error says that somebody else uses the file in a way that does not go
// together with what was wanted.
type Error struct {
	File       string
	Permission string
	Denies     bool // the permission is held; else it is denied
}

// Error returns QEMU's sentences.
func (e *Error) Error() string {
	shared := ""
	if e.Denies {
		shared = "shared "
	}
	return fmt.Sprintf("Failed to get %s\"%s\" lock\nIs another process using the image [%s]?", shared, e.Permission, e.File)
}

// Take takes locks until the file is closed, in addition to those that it has
// already; another open file of the same process is somebody else. An [Error]
// says that they cannot be had, and then some of them may be held.
func Take(f *os.File, u Use) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = take(fd, f.Name(), u) }); err != nil {
		return err
	}
	return result
}

func take(fd uintptr, name string, u Use) error {
	// First all locks, then all checks: of two that come at once none is missed.
	for bit := range names {
		for base, set := range map[int64]Permissions{needsBase: u.Needs, deniesBase: u.Denies} {
			if set&(1<<bit) == 0 {
				continue
			}
			at := base + int64(bit)
			lock := unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1}
			if err := control(fd, unix.F_OFD_SETLK, &lock); err != nil {
				return &os.PathError{Op: fmt.Sprintf("lock byte %d of", at), Path: name, Err: err}
			}
		}
	}
	for _, check := range []struct {
		set  Permissions
		base int64
		held bool
	}{{u.Needs, deniesBase, false}, {u.Denies, needsBase, true}} {
		for bit := range names {
			if check.set&(1<<bit) == 0 {
				continue
			}
			lock := unix.Flock_t{Type: unix.F_WRLCK, Start: check.base + int64(bit), Len: 1}
			if err := control(fd, unix.F_OFD_GETLK, &lock); err != nil {
				return err
			}
			if lock.Type != unix.F_UNLCK {
				return &Error{name, names[bit], check.held}
			}
		}
	}
	return nil
}

func control(fd uintptr, command int, lock *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(fd, command, lock); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
