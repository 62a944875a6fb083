package sasl

import (
	"context"
	"sync"
	"sync/atomic"

	"virtls/internal/watch"
)

// An AccountsFile is a file of accounts that is read again when it changes. Any
// number of goroutines may use it.
type AccountsFile struct {
	path    string
	load    func(path string) (*Accounts, error)
	reload  sync.Mutex // what is read last counts
	current atomic.Pointer[Accounts]
}

// OpenAccounts reads a file of accounts. The error is a *finding.Failure.
func OpenAccounts(path string) (*AccountsFile, error) {
	f := &AccountsFile{path: path, load: LoadAccounts}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Path returns where the file is.
func (f *AccountsFile) Path() string { return f.path }

// Current returns the accounts of the moment: it is what a Server's Accounts is.
func (f *AccountsFile) Current() *Accounts { return f.current.Load() }

// Reload reads the file. If it cannot be used the accounts stay as they were,
// and the error, a *finding.Failure, says why.
func (f *AccountsFile) Reload() error {
	f.reload.Lock()
	defer f.reload.Unlock()
	a, err := f.load(f.path)
	if err == nil {
		f.current.Store(a)
	}
	return err
}

// Watch reads the file again whenever it changes, until the context ends, and
// passes what Reload returned to reloaded.
func (f *AccountsFile) Watch(ctx context.Context, reloaded func(error)) {
	w := watch.New(f.path)
	reloaded(f.Reload()) // what has changed since OpenAccounts
	w.Run(ctx, func() { reloaded(f.Reload()) })
}
