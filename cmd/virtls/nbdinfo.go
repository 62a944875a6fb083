package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"virtls/proto/nbd"
)

type nbdListCmd struct {
	Address string `arg:"" complete:"nbd" help:"The server; an export in the address is not looked at."`
	clientFlags
}

func (*nbdListCmd) Help() string {
	return `Prints the names of a server's exports, a line each. A server with access lists names those that this client may see.

` + nbdAddresses + `

Examples:
  virtls nbd list nbd://kvm1.example.com
  virtls nbd list --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu --tls-creds tls0 nbds://kvm1.example.com`
}

// nbdExport is an export in JSON documents.
type nbdExport struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Size        *int64   `json:"size,omitempty"`
	Flags       []string `json:"flags,omitempty"`
	BlockSize   []uint32 `json:"block_size,omitempty"` // minimum, preferred, maximum
	Contexts    []string `json:"contexts,omitempty"`
	Refused     string   `json:"refused,omitempty"`
}

type nbdExports struct {
	Schema  int         `json:"schema"`
	Server  string      `json:"server"`
	Exports []nbdExport `json:"exports"`
}

func (c *nbdListCmd) Run(a *app) error {
	return c.query(a, c.Address, func(ctx context.Context, t nbd.Target, o nbd.Options) error {
		conn, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		list, err := nbd.List(ctx, conn, o)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(exportsOf(t, list))
		}
		for _, e := range list {
			a.printf("%s\n", strings.TrimSpace(oneLine(fmt.Sprintf("%q  %s", e.Name, e.Description))))
		}
		return nil
	})
}

func exportsOf(t nbd.Target, list []nbd.Info) nbdExports {
	t.Export = ""
	doc := nbdExports{Schema: 1, Server: t.String(), Exports: []nbdExport{}}
	for _, e := range list {
		x := nbdExport{Name: e.Name, Description: e.Description, Flags: flagNames(e.Flags), Contexts: e.Contexts, Refused: e.Refused}
		if e.Size >= 0 {
			x.Size = &e.Size
			x.BlockSize = []uint32{e.BlockSize.Min, e.BlockSize.Preferred, e.BlockSize.Max}
		}
		doc.Exports = append(doc.Exports, x)
	}
	return doc
}

type nbdInfoCmd struct {
	Address string `arg:"" complete:"nbd" help:"The server. With an export: that one alone; without: all that it lists."`
	clientFlags
}

func (*nbdInfoCmd) Help() string {
	return `Shows size, description, block sizes and abilities of a server's exports, without using them.

` + nbdAddresses + `

Examples:
  virtls nbd info nbd://kvm1.example.com/disk
  virtls nbd info 'nbds://rich@kvm1.example.com/disk?tls-psk-file=keys.psk'
  virtls nbd info --object tls-creds-psk,id=tls0,dir=/tmp/keys,username=rich file.driver=nbd,file.host=localhost,file.tls-creds=tls0,file.export=/`
}

func (c *nbdInfoCmd) Run(a *app) error {
	return c.query(a, c.Address, func(ctx context.Context, t nbd.Target, o nbd.Options) error {
		conn, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		list, err := nbd.Query(ctx, conn, o)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(exportsOf(t, list))
		}
		for i, e := range list {
			if i > 0 {
				a.printf("\n")
			}
			printExport(a, e)
		}
		return nil
	})
}

func printExport(a *app, e nbd.Info) {
	a.printf("%s\n", oneLine(fmt.Sprintf("export %q", e.Name)))
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	row := func(what, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", what, oneLine(value))
		}
	}
	row("description", e.Description)
	row("refused", e.Refused)
	if e.Size >= 0 {
		row("size", fmt.Sprintf("%d octets (%s)", e.Size, octets(e.Size)))
		row("block size", fmt.Sprintf("minimum %d, preferred %d, maximum %d", e.BlockSize.Min, e.BlockSize.Preferred, e.BlockSize.Max))
		row("abilities", strings.Join(flagNames(e.Flags), ", "))
		row("contexts", strings.Join(e.Contexts, ", "))
	}
	w.Flush()
}

// octets says a size for people.
func octets(n int64) string {
	if n == 1 {
		return "1 octet"
	}
	units := []string{"octets", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, unit := float64(n), 0
	for v >= 1024 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[unit]
}

// nbdFlags are the names of an export's flags.
var nbdFlags = []struct {
	flag nbd.Flags
	name string
}{
	{nbd.ReadOnly, "read-only"}, {nbd.SendFlush, "flush"}, {nbd.SendFUA, "fua"}, {nbd.Rotational, "rotational"}, {nbd.SendTrim, "trim"},
	{nbd.SendWriteZeroes, "write-zeroes"}, {nbd.SendFastZero, "fast-zero"}, {nbd.SendDF, "dont-fragment"}, {nbd.SendCache, "cache"},
	{nbd.CanMultiConn, "multi-conn"}, {nbd.SendResize, "resize"}, {nbd.BlockStatusPayload, "block-status-payload"},
}

func flagNames(f nbd.Flags) []string {
	names := []string{}
	for _, n := range nbdFlags {
		if f.Has(n.flag) {
			names = append(names, n.name)
		}
	}
	return names
}

type nbdMapCmd struct {
	Address string `arg:"" complete:"nbd" help:"The export."`
	clientFlags
}

func (*nbdMapCmd) Help() string {
	return `Prints the extents of an export, a line each: offset, length, and whether there are data, a hole that reads as
zeroes (hole,zero), or zeroes that take up space (zero). A server that does not tell has data everywhere.

` + nbdAddresses + `

Examples:
  virtls nbd map nbd://kvm1.example.com/disk
  virtls nbd map --json nbd+unix:///?socket=/run/disk.sock`
}

// nbdExtent is an extent in JSON documents.
type nbdExtent struct {
	Start  int64 `json:"start"`
	Length int64 `json:"length"`
	Hole   bool  `json:"hole"`
	Zero   bool  `json:"zero"`
}

type nbdMap struct {
	Schema  int         `json:"schema"`
	Server  string      `json:"server"`
	Export  string      `json:"export"`
	Extents []nbdExtent `json:"extents"`
}

// mapAtOnce is how much is asked about by one request.
const mapAtOnce = 1 << 30

func (c *nbdMapCmd) Run(a *app) error {
	return c.query(a, c.Address, func(ctx context.Context, t nbd.Target, o nbd.Options) error {
		client, err := t.Connect(ctx, o)
		if err != nil {
			return err
		}
		defer client.Close()
		client = client.WithContext(ctx)
		doc := nbdMap{Schema: 1, Export: t.Export, Extents: []nbdExtent{}}
		var now nbdExtent
		end := func() {
			switch {
			case now.Length == 0:
			case a.json:
				doc.Extents = append(doc.Extents, now)
			default:
				a.printf("%12d %12d  %s\n", now.Start, now.Length, extentName(now))
			}
		}
		for off := int64(0); off < client.Size(); {
			list, err := client.Extents(off, min(mapAtOnce, client.Size()-off), 1<<20)
			if err != nil {
				return nbdFailure(t.String(), err)
			}
			for _, e := range list {
				if e.Hole != now.Hole || e.Zero != now.Zero {
					end()
					now = nbdExtent{Start: off, Hole: e.Hole, Zero: e.Zero}
				}
				now.Length += e.Length
				off += e.Length
			}
		}
		end()
		if !a.json {
			return nil
		}
		t.Export = ""
		doc.Server = t.String()
		return a.printJSON(doc)
	})
}

func extentName(e nbdExtent) string {
	switch {
	case e.Hole && e.Zero:
		return "hole,zero"
	case e.Hole:
		return "hole"
	case e.Zero:
		return "zero"
	}
	return "data"
}
