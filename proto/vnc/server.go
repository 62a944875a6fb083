package vnc

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"virtls/sasl"
	"virtls/session"
)

// ServerOptions are how a server lets its clients in.
type ServerOptions struct {
	// X509 and Anon return the options of a TLS session with and without
	// certificates; nil if there is to be no such. They are asked at each login.
	// The session's access list decides on the names in clients' certificates.
	X509, Anon func() session.Options

	Password func() []byte // of VNC password types, asked at each login; nil if there are none
	SASL     *sasl.Server  // verifies logins of SASL and of the Plain types; nil if there are none

	// Offer lists what is offered, the best first. Without it that is all that the
	// options above permit: with credentials nothing without TLS, with a SASL
	// server or a password nothing without that. TLSPlain, which shows a password
	// to whoever is in the middle, is offered only if it is listed.
	Offer []Security

	// Below is what carries the connection already, for SASL: TLS below a
	// websocket, for one. QEMU forgets that.
	Below sasl.Layer

	Version  Version        // the highest to speak; RFB38 if 0
	Throttle *sasl.Throttle // slows and counts failed logins; one of its own for each connection if nil
	Client   string         // names the client to the Throttle; sasl.ClientOf its address if empty
	Subject  string         // names the client in findings; its address if empty
}

// offers lists what is offered on a connection.
func (o ServerOptions) offers(c net.Conn) []Security {
	want := o.Offer
	if want == nil {
		want = slices.DeleteFunc(slices.Clone(strongest), func(s Security) bool { return s == TLSPlain || !o.wants(s) })
	}
	return slices.DeleteFunc(slices.Clone(want), func(s Security) bool { return !o.Can(s) || !o.permits(s, c) })
}

// wants tells whether a security is as strong as the options make possible.
func (o ServerOptions) wants(s Security) bool {
	d := securities[s]
	tls := o.X509 != nil || o.Anon != nil
	switch {
	case tls && d.layer == bare:
		return false
	case o.SASL != nil:
		return d.auth == authSASL || d.auth == authPlain
	case o.Password != nil:
		return d.auth == authPassword
	}
	return true
}

// Can tells whether the options have what a security needs.
func (o ServerOptions) Can(s Security) bool {
	d, ok := securities[s]
	switch {
	case !ok || d.layer == certified && o.X509 == nil || d.layer == anonymous && o.Anon == nil:
		return false
	case d.auth == authPassword:
		return o.Password != nil
	case d.auth == authPlain:
		return o.SASL != nil && o.SASL.Accounts != nil
	case d.auth == authSASL:
		return o.SASL != nil
	}
	return true
}

// permits tells whether a connection is good enough for a security.
func (o ServerOptions) permits(s Security, c net.Conn) bool {
	d := securities[s]
	// Below certificates the session's strength decides, which comes later.
	return d.auth != authSASL || d.layer == certified || len(o.SASL.Offer((&Conn{Security: s}).layerOf(c, o.Below))) > 0
}

// Accept lets a client in that has just connected, or tells it why not, in
// QEMU's words. The error is a *finding.Failure; the connection stays the
// caller's to close if there is one.
func Accept(ctx context.Context, c net.Conn, o ServerOptions) (*Conn, error) {
	if o.Version == 0 {
		o.Version = RFB38
	}
	if o.Throttle == nil {
		o.Throttle = &sasl.Throttle{}
	}
	if o.Client == "" {
		o.Client = sasl.ClientOf(c.RemoteAddr())
	}
	a := &accepter{wire: wire{Conn: c}, o: o, result: &Conn{Offered: o.offers(c)}, subject: subjectOf(c, o.Subject)}
	err := within(ctx, c, a.subject, func(ctx context.Context) error {
		a.login(ctx)
		return a.err
	})
	if err != nil {
		return nil, err
	}
	a.result.Handshake = a.shook
	a.result.protect(a.Conn)
	return a.result, nil
}

// An accepter is a server's end of a login that goes on.
type accepter struct {
	wire
	o       ServerOptions
	subject string
	result  *Conn
}

func (a *accepter) login(ctx context.Context) {
	a.version()
	if a.err != nil {
		return
	}
	chosen := a.choice()
	if a.err == nil && chosen == VeNCrypt {
		chosen = a.venCrypt()
		if a.err != nil {
			return
		}
		options := a.o.X509
		if securities[chosen].layer == anonymous {
			options = a.o.Anon
		}
		a.result.TLS = a.secure(ctx, options())
	}
	if a.err != nil {
		if errors.Is(a.err, errNotOffered) {
			a.o.Throttle.Failed(ctx, a.o.Client)
			a.refuse(ctx, a.err)
		}
		return
	}
	a.result.Security = chosen
	kind := securities[chosen].auth
	if kind != authNone {
		if err := a.o.Throttle.Wait(ctx, a.o.Client); err != nil {
			a.deny(err)
			return
		}
	}
	if err := a.authenticate(ctx, kind); a.err == nil && err != nil {
		a.refuse(ctx, err)
	}
	// In RFB before 3.8 nothing follows the type None, except below VeNCrypt.
	if chosen != None || a.result.Version >= RFB38 {
		a.sendUint32(resultOK)
	}
}

// version agrees on a version. A client with another one gets what QEMU sends:
// no security type, and not why.
func (a *accepter) version() {
	a.send(a.o.Version.line()...)
	line := a.bytes(versionSize)
	if a.err != nil {
		return
	}
	major, minor, ok := parseVersion(line)
	if minor == 4 || minor == 5 {
		minor = 3 // some clients say so and speak 3.3
	}
	v := Version(minor)
	if !ok || major != 3 || !slices.Contains([]Version{RFB33, RFB37, RFB38}, v) || v > a.o.Version {
		a.sendUint32(0)
		a.fail("RFB version %q; one up to %v was due", line, a.o.Version)
		return
	}
	a.result.Version = v
}

var errNotOffered = errors.New("a security type that was not offered")

// choice offers the security types and returns the client's choice, which in
// RFB 3.3 is the server's.
func (a *accepter) choice() Security {
	var types []Security
	for _, s := range a.result.Offered {
		if s.inVeNCrypt() {
			s = VeNCrypt
		}
		if !slices.Contains(types, s) {
			types = append(types, s)
		}
	}
	if a.result.Version == RFB33 {
		s, ok := first([]Security{Password, None}, types)
		a.sendUint32(uint32(s))
		if !ok {
			a.deny(errors.New("RFB 3.3 knows neither VeNCrypt nor SASL, and nothing else is offered"))
		}
		return s
	}
	offer := []byte{byte(len(types))}
	for _, s := range types {
		offer = append(offer, byte(s))
	}
	if len(types) == 0 {
		const why = "No security type is possible"
		a.send(append(offer, append([]byte{0, 0, 0, byte(len(why))}, why...)...)...)
		a.deny(errors.New("there is no way in which a client may log in on this connection"))
		return 0
	}
	a.send(offer...)
	s := Security(a.uint8())
	if a.err == nil && !slices.Contains(types, s) {
		a.err = fmt.Errorf("%w: %v", errNotOffered, s)
	}
	return s
}

// venCrypt offers VeNCrypt's subtypes and returns the client's choice.
func (a *accepter) venCrypt() Security {
	a.send(venCryptMajor, venCryptMinor)
	if v := a.bytes(2); a.err == nil && (v[0] != venCryptMajor || v[1] != venCryptMinor) {
		a.send(1 - versionGood)
		a.fail("VeNCrypt %d.%d; 0.2 was due", v[0], v[1])
	}
	var subtypes []byte
	for _, s := range a.result.Offered {
		if s.inVeNCrypt() {
			subtypes = append(subtypes, byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
		}
	}
	a.send(append([]byte{versionGood, byte(len(subtypes) / 4)}, subtypes...)...)
	s := Security(a.uint32())
	if a.err == nil && (!s.inVeNCrypt() || !slices.Contains(a.result.Offered, s)) {
		a.send(1 - subtypeGood)
		a.fail("VeNCrypt's subtype %v, which was not offered", s)
	}
	a.send(subtypeGood)
	return s
}

// authenticate has the client prove who it is. An error is why it could not, if
// it is to be told that it could not.
func (a *accepter) authenticate(ctx context.Context, kind auth) error {
	switch kind {
	case authPassword:
		var challenge [challengeSize]byte
		rand.Read(challenge[:])
		a.send(challenge[:]...)
		answer := a.bytes(challengeSize)
		if a.err != nil {
			return nil
		}
		return a.judge(ctx, func() error {
			if !answered(a.o.Password(), challenge, [challengeSize]byte(answer)) {
				return errors.New("the password is wrong")
			}
			return nil
		})
	case authPlain:
		return a.plain(ctx)
	case authSASL:
		return a.sasl(ctx)
	}
	return nil
}

// judge judges what the client has proved, one proof of a client at a time.
func (a *accepter) judge(ctx context.Context, check func() error) error {
	return a.o.Throttle.Guard(ctx, a.o.Client, check)
}

func (a *accepter) plain(ctx context.Context) error {
	user, password := a.uint32(), a.uint32()
	if a.err == nil && (user > maxLogin || password > maxLogin) {
		a.fail("a user's name of %d octets and a password of %d; at most %d are taken", user, password, maxLogin)
	}
	if a.err != nil {
		return nil
	}
	l := sasl.Login{User: string(a.bytes(int(user))), Password: a.bytes(int(password))}
	if a.err != nil {
		return nil
	}
	a.result.User = l.User
	return a.judge(ctx, func() error { return a.o.SASL.Check(l) })
}

// sasl lets a client in by one of the mechanisms that the layer permits. A
// client whose exchange fails sees the connection closed, as with QEMU; one that
// the access list does not let in is told that it has failed.
func (a *accepter) sasl(ctx context.Context) error {
	layer := a.result.layerOf(a.Conn, a.o.Below)
	list := strings.Join(a.o.SASL.Offer(layer), ",")
	if list == "" {
		a.deny(errors.New("no SASL mechanism is permitted on this connection"))
		return nil
	}
	a.sendUint32(uint32(len(list)))
	a.send([]byte(list)...)
	name := a.block(maxMechanism, "a mechanism's name")
	if a.err != nil {
		return nil
	}
	e, err := a.o.SASL.Start(string(name), layer)
	if err != nil {
		a.deny(err)
		return nil
	}
	for range maxRounds {
		in := a.readMessage()
		if a.err != nil {
			return nil
		}
		var out []byte
		var done bool
		err := a.judge(ctx, func() (err error) {
			out, done, err = e.Step(in)
			return err
		})
		if err != nil {
			return errSilent{err}
		}
		last := byte(0)
		if done {
			last = 1
		}
		a.send(append(frame(out), last)...)
		if done {
			a.result.User, a.result.Mechanism, a.result.seal = e.User, e.Mechanism, e.Seal()
			return a.judge(ctx, e.Admit)
		}
	}
	a.fail("more than %d rounds of SASL", maxRounds)
	return nil
}

// errSilent is a refusal that the client is not told of.
type errSilent struct{ error }

// refuse tells a client that it could not log in, after a while.
func (a *accepter) refuse(ctx context.Context, err error) {
	a.err = nil
	a.o.Throttle.Pause(ctx, a.o.Client)
	if _, silent := err.(errSilent); !silent {
		var out bytes.Buffer
		out.Write([]byte{0, 0, 0, resultFailed})
		if a.result.Version >= RFB38 {
			const why = "Authentication failed\x00" // QEMU counts the NUL
			out.Write([]byte{0, 0, 0, byte(len(why))})
			out.WriteString(why)
		}
		a.send(out.Bytes()...)
	}
	a.deny(err)
}

// deny ends the login with a finding.
func (a *accepter) deny(err error) {
	a.err = because(kindDenied.Found(a.subject, err.Error()), err)
}
