package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Sweep removes the temporary files that killed runs left in dir, not in its
// subdirectories, and returns their names. The caller must know that no other
// process is writing there (it holds the lock of the directory or of the state
// that the directory belongs to) and has finished what a journal may still
// want from these files.
func Sweep(dir string) (removed []string, err error) {
	return sweep(dir, IsTemp)
}

// SweepFile is [Sweep] for the temporary files of one target. The caller must
// know that no other process is writing that one.
func SweepFile(path string) error {
	dir := filepath.Dir(path)
	_, err := sweep(dir, func(name string) bool { return IsTempOf(filepath.Join(dir, name), path) })
	return err
}

// IsTempOf reports whether temp has the form of a temporary file of the target
// at path, in the same directory.
func IsTempOf(temp, path string) bool {
	name, start := filepath.Base(temp), tempStart(filepath.Base(path))
	return filepath.Dir(temp) == filepath.Dir(path) && IsTemp(name) && len(name) == len(start)+tempRandom && strings.HasPrefix(name, start)
}

func sweep(dir string, match func(name string) bool) (removed []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("sweep %s: %w", dir, reason(err))
	}
	for _, entry := range entries {
		if !match(entry.Name()) || !entry.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return removed, fmt.Errorf("sweep %s: remove %s: %w", dir, entry.Name(), reason(err))
		}
		removed = append(removed, entry.Name())
	}
	return removed, nil
}

const maxLinks = 40 // as Linux follows, path_resolution(7)

// ResolveLink returns the path of the file that would be written by a program
// that opens path for writing: path itself, or what the symbolic link there
// leads to in the end, which need not exist.
func ResolveLink(path string) (string, error) {
	target := path
	for range maxLinks {
		info, err := os.Lstat(target)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return target, nil
		}
		if err != nil {
			return "", fmt.Errorf("follow %s: %w", path, err)
		}
		next, err := os.Readlink(target)
		if err != nil {
			return "", fmt.Errorf("follow %s: %w", path, err)
		}
		if !filepath.IsAbs(next) {
			// Not filepath.Join: a ".." behind a linked directory means the
			// parent of where that link leads.
			next = target[:strings.LastIndexByte(target, '/')+1] + next
		}
		target = next
	}
	return "", fmt.Errorf("follow %s: %w", path, syscall.ELOOP)
}
