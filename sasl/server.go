package sasl

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/xdg-go/scram"

	"virtls/authz"
)

// A Server lets users in whose passwords it can verify. Any number of exchanges
// may go on at once. Its errors never hold a password.
type Server struct {
	// Accounts returns those of the moment; it is asked for at each login. Without
	// it GSSAPI and ANONYMOUS are all that can be offered.
	Accounts   func() *Accounts
	GSSAPI     Mechanism        // of package sasl/gssapi; nil if there is none
	Mechanisms []string         // that are offered, in order; GSSAPI, if there is one, and Default if nil
	Access     authz.Authorizer // on users' names; nil lets in everybody who has an account
}

// Offer lists the mechanisms that the layer permits.
func (s *Server) Offer(l Layer) []string {
	return slices.DeleteFunc(wanted(s.Mechanisms, s.GSSAPI), func(name string) bool {
		return !l.permits(name) || s.Accounts == nil && name != GSSAPI && name != Anonymous
	})
}

// Check tells whether a user has that password and may come in, for protocols
// that send both without SASL.
func (s *Server) Check(l Login) error {
	if s.Accounts == nil || !s.Accounts().check(l.User, l.Password) {
		return errWrong
	}
	return s.admit(l.User)
}

var errWrong = errors.New("the user is unknown, or the password is wrong")

func (s *Server) admit(user string) error {
	if s.Access == nil {
		return nil
	}
	switch ok, err := s.Access.Allowed(user); {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("the access list does not let in %q", user)
	}
	return nil
}

// An Exchange is a server's end of one.
type Exchange struct {
	Mechanism string
	// User is who has logged in, when Step has returned done.
	User string

	server *Server
	step   func(in []byte) (out []byte, done bool, err error)
	over   bool
	steps  Steps // of a mechanism that was given; nil if it is of this package
}

// Start begins an exchange by the mechanism that a client chose.
func (s *Server) Start(mechanism string, l Layer) (*Exchange, error) {
	if !slices.Contains(s.Offer(l), mechanism) {
		if why := Refused(mechanism); why != "" {
			return nil, fmt.Errorf("the client asks for the mechanism %s, which is never offered: %s", mechanism, why)
		}
		return nil, fmt.Errorf("the client asks for the mechanism %.40q, which was not offered", mechanism)
	}
	e := &Exchange{Mechanism: mechanism, server: s}
	switch mechanism {
	case GSSAPI:
		steps, err := s.GSSAPI.Start(l)
		if err != nil {
			return nil, err
		}
		e.steps = steps
		step := sealed(steps, l)
		e.step = func(in []byte) ([]byte, bool, error) {
			out, done, err := step(in)
			if done {
				e.User = steps.User()
			}
			return out, done, err
		}
	case Plain:
		e.step = e.plain
	case Anonymous:
		e.step = func([]byte) ([]byte, bool, error) { e.User = "anonymous"; return nil, true, nil }
	default:
		accounts := s.Accounts()
		server, err := hashes[mechanism].NewServer(func(user string) (scram.StoredCredentials, error) {
			return accounts.verifier(user, mechanism), nil
		})
		if err != nil {
			return nil, err
		}
		e.step = e.scram(server.NewConversation())
	}
	return e, nil
}

// Step takes a message of the client, nil if it sent none, and returns the
// answer and whether the user has proved who it is. After an error the exchange
// is over, and the login has failed.
func (e *Exchange) Step(in []byte) (out []byte, done bool, err error) {
	if e.over {
		return nil, false, errors.New("a message after the last one")
	}
	if in == nil && e.Mechanism != Anonymous && e.steps == nil {
		return nil, false, nil // the client begins with the next message
	}
	out, done, err = e.step(in)
	if e.over = done || err != nil; err != nil {
		return nil, false, fmt.Errorf("%s: %w", e.Mechanism, err)
	}
	return out, done, nil
}

// Seal is what encrypts all that follows the login, nil if nothing does, when
// Step has returned done.
func (e *Exchange) Seal() Seal {
	if e.steps == nil {
		return nil
	}
	return e.steps.Seal()
}

// Admit tells whether the user who has proved who it is may come in.
func (e *Exchange) Admit() error {
	if !e.over || e.User == "" {
		return errWrong
	}
	return e.server.admit(e.User)
}

func (e *Exchange) plain(in []byte) ([]byte, bool, error) {
	parts := bytes.Split(in, []byte{0})
	if len(parts) != 3 {
		return nil, false, errors.New("a message that is not of RFC 4616")
	}
	user := string(parts[1])
	if on := string(parts[0]); on != "" && on != user {
		return nil, false, errors.New("a user who wants to act as another")
	}
	if !e.server.Accounts().check(user, parts[2]) {
		return nil, false, errWrong
	}
	e.User = user
	return nil, true, nil
}

func (e *Exchange) scram(conv *scram.ServerConversation) func([]byte) ([]byte, bool, error) {
	return func(in []byte) ([]byte, bool, error) {
		out, err := conv.Step(string(in))
		switch {
		case err != nil:
			// Not the library's error, which may quote what the client sent.
			return nil, false, errWrong
		case !conv.Done():
			return []byte(out), false, nil
		case !conv.Valid():
			return nil, false, errWrong
		case conv.AuthzID() != "" && conv.AuthzID() != conv.Username():
			return nil, false, errors.New("a user who wants to act as another")
		}
		e.User = conv.Username()
		return []byte(out), true, nil
	}
}
