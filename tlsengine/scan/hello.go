package scan

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// Code points, as they are on the wire.
type (
	Version         = wire.Version
	Group           = wire.Group
	SignatureScheme = wire.SignatureScheme
	Alert           = wire.Alert
)

// The versions.
const (
	SSL30 = wire.SSL30
	TLS10 = wire.TLS10
	TLS11 = wire.TLS11
	TLS12 = wire.TLS12
	TLS13 = wire.TLS13
)

// An Offer is what a ClientHello offers.
type Offer struct {
	Version Version // this one alone
	Suites  []Suite
	Groups  []Group
	Schemes []SignatureScheme // every one that is known if nil
}

// An Answer is what a server made of an offer.
type Answer struct {
	Accepted bool
	Suite    uint16
	Group    Group // that a TLS 1.3 server chose

	// Of a refusal: an alert, or what else the server did.
	Alert   Alert
	Alerted bool
	Refusal string
}

// A Dialer brings a connection on which TLS is to be spoken next.
type Dialer func(context.Context) (net.Conn, error)

// ErrNotTLS is in the error of a server that answered with something else.
var ErrNotTLS = errors.New("the server does not answer with TLS")

// answerLimit bounds the wait for an answer.
const answerLimit = 5 * time.Second

// Try offers something and returns the answer. A server that closes the
// connection, or says nothing for some seconds, refuses; what is no TLS is an
// error.
func Try(ctx context.Context, dial Dialer, o Offer) (Answer, error) {
	nc, err := dial(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	hello, err := o.hello()
	if err != nil {
		return Answer{}, err
	}
	if _, err := nc.Write(hello); err != nil {
		return Answer{Refusal: "closes the connection"}, nil
	}
	return readAnswer(nc, o)
}

// withShare are the groups for which a hello of TLS 1.3 brings a share. A server
// that takes another asks for its share by a HelloRetryRequest, which counts as
// accepting; but GnuTLS also does so where it has no certificate in the end.
var withShare = []Group{wire.X25519, wire.P256, wire.P384}

// hello returns a record with the ClientHello.
func (o Offer) hello() ([]byte, error) {
	h := &wire.ClientHello{
		Version: min(o.Version, TLS12), SessionID: make([]byte, 32), Compression: []byte{0},
		Groups: o.Groups, Schemes: o.Schemes,
	}
	for _, b := range [][]byte{h.Random[:], h.SessionID} {
		if _, err := rand.Read(b); err != nil {
			return nil, err
		}
	}
	for _, s := range o.Suites {
		h.Suites = append(h.Suites, wire.Suite(s.ID))
	}
	if h.Schemes == nil {
		h.Schemes = schemes
	}
	switch {
	case o.Version == TLS13:
		h.Versions, h.HasKeyShares = []Version{TLS13}, true
		for _, g := range withShare {
			if !slices.Contains(o.Groups, g) {
				continue
			}
			x, err := kex.New(g, rand.Reader)
			if err != nil {
				return nil, err
			}
			h.KeyShares = append(h.KeyShares, wire.KeyShare{Group: g, Data: x.Share()})
		}
		h.PSKModes = []wire.PSKMode{wire.PSKWithDHE, wire.PSKAlone}
	case o.Version > SSL30:
		h.ExtendedMasterSecret, h.RenegotiationInfo, h.PointFormats = true, []byte{}, []byte{0}
		if o.Version < TLS12 {
			h.Schemes = nil
		}
	default: // no extensions: servers of that age may choke on them
		h.Groups, h.Schemes = nil, nil
		h.Suites = append(h.Suites, wire.EmptyRenegotiationInfoSCSV)
	}
	return record.AppendPlain(nil, wire.HandshakeRecord, max(min(o.Version, TLS10), SSL30), h.Marshal()), nil
}

// maxHello bounds a ServerHello; longer ones are no answer to ours.
const maxHello = 4 << 10

// readAnswer reads records up to the end of the ServerHello.
func readAnswer(r io.Reader, o Offer) (Answer, error) {
	var message []byte
	for {
		typ, body, err := readRecord(r)
		switch {
		case errors.Is(err, ErrNotTLS):
			return Answer{}, err
		case err != nil:
			return Answer{Refusal: silence(err)}, nil
		}
		switch typ {
		case wire.AlertRecord:
			if len(body) != 2 {
				return Answer{}, fmt.Errorf("%w: an alert of %d octets", ErrNotTLS, len(body))
			}
			if a := Alert(body[1]); body[0] != warning || a == wire.CloseNotify {
				return Answer{Alert: a, Alerted: true, Refusal: "alert " + a.String()}, nil
			}
			continue // a warning, such as GnuTLS's unrecognized_name
		case wire.HandshakeRecord:
			message = append(message, body...)
		default:
			return Answer{}, fmt.Errorf("%w: a record of type %s", ErrNotTLS, typ)
		}
		if len(message) >= wire.HeaderSize {
			m := wire.Message(message)
			if m.Type() != wire.TypeServerHello || m.BodySize() > maxHello {
				return Answer{}, fmt.Errorf("%w: a %s of %d octets", ErrNotTLS, m.Type(), m.BodySize())
			}
			if end := wire.HeaderSize + m.BodySize(); len(m) >= end {
				return o.judge(m[:end])
			}
		}
	}
}

const warning = 1 // level of an alert

// silence says how a server refuses without an alert.
func silence(err error) string {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "does not answer"
	}
	return "closes the connection"
}

func readRecord(r io.Reader) (wire.ContentType, []byte, error) {
	var head [record.HeaderSize]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if n > 0 && head[0] != byte(wire.AlertRecord) && head[0] != byte(wire.HandshakeRecord) {
			return 0, nil, fmt.Errorf("%w: it sent %q", ErrNotTLS, head[:n])
		}
		return 0, nil, err
	}
	typ, size := wire.ContentType(head[0]), int(binary.BigEndian.Uint16(head[3:]))
	if typ < wire.ChangeCipherSpec || typ > wire.ApplicationData || head[1] != 3 || size == 0 || size > record.MaxPlaintext {
		return 0, nil, fmt.Errorf("%w: it sent %q", ErrNotTLS, head[:])
	}
	body := make([]byte, size)
	_, err := io.ReadFull(r, body)
	return typ, body, err
}

// judge tells whether a ServerHello accepts the offer.
func (o Offer) judge(m wire.Message) (Answer, error) {
	h, err := wire.ParseServerHello(m.Body())
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %v", ErrNotTLS, err)
	}
	version := h.Version
	if h.Selected != 0 {
		version = h.Selected
	}
	a := Answer{Suite: uint16(h.Suite)}
	if version != o.Version {
		a.Refusal = "chooses " + version.String()
		return a, nil
	}
	for _, s := range o.Suites {
		a.Accepted = a.Accepted || s.ID == a.Suite
	}
	if !a.Accepted {
		return Answer{}, fmt.Errorf("the server chose the suite 0x%04x, which was not offered", a.Suite)
	}
	if a.Group = h.RetryGroup; h.Share != nil {
		a.Group = h.Share.Group
	}
	return a, nil
}
