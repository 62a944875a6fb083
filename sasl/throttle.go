package sasl

import (
	"context"
	"sync/atomic"
	"time"
)

// DefaultDelay is how long a client waits for the news that its login failed.
const DefaultDelay = time.Second

// A Throttle slows failed logins and counts them, by whatever way they failed.
// It may be used by any number of goroutines.
type Throttle struct {
	Delay time.Duration // DefaultDelay if 0

	failures atomic.Uint64
}

// Failures counts the logins that have failed.
func (t *Throttle) Failures() uint64 { return t.failures.Load() }

// Failed counts a failed login, and returns when the client may be told of it or
// the context has ended.
func (t *Throttle) Failed(ctx context.Context) {
	t.failures.Add(1)
	delay := t.Delay
	if delay == 0 {
		delay = DefaultDelay
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
