package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"

	"virtls/authz"
	"virtls/finding"
	"virtls/internal/qopts"
	"virtls/object"
	"virtls/proto/nbd"
)

var (
	kindNBDPlain = finding.Define("gateway-nbd-plain", finding.Error,
		"a client of NBD did not go over to TLS", "connect by nbds:// or with tls-creds; without them QEMU says: TLS negotiation required before option 7 (go)")
	kindNBDClient = finding.Define("gateway-nbd-client", finding.Error,
		"a client does not speak NBD as it should, or was too slow", "what connects there? NBD's clients are QEMU, nbdkit, libnbd's programs, nbd-client and virtls nbd")
	kindNBDExport = finding.Define("gateway-nbd-export", finding.Error,
		"a client asked for an export that it may not have", "if it is to have it: name the client in a rule for the export, with --export or exports: of the configuration")
)

// An Export is a rule for an export of an NBD server: which of the clients that
// were let in may see it. Both lists must have the client, if there are both;
// without either every client may.
type Export struct {
	Name  string
	Authz authz.Authorizer
	Names []string // patterns for the certificate's DN or the user of the key
}

// Exports are rules. Without any every export is there for every client; else
// those without a rule are there for nobody.
type Exports []Export

// allow tells whether a client may see an export.
func (list Exports) allow(p nbd.Peer, name string) bool {
	for _, e := range list {
		if e.Name == name {
			return e.allows(p)
		}
	}
	return len(list) == 0
}

func (e Export) allows(p nbd.Peer) bool {
	if !e.judges() {
		return true
	}
	if p.Name == "" {
		return false
	}
	for _, l := range []authz.Authorizer{e.Authz, patterns(e.Names)} {
		if l == nil {
			continue
		}
		if ok, err := l.Allowed(p.Name); !ok || err != nil {
			return false
		}
	}
	return true
}

// patterns returns a list of patterns, nil for none.
func patterns(names []string) authz.Authorizer {
	if len(names) == 0 {
		return nil
	}
	return authz.DNList(names)
}

// judges tells whether the rule has a list of names.
func (e Export) judges() bool { return e.Authz != nil || len(e.Names) > 0 }

// check refuses rules that cannot work.
func (list Exports) check(secure bool) error {
	seen := map[string]bool{}
	for _, e := range list {
		f := kindOptions.Found("export "+strconv.Quote(e.Name), "")
		switch {
		case seen[e.Name]:
			return f.WithText("there are two rules for the export").WithFix("write one with all names").Usage()
		case slices.Contains(e.Names, ""):
			return f.WithText("a pattern is empty").WithFix("write the name that is to be let in; * is for every name").Usage()
		case e.judges() && !secure:
			return f.WithText("the rule judges names, and clients without TLS have none").Usage()
		}
		seen[e.Name] = true
	}
	return nil
}

// ParseExport reads a rule as the command line has it:
// name=NAME[,tls-authz=ID][,allow=PATTERN]..., with commas in values doubled.
func ParseExport(text string) (Exported, error) {
	var e Exported
	for _, part := range qopts.Split(text) {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case key == "tls-authz" && value == "":
			return e, kindOptions.Found("export", text).WithText("tls-authz names no list").WithFix("leave it out, or name an object").Usage()
		case ok && key == "name":
			e.Name = value
		case ok && key == "tls-authz":
			e.TLSAuthz = value
		case ok && key == "allow":
			e.Allow = append(e.Allow, value)
		default:
			return e, kindOptions.Found("export", text).WithText("%q is not one of name=, tls-authz=, allow=", strings.ReplaceAll(part, ",", ",,")).
				WithFix("double the commas of a name: allow=O=Example,,CN=backup").Usage()
		}
	}
	return e, nil
}

// exportsFor makes rules of the texts.
func exportsFor(r *object.Registry, texts []Exported) (rules Exports, err error) {
	for _, t := range texts {
		e := Export{Name: t.Name, Names: t.Allow}
		if e.Authz, err = list(r, t.TLSAuthz); err != nil {
			return nil, err
		}
		rules = append(rules, e)
	}
	return rules, nil
}

// negotiated is NBD, which goes over to TLS inside its protocol.
type negotiated struct {
	c      *connection
	m      *nbd.Mediator
	denied map[string]bool // exports that were, the first of them
}

func (n *negotiated) greet(ctx context.Context, client *side) error {
	var secure nbd.Secure
	if n.c.g.o.Listen.Credentials != nil {
		secure = func(ctx context.Context, _ net.Conn) (net.Conn, nbd.Peer, error) {
			if err := n.c.secure(ctx, client); err != nil {
				return nil, nbd.Peer{}, err
			}
			peer := nbd.Peer{Secured: true}
			if s := client.tls.State(); s.Authenticated {
				peer.Name = s.PeerName
			}
			return client.tls, peer, nil
		}
	}
	m, err := nbd.Accept(ctx, client.socket, secure)
	n.m = m
	return n.ofClient(err)
}

func (n *negotiated) introduce(ctx context.Context, server *side) error {
	no := nbd.Options{Subject: n.c.to.Address.String()}
	if n.c.to.Credentials != nil {
		no.Secure = func(ctx context.Context, _ net.Conn) (net.Conn, nbd.Peer, error) {
			if err := n.c.secureService(ctx, server); err != nil {
				return nil, nbd.Peer{}, err
			}
			return server.tls, nbd.Peer{Secured: true}, nil
		}
	}
	return n.m.Reach(ctx, server.socket, no)
}

func (n *negotiated) join(ctx context.Context, _, _ side) error {
	ctx, cancel := context.WithTimeout(ctx, n.c.g.o.HandshakeLimit)
	defer cancel()
	export, err := n.m.Choose(ctx, n.allows)
	if err == nil {
		n.c.export = &export
	}
	return n.ofClient(err)
}

// maxDenied is how many exports of those that a client asks for in vain are named
// in the log.
const maxDenied = 16

// allows judges a client that asks for an export, or is told of it.
func (n *negotiated) allows(export string, asked bool) bool {
	ok := n.c.g.o.Exports.allow(n.m.Peer(), export)
	if !ok && asked && !n.denied[export] && len(n.denied) < maxDenied {
		if n.denied == nil {
			n.denied = map[string]bool{}
		}
		n.denied[export] = true
		n.c.deny(kindNBDExport.Found("export "+strconv.Quote(shorten(export)), ""))
	}
	return ok
}

// shorten keeps a client from filling the log.
func shorten(name string) string {
	if len(name) > 80 {
		return name[:80] + "..."
	}
	return name
}

// ofClient says of an error that is none of the service's or of TLS's that it is
// the client's.
func (n *negotiated) ofClient(err error) error {
	subject := n.c.subject()
	_, known := errors.AsType[*finding.Failure](err)
	switch {
	case err == nil || known:
		return err
	case errors.Is(err, nbd.ErrLeft):
		return errLeft
	case errors.Is(err, nbd.ErrPlain):
		return kindNBDPlain.Found(subject, "").Wrong()
	}
	return kindNBDClient.Found(subject, err.Error()).Wrong()
}

// deny logs what a client was not given that goes on all the same.
func (c *connection) deny(f finding.Finding) {
	c.g.stats.refuse(f.Code)
	c.log(slog.LevelWarn, "denied", append(c.attrs(), slog.String("code", f.Code), slog.String("reason", f.String()), slog.String("mend", f.Fix)))
}
