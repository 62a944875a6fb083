package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/layout"
	"virtls/proto/vnc"
	"virtls/session"
)

// A reloading is a QEMU whose VNC server gets another certificate.
type reloading struct {
	t       *testing.T
	dir     string
	port    int
	options Options
	qmp     *peertest.QMP
}

func startReloading(t *testing.T, g peertest.Generation) *reloading {
	t.Helper()
	r := &reloading{t: t, dir: withDH(t, server.write(t)), port: peertest.FreePort(t)}
	monitor, path := peertest.QMPSocket(t)
	p := g.Start(t, peertest.Options{}, peertest.ListeningUnix(path), "qemu-system-x86_64", append(monitor,
		"-nodefaults", "-machine", "none", "-accel", "tcg", "-display", "none", "-name", "guest=vm 1",
		"-object", fmt.Sprintf(`{"qom-type":"tls-creds-x509","id":"vnc-tls-creds0","dir":%q,"endpoint":"server","verify-peer":true}`, r.dir),
		// gvncviewer wants the screen for itself.
		"-vnc", fmt.Sprintf("127.0.0.1:%d,tls-creds=vnc-tls-creds0,share=ignore", r.port-vncPort))...).Ready()
	p.Until(peertest.Listening(r.port))
	r.qmp = peertest.DialQMP(t, path)
	r.options = Options{Timeout: 20 * time.Second, Credentials: client(t, peer.write(t), ""), Local: &Local{View: layout.Root("/"), Proc: "/proc"}}
	return r
}

// probe wants codes and returns the serial of what is served.
func (r *reloading) probe(codes string) (serial string) {
	r.t.Helper()
	result := Run(r.t.Context(), target(r.t, "vnc://localhost:%d", r.port), r.options)
	if got := codesOf(result); got != codes || len(result.Chain) != 1 {
		r.t.Fatalf("found %q, want %q: %+v", got, codes, result)
	}
	for _, f := range result.Findings {
		if !strings.Contains(f.Fix, `display-reload 'vm 1'`) || !strings.Contains(f.Want, r.dir) {
			r.t.Errorf("%+v", f)
		}
	}
	return result.Chain[0].Serial
}

// renew puts another pair into the directory, key first.
func (r *reloading) renew() {
	r.t.Helper()
	cert, key := leaf{name: "renewed"}.issue("server")
	for name, data := range map[string][]byte{"server-key.pem": key, "server-cert.pem": cert} {
		must(r.t, os.WriteFile(filepath.Join(r.dir, name+".new"), data, 0o600))
		must(r.t, os.Rename(filepath.Join(r.dir, name+".new"), filepath.Join(r.dir, name)))
	}
}

func (r *reloading) reload() (failed string) {
	r.t.Helper()
	_, failed = r.qmp.Try("display-reload", map[string]any{"type": "vnc", "tls-certs": true})
	return failed
}

// clients are the ports of those that have shown their certificate.
func (r *reloading) clients() (ports []string) {
	r.t.Helper()
	var answer struct {
		Clients []struct {
			Service string
			Name    string `json:"x509_dname"`
		}
	}
	must(r.t, json.Unmarshal(r.qmp.Do("query-vnc", nil), &answer))
	for _, c := range answer.Clients {
		if c.Name == "O=Test,CN=client" {
			ports = append(ports, c.Service)
		}
	}
	return ports
}

// A certificate that is renewed while viewers are connected: the probe says that
// the server has the old one until display-reload; the viewers stay, and whoever
// comes next sees the new one. What is wrong with the files keeps the old one.
func TestVNCReload(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		r := startReloading(t, g)
		nc, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(r.port))
		must(t, err)
		defer nc.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := vnc.Dial(ctx, nc, vnc.Options{X509: func() session.Options {
			return session.Options{Credentials: r.options.Credentials, Hostname: "localhost"}
		}})
		must(t, err)
		viewer, err := vnc.NewScreen(ctx, c, true)
		must(t, err)
		stays := []string{strconv.Itoa(nc.LocalAddr().(*net.TCPAddr).Port)}
		if g == peertest.Host || full() {
			stays = append(stays, r.gvncviewer())
		}

		old := r.probe("")
		r.renew()
		if serial := r.probe("probe-stale"); serial != old {
			t.Errorf("without a reload the server shows %s in the place of %s", serial, old)
		}
		must(t, os.Rename(filepath.Join(r.dir, "server-key.pem"), filepath.Join(r.dir, "away")))
		if failed := r.reload(); failed == "" {
			t.Error("QEMU loads a certificate without its key")
		}
		r.probe("probe-stale")
		must(t, os.Rename(filepath.Join(r.dir, "away"), filepath.Join(r.dir, "server-key.pem")))
		if failed := r.reload(); failed != "" {
			t.Fatal(failed)
		}
		if serial := r.probe(""); serial == old {
			t.Error("the server still shows the old certificate")
		}

		if _, err := viewer.Picture(ctx); err != nil {
			t.Errorf("the viewer was there before: %v", err)
		}
		if c.TLS.PeerChain[0].SerialHex() != old {
			t.Error("the viewer has another certificate than the probe before")
		}
		now := strings.Join(r.clients(), " ")
		for _, port := range stays {
			if !strings.Contains(now, port) {
				t.Errorf("the viewer at port %s has gone; there are %s", port, now)
			}
		}
	})
}

// gvncviewer starts gtk-vnc's viewer and returns its port when it is connected.
func (r *reloading) gvncviewer() (port string) {
	r.t.Helper()
	pki, files := r.t.TempDir(), peer.write(r.t)
	for to, from := range map[string]string{"CA/cacert.pem": "ca-cert.pem", "gvncviewer/clientcert.pem": "client-cert.pem", "gvncviewer/private/clientkey.pem": "client-key.pem"} {
		data, err := os.ReadFile(filepath.Join(files, from))
		must(r.t, err)
		must(r.t, os.MkdirAll(filepath.Dir(filepath.Join(pki, to)), 0o755))
		must(r.t, os.WriteFile(filepath.Join(pki, to), data, 0o600))
	}
	before := strings.Join(r.clients(), " ")
	peertest.Host.Start(r.t, peertest.Options{Mounts: map[string]string{"/etc/pki": pki}, Env: []string{"DISPLAY=" + peertest.StartX(r.t)}},
		peertest.Logged("Connected"), "gvncviewer", fmt.Sprintf("localhost:%d", r.port-vncPort))
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, port := range r.clients() {
			if !strings.Contains(before, port) {
				return port
			}
		}
	}
	r.t.Fatal("gvncviewer does not connect")
	return ""
}
