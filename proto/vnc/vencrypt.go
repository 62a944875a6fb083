package vnc

import (
	"context"
	"time"

	"virtls/session"
)

// VeNCrypt's acknowledgements: 0 of a version and 1 of a subtype are good
// (QEMU's ui/vnc-auth-vencrypt.c).
const (
	versionGood = 0
	subtypeGood = 1
)

// The version of VeNCrypt that everybody speaks.
const venCryptMajor, venCryptMinor = 0, 2

// venCryptOffers agrees on VeNCrypt 0.2 and reads the subtypes that the server
// offers.
func (d *dialer) venCryptOffers() []Security {
	v := d.bytes(2)
	if d.err == nil && (v[0] != venCryptMajor || v[1] < venCryptMinor) {
		d.fail("VeNCrypt %d.%d; 0.2 was due", v[0], v[1])
	}
	d.send(venCryptMajor, venCryptMinor)
	if ack := d.uint8(); d.err == nil && ack != versionGood {
		d.fail("VeNCrypt 0.2 was refused with %d", ack)
	}
	n := d.uint8()
	var list []Security
	for range n {
		if s := d.uint32(); d.err == nil {
			list = append(list, Security(s))
		}
	}
	return list
}

// subtype asks for a subtype.
func (d *dialer) subtype(s Security) {
	d.sendUint32(uint32(s))
	if ack := d.uint8(); d.err == nil && ack != subtypeGood {
		d.fail("%v was refused with %d, though it had been offered", s, ack)
	}
}

// startTLS asks for a subtype and makes the TLS session below it.
func (d *dialer) startTLS(ctx context.Context, s Security) {
	if d.subtype(s); d.err != nil {
		return
	}
	options := d.o.X509
	if securities[s].layer == anonymous {
		options = d.o.Anon
	}
	d.result.TLS = d.secure(ctx, options())
}

// secure puts TLS on top of the connection.
func (w *wire) secure(ctx context.Context, o session.Options) *session.State {
	begin := time.Now()
	c, err := session.Open(ctx, w.Conn, o)
	w.shook = time.Since(begin)
	if err != nil {
		w.err = err
		return nil
	}
	w.Conn = c
	state := c.State()
	return &state
}
