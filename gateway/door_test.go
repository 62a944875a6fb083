package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"virtls/creds"
	"virtls/finding"
	"virtls/gateway/machines"
	"virtls/gateway/page"
	"virtls/proto/vnc"
)

// webHolder holds credentials for browsers, who need no certificate.
func webHolder(t testing.TB, dir string) *creds.Holder {
	t.Helper()
	h, err := creds.NewHolder(t.Context(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
		c, w, err := creds.LoadX509(creds.X509Options{Dir: dir, Endpoint: creds.Server, NoVerifyPeer: true})
		if err != nil {
			return nil, nil, err
		}
		return c, w, nil
	})
	must(t, err)
	return h
}

// A browser is a client of the web with the test's authority, and a certificate
// if dir is not empty.
func (r *running) browser(t testing.TB, dir string) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	config.RootCAs.AppendCertsFromPEM(shared().ca.cert.PEM())
	if dir != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client-cert.pem"), filepath.Join(dir, "client-key.pem"))
		must(t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func (r *running) web(path string) string {
	return "https://" + r.door.listener.Addr().String() + path
}

// get returns the status and the text of an answer.
func (r *running) get(t testing.TB, c *http.Client, path string, header http.Header) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.web(path), nil)
	must(t, err)
	req.Header = header
	if header == nil {
		req.Header = http.Header{}
	}
	resp, err := c.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(text), resp.Header
}

// socket opens a websocket; without one it returns the status.
func (r *running) socket(t testing.TB, c *http.Client, path string, header http.Header) (net.Conn, int) {
	t.Helper()
	ws, resp, err := websocket.Dial(t.Context(), r.web(path), &websocket.DialOptions{HTTPClient: c, HTTPHeader: header, Subprotocols: []string{"binary"}})
	if err != nil {
		if resp == nil {
			t.Fatal(err)
		}
		return nil, resp.StatusCode
	}
	if ws.Subprotocol() != "binary" {
		t.Errorf("subprotocol %q", ws.Subprotocol())
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { ws.CloseNow() })
	return websocket.NetConn(t.Context(), ws, websocket.MessageBinary), http.StatusSwitchingProtocols
}

// see opens a console in a browser and sees that the screen answers.
func (r *running) see(t testing.TB, c *http.Client, path string, header http.Header, o vnc.Options) int {
	t.Helper()
	nc, status := r.socket(t, c, path, header)
	if nc == nil {
		return status
	}
	v, err := vnc.Dial(t.Context(), nc, o)
	must(t, err)
	exchange(t, v, "hello")
	exchange(t, v, strings.Repeat("a longer text ", 20000))
	must(t, nc.Close())
	return status
}

func basic(user, password string) http.Header {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header
}

// doorOptions are those of a gateway with two machines.
func doorOptions(t testing.TB) Options {
	t.Helper()
	o := Options{Protocol: VNC, VNC: Screens{
		Web:     Side{address(t, "tls://127.0.0.1:0"), webHolder(t, shared().ca.dir(t, "localhost", "ec"))},
		Origins: []string{"https://portal.example.com"},
	}}
	back := screen(t, "unix", vnc.ServerOptions{Password: func() []byte { return []byte(passwordOfBack) }})
	closed := "unix://" + filepath.Join(t.TempDir(), "nobody")
	o.VNC.Machines = storeOf(t, &o, "machines:\n"+
		"- {name: one, description: the first, connect: '"+back.String()+"', users: [alice], allow: ['*,CN=alice'], connect-password-file: "+secretFile(t, passwordOfBack)+"}\n"+
		"- {name: two, connect: '"+closed+"', users: [alice, bob]}\n")
	return o
}

// token adds a token to the machines of a gateway.
func (r *running) token(t testing.TB, machine string, life time.Duration, once bool) string {
	t.Helper()
	token, text := machines.NewToken(machine, time.Now().Add(life), once)
	f, err := os.OpenFile(r.o.VNC.Machines.Path(), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	if data, err := os.ReadFile(r.o.VNC.Machines.Path()); err == nil && !strings.Contains(string(data), "tokens:") {
		fmt.Fprintln(f, "tokens:")
	}
	fmt.Fprintln(f, token.YAML())
	must(t, r.o.VNC.Machines.Reload())
	return text
}

// A browser with an account sees the list and its consoles, and no others.
func TestDoorAccounts(t *testing.T) {
	o := doorOptions(t)
	o.VNC.Accounts = accountsOf(t, map[string]string{"alice": passwordOfAlice, "bob": passwordOfAlice})
	r := runVNC(t, o)
	c := r.browser(t, "")
	alice := basic("alice", passwordOfAlice)
	if status, _, h := r.get(t, c, "/", nil); status != http.StatusUnauthorized || !strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("the list for a stranger: %d, %q", status, h.Get("WWW-Authenticate"))
	}
	if status, _, _ := r.get(t, c, "/", basic("alice", passwordWrong)); status != http.StatusUnauthorized {
		t.Errorf("the list with a wrong password: %d", status)
	}
	r.log.await(t, "refused", "code=gateway-vnc-login-needed", "password is wrong")
	status, text, h := r.get(t, c, "/", alice)
	if status != http.StatusOK || !strings.Contains(text, "console/one") || !strings.Contains(text, "the first") || !strings.Contains(text, "console/two") || !strings.Contains(text, "alice") {
		t.Errorf("the list: %d, %s", status, text)
	}
	cookie := h.Get("Set-Cookie")
	for _, want := range []string{"__Host-virtls=", "Secure", "HttpOnly", "SameSite=Strict"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q has no %s", cookie, want)
		}
	}
	value, _, _ := strings.Cut(cookie, ";")
	ticket := http.Header{"Cookie": {value}}
	if _, text, _ := r.get(t, c, "/", basic("bob", passwordOfAlice)); strings.Contains(text, "console/one") || !strings.Contains(text, "console/two") {
		t.Errorf("the list of bob: %s", text)
	}
	for _, tt := range []struct {
		name   string
		path   string
		header http.Header
		want   int
	}{
		{"account", "/websocket/one", alice, http.StatusSwitchingProtocols},
		{"ticket", "/websocket/one", ticket, http.StatusSwitchingProtocols},
		{"changed ticket", "/websocket/one", http.Header{"Cookie": {value[:len(value)-2] + "AA"}}, http.StatusUnauthorized},
		{"nobody", "/websocket/one", nil, http.StatusUnauthorized},
		{"another's machine", "/websocket/one", basic("bob", passwordOfAlice), http.StatusForbidden},
		{"no machine", "/websocket/three", alice, http.StatusForbidden},
		{"several machines", "/websocket", alice, http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := r.see(t, r.browser(t, ""), tt.path, tt.header, vnc.Options{}); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
	r.log.await(t, "accepted", "user=alice", "machine=one")
	if s := r.Status(); s.Failed != 1 {
		t.Errorf("%d failed logins, want 1", s.Failed)
	}
	// An account that is gone takes its tickets with it, and so does an old password.
	for name, accounts := range map[string]map[string]string{
		"removed account": {"bob": passwordOfAlice},
		"old password":    {"bob": passwordOfAlice, "alice": passwordWrong},
	} {
		a := accountsOf(t, accounts)
		must(t, a.Current().Save(o.VNC.Accounts.Path()))
		must(t, o.VNC.Accounts.Reload())
		if got := r.see(t, r.browser(t, ""), "/websocket/one", ticket, vnc.Options{}); got != http.StatusUnauthorized {
			t.Errorf("a ticket of a %s: %d", name, got)
		}
	}
}

// lets is an access list that does something before it lets everybody in.
type lets func()

func (f lets) Allowed(string) (bool, error) { f(); return true, nil }

// A password that is changed while it is judged is good for that request alone: the
// cookie is not one of the new password.
func TestDoorTicketOfAnOldPassword(t *testing.T) {
	o := doorOptions(t)
	o.VNC.Accounts = accountsOf(t, map[string]string{"alice": passwordOfAlice})
	o.VNC.Users = lets(func() {
		must(t, accountsOf(t, map[string]string{"alice": passwordWrong}).Current().Save(o.VNC.Accounts.Path()))
		must(t, o.VNC.Accounts.Reload())
	})
	r := runVNC(t, o)
	_, _, h := r.get(t, r.browser(t, ""), "/", basic("alice", passwordOfAlice))
	value, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	if status, _, _ := r.get(t, r.browser(t, ""), "/", http.Header{"Cookie": {value}}); status != http.StatusUnauthorized {
		t.Errorf("the cookie %q of an old password: %d", value, status)
	}
}

// A token opens one console, for as long and as often as it says.
func TestDoorTokens(t *testing.T) {
	r := runVNC(t, doorOptions(t))
	c := r.browser(t, "")
	lasting, once, ended := r.token(t, "one", time.Hour, false), r.token(t, "one", time.Hour, true), r.token(t, "one", -time.Minute, false)
	for _, tt := range []struct {
		name, path string
		want       int
		reason     string // in the log
	}{
		{"good", "/websocket/one?token=" + lasting, http.StatusSwitchingProtocols, ""},
		{"good again", "/websocket/one?token=" + lasting, http.StatusSwitchingProtocols, ""},
		{"without the name", "/websocket?token=" + lasting, http.StatusSwitchingProtocols, ""},
		{"of another machine", "/websocket/two?token=" + lasting, http.StatusForbidden, "there is no such token"},
		{"wrong", "/websocket/one?token=" + lasting[1:], http.StatusForbidden, "there is no such token"},
		{"none", "/websocket/one", http.StatusForbidden, "nobody known"},
		{"expired", "/websocket/one?token=" + ended, http.StatusForbidden, "the token has expired"},
		{"once", "/websocket/one?token=" + once, http.StatusSwitchingProtocols, ""},
		{"used", "/websocket/one?token=" + once, http.StatusForbidden, "the token may be used once, and was used"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// What a page asks first tells the same and uses nothing up.
			asked := tt.want
			if asked == http.StatusSwitchingProtocols {
				asked = http.StatusUpgradeRequired
			}
			if got, _, _ := r.get(t, c, tt.path, nil); got != asked {
				t.Errorf("without an upgrade: %d, want %d", got, asked)
			}
			if got := r.see(t, c, tt.path, nil, vnc.Options{}); got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
			if tt.reason != "" {
				r.log.await(t, "refused", tt.reason)
			}
		})
	}
	must(t, r.o.VNC.Machines.Reload())
	if got := r.see(t, c, "/websocket/one?token="+once, nil, vnc.Options{}); got != http.StatusForbidden {
		t.Errorf("a used token after a reload: %d", got)
	}
	for _, token := range []string{lasting, once, ended} {
		if strings.Contains(r.log.String(), token) {
			t.Error("the log has a token")
		}
	}
	if status, text, _ := r.get(t, c, "/", nil); status != http.StatusOK || strings.Contains(text, "console/one") {
		t.Errorf("the list for a stranger: %d, %s", status, text)
	}
}

// A token is shown in the address, or in header fields, which no log keeps.
func TestDoorTokenPlaces(t *testing.T) {
	r := runVNC(t, doorOptions(t))
	c := r.browser(t, "")
	good := r.token(t, "one", time.Hour, false)
	for _, tt := range []struct {
		name, bearer string
		protocols    []string
		query        string
		want         int
	}{
		{"bearer", good, nil, "", http.StatusSwitchingProtocols},
		{"wrong bearer", good + "x", nil, "", http.StatusForbidden},
		{"wrong bearer and good address", good + "x", nil, "?token=" + good, http.StatusForbidden},
		{"subprotocol", "", []string{"binary", page.TokenProtocol + base64.RawURLEncoding.EncodeToString([]byte(good))}, "", http.StatusSwitchingProtocols},
		{"subprotocol alone", "", []string{page.TokenProtocol + base64.RawURLEncoding.EncodeToString([]byte(good))}, "", http.StatusSwitchingProtocols},
		{"wrong subprotocol", "", []string{"binary", page.TokenProtocol + "AAAA"}, "", http.StatusForbidden},
		{"subprotocol that is no base64", "", []string{"binary", page.TokenProtocol + "A"}, "?token=" + good, http.StatusForbidden},
		{"no token in it", "", []string{"binary"}, "", http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &websocket.DialOptions{HTTPClient: c, Subprotocols: tt.protocols, HTTPHeader: http.Header{}}
			if tt.bearer != "" {
				o.HTTPHeader.Set("Authorization", "Bearer "+tt.bearer)
			}
			ws, resp, err := websocket.Dial(t.Context(), r.web("/websocket/one"+tt.query), o)
			if err == nil {
				defer ws.CloseNow()
				if p := ws.Subprotocol(); p != "binary" && p != "" {
					t.Errorf("the subprotocol is %q", p)
				}
			}
			if resp == nil || resp.StatusCode != tt.want {
				t.Errorf("%v, %v; want %d", resp, err, tt.want)
			}
		})
	}
	if strings.Contains(r.log.String(), good) {
		t.Error("the log has the token")
	}
}

// Pages of other sites open nothing unless they are listed.
func TestDoorOrigin(t *testing.T) {
	r := runVNC(t, doorOptions(t))
	token := r.token(t, "one", time.Hour, false)
	own := "https://" + r.door.listener.Addr().String()
	for origin, want := range map[string]int{
		own:                                http.StatusSwitchingProtocols,
		"":                                 http.StatusSwitchingProtocols,
		"https://portal.example.com":       http.StatusSwitchingProtocols,
		"http://portal.example.com":        http.StatusForbidden,
		"https://portal.example.com:444":   http.StatusForbidden,
		"https://evil.portal.example.com":  http.StatusForbidden,
		"null":                             http.StatusForbidden,
		strings.Replace(own, "s:", ":", 1): http.StatusForbidden,
		"https://evil.example.com":         http.StatusForbidden,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		if got := r.see(t, r.browser(t, ""), "/websocket/one?token="+token, header, vnc.Options{}); got != want {
			t.Errorf("Origin %q: %d, want %d", origin, got, want)
		}
	}
	r.log.await(t, "refused", "code=gateway-vnc-origin", "https://evil.example.com")
}

// Without TLS a page may have its own name lead to the gateway's machine, and is
// then of the same origin: names count for nothing but localhost.
func TestDoorPlainOrigin(t *testing.T) {
	o := doorOptions(t)
	o.VNC.Web = Side{Address: address(t, "tcp://127.0.0.1:0")}
	r := runVNC(t, o)
	token := r.token(t, "one", time.Hour, false)
	at := r.door.listener.Addr().String()
	_, port, err := net.SplitHostPort(at)
	must(t, err)
	for host, want := range map[string]int{
		at:                         http.StatusUpgradeRequired,
		"localhost:" + port:        http.StatusUpgradeRequired,
		"evil.example.com:" + port: http.StatusForbidden,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/websocket/one?token="+token, nil)
		must(t, err)
		req.Host = host
		req.Header.Set("Origin", "http://"+host)
		resp, err := http.DefaultTransport.RoundTrip(req)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a page of %s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}

// A plain socket that a network reaches is refused, whoever has made it.
func TestDoorPlainSocket(t *testing.T) {
	o := doorOptions(t)
	o.VNC.Web = Side{Address: address(t, "tcp://localhost:0")}
	g, err := New(o)
	must(t, err)
	g.o.VNC.Web.Address.host = "0.0.0.0" // as a name may lead there, or systemd's socket be
	if err := g.Listen(t.Context()); finding.ExitCode(err) != finding.ExitUsage || !strings.Contains(err.Error(), "in clear") {
		t.Errorf("it listens: %v", err)
	}
}

// A browser's certificate is its name.
func TestDoorCertificates(t *testing.T) {
	ca := shared().ca
	o := doorOptions(t)
	o.VNC.Web.Credentials = holder(t, ca.dir(t, "localhost", "ec"), creds.Server)
	r := runVNC(t, o)
	alice, bob := r.browser(t, ca.dir(t, "alice", "ec")), r.browser(t, ca.dir(t, "bob", "ec"))
	if status, text, _ := r.get(t, alice, "/", nil); status != http.StatusOK || !strings.Contains(text, "console/one") || strings.Contains(text, "console/two") {
		t.Errorf("the list: %d, %s", status, text)
	}
	if got := r.see(t, alice, "/websocket/one", nil, vnc.Options{}); got != http.StatusSwitchingProtocols {
		t.Errorf("alice: %d", got)
	}
	if got := r.see(t, r.browser(t, ca.dir(t, "alice", "ec")), "/websocket", nil, vnc.Options{}); got != http.StatusSwitchingProtocols {
		t.Errorf("alice, who has one machine: %d", got)
	}
	if got := r.see(t, bob, "/websocket/one", nil, vnc.Options{}); got != http.StatusForbidden {
		t.Errorf("bob: %d", got)
	}
	if _, err := r.browser(t, "").Get(r.web("/")); err == nil {
		t.Error("a browser without a certificate was let in")
	}
	r.log.await(t, "refused", "peer-no-certificate")
	r.log.await(t, "accepted", `dn="O=Example,CN=alice"`, "machine=one")
}

// A browser that keeps its connection does not keep rights that are gone.
func TestDoorCertificatesRevoked(t *testing.T) {
	ca := shared().ca
	dir, alices := ca.dir(t, "localhost", "ec"), ca.dir(t, "", "")
	cert := ca.renew(t, alices, "alice", "ec")
	denied := atomic.Bool{}
	o := doorOptions(t)
	o.VNC.Web.Credentials = holder(t, dir, creds.Server)
	o.Authz = unless{&denied}
	r := runVNC(t, o)
	for _, tt := range []struct {
		name, code string
		happens    func()
	}{
		{"from the list", "peer-denied", func() { denied.Store(true) }},
		{"by its authority", "peer-revoked", func() {
			ca.revoke(t, dir, cert)
			must(t, o.VNC.Web.Credentials.Reload(t.Context()))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			denied.Store(false)
			alice := r.browser(t, alices)
			reused := false
			trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
			get := func(path string) int {
				req, err := http.NewRequestWithContext(trace, http.MethodGet, r.web(path), nil)
				must(t, err)
				resp, err := alice.Do(req)
				must(t, err)
				defer resp.Body.Close()
				_, err = io.Copy(io.Discard, resp.Body)
				must(t, err)
				return resp.StatusCode
			}
			if get("/") != http.StatusOK || get("/websocket/one") != http.StatusUpgradeRequired || !reused {
				t.Fatal("alice does not come in, or not by one connection")
			}
			tt.happens()
			if got := get("/websocket/one"); got != http.StatusForbidden || !reused {
				t.Errorf("alice: %d, by the same connection: %v", got, reused)
			}
			r.log.await(t, "refused", tt.code)
			if resp, err := alice.Get(r.web("/")); err == nil {
				resp.Body.Close()
				t.Error("alice comes in by another connection")
			}
		})
	}
}

// A list of names is for browsers, too: those of a gateway without other clients, and
// it is not led past by those who would need nothing.
func TestDoorLists(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	plain, open, verified := Side{Address: address(t, "tcp://127.0.0.1:0")}, Side{address(t, "tls://127.0.0.1:0"), webHolder(t, dir)}, Side{address(t, "tls://127.0.0.1:0"), holder(t, dir, creds.Server)}
	password := secretFile(t, "secret of a screen")
	list, service := Access{{DN: "*,CN=alice"}}, Side{Address: address(t, "unix:///nobody")}
	for _, tt := range []struct {
		name        string
		listen, web Side
		password    string
		want        string
	}{
		{"browsers alone", Side{}, verified, "", ""},
		{"browsers alone without certificates", Side{}, open, "", "browsers would need nothing"},
		{"browsers alone with a password", Side{}, open, password, "clients without TLS have none"},
		{"browsers who need nothing", verified, open, "", "browsers would need nothing"},
		{"browsers who need a password", verified, open, password, ""},
		{"viewers without TLS", plain, verified, "", "clients without TLS have none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Protocol: VNC, Listen: tt.listen, Connect: service, Access: list, VNC: Screens{Web: tt.web, PasswordFile: tt.password}}
			_, err := New(o)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v; want %q", err, tt.want)
			}
		})
	}
}

// unless lets in everybody until it does not.
type unless struct{ denied *atomic.Bool }

func (u unless) Allowed(string) (bool, error) { return !u.denied.Load(), nil }

// One service behind, and its viewers' password asked for in the browser.
func TestDoorPassword(t *testing.T) {
	r := runVNC(t, Options{
		Connect: Side{Address: screen(t, "unix", vnc.ServerOptions{})}, Name: "vm1",
		VNC: Screens{Web: Side{address(t, "tls://127.0.0.1:0"), webHolder(t, shared().ca.dir(t, "localhost", "ec"))}, PasswordFile: secretFile(t, passwordOfView)},
	})
	c := r.browser(t, "")
	for _, path := range []string{"/websocket", "/websocket/vm1"} {
		if got := r.see(t, c, path, nil, vnc.Options{Password: []byte(passwordOfView)}); got != http.StatusSwitchingProtocols {
			t.Errorf("%s: %d", path, got)
		}
	}
	nc, _ := r.socket(t, c, "/websocket", nil)
	if _, err := vnc.Dial(t.Context(), nc, vnc.Options{Password: []byte(passwordWrong)}); err == nil || finding.Of(err).Code != "vnc-refused" {
		t.Errorf("a wrong password: %v", err)
	}
	r.log.await(t, "refused", "code=vnc-denied")
	if got := r.see(t, c, "/websocket/vm2", nil, vnc.Options{}); got != http.StatusNotFound {
		t.Errorf("another machine: %d", got)
	}
}

// A browser is told why its console does not come.
func TestDoorService(t *testing.T) {
	o := doorOptions(t)
	r := runVNC(t, o)
	token := r.token(t, "two", time.Hour, false)
	ws, _, err := websocket.Dial(t.Context(), r.web("/websocket/two?token="+token), &websocket.DialOptions{HTTPClient: r.browser(t, "")})
	must(t, err)
	defer ws.CloseNow()
	_, err = vnc.Dial(t.Context(), websocket.NetConn(t.Context(), ws, websocket.MessageBinary), vnc.Options{})
	must(t, err)
	_, _, err = ws.Read(t.Context())
	if status := websocket.CloseStatus(err); status != websocket.StatusInternalError || !strings.Contains(err.Error(), "the service behind the gateway cannot be reached") || strings.Contains(err.Error(), "nobody") {
		t.Errorf("the websocket ends with %v", err)
	}
	r.log.await(t, "refused", "code=gateway-service", "machine=two")
}
