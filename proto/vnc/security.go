package vnc

import (
	"fmt"
	"slices"
	"strings"
)

// A Security is a way to secure a connection and to log in. Security types of
// RFB and subtypes of VeNCrypt share their numbers: those above 255 are
// subtypes, and are asked for inside the type VeNCrypt.
type Security uint32

// The securities (RFC 6143, 7.1.2; the registry of security types; VeNCrypt 0.2).
const (
	None     Security = 1
	Password Security = 2
	VeNCrypt Security = 19
	SASL     Security = 20

	Plain        Security = 256 // a login in clear, without TLS: never used here
	TLSNone      Security = 257 // anonymous TLS: nobody on the way can just listen
	TLSPassword  Security = 258
	TLSPlain     Security = 259
	X509None     Security = 260 // TLS with a certificate of the server's
	X509Password Security = 261
	X509Plain    Security = 262
	X509SASL     Security = 263
	TLSSASL      Security = 264
)

// An auth is what comes after the TLS handshake, if there is one.
type auth int

const (
	authNone auth = iota
	authPassword
	authPlain
	authSASL
)

// A layer is what is below the login.
type layer int

const (
	bare layer = iota
	anonymous
	certified
)

var securities = map[Security]struct {
	name  string
	layer layer
	auth  auth
}{
	None: {"None", bare, authNone}, Password: {"VncAuth", bare, authPassword}, SASL: {"SASL", bare, authSASL},
	TLSNone: {"TLSNone", anonymous, authNone}, TLSPassword: {"TLSVnc", anonymous, authPassword},
	TLSPlain: {"TLSPlain", anonymous, authPlain}, TLSSASL: {"TLSSASL", anonymous, authSASL},
	X509None: {"X509None", certified, authNone}, X509Password: {"X509Vnc", certified, authPassword},
	X509Plain: {"X509Plain", certified, authPlain}, X509SASL: {"X509SASL", certified, authSASL},
}

// strongest lists what can be used, the best first.
var strongest = []Security{X509SASL, X509Plain, X509Password, X509None, TLSSASL, TLSPlain, TLSPassword, TLSNone, SASL, Password, None}

// Strongest lists what can be used, the best first.
func Strongest() []Security { return slices.Clone(strongest) }

// inVeNCrypt tells whether the security is a subtype of VeNCrypt.
func (s Security) inVeNCrypt() bool { return s > 255 }

// TLS tells whether a security puts TLS below the login, and whether the server
// proves by a certificate there who it is.
func (s Security) TLS() (below, certificates bool) {
	l := securities[s].layer
	return l != bare, l == certified
}

// Asks tells what the client has to prove itself by: nothing, a password of
// VNC's, or a user's name and a password.
func (s Security) Asks() (password, user bool) {
	a := securities[s].auth
	return a == authPassword, a == authPlain || a == authSASL
}

// String returns the name that the specifications use.
func (s Security) String() string {
	switch d, ok := securities[s]; {
	case ok:
		return d.name
	case s == VeNCrypt:
		return "VeNCrypt"
	case s == Plain:
		return "Plain"
	}
	return fmt.Sprintf("type %d", uint32(s))
}

func names(list []Security) string {
	if len(list) == 0 {
		return "nothing"
	}
	var s []string
	for _, each := range list {
		s = append(s, each.String())
	}
	return strings.Join(s, ", ")
}

// first returns the first of the wanted that is offered.
func first(wanted, offered []Security) (Security, bool) {
	for _, s := range wanted {
		if slices.Contains(offered, s) {
			return s, true
		}
	}
	return 0, false
}

// A Version is a version of RFB, by its minor number: 3, 7 or 8.
type Version int

// The versions. Later ones have more ways to say why a login failed.
const (
	RFB33 Version = 3
	RFB37 Version = 7
	RFB38 Version = 8
)

const versionSize = 12

func (v Version) String() string { return fmt.Sprintf("3.%d", int(v)) }

// line is what each end says first.
func (v Version) line() []byte { return fmt.Appendf(nil, "RFB 003.%03d\n", int(v)) }

// parseVersion reads such a line, and what numbers it has. As QEMU does, it
// takes 3.4 and 3.5, which some clients announce, for 3.3.
func parseVersion(line []byte) (major, minor int, ok bool) {
	if len(line) != versionSize || string(line[:4]) != "RFB " || line[7] != '.' || line[11] != '\n' {
		return 0, 0, false
	}
	number := func(digits []byte) (n int) {
		for _, d := range digits {
			if d < '0' || d > '9' {
				return -1
			}
			n = n*10 + int(d-'0')
		}
		return n
	}
	major, minor = number(line[4:7]), number(line[8:11])
	return major, minor, major >= 0 && minor >= 0
}
