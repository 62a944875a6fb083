package main

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/object"
	"virtls/pki"
	"virtls/probe"
)

type probeCmd struct {
	URL []string `arg:"" optional:"" help:"tls://HOST:PORT, or a URI of libvirt's such as qemu://HOST/system. None with --listen." placeholder:"URL"`

	clientFlags
	Complete bool          `help:"Complete the handshake with services other than libvirt's, which shows whether they accept the client's certificate. It can end a migration that waits, and takes a character device's only slot."`
	Scan     bool          `help:"Also find out which versions, cipher suites and groups the server accepts, by ClientHellos that go no further than its ServerHello."`
	Expect   string        `help:"File with the certificate that the server should show." placeholder:"FILE"`
	Stranger string        `help:"Id of credentials whose certificate the server's access list should refuse." placeholder:"ID"`
	Timeout  time.Duration `help:"How long each stage may take." default:"10s" placeholder:"TIME"`
	Soon     string        `help:"What ends within this time ends soon." default:"30d" placeholder:"TIME"`

	Prometheus bool           `help:"Print metrics in the place of text." xor:"output"`
	Listen     string         `help:"Answer /probe?target=URL with metrics on this address, for Prometheus." placeholder:"HOST:PORT"`
	Allow      []netip.Prefix `help:"Network that the exporter may probe; may be given several times. Without it only loopback." placeholder:"CIDR"`
	Schemes    []string       `help:"What the exporter's targets may begin with. Default: everything that can be probed." placeholder:"SCHEME"`
	Limit      int            `help:"How many probes the exporter makes at once." default:"8" placeholder:"N"`
}

func (*probeCmd) Help() string {
	return `Looks at a live service as its clients do and says what is wrong on either side: resolve, connect, upgrade to
TLS, handshake, the server's chain and name, what it wants of its clients' certificates, its first answer. Where
the wire does not show the cause, everything it can be is listed, the most likely first, and the log that decides.

tls:// stands for services with TLS from the first byte, such as QEMU's character devices and migrations. They
are left before the handshake is complete, unless --complete is given. A service without TLS gets the first bytes
all the same: a migration that waits without TLS takes them for its stream, and ends.

libvirt's URIs are used with the files that libvirt's own client would take (pkipath, ~/.pki/libvirt,
/etc/pki), unless --tls-creds names others.

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage, 3 a service could not be reached.

Examples:
  virtls probe qemu://kvm1.example.com/system
  virtls probe --scan 'qemu+tls://kvm1.example.com/system?pkipath=/etc/pki/libvirt'
  virtls probe --object tls-creds-x509,id=tls0,endpoint=client,dir=/etc/pki/qemu --tls-creds tls0 tls://kvm1.example.com:4555
  virtls probe --prometheus qemu://kvm1.example.com/system > /var/lib/prometheus/node-exporter/probe.prom
  virtls probe --listen 127.0.0.1:9716 --allow 192.0.2.0/24`
}

type probeReport struct {
	finding.Report
	Probes []*probe.Result `json:"probes"`
}

func (c *probeCmd) Run(a *app) error {
	switch {
	case c.Prometheus && a.json:
		return kindUsage.Found("--prometheus", "").WithText("metrics are not JSON: --prometheus and --json exclude each other").Usage()
	case (c.Listen == "") == (len(c.URL) == 0):
		return kindUsage.Found("virtls probe", "").WithText("want targets, or --listen without any").Usage()
	case c.Listen == "" && (c.Allow != nil || c.Schemes != nil):
		return kindUsage.Found("--allow", "").WithText("--allow and --schemes go with --listen").Usage()
	}
	var targets []probe.Target
	for _, text := range c.URL {
		t, err := probe.ParseTarget(text)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	registry, err := c.registry(a, nil)
	if a.wantsHelp(err) {
		return nil
	} else if err != nil {
		return err
	}
	defer registry.Close()
	o, err := c.options(registry)
	if err != nil {
		return err
	}
	if c.Listen != "" {
		return c.serve(a, o)
	}
	return c.probe(a, targets, o)
}

func (c *probeCmd) options(r *object.Registry) (probe.Options, error) {
	o := probe.Options{Hostname: c.TLSHostname, Complete: c.Complete, Scan: c.Scan, Timeout: c.Timeout}
	var err error
	if o.Soon, err = parseSpan(c.Soon); err != nil {
		return o, kindUsage.Found("--soon", "").WithText("%v", err).Usage()
	}
	if o.Credentials, err = current(c.credentials(r)); err != nil {
		return o, err
	}
	if o.Stranger, err = current(credentials(r, c.Stranger, creds.Client)); err != nil {
		return o, err
	}
	if c.Expect != "" {
		data, err := readInput(c.Expect)
		if err != nil {
			return o, err
		}
		chain, err := pki.ParseCertificatesPEM(data)
		if err != nil {
			return o, kindUnreadable.Found(c.Expect, "").Unable(err)
		}
		o.Expected = chain[0]
	}
	return o, nil
}

// current returns what a holder holds now, nil for none. It is immutable, and
// stays what it is without the object.
func current(h *creds.Holder, release func(), err error) (creds.Credentials, error) {
	if err != nil {
		return nil, err
	}
	release()
	if h == nil {
		return nil, nil
	}
	return h.Current(), nil
}

// probe probes the targets one after the other.
func (c *probeCmd) probe(a *app, targets []probe.Target, o probe.Options) error {
	quiet := a.json || c.Prometheus
	if !quiet {
		o.Progress = func(s probe.Stage) { a.printf("%s\n", oneLine(s.String())) }
	}
	report := probeReport{Report: finding.NewReport(a.found), Probes: []*probe.Result{}}
	a.found = nil
	unreachable := false
	for _, t := range targets {
		if !quiet {
			a.printf("%s\n", oneLine(t.String()))
		}
		r := probe.Run(a.ctx, t, o)
		report.Probes, report.Findings = append(report.Probes, r), append(report.Findings, r.Findings...)
		unreachable = unreachable || r.Unreachable
		if !quiet {
			if err := errors.Join(r.Print(a.stdout), a.printFindings(r.Findings)); err != nil {
				return err
			}
		}
		if err := a.ctx.Err(); err != nil {
			return err
		}
	}
	var err error
	switch {
	case a.json:
		err = a.printJSON(report)
	case c.Prometheus:
		err = errors.Join(probe.Prometheus(a.stdout, report.Probes), a.printFindings(report.Findings))
	}
	switch {
	case err != nil:
		return err
	case unreachable:
		return errUnable
	case finding.Worst(report.Findings) == finding.Error:
		return errWrong
	}
	return nil
}

// loopback is what an exporter may probe unless it is told otherwise.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// serve runs the exporter until it is interrupted.
func (c *probeCmd) serve(a *app, o probe.Options) error {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return kindListen.Found(c.Listen, "").Unable(err)
	}
	e := &probe.Exporter{Options: o, Allow: c.Allow, Schemes: c.Schemes, Limit: c.Limit}
	if e.Allow == nil {
		e.Allow = loopback
	}
	if !a.json {
		a.printf("probes at http://%s/probe?target=URL\n", l.Addr())
	}
	return e.Serve(a.ctx, l)
}

var kindListen = finding.Define("probe-listen", finding.Error,
	"the exporter cannot listen on this address", "name an address of this machine and a port that is free")
