package libvirt

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// An AuthType is a way in which a server wants its clients to prove who they
// are, besides their certificates (remote_auth_type).
type AuthType uint32

// The types.
const (
	AuthNone   AuthType = 0
	AuthSASL   AuthType = 1
	AuthPolkit AuthType = 2
)

func (a AuthType) String() string {
	switch a {
	case AuthNone:
		return "none"
	case AuthSASL:
		return "sasl"
	case AuthPolkit:
		return "polkit"
	}
	return fmt.Sprintf("type %d", uint32(a))
}

// Bounds on what a server may answer.
const (
	maxReply  = 1 << 20
	maxAuths  = 20 // REMOTE_AUTH_TYPE_LIST_MAX
	maxOthers = 64 // messages that answer no call, before the one that does
)

// DefaultCallLimit bounds a call whose context has no deadline.
const DefaultCallLimit = 10 * time.Second

// A Client calls a server's procedures, one after the other. Before the first
// one the connection must have been confirmed, if it is a TLS session.
type Client struct {
	mu     sync.Mutex
	c      net.Conn
	serial uint32
	opened bool
}

// NewClient returns a client on a connection, which stays the caller's.
func NewClient(c net.Conn) *Client { return &Client{c: c} }

// AuthList asks how clients have to authenticate: the first call of every client.
func (c *Client) AuthList(ctx context.Context) ([]AuthType, error) {
	r, err := c.call(ctx, procAuthList, nil)
	if err != nil {
		return nil, err
	}
	n := r.uint32()
	if n > maxAuths {
		r.fail("%d kinds of authentication", n)
		n = 0
	}
	var list []AuthType
	for range n {
		list = append(list, AuthType(r.uint32()))
	}
	return list, r.end()
}

// Open opens the server's driver for a URI as the server is to see it
// ([URI.Remote]).
func (c *Client) Open(ctx context.Context, uri string, readOnly bool) error {
	var w xdrWriter
	w.optional(uri)
	flags := uint32(0)
	if readOnly {
		flags = 1 // VIR_CONNECT_RO
	}
	w.uint32(flags)
	r, err := c.call(ctx, procOpen, w)
	if err != nil {
		return err
	}
	c.opened = true
	return r.end()
}

// Hostname asks for the name of the machine that the driver manages.
func (c *Client) Hostname(ctx context.Context) (string, error) {
	r, err := c.call(ctx, procHostname, nil)
	if err != nil {
		return "", err
	}
	name := r.string(maxText)
	return name, r.end()
}

// A LibVersion is a version of libvirt: a million times the major number, a
// thousand times the minor one and the release.
type LibVersion uint64

func (v LibVersion) String() string {
	return fmt.Sprintf("%d.%d.%d", v/1_000_000, v/1000%1000, v%1000)
}

// LibVersion asks for the server's version.
func (c *Client) LibVersion(ctx context.Context) (LibVersion, error) {
	r, err := c.call(ctx, procLibVersion, nil)
	if err != nil {
		return 0, err
	}
	v := r.uint64()
	return LibVersion(v), r.end()
}

// Close closes the driver, if it was opened. The connection stays open.
func (c *Client) Close(ctx context.Context) error {
	if !c.opened {
		return nil
	}
	c.opened = false
	r, err := c.call(ctx, procClose, nil)
	if err != nil {
		return err
	}
	return r.end()
}

// call makes a call and returns its reply. What comes in between is answered, if
// it is a keepalive, and dropped. An error of the server is a [*RemoteError].
func (c *Client) call(ctx context.Context, procedure uint32, args []byte) (reply *xdrReader, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = within(ctx, c.c, DefaultCallLimit, func() error {
		m := Message{Header{RemoteProgram, RemoteVersion, procedure, Call, c.serial, OK}, args}
		c.serial++
		if _, err := c.c.Write(m.Append(nil)); err != nil {
			return err
		}
		reply, err = c.await(m.Header)
		return err
	})
	return reply, err
}

func (c *Client) await(call Header) (*xdrReader, error) {
	for range maxOthers {
		m, err := ReadMessage(c.c, maxReply)
		switch {
		case err != nil:
			return nil, err
		case m.Program == KeepaliveProgram && m.Procedure == procPing:
			pong := Message{Header{KeepaliveProgram, KeepaliveVersion, procPong, Event, 0, OK}, nil}
			if _, err := c.c.Write(pong.Append(nil)); err != nil {
				return nil, err
			}
		case m.Type != Reply:
		case m.Program != call.Program || m.Procedure != call.Procedure || m.Serial != call.Serial:
			return nil, fmt.Errorf("a reply to call %d of procedure %d, and call %d of procedure %d was made", m.Serial, m.Procedure, call.Serial, call.Procedure)
		case m.Status == Failed:
			e, err := parseRemoteError(m.Body)
			if err != nil {
				return nil, err
			}
			return nil, e
		case m.Status != OK:
			return nil, fmt.Errorf("a reply with status %d", m.Status)
		default:
			return &xdrReader{rest: m.Body}, nil
		}
	}
	return nil, fmt.Errorf("more than %d messages that answer no call", maxOthers)
}
