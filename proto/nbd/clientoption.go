package nbd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"virtls/finding"
	"virtls/internal/wait"
)

// An asker is the client's side of a connection up to the choice of an export.
type asker struct {
	subject  string // of findings
	o        Options
	plain    net.Conn
	conn     net.Conn
	peer     Peer
	fixed    bool
	noZeroes bool
	mode     mode
	heard    int // octets of answers' data
}

// An answer is what the server says to an option.
type answer struct {
	kind ReplyType
	data []byte
}

// ask greets the server, goes over to TLS if that is wanted, and lets f do the
// rest, all within the context. The connection is the caller's to close.
func ask(ctx context.Context, c net.Conn, o Options, f func(a *asker) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.Handshake, defaultHandshake))
	defer cancel()
	a := &asker{subject: o.subject(c), o: o, plain: c, conn: c, fixed: o.Upgraded, noZeroes: o.Upgraded}
	late, err := wait.Within(ctx, func() (err error) {
		if !o.Upgraded {
			err = a.greet()
		}
		if err == nil && o.Secure != nil {
			err = a.startTLS(ctx)
		}
		if err == nil {
			err = f(a)
		}
		return err
	}, c)
	if late && err != nil {
		return a.broken(fmt.Errorf("it was not complete in time: %w", context.Cause(ctx)))
	}
	return err
}

// broken is a negotiation that cannot go on.
func (a *asker) broken(err error) error {
	var f *finding.Failure
	if errors.As(err, &f) {
		return err
	}
	return kindProtocol.Found(a.subject, err.Error()).Unable(err)
}

// greet reads the server's greeting and answers it.
func (a *asker) greet() error {
	var b [18]byte
	not := func(what string, err error) error {
		return kindNotNBD.Found(a.subject, what).WithWant("NBDMAGIC IHAVEOPT", "NBD").Unable(err)
	}
	if n, err := io.ReadFull(a.conn, b[:16]); err != nil {
		if n == 0 {
			return not("no greeting", err)
		}
		return not(fmt.Sprintf("%q", b[:n]), err)
	}
	switch {
	case be.Uint64(b[:]) != magicServer:
		return not(fmt.Sprintf("%q", b[:16]), nil)
	case be.Uint64(b[8:]) == magicOldStyle && a.o.Secure != nil:
		return kindNoTLS.Found(a.subject, "oldstyle negotiation").WithText("Server does not support STARTTLS").Wrong()
	case be.Uint64(b[8:]) != magicOption:
		return not("oldstyle negotiation", nil)
	}
	if _, err := io.ReadFull(a.conn, b[16:]); err != nil {
		return a.broken(endOf(err, "the greeting"))
	}
	flags := be.Uint16(b[16:])
	a.fixed, a.noZeroes = flags&flagFixedNewstyle != 0, flags&flagNoZeroes != 0
	if !a.fixed && a.o.Secure != nil {
		return kindNoTLS.Found(a.subject, "newstyle negotiation that is not fixed").WithText("Server does not support STARTTLS").Wrong()
	}
	if _, err := a.conn.Write(be.AppendUint32(nil, uint32(flags&(flagFixedNewstyle|flagNoZeroes)))); err != nil {
		return a.broken(endOf(err, "the greeting"))
	}
	return nil
}

// startTLS goes over to TLS, or says in QEMU's words why that is not to be.
func (a *asker) startTLS(ctx context.Context) error {
	if err := a.send(OptStartTLS, nil); err != nil {
		return err
	}
	r, err := a.receive(OptStartTLS)
	if err != nil {
		return err
	}
	switch {
	case r.kind == RepAck && len(r.data) > 0:
		return kindProtocol.Found(a.subject, "").WithText("Option 5 ('starttls') response length is %d (it should be zero)", len(r.data)).Wrong()
	case r.kind == RepAck:
	case r.kind&repError == 0:
		return a.unexpected(OptStartTLS, r)
	case a.o.AllowPlain:
		return nil
	case r.kind == RepErrUnsupported:
		return a.refusal(kindNoTLS, OptStartTLS, r, "Server don't support STARTTLS option")
	default:
		return a.refusal(kindNoTLS, OptStartTLS, r, refusalText(OptStartTLS, r.kind))
	}
	conn, peer, err := a.o.Secure(ctx, a.plain)
	if err != nil {
		return err
	}
	peer.Secured = true
	a.conn, a.peer = conn, peer
	return nil
}

// send sends an option.
func (a *asker) send(o Option, data []byte) error {
	b := be.AppendUint64(make([]byte, 0, 16+len(data)), magicOption)
	b = be.AppendUint32(b, uint32(o))
	b = be.AppendUint32(b, uint32(len(data)))
	if _, err := a.conn.Write(append(b, data...)); err != nil {
		return a.broken(endOf(err, fmt.Sprintf("option %d (%s)", uint32(o), o)))
	}
	return nil
}

// maxAnswer bounds an answer's data: a name and a description are the longest.
const maxAnswer = 4 + 2*maxString

// maxHeard bounds the data of all answers of a server together, so that it cannot
// fill the memory with lists of exports and of their contexts.
const maxHeard = 64 << 20

// receive reads an answer to an option.
func (a *asker) receive(o Option) (answer, error) {
	what := fmt.Sprintf("the answer to option %d (%s)", uint32(o), o)
	var b [20]byte
	if _, err := io.ReadFull(a.conn, b[:]); err != nil {
		return answer{}, a.broken(&OptionError{Option: o, Err: endOf(err, what)})
	}
	r := answer{kind: ReplyType(be.Uint32(b[12:]))}
	size := be.Uint32(b[16:])
	switch got := Option(be.Uint32(b[8:])); {
	case be.Uint64(b[:]) != magicReply:
		return r, a.broken(fmt.Errorf("unexpected option reply magic 0x%x", be.Uint64(b[:])))
	case got != o:
		return r, a.broken(fmt.Errorf("unexpected option type %d (%s), expected %d (%s)", uint32(got), got, uint32(o), o))
	case size > maxAnswer:
		return r, a.broken(fmt.Errorf("%s has %d octets, want at most %d", what, size, maxAnswer))
	}
	if a.heard += int(size) + len(b); a.heard > maxHeard {
		return r, a.broken(fmt.Errorf("the server says more than %d octets before any export is used", maxHeard))
	}
	r.data = make([]byte, size)
	if _, err := io.ReadFull(a.conn, r.data); err != nil {
		return r, a.broken(endOf(err, what))
	}
	return r, nil
}

// An OptionError is behind the findings about options that a server did not
// accept: by an answer, or by none.
type OptionError struct {
	Option Option
	Reply  ReplyType // 0 without an answer
	Text   string    // what the answer means, in QEMU's words
	Said   string    // what the server says about it, often nothing
	Err    error     // why there was no answer
}

// Error returns the text, or why there was no answer.
func (e *OptionError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Text
}

// Unwrap returns why there was no answer.
func (e *OptionError) Unwrap() error { return e.Err }

// refusalText says in QEMU's words that an option was refused.
func refusalText(o Option, kind ReplyType) string {
	what := fmt.Sprintf("option %d (%s)", uint32(o), o)
	switch kind {
	case RepErrPolicy:
		return "Denied by server for " + what
	case RepErrInvalid:
		return "Invalid parameters for " + what
	case RepErrPlatform:
		return "Server lacks support for " + what
	case RepErrTLSRequired:
		return "TLS negotiation required before " + what
	case RepErrShutdown:
		return "Server shutting down before " + what
	case RepErrBlockSizeReqd:
		return "Server requires INFO_BLOCK_SIZE for " + what
	case RepErrUnknown:
		return "Requested export not available"
	}
	return fmt.Sprintf("Unsupported reply type %d (%s) for %s", uint32(kind), kind, what)
}

// refused is the finding about a refused option.
func (a *asker) refused(o Option, r answer) error {
	kind := kindRefused
	switch r.kind {
	case RepErrTLSRequired:
		kind = kindTLSRequired
	case RepErrUnknown:
		kind = kindUnknown
	}
	a.abort()
	return a.refusal(kind, o, r, refusalText(o, r.kind))
}

// refusal is a finding of a kind, with what the server says about it.
func (a *asker) refusal(kind *finding.Kind, o Option, r answer, text string) error {
	e := &OptionError{Option: o, Reply: r.kind, Text: text, Said: strings.ToValidUTF8(string(r.data), "\uFFFD")}
	f := kind.Found(a.subject, "").WithText("%s", text)
	if e.Said != "" {
		f.Got = "server reported: " + e.Said
	}
	return &finding.Failure{Finding: f, Exit: finding.ExitWrong, Cause: e}
}

func (a *asker) unexpected(o Option, r answer) error {
	return kindProtocol.Found(a.subject, "").WithText("Server answered option %d (%s) with unexpected reply %d (%s)", uint32(o), o, uint32(r.kind), r.kind).Wrong()
}

// upgrade asks for a shape of replies. Servers that do not know it say so.
func (a *asker) upgrade(o Option, m mode) error {
	if err := a.send(o, nil); err != nil {
		return err
	}
	r, err := a.receive(o)
	if err == nil && r.kind == RepAck {
		a.mode = m
	}
	return err
}

// replies agrees on the shape of replies.
func (a *asker) replies() error {
	if !a.fixed {
		return nil
	}
	if a.o.Replies == AnyReplies {
		if err := a.upgrade(OptExtendedHeaders, extended); err != nil {
			return err
		}
	}
	if a.o.Replies != SimpleReplies && a.mode < structured {
		return a.upgrade(OptStructuredReply, structured)
	}
	return nil
}

// abort says goodbye. Servers may close the connection without an answer.
func (a *asker) abort() {
	if a.send(OptAbort, nil) == nil {
		_, _ = a.receive(OptAbort)
	}
}
