package gateway

import (
	"cmp"
	"strings"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/object"
)

// Settings are those of one gateway, as flags and the configuration file have
// them. Their help is that of the command, and of the file's JSON schema.
type Settings struct {
	ListenTLSCreds  string `yaml:"listen-tls-creds" name:"listen-tls-creds" help:"Id of the credentials to listen with, an object with endpoint=server. Without it the listener is plain." placeholder:"ID"`
	TLSAuthz        string `yaml:"tls-authz" name:"tls-authz" help:"Id of an access list that judges the names of clients." placeholder:"ID"`
	ConnectTLSCreds string `yaml:"connect-tls-creds" name:"connect-tls-creds" help:"Id of the credentials to connect with, an object with endpoint=client. Without it the service is spoken to plainly." placeholder:"ID"`
	TLSHostname     string `yaml:"tls-hostname" name:"tls-hostname" help:"Name that the service's certificate must have, if it is not the host that is connected to." placeholder:"NAME"`
	NameAuthorities bool   `yaml:"name-authorities" help:"Tell clients by which authorities their certificates should be. GnuTLS before 3.8.13 then keeps RSA certificates back; clients with several certificates need it."`

	MaxConnections    int           `yaml:"max-connections" help:"How many connections there may be at once; without it as many as file descriptors allow." placeholder:"N"`
	MaxPerClient      int           `yaml:"max-per-client" help:"How many connections one address may have at once, or one /64 network of IPv6; without it any number." placeholder:"N"`
	HandshakeTimeout  time.Duration `yaml:"handshake-timeout" help:"How long a client's handshake may take (default: 10s; of VNC, where people type passwords, 1m)." placeholder:"TIME"`
	ConnectTimeout    time.Duration `yaml:"connect-timeout" help:"How long connecting to the service may take, its handshake included (default: 10s)." placeholder:"TIME"`
	IdleTimeout       time.Duration `yaml:"idle-timeout" help:"End connections on which nothing was sent for so long (default: never)." placeholder:"TIME"`
	HalfClosedTimeout time.Duration `yaml:"half-closed-timeout" help:"The same for connections of which one end has said that it is done (default: 10m)." placeholder:"TIME"`
	Keepalive         time.Duration `yaml:"keepalive" help:"How long a connection may be silent before TCP asks whether the peer is still there (default: 1m)." placeholder:"TIME"`
	DrainTimeout      time.Duration `yaml:"drain-timeout" help:"How long connections may go on when the gateway is to stop (default: 30s)." placeholder:"TIME"`
	ProxyProtocol     bool          `yaml:"proxy-protocol" help:"Tell the service who the client is, by a header of the PROXY protocol, version 2."`
}

// defaultDrain is how long users wait for a program to stop.
const defaultDrain = 30 * time.Second

// An Endpoint is what a gateway is between.
type Endpoint struct {
	Name     string   `yaml:"name" help:"Name in the log and the metrics."`
	Protocol Protocol `yaml:"protocol" help:"tls (default), libvirt, nbd or vnc."`
	Listen   string   `yaml:"listen" help:"Where to listen: tls://HOST:PORT, tcp://HOST:PORT, unix:///PATH or fd://NAME."`
	Connect  string   `yaml:"connect" help:"Where the service is: tls://HOST:PORT, tcp://HOST:PORT or unix:///PATH."`
}

// address takes NBD's own schemes for those of addresses that say the same.
func (p Protocol) address(text string) string {
	if rest, ok := strings.CutPrefix(text, "nbd://"); ok && p == NBD {
		return schemeTCP + "://" + rest
	}
	if rest, ok := strings.CutPrefix(text, "nbds://"); ok && p == NBD {
		return schemeTLS + "://" + rest
	}
	return text
}

// Exported is a rule for an export of NBD, as the configuration file has it.
type Exported struct {
	Name     string   `yaml:"name" help:"Name of the export; empty for the one without a name."`
	TLSAuthz string   `yaml:"tls-authz" help:"Id of an access list that judges the names of clients."`
	Allow    []string `yaml:"allow" help:"Patterns for names of clients: a certificate's DN in its order, or the user of a pre-shared key; * is any run, ? one character."`
}

// Options makes the options of a gateway, with the credentials that it uses,
// from the objects of a registry. The rules of Allow are left to the caller.
func (d *Defined) Options(r *object.Registry, access Access) (o Options, used []Credential, err error) {
	s, e := &d.Settings, &d.Endpoint
	o = Options{
		Name: e.Name, Protocol: e.Protocol, Hostname: s.TLSHostname, Access: access, NameAuthorities: s.NameAuthorities,
		MaxConnections: s.MaxConnections, MaxPerClient: s.MaxPerClient,
		HandshakeLimit: s.HandshakeTimeout, ConnectLimit: s.ConnectTimeout, IdleLimit: s.IdleTimeout, LingerLimit: s.HalfClosedTimeout,
		KeepAlive: s.Keepalive, DrainLimit: cmp.Or(s.DrainTimeout, defaultDrain), SendProxy: s.ProxyProtocol,
	}
	for _, side := range []struct {
		*Side
		url, id string
		end     creds.Endpoint
	}{{&o.Listen, e.Listen, s.ListenTLSCreds, creds.Server}, {&o.Connect, e.Connect, s.ConnectTLSCreds, creds.Client}} {
		if side.url != "" || e.Protocol != VNC {
			if side.Address, err = ParseAddress(e.Protocol.address(side.url), e.Protocol.port()); err != nil {
				return o, nil, err
			}
		}
		if side.id == "" {
			continue
		}
		if side.Credentials, _, err = r.Creds(side.id, side.end); err != nil {
			return o, nil, err
		}
		used = append(used, Credential{side.id, side.Credentials})
	}
	if o.Authz, err = list(r, s.TLSAuthz); err != nil {
		return o, nil, err
	}
	if o.Exports, err = exportsFor(r, d.Exports); err != nil || e.Protocol != VNC {
		return o, used, err
	}
	more, err := d.VNC.options(r, &o)
	return o, append(used, more...), err
}

// list returns the access list with an id, nil for none, and keeps it in place.
func list(r *object.Registry, id string) (authz.Authorizer, error) {
	if id == "" {
		return nil, nil
	}
	if _, err := r.Use(id); err != nil {
		return nil, err
	}
	return r.Authz(id), nil
}

// AccessFor makes rules: each name may come from each network. An empty name is
// an error: a variable of a script that is not set must not let in everybody.
func AccessFor(names, networks []string) (Access, error) {
	from, err := ParsePrefixes(networks)
	if err != nil {
		return nil, err
	}
	var rules Access
	for _, pattern := range names {
		if pattern == "" {
			return nil, kindAccess.Found("allow-dn", "an empty pattern").WithFix("write * for every name, or leave the rule out").Usage()
		}
		rules = append(rules, Rule{DN: pattern, From: from})
	}
	if len(rules) == 0 && len(from) > 0 {
		rules = Access{{From: from}}
	}
	return rules, nil
}
