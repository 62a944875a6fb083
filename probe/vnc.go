package probe

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"virtls/creds"
	"virtls/proto/vnc"
	"virtls/sasl"
)

// A VNCPosture says what keeps strangers from a screen: the best that the server
// offers.
type VNCPosture string

// The postures of VNC, weakest first.
const (
	VNCOpen         VNCPosture = "open"            // neither TLS nor a login
	VNCPassword     VNCPosture = "password only"   // a password without TLS
	VNCLogin        VNCPosture = "SASL only"       // SASL without TLS
	VNCAnonymous    VNCPosture = "anonymous TLS"   // whatever login is below it
	VNCX509         VNCPosture = "x509"            // no login: the client's certificate decides, if it is asked for
	VNCX509Web      VNCPosture = "x509 + web"      // an account or a token opens the websocket
	VNCX509Password VNCPosture = "x509 + password" // of VNC's
	VNCX509Plain    VNCPosture = "x509 + Plain"    // a user's name and a password
	VNCX509SASL     VNCPosture = "x509 + SASL"
)

// VNCPostures lists the postures of VNC, weakest first.
func VNCPostures() []VNCPosture {
	return []VNCPosture{VNCOpen, VNCPassword, VNCLogin, VNCAnonymous, VNCX509, VNCX509Web, VNCX509Password, VNCX509Plain, VNCX509SASL}
}

// A VNCServer is what a VNC server says of itself.
type VNCServer struct {
	Version    string     `json:"version,omitempty"`    // of RFB, that the server announces: "003.008"
	Types      []string   `json:"types"`                // of security, that it offers
	Subtypes   []string   `json:"subtypes,omitempty"`   // of VeNCrypt
	Security   string     `json:"security,omitempty"`   // that was chosen
	Mechanisms []string   `json:"mechanisms,omitempty"` // of SASL
	Posture    VNCPosture `json:"posture,omitempty"`    // empty if it is not known
	// Clients tells whether the server lets in clients without certificate:
	// "optional" or "required", empty if it is not known.
	Clients  string `json:"client_certificate,omitempty"`
	LoggedIn bool   `json:"logged_in"`
	User     string `json:"user,omitempty"` // that was logged in
	SSF      int    `json:"ssf,omitempty"`  // bits by which SASL encrypts what follows the login; 0 if it does not
	Name     string `json:"name,omitempty"` // of the screen
	Width    int    `json:"width,omitempty"`
	Height   int    `json:"height,omitempty"`
}

// postureOf says what a security comes to. Below a websocket with TLS it is as
// if it were below VeNCrypt.
func postureOf(s vnc.Security, wss bool) VNCPosture {
	below, certificates := s.TLS()
	password, user := s.Asks()
	switch certificates = certificates || wss; {
	case below && !certificates:
		return VNCAnonymous
	case s == vnc.X509Plain:
		return VNCX509Plain
	case user && certificates:
		return VNCX509SASL
	case user:
		return VNCLogin
	case password && certificates:
		return VNCX509Password
	case password:
		return VNCPassword
	case certificates:
		return VNCX509
	}
	return VNCOpen
}

// vncOptions are those of the login.
func (p *prober) vncOptions() vnc.Options {
	o := vnc.Options{Subject: p.r.Target, Mechanisms: p.o.Mechanisms}
	if l := p.o.Login; l != nil {
		if l.User != "" { // an account's password is none for VNC's DES
			o.Login = l
		} else {
			o.Password = l.Password
		}
	}
	if p.o.Kerberos != nil {
		o.GSSAPI = p.o.Kerberos(p.host)
	}
	if p.t.VNC.TLS && p.state.Authenticated {
		o.Below = sasl.Layer{SSF: p.state.KeySize * 8}
	}
	return o
}

// upgradeVNC gets to where TLS begins, or, where there is none, to the end.
func (p *prober) upgradeVNC(ctx context.Context) error {
	v := p.t.VNC
	p.r.VNC = &VNCServer{Types: []string{}}
	switch {
	case v.TLS:
		p.done(StageUpgrade, Passed, "TLS begins with the first byte, below the websocket")
		return nil
	case v.Websocket != nil:
		p.r.Posture = Plain
		p.done(StageUpgrade, Failed, "the address asks for a websocket without TLS")
		return p.browse(ctx, p.nc)
	}
	if err := p.greet(ctx, p.nc); err != nil {
		return err
	}
	if below, _ := p.chosen.TLS(); below {
		p.nc.forget()
		return nil
	}
	p.r.Posture = Plain
	return p.enter(ctx, p.nc, nil)
}

// greet exchanges versions, sees what the server offers and chooses.
func (p *prober) greet(parent context.Context, c net.Conn) error {
	ctx, cancel := context.WithTimeout(parent, p.o.Timeout)
	defer cancel()
	n, err := vnc.Begin(ctx, c, p.vncOptions())
	p.rfb = n
	if n.Server == "" && err != nil {
		return p.notVNC(parent, findingOf(err))
	}
	s := p.r.VNC
	s.Version = strings.TrimPrefix(n.Server, "RFB ")
	p.done(StageRFB, Passed, fmt.Sprintf("the server speaks %s; RFB %v is agreed on", s.Version, n.Version))
	if err != nil {
		return p.stop(StageSecurity, findingOf(err))
	}
	s.Types = texts(n.Types)
	p.done(StageSecurity, Passed, strings.Join(s.Types, ", "))
	if p.t.VNC.Websocket != nil || !slices.Contains(n.Types, vnc.VeNCrypt) {
		return p.choose(ctx, n.Types, n.Types)
	}
	inside, err := n.Subtypes(ctx)
	if err != nil {
		return p.stop(StageVeNCrypt, findingOf(err))
	}
	s.Subtypes = texts(inside)
	p.done(StageVeNCrypt, Passed, "0.2: "+strings.Join(s.Subtypes, ", "))
	return p.choose(ctx, inside, append(slices.Clone(inside), n.Types...))
}

// choose asks for the best that this side has credentials for, and reports what
// is offered beside it.
func (p *prober) choose(ctx context.Context, from, offered []vnc.Security) error {
	usable := slices.DeleteFunc(vnc.Strongest(), func(s vnc.Security) bool { return !slices.Contains(from, s) })
	if len(usable) == 0 {
		return p.stop(StageLogin, kindVNCUnknown.Found("", strings.Join(append(p.r.VNC.Types, p.r.VNC.Subtypes...), ", ")))
	}
	best := usable[0]
	p.r.VNC.Posture, p.tlsBelow = postureOf(best, p.t.VNC.TLS), best
	if p.r.VNC.Posture == VNCX509 && p.webLogin() {
		p.r.VNC.Posture = VNCX509Web
	}
	p.beside(best, offered)
	fits := slices.DeleteFunc(usable, func(s vnc.Security) bool { return !p.fits(s) })
	if len(fits) == 0 {
		return p.unfit(best)
	}
	s := fits[0]
	// One that this side can log in with, if there is such with the same TLS.
	if i := slices.IndexFunc(fits, func(o vnc.Security) bool { return layerOf(o) == layerOf(s) && p.hasLogin(o) }); i > 0 {
		s = fits[i]
	}
	p.chosen, p.tlsBelow, p.r.VNC.Security = s, s, s.String()
	p.withoutTLS(s)
	if layerOf(s) == anonymousLayer && p.creds == nil {
		a, _, err := creds.LoadAnon(creds.AnonOptions{Endpoint: creds.Client})
		if err != nil {
			return p.stop(StageHandshake, findingOf(err))
		}
		p.creds = a
	}
	if err := p.rfb.Choose(ctx, s); err != nil {
		return p.stop(StageSecurity, findingOf(err))
	}
	return nil
}

// The layers below a login, weakest first.
const (
	bareLayer = iota
	anonymousLayer
	certifiedLayer
)

func layerOf(s vnc.Security) int {
	switch below, certificates := s.TLS(); {
	case certificates:
		return certifiedLayer
	case below:
		return anonymousLayer
	}
	return bareLayer
}

// fits tells whether this side's credentials go with a security. Without any
// everything is looked at.
func (p *prober) fits(s vnc.Security) bool {
	if p.o.Credentials == nil || p.t.VNC.Websocket != nil {
		return true
	}
	switch p.creds.(type) {
	case *creds.X509:
		return layerOf(s) == certifiedLayer
	case *creds.Anon:
		return layerOf(s) == anonymousLayer
	}
	return false
}

// hasLogin tells whether this side has what a security asks for.
func (p *prober) hasLogin(s vnc.Security) bool {
	password, user := s.Asks()
	return !password && !user || p.o.Login != nil && password == (p.o.Login.User == "") ||
		p.o.Kerberos != nil && slices.Contains([]vnc.Security{vnc.SASL, vnc.X509SASL, vnc.TLSSASL}, s)
}

// unfit is a server that has nothing for this side's credentials.
func (p *prober) unfit(best vnc.Security) error {
	offers := strings.Join(append(p.r.VNC.Types, p.r.VNC.Subtypes...), ", ")
	f := kindOtherCredentials.Found("", "a server that offers "+offers).WithWant(wanted(p.creds), "this client")
	switch layerOf(best) {
	case certifiedLayer:
		f = f.WithFix("probe with an object of type tls-creds-x509")
	case anonymousLayer:
		p.r.Posture = AnonymousTLS
		f = f.WithFix("give the server tls-creds-x509 (libvirt: vnc_tls = 1); tls-creds-anon protects from nobody who is in between")
	default:
		p.r.Posture = Plain
		known := len(p.r.Findings)
		p.withoutTLS(best)
		if len(p.r.Findings) == known { // on a UNIX socket that is no mistake, but the credentials are for nothing
			p.find(f.WithText("the server has no TLS for these credentials").WithFix("probe it without --tls-creds, or give the server tls-creds-x509"))
		}
		p.done(StageHandshake, Failed, "the server has no TLS, and a client with credentials does not go on without")
		return errStop
	}
	return p.stop(StageHandshake, f)
}

// withoutTLS reports a security that has no TLS. A UNIX socket needs none: who
// reaches it is on the machine, and its mode says who.
func (p *prober) withoutTLS(s vnc.Security) {
	if layerOf(s) != bareLayer || p.t.VNC.TLS || p.t.local() {
		return
	}
	switch s {
	case vnc.None:
		p.find(kindVNCOpen.Found("", s.String()))
	case vnc.SASL: // its mechanisms tell: see weakSASL
	default:
		p.find(kindVNCPlain.Found("", s.String()))
	}
}

// weakSASL reports SASL without TLS that has nothing by which what follows the
// login is encrypted well. Kerberos does that, and QEMU offers nothing without TLS
// that encrypts nothing.
func (p *prober) weakSASL() {
	if p.chosen != vnc.SASL || p.t.VNC.TLS || p.t.local() {
		return
	}
	if list := p.r.VNC.Mechanisms; !slices.Contains(list, sasl.GSSAPI) {
		p.find(kindVNCPlain.Found("", p.asked()))
	}
}

// beside reports what the server offers beside the best that is weaker: whoever
// is on the way can have clients take it.
func (p *prober) beside(best vnc.Security, offered []vnc.Security) {
	var list []string
	for _, s := range offered {
		known := slices.Contains(vnc.Strongest(), s) || s == vnc.Plain
		asks := func(s vnc.Security) bool { password, user := s.Asks(); return password || user }
		if known && s != best && (layerOf(s) < layerOf(best) || asks(best) && !asks(s)) {
			list = append(list, s.String())
		}
	}
	if list != nil {
		p.find(kindVNCBeside.Found("", strings.Join(list, ", ")).WithWant(best.String()+" alone", ""))
	}
}
