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
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/sasl"
	"virtls/session"
)

var (
	kindOptions = finding.Define("gateway-options", finding.Error,
		"the settings of a gateway do not fit together",
		"add or leave out what it names; virtls gateway vnc --help, and that of tls, libvirt and nbd, describes the settings and has examples")
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
	VNC     Protocol = "vnc"     // RFB with VeNCrypt and logins of its own, also through websockets, and many machines
)

// Protocols lists the protocols.
var Protocols = []Protocol{TLS, Libvirt, NBD, VNC}

// LibvirtPort is where libvirt's daemons listen for TLS, NBDPort and VNCPort where
// servers of NBD and VNC (its first display) do with TLS and without.
const (
	LibvirtPort = "16514"
	NBDPort     = "10809"
	VNCPort     = "5900"
)

// port is where a protocol's servers listen, empty if anywhere.
func (p Protocol) port() string {
	switch p {
	case Libvirt:
		return LibvirtPort
	case NBD:
		return NBDPort
	case VNC:
		return VNCPort
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
	VNC      Screens          // of VNC alone

	// NameAuthorities has a TLS listener name its authorities when it asks for a
	// certificate, so that clients with several choose the right one. GnuTLS before
	// 3.8.13 then keeps RSA certificates back: see [session.Options].
	NameAuthorities bool

	MaxConnections int // at once; what the file descriptors allow if 0
	MaxPerClient   int // at once from one address, or one network of 64 bits of IPv6

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
	perClient map[string]int // by hostOf
	cutting   bool           // no connection may go on
	serial    atomic.Uint64
	running   sync.WaitGroup
	listener  net.Listener // nil if there are only websockets
	door      *door        // nil if there are none
	throttle  sasl.Throttle
	asking    chan struct{} // tickets of Kerberos, of VNC
}

// New checks options and returns a gateway that does not listen yet.
func New(o Options) (*Gateway, error) {
	o.Protocol = cmp.Or(o.Protocol, TLS)
	o.Name = cmp.Or(o.Name, string(o.Protocol))
	o.Hostname = cmp.Or(o.Hostname, o.Connect.Address.host)
	o.HandshakeLimit = cmp.Or(o.HandshakeLimit, o.Protocol.handshakeLimit())
	o.ConnectLimit = cmp.Or(o.ConnectLimit, defaultConnect)
	o.LingerLimit = cmp.Or(o.LingerLimit, DefaultLinger)
	o.KeepAlive = cmp.Or(o.KeepAlive, DefaultKeepAlive)
	o.MaxConnections = cmp.Or(o.MaxConnections, maxByFiles())
	if err := o.check(); err != nil {
		return nil, err
	}
	log := cmp.Or(o.Log, slog.Default()).With("gateway", o.Name)
	g := &Gateway{o: o, log: log, conns: map[*connection]struct{}{}, perClient: map[string]int{}, asking: make(chan struct{}, maxAsking)}
	if o.VNC.Web.Address.network != "" {
		g.door = newDoor(g)
	}
	return g, nil
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
	// Where there are browsers alone, they may be who shows certificates.
	nameless := listen == nil && (o.Listen.Address.network != "" || !verifies(o.VNC.Web.Credentials))
	if o.Protocol == VNC {
		if err := o.checkVNC(); err != nil {
			return err
		}
	}
	if o.VNC.Machines == nil {
		if err := o.Connect.Address.checkConnect(); err != nil {
			return err
		}
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
	case nameless && o.Authz != nil:
		return wrong("an access list (--tls-authz) judges names, and clients without TLS have none")
	case nameless && o.Access.names():
		return wrong("an access list (--allow-dn) judges names, and clients without TLS have none")
	case connect != nil && o.VNC.Machines == nil && o.Hostname == "" && connect.Current().VerifyPeer() && connect.Current().Type() == "tls-creds-x509":
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
		so := o.listenSession(o.Listen.Credentials, netip.Addr{})
		if o.Access.names() {
			so.Authorizer = o.Access // also if its rules are for some addresses only
		}
		if _, err := session.New(so); err != nil {
			return err
		}
	}
	if connect != nil && o.VNC.Machines == nil {
		if _, err := session.New(o.target().session(o)); err != nil {
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
	if g.o.plain() {
		f := kindPlain.Found("gateway "+g.o.Name, "")
		if g.o.VNC.Web.Address.network != "" {
			f = f.WithFix("name credentials with --websocket-tls-creds, or let a proxy on this machine have them")
		}
		list = append(list, f)
	}
	list = append(list, g.o.forNobody()...)
	list = append(list, g.o.misread()...)
	if g.o.unguarded() {
		list = append(list, kindOpenScreens.Found("gateway "+g.o.Name, ""))
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

// plain tells whether there is TLS nowhere.
func (o *Options) plain() bool {
	return o.Listen.Credentials == nil && o.Connect.Credentials == nil && o.VNC.Web.Credentials == nil && len(o.VNC.keytabs()) == 0
}

// listenSession returns the options of the session with a client.
func (o *Options) listenSession(with *creds.Holder, from netip.Addr) session.Options {
	so := session.Options{Credentials: with.Current(), Rules: o.rules(), WithholdNames: !o.NameAuthorities}
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

// A target is a service to connect to.
type target struct {
	Side
	hostname string
	machine  string // its name, of VNC if there are several
	login    login
}

// target returns the service that all clients are connected to.
func (o *Options) target() target {
	return target{Side: o.Connect, hostname: o.Hostname, login: o.VNC.Login}
}

// session returns the options of the session with the service.
func (t target) session(o *Options) session.Options {
	return session.Options{Credentials: t.Credentials.Current(), Hostname: t.hostname, Rules: o.rules(), RecordsPerKey: o.recordsPerKey}
}

// from says for people where clients come in.
func (o *Options) from() string {
	return strings.TrimSpace(o.Listen.Address.String() + " " + o.VNC.Web.Address.String())
}

// to says for people where clients are taken to.
func (o *Options) to() string {
	if o.VNC.Machines != nil {
		return o.VNC.Machines.Path()
	}
	return o.Connect.Address.String()
}

func (g *Gateway) String() string {
	return fmt.Sprintf("%s: %s -> %s", g.o.Name, g.o.from(), g.o.to())
}
