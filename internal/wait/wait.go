// Package wait waits for what knows no context, for as long as a context lasts.
package wait

import (
	"context"
	"net"
	"time"
)

// Sleep waits for a time. If the context ends before, its error is returned.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Within runs f, which reads and writes connections. If the context ends before f
// does, their deadlines end what f waits for, and late is true. Afterwards the
// connections have no deadline.
func Within(ctx context.Context, f func() error, conns ...net.Conn) (late bool, err error) {
	setDeadlines := func(t time.Time) {
		for _, c := range conns {
			_ = c.SetDeadline(t) // fails if it was closed, when nothing waits
		}
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		setDeadlines(time.Unix(1, 0))
		close(interrupted)
	})
	err = f()
	if stop() {
		return false, err
	}
	<-interrupted
	setDeadlines(time.Time{})
	return true, err
}

// For returns what f returns, or the context's cause if the context ends before.
// Then f goes on to its end in a goroutine of its own, and nobody hears of it.
func For[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1) // there may be nobody any more to take it
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
