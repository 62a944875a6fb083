package sasl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"virtls/internal/atomicfile"
	"virtls/internal/wait"
)

// editWait is how long an edit waits for another one.
const editWait = 10 * time.Second

// EditAccounts changes a file of accounts, or the one that a symbolic link leads to;
// there need be none before, if missing is true. Two edits at once wait for each
// other, for ten seconds at most. The error is that of change, the context's, or a
// *finding.Failure.
func EditAccounts(ctx context.Context, path string, missing bool, change func(*Accounts) error) error {
	name := path
	path, err := atomicfile.ResolveLink(name)
	if err != nil {
		return kindAccounts.Found(name, err.Error()).Unable(err)
	}
	f, made, err := lock(ctx, path, missing)
	if err != nil {
		return err
	}
	defer f.Close() // which ends the lock
	err = edit(path, change)
	if err != nil && made && current(f, path) {
		os.Remove(path)
	}
	return err
}

func edit(path string, change func(*Accounts) error) error {
	a, err := LoadAccounts(path)
	if err != nil {
		return err
	}
	if err := change(a); err != nil {
		return err
	}
	if err := a.Save(path); err != nil {
		return kindAccounts.Found(path, err.Error()).Unable(err)
	}
	return nil
}

// lock opens and locks the file itself: nobody but its owner can, so that nobody
// else keeps an edit waiting. made tells whether it was made for that.
func lock(ctx context.Context, path string, missing bool) (f *os.File, made bool, err error) {
	end := time.Now().Add(editWait)
	for {
		f, err := os.OpenFile(path, os.O_RDWR, 0) // to write: NFS locks no other
		if made = missing && errors.Is(err, fs.ErrNotExist); made {
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, false, cannotOpen(path, err)
		}
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			if err == nil && current(f, path) {
				return f, made, nil
			}
			f.Close()
			if err != nil && err != unix.EWOULDBLOCK {
				return nil, false, kindAccounts.Found(path, "it cannot be locked: "+err.Error()).Unable(err)
			}
		}
		if time.Now().After(end) {
			return nil, false, kindAccounts.Found(path, fmt.Sprintf("another program has had it locked for %v", editWait)).Unable(nil)
		}
		if err := wait.Sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, false, err
		}
	}
}

// current tells whether a path still leads to a file: an edit replaces it.
func current(f *os.File, path string) bool {
	here, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(here, there)
}
