package sasl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestFailuresAreSlowedAndCounted(t *testing.T) {
	s := &Throttle{Delay: 50 * time.Millisecond}
	began := time.Now()
	s.Failed(t.Context(), "a")
	if s.Failures() != 1 || time.Since(began) < s.Delay {
		t.Errorf("%d failures after %v", s.Failures(), time.Since(began))
	}
	must(t, s.Wait(t.Context(), "a")) // who has been told may try again
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s = &Throttle{Delay: time.Hour}
	s.Failed(ended, "a") // returns at once
	if err := s.Wait(ended, "a"); err == nil {
		t.Error("a login goes on after its context has ended")
	}
	must(t, s.Wait(ended, "b"))
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Wait(soon, "a"); err == nil || soon.Err() != nil {
		t.Errorf("who has to wait longer than the login lasts gets %v", err)
	}
}

// Waits grow with each failure, up to a bound, and end.
func TestThrottleGrows(t *testing.T) {
	s, now := &Throttle{Delay: time.Second, MaxDelay: 5 * time.Second}, time.Now()
	for i, want := range []time.Duration{1, 2, 4, 5, 5} {
		got := s.punish("a", now)
		if got != want*time.Second {
			t.Errorf("failure %d: %v", i, got)
		}
		now = now.Add(got)
	}
	if got := s.punish("b", now); got != time.Second {
		t.Errorf("another client waits %v", got)
	}
	if got := s.punish("a", now.Add(forget+time.Second)); got != time.Second {
		t.Errorf("old failures are not forgotten: %v", got)
	}
	// Connections at the same time do not get more guesses: 1 s, and 2 s more.
	s = &Throttle{Delay: time.Second, MaxDelay: time.Minute}
	if first, second := s.punish("a", now), s.punish("a", now); first != time.Second || second != 3*time.Second {
		t.Errorf("two at once wait %v and %v", first, second)
	}
}

// However many connections a client has, its guesses are judged one after the
// other, with the waits between them.
func TestGuardTakesTurns(t *testing.T) {
	s := &Throttle{Delay: 50 * time.Millisecond, MaxDelay: 50 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), 220*time.Millisecond)
	defer cancel()
	var judged, refused atomic.Int32
	var all sync.WaitGroup
	wrong := errors.New("wrong")
	for range 40 {
		all.Go(func() {
			must(t, s.Wait(ctx, "b")) // somebody else is not kept waiting
			err := s.Guard(ctx, "a", func() error { judged.Add(1); return wrong })
			if err != wrong {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	// At 0, 50, 100, 150 and 200 ms.
	if n := judged.Load(); n < 1 || n > 5 || n+refused.Load() != 40 || s.Failures() != uint64(n) {
		t.Errorf("%d guesses of 40 were judged, %d refused, %d counted", n, refused.Load(), s.Failures())
	}
	if len(s.gates) != 0 {
		t.Errorf("%d gates stay", len(s.gates))
	}
	must(t, s.Guard(t.Context(), "a", func() error { return nil })) // it goes on
}

func TestThrottleIsBounded(t *testing.T) {
	s, now := &Throttle{}, time.Now()
	for range 4 {
		s.punish("stubborn", now)
	}
	for i := range 2 * maxClients {
		s.punish(fmt.Sprint(i), now)
	}
	if n := len(s.clients); n > maxClients {
		t.Errorf("%d clients are remembered", n)
	}
	if s.clients["stubborn"] == nil {
		t.Error("whoever fails most was forgotten first")
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 100 {
				s.punish(fmt.Sprint(i), now)
				s.left(fmt.Sprint(i))
				s.Failures()
			}
		})
	}
	all.Wait()
}

func TestClientOf(t *testing.T) {
	for want, a := range map[string]net.Addr{
		"192.0.2.1":         &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 7},
		"2001:db8:1:2::/64": &net.TCPAddr{IP: net.ParseIP("2001:db8:1:2:3:4:5:6"), Port: 7},
		"fe80::/64":         &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 7, Zone: "eth0"},
		"unix":              &net.UnixAddr{Net: "unix"},
		"":                  nil,
	} {
		if got := ClientOf(a); got != want {
			t.Errorf("%v is %q; want %q", a, got, want)
		}
	}
}
