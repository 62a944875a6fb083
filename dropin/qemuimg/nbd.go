package qemuimg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"virtls/creds"
	"virtls/dropin"
	"virtls/finding"
	"virtls/internal/qjson"
	"virtls/internal/strerror"
	"virtls/proto/nbd"
	"virtls/qcow2"
)

// An export is an NBD export as it was named.
type export struct{ nbd.Target }

// filename is what QEMU calls the export in output.
func (e export) filename() string {
	if e.Network == "unix" {
		return "nbd+unix:///" + e.Export + "?socket=" + e.Path
	}
	name := fmt.Sprintf("nbd://%s:%s", e.Host, e.Port)
	if e.Export != "" {
		name += "/" + e.Export
	}
	return name
}

// address is what QEMU calls the server in errors.
func (e export) address() string {
	if e.Network == "unix" {
		return e.Path
	}
	return e.Host + ":" + e.Port
}

// exportOfName reads nbd://HOST:PORT/EXPORT, nbd+unix:///EXPORT?socket=PATH,
// nbd:HOST:PORT:exportname=EXPORT and nbd:unix:PATH.
func exportOfName(name string) (export, error) {
	if old, ok := strings.CutPrefix(name, "nbd:"); ok && !strings.HasPrefix(old, "//") {
		address, exported, _ := strings.Cut(old, ":exportname=")
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			return export{nbd.Target{Network: "unix", Path: path, Export: exported}}, nil
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return export{}, fmt.Errorf("the address %q is not HOST:PORT", address)
		}
		return export{nbd.Target{Network: "tcp", Host: host, Port: port, Export: exported}}, nil
	}
	if rest, ok := strings.CutPrefix(name, "nbd+tcp:"); ok {
		name = "nbd:" + rest
	}
	t, err := nbd.ParseURI(name)
	if err != nil || t.Certificates+t.PSKFile+t.Hostname+t.Type+t.Username != "" {
		return export{}, say("No valid URL specified")
	}
	return export{t}, nil
}

// harmless are settings that change nothing about what is read.
var harmless = []string{"read-only", "auto-read-only", "force-share", "locking", "aio", "cache.direct", "cache.no-flush", "discard", "detect-zeroes", "node-name"}

// placeOfOptions reads the value of --image-opts, or a name that begins with json:.
func placeOfOptions(text, format string) (place, error) {
	if !strings.HasPrefix(text, "json:") && !strings.Contains(text, "=") {
		return place{}, say("Cannot find device='%s' nor node-name='%s'", text, text)
	}
	i, err := nbd.ParseImageOpts(text)
	if err != nil {
		return place{}, plainText(err)
	}
	p := place{protocol: i.Driver, path: i.Filename, export: export{i.Target}, format: format}
	switch len(i.Formats) {
	case 0:
		p.bare = slices.Contains([]string{"nbd", "file"}, topDriver(text))
	case 1:
		p.format = i.Formats[0]
	default:
		return p, fmt.Errorf("a chain of the drivers %s is not supported by virtls", strings.Join(i.Formats, ", "))
	}
	if err := knownFormat(p.format); err != nil {
		return p, err
	}
	for key, value := range i.Options {
		short := strings.TrimPrefix(key, "file.")
		p.unlocked = p.unlocked || short == "force-share" && value == "on" || short == "locking" && value == "off"
		if !slices.Contains(harmless, short) {
			return p, fmt.Errorf("the option '%s' is not supported by virtls", key)
		}
	}
	return p, nil
}

// topDriver returns the outermost driver of a description.
func topDriver(text string) string {
	if object, ok := strings.CutPrefix(text, "json:"); ok {
		if v, err := qjson.Parse([]byte(object)); err == nil {
			if o, ok := v.(qjson.Object); ok {
				d, _ := o.Get("driver")
				name, _ := d.(string)
				return name
			}
		}
		return ""
	}
	list, _ := settings(text)
	for _, s := range list {
		if s.Name == "driver" {
			return s.Value
		}
	}
	return ""
}

// plainText is an error without what findings add to their sentence.
func plainText(err error) error {
	if failure, ok := errors.AsType[*finding.Failure](err); ok && failure.Text != "" {
		return errors.New(failure.Text)
	}
	return err
}

// A remote is an export as a file. It implements qcow2.File and target.
type remote struct {
	*nbd.Client
	release func()
}

// Close ends the connection.
func (f *remote) Close() error {
	defer f.release()
	return f.Client.Close()
}

// Extent tells what the server says of a part. A hole is not present unless it
// is known to be zero.
func (f *remote) Extent(off, length int64) (qcow2.Extent, error) {
	e := qcow2.Extent{Start: off, Length: length, Offset: off, File: f, Present: true, Data: true}
	list, err := f.Extents(off, length, 1)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return e, nil
	case err != nil:
		return e, err
	case len(list) == 0 || list[0].Length <= 0:
		return e, errors.New("the server describes nothing")
	}
	e.Length = min(length, list[0].Length)
	e.Data, e.Zero = !list[0].Hole, list[0].Zero
	e.Present = e.Data || e.Zero
	return e, nil
}

// connect connects to an export, with TLS if it was named with credentials.
func (r *run) connect(e export, write bool) (*remote, error) {
	options := nbd.Options{Export: e.Export}
	release := func() {}
	if e.CredsID != "" {
		holder, free, err := r.objects.Creds(e.CredsID, creds.Client)
		if err != nil {
			return nil, plainText(err)
		}
		release = free
		options.Secure = e.Secure(holder.Current)
	}
	ctx := context.Background()
	conn, err := e.Dial(ctx)
	if err != nil {
		release()
		return nil, say("Failed to connect to '%s': %s", e.address(), strerror.Of(err))
	}
	client, err := nbd.NewClient(ctx, conn, options)
	if err != nil {
		release()
		return nil, dropin.NBDError(err, options.Secure != nil)
	}
	if write && client.Info().Flags.Has(nbd.ReadOnly) {
		client.Close()
		release()
		return nil, errors.New("request on write denied without write permission")
	}
	return &remote{client, release}, nil
}

// writeZeros makes a part of a target zero.
func writeZeros(t target, off, length int64) error {
	if f, ok := t.(*remote); ok {
		if err := f.WriteZeroes(off, length, 0); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	zeros := make([]byte, min(length, copyChunk))
	for end := off + length; off < end; off += int64(len(zeros)) {
		if _, err := t.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off); err != nil {
			return err
		}
	}
	return nil
}
