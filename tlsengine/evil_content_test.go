package tlsengine

import (
	"bytes"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"virtls/pki/dh"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// helloTwist changes a ClientHello.
func helloTwist(t testing.TB, change func(*wire.ClientHello)) func(wire.Message) []byte {
	return func(m wire.Message) []byte {
		h, err := wire.ParseClientHello(m.Body())
		must(t, err)
		change(h)
		return h.Marshal()
	}
}

// replyTwist changes a ServerHello or HelloRetryRequest.
func replyTwist(t testing.TB, change func(*wire.ServerHello)) func(wire.Message) []byte {
	return func(m wire.Message) []byte {
		h, err := wire.ParseServerHello(m.Body())
		must(t, err)
		change(h)
		return h.Marshal()
	}
}

// verifyTwist changes a CertificateVerify.
func verifyTwist(t testing.TB, change func(*wire.CertificateVerify)) func(wire.Message) []byte {
	return func(m wire.Message) []byte {
		v, err := wire.ParseCertificateVerify(m.Body())
		must(t, err)
		change(v)
		return v.Marshal()
	}
}

// keysTwist changes a ServerKeyExchange without signing it anew.
func keysTwist(t testing.TB, k wire.KeyKind, change func(*wire.ServerKeyExchange)) func(wire.Message) []byte {
	return func(m wire.Message) []byte {
		x, err := wire.ParseServerKeyExchange(m.Body(), k)
		must(t, err)
		change(x)
		x.SetParams(k)
		return x.Marshal(k)
	}
}

// lastOctet changes the last octet of a message.
func lastOctet(m wire.Message) []byte {
	m = bytes.Clone(m)
	m[len(m)-1] ^= 1
	return m
}

// badPoints are shares that no honest peer has, for a group and the right size.
func badPoints(g Group) map[string][]byte {
	points := map[string][]byte{"no octet": {}, "one octet": {4}}
	switch g {
	case wire.X25519:
		points["zero"], points["one"] = make([]byte, 32), append([]byte{1}, make([]byte, 31)...)
		points["too long"], points["too short"] = make([]byte, 33), make([]byte, 31)
	case wire.P256:
		off := bytes.Repeat([]byte{7}, 65)
		off[0] = 4
		points["off the curve"], points["compressed"] = off, append([]byte{2}, off[1:33]...)
		points["infinity"] = make([]byte, 65)
	case wire.FFDHE2048:
		p := dh.Group(2048).Prime
		for name, v := range map[string]*big.Int{"0": big.NewInt(0), "1": big.NewInt(1), "p-1": new(big.Int).Sub(p, big.NewInt(1)), "p": p} {
			points[name] = v.FillBytes(make([]byte, 256))
		}
		points["too short"], points["too long"] = bytes.Repeat([]byte{7}, 255), append([]byte{0}, bytes.Repeat([]byte{7}, 256)...)
	case wire.X25519MLKEM768:
		points["zeros"] = make([]byte, 1216)
		points["too short"], points["too long"] = make([]byte, 1215), make([]byte, 1217)
	}
	return points
}

// Messages that are well formed and wrong.
func TestEvilContent(t *testing.T) {
	type attack struct {
		name           string
		client, server Config
		evilClient     bool
		message        wire.HandshakeType
		twist          func(wire.Message) []byte
		alerts         []Alert
	}
	psk := func(c Config) Config { c.PSK = testPSK; return fast(c) }
	pskServer := fast(Config{FindPSK: findPSK(testPSK), PSKAlone: true})
	cert := certified(Config{RequestCertificate: true})(t)
	cert12 := fast(Config{Versions: only12, Identities: cert.Identities})
	ch, sh, cv, ske := wire.TypeClientHello, wire.TypeServerHello, wire.TypeCertificateVerify, wire.TypeServerKeyExchange
	illegal := []Alert{wire.IllegalParameter}
	attacks := []attack{
		{"binder", psk(Config{}), pskServer, true, ch, lastOctet, []Alert{wire.DecryptError}},
		{"binder of another size", psk(Config{}), pskServer, true, ch, helloTwist(t, func(h *wire.ClientHello) { h.Binders[0] = make([]byte, 48) }), []Alert{wire.DecryptError}},
		{"two binders for one key", psk(Config{}), pskServer, true, ch, helloTwist(t, func(h *wire.ClientHello) { h.Binders = append(h.Binders, h.Binders[0]) }), illegal},
		{"no modes", psk(Config{}), pskServer, true, ch, helloTwist(t, func(h *wire.ClientHello) { h.PSKModes = nil }), []Alert{wire.MissingExtension}},
		{"no versions in common", psk(Config{}), pskServer, true, ch, helloTwist(t, func(h *wire.ClientHello) { h.Versions = []Version{0x7f1c} }), []Alert{wire.ProtocolVersion}},
		{"compression", psk(Config{}), pskServer, true, ch, helloTwist(t, func(h *wire.ClientHello) { h.Compression = []byte{1, 0} }), illegal},
		{"a share twice", psk(Config{}), pskServer, true, ch, helloTwist(t, func(h *wire.ClientHello) { h.KeyShares = append(h.KeyShares, h.KeyShares[0]) }), illegal},
		{"a share of a group that is not offered", psk(Config{}), pskServer, true, ch, helloTwist(t, func(h *wire.ClientHello) { h.KeyShares[0].Group = wire.P521 }), illegal},
		{"a limit of 63 octets", psk(Config{}), fast(Config{FindPSK: func([]byte) (*PSK, error) { return nil, nil }, Identities: cert.Identities}), true, ch,
			helloTwist(t, func(h *wire.ClientHello) {
				h.RecordSizeLimit, h.Schemes = 63, []SignatureScheme{wire.ECDSAP256}
			}), illegal},

		{"a group that was not offered", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Share.Group = wire.P521 }), illegal},
		{"a suite that was not offered", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Suite = wire.AES256GCMSHA384 }), illegal},
		{"a suite of TLS 1.2", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Suite = wire.ECDHEPSKWithAES128GCM }), illegal},
		{"a key that was not offered", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { *h.PSK = 1 }), illegal},
		{"no key", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.PSK = nil }), []Alert{wire.HandshakeFailure}},
		{"a key without exchange", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Share = nil }), []Alert{wire.MissingExtension}},
		{"a key that nobody has", cert, cert, false, sh, replyTwist(t, func(h *wire.ServerHello) { var zero uint16; h.PSK = &zero }), []Alert{wire.UnsupportedExtension}},
		{"another session", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.SessionID = make([]byte, 32) }), illegal},
		{"compression of the server", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Compression = 1 }), []Alert{wire.DecodeError}},
		{"TLS 1.4", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Selected = 0x0305 }), illegal},
		{"TLS 1.1", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Selected, h.Version = 0, wire.TLS11 }), []Alert{wire.ProtocolVersion}},
		{"an extension of another message", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.ExtendedMasterSecret = true }), []Alert{wire.UnsupportedExtension}},
		{"a retry for nothing", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.Random, h.Share, h.PSK = wire.RetryRandom(), nil, nil }), illegal},
		{"a retry for a group with a share", psk(Config{}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) {
			h.Random, h.RetryGroup, h.Share, h.PSK = wire.RetryRandom(), wire.X25519, nil, nil
		}), illegal},
		{"a downgrade to TLS 1.2", cert, certified(Config{Versions: only12})(t), false, sh, replyTwist(t, func(h *wire.ServerHello) { copy(h.Random[24:], downgraded) }), illegal},
		{"a downgrade to TLS 1.1", cert, certified(Config{Versions: only12})(t), false, sh, replyTwist(t, func(h *wire.ServerHello) { copy(h.Random[24:], downgradedFar) }), illegal},
		{"a resumption", cert, certified(Config{Versions: only12})(t), false, sh, nil, illegal},
		{"no extended master secret", psk(Config{Versions: only12}), pskServer, false, sh, replyTwist(t, func(h *wire.ServerHello) { h.ExtendedMasterSecret = false }), []Alert{wire.HandshakeFailure}},

		{"signature of the server", cert, cert, false, cv, lastOctet, []Alert{wire.DecryptError}},
		{"signature of the client", cert, cert, true, cv, lastOctet, []Alert{wire.DecryptError}},
		{"no signature", cert, cert, false, cv, verifyTwist(t, func(v *wire.CertificateVerify) { v.Signature = nil }), []Alert{wire.DecryptError}},
		{"a scheme of another key", cert, cert, false, cv, verifyTwist(t, func(v *wire.CertificateVerify) { v.Scheme = wire.Ed25519 }), illegal},
		{"a scheme of another curve", cert, cert, false, cv, verifyTwist(t, func(v *wire.CertificateVerify) { v.Scheme = wire.ECDSAP384 }), illegal},
		{"a scheme of TLS 1.2", cert, cert, false, cv, verifyTwist(t, func(v *wire.CertificateVerify) { v.Scheme = wire.RSAPKCS1SHA256 }), illegal},
		{"a scheme of SHA-1", cert, cert, false, cv, verifyTwist(t, func(v *wire.CertificateVerify) { v.Scheme = wire.ECDSASHA1 }), illegal},
		{"Finished of the server", psk(Config{}), pskServer, false, wire.TypeFinished, lastOctet, []Alert{wire.DecryptError}},
		{"Finished of the client", psk(Config{}), pskServer, true, wire.TypeFinished, lastOctet, []Alert{wire.DecryptError}},
		{"Finished of the server, TLS 1.2", psk(Config{Versions: only12}), pskServer, false, wire.TypeFinished, lastOctet, []Alert{wire.DecryptError}},
		{"Finished of the client, TLS 1.2", psk(Config{Versions: only12}), pskServer, true, wire.TypeFinished, lastOctet, []Alert{wire.DecryptError}},
		{"signature of the share, TLS 1.2", cert12, cert12, false, ske, lastOctet, []Alert{wire.DecryptError}},
		{"another share under the signature, TLS 1.2", cert12, cert12, false, ske, keysTwist(t, wire.KeyKind{Curve: true, Signed: true}, func(x *wire.ServerKeyExchange) { x.Share[5] ^= 1 }), []Alert{wire.DecryptError}},
		{"a group that was not offered, TLS 1.2", psk(Config{Versions: only12}), pskServer, false, ske, keysTwist(t, wire.KeyKind{Curve: true, PSK: true}, func(x *wire.ServerKeyExchange) { x.Group = wire.P521 }), illegal},
		{"a hybrid in TLS 1.2", psk(Config{Versions: only12, Groups: []Group{wire.X25519, wire.X25519MLKEM768}}), pskServer, false, ske, keysTwist(t, wire.KeyKind{Curve: true, PSK: true}, func(x *wire.ServerKeyExchange) { x.Group = wire.X25519MLKEM768 }), illegal},
		{"a small prime", fixed(Config{Anonymous: true, MinDHBits: 2048})(t), fixed(Config{Anonymous: true})(t), false, ske, keysTwist(t, wire.KeyKind{Finite: true}, func(x *wire.ServerKeyExchange) {
			x.DH.Prime, x.DH.Generator, x.Share = big.NewInt(23), big.NewInt(5), []byte{8}
		}), []Alert{wire.InsufficientSecurity}},
		{"an even prime", fixed(Config{Anonymous: true})(t), fixed(Config{Anonymous: true})(t), false, ske, keysTwist(t, wire.KeyKind{Finite: true}, func(x *wire.ServerKeyExchange) {
			x.DH.Prime = new(big.Int).Lsh(big.NewInt(1), 2048)
		}), illegal},
		{"a prime of 8200 bits", fixed(Config{Anonymous: true})(t), fixed(Config{Anonymous: true})(t), false, ske, keysTwist(t, wire.KeyKind{Finite: true}, func(x *wire.ServerKeyExchange) {
			x.DH.Prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 8200), big.NewInt(1))
		}), illegal},
	}
	for _, g := range []Group{wire.X25519, wire.P256, wire.FFDHE2048, wire.X25519MLKEM768} {
		only := psk(Config{Groups: []Group{g}})
		for name, point := range badPoints(g) {
			alerts := illegal
			if len(point) == 0 {
				alerts = []Alert{wire.DecodeError}
			}
			attacks = append(attacks,
				attack{"share of the client: " + g.String() + " " + name, only, Config{FindPSK: pskServer.FindPSK}, true, ch, func(m wire.Message) []byte {
					// The binder covers the share: this end makes it anew.
					return rebound(t, m, func(h *wire.ClientHello) { h.KeyShares[0].Data = point })
				}, alerts},
				attack{"share of the server: " + g.String() + " " + name, only, Config{FindPSK: pskServer.FindPSK}, false, sh, replyTwist(t, func(h *wire.ServerHello) {
					// What is too short for a client is too short for a server.
					h.Share.Data = point
				}), alerts})
		}
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			p := newEvilPair(t, a.client, a.server, a.evilClient, nil)
			done := false
			p.evil.out.twist = func(m wire.Message) []byte {
				if m.Type() != a.message || done {
					return m
				}
				done = true
				if a.twist == nil {
					return replyTwist(t, func(h *wire.ServerHello) { h.SessionID = p.victim.hs.hello.SessionID })(m)
				}
				return a.twist(m)
			}
			p.check(t, a.name, p.run(t), a.alerts...)
			if !done {
				t.Error("the message was never sent")
			}
		})
	}
}

// rebound changes a ClientHello and makes its binder anew.
func rebound(t testing.TB, m wire.Message, change func(*wire.ClientHello)) []byte {
	t.Helper()
	h, err := wire.ParseClientHello(m.Body())
	must(t, err)
	change(h)
	e, err := Client(&Config{PSK: testPSK, Versions: []Version{TLS13}})
	must(t, err)
	h.PSKs, h.Binders = nil, nil
	e.offer(h)
	return bytes.Clone(e.out.queued)
}

// finished returns a pair whose handshake is complete, and whose evil end is the
// client or the server.
func finished(t *testing.T, v Version, evilClient bool, limits Limits) *evilPair {
	t.Helper()
	clock := time.Unix(1, 0)
	now := func() time.Time { return clock }
	c := fast(Config{PSK: testPSK, Versions: []Version{v}, Limits: limits, Time: now})
	s := fast(Config{FindPSK: findPSK(testPSK), Limits: limits, Time: now})
	p := newEvilPair(t, c, s, evilClient, func(_ int, m wire.Message) []byte { return m })
	p.shaken(t)
	p.evil.Output()
	return p
}

// inject has the evil end send a record under its keys.
func (p *evilPair) inject(typ wire.ContentType, content []byte) {
	p.evil.out.mu.Lock()
	p.evil.out.append(typ, content)
	p.evil.out.mu.Unlock()
}

// read carries what the evil end sends and lets the victim read it.
func (p *evilPair) read() error {
	buf := make([]byte, 1<<15)
	for carry(p.evil, p.victim, 1<<20) {
		for {
			if _, err := p.victim.Read(buf); err != nil {
				if !errors.Is(err, ErrWantInput) {
					return err
				}
				break
			}
		}
	}
	return nil
}

// Floods of what carries nothing end where the limit is, and not before. The
// limits can be lowered.
func TestEvilFloods(t *testing.T) {
	ticket := wire.NewMessage(wire.TypeNewSessionTicket, []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0})
	for _, tt := range []struct {
		name       string
		version    Version
		evilClient bool
		typ        wire.ContentType
		content    []byte
		limits     func(*Limits) *int
	}{
		{"empty records", TLS13, true, wire.ApplicationData, nil, func(l *Limits) *int { return &l.IdleRecords }},
		{"empty records, TLS 1.2", TLS12, true, wire.ApplicationData, nil, func(l *Limits) *int { return &l.IdleRecords }},
		{"user_canceled", TLS13, true, wire.AlertRecord, []byte{1, 90}, func(l *Limits) *int { return &l.Warnings }},
		{"warnings, TLS 1.2", TLS12, true, wire.AlertRecord, []byte{1, 100}, func(l *Limits) *int { return &l.Warnings }},
		{"hello_request", TLS12, false, wire.HandshakeRecord, wire.NewMessage(wire.TypeHelloRequest, nil), func(l *Limits) *int { return &l.IdleRecords }},
		{"tickets", TLS13, false, wire.HandshakeRecord, ticket, func(l *Limits) *int { return &l.IdleRecords }},
		{"key_update", TLS13, true, wire.HandshakeRecord, nil, func(l *Limits) *int { return &l.KeyUpdates }},
	} {
		for _, low := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				limits, most := Limits{}, *tt.limits(&defaultLimits)
				if low {
					most = 3
					*tt.limits(&limits) = most
				}
				p := finished(t, tt.version, tt.evilClient, limits)
				for n := range most + 1 {
					if tt.content == nil && tt.typ == wire.HandshakeRecord {
						must(t, p.evil.KeyUpdate(false))
					} else {
						p.inject(tt.typ, tt.content)
					}
					err := p.read()
					if n < most {
						must(t, err)
						continue
					}
					p.check(t, tt.name, err, wire.UnexpectedMessage)
				}
			})
		}
	}
}

// After the handshake every message but the few that may come ends the
// connection, and so does what cannot be a record.
func TestEvilAfterwards(t *testing.T) {
	may := func(v Version, evilClient bool, typ wire.HandshakeType) bool {
		return v == TLS13 && typ == wire.TypeKeyUpdate || !evilClient && (v == TLS13 && typ == wire.TypeNewSessionTicket || v == TLS12 && typ == wire.TypeHelloRequest)
	}
	for _, v := range []Version{TLS13, TLS12} {
		for _, evilClient := range []bool{true, false} {
			for _, typ := range messageTypes() {
				p := finished(t, v, evilClient, Limits{})
				p.inject(wire.HandshakeRecord, wire.NewMessage(typ, nil))
				want := wire.UnexpectedMessage
				if v == TLS12 && evilClient && typ == wire.TypeClientHello {
					want = wire.NoRenegotiation
				}
				if err := p.read(); !may(v, evilClient, typ) {
					p.check(t, typ.String(), err, want)
				}
			}
			for _, tt := range []struct {
				name    string
				typ     wire.ContentType
				content []byte
				alert   Alert
			}{
				{"change_cipher_spec", wire.ChangeCipherSpec, []byte{1}, wire.UnexpectedMessage},
				{"an empty handshake record", wire.HandshakeRecord, nil, wire.UnexpectedMessage},
				{"no type", 0, nil, wire.UnexpectedMessage},
				{"a heartbeat", 24, []byte{1}, wire.UnexpectedMessage},
				{"half an alert", wire.AlertRecord, []byte{2}, wire.DecodeError},
			} {
				p := finished(t, v, evilClient, Limits{})
				p.inject(tt.typ, tt.content)
				p.check(t, tt.name, p.read(), tt.alert)
			}
		}
	}
	p := finished(t, TLS13, true, Limits{})
	p.inject(wire.HandshakeRecord, []byte{byte(wire.TypeKeyUpdate), 0, 0, 1, 2})
	p.check(t, "a key_update of 2", p.read(), wire.IllegalParameter)
	p = finished(t, TLS13, true, Limits{})
	p.inject(wire.HandshakeRecord, slices.Concat(wire.KeyUpdate(false), wire.KeyUpdate(false)))
	p.check(t, "a message behind a key_update", p.read(), wire.UnexpectedMessage)
	p = finished(t, TLS13, true, Limits{})
	p.inject(wire.HandshakeRecord, wire.KeyUpdate(false)[:3])
	p.inject(wire.ApplicationData, []byte("in between"))
	p.check(t, "data within a message", p.read(), wire.UnexpectedMessage)
}

// Records that were changed, are too long, or are padding alone.
func TestEvilProtection(t *testing.T) {
	for _, v := range []Version{TLS13, TLS12} {
		for _, tt := range []struct {
			name   string
			change func(rec []byte) []byte
			alert  Alert
		}{
			{"the last octet", func(r []byte) []byte { r[len(r)-1] ^= 1; return r }, wire.BadRecordMAC},
			{"the first octet", func(r []byte) []byte { r[record.HeaderSize] ^= 1; return r }, wire.BadRecordMAC},
			{"the type", func(r []byte) []byte { r[0] = byte(wire.HandshakeRecord); return r }, 0},
			{"the version", func(r []byte) []byte { r[1] = 4; return r }, wire.ProtocolVersion},
			{"too short for a tag", func(r []byte) []byte { return append(r[:3], 0, 7, 1, 2, 3, 4, 5, 6, 7) }, wire.BadRecordMAC},
			{"empty", func(r []byte) []byte { return append(r[:3], 0, 0) }, wire.BadRecordMAC},
			{"too long", func(r []byte) []byte { return append(append(r[:3], 0x41, 0x01), make([]byte, 0x4101)...) }, wire.RecordOverflow},
			{"twice", func(r []byte) []byte { return slices.Concat(r, r) }, wire.BadRecordMAC},
		} {
			t.Run(v.String()+" "+tt.name, func(t *testing.T) {
				p := finished(t, v, true, Limits{})
				_, err := p.evil.Write([]byte("good morning"))
				must(t, err)
				rec := tt.change(bytes.Clone(p.evil.Output()))
				var got error
				for len(rec) > 0 && got == nil {
					rec = rec[p.victim.Feed(rec):]
					for got == nil {
						_, got = p.victim.Read(make([]byte, 100))
					}
					if errors.Is(got, ErrWantInput) {
						got = nil
					}
				}
				alerts := []Alert{tt.alert}
				if tt.alert == 0 {
					alerts = []Alert{wire.UnexpectedMessage, wire.BadRecordMAC}
				}
				p.check(t, tt.name, got, alerts...)
			})
		}
	}
	t.Run("more content than a record may have", func(t *testing.T) {
		p := finished(t, TLS13, true, Limits{})
		p.evil.out.limit = record.MaxPlaintext + 1
		p.inject(wire.ApplicationData, make([]byte, record.MaxPlaintext+1))
		p.check(t, "17 KiB", p.read(), wire.RecordOverflow)
	})
	t.Run("padding alone", func(t *testing.T) {
		p := finished(t, TLS13, true, Limits{})
		p.inject(0, make([]byte, 100))
		p.check(t, "padding", p.read(), wire.UnexpectedMessage)
	})
	t.Run("padding is removed", func(t *testing.T) {
		p := finished(t, TLS13, true, Limits{})
		p.inject(0, append([]byte("good morning\x17"), make([]byte, 1000)...))
		carry(p.evil, p.victim, 1<<20)
		buf := make([]byte, 100)
		if n, err := p.victim.Read(buf); err != nil || string(buf[:n]) != "good morning" {
			t.Errorf("%q, %v", buf[:n], err)
		}
	})
}
