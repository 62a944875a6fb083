package gateway

import (
	"context"
	"sync"
	"time"
)

// A queue has the service see the connections of each client in the order in
// which the client made them. The destination of a migration takes the first
// connection for the main channel: QEMU before 8.0 always, later ones if they
// have TLS themselves (migration/channel.c); and the source makes the others
// while the end of the first one's handshake may still be on its way. Clients do
// not wait for each other, nor for one of their own connections that is slow.
type queue struct {
	mu   sync.Mutex
	last map[string]*place // by client
}

// A place in the queue of one client.
type place struct {
	q      *queue
	client string
	ahead  <-chan struct{} // closed when it is this one's turn; nil if it is already
	done   chan struct{}
}

// client is who made a connection, as far as connections are to be kept in order:
// its address, or the process at the other end of a UNIX socket.
func (c *connection) client() string {
	if c.addr.IsValid() {
		return c.addr.String()
	}
	return c.peer
}

// enter takes a place behind the client's earlier connections.
func (q *queue) enter(client string) *place {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		q.last = map[string]*place{}
	}
	p := &place{q: q, client: client, done: make(chan struct{})}
	if before := q.last[client]; before != nil {
		p.ahead = before.done
	}
	q.last[client] = p
	return p
}

// patience is how long a connection waits for the one before it.
const patience = 2 * time.Second

// await returns when it is the place's turn, after some time at the latest.
func (p *place) await(ctx context.Context) {
	if p.ahead == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ahead:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pass lets the next one go on. It is called once.
func (p *place) pass() {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	close(p.done)
	if p.q.last[p.client] == p {
		delete(p.q.last, p.client)
	}
}
