package gateway

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A page of another origin gets neither a websocket nor the page in a frame, though
// the browser knows alice's account.
func (p *person) anotherOrigin(t *testing.T) {
	evil := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><title>evil</title><iframe src="` + p.at + `/console/web1"></iframe>`))
	}))
	dir := shared().ca.dir(t, "evil", "ec")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server-cert.pem"), filepath.Join(dir, "server-key.pem"))
	must(t, err)
	evil.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	evil.StartTLS()
	defer evil.Close()
	tab := p.tab(t, chromedp.Navigate(evil.URL))
	got := eval[string](tab, `new Promise(resolve => {
		const socket = new WebSocket('`+strings.Replace(p.at, "https", "wss", 1)+`/websocket/web1');
		socket.onopen = () => resolve('open');
		socket.onclose = e => resolve('closed ' + e.code);
	})`)
	if got != "closed 1006" {
		t.Errorf("a websocket of another origin is %s", got)
	}
	p.log.await(t, "refused", "code=gateway-vnc-origin", evil.URL)
	if n := eval[int](tab, "(() => { try { return frames[0].document.title.length } catch { return -1 } })()"); n >= 0 {
		t.Errorf("the page is in a frame of another origin")
	}
	p.quiet(t, "WebSocket connection to", "frame-ancestors", "Failed to load resource")
}

// Who has no account comes in with a token.
func (p *person) refusals(t *testing.T) {
	lasting, once, ended := p.token(t, "web2", time.Hour, false), p.token(t, "web2", time.Hour, true), p.token(t, "web2", -time.Minute, false)
	tab := p.stranger(t)
	for _, tt := range []struct{ name, token string }{
		{"wrong token", "guessed"},
		{"expired token", ended},
		{"token of another machine", p.token(t, "web1", time.Hour, false)},
	} {
		// The first time the page is opened; then it is there and sees only the token change.
		tab.do(chromedp.Navigate(p.at + "/console/web2#token=" + tt.token))
		tab.until("location.hash === ''")
		if got := tab.state("ended"); got != "No connection. The token is not good, or not any more." {
			t.Errorf("%s: the state is %q", tt.name, got)
		}
		if got := tab.focus(); got != "ask-token" {
			t.Errorf("%s: the focus is on %s, want the field for another one", tt.name, got)
		}
		if got := tab.text("#ended-retry"); got != "" {
			t.Errorf("%s: the page says %q", tt.name, got)
		}
	}
	tab.shot("refused")
	tab.do(chromedp.KeyEvent(lasting + kb.Enter))
	tab.state("connected")

	tab.do(chromedp.Navigate(p.at + "/console/web2#token=" + once))
	tab.until("location.hash === ''")
	tab.state("connected")
	if got := eval[string](tab, "location.href"); got != p.at+"/console/web2" {
		t.Errorf("the token is in the address: %s", got)
	}
	tab.click("#disconnect")
	tab.state("ended")
	tab.shot("disconnected")
	tab.click("#disconnect")
	if got := tab.state("ended"); got == "Disconnected" {
		tab.until("document.getElementById('state').innerText !== 'Disconnected'")
	}
	if got := tab.state("ended"); got != "No connection. The token is not good, or not any more." {
		t.Errorf("the second time a token for one time gives the state %q", got)
	}
	for _, token := range []string{lasting, once, ended} {
		if strings.Contains(p.log.String(), token) {
			t.Error("the log has a token")
		}
	}
}

// loginDialog answers the dialog in which a browser asks for an account: first by
// going away, then with an account.
func (p *tab) loginDialog(user, password string) {
	paused, asked := chromedp.Events(p.ctx, fetch.RequestPaused), chromedp.Events(p.ctx, fetch.AuthRequired)
	on := true
	p.do(command(fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*/websocket/*"}}, HandleAuthRequests: &on}))
	go func() {
		for e, err := range paused {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(p.ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
		}
	}()
	go func() {
		answer := fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
		for e, err := range asked {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(p.ctx, fetch.ContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: &answer})
			answer = fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: user, Password: password}
		}
	}()
}

// Who opens a console without a login is asked for one.
func (p *person) noLogin(t *testing.T) {
	tab := p.stranger(t)
	tab.loginDialog("alice", passwordOfAlice)
	tab.do(chromedp.Navigate(p.at + "/console/web1"))
	if got := tab.state("ended"); got != "No connection. Log in with an account of the gateway." {
		t.Errorf("the state is %q", got)
	}
	if got := tab.focus(); got != "ask-token" {
		t.Errorf("the focus is on %s, want the field for a token", got)
	}
	tab.click("#connect")
	tab.state("connected")
	p.log.await(t, "accepted", "user=alice")
}

// A machine goes away, and comes back.
func (p *person) reconnection(t *testing.T) {
	tab := p.kept
	tab.t = t
	p.guest.Kill()
	if got := tab.state("ended"); !strings.HasPrefix(got, "Connection lost. The machine") {
		t.Errorf("the state is %q", got)
	}
	tab.until("document.getElementById('state').innerText.includes('cannot be reached')")
	tab.shot("trying-again")
	tab.click("#stop")
	if got := tab.focus(); got != "connect" {
		t.Errorf("the focus is on %s", got)
	}
	tab.do(chromedp.KeyEvent(kb.Enter))
	tab.until("document.getElementById('stop').hidden === false")
	p.guest = p.boot()
	tab.state("connected")
	tab.reads(prompt)
	p.closings(tab)
}

// closings is how the page reads what other gateways may say.
func (p *person) closings(tab *tab) {
	got := eval[[]string](tab, `import(document.querySelector('script').src.replace('console.js', 'why.js')).then(why => [
		why.afterLoss(1008, 'your time is over'), why.afterLoss(1012, ''), why.afterLoss(1006, ''), why.afterLoss(1011, 'No.\x00'),
	].map(o => JSON.stringify(o)))`)
	want := []string{
		`{"reason":"Your time is over.","token":true}`,
		`{"reason":"The gateway is restarting.","wait":true}`,
		`{"reason":"The machine, the gateway or the network broke it off.","wait":true}`,
		`{"reason":"No.","wait":true}`,
	}
	if !slices.Equal(got, want) {
		tab.t.Errorf("closings are read as %q, want %q", got, want)
	}
}
