package sasl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

// The names of mechanisms that are known here.
const (
	ScramSHA512 = "SCRAM-SHA-512"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA1   = "SCRAM-SHA-1"
	Plain       = "PLAIN"
	Anonymous   = "ANONYMOUS"
)

// Default lists the mechanisms that are used without being asked for, the
// strongest first. Anonymous is not among them.
var Default = []string{ScramSHA512, ScramSHA256, ScramSHA1, Plain}

var hashes = map[string]scram.HashGeneratorFcn{ScramSHA512: scram.SHA512, ScramSHA256: scram.SHA256, ScramSHA1: scram.SHA1}

// never has the mechanisms that are refused by name, and why.
var never = map[string]string{
	"DIGEST-MD5": "it is broken and was withdrawn (RFC 6331): MD5, no downgrade protection, passwords kept in a form that is as good as the password",
	"CRAM-MD5":   "it lets whoever listens try passwords offline, and proves nothing of the server",
	"LOGIN":      "it is PLAIN without a specification",
	"NTLM":       "it is broken",
}

func known(name string) bool {
	return hashes[name] != nil || name == Plain || name == Anonymous
}

// MinSSF is the security strength factor, in bits, that is demanded of a network
// connection that is to carry a login (QEMU's ui/vnc-auth-sasl.c).
const MinSSF = 56

// A Layer is what carries an exchange.
type Layer struct {
	// SSF is the security strength factor of TLS with certificates below: the
	// bits of its cipher's key. It is 0 without TLS, and for anonymous TLS, which
	// keeps nobody on the way from being in the middle.
	SSF   int
	Local bool // a UNIX socket, whose ends are on the same machine
}

// weak says why a layer cannot carry a mechanism; empty if it can. None of the
// mechanisms here encrypts what follows the login, so the layer below has to.
// QEMU decides the same, except that it does not count TLS below a websocket.
func (l Layer) weak() string {
	if l.Local || l.SSF >= MinSSF {
		return ""
	}
	return fmt.Sprintf("a network connection needs encryption of %d bits by TLS with certificates below this login, and has %d", MinSSF, l.SSF)
}

// ParseList reads a list of mechanisms, with commas or blanks between the names
// (the list of an RFB server, mech_list of a Cyrus configuration), in upper case.
func ParseList(list string) []string {
	return strings.FieldsFunc(strings.ToUpper(list), func(r rune) bool { return r == ',' || r == ' ' })
}

// reasons says why none of the offered mechanisms can be used.
func reasons(offered, wanted []string, l Layer) string {
	var why []string
	for _, name := range offered {
		switch reason := never[name]; {
		case reason != "":
			why = append(why, name+": "+reason)
		case !known(name):
			why = append(why, fmt.Sprintf("%q is not known here", name))
		case !slices.Contains(wanted, name):
			why = append(why, name+" was not asked for")
		case l.weak() != "":
			why = append(why, name+": "+l.weak())
		}
	}
	if why == nil {
		return "no mechanism is offered"
	}
	return strings.Join(why, "; ")
}
