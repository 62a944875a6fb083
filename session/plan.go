package session

import (
	"crypto/tls"
	"slices"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
	"virtls/priority"
	"virtls/tlsengine"
)

// Names of the engines, as State has them.
const (
	stdName    = "crypto/tls"
	nativeName = "virtls"
)

// What QEMU appends to a priority for the kind of credentials (crypto/tlssession.c).
const (
	pskSuffix  = ":+ECDHE-PSK:+DHE-PSK:+PSK"
	anonSuffix = ":+ANON-DH"
)

// nativeEngine is what our engine has, for priority strings.
var nativeEngine = priority.Engine{
	Name:       "the engine of virtls",
	Versions:   []uint16{tls.VersionTLS13, tls.VersionTLS12},
	Suites:     codes(tlsengine.Suites()),
	Groups:     codes(tlsengine.Groups()),
	Signatures: codes(tlsengine.Schemes()),
}

func codes[T ~uint16](list []T) (out []uint16) {
	for _, v := range list {
		out = append(out, uint16(v))
	}
	return out
}

// A plan is a session before its engine runs.
type plan struct {
	o       Options
	x509    *creds.X509 // one of these three
	psk     *creds.PSK
	anon    *creds.Anon
	native  bool
	list    *priority.List // what the engine honours of the priority string; nil without one
	dropped []string
	chosen  *chosen
}

// chosen is which identity an engine has shown.
type chosen struct {
	identity *creds.Identity
	reason   string
}

func newPlan(o Options) (*plan, error) {
	p := &plan{o: o, chosen: &chosen{}}
	switch c := o.Credentials.(type) {
	case *creds.X509:
		p.x509 = c
	case *creds.PSK:
		p.psk = c
	case *creds.Anon:
		p.anon = c
	default:
		return nil, kindCredentials.Found("TLS session", "").WithText("there are no credentials, or credentials of a kind that is not known").Wrong()
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := p.choose(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *plan) server() bool { return p.o.Credentials.Endpoint() == creds.Server }

// subject names the session in findings.
func (p *plan) subject() string {
	s := p.state()
	return s.subject()
}

func (p *plan) state() State {
	s := State{Endpoint: p.o.Credentials.Endpoint(), Type: p.o.Credentials.Type(), Engine: stdName, Dropped: p.dropped}
	if p.native {
		s.Engine = nativeName
	}
	return s
}

// check refuses what could never become a session that its maker wants. QEMU
// finds some of it after the handshake, and does not heed an access list that
// nobody's name is compared with; here nobody comes in by such an oversight.
func (p *plan) check() error {
	verifies := p.x509 != nil && p.x509.VerifyPeer()
	switch {
	case verifies && !p.server() && p.o.Hostname == "":
		return kindNoHostname.Found(p.subject(), "").WithText("No hostname for certificate validation").Wrong()
	case p.o.Authorizer != nil && !p.server():
		return kindCredentials.Found(p.subject(), "").WithText("an access list is for servers").Wrong()
	case p.o.Authorizer != nil && p.anon != nil:
		return kindCredentials.Found(p.subject(), "").WithText("an access list has nothing to judge: with anonymous credentials nobody has a name").Wrong()
	case p.o.Authorizer != nil && p.x509 != nil && !verifies:
		return kindCredentials.Found(p.subject(), "").WithText("an access list has nothing to judge: verify-peer=off believes nobody's name").WithFix("take verify-peer=off away").Wrong()
	case (p.o.ImportPSK || p.o.PSKContext != nil) && p.psk == nil:
		return kindCredentials.Found(p.subject(), "").WithText("there is no pre-shared key to import").Wrong()
	case p.o.PSKContext != nil && !p.o.ImportPSK:
		return kindCredentials.Found(p.subject(), "").WithText("only an imported pre-shared key has a context").WithFix("set ImportPSK, at both ends").Wrong()
	case p.o.Observe && p.server():
		return kindCredentials.Found(p.subject(), "").WithText("a server cannot merely look").Wrong()
	case p.x509 != nil && p.server() && len(p.x509.Identities) == 0:
		return kindCredentials.Found(p.subject(), "").WithText("a server needs a certificate").Wrong()
	}
	return nil
}

// choose decides on the engine.
func (p *plan) choose() error {
	reason := ""
	switch {
	case p.psk != nil:
		reason = "pre-shared keys"
	case p.anon != nil:
		reason = "anonymous key exchange"
	case p.o.Credentials.Priority() != "":
		reason = "a priority string"
	case p.usesMLDSA():
		reason = "ML-DSA"
	case p.o.Observe:
		reason = "a mere look"
	case p.o.DeferSigning:
		reason = "signing apart from the handshake"
	}
	if reason != "" && p.o.Engine == Std {
		return kindEngine.Found(p.subject(), "").WithText("crypto/tls cannot do %s", reason).Wrong()
	}
	p.native = reason != "" || p.o.Engine == Native
	if text := p.o.Credentials.Priority(); text != "" {
		return p.expand(text)
	}
	return nil
}

func (p *plan) usesMLDSA() bool {
	isMLDSA := func(c *pki.Certificate) bool { return c.PublicKey.Algorithm.IsMLDSA() }
	return slices.ContainsFunc(p.x509.Anchors, isMLDSA) ||
		slices.ContainsFunc(p.x509.Identities, func(id creds.Identity) bool { return slices.ContainsFunc(id.Chain, isMLDSA) })
}

// expand finds out what a priority string means for our engine. It is read as
// the newest GnuTLS with post-quantum algorithms reads it: names that a
// particular host's GnuTLS does not know are no mistake here.
func (p *plan) expand(text string) error {
	switch {
	case p.psk != nil:
		text += pskSuffix
	case p.anon != nil:
		text += anonSuffix
	}
	s, err := priority.Parse(text)
	if err != nil {
		return err
	}
	builds := priority.Builds()
	list, err := s.Expand(builds[len(builds)-1], p.o.System)
	if err != nil {
		return err
	}
	p.list, p.dropped, err = list.For(nativeEngine)
	return err
}

// wrong returns a failure that keeps its cause.
func wrong(f finding.Finding, cause error) *finding.Failure {
	failure := f.Wrong()
	failure.Cause = cause
	return failure
}
