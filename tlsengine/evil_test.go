package tlsengine

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// The evil peer is an engine that sends something else than it means to: a
// twist gets each of its handshake messages and returns what goes out instead.
// It keeps its own idea of the handshake, so that whatever comes before a bad
// message is good.

// settings are the handshakes that evil peers spoil.
var settings = []struct {
	name           string
	client, server func(testing.TB) Config
}{
	{"PSK", pskClient(Config{}), pskServer(Config{})},
	{"PSK with a retry", pskClient(Config{Groups: []Group{wire.P256, wire.X25519}}), pskServer(Config{Groups: []Group{wire.X25519}})},
	{"certificates", certified(Config{}), certified(Config{RequestCertificate: true})},
	{"TLS 1.2 certificates", certified(Config{Versions: only12}), certified(Config{RequestCertificate: true})},
	{"TLS 1.2 ECDHE-PSK", pskClient(Config{Versions: only12, Suites: []Suite{wire.ECDHEPSKWithAES128GCM}}), pskServer(Config{})},
	{"TLS 1.2 PSK", pskClient(Config{Versions: only12, PSKAlone: true, Suites: []Suite{wire.PSKWithAES128GCM}}), pskServer(Config{PSKAlone: true})},
	{"TLS 1.2 DH_anon", fixed(Config{Anonymous: true}), fixed(Config{Anonymous: true})},
}

func fixed(c Config) func(testing.TB) Config {
	return func(testing.TB) Config { return c }
}

func pskClient(c Config) func(testing.TB) Config {
	return func(testing.TB) Config { c.PSK = testPSK; return fast(c) }
}

func pskServer(c Config) func(testing.TB) Config {
	return func(testing.TB) Config { c.FindPSK = findPSK(testPSK); return fast(c) }
}

func certified(c Config) func(testing.TB) Config {
	return func(t testing.TB) Config {
		if sharedIdentity == nil {
			sharedIdentity = []Identity{newCA(t, "ec").newLeaf(t, "ec").Identity}
		}
		c.Identities = sharedIdentity
		return fast(c)
	}
}

var sharedIdentity []Identity // made once

// fast has a key exchange that costs little.
func fast(c Config) Config {
	if c.Groups == nil {
		c.Groups = []Group{wire.X25519, wire.P256}
	}
	return c
}

// An evilPair is a handshake of an evil end and its victim.
type evilPair struct {
	pair
	evil, victim *Engine
	at           int // messages that the evil end has meant to send
}

func newEvilPair(t testing.TB, client, server Config, evilClient bool, twist func(at int, m wire.Message) []byte) *evilPair {
	t.Helper()
	p := &evilPair{pair: newPair(t, client, server)}
	p.evil, p.victim = p.server, p.client
	if evilClient {
		p.evil, p.victim = p.client, p.server
	}
	p.evil.out.twist = func(m wire.Message) []byte {
		p.at++
		return twist(p.at-1, m)
	}
	return p
}

// run brings the handshake as far as it goes, and returns what the victim ended
// it for, nil if it did not.
func (p *evilPair) run(t testing.TB) error {
	t.Helper()
	p.shake(1 << 20)
	if err := p.victim.Err(); err != nil {
		return err
	}
	// What comes behind the handshake is looked at by a reader.
	if _, err := p.victim.Handshake(); err == nil && p.victim.hs == nil {
		p.victim.Read(make([]byte, 1))
	}
	return p.victim.Err()
}

// check checks that the victim ended the connection with one of the alerts, that
// the alert goes out, and that nothing more than it may was kept.
func (p *evilPair) check(t testing.TB, what string, err error, alerts ...Alert) {
	t.Helper()
	var own *Error
	switch {
	case err == nil:
		t.Errorf("%s: the victim did not mind", what)
		return
	case !errors.As(err, &own):
		t.Errorf("%s: the victim says %v", what, err)
		return
	case !slices.Contains(alerts, own.Alert):
		t.Errorf("%s: the alert %s (%v), want %v", what, own.Alert, err, alerts)
	}
	if !p.victim.out.closed {
		t.Errorf("%s: no alert went out", what)
	}
	if kept := len(p.victim.in.msgs); kept > p.victim.cfg.Limits.Message+record.MaxPlaintext {
		t.Errorf("%s: the victim keeps %d octets", what, kept)
	}
}

// eachMessage runs f for each message that each end of each setting sends.
func eachMessage(t *testing.T, f func(t *testing.T, client, server Config, evilClient bool, at int, m wire.Message)) {
	before := runtime.NumGoroutine()
	for _, s := range settings {
		for _, evilClient := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, evil client %v", s.name, evilClient), func(t *testing.T) {
				client, server := s.client(t), s.server(t)
				var sent []wire.Message
				p := newEvilPair(t, client, server, evilClient, func(_ int, m wire.Message) []byte {
					sent = append(sent, bytes.Clone(m))
					return m
				})
				a, b := p.shake(1 << 20)
				must(t, errors.Join(a, b))
				for at, m := range sent {
					f(t, client, server, evilClient, at, m)
				}
			})
		}
	}
	for range 100 { // those of the subtests end a moment later
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// messageTypes are those that have a name, and one that has none.
func messageTypes() []wire.HandshakeType {
	types := []wire.HandshakeType{99}
	for n := range 255 {
		if typ := wire.HandshakeType(n); typ.String() != fmt.Sprintf("handshake message 0x%02x", n) {
			types = append(types, typ)
		}
	}
	return types
}

// A message of every wrong type in every state, empty and with the body of the
// right one, ends the connection.
func TestEvilWrongType(t *testing.T) {
	types := messageTypes()
	eachMessage(t, func(t *testing.T, client, server Config, evilClient bool, at int, m wire.Message) {
		for _, typ := range types {
			if typ == m.Type() {
				continue
			}
			bodies := [][]byte{m.Body()}
			if full() || typ == wire.TypeHelloRequest || typ == wire.TypeServerHelloDone {
				bodies = append(bodies, nil)
			}
			for _, body := range bodies {
				allowed := false
				p := newEvilPair(t, client, server, evilClient, nil)
				p.evil.out.twist = func(o wire.Message) []byte {
					if p.at++; p.at-1 != at {
						return o
					}
					return wire.NewMessage(typ, body)
				}
				err := p.run(t)
				if p.victim.hs != nil {
					allowed = slices.Contains(p.victim.hs.step.want, typ)
				}
				alerts := []Alert{wire.UnexpectedMessage}
				if allowed { // one of several that may come, but not with this body
					alerts = []Alert{wire.DecodeError, wire.IllegalParameter, wire.MissingExtension, wire.UnsupportedExtension, wire.DecryptError, wire.UnexpectedMessage}
				}
				p.check(t, fmt.Sprintf("%s with %d octets instead of %s", typ, len(body), m.Type()), err, alerts...)
			}
		}
	})
}

// Messages that are truncated, too long, repeated, left out, in the wrong order or of a size
// that nobody needs.
func TestEvilMessages(t *testing.T) {
	eachMessage(t, func(t *testing.T, client, server Config, evilClient bool, at int, m wire.Message) {
		malformed, repeated := []Alert{wire.DecodeError}, []Alert{wire.UnexpectedMessage}
		switch m.Type() {
		case wire.TypeFinished:
			malformed = []Alert{wire.DecryptError} // it is compared as a whole
		case wire.TypeClientHello:
			malformed = append(malformed, wire.IllegalParameter) // the octets behind pre_shared_key
			repeated = append(repeated, wire.IllegalParameter)   // as an answer to hello_retry_request
		}
		one := func(what string, alerts []Alert, twist func(m wire.Message) []byte) {
			t.Helper()
			p := newEvilPair(t, client, server, evilClient, func(n int, o wire.Message) []byte {
				if n == at {
					return twist(o)
				}
				return o
			})
			p.check(t, what+" "+m.Type().String(), p.run(t), alerts...)
		}
		if len(m.Body()) > 0 {
			one("truncated", malformed, func(m wire.Message) []byte { return wire.NewMessage(m.Type(), m.Body()[:len(m.Body())-1]) })
		}
		one("trailing octet in", malformed, func(m wire.Message) []byte { return wire.NewMessage(m.Type(), append(bytes.Clone(m.Body()), 0)) })
		one("repeated", repeated, func(m wire.Message) []byte { return slices.Concat(m, m) })
		one("oversized", []Alert{wire.IllegalParameter}, func(m wire.Message) []byte {
			return append([]byte{byte(m.Type()), 0xff, 0xff, 0xff}, make([]byte, 1000)...)
		})
	})
}

// What is left out or comes in another order is missed at once, or the
// handshake does not end.
func TestEvilOrder(t *testing.T) {
	eachMessage(t, func(t *testing.T, client, server Config, evilClient bool, at int, m wire.Message) {
		if m.Type() == wire.TypeCertificateRequest {
			return // nobody can know that it was meant to come
		}
		skip := newEvilPair(t, client, server, evilClient, func(n int, o wire.Message) []byte {
			if n == at {
				return nil
			}
			return o
		})
		if err := skip.run(t); err != nil {
			skip.check(t, "without "+m.Type().String(), err, wire.UnexpectedMessage)
		} else if skip.victim.hs == nil {
			t.Errorf("the handshake is complete without %s", m.Type())
		} else {
			// Nothing came after it: application data in its place.
			skip.evil.out.mu.Lock()
			skip.evil.out.append(wire.ApplicationData, []byte("early"))
			skip.evil.out.mu.Unlock()
			skip.check(t, "application data instead of "+m.Type().String(), skip.run(t), wire.UnexpectedMessage, wire.BadRecordMAC)
		}
		var held wire.Message
		swap := newEvilPair(t, client, server, evilClient, func(n int, o wire.Message) []byte {
			switch n {
			case at:
				held = bytes.Clone(o)
				return nil
			case at + 1:
				return slices.Concat(o, held)
			}
			return o
		})
		if err := swap.run(t); err != nil {
			swap.check(t, "the next message before "+m.Type().String(), err, wire.UnexpectedMessage)
		} else if swap.victim.hs == nil {
			t.Errorf("the handshake is complete with %s too late", m.Type())
		}
	})
}

// Records that no message of the handshake accounts for.
func TestEvilRecords(t *testing.T) {
	for _, tt := range []struct {
		name    string
		typ     wire.ContentType
		content []byte
		alerts  []Alert
	}{
		{"application data", wire.ApplicationData, []byte("early"), []Alert{wire.UnexpectedMessage}},
		{"an empty handshake record", wire.HandshakeRecord, nil, []Alert{wire.UnexpectedMessage}},
		{"a record of no type", 99, []byte{1}, []Alert{wire.UnexpectedMessage}},
		{"a heartbeat", 24, []byte{1, 0, 0}, []Alert{wire.UnexpectedMessage}},
		{"half an alert", wire.AlertRecord, []byte{2}, []Alert{wire.DecodeError}},
		{"two alerts", wire.AlertRecord, []byte{1, 90, 1, 90}, []Alert{wire.DecodeError}},
		{"change_cipher_spec of 2", wire.ChangeCipherSpec, []byte{2}, []Alert{wire.UnexpectedMessage}},
		{"change_cipher_spec of two octets", wire.ChangeCipherSpec, []byte{1, 1}, []Alert{wire.UnexpectedMessage}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMessage(t, func(t *testing.T, client, server Config, evilClient bool, at int, m wire.Message) {
				p := newEvilPair(t, client, server, evilClient, nil)
				p.evil.out.twist = func(o wire.Message) []byte {
					if p.at++; p.at-1 == at {
						p.evil.out.flush()
						p.evil.out.append(tt.typ, tt.content)
					}
					return o
				}
				p.check(t, tt.name+" before "+m.Type().String(), p.run(t), tt.alerts...)
			})
		})
	}
}
