package sasl

import (
	"errors"
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
	GSSAPI      = "GSSAPI" // of package sasl/gssapi
)

// A Mechanism is one that is not of this package, and that clients and servers
// have only if it is given to them: GSSAPI, of package sasl/gssapi.
type Mechanism interface {
	// Start begins an exchange on top of a layer. If that does not suffice, the
	// mechanism must end with a Seal.
	Start(Layer) (Steps, error)
}

// Steps are one end of such an exchange. Their errors are safe to show.
type Steps interface {
	// Step takes a message of the other end, nil if it sent none, and returns the
	// answer, nil for none, and whether this end has come to its end.
	Step(in []byte) (out []byte, done bool, err error)
	// User and Seal are who has logged in and what encrypts all that follows, nil
	// if nothing does. They are asked for when Step has returned done.
	User() string
	Seal() Seal
}

// sealed are the steps of a mechanism, which fails if nothing will encrypt what
// follows the login.
func sealed(s Steps, l Layer) func([]byte) ([]byte, bool, error) {
	return func(in []byte) ([]byte, bool, error) {
		out, done, err := s.Step(in)
		if done && err == nil && !l.Suffices() {
			if seal := s.Seal(); seal == nil || seal.SSF() < MinSSF {
				return nil, false, errors.New("it came to no encryption of what follows, and there is none below: " + l.weak())
			}
		}
		return out, done, err
	}
}

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

// Refused says why a mechanism is never used, empty if it may be.
func Refused(name string) string { return never[name] }

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

// Suffices tells whether a login can go on top of the layer without a Seal.
func (l Layer) Suffices() bool { return l.weak() == "" }

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

// wanted returns the mechanisms of a list that can be used at all, the default
// ones if the list is nil; a Mechanism that was given is the best of these.
func wanted(list []string, gssapi Mechanism) []string {
	if list == nil {
		list = append([]string{GSSAPI}, Default...)
	}
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool {
		return !known(name) && (name != GSSAPI || gssapi == nil)
	})
}

// permits tells whether a mechanism may be used on top of the layer.
func (l Layer) permits(name string) bool { return name == GSSAPI || l.Suffices() }

// reasons says why none of the offered mechanisms can be used.
func reasons(offered, wanted []string, l Layer) string {
	var why []string
	for _, name := range offered {
		switch reason := never[name]; {
		case reason != "":
			why = append(why, name+": "+reason)
		case name == GSSAPI && !slices.Contains(wanted, name):
			why = append(why, name+": no Kerberos credentials were given, or it was not asked for")
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
