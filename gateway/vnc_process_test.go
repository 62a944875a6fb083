package gateway

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"virtls/gateway/machines"
	"virtls/internal/peertest"
	"virtls/proto/vnc"
	"virtls/sasl"
)

// startProcess starts gateways as a process of their own.
func startProcess(t testing.TB, config string, log *journal, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(append(os.Environ(), "GATEWAY_TEST_CONFIG="+config), env...), log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		if t.Failed() {
			t.Log(log)
		}
	})
	return cmd
}

// A process that is confined by Landlock takes up machines, tokens and accounts
// that come later, wherever the machines are, and forgets those that go.
func TestVNCProcess(t *testing.T) {
	ca := shared().ca
	dir, list := ca.dir(t, "localhost", "ec"), t.TempDir()
	accounts := accountsOf(t, map[string]string{"alice": passwordOfAlice})
	link := filepath.Join(t.TempDir(), "accounts") // which leads elsewhere
	must(t, os.Symlink(accounts.Path(), link))
	filed := secretFile(t, "a-token-in-a-file-of-its-own")
	tokens := filepath.Join(t.TempDir(), "tokens.yaml")
	must(t, os.WriteFile(tokens, fmt.Appendf(nil, "tokens: [{machine: one, file: %s}]\n", filed), 0o600))
	must(t, os.Symlink(tokens, filepath.Join(list, "tokens.yaml")))
	rfb, web := peertest.FreePort(t), peertest.FreePort(t)
	config := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
objects: ["tls-creds-x509,id=tls0,endpoint=server,verify-peer=off,dir=%s"]
gateways:
- name: screens
  protocol: vnc
  listen: tcp://127.0.0.1:%d
  listen-tls-creds: tls0
  websocket: tls://127.0.0.1:%d
  websocket-tls-creds: tls0
  accounts: %s
  machines: %s
`, dir, rfb, web, link, list), 0o600))
	log := &journal{}
	cmd := startProcess(t, config, log)
	log.await(t, "Landlock")
	log.await(t, "machines loaded")

	// The process is another one, but browsers and viewers find it as they do here.
	o := Options{Listen: Side{Address: address(t, fmt.Sprintf("tcp://127.0.0.1:%d", rfb))}}
	r := &running{Gateway: &Gateway{o: o, door: &door{}}, log: log}
	browse := func(path string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s", web, path), nil)
		must(t, err)
		c := r.browser(t, "")
		defer c.CloseIdleConnections()
		resp, err := c.Do(req)
		must(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	// again waits until something was read again: whoever tries too early is slowed
	// as all who fail are.
	again := func(what string, change func()) {
		t.Helper()
		what += " loaded"
		before := strings.Count(log.String(), what)
		change()
		for end := time.Now().Add(20 * time.Second); strings.Count(log.String(), what) <= before; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no %s", what)
			}
		}
	}
	view := func(user string) error {
		nc, err := o.Listen.Address.dial(t.Context())
		must(t, err)
		defer nc.Close()
		c, err := vnc.Dial(t.Context(), nc, vnc.Options{X509: clientOf(t, dir), Login: &sasl.Login{User: user, Password: []byte(passwordOfAlice)}})
		if err == nil {
			_, err = c.Write([]byte{1})
		}
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		return err
	}
	if err := view("alice"); err == nil {
		t.Error("there is no machine, and alice sees one")
	}
	log.await(t, "refused", "code=gateway-vnc-machine", "user=alice")

	file := filepath.Join(list, "one.yaml")
	again("machines", func() {
		must(t, os.WriteFile(file, fmt.Appendf(nil, "machines: [{name: one, connect: '%s', users: [alice]}]\n", screen(t, "unix", vnc.ServerOptions{})), 0o600))
	})
	token, text := machines.NewToken("one", time.Now().Add(time.Hour), false)
	again("machines", func() { must(t, machines.AddToken(list, token, time.Now())) })
	if got := browse("/websocket/one?token=" + text); got != http.StatusUpgradeRequired {
		t.Errorf("the new token: %d", got)
	}
	must(t, view("alice"))
	log.await(t, "accepted", "machine=one", "user=alice")

	again("accounts", func() {
		a := sasl.NewAccounts()
		must(t, a.Set("bob", []byte(passwordOfAlice)))
		must(t, a.Save(accounts.Path()))
	})
	if err := view("alice"); err == nil {
		t.Error("alice's account is gone, and she comes in")
	}
	must(t, os.WriteFile(file, []byte("machines: [{nam: one}]\n"), 0o600))
	log.await(t, "the old machines stay in use", "one.yaml:1")
	if got := browse("/websocket/one?token=" + text); got != http.StatusUpgradeRequired {
		t.Errorf("with a bad file: %d", got)
	}
	again("machines", func() { must(t, os.Remove(file)) })
	again("machines", func() { must(t, os.Remove(filepath.Join(list, "token-"+token.SHA256[:16]+".yaml"))) })
	if got := browse("/websocket/one?token=" + text); got != http.StatusForbidden {
		t.Errorf("the token that was removed: %d", got)
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	must(t, cmd.Wait())
	log.await(t, "msg=stopped")
	for _, secret := range append(testSecrets, text) {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// A token that may be used once stays used when the gateway begins anew, where
// systemd or the configuration gives it a directory.
func TestVNCUsedTokens(t *testing.T) {
	dir, list := shared().ca.dir(t, "localhost", "ec"), t.TempDir()
	must(t, os.WriteFile(filepath.Join(list, "one.yaml"), fmt.Appendf(nil, "machines: [{name: one, connect: '%s'}]\n", screen(t, "unix", vnc.ServerOptions{})), 0o600))
	for _, tt := range []struct {
		name, field, env string // %s is the directory
		again            int    // the status of the second time
	}{
		{"forgotten", "", "", http.StatusSwitchingProtocols},
		{"named", "used-tokens: %s", "", http.StatusForbidden},
		{"systemd", "", "STATE_DIRECTORY=%s:/var/lib/other", http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			used, web := t.TempDir(), peertest.FreePort(t)
			at := func(s string) string { return strings.ReplaceAll(s, "%s", used) }
			config := filepath.Join(t.TempDir(), "gateway.yaml")
			must(t, os.WriteFile(config, fmt.Appendf(nil, `
objects: ["tls-creds-x509,id=tls0,endpoint=server,verify-peer=off,dir=%s"]
gateways:
- name: screens
  protocol: vnc
  websocket: tls://127.0.0.1:%d
  websocket-tls-creds: tls0
  machines: %s
  %s
`, dir, web, list, at(tt.field)), 0o600))
			token, text := machines.NewToken("one", time.Now().Add(time.Hour), true)
			must(t, machines.AddToken(list, token, time.Now()))
			for _, want := range []int{http.StatusSwitchingProtocols, tt.again} {
				log := &journal{}
				cmd := startProcess(t, config, log, at(tt.env))
				log.await(t, "machines loaded")
				r := &running{Gateway: &Gateway{door: &door{}}, log: log}
				ws, resp, err := websocket.Dial(t.Context(), fmt.Sprintf("https://127.0.0.1:%d/websocket/one?token=%s", web, text),
					&websocket.DialOptions{HTTPClient: r.browser(t, ""), Subprotocols: []string{"binary"}})
				if err == nil {
					ws.CloseNow()
				} else if resp == nil {
					t.Fatal(err)
				}
				if resp.StatusCode != want {
					t.Errorf("status %d, want %d", resp.StatusCode, want)
				}
				must(t, cmd.Process.Signal(syscall.SIGTERM))
				must(t, cmd.Wait())
			}
		})
	}
}
