package gateway

import (
	"cmp"
	"os"
	"reflect"
	"strings"

	"virtls/creds"
	"virtls/gateway/machines"
	"virtls/object"
	"virtls/sasl"
	"virtls/sasl/gssapi"
)

// VNCSettings are those of a gateway of VNC alone, as flags and the configuration
// file have them.
type VNCSettings struct {
	Machines            string   `yaml:"machines" help:"File or directory of YAML files that say which machines there are and who may see them; in the place of one service to connect to." placeholder:"PATH"`
	UsedTokens          string   `yaml:"used-tokens" help:"Directory that keeps, also when the gateway begins anew, which of the tokens were used that may be used once; by default $STATE_DIRECTORY of systemd, if it is set." placeholder:"DIR"`
	Accounts            string   `yaml:"accounts" help:"File of accounts by which viewers log in, with SASL or Plain and on the web page; virtls passwd makes it." placeholder:"FILE"`
	Keytab              string   `yaml:"keytab" help:"Keytab with the keys of vnc/HOST, this machine's name: viewers that have tickets of Kerberos log in by SASL's GSSAPI." placeholder:"FILE"`
	SASLAuthz           string   `yaml:"sasl-authz" name:"sasl-authz" help:"Id of an access list that judges the names of accounts, and those that Kerberos gives." placeholder:"ID"`
	PasswordFile        string   `yaml:"password-file" help:"File with the password of RFB's own password type, of which eight octets count; only its owner may read it." placeholder:"FILE"`
	Security            []string `yaml:"security" help:"Security types to offer, the best first: X509SASL, X509Plain, X509Vnc, X509None, TLSSASL, TLSPlain, TLSVnc, TLSNone, SASL, VncAuth, None. Without it all that the credentials, accounts and password make possible, but for TLSPlain." placeholder:"SECURITY" complete:"security"`
	ConnectUser         string   `yaml:"connect-user" help:"User to log in as at the VNC server, by SASL." placeholder:"NAME"`
	ConnectPasswordFile string   `yaml:"connect-password-file" help:"File with the password for the VNC server, which viewers never see; only its owner may read it." placeholder:"FILE"`
	ConnectPrincipal    string   `yaml:"connect-principal" help:"Kerberos principal to log in as at the VNC server, by SASL's GSSAPI, in the place of a user and a password." placeholder:"NAME"`
	ConnectKeytab       string   `yaml:"connect-keytab" help:"Keytab with the keys of that principal." placeholder:"FILE"`
	Websocket           string   `yaml:"websocket" help:"Where browsers come in, for the list of machines and their consoles: tls://HOST:PORT; the port is 443 if none is given." placeholder:"URL"`
	WebsocketTLSCreds   string   `yaml:"websocket-tls-creds" name:"websocket-tls-creds" help:"Id of the credentials for browsers, an object with endpoint=server; with verify-peer=off browsers need no certificate." placeholder:"ID"`
	WebsocketOrigin     []string `yaml:"websocket-origin" help:"Another site whose pages may open consoles, such as https://portal.example.com. May be given several times." placeholder:"ORIGIN" sep:"none"`
	WebsocketProxy      []string `yaml:"websocket-proxy" help:"Network, address, or unix, from which proxies of HTTP such as nginx come: their X-Forwarded-For says whose failed logins count, and is in the log. May be given several times." placeholder:"NETWORK" sep:"none"`
}

// isZero tells whether nothing is set.
func (v *VNCSettings) isZero() bool {
	return reflect.ValueOf(*v).IsZero()
}

// options fills in the part of the options that is VNC's alone, and returns the
// credentials that it uses.
func (v *VNCSettings) options(r *object.Registry, o *Options) (used []Credential, err error) {
	s := &o.VNC
	s.PasswordFile, s.Origins = v.PasswordFile, v.WebsocketOrigin
	s.Login = login{v.ConnectUser, v.ConnectPasswordFile, v.ConnectPrincipal, v.ConnectKeytab}
	if v.Keytab != "" {
		s.Kerberos = &gssapi.Server{Keytab: v.Keytab}
	}
	for _, name := range s.keytabs() {
		if err := gssapi.CheckKeytab(name); err != nil {
			return nil, kindLogin.Found(name, "").WithText("the keys of Kerberos cannot be used").Unable(err)
		}
	}
	if s.Proxies, err = ParseProxies(v.WebsocketProxy); err != nil {
		return nil, err
	}
	for _, name := range v.Security {
		security, err := ParseSecurity(name)
		if err != nil {
			return nil, err
		}
		s.Security = append(s.Security, security)
	}
	if s.Users, err = list(r, v.SASLAuthz); err != nil {
		return nil, err
	}
	if v.Accounts != "" {
		if s.Accounts, err = sasl.OpenAccounts(v.Accounts); err != nil {
			return nil, err
		}
	}
	for _, name := range s.secrets() {
		if _, err := machines.ReadSecret(name); err != nil {
			return nil, kindLogin.Found(name, "").WithText("the password cannot be read").Unable(err)
		}
	}
	if v.Websocket != "" {
		if s.Web.Address, err = ParseAddress(v.Websocket, webPort); err != nil {
			return nil, err
		}
	}
	if v.WebsocketTLSCreds != "" {
		if s.Web.Credentials, _, err = r.Creds(v.WebsocketTLSCreds, creds.Server); err != nil {
			return nil, err
		}
		used = append(used, Credential{v.WebsocketTLSCreds, s.Web.Credentials})
	}
	if v.Machines == "" {
		if v.UsedTokens != "" {
			return nil, kindOptions.Found("gateway "+o.Name, v.UsedTokens).WithText("without --machines there are no tokens that --used-tokens could keep in mind").Usage()
		}
		return used, nil
	}
	s.Target = targets(r, o)
	check := func(m machines.Machine) error { _, err := s.Target(m); return err }
	where := v.UsedTokens
	if where == "" {
		where, _, _ = strings.Cut(os.Getenv("STATE_DIRECTORY"), ":") // systemd.exec(5)
	}
	keeps, err := machines.OpenUsed(where)
	if err != nil {
		return nil, err
	}
	if s.Machines, err = machines.Open(v.Machines, keeps, check); err != nil {
		return nil, err
	}
	// Machines that come later may use any of the credentials there are.
	for id, h := range r.Holders(creds.Client) {
		used = append(used, Credential{id, h})
	}
	return used, nil
}

// webPort is where browsers look.
const webPort = "443"

// targets returns what says where a machine is; what it does not say itself is as
// the options have it.
func targets(r *object.Registry, o *Options) func(machines.Machine) (target, error) {
	side, given, hostname := o.Connect, o.VNC.Login, o.Hostname
	return func(m machines.Machine) (t target, err error) {
		t = target{Side: side, hostname: m.TLSHostname, machine: m.Name, login: given}
		if t.Address, err = ParseAddress(m.Connect, VNCPort); err != nil {
			return t, err
		}
		if err := t.Address.checkConnect(); err != nil {
			return t, err
		}
		switch {
		case m.ConnectTLSCreds == "" && m.TLSHostname == "" && t.Address.network == schemeUNIX:
			t.Credentials = nil // nobody is between two programs of one machine
		case m.ConnectTLSCreds != "":
			if t.Credentials, _, err = r.Creds(m.ConnectTLSCreds, creds.Client); err != nil {
				return t, err
			}
		}
		t.hostname = cmp.Or(t.hostname, t.Address.host, hostname)
		if m.ConnectPasswordFile != "" {
			t.login = login{user: m.ConnectUser, passwordFile: m.ConnectPasswordFile}
		}
		return t, t.check()
	}
}

// check refuses a target that cannot be reached as it should be.
func (t target) check() error {
	wrong := func(format string, args ...any) error {
		return kindOptions.Found("machine "+t.machine, "").WithText(format, args...).Usage()
	}
	switch h := t.Credentials; {
	case h == nil && t.Address.tls:
		return wrong("%s wants TLS, but there are no credentials to connect with (connect-tls-creds)", t.Address)
	case t.hostname == "" && t.login.keytab != "":
		return wrong("whose principal of Kerberos is %s to prove? say its host with tls-hostname", t.Address)
	case h == nil:
	case h.Current().Type() == "tls-creds-psk":
		return wrong("Unsupported TLS cred type tls-creds-psk")
	case t.hostname == "" && verifies(h):
		return wrong("whose certificate is %s to show? say it with tls-hostname", t.Address)
	}
	return nil
}
