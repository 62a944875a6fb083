package probe

import (
	"errors"
	"net"
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
	Host string // name or address; empty for a UNIX socket
	Port int
	URI  *libvirt.URI // nil unless it is libvirt's
	NBD  *nbd.Target  // nil unless it is an NBD server
	VNC  *VNCTarget   // nil unless it is a VNC server
	text string
}

// String returns the target as it was written, without what may be secret.
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
// nbd+unix://, nbds+unix://) or VNC's (vnc://HOST:PORT, vnc+unix:///PATH, ws:// and
// wss://), or a URI of libvirt's. The error is a *[finding.Failure].
func ParseTarget(text string) (Target, error) {
	switch scheme, _, _ := strings.Cut(text, "://"); {
	case nbd.IsURI(text):
		return parseNBD(text)
	case isVNC(scheme):
		return parseVNC(text)
	case scheme == "tls":
		return parseTLS(text)
	case !strings.Contains(text, ":/"):
		return Target{}, withoutScheme(text).Usage()
	}
	return parseLibvirt(text)
}

// withoutScheme tells of a target that is a host alone, or one with a port, which
// often says what listens there.
func withoutScheme(text string) finding.Finding {
	f := kindTarget.Found("target", strconv.Quote(text)).WithText("the target does not say what to speak there")
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = text, ""
	}
	if host == "" || strings.ContainsAny(text, "/ ") {
		return f
	}
	switch n, _ := strconv.Atoi(port); {
	case port == "":
		return f.WithFix("qemu://%s/system for libvirt, nbds://%[1]s for NBD, vnc://%[1]s for VNC, tls://%[1]s:PORT for others", text)
	case n == 16514:
		return f.WithFix("libvirt's port: qemu://%s/system", text)
	case n == nbd.DefaultPort:
		return f.WithFix("NBD's port: nbds://%s", text)
	case n >= 5900 && n < 6000:
		return f.WithFix("a VNC port: vnc://%s", text)
	}
	return f.WithFix("tls://%s for a character device or a migration, vnc://, nbds:// or qemu:// for those", text)
}

// badTarget is the error of a target that cannot be probed.
func badTarget(text, format string, args ...any) error {
	return kindTarget.Found("target", strconv.Quote(text)).WithText(format, args...).Usage()
}

func parseLibvirt(text string) (Target, error) {
	u, err := libvirt.ParseURI(text)
	if err != nil {
		return Target{}, badTarget(text, "%v", err)
	}
	if !strings.Contains(text[:strings.Index(text, ":")], "+") && !slices.Contains(drivers, u.Driver) {
		f := kindTarget.Found("target", strconv.Quote(text)).WithText("nothing is known of %s://", u.Driver)
		if near := finding.Nearest(u.Driver, append([]string{"tls", "vnc", "wss"}, drivers...)); near != "" {
			f = f.WithFix("did you mean %s://?", near)
		}
		return Target{}, f.Usage()
	}
	if u.Transport != libvirt.TLS && u.Transport != libvirt.TCP {
		return Target{}, badTarget(text, "its transport is %s, which has no TLS to be probed", u.Transport)
	}
	return Target{Host: u.Host, Port: u.Port, URI: u, text: text}, nil
}

func parseTLS(text string) (Target, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Target{}, badTarget(text, "%v", err)
	case u.Hostname() == "" || u.Port() == "":
		return Target{}, badTarget(text, "a tls:// target has a host and a port")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil || u.Fragment != "":
		return Target{}, badTarget(text, "a tls:// target has a host and a port, and nothing else")
	}
	port, err := parsePort(u.Port())
	if err != nil {
		return Target{}, badTarget(text, "%v", err)
	}
	return Target{Host: u.Hostname(), Port: port, text: text}, nil
}

func parsePort(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New("the port is not between 1 and 65535")
	}
	return int(port), nil
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

// socket returns the path of the UNIX socket that the target is, empty if it is none.
func (t Target) socket() string {
	switch {
	case t.NBD != nil && t.NBD.Network == "unix":
		return t.NBD.Path
	case t.VNC != nil:
		return t.VNC.Path
	}
	return ""
}

// local tells whether the target is a UNIX socket.
func (t Target) local() bool { return t.socket() != "" }
