// Package gateway puts TLS in front of a service that has none, or takes it off
// for a program that cannot speak it: a listener on one side, a service on the
// other, and either of them with TLS as QEMU or libvirt have it.
//
// A [Gateway] judges each client (address, certificate, access list), connects
// to the service and passes bytes both ways until both have ended. What it
// decides it says in its log, with the finding that made it decide.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/session"
)

var (
	kindOptions = finding.Define("gateway-options", finding.Error,
		"the settings of a gateway do not fit together",
		"the text says which one is missing or has nothing to do")
	kindPlain = finding.Define("gateway-plain", finding.Warning,
		"neither side of the gateway has TLS",
		"name credentials with --listen-tls-creds or --connect-tls-creds")
	kindFull = finding.Define("gateway-full", finding.Error,
		"there are as many connections as there may be",
		"raise --max-connections or --max-per-client, or find out who holds them: the status page lists them")
	kindFiles = finding.Define("gateway-files", finding.Warning,
		"the limit of open files allows fewer connections than --max-connections; each has two files",
		"raise the limit (LimitNOFILE= in a unit, ulimit -Hn in a shell), or lower --max-connections")
	kindService = finding.Define("gateway-service", finding.Error,
		"the service behind the gateway cannot be reached",
		"start it, or correct --connect")
	kindListen = finding.Define("gateway-listen", finding.Error,
		"the gateway cannot listen", "the text says why: another program has the address, or the user lacks the right")
)

// A Protocol is what a gateway must know of what it passes on.
type Protocol string

// The protocols.
const (
	TLS     Protocol = "tls"     // nothing: TLS from the first byte, as chardevs and migration have it
	Libvirt Protocol = "libvirt" // libvirt's remote protocol: the byte that confirms a client, libvirt's rules
	NBD     Protocol = "nbd"     // TLS begins by STARTTLS inside the protocol, and exports have names
)

// Protocols lists the protocols.
var Protocols = []Protocol{TLS, Libvirt, NBD}

// LibvirtPort is where libvirt's daemons listen for TLS, NBDPort where servers of
// NBD do with TLS and without.
const (
	LibvirtPort = "16514"
	NBDPort     = "10809"
)

// port is where a protocol's servers listen, empty if anywhere.
func (p Protocol) port() string {
	switch p {
	case Libvirt:
		return LibvirtPort
	case NBD:
		return NBDPort
	}
	return ""
}

// A Side is one side of a gateway.
type Side struct {
	Address     Address
	Credentials *creds.Holder // nil for a plain side
}

// Options say what a gateway is to do. The zero values of limits are no limits,
// except where a default is named.
type Options struct {
	Name     string // in the log and the metrics
	Protocol Protocol
	Listen   Side
	Connect  Side

	Hostname string           // whom the service's certificate must name; the host of Connect if empty
	Authz    authz.Authorizer // QEMU's access list for clients; may be nil
	Access   Access           // another; both must let a client in
	Exports  Exports          // of NBD: who may have which

	// NameAuthorities has a TLS listener name its authorities when it asks for a
	// certificate, so that clients with several choose the right one. GnuTLS before
	// 3.8.13 then keeps RSA certificates back: see [session.Options].
	NameAuthorities bool

	MaxConnections int // at once; what the file descriptors allow if 0
	MaxPerClient   int // at once from one address

	HandshakeLimit time.Duration // for a client's handshake; session.DefaultHandshakeLimit if 0
	ConnectLimit   time.Duration // for reaching the service and its handshake; 10 s if 0
	IdleLimit      time.Duration // without a byte in either direction
	LingerLimit    time.Duration // the same after one end has ended; DefaultLinger if 0
	KeepAlive      time.Duration // of TCP's probes; DefaultKeepAlive if 0, none if negative
	DrainLimit     time.Duration // for connections when the gateway stops; none if 0

	SendProxy bool // tell the service who the client is, by PROXY protocol version 2

	Log *slog.Logger // slog.Default() if nil

	recordsPerKey int // of the session with the service; its default if 0
}

// Defaults of limits.
const (
	DefaultLinger    = 10 * time.Minute
	DefaultKeepAlive = time.Minute
	defaultConnect   = 10 * time.Second
)

// A Gateway serves one listener.
type Gateway struct {
	o     Options
	log   *slog.Logger
	stats stats
	queue queue

	mu        sync.Mutex
	conns     map[*connection]struct{}
	perClient map[netip.Addr]int
	cutting   bool // no connection may go on
	serial    atomic.Uint64
	running   sync.WaitGroup
	listener  net.Listener
}

// New checks options and returns a gateway that does not listen yet.
func New(o Options) (*Gateway, error) {
	o.Protocol = cmp.Or(o.Protocol, TLS)
	o.Name = cmp.Or(o.Name, string(o.Protocol))
	o.Hostname = cmp.Or(o.Hostname, o.Connect.Address.host)
	o.HandshakeLimit = cmp.Or(o.HandshakeLimit, session.DefaultHandshakeLimit)
	o.ConnectLimit = cmp.Or(o.ConnectLimit, defaultConnect)
	o.LingerLimit = cmp.Or(o.LingerLimit, DefaultLinger)
	o.KeepAlive = cmp.Or(o.KeepAlive, DefaultKeepAlive)
	o.MaxConnections = cmp.Or(o.MaxConnections, maxByFiles())
	if err := o.check(); err != nil {
		return nil, err
	}
	log := cmp.Or(o.Log, slog.Default()).With("gateway", o.Name)
	return &Gateway{o: o, log: log, conns: map[*connection]struct{}{}, perClient: map[netip.Addr]int{}}, nil
}

// maxByFiles returns how many connections the process's file descriptors allow:
// each has two, and some are needed for other things. Go's runtime has raised the
// limit as far as it goes.
func maxByFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<21 {
		return 1 << 20
	}
	return max(1, (int(limit.Cur)-64)/2)
}

// check refuses settings that could never work, or that would not do what they
// seem to.
func (o *Options) check() error {
	wrong := func(format string, args ...any) error {
		return kindOptions.Found("gateway "+o.Name, "").WithText(format, args...).Usage()
	}
	listen, connect := o.Listen.Credentials, o.Connect.Credentials
	if err := o.Connect.Address.checkConnect(); err != nil {
		return err
	}
	if name := o.negative(); name != "" {
		return wrong("%s is less than nothing", name)
	}
	switch {
	case o.Listen.Address.tls && listen == nil:
		return wrong("%s wants TLS, but there are no credentials to listen with (--listen-tls-creds)", o.Listen.Address)
	case o.Connect.Address.tls && connect == nil:
		return wrong("%s wants TLS, but there are no credentials to connect with (--connect-tls-creds)", o.Connect.Address)
	case listen != nil && listen.Current().Endpoint() != creds.Server:
		return wrong("the credentials to listen with are a client's: they need endpoint=server")
	case connect != nil && connect.Current().Endpoint() != creds.Client:
		return wrong("the credentials to connect with are a server's: they need endpoint=client")
	case listen == nil && o.Authz != nil:
		return wrong("an access list (--tls-authz) judges names, and clients without TLS have none")
	case listen == nil && o.Access.names():
		return wrong("an access list (--allow-dn) judges names, and clients without TLS have none")
	case connect != nil && o.Hostname == "" && connect.Current().VerifyPeer() && connect.Current().Type() == "tls-creds-x509":
		return wrong("whose certificate is %s to show? say it with --tls-hostname", o.Connect.Address)
	case len(o.Exports) > 0 && o.Protocol != NBD:
		return wrong("rules for exports are for the protocol nbd alone")
	case o.Protocol == Libvirt && listen == nil && connect == nil:
		return wrong("libvirt's TLS is on neither side: name credentials with --listen-tls-creds or --connect-tls-creds")
	}
	if err := o.Exports.check(listen != nil); err != nil {
		return err
	}
	// What a session would refuse for every client is refused now.
	if listen != nil {
		so := o.listenSession(netip.Addr{})
		if o.Access.names() {
			so.Authorizer = o.Access // also if its rules are for some addresses only
		}
		if _, err := session.New(so); err != nil {
			return err
		}
	}
	if connect != nil {
		if _, err := session.New(o.connectSession()); err != nil {
			return err
		}
	}
	return nil
}

// negative names a limit below zero, with which nobody could ever connect.
func (o *Options) negative() string {
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"max-connections", int64(o.MaxConnections)}, {"max-per-client", int64(o.MaxPerClient)},
		{"handshake-timeout", int64(o.HandshakeLimit)}, {"connect-timeout", int64(o.ConnectLimit)}, {"idle-timeout", int64(o.IdleLimit)},
		{"half-closed-timeout", int64(o.LingerLimit)}, {"drain-timeout", int64(o.DrainLimit)},
	} {
		if limit.value < 0 {
			return limit.name
		}
	}
	return ""
}

// Findings returns what should be known of settings that can be used.
func (g *Gateway) Findings() []finding.Finding {
	var list []finding.Finding
	if g.o.Listen.Credentials == nil && g.o.Connect.Credentials == nil {
		list = append(list, kindPlain.Found("gateway "+g.o.Name, ""))
	}
	if fits := maxByFiles(); g.o.MaxConnections > fits {
		list = append(list, kindFiles.Found("gateway "+g.o.Name, fmt.Sprintf("a limit for %d connections", fits)).WithWant(fmt.Sprintf("--max-connections %d", g.o.MaxConnections), ""))
	}
	return list
}

func (o *Options) rules() session.Rules {
	if o.Protocol == Libvirt {
		return session.Libvirt
	}
	return session.QEMU
}

// listenSession returns the options of the session with a client.
func (o *Options) listenSession(from netip.Addr) session.Options {
	so := session.Options{Credentials: o.Listen.Credentials.Current(), Rules: o.rules(), WithholdNames: !o.NameAuthorities}
	access := o.Access.at(from)
	switch {
	case o.Authz != nil && o.Access.names():
		so.Authorizer = both{o.Authz, access}
	case o.Authz != nil:
		so.Authorizer = o.Authz
	case o.Access.names():
		so.Authorizer = access
	}
	return so
}

// connectSession returns the options of the session with the service.
func (o *Options) connectSession() session.Options {
	return session.Options{Credentials: o.Connect.Credentials.Current(), Hostname: o.Hostname, Rules: o.rules(), RecordsPerKey: o.recordsPerKey}
}

// Listen opens the listener. [Gateway.Serve] does it if it was not done before.
func (g *Gateway) Listen(ctx context.Context) error {
	l, err := g.o.Listen.Address.listen(ctx)
	if err != nil {
		return kindListen.Found(g.o.Listen.Address.String(), "").WithText("the gateway %s cannot listen", g.o.Name).Unable(err)
	}
	g.listener = l
	g.log.Info("listening", "address", l.Addr().String(), "connect", g.o.Connect.Address.String())
	return nil
}

// Addr returns where the gateway listens, nil before [Gateway.Listen].
func (g *Gateway) Addr() net.Addr {
	if g.listener == nil {
		return nil
	}
	return g.listener.Addr()
}

// Serve serves until ctx ends; then it takes no more connections and returns
// when those that are there have ended, or were cut off after the drain limit.
func (g *Gateway) Serve(ctx context.Context) error {
	if g.listener == nil {
		if err := g.Listen(ctx); err != nil {
			return err
		}
	}
	// Connections outlive ctx: they are drained.
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := context.AfterFunc(ctx, func() { g.listener.Close() })
	defer stop()
	err := g.accept(ctx, work)
	g.listener.Close()
	g.drain(cut)
	return err
}

// accept takes connections until ctx ends.
func (g *Gateway) accept(ctx, work context.Context) error {
	var pause time.Duration
	for {
		nc, err := g.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case err != nil && isPassing(err):
			// Without descriptors or memory accepting fails at once, again and again.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			g.log.Error("cannot accept", "error", err.Error(), "pause", pause.String())
			g.sleep(ctx, pause)
		case err != nil:
			return kindListen.Found(g.o.Listen.Address.String(), "").WithText("the gateway %s cannot accept connections", g.o.Name).Unable(err)
		default:
			pause = 0
			g.take(work, nc)
		}
	}
}

// isPassing tells whether accepting may succeed later.
func isPassing(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

func (g *Gateway) sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drain waits for the connections that are there, and cuts them after the limit.
func (g *Gateway) drain(cut context.CancelFunc) {
	ended := make(chan struct{})
	go func() {
		g.running.Wait()
		close(ended)
	}()
	if n := g.count(); n > 0 {
		g.log.Info("draining", "connections", n, "limit", g.o.DrainLimit.String())
	}
	var late <-chan time.Time
	if g.o.DrainLimit > 0 {
		timer := time.NewTimer(g.o.DrainLimit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ended:
	case <-late:
		g.log.Warn("cut off", "connections", g.count(), "after", g.o.DrainLimit.String())
		cut()
		g.cut()
		<-ended
	}
	g.log.Info("stopped")
}

// cut ends connections that pass bytes; the end of the context has ended those
// that do not yet.
func (g *Gateway) cut() {
	g.mu.Lock()
	g.cutting = true
	var passing []*connection
	for c := range g.conns {
		if c.passes {
			passing = append(passing, c)
		}
	}
	g.mu.Unlock()
	for _, c := range passing {
		c.relay.stop(errCut)
	}
}

func (g *Gateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

func (g *Gateway) String() string {
	return fmt.Sprintf("%s: %s -> %s", g.o.Name, g.o.Listen.Address, g.o.Connect.Address)
}
