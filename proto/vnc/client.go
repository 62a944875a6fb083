package vnc

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"virtls/finding"
	"virtls/sasl"
	"virtls/session"
)

// Options are what a client is ready to do.
type Options struct {
	// X509 and Anon return the options of a TLS session with and without
	// certificates; nil if the client is not to have such. They are asked at each
	// login, so that reloaded credentials count. A client with one of them never
	// goes on without TLS, and one with X509 not with anonymous TLS, unless Allow
	// says so.
	X509, Anon func() session.Options

	Password []byte      // of VNC password types, of which eight octets count; nil if there is none
	Login    *sasl.Login // of SASL and the Plain types

	GSSAPI sasl.Mechanism // a *gssapi.Client, which logs in with Kerberos; nil if there is none

	// Mechanisms are those of SASL that may be used, the best first; GSSAPI, if it
	// is there, and sasl.Default if nil.
	Mechanisms []string

	// Allow lists what the client does, the best first. Without it that is all
	// that the options above permit, strongest first, but for TLSPlain: it shows
	// the password to whoever is in the middle.
	Allow []Security

	// Below is what carries the connection already, for SASL: TLS below a
	// websocket, for one.
	Below sasl.Layer

	Version Version // the highest to speak; RFB38 if 0
	Subject string  // names the server in findings; its address if empty
}

// allowed lists what the options permit, the best first.
func (o Options) allowed() []Security {
	if o.Allow != nil {
		return slices.DeleteFunc(slices.Clone(o.Allow), func(s Security) bool { return !o.can(s) })
	}
	want := bare
	switch {
	case o.X509 != nil:
		want = certified
	case o.Anon != nil:
		want = anonymous
	}
	var list []Security
	for _, s := range strongest {
		// Without certificates Kerberos is all that proves who is there, and encrypts.
		weaker := o.GSSAPI != nil && want != certified && securities[s].auth != authSASL
		if securities[s].layer == want && s != TLSPlain && o.can(s) && !weaker {
			list = append(list, s)
		}
	}
	return list
}

// can tells whether the client has what a security needs.
func (o Options) can(s Security) bool {
	d, ok := securities[s]
	switch {
	case !ok || d.layer == certified && o.X509 == nil || d.layer == anonymous && o.Anon == nil:
		return false
	case d.auth == authPassword:
		return o.Password != nil
	case d.auth == authPlain:
		return o.Login != nil
	case d.auth == authSASL:
		return o.Login != nil || o.GSSAPI != nil
	}
	return true
}

// A Conn is a connection whose client is logged in. Its next octet is the
// client's ClientInit message (RFC 6143, 7.3.1).
type Conn struct {
	net.Conn
	Version  Version
	Security Security
	Offered  []Security     // by the server
	TLS      *session.State // nil without TLS
	// Handshake is how long that of TLS took.
	Handshake time.Duration
	// User is who the client says it is and has proved to be, by SASL or Plain.
	User string
	// Mechanism is SASL's that the login was made by, empty without SASL.
	Mechanism string
	// SSF is the strength, in bits, of SASL's own encryption, which Kerberos brings
	// where TLS does not; 0 without.
	SSF int

	seal sasl.Seal
}

// Dial logs in on a connection to a server. The error is a *finding.Failure; the
// connection stays the caller's to close if there is one.
func Dial(ctx context.Context, c net.Conn, o Options) (*Conn, error) {
	d := newDialer(c, o)
	err := within(ctx, c, d.subject, func(ctx context.Context) error {
		d.login(ctx)
		return d.err
	})
	if err != nil {
		return nil, err
	}
	d.result.Handshake = d.shook
	d.result.protect(d.Conn)
	return d.result, nil
}

// A dialer is a login that goes on.
type dialer struct {
	wire
	o         Options
	subject   string
	announced string // the server's version, as it said it
	result    *Conn

	mechanisms []string // of SASL that the server offers, nil until they are known
}

func newDialer(c net.Conn, o Options) *dialer {
	o.Version = cmp.Or(o.Version, RFB38)
	return &dialer{wire: wire{Conn: c}, o: o, subject: subjectOf(c, o.Subject), result: &Conn{}}
}

func (d *dialer) login(ctx context.Context) {
	d.version()
	d.result.Offered = d.offers()
	if d.err != nil {
		return
	}
	allowed := d.o.allowed()
	chosen, ok := choose(allowed, d.result.Offered)
	if ok && d.result.Version != RFB33 {
		d.send(byte(chosen))
	}
	if ok && chosen == VeNCrypt {
		d.result.Offered = d.venCryptOffers()
		if chosen, ok = first(inVeNCrypt(allowed), d.result.Offered); ok {
			d.startTLS(ctx, chosen)
		}
	}
	if d.err != nil {
		return
	}
	if !ok {
		d.err = kindNoSecurity.Found(d.subject, names(d.result.Offered)).WithWant(names(allowed), "this client").Wrong()
		return
	}
	d.result.Security = chosen
	d.prove(securities[chosen].auth)
}

// choose returns the security type of the best of the allowed securities that
// the offered types make possible: VeNCrypt for all that are its subtypes. If
// nothing is possible VeNCrypt is asked what it has, for the sake of the error.
//
// What a server offers as a type is not taken for a subtype of the same number,
// which would be TLS without TLS: in RFB 3.3 there is room for such numbers.
func choose(allowed, offered []Security) (Security, bool) {
	for _, s := range allowed {
		if s.inVeNCrypt() {
			s = VeNCrypt
		}
		if slices.Contains(offered, s) {
			return s, true
		}
	}
	return VeNCrypt, slices.Contains(offered, VeNCrypt)
}

func inVeNCrypt(list []Security) []Security {
	return slices.DeleteFunc(slices.Clone(list), func(s Security) bool { return !s.inVeNCrypt() })
}

// version agrees on a version: the server's, but no higher than the client's.
func (d *dialer) version() {
	line := d.bytes(versionSize)
	if d.err != nil {
		return
	}
	major, minor, ok := parseVersion(line)
	if !ok || major < 3 {
		d.err = kindNotVNC.Found(d.subject, fmt.Sprintf("%q", line)).WithWant(`"RFB 003.008\n"`, "RFC 6143").Wrong()
		return
	}
	d.announced = string(line[:versionSize-1])
	// What is not 3.7 or later is 3.3 (RFC 6143, 7.1.1).
	v := RFB33
	switch {
	case major > 3 || minor >= 8:
		v = RFB38
	case minor == 7:
		v = RFB37
	}
	d.result.Version = min(v, d.o.Version)
	d.send(d.result.Version.line()...)
}

// offers reads the security types that the server offers, one only in 3.3.
func (d *dialer) offers() []Security {
	if d.result.Version == RFB33 {
		s := Security(d.uint32())
		switch {
		case d.err == nil && s == 0:
			d.refused()
		case d.err == nil && s != None && s != Password:
			d.fail("%v in RFB 3.3, which knows None and VncAuth", s)
		}
		return []Security{s}
	}
	n := d.uint8()
	if d.err == nil && n == 0 {
		d.refused()
	}
	var list []Security
	for _, b := range d.bytes(int(n)) {
		list = append(list, Security(b))
	}
	return list
}

// refused reads the reason of a server that offers nothing. QEMU closes the
// connection instead of giving one.
func (d *dialer) refused() {
	reason := d.reason()
	if d.err != nil {
		reason = ""
	}
	d.err = kindRefused.Found(d.subject, finding.Printable(reason)).Wrong()
}

// prove answers the server's question who the client is, and reads its verdict.
func (d *dialer) prove(a auth) {
	switch a {
	case authNone:
		if !d.hasVerdict() {
			return
		}
	case authPassword:
		out := answer(d.o.Password, [challengeSize]byte(d.bytes(challengeSize)))
		d.send(out[:]...)
	case authPlain:
		d.plain()
	case authSASL:
		d.sasl()
	}
	d.verdict()
}

// hasVerdict tells whether a SecurityResult follows the type None. Before 3.8
// nothing follows, except inside of VeNCrypt (QEMU's ui/vnc-auth-vencrypt.c;
// TigerVNC does the same from 3.8 on only, and speaks no older version with
// VeNCrypt).
func (d *dialer) hasVerdict() bool {
	return d.result.Version >= RFB38 || d.result.Security.inVeNCrypt()
}

func (d *dialer) plain() {
	l := d.o.Login
	s, state := d.result.Security, d.result.TLS
	if s == TLSPlain && !slices.Contains(d.o.Allow, TLSPlain) || securities[s].layer == certified && !state.Authenticated {
		d.err = kindNoSecurity.Found(d.subject, s.String()+" to a server that was not verified").
			WithWant("verify-peer=on: the password is shown to the server", "this client").Wrong()
		return
	}
	if len(l.User) > maxLogin || len(l.Password) > maxLogin {
		d.fail("a user's name or password longer than %d octets", maxLogin)
		return
	}
	var p []byte
	for _, n := range []int{len(l.User), len(l.Password)} {
		p = append(p, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	d.send(append(append(p, l.User...), l.Password...)...)
	d.result.User = l.User
}

// verdict reads a SecurityResult.
func (d *dialer) verdict() {
	result := d.uint32()
	if d.err != nil || result == resultOK {
		return
	}
	if result != resultFailed && result != resultTooMany {
		d.fail("a SecurityResult of %d; 0 or 1 was due", result)
		return
	}
	reason := ""
	if d.result.Version >= RFB38 {
		// A server that closes the connection at once has refused all the same.
		reason = d.reason()
	}
	f := kindRefused.Found(d.subject, finding.Printable(reason))
	if d.result.Security != None {
		f.Got = strings.TrimSpace(f.Got + " (" + d.result.Security.String() + ")")
	}
	d.err = f.Wrong()
}
