package vnc

import (
	"fmt"
	"net"
	"strings"

	"virtls/creds"
	"virtls/sasl"
)

// Bounds of an exchange. QEMU takes messages of up to 1 MiB; Kerberos tickets
// of Active Directory have some 10 KiB, other messages a few hundred octets.
const (
	maxMechanisms = 4 << 10
	maxMechanism  = 100
	maxMessage    = 64 << 10
	maxRounds     = 16
)

// readMessage reads a message of a mechanism as QEMU frames it
// (ui/vnc-auth-sasl.c): a length and the message with one octet more, which
// counts; the length 0 is no message at all. The octet is to be a NUL, but QEMU
// and gtk-vnc take it from behind the message's buffer, where after one of
// Kerberos there is anything, and look at none that they get.
func (w *wire) readMessage() []byte {
	p := w.block(maxMessage, "a SASL message")
	if w.err != nil || len(p) == 0 {
		return nil
	}
	return p[:len(p)-1]
}

// frame is the form of a message that readMessage reads.
func frame(message []byte) []byte {
	if message == nil {
		return make([]byte, 4)
	}
	n := len(message) + 1
	return append(append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, message...), 0)
}

// layerOf is what a connection is to the mechanisms. A client counts TLS only if
// it has verified the server.
func (r *Conn) layerOf(c net.Conn, below sasl.Layer) sasl.Layer {
	l := below
	if t := r.TLS; t != nil && securities[r.Security].layer == certified && (t.Authenticated || t.Endpoint == creds.Server) {
		l.SSF = max(l.SSF, t.KeySize*8)
	}
	if a := c.LocalAddr(); a != nil && strings.HasPrefix(a.Network(), "unix") {
		l.Local = true
	}
	return l
}

// readMechanisms reads what the server offers, unless it is known.
func (d *dialer) readMechanisms() {
	if d.mechanisms == nil {
		d.mechanisms = sasl.ParseList(string(d.block(maxMechanisms, "a list of SASL mechanisms")))
	}
}

// sasl logs in by the best of the mechanisms that the server offers.
func (d *dialer) sasl() {
	if d.readMechanisms(); d.err != nil {
		return
	}
	o := sasl.ClientOptions{Login: d.o.Login, GSSAPI: d.o.GSSAPI, Mechanisms: d.o.Mechanisms, Subject: d.subject}
	c, err := sasl.NewClient(d.mechanisms, d.result.layerOf(d.Conn, d.o.Below), o)
	if err != nil {
		d.err = err
		return
	}
	out, err := c.Step(nil)
	if err != nil {
		d.err = err
		return
	}
	name := []byte(c.Mechanism)
	d.sendUint32(uint32(len(name)))
	d.send(append(name, frame(out)...)...)
	for range maxRounds {
		in := d.readMessage()
		done := d.uint8()
		if d.err != nil {
			d.err = fmt.Errorf("during SASL's %s: %w", c.Mechanism, d.err)
			return
		}
		if in != nil || done == 0 {
			if out, d.err = c.Step(in); d.err != nil {
				return
			}
		}
		if done != 0 {
			d.err = c.Finish()
			d.result.User, d.result.Mechanism, d.result.seal = c.User(), c.Mechanism, c.Seal()
			return
		}
		d.send(frame(out)...)
	}
	d.fail("more than %d rounds of SASL", maxRounds)
}

// protect puts the layer that a login has agreed on, if it has, on top of the
// connection: all that follows the SecurityResult is sealed (QEMU's runSSF).
func (r *Conn) protect(c net.Conn) {
	if r.Conn = c; r.seal != nil {
		r.SSF, r.Conn = r.seal.SSF(), sasl.SealConn(c, r.seal)
	}
}
