package main

import (
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"virtls/finding"
	"virtls/gateway"
	"virtls/object"
)

type gatewayCmd struct {
	TLS     gatewayTLSCmd     `cmd:"" name:"tls" help:"Put TLS in front of a service, or take it off: chardevs, migration, anything."`
	Libvirt gatewayLibvirtCmd `cmd:"" help:"Put libvirt's TLS in front of a daemon's UNIX socket, or take it off."`
	NBD     gatewayNBDCmd     `cmd:"" name:"nbd" help:"Put TLS in front of an NBD server, or take it off."`
	VNC     gatewayVNCCmd     `cmd:"" name:"vnc" help:"Put TLS and logins in front of VNC servers, for viewers and browsers."`
	Token   gatewayTokenCmd   `cmd:"" help:"Make a token that opens one machine's console."`
	Run     gatewayRunCmd     `cmd:"" default:"withargs" help:"Run several gateways from a configuration file; the word run may be left out."`
}

// gatewayFlags are the settings of one gateway.
type gatewayFlags struct {
	objectFlags
	gateway.Settings
	AllowDN   []string `name:"allow-dn" help:"Let in clients whose name matches this pattern (* is any run, ? one character), in the order of the certificate, which virtls show prints. May be given several times." placeholder:"PATTERN" sep:"none"`
	AllowFrom []string `help:"Let in clients from this network or address. May be given several times." placeholder:"CIDR" sep:"none"`
	gateway.Process
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

func (c *gatewayTLSCmd) Run(a *app) error { return c.run(a, defined(gateway.TLS, c.Listen, c.Connect)) }

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
	return c.run(a, defined(gateway.Libvirt, c.Listen, c.Connect))
}

type gatewayNBDCmd struct {
	Listen  string   `help:"Where to listen; the port may be left out." default:"tls://:10809" placeholder:"URL"`
	Connect string   `help:"Where the NBD server is; the port is 10809 if none is given." required:"" placeholder:"URL"`
	Export  []string `help:"Show this export, to all clients or to those that are named: name=NAME[,tls-authz=ID][,allow=PATTERN]... A pattern is for a certificate's DN, its commas doubled, or the user of a pre-shared key. May be given several times; exports without a rule are then there for nobody." placeholder:"RULE" sep:"none"`
	gatewayFlags
}

func (*gatewayNBDCmd) Help() string {
	return `Goes over to TLS inside the protocol, by STARTTLS: with clients if there are --listen-tls-creds, with the server
if there are --connect-tls-creds. A client that must use TLS is told nothing before, in qemu-nbd's words. Rules
for exports hide an export from clients that may not have it: from lists, and from whoever asks for it by name.

` + strings.Replace(gatewayURLs, "\nunix:", " nbd:// and\nnbds:// are the same, unix:", 1) + `

Examples:
  virtls gateway nbd --object tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu --listen-tls-creds tls0 --connect unix:///run/disk.sock
  virtls gateway nbd --object tls-creds-psk,id=tls0,endpoint=server,dir=/etc/keys --listen-tls-creds tls0 --export name=disk1,allow=alice --export name=disk2,allow=bob --connect tcp://127.0.0.1:10810
  virtls gateway nbd --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu --listen unix:///run/disk.sock --connect tls://store.example.com --connect-tls-creds tls0`
}

func (c *gatewayNBDCmd) Run(a *app) error {
	d := defined(gateway.NBD, c.Listen, c.Connect)
	for _, text := range c.Export {
		e, err := gateway.ParseExport(text)
		if err != nil {
			return err
		}
		d.Exports = append(d.Exports, e)
	}
	return c.run(a, d)
}

type gatewayRunCmd struct {
	Config string `help:"Configuration file." required:"" placeholder:"FILE"`
	Check  bool   `help:"Only check the file and load all credentials; listen nowhere."`
}

func (*gatewayRunCmd) Help() string {
	return `Runs the gateways of a configuration file in one process. They share credentials and access lists, which
are loaded once. docs/guide/gateway.md describes the file.

Examples:
  virtls gateway run --config /etc/virtls/gateway.yaml
  virtls gateway run --config gateway.yaml --check`
}

func (c *gatewayRunCmd) Run(a *app) error {
	cfg, err := gateway.ReadConfig(c.Config)
	if err != nil {
		return err
	}
	objects := objectFlags{}
	for _, o := range cfg.Objects {
		objects.Object = append(objects.Object, string(o))
	}
	return a.runGateways(objects, cfg.Process, c.Check, cfg.Options)
}

// defined is a gateway before its settings are known.
func defined(p gateway.Protocol, listen, connect string) gateway.Defined {
	return gateway.Defined{Endpoint: gateway.Endpoint{Protocol: p, Listen: listen, Connect: connect}}
}

// run runs one gateway.
func (f *gatewayFlags) run(a *app, d gateway.Defined) error {
	access, err := gateway.AccessFor(f.AllowDN, f.AllowFrom)
	if err != nil {
		return err
	}
	d.Settings = f.Settings
	return a.runGateways(f.objectFlags, f.Process, false, func(r *object.Registry) ([]gateway.Options, []gateway.Credential, error) {
		o, used, err := d.Options(r, access)
		return []gateway.Options{o}, used, err
	})
}

// runGateways makes the objects and the gateways that use them, and runs them
// until the command is to end.
func (a *app) runGateways(objects objectFlags, p gateway.Process, check bool, options func(*object.Registry) ([]gateway.Options, []gateway.Credential, error)) error {
	var handler slog.Handler = slog.NewTextHandler(a.stderr, nil)
	if p.LogFormat == "json" {
		handler = slog.NewJSONHandler(a.stderr, nil)
	}
	log := slog.New(handler)
	r, err := objects.registry(a, func(id string, err error) { reportList(log, id, err) })
	if a.wantsHelp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	list, used, err := options(r)
	if err != nil {
		return err
	}
	runner := gateway.Runner{Credentials: used, Files: r.Files(), Process: p, Log: log, Notify: gateway.NewNotifier()}
	for _, o := range list {
		o.Log = log
		g, err := gateway.New(o)
		if err != nil {
			return err
		}
		if err := a.warn(g.Findings()); err != nil {
			return err
		}
		runner.Gateways = append(runner.Gateways, g)
	}
	if check {
		return a.checked(&runner)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	runner.Reload = hup
	// A server that lives long: memory counts for more than in other commands.
	debug.SetGCPercent(50)
	return runner.Run(a.ctx)
}

// checked says what would run.
func (a *app) checked(r *gateway.Runner) error {
	if err := r.Check(); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(gatewayReport{finding.NewReport(a.found), r.Status()})
	}
	for _, g := range r.Gateways {
		a.printf("%s\n", g)
	}
	return nil
}

type gatewayReport struct {
	finding.Report
	Status gateway.Status `json:"status"`
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
