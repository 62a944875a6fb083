package gateway

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"virtls/proto/vnc"
)

func TestProxiesClient(t *testing.T) {
	proxies, err := ParseProxies([]string{"127.0.0.1", "192.0.2.0/24,2001:db8::/32", "unix"})
	must(t, err)
	local, unix, stranger := netip.MustParseAddr("127.0.0.1"), netip.Addr{}, netip.MustParseAddr("198.51.100.1")
	for _, tt := range []struct {
		name    string
		from    netip.Addr
		headers []string
		want    string // empty: nobody
	}{
		{"a proxy", local, []string{"203.0.113.5"}, "203.0.113.5"},
		{"a proxy at a UNIX socket", unix, []string{"203.0.113.5"}, "203.0.113.5"},
		{"a stranger", stranger, []string{"203.0.113.5"}, ""},
		{"nothing said", local, nil, ""},
		{"what a client invents", local, []string{"10.0.0.1, 203.0.113.5"}, "203.0.113.5"},
		{"what a client invents in a header of its own", local, []string{"10.0.0.1", "203.0.113.5"}, "203.0.113.5"},
		{"a proxy behind a proxy", local, []string{"10.0.0.1, 203.0.113.5, 192.0.2.7"}, "203.0.113.5"},
		{"a proxy is the client", local, []string{"192.0.2.7"}, "192.0.2.7"},
		{"no address behind a proxy", local, []string{"unknown, 192.0.2.7"}, "192.0.2.7"},
		{"no address", local, []string{"unknown"}, ""},
		{"empty", local, []string{""}, ""},
		{"IPv6", local, []string{"2001:db9::1"}, "2001:db9::1"},
		{"IPv4 in IPv6", local, []string{"203.0.113.5,::ffff:192.0.2.7"}, "203.0.113.5"},
		{"a zone", local, []string{"fe80::1%eth0"}, "fe80::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if a := proxies.client(tt.from, http.Header{"X-Forwarded-For": tt.headers}); a != nil {
				got = a.String()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"", "localhost", "192.0.2.1/24", "fe80::1%eth0"} {
		if _, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// proxied starts a gateway without TLS behind a proxy, and returns the proxy's
// address. A client tells the proxy by X-Real-Client who it is, and by
// X-Forwarded-Proto whether it has TLS.
func proxied(t *testing.T, believed bool, more ...func(*Gateway)) (*running, string) {
	t.Helper()
	o := doorOptions(t)
	o.VNC.Web = Side{Address: address(t, "tcp://127.0.0.1:0")}
	o.Protocol, o.VNC.Accounts = VNC, accountsOf(t, map[string]string{"alice": passwordOfAlice})
	if believed {
		o.VNC.Proxies = Proxies{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	}
	r := run(t, o, more...)
	at := &url.URL{Scheme: "http", Host: r.door.listener.Addr().String()}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(at)
			p.In.RemoteAddr = net.JoinHostPort(p.In.Header.Get("X-Real-Client"), "1")
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
			p.SetXForwarded()
			p.Out.Host = p.In.Host
			p.Out.Header["X-Forwarded-Proto"] = p.In.Header["X-Forwarded-Proto"]
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return r, server.URL
}

// waits tells whether a client has failed and has to wait.
func (r *running) waits(client string) bool {
	soon, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return r.throttle.Wait(soon, client) != nil
}

// Behind a proxy failed logins count for whom the proxy names, whatever the client
// claims, and for all together if the proxy is not believed.
func TestDoorBehindProxy(t *testing.T) {
	for _, tt := range []struct {
		name     string
		believed bool
		counts   string // whose the failure is
	}{{"believed", true, "203.0.113.5"}, {"not believed", false, "127.0.0.1"}} {
		t.Run(tt.name, func(t *testing.T) {
			r, at := proxied(t, tt.believed, slowed(time.Minute, time.Minute))
			get := func(ctx context.Context, client, password string) int {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"/", nil)
				must(t, err)
				req.SetBasicAuth("alice", password)
				req.Header.Set("X-Real-Client", client)
				req.Header.Set("X-Forwarded-For", "10.0.0.1")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return 0
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			guess, enough := context.WithCancel(t.Context())
			guessed := make(chan int, 1)
			go func() { guessed <- get(guess, "203.0.113.5", passwordWrong) }()
			for end := time.Now().Add(time.Minute); !r.waits(tt.counts); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("the guess does not count for %s: %v", tt.counts, r.log)
				}
			}
			for _, client := range []string{"203.0.113.5", "203.0.113.6", "10.0.0.1", "127.0.0.1"} {
				if r.waits(client) != (client == tt.counts) {
					t.Errorf("%s has to wait: %v", client, r.waits(client))
				}
			}
			if tt.believed {
				if got := get(t.Context(), "203.0.113.6", passwordOfAlice); got != http.StatusOK {
					t.Errorf("another client: %d", got)
				}
			}
			enough()
			<-guessed
			if line := r.log.await(t, "refused", "password is wrong"); strings.Contains(line, "client=203.0.113.5") != tt.believed {
				t.Errorf("the log says %s", line)
			}
		})
	}
}

// A console goes through a proxy, of whose site the page is then.
func TestConsoleBehindProxy(t *testing.T) {
	alice := basic("alice", passwordOfAlice).Get("Authorization")
	for _, tt := range []struct {
		name     string
		believed bool
		header   http.Header
		want     int
	}{
		{"password", true, http.Header{"Authorization": {alice}, "X-Forwarded-Proto": {"https"}, "Origin": {"https://gw.example.com"}}, http.StatusSwitchingProtocols},
		{"ticket", true, http.Header{"Cookie": {"ticket"}, "X-Forwarded-Proto": {"https"}, "Origin": {"https://gw.example.com"}}, http.StatusSwitchingProtocols},
		{"another site", true, http.Header{"Authorization": {alice}, "X-Forwarded-Proto": {"https"}, "Origin": {"https://example.com"}}, http.StatusForbidden},
		{"without TLS", true, http.Header{"Authorization": {alice}, "X-Forwarded-Proto": {"http"}, "Origin": {"https://gw.example.com"}}, http.StatusForbidden},
		{"not believed", false, http.Header{"Authorization": {alice}, "X-Forwarded-Proto": {"https"}, "Origin": {"https://gw.example.com"}}, http.StatusForbidden},
		{"a site that was named", false, http.Header{"Authorization": {alice}, "Origin": {"https://portal.example.com"}}, http.StatusSwitchingProtocols},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, at := proxied(t, tt.believed)
			tt.header.Set("X-Real-Client", "203.0.113.5")
			if tt.header.Get("Cookie") != "" {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/", nil)
				must(t, err)
				req.Host, req.Header = "gw.example.com", http.Header{"Authorization": {alice}, "X-Forwarded-Proto": {"https"}, "X-Real-Client": {"203.0.113.5"}}
				resp, err := http.DefaultClient.Do(req)
				must(t, err)
				resp.Body.Close()
				ticket, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
				tt.header.Set("Cookie", ticket)
			}
			ws, resp, err := websocket.Dial(t.Context(), at+"/websocket/one", &websocket.DialOptions{Host: "gw.example.com", Subprotocols: []string{"binary"}, HTTPHeader: tt.header})
			if resp == nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.want {
				t.Fatalf("status %d, want %d", resp.StatusCode, tt.want)
			}
			if err != nil {
				return
			}
			defer ws.CloseNow()
			ws.SetReadLimit(-1)
			v, err := vnc.Dial(t.Context(), websocket.NetConn(t.Context(), ws, websocket.MessageBinary), vnc.Options{})
			must(t, err)
			exchange(t, v, "hello")
			line := r.log.await(t, "accepted", "user=alice", "machine=one")
			for _, s := range r.Status().Connections {
				if strings.Contains(line, "client=203.0.113.5") != tt.believed || (s.Client == "203.0.113.5") != tt.believed {
					t.Errorf("the log says %s, the status %+v", line, s)
				}
			}
		})
	}
}
