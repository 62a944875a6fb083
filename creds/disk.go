package creds

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"virtls/internal/readfile"
	"virtls/layout"
	"virtls/pki"
)

// A disk is the files of one loading. Each is read once, so that all checks
// judge the same content.
type disk struct {
	view  layout.View
	cache *Cache
}

// errTooLarge is the error for files of more than [pki.MaxFileSize] bytes.
var errTooLarge = fmt.Errorf("the file has more than %d bytes", pki.MaxFileSize)

// read returns the content of the file at path.
func (d disk) read(path string) ([]byte, error) {
	c := remember(d.cache.files, path, func() content {
		data, err := d.load(path)
		return content{data, err}
	})
	return c.data, c.err
}

func (d disk) load(path string) ([]byte, error) {
	switch info, err := d.view.Stat(path); {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, syscall.EISDIR
	case info.Size() > pki.MaxFileSize:
		return nil, errTooLarge
	}
	return d.view.ReadFile(path)
}

// stat returns nil if there is something at path.
func (d disk) stat(path string) error {
	return remember(d.cache.stats, path, func() error {
		_, err := d.view.Stat(path)
		return err
	})
}

// readable returns why access(2) would say that the process may not read what is at path.
func (d disk) readable(path string) error {
	if err := d.stat(path); err != nil {
		return err
	}
	if _, err := d.read(path); errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

// here shows this machine's files as this process sees them, by absolute and
// relative names.
type here struct{}

func (here) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (here) ReadFile(name string) ([]byte, error) {
	data, _, err := readfile.Regular(name, pki.MaxFileSize, 0)
	if _, ok := errors.AsType[*readfile.LimitError](err); ok {
		return nil, errTooLarge
	}
	return data, err
}

// isMissing tells whether an error means that there is no such file. A
// directory that cannot be entered hides its files without making them missing.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
