package parallel

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestFor(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	for _, tt := range []struct {
		name   string
		n      int
		failed map[int]error
		want   error
		all    bool // every number is called
	}{
		{"nothing to do", 0, nil, nil, true},
		{"all succeed", 1000, nil, nil, true},
		{"the first fails", 1000, map[int]error{0: first}, first, false},
		{"one fails", 1000, map[int]error{50: first}, first, false},
		{"the last fails", 1000, map[int]error{999: first}, first, true},
		{"the lowest number counts", 1000, map[int]error{1: second, 0: first}, first, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var done atomic.Int32
			err := For(t.Context(), tt.n, func(i int) error {
				done.Add(1)
				if tt.failed[i] == first {
					time.Sleep(time.Millisecond) // the other may fail before
				} else if tt.want != nil && !tt.all {
					time.Sleep(100 * time.Microsecond) // a slow machine may stop between an error and its notice
				}
				return tt.failed[i]
			})
			if n := int(done.Load()); err != tt.want || (n == tt.n) != tt.all {
				t.Errorf("%v after %d calls of %d, want %v", err, n, tt.n, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(first)
	if err := For(ctx, 5, func(int) error { return errors.New("called") }); err != context.Canceled {
		t.Errorf("the context has ended: %v", err)
	}
}
