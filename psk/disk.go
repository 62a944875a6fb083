package psk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/internal/readfile"

	"golang.org/x/sys/unix"
)

var (
	kindUnreadable = finding.Define("psk-unreadable", finding.Error,
		"the PSK file cannot be read",
		"check the path and its permissions")
	kindUnwritable = finding.Define("psk-unwritable", finding.Error,
		"the PSK file cannot be replaced",
		"check the permissions of file and directory, and the free space")
	kindLocked = finding.Define("psk-locked", finding.Error,
		"another psktool is changing the PSK file, or was killed while it did",
		"remove the lock when no psktool is running")
	kindUnlockable = finding.Define("psk-lock-failed", finding.Error,
		"the lock beside the PSK file cannot be made",
		"check the directory and its permissions")
)

// Read reads the PSK file at path, which may be a symbolic link. What is
// malformed in it is for [File.Check] to say.
func Read(path string) (*File, error) {
	f, _, err := read(path, path)
	return f, err
}

// read reads the file at target for a user who knows it as path.
func read(path, target string) (*File, fs.FileInfo, error) {
	data, info, err := readfile.Regular(target, MaxFileSize, 0)
	if _, ok := errors.AsType[*readfile.LimitError](err); ok {
		return nil, nil, tooLarge(path)
	}
	if err != nil {
		return nil, nil, kindUnreadable.Found(path, "").Unable(err)
	}
	f, err := Parse(path, data)
	return f, info, err
}

// What [Update] leaves of an existing file's permissions, and gives a new one.
const (
	keptMode fs.FileMode = 0o640
	newMode  fs.FileMode = 0o600
)

// Update reads the PSK file at path, has change work on it and replaces it by
// the result in one step. A missing file counts as empty. Meanwhile no other
// Update and no psktool, ours or GnuTLS's, can change it.
//
// A new file gets mode 0600. An existing one keeps its owner and group, and of
// its mode no more than 0640; one that the process may not write is refused. A
// symbolic link is followed. If change returns an error, nothing is written and
// Update returns it.
func Update(path string, change func(*File) error) error {
	return update(path, func(old fs.FileMode) fs.FileMode { return old & keptMode }, change)
}

// UpdateKeepingMode is [Update] but for the mode of an existing file, which
// stays as it is however wide: GnuTLS's psktool does so.
func UpdateKeepingMode(path string, change func(*File) error) error {
	return update(path, func(old fs.FileMode) fs.FileMode { return old }, change)
}

func update(path string, narrow func(fs.FileMode) fs.FileMode, change func(*File) error) error {
	unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()

	target, err := atomicfile.ResolveLink(path)
	if err != nil {
		return kindUnreadable.Found(path, "").Unable(err)
	}
	f, info, err := read(path, target)
	mode := newMode
	var owner []atomicfile.Option
	switch {
	case err == nil:
		// The directory's permissions would do, but who made the file
		// read-only meant it.
		if err := unix.Faccessat(unix.AT_FDCWD, target, unix.W_OK, unix.AT_EACCESS); err != nil {
			return kindUnwritable.Found(path, "").Unable(err)
		}
		mode = narrow(info.Mode().Perm())
		stat := info.Sys().(*syscall.Stat_t)
		owner = append(owner, atomicfile.Owner(int(stat.Uid), int(stat.Gid)))
	case errors.Is(err, fs.ErrNotExist):
		f = &File{name: path}
	default:
		return err
	}
	if err := change(f); err != nil {
		return err
	}
	// A killed run, whose lock has been removed since, may have left keys. A
	// directory that cannot be listed is no reason to stop.
	_ = atomicfile.SweepFile(target)
	if err := atomicfile.Write(target, f.Bytes(), mode, owner...); err != nil {
		return kindUnwritable.Found(path, "").Unable(err)
	}
	return nil
}

// lock makes the file by which psktool keeps others away, and returns what
// removes it. It is empty: GnuTLS's holds a copy of the keys. A killed process
// leaves it behind, and everybody then refuses to go on until it is removed.
func lock(path string) (unlock func(), err error) {
	name := path + ".tmp"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, kindLocked.Found(path, name).WithFix("rm %s    # when no psktool is running", name).Wrong()
	}
	if err != nil {
		return nil, kindUnlockable.Found(path, "").Unable(err)
	}
	f.Close()
	return func() { os.Remove(name) }, nil
}
