package libvirt

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"virtls/finding"
)

// Ports on which libvirt listens (LIBVIRTD_TLS_PORT, LIBVIRTD_TCP_PORT).
const (
	TLSPort = 16514
	TCPPort = 16509
)

var kindURI = finding.Define("libvirt-uri", finding.Error,
	"this is not a URI as libvirt has them",
	"write DRIVER://HOST/PATH or DRIVER+tls://HOST[:PORT]/PATH?pkipath=DIR, such as qemu://kvm1.example.com/system")

// A Transport is how a client of libvirt reaches the server.
type Transport string

// The transports that virtls speaks. There are others: ssh, libssh, libssh2, ext.
const (
	TLS  Transport = "tls"
	TCP  Transport = "tcp"
	Unix Transport = "unix"
)

// A URI is one of libvirt's, such as qemu+tls://host/system?pkipath=/dir.
type URI struct {
	Driver    string // "qemu", "test", ...
	Transport Transport
	Host      string // without brackets; "localhost" if a transport was named and no host
	Port      int    // the transport's own if none was named; 0 for those without
	Path      string

	PKIPath  string
	NoVerify bool
	NoSanity bool
	Priority string // tls_priority
	Name     string // the URI to be opened, in the place of what is made of this one

	User string
	rest []string // parameters that are the driver's, as they were
}

// ParseURI reads a URI as libvirt 12.8's remote driver does
// (src/remote/remote_driver.c, src/util/viruri.c): a URI with a host and no
// transport means TLS, names of parameters are read without regard to case, a
// "+" stands for itself, and a semicolon separates parameters as well as an
// ampersand does. The error is a *[finding.Failure].
func ParseURI(text string) (*URI, error) {
	bad := func(format string, args ...any) error {
		return kindURI.Found("URI", quoted(text)).WithText(format, args...).Usage()
	}
	p, err := url.Parse(text)
	if err != nil {
		return nil, bad("%v", err)
	}
	u := &URI{Path: p.Path, User: p.User.Username()}
	driver, transport, named := strings.Cut(p.Scheme, "+")
	u.Driver, u.Transport = driver, Transport(transport)
	switch {
	case driver == "" || p.Opaque != "" || named && transport == "":
		return nil, bad("a URI begins with DRIVER:// or DRIVER+TRANSPORT://")
	case p.Fragment != "":
		return nil, bad("what comes after # means nothing to libvirt")
	}
	if !named {
		u.Transport = TLS
		if p.Host == "" {
			u.Transport = Unix
		}
	}
	if u.Host = p.Hostname(); u.Host == "" {
		u.Host = "localhost"
	}
	if u.Port, err = portOf(p.Port(), u.Transport); err != nil {
		return nil, bad("%v", err)
	}
	if err := u.query(p.RawQuery); err != nil {
		return nil, bad("%v", err)
	}
	return u, nil
}

// quoted cuts a text that is too long to be shown.
func quoted(text string) string {
	const limit = 200
	if len(text) > limit {
		return strconv.Quote(text[:limit]) + "..."
	}
	return strconv.Quote(text)
}

func portOf(text string, t Transport) (int, error) {
	switch {
	case text == "" && t == TLS:
		return TLSPort, nil
	case text == "" && t == TCP:
		return TCPPort, nil
	case text == "":
		return 0, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("the port %s is not between 1 and 65535", text)
	}
	return int(port), nil
}

// ofOthers are parameters of transports that virtls does not speak, and what
// else the remote driver keeps from the server.
var ofOthers = []string{"command", "socket", "auth", "sshauth", "netcat", "keyfile", "pty", "known_hosts", "known_hosts_verify", "tty", "mode", "proxy"}

// query reads the parameters.
func (u *URI) query(text string) error {
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '&' || r == ';' }) {
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := url.PathUnescape(rawName)
		if err != nil {
			return err
		}
		value, err := url.PathUnescape(rawValue)
		if err != nil {
			return err
		}
		switch lower := strings.ToLower(name); lower {
		case "pkipath":
			u.PKIPath = value
		case "tls_priority":
			u.Priority = value
		case "name":
			u.Name = value
		case "no_verify":
			u.NoVerify, err = parameterBool(lower, value)
		case "no_sanity":
			u.NoSanity, err = parameterBool(lower, value)
		default:
			if !slices.Contains(ofOthers, lower) {
				u.rest = append(u.rest, part)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parameterBool reads a number that stands for true unless it is 0.
func parameterBool(name, value string) (bool, error) {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return false, fmt.Errorf("%q is no number (libvirt says: Failed to parse value of URI component %s)", value, name)
	}
	return n != 0, nil
}

// Remote returns the URI that the server opens: the same without host, transport
// and what only the client needs to know.
func (u *URI) Remote() string {
	if u.Name != "" {
		return u.Name
	}
	path := url.URL{Path: u.Path}
	text := u.Driver + "://" + path.EscapedPath()
	if len(u.rest) > 0 {
		text += "?" + strings.Join(u.rest, "&")
	}
	return text
}
