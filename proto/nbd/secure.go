package nbd

import (
	"context"
	"net"

	"virtls/session"
)

// A Peer is who is at the other end of a connection.
type Peer struct {
	// Name is the DN of the certificate that the peer showed, or the user of its
	// pre-shared key; empty if it proved nothing.
	Name string
	// Secured tells that the connection is encrypted.
	Secured bool
}

// A Secure makes a TLS connection of a plain one and judges the peer. It must
// return when the context ends, and not read more of the connection than the
// handshake has.
type Secure func(ctx context.Context, plain net.Conn) (net.Conn, Peer, error)

// Session returns a Secure that opens sessions. It asks for the options of each
// connection anew, so that reloaded credentials count for the next one.
func Session(options func() session.Options) Secure {
	return func(ctx context.Context, plain net.Conn) (net.Conn, Peer, error) {
		o := options()
		c, err := session.Open(ctx, plain, o)
		if err != nil {
			return nil, Peer{}, err
		}
		peer := Peer{Secured: true}
		if state := c.State(); state.Authenticated {
			peer.Name = state.PeerName
		}
		return c, peer, nil
	}
}
