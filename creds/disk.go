package creds

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"virtls/pki"
)

// A disk reads files as a program sees them whose root directory is root. The
// zero disk is this machine's.
type disk struct{ root string }

// errTooLarge is the error for files larger than a reader's limit.
var errTooLarge = errors.New("the file is too large")

// read returns the content of the file at path, up to [pki.MaxFileSize] bytes.
func (d disk) read(path string) ([]byte, error) {
	name, err := d.resolve(path)
	if err != nil {
		return nil, err
	}
	// Without O_NONBLOCK, opening a FIFO would wait for its writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, syscall.EISDIR
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("not a regular file but %v", info.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, pki.MaxFileSize+1))
	if err == nil && len(data) > pki.MaxFileSize {
		return nil, errTooLarge
	}
	return data, err
}

// stat returns nil if there is something at path.
func (d disk) stat(path string) error { return d.access(path, unix.F_OK) }

// readable returns nil if the process may read what is at path.
func (d disk) readable(path string) error { return d.access(path, unix.R_OK) }

func (d disk) access(path string, mode uint32) error {
	name, err := d.resolve(path)
	if err != nil {
		return err
	}
	return unix.Access(name, mode)
}

// maxLinks is how many symbolic links Linux follows in one path.
const maxLinks = 40

// resolve returns the path on this machine of a path below the root, whose
// symbolic links never lead out of it.
func (d disk) resolve(path string) (string, error) {
	if d.root == "" {
		return path, nil
	}
	at, rest, links := "/", path, 0
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		next := filepath.Join(at, name) // "..": Join stops at "/"
		target, err := os.Readlink(filepath.Join(d.root, next))
		if err != nil {
			at = next // no link; if it is not there either, its user will find out
			continue
		}
		if links++; links > maxLinks {
			return "", syscall.ELOOP
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = target + "/" + rest
	}
	return filepath.Join(d.root, at), nil
}

// isMissing tells whether an error means that there is no such file. A
// directory that cannot be entered hides its files without making them missing.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// strerror returns what C's strerror says of an error of the system's.
func strerror(err error) string {
	text := err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		text = errno.Error()
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
