package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"virtls/finding"
	"virtls/gateway/machines"
	"virtls/gateway/page"
	"virtls/session"
)

var (
	kindOrigin = finding.Define("gateway-vnc-origin", finding.Error,
		"a page of another site wants to open a console",
		"if that site is to: --websocket-origin with its origin, such as https://portal.example.com")
	kindToken = finding.Define("gateway-vnc-token", finding.Error,
		"a token does not open the console", "make another one with virtls gateway token")
	kindStranger = finding.Define("gateway-vnc-login-needed", finding.Error,
		"somebody wants to see a console, and has not proved who it is or may not see it",
		"log in with an account, show a certificate or a token; who may see a machine is in allow: and users:")
	kindNoMachine = finding.Define("gateway-vnc-unknown", finding.Error,
		"a browser asks for a machine that is not there", "correct the name, or define the machine")
)

// A door is where a gateway of VNC lets browsers in: the page that lists the
// machines, and a websocket for each screen. Connections are admitted and secured
// as those of other clients are; then a server of HTTP has them until one of
// their requests becomes a websocket.
type door struct {
	g        *Gateway
	listener net.Listener
	server   http.Server
	tickets  tickets
	ready    chan net.Conn // secured, for the server
	closed   chan struct{}
}

// Limits of HTTP.
const (
	requestLimit  = 10 * time.Second // for a request to be there
	responseLimit = time.Minute
	keptLimit     = time.Minute // without a request
	maxHeader     = 16 << 10
)

// originForm is what browsers call the origin of a page.
var originForm = regexp.MustCompile(`^https?://[^/?#\s]+$`)

func newDoor(g *Gateway) *door {
	d := &door{g: g, tickets: newTickets(), ready: make(chan net.Conn), closed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /websocket", d.console)
	mux.HandleFunc("GET /websocket/{machine}", d.console)
	pages := page.New(page.Options{Machines: d.machines, Person: func(r *http.Request) string { return visitOf(r).text() }})
	mux.Handle("/", pages)
	mux.Handle("GET /{$}", d.known(pages))
	limit := min(requestLimit, g.o.HandshakeLimit)
	d.server = http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := visitOf(r)
			if err := d.judgeAgain(v); err != nil {
				v.c.refuse(err)
				w.Header().Set("Connection", "close")
				http.Error(w, "your certificate is not good any more", http.StatusForbidden)
				return
			}
			v.forget()
			v.c.forwarded.Store(g.o.VNC.Proxies.client(v.c.addr, r.Header))
			v.https = g.o.VNC.Web.Credentials != nil || g.o.VNC.Proxies.https(v.c.addr, r.Header)
			mux.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: limit, ReadTimeout: limit, WriteTimeout: responseLimit, IdleTimeout: keptLimit, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context { return context.WithValue(ctx, visitKey{}, nc) },
		ConnState: func(nc net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				nc.(*visit).c.end()
			}
		},
	}
	return d
}

// Accept implements net.Listener for the server of HTTP.
func (d *door) Accept() (net.Conn, error) {
	select {
	case nc := <-d.ready:
		return nc, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The socket itself is the gateway's to close.
func (d *door) Close() error { return nil }

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.listener.Addr() }

// serve answers requests until ctx ends. Websockets go on.
func (d *door) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		close(d.closed)
		d.server.Close()
	})
	defer stop()
	d.server.Serve(d)
	<-ctx.Done()
}

// A visit is a connection of a browser.
type visit struct {
	net.Conn
	c      *connection
	client side
	work   context.Context // ends when the gateway waits no longer

	// Of the last request; one is served at a time.
	person machines.Person
	https  bool // the browser has TLS, if only up to a proxy
}

type visitKey struct{}

// visitOf returns the connection that a request came by.
func visitOf(r *http.Request) *visit { return r.Context().Value(visitKey{}).(*visit) }

// forget forgets who sent the request before: behind a proxy that was somebody
// else. The certificate is the connection's.
func (v *visit) forget() {
	v.c.user.Store(nil)
	v.person = v.c.person(&v.client)
}

// text names the person.
func (v *visit) text() string {
	if v.person.User != "" {
		return v.person.User
	}
	return v.person.DN
}

// take takes a connection in.
func (d *door) take(work context.Context, nc net.Conn) {
	c := d.g.connection(nc)
	if c == nil {
		return
	}
	go func() {
		if err := d.welcome(work, c, nc); err != nil {
			nc.Close()
			c.opened(err)
		}
	}()
}

// welcome makes the session and hands the connection to the server.
func (d *door) welcome(work context.Context, c *connection, nc net.Conn) error {
	client, err := newSide(nc, d.g.o.KeepAlive)
	if err != nil {
		return err
	}
	if err := d.secure(work, c, &client); err != nil {
		return err
	}
	v := &visit{Conn: client.conn(), c: c, client: client, work: work}
	select {
	case d.ready <- v:
		return nil
	case <-d.closed:
		return errLeft
	}
}

func (d *door) secure(ctx context.Context, c *connection, client *side) error {
	o := &d.g.o
	with := o.VNC.Web.Credentials
	if with == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(requestLimit, o.HandshakeLimit))
	defer cancel()
	begin := time.Now()
	s, err := session.Open(ctx, client.streamConn, d.session(c))
	if err != nil {
		return adviseBrowser(o.Access.explain(err), client.streamConn)
	}
	d.g.stats.handshake(time.Since(begin))
	c.secured(client, s)
	return nil
}

// session returns the options of the session with a browser.
func (d *door) session(c *connection) session.Options {
	o := &d.g.o
	so := o.listenSession(o.VNC.Web.Credentials, c.addr)
	if !verifies(o.VNC.Web.Credentials) {
		so.Authorizer = nil // it judges names, and browsers show none
	}
	return so
}

// judgeAgain judges whoever has shown a certificate at each request. A browser keeps
// its connection from one to the next for as long as it likes; meanwhile the
// certificate may end, be revoked, or go from a list.
func (d *door) judgeAgain(v *visit) error {
	if v.client.tls == nil || !v.client.tls.State().Authenticated {
		return nil
	}
	return d.g.o.Access.explain(v.client.tls.Judge(d.session(v.c)))
}

// known asks who is not known for an account, if there are accounts.
func (d *door) known(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r)
		if err := d.identify(w, r, v); err != nil || v.person == (machines.Person{}) && d.g.o.VNC.Accounts != nil {
			d.deny(w, r, v, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// deny asks for an account, where there are such, or refuses.
func (d *door) deny(w http.ResponseWriter, r *http.Request, v *visit, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if err != nil && finding.Of(err).Code == kindNoMachine.Code {
		v.c.refuse(err)
		http.Error(w, "there is no such machine", http.StatusNotFound)
		return
	}
	if err != nil && finding.Of(err).Code == kindToken.Code {
		v.c.refuse(err)
		http.Error(w, "the token is not good, or not any more", http.StatusForbidden)
		return
	}
	if d.g.o.VNC.Accounts != nil && v.person == (machines.Person{}) {
		w.Header().Set("WWW-Authenticate", `Basic realm="virtls", charset="UTF-8"`)
		if _, _, tried := r.BasicAuth(); tried && err != nil {
			v.c.refuse(err)
		}
		http.Error(w, "log in with an account of the gateway", http.StatusUnauthorized)
		return
	}
	if err != nil {
		v.c.refuse(err)
	}
	text := "this console is not for you"
	if v.person == (machines.Person{}) {
		text = "this console wants a token"
	}
	http.Error(w, text, http.StatusForbidden)
}

// machines lists for the page what a person may see.
func (d *door) machines(r *http.Request) (list []page.Machine, err error) {
	s := &d.g.o.VNC
	if s.Machines == nil {
		return []page.Machine{{Name: d.g.o.Name}}, nil
	}
	for _, m := range s.Machines.Current().For(visitOf(r).person) {
		list = append(list, page.Machine{Name: m.Name, Description: m.Description})
	}
	return list, nil
}

// console opens a websocket to a machine. Without an upgrade it tells a page
// whether it would: scripts are not told why a websocket did not open.
func (d *door) console(w http.ResponseWriter, r *http.Request) {
	v, name, token := visitOf(r), r.PathValue("machine"), tokenOf(r)
	if err := d.origin(r); err != nil {
		v.c.refuse(err)
		http.Error(w, "this page may not open consoles here", http.StatusForbidden)
		return
	}
	name, into, err := d.judge(w, r, name, token)
	if err != nil {
		d.deny(w, r, v, err)
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "the console can be opened by a websocket", http.StatusUpgradeRequired)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"binary"}, InsecureSkipVerify: true}) // the origin was judged
	if err != nil {
		v.c.log(slog.LevelInfo, "no websocket", append(v.c.attrs(), slog.String("reason", err.Error())))
		return
	}
	v.client.web = newWebStream(v.client.conn(), ws)
	go d.open(v, name, token, into)
}

// tokenOf returns the token that a request shows, empty without one. Scripts cannot
// set a websocket's header fields, but for its subprotocols.
func tokenOf(r *http.Request) string {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return token
	}
	for _, field := range r.Header.Values("Sec-WebSocket-Protocol") {
		for protocol := range strings.SplitSeq(field, ",") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(protocol), page.TokenProtocol); ok {
				token, err := base64.RawURLEncoding.DecodeString(text)
				if err != nil {
					return text // which opens nothing
				}
				return string(token)
			}
		}
	}
	return r.URL.Query().Get("token")
}

// open takes a browser to its machine.
func (d *door) open(v *visit, name, token string, into bool) {
	err := d.aim(v.c, name, token)
	if err == nil {
		v.c.opening = &viewer{c: v.c, into: into}
		err = v.c.connect(v.work, &v.client)
	}
	if err != nil {
		v.client.web.refuse(cause(err))
		v.client.Close()
	}
	v.c.opened(err)
}

// cause is what a browser is told of an error: what its kind has in common, and no
// addresses and names of what is behind the gateway.
func cause(err error) string {
	code := finding.Of(err).Code
	for _, k := range finding.Catalogue() {
		if k.Code == code {
			return k.Cause
		}
	}
	return "the log of the gateway says why"
}

// aim uses the token, if there is one, and sets where the browser is taken to.
func (d *door) aim(c *connection, name, token string) error {
	store := d.g.o.VNC.Machines
	if store == nil {
		return nil
	}
	if token != "" {
		if _, err := store.Use(name, token, time.Now()); err != nil {
			return kindToken.Found(c.subject(), err.Error()).Wrong()
		}
	}
	m, ok := store.Current().Machine(name)
	if !ok {
		return kindNoMachine.Found("machine "+name, "").Wrong()
	}
	return c.aim(m)
}

// origin refuses pages of other sites (RFC 6455, 10.2). What sends no Origin is
// no browser.
func (d *door) origin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.ContainsFunc(d.g.o.VNC.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
		return nil
	}
	scheme := "http"
	if visitOf(r).https {
		scheme = "https"
	}
	if u, err := url.Parse(origin); err == nil && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host) && (scheme == "https" || fixed(u.Hostname())) {
		return nil
	}
	return kindOrigin.Found(visitOf(r).c.subject(), shorten(origin)).WithWant(scheme+"://"+shorten(r.Host), "").Wrong()
}

// fixed tells whether a host is what it says. Without TLS, whose certificate has
// another name, any site can have its own name lead here (DNS rebinding).
func fixed(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

// judge tells which machine whoever sent a request may see, and whether the
// websocket is to ask for nothing more.
func (d *door) judge(w http.ResponseWriter, r *http.Request, name, token string) (machine string, into bool, err error) {
	v, s := visitOf(r), &d.g.o.VNC
	subject := v.c.subject()
	if token != "" && s.Machines != nil {
		if err := d.g.throttle.Wait(r.Context(), v.throttled()); err != nil {
			return "", false, kindToken.Found(subject, err.Error()).Wrong()
		}
		if name, err = s.Machines.Valid(name, token, time.Now()); err != nil {
			if errors.Is(err, machines.ErrUnknown) { // the others are no guesses
				d.g.throttle.Failed(r.Context(), v.throttled())
			}
			return "", false, kindToken.Found(subject, err.Error()).Wrong()
		}
		return name, true, nil
	}
	if err := d.identify(w, r, v); err != nil {
		return "", false, err
	}
	proved := v.person != machines.Person{}
	switch {
	case s.Machines == nil && name != "" && name != d.g.o.Name:
		return "", false, kindNoMachine.Found("machine "+shorten(name), "").Wrong()
	case s.Machines == nil && (proved || s.Accounts == nil):
		return d.g.o.Name, proved, nil
	case !proved:
		return "", false, kindStranger.Found(subject, "nobody known").Wrong()
	}
	list := s.Machines.Current().For(v.person)
	if name == "" && len(list) == 1 {
		return list[0].Name, true, nil
	}
	if !slices.ContainsFunc(list, func(m machines.Machine) bool { return m.Name == name }) {
		// Whether the machine is there is for those who may see it.
		return "", false, kindStranger.Found(subject, v.text()).WithWant("somebody for whom the machine "+shorten(name)+" is", "").Wrong()
	}
	return name, true, nil
}
