package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/qopts"
	"virtls/internal/unixsocket"
	"virtls/layout"
	"virtls/object"
	"virtls/proto/nbd"
	"virtls/qcow2"
	"virtls/session"
)

type nbdServeCmd struct {
	File []string `arg:"" optional:"" help:"A disk to serve: a file or block device. Its export has no name, which clients get that name none."`

	Listen   []string `help:"Where to listen: nbd://HOST:PORT, nbds:// or nbd+unix:///?socket=PATH. May be given several times. Default: the port 10809, of all addresses with TLS, else of localhost." placeholder:"URL"`
	Name     string   `help:"Name of the export of FILE." placeholder:"NAME"`
	Format   string   `help:"Format of FILE: raw, which can then be written, or qcow2, which is served read-only. Without it the format is guessed, and nothing can be written: a guest that owns a raw disk can make it look like anything." enum:",raw,qcow2" default:"" placeholder:"FORMAT"`
	ReadOnly bool     `help:"Let nobody write to FILE."`
	Export   []string `help:"Serve a disk under a name: name=NAME,file=FILE[,format=FORMAT][,read-only=on][,description=TEXT][,snapshot=NAME][,tls-authz=ID]. May be given several times." placeholder:"EXPORT" sep:"none"`

	objectFlags
	TLSCreds    string `name:"tls-creds" help:"Id of the credentials, an object with endpoint=server. Clients must use TLS then." placeholder:"ID"`
	TLSOptional bool   `name:"tls-optional" help:"Let clients do without TLS. They see the exports without an access list."`
	TLSAuthz    string `name:"tls-authz" help:"Id of an access list that judges the names of clients: their certificate's DN or the user of their key." placeholder:"ID"`

	MaxConnections   int           `help:"How many connections there may be at once." default:"100" placeholder:"N"`
	HandshakeTimeout time.Duration `help:"How long a client may take until it uses an export." default:"10s" placeholder:"TIME"`
}

func (*nbdServeCmd) Help() string {
	return `Serves disks to QEMU, nbdkit's and libnbd's programs, the kernel's nbd-client and virtls. With --tls-creds clients
must use TLS before anything else is told them. SIGHUP and changed files load credentials anew, changed files access
lists too. SIGTERM stops listening, answers what was asked, and ends.

Examples:
  virtls nbd serve --format raw disk.raw
  virtls nbd serve --object tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu --tls-creds tls0 --format raw /dev/vg0/guest1
  virtls nbd serve --object tls-creds-psk,id=tls0,endpoint=server,dir=/tmp/keys --tls-creds tls0 --name / --format raw disk.raw
  virtls nbd serve --object tls-creds-x509,id=tls0,endpoint=server,dir=/etc/pki/qemu --object authz-simple,id=backup,identity=O=Example,,CN=backup --tls-creds tls0 --export name=a,file=a.raw,tls-authz=backup --export name=b,file=b.raw,format=raw
  virtls nbd serve --listen nbd+unix:///?socket=/run/disk.sock image.qcow2`
}

// nbdDisk is an export as the command line has it.
type nbdDisk struct {
	name, description string
	file, format      string
	snapshot          string
	readOnly          bool
	authz             string
}

func (c *nbdServeCmd) Run(a *app) error {
	switch {
	case c.MaxConnections < 1:
		return kindUsage.Found("--max-connections", fmt.Sprint(c.MaxConnections)).WithText("there is to be one connection at least").Usage()
	case c.HandshakeTimeout <= 0:
		return kindUsage.Found("--handshake-timeout", c.HandshakeTimeout.String()).WithText("clients need some time").Usage()
	}
	// A server lives long and has little garbage; what it holds is to stay bounded.
	debug.SetGCPercent(100)
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	r, err := c.registry(a, func(id string, err error) { reportList(log, id, err) })
	if a.wantsHelp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	s := &nbd.Server{
		AllowPlain: c.TLSOptional, Log: func(e nbd.Event) { logNBD(log, e) },
		Limits: nbd.Limits{Connections: c.MaxConnections, Handshake: c.HandshakeTimeout},
	}
	holder, err := c.secure(r, s)
	if err != nil {
		return err
	}
	close, err := c.exports(a, r, s, log)
	defer close()
	if err != nil {
		return err
	}
	listeners, err := c.listeners(log)
	if err != nil {
		return err
	}
	return c.serve(a.ctx, s, holder, listeners, log)
}

// secure sets up TLS.
func (c *nbdServeCmd) secure(r *object.Registry, s *nbd.Server) (*creds.Holder, error) {
	holder, _, err := credentials(r, c.TLSCreds, creds.Server)
	switch {
	case err != nil:
		return nil, err
	case holder != nil:
		s.Secure = nbd.Session(func() session.Options { return session.Options{Credentials: holder.Current()} })
	case c.TLSAuthz != "":
		return nil, kindUsage.Found("--tls-authz", "").WithText("--tls-authz is not permitted without --tls-creds").Usage()
	case c.TLSOptional:
		return nil, kindUsage.Found("--tls-optional", "").WithText("TLS cannot be optional where there is none").WithFix("name credentials with --tls-creds").Usage()
	}
	if holder == nil {
		for id := range r.Holders(creds.Server) {
			return nil, kindUsage.Found("--object", "object "+id).WithText("credentials are defined, and nothing uses them: the disk would be served without TLS").
				WithFix("add --tls-creds %s, or leave the object out", layout.ShellQuote(id)).Usage()
		}
	}
	return holder, nil
}

// exports opens the disks. close closes those that were opened, also after an error.
func (c *nbdServeCmd) exports(a *app, r *object.Registry, s *nbd.Server, log *slog.Logger) (close func(), err error) {
	var closers []io.Closer
	close = func() {
		for _, c := range closers {
			c.Close()
		}
	}
	disks, err := c.disks()
	if err != nil {
		return close, err
	}
	for _, d := range disks {
		device, closer, err := d.open()
		if err != nil {
			return close, err
		}
		closers = append(closers, closer)
		e := nbd.Export{Name: d.name, Description: d.description, Device: device}
		if e.Access, _, err = accessList(r, cmp.Or(d.authz, c.TLSAuthz)); err != nil {
			return close, err
		}
		s.Exports = append(s.Exports, e)
		_, writable := device.(io.WriterAt)
		log.Info("export", "name", d.name, "file", d.file, "size", device.Size(), "read-only", !writable)
		if !writable && d.format != "qcow2" && !d.readOnly {
			log.Info("read-only, because its format was not named; format=raw lets clients write", "file", d.file)
		}
	}
	return close, nil
}

// disks reads what is to be served.
func (c *nbdServeCmd) disks() (list []nbdDisk, err error) {
	for _, file := range c.File {
		list = append(list, nbdDisk{name: c.Name, file: file, format: c.Format, readOnly: c.ReadOnly})
	}
	for _, text := range c.Export {
		d, err := parseExport(text)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return nil, kindUsage.Found("virtls nbd serve", "").WithText("there is nothing to serve").WithFix("name a FILE, or give --export name=NAME,file=FILE").Usage()
	}
	for i, d := range list {
		if slices.ContainsFunc(list[:i], func(o nbdDisk) bool { return o.name == d.name }) {
			return nil, kindUsage.Found("virtls nbd serve", "").WithText("two exports have the name %q", d.name).WithFix("give each disk its own by --export name=NAME,file=FILE").Usage()
		}
		if d.authz != "" && c.TLSCreds == "" {
			return nil, kindUsage.Found("--export", "tls-authz="+d.authz).WithText("tls-authz is not permitted without --tls-creds").Usage()
		}
	}
	return list, nil
}

// parseExport reads the value of --export.
func parseExport(text string) (nbdDisk, error) {
	var d nbdDisk
	bad := func(format string, args ...any) (nbdDisk, error) {
		return d, kindUsage.Found("--export", text).WithText(format, args...).Usage()
	}
	readOnly := ""
	fields := map[string]*string{"name": &d.name, "file": &d.file, "format": &d.format, "description": &d.description, "snapshot": &d.snapshot, "tls-authz": &d.authz, "read-only": &readOnly}
	seen := map[string]bool{}
	for _, part := range qopts.Split(text) {
		key, value, _ := strings.Cut(part, "=")
		field := fields[key]
		if field == nil || seen[key] || !strings.Contains(part, "=") {
			return bad("%q is not one of name=, file=, format=, description=, snapshot=, read-only=, tls-authz=, or there twice", part)
		}
		*field, seen[key] = value, true
	}
	switch {
	case d.file == "":
		return bad("an export needs file=FILE")
	case d.format != "" && d.format != "raw" && d.format != "qcow2":
		return bad("format is raw or qcow2")
	case readOnly != "" && readOnly != "on" && readOnly != "off":
		return bad("read-only is on or off")
	}
	d.readOnly = readOnly == "on"
	return d, nil
}

// open opens a disk: for writing only if it was named as raw.
func (d *nbdDisk) open() (nbd.Device, io.Closer, error) {
	named := d.format != ""
	if !named {
		var err error
		if d.format, err = guess(d.file); err != nil {
			return nil, nil, nbdFailure(d.file, err)
		}
	}
	if d.format == "raw" && d.snapshot == "" {
		f, err := nbd.OpenFile(d.file, nbd.FileOptions{Write: named && !d.readOnly})
		if err != nil {
			return nil, nil, nbdFailure(d.file, err)
		}
		return f, f, nil
	}
	disk, err := qcow2.OpenFile(d.file, qcow2.Options{Format: d.format, Snapshot: d.snapshot})
	if err != nil {
		return nil, nil, nbdFailure(d.file, err)
	}
	return nbd.Disk(disk), disk, nil
}

// guess tells raw disks and qcow2 images by what they look like, and refuses others.
func guess(file string) (format string, err error) {
	format, err = looksLike(file)
	if err == nil && format != "raw" && format != "qcow2" {
		err = kindDiskFormat.Found(file, format).WithWant("raw or qcow2", "").Wrong()
	}
	return format, err
}

// looksLike returns the format that a file seems to have.
func looksLike(file string) (format string, err error) {
	f, err := qcow2.OpenLocal(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return qcow2.Probe(f)
}

// listeners opens what is listened on.
func (c *nbdServeCmd) listeners(log *slog.Logger) (list []net.Listener, err error) {
	addresses := c.Listen
	if len(addresses) == 0 {
		addresses = []string{"nbd://localhost"}
		if c.TLSCreds != "" && !c.TLSOptional {
			addresses = []string{"nbds://:" + strconv.Itoa(nbd.DefaultPort)}
		}
	}
	for _, text := range addresses {
		l, err := c.listen(text)
		if err != nil {
			for _, l := range list {
				l.Close()
			}
			return nil, err
		}
		log.Info("listening", "address", l.Addr().String())
		list = append(list, l)
	}
	return list, nil
}

func (c *nbdServeCmd) listen(text string) (net.Listener, error) {
	// Port 0 lets the system choose; no client can connect to it.
	t, err := nbd.ParseURI(strings.TrimSuffix(text, ":0"))
	if err != nil {
		return nil, err
	}
	if t.TLS && c.TLSCreds == "" {
		return nil, kindUsage.Found(text, "").WithText("nbds wants --tls-creds").Usage()
	}
	if t.Network == "unix" {
		l, err := unixsocket.Listen(context.Background(), net.ListenConfig{}, t.Path, 0)
		if err != nil {
			return nil, nbdFailure(text, err)
		}
		return l, nil
	}
	if strings.Contains(text, "://:") {
		t.Host = ""
	}
	if strings.HasSuffix(text, ":0") {
		t.Port = "0"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(t.Host, t.Port))
	if err != nil {
		return nil, nbdFailure(text, err)
	}
	return l, nil
}

// serve serves on all listeners until it is told to stop.
func (c *nbdServeCmd) serve(ctx context.Context, s *nbd.Server, holder *creds.Holder, listeners []net.Listener, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if holder != nil {
		keepFresh(ctx, &running, log, c.TLSCreds, holder)
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		running.Go(func() {
			failed <- s.Serve(ctx, l)
			cancel()
		})
	}
	err := <-failed
	return nbdFailure("virtls nbd serve", err)
}

func logNBD(log *slog.Logger, e nbd.Event) {
	attrs := []any{}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, key, value)
		}
	}
	if e.Remote != nil {
		add("client", e.Remote.String())
	}
	add("name", e.Peer.Name)
	if e.Export != "" || e.Kind != nbd.Refused {
		attrs = append(attrs, "export", e.Export)
	}
	if e.Err == nil {
		log.Info(string(e.Kind), attrs...)
		return
	}
	if f, ok := errors.AsType[*finding.Failure](e.Err); ok {
		add("code", f.Code)
		add("mend", f.Fix)
	}
	log.Warn(string(e.Kind), append(attrs, "reason", e.Err.Error())...)
}
