package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/session"
	"virtls/tlsengine"
	"virtls/tlsengine/scan"
)

// answerVNC goes on where TLS is complete.
func (p *prober) answerVNC(ctx context.Context) error {
	if p.t.VNC.Websocket != nil {
		return p.browse(ctx, p.session)
	}
	return p.enter(ctx, p.session, &p.state)
}

// enter goes on where a security has been chosen: it waits until the server
// accepts the client, logs in if it can, and looks at the screen. It is the end of
// a probe.
func (p *prober) enter(ctx context.Context, c net.Conn, tls *session.State) error {
	limited, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	if err := p.rfb.Await(limited, c, tls); err != nil {
		if tls != nil && p.x509() != nil && finding.Of(err).Code == "vnc-closed" {
			return p.refusedClient(StageClient, afterHandshake(err))
		}
		if _, user := p.chosen.Asks(); user && finding.Of(err).Code == "vnc-closed" {
			p.r.VNC.Mechanisms = []string{}
			return p.noMechanism()
		}
		return p.stop(StageLogin, findingOf(err))
	}
	if tls != nil && p.x509() != nil {
		p.acceptedClient()
	}
	conn, err := p.logIn(limited)
	if err != nil || conn == nil {
		return errStop
	}
	limited, cancel = context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	return p.look(limited, conn)
}

// noMechanism is a server that lists no mechanisms of SASL, or ends the connection
// where the list is due, as QEMU does since 10.0.
func (p *prober) noMechanism() error {
	p.weakSASL()
	return p.stop(StageLogin, kindVNCMechanisms.Found("", p.chosen.String()))
}

// clients says whether the server demands certificates of its clients, as far as it is known.
func (p *prober) clients() {
	if contains(p.r.Findings, kindVNCBeside.Code) && (p.r.Posture == Mutual || p.r.Posture == MutualList) {
		p.r.Posture = ServerVerified // it demands nothing of clients that do with less
	}
	switch v := p.r.VNC; {
	case v == nil || v.Clients != "":
	case p.demands:
		v.Clients = "required"
	case p.accepted && p.state.Identity == nil:
		v.Clients = "optional"
	}
}

// acceptedClient is a server that lets the client go on.
func (p *prober) acceptedClient() {
	p.accepted = true
	p.find(findings(p.pending)...) // what the server lets pass all the same
	p.done(StageClient, Passed, p.acceptedHow())
}

// afterHandshake says how a server ended the connection.
func afterHandshake(err error) string {
	if alert, ok := errors.AsType[*tlsengine.AlertError](err); ok {
		return "alert " + alert.Alert.String()
	}
	return "the server closes the connection after the handshake"
}

// logIn proves who this side is, if it has what the server asks for; there is no
// connection if it has not.
func (p *prober) logIn(ctx context.Context) (*vnc.Conn, error) {
	s := p.r.VNC
	s.Mechanisms = slices.Clone(p.rfb.Mechanisms())
	for i, name := range s.Mechanisms {
		s.Mechanisms[i] = finding.Printable(name)
	}
	if s.Mechanisms != nil && len(s.Mechanisms) == 0 {
		return nil, p.noMechanism()
	}
	p.weakSASL()
	asked := p.asked()
	if password, user := p.chosen.Asks(); !p.hasLogin(p.chosen) && (password || p.chosen == vnc.X509Plain || p.chosen == vnc.TLSPlain) {
		p.done(StageLogin, Unknown, fmt.Sprintf("the server asks for %s, and there is none", asked)+howToLogIn(user))
		return nil, nil
	}
	conn, err := p.rfb.Login(ctx)
	switch f := findingOf(err); {
	case err == nil:
		s.LoggedIn, s.User, s.SSF = true, conn.User, conn.SSF
		if password, _ := p.chosen.Asks(); password {
			asked = "the password is right"
		} else if conn.User != "" {
			if conn.Mechanism != "" {
				asked = "SASL (" + conn.Mechanism + ")"
			}
			asked = conn.User + " is let in by " + asked
		}
		if conn.SSF > 0 {
			asked += fmt.Sprintf(", which encrypts with %d bits what follows", conn.SSF)
			if p.r.Posture == Plain {
				p.r.Posture = Mutual
			}
		}
		p.done(StageLogin, Passed, asked)
		return conn, nil
	case !p.hasLogin(p.chosen) && (f.Code == "sasl-failed" || f.Code == "sasl-no-mechanism" && slices.Contains(s.Mechanisms, sasl.GSSAPI)):
		p.done(StageLogin, Unknown, fmt.Sprintf("the server asks for %s, and there is no user", asked)+howToLogIn(true))
		return nil, nil
	case f.Code == "vnc-closed" || f.Code == "vnc-refused":
		p.r.Candidates, p.r.Decides = p.refusedLogin(f.Code == "vnc-closed"), p.serverLog()
		return nil, p.stop(StageLogin, f)
	case f.Code == "sasl-no-mechanism" && p.t.VNC.TLS:
		return nil, p.stop(StageLogin, f.WithFix("QEMU does not count the TLS below its websockets: let browsers in by virtls gateway vnc, which does, and have it log in to QEMU by VeNCrypt"))
	default:
		return nil, p.stop(StageLogin, f)
	}
}

// asked says what the server asks for.
func (p *prober) asked() string {
	password, user := p.chosen.Asks()
	switch {
	case p.r.VNC.Mechanisms != nil && len(p.r.VNC.Mechanisms) == 0:
		return "SASL without any mechanism"
	case p.r.VNC.Mechanisms != nil:
		return "SASL (" + strings.Join(p.r.VNC.Mechanisms, ", ") + ")"
	case user:
		return "a user and a password"
	case password:
		return "VNC's password"
	}
	return "nothing is asked for"
}

func howToLogIn(user bool) string {
	if user {
		return " (--username NAME --password-file FILE, or --kerberos)"
	}
	return " (--password-file FILE)"
}

// refusedLogin are the reasons for which a server refuses a login.
func (p *prober) refusedLogin(closed bool) []Candidate {
	if password, _ := p.chosen.Asks(); password {
		return []Candidate{
			{Cause: "the password is wrong; its first eight octets count", Log: "mis-matched challenge response", Fix: "compare it with the guest's (virsh dumpxml --security-info GUEST)"},
			{Cause: "the password's time is over, for which the server has the same words", Log: "password is expired", Fix: "QMP expire_password; libvirt: passwdValidTo of <graphics>"},
			{Cause: "the server has no password yet: QEMU's password=on lets nobody in before one is set", Log: "password is not set", Fix: "QMP set_password, or give password-secret"},
		}
	}
	if slices.Contains(p.r.VNC.Mechanisms, sasl.GSSAPI) && p.o.Kerberos != nil {
		return []Candidate{
			{Cause: "the server's keytab lacks the principal vnc/" + p.host + ", or has an old key of it", Fix: "klist -k FILE on the server, where FILE is keytab of /etc/sasl2/qemu.conf; the name is the server's host name, and --tls-hostname says it if the target does not"},
			{Cause: "the access list of users lacks this one", Fix: "add the user, of the server's own realm without @REALM, to the object that sasl-authz names"},
			{Cause: "the clocks differ by more than five minutes", Fix: "set them"},
		}
	}
	list := []Candidate{
		{Cause: "the user is unknown, or the password is wrong", Log: "Cannot step SASL auth, or: Cannot start SASL auth", Fix: "list the accounts: sasldblistusers2 -f FILE, where FILE is sasldb_path of /etc/sasl2/qemu.conf; virtls passwd list"},
		{Cause: "QEMU cannot read the accounts", Fix: "QEMU's user must be able to read sasldb_path of /etc/sasl2/qemu.conf"},
	}
	if !closed { // QEMU says so, but in the words of a failed login
		list = append([]Candidate{{Cause: "the access list of users lacks this one", Fix: "add it to the object that sasl-authz names"}}, list...)
	}
	return list
}

// look has the server show its screen.
func (p *prober) look(ctx context.Context, c *vnc.Conn) error {
	screen, err := vnc.NewScreen(ctx, c, true)
	if err != nil {
		f := findingOf(err)
		if f.Code == "vnc-closed" {
			f = kindVNCFull.Found("", "")
			p.r.Candidates = []Candidate{
				{Cause: "another viewer has the screen for itself: one that asked not to share it", Fix: "end it (QMP query-vnc-servers shows the clients), or have it share; QEMU: share=force-shared"},
				{Cause: "as many viewers are connected as the server takes", Fix: "end some, or raise the limit; QEMU: connections=N"},
			}
			p.r.Decides = "on the server: QMP query-vnc-servers, or of a libvirt guest virsh qemu-monitor-command GUEST '{\"execute\":\"query-vnc-servers\"}'"
		}
		return p.stop(StageScreen, f)
	}
	s := p.r.VNC
	if p.o.Screenshot {
		if p.r.Picture, err = screen.Picture(ctx); err != nil {
			return p.stop(StageScreen, findingOf(err))
		}
	}
	s.Name, s.Width, s.Height = screen.Name, screen.Width, screen.Height
	p.done(StageScreen, Passed, fmt.Sprintf("%q, %d x %d pixels", s.Name, s.Width, s.Height))
	return errStop
}

// againToTLSVNC goes to where TLS begins on a new connection.
func (p *prober) againToTLSVNC(ctx context.Context, nc net.Conn) error {
	if p.t.VNC.TLS {
		return nil
	}
	if layerOf(p.tlsBelow) == bareLayer {
		return errNoTLS
	}
	n, err := vnc.Begin(ctx, nc, vnc.Options{Subject: p.r.Target})
	if err == nil {
		_, err = n.Subtypes(ctx)
	}
	if err == nil {
		err = n.Choose(ctx, p.tlsBelow)
	}
	return err
}

var errNoTLS = errors.New("the server has no TLS")

// notVNC is a service that does not begin as RFB does.
func (p *prober) notVNC(ctx context.Context, f finding.Finding) error {
	heard := p.nc.heard()
	if p.t.VNC.Websocket != nil {
		return p.stop(StageRFB, f)
	}
	p.r.VNC = nil
	switch {
	case len(heard) == 0 && (f.Code == "vnc-late" || f.Code == "vnc-closed"): // a server of TLS may tire first
		p.nc.Close()
		if is := p.waitsFor(ctx); is != "" {
			return p.stop(StageRFB, kindVNCOther.Found("", is))
		}
		if f.Code == "vnc-closed" {
			return p.stop(StageRFB, f)
		}
		p.r.Candidates = []Candidate{
			{Cause: "the service speaks another protocol, and waits for its client's first words", Fix: "VNC's port is 5900 and the display's number: virsh domdisplay GUEST shows it; ss -ltnp on the server shows what listens where"},
			{Cause: "the service hangs, or what forwards to it does: the kernel accepts connections for a process that is stopped", Fix: "look at the process on its machine"},
		}
		p.r.Decides = "on the server: ss -tnp shows whether the connection was accepted, and by which process"
		return p.stop(StageRFB, kindSilent.Found("", "no greeting"))
	case len(heard) > 0 && !bytes.HasPrefix(heard, []byte("RFB ")):
		is := "something else"
		for _, g := range greetings {
			if bytes.HasPrefix(heard, []byte(g.begins)) {
				is = g.is
			}
		}
		return p.stop(StageRFB, kindNotVNC.Found("", fmt.Sprintf("%q", heard[:min(len(heard), 24)])).WithText("the service does not speak VNC on this port, but %s", is))
	case f.Code == "vnc-late":
		return p.stop(StageRFB, kindHangs.Found("", fmt.Sprintf("%q", heard)).WithText("the server began to greet and did not go on"))
	}
	return p.stop(StageRFB, f)
}

// waitsFor finds out what a silent service waits for: TLS, HTTP, or nothing that
// can be told.
func (p *prober) waitsFor(ctx context.Context) string {
	said := func(say func(context.Context, net.Conn)) []byte {
		ctx, cancel := context.WithTimeout(ctx, min(listenLimit, p.o.Timeout))
		defer cancel()
		nc, err := p.again(ctx)
		if err != nil {
			return nil
		}
		defer nc.Close()
		r := &recorder{Conn: nc}
		say(ctx, r)
		return r.heard()
	}
	hello := said(func(ctx context.Context, nc net.Conn) {
		o := scan.Offer{Version: scan.TLS13, Suites: scan.Suites(scan.TLS13), Groups: scan.Groups()}
		_, _ = scan.Try(ctx, func(context.Context) (net.Conn, error) { return nc, nil }, o)
	})
	if (&recorder{first: hello}).isTLS() {
		return "TLS"
	}
	get := said(func(ctx context.Context, nc net.Conn) {
		if deadline, ok := ctx.Deadline(); ok {
			nc.SetDeadline(deadline)
		}
		fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", p.t.Host)
		_, _ = nc.Read(make([]byte, maxFirst))
	})
	if bytes.HasPrefix(get, []byte("HTTP/")) {
		return "HTTP"
	}
	return ""
}
