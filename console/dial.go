package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"virtls/creds"
	"virtls/finding"
	"virtls/session"
)

var (
	kindAddress = finding.Define("console-address", finding.Error,
		"the address of a console cannot be understood", "write tls://HOST:PORT, tcp://HOST:PORT or unix:///PATH")
	kindConnect = finding.Define("console-connect", finding.Error,
		"nothing can be reached at a console's address", "see that the guest runs and that its chardev listens there (server=on)")
	kindRefused = finding.Define("console-refused", finding.Error,
		"the other end closed the connection before it said anything", "QEMU refuses a client in this way, and tells nobody why: see that this end has a certificate (client-cert.pem) of an authority in the server's ca-cert.pem, and that the server's access list (tls-authz) lets its name in")
)

// An Address is where a console is.
type Address struct {
	text, network, address, host string
	tls                          bool
}

// ParseAddress reads tls://HOST:PORT (there must be credentials),
// tcp://HOST:PORT or unix:///PATH.
func ParseAddress(text string) (Address, error) {
	bad := func(format string, args ...any) (Address, error) {
		return Address{}, kindAddress.Found(text, "").WithText(format, args...).Usage()
	}
	if _, port, err := net.SplitHostPort(text); err == nil && port != "" && !strings.Contains(text, "/") {
		return Address{}, kindAddress.Found(text, "").WithText("the address has no scheme").
			WithFix("tls://%s with TLS, tcp://%[1]s without", text).Usage()
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("%v", errors.Unwrap(err))
	}
	switch u.Scheme {
	case "tls", "tcp":
		if u.Hostname() == "" || u.Port() == "" {
			return bad("it needs a host and a port")
		}
		if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return bad("there is more in it than a host and a port")
		}
		return Address{text, "tcp", net.JoinHostPort(u.Hostname(), u.Port()), u.Hostname(), u.Scheme == "tls"}, nil
	case "unix":
		if u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return bad("the path of a UNIX socket begins with a slash: unix:///run/...")
		}
		return Address{text, "unix", u.Path, "", false}, nil
	}
	return bad("its scheme is %q", u.Scheme)
}

// Dial connects, with TLS if there are credentials. Hostname is the name that
// the server's certificate must have, if it is not the address's host.
func Dial(ctx context.Context, a Address, c creds.Credentials, hostname string) (net.Conn, error) {
	if a.tls && c == nil {
		return nil, kindAddress.Found(a.text, "").WithText("TLS needs credentials").
			WithFix("add --object tls-creds-x509,id=tls0,dir=/etc/pki/qemu --tls-creds tls0").Usage()
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, a.network, a.address)
	if err != nil {
		return nil, kindConnect.Found(a.text, "").Unable(err)
	}
	if c == nil {
		return nc, nil
	}
	hostname = cmp.Or(hostname, a.host)
	s, err := session.Open(ctx, nc, session.Options{Credentials: c, Hostname: hostname})
	if err != nil {
		nc.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w\nA chardev talks to one client at a time: another may have it", err)
		}
		return nil, err
	}
	return s, nil
}

// Refused is what is wrong when the other end hung up before it said anything.
func Refused(a Address) error {
	return kindRefused.Found(a.text, "an end without a word").Wrong()
}
