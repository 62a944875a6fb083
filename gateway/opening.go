package gateway

import (
	"context"

	"virtls/proto/libvirt"
)

// An opening is what a protocol has both ends of one connection say before the
// octets begin that are passed on unread. The contexts end with the limits.
type opening interface {
	// greet makes the session with the client, if there is to be one.
	greet(ctx context.Context, client *side) error
	// introduce makes the session with the service, if there is to be one.
	introduce(ctx context.Context, server *side) error
	// join is called when both are there. An error of errLeft is of a client that
	// needs no relay.
	join(ctx context.Context, client, server side) error
}

// opening returns that of a connection.
func (p Protocol) opening(c *connection) opening {
	switch p {
	case Libvirt:
		return confirmed{direct{c}}
	case NBD:
		return &negotiated{c: c}
	case VNC:
		return &viewer{c: c}
	}
	return direct{c}
}

// ordered tells whether the order of a client's connections counts.
func (p Protocol) ordered() bool { return p != NBD && p != VNC }

// direct is TLS from the first octet, on the sides that have it.
type direct struct{ *connection }

func (d direct) greet(ctx context.Context, client *side) error {
	if d.g.o.Listen.Credentials == nil {
		return nil
	}
	return d.secure(ctx, client)
}

func (d direct) introduce(ctx context.Context, server *side) error {
	if d.g.o.Connect.Credentials == nil {
		return nil
	}
	return d.secureService(ctx, server)
}

func (direct) join(context.Context, side, side) error { return nil }

// confirmed is the same with the octet by which libvirt's servers let clients in.
type confirmed struct{ direct }

func (l confirmed) introduce(ctx context.Context, server *side) error {
	if err := l.direct.introduce(ctx, server); err != nil || server.tls == nil {
		return err
	}
	return libvirt.AwaitConfirmation(ctx, server.tls)
}

func (l confirmed) join(ctx context.Context, client, _ side) error {
	if client.tls == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.g.o.ConnectLimit)
	defer cancel()
	return libvirt.Confirm(ctx, client.tls)
}
