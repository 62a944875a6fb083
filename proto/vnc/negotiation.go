package vnc

import (
	"context"
	"net"
	"slices"

	"virtls/session"
)

// A Negotiation is a client's login that goes on step by step, for those who
// look at each step, or who make the TLS session themselves: [Begin], then
// Subtypes if the server offers VeNCrypt, Choose, TLS if that is below, Await and
// Login. [Dial] takes the same steps at once, and never a weaker one than its
// options permit; here that is for the caller to see to. The errors are *finding.Failure.
type Negotiation struct {
	Server  string     // the version that the server announced: "RFB 003.008"
	Version Version    // that both speak
	Types   []Security // that the server offers; one alone in RFB 3.3, which is settled then

	d      *dialer
	chosen Security
	venc   []Security // VeNCrypt's subtypes, nil until they are known
}

// Begin agrees on a version and reads the security types. Of the options those
// that are for the login count, and Version and Subject.
func Begin(ctx context.Context, c net.Conn, o Options) (*Negotiation, error) {
	n := &Negotiation{d: newDialer(c, o)}
	err := n.step(ctx, func() {
		n.d.version()
		n.Types = n.d.offers()
	})
	n.Server, n.Version, n.d.result.Offered = n.d.announced, n.d.result.Version, n.Types
	return n, err
}

// step runs a part of the login.
func (n *Negotiation) step(ctx context.Context, f func()) error {
	return within(ctx, n.d.Conn, n.d.subject, func(context.Context) error {
		f()
		return n.d.err
	})
}

// Subtypes chooses VeNCrypt and returns what the server offers inside of it.
// After that only they can be chosen.
func (n *Negotiation) Subtypes(ctx context.Context) ([]Security, error) {
	err := n.step(ctx, func() {
		n.d.send(byte(VeNCrypt))
		n.venc = n.d.venCryptOffers()
	})
	n.d.result.Offered = n.venc
	return n.venc, err
}

// Choose asks for a type that the server offers, or after Subtypes for a subtype
// of VeNCrypt. The next octets on the connection are TLS's then if the security
// has TLS below, else the login's.
func (n *Negotiation) Choose(ctx context.Context, s Security) error {
	return n.step(ctx, func() {
		switch _, known := securities[s]; {
		case !known || !slices.Contains(n.d.result.Offered, s) || s.inVeNCrypt() != (n.venc != nil):
			n.d.err = kindNoSecurity.Found(n.d.subject, names(n.d.result.Offered)).WithWant(s.String(), "this client").Wrong()
		case s.inVeNCrypt():
			n.d.subtype(s)
		case n.Version != RFB33:
			n.d.send(byte(s))
		}
		n.chosen = s
	})
}

// Await goes on below TLS, or without, and waits until the server has said
// something: it has accepted the client's certificate then, if it wants one. Of
// the Plain types, where the client has the first word, nothing can be awaited. The
// connection is the TLS session, with its state, where the security has TLS
// below; else it is the one of the beginning, and there is no state.
func (n *Negotiation) Await(ctx context.Context, c net.Conn, tls *session.State) error {
	n.d.Conn, n.d.result.TLS, n.d.result.Security = c, tls, n.chosen
	return n.step(ctx, func() {
		switch a := securities[n.chosen].auth; {
		case a == authPlain, a == authNone && !n.d.hasVerdict():
		case a == authSASL:
			n.d.readMechanisms()
		default:
			n.d.Conn = &ahead{c, n.d.bytes(1)}
		}
	})
}

// Mechanisms are those of SASL that the server offers, if it does and Await has
// returned.
func (n *Negotiation) Mechanisms() []string { return n.d.mechanisms }

// Login proves to the server who the client is, and reads its verdict, when Await
// has returned.
func (n *Negotiation) Login(ctx context.Context) (*Conn, error) {
	err := n.step(ctx, func() { n.d.prove(securities[n.chosen].auth) })
	if err != nil {
		return nil, err
	}
	c := n.d.Conn
	if a, ok := c.(*ahead); ok {
		c = a.Conn // what was read ahead was the login's
	}
	n.d.result.protect(c)
	return n.d.result, nil
}

// ahead is a connection whose first octets have been read already.
type ahead struct {
	net.Conn
	first []byte
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.first) == 0 {
		return a.Conn.Read(p)
	}
	n := copy(p, a.first)
	a.first = a.first[n:]
	return n, nil
}
