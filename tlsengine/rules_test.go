package tlsengine

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"virtls/pki"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// wantAlert checks that an end refuses its peer with an alert.
func wantAlert(t *testing.T, err error, want Alert) {
	t.Helper()
	var own *Error
	if !errors.As(err, &own) || own.Alert != want {
		t.Errorf("got %v, want the alert %s", err, want)
	}
}

var versions13and12 = []struct {
	name string
	v    Version
}{{"TLS 1.3", TLS13}, {"TLS 1.2", TLS12}}

// helloOf returns the ClientHello of a client.
func helloOf(t *testing.T, c *Engine) *wire.ClientHello {
	t.Helper()
	_, err := c.Handshake()
	must(t, err)
	h, err := wire.ParseClientHello(c.Output()[record.HeaderSize+wire.HeaderSize:])
	must(t, err)
	return h
}

func feedHandshake(e *Engine, octets []byte) {
	e.Feed(record.AppendPlain(nil, wire.HandshakeRecord, wire.TLS12, octets))
}

func TestClientHelloRules(t *testing.T) {
	id := []Identity{newCA(t, "ec").newLeaf(t, "ec").Identity}
	const fine = Alert(255)
	for _, tt := range []struct {
		name   string
		change func(*wire.ClientHello)
		behind int // octets of another message in the same record
		want   Alert
	}{
		{name: "legacy version", change: func(h *wire.ClientHello) { h.Version = 0x1234 }, want: fine},
		{name: "no groups", change: func(h *wire.ClientHello) { h.Groups, h.HasKeyShares, h.KeyShares = nil, false, nil }, want: wire.MissingExtension},
		{name: "something behind", behind: 1, want: wire.UnexpectedMessage},
		{name: "fallback to TLS 1.2", change: func(h *wire.ClientHello) {
			h.Versions, h.Suites = nil, append(bytesOf(h.Suites), wire.FallbackSCSV)
		}, want: wire.InappropriateFallback},
		{name: "fallback to TLS 1.1", change: func(h *wire.ClientHello) {
			h.Version, h.Versions, h.Suites = wire.TLS11, nil, append(bytesOf(h.Suites), wire.FallbackSCSV)
		}, want: wire.InappropriateFallback},
		{name: "fallback of the best", change: func(h *wire.ClientHello) { h.Suites = append(bytesOf(h.Suites), wire.FallbackSCSV) }, want: fine},
		{name: "points in TLS 1.2", change: func(h *wire.ClientHello) { h.Versions, h.PointFormats = nil, []byte{1} }, want: wire.IllegalParameter},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, Config{}, Config{Identities: id})
			h := helloOf(t, p.client)
			if tt.change != nil {
				tt.change(h)
			}
			feedHandshake(p.server, append(h.Marshal(), make([]byte, tt.behind)...))
			_, err := p.server.Handshake()
			if tt.want == fine {
				must(t, err)
				return
			}
			wantAlert(t, err, tt.want)
		})
	}
}

func bytesOf(s []Suite) []Suite { return append([]Suite(nil), s...) }

func TestClientHelloOfTLS12(t *testing.T) {
	c, err := Client(&Config{Versions: []Version{TLS12}})
	must(t, err)
	if h := helloOf(t, c); len(h.SessionID) > 0 || h.KeyShares != nil || h.Groups[0].IsHybrid() {
		t.Errorf("a session id of %d octets, groups %v", len(h.SessionID), h.Groups)
	}
}

// The version of the first record is for old servers; later ones are of TLS 1.2
// (RFC 8446, section 5.1).
func TestRecordVersionAfterRetry(t *testing.T) {
	p := newPair(t, Config{PSK: testPSK, Groups: []Group{wire.X25519, wire.P384}}, Config{FindPSK: findPSK(testPSK), Groups: []Group{wire.P384}})
	_, err := p.client.Handshake()
	must(t, err)
	carry(p.client, p.server, 1<<20)
	_, err = p.server.Handshake()
	must(t, err)
	carry(p.server, p.client, 1<<20)
	_, err = p.client.Handshake()
	must(t, err)
	for out := p.client.Output(); len(out) > 0; out = out[record.HeaderSize+int(out[3])<<8+int(out[4]):] {
		if out[1] != 3 || out[2] != 3 {
			t.Errorf("a record of type %d with version %d.%d", out[0], out[1], out[2])
		}
	}
}

// A key without suites for a version does not offer it.
func TestVersionsWithoutSuites(t *testing.T) {
	imported := &PSK{Identity: []byte("rich"), Key: testPSK.Key, Import: true}
	c, err := Client(&Config{PSK: imported})
	must(t, err)
	if h := helloOf(t, c); len(h.Versions) != 1 {
		t.Errorf("offered %v", h.Versions)
	}
	if _, err := Client(&Config{Versions: []Version{TLS12, wire.TLS10}}); err == nil {
		t.Error("TLS 1.0 is offered")
	}
}

func TestWarnings(t *testing.T) {
	id := []Identity{newCA(t, "ec").newLeaf(t, "ec").Identity}
	plain := func(level, a byte) []byte {
		return record.AppendPlain(nil, wire.AlertRecord, wire.TLS12, []byte{level, a})
	}
	t.Run("before the ServerHello", func(t *testing.T) {
		p := newPair(t, Config{}, Config{Identities: id, Versions: []Version{TLS12}})
		_, err := p.client.Handshake()
		must(t, err)
		p.client.Feed(plain(1, byte(wire.UnrecognizedName)))
		p.shaken(t)
	})
	t.Run("too many", func(t *testing.T) {
		p := newPair(t, Config{}, Config{Identities: id})
		_, err := p.client.Handshake()
		must(t, err)
		p.client.Feed(bytes.Repeat(plain(1, byte(wire.UnrecognizedName)), defaultLimits.Warnings+1))
		_, err = p.client.Handshake()
		wantAlert(t, err, wire.UnexpectedMessage)
	})
	t.Run("neither warning nor fatal", func(t *testing.T) {
		p := newPair(t, Config{}, Config{Identities: id})
		_, err := p.client.Handshake()
		must(t, err)
		p.client.Feed(plain(66, byte(wire.UnrecognizedName)))
		_, err = p.client.Handshake()
		wantAlert(t, err, wire.IllegalParameter)
	})
	t.Run("in TLS 1.3", func(t *testing.T) {
		p := newPair(t, Config{}, Config{Identities: id}).shaken(t)
		p.server.out.mu.Lock()
		p.server.out.append(wire.AlertRecord, []byte{1, byte(wire.UnrecognizedName)})
		p.server.out.mu.Unlock()
		carry(p.server, p.client, 1<<20)
		_, err := p.client.Read(make([]byte, 1))
		wantAlert(t, err, wire.DecodeError)
	})
}

// What must not come instead of the server's protected flight.
func TestUnprotectedFlight(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(rec []byte)
		want   Alert
	}{
		{"another type", func(rec []byte) { rec[0] = byte(wire.HandshakeRecord) }, wire.BadRecordMAC},
		{"another version", func(rec []byte) { rec[2] = 1 }, wire.ProtocolVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, Config{PSK: testPSK}, Config{FindPSK: findPSK(testPSK)})
			_, err := p.client.Handshake()
			must(t, err)
			carry(p.client, p.server, 1<<20)
			_, err = p.server.Handshake()
			must(t, err)
			out := bytes.Clone(p.server.Output())
			at := bytes.Index(out, []byte{byte(wire.ApplicationData), 3, 3})
			tt.change(out[at:])
			p.client.Feed(out)
			_, err = p.client.Handshake()
			wantAlert(t, err, tt.want)
		})
	}
}

func TestEmptyDataBeforeHello(t *testing.T) {
	s, err := Server(&Config{FindPSK: findPSK(testPSK)})
	must(t, err)
	s.Feed(record.AppendPlain(nil, wire.ApplicationData, wire.TLS12, nil))
	_, err = s.Handshake()
	wantAlert(t, err, wire.UnexpectedMessage)
}

// A certificate that is not for signatures proves nothing.
func TestKeyUsage(t *testing.T) {
	ca := newCA(t, "ec")
	good, bad := []Identity{ca.newLeaf(t, "ec").Identity}, []Identity{ca.Identity}
	for _, tt := range versions13and12 {
		t.Run(tt.name, func(t *testing.T) {
			v := []Version{tt.v}
			err, _ := newPair(t, Config{Versions: v}, Config{Identities: bad}).shake(1 << 20)
			wantAlert(t, err, wire.BadCertificate)
			_, err = newPair(t, Config{Versions: v, Identities: bad}, Config{Identities: good, RequestCertificate: true}).shake(1 << 20)
			wantAlert(t, err, wire.BadCertificate)
		})
	}
}

func TestCertificateRequired(t *testing.T) {
	id := []Identity{newCA(t, "ec").newLeaf(t, "ec").Identity}
	for _, tt := range []struct {
		name string
		v    Version
		want Alert
	}{{"TLS 1.3", TLS13, wire.CertificateRequired}, {"TLS 1.2", TLS12, wire.HandshakeFailure}} {
		t.Run(tt.name, func(t *testing.T) {
			s := Config{Identities: id, RequestCertificate: true, VerifyPeer: func(chain []*pki.Certificate) error {
				if chain == nil {
					return errors.New("no certificate")
				}
				return nil
			}}
			_, err := newPair(t, Config{Versions: []Version{tt.v}}, s).shake(1 << 20)
			wantAlert(t, err, tt.want)
		})
	}
}

func TestNoRenegotiation(t *testing.T) {
	id := []Identity{newCA(t, "ec").newLeaf(t, "ec").Identity}
	p := newPair(t, Config{Versions: []Version{TLS12}}, Config{Identities: id})
	h := helloOf(t, p.client)
	p.shaken(t)
	p.client.out.message(h.Marshal())
	carry(p.client, p.server, 1<<20)
	_, err := p.server.Read(make([]byte, 1))
	wantAlert(t, err, wire.NoRenegotiation)
	carry(p.server, p.client, 1<<20)
	var alert *AlertError
	if _, err := p.client.Read(make([]byte, 1)); !errors.As(err, &alert) || err == io.EOF {
		t.Errorf("the client sees %v", err)
	}
}

// In TLS 1.2 a certificate's curve is one of those that were offered.
func TestCurveOfCertificate(t *testing.T) {
	id := newCA(t, "ec").newLeaf(t, "p384").Identity
	p := newPair(t, Config{Versions: []Version{TLS12}, Groups: []Group{wire.P256, wire.P384}}, Config{Identities: []Identity{id}})
	p.client.cfg.Groups = p.client.cfg.Groups[:1]
	h := helloOf(t, p.client)
	h.Groups = []Group{wire.P256, wire.P384} // what the server sees
	feedHandshake(p.server, h.Marshal())
	_, err := p.server.Handshake()
	must(t, err)
	carry(p.server, p.client, 1<<20)
	_, err = p.client.Handshake()
	wantAlert(t, err, wire.IllegalParameter)
}

// An identity is used with its own schemes, and, if it is to match issuers, for
// peers that name them.
func TestIdentityFor(t *testing.T) {
	ca, other := newCA(t, "ec"), newCA(t, "p384")
	a, b := ca.newLeaf(t, "rsa2048").Identity, ca.newLeaf(t, "ec").Identity
	names := [][]byte{other.Chain[0].RawSubject}
	for _, tt := range versions13and12 {
		t.Run(tt.name, func(t *testing.T) {
			v := []Version{tt.v}
			limited := a
			limited.Schemes = []SignatureScheme{wire.RSAPSSSHA512}
			p := newPair(t, Config{Versions: v}, Config{Identities: []Identity{limited}}).shaken(t)
			if got := p.server.State().Scheme; got != wire.RSAPSSSHA512 {
				t.Errorf("signed with %s", got)
			}
			choosy := a
			choosy.MatchIssuer = true
			p = newPair(t, Config{Versions: v}, Config{Identities: []Identity{choosy, b}})
			h := helloOf(t, p.client)
			e := p.server
			e.hs.suite = suiteByID(wire.ECDHERSAWithAES128GCM)
			h.Authorities = names
			if tt.v == TLS12 {
				if i, _ := e.identity12(e.hs.suite, h); i >= 0 {
					t.Errorf("identity %d for a client that names another authority", i)
				}
				return
			}
			must(t, e.chooseIdentity(h))
			if got := e.State(); got.Identity != 1 || got.Reason == "" {
				t.Errorf("identity %d (%s) for a client that names another authority", got.Identity, got.Reason)
			}
		})
	}
}

// A server of TLS 1.2 names the types of keys it takes.
func TestCertificateTypes(t *testing.T) {
	ca := newCA(t, "ec")
	p := newPair(t, Config{Versions: []Version{TLS12}, Identities: []Identity{ca.newLeaf(t, "ec").Identity, ca.newLeaf(t, "rsa2048").Identity}},
		Config{Identities: []Identity{ca.newLeaf(t, "ec").Identity}})
	e := p.client
	e.hs.v12 = &handshake12{request: &wire.CertificateRequest12{Types: []byte{wire.RSASign}, Schemes: Schemes()}}
	e.chooseClientIdentity12()
	if got := e.State().Identity; got != 1 {
		t.Errorf("identity %d for a server that takes RSA alone", got)
	}
}
