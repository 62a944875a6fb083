package tlsengine

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// maxBuffered is how much of the peer is kept before it is looked at.
const maxBuffered = 4 * record.MaxRecord

// inbound is the half of a connection that receives.
type inbound struct {
	mu     sync.Mutex
	mem    *[maxBuffered]byte // nil while there is nothing in it
	r, w   int                // what was fed and not yet looked at is mem[r:w]
	plain  []byte             // application data, decrypted in place before mem[r]
	msgs   []byte             // handshake messages, the last perhaps not whole
	limit  int                // octets of content in a record
	keys   *trafficKeys
	closed bool // close_notify has come

	idle, warnings      int // in a row
	ccs, handshakeBytes int
	updates             int       // KeyUpdates since
	updatesFrom         time.Time // this time
	heard               bool      // a whole record has come
	early               int       // octets of early data that may still be skipped
}

// memories are shared by all connections, so that an idle one needs none.
var memories = sync.Pool{New: func() any { return new([maxBuffered]byte) }}

func (in *inbound) feed(p []byte) int {
	if len(p) == 0 {
		return 0
	}
	n := copy(in.space(len(p)), p)
	in.w += n
	return n
}

// space returns the free memory, with room for n octets if that can be made.
func (in *inbound) space(n int) []byte {
	if in.mem == nil {
		in.mem = memories.Get().(*[maxBuffered]byte)
	}
	if in.r > 0 && len(in.plain) == 0 && len(in.mem)-in.w < n {
		in.r, in.w = 0, copy(in.mem[:], in.mem[in.r:in.w])
	}
	return in.mem[in.w:]
}

func (in *inbound) feedFrom(read func([]byte) (int, error)) (int, error) {
	n, err := read(in.space(record.MaxRecord))
	if n > 0 {
		in.w += n
	}
	in.release()
	return n, err
}

// release gives the memory back when nothing is in it.
func (in *inbound) release() {
	if in.mem != nil && in.r == in.w && len(in.plain) == 0 {
		memories.Put(in.mem)
		in.mem, in.r, in.w, in.plain = nil, 0, 0, nil
	}
}

// forget drops the secrets and what was received.
func (in *inbound) forget() {
	in.keys.forget()
	if in.mem != nil {
		clear(in.mem[:])
		memories.Put(in.mem)
	}
	in.mem, in.r, in.w, in.plain, in.msgs = nil, 0, 0, nil, nil
}

// record takes a whole record from the memory, nil if there is none.
func (in *inbound) record() ([]byte, error) {
	if in.r == in.w {
		return nil, nil
	}
	buf := in.mem[in.r:in.w]
	if !in.heard {
		if err := looksLikeTLS(buf); err != nil {
			return nil, err
		}
	}
	if len(buf) < record.HeaderSize {
		return nil, nil
	}
	size := int(buf[3])<<8 | int(buf[4])
	if size > record.MaxRecord-record.HeaderSize || in.keys == nil && size > record.MaxPlaintext {
		return nil, wire.Errorf(wire.RecordOverflow, "a record of %d octets", size)
	}
	if buf[1] != 3 {
		return nil, wire.Errorf(wire.ProtocolVersion, "a record of version 0x%02x%02x", buf[1], buf[2])
	}
	if len(buf) < record.HeaderSize+size {
		return nil, nil
	}
	in.r += record.HeaderSize + size
	in.heard = true
	return buf[:record.HeaderSize+size], nil
}

// looksLikeTLS finds out early when the peer speaks something else: it is the
// commonest mistake of all, and the greeting says which.
func looksLikeTLS(b []byte) error {
	if b[0] >= byte(wire.ChangeCipherSpec) && b[0] <= byte(wire.ApplicationData) && (len(b) < 2 || b[1] == 3) {
		return nil
	}
	for _, p := range []struct{ greeting, name string }{
		{"NBDMAGIC", "NBD without TLS"}, {"RFB 0", "VNC without TLS"}, {"HTTP/", "HTTP without TLS"}, {"SSH-", "SSH"}, {"QEVM", "migration without TLS"},
	} {
		if bytes.HasPrefix(b, []byte(p.greeting)) || len(b) < len(p.greeting) && bytes.HasPrefix([]byte(p.greeting), b) && len(b) > 2 {
			return wire.Errorf(wire.UnexpectedMessage, "the peer does not speak TLS here: it sent %q, which is %s", trim(b), p.name)
		}
	}
	return wire.Errorf(wire.UnexpectedMessage, "the peer does not speak TLS here: it sent %q", trim(b))
}

func trim(b []byte) []byte { return b[:min(len(b), 16)] }

// nextRecord handles one message of those that have come, or one record; it
// reports false if there is no whole one.
func (e *Engine) nextRecord() (bool, error) {
	if m, err := e.nextMessage(); m != nil || err != nil {
		if err == nil {
			err = e.handle(m)
		}
		if err == nil && e.hs != nil && e.hs.answered && len(e.in.msgs) > 0 {
			err = wire.Errorf(wire.UnexpectedMessage, "handshake octets behind the %s that ends a flight", m.Type())
		}
		return true, err
	}
	in := &e.in
	rec, err := in.record()
	if rec == nil || err != nil {
		in.release()
		return false, err
	}
	t, content := wire.ContentType(rec[0]), rec[record.HeaderSize:]
	if t == wire.ChangeCipherSpec {
		return true, e.compatibilityRecord(content)
	}
	if in.keys != nil && !(t == wire.AlertRecord && e.plainAlert(rec)) {
		if t, content, err = in.keys.Open(rec); err != nil {
			if e.skipEarly(rec) {
				return true, nil
			}
			return true, e.unreadable(err)
		}
		in.early = 0
	} else if t == wire.ApplicationData && e.skipEarly(rec) {
		return true, nil
	}
	if len(content) > in.limit {
		return true, wire.Errorf(wire.RecordOverflow, "a record with %d octets of content, where %d were agreed", len(content), in.limit)
	}
	if len(in.msgs) > 0 && t == wire.ApplicationData {
		return true, wire.Errorf(wire.UnexpectedMessage, "application data within a handshake message")
	}
	switch t {
	case wire.HandshakeRecord:
		return true, e.handshakeRecord(content)
	case wire.AlertRecord:
		return true, e.alertRecord(content)
	case wire.ApplicationData:
		return true, e.dataRecord(content)
	}
	return true, wire.Errorf(wire.UnexpectedMessage, "a record of type %s", t)
}

// skipEarly tells whether a record that cannot be read is early data, which a
// server that wants none passes over, up to a limit (RFC 8446, section 4.2.10).
func (e *Engine) skipEarly(rec []byte) bool {
	if wire.ContentType(rec[0]) != wire.ApplicationData || e.in.early < len(rec) {
		return false
	}
	e.in.early -= len(rec)
	return true
}

// unreadable says what it means that the first protected record of a handshake
// in TLS 1.2 cannot be decrypted.
func (e *Engine) unreadable(err error) error {
	if e.hs == nil || e.hs.v12 == nil || e.hs.psk == nil {
		return err
	}
	user := e.hs.psk.user
	switch {
	case e.client:
		return wire.PSKErrorf(wire.BadRecordMAC, "the server has another key for user %q than this side", user)
	case e.hs.v12.unknown:
		return wire.PSKErrorf(wire.BadRecordMAC, "user %q is not known here", user)
	}
	return wire.PSKErrorf(wire.BadRecordMAC, "user %q has another key than this side's", user)
}

// plainAlert tells whether an alert came unprotected although the server's
// keys are known: a peer that could not make sense of our ServerHello or
// ClientHello has none (RFC 8446, section 6).
func (e *Engine) plainAlert(rec []byte) bool {
	return e.hs != nil && !e.hs.protected && len(rec) == record.HeaderSize+2
}

func (e *Engine) compatibilityRecord(content []byte) error {
	if e.hs != nil && e.hs.v12 != nil {
		return e.changeCipherSpec(content)
	}
	if e.hs == nil || !e.hs.helloSeen || len(content) != 1 || content[0] != 1 || len(e.in.msgs) > 0 {
		return wire.Errorf(wire.UnexpectedMessage, "an unexpected change_cipher_spec")
	}
	if e.in.ccs++; e.in.ccs > e.cfg.Limits.ChangeCipherSpecs {
		return wire.Errorf(wire.UnexpectedMessage, "more than %d change_cipher_spec", e.cfg.Limits.ChangeCipherSpecs)
	}
	return nil
}

func (e *Engine) alertRecord(content []byte) error {
	if len(content) != 2 {
		return wire.Errorf(wire.DecodeError, "an alert of %d octets", len(content))
	}
	const warning, fatal = 1, 2
	a, level := wire.Alert(content[1]), content[0]
	if level != warning && level != fatal {
		return wire.Errorf(wire.IllegalParameter, "the alert %s with level %d", a, level)
	}
	switch {
	case level == warning && a != wire.CloseNotify && !e.isTLS13():
		return e.warning()
	case a == wire.CloseNotify:
		if e.hs != nil {
			return &AlertError{a}
		}
		e.in.closed = true
		return nil
	case a == wire.UserCanceled:
		return e.warning()
	case level == warning:
		return wire.Errorf(wire.DecodeError, "the alert %s as a warning, which TLS 1.3 does not have", a)
	default:
		return &AlertError{a}
	}
}

// nothing counts a record that carries nothing.
func (e *Engine) nothing(what string) error {
	if e.in.idle++; e.in.idle > e.cfg.Limits.IdleRecords {
		return wire.Errorf(wire.UnexpectedMessage, "more than %d %s in a row", e.cfg.Limits.IdleRecords, what)
	}
	return nil
}

// warning counts an alert that ends nothing.
func (e *Engine) warning() error {
	if e.in.warnings++; e.in.warnings > e.cfg.Limits.Warnings {
		return wire.Errorf(wire.UnexpectedMessage, "more than %d warnings in a row", e.cfg.Limits.Warnings)
	}
	return nil
}

func (e *Engine) dataRecord(content []byte) error {
	if e.hs != nil || e.in.keys == nil {
		return wire.Errorf(wire.UnexpectedMessage, "application data during the handshake")
	}
	if len(content) == 0 {
		return e.nothing("empty records")
	}
	e.in.idle, e.in.warnings = 0, 0
	e.in.plain = content
	return nil
}

func (e *Engine) handshakeRecord(content []byte) error {
	in := &e.in
	if len(content) == 0 {
		return wire.Errorf(wire.UnexpectedMessage, "an empty handshake record")
	}
	in.msgs = append(in.msgs, content...)
	if e.hs == nil {
		return nil
	}
	in.idle, in.warnings = 0, 0
	if in.handshakeBytes += len(content); in.handshakeBytes > e.cfg.Limits.Handshake {
		return wire.Errorf(wire.IllegalParameter, "a handshake of more than %d octets", e.cfg.Limits.Handshake)
	}
	return nil
}

// nextMessage takes a whole message from those that have come, nil if there is
// none.
func (e *Engine) nextMessage() (wire.Message, error) {
	in := &e.in
	if len(in.msgs) < wire.HeaderSize {
		return nil, nil
	}
	m := wire.Message(in.msgs)
	size := m.BodySize()
	if size > e.cfg.Limits.Message {
		return nil, wire.Errorf(wire.IllegalParameter, "a %s of %d octets", m.Type(), size)
	}
	if len(m) < wire.HeaderSize+size {
		return nil, nil
	}
	// The message is kept by the transcript and by what is parsed from it.
	m = bytes.Clone(m[:wire.HeaderSize+size])
	if in.msgs = in.msgs[len(m):]; len(in.msgs) == 0 {
		in.msgs = nil
	}
	return m, nil
}

// handle gives a message to the step of the handshake that waits for it, or to
// those that come afterwards.
func (e *Engine) handle(m wire.Message) error {
	if e.hs != nil {
		return e.hs.handle(e, m)
	}
	switch {
	case e.state.Version == wire.TLS12 && e.client && m.Type() == wire.TypeHelloRequest:
		return e.nothing("hello_requests") // the peer may ask; there is no renegotiation
	case e.state.Version == wire.TLS12 && !e.client && m.Type() == wire.TypeClientHello:
		return wire.Errorf(wire.NoRenegotiation, "the client wants to renegotiate")
	case e.state.Version == wire.TLS12:
	case m.Type() == wire.TypeKeyUpdate:
		return e.keyUpdate(m.Body())
	case m.Type() == wire.TypeNewSessionTicket && e.client:
		if err := wire.CheckNewSessionTicket(m.Body()); err != nil {
			return err
		}
		return e.nothing("new_session_tickets")
	}
	return wire.Errorf(wire.UnexpectedMessage, "a %s after the handshake", m.Type())
}

func (e *Engine) keyUpdate(body []byte) error {
	requested, err := wire.ParseKeyUpdate(body)
	if err != nil {
		return err
	}
	if now := e.cfg.Time(); now.Sub(e.in.updatesFrom) >= time.Second || now.Before(e.in.updatesFrom) {
		e.in.updates, e.in.updatesFrom = 0, now
	}
	if e.in.updates++; e.in.updates > e.cfg.Limits.KeyUpdates {
		return wire.Errorf(wire.UnexpectedMessage, "more than %d key_update in a second", e.cfg.Limits.KeyUpdates)
	}
	next, err := e.in.keys.next()
	if err != nil {
		return fmt.Errorf("tlsengine: %w", err)
	}
	if err := e.setReadKeys(next); err != nil {
		return err
	}
	if requested {
		e.out.mu.Lock()
		e.out.answer = !e.out.closed
		e.out.mu.Unlock()
	}
	return nil
}

// setReadKeys changes the keys. No handshake message may reach across (RFC
// 8446, section 5.1).
func (e *Engine) setReadKeys(keys *trafficKeys) error {
	if len(e.in.msgs) > 0 {
		return wire.Errorf(wire.UnexpectedMessage, "handshake octets behind a message that changes keys")
	}
	e.in.keys.forget()
	e.in.keys = keys
	return nil
}
