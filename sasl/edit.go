package sasl

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// EditAccounts changes a file of accounts; there need be none before, if missing
// is true. Two edits at once wait for each other. The error is that of change,
// the context's, or a *finding.Failure.
func EditAccounts(ctx context.Context, path string, missing bool, change func(*Accounts) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return kindAccounts.Found(path, err.Error()).Unable(err)
	}
	defer dir.Close() // which ends the lock
	for unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	a, err := LoadAccounts(path)
	if missing && errors.Is(err, fs.ErrNotExist) {
		a, err = NewAccounts(), nil
	}
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
