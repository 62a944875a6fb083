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

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/session"
)

const vncPassword, wrongPassword = "s3cretpw", "f4lse"

// A screen is a QEMU with a VNC server.
type screen struct {
	dir       string // with the server's credentials, empty for none
	anonymous bool
	object    string   // more of the credentials: ",verify-peer=off"
	options   string   // more of -vnc: ",password=on"
	objects   []string // beside the credentials
	websocket bool
	sasl      string // mechanisms; empty: no SASL

	environment []string
}

// vnc starts QEMU and returns the port of its VNC server or of its websockets.
func (l *lab) vnc(s screen) int {
	port := peertest.FreePort(l.t)
	at := fmt.Sprintf("127.0.0.1:%d", port-vncPort)
	if s.websocket {
		at = fmt.Sprintf("127.0.0.1:%d,websocket=%d", peertest.FreePort(l.t)-vncPort, port)
	}
	args := []string{"-nodefaults", "-machine", "none", "-accel", "tcg", "-monitor", "none", "-display", "none", "-trace", "vnc_auth_fail"}
	for _, o := range s.objects {
		args = append(args, "-object", o)
	}
	switch {
	case s.anonymous:
		s.dir = l.t.TempDir()
		args = append(args, "-object", "tls-creds-anon,id=tls0,endpoint=server,dir="+withDH(l.t, s.dir)+s.object)
	case s.dir != "":
		args = append(args, "-object", "tls-creds-x509,id=tls0,endpoint=server,sanity-check=off,dir="+withDH(l.t, s.dir)+s.object)
	}
	if s.dir != "" {
		at += ",tls-creds=tls0"
	}
	o := peertest.Options{Env: s.environment}
	if s.sasl != "" {
		at += ",sasl=on"
		o = l.cyrus(s.sasl)
	}
	l.last = l.g.Start(l.t, o, peertest.Listening(port), "qemu-system-x86_64", append(args, "-vnc", at+s.options)...).Ready()
	return port
}

// cyrus makes accounts of Cyrus SASL with one user, and returns the environment
// that they are found by.
func (l *lab) cyrus(mechanisms string) peertest.Options {
	dir := l.t.TempDir()
	db := filepath.Join(dir, "passwd.db")
	conf := fmt.Sprintf("mech_list: %s\nsasldb_path: %s\npwcheck_method: auxprop\nauxprop_plugin: sasldb\n", mechanisms, db)
	must(l.t, os.WriteFile(filepath.Join(dir, "qemu.conf"), []byte(conf), 0o600))
	made := l.g.Run(l.t, peertest.Options{Stdin: strings.NewReader(vncPassword)}, "saslpasswd2", "-a", "qemu", "-f", db, "-u", "peer", "-p", "-c", "fred")
	if made.Code != 0 {
		l.t.Fatal(made)
	}
	return peertest.Options{Env: []string{"SASL_CONF_PATH=" + dir}}
}

// secret are a password for -vnc and the object that has it.
func (l *lab) secret() (objects []string, option string) {
	file := filepath.Join(l.t.TempDir(), "pw")
	must(l.t, os.WriteFile(file, []byte(vncPassword), 0o600))
	return []string{"secret,id=pw,file=" + file}, ",password-secret=pw"
}

func (l *lab) withPassword(s screen) screen {
	s.objects, s.options = l.secret()
	return s
}

// viewed is a server that somebody looks at.
func (l *lab) viewed(s screen, shared bool) int {
	port := l.vnc(s)
	nc, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	must(l.t, err)
	l.t.Cleanup(func() { nc.Close() })
	c, err := vnc.Dial(context.Background(), nc, vnc.Options{})
	must(l.t, err)
	_, err = vnc.NewScreen(context.Background(), c, shared)
	must(l.t, err)
	return port
}

// serveVNC is a server of our own, which can offer several security types.
func (l *lab) serveVNC(offer ...vnc.Security) int {
	x, _, err := creds.LoadX509(creds.X509Options{Dir: server.write(l.t), Endpoint: creds.Server})
	must(l.t, err)
	anon, _, err := creds.LoadAnon(creds.AnonOptions{Endpoint: creds.Server})
	must(l.t, err)
	o := vnc.ServerOptions{
		Offer: offer, Password: func() []byte { return []byte(vncPassword) },
		X509: func() session.Options { return session.Options{Credentials: x} },
		Anon: func() session.Options { return session.Options{Credentials: anon} },
	}
	return l.listener(func(c net.Conn) {
		defer c.Close()
		if in, err := vnc.Accept(context.Background(), c, o); err == nil {
			in.Write(append(make([]byte, 23), 4, 't', 'e', 's', 't'))
			in.Read(make([]byte, 1))
			in.Read(make([]byte, 1))
		}
	})
}

var vncServices = map[string]func(l *lab) int{
	"vnc open":           func(l *lab) int { return l.vnc(screen{}) },
	"vnc password":       func(l *lab) int { return l.vnc(l.withPassword(screen{})) },
	"vnc password unset": func(l *lab) int { return l.vnc(screen{options: ",password=on"}) },
	"vnc sasl":           func(l *lab) int { return l.vnc(screen{sasl: "scram-sha-256 digest-md5"}) },
	"vnc sasl no SSF":    func(l *lab) int { return l.vnc(screen{sasl: "scram-sha-256"}) },
	"vnc anonymous":      func(l *lab) int { return l.vnc(screen{anonymous: true}) },
	"vnc anonymous password": func(l *lab) int {
		return l.vnc(l.withPassword(screen{anonymous: true}))
	},
	"vnc anonymous sasl": func(l *lab) int { return l.vnc(screen{anonymous: true, sasl: "scram-sha-256 digest-md5"}) },
	"vnc x509":           func(l *lab) int { return l.vnc(screen{dir: server.write(l.t)}) },
	"vnc x509 everybody": func(l *lab) int { return l.vnc(screen{dir: server.write(l.t), object: ",verify-peer=off"}) },
	"vnc x509 list": func(l *lab) int {
		return l.vnc(screen{dir: server.write(l.t), options: ",tls-authz=acl", objects: []string{"authz-simple,id=acl,identity=O=Test,,CN=somebody"}})
	},
	"vnc x509 list ours": func(l *lab) int {
		return l.vnc(screen{dir: server.write(l.t), options: ",tls-authz=acl", objects: []string{"authz-simple,id=acl,identity=O=Test,,CN=client"}})
	},
	"vnc x509 password": func(l *lab) int { return l.vnc(l.withPassword(screen{dir: server.write(l.t)})) },
	"vnc x509 sasl": func(l *lab) int {
		return l.vnc(screen{dir: server.write(l.t), object: ",verify-peer=off", sasl: "scram-sha-512 scram-sha-256 plain"})
	},
	"vnc x509 sasl list": func(l *lab) int {
		return l.vnc(screen{dir: server.write(l.t), sasl: "scram-sha-256", options: ",sasl-authz=acl", objects: []string{"authz-simple,id=acl,identity=somebody"}})
	},
	"vnc expired": func(l *lab) int {
		return l.vnc(screen{dir: dir{server: &leaf{from: -48 * time.Hour, to: -24 * time.Hour}}.write(l.t)})
	},
	"vnc other name": func(l *lab) int {
		return l.vnc(screen{dir: dir{server: &leaf{names: []string{"kvm1.example.com", "192.0.2.1"}}}.write(l.t)})
	},
	"vnc foreign": func(l *lab) int {
		return l.vnc(screen{dir: dir{trust: foreign, server: &leaf{by: foreign}}.write(l.t)})
	},
	"vnc exclusive": func(l *lab) int { return l.viewed(screen{}, false) },
	"vnc full":      func(l *lab) int { return l.viewed(screen{options: ",connections=1"}, true) },

	"websocket":          func(l *lab) int { return l.vnc(screen{websocket: true, dir: server.write(l.t)}) },
	"websocket plain":    func(l *lab) int { return l.vnc(screen{websocket: true}) },
	"websocket password": func(l *lab) int { return l.vnc(l.withPassword(screen{websocket: true, dir: server.write(l.t)})) },
	"websocket sasl": func(l *lab) int {
		return l.vnc(screen{websocket: true, dir: server.write(l.t), object: ",verify-peer=off", sasl: "scram-sha-256 digest-md5"})
	},

	"vnc several":     func(l *lab) int { return l.serveVNC(vnc.X509Password, vnc.TLSNone, vnc.Password, vnc.None) },
	"vnc no type":     func(l *lab) int { return l.says("RFB 003.008\n\x00\x00\x00\x00\x04busy") },
	"vnc other types": func(l *lab) int { return l.says("RFB 003.008\n\x02\x05\x10") },
	"vnc 3.889":       func(l *lab) int { return l.says("RFB 003.889\n\x02\x1e\x21") },
	"vnc slow":        func(l *lab) int { return l.says("RFB 003") },
	"vnc half":        func(l *lab) int { return l.says("RFB 003.008\n\x01\x13\x00\x02") },
}

// says is a server that says something and no more.
func (l *lab) says(text string) int {
	return l.listener(func(c net.Conn) { c.Write([]byte(text)); time.Sleep(time.Hour); c.Close() })
}

func password(text string) func(testing.TB, *Options) {
	return func(_ testing.TB, o *Options) { o.Login = &sasl.Login{Password: []byte(text)} }
}

func user(name, password string) func(testing.TB, *Options) {
	return func(_ testing.TB, o *Options) { o.Login = &sasl.Login{User: name, Password: []byte(password)} }
}

// wantNoSecrets looks for the password, and for a token, in all that a probe says.
func wantNoSecrets(t *testing.T, r *Result, o Options) {
	t.Helper()
	if o.Login == nil && !strings.Contains(r.Target, "?") {
		return
	}
	var b strings.Builder
	must(t, json.NewEncoder(&b).Encode(r))
	must(t, Prometheus(&b, []*Result{r}))
	b.WriteString(rendered(r, 0))
	fmt.Fprintf(&b, "%v %+v", o, o)
	for _, secret := range []string{vncPassword, wrongPassword, "t0ken"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%s is in\n%s", secret, b.String())
		}
	}
}

func screenshot(_ testing.TB, o *Options) { o.Screenshot = true }

// vncSetups are the good and broken ones of VNC.
var vncSetups = []setup{
	{name: "vnc open", service: "vnc open", vnc: "vnc", options: screenshot, want: "probe-vnc-open", posture: Plain, each: true},
	{name: "vnc open probed with a certificate", service: "vnc open", vnc: "vnc", options: credentials(peer, ""), want: "probe-vnc-open", posture: Plain},
	{name: "vnc password only", service: "vnc password", vnc: "vnc", want: "probe-vnc-plain", posture: Plain, each: true},
	{name: "vnc password right", service: "vnc password", vnc: "vnc", options: with(password(vncPassword), screenshot), want: "probe-vnc-plain", posture: Plain},
	{name: "vnc password wrong", service: "vnc password", vnc: "vnc", options: password(wrongPassword), want: "probe-vnc-plain vnc-refused", posture: Plain, each: true, log: 1},
	{name: "vnc password not set", service: "vnc password unset", vnc: "vnc", options: password(wrongPassword), want: "probe-vnc-plain vnc-refused", posture: Plain, log: 3},
	{name: "vnc SASL without TLS", service: "vnc sasl", vnc: "vnc", options: user("fred", vncPassword), want: "probe-vnc-plain sasl-no-mechanism", posture: Plain, each: true},
	{name: "vnc SASL without a mechanism that encrypts", service: "vnc sasl no SSF", vnc: "vnc", options: user("fred", vncPassword), want: "probe-vnc-plain probe-vnc-mechanisms", posture: Plain, each: true},
	{name: "vnc anonymous", service: "vnc anonymous", vnc: "vnc", want: "probe-anonymous", posture: AnonymousTLS, each: true},
	{name: "vnc anonymous probed with a certificate", service: "vnc anonymous", vnc: "vnc", options: credentials(peer, ""), want: "probe-other-credentials", posture: AnonymousTLS},
	{name: "vnc anonymous and password", service: "vnc anonymous password", vnc: "vnc", options: with(anonymous, password(vncPassword), screenshot), want: "probe-anonymous", posture: AnonymousTLS},
	{name: "vnc anonymous and SASL", service: "vnc anonymous sasl", vnc: "vnc", options: user("fred", vncPassword), want: "probe-anonymous sasl-no-mechanism", posture: AnonymousTLS},

	{name: "vnc good", service: "vnc x509", vnc: "vnc", options: with(credentials(peer, ""), screenshot), posture: Mutual, each: true},
	{name: "vnc list ours", service: "vnc x509 list ours", vnc: "vnc", options: with(credentials(peer, ""), stranger), posture: MutualList},
	{name: "vnc stranger let in", service: "vnc x509", vnc: "vnc", options: with(credentials(peer, ""), stranger), want: "probe-stranger", posture: Mutual},
	{name: "vnc everybody", service: "vnc x509 everybody", vnc: "vnc", options: credentials(peer, ""), want: "probe-not-demanded", posture: ServerVerified, each: true},
	{name: "vnc everybody without credentials", service: "vnc x509 everybody", vnc: "vnc", want: "probe-not-judged", posture: Encrypted},
	{name: "vnc client missing", service: "vnc x509", vnc: "vnc", options: credentials(bare, ""), want: "probe-client-missing", posture: Mutual, each: true},
	{name: "vnc client foreign", service: "vnc x509", vnc: "vnc", options: credentials(dir{client: &leaf{by: foreign}}, ""), want: "probe-client-foreign", posture: Mutual},
	{name: "vnc client expired", service: "vnc x509", vnc: "vnc", options: credentials(dir{client: &leaf{from: -48 * time.Hour, to: -24 * time.Hour}}, ""), want: "probe-client-expired", posture: Mutual},
	{name: "vnc client not on the list", service: "vnc x509 list", vnc: "vnc", options: credentials(peer, ""), want: "probe-client-refused", posture: ServerVerified, each: true, log: 1},
	{name: "vnc expired", service: "vnc expired", vnc: "vnc", options: credentials(peer, ""), want: "peer-expired", posture: Encrypted, each: true},
	{name: "vnc other name", service: "vnc other name", vnc: "vnc", options: credentials(peer, ""), want: "peer-name-mismatch", posture: Encrypted, each: true},
	{name: "vnc foreign CA", service: "vnc foreign", vnc: "vnc", options: credentials(peer, ""), want: "peer-untrusted probe-client-foreign", posture: Encrypted, each: true},
	{name: "vnc stale", service: "vnc x509", vnc: "vnc", options: with(credentials(peer, ""), expecting), want: "probe-stale", posture: Mutual},
	{name: "vnc probed anonymously", service: "vnc x509", vnc: "vnc", options: anonymous, want: "probe-other-credentials"},
	{name: "vnc probed with a key", service: "vnc x509", vnc: "vnc", options: key("rich", pskKey, ""), want: "probe-other-credentials"},

	{name: "vnc x509 and password", service: "vnc x509 password", vnc: "vnc", options: with(credentials(peer, ""), password(vncPassword), screenshot), posture: Mutual, each: true},
	{name: "vnc x509 without its password", service: "vnc x509 password", vnc: "vnc", options: credentials(peer, ""), posture: Mutual},
	{name: "vnc x509 and SASL", service: "vnc x509 sasl", vnc: "vnc", options: with(credentials(peer, ""), user("fred", vncPassword), screenshot), posture: ServerVerified, each: true},
	{name: "vnc x509 and SASL without a user", service: "vnc x509 sasl", vnc: "vnc", options: credentials(bare, ""), posture: ServerVerified, each: true},
	{name: "vnc x509 and SASL by PLAIN", service: "vnc x509 sasl", vnc: "vnc", options: with(credentials(peer, ""), user("fred", vncPassword), plainSASL), posture: ServerVerified},
	{name: "vnc x509 and wrong SASL password", service: "vnc x509 sasl", vnc: "vnc", options: with(credentials(peer, ""), user("fred", wrongPassword)), want: "vnc-closed", posture: ServerVerified, each: true, log: 1},
	{name: "vnc x509 and SASL user not on the list", service: "vnc x509 sasl list", vnc: "vnc", options: with(credentials(peer, ""), user("fred", vncPassword)), want: "vnc-refused", posture: Mutual},
	{name: "vnc exclusive viewer", service: "vnc exclusive", vnc: "vnc", want: "probe-vnc-open probe-vnc-full", posture: Plain, each: true},
	{name: "vnc full", service: "vnc full", vnc: "vnc", want: "probe-vnc-open probe-vnc-full", posture: Plain, each: true},

	{name: "websocket good", service: "websocket", vnc: "wss", more: "/", options: with(credentials(peer, ""), screenshot), posture: Mutual, each: true},
	{name: "websocket client missing", service: "websocket", vnc: "wss", more: "/", options: credentials(bare, ""), want: "probe-client-missing", posture: Mutual, each: true},
	{name: "websocket other path", service: "websocket", vnc: "wss", more: "/websocket/vm1?token=t0ken", options: credentials(peer, ""), want: "probe-websocket", posture: Mutual, each: true},
	{name: "websocket password", service: "websocket password", vnc: "wss", options: with(credentials(peer, ""), password(vncPassword), screenshot), posture: Mutual},
	{name: "websocket SASL", service: "websocket sasl", vnc: "wss", options: with(credentials(peer, ""), user("fred", vncPassword)), want: "sasl-no-mechanism", posture: ServerVerified, each: true},
	{name: "websocket without TLS", service: "websocket plain", vnc: "ws", options: screenshot, want: "probe-vnc-open", posture: Plain, each: true},
	{name: "websocket probed without TLS", service: "websocket", vnc: "ws", options: patient, want: "probe-not-websocket", posture: Plain},
	{name: "websocket probed as VNC", service: "websocket", vnc: "vnc", options: patient, want: "probe-vnc-other", each: true},
	{name: "websocket without TLS probed as VNC", service: "websocket plain", vnc: "vnc", options: patient, want: "probe-vnc-other", each: true},
	{name: "vnc probed as websocket", service: "vnc x509", vnc: "wss", options: credentials(peer, ""), want: "probe-not-tls", posture: Plain},

	{name: "vnc several security types", service: "vnc several", vnc: "vnc", options: with(credentials(peer, ""), password(vncPassword)), want: "probe-vnc-downgrade", posture: ServerVerified, host: true},
	{name: "vnc no security type", service: "vnc no type", vnc: "vnc", want: "vnc-refused", host: true},
	{name: "vnc unknown security types", service: "vnc other types", vnc: "vnc", want: "probe-vnc-unknown", host: true},
	{name: "vnc of another vendor", service: "vnc 3.889", vnc: "vnc", want: "probe-vnc-unknown", host: true},
	{name: "vnc slow", service: "vnc slow", vnc: "vnc", options: quick, want: "probe-hangs", host: true},
	{name: "vnc silent after VeNCrypt", service: "vnc half", vnc: "vnc", options: quick, want: "vnc-late", host: true},
	{name: "vnc other protocol", service: "qemu-nbd plain", vnc: "vnc", want: "probe-not-vnc"},
	{name: "vnc silence", service: "silence", vnc: "vnc", options: quick, want: "probe-silent", host: true},
	{name: "vnc nothing listens", service: "nothing", vnc: "vnc", want: "probe-refused", host: true},
}

func plainSASL(_ testing.TB, o *Options) { o.Mechanisms = []string{sasl.Plain} }
