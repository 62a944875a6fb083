package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/vnc"
)

// The log says what to do about the mistakes that people make first with browsers
// and viewers.
func TestAdvice(t *testing.T) {
	t.Run("http", func(t *testing.T) {
		r := runVNC(t, doorOptions(t))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.door.listener.Addr().String()+"/", nil)
		must(t, err)
		req.Header.Set("X-Long", strings.Repeat("x", 8000)) // as of a browser with many cookies
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "https://") {
			t.Errorf("%s: %q", resp.Status, text)
		}
		r.log.await(t, "refused", "first record does not look like a TLS handshake", "write https:// in the place of http://")
	})
	for name, command := range map[string]func(host, port string) []string{
		"openssl": func(host, port string) []string {
			return []string{"s_client", "-connect", net.JoinHostPort(host, port), "-verify_return_error", "-no-CAfile", "-no-CApath", "-no-CAstore"}
		},
		"gnutls-cli": func(host, port string) []string { return []string{"--port", port, host} },
	} {
		t.Run("distrust of "+name, func(t *testing.T) {
			peertest.NeedProgram(t, name, map[string]string{"openssl": "openssl", "gnutls-cli": "gnutls-bin"}[name])
			own := runVNC(t, doorOptions(t))
			host, port, err := net.SplitHostPort(own.door.listener.Addr().String())
			must(t, err)
			if out, err := exec.CommandContext(t.Context(), name, command(host, port)...).CombinedOutput(); err == nil {
				t.Fatalf("it trusts the gateway:\n%s", out)
			}
			own.log.await(t, "refused", "not trust the gateway's certificate")
		})
	}
	t.Run("no token", func(t *testing.T) {
		own := runVNC(t, doorOptions(t))
		if status, text, _ := own.get(t, own.browser(t, ""), "/websocket/one", nil); status != http.StatusForbidden || !strings.Contains(text, "wants a token") {
			t.Errorf("%d, %s", status, text)
		}
	})
	t.Run("no certificate", func(t *testing.T) {
		o := doorOptions(t)
		o.VNC.Web.Credentials = holder(t, shared().ca.dir(t, "localhost", "ec"), creds.Server)
		own := runVNC(t, o)
		if _, err := own.browser(t, "").Get(own.web("/")); err == nil {
			t.Error("a browser without a certificate was let in")
		}
		own.log.await(t, "refused", "peer-no-certificate", "put verify-peer=off into the object")
	})
	t.Run("viewer that leaves", func(t *testing.T) {
		o := doorOptions(t)
		o.Listen = Side{Address: address(t, "tcp://127.0.0.1:0")}
		o.VNC.Security = []vnc.Security{vnc.None}
		o.VNC.Machines = nil
		o.Connect.Address = address(t, "tcp://127.0.0.1:1")
		own := runVNC(t, o)
		nc, err := net.Dial("tcp", own.listener.Addr().String())
		must(t, err)
		fmt.Fprint(nc, "RFB 003.008\n")
		nc.Close()
		own.log.await(t, "refused", "vnc-closed", "nothing, if somebody closed the window")
	})
}
