package wait

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestSleep(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	for _, tt := range []struct {
		name string
		ctx  context.Context
		d    time.Duration
		want error
	}{
		{"to its end", t.Context(), time.Millisecond, nil},
		{"context ends first", ended, time.Hour, context.Canceled},
		{"no time at all", ended, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			if err := Sleep(tt.ctx, tt.d); err != tt.want || err == nil && time.Since(began) < tt.d {
				t.Errorf("got %v after %v, want %v", err, time.Since(began), tt.want)
			}
		})
	}
}

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

func TestWithin(t *testing.T) {
	failed := errors.New("failed")
	for _, tt := range []struct {
		name string
		ends bool // the context does, while f runs
		f    func(c net.Conn) error
		late bool
		want error
	}{
		{"in time", false, func(net.Conn) error { return nil }, false, nil},
		{"an error", false, func(net.Conn) error { return failed }, false, failed},
		{"context ends first", true, func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }, true, os.ErrDeadlineExceeded},
		{"done nevertheless", true, func(net.Conn) error { return nil }, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			late, err := Within(ctx, func() error {
				if tt.ends {
					cancel()
				}
				return tt.f(near)
			}, near)
			if late != tt.late || !errors.Is(err, tt.want) {
				t.Errorf("got %t, %v, want %t, %v", late, err, tt.late, tt.want)
			}
			go far.Write([]byte("x"))
			if _, err := near.Read(make([]byte, 1)); err != nil {
				t.Errorf("the connection cannot be used afterwards: %v", err)
			}
		})
	}
}
