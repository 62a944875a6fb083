package gateway

import (
	"context"
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
	Files       []string     // that are read besides, such as access lists
	Process     Process
	Reload      <-chan os.Signal
	Notify      *Notifier
	Log         *slog.Logger

	mu       sync.Mutex
	outcomes map[string]CredentialStatus // of reloads
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
	defer running.Wait()
	defer stop()
	if r.Process.Status != "" {
		l, err := r.listenStatus(ctx)
		if err != nil {
			return err
		}
		running.Go(func() { r.serveStatus(ctx, l) })
	}
	if err := r.confine(); err != nil {
		return err
	}
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
			for _, g := range r.Gateways {
				g.Reload()
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

// outcome returns what became of reloads of credentials.
func (r *Runner) outcome(id string) CredentialStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcomes[id]
}

// count remembers what became of a reload.
func (r *Runner) count(id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outcomes == nil {
		r.outcomes = map[string]CredentialStatus{}
	}
	s := r.outcomes[id]
	s.Reloads, s.Error = s.Reloads+1, ""
	if err != nil {
		s.Reloads, s.Failures, s.Error = s.Reloads-1, s.Failures+1, err.Error()
	}
	r.outcomes[id] = s
}

// reloaded says what became of a reload.
func (r *Runner) reloaded(c Credential, err error) {
	r.count(c.ID, err)
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
