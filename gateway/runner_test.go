package gateway

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
)

// Credentials are loaded anew while a connection lives: by SIGHUP and when files
// change. Bad ones do not replace good ones. systemd and the status page know.
func TestReload(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	log := &journal{}
	h := holder(t, dir, creds.Server)
	g, err := New(Options{
		Listen:  Side{address(t, "tls://127.0.0.1:0"), h},
		Connect: Side{Address: address(t, serve(t, "unix", echo))}, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	must(t, err)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(peertest.SocketDir(t), "notify"), Net: "unixgram"})
	must(t, err)
	defer systemd.Close()
	hup := make(chan os.Signal, 1)
	r := Runner{
		Gateways: []*Gateway{g}, Credentials: []Credential{{"tls0", h}}, Reload: hup, Log: g.o.Log,
		Notify: &Notifier{address: systemd.LocalAddr().String(), watchdog: 20 * time.Millisecond}, Process: Process{Status: "127.0.0.1:0", Landlock: "off"},
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	notified := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			must(t, systemd.SetReadDeadline(time.Now().Add(20*time.Second)))
			n, err := systemd.Read(buf)
			if err != nil {
				t.Fatalf("systemd is not told %s: %v", want, err)
			}
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	notified("READY=1")
	notified("WATCHDOG=1")
	gw := &running{Gateway: g, log: log}
	c, err := gw.open(t, dir)
	must(t, err)
	exchange(t, c, "before")
	first := c.State().PeerChain[0]

	// By the watch.
	renewed := ca.renew(t, dir, "localhost", "ec")
	log.await(t, "credentials loaded", "credentials=tls0", renewed.SerialHex())
	exchange(t, c, "the old connection lives")
	next, err := gw.open(t, dir)
	must(t, err)
	if got := next.State().PeerChain[0]; got.SerialHex() != renewed.SerialHex() || got.SerialHex() == first.SerialHex() {
		t.Errorf("the next connection sees %s, want %s", got, renewed)
	}

	// What is bad stays out.
	must(t, os.WriteFile(filepath.Join(dir, "server-cert.pem"), []byte("nonsense"), 0o644))
	log.await(t, "reload failed; the old credentials stay in use", "code=", "mend=")
	hup <- syscall.SIGHUP
	notified("RELOADING=1")
	notified("READY=1")
	client := ca.dir(t, "localhost", "ec")
	next, err = gw.open(t, client)
	must(t, err)
	if got := next.State().PeerChain[0]; got.SerialHex() != renewed.SerialHex() {
		t.Errorf("after a failed reload the next connection sees %s, want %s", got, renewed)
	}
	exchange(t, c, "the first connection lives")
	if s := r.Status().Credentials[0]; s.Failures == 0 || s.Error == "" {
		t.Errorf("the status does not tell: %+v", s)
	}
	c.Close()
	stop()
	notified("STOPPING=1")
	must(t, next.Close())
	g.cut()
	must(t, <-ran)
}

// The status page is served on loopback only, unless asked otherwise, and counts.
func TestStatus(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	h := holder(t, dir, creds.Server)
	gw := run(t, Options{Name: `a "b"`, Listen: Side{address(t, "tls://127.0.0.1:0"), h}, Connect: Side{Address: address(t, serve(t, "unix", echo))}})
	r := Runner{Gateways: []*Gateway{gw.Gateway}, Credentials: []Credential{{"tls0", h}}, Log: slog.Default()}
	for _, at := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80"} {
		r.Process.Status = at
		if _, err := r.listenStatus(t.Context()); finding.Of(err).Code != "gateway-status-open" {
			t.Errorf("%s: %v", at, err)
		}
	}
	r.Process.Status = "127.0.0.1:0"
	l, err := r.listenStatus(t.Context())
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go r.serveStatus(ctx, l)
	c, err := gw.open(t, dir)
	must(t, err)
	exchange(t, c, "hello")
	gw.dial(t).Close()
	gw.log.await(t, "verdict=refused")
	get := func(path string) []byte {
		t.Helper()
		res, err := http.Get("http://" + l.Addr().String() + path)
		must(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		must(t, err)
		return b
	}
	for host, want := range map[string]int{"evil.example.com": 403, "evil.example.com:9464": 403, "localhost:9464": 200, "127.0.0.1": 200, "[::1]:9464": 200, "[::1]": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/status", nil)
		must(t, err)
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("asked as %s the page answers %d, want %d", host, res.StatusCode, want)
		}
	}
	metrics := string(get("/metrics"))
	for _, want := range []string{
		`virtls_gateway_connections{gateway="a \"b\""} 1`, `virtls_gateway_bytes_total{gateway="a \"b\"",direction="up"} 5`,
		`virtls_gateway_refused_total{gateway="a \"b\"",code="handshake-failed"} 1`, `virtls_credentials_not_after_seconds{id="tls0"} `, "# TYPE virtls_gateway_accepted_total counter",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s:\n%s", want, metrics)
		}
	}
	var s Status
	must(t, json.Unmarshal(get("/status"), &s))
	if conns := s.Gateways[0].Connections; len(conns) != 1 || conns[0].DN != "O=Example,CN=localhost" || conns[0].Down != 5 {
		t.Errorf("the status lists %+v", conns)
	}
}

// Settings that cannot work are refused before anybody connects.
func TestOptionsRefused(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	server, client := holder(t, dir, creds.Server), holder(t, dir, creds.Client)
	tcp, sock := address(t, "tcp://127.0.0.1:0"), address(t, "unix:///run/service")
	for name, o := range map[string]Options{
		"tls without credentials":         {Listen: Side{Address: address(t, "tls://:1")}, Connect: Side{Address: sock}},
		"connect tls without credentials": {Listen: Side{Address: tcp}, Connect: Side{Address: address(t, "tls://h:1")}},
		"names without TLS":               {Listen: Side{Address: tcp}, Connect: Side{Address: sock}, Access: Access{{DN: "*"}}},
		"no name for the service":         {Listen: Side{Address: tcp}, Connect: Side{sock, client}},
		"client credentials to listen":    {Listen: Side{tcp, client}, Connect: Side{Address: sock}},
		"libvirt without TLS":             {Protocol: Libvirt, Listen: Side{Address: tcp}, Connect: Side{Address: sock}},
		"no connections":                  {Listen: Side{tcp, server}, Connect: Side{Address: sock}, MaxConnections: -1},
		"no time for a handshake":         {Listen: Side{tcp, server}, Connect: Side{Address: sock}, HandshakeLimit: -time.Second},
		"nowhere to connect":              {Listen: Side{tcp, server}, Connect: Side{Address: address(t, "tcp://:1")}},
	} {
		if _, err := New(o); finding.ExitCode(err) != finding.ExitUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A list for some addresses only is judged before one of them comes.
	credulous, err := creds.NewHolder(t.Context(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
		c, w, err := creds.LoadX509(creds.X509Options{Dir: dir, Endpoint: creds.Server, NoVerifyPeer: true})
		return c, w, err
	})
	must(t, err)
	_, err = New(Options{Listen: Side{tcp, credulous}, Connect: Side{Address: sock}, Access: Access{{DN: "CN=a", From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}})
	if finding.Of(err).Code != "session-credentials" {
		t.Errorf("a list of names, and nobody's is believed: %v", err)
	}
	g, err := New(Options{Listen: Side{Address: tcp}, Connect: Side{Address: sock}})
	must(t, err)
	if f := g.Findings(); len(f) != 1 || f[0].Code != "gateway-plain" {
		t.Errorf("two plain sides: %v", f)
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"tls://host:1": "", "tcp://[::1]:2": "", "unix:///run/s?mode=0660": "", "fd://name": "", "fd://": "", "tls://host": "no port", "tcp://host:70000": "no port",
		"unix://run/s": "begins with a slash", "tlss://h:1": "did you mean tls://?", "tcp://h:1/x": "right of the port", "unix:///s?mod=1": `"mod" is not known`,
		"unix:///s?mode=9": "not octal", "unix:///s%00x": "NUL", "tcp://u@h:1": "user names", "unix:///" + strings.Repeat("x", 108): "at most 107", "tls://%": "invalid",
		"%": "no scheme", "host:1": "no scheme", "/run/s": "no scheme",
	} {
		_, err := ParseAddress(text, "")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || finding.Of(err).Code != "gateway-address") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
