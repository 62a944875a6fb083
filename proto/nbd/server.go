package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"virtls/internal/wait"
)

// Limits bound what clients can do to a server. A value of zero or less
// stands for the default.
type Limits struct {
	Connections int           // at the same time; 100
	Handshake   time.Duration // for everything before the first request, TLS included; 10 seconds, as QEMU's
	Stall       time.Duration // for a client to send the rest of a request or to take in an answer; 2 minutes
	Requests    int           // of a connection, served at the same time; 16, as QEMU's
	Window      int64         // octets of requests' and answers' data that a connection can make the server hold; 32 MiB, and never less
}

func (l Limits) withDefaults() Limits {
	or := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	or(&l.Handshake, 10*time.Second)
	or(&l.Stall, 2*time.Minute)
	if l.Connections <= 0 {
		l.Connections = 100
	}
	if l.Requests <= 0 {
		l.Requests = 16
	}
	l.Window = max(l.Window, maxPayload)
	return l
}

// A Server serves exports. Its fields must not be changed once it serves.
type Server struct {
	Exports []Export

	// Secure, if set, is how connections become TLS ones. Clients must ask for it
	// before anything else, unless AllowPlain is set: then they may do without,
	// and see the exports that have no access list.
	Secure     Secure
	AllowPlain bool

	Limits Limits

	// Log, if set, is called when a client comes, goes or is sent away. It may be
	// called by several goroutines at once.
	Log func(Event)
}

// An Event is something that happened to a connection.
type Event struct {
	Kind   EventKind
	Remote net.Addr
	Peer   Peer
	Export string // that the client uses, or wanted to
	Err    error  // why the connection ended, nil if the client said goodbye
}

// An EventKind is what happened.
type EventKind string

// The kinds of events.
const (
	Opened  EventKind = "opened"  // the client uses an export
	Closed  EventKind = "closed"  // it does not any more
	Refused EventKind = "refused" // it never did
	Denied  EventKind = "denied"  // it asked for one that an access list keeps from it; told once for a connection
)

func (s *Server) log(e Event) {
	if s.Log != nil {
		s.Log(e)
	}
}

// Serve accepts connections and serves each until the context ends; then it
// stops listening, answers the requests that have come, and returns nil when
// nothing is left running. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	limits := s.Limits.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	slots := make(chan struct{}, limits.Connections)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for pause := time.Duration(0); ; {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// Too many open files, say: what is being served goes on.
			s.log(Event{Kind: Refused, Err: err})
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			_ = wait.Sleep(ctx, pause) // the end is seen above
			continue
		}
		pause = 0
		select {
		case slots <- struct{}{}:
		default:
			s.log(Event{Kind: Refused, Remote: c.RemoteAddr(), Err: fmt.Errorf("there are %d connections already", limits.Connections)})
			c.Close()
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			s.ServeConn(ctx, c)
		})
	}
}

// ServeConn serves one connection and closes it. When the context ends it
// answers what has been asked and returns. The error says why the connection
// ended, nil if the client said goodbye; it has been logged.
func (s *Server) ServeConn(ctx context.Context, c net.Conn) error {
	defer c.Close()
	limits := s.Limits.withDefaults()
	n := &negotiation{server: s, conn: c, plain: c}
	t, err := n.run(ctx, limits)
	if err != nil || t == nil {
		if err != nil && !n.silent() {
			s.log(Event{Refused, c.RemoteAddr(), n.peer, n.wanted, fmt.Errorf("option negotiation failed: %w", err)})
		}
		n.conn.Close()
		return err
	}
	defer n.conn.Close()
	s.log(Event{Opened, c.RemoteAddr(), n.peer, t.export.Name, nil})
	err = t.run(ctx, limits)
	s.log(Event{Closed, c.RemoteAddr(), n.peer, t.export.Name, err})
	return err
}

// visible returns the exports that a peer may see.
func (s *Server) visible(p Peer) []*Export {
	var list []*Export
	for i := range s.Exports {
		if e := &s.Exports[i]; e.denies(p) == nil {
			list = append(list, e)
		}
	}
	return list
}

// find returns the export of that name, nil if there is none or the peer may not
// see it; denied is then why.
func (s *Server) find(name string, p Peer) (found *Export, denied error) {
	i := slices.IndexFunc(s.Exports, func(e Export) bool { return e.Name == name })
	if i < 0 {
		return nil, nil
	}
	if err := s.Exports[i].denies(p); err != nil {
		return nil, err
	}
	return &s.Exports[i], nil
}

// denies tells why a peer may not see the export, nil if it may.
func (e *Export) denies(p Peer) error {
	switch {
	case e.Access == nil:
		return nil
	case !p.Secured:
		return kindDenied.Found("the client", "a connection without TLS").Wrong()
	case p.Name == "":
		return kindDenied.Found("the client", "a client without a name").Wrong()
	}
	ok, err := e.Access.Allowed(p.Name)
	if err == nil && !ok {
		err = kindDenied.Found("the client", p.Name).Wrong()
	}
	return err
}

// endOf makes an unexpected end of a connection readable.
func endOf(err error, what string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the peer closed the connection in the middle of %s: %w", what, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%s: %w", what, err)
}
