package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"virtls/session"
)

// browse opens the websocket as a browser does, and goes on inside.
func (p *prober) browse(ctx context.Context, c net.Conn) error {
	ws, err := p.openWebsocket(ctx, c)
	if err != nil {
		return err
	}
	p.acceptedBrowser()
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
	r := &recorder{Conn: c}
	ws, status, err := p.dialWebsocket(ctx, r)
	if err == nil {
		return ws, nil
	}
	heard := string(r.heard())
	line, _, _ := strings.Cut(heard, "\r\n")
	if strings.HasPrefix(heard, "HTTP/") {
		p.acceptedBrowser()
	}
	switch {
	case heard == "" && p.session != nil && p.x509() != nil && ctx.Err() == nil:
		return nil, p.refusedClient(StageClient, afterHandshake(err))
	case heard == "" && errors.Is(err, context.DeadlineExceeded):
		return nil, p.stop(StageWebsocket, kindSilent.Found("", "no answer of HTTP"))
	case heard == "":
		return nil, p.stop(StageWebsocket, kindNotWebsocket.Found("", "end of the connection").WithFix("probe wss:// if the service wants TLS from the first byte; else correct the port"))
	case !strings.HasPrefix(heard, "HTTP/"):
		return nil, p.stop(StageWebsocket, kindNotWebsocket.Found("", fmt.Sprintf("%q", heard[:min(len(heard), 24)])))
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil, p.stop(StageWebsocket, kindWebsocket.Found("", line).WithText("the server of the websocket does not let this client in").
			WithFix("name a token that it knows, that has not expired, and that was not used if it is for one use: wss://HOST/PATH?token=..."))
	case status == http.StatusNotFound:
		return nil, p.stop(StageWebsocket, kindWebsocket.Found("", line).WithText("there is no such path on the server of the websocket").
			WithFix("QEMU's own has / alone, that of virtls gateway vnc /websocket/NAME"))
	}
	return nil, p.stop(StageWebsocket, kindWebsocket.Found("", line))
}

// dialWebsocket opens the websocket. The status is that of an answer of HTTP that
// refuses.
func (p *prober) dialWebsocket(ctx context.Context, c net.Conn) (net.Conn, int, error) {
	limited, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	used := false
	once := func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("the server sends its clients elsewhere")
		}
		used = true
		return c, nil
	}
	u := *p.t.VNC.Websocket
	u.Scheme = "ws" // TLS is below already
	ws, response, err := websocket.Dial(limited, u.String(), &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: &http.Transport{DialContext: once, DisableKeepAlives: true}},
		Subprotocols: []string{"binary"},
	})
	if err != nil {
		status := 0
		if response != nil {
			status = response.StatusCode
		}
		return nil, status, err
	}
	return websocket.NetConn(ctx, ws, websocket.MessageBinary), 0, nil
}

// acceptsBrowser tells whether the server answers a client of HTTP at all, which
// it does if it accepts its certificate.
func (p *prober) acceptsBrowser(ctx context.Context, c *session.Conn) bool {
	r := &recorder{Conn: c}
	if ws, _, err := p.dialWebsocket(ctx, r); err == nil {
		ws.Close()
	}
	return len(r.heard()) > 0
}
