package probe

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"virtls/finding"
	"virtls/sasl"
	"virtls/session"
)

// browse opens the websocket as a browser does, and goes on inside.
func (p *prober) browse(ctx context.Context, c net.Conn) error {
	ws, err := p.openWebsocket(ctx, c)
	if err != nil {
		return err
	}
	p.done(StageWebsocket, Passed, "the server opens it")
	if err := p.greet(ctx, ws); err != nil {
		return err
	}
	return p.enter(ctx, ws, nil)
}

// acceptedBrowser is a server that talks HTTP to the client, whatever it says.
func (p *prober) acceptedBrowser() {
	if p.session != nil && p.x509() != nil {
		p.acceptedClient()
	}
}

// openWebsocket asks for the websocket on a connection. One that is refused says
// why, and ends the probe.
func (p *prober) openWebsocket(ctx context.Context, c net.Conn) (net.Conn, error) {
	if p.o.Token != nil && !p.trusted() {
		return nil, p.stop(StageWebsocket, kindWebsocket.Found("", "a server that was not verified").WithText("whoever has the token sees the screen, so it is shown to a server that was verified, and to no other").
			WithFix("probe wss:// with --tls-creds, whose authority has signed the server's certificate"))
	}
	a := p.dialWebsocket(ctx, c, p.o.Token, nil)
	p.account = a.status == http.StatusUnauthorized
	tried := p.account && p.trusted() && p.o.Login != nil && p.o.Login.User != ""
	if tried {
		again, err := p.againInside(ctx)
		if err != nil {
			return nil, p.stop(StageWebsocket, findingOf(err))
		}
		a = p.dialWebsocket(ctx, again, p.o.Token, p.o.Login)
	}
	if a.line != "" {
		p.acceptedBrowser()
	}
	switch {
	case a.err == nil:
		return a.ws, nil
	case a.heard == "" && p.session != nil && p.x509() != nil && ctx.Err() == nil:
		return nil, p.refusedClient(StageClient, afterHandshake(a.err))
	case a.heard == "" && errors.Is(a.err, context.DeadlineExceeded):
		return nil, p.stop(StageWebsocket, kindSilent.Found("", "no answer of HTTP"))
	case a.heard == "":
		return nil, p.stop(StageWebsocket, kindNotWebsocket.Found("", "end of the connection").WithFix("probe wss:// if the service wants TLS from the first byte; else correct the port"))
	case a.line == "":
		return nil, p.stop(StageWebsocket, kindNotWebsocket.Found("", fmt.Sprintf("%q", a.heard[:min(len(a.heard), 24)])))
	case a.status == http.StatusUnauthorized && tried:
		return nil, p.stop(StageWebsocket, kindWebsocket.Found("", a.line).WithText("the server of the websocket does not know the user, or the password is wrong").
			WithFix("virtls passwd list FILE shows the users of a gateway's accounts"))
	case a.status == http.StatusUnauthorized:
		return nil, p.stop(StageWebsocket, kindWebsocket.Found("", a.line).WithText("the server of the websocket wants an account").
			WithFix("probe with --username and --password-file, and with --tls-creds: the password is shown to a server that was verified, and to no other"))
	case a.status == http.StatusForbidden:
		return nil, p.stop(StageWebsocket, kindWebsocket.Found("", a.line).WithText("the server of the websocket does not let this client in").
			WithFix("name a token that it knows, that has not expired, and that was not used if it is for one use: --token-file FILE, which virtls gateway token MACHINE has filled"))
	case a.status == http.StatusNotFound:
		return nil, p.stop(StageWebsocket, kindWebsocket.Found("", a.line).WithText("there is no such path on the server of the websocket").
			WithFix("QEMU's own has / alone, that of virtls gateway vnc /websocket/NAME"))
	}
	return nil, p.stop(StageWebsocket, kindWebsocket.Found("", a.line))
}

// trusted tells whether this side has verified the server below the websocket.
func (p *prober) trusted() bool { return p.session != nil && p.state.Authenticated }

// againInside connects anew, up to where HTTP begins.
func (p *prober) againInside(ctx context.Context) (net.Conn, error) {
	nc, err := p.again(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	s, err := session.Open(ctx, nc, p.options(p.creds))
	if err != nil {
		nc.Close()
		return nil, err
	}
	p.session.Close()
	p.session = s
	return s, nil
}

// An answer is a server's to a browser that asks for a websocket.
type answer struct {
	ws     net.Conn // nil if there is an error
	heard  string   // how the answer begins
	line   string   // its first line, if it is HTTP
	status int      // of HTTP
	err    error
}

// maxHeader bounds a server's answer of HTTP.
const maxHeader = 16 << 10

// dialWebsocket opens the websocket, with what proves to its server who asks, if
// there is such: a login, else a token. Only a server that was verified gets a login.
func (p *prober) dialWebsocket(ctx context.Context, c net.Conn, token []byte, l *sasl.Login) answer {
	limited, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	r, used := &recorder{Conn: c}, false
	once := func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("the server sends its clients elsewhere")
		}
		used = true
		return r, nil
	}
	u := *p.t.VNC.Websocket
	u.Scheme = "ws" // TLS is below already
	o := websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: &http.Transport{DialContext: once, DisableKeepAlives: true, MaxResponseHeaderBytes: maxHeader}},
		HTTPHeader:   http.Header{},
		Subprotocols: []string{"binary"},
	}
	if token != nil {
		// Not in the address, which the log of a proxy has that takes TLS off.
		o.HTTPHeader.Set("Authorization", "Bearer "+string(token))
	}
	if l != nil {
		login := base64.StdEncoding.EncodeToString(append([]byte(l.User+":"), l.Password...))
		o.HTTPHeader.Set("Authorization", "Basic "+login)
	}
	ws, response, err := websocket.Dial(limited, u.String(), &o)
	a := answer{heard: string(r.heard()), err: err}
	if strings.HasPrefix(a.heard, "HTTP/") {
		a.line, _, _ = strings.Cut(a.heard, "\r\n")
		a.line = finding.Printable(a.line)
	}
	if response != nil {
		a.status = response.StatusCode
	}
	if err == nil {
		a.ws = websocket.NetConn(ctx, ws, websocket.MessageBinary)
	}
	return a
}

// acceptsBrowser tells whether the server answers a client of HTTP at all, which
// it does if it accepts its certificate. It gets neither login nor token, which
// may be for one use.
func (p *prober) acceptsBrowser(ctx context.Context, c *session.Conn) bool {
	a := p.dialWebsocket(ctx, c, nil, nil)
	if a.err == nil {
		a.ws.Close()
	}
	return a.heard != ""
}

// webLogin tells whether the websocket wants an account, or was opened with a token.
func (p *prober) webLogin() bool {
	u := p.t.VNC.Websocket
	return u != nil && (p.account || p.o.Token != nil || u.RawQuery != "")
}
