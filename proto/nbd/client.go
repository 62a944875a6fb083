package nbd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	defaultHandshake = 30 * time.Second
	defaultStall     = 5 * time.Minute
)

// Options are what a client wants.
type Options struct {
	Export string

	// Secure, if set, is how the connection becomes a TLS one. A server without
	// TLS is refused, unless AllowPlain is set, which invites whoever is on the
	// way to pretend that the server has none.
	Secure     Secure
	AllowPlain bool

	Replies   Replies
	Handshake time.Duration // limit for everything before the first request; 30 seconds if 0
	Stall     time.Duration // how long a server may say nothing while it owes an answer; 5 minutes if 0

	// Upgraded, for [Look], tells that the greeting and TLS are done with.
	Upgraded bool

	// Subject names the server in findings; its address if empty.
	Subject string
}

// Replies are the shapes of replies that a client lets a server have.
type Replies int

// The shapes. The later ones are for trying out what older clients do.
const (
	AnyReplies        Replies = iota
	StructuredReplies         // no 64-bit headers
	SimpleReplies             // nothing but yes and no: no block status, no word of holes
)

func (o Options) subject(c net.Conn) string {
	if o.Subject != "" || c.RemoteAddr() == nil {
		return o.Subject
	}
	return c.RemoteAddr().String()
}

// A Client is a connection to an export. It is a [Device] with all that devices
// can do; what the server has not announced fails with [errors.ErrUnsupported].
// Any number of goroutines may use it, and their requests are in flight at the
// same time. Errors that the server reports are of type *[RequestError].
//
// Requests are not bound by a time, except that a server that says nothing for
// [Options].Stall has lost the connection; for that see [Client.WithContext].
type Client struct {
	*connection
	ctx context.Context
}

// WithContext returns the same client, whose requests end when the context
// does. A request that is in flight then takes the connection with it.
func (c *Client) WithContext(ctx context.Context) *Client { return &Client{c.connection, ctx} }

// connection is what the handles of a client share.
type connection struct {
	conn, plain net.Conn
	peer        Peer
	info        Info
	mode        mode
	statusID    uint32
	stall       time.Duration

	out     sync.Mutex // held while a request is written
	writer  *bufio.Writer
	scratch [extendedSize]byte

	mu      sync.Mutex
	pending map[uint64]*call
	cookie  uint64
	broken  error // why nothing can be asked any more
	done    chan struct{}
}

// A call is a request in flight.
type call struct {
	request
	into    []byte // of a read
	got     uint64 // octets that came
	extents []Extent
	err     *RequestError
	broken  error
	done    chan struct{}
}

// errClosed is what requests of a closed client get.
var errClosed = fmt.Errorf("nbd: %w", net.ErrClosed)

// NewClient negotiates on a connection and returns when the export can be used.
// The connection is the client's to close, also if it fails. The error is a
// finding, or that of [Options].Secure.
func NewClient(ctx context.Context, c net.Conn, o Options) (*Client, error) {
	n := &connection{plain: c, pending: map[uint64]*call{}, done: make(chan struct{}), stall: cmp.Or(o.Stall, defaultStall)}
	err := ask(ctx, c, o, func(a *asker) (err error) {
		n.info, n.statusID, err = a.open()
		n.conn, n.peer, n.mode = a.conn, a.peer, a.mode
		return err
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	n.writer = bufio.NewWriterSize(n.conn, 16<<10)
	go n.receive()
	return &Client{n, context.Background()}, nil
}

// Info tells what the server said of the export.
func (c *Client) Info() Info { return c.info }

// Peer tells who the server is.
func (c *Client) Peer() Peer { return c.peer }

// Conn returns the connection that the client uses, for those who want to know
// more of it. Reading from it or writing to it breaks the client.
func (c *Client) Conn() net.Conn { return c.conn }

// Size implements [Device].
func (c *Client) Size() int64 { return c.info.Size }

// BlockSize implements [BlockSizer].
func (c *Client) BlockSize() BlockSize { return c.info.BlockSize }

// Flags tells what the server can do.
func (c *Client) Flags() Flags { return c.info.Flags }

// Close says goodbye and closes the connection. Requests in flight fail. It
// returns nil.
func (c *Client) Close() error {
	c.mu.Lock()
	already := c.broken != nil
	if !already {
		c.broken = errClosed
	}
	c.mu.Unlock()
	if !already {
		c.plain.SetWriteDeadline(time.Now().Add(time.Second))
		// The goodbye is a courtesy: the server sees the end either way.
		_ = c.send(&request{command: cmdDisc}, nil)
	}
	// What was asked has been answered or not; how the connection ends tells nothing more.
	_ = c.conn.Close()
	<-c.done
	return nil
}

// fail ends the connection: all that waits for it gets the error.
func (n *connection) fail(err error) {
	n.mu.Lock()
	if n.broken == nil {
		n.broken = err
	}
	n.mu.Unlock()
	n.plain.SetDeadline(time.Unix(1, 0))
}

// do makes a request and waits for its answer.
func (c *Client) do(k *call, payload []byte) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	k.done = make(chan struct{})
	if err := c.begin(k); err != nil {
		return err
	}
	defer context.AfterFunc(c.ctx, func() { c.fail(context.Cause(c.ctx)) })()
	if err := c.send(&k.request, payload); err != nil {
		c.fail(err)
	}
	<-k.done
	if k.broken != nil {
		return k.broken
	}
	if k.err != nil {
		return k.err
	}
	return nil
}

// begin gives a request its cookie.
func (n *connection) begin(k *call) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broken != nil {
		return n.broken
	}
	n.cookie++
	k.cookie = n.cookie
	if len(n.pending) == 0 {
		n.plain.SetReadDeadline(time.Now().Add(n.stall))
	}
	n.pending[k.cookie] = k
	return nil
}

// send writes a request and what belongs to it.
func (n *connection) send(r *request, payload []byte) error {
	n.out.Lock()
	defer n.out.Unlock()
	if r.command != cmdDisc {
		n.plain.SetWriteDeadline(time.Now().Add(n.stall))
	}
	if _, err := n.writer.Write(r.append(n.scratch[:0], n.mode)); err != nil {
		return endOf(err, "a request")
	}
	if _, err := n.writer.Write(payload); err != nil {
		return endOf(err, "a request's data")
	}
	if err := n.writer.Flush(); err != nil {
		return endOf(err, "a request")
	}
	return nil
}

// append appends the request's header.
func (r *request) append(b []byte, m mode) []byte {
	magic, flags := uint32(magicRequest), r.flags
	if m == extended {
		magic = magicExtRequest
		if r.command == cmdWrite {
			flags |= payloadFlag
		}
	}
	b = be.AppendUint32(b, magic)
	b = be.AppendUint16(b, uint16(flags))
	b = be.AppendUint16(b, uint16(r.command))
	b = be.AppendUint64(b, r.cookie)
	b = be.AppendUint64(b, r.offset)
	if m == extended {
		return be.AppendUint64(b, r.length)
	}
	return be.AppendUint32(b, uint32(r.length))
}

// receive takes in answers until the connection ends.
func (n *connection) receive() {
	defer close(n.done)
	in := bufio.NewReaderSize(n.conn, readAhead)
	var err error
	for err == nil {
		err = n.reply(in)
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	n.fail(fmt.Errorf("nbd: %w", err))
	n.mu.Lock()
	defer n.mu.Unlock()
	for cookie, k := range n.pending {
		delete(n.pending, cookie)
		k.broken = n.broken
		close(k.done)
	}
	n.conn.Close()
}

// lookup returns the request that a reply belongs to.
func (n *connection) lookup(cookie uint64) (*call, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.pending[cookie]
	if k == nil {
		return nil, fmt.Errorf("a reply to no request (cookie 0x%x)", cookie)
	}
	return k, nil
}

// finish ends a request.
func (n *connection) finish(k *call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pending, k.cookie)
	var deadline time.Time
	if len(n.pending) > 0 {
		deadline = time.Now().Add(n.stall)
	}
	n.plain.SetReadDeadline(deadline)
	close(k.done)
}
