package tlsengine

import (
	"crypto"
	"errors"
	"hash"
	"slices"

	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/schedule"
	"virtls/tlsengine/internal/wire"
)

// A step is where a handshake stands: the messages that may come, and what is
// done with them.
type step struct {
	name   string
	start  func(*Engine) error // done before the first message; nil for most
	want   []wire.HandshakeType
	handle func(*Engine, wire.Message) error
}

// handshake is what a connection needs until it is complete.
type handshake struct {
	step       *step
	started    bool
	helloSeen  bool // a ClientHello has been sent or received: change_cipher_spec may come
	protected  bool // a protected record has come
	compatible bool // change_cipher_spec has been sent
	answered   bool // the message at hand has led to an answer: it ended the peer's flight

	hello      *wire.ClientHello // ours or the client's, the last one
	retry      *wire.ServerHello // the HelloRetryRequest, nil if there was none
	shares     map[wire.Group]kex.Exchange
	suite      *suite
	group      wire.Group
	offers     []*offer // a client's keys
	psk        *offer   // the one that was chosen
	unfit      *offer   // a known user's, for suites that the client lacks
	secrets    *schedule.Schedule
	request    *wire.CertificateRequest13 // the server's, nil if there was none
	identity   *Identity                  // what this end proves to be
	transcript transcript
	client     []byte // the secret of the client's handshake records
	server     []byte
	clientApp  []byte
	serverApp  []byte

	signing *signature   // that the handshake waits for; nil if it does not
	v12     *handshake12 // nil in TLS 1.3
}

func (h *handshake) handle(e *Engine, m wire.Message) error {
	if !slices.Contains(h.step.want, m.Type()) {
		return wire.Errorf(wire.UnexpectedMessage, "a %s, where %s waits for %v", m.Type(), h.step.name, h.step.want)
	}
	h.protected = h.protected || e.in.keys != nil
	h.answered = false
	return h.step.handle(e, m)
}

// key returns the pre-shared key, nil in a handshake without one.
func (h *handshake) key() []byte {
	if h.psk == nil {
		return nil
	}
	return h.psk.key
}

// transcript hashes the handshake's messages. It keeps them until the hash is
// known.
type transcript struct {
	kept []byte
	hash hash.Hash
}

func (t *transcript) add(m wire.Message) {
	if t.hash == nil {
		t.kept = append(t.kept, m...)
		return
	}
	t.hash.Write(m)
}

// choose sets the hash.
func (t *transcript) choose(h crypto.Hash) {
	if t.hash == nil {
		t.hash = h.New()
		t.hash.Write(t.kept)
		t.kept = nil
	}
}

// retried puts the hash of the first ClientHello in its place (RFC 8446, section
// 4.4.1).
func (t *transcript) retried(h crypto.Hash) {
	t.choose(h)
	first := t.sum()
	t.hash = h.New()
	t.hash.Write(wire.NewMessage(wire.TypeMessageHash, first))
}

func (t *transcript) sum() []byte { return t.hash.Sum(nil) }

// with returns the hash with something behind it that is no message yet.
func (t *transcript) with(h crypto.Hash, data []byte) []byte {
	if t.hash == nil {
		d := h.New()
		d.Write(t.kept)
		d.Write(data)
		return d.Sum(nil)
	}
	// A clone of a hash of the standard library cannot fail.
	c, err := t.hash.(hash.Cloner).Clone()
	if err != nil {
		panic("tlsengine: " + err.Error())
	}
	c.Write(data)
	return c.Sum(nil)
}

// send adds a message to the transcript and to what goes out.
func (e *Engine) send(m wire.Message) {
	e.hs.answered = true
	e.hs.transcript.add(m)
	e.out.message(m)
}

// complete ends the handshake.
func (e *Engine) complete() {
	e.out.mu.Lock()
	e.out.open = true
	e.out.mu.Unlock()
	e.hs.forget()
	e.hs = nil
}

// compatibilityMode sends one change_cipher_spec (RFC 8446, appendix D.4).
func (e *Engine) compatibilityMode() {
	if !e.hs.compatible {
		e.hs.compatible = true
		e.out.compatible()
	}
}

// handshakeKeys derives the secrets of the handshake's records, after
// ServerHello is in the transcript.
func (e *Engine) handshakeKeys(shared []byte) error {
	h := e.hs
	h.secrets.Handshake(shared)
	clear(shared)
	h.client, h.server = h.secrets.HandshakeTraffic(h.transcript.sum())
	return e.logSecrets([2]string{"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"}, h.client, h.server)
}

// applicationKeys derives the secrets of application data, after the server's
// Finished is in the transcript.
func (e *Engine) applicationKeys() error {
	h := e.hs
	h.secrets.Master()
	sum := h.transcript.sum()
	h.clientApp, h.serverApp = h.secrets.ApplicationTraffic(sum)
	e.exporter = exporter{version: wire.TLS13, hash: h.suite.hash, secret: h.secrets.Exporter(sum)}
	return errors.Join(e.logSecrets([2]string{"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}, h.clientApp, h.serverApp),
		e.logSecret("EXPORTER_SECRET", e.exporter.secret))
}

func (e *Engine) writeKeys(secret []byte) error {
	keys, err := newTrafficKeys(e.hs.suite, secret)
	if err != nil {
		return err
	}
	e.out.setKeys(keys)
	return nil
}

func (e *Engine) readKeys(secret []byte) error {
	keys, err := newTrafficKeys(e.hs.suite, secret)
	if err != nil {
		return err
	}
	return e.setReadKeys(keys)
}

// recordLimit takes the peer's record_size_limit (RFC 8449), which counts the
// octet for the type.
func (e *Engine) recordLimit(limit uint16) error {
	if limit == 0 {
		return nil
	}
	if limit < 64 {
		return wire.Errorf(wire.IllegalParameter, "a record_size_limit of %d", limit)
	}
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	e.out.limit = min(e.out.limit, int(limit)-1)
	return nil
}
