package sasl

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"virtls/internal/wait"
)

// How failed logins are slowed if a Throttle does not say otherwise.
const (
	DefaultDelay    = time.Second
	DefaultMaxDelay = 15 * time.Second
)

// Bounds on what a Throttle remembers.
const (
	maxClients = 4096            // clients at a time
	forget     = 5 * time.Minute // after the last failure
)

// A Throttle slows failed logins and counts them, by whatever way they failed.
// It does so for each client by itself: a client is a name that its user
// chooses, such as what [ClientOf] makes of an address. The zero value is ready
// to use, by any number of goroutines.
type Throttle struct {
	// Delay is how long a client waits for the news that its first login failed;
	// it doubles with each further failure up to MaxDelay. DefaultDelay and
	// DefaultMaxDelay if 0.
	Delay, MaxDelay time.Duration

	mu       sync.Mutex
	failures uint64
	clients  map[string]*penalty
	gates    map[string]*gate
}

// A gate lets the proofs of one client be judged one after the other.
type gate struct {
	turn    chan struct{} // of capacity 1
	waiting int
}

// maxWaiting is how many proofs of a client may wait to be judged.
const maxWaiting = 16

// A penalty is what a client has brought upon itself.
type penalty struct {
	delay time.Duration // after the last failure
	until time.Time     // when the next login is heard
}

// ClientOf names who is behind an address: the host of an IPv4 address, the
// network of an IPv6 one (its first 64 bits: whoever has one address there has
// all of them), and everybody on the machine for a UNIX socket.
func ClientOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	where, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.Network()
	}
	ip := where.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64)
	return network.String()
}

// Failures counts the logins that have failed.
func (t *Throttle) Failures() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures
}

// Guard has check judge what a client has proved, which must be at hand: nothing
// may be awaited of the client meanwhile. The proofs of one client are judged one
// after the other, each when the client may try, so that several connections do
// not let it guess faster than one. A failure of check counts; [Throttle.Pause]
// waits before the client is told.
func (t *Throttle) Guard(ctx context.Context, client string, check func() error) error {
	g, err := t.enter(client)
	if err != nil {
		return err
	}
	defer t.leave(client, g)
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.turn }()
	if err := t.Wait(ctx, client); err != nil {
		return err
	}
	err = check()
	if err != nil {
		t.punish(client, time.Now())
	}
	return err
}

func (t *Throttle) enter(client string) (*gate, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.gates[client]
	if g == nil {
		g = &gate{turn: make(chan struct{}, 1)}
		if t.gates == nil {
			t.gates = map[string]*gate{}
		}
		t.gates[client] = g
	}
	if g.waiting == maxWaiting {
		return nil, fmt.Errorf("%d logins from %s wait already to be judged", maxWaiting, client)
	}
	g.waiting++
	return g, nil
}

func (t *Throttle) leave(client string, g *gate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g.waiting--; g.waiting == 0 {
		delete(t.gates, client)
	}
}

// Pause returns when a client whose login has failed may be told of it, or the
// context has ended.
func (t *Throttle) Pause(ctx context.Context, client string) { _ = wait.Sleep(ctx, t.left(client)) }

// Wait returns when a client may try to log in: at once unless it has failed
// before. Asked before anything else it spares a client that has to wait the
// effort; what decides is [Throttle.Guard]. If the context ends earlier than that
// there is an error, at once.
func (t *Throttle) Wait(ctx context.Context, client string) error {
	left := t.left(client)
	if end, ok := ctx.Deadline(); ok && left > time.Until(end) {
		return fmt.Errorf("too many logins from %s have failed: the next is heard in %v", client, left.Round(100*time.Millisecond))
	}
	return wait.Sleep(ctx, left)
}

func (t *Throttle) left(client string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.clients[client]; p != nil {
		return max(0, time.Until(p.until))
	}
	return 0
}

// Failed counts a failed login of a client, and returns when the client may be
// told of it or the context has ended.
func (t *Throttle) Failed(ctx context.Context, client string) {
	_ = wait.Sleep(ctx, t.punish(client, time.Now()))
}

// punish notes a failure and returns how long its client has to wait now.
func (t *Throttle) punish(client string, now time.Time) time.Duration {
	first := cmp.Or(t.Delay, DefaultDelay)
	limit := max(cmp.Or(t.MaxDelay, DefaultMaxDelay), first)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	p := t.clients[client]
	if p == nil || now.Sub(p.until) > forget {
		t.makeRoom()
		p = &penalty{}
		if t.clients == nil {
			t.clients = map[string]*penalty{}
		}
		t.clients[client] = p
	}
	p.delay = min(max(2*p.delay, first), limit)
	if p.until.Before(now) {
		p.until = now
	}
	// Failures of several connections add up.
	p.until = p.until.Add(p.delay)
	if last := now.Add(limit); p.until.After(last) {
		p.until = last
	}
	return p.until.Sub(now)
}

// makeRoom keeps the memory bounded: of too many clients it forgets the half that
// has the least left to wait.
func (t *Throttle) makeRoom() {
	if len(t.clients) < maxClients {
		return
	}
	names := slices.SortedFunc(maps.Keys(t.clients), func(a, b string) int { return t.clients[a].until.Compare(t.clients[b].until) })
	for _, name := range names[:maxClients/2] {
		delete(t.clients, name)
	}
}
