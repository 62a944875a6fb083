package gateway

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/gateway/page"
	"virtls/proto/vnc"
	"virtls/sasl"
)

// doorDial opens a connection of TLS with the door.
func (r *running) doorDial(t testing.TB) *tls.Conn {
	t.Helper()
	config := r.browser(t, "").Transport.(*http.Transport).TLSClientConfig
	c, err := tls.Dial("tcp", r.door.listener.Addr().String(), config)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

const upgrade = "GET /websocket/one?token=%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// Viewers and browsers that say nothing or too little, at any point of a login,
// are gone in time and leave nothing behind.
func TestVNCSlow(t *testing.T) {
	const limit = 600 * time.Millisecond // in which a busy machine, too, comes as far as each case is to come
	o := doorOptions(t)
	o.HandshakeLimit = limit
	o.VNC.Accounts = accountsOf(t, nil)
	o.Listen = Side{address(t, "tcp://127.0.0.1:0"), holder(t, shared().ca.dir(t, "localhost", "ec"), creds.Server)}
	r := runVNC(t, o)
	token := r.token(t, "one", time.Hour, false)
	// It is all there when it has answered.
	r.log.await(t, "machines loaded")
	r.log.await(t, "accounts loaded")
	first := r.browser(t, "")
	r.get(t, first, "/console/one", nil)
	first.CloseIdleConnections()
	for r.count() > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	say := func(c net.Conn, texts ...string) net.Conn {
		for _, text := range texts {
			_, err := io.WriteString(c, text)
			must(t, err)
			time.Sleep(20 * time.Millisecond)
		}
		return c
	}
	plainDoor := func() net.Conn {
		c, err := net.Dial("tcp", r.door.listener.Addr().String())
		must(t, err)
		t.Cleanup(func() { c.Close() })
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		return c
	}
	for _, tt := range []struct {
		name string
		open func() net.Conn
	}{
		{"RFB without a word", func() net.Conn { return r.dial(t) }},
		{"RFB with half a version", func() net.Conn { return say(r.dial(t), "RFB ", "003.") }},
		{"RFB without a type", func() net.Conn { return say(r.dial(t), "RFB 003.008\n") }},
		{"VeNCrypt without a subtype", func() net.Conn { return say(r.dial(t), "RFB 003.008\n", "\x13", "\x00\x02", "\x00\x00") }},
		{"VeNCrypt without a ClientHello", func() net.Conn { return say(r.dial(t), "RFB 003.008\n", "\x13", "\x00\x02", "\x00\x00\x01\x07") }},
		{"door without a word", plainDoor},
		{"door with half a record", func() net.Conn { return say(plainDoor(), "\x16\x03\x01\x02", "\x00\x01") }},
		{"door without a request", func() net.Conn { return r.doorDial(t) }},
		{"door with half a request", func() net.Conn { return say(r.doorDial(t), "GET / HTTP/1.1\r\n", "Host: loc") }},
		{"websocket without a version", func() net.Conn { return say(r.doorDial(t), fmt.Sprintf(upgrade, token)) }},
		{"websocket with half a frame", func() net.Conn { return say(r.doorDial(t), fmt.Sprintf(upgrade, token), "\x82\x8c\x00\x00\x00\x00RFB") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			begin := time.Now()
			c := tt.open()
			io.Copy(io.Discard, c)
			// A websocket waits some time for the browser's last word.
			if took := time.Since(begin); took < limit || took > 8*time.Second {
				t.Errorf("it ended after %v", took)
			}
			c.Close()
			goroutinesEnd(t, before)
			for end := time.Now().Add(10 * time.Second); r.count() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d connections are left", r.count())
				}
			}
		})
	}
}

// Limits hold for viewers and browsers together, and idle ones end.
func TestVNCLimits(t *testing.T) {
	o := doorOptions(t)
	o.MaxPerClient, o.IdleLimit = 2, 2*time.Second
	r := runVNC(t, o)
	token := r.token(t, "one", time.Hour, false)
	c := r.browser(t, "")
	first, _ := r.socket(t, c, "/websocket/one?token="+token, nil)
	v, err := vnc.Dial(t.Context(), first, vnc.Options{})
	must(t, err)
	// One direction at work keeps the other alive.
	for range 6 {
		time.Sleep(o.IdleLimit / 5)
		exchange(t, v, "still here")
	}
	r.doorDial(t)
	if _, err := r.browser(t, "").Get(r.web("/")); err == nil {
		t.Error("a third connection was let in")
	}
	r.log.await(t, "refused", "code=gateway-full")
	begin := time.Now()
	if _, err := v.Read(make([]byte, 1)); err == nil || time.Since(begin) > 15*time.Second {
		t.Errorf("idle for %v: %v", time.Since(begin), err)
	}
	r.log.await(t, "closed", "nothing was sent")
}

// A renewed certificate is the next viewer's and the next browser's; those who are
// there stay.
func TestVNCReload(t *testing.T) {
	ca := shared().ca
	front, web := ca.dir(t, "localhost", "ec"), ca.dir(t, "localhost", "ec")
	o := doorOptions(t)
	o.VNC.Web.Credentials = webHolder(t, web)
	o.VNC.Accounts = accountsOf(t, map[string]string{"alice": passwordOfAlice})
	o.Listen = Side{address(t, "tcp://127.0.0.1:0"), webHolder(t, front)}
	o.VNC.Machines = storeOf(t, &o, "machines: [{name: one, connect: '"+screen(t, "unix", vnc.ServerOptions{}).String()+"', users: ['*']}]\n")
	r := runVNC(t, o)
	token := func() string { return r.token(t, "one", time.Hour, false) }
	viewer := func() *vnc.Conn {
		v, err := vnc.Dial(t.Context(), r.dial(t), vnc.Options{X509: clientOf(t, front), Login: &sasl.Login{User: "alice", Password: []byte(passwordOfAlice)}})
		must(t, err)
		return v
	}
	browser := func() net.Conn {
		nc, _ := r.socket(t, r.browser(t, ""), "/websocket/one?token="+token(), nil)
		v, err := vnc.Dial(t.Context(), nc, vnc.Options{})
		must(t, err)
		return v
	}
	serial := func(v *vnc.Conn) string { return fmt.Sprintf("%x", v.TLS.PeerChain[0].Serial) }
	v, b := viewer(), browser()
	old := r.doorDial(t).ConnectionState().PeerCertificates[0].SerialNumber
	newFront, newWeb := ca.renew(t, front, "localhost", "ec"), ca.renew(t, web, "localhost", "ec")
	must(t, o.Listen.Credentials.Reload(t.Context()))
	must(t, o.VNC.Web.Credentials.Reload(t.Context()))
	exchange(t, v, "still here")
	exchange(t, b, "still here")
	if got, want := serial(viewer()), fmt.Sprintf("%x", newFront.Serial); got != want || got == serial(v) {
		t.Errorf("the next viewer sees the certificate %s, want %s", got, want)
	}
	if got := r.doorDial(t).ConnectionState().PeerCertificates[0].SerialNumber; got.Cmp(old) == 0 || fmt.Sprintf("%x", got) != fmt.Sprintf("%x", newWeb.Serial) {
		t.Errorf("the next browser sees the certificate %x", got)
	}
	exchange(t, browser(), "a new one")
}

// A gateway that stops lets viewers and browsers end, and takes no more.
func TestVNCDrain(t *testing.T) {
	r := runVNC(t, doorOptions(t))
	c := r.browser(t, "")
	nc, _ := r.socket(t, c, "/websocket/one?token="+r.token(t, "one", time.Hour, false), nil)
	v, err := vnc.Dial(t.Context(), nc, vnc.Options{})
	must(t, err)
	exchange(t, v, "hello")
	resting := r.doorDial(t) // a browser that keeps its connection for later
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	r.log.await(t, "draining")
	if _, err := resting.Read(make([]byte, 1)); err == nil {
		t.Error("a connection without a request was kept")
	}
	exchange(t, v, "still here")
	if _, err := net.Dial("tcp", r.door.listener.Addr().String()); err == nil {
		t.Error("it still listens")
	}
	must(t, nc.Close())
	must(t, <-stopped)
}

// No password and no token is in the log, the status or the metrics, whatever way
// it came; the status has who sees what.
func TestVNCSecrets(t *testing.T) {
	o := doorOptions(t)
	o.VNC.Accounts = accountsOf(t, map[string]string{"alice": passwordOfAlice})
	o.Listen = Side{address(t, "tcp://127.0.0.1:0"), webHolder(t, shared().ca.dir(t, "localhost", "ec"))}
	r := runVNC(t, o)
	token := r.token(t, "one", time.Hour, false)
	c := r.browser(t, "")
	nc, _ := r.socket(t, c, "/websocket/one", basic("alice", passwordOfAlice))
	v, err := vnc.Dial(t.Context(), nc, vnc.Options{})
	must(t, err)
	exchange(t, v, "hello")
	dir := shared().ca.dir(t, "client1", "ec")
	for _, login := range []sasl.Login{{User: "alice", Password: []byte(passwordWrong)}, {User: passwordOfAlice, Password: []byte("alice")}} {
		for _, security := range []vnc.Security{vnc.X509SASL, vnc.X509Plain} {
			if _, err := vnc.Dial(t.Context(), r.dial(t), vnc.Options{X509: clientOf(t, dir), Login: &login, Allow: []vnc.Security{security}}); err == nil {
				t.Error("it was let in")
			} else if strings.Contains(err.Error(), passwordWrong) {
				t.Error(err)
			}
		}
		r.get(t, c, "/", basic(login.User, string(login.Password)))
	}
	r.get(t, c, "/websocket/one?token="+token+"x", nil)
	encoded := base64.RawURLEncoding.EncodeToString([]byte(token + "x"))
	r.get(t, c, "/websocket/one", http.Header{"Authorization": {"Bearer " + token + "x"}})
	r.get(t, c, "/websocket/one", http.Header{"Sec-Websocket-Protocol": {"binary, " + page.TokenProtocol + encoded}})
	r.get(t, c, "/console/one?token="+token, nil)
	r.get(t, c, "/nothing/"+token, nil)
	runner := Runner{Gateways: []*Gateway{r.Gateway}}
	status, err := json.Marshal(runner.Status())
	must(t, err)
	if !strings.Contains(string(status), `"user":"alice","machine":"one"`) {
		t.Errorf("the status does not say who sees what: %s", status)
	}
	var metrics strings.Builder
	runner.Status().writeMetrics(&metrics)
	if !strings.Contains(metrics.String(), `virtls_gateway_failed_logins_total{gateway="vnc"} 9`) {
		t.Errorf("failed logins are not counted:\n%s", metrics.String())
	}
	all := string(status) + metrics.String() + r.log.String()
	for _, secret := range append(testSecrets, token, encoded[:40]) {
		if strings.Contains(all, secret) {
			t.Errorf("%q is told", secret)
		}
	}
}

// Failed logins of one address make each other wait.
func TestVNCThrottle(t *testing.T) {
	o := doorOptions(t)
	o.Protocol = VNC
	r := run(t, o, slowed(200*time.Millisecond, 400*time.Millisecond))
	c := r.browser(t, "")
	begin := time.Now()
	for range 3 {
		r.get(t, c, "/websocket/one?token=none", nil)
	}
	if took := time.Since(begin); took < 900*time.Millisecond {
		t.Errorf("three wrong tokens took %v", took)
	}
}

// What a browser sends, in HTTP and in frames, ends nothing but its connection.
func FuzzDoor(f *testing.F) {
	o := doorOptions(f)
	o.HandshakeLimit = 200 * time.Millisecond
	o.VNC.Web = Side{Address: address(f, "tcp://127.0.0.1:0")}
	r := runVNC(f, o)
	token := r.token(f, "one", time.Hour, false)
	f.Add(false, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add(false, fmt.Appendf(nil, upgrade, token))
	f.Add(false, []byte("GET /websocket/%2e%2e?token=%zz HTTP/1.1\r\nHost: a\r\nOrigin: http://[\r\nCookie: __Host-virtls=AAAA\r\n\r\n"))
	f.Add(true, []byte("\x82\x8c\x00\x00\x00\x00RFB 003.008\n\x82\x81\x00\x00\x00\x00\x01\x82\x81\x00\x00\x00\x00\x01"))
	f.Add(true, []byte("\x89\x80\x00\x00\x00\x00\x88\x80\x00\x00\x00\x00"))
	f.Add(true, []byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, opened bool, data []byte) {
		c, err := net.Dial("tcp", r.door.listener.Addr().String())
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		if opened {
			fmt.Fprintf(c, upgrade, token)
		}
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
	})
}

// Only a process's own tickets stand for anybody.
func FuzzTicket(f *testing.F) {
	ours, now := newTickets(), time.Now()
	mark := func(user string) []byte {
		if user != "alice" {
			return nil
		}
		return []byte("of her password")
	}
	good := ours.cookie("alice", mark("alice"), now)
	f.Add(good.Value)
	f.Add(newTickets().cookie("alice", mark("alice"), now).Value)
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, 40)))
	f.Fuzz(func(t *testing.T, value string) {
		r := &http.Request{Header: http.Header{}}
		r.AddCookie(&http.Cookie{Name: ticketName, Value: value})
		if user := ours.user(r, mark, now); user != "" && value != good.Value {
			t.Errorf("%q stands for %q", value, user)
		}
		if user := ours.user(r, mark, now.Add(ticketLife)); user != "" {
			t.Errorf("an old ticket stands for %q", user)
		}
	})
}
