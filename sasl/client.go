package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"virtls/finding"
)

// MaxIterations bounds the work that a server may ask of a client that logs in
// by SCRAM: about half a second.
const MaxIterations = 1_000_000

// ClientOptions say how a client may log in.
type ClientOptions struct {
	Login      *Login
	GSSAPI     Mechanism // of package sasl/gssapi; nil if there is none
	Mechanisms []string  // that may be used, the best first; GSSAPI, if there is one, and Default if nil
	Subject    string    // names the server in findings
}

// A Client is a client's end of an exchange. Its errors never hold a password.
type Client struct {
	Mechanism string
	subject   string
	step      func(in []byte) (out []byte, done bool, err error)
	done      bool
	steps     Steps  // of a mechanism that was given; nil if it is of this package
	user      string // of the others
}

// NewClient chooses the best of the mechanisms that a server offers. The error
// is a *finding.Failure that has the reason for each mechanism.
func NewClient(offered []string, l Layer, o ClientOptions) (*Client, error) {
	wanted := wanted(o.Mechanisms, o.GSSAPI)
	for _, name := range wanted {
		if !slices.Contains(offered, name) || !l.permits(name) {
			continue
		}
		c := &Client{Mechanism: name, subject: o.Subject}
		if err := c.start(o, l); err != nil {
			return nil, c.fail(err)
		}
		return c, nil
	}
	return nil, kindNoMechanism.Found(o.Subject, reasons(offered, wanted, l)).
		WithWant(strings.Join(wanted, ", "), "this client").Wrong()
}

func (c *Client) start(o ClientOptions, layer Layer) (err error) {
	l := o.Login
	switch {
	case c.Mechanism == GSSAPI:
		if c.steps, err = o.GSSAPI.Start(layer); err == nil {
			c.step = sealed(c.steps, layer)
		}
		return err
	case l != nil:
		c.user = l.User
	case c.Mechanism != Anonymous:
		return errors.New("there is neither a user nor a password")
	}
	switch c.Mechanism {
	case Anonymous:
		c.step = func([]byte) ([]byte, bool, error) { return []byte{}, true, nil }
	case Plain:
		if strings.ContainsRune(l.User, 0) || slices.Contains(l.Password, 0) {
			return errors.New("a user's name and a password have no NUL")
		}
		message := append([]byte("\x00"+l.User+"\x00"), l.Password...)
		c.step = func([]byte) ([]byte, bool, error) { return message, true, nil }
	default:
		s, err := hashes[c.Mechanism].NewClient(l.User, string(l.Password), "")
		if err != nil {
			return errors.New("the user's name or the password has characters that SASLprep (RFC 4013) forbids")
		}
		c.step = scramClient(s.NewConversation())
	}
	return nil
}

// scramClient are the three steps of SCRAM (RFC 5802).
func scramClient(conv *scram.ClientConversation) func([]byte) ([]byte, bool, error) {
	first := true
	return func(in []byte) ([]byte, bool, error) {
		if first == (len(in) > 0) {
			return nil, false, errors.New("a message that is not due")
		}
		first = false
		if err := boundIterations(string(in)); err != nil {
			return nil, false, err
		}
		out, err := conv.Step(string(in))
		if err != nil {
			return nil, false, err
		}
		if conv.Done() {
			return nil, true, nil // the server has proved that it knows the password, too
		}
		return []byte(out), false, nil
	}
}

func boundIterations(message string) error {
	for attribute := range strings.SplitSeq(message, ",") {
		digits, ok := strings.CutPrefix(attribute, "i=")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(digits); err != nil || n > MaxIterations {
			return fmt.Errorf("the server asks for %.20q iterations; at most %d are made", digits, MaxIterations)
		}
	}
	return nil
}

// Step takes a message of the server, nil to begin with, and returns the answer,
// nil if there is none.
func (c *Client) Step(in []byte) ([]byte, error) {
	if c.done {
		return nil, c.fail(errors.New("a message after the last one"))
	}
	out, done, err := c.step(in)
	if err != nil {
		return nil, c.fail(err)
	}
	c.done = done
	return out, nil
}

// Finish is to be called when the server says that the exchange has ended well.
// It fails unless the client, too, has come to the end: SCRAM proves to the
// client that the server knows the password.
func (c *Client) Finish() error {
	if !c.done {
		return c.fail(errors.New("the server says that all is well before it has proved who it is"))
	}
	return nil
}

// User is who has logged in, once Finish has returned nil.
func (c *Client) User() string {
	if c.steps != nil {
		return c.steps.User()
	}
	return c.user
}

// Seal is what encrypts all that follows the login, nil if nothing does.
func (c *Client) Seal() Seal {
	if c.steps != nil {
		return c.steps.Seal()
	}
	return nil
}

func (c *Client) fail(err error) error {
	if failure := (*finding.Failure)(nil); errors.As(err, &failure) {
		return err
	}
	return kindFailed.Found(c.subject, fmt.Sprintf("%s: %v", c.Mechanism, err)).Wrong()
}
