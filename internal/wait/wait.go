// Package wait waits for what knows no context.
package wait

import "context"

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
