package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"virtls/internal/wait"
)

var (
	// ErrLeft is what a [Mediator] returns of a client that wants nothing more: it
	// said goodbye, or nothing at all.
	ErrLeft = errors.New("the client left without using an export")
	// ErrPlain is what it returns of one that left when it was told to use TLS.
	ErrPlain = errors.New("the client did not go over to TLS")
)

// A Mediator stands between a client and a server up to the choice of an export,
// so that either of them may have TLS: it answers the client until the client is
// known, and only then makes itself known to the server. What the client asks for
// after that it passes on, option by option, as far as it may know of the export.
//
//	m, err := nbd.Accept(ctx, client, secure)      // greeting, STARTTLS
//	err = m.Reach(ctx, service, nbd.Options{...})  // the same with the server
//	export, err := m.Choose(ctx, allows)           // options, up to EXPORT_NAME or GO
//
// From then on both peers speak of blocks, and their octets can be passed on
// unread; none is read ahead.
type Mediator struct {
	client  *negotiation
	service *asker
}

// Accept greets a client. With a Secure it has the client go over to TLS, and
// refuses everything else before in qemu-nbd's words (nbd/server.c,
// nbd_negotiate_options). The connection is the caller's to close.
func Accept(ctx context.Context, c net.Conn, secure Secure) (*Mediator, error) {
	n := &negotiation{conn: c, plain: c}
	err := bounded(ctx, func() error {
		if err := n.greet(); err != nil || secure == nil {
			return err
		}
		return n.awaitTLS(ctx, secure)
	}, c)
	switch {
	case err != nil && n.silent():
		return nil, ErrLeft
	case err != nil:
		return nil, err
	}
	return &Mediator{client: n}, nil
}

// bounded does something with connections that fails when the context ends.
func bounded(ctx context.Context, f func() error, conns ...net.Conn) error {
	late, err := wait.Within(ctx, f, conns...)
	if late && err != nil {
		return fmt.Errorf("it was not complete in time: %w", errors.Join(context.Cause(ctx), err))
	}
	return err
}

// awaitTLS answers options until the client goes over to TLS.
func (n *negotiation) awaitTLS(ctx context.Context, secure Secure) error {
	for {
		err := n.nextOption()
		switch {
		case err != nil:
		case !n.fixed:
			err = fmt.Errorf("unsupported option 0x%x", uint32(n.option))
		case n.option == OptStartTLS:
			return n.startTLS(ctx, secure)
		case n.option == OptExportName:
			return fmt.Errorf("%w: %w", ErrPlain, n.beforeTLS())
		default:
			err = n.beforeTLS()
		}
		if errors.Is(err, ErrLeft) {
			return ErrPlain
		}
		if err != nil {
			return err
		}
	}
}

// nextOption reads an option, or finds that the client has left before it.
func (n *negotiation) nextOption() error {
	err := n.readOption()
	if n.option == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrLeft
	}
	return err
}

// Peer tells who the client is.
func (m *Mediator) Peer() Peer { return m.client.peer }

// Reach greets the server, and goes over to TLS with it if the options have a
// Secure. The server must speak fixed newstyle, as all do since 2014. The
// connection is the caller's to close. Errors are findings, or that of Secure.
func (m *Mediator) Reach(ctx context.Context, c net.Conn, o Options) error {
	a := &asker{subject: o.subject(c), o: o, plain: c, conn: c}
	err := bounded(ctx, func() error {
		if err := a.greet(); err != nil {
			return err
		}
		if !a.fixed {
			return kindNotNBD.Found(a.subject, "newstyle negotiation that is not fixed").WithWant("fixed newstyle", "NBD").Wrong()
		}
		if o.Secure != nil {
			return a.startTLS(ctx)
		}
		return nil
	}, c)
	if err != nil {
		return a.broken(err)
	}
	m.service = a
	return nil
}

// Choose passes options on until the client has chosen an export, and returns
// its name. An export for which allows returns false is one that is not there:
// it is left out of lists, and whoever asks for it gets the answer that unknown
// ones get; asked tells one from the other. Options that are not known are refused, because nobody can tell which
// export they are about.
func (m *Mediator) Choose(ctx context.Context, allows func(export string, asked bool) bool) (export string, err error) {
	err = bounded(ctx, func() error {
		for {
			if err := m.client.nextOption(); err != nil {
				return err
			}
			name, chosen, err := m.pass(allows)
			if chosen || err != nil {
				export = name
				return err
			}
		}
	}, m.client.plain, m.service.plain)
	return export, err
}

// pass answers an option with the server's help.
func (m *Mediator) pass(allows func(string, bool) bool) (export string, chosen bool, err error) {
	n := m.client
	if !n.fixed && n.option != OptExportName {
		return "", false, fmt.Errorf("unsupported option 0x%x", uint32(n.option))
	}
	switch n.option {
	case OptExportName:
		name, err := m.exportName(allows)
		return name, err == nil, err
	case OptAbort:
		// The client may be gone already, as in answer.
		_ = n.drop()
		m.service.abort()
		_ = n.reply(RepAck, nil)
		return "", false, ErrLeft
	case OptList:
		return "", false, m.list(allows)
	case OptStartTLS:
		return "", false, n.noTLS()
	case OptInfo, OptGo, OptListMetaContext, OptSetMetaContext:
		return m.about(allows)
	case OptStructuredReply, OptExtendedHeaders:
		if n.left > 0 {
			return "", false, n.badLength()
		}
		_, err := m.forward(nil, nil)
		return "", false, err
	}
	return "", false, n.refuse(RepErrUnsupported, "Unsupported option %d (%s)", uint32(n.option), n.option)
}

// forward passes the option on, and the server's answers back, until one of them
// is the last. Those that change takes, it has answered itself or left out.
func (m *Mediator) forward(data []byte, change func(answer) (taken bool, err error)) (last ReplyType, err error) {
	option := m.client.option
	if err := m.service.send(option, data); err != nil {
		return 0, err
	}
	for count := 0; count < maxExports; count++ {
		r, err := m.service.receive(option)
		if err != nil {
			return 0, err
		}
		taken := false
		if change != nil {
			if taken, err = change(r); err != nil {
				return 0, err
			}
		}
		if !taken {
			if err := m.client.reply(r.kind, r.data); err != nil {
				return 0, err
			}
		}
		if r.kind == RepAck || r.kind&repError != 0 {
			return r.kind, nil
		}
	}
	return 0, m.service.broken(fmt.Errorf("the server answers option %d (%s) more than %d times", uint32(option), option, maxExports))
}

// list passes on those exports that the client may know of.
func (m *Mediator) list(allows func(string, bool) bool) error {
	if m.client.left > 0 {
		return m.client.badLength()
	}
	_, err := m.forward(nil, func(r answer) (bool, error) {
		if r.kind != RepServer {
			return false, nil
		}
		name, _, ok := cutString(r.data)
		if !ok {
			return false, m.service.broken(errors.New("an entry of the list of exports is too short"))
		}
		return !allows(name, false), nil
	})
	return err
}

// maxAbout bounds the data of an option about an export: a name, and more
// requests and contexts than there are.
const maxAbout = 64 << 10

// about passes on an option that begins with the name of an export.
func (m *Mediator) about(allows func(string, bool) bool) (export string, chosen bool, err error) {
	n := m.client
	if n.left > maxAbout {
		return "", false, n.refuse(RepErrTooBig, "option '%s' has more than %d octets", n.option, maxAbout)
	}
	data, err := n.take(n.left)
	if err != nil {
		return "", false, err
	}
	name, _, ok := cutString(data)
	switch {
	case !ok:
		return "", false, n.invalid("Inconsistent lengths in option %s", n.option)
	case len(name) > maxString:
		return "", false, n.invalid("Invalid name length: %d", len(name))
	case !allows(name, true):
		return "", false, n.unknownExport(name)
	}
	last, err := m.forward(data, func(r answer) (bool, error) {
		if r.kind != RepErrUnknown {
			return false, nil
		}
		// In the same words as for one that is hidden.
		return true, n.unknownExport(name)
	})
	return name, last == RepAck && n.option == OptGo, err
}

// exportName passes on the option that can only be refused by hanging up.
func (m *Mediator) exportName(allows func(string, bool) bool) (string, error) {
	n, a := m.client, m.service
	if n.left > maxString {
		return "", errors.New("bad length received")
	}
	data, err := n.take(n.left)
	if err != nil {
		return "", err
	}
	name := string(data)
	if !allows(name, true) {
		return name, errors.New("export not found")
	}
	if err := a.send(OptExportName, data); err != nil {
		return name, err
	}
	b := make([]byte, 10+124)
	read := b
	if a.noZeroes {
		read = b[:10]
	}
	if _, err := io.ReadFull(a.conn, read); err != nil {
		return name, kindUnknown.Found(a.subject, "the server closed the connection").WithText("Requested export not available").Unable(err)
	}
	if n.noZeroes {
		b = b[:10]
	}
	if _, err := n.conn.Write(b); err != nil {
		return name, endOf(err, "the answer to EXPORT_NAME")
	}
	return name, nil
}
