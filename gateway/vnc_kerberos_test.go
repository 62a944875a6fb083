package gateway

import (
	"fmt"
	stdimage "image"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/object"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/sasl/gssapi"
)

// realm starts a KDC that alice and the gateway are known to, and makes it this
// process's.
func realm(t *testing.T) (k *peertest.KDC, keytab string) {
	t.Helper()
	k = peertest.StartKDC(t, "EXAMPLE.COM")
	k.User("alice", passwordOfAlice)
	t.Setenv("KRB5_CONFIG", k.Conf)
	return k, k.Keytab("vnc/peer", "vnc/localhost")
}

// gtk-vnc with MIT's Kerberos sees QEMU's screen through the gateway: sealed where
// there is no TLS, and below certificates.
func TestVNCKerberosFrontPeer(t *testing.T) {
	peertest.NeedProgram(t, "gvnccapture", "gvncviewer")
	k, keytab := realm(t)
	cache := k.Login("alice", passwordOfAlice)
	ca := shared().ca
	back := address(t, qemuVNC(t, peertest.Host, peertest.Options{}, filepath.Join(peertest.SocketDir(t), "vnc"), ""))
	x509 := holder(t, ca.dir(t, "localhost", "ec"), creds.Server)
	lists := func(user string) Screens {
		o := Options{Connect: Side{Address: back}}
		o.VNC.Machines = storeOf(t, &o, fmt.Sprintf("machines: [{name: one, connect: '%s', users: [%s]}]\n", back, user))
		return Screens{Kerberos: &gssapi.Server{Keytab: keytab}, Machines: o.VNC.Machines, Target: o.VNC.Target}
	}
	for _, tt := range []struct {
		viewerTest
		cache string
	}{
		{viewerTest{"sealed", nil, Screens{Kerberos: &gssapi.Server{Keytab: keytab}}, nil, ""}, cache},
		{viewerTest{"x509", x509, Screens{Kerberos: &gssapi.Server{Keytab: keytab}}, nil, ""}, cache},
		{viewerTest{"listed", nil, Screens{Kerberos: &gssapi.Server{Keytab: keytab}, Users: authz.DNList{"alice"}}, nil, ""}, cache},
		{viewerTest{"not listed", nil, Screens{Kerberos: &gssapi.Server{Keytab: keytab}, Users: authz.DNList{"bob"}}, nil, "vnc-denied"}, cache},
		{viewerTest{"a machine of hers", nil, lists("alice"), nil, ""}, cache},
		{viewerTest{"no machine of hers", nil, lists("bob"), nil, "gateway-vnc-machine"}, cache},
		{viewerTest{"accounts besides", nil, Screens{Kerberos: &gssapi.Server{Keytab: keytab}, Accounts: accountsOf(t, nil)}, nil, ""}, cache},
		{viewerTest{"a ticket of another server", nil, Screens{Kerberos: &gssapi.Server{Keytab: k.Keytab("vnc/other")}}, nil, "vnc-denied"}, cache},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Listen: Side{address(t, "tcp://127.0.0.1:0"), tt.creds}, Connect: Side{Address: back}, VNC: tt.s}
			if tt.s.Machines != nil {
				o.Connect = Side{}
			}
			r := runVNC(t, o)
			out := filepath.Join(t.TempDir(), "screen.png")
			seen := peertest.Host.Run(t, peertest.Options{Env: k.Env(tt.cache), Mounts: map[string]string{"/etc/pki": gtkPKI(t, ca.dir(t, "localhost", "ec"), true)}},
				"gvnccapture", fmt.Sprintf("localhost:%d", mustPort(r)-5900), out)
			f, err := os.Open(out)
			if tt.refused != "" {
				if err == nil {
					t.Error("gvnccapture has a picture all the same")
				}
				r.log.await(t, "refused", "code="+tt.refused)
				return
			}
			if err != nil {
				t.Fatal(seen, r.log)
			}
			defer f.Close()
			if config, _, err := stdimage.DecodeConfig(f); err != nil || config.Width != 640 || config.Height != 480 {
				t.Errorf("a picture %+v, %v", config, err)
			}
			r.log.await(t, "accepted", "user=alice")
		})
	}
}

// The gateway logs in at QEMU with keys of its own.
func TestVNCKerberosBackPeer(t *testing.T) {
	k, keytab := realm(t)
	own := k.Keytab("gateway")
	ca := shared().ca
	client := holder(t, ca.dir(t, "gateway", "ec"), creds.Client)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "qemu.conf"), []byte("mech_list: gssapi\nkeytab: "+keytab+"\n"), 0o600))
		cyrus := peertest.Options{Env: append(k.Env(""), "SASL_CONF_PATH="+dir)}
		object := "tls-creds-x509,id=tls0,endpoint=server,dir=" + peertest.WithDH(t, ca.dir(t, "localhost", "ec"))
		sealed := qemuVNC(t, g, cyrus, "", ",sasl=on")
		secure := qemuVNC(t, g, cyrus, "", ",tls-creds=tls0,sasl=on", object)
		for _, tt := range []struct {
			name, to  string
			creds     *creds.Holder
			hostname  string
			principal string
			want      string // code of the refusal
		}{
			{"sealed", sealed, nil, "peer", "gateway", ""},
			{"x509", secure, client, "peer", "gateway@EXAMPLE.COM", ""},
			{"another server's name", sealed, nil, "elsewhere", "gateway", "gssapi-no-ticket"},
			{"somebody without keys", sealed, nil, "peer", "alice", "gssapi-no-ticket"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				r := runVNC(t, Options{
					Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Hostname: tt.hostname, IdleLimit: time.Minute,
					Connect: Side{address(t, tt.to), tt.creds}, VNC: Screens{Login: login{principal: tt.principal, keytab: own}},
				})
				picture, err := r.picture(t, vnc.Options{})
				if tt.want == "" {
					must(t, err)
					if picture.Bounds().Dx() != 640 {
						t.Error(picture.Bounds())
					}
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

// Kerberos at both ends with our own viewer, and what the settings may not be.
func TestVNCKerberosSettings(t *testing.T) {
	k, keytab := realm(t)
	own := k.Keytab("gateway")
	both := VNCSettings{Keytab: keytab, ConnectPrincipal: "gateway", ConnectKeytab: own}
	everybodys := filepath.Join(t.TempDir(), "keytab")
	data, err := os.ReadFile(own)
	must(t, err)
	must(t, os.WriteFile(everybodys, data, 0o644))
	must(t, os.Chmod(everybodys, 0o644))
	objects := &object.Registry{}
	defer objects.Close()
	_, err = objects.Add("tls-creds-x509,id=tls0,endpoint=server,verify-peer=off,dir=" + shared().ca.dir(t, "localhost", "ec"))
	must(t, err)
	for _, tt := range []struct {
		name, listen, connect string
		v                     VNCSettings
		want                  string
	}{
		{"both ends", "tcp://127.0.0.1:0", "tcp://peer:5900", both, ""},
		{"a keytab that is not there", "tcp://:0", "tcp://peer", VNCSettings{Keytab: "/nowhere"}, "/nowhere: the keys of Kerberos cannot be used"},
		{"everybody's keytab", "tcp://:0", "tcp://peer", VNCSettings{ConnectPrincipal: "gateway", ConnectKeytab: everybodys}, "everybody's"},
		{"keys and no principal", "tcp://:0", "tcp://peer", VNCSettings{ConnectKeytab: own}, "name both --connect-principal and --connect-keytab"},
		{"no host", "tcp://:0", "unix:///vnc", VNCSettings{ConnectPrincipal: "gateway", ConnectKeytab: own}, "whose principal of Kerberos"},
		{"keys and a password", "tcp://:0", "tcp://peer", VNCSettings{ConnectPrincipal: "gateway", ConnectKeytab: own, ConnectPasswordFile: secretFile(t, passwordOfBack)}, "is said twice"},
		{"browsers alone", "", "tcp://peer", VNCSettings{Keytab: keytab, Websocket: "tcp://127.0.0.1:0"}, "to --listen, and there is none"},
		{"a portal without TLS", "", "tcp://peer", VNCSettings{Websocket: "tls://:0", WebsocketTLSCreds: "tls0", WebsocketOrigin: []string{"http://portal.example.com"}}, "a page of http://portal.example.com is without TLS"},
		{"browsers that need nothing", "tcp://:0", "tcp://peer", VNCSettings{Keytab: keytab, Websocket: "tcp://127.0.0.1:0"}, "browsers would need nothing"},
	} {
		d := Defined{Endpoint: Endpoint{Name: "a", Protocol: VNC, Listen: tt.listen, Connect: tt.connect}, VNC: tt.v}
		o, _, err := d.Options(objects, nil)
		if err == nil {
			_, err = New(o)
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
}

// A gateway whose viewers have tickets of Kerberos, and which has no accounts, has a
// door as any other.
func TestDoorBesidesKerberos(t *testing.T) {
	ca := shared().ca
	o := doorOptions(t)
	o.VNC.Kerberos = &gssapi.Server{Keytab: "/nowhere"}
	o.Listen = Side{Address: address(t, "tcp://127.0.0.1:0")}
	r := runVNC(t, o)
	token := r.token(t, "one", time.Hour, false)
	for _, tt := range []struct {
		name, path string
		header     http.Header
		want       int
	}{
		{"the list", "/", nil, http.StatusOK},
		{"nobody", "/websocket/one", nil, http.StatusForbidden},
		{"a password", "/websocket/one", basic("alice", passwordWrong), http.StatusForbidden},
		{"a ticket", "/websocket/one", http.Header{"Cookie": {ticketName + "=AAAA"}}, http.StatusForbidden},
		{"a token", "/websocket/one?token=" + token, nil, http.StatusUpgradeRequired},
	} {
		if status, text, _ := r.get(t, r.browser(t, ""), tt.path, tt.header); status != tt.want || strings.Contains(text, "console/one") {
			t.Errorf("%s: %d, %s; want %d", tt.name, status, text, tt.want)
		}
	}
	o.VNC.Web.Credentials = holder(t, ca.dir(t, "localhost", "ec"), creds.Server)
	r = runVNC(t, o)
	if status := r.see(t, r.browser(t, ca.dir(t, "alice", "ec")), "/websocket/one", nil, vnc.Options{}); status != http.StatusSwitchingProtocols {
		t.Errorf("a certificate: %d", status)
	}
}

// A KDC that says nothing keeps neither a viewer nor a gateway that stops.
func TestVNCKerberosSilentKDC(t *testing.T) {
	k, keytab := realm(t)
	own := k.Keytab("gateway")
	asked := make(chan bool, 1)
	silent := peertest.Serve(t, "tcp", func(nc net.Conn) {
		asked <- true
		io.Copy(io.Discard, nc)
	})
	conf := filepath.Join(t.TempDir(), "krb5.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, "[libdefaults]\n default_realm = EXAMPLE.COM\n udp_preference_limit = 1\n[realms]\n EXAMPLE.COM = {\n  kdc = %s\n }\n", silent), 0o600))
	t.Setenv("KRB5_CONFIG", conf)
	for name, limit := range map[string]time.Duration{"in time": 300 * time.Millisecond, "at the end": time.Minute} {
		t.Run(name, func(t *testing.T) {
			r := runVNC(t, Options{
				Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Hostname: "peer", ConnectLimit: limit, DrainLimit: time.Second,
				Connect: Side{Address: screen(t, "tcp", vnc.ServerOptions{SASL: &sasl.Server{GSSAPI: &gssapi.Server{Keytab: keytab}}})},
				VNC:     Screens{Login: login{principal: "gateway", keytab: own}},
			})
			_, err := vnc.Dial(t.Context(), r.dial(t), vnc.Options{})
			must(t, err)
			<-asked
			begin := time.Now()
			if limit < time.Second {
				r.log.await(t, "refused", "code=gateway-service", "no KDC")
			}
			must(t, r.stop())
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A process that is confined by Landlock follows a krb5.conf that is replaced.
func TestVNCKerberosProcess(t *testing.T) {
	k, keytab := realm(t)
	own := k.Keytab("gateway")
	good, err := os.ReadFile(k.Conf)
	must(t, err)
	conf, config, port := filepath.Join(t.TempDir(), "krb5.conf"), filepath.Join(t.TempDir(), "gateway.yaml"), peertest.FreePort(t)
	must(t, os.WriteFile(conf, []byte("[libdefaults]\n default_realm = ELSEWHERE\n"), 0o600))
	back := screen(t, "tcp", vnc.ServerOptions{SASL: &sasl.Server{GSSAPI: &gssapi.Server{Keytab: keytab}}})
	must(t, os.WriteFile(config, fmt.Appendf(nil, `gateways:
- {name: screen, protocol: vnc, listen: "tcp://127.0.0.1:%d", connect: "%s", tls-hostname: peer, connect-principal: gateway, connect-keytab: %s}
`, port, back, own), 0o600))
	log := &journal{}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), "GATEWAY_TEST_CONFIG="+config, "KRB5_CONFIG="+conf), log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	log.await(t, "Landlock")
	must(t, os.WriteFile(conf+".new", good, 0o600))
	must(t, os.Rename(conf+".new", conf))
	nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	defer nc.Close()
	v, err := vnc.Dial(t.Context(), nc, vnc.Options{})
	must(t, err)
	must(t, v.SetDeadline(time.Now().Add(20*time.Second)))
	if _, err = v.Write([]byte{1}); err == nil {
		_, err = v.Read(make([]byte, 1))
	}
	if err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	log.await(t, "msg=accepted")
}
