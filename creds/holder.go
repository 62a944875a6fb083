package creds

import (
	"context"
	"sync"
	"sync/atomic"

	"virtls/finding"
	"virtls/internal/watch"
)

// A LoadFunc loads credentials anew, with warnings.
type LoadFunc func(context.Context) (Credentials, []finding.Finding, error)

// A Holder keeps the newest good credentials. Whoever makes a session asks for
// [Holder.Current] once and uses that set to the session's end, so that a
// reload disturbs nobody. It may be used by any number of goroutines.
type Holder struct {
	load    LoadFunc
	reload  sync.Mutex // one at a time, so that the newest files win
	current atomic.Pointer[held]
}

// held are credentials and their warnings, published together so that nobody
// sees those of another set.
type held struct {
	credentials Credentials
	warnings    []finding.Finding
}

// NewHolder loads the first credentials. Its error is that of load.
func NewHolder(ctx context.Context, load LoadFunc) (*Holder, error) {
	h := &Holder{load: load}
	if err := h.Reload(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// Current returns the credentials for a new session, never nil.
func (h *Holder) Current() Credentials { return h.current.Load().credentials }

// Warnings returns what is to be said of the current credentials.
func (h *Holder) Warnings() []finding.Finding { return h.current.Load().warnings }

// Reload loads the credentials anew and puts them in the place of the old ones
// in one step. If they are bad the old ones stay and the error says why.
func (h *Holder) Reload(ctx context.Context) error {
	h.reload.Lock()
	defer h.reload.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	c, warnings, err := h.load(ctx)
	if err != nil {
		return err
	}
	h.current.Store(&held{c, warnings})
	return nil
}

// Watch reloads once at its start, because the files may have changed since
// they were loaded, and then whenever one of them changes, until ctx ends; then
// it returns. report learns the outcome of every reload: nil, or why the old
// credentials stay. It is called by this goroutine alone.
func (h *Holder) Watch(ctx context.Context, report func(error)) {
	reload := func() {
		if err := h.Reload(ctx); ctx.Err() == nil {
			report(err)
		}
	}
	w := watch.New(h.Current().Files()...)
	reload()
	w.Run(ctx, reload)
}
