package page

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/coder/websocket"
)

// A page of another origin gets neither a websocket nor the page in a frame.
func (p *person) anotherOrigin(t *testing.T, ca *tls.Certificate) {
	evil := serve(t, certify(t, ca, "evil.example.com"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><title>evil</title><iframe src="` + p.at + `/console/web1"></iframe>`))
	}))
	tab := p.tab(t, chromedp.Navigate(address(evil, "evil.example.com")))
	got := eval[string](tab, `new Promise(resolve => {
		const socket = new WebSocket('`+strings.Replace(p.at, "https", "wss", 1)+`/websocket/web1');
		socket.onopen = () => resolve('open');
		socket.onclose = e => resolve('closed ' + e.code);
	})`)
	if got != "closed 1006" {
		t.Errorf("a websocket of another origin is %s", got)
	}
	if n := eval[int](tab, "(() => { try { return frames[0].document.title.length } catch { return -1 } })()"); n >= 0 {
		t.Errorf("the page is in a frame of another origin")
	}
	p.quiet(t, "WebSocket connection to", "frame-ancestors", "Failed to load resource")
}

func (p *person) refusals(t *testing.T) {
	tab := p.tab(t)
	for _, tt := range []struct{ name, path, want, focus string }{
		{"unknown machine", "/console/none", "There is no machine of that name.", "connect"},
		{"no token", "/console/db1", "The token opens nothing here.", "ask-token"},
		// The page is there already and sees only the token change.
		{"wrong token", "/console/db1#token=guessed", "The token opens nothing here.", "ask-token"},
	} {
		tab.do(chromedp.Navigate(p.at + tt.path))
		tab.until("location.hash === ''")
		if got := tab.state("ended"); got != "No connection. "+tt.want {
			t.Errorf("%s: the state is %q", tt.name, got)
		}
		if got := tab.focus(); got != tt.focus {
			t.Errorf("%s: the focus is on %s, want %s", tt.name, got, tt.focus)
		}
		if got := tab.text("#ended-retry"); got != "" {
			t.Errorf("%s: the page says %q", tt.name, got)
		}
	}
	tab.shot("refused")
	tab.do(chromedp.KeyEvent("let me in" + kb.Enter))
	tab.state("connected")

	tab = p.tab(t, chromedp.Navigate(p.at+"/console/db1#token=let%20me%20in"))
	tab.state("connected")
	if got := eval[string](tab, "location.href"); got != p.at+"/console/db1" {
		t.Errorf("the token is in the address: %s", got)
	}
}

func (p *person) reconnection(t *testing.T) {
	tab := p.tab(t, chromedp.Navigate(p.at+"/console/web1"))
	tab.state("connected")
	p.gw.cut(websocket.StatusServiceRestart, "")
	if got := tab.state("ended"); got != "Connection lost. The gateway is restarting." {
		t.Errorf("the state is %q", got)
	}
	tab.state("connected")

	p.gw.refusal(http.StatusServiceUnavailable)
	p.gw.cut(websocket.StatusGoingAway, "the gateway moves to another host")
	if got := tab.state("ended"); got != "Connection lost. The gateway moves to another host." {
		t.Errorf("the state is %q", got)
	}
	tab.until("document.getElementById('state').innerText === 'No connection. The machines are being moved.'")
	tab.shot("trying-again")
	tab.click("#stop")
	p.gw.refusal(0)
	if got := tab.focus(); got != "connect" {
		t.Errorf("the focus is on %s", got)
	}
	tab.do(chromedp.KeyEvent(kb.Enter))
	tab.state("connected")

	tab.click("#disconnect")
	if got := tab.state("ended"); got != "Disconnected" {
		t.Errorf("the state is %q", got)
	}
	tab.shot("disconnected")
	tab.click("#disconnect")
	tab.state("connected")

	p.gw.cut(websocket.StatusPolicyViolation, "your time is over")
	if got := tab.state("ended"); got != "Connection lost. Your time is over." {
		t.Errorf("the state is %q", got)
	}
	if eval[bool](tab, "document.getElementById('ask').hidden") {
		t.Error("the page does not ask for another token")
	}
}
