package tlsengine

import (
	"bytes"
	"crypto/hmac"
	"slices"

	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/schedule"
	"virtls/tlsengine/internal/wire"
)

// handshake12 is what a handshake of TLS 1.2 needs besides the rest.
type handshake12 struct {
	randoms  schedule.Randoms
	extended bool // extended master secret (RFC 7627)
	exchange kex.Exchange
	peer     []byte // the peer's share
	group    wire.Group
	request  *wire.CertificateRequest12 // nil if the client's certificate is not wanted
	messages []byte                     // all of them, for CertificateVerify
	keep     bool                       // messages are still wanted
	unknown  bool                       // the user has a key that nobody has
	master   []byte
	read     *trafficKeys // that come with the peer's change_cipher_spec; nil until it may come
	write    *trafficKeys
}

func (e *Engine) isTLS12() bool {
	return e.state.Version == wire.TLS12 || e.hs != nil && e.hs.v12 != nil
}

// isTLS13 tells whether that version has been agreed on.
func (e *Engine) isTLS13() bool { return e.state.Version == wire.TLS13 }

// start12 begins a handshake of TLS 1.2.
func (e *Engine) start12(s *suite, h *wire.ClientHello, sh *wire.ServerHello) {
	e.hs.suite = s
	e.hs.v12 = &handshake12{randoms: schedule.Randoms{Client: h.Random, Server: sh.Random}, extended: sh.ExtendedMasterSecret, keep: true}
	e.hs.v12.messages = e.hs.transcript.kept
	e.hs.transcript.choose(s.hash)
	e.state.Version, e.state.Suite = wire.TLS12, s.id
	e.state.ExtendedMasterSecret = sh.ExtendedMasterSecret
	e.out.setVersion(wire.TLS12)
}

// note12 adds a message of the peer's, or of ours, to the transcript.
func (e *Engine) note12(m wire.Message) {
	e.hs.transcript.add(m)
	if e.hs.v12.keep {
		e.hs.v12.messages = append(e.hs.v12.messages, m...)
	}
}

func (e *Engine) send12(m wire.Message) {
	e.hs.answered = true
	e.note12(m)
	e.out.message(m)
}

// premaster12 finishes the key exchange: the secret of the exchange, joined
// with the pre-shared key if there is one.
func (e *Engine) premaster12() ([]byte, error) {
	v, k := e.hs.v12, e.hs.suite.kx
	var secret []byte
	if v.exchange != nil {
		var err error
		if secret, err = v.exchange.Finish(v.peer); err != nil {
			return nil, wire.Errorf(wire.IllegalParameter, "%v (%s)", err, v.group)
		}
		if k.Finite {
			// RFC 5246, section 8.1.2; there is no other way in TLS 1.2.
			secret = bytes.TrimLeft(secret, "\x00")
		}
	}
	if k.PSK {
		return schedule.PSKPremaster(secret, e.hs.psk.key), nil
	}
	return secret, nil
}

// keys12 derives the keys, after ClientKeyExchange is in the transcript.
func (e *Engine) keys12() error {
	v, s := e.hs.v12, e.hs.suite
	premaster, err := e.premaster12()
	if err != nil {
		return err
	}
	if v.extended {
		v.master = schedule.ExtendedMaster12(s.hash, premaster, e.hs.transcript.sum())
	} else {
		v.master = schedule.Master12(s.hash, premaster, v.randoms)
	}
	clear(premaster)
	clientKey, serverKey, clientIV, serverIV := schedule.Block12(s.hash, v.master, v.randoms, s.aead.KeySize(), s.aead.FixedIVSize())
	client, err := record.NewTLS12(s.aead, clientKey, clientIV)
	if err != nil {
		return err
	}
	server, err := record.NewTLS12(s.aead, serverKey, serverIV)
	if err != nil {
		return err
	}
	v.read, v.write = &trafficKeys{Protector: client, suite: s}, &trafficKeys{Protector: server, suite: s}
	if e.client {
		v.read, v.write = v.write, v.read
	}
	for _, b := range [][]byte{clientKey, serverKey, clientIV, serverIV} {
		clear(b)
	}
	e.exporter = exporter{version: wire.TLS12, hash: s.hash, secret: v.master, randoms: v.randoms}
	return e.logSecret("CLIENT_RANDOM", v.master)
}

// changeCipherSpec takes the peer's keys into use: the next message is its
// Finished.
func (e *Engine) changeCipherSpec(content []byte) error {
	v := e.hs.v12
	if len(content) != 1 || content[0] != 1 || v.read == nil || e.in.keys != nil || !slices.Contains(e.hs.step.want, wire.TypeFinished) {
		return wire.Errorf(wire.UnexpectedMessage, "an unexpected change_cipher_spec")
	}
	return e.setReadKeys(v.read)
}

// finish12 sends change_cipher_spec and Finished.
func (e *Engine) finish12() {
	v := e.hs.v12
	e.out.compatible()
	e.out.setKeys(v.write)
	e.send12(wire.NewMessage(wire.TypeFinished, schedule.Finished12(e.hs.suite.hash, v.master, e.client, e.hs.transcript.sum())))
}

// peerFinished12 checks the peer's Finished.
func (e *Engine) peerFinished12(m wire.Message) error {
	if e.in.keys == nil {
		return wire.Errorf(wire.UnexpectedMessage, "a finished without change_cipher_spec")
	}
	if !hmac.Equal(m.Body(), schedule.Finished12(e.hs.suite.hash, e.hs.v12.master, !e.client, e.hs.transcript.sum())) {
		return wire.Errorf(wire.DecryptError, "the peer's finished does not fit the handshake")
	}
	if len(e.in.msgs) > 0 {
		return wire.Errorf(wire.UnexpectedMessage, "handshake octets behind a finished")
	}
	e.note12(m)
	return nil
}

// recordLimit12 takes the peer's record_size_limit, which in TLS 1.2 counts the
// content alone (RFC 8449, section 4).
func (e *Engine) recordLimit12(limit uint16) error {
	if limit == 0 {
		return nil
	}
	return e.recordLimit(min(limit, record.MaxPlaintext) + 1)
}

// needExtended tells whether a suite may not do without the extended master
// secret: nothing else ties these sessions to their handshake.
func (s *suite) needExtended() bool { return s.kx.key == noCertificate }
