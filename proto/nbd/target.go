package nbd

import (
	"context"
	"net"
	"os/user"
	"path"
	"strconv"
	"time"

	"virtls/creds"
	"virtls/internal/wait"
	"virtls/layout"
	"virtls/session"
)

// A Target says where an export is and how to get to it, as an address in one of
// the forms of [ParseURI] and [ParseImageOpts] does.
type Target struct {
	Network string // "tcp" or "unix"
	Host    string
	Port    string // a number or a service's name
	Path    string // of a UNIX socket
	Export  string

	TLS bool // demanded by the address

	// What libnbd's addresses say of TLS.
	Type         string // "x509", "psk" or "anon"; empty: what the rest suggests
	Certificates string // directory
	PSKFile      string
	Username     string
	Hostname     string // that the certificate must have, if not Host
	NoVerifyPeer bool

	// What QEMU's addresses say.
	CredsID     string        // id of a credential object
	OpenTimeout time.Duration // for how long to try to connect; 0: once
}

// String names the target in messages.
func (t Target) String() string {
	where := "nbd+unix:" + t.Path
	if t.Network == "tcp" {
		where = "nbd://" + net.JoinHostPort(t.Host, t.Port)
	}
	if t.Export == "" {
		return where
	}
	return where + " (export " + strconv.Quote(t.Export) + ")"
}

// ServerName is the host whose certificate is expected, empty if there is none.
func (t Target) ServerName() string {
	if t.Hostname != "" || t.Network != "tcp" {
		return t.Hostname
	}
	return t.Host
}

// Dial connects to the server, without negotiating.
func (t Target) Dial(ctx context.Context) (net.Conn, error) {
	end := time.Now().Add(t.OpenTimeout)
	for pause := time.Second; ; pause = min(2*pause, 16*time.Second) { // as QEMU waits
		c, err := t.dial(ctx)
		pause = min(pause, time.Until(end))
		if err == nil || pause <= 0 {
			return c, err
		}
		if wait.Sleep(ctx, pause) != nil {
			return nil, err
		}
	}
}

func (t Target) dial(ctx context.Context) (net.Conn, error) {
	address := t.Path
	if t.Network == "tcp" {
		address = net.JoinHostPort(t.Host, t.Port)
	}
	d := net.Dialer{Timeout: defaultHandshake}
	c, err := d.DialContext(ctx, t.Network, address)
	if err != nil {
		return nil, kindUnreachable.Found(t.String(), err.Error()).Unable(err)
	}
	return c, nil
}

// Connect connects to the export. The options' Export is the target's.
func (t Target) Connect(ctx context.Context, o Options) (*Client, error) {
	c, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	o.Export, o.Subject = t.Export, t.String()
	return NewClient(ctx, c, o)
}

// Credentials loads what the address says of TLS as libnbd does: a PSK file, a
// directory of certificates, or where libnbd looks for these by itself.
func (t Target) Credentials() (creds.Credentials, error) {
	switch {
	case t.Type == "anon":
		c, _, err := creds.LoadAnon(creds.AnonOptions{})
		return c, err
	case t.Type == "psk" || t.Type == "" && t.PSKFile != "":
		return t.preShared()
	}
	o := creds.X509Options{Dir: t.Certificates, NoVerifyPeer: t.NoVerifyPeer}
	if o.Dir == "" {
		me, err := user.Current()
		if err != nil {
			return nil, kindAddress.Found(t.String(), "").WithText("which user is this? tls-certificates=DIR would say where certificates are: %v", err).Unable(err)
		}
		uid, _ := strconv.ParseUint(me.Uid, 10, 32)
		found := layout.Lookup{View: layout.Root("/"), Account: layout.Account{UID: int(uid), Home: me.HomeDir}}.LibNBD()
		o.Dir = path.Dir(found.Uses[0].CA)
	}
	c, _, err := creds.LoadX509(o)
	return c, err
}

func (t Target) preShared() (creds.Credentials, error) {
	o := creds.PSKOptions{File: t.PSKFile, Username: t.Username}
	if o.File == "" {
		return nil, kindAddress.Found(t.String(), "tls-type=psk without tls-psk-file").Usage()
	}
	if o.Username == "" {
		if me, err := user.Current(); err == nil {
			o.Username = me.Username // libnbd's default
		}
	}
	c, _, err := creds.LoadPSK(o)
	return c, err
}

// Secure returns how connections to the target become TLS ones with credentials.
func (t Target) Secure(c func() creds.Credentials) Secure {
	return Session(func() session.Options { return session.Options{Credentials: c(), Hostname: t.ServerName()} })
}
