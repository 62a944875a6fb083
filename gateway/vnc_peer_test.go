package gateway

import (
	"fmt"
	stdimage "image"
	_ "image/png" // what gvnccapture writes
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/vnc"
)

// qemuVNC starts a QEMU with an empty screen and options of -vnc, and returns its
// port, or the path of its socket if where is a path.
func qemuVNC(t testing.TB, g peertest.Generation, o peertest.Options, where, options string, objects ...string) string {
	t.Helper()
	args := []string{"-nodefaults", "-machine", "none", "-accel", "tcg", "-monitor", "none"}
	for _, object := range objects {
		args = append(args, "-object", object)
	}
	if where != "" {
		g.Start(t, o, peertest.ListeningUnix(where), "qemu-system-x86_64", append(args, "-vnc", "unix:"+where+options)...).Ready()
		return "unix://" + where
	}
	port := peertest.FreePort(t)
	// QEMU counts displays from port 5900 on; the kernel's free ports are higher.
	g.Start(t, o, peertest.Listening(port), "qemu-system-x86_64", append(args, "-vnc", fmt.Sprintf("127.0.0.1:%d%s", port-5900, options))...).Ready()
	return fmt.Sprintf("tcp://127.0.0.1:%d", port)
}

// cyrusOf makes a configuration of Cyrus SASL for QEMU with one account.
func cyrusOf(t testing.TB, g peertest.Generation, user, password string) peertest.Options {
	t.Helper()
	dir := t.TempDir()
	db := filepath.Join(dir, "passwd.db")
	conf := "mech_list: scram-sha-256\nsasldb_path: " + db + "\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
	must(t, os.WriteFile(filepath.Join(dir, "qemu.conf"), []byte(conf), 0o600))
	if made := g.Run(t, peertest.Options{Stdin: strings.NewReader(password)}, "saslpasswd2", "-a", "qemu", "-f", db, "-u", "peer", "-p", "-c", user); made.Code != 0 {
		t.Fatal(made)
	}
	return peertest.Options{Env: []string{"SASL_CONF_PATH=" + dir}}
}

// picture takes a picture of the screen behind the gateway.
func (r *running) picture(t testing.TB, o vnc.Options) (*stdimage.RGBA, error) {
	t.Helper()
	c, err := vnc.Dial(t.Context(), r.dial(t), o)
	must(t, err)
	s, err := vnc.NewScreen(t.Context(), c, true)
	if err != nil {
		return nil, err
	}
	return s.Picture(t.Context())
}

// The gateway logs in at QEMU's VNC server, of each generation, in each way.
func TestVNCBackPeer(t *testing.T) {
	ca := shared().ca
	client := holder(t, ca.dir(t, "gateway", "ec"), creds.Client)
	foreign := holder(t, shared().foreign.dir(t, "gateway", "ec"), creds.Client)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		object := "tls-creds-x509,id=tls0,endpoint=server,dir=" + peertest.WithDH(t, ca.dir(t, "localhost", "ec"))
		secret := "secret,id=pw0,data=" + passwordOfBack
		bare := peertest.Options{}
		plain := qemuVNC(t, g, bare, filepath.Join(peertest.SocketDir(t), "vnc"), "")
		open := qemuVNC(t, g, bare, "", ",tls-creds=tls0", object)
		password := qemuVNC(t, g, bare, "", ",tls-creds=tls0,password-secret=pw0", object, secret)
		account := qemuVNC(t, g, cyrusOf(t, g, "gateway", passwordOfBack), "", ",tls-creds=tls0,sasl=on", object)
		for _, tt := range []struct {
			name     string
			to       string
			creds    *creds.Holder
			hostname string
			login    login
			want     string // code of the refusal
		}{
			{"plain", plain, nil, "", login{}, ""},
			{"x509", open, client, "localhost", login{}, ""},
			{"x509 and password", password, client, "localhost", login{passwordFile: secretFile(t, passwordOfBack)}, ""},
			{"x509 and SASL", account, client, "localhost", login{user: "gateway", passwordFile: secretFile(t, passwordOfBack)}, ""},
			{"wrong name", open, client, "other.example.com", login{}, "peer-name-mismatch"},
			{"foreign authority", open, foreign, "localhost", login{}, "peer-untrusted"},
			{"wrong password", password, client, "localhost", login{passwordFile: secretFile(t, passwordWrong)}, "vnc-refused"},
			{"wrong SASL password", account, client, "localhost", login{user: "gateway", passwordFile: secretFile(t, passwordWrong)}, "vnc-closed"},
			{"password that is not there", password, client, "localhost", login{}, "vnc-no-security"},
			{"plain to TLS", open, nil, "", login{}, "vnc-no-security"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				r := runVNC(t, Options{
					Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Hostname: tt.hostname,
					Connect: Side{address(t, tt.to), tt.creds}, VNC: Screens{Login: tt.login},
				})
				_, err := r.picture(t, vnc.Options{})
				if tt.want == "" {
					must(t, err)
					r.log.await(t, "accepted")
					return
				}
				if err == nil {
					t.Error("there is a picture all the same")
				}
				r.log.await(t, "refused", "code="+tt.want)
			})
		}
	})
}

// A viewerTest is a gateway that real viewers are tried with, in front of a QEMU
// without TLS.
type viewerTest struct {
	name    string
	creds   *creds.Holder
	s       Screens
	authz   authz.Authorizer
	refused string // code in the log
}

// gtkPKI makes what gtk-vnc looks for in /etc/pki.
func gtkPKI(t testing.TB, dir string, certificate bool) string {
	t.Helper()
	pki := t.TempDir()
	names := map[string]string{"CA/cacert.pem": "ca-cert.pem"}
	if certificate {
		names["gvnccapture/clientcert.pem"], names["gvnccapture/private/clientkey.pem"] = "client-cert.pem", "client-key.pem"
	}
	for to, from := range names {
		data, err := os.ReadFile(filepath.Join(dir, from))
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(pki, to)), 0o755))
		must(t, os.WriteFile(filepath.Join(pki, to), data, 0o600))
	}
	return pki
}

// gtk-vnc, which virt-viewer and virt-manager are made of, sees QEMU's screen
// through the gateway.
func TestVNCGtkPeer(t *testing.T) {
	peertest.NeedProgram(t, "gvnccapture", "gvncviewer")
	ca := shared().ca
	back := address(t, qemuVNC(t, peertest.Host, peertest.Options{}, filepath.Join(peertest.SocketDir(t), "vnc"), ""))
	dir := ca.dir(t, "client1", "ec")
	x509, anon := holder(t, ca.dir(t, "localhost", "ec"), creds.Server), anonHolder(t, creds.Server)
	accounts := accountsOf(t, map[string]string{"alice": passwordOfAlice})
	listed := authz.DNList{"O=Example,CN=client1"}
	asks := func(password string) peertest.Prompt {
		return peertest.Prompt{Asks: "Password: ", Type: password, Hidden: true}
	}
	login := func(password string) []peertest.Prompt {
		return []peertest.Prompt{{Asks: "Username: ", Type: "alice"}, asks(password)}
	}
	for _, tt := range []struct {
		viewerTest
		certificate bool
		prompts     []peertest.Prompt
	}{
		{viewerTest{"anonymous", anon, Screens{}, nil, ""}, false, nil},
		{viewerTest{"anonymous and Plain", anon, Screens{Accounts: accounts, Security: []vnc.Security{vnc.TLSPlain}}, nil, ""}, false, login(passwordOfAlice)},
		{viewerTest{"x509 mutual", x509, Screens{}, listed, ""}, true, nil},
		{viewerTest{"x509 mutual of another name", x509, Screens{}, authz.DNList{"*,CN=client2"}, "peer-denied"}, true, nil},
		{viewerTest{"x509 without certificate", x509, Screens{}, listed, "peer-no-certificate"}, false, nil},
		{viewerTest{"x509 and password", x509, Screens{PasswordFile: secretFile(t, passwordOfView)}, nil, ""}, true, []peertest.Prompt{asks(passwordOfView)}},
		{viewerTest{"x509 and SASL", x509, Screens{Accounts: accounts}, nil, ""}, true, login(passwordOfAlice)},
		{viewerTest{"x509 and wrong SASL password", x509, Screens{Accounts: accounts}, nil, "vnc-denied"}, true, login(passwordWrong)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runVNC(t, Options{Listen: Side{address(t, "tcp://127.0.0.1:0"), tt.creds}, Connect: Side{Address: back}, VNC: tt.s, Authz: tt.authz})
			out := filepath.Join(t.TempDir(), "screen.png")
			said := peertest.Host.RunOnTerminal(t, peertest.Options{Mounts: map[string]string{"/etc/pki": gtkPKI(t, dir, tt.certificate)}}, tt.prompts,
				"gvnccapture", fmt.Sprintf("localhost:%d", mustPort(r)-5900), out)
			if tt.refused != "" {
				r.log.await(t, "refused", "code="+tt.refused)
				if _, err := os.Stat(out); err == nil {
					t.Error("gvnccapture has a picture all the same")
				}
				return
			}
			r.log.await(t, "accepted")
			f, err := os.Open(out)
			if err != nil {
				t.Fatal(said)
			}
			defer f.Close()
			if config, _, err := stdimage.DecodeConfig(f); err != nil || config.Width != 640 || config.Height != 480 {
				t.Errorf("a picture %+v, %v", config, err)
			}
		})
	}
}

func mustPort(r *running) (n int) {
	fmt.Sscan(port(r), &n)
	return n
}

// obfuscated is a password as TigerVNC keeps it in files.
func obfuscated(t testing.TB, password string) string {
	t.Helper()
	made := peertest.Host.Run(t, peertest.Options{Stdin: strings.NewReader(password + "\n")}, "tigervncpasswd", "-f")
	if made.Code != 0 {
		t.Fatal(made)
	}
	name := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(name, []byte(made.Stdout), 0o600))
	return name
}

// TigerVNC's viewer shows QEMU's screen through the gateway.
func TestVNCTigerPeer(t *testing.T) {
	peertest.NeedProgram(t, "xtigervncviewer", "tigervnc-viewer")
	ca := shared().ca
	back := address(t, qemuVNC(t, peertest.Host, peertest.Options{}, filepath.Join(peertest.SocketDir(t), "vnc"), ""))
	display := peertest.StartX(t)
	plain := runVNC(t, Options{Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Connect: Side{Address: back}})
	want, err := plain.picture(t, vnc.Options{})
	must(t, err)
	colours := map[[4]byte]int{}
	for i := 0; i < len(want.Pix); i += 4 {
		colours[[4]byte(want.Pix[i:])]++
	}
	if len(colours) < 2 {
		t.Fatalf("the screen is empty: %v", colours)
	}
	dir := ca.dir(t, "localhost", "ec")
	anon, noCert := anonHolder(t, creds.Server), webHolder(t, dir)
	accounts := accountsOf(t, map[string]string{"alice": passwordOfAlice})
	file := secretFile(t, passwordOfView)
	for _, tt := range []struct {
		viewerTest
		kind     string // TigerVNC's SecurityTypes
		password string
	}{
		{viewerTest{"None", nil, Screens{}, nil, ""}, "None", ""},
		{viewerTest{"password", nil, Screens{PasswordFile: file}, nil, ""}, "VncAuth", passwordOfView},
		{viewerTest{"wrong password", nil, Screens{PasswordFile: file}, nil, "vnc-denied"}, "VncAuth", passwordWrong},
		{viewerTest{"anonymous TLS", anon, Screens{}, nil, ""}, "TLSNone", ""},
		{viewerTest{"anonymous TLS and Plain", anon, Screens{Accounts: accounts, Security: []vnc.Security{vnc.TLSPlain}}, nil, ""}, "TLSPlain", passwordOfAlice},
		{viewerTest{"x509", noCert, Screens{}, nil, ""}, "X509None", ""},
		{viewerTest{"x509 and password", noCert, Screens{PasswordFile: file}, nil, ""}, "X509Vnc", passwordOfView},
		{viewerTest{"x509 and Plain", noCert, Screens{Accounts: accounts}, nil, ""}, "X509Plain", passwordOfAlice},
		{viewerTest{"x509 and wrong Plain password", noCert, Screens{Accounts: accounts}, nil, "vnc-denied"}, "X509Plain", passwordWrong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runVNC(t, Options{Listen: Side{address(t, "tcp://127.0.0.1:0"), tt.creds}, Connect: Side{Address: back}, VNC: tt.s, Authz: tt.authz})
			args := []string{"-display", display, "-SecurityTypes", tt.kind, "-X509CA", filepath.Join(dir, "ca-cert.pem"), "-NoJPEG", "-ReconnectOnError=0", "-AlertOnFatalError=0"}
			env := []string{"DISPLAY=" + display}
			if strings.HasSuffix(tt.kind, "Plain") {
				env = append(env, "VNC_USERNAME=alice", "VNC_PASSWORD="+tt.password)
			} else if tt.password != "" {
				args = append(args, "-PasswordFile", obfuscated(t, tt.password))
			}
			p := peertest.Host.Start(t, peertest.Options{Env: env}, peertest.Logged("TigerVNC"), "xtigervncviewer", append(args, fmt.Sprintf("localhost::%d", mustPort(r)))...)
			if tt.refused != "" {
				r.log.await(t, "refused", "code="+tt.refused)
				p.Wait()
				return
			}
			r.log.await(t, "accepted")
			shown(t, display, want)
			p.Kill()
		})
	}
}

// shown waits until a viewer has a window for QEMU's screen, which has its name
// from the server, with the picture that QEMU has.
func shown(t testing.TB, display string, want *stdimage.RGBA) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "window.xwd")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		dump := peertest.Host.Run(t, peertest.Options{Env: []string{"DISPLAY=" + display}}, "xwd", "-silent", "-name", "QEMU - TigerVNC", "-out", file)
		data, _ := os.ReadFile(file)
		same := 0
		// The pixels come last, four octets each, blue first.
		if len(data) > len(want.Pix) {
			data = data[len(data)-len(want.Pix):]
			for i := 0; i < len(data); i += 4 {
				if p := want.Pix[i:]; p[0] == data[i+2] && p[1] == data[i+1] && p[2] == data[i] {
					same++
				}
			}
		}
		if all := len(want.Pix) / 4; same > all*99/100 { // there may be a pointer
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d pixels are right: %v", same, dump)
		}
	}
}
