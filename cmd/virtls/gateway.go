package main

import (
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/gateway"
	"virtls/object"
)

type gatewayCmd struct {
	TLS     gatewayTLSCmd     `cmd:"" name:"tls" help:"Put TLS in front of a service, or take it off: chardevs, migration, anything."`
	Libvirt gatewayLibvirtCmd `cmd:"" help:"Put libvirt's TLS in front of a daemon's UNIX socket, or take it off."`
}

// gatewayFlags are the settings of one gateway.
type gatewayFlags struct {
	objectFlags
	ListenTLSCreds  string `name:"listen-tls-creds" help:"Id of the credentials to listen with, an object with endpoint=server. Without it the listener is plain." placeholder:"ID"`
	TLSAuthz        string `name:"tls-authz" help:"Id of an access list that judges the names of clients." placeholder:"ID"`
	ConnectTLSCreds string `name:"connect-tls-creds" help:"Id of the credentials to connect with, an object with endpoint=client. Without it the service is spoken to plainly." placeholder:"ID"`
	TLSHostname     string `name:"tls-hostname" help:"Name that the service's certificate must have, if it is not the host of --connect." placeholder:"NAME"`

	AllowDN         []string `name:"allow-dn" help:"Let in clients whose name matches this pattern (* any run, ? one character), in the order of the certificate: virtls show prints it first. May be given several times." placeholder:"PATTERN" sep:"none"`
	AllowFrom       []string `help:"Let in clients from this network or address. May be given several times." placeholder:"CIDR"`
	NameAuthorities bool     `help:"Tell clients whose certificates are wanted. GnuTLS before 3.8.13 then keeps RSA certificates back; clients with several need it."`

	MaxConnections    int           `help:"How many connections there may be at once; 0: what file descriptors allow." placeholder:"N"`
	MaxPerClient      int           `help:"How many connections one address may have at once; 0: any number." placeholder:"N"`
	HandshakeTimeout  time.Duration `help:"How long a client's handshake may take." default:"10s" placeholder:"TIME"`
	ConnectTimeout    time.Duration `help:"How long connecting to the service may take, its handshake included." default:"10s" placeholder:"TIME"`
	IdleTimeout       time.Duration `help:"End connections on which nothing was sent for so long; 0: never." default:"0" placeholder:"TIME"`
	HalfClosedTimeout time.Duration `help:"The same for connections of which one end has said that it is done." default:"10m" placeholder:"TIME"`
	Keepalive         time.Duration `help:"How long a connection may be silent before TCP asks whether the peer is still there." default:"1m" placeholder:"TIME"`
	DrainTimeout      time.Duration `help:"How long connections may go on when the gateway is to stop; 0: as long as they want." default:"30s" placeholder:"TIME"`
	ProxyProtocol     bool          `help:"Tell the service who the client is, by a header of the PROXY protocol, version 2."`
}

type gatewayTLSCmd struct {
	Listen  string `help:"Where to listen." required:"" placeholder:"URL"`
	Connect string `help:"Where the service is." required:"" placeholder:"URL"`
	gatewayFlags
}

const gatewayURLs = `A URL is tls://HOST:PORT (there must be credentials for this side), tcp://HOST:PORT, tcp://[IPV6]:PORT,
unix:///PATH (a listener's with ?mode=0660) or fd://NAME, a listening socket that systemd passes.
SIGHUP and changed files load credentials anew; running connections keep theirs. SIGTERM stops listening
and waits for connections to end, for --drain-timeout.`

func (*gatewayTLSCmd) Help() string {
	return `Listens on one side, connects to a service on the other, and passes bytes both ways. Either side has TLS if
it is given credentials, as QEMU's objects. A client must show a certificate of an authority in ca-cert.pem,
unless the object says verify-peer=off, and be let in by the access lists there are.

` + gatewayURLs + `

Examples:
  virtls gateway tls --object tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu --listen tls://:5555 --listen-tls-creds tls0 --connect unix:///run/vm1/console.sock
  virtls gateway tls --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu --listen tcp://127.0.0.1:4444 --connect tls://kvm2.example.com:4444 --connect-tls-creds tls0`
}

func (c *gatewayTLSCmd) Run(a *app) error { return c.run(a, gateway.TLS, c.Listen, c.Connect, "") }

type gatewayLibvirtCmd struct {
	Listen  string `help:"Where to listen; the port may be left out." default:"tls://:16514" placeholder:"URL"`
	Connect string `help:"Where the daemon is." default:"unix:///run/libvirt/libvirt-sock" placeholder:"URL"`
	gatewayFlags
}

func (*gatewayLibvirtCmd) Help() string {
	return `Judges clients as libvirtd does, sends the byte that confirms them, and passes the rest to a daemon's UNIX
socket (libvirtd's, virtproxyd's). With --connect-tls-creds it is the other way round: plain clients here, and
a daemon with TLS there, whose confirmation it waits for.

` + gatewayURLs + `

Examples:
  virtls gateway libvirt --object tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu --listen-tls-creds tls0 --allow-dn '*,CN=admin'
  virtls gateway libvirt --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu --listen unix:///run/kvm2.sock --connect tls://kvm2.example.com --connect-tls-creds tls0`
}

func (c *gatewayLibvirtCmd) Run(a *app) error {
	return c.run(a, gateway.Libvirt, c.Listen, c.Connect, gateway.LibvirtPort)
}

// run runs one gateway.
func (f *gatewayFlags) run(a *app, protocol gateway.Protocol, listen, connect, port string) error {
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	r, err := f.registry(a, func(id string, err error) { reportList(log, id, err) })
	if a.wantsHelp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	o, used, err := f.options(r, protocol, listen, connect, port)
	if err != nil {
		return err
	}
	o.Log = log
	g, err := gateway.New(o)
	if err != nil {
		return err
	}
	if err := a.warn(g.Findings()); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	runner := gateway.Runner{Gateways: []*gateway.Gateway{g}, Credentials: used, Reload: hup, Notify: gateway.NewNotifier(), Log: log}
	return runner.Run(a.ctx)
}

// options are the gateway's, with the credentials that it uses.
func (f *gatewayFlags) options(r *object.Registry, protocol gateway.Protocol, listen, connect, port string) (o gateway.Options, used []gateway.Credential, err error) {
	o = gateway.Options{
		Protocol: protocol, Hostname: f.TLSHostname, NameAuthorities: f.NameAuthorities,
		MaxConnections: f.MaxConnections, MaxPerClient: f.MaxPerClient,
		HandshakeLimit: f.HandshakeTimeout, ConnectLimit: f.ConnectTimeout, IdleLimit: f.IdleTimeout, LingerLimit: f.HalfClosedTimeout,
		KeepAlive: f.Keepalive, DrainLimit: f.DrainTimeout, SendProxy: f.ProxyProtocol,
	}
	for _, s := range []struct {
		side *gateway.Side
		url  string
		id   string
		end  creds.Endpoint
	}{{&o.Listen, listen, f.ListenTLSCreds, creds.Server}, {&o.Connect, connect, f.ConnectTLSCreds, creds.Client}} {
		if s.side.Address, err = gateway.ParseAddress(s.url, port); err != nil {
			return o, nil, err
		}
		if s.side.Credentials, _, err = credentials(r, s.id, s.end); err != nil {
			return o, nil, err
		}
		if s.side.Credentials != nil {
			used = append(used, gateway.Credential{ID: s.id, Holder: s.side.Credentials})
		}
	}
	if o.Authz, _, err = accessList(r, f.TLSAuthz); err != nil {
		return o, nil, err
	}
	o.Access, err = f.access()
	return o, used, err
}

// access makes rules of the flags: each name may come from each network.
func (f *gatewayFlags) access() (gateway.Access, error) {
	var from []netip.Prefix
	for _, text := range f.AllowFrom {
		p, err := gateway.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		from = append(from, p)
	}
	var rules gateway.Access
	for _, pattern := range f.AllowDN {
		rules = append(rules, gateway.Rule{DN: pattern, From: from})
	}
	if len(rules) == 0 && len(from) > 0 {
		rules = gateway.Access{{From: from}}
	}
	return rules, nil
}

// reportList logs what became of the file of an access list.
func reportList(log *slog.Logger, id string, err error) {
	if err == nil {
		log.Info("access list loaded", "object", id)
		return
	}
	f := finding.Of(err)
	log.Error("access list cannot be read; it denies everybody", "object", id, "code", f.Code, "reason", f.String(), "mend", f.Fix)
}
