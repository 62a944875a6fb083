package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"virtls/internal/wait"
)

// A negotiation is the server's side of a connection up to the choice of an
// export. What it answers, and in which words, is QEMU's (nbd/server.c).
type negotiation struct {
	server *Server
	plain  net.Conn // as it came
	conn   net.Conn // as it is now
	peer   Peer
	heard  bool   // the client said something
	wanted string // the export that it asked for last
	denied bool   // the log has been told that it may not have one

	fixed, noZeroes bool
	mode            mode
	// meta is the export for which base:allocation was chosen.
	meta *Export

	option Option
	left   uint32 // of its data
}

var be = binary.BigEndian

// silent reports whether an end is not worth a word: a client that was only
// looking, or a probe of the port that said nothing.
func (n *negotiation) silent() bool { return !n.heard }

// run negotiates within the handshake limit. Without an error it returns what to
// serve, nil if the client does not want anything.
func (n *negotiation) run(ctx context.Context, limits Limits) (*transmission, error) {
	ctx, cancel := context.WithTimeout(ctx, limits.Handshake)
	defer cancel()
	// The plain connection below is what the deadline holds for, TLS or not.
	var export *Export
	late, err := wait.Within(ctx, func() (err error) {
		export, err = n.negotiate(ctx)
		return err
	}, n.plain)
	if late && err != nil {
		err = fmt.Errorf("it was not complete in time: %w", context.Cause(ctx))
	}
	if errors.Is(err, ErrLeft) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &transmission{conn: n.conn, plain: n.plain, export: export, dev: export.abilities(), mode: n.mode, status: n.meta == export}, nil
}

func (n *negotiation) negotiate(ctx context.Context) (*Export, error) {
	if err := n.greet(); err != nil {
		return nil, err
	}
	for {
		if err := n.readOption(); err != nil {
			return nil, err
		}
		export, err := n.answer(ctx)
		if export != nil || err != nil {
			return export, err
		}
	}
}

// greet exchanges what both sides can.
func (n *negotiation) greet() error {
	hello := be.AppendUint64(nil, magicServer)
	hello = be.AppendUint64(hello, magicOption)
	hello = be.AppendUint16(hello, flagFixedNewstyle|flagNoZeroes)
	if _, err := n.conn.Write(hello); err != nil {
		return endOf(err, "the greeting")
	}
	var b [4]byte
	if _, err := io.ReadFull(n.conn, b[:]); err != nil {
		return endOf(err, "the client's flags")
	}
	n.heard = true
	flags := be.Uint32(b[:])
	n.fixed, n.noZeroes = flags&flagFixedNewstyle != 0, flags&flagNoZeroes != 0
	if rest := flags &^ (flagFixedNewstyle | flagNoZeroes); rest != 0 {
		return fmt.Errorf("unknown client flags 0x%x received", rest)
	}
	return nil
}

// readOption reads an option up to its data.
func (n *negotiation) readOption() error {
	var b [16]byte
	n.option = 0
	if _, err := io.ReadFull(n.conn, b[:]); err != nil {
		return endOf(err, "an option")
	}
	if be.Uint64(b[:]) != magicOption {
		return errors.New("bad magic received")
	}
	n.option, n.left = Option(be.Uint32(b[8:])), be.Uint32(b[12:])
	if n.left > maxOption {
		return fmt.Errorf("len (%d) is larger than max len (%d)", n.left, maxOption)
	}
	return nil
}

// answer answers an option. It returns an export when the client is to use it.
func (n *negotiation) answer(ctx context.Context) (*Export, error) {
	plain := n.server.Secure != nil && !n.peer.Secured
	switch {
	case !n.fixed && (n.option != OptExportName || plain && !n.server.AllowPlain):
		return nil, fmt.Errorf("unsupported option 0x%x", uint32(n.option))
	case plain && n.option == OptStartTLS:
		return nil, n.startTLS(ctx, n.server.Secure)
	case plain && !n.server.AllowPlain:
		return nil, n.beforeTLS()
	}
	switch n.option {
	case OptExportName:
		return n.exportName()
	case OptAbort:
		// The client may be gone already, or send what it should not.
		_ = n.drop()
		_ = n.reply(RepAck, nil)
		return nil, ErrLeft
	case OptList:
		return nil, n.list()
	case OptStartTLS:
		return nil, n.noTLS()
	case OptInfo, OptGo:
		return n.info()
	case OptStructuredReply:
		return nil, n.upgrade(structured)
	case OptExtendedHeaders:
		return nil, n.upgrade(extended)
	case OptListMetaContext, OptSetMetaContext:
		return nil, n.metaContext()
	}
	return nil, n.refuse(RepErrUnsupported, "Unsupported option %d (%s)", uint32(n.option), n.option)
}

// beforeTLS answers what comes before the TLS that the server insists on.
func (n *negotiation) beforeTLS() error {
	text := fmt.Sprintf("Option 0x%x not permitted before TLS", uint32(n.option))
	if n.option == OptExportName {
		return errors.New(text)
	}
	err := n.refuse(RepErrTLSRequired, "%s", text)
	if n.option == OptAbort {
		return ErrLeft
	}
	return err
}

// noTLS answers STARTTLS where it has no place.
func (n *negotiation) noTLS() error {
	switch {
	case n.left > 0:
		return n.badLength()
	case n.peer.Secured:
		return n.refuse(RepErrInvalid, "TLS already enabled")
	}
	return n.refuse(RepErrPolicy, "TLS not configured")
}

// startTLS goes over to TLS on a connection. What was negotiated before is
// forgotten, and there is no way back.
func (n *negotiation) startTLS(ctx context.Context, secure Secure) error {
	if n.left > 0 {
		if err := n.badLength(); err != nil {
			return err
		}
		return errors.New("option 'starttls' has unexpected length")
	}
	if err := n.reply(RepAck, nil); err != nil {
		return err
	}
	conn, peer, err := secure(ctx, n.plain)
	if err != nil {
		return err
	}
	peer.Secured = true
	n.conn, n.peer = conn, peer
	n.mode, n.meta = simple, nil
	return nil
}

// upgrade changes the shape of replies.
func (n *negotiation) upgrade(m mode) error {
	switch {
	case n.left > 0:
		return n.badLength()
	case n.mode == m:
		return n.refuse(RepErrInvalid, "%s already negotiated", map[mode]string{structured: "structured reply", extended: "extended headers"}[m])
	case n.mode > m:
		return n.refuse(RepErrExtHeaderReqd, "extended headers already negotiated")
	}
	n.mode = m
	return n.reply(RepAck, nil)
}

// exportName answers the option that cannot be refused but by hanging up.
func (n *negotiation) exportName() (*Export, error) {
	if n.left > maxString {
		return nil, errors.New("bad length received")
	}
	if n.mode == extended {
		return nil, errors.New("option 1 (export name) does not go with extended headers")
	}
	name, err := n.take(n.left)
	if err != nil {
		return nil, err
	}
	export := n.find(string(name))
	if export == nil {
		return nil, errors.New("export not found")
	}
	dev := export.abilities()
	b := be.AppendUint64(nil, uint64(dev.Size()))
	b = be.AppendUint16(b, uint16(dev.flags(n.mode)))
	if !n.noZeroes {
		b = append(b, make([]byte, 124)...)
	}
	if _, err := n.conn.Write(b); err != nil {
		return nil, endOf(err, "the answer to EXPORT_NAME")
	}
	return export, nil
}

// find returns an export that the client may see, nil if there is none of that
// name. Denials are logged once for a connection, however often it asks.
func (n *negotiation) find(name string) *Export {
	n.wanted = name
	export, denied := n.server.find(name, n.peer)
	if denied != nil && !n.denied {
		n.denied = true
		n.server.log(Event{Denied, n.plain.RemoteAddr(), n.peer, name, denied})
	}
	return export
}

func (n *negotiation) list() error {
	if n.left > 0 {
		return n.badLength()
	}
	for _, e := range n.server.visible(n.peer) {
		b := be.AppendUint32(nil, uint32(len(e.Name)))
		b = append(append(b, e.Name...), e.Description...)
		if err := n.reply(RepServer, b); err != nil {
			return err
		}
	}
	return n.reply(RepAck, nil)
}

// info answers INFO and GO.
func (n *negotiation) info() (*Export, error) {
	name, ok, err := n.takeString("Invalid name length: %d")
	if !ok {
		return nil, err
	}
	n.wanted = name
	count, ok, err := n.takeNumber(2)
	if !ok {
		return nil, err
	}
	var wantName, wantSizes bool
	for ; count > 0; count-- {
		kind, ok, err := n.takeNumber(2)
		if !ok {
			return nil, err
		}
		wantName = wantName || kind == infoName
		wantSizes = wantSizes || kind == infoBlockSize
	}
	if n.left > 0 {
		return nil, n.badLength()
	}
	export := n.find(name)
	if export == nil {
		return nil, n.unknownExport(name)
	}
	if err := n.describe(export, wantName, wantSizes); err != nil {
		return nil, err
	}
	if n.option == OptInfo && !wantSizes && export.abilities().sizes.Min > 1 {
		return nil, n.refuse(RepErrBlockSizeReqd, "request NBD_INFO_BLOCK_SIZE to use this export")
	}
	if err := n.reply(RepAck, nil); err != nil || n.option == OptInfo {
		return nil, err
	}
	return export, nil
}

// describe sends what is to be known of an export.
func (n *negotiation) describe(e *Export, name, sizes bool) error {
	send := func(kind uint16, b []byte) error {
		return n.reply(RepInfo, append(be.AppendUint16(nil, kind), b...))
	}
	if name {
		if err := send(infoName, []byte(e.Name)); err != nil {
			return err
		}
	}
	if e.Description != "" {
		if err := send(infoDescription, []byte(e.Description)); err != nil {
			return err
		}
	}
	dev := e.abilities()
	size := dev.sizes
	if n.option == OptGo && !sizes {
		size.Min = 1 // the client has not said that it will obey
	}
	b := be.AppendUint32(nil, size.Min)
	b = be.AppendUint32(b, size.Preferred)
	if err := send(infoBlockSize, be.AppendUint32(b, size.Max)); err != nil {
		return err
	}
	b = be.AppendUint64(nil, uint64(dev.Size()))
	return send(infoExport, be.AppendUint16(b, uint16(dev.flags(n.mode))))
}

// unknownExport answers for an export that is not there, or that the peer may
// not see. The name is shortened as QEMU does it.
func (n *negotiation) unknownExport(name string) error {
	if len(name) > 80 {
		name = name[:80] + "..."
	}
	return n.refuse(RepErrUnknown, "export '%s' not present", name)
}

// metaContext lists and chooses metadata contexts, of which there is one.
func (n *negotiation) metaContext() error {
	set := n.option == OptSetMetaContext
	if set {
		n.meta = nil
	}
	if set && n.mode < structured {
		return n.invalid("request option '%s' when structured reply is not negotiated", n.option)
	}
	name, ok, err := n.takeString("Invalid name length: %d")
	if !ok {
		return err
	}
	export := n.find(name)
	if export == nil {
		return n.unknownExport(name)
	}
	count, ok, err := n.takeNumber(4)
	if !ok {
		return err
	}
	chosen := !set && count == 0
	for ; count > 0; count-- {
		query, ok, err := n.takeQuery()
		if !ok {
			return err
		}
		chosen = chosen || query == baseAllocation || !set && query == "base:"
	}
	if n.left > 0 {
		return n.badLength()
	}
	if chosen {
		if set {
			n.meta = export
		}
		if err := n.reply(RepMetaContext, append(be.AppendUint32(nil, 0), baseAllocation...)); err != nil {
			return err
		}
	}
	return n.reply(RepAck, nil)
}
