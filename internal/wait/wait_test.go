package wait

import (
	"context"
	"errors"
	"testing"
)

func TestFor(t *testing.T) {
	failed := errors.New("failed")
	for name, want := range map[string]error{"value": nil, "error": failed} {
		t.Run(name, func(t *testing.T) {
			if got, err := For(t.Context(), func() (int, error) { return 7, want }); got != 7 || err != want {
				t.Errorf("%d and %v, want 7 and %v", got, err, want)
			}
		})
	}
	t.Run("context ends first", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		forever, ended := make(chan struct{}), make(chan struct{})
		defer func() { close(forever); <-ended }()
		got, err := For(ctx, func() (int, error) {
			defer close(ended)
			cancel(failed)
			<-forever
			return 7, nil
		})
		if got != 0 || err != failed {
			t.Errorf("%d and %v, want 0 and %v", got, err, failed)
		}
	})
}
