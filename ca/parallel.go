package ca

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f(0) to f(n-1) on all cores and joins the errors in order. It
// begins no further call once ctx is done.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[i] = f(i)
			}
		})
	}
	workers.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}
