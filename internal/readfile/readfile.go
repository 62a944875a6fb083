// Package readfile reads files that others may have prepared: never more of them
// than a limit, without waiting for a FIFO's writer where a regular file is wanted,
// and not when more users have rights on them than should.
package readfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A KindError tells that a file is no regular file where only that will do.
type KindError struct{ Type fs.FileMode } // type bits

func (e *KindError) Error() string {
	kind := "something else"
	switch {
	case e.Type.IsDir():
		kind = "a directory"
	case e.Type&fs.ModeNamedPipe != 0:
		kind = "a FIFO"
	case e.Type&fs.ModeSocket != 0:
		kind = "a socket"
	case e.Type&fs.ModeDevice != 0:
		kind = "a device"
	}
	return "not a regular file but " + kind
}

// A LimitError tells that there is more than may be read.
type LimitError struct{ Limit int } // octets

func (e *LimitError) Error() string { return fmt.Sprintf("more than %d octets", e.Limit) }

// A ModeError tells that users have rights on a file who must not have them.
type ModeError struct {
	Name string
	Mode fs.FileMode // permissions
}

func (e *ModeError) Error() string { return fmt.Sprintf("%s has the mode %04o", e.Name, e.Mode) }

// Stream reads r to its end. The error is a [LimitError] if there are more than
// limit octets.
func Stream(r io.Reader, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(data) > limit {
		return nil, &LimitError{limit}
	}
	return data, err
}

// File reads a file of whatever kind: a FIFO such as a shell's <(...) and a
// terminal are read to their ends.
func File(name string, limit int) ([]byte, error) { return Guarded(name, limit, 0) }

// Guarded is [File] for a file on which nobody may have the permissions of refused:
// 0o077 for a secret, 0o002 for a configuration. The error is a [ModeError] if
// somebody has. A device's permissions do not count, because what it gives is not
// kept in it.
func Guarded(name string, limit int, refused fs.FileMode) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); mode&fs.ModeDevice == 0 && mode.Perm()&refused != 0 {
		return nil, &ModeError{name, mode.Perm()}
	}
	return Stream(f, limit)
}

// Kept is [Guarded] for a file that is read again and again, or that others put into
// a directory: one that is no regular file is a [KindError], because a FIFO would keep
// whoever reads it for as long as it likes.
func Kept(name string, limit int, refused fs.FileMode) ([]byte, error) {
	data, info, err := Regular(name, limit, 0)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&refused != 0 {
		return nil, &ModeError{name, mode}
	}
	return data, nil
}

// Regular reads a regular file, and returns what stat(2) says of it. Flags are added
// to those of open(2), such as O_NOFOLLOW. The error is a [KindError] if it is
// something else.
func Regular(name string, limit, flags int) ([]byte, fs.FileInfo, error) {
	// Without O_NONBLOCK, opening a FIFO would wait for its writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &KindError{info.Mode().Type()}
	}
	data, err := Stream(f, limit)
	return data, info, err
}
