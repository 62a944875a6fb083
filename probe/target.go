package probe

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"virtls/finding"
	"virtls/proto/libvirt"
	"virtls/proto/nbd"
)

// A Target is a service to be probed.
type Target struct {
	Host string // name or address
	Port int
	URI  *libvirt.URI // nil unless it is libvirt's
	NBD  *nbd.Target  // nil unless it is an NBD server
	text string
}

// String returns the target as it was written.
func (t Target) String() string { return t.text }

// Scheme returns what stands before "://".
func (t Target) Scheme() string {
	scheme, _, _ := strings.Cut(t.text, "://")
	return scheme
}

// drivers are those of libvirt to which TLS leads. Where the URI names the
// transport any driver is taken.
var drivers = []string{"qemu", "test", "lxc", "xen", "vbox", "bhyve", "ch", "vz", "openvz", "network", "interface", "storage", "nodedev", "nwfilter", "secret"}

// ParseTarget reads tls://HOST:PORT, an address of NBD's (nbd://, nbds://,
// nbd+unix://, nbds+unix://) or a URI of libvirt's. The error is a
// *[finding.Failure].
func ParseTarget(text string) (Target, error) {
	if nbd.IsURI(text) {
		return parseNBD(text)
	}
	if !strings.HasPrefix(text, "tls://") {
		u, err := libvirt.ParseURI(text)
		if err != nil {
			return Target{}, kindTarget.Found("target", strconv.Quote(text)).WithText("%v", err).Usage()
		}
		if !strings.Contains(text[:strings.Index(text, ":")], "+") && !slices.Contains(drivers, u.Driver) {
			f := kindTarget.Found("target", strconv.Quote(text)).WithText("nothing is known of %s://", u.Driver)
			if near := finding.Nearest(u.Driver, append([]string{"tls"}, drivers...)); near != "" {
				f = f.WithFix("did you mean %s://?", near)
			}
			return Target{}, f.Usage()
		}
		if u.Transport != libvirt.TLS && u.Transport != libvirt.TCP {
			return Target{}, kindTarget.Found("target", strconv.Quote(text)).WithText("its transport is %s, which has no TLS to be probed", u.Transport).Usage()
		}
		return Target{Host: u.Host, Port: u.Port, URI: u, text: text}, nil
	}
	bad := func(why string) (Target, error) {
		return Target{}, kindTarget.Found("target", strconv.Quote(text)).WithText("%s", why).Usage()
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return bad(err.Error())
	case u.Hostname() == "" || u.Port() == "":
		return bad("a tls:// target has a host and a port")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil || u.Fragment != "":
		return bad("a tls:// target has a host and a port, and nothing else")
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return bad("the port is not between 1 and 65535")
	}
	return Target{Host: u.Hostname(), Port: int(port), text: text}, nil
}

// parseNBD reads an address as libnbd's programs do.
func parseNBD(text string) (Target, error) {
	a, err := nbd.ParseURI(text)
	if err != nil {
		return Target{}, err
	}
	t := Target{Host: a.Host, NBD: &a, text: text}
	if a.Network == "tcp" {
		port, _ := strconv.ParseUint(a.Port, 10, 16) // ParseURI has seen to it
		t.Port = int(port)
	}
	return t, nil
}

// local tells whether the target is a UNIX socket.
func (t Target) local() bool { return t.NBD != nil && t.NBD.Network == "unix" }
