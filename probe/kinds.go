package probe

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"

	"virtls/creds"
	"virtls/finding"
	"virtls/priority"
	"virtls/proto/nbd"
	"virtls/tlsengine"
	"virtls/tlsengine/scan"
)

// kinds are what a server accepts, by ClientHellos alone. They are asked for only
// when a handshake has failed without a reason.
type kinds struct {
	tls13, tls12   bool // with certificates
	psk, anonymous bool // in TLS 1.2
	tls11, tls10   bool
	asked          bool
}

func (k kinds) any() bool { return k.tls13 || k.tls12 || k.psk || k.anonymous || k.tls11 || k.tls10 }

// certificates tells whether the server has one. GnuTLS answers a ClientHello of
// TLS 1.3 with its ServerHello even where it has none, and closes then.
func (k kinds) certificates() bool { return k.tls12 || k.tls13 && !k.psk && !k.anonymous }

// of returns the suites of a class.
func of(list []scan.Suite, c scan.Class) []scan.Suite {
	return slices.DeleteFunc(slices.Clone(list), func(s scan.Suite) bool { return s.Class() != c })
}

// ask finds out what the server accepts.
func (p *prober) ask(ctx context.Context) {
	if p.kinds.asked {
		return
	}
	k := kinds{asked: true}
	try := func(v scan.Version, suites []scan.Suite) bool {
		return p.accepts(ctx, scan.Offer{Version: v, Suites: suites, Groups: scan.Groups()})
	}
	all12 := scan.Suites(scan.TLS12)
	k.tls13 = try(scan.TLS13, scan.Suites(scan.TLS13))
	k.tls12 = try(scan.TLS12, of(all12, scan.Certificates))
	k.psk = try(scan.TLS12, of(all12, scan.PSK))
	k.anonymous = try(scan.TLS12, of(all12, scan.Anonymous))
	if !k.any() {
		k.tls11 = try(scan.TLS11, scan.Suites(scan.TLS11))
		k.tls10 = try(scan.TLS10, scan.Suites(scan.TLS10))
	}
	p.kinds = k
}

// againToTLS connects anew, up to where TLS begins.
func (p *prober) againToTLS(ctx context.Context) (net.Conn, error) {
	nc, err := p.again(ctx)
	if err != nil {
		return nc, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	switch {
	case p.t.NBD != nil:
		err = nbd.Upgrade(ctx, nc, p.r.Target)
	case p.t.VNC != nil:
		err = p.againToTLSVNC(ctx, nc)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// alerted says why the server ended the handshake with an alert.
func (p *prober) alerted(ctx context.Context, a tlsengine.Alert) error {
	if p.state.Version != "" { // after its ServerHello: it dislikes the client
		return p.refusedClient(StageHandshake, "alert "+a.String())
	}
	p.ask(ctx)
	return p.mismatch(ctx, &a)
}

// mismatch says what both ends do not have in common.
func (p *prober) mismatch(ctx context.Context, a *tlsengine.Alert) error {
	got := "end of the connection"
	if a != nil {
		got = "alert " + a.String()
	}
	k := p.kinds
	p.r.Decides = p.serverLog()
	switch {
	case p.psk() != nil && (k.psk || !k.any()):
		return p.refusedKey(got)
	case !k.any() || k.tls13 && !k.tls12 && k.certificates() && p.creds.Priority() == "" && p.state.PeerChain == nil:
		p.r.Candidates = []Candidate{
			{Cause: "the server's priority string leaves nothing, or its GnuTLS does not know it", Log: "Unable to set TLS session priority, or: Failed to set TLS session priority, or: no or insufficient priorities were set", Fix: "write NORMAL, or leave it out"},
			{Cause: "the server has no certificate that it can use", Log: "No supported cipher suites have been found", Fix: "virtls validate on the server"},
			{Cause: "the server has pre-shared keys and TLS 1.3 alone, and shows nothing to a client without one", Log: "An illegal parameter has been received, or: No or insufficient credentials", Fix: "probe with tls-creds-psk"},
		}
		if k.any() { // its priority string is good, then
			p.r.Candidates = []Candidate{p.r.Candidates[2], p.r.Candidates[1]}
		}
		return p.stop(StageHandshake, kindNothingShared.Found("", got))
	case !k.certificates() && k.psk && p.x509() != nil, !k.certificates() && k.psk && !k.anonymous && p.psk() == nil:
		return p.stop(StageHandshake, kindOtherCredentials.Found("", "a server with pre-shared keys").WithWant(wanted(p.creds), "this client").
			WithFix("probe with an object of type tls-creds-psk, or give the server tls-creds-x509"))
	case !k.certificates() && k.anonymous:
		p.r.Posture = AnonymousTLS
		return p.stop(StageHandshake, kindOtherCredentials.Found("", "a server that takes anonymous sessions alone").WithWant(wanted(p.creds), "this client").
			WithFix("give the server tls-creds-x509 or tls-creds-psk; tls-creds-anon protects from nobody who is in between"))
	case k.certificates() && p.x509() == nil:
		return p.stop(StageHandshake, kindOtherCredentials.Found("", "a server with a certificate").WithWant(wanted(p.creds), "this client").
			WithFix("probe with an object of type tls-creds-x509, or give the server the same kind of credentials as its clients"))
	}
	return p.stop(StageHandshake, p.nothingShared(ctx, got))
}

// wanted names what a client's credentials can talk to.
func wanted(c creds.Credentials) string {
	switch c.(type) {
	case *creds.PSK:
		return "a server with pre-shared keys"
	case *creds.Anon:
		return "a server that takes anonymous sessions"
	}
	return "a server with a certificate"
}

// refusedKey is a pre-shared key that the server did not take. GnuTLS answers an
// unknown user and a wrong key alike, on purpose.
func (p *prober) refusedKey(got string) error {
	user := p.psk().Username()
	p.r.Candidates = []Candidate{
		{Cause: "the server has no key for the user " + user, Log: "An illegal parameter has been received, or: Decryption has failed", Fix: "add the user to the server's keys.psk; names are compared octet by octet"},
		{Cause: "the server has another key for the user " + user, Log: "An illegal parameter has been received, or: Decryption has failed", Fix: "copy the line of the server's keys.psk: user:hex"},
		{Cause: "the server demands another hash than SHA-256 of the key", Log: "An illegal parameter has been received", Fix: "leave AES-256-GCM with SHA-384 out of both priority strings"},
	}
	return p.stop(StageHandshake, kindKeyRefused.Found("", got))
}

// An own is what this side offers, by code points.
type own struct{ versions, suites, groups, schemes []uint16 }

// offered returns what this side offers.
func (p *prober) offered() (own, error) {
	text := p.creds.Priority()
	if text == "" {
		return own{[]uint16{tls.VersionTLS13, tls.VersionTLS12}, codes(tlsengine.Suites()), codes(tlsengine.Groups()), codes(tlsengine.Schemes())}, nil
	}
	s, err := priority.Parse(text)
	if err != nil {
		return own{}, err
	}
	builds := priority.Builds()
	l, err := s.Expand(builds[len(builds)-1], p.o.System)
	if err != nil {
		return own{}, err
	}
	o := own{versions: ids(l.Versions), groups: ids(l.NegotiatedGroups), schemes: ids(l.NegotiatedSignatures)}
	for _, suite := range l.Suites {
		o.suites = append(o.suites, suite.ID)
	}
	return o, nil
}

func ids(list []priority.Entry) (out []uint16) {
	for _, e := range list {
		out = append(out, e.ID)
	}
	return out
}

func codes[T ~uint16](list []T) (out []uint16) {
	for _, v := range list {
		out = append(out, uint16(v))
	}
	return out
}

// nothingShared finds out in which respect the ends have nothing in common, by
// offers in which only one is restricted to what this side has.
func (p *prober) nothingShared(ctx context.Context, got string) finding.Finding {
	o, err := p.offered()
	if err != nil {
		return findingOf(err)
	}
	whose := "what virtls has"
	if text := p.creds.Priority(); text != "" {
		whose = "the priority string " + text
	}
	answer := func(f finding.Finding, what string) finding.Finding {
		return f.WithWant(what, whose).WithFix("change the priority string of one end; virtls probe --scan shows what the server accepts")
	}
	shared := false
	var theirs []string
	for _, v := range []scan.Version{scan.TLS13, scan.TLS12, scan.TLS11, scan.TLS10} {
		suites := of(scan.Suites(v), scan.Certificates)
		accepted := p.accepts(ctx, scan.Offer{Version: v, Suites: suites, Groups: scan.Groups()})
		if accepted {
			theirs = append(theirs, v.String())
		}
		if !accepted || !slices.Contains(o.versions, uint16(v)) {
			continue
		}
		shared = true
		mine := slices.DeleteFunc(slices.Clone(suites), func(s scan.Suite) bool { return !slices.Contains(o.suites, s.ID) })
		if !p.accepts(ctx, scan.Offer{Version: v, Suites: mine, Groups: scan.Groups()}) {
			return answer(kindNoSuite.Found("", got), "a suite of "+v.String()+" that both have")
		}
		if !p.accepts(ctx, scan.Offer{Version: v, Suites: suites, Groups: as[scan.Group](o.groups)}) {
			return answer(kindNoGroup.Found("", got), "a group that both have")
		}
	}
	if !shared {
		return answer(kindNoSharedVersion.Found("", "a server that speaks "+strings.Join(theirs, ", ")), "a version of TLS that both have")
	}
	return answer(kindNoScheme.Found("", got), "a signature scheme that goes with the server's certificate")
}

func (p *prober) accepts(ctx context.Context, o scan.Offer) bool {
	if len(o.Suites) == 0 || o.Version >= scan.TLS12 && len(o.Groups) == 0 {
		return false
	}
	a, err := scan.Try(ctx, p.againToTLS, o)
	return err == nil && a.Accepted
}

func as[T ~uint16](list []uint16) (out []T) {
	for _, v := range list {
		out = append(out, T(v))
	}
	return out
}
