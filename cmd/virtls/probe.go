package main

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/gateway"
	"virtls/object"
	"virtls/pki"
	"virtls/probe"
	"virtls/sasl"
	"virtls/sasl/gssapi"
)

type probeCmd struct {
	URL []string `arg:"" optional:"" help:"tls://HOST:PORT, an address of NBD such as nbds://HOST/EXPORT or of VNC such as vnc://HOST:5901, or a URI of libvirt's such as qemu://HOST/system. None with --listen." placeholder:"URL"`

	clientFlags
	Complete bool          `help:"Complete the handshake with the services of tls://, which shows whether they accept the client's certificate. It can end a migration that waits, and takes a character device's only slot."`
	Scan     bool          `help:"Also find out which versions, cipher suites and groups the server accepts, by ClientHellos that go no further than its ServerHello."`
	Expect   string        `help:"File with the certificate that the server should show." placeholder:"FILE"`
	Stranger string        `help:"Id of credentials whose certificate the server's access list should refuse." placeholder:"ID"`
	Timeout  time.Duration `help:"How long each stage may take." default:"10s" placeholder:"TIME"`
	Soon     string        `help:"What ends within this time ends soon." default:"30d" placeholder:"TIME"`

	Username     string   `help:"Log in to a VNC server as this user." placeholder:"NAME"`
	PasswordFile string   `help:"Log in with the password in the first line of a file; - for standard input." placeholder:"FILE"`
	TokenFile    string   `help:"Open a gateway's websocket with the token in the first line of a file." placeholder:"FILE"`
	Kerberos     bool     `help:"Log in to a VNC server with the Kerberos ticket that kinit has got."`
	Mechanisms   []string `name:"sasl-mechanisms" help:"Mechanisms of SASL that may be used, the best first." placeholder:"NAME" complete:"mechanism"`
	Screenshot   string   `help:"Write what a VNC server shows after the login to a file, as PNG." placeholder:"FILE"`

	Prometheus bool     `help:"Print metrics in the place of text." xor:"output"`
	Listen     string   `help:"Answer /probe?target=URL with metrics on this address, for Prometheus." placeholder:"HOST:PORT"`
	Allow      []string `help:"Network or address that the exporter may probe; may be given several times. Without it only loopback." placeholder:"CIDR" sep:"none"`
	Schemes    []string `help:"What the exporter's targets may begin with. Default: everything that can be probed." placeholder:"SCHEME"`
	Limit      int      `help:"How many probes the exporter makes at once." default:"8" placeholder:"N"`

	own, stranger *creds.Holder // of --tls-creds and --stranger, nil without
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

vnc://HOST:PORT (or the number of a display: vnc://HOST:1), vnc+unix:///PATH and wss://HOST:PORT/ are VNC servers:
their security types are shown, TLS is made by VeNCrypt or below the websocket, and with --username and
--password-file the probe logs in and sees the screen. A screen is looked at, and never taken from other viewers.
On the machine that QEMU runs on the certificate is compared with QEMU's files.

nbd://, nbds://, nbd+unix:// and nbds+unix:// are libnbd's addresses, with tls-certificates, tls-psk-file,
tls-username and tls-hostname; --tls-creds names other credentials. TLS is asked for as the protocol wants it, the
exports are listed, and it is tried whether clients without TLS are let in.

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage, 3 a service could not be reached.

Examples:
  virtls probe qemu://kvm1.example.com/system
  virtls probe --scan 'qemu+tls://kvm1.example.com/system?pkipath=/etc/pki/libvirt'
  virtls probe --object tls-creds-x509,id=tls0,endpoint=client,dir=/etc/pki/qemu --tls-creds tls0 tls://kvm1.example.com:4555
  virtls probe 'nbds://kvm1.example.com/disk?tls-certificates=/etc/pki/qemu'
  virtls probe --object tls-creds-x509,id=tls0,endpoint=client,dir=/etc/pki/qemu --tls-creds tls0 vnc://kvm1.example.com:5901
  virtls probe --object tls-creds-x509,id=tls0,endpoint=client,dir=/etc/pki/qemu --tls-creds tls0 --username fred --password-file fred.txt --screenshot guest.png vnc://kvm1.example.com
  virtls probe --prometheus qemu://kvm1.example.com/system > /var/lib/prometheus/node-exporter/probe.prom
  virtls probe --listen 127.0.0.1:9716 --allow 192.0.2.0/24`
}

// mechanisms are those of SASL that a probe can log in by.
var mechanisms = append(slices.Clone(sasl.Default), sasl.Anonymous, sasl.GSSAPI)

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
	case c.Limit < 1 || c.Timeout <= 0:
		return kindUsage.Found("virtls probe", "").WithText("--limit and --timeout are more than nothing").Usage()
	case c.Listen == "" && (c.Allow != nil || c.Schemes != nil):
		return kindUsage.Found("--allow", "").WithText("--allow and --schemes go with --listen").Usage()
	case c.Listen != "" && (c.Username != "" || c.PasswordFile != "" || c.Kerberos || c.TokenFile != "" || c.Screenshot != ""):
		return kindUsage.Found("--listen", "").WithText("an exporter has no login: whoever asks it would have it sent where he likes").Usage()
	case c.Screenshot != "" && len(c.URL) != 1:
		return kindUsage.Found("--screenshot", "").WithText("--screenshot wants one target").Usage()
	case c.Username != "" && c.PasswordFile == "":
		return kindUsage.Found("--username", "").WithText("--username wants --password-file").Usage()
	}
	for _, name := range c.Mechanisms {
		if !slices.Contains(mechanisms, name) {
			f := kindUsage.Found("--sasl-mechanisms", name).WithText("there is no such mechanism here").WithWant("of "+strings.Join(mechanisms, ", "), "")
			if why := sasl.Refused(name); why != "" {
				f = f.WithText("it is never used: %s", why)
			}
			return f.Usage()
		}
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
	for id := range registry.Holders(creds.Client) {
		if c.TLSCreds == "" && c.Stranger == "" {
			return kindUsage.Found("--object", id).WithText("nothing uses the credentials").WithFix("--tls-creds %s", id).Usage()
		}
	}
	o, err := c.options(a, registry)
	if err != nil {
		return err
	}
	if c.Listen != "" {
		return c.serve(a, o)
	}
	return c.probe(a, targets, o)
}

// login reads the password, which is never an argument: those can be seen by everybody.
func (c *probeCmd) login(a *app) (*sasl.Login, error) {
	if c.PasswordFile == "" {
		return nil, nil
	}
	password, err := a.passwordIn(c.PasswordFile)
	if err != nil {
		return nil, err
	}
	return &sasl.Login{User: c.Username, Password: password}, nil
}

func (c *probeCmd) options(a *app, r *object.Registry) (probe.Options, error) {
	o := probe.Options{Hostname: c.TLSHostname, Complete: c.Complete, Scan: c.Scan, Timeout: c.Timeout, Mechanisms: c.Mechanisms, Screenshot: c.Screenshot != ""}
	var err error
	if o.Login, err = c.login(a); err != nil {
		return o, err
	}
	if c.TokenFile != "" {
		if o.Token, err = a.secretIn(c.TokenFile, aToken); err != nil {
			return o, err
		}
	}
	if c.Kerberos {
		o.Kerberos = func(host string) sasl.Mechanism { return &gssapi.Client{Host: host} }
	}
	if o.Soon, err = parseSpan(c.Soon); err != nil {
		return o, kindUsage.Found("--soon", "").WithText("%v", err).Usage()
	}
	if c.own, _, err = c.credentials(r); err != nil {
		return o, err
	}
	if c.stranger, _, err = credentials(r, c.Stranger, creds.Client); err != nil {
		return o, err
	}
	c.refresh(&o)
	if c.Expect != "" {
		data, err := a.input(c.Expect)
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

// refresh enters the newest credentials.
func (c *probeCmd) refresh(o *probe.Options) {
	if c.own != nil {
		o.Credentials = c.own.Current()
	}
	if c.stranger != nil {
		o.Stranger = c.stranger.Current()
	}
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
		if r.Picture != nil {
			if err := writePicture(c.Screenshot, r.Picture); err != nil {
				return err
			}
		} else if c.Screenshot != "" && !r.Unreachable && finding.Worst(r.Findings) != finding.Error {
			f := kindNoPicture.Found(c.Screenshot, "")
			r.Findings, report.Findings = append(r.Findings, f), append(report.Findings, f)
		}
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

// writePicture writes a screen, which may show what not everybody is to see.
func writePicture(name string, m image.Image) error {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return kindUnwritable.Found(name, "").Unable(err)
	}
	return write(name, b.Bytes(), 0o600)
}

// loopback is what an exporter may probe unless it is told otherwise.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// serve runs the exporter until it is interrupted. It lives longer than
// certificates do.
func (c *probeCmd) serve(a *app, o probe.Options) error {
	e := &probe.Exporter{Options: o, Refresh: c.refresh, Allow: loopback, Schemes: c.Schemes, Limit: c.Limit}
	if c.Allow != nil {
		var err error
		if e.Allow, err = gateway.ParsePrefixes(c.Allow); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return kindListen.Found(c.Listen, "").Unable(err)
	}
	ctx, cancel := context.WithCancel(a.ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	for id, holder := range map[string]*creds.Holder{c.TLSCreds: c.own, c.Stranger: c.stranger} {
		if holder != nil {
			keepFresh(ctx, &running, log, id, holder)
		}
	}
	if !a.json {
		a.printf("probes at http://%s/probe?target=URL\n", l.Addr())
	}
	return e.Serve(ctx, l)
}

var kindNoPicture = finding.Define("probe-no-picture", finding.Error,
	"there is no picture of the screen: the probe did not get that far", "give what the last stage asks for; vnc:// and wss:// have screens, other services none")

var kindListen = finding.Define("probe-listen", finding.Error,
	"the exporter cannot listen on this address", "name an address of this machine and a port that is free")
