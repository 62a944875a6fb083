package sasl

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// editWait is how long an edit waits for another one.
const editWait = 10 * time.Second

// EditAccounts changes a file of accounts; there need be none before, if missing
// is true. Two edits at once wait for each other, for ten seconds at most. The
// error is that of change, the context's, or a *finding.Failure.
func EditAccounts(ctx context.Context, path string, missing bool, change func(*Accounts) error) error {
	flags := os.O_RDONLY
	if missing {
		flags |= os.O_CREATE
	}
	f, err := lock(ctx, path, flags)
	if err != nil {
		return err
	}
	defer f.Close() // which ends the lock
	if err := edit(path, change); err != nil {
		if info, err := f.Stat(); err == nil && missing && info.Size() == 0 {
			os.Remove(path) // it was made for this edit
		}
		return err
	}
	return nil
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
// else keeps an edit waiting.
func lock(ctx context.Context, path string, flags int) (*os.File, error) {
	end := time.Now().Add(editWait)
	for {
		f, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, kindAccounts.Found(path, err.Error()).Unable(err)
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && current(f, path) {
			return f, nil
		}
		f.Close()
		if time.Now().After(end) {
			return nil, kindAccounts.Found(path, fmt.Sprintf("another program has had it locked for %v", editWait)).Unable(nil)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// current tells whether a path still leads to a file: an edit replaces it.
func current(f *os.File, path string) bool {
	here, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(here, there)
}
