// Package fleet turns a fleet file into the credentials of every host, client
// and pre-shared key user in it: it plans what is missing or due, has the
// authority issue it, stages it as each consumer wants it, and proves the
// result by TLS handshakes.
//
// The fleet file says what should be; the state directory says what is. Apply
// makes the second match the first and can be run, interrupted and run again
// at any time.
package fleet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"virtls/layout"
	"virtls/pki"
)

// A File is a decoded fleet file. The doc tags are the reference
// (docs/fleet-file.md and its JSON schema are generated from them).
type File struct {
	Organization string    `yaml:"organization" doc:"Name of the organization. It is the O of every subject and the name of the authority." required:"true"`
	Authority    Authority `yaml:"authority" doc:"The certificate authority. It is made on the first run."`
	PQC          PQC       `yaml:"pqc" doc:"Post-quantum signatures (ML-DSA). off: none. hybrid: hosts that can load them get an ML-DSA identity first and a classical one second. exclusive: ML-DSA alone." enum:"off,hybrid,exclusive" default:"off"`
	Defaults     Defaults  `yaml:"defaults" doc:"What holds for every host and client that does not say otherwise."`
	Hosts        []Host    `yaml:"hosts" doc:"The virtualization hosts."`
	Clients      []Client  `yaml:"clients" doc:"People and programs that connect to hosts."`
	PSK          []PSKUser `yaml:"psk" doc:"Users of pre-shared keys: an alternative to certificates for QEMU's NBD, migration and character devices."`

	lines map[string]int // line of each field, by path
	name  string         // of the file, for messages

	hosts    map[string]*Host // by name
	clients  map[string]*Client
	admitted []string // the DNs that libvirt on a host admits unless the host says otherwise
}

// Subject holds the fields of a distinguished name that are not the host's or client's own.
type Subject struct {
	Country      string `yaml:"country" doc:"C of the subject: two capital letters (ISO 3166)."`
	State        string `yaml:"state" doc:"ST of the subject: state or province."`
	Locality     string `yaml:"locality" doc:"L of the subject: town."`
	Organization string `yaml:"organization" doc:"O of the subject, if it is not the fleet's organization."`
	Unit         string `yaml:"unit" doc:"OU of the subject."`
}

// Authority describes the certificate authority.
type Authority struct {
	Name    string   `yaml:"name" doc:"CN of the authority." default:"ORGANIZATION CA"`
	Subject Subject  `yaml:",inline"`
	Key     string   `yaml:"key" doc:"Key type of the classical authority." enum-text:"ec (P-256), p384, p521, rsa (3072), rsa2048 to rsa8192, ed25519" default:"ec"`
	Days    int      `yaml:"days" doc:"Life of the authority in days." default:"3650"`
	CRLDays int      `yaml:"crl-days" doc:"Days until the next revocation list is due." default:"30"`
	Trust   []string `yaml:"trust" doc:"Files with further authorities to trust, PEM, relative to the fleet file. They are added to every CA bundle."`
}

// Defaults are the values that hosts and clients inherit.
type Defaults struct {
	Subject  Subject `yaml:",inline"`
	Key      string  `yaml:"key" doc:"Key type of hosts and clients." enum-text:"ec (P-256), p384, p521, rsa (3072), rsa2048 to rsa8192, ed25519" default:"ec"`
	Days     int     `yaml:"days" doc:"Life of certificates in days. None outlives its authority. They are renewed at two thirds of their life." default:"365"`
	Uses     Uses    `yaml:"uses" doc:"What hosts use credentials for; see uses of a host." default:"{libvirt: both, qemu: both}"`
	Platform string  `yaml:"platform" doc:"What hosts run; see platform of a host."`
}

// A Host is a virtualization host.
type Host struct {
	Name      string   `yaml:"name" doc:"Full host name. It is the CN of the host's certificates; it and its short form are among their DNS names." required:"true"`
	Names     []string `yaml:"names" doc:"Further DNS names by which the host is reached, such as that of its migration network."`
	Addresses []string `yaml:"addresses" doc:"IPv4 and IPv6 addresses by which the host is reached."`
	Subject   Subject  `yaml:",inline"`
	Uses      Uses     `yaml:"uses" doc:"What the host uses credentials for: a service, a list of services, or a map from service to roles. Services: qemu, libvirt, and libvirt's per-service directories libvirt-vnc, libvirt-spice, libvirt-rdp, libvirt-chardev, libvirt-nbd, libvirt-migrate, libvirt-backup. Roles: server, client, [server, client] (a certificate each), both (one certificate for both, saved under both names). A map {roles: ..., dir: ...} sets another directory than the service's default."`
	Key       string   `yaml:"key" doc:"Key type of the host's certificates."`
	Days      int      `yaml:"days" doc:"Life of the host's certificates in days."`
	Allow     []string `yaml:"allow" doc:"Names of the clients and hosts that libvirt on this host admits (tls_allowed_dn_list). Default: all clients with libvirt among their uses, and all hosts with libvirt's client role."`
	Platform  string   `yaml:"platform" doc:"What the host runs: it decides QEMU's group, who owns libvirt's TLS socket, and what the host's GnuTLS can load." enum:"platforms"`
	QEMU      string   `yaml:"qemu" doc:"Version of QEMU, if it is not the platform's."`
	Libvirt   string   `yaml:"libvirt" doc:"Version of libvirt, if it is not the platform's."`
	GnuTLS    string   `yaml:"gnutls" doc:"Version of GnuTLS, if it is not the platform's."`
	MLDSA     *bool    `yaml:"ml-dsa" doc:"Whether the host's GnuTLS can load ML-DSA keys: 3.8.10 or later, built with leancrypto (Debian's builds are not)."`
	QEMUUser  string   `yaml:"qemu-user" doc:"User that QEMU runs as, if it is not the platform's."`
	QEMUGroup string   `yaml:"qemu-group" doc:"Group that QEMU runs as, if it is not the platform's."`
}

// A Client is a person or a program.
type Client struct {
	Name    string    `yaml:"name" doc:"CN of the client's certificate." required:"true"`
	Subject Subject   `yaml:",inline"`
	Uses    ClientUse `yaml:"uses" doc:"Services the client connects to: libvirt, qemu." default:"[libvirt, qemu]"`
	System  bool      `yaml:"system" doc:"true: files for a program that runs as root, below /etc/pki. false: files for a person, below the home directory's .pki." default:"false"`
	Key     string    `yaml:"key" doc:"Key type of the client's certificates."`
	Days    int       `yaml:"days" doc:"Life of the client's certificates in days."`
	MLDSA   *bool     `yaml:"ml-dsa" doc:"Whether the client's GnuTLS can load ML-DSA keys." default:"false"`
}

// A PSKUser has a pre-shared key of its own with every server.
type PSKUser struct {
	User    string   `yaml:"user" doc:"User name, as in tls-creds-psk,username=." required:"true"`
	Servers []string `yaml:"servers" doc:"Hosts that accept the user. Each gets a key of its own for the user." required:"true"`
	Holders []string `yaml:"holders" doc:"Hosts and clients that connect as the user." required:"true"`
}

// PQC says which signatures a fleet uses.
type PQC string

// The choices of pqc.
const (
	PQCOff       PQC = "off"
	PQCHybrid    PQC = "hybrid"
	PQCExclusive PQC = "exclusive"
)

// UnmarshalYAML accepts what YAML 1.1 makes of an unquoted off.
func (p *PQC) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fieldError(n, "found %s, want off, hybrid or exclusive", kindName(n))
	}
	switch *p = PQC(n.Value); *p {
	case PQCOff, PQCHybrid, PQCExclusive:
	case "false", "no":
		*p = PQCOff
	default:
		return fieldError(n, "unknown choice %q%s; want off, hybrid or exclusive", n.Value, suggest(n.Value, []string{"off", "hybrid", "exclusive"}))
	}
	return nil
}

// A Use is one service with its roles.
type Use struct {
	Service layout.Service
	Roles   []layout.Role
	Shared  bool   // one certificate for all roles, saved under each name
	Dir     string // directory on the host, if not the service's default
}

// Uses are in the order of the file.
type Uses []Use

// ClientUse lists the services of a client.
type ClientUse []layout.Service

// over returns s with its empty fields taken from base.
func (s Subject) over(base Subject) Subject {
	return Subject{
		Country: cmp.Or(s.Country, base.Country), State: cmp.Or(s.State, base.State), Locality: cmp.Or(s.Locality, base.Locality),
		Organization: cmp.Or(s.Organization, base.Organization), Unit: cmp.Or(s.Unit, base.Unit),
	}
}

// UnmarshalYAML reads the list form [libvirt, qemu] and the map forms.
func (u *Uses) UnmarshalYAML(n *yaml.Node) error {
	*u = Uses{}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := u.add(item, nil); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			if err := u.add(n.Content[i], n.Content[i+1]); err != nil {
				return err
			}
		}
	default:
		return u.add(n, nil)
	}
	return nil
}

func (u *Uses) add(name, value *yaml.Node) error {
	if name.Kind != yaml.ScalarNode {
		return fieldError(name, "found %s, want the name of a service; services with roles are a map, such as {libvirt: both}", kindName(name))
	}
	use := Use{Service: layout.Service(name.Value)}
	if !use.Service.Known() {
		return fieldError(name, "unknown service %q%s", name.Value, suggest(name.Value, serviceNames()))
	}
	for _, have := range *u {
		if have.Service == use.Service {
			return fieldError(name, "service %s is listed twice", name.Value)
		}
	}
	roles := value
	if value != nil && value.Kind == yaml.MappingNode {
		var err error
		if roles, err = use.setFields(value); err != nil {
			return err
		}
	}
	if err := use.setRoles(roles); err != nil {
		return err
	}
	*u = append(*u, use)
	return nil
}

// setFields reads the form {roles: ..., dir: ...} and returns the roles.
func (u *Use) setFields(n *yaml.Node) (roles *yaml.Node, err error) {
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if seen[k.Value] {
			return nil, fieldError(k, "field %q stands twice in %s", k.Value, u.Service)
		}
		seen[k.Value] = true
		switch k.Value {
		case "roles":
			roles = v
		case "dir":
			if u.Dir = v.Value; v.Kind != yaml.ScalarNode || !strings.HasPrefix(u.Dir, "/") {
				return nil, fieldError(v, "dir: found %s, want an absolute path", kindName(v))
			}
		default:
			return nil, fieldError(k, "unknown field %q in %s%s", k.Value, u.Service, suggest(k.Value, []string{"roles", "dir"}))
		}
	}
	return roles, nil
}

// setRoles reads the roles of a use. Without any, the service is used in every
// role it has, with one certificate.
func (u *Use) setRoles(n *yaml.Node) error {
	possible := u.Service.Roles()
	if n != nil && n.Tag == "!!null" {
		n = nil
	}
	if n == nil || n.Kind == yaml.ScalarNode && n.Value == "both" {
		if n != nil && len(possible) < 2 {
			return fieldError(n, "%s is used as %s only", u.Service, possible[0])
		}
		u.Roles, u.Shared = possible, len(possible) > 1
		return nil
	}
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	if len(items) == 0 {
		return fieldError(n, "%s has no roles; want server, client, [server, client] or both", u.Service)
	}
	for _, item := range items {
		role, err := roleOf(item)
		if err != nil {
			return err
		}
		allowed := false
		for _, p := range possible {
			allowed = allowed || p == role
		}
		if !allowed {
			return fieldError(item, "%s is never used as %s", u.Service, role)
		}
		for _, have := range u.Roles {
			if have == role {
				return fieldError(item, "role %s is listed twice", role)
			}
		}
		u.Roles = append(u.Roles, role)
	}
	return nil
}

func roleOf(n *yaml.Node) (layout.Role, error) {
	switch n.Value {
	case "server":
		return layout.Server, nil
	case "client":
		return layout.Client, nil
	}
	return 0, fieldError(n, "unknown role %s%s; want server, client, [server, client] or both", kindName(n), suggest(n.Value, []string{"server", "client", "both"}))
}

func serviceNames() []string {
	var names []string
	for _, s := range layout.Services() {
		names = append(names, string(s))
	}
	return names
}

// UnmarshalYAML reads a list of services.
func (c *ClientUse) UnmarshalYAML(n *yaml.Node) error {
	*c = ClientUse{}
	items := n.Content
	switch n.Kind {
	case yaml.ScalarNode:
		items = []*yaml.Node{n}
	case yaml.MappingNode:
		return fieldError(n, "found a map, want a list of services: libvirt, qemu or both")
	}
	for _, item := range items {
		s := layout.Service(item.Value)
		if s != layout.Libvirt && s != layout.QEMU {
			return fieldError(item, "unknown service %s%s; a client uses libvirt, qemu or both", kindName(item), suggest(item.Value, []string{"libvirt", "qemu"}))
		}
		if slices.Contains(*c, s) {
			return fieldError(item, "service %s is listed twice", s)
		}
		*c = append(*c, s)
	}
	return nil
}

// ShortName returns the first label of a host name, empty if it has no other.
func ShortName(name string) string {
	short, _, dotted := strings.Cut(name, ".")
	if !dotted {
		return ""
	}
	return short
}

// platform returns the host's platform with what the host says of itself.
func (h *Host) platform() (layout.Platform, error) {
	p := layout.Platform{}
	if h.Platform != "" {
		var err error
		if p, err = layout.PlatformByName(h.Platform); err != nil {
			return p, err
		}
	}
	for _, o := range []struct {
		to   *layout.Version
		from string
	}{{&p.QEMU, h.QEMU}, {&p.Libvirt, h.Libvirt}, {&p.GnuTLS, h.GnuTLS}} {
		if o.from != "" {
			*o.to = layout.Version(o.from)
		}
	}
	if h.QEMUUser != "" {
		p.QEMUUser = h.QEMUUser
	}
	if h.QEMUGroup != "" {
		p.QEMUGroup = h.QEMUGroup
	}
	if h.MLDSA != nil {
		p.MLDSA = *h.MLDSA
	}
	return p, nil
}

// altNames returns the host's names and addresses as subject alternative names.
func (h *Host) altNames() (pki.GeneralNames, error) {
	var names pki.GeneralNames
	seen := map[string]bool{}
	add := func(s string) {
		if s != "" && !seen[strings.ToLower(s)] {
			seen[strings.ToLower(s)] = true
			names = append(names, pki.DNSName(s))
		}
	}
	if ip, err := netip.ParseAddr(h.Name); err == nil {
		seen[ip.String()] = true
		names = append(names, pki.IPAddress(ip))
	} else {
		add(h.Name)
		add(ShortName(h.Name))
	}
	for _, n := range h.Names {
		add(n)
	}
	for _, a := range h.Addresses {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			return nil, fmt.Errorf("%q is not an IP address", a)
		}
		if ip = ip.Unmap(); !seen[ip.String()] {
			seen[ip.String()] = true
			names = append(names, pki.IPAddress(ip))
		}
	}
	return names, nil
}
