package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"virtls/creds"
	"virtls/finding"
)

// A Credential is a credential object by its id.
type Credential struct {
	ID     string
	Holder *creds.Holder
}

// A Runner runs gateways and what belongs to them: it loads credentials anew
// when their files change or it is told to, and keeps systemd informed.
type Runner struct {
	Gateways    []*Gateway
	Credentials []Credential // each once
	Reload      <-chan os.Signal
	Notify      *Notifier
	Log         *slog.Logger
}

// Run runs the gateways until ctx ends and their connections have ended, or one
// of them cannot go on.
func (r *Runner) Run(ctx context.Context) error {
	for _, g := range r.Gateways {
		if err := g.Listen(ctx); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	failed := make(chan error, len(r.Gateways))
	for _, g := range r.Gateways {
		running.Go(func() { failed <- g.Serve(ctx) })
	}
	for _, c := range r.Credentials {
		running.Go(func() { r.watch(ctx, c) })
	}
	r.Notify.Ready(fmt.Sprintf("%d gateways", len(r.Gateways)))
	err := r.steer(ctx, failed)
	r.Notify.Stopping()
	stop()
	running.Wait()
	for range len(failed) {
		err = errors.Join(err, <-failed)
	}
	return err
}

// steer does what comes up until ctx ends or a gateway does.
func (r *Runner) steer(ctx context.Context, failed <-chan error) error {
	var alive <-chan time.Time
	if every := r.Notify.Watchdog(); every > 0 {
		ticker := time.NewTicker(every / 2)
		defer ticker.Stop()
		alive = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-alive:
			r.Notify.Alive()
		case <-r.Reload:
			r.Notify.Reloading()
			for _, c := range r.Credentials {
				r.reloaded(c, c.Holder.Reload(ctx))
			}
			r.Notify.Ready(fmt.Sprintf("%d gateways", len(r.Gateways)))
		}
	}
}

// watch loads credentials anew when their files change.
func (r *Runner) watch(ctx context.Context, c Credential) {
	last := c.Holder.Current()
	c.Holder.Watch(ctx, func(err error) {
		// The first time nothing has changed, as a rule.
		if now := c.Holder.Current(); err != nil || describe(now) != describe(last) {
			r.reloaded(c, err)
			last = now
		}
	})
}

// reloaded says what became of a reload.
func (r *Runner) reloaded(c Credential, err error) {
	log := r.Log.With("credentials", c.ID)
	if err != nil {
		f := finding.Of(err)
		log.Error("reload failed; the old credentials stay in use", "code", f.Code, "reason", f.String(), "mend", f.Fix)
		return
	}
	log.Info("credentials loaded", "identity", describe(c.Holder.Current()))
}

// describe tells sets of credentials apart.
func describe(c creds.Credentials) string {
	x, ok := c.(*creds.X509)
	if !ok || len(x.Identities) == 0 {
		return c.Type()
	}
	text := ""
	for _, id := range x.Identities {
		leaf := id.Chain[0]
		text += fmt.Sprintf("%s, until %s; ", leaf, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return text[:len(text)-2]
}
