package nbd

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
)

// IsURI reports whether a text is to be read by [ParseURI].
func IsURI(text string) bool {
	scheme, _, ok := strings.Cut(text, ":")
	_, known := schemes[strings.ToLower(scheme)]
	return ok && known
}

var schemes = map[string]struct {
	network string
	tls     bool
}{"nbd": {"tcp", false}, "nbds": {"tcp", true}, "nbd+unix": {"unix", false}, "nbds+unix": {"unix", true}}

// uriParameters set what the parameters of an address say; they return false for
// a value that cannot be.
var uriParameters = map[string]func(*Target, string) bool{
	"socket":           func(t *Target, v string) bool { t.Path = v; return t.Network == "unix" },
	"tls-certificates": func(t *Target, v string) bool { t.Certificates = v; return v != "" },
	"tls-psk-file":     func(t *Target, v string) bool { t.PSKFile = v; return v != "" },
	"tls-username":     func(t *Target, v string) bool { t.Username = v; return v != "" },
	"tls-hostname":     func(t *Target, v string) bool { t.Hostname = v; return v != "" },
	"tls-type":         func(t *Target, v string) bool { t.Type = v; return v == "x509" || v == "psk" || v == "anon" },
	"tls-verify-peer":  func(t *Target, v string) bool { t.NoVerifyPeer = v == "0"; return v == "0" || v == "1" },
}

// ParseURI reads an address as libnbd has it (doc/uri.md of the NBD project):
// nbd://HOST[:PORT]/EXPORT, nbds:// for TLS, nbd+unix:///EXPORT?socket=PATH and
// nbds+unix://. Parameters that nobody knows are errors.
func ParseURI(text string) (Target, error) {
	bad := func(got, format string, args ...any) (Target, error) {
		return Target{}, kindAddress.Found(shown(text), got).WithText(format, args...).Usage()
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("", "%q is not a URI", shown(text))
	}
	scheme, known := schemes[strings.ToLower(u.Scheme)]
	if !known {
		return bad(u.Scheme, "an address begins with nbd:, nbds:, nbd+unix: or nbds+unix:")
	}
	if u.Opaque != "" || u.Fragment != "" {
		return bad("", "an address has // after the colon, and no #")
	}
	t := Target{Network: scheme.network, TLS: scheme.tls, Export: strings.TrimPrefix(u.Path, "/"), Username: u.User.Username()}
	if _, has := u.User.Password(); has {
		return bad("", "a password has no place in an address of NBD")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("", "its parameters cannot be read")
	}
	for name, values := range query {
		set, known := uriParameters[name]
		if !known {
			return bad(name, "unknown parameter")
		}
		if len(values) != 1 || !set(&t, values[0]) {
			return bad(name, "a wrong value of a parameter, or one that is out of place")
		}
	}
	switch {
	case t.Network == "unix" && t.Path == "":
		return bad("", "an address of a UNIX socket has ?socket=PATH")
	case t.Network == "unix" && u.Host != "":
		return bad(u.Host, "an address of a UNIX socket has no host: nbd+unix:///EXPORT?socket=PATH")
	case t.Network == "unix":
		return t, nil
	}
	t.Host, t.Port = u.Hostname(), u.Port()
	if t.Host == "" {
		t.Host = "localhost" // as libnbd
	}
	t.Port = cmp.Or(t.Port, strconv.Itoa(DefaultPort))
	if port, err := strconv.ParseUint(t.Port, 10, 16); err != nil || port == 0 {
		return bad(t.Port, "a port is a number from 1 to 65535")
	}
	return t, nil
}

// shown is an address for messages, without a password that has no place in it.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		if at := strings.LastIndexByte(text, '@'); at >= 0 {
			return "..." + text[at:]
		}
		return text
	}
	return u.Redacted()
}
