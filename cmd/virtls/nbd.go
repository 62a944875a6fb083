package main

import (
	"cmp"
	"context"
	"strings"

	"virtls/creds"
	"virtls/object"
	"virtls/proto/nbd"
)

type nbdCmd struct {
	Serve nbdServeCmd `cmd:"" help:"Serve disks over NBD, with TLS."`
	List  nbdListCmd  `cmd:"" help:"List a server's exports."`
	Info  nbdInfoCmd  `cmd:"" help:"Show what a server says of an export, or of all."`
	Map   nbdMapCmd   `cmd:"" help:"Show where an export has data, holes and zeroes."`
	Copy  nbdCopyCmd  `cmd:"" help:"Copy disks between files and exports, either way."`
}

const nbdAddresses = `An address is libnbd's, nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, with nbds for TLS: by
--tls-creds, or by tls-certificates=DIR or tls-psk-file=FILE in the address. Or QEMU's:
driver=nbd,host=HOST,port=PORT,export=EXPORT,tls-creds=ID.`

// isNBD reports whether a text is the address of an export rather than a file's name.
func isNBD(text string) bool {
	return nbd.IsURI(text) || strings.HasPrefix(text, "json:") || strings.HasPrefix(text, "driver=nbd") || strings.Contains(text, "file.driver=nbd")
}

// nbdClient is how a command reaches exports.
type nbdClient struct {
	registry *object.Registry
	release  []func()
	flags    *clientFlags
}

func (f *clientFlags) nbd(a *app) (*nbdClient, error) {
	r, err := f.registry(a, nil)
	if err != nil {
		return nil, err
	}
	return &nbdClient{registry: r, flags: f}, nil
}

func (c *nbdClient) close() {
	for _, release := range c.release {
		release()
	}
	c.registry.Close()
}

// target reads an address, and finds out how its connections become TLS ones.
func (c *nbdClient) target(text string) (nbd.Target, nbd.Options, error) {
	var o nbd.Options
	t, err := parseTarget(text)
	if err != nil {
		return t, o, err
	}
	t.CredsID = cmp.Or(t.CredsID, c.flags.TLSCreds)
	t.Hostname = cmp.Or(t.Hostname, c.flags.TLSHostname)
	var current func() creds.Credentials
	switch {
	case t.CredsID != "":
		holder, release, err := credentials(c.registry, t.CredsID, creds.Client)
		if err != nil {
			return t, o, err
		}
		c.release = append(c.release, release)
		current = holder.Current
	case t.TLS:
		loaded, err := t.Credentials()
		if err != nil {
			return t, o, err
		}
		current = func() creds.Credentials { return loaded }
	default:
		return t, o, nil
	}
	o.Secure = t.Secure(current)
	return t, o, nil
}

func parseTarget(text string) (nbd.Target, error) {
	if nbd.IsURI(text) || !isNBD(text) {
		return nbd.ParseURI(text)
	}
	image, err := nbd.ParseImageOpts(text)
	if err != nil {
		return nbd.Target{}, err
	}
	if image.Driver != "nbd" {
		return nbd.Target{}, kindUsage.Found(text, "").WithText("this is a file, not the address of an NBD server").Usage()
	}
	for _, format := range image.Formats {
		if format != "raw" {
			return nbd.Target{}, kindUsage.Found(text, "driver="+format).WithText("exports are taken as they are here: only driver=raw may stand in front of driver=nbd").Usage()
		}
	}
	return image.Target, nil
}

// query runs f for one address, whose connection it makes.
func (f *clientFlags) query(a *app, address string, ask func(ctx context.Context, t nbd.Target, o nbd.Options) error) error {
	c, err := f.nbd(a)
	if a.wantsHelp(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.close()
	t, o, err := c.target(address)
	if err != nil {
		return err
	}
	o.Export, o.Subject = t.Export, t.String()
	return ask(a.ctx, t, o)
}
