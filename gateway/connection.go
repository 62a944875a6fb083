package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"virtls/finding"
	"virtls/session"
)

// A connection is one client's, from its acceptance to its end.
type connection struct {
	g       *Gateway
	id      uint64
	peer    string     // address, for people
	addr    netip.Addr // zero for UNIX sockets
	began   time.Time
	to      target // the service; of VNC it may become known later
	turn    *place // to be connected to the service
	opening opening
	relay   relay
	passes  bool // the relay has started; guarded by Gateway.mu

	name atomic.Pointer[string] // of the client, once it is known
	user atomic.Pointer[string] // whose account the client has, of VNC
	// forwarded is whom a proxy of HTTP names as the client of its last request.
	forwarded atomic.Pointer[netip.Addr]
	machine   atomic.Pointer[string] // that the client sees, of VNC if there are several
	export    *string                // that the client uses, of NBD
	up, down  atomic.Int64           // octets from and to the client
}

// take begins to serve a connection, or refuses it.
func (g *Gateway) take(ctx context.Context, nc net.Conn) {
	c := g.connection(nc)
	if c == nil {
		return
	}
	c.opening = g.o.Protocol.opening(c)
	c.turn = g.queue.enter(c.client())
	go c.serve(ctx, nc)
}

// connection takes a connection in, or refuses it and returns nil.
func (g *Gateway) connection(nc net.Conn) *connection {
	c := &connection{g: g, id: g.serial.Add(1), peer: peerName(nc), addr: addrOf(nc), began: time.Now(), to: g.o.target()}
	if err := g.admit(c); err != nil {
		c.refuse(err)
		nc.Close()
		return nil
	}
	g.running.Add(1)
	return c
}

// admit judges what can be judged before the client has said anything.
func (g *Gateway) admit(c *connection) error {
	if len(g.o.Access) > 0 && len(g.o.Access.at(c.addr)) == 0 {
		return kindFrom.Found(c.subject(), "").WithFix("if it is to come in: --allow-from %s", c.addr).Wrong()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case len(g.conns) >= g.o.MaxConnections:
		return kindFull.Found("gateway "+g.o.Name, "").WithText("there are %d connections, as many as there may be", len(g.conns)).Unable(nil)
	case g.o.MaxPerClient > 0 && c.addr.IsValid() && g.perClient[hostOf(c.addr)] >= g.o.MaxPerClient:
		return kindFull.Found("client "+hostOf(c.addr), "").WithText("it has %d connections, as many as one client may have", g.perClient[hostOf(c.addr)]).Unable(nil)
	}
	g.conns[c] = struct{}{}
	if c.addr.IsValid() {
		g.perClient[hostOf(c.addr)]++
	}
	return nil
}

// forget undoes admit.
func (g *Gateway) forget(c *connection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
	if !c.addr.IsValid() {
		return
	}
	host := hostOf(c.addr)
	if g.perClient[host]--; g.perClient[host] == 0 {
		delete(g.perClient, host)
	}
}

// serve makes the sessions and starts the relay, which goes on by itself.
func (c *connection) serve(ctx context.Context, nc net.Conn) {
	err := c.open(ctx, nc)
	c.turn.pass()
	c.opened(err)
}

// opened does what is left when there is a relay, or none.
func (c *connection) opened(err error) {
	switch {
	case err == nil:
		return
	case errors.Is(err, errLeft):
		c.log(slog.LevelInfo, "closed", append(c.attrs(), slog.String("reason", err.Error())))
	default:
		c.refuse(err)
	}
	c.end()
}

// errLeft is of a client that has got all it wanted before there was a relay.
var errLeft = errors.New("the client left without using the service")

// end is the last thing that happens to a connection.
func (c *connection) end() {
	c.g.forget(c)
	c.g.running.Done()
}

// open takes a connection up to where its relay has started.
func (c *connection) open(ctx context.Context, nc net.Conn) error {
	client, err := newSide(nc, c.g.o.KeepAlive)
	if err != nil {
		nc.Close()
		return err
	}
	if err := c.connect(ctx, &client); err != nil {
		client.Close()
		return err
	}
	return nil
}

// connect makes the session with the client and the other side of the relay, and
// starts it.
func (c *connection) connect(ctx context.Context, client *side) error {
	if err := c.greet(ctx, client); err != nil {
		return err
	}
	server, err := c.reach(ctx, *client)
	if err != nil {
		return err
	}
	if err := c.opening.join(ctx, *client, server); err != nil {
		server.Close()
		return err
	}
	c.accepted(*client, server)
	c.start(*client, server)
	return nil
}

func newSide(nc net.Conn, keepAlive time.Duration) (side, error) {
	sc, ok := nc.(streamConn)
	if !ok {
		return side{}, errors.New("the connection is neither TCP nor UNIX")
	}
	s, err := newSocket(sc)
	if err != nil {
		return side{}, err
	}
	s.keepAlive(keepAlive)
	return side{socket: s}, nil
}

// greet makes the session with the client, if there is to be one.
func (c *connection) greet(ctx context.Context, client *side) error {
	o := &c.g.o
	ctx, cancel := context.WithTimeout(ctx, o.HandshakeLimit)
	defer cancel()
	if err := c.opening.greet(ctx, client); err != nil {
		return o.Access.explain(err)
	}
	return nil
}

// secure makes a session with the client.
func (c *connection) secure(ctx context.Context, client *side) error {
	start := time.Now()
	s, err := session.Open(ctx, client.streamConn, c.g.o.listenSession(c.g.o.Listen.Credentials, c.addr))
	if err != nil {
		return err
	}
	c.g.stats.handshake(time.Since(start))
	c.secured(client, s)
	return nil
}

// secured notes a session with the client.
func (c *connection) secured(client *side, s *session.Conn) {
	client.tls = s
	// Anybody can show a certificate that nobody verifies.
	if st := s.State(); st.Authenticated {
		c.name.Store(&st.PeerName)
	}
}

// reach connects to the service and makes the session with it.
func (c *connection) reach(ctx context.Context, client side) (server side, err error) {
	o := &c.g.o
	ctx, cancel := context.WithTimeout(ctx, o.ConnectLimit)
	defer cancel()
	if o.Protocol.ordered() {
		c.turn.await(ctx)
	}
	nc, err := c.to.Address.dial(ctx)
	if err != nil {
		return side{}, kindService.Found(c.to.Address.String(), "").Unable(err)
	}
	if server, err = newSide(nc, o.KeepAlive); err != nil {
		nc.Close()
		return side{}, err
	}
	if err = c.introduce(ctx, client, &server); err != nil {
		server.Close()
		return side{}, err
	}
	return server, nil
}

// introduce says who comes and makes the session with the service.
func (c *connection) introduce(ctx context.Context, client side, server *side) error {
	o := &c.g.o
	if o.SendProxy {
		if err := sendProxy(ctx, client, server.socket); err != nil {
			return kindService.Found(c.to.Address.String(), "").Unable(err)
		}
	}
	return c.opening.introduce(ctx, server)
}

// secureService makes a session with the service.
func (c *connection) secureService(ctx context.Context, server *side) (err error) {
	server.tls, err = session.Open(ctx, server.streamConn, c.to.session(&c.g.o))
	return err
}

// start starts the relay.
func (c *connection) start(client, server side) {
	o := &c.g.o
	c.relay = relay{
		client: client, server: server, idle: o.IdleLimit, lingering: o.LingerLimit,
		moved: c.moved, done: c.closed,
	}
	g := c.g
	g.mu.Lock()
	c.passes = true
	late := g.cutting
	g.mu.Unlock()
	c.relay.start()
	if late {
		c.relay.stop(errCut)
	}
}

var errCut = errors.New("the gateway stops and waits no longer")

func (c *connection) moved(up bool, n int) {
	if up {
		c.up.Add(int64(n))
		c.g.stats.up.Add(int64(n))
	} else {
		c.down.Add(int64(n))
		c.g.stats.down.Add(int64(n))
	}
}

// closed is called when the relay has ended.
func (c *connection) closed(err error) {
	attrs := c.attrs()
	attrs = append(attrs, slog.Int64("up", c.up.Load()), slog.Int64("down", c.down.Load()), slog.Duration("lasted", time.Since(c.began).Round(time.Millisecond)))
	if err != nil {
		attrs = append(attrs, slog.String("reason", err.Error()))
	}
	c.log(slog.LevelInfo, "closed", attrs)
	c.end()
}

func (c *connection) log(level slog.Level, msg string, attrs []slog.Attr) {
	c.g.log.LogAttrs(context.Background(), level, msg, attrs...)
}

func (c *connection) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.Uint64("connection", c.id), slog.String("peer", c.peer)}
	if a := c.forwarded.Load(); a != nil {
		attrs = append(attrs, slog.String("client", a.String()))
	}
	if name := c.name.Load(); name != nil && *name != "" {
		attrs = append(attrs, slog.String("dn", *name))
	}
	if user := c.user.Load(); user != nil && *user != "" {
		attrs = append(attrs, slog.String("user", *user))
	}
	if machine := c.machine.Load(); machine != nil {
		attrs = append(attrs, slog.String("machine", *machine))
	}
	return attrs
}

// accepted logs the verdict on a client that was let in.
func (c *connection) accepted(client, server side) {
	c.g.stats.accepted.Add(1)
	attrs := append(c.attrs(), slog.String("verdict", "accepted"))
	if c.export != nil {
		attrs = append(attrs, slog.String("export", *c.export))
	}
	for _, s := range []struct {
		side
		key string
	}{{client, "tls"}, {server, "service-tls"}} {
		if s.tls == nil {
			continue
		}
		st := s.tls.State()
		attrs = append(attrs, slog.String(s.key, st.Version+" "+st.Suite))
		for _, w := range st.Warnings {
			attrs = append(attrs, slog.String("warning", w.Code))
		}
	}
	c.log(slog.LevelInfo, "accepted", attrs)
}

// refuse logs why a client was not let in.
func (c *connection) refuse(err error) {
	f := finding.Of(err)
	c.g.stats.refuse(f.Code)
	attrs := append(c.attrs(), slog.String("verdict", "refused"), slog.String("code", f.Code), slog.String("reason", f.String()))
	if f.Got != "" {
		attrs = append(attrs, slog.String("found", f.Got))
	}
	attrs = append(attrs, slog.String("mend", f.Fix))
	c.log(slog.LevelWarn, "refused", attrs)
}
