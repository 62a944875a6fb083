package gateway

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/gateway/machines"
	"virtls/object"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/session"
)

// Passwords of tests, which no log may have: run sees to that.
const (
	passwordOfAlice = "al1ce-s3cret"
	passwordOfView  = "v1ewpass" // eight octets count
	passwordOfBack  = "b4ckpass"
	passwordWrong   = "wr0ngwrong"
)

var testSecrets = []string{passwordOfAlice, passwordOfView, passwordOfBack, passwordWrong}

// secretFile writes a password for the gateway.
func secretFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(name, []byte(text+"\n"), 0o600))
	return name
}

// accountsOf makes a file of accounts.
func accountsOf(t testing.TB, logins map[string]string) *sasl.AccountsFile {
	t.Helper()
	a := sasl.NewAccounts()
	for user, password := range logins {
		must(t, a.Set(user, []byte(password)))
	}
	name := filepath.Join(t.TempDir(), "accounts")
	must(t, a.Save(name))
	f, err := sasl.OpenAccounts(name)
	must(t, err)
	return f
}

func anonHolder(t testing.TB, end creds.Endpoint) *creds.Holder {
	t.Helper()
	h, err := creds.NewHolder(t.Context(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
		c, w, err := creds.LoadAnon(creds.AnonOptions{Endpoint: end})
		if err != nil {
			return nil, nil, err
		}
		return c, w, nil
	})
	must(t, err)
	return h
}

// screen serves RFB as o says; after the login it echoes.
func screen(t testing.TB, network string, o vnc.ServerOptions) Address {
	t.Helper()
	o.Throttle = &sasl.Throttle{Delay: time.Millisecond, MaxDelay: time.Millisecond}
	return address(t, serve(t, network, func(nc net.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if c, err := vnc.Accept(ctx, nc, o); err == nil {
			echo(c)
		}
	}))
}

// runVNC starts a gateway whose failed logins are told at once.
func runVNC(t testing.TB, o Options) *running {
	t.Helper()
	o.Protocol = VNC
	return run(t, o, slowed(time.Millisecond, time.Millisecond))
}

// slowed sets how failed logins are slowed.
func slowed(first, most time.Duration) func(*Gateway) {
	return func(g *Gateway) { g.throttle.Delay, g.throttle.MaxDelay = first, most }
}

// view logs in as a viewer and sees that the screen answers.
func (r *running) view(t testing.TB, o vnc.Options) (*vnc.Conn, error) {
	t.Helper()
	c, err := vnc.Dial(t.Context(), r.dial(t), o)
	if err == nil {
		exchange(t, c, "hello")
	}
	return c, err
}

func clientOf(t testing.TB, dir string) func() session.Options {
	h := holder(t, dir, creds.Client)
	return func() session.Options {
		return session.Options{Credentials: h.Current(), Hostname: "localhost"}
	}
}

// Each way in which a viewer can be let in, and what it is refused.
func TestVNCFront(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	x509 := holder(t, dir, creds.Server)
	back := screen(t, "unix", vnc.ServerOptions{})
	accounts := accountsOf(t, map[string]string{"alice": passwordOfAlice})
	client, anon := clientOf(t, dir), func() session.Options {
		return session.Options{Credentials: anonHolder(t, creds.Client).Current()}
	}
	alice := &sasl.Login{User: "alice", Password: []byte(passwordOfAlice)}
	for _, tt := range []struct {
		name   string
		creds  *creds.Holder
		s      Screens
		authz  authz.Authorizer
		viewer vnc.Options
		want   string // code in the log, empty for a screen
	}{
		{"None", nil, Screens{}, nil, vnc.Options{}, ""},
		{"VncAuth", nil, Screens{PasswordFile: secretFile(t, passwordOfView)}, nil, vnc.Options{Password: []byte(passwordOfView)}, ""},
		{"wrong password", nil, Screens{PasswordFile: secretFile(t, passwordOfView)}, nil, vnc.Options{Password: []byte(passwordWrong)}, "vnc-denied"},
		{"TLSNone", anonHolder(t, creds.Server), Screens{}, nil, vnc.Options{Anon: anon}, ""},
		{"TLSVnc", anonHolder(t, creds.Server), Screens{PasswordFile: secretFile(t, passwordOfView)}, nil, vnc.Options{Anon: anon, Password: []byte(passwordOfView)}, ""},
		{"TLSPlain", anonHolder(t, creds.Server), Screens{Accounts: accounts, Security: []vnc.Security{vnc.TLSPlain}}, nil, vnc.Options{Anon: anon, Login: alice, Allow: []vnc.Security{vnc.TLSPlain}}, ""},
		{"X509None", x509, Screens{}, nil, vnc.Options{X509: client}, ""},
		{"X509None of a listed name", x509, Screens{}, authz.DNList{"*,CN=localhost"}, vnc.Options{X509: client}, ""},
		{"X509None of another name", x509, Screens{}, authz.DNList{"*,CN=other"}, vnc.Options{X509: client}, "peer-denied"},
		{"X509Vnc", x509, Screens{PasswordFile: secretFile(t, passwordOfView)}, nil, vnc.Options{X509: client, Password: []byte(passwordOfView)}, ""},
		{"X509Plain", x509, Screens{Accounts: accounts}, nil, vnc.Options{X509: client, Login: alice, Allow: []vnc.Security{vnc.X509Plain}}, ""},
		{"X509SASL", x509, Screens{Accounts: accounts}, nil, vnc.Options{X509: client, Login: alice}, ""},
		{"X509SASL with a wrong password", x509, Screens{Accounts: accounts}, nil, vnc.Options{X509: client, Login: &sasl.Login{User: "alice", Password: []byte(passwordWrong)}}, "vnc-denied"},
		{"X509SASL of an account that is not listed", x509, Screens{Accounts: accounts, Users: authz.DNList{"bob"}}, nil, vnc.Options{X509: client, Login: alice}, "vnc-denied"},
		{"plain viewer", x509, Screens{}, nil, vnc.Options{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := runVNC(t, Options{Listen: Side{address(t, "tcp://127.0.0.1:0"), tt.creds}, Connect: Side{Address: back}, VNC: tt.s, Authz: tt.authz})
			_, err := r.view(t, tt.viewer)
			switch {
			case tt.name == "plain viewer":
				if err == nil || finding.Of(err).Code != "vnc-no-security" {
					t.Error(err)
				}
			case tt.want != "":
				if err == nil {
					t.Error("it has the screen")
				}
				r.log.await(t, "refused", "code="+tt.want)
			default:
				must(t, err)
				r.log.await(t, "accepted")
			}
		})
	}
}

// A list of securities that lets strangers in beside viewers with certificates is
// told of, and refused where an access list is to judge their names.
func TestVNCSecurityOpen(t *testing.T) {
	verified, web := holder(t, shared().ca.dir(t, "localhost", "ec"), creds.Server), webHolder(t, shared().ca.dir(t, "localhost", "ec"))
	password := secretFile(t, passwordOfView)
	for _, tt := range []struct {
		name     string
		creds    *creds.Holder
		security []vnc.Security
		open     bool
	}{
		{"certificates", verified, nil, false},
		{"listed certificates", verified, []vnc.Security{vnc.X509None}, false},
		{"None besides", verified, []vnc.Security{vnc.X509None, vnc.None}, true},
		{"a password besides", verified, []vnc.Security{vnc.X509None, vnc.Password}, false},
		{"certificates of nobody", web, []vnc.Security{vnc.X509None}, true},
		{"a password", web, nil, false},
	} {
		o := Options{
			Protocol: VNC, Listen: Side{address(t, "tcp://127.0.0.1:0"), tt.creds}, Connect: Side{Address: address(t, "unix:///nowhere")},
			VNC: Screens{Security: tt.security, PasswordFile: password},
		}
		g, err := New(o)
		must(t, err)
		if got := slices.ContainsFunc(g.Findings(), func(f finding.Finding) bool { return f.Code == kindOpenScreens.Code }); got != tt.open {
			t.Errorf("%s: open %v, want %v", tt.name, got, tt.open)
		}
		certified := !slices.ContainsFunc(tt.security, func(s vnc.Security) bool { return s == vnc.None || s == vnc.Password })
		o.Authz = authz.DNList{"*,CN=admin"}
		if _, err := New(o); (err == nil) != (certified && tt.creds == verified) {
			t.Errorf("%s, with an access list: %v", tt.name, err)
		}
	}
}

// storeOf reads machines whose targets are those of settings without objects.
func storeOf(t testing.TB, o *Options, text string) *machines.Store {
	t.Helper()
	name := filepath.Join(t.TempDir(), "machines.yaml")
	must(t, os.WriteFile(name, []byte(text), 0o600))
	o.VNC.Target = targets(&object.Registry{}, o)
	s, err := machines.Open(name, machines.Used{}, func(m machines.Machine) error { _, err := o.VNC.Target(m); return err })
	must(t, err)
	return s
}

// Viewers of one listener are taken to the machine that their names say.
func TestVNCMachines(t *testing.T) {
	ca := shared().ca
	server := holder(t, ca.dir(t, "localhost", "ec"), creds.Server)
	accounts := accountsOf(t, map[string]string{"alice": passwordOfAlice, "bob": passwordOfAlice, "carol": passwordOfAlice})
	// Machines differ in the password that the gateway has for them.
	one := screen(t, "unix", vnc.ServerOptions{})
	two := screen(t, "tcp", vnc.ServerOptions{Password: func() []byte { return []byte(passwordOfBack) }})
	o := Options{Listen: Side{address(t, "tcp://127.0.0.1:0"), server}, VNC: Screens{Accounts: accounts}}
	o.VNC.Machines = storeOf(t, &o, "machines:\n"+
		"- {name: one, connect: '"+one.String()+"', users: [alice, carol]}\n"+
		"- {name: two, connect: '"+two.String()+"', users: [carol, dave], allow: ['*,CN=bobs'], connect-password-file: "+secretFile(t, passwordOfBack)+"}\n")
	r := runVNC(t, o)
	for _, tt := range []struct {
		user, cn, want string
	}{
		{"alice", "laptop", "machine=one"},
		{"bob", "bobs", "machine=two"},
		{"bob", "laptop", "code=gateway-vnc-machine"},
		{"carol", "laptop", "code=gateway-vnc-machine"},
	} {
		t.Run(tt.user+" with "+tt.cn, func(t *testing.T) {
			c, err := vnc.Dial(t.Context(), r.dial(t), vnc.Options{
				X509: clientOf(t, ca.dir(t, tt.cn, "ec")), Login: &sasl.Login{User: tt.user, Password: []byte(passwordOfAlice)},
			})
			must(t, err)
			if strings.HasPrefix(tt.want, "code") {
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("it was let in")
				}
				r.log.await(t, "refused", tt.want, "user="+tt.user, "CN="+tt.cn)
				return
			}
			exchange(t, c, "hello")
			r.log.await(t, "accepted", tt.want, "user="+tt.user)
		})
	}
	r.log.await(t, "2 machines are for this viewer (one, two)")
	r.log.await(t, "no machine is for this viewer")
}
