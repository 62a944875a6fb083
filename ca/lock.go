package ca

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"virtls/internal/wait"
)

// A lock is the exclusive lock of a state directory: flock(2) on a file that
// says who holds it. The kernel drops it when its holder dies, but what the
// file says stays, which tells the next holder that work may be unfinished.
type lock struct{ file *os.File }

// lockPoll is how often a waiting process looks again.
const lockPoll = 50 * time.Millisecond

// maxLockText bounds what is read of the lock file.
const maxLockText = 4096

// acquire takes the lock at path, waiting as long as patience. crashed tells that
// its last holder did not release it.
func acquire(ctx context.Context, path string, patience time.Duration, holder string) (l *lock, crashed bool, err error) {
	// A lock that is a link would have what it leads to emptied.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err == nil {
		if info, statErr := f.Stat(); statErr != nil || !info.Mode().IsRegular() {
			f.Close()
			err = errors.Join(errors.New("it is not a regular file"), statErr)
		}
	} else if errors.Is(err, unix.ELOOP) {
		err = errors.New("it is a symbolic link")
	}
	if err != nil {
		return nil, false, notWritten(path, err)
	}
	deadline := time.Now().Add(patience)
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) || !time.Now().Before(deadline) {
			break
		}
		if err := wait.Sleep(ctx, lockPoll); err != nil {
			f.Close()
			return nil, false, err
		}
	}
	left, readErr := io.ReadAll(io.LimitReader(f, maxLockText))
	if err = errors.Join(err, readErr); err != nil {
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, false, notWritten(path, err)
		}
		return nil, false, kindStateLocked.Found(path, held(left)).Unable(nil)
	}
	l = &lock{f}
	if err := l.write(holder); err != nil {
		l.abandon()
		return nil, false, notWritten(path, err)
	}
	return l, len(left) > 0, nil
}

// held returns what the holder wrote about itself.
func held(text []byte) string {
	if s := strings.TrimSpace(string(text)); s != "" {
		return fmt.Sprintf("the lock held by %q", s)
	}
	return "the lock held by a process that has not yet said who it is"
}

// write never leaves the file empty: if it fails, the note of a killed holder
// still does its work.
func (l *lock) write(holder string) error {
	text := holder + "\n"
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	if err := l.file.Truncate(int64(len(text))); err != nil {
		return err
	}
	return l.file.Sync()
}

// release gives up the lock. The emptied file says that all work is done.
func (l *lock) release() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

// abandon gives up the lock and leaves the note that work may be unfinished.
func (l *lock) abandon() error { return l.file.Close() }
