package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/session"
)

// tlsServer is a server of our own that takes everybody.
func tlsServer(t *testing.T, path string) (port int, served chan session.State) {
	t.Helper()
	x, _, err := creds.LoadX509(creds.X509Options{Dir: path, Endpoint: creds.Server, NoVerifyPeer: true, NoSanityCheck: true})
	must(t, err)
	served = make(chan session.State, 100)
	return peertest.ServePort(t, func(nc net.Conn) {
		if c, err := session.Open(context.Background(), nc, session.Options{Credentials: x}); err == nil {
			served <- c.State()
			io.Copy(io.Discard, c)
		}
	}), served
}

func target(t *testing.T, format string, args ...any) Target {
	t.Helper()
	tg, err := ParseTarget(fmt.Sprintf(format, args...))
	must(t, err)
	return tg
}

func codesOf(r *Result) string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, f.Code)
	}
	return strings.Join(list, " ")
}

// A service that is not libvirt's never gets a session unless it is asked for.
func TestNotComplete(t *testing.T) {
	port, served := tlsServer(t, server.write(t))
	r := Run(t.Context(), target(t, "tls://localhost:%d", port), Options{Credentials: client(t, peer.write(t), "")})
	if len(r.Findings) > 0 || r.Complete || len(r.Chain) != 1 || r.Asked == nil {
		t.Errorf("%+v", r)
	}
	select {
	case s := <-served:
		t.Errorf("the server has a session: %+v", s)
	case <-time.After(100 * time.Millisecond):
	}
	r = Run(t.Context(), target(t, "tls://localhost:%d", port), Options{Credentials: client(t, peer.write(t), ""), Complete: true})
	if got := codesOf(r); got != "probe-not-demanded" || !r.Complete || r.Shown != "O=Test,CN=client" {
		t.Errorf("%s, %+v", got, r)
	}
}

// The stages are told as they happen, and the document has all of them.
func TestDocument(t *testing.T) {
	port, _ := tlsServer(t, server.write(t))
	var told []string
	r := Run(t.Context(), target(t, "tls://localhost:%d", port), Options{Credentials: client(t, peer.write(t), ""), Scan: true,
		Progress: func(s Stage) { told = append(told, s.Name) }})
	if got := strings.Join(told, ", "); got != "resolve, connect, upgrade, handshake, chain, name, client certificate, scan" {
		t.Errorf("stages %s", got)
	}
	data, err := json.Marshal(r)
	must(t, err)
	var back map[string]any
	must(t, json.Unmarshal(data, &back))
	for _, key := range []string{"target", "address", "stages", "posture", "chain", "asked", "scan", "findings", "unreachable"} {
		if _, ok := back[key]; !ok {
			t.Errorf("no %s in %s", key, data)
		}
	}
	if r.Scan == nil || !r.Scan.Versions[0].Accepted {
		t.Errorf("scan: %+v", r.Scan)
	}
	var b strings.Builder
	must(t, Prometheus(&b, []*Result{r}))
	for _, want := range []string{"virtls_probe_success{", "virtls_probe_posture{", `posture="server verified"} 1`, `stage="handshake",status="ok"`, "virtls_probe_days_left{", "virtls_probe_reload_needed{"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}

// The name is judged even where there is nothing to judge the chain by.
func TestNameAlone(t *testing.T) {
	port, _ := tlsServer(t, dir{server: &leaf{names: []string{"kvm1.example.com"}}}.write(t))
	r := Run(t.Context(), target(t, "tls://localhost:%d", port), Options{})
	if got := codesOf(r); got != "probe-not-judged probe-name" || r.Posture != Encrypted {
		t.Errorf("%s, %s", got, r.Posture)
	}
	r = Run(t.Context(), target(t, "tls://localhost:%d", port), Options{Hostname: "kvm1.example.com", Credentials: client(t, peer.write(t), "")})
	if got := codesOf(r); got != "" || r.Posture != ServerVerified {
		t.Errorf("%s, %s", got, r.Posture)
	}
}

func TestUnreachable(t *testing.T) {
	for _, tt := range []struct {
		target, code string
		allowed      func(netip.Addr) bool
	}{
		{"tls://nowhere.invalid:4555", "probe-unresolved", nil},
		{"tls://localhost:4555", "probe-not-allowed", func(netip.Addr) bool { return false }},
		{"tls://[fe80::1%25nowhere]:4555", "probe-unreachable", nil},
	} {
		r := Run(t.Context(), target(t, "%s", tt.target), Options{Allowed: tt.allowed, Timeout: time.Second})
		if got := codesOf(r); got != tt.code || !r.Unreachable {
			t.Errorf("%s: %s, %v", tt.target, got, r.Unreachable)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, text := range []string{"tls://h:1", "tls://[::1]:65535/", "qemu://h/system", "qemu+tls://h:1/system", "qemu+tcp://h/system", "nbd://h", "nbds://h:1/x?tls-hostname=y"} {
		if tg, err := ParseTarget(text); err != nil || tg.Port == 0 || tg.Host == "" || tg.String() != text {
			t.Errorf("%s: %+v, %v", text, tg, err)
		}
	}
	for _, text := range []string{"", "h:1", "tls://h", "tls://:1", "tls://h:0", "tls://h:99999", "tls://h:1/x", "tls://h:1?x", "tls://u@h:1", "tls://h:1#x", "qemu:///system", "qemu+ssh://h/system", "http://h:x/", "http://h/", "vnc://h/x", "vnc://h?VncPassword=x", "vnc://u:s3cret@h", "vnc://h:99999", "vnc://h#x", "vnc+unix://h/x", "vnc+unix://", "vnc+unix:///x?y", "wss:///x", "wss://u:s3cret@h/", "ws://h:0"} {
		if tg, err := ParseTarget(text); err == nil || finding.Of(err).Code != "probe-target" || finding.ExitCode(err) != finding.ExitUsage || strings.Contains(fmt.Sprintf("%+v", err), "s3cret") {
			t.Errorf("%q: %+v, %v", text, tg, err)
		}
	}
}

func TestParseVNC(t *testing.T) {
	for text, want := range map[string]Target{
		"vnc://h":                      {Host: "h", Port: 5900},
		"vnc://h:0":                    {Host: "h", Port: 5900},
		"vnc://h:1/":                   {Host: "h", Port: 5901}, // as virsh domdisplay has it
		"vnc://[::1]:5999":             {Host: "::1", Port: 5999},
		"vnc+unix:///run/vnc.sock":     {VNC: &VNCTarget{Path: "/run/vnc.sock"}},
		"ws://h:5700":                  {Host: "h", Port: 5700},
		"ws://h":                       {Host: "h", Port: 80},
		"wss://h/websocket/a?token=ab": {Host: "h", Port: 443},
	} {
		got, err := ParseTarget(text)
		must(t, err)
		if got.Host != want.Host || got.Port != want.Port || want.VNC != nil && *got.VNC != *want.VNC {
			t.Errorf("%s: %+v", text, got)
		}
		if strings.HasPrefix(text, "ws") != (got.VNC.Websocket != nil) || strings.HasPrefix(text, "wss:") != got.VNC.TLS {
			t.Errorf("%s: %+v", text, got.VNC)
		}
		if s := got.String(); s != strings.Replace(text, "token=ab", "...", 1) || fmt.Sprint(got.VNC.Websocket) != "<nil>" && strings.HasPrefix(text, "wss") && got.VNC.Websocket.Query().Get("token") != "ab" {
			t.Errorf("%s is shown as %s, and goes to %v", text, s, got.VNC.Websocket)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"tls://h:1", "tls://[::1]:65535/", "qemu+tls://h:1/system?pkipath=/x", "tls://%zz:1", "vnc://h:1", "vnc+unix:///s", "wss://h/x?token=y", "nbd://h", "nbd+unix:///?socket=s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tg, err := ParseTarget(text)
		if err == nil && !tg.local() && (tg.Host == "" || tg.Port < 1 || tg.Port > 65535 || tg.Scheme() == "") {
			t.Errorf("%q: %+v", text, tg)
		}
	})
}

// TLS sockets of this machine that are not active are reported, where systemd
// says so and where there is none.
func TestLocalSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:16514")
	if err != nil {
		peertest.Missing(t, "something listens on libvirt's port: "+err.Error(), "stop it")
	}
	l.Close()
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "usr/lib/systemd/system"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "usr/lib/systemd/system/libvirtd-tls.socket"), nil, 0o644))
	systemctl := func(state string) func(context.Context, ...string) (string, error) {
		return func(_ context.Context, args ...string) (string, error) {
			if args[len(args)-1] == "virtproxyd-tls.socket" {
				return "LoadState=not-found\nActiveState=inactive\n", nil
			}
			return "LoadState=loaded\nActiveState=" + state + "\n", nil
		}
	}
	failing := func(context.Context, ...string) (string, error) { return "", errors.New("no bus") }
	for _, tt := range []struct {
		name  string
		local *Local
		want  string
	}{
		{"inactive", &Local{View: layout.Root(root), Systemctl: systemctl("inactive")}, "inactive"},
		{"active", &Local{View: layout.Root(root), Systemctl: systemctl("active")}, ""},
		{"no systemd", &Local{View: layout.Root(root)}, "installed; whether it is active is not known without systemd"},
		{"no unit", &Local{View: layout.Root(t.TempDir())}, ""},
		{"no answer", &Local{View: layout.Root(root), Systemctl: failing}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Run(t.Context(), target(t, "qemu+tls://127.0.0.1/system?pkipath=%s", peer.write(t)), Options{Local: tt.local})
			got := ""
			for _, f := range r.Findings {
				if f.Code == "tls-socket-inactive" {
					got = f.Got
					if f.Subject != "libvirtd-tls.socket" || f.Severity != finding.Error {
						t.Errorf("%+v", f)
					}
				}
			}
			if got != tt.want || !contains(r.Findings, "probe-refused") {
				t.Errorf("%q, want %q; %s", got, tt.want, codesOf(r))
			}
		})
	}
	if l := ThisMachine(); !l.has(netip.MustParseAddr("127.0.0.1")) || l.has(netip.MustParseAddr("192.0.2.1")) {
		t.Errorf("%+v", l)
	}
}

// On this machine the served certificate is compared with libvirt's file.
func TestLocalFiles(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "etc/pki/libvirt"), 0o755))
	path := server.write(t)
	served, err := os.ReadFile(filepath.Join(path, "servercert.pem"))
	must(t, err)
	renewed, _ := leaf{}.issue("server")
	p := &prober{o: Options{Now: time.Now, Local: &Local{View: layout.Root(root)}}, t: target(t, "qemu+tls://127.0.0.1/system"), r: &Result{}, addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	p.state.PeerChain = parsed(t, served)
	for _, tt := range []struct {
		name string
		file []byte
		want string
	}{{"none", nil, ""}, {"the same", served, ""}, {"renewed", renewed, "probe-stale"}} {
		if tt.file != nil {
			must(t, os.WriteFile(filepath.Join(root, "etc/pki/libvirt/servercert.pem"), tt.file, 0o644))
		}
		p.r.Findings = nil
		p.compareExpected()
		if got := codesOf(p.r); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The exporter probes what it may, and little at once.
func TestExporter(t *testing.T) {
	port, _ := tlsServer(t, server.write(t))
	e := &Exporter{Options: Options{Credentials: client(t, peer.write(t), "")}, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	s := httptest.NewServer(e)
	defer s.Close()
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get(s.URL + path)
		must(t, err)
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(body)
	}
	for _, tt := range []struct {
		target, want string
		status       int
	}{
		{fmt.Sprintf("tls://localhost:%d", port), `virtls_probe_success{target="tls://localhost:` + fmt.Sprint(port) + `"} 1`, 200},
		{"tls://192.0.2.1:22", `code="probe-not-allowed"`, 200},
		{"tls://localhost:1", `code="probe-refused"`, 200},
		{"http://localhost/", "nothing is known of http", 400},
		{"", "names one target", 400},
		{"tls://" + strings.Repeat("x", 3000) + ":1", "names one target", 400},
		{"qemu+tls://localhost/system?pkipath=/root", "may not choose files", 403},
		{"qemu+tls://localhost/system?no_verify=1", "may not choose files", 403},
		{"nbds://localhost:1", `code="probe-refused"`, 200},
		{"nbds://localhost/?tls-psk-file=/etc/shadow", "may not choose files", 403},
		{"nbds://localhost/?tls-verify-peer=0", "may not choose files", 403},
		{"nbd+unix:///?socket=/run/s", "may not be sockets of this machine", 403},
		{"vnc+unix:///run/s", "may not be sockets of this machine", 403},
		{"vnc://localhost:1000", `code="probe-refused"`, 200},
		{"wss://localhost:1/websocket/a", `code="probe-refused"`, 200},
		{"wss://localhost:1/websocket/../admin", "path is / or", 403},
		{"ws://localhost:1/?token=x", "path is / or", 403},
	} {
		status, body := get("/probe?target=" + url.QueryEscape(tt.target))
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%q: %d %s, want %d, %s", tt.target, status, body, tt.status, tt.want)
		}
	}
	if status, body := get("/probe?target=" + url.QueryEscape("qemu+tls://localhost/system?name=esx://192.0.2.1/")); status != 403 || !strings.Contains(body, "another URI") {
		t.Errorf("a URI that the server is to open: %d %s", status, body)
	}
	e.Schemes = []string{"qemu+tls"}
	if status, _ := get("/probe?target=tls://localhost:1"); status != 403 {
		t.Errorf("a scheme that is not allowed: %d", status)
	}
	e.running.Store(defaultLimit)
	if status, _ := get("/probe?target=qemu%2Btls://localhost:1/system"); status != 503 {
		t.Errorf("too many at once: %d", status)
	}
	e.running.Store(0)
	if status, body := get("/metrics"); status != 200 || !strings.Contains(body, "virtls_exporter_probes_total 6\n") || !strings.Contains(body, "virtls_exporter_refused_total 14\n") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get("/"); status != 404 {
		t.Errorf("another page: %d", status)
	}
	r, err := http.Post(s.URL+"/probe", "text/plain", nil)
	must(t, err)
	r.Body.Close()
	if r.StatusCode != 405 {
		t.Errorf("POST: %d", r.StatusCode)
	}
}

// Renewed credentials count for the next probe, and one of a service that hangs
// is answered while Prometheus still waits.
func TestExporterRefreshes(t *testing.T) {
	port, _ := tlsServer(t, server.write(t))
	fresh := client(t, peer.write(t), "")
	e := &Exporter{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Refresh: func(o *Options) { o.Credentials = fresh }}
	probe := func(port int) string {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/probe?target=tls://localhost:%d", port), nil)
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "1.5")
		e.ServeHTTP(w, r)
		return w.Body.String()
	}
	if body := probe(port); !strings.Contains(body, fmt.Sprintf("virtls_probe_success{target=\"tls://localhost:%d\"} 1", port)) {
		t.Errorf("the renewed credentials are not used: %s", body)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	began := time.Now()
	body := probe(silent.Addr().(*net.TCPAddr).Port)
	if took := time.Since(began); took > 20*time.Second || !strings.Contains(body, `code="probe-`) || strings.Contains(body, "virtls_probe_success 1") {
		t.Errorf("after %v: %s", took, body)
	}
	for header, want := range map[string]time.Duration{"": 30 * time.Second, "10": 9500 * time.Millisecond, "0.4": 200 * time.Millisecond, "1e300": 30 * time.Second, "-1": 30 * time.Second, "NaN": 30 * time.Second, "x": 30 * time.Second} {
		if got := e.within(http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {header}}); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// A name in a certificate does not look like a line of the report.
func TestPrintForgedLines(t *testing.T) {
	forged := "CN=a\n  posture: mutual with list\r\n   1. all is well"
	r := &Result{Posture: Encrypted, Chain: []Certificate{{Subject: forged}}, Asked: &Asked{Authorities: []string{forged}}, Candidates: []Candidate{{Cause: forged, Log: forged, Fix: forged}}, Decides: forged}
	var b strings.Builder
	must(t, r.Print(&b))
	if text := b.String(); strings.Count(text, "\n") != 8 || strings.Contains(text, "\r") || strings.Contains(text, "\n  posture: mutual") {
		t.Errorf("the report is\n%s", text)
	}
}

func TestExporterEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Exporter{}).Serve(ctx, l) }()
	cancel()
	must(t, <-done)
}
