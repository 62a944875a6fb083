package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"virtls/finding"
	"virtls/internal/unixsocket"
)

var kindAddress = finding.Define("gateway-address", finding.Error,
	"the address of a gateway cannot be understood",
	"write tls://HOST:PORT, tcp://HOST:PORT, tcp://[IPV6]:PORT, unix:///PATH or, for a socket of systemd's, fd://NAME")

// An Address is one end of a gateway.
type Address struct {
	url     string
	network string // "tcp", "unix" or "fd"
	host    string // of tcp
	port    string // of tcp
	path    string // of unix; the name of a passed socket
	tls     bool   // the scheme wants TLS
	mode    fs.FileMode
}

// Schemes of addresses.
const (
	schemeTLS  = "tls"
	schemeTCP  = "tcp"
	schemeUNIX = "unix"
	schemeFD   = "fd"
)

// ParseAddress reads an address:
//
//	tls://HOST:PORT   TCP; there must be credentials for this side
//	tcp://HOST:PORT   TCP; TLS if there are credentials for this side
//	unix:///PATH      a UNIX socket; ?mode=0660 sets the rights of one that is made
//	fd://NAME         a listening socket that systemd passes, by its FileDescriptorName; fd:// is the only one
//
// An address to listen on may leave HOST empty for every address of the machine.
// Port is taken where the text has none; without either it is an error.
func ParseAddress(text, port string) (Address, error) {
	bad := func(format string, args ...any) (Address, error) {
		return Address{}, kindAddress.Found(text, "").WithText(format, args...).Usage()
	}
	if !strings.Contains(text, ":/") {
		return Address{}, withoutScheme(text).Usage()
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("%v", errors.Unwrap(err))
	}
	a := Address{url: text, network: u.Scheme, path: u.Path}
	query := u.Query()
	switch u.Scheme {
	case schemeTLS, schemeTCP:
		a.network, a.tls = schemeTCP, u.Scheme == schemeTLS
		a.host, a.port = u.Hostname(), cmp.Or(u.Port(), port)
		if n, err := strconv.ParseUint(a.port, 10, 16); err != nil || n == 0 && a.port != "0" {
			return bad("it has no port, or none between 0 and 65535")
		}
		if a.path != "" && a.path != "/" {
			return bad("there is nothing to the right of the port")
		}
	case schemeUNIX:
		if wrong := a.unix(u.Host, query); wrong != "" {
			return bad("%s", wrong)
		}
	case schemeFD:
		a.path = u.Host
	default:
		fix := ""
		if near := finding.Nearest(u.Scheme, []string{schemeTLS, schemeTCP, schemeUNIX, schemeFD}); near != "" {
			fix = "; did you mean " + near + "://?"
		}
		return bad("the scheme %q is not known%s", u.Scheme, fix)
	}
	for key := range query {
		return bad("the parameter %q is not known", key)
	}
	if u.User != nil || u.Fragment != "" {
		return bad("user names and fragments mean nothing here")
	}
	return a, nil
}

// withoutScheme tells of an address as other programs take it, HOST:PORT or a path.
func withoutScheme(text string) finding.Finding {
	f := kindAddress.Found(text, "").WithText("the address has no scheme, such as tls:// or unix://")
	switch host, port, err := net.SplitHostPort(text); {
	case strings.HasPrefix(text, "/"):
		return f.WithFix("unix://%s", text)
	case err == nil && port != "" && !strings.ContainsAny(host, "/ "):
		return f.WithFix("tls://%s with TLS, tcp://%[1]s without", text)
	}
	return f
}

// unix reads a UNIX socket's path and takes its parameters from the query. It
// returns what is wrong.
func (a *Address) unix(host string, query url.Values) (wrong string) {
	mode := query.Get("mode")
	query.Del("mode")
	bits, err := strconv.ParseUint(mode, 8, 9)
	switch {
	case host != "" || !strings.HasPrefix(a.path, "/"):
		return "the path of a UNIX socket begins with a slash: unix:///run/" + strings.TrimPrefix(host+a.path, "/")
	case strings.ContainsRune(a.path, 0):
		return "there is a NUL in the path" // where the kernel would end it
	case len(a.path) > maxSocketPath:
		return fmt.Sprintf("the path of a UNIX socket has at most %d octets", maxSocketPath)
	case mode != "" && err != nil:
		return fmt.Sprintf("mode %q is not octal, such as 0660", mode)
	}
	a.mode = fs.FileMode(bits)
	return ""
}

// maxSocketPath is what fits into sun_path with its final NUL.
const maxSocketPath = 107

// String returns the address as it was written.
func (a Address) String() string { return a.url }

// Host returns the host of a TCP address, whom a server's certificate must name.
func (a Address) Host() string { return a.host }

// TLS tells whether the address says that there is TLS.
func (a Address) TLS() bool { return a.tls }

// local tells whether nobody on another machine reaches a listener, as far as the
// address says it.
func (a Address) local() bool {
	return a.network != schemeTCP || IsLoopback(a.host)
}

// IsLoopback tells whether a host, a name or an address, is this machine and no
// other.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// listen opens the listening socket.
func (a Address) listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	lc.KeepAlive = -1 // set on each connection
	switch a.network {
	case schemeFD:
		return passed(a.path)
	case schemeUNIX:
		return unixsocket.Listen(ctx, lc, a.path, a.mode)
	}
	return lc.Listen(ctx, "tcp", net.JoinHostPort(a.host, a.port))
}

// dial connects.
func (a Address) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if a.network == schemeUNIX {
		return d.DialContext(ctx, "unix", a.path)
	}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(a.host, a.port))
}

// checkConnect refuses what cannot be connected to.
func (a Address) checkConnect() error {
	if a.network == schemeFD || a.network == schemeTCP && (a.host == "" || a.port == "0") {
		return kindAddress.Found(a.url, "").WithText("nothing can be connected to there").WithFix("name the service's host and port, or its UNIX socket").Usage()
	}
	return nil
}

// peerName describes a connection's far end for people: that of a UNIX socket has
// no address but a process.
func peerName(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return c.RemoteAddr().String()
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return schemeUNIX
	}
	name := schemeUNIX
	raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			name = fmt.Sprintf("unix:pid=%d,uid=%d", cred.Pid, cred.Uid)
		}
	})
	return name
}
