package gateway

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/gateway/machines"
	"virtls/internal/wait"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/sasl/gssapi"
	"virtls/session"
)

var (
	kindMachine = finding.Define("gateway-vnc-machine", finding.Error,
		"it does not follow from a viewer's names which machine it is to see",
		"name the viewer in allow: or users: of one machine; a browser can choose among several, and a token opens one")
	kindLogin = finding.Define("gateway-vnc-login", finding.Error,
		"the gateway cannot log in at a VNC server, because its own password file cannot be used",
		"the text says why; the file belongs to the gateway's user, with mode 0600")
	kindOpenScreens = finding.Define("gateway-vnc-open", finding.Warning,
		"everybody who reaches the gateway may see the screens",
		"listen with credentials that verify clients, or name accounts, a password or machines")
)

// vncHandshake is how long a viewer may take to log in: people type passwords
// meanwhile.
const vncHandshake = time.Minute

func (p Protocol) handshakeLimit() time.Duration {
	if p == VNC {
		return vncHandshake
	}
	return session.DefaultHandshakeLimit
}

// Screens are what a gateway of VNC has besides: how viewers log in, and where
// their screens are.
type Screens struct {
	PasswordFile string             // of VNC's password types; none if empty
	Accounts     *sasl.AccountsFile // of SASL and the Plain types; none if nil
	Kerberos     *gssapi.Server     // lets in who has a ticket; nil if there is none
	Users        authz.Authorizer   // on the names of accounts and of Kerberos; may be nil
	Security     []vnc.Security     // that are offered; what the rest makes possible if nil

	Login    login           // at the service
	Machines *machines.Store // in the place of one service; may be nil
	// Target says where a machine is.
	Target func(machines.Machine) (target, error)

	Web     Side     // where websockets come in, if it has an address
	Origins []string // of pages elsewhere that may open them: https://HOST[:PORT]
	Proxies Proxies  // that are between browsers and the page
}

// A login is what the gateway proves to a VNC server: that it knows a password, or
// that it is the principal whose keys are in a keytab.
type login struct {
	user, passwordFile string
	principal, keytab  string
}

// server verifies users, nil if there are none.
func (s *Screens) server() *sasl.Server {
	if s.Accounts == nil && s.Kerberos == nil {
		return nil
	}
	server := &sasl.Server{Access: s.Users}
	if s.Accounts != nil {
		server.Accounts = s.Accounts.Current
	}
	if s.Kerberos != nil {
		server.GSSAPI = s.Kerberos
	}
	return server
}

// checkVNC refuses settings of VNC that could never work.
func (o *Options) checkVNC() error {
	wrong := func(format string, args ...any) error {
		return kindOptions.Found("gateway "+o.Name, "").WithText(format, args...).Usage()
	}
	s := &o.VNC
	listens, web := o.Listen.Address.network != "", s.Web.Address.network != ""
	switch {
	case !listens && !web:
		return wrong("it listens nowhere: say --listen or --websocket")
	case !listens && o.Listen.Credentials != nil:
		return wrong("there are credentials to listen with, but no --listen")
	case !web && (s.Web.Credentials != nil || len(s.Origins) > 0 || s.Proxies.UNIX || len(s.Proxies.Networks) > 0):
		return wrong("there are settings of websockets, but no --websocket")
	case s.Web.Address.tls && s.Web.Credentials == nil:
		return wrong("%s wants TLS, but there are no credentials for websockets (--websocket-tls-creds)", s.Web.Address)
	case web && s.Web.Credentials == nil && !s.Web.Address.local():
		return wrong("browsers would send passwords and tokens to %s in clear: name credentials (--websocket-tls-creds), or listen on 127.0.0.1 or a UNIX socket behind something that has TLS", s.Web.Address)
	case s.Machines != nil && o.Connect.Address.network != "":
		return wrong("where the machines are is said twice: by --machines and by --connect")
	case s.Machines == nil && o.Connect.Address.network == "":
		return wrong("it connects nowhere: say --connect or --machines")
	case s.Machines != nil && o.Listen.Address.network != "" && !o.named():
		return wrong("a viewer that shows no name cannot be taken to one of several machines: listen with credentials that verify clients, or name --accounts")
	case s.Users != nil && s.Accounts == nil && s.Kerberos == nil:
		return wrong("an access list of accounts (--sasl-authz) judges names, and there are neither --accounts nor a --keytab")
	case s.Kerberos != nil && !listens:
		return wrong("viewers show tickets of Kerberos (--keytab) to --listen, and there is none: browsers have accounts, certificates and tokens")
	case web && o.openToBrowsers() && (o.Authz != nil || o.Access.names()):
		return wrong("an access list (--tls-authz, --allow-dn) judges names, and browsers would need nothing: name --accounts or --machines, or verify browsers' certificates")
	case s.Login.user != "" && s.Login.passwordFile == "":
		return wrong("there is a user to connect as, but no password (--connect-password-file)")
	case (s.Login.principal == "") != (s.Login.keytab == ""):
		return wrong("to log in at the VNC server with Kerberos name both --connect-principal and --connect-keytab")
	case s.Login.keytab != "" && s.Machines == nil && o.Hostname == "":
		return wrong("whose principal of Kerberos is %s to prove? say its host with --tls-hostname", o.Connect.Address)
	case s.Login.principal != "" && s.Login.passwordFile != "":
		return wrong("what is to be proved to the VNC server is said twice: by --connect-keytab and by --connect-password-file")
	case s.Kerberos != nil && s.Accounts == nil && web && s.Machines == nil && !verifies(s.Web.Credentials):
		return wrong("viewers need tickets of Kerberos (--keytab), and browsers would need nothing: name --accounts or --machines, or verify browsers' certificates")
	}
	for _, side := range []Side{o.Listen, o.Connect, s.Web} {
		if side.Credentials == nil {
			continue
		}
		if kind := side.Credentials.Current().Type(); kind == "tls-creds-psk" || kind == "tls-creds-anon" && side == s.Web {
			return wrong("Unsupported TLS cred type %s", kind)
		}
	}
	for _, origin := range s.Origins {
		if !originForm.MatchString(origin) {
			return wrong("%q is no origin of a page, such as https://portal.example.com", origin)
		}
		if strings.HasPrefix(strings.ToLower(origin), "http:") && s.Web.Credentials != nil {
			return wrong("a page of %s is without TLS, so that whoever is on the way could open consoles from it", origin)
		}
	}
	if listens {
		return o.checkSecurity()
	}
	return nil
}

// checkSecurity refuses a list of securities of which one cannot be offered, or leads
// past an access list.
func (o *Options) checkSecurity() error {
	v := &viewer{c: &connection{g: &Gateway{o: *o}}}
	so, err := v.server(o.Listen.Credentials)
	if err != nil {
		return err
	}
	for _, s := range o.VNC.Security {
		if _, certificates := s.TLS(); !certificates && (o.Authz != nil || o.Access.names()) {
			return kindOptions.Found("gateway "+o.Name, s.String()).
				WithText("an access list (--tls-authz, --allow-dn) judges names, and by the security type %v viewers come in who show no certificate", s).Usage()
		}
		if !so.Can(s) {
			return kindOptions.Found("gateway "+o.Name, s.String()).
				WithText("what the security type %v needs is not there: credentials for TLS and X509, --password-file for Vnc, --accounts for Plain and SASL, --keytab for SASL", s).Usage()
		}
	}
	return nil
}

// named tells whether viewers of the listener prove names.
func (o *Options) named() bool { return o.VNC.server() != nil || verifies(o.Listen.Credentials) }

// verifies tells whether clients must show certificates.
func verifies(h *creds.Holder) bool {
	return h != nil && h.Current().Type() == "tls-creds-x509" && h.Current().VerifyPeer()
}

// openToBrowsers tells whether browsers, if there are such, need prove nothing.
func (o *Options) openToBrowsers() bool {
	s := &o.VNC
	return s.Machines == nil && s.server() == nil && s.PasswordFile == "" && !verifies(s.Web.Credentials)
}

// unguarded tells whether everybody sees the screens.
func (o *Options) unguarded() bool {
	s := &o.VNC
	asks, verified := s.server() != nil || s.PasswordFile != "", verifies(o.Listen.Credentials)
	browsers := s.Web.Address.network != "" && o.openToBrowsers()
	viewers := !asks && !verified
	if s.Security != nil {
		viewers = slices.ContainsFunc(s.Security, func(s vnc.Security) bool {
			return s == vnc.None || s == vnc.TLSNone || s == vnc.X509None && !verified
		})
	}
	return o.Protocol == VNC && (browsers || o.Listen.Address.network != "" && viewers)
}

// A viewer is the opening of VNC: a login at each end. What follows is the same in
// all versions and with all security types, and passes unread.
type viewer struct {
	c    *connection
	into bool // the browser has proved who it is, so that RFB need not ask
}

// server returns how the viewer is to log in. with are the credentials of TLS
// inside of RFB, nil for none.
func (v *viewer) server(with *creds.Holder) (vnc.ServerOptions, error) {
	g := v.c.g
	s := &g.o.VNC
	so := vnc.ServerOptions{SASL: s.server(), Offer: s.Security, Throttle: &g.throttle, Client: v.c.throttled(), Subject: v.c.subject()}
	if with != nil {
		tls := func() session.Options { return g.o.listenSession(with, v.c.addr) }
		if with.Current().Type() == "tls-creds-anon" {
			so.Anon = tls
		} else {
			so.X509 = tls
		}
	}
	if s.PasswordFile != "" {
		// Read before the viewer is there, so that it hears at once of a bad file.
		password, err := machines.ReadSecret(s.PasswordFile)
		if err != nil {
			return so, kindLogin.Found(s.PasswordFile, "").WithText("the password of viewers cannot be read").Unable(err)
		}
		so.Password = func() []byte { return password }
	}
	return so, nil
}

func (v *viewer) greet(ctx context.Context, client *side) error {
	c := v.c
	with := c.g.o.Listen.Credentials
	if client.web != nil {
		with = nil // TLS is below already
	}
	so, err := v.server(with)
	if err != nil {
		return err
	}
	conn := client.conn()
	if client.web != nil {
		conn, so.Offer = client.web, nil
		if client.tls != nil {
			so.Below = sasl.Layer{SSF: client.tls.State().KeySize * 8}
		}
		if v.into {
			so.Offer = []vnc.Security{vnc.None}
		}
	}
	viewer, err := vnc.Accept(ctx, conn, so)
	if err != nil {
		return advise(err)
	}
	if tls := client.wrap(viewer); tls != nil && client.web == nil {
		c.g.stats.handshake(viewer.Handshake)
		c.secured(client, tls)
	}
	if viewer.User != "" {
		c.user.Store(&viewer.User)
	}
	if client.web != nil || c.g.o.VNC.Machines == nil {
		return nil
	}
	return c.choose(c.person(client))
}

// person is who a client has proved to be.
func (c *connection) person(client *side) (p machines.Person) {
	if client.tls != nil {
		if st := client.tls.State(); st.Authenticated {
			p.DN = st.PeerName
		}
	}
	if user := c.user.Load(); user != nil {
		p.User = *user
	}
	return p
}

// choose finds the one machine that a person may see.
func (c *connection) choose(p machines.Person) error {
	list := c.g.o.VNC.Machines.Current().For(p)
	if len(list) == 1 {
		return c.aim(list[0])
	}
	f := kindMachine.Found(c.subject(), strings.Trim(p.DN+" "+p.User, " "))
	if len(list) == 0 {
		return f.WithText("no machine is for this viewer").Wrong()
	}
	var names []string
	for _, m := range list[:min(len(list), 5)] {
		names = append(names, m.Name)
	}
	return f.WithText("%d machines are for this viewer (%s), and it cannot say which it wants", len(list), strings.Join(names, ", ")).Wrong()
}

// aim sets where the client is taken to.
func (c *connection) aim(m machines.Machine) (err error) {
	c.machine.Store(&m.Name)
	c.to, err = c.g.o.VNC.Target(m)
	return err
}

func (v *viewer) introduce(ctx context.Context, server *side) error {
	to := v.c.to
	vo := vnc.Options{Subject: to.Address.String()}
	if to.Credentials != nil {
		tls := func() session.Options { return to.session(&v.c.g.o) }
		if to.Credentials.Current().Type() == "tls-creds-anon" {
			vo.Anon = tls
		} else {
			vo.X509 = tls
		}
	}
	if to.login.keytab != "" {
		client := &gssapi.Client{Host: to.hostname, Keytab: to.login.keytab, Principal: to.login.principal}
		vo.GSSAPI = timely{client, ctx, v.c.g.asking}
	}
	if to.login.passwordFile != "" {
		password, err := machines.ReadSecret(to.login.passwordFile)
		if err != nil {
			return kindLogin.Found(to.login.passwordFile, "").Unable(err)
		}
		vo.Password = password
		if to.login.user != "" {
			vo.Login, vo.Password = &sasl.Login{User: to.login.user, Password: password}, nil
		}
	}
	conn, err := vnc.Dial(ctx, server.streamConn, vo)
	if err != nil {
		return err
	}
	server.tls = server.wrap(conn)
	return nil
}

// maxAsking is how many tickets a gateway asks the KDC for at a time.
const maxAsking = 32

// A timely mechanism begins before a context ends. What asks the KDC knows none: it
// may go on for some seconds, and counts as long among those that ask.
type timely struct {
	sasl.Mechanism
	ctx    context.Context
	asking chan struct{}
}

// Start implements sasl.Mechanism.
func (m timely) Start(l sasl.Layer) (sasl.Steps, error) {
	select {
	case m.asking <- struct{}{}:
	case <-m.ctx.Done():
		return nil, m.late()
	}
	s, err := wait.For(m.ctx, func() (sasl.Steps, error) {
		defer func() { <-m.asking }()
		return m.Mechanism.Start(l)
	})
	if m.ctx.Err() != nil {
		return nil, m.late()
	}
	return s, err
}

func (m timely) late() error {
	return kindService.Found("Kerberos", "").WithText("no KDC has given the gateway a ticket in time").
		WithFix("see to the KDCs of krb5.conf").Unable(context.Cause(m.ctx))
}

// wrap notes what a login has sealed, and returns the session that is below it.
func (s *side) wrap(c *vnc.Conn) (tls *session.Conn) {
	below := c.Conn
	if sealed, ok := below.(*sasl.SealedConn); ok {
		s.sealed, below = sealed, sealed.NetConn()
	}
	tls, _ = below.(*session.Conn)
	return tls
}

func (*viewer) join(context.Context, side, side) error { return nil }

// keytabs are the files with keys of Kerberos.
func (s *Screens) keytabs() (files []string) {
	if s.Kerberos != nil {
		files = append(files, s.Kerberos.Keytab)
	}
	if s.Login.keytab != "" {
		files = append(files, s.Login.keytab)
	}
	return files
}

// secrets are the files with passwords and tokens.
func (s *Screens) secrets() (files []string) {
	for _, name := range []string{s.PasswordFile, s.Login.passwordFile} {
		if name != "" {
			files = append(files, name)
		}
	}
	if s.Machines != nil {
		files = append(files, s.Machines.Current().Secrets()...)
	}
	return files
}

// watch reads machines and accounts again when they change, until ctx ends.
func (g *Gateway) watch(ctx context.Context, running *sync.WaitGroup) {
	if m := g.o.VNC.Machines; m != nil {
		running.Go(func() { m.Watch(ctx, func(err error) { g.reloaded("machines", len(m.Current().All()), err) }) })
	}
	if a := g.o.VNC.Accounts; a != nil {
		running.Go(func() { a.Watch(ctx, func(err error) { g.reloaded("accounts", len(a.Current().Users()), err) }) })
	}
}

// Reload reads machines and accounts again, and says in the log what became of it.
func (g *Gateway) Reload() {
	if m := g.o.VNC.Machines; m != nil {
		err := m.Reload()
		g.reloaded("machines", len(m.Current().All()), err)
	}
	if a := g.o.VNC.Accounts; a != nil {
		err := a.Reload()
		g.reloaded("accounts", len(a.Current().Users()), err)
	}
}

func (g *Gateway) reloaded(what string, n int, err error) {
	if err != nil {
		f := finding.Of(err)
		g.log.Error("reload failed; the old "+what+" stay in use", "code", f.Code, "reason", f.String(), "mend", f.Fix)
		return
	}
	g.log.Info(what+" loaded", "number", n)
}

// ParseSecurity returns the security with a name, such as X509Plain.
func ParseSecurity(name string) (vnc.Security, error) {
	all := []vnc.Security{
		vnc.X509SASL, vnc.X509Plain, vnc.X509Password, vnc.X509None, vnc.TLSSASL, vnc.TLSPlain, vnc.TLSPassword, vnc.TLSNone,
		vnc.SASL, vnc.Password, vnc.None,
	}
	i := slices.IndexFunc(all, func(s vnc.Security) bool { return strings.EqualFold(s.String(), name) })
	if i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, s := range all {
		names = append(names, s.String())
	}
	return 0, kindOptions.Found("security "+name, "").WithText("there is no such security type").
		WithFix("%s", cmp.Or(nearest(name, names), "choose among "+strings.Join(names, ", "))).Usage()
}

func nearest(name string, names []string) string {
	if near := finding.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

var _ net.Conn = (*webStream)(nil)
