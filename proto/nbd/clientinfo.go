package nbd

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
)

// Info is what a server tells of an export.
type Info struct {
	Name        string
	Description string
	Size        int64 // octets; -1 if the server told nothing but the name
	Flags       Flags
	BlockSize   BlockSize
	Contexts    []string // metadata contexts: those that are there (Query), or were chosen (Client)
	Extended    bool     // requests may be longer than 4 GiB: the server has extended headers
	Refused     string   // why the server does not tell more, empty if it does
}

// Query asks a server what it has, and leaves. With an export's name in the
// options it asks for that one alone, else for all that the server lists. It
// closes the connection. Errors are findings.
func Query(ctx context.Context, c net.Conn, o Options) (list []Info, err error) {
	return list, query(ctx, c, o, func(a *asker) error {
		names := []Info{{Name: o.Export}}
		if o.Export == "" {
			var err error
			if names, err = a.list(); err != nil {
				return err
			}
		}
		if err := a.replies(); err != nil {
			return err
		}
		for _, listed := range names {
			info, err := a.about(listed, o.Export == "")
			if err != nil {
				return err
			}
			list = append(list, info)
		}
		return nil
	})
}

// List asks a server for the names and descriptions of its exports, and leaves.
func List(ctx context.Context, c net.Conn, o Options) (list []Info, err error) {
	return list, query(ctx, c, o, func(a *asker) error {
		var err error
		list, err = a.list()
		return err
	})
}

func query(ctx context.Context, c net.Conn, o Options, f func(*asker) error) error {
	defer c.Close()
	return ask(ctx, c, o, func(a *asker) error {
		defer a.conn.Close()
		if !a.fixed {
			return kindRefused.Found(a.subject, "newstyle negotiation that is not fixed").WithText("Server does not support export lists").Wrong()
		}
		if err := f(a); err != nil {
			return err
		}
		a.abort()
		return nil
	})
}

// maxExports bounds a list.
const maxExports = 10000

func (a *asker) list() (list []Info, err error) {
	if err := a.send(OptList, nil); err != nil {
		return nil, err
	}
	for {
		r, err := a.receive(OptList)
		switch {
		case err != nil:
			return nil, err
		case r.kind == RepAck:
			return list, nil
		case r.kind&repError != 0:
			return nil, a.refused(OptList, r)
		case r.kind != RepServer:
			return nil, a.unexpected(OptList, r)
		case len(list) == maxExports:
			return nil, a.broken(fmt.Errorf("the server lists more than %d exports", maxExports))
		}
		name, rest, ok := cutString(r.data)
		if !ok {
			return nil, a.broken(fmt.Errorf("an entry of the list of exports is too short"))
		}
		list = append(list, Info{Name: name, Description: string(rest), Size: -1})
	}
}

// cutString cuts a text off that is preceded by its length.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 || uint64(be.Uint32(b)) > uint64(len(b)-4) {
		return "", nil, false
	}
	n := 4 + int(be.Uint32(b))
	return string(b[4:n]), b[n:], true
}

// about asks what is to be known of an export. That the server does not tell is
// an error unless the export is one of many.
func (a *asker) about(i Info, oneOfMany bool) (Info, error) {
	i.Size, i.Extended = -1, a.mode == extended
	refusal, err := a.describe(OptInfo, &i)
	switch {
	case err != nil:
		return i, err
	case refusal != nil && !oneOfMany && refusal.kind != RepErrUnsupported:
		return i, a.refused(OptInfo, *refusal)
	case refusal != nil:
		i.Refused = refusal.kind.String()
		return i, nil
	}
	if a.mode >= structured {
		i.Contexts, _, err = a.contexts(OptListMetaContext, i.Name)
	}
	return i, err
}

// describe sends INFO or GO and takes in what the server tells. A refusal is not
// an error.
func (a *asker) describe(o Option, i *Info) (refusal *answer, err error) {
	if len(i.Name) > maxString {
		return nil, kindUnknown.Found(a.subject, fmt.Sprintf("a name of %d octets", len(i.Name))).WithWant(fmt.Sprintf("at most %d", maxString), "NBD").Wrong()
	}
	b := be.AppendUint32(nil, uint32(len(i.Name)))
	b = append(b, i.Name...)
	b = be.AppendUint16(b, 2)
	b = be.AppendUint16(b, infoDescription)
	b = be.AppendUint16(b, infoBlockSize)
	if err := a.send(o, b); err != nil {
		return nil, err
	}
	i.BlockSize = defaultSizes
	for {
		r, err := a.receive(o)
		switch {
		case err != nil:
			return nil, err
		case r.kind&repError != 0:
			return &r, nil
		case r.kind == RepAck && i.Size < 0:
			return nil, a.broken(fmt.Errorf("the server does not tell the export's size"))
		case r.kind == RepAck:
			return nil, nil
		case r.kind != RepInfo:
			return nil, a.unexpected(o, r)
		}
		if err := i.take(r.data); err != nil {
			return nil, a.broken(err)
		}
	}
}

// take enters one piece of information. Unknown ones are passed over.
func (i *Info) take(b []byte) error {
	if len(b) < 2 {
		return fmt.Errorf("a piece of information of %d octets", len(b))
	}
	kind, b := be.Uint16(b), b[2:]
	switch {
	case kind == infoExport && len(b) == 10:
		return i.setSize(be.Uint64(b), Flags(be.Uint16(b[8:])))
	case kind == infoDescription:
		i.Description = strings.ToValidUTF8(string(b), "\uFFFD")
	case kind == infoBlockSize && len(b) == 12:
		s := BlockSize{be.Uint32(b), be.Uint32(b[4:]), be.Uint32(b[8:])}
		if s.Min == 0 || s.Min&(s.Min-1) != 0 || s.Min > 1<<16 || s.Preferred&(s.Preferred-1) != 0 || s.Preferred < s.Min || s.Max < s.Min {
			return fmt.Errorf("block sizes %d, %d and %d make no sense", s.Min, s.Preferred, s.Max)
		}
		i.BlockSize = s
	case kind == infoExport || kind == infoBlockSize:
		return fmt.Errorf("information of kind %d with %d octets", kind, len(b))
	}
	return nil
}

func (i *Info) setSize(size uint64, flags Flags) error {
	if size > 1<<63-1 {
		return fmt.Errorf("a size of %d octets is more than can be", size)
	}
	if !flags.Has(HasFlags) {
		flags = 0
	}
	i.Size, i.Flags = int64(size), flags
	return nil
}

// contexts lists or chooses metadata contexts: with SET it asks for
// base:allocation, and returns its id.
func (a *asker) contexts(o Option, export string) (names []string, id uint32, err error) {
	b := be.AppendUint32(nil, uint32(len(export)))
	b = append(b, export...)
	if o == OptSetMetaContext {
		b = be.AppendUint32(b, 1)
		b = be.AppendUint32(b, uint32(len(baseAllocation)))
		b = append(b, baseAllocation...)
	} else {
		b = be.AppendUint32(b, 0)
	}
	if err := a.send(o, b); err != nil {
		return nil, 0, err
	}
	for {
		r, err := a.receive(o)
		switch {
		case err != nil:
			return nil, 0, err
		case r.kind == RepAck:
			return names, id, nil
		case r.kind&repError != 0: // there is none, then
			return nil, 0, nil
		case r.kind != RepMetaContext || len(r.data) < 4:
			return nil, 0, a.unexpected(o, r)
		case len(names) == maxExports:
			return nil, 0, a.broken(fmt.Errorf("the server lists more than %d metadata contexts", maxExports))
		}
		names = append(names, string(r.data[4:]))
		if names[len(names)-1] == baseAllocation {
			id = be.Uint32(r.data)
		}
	}
}

// open chooses the export for use.
func (a *asker) open() (i Info, id uint32, err error) {
	i = Info{Name: a.o.Export, Size: -1}
	if !a.fixed {
		return i, 0, a.exportName(&i)
	}
	if err := a.replies(); err != nil {
		return i, 0, err
	}
	i.Extended = a.mode == extended
	if a.mode >= structured {
		if i.Contexts, id, err = a.contexts(OptSetMetaContext, i.Name); err != nil {
			return i, 0, err
		}
	}
	refusal, err := a.describe(OptGo, &i)
	switch {
	case err != nil:
		return i, 0, err
	case refusal == nil:
		return i, id, nil
	case refusal.kind != RepErrUnsupported || a.mode == extended:
		return i, 0, a.refused(OptGo, *refusal)
	}
	return i, id, a.exportName(&i)
}

// exportName chooses an export of a server that does not know GO.
func (a *asker) exportName(i *Info) error {
	if err := a.send(OptExportName, []byte(i.Name)); err != nil {
		return err
	}
	b := make([]byte, 10+124)
	if a.noZeroes {
		b = b[:10]
	}
	if _, err := io.ReadFull(a.conn, b); err != nil {
		return kindUnknown.Found(a.subject, "the server closed the connection").WithText("Requested export not available").Unable(err)
	}
	i.BlockSize = defaultSizes
	if err := i.setSize(be.Uint64(b), Flags(be.Uint16(b[8:]))); err != nil {
		return a.broken(err)
	}
	return nil
}
