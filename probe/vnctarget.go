package probe

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A VNCTarget is what the address of a VNC server says beside host and port.
type VNCTarget struct {
	Path      string   // of a UNIX socket, empty for TCP
	Websocket *url.URL // that is opened on the connection; nil for RFB from the first byte
	TLS       bool     // below the websocket
}

var vncSchemes = []string{"vnc", "vnc+unix", "ws", "wss"}

func isVNC(scheme string) bool { return slices.Contains(vncSchemes, scheme) }

// vncPort is the one of display 0. displays are how many numbers below a port's
// are displays: virsh domdisplay and viewers write vnc://HOST:1 for port 5901.
const (
	vncPort  = 5900
	displays = 100
)

// parseVNC reads vnc://HOST[:PORT] (RFC 7869), or with the number of a display in
// the place of the port, vnc+unix:///PATH, and ws:// and wss:// with what the server
// of the websocket wants behind the port.
func parseVNC(text string) (Target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, badTarget(withoutParameters(text), "it is not a URI")
	}
	t := Target{Host: u.Hostname(), VNC: &VNCTarget{}, text: withoutParameters(text)}
	bad := func(why string) (Target, error) { return Target{}, badTarget(t.text, "%s", why) }
	switch {
	case u.User != nil:
		t.text = u.Scheme + "://...@" + u.Host
		return bad("a user and a password have no place in an address: --username and --password-file have them")
	case u.Fragment != "":
		return bad("an address of VNC has no #")
	case u.Scheme == "vnc+unix" && (u.Host != "" || u.Path == "" || u.RawQuery != ""):
		return bad("an address of a UNIX socket is vnc+unix:///PATH")
	case u.Scheme == "vnc+unix":
		t.VNC.Path = u.Path
		return t, nil
	case t.Host == "":
		return bad("the host is missing")
	case u.Scheme == "vnc" && (u.Path != "" && u.Path != "/" || u.RawQuery != ""):
		return bad("a vnc:// target has a host and a port, and nothing else")
	}
	t.Port = vncPort
	if u.Scheme != "vnc" {
		t.VNC.Websocket, t.VNC.TLS = u, u.Scheme == "wss"
		t.Port = map[bool]int{false: 80, true: 443}[t.VNC.TLS]
	}
	if u.Port() == "" {
		return t, nil
	}
	if n, err := strconv.Atoi(u.Port()); err == nil && n < displays && u.Scheme == "vnc" {
		t.Port = vncPort + n
	} else if t.Port, err = parsePort(u.Port()); err != nil {
		return bad(err.Error())
	}
	return t, nil
}

// withoutParameters is an address without what may be a secret: the parameters of a
// websocket have the token by which a gateway lets in.
func withoutParameters(text string) string {
	before, _, has := strings.Cut(text, "?")
	if !has {
		return text
	}
	return before + "?..."
}
