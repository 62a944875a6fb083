package vnc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/sasl"
)

const user = "fred"

// cyrus makes a configuration of Cyrus SASL for QEMU with one account, and
// returns the environment that it is found by.
func cyrus(t testing.TB, g peertest.Generation, mechanisms string) peertest.Options {
	t.Helper()
	dir := t.TempDir()
	db := filepath.Join(dir, "passwd.db")
	conf := fmt.Sprintf("mech_list: %s\nsasldb_path: %s\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n", mechanisms, db)
	must(t, os.WriteFile(filepath.Join(dir, "qemu.conf"), []byte(conf), 0o600))
	made := g.Run(t, peertest.Options{Stdin: strings.NewReader(password)}, "saslpasswd2", "-a", "qemu", "-f", db, "-u", "peer", "-p", "-c", user)
	if made.Code != 0 {
		t.Fatal(made)
	}
	return peertest.Options{Env: []string{"SASL_CONF_PATH=" + dir}}
}

func login(name, pw string) *sasl.Login { return &sasl.Login{User: name, Password: []byte(pw)} }

// Each mechanism with Cyrus SASL at the other end, below VeNCrypt with
// certificates, with what it refuses.
func TestPeerSASL(t *testing.T) {
	x := x509Options(t, creds.Client, "localhost")
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		q := startQEMU(t, g, cyrus(t, g, "scram-sha-512 scram-sha-256 scram-sha-1 plain anonymous digest-md5"), ",tls-creds=tls0,sasl=on", object(t, "x509", ""))
		for _, tt := range []struct {
			name       string
			login      *sasl.Login
			mechanisms []string
			code       string
		}{
			{"the strongest", login(user, password), nil, ""},
			{"SCRAM-SHA-512", login(user, password), []string{sasl.ScramSHA512}, ""},
			{"SCRAM-SHA-256", login(user, password), []string{sasl.ScramSHA256}, ""},
			{"SCRAM-SHA-1", login(user, password), []string{sasl.ScramSHA1}, ""},
			{"PLAIN", login(user, password), []string{sasl.Plain}, ""},
			{"ANONYMOUS on request", login("", ""), []string{sasl.Anonymous}, ""},
			{"SCRAM wrong password", login(user, wrongPassword), nil, "vnc-closed"},
			{"SCRAM unknown user", login("nobody", password), nil, "vnc-closed"},
			{"PLAIN wrong password", login(user, wrongPassword), []string{sasl.Plain}, "vnc-closed"},
			{"PLAIN empty password", login(user, ""), []string{sasl.Plain}, "vnc-closed"},
			{"DIGEST-MD5", login(user, password), []string{"DIGEST-MD5"}, "sasl-no-mechanism"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c, err := q.dial(t, Options{X509: x, Login: tt.login, Mechanisms: tt.mechanisms})
				wantCode(t, err, tt.code)
				if err != nil {
					return
				}
				if c.Security != X509SASL || c.User != tt.login.User {
					t.Errorf("%v as %q", c.Security, c.User)
				}
				takePicture(t, c)
			})
		}
	})
}

// What QEMU lets in by each of the layers below SASL.
func TestPeerSASLLayers(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		o := cyrus(t, g, "scram-sha-256 digest-md5")
		local := startLocalQEMU(t, g, o)
		for _, tt := range []struct {
			name   string
			server *qemu
			client Options
			got    string // of the finding; empty if the login works
		}{
			{"UNIX socket", local, Options{}, ""},
			{"TCP", startQEMU(t, g, o, ",sasl=on"), Options{}, "DIGEST-MD5"},
			{"anonymous TLS", startQEMU(t, g, o, ",sasl=on,tls-creds=tls0", object(t, "anon", "")), Options{Anon: anonOptions(t, creds.Client)}, "DIGEST-MD5"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				tt.client.Login = login(user, password)
				c, err := tt.server.dial(t, tt.client)
				if tt.got == "" && g.Name == "host" {
					wantCode(t, err, "vnc-closed") // QEMU 7.2 has no SASL on UNIX sockets: "Not an inet socket type"
					return
				}
				if tt.got == "" {
					must(t, err)
					takePicture(t, c)
					return
				}
				wantCode(t, err, "sasl-no-mechanism")
				if got := findingOf(err).Got; !strings.HasPrefix(got, tt.got) || strings.Contains(got, "SCRAM") {
					t.Errorf("got %q; want %s alone", got, tt.got)
				}
			})
		}
	})
}

// startLocalQEMU starts a QEMU that serves an empty screen on a UNIX socket, with SASL.
func startLocalQEMU(t *testing.T, g peertest.Generation, o peertest.Options) *qemu {
	t.Helper()
	path := filepath.Join(peertest.SocketDir(t), "vnc")
	p := g.Start(t, o, peertest.ListeningUnix(path), "qemu-system-x86_64",
		"-nodefaults", "-machine", "none", "-accel", "tcg", "-monitor", "none", "-vnc", "unix:"+path+",sasl=on").Ready()
	return &qemu{p, "unix", path}
}

// An access list of QEMU's on names of SASL users.
func TestPeerSASLAccess(t *testing.T) {
	x := x509Options(t, creds.Client, "localhost")
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		o := cyrus(t, g, "scram-sha-256")
		for identity, code := range map[string]string{user: "", "other": "vnc-refused"} {
			q := startQEMU(t, g, o, ",tls-creds=tls0,sasl=on,sasl-authz=acl", object(t, "x509", ""), "authz-simple,id=acl,identity="+identity)
			_, err := q.dial(t, Options{X509: x, Login: login(user, password)})
			wantCode(t, err, code)
		}
	})
}
