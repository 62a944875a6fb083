package scan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// oldServer accepts one suite of SSL 3.0, which no peer of today has.
func oldServer(t *testing.T, answer func(h *wire.ClientHello) []byte) Dialer {
	t.Helper()
	at := peertest.Serve(t, "tcp", func(c net.Conn) {
		typ, body, err := readRecord(c)
		if err != nil || typ != wire.HandshakeRecord {
			return
		}
		if h, err := wire.ParseClientHello(wire.Message(body).Body()); err == nil {
			c.Write(answer(h))
		}
	})
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", at.String())
	}
}

func TestSSL3(t *testing.T) {
	const suite = 0x0004 // RC4 with MD5
	dial := oldServer(t, func(h *wire.ClientHello) []byte {
		if h.Version != SSL30 || !slices.Contains(h.Suites, suite) {
			return []byte{21, 3, 0, 0, 2, 2, 40}
		}
		m := wire.NewMessage(wire.TypeServerHello, slices.Concat([]byte{3, 0}, make([]byte, 32), []byte{0, 0, suite, 0}))
		// In two records, with a warning before and the next message behind.
		return slices.Concat([]byte{21, 3, 0, 0, 2, 1, 112}, record.AppendPlain(nil, wire.HandshakeRecord, SSL30, m[:10]),
			record.AppendPlain(nil, wire.HandshakeRecord, SSL30, append(m[10:], 11, 0, 0, 0)))
	})
	r, err := Scan(t.Context(), dial, nil)
	must(t, err)
	if got := r.found(); len(got) != 1 || got[0] != "SSL 3.0 0x0004" {
		t.Errorf("found %q", got)
	}
	if got := strings.Join(r.codes(), " "); got != "scan-ssl scan-broken-suite scan-no-tls13" {
		t.Errorf("findings %s", got)
	}
	if got := r.Versions[0].Refusal; got != "alert handshake_failure" {
		t.Errorf("TLS 1.3 is refused by %q", got)
	}
}

func TestNothing(t *testing.T) {
	dial := oldServer(t, func(*wire.ClientHello) []byte { return nil })
	r, err := Scan(t.Context(), dial, nil)
	must(t, err)
	if got := strings.Join(r.codes(), " "); got != "scan-nothing-accepted" || r.Versions[0].Refusal != "closes the connection" {
		t.Errorf("findings %s, %q", got, r.Versions[0].Refusal)
	}
}

// What is no answer to a ClientHello is an error, at once.
func TestNotTLS(t *testing.T) {
	for _, text := range []string{"RFB 003.008\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x16\x03", "\x16\x03\x03\x00\x00", "\x17\x03\x03\x00\x01x", "\x15\x03\x03\x00\x01x",
		"\x16\x03\x03\x00\x04\x0b\x00\x00\x00", "\x16\x03\x03\x00\x04\x02\xff\xff\xff", "\x16\x03\x03\x00\x05\x02\x00\x00\x01x"} {
		dial := oldServer(t, func(*wire.ClientHello) []byte { return []byte(text) })
		if r, err := Scan(t.Context(), dial, nil); text != "\x16\x03" && !errors.Is(err, ErrNotTLS) {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	o := Offer{Version: TLS12, Suites: Suites(TLS12)[:1]}
	hello := &wire.ServerHello{Version: TLS12, Suite: 0xc0ff}
	if a, err := readAnswer(bytes.NewReader(record.AppendPlain(nil, wire.HandshakeRecord, TLS12, hello.Marshal())), o); err == nil || a.Accepted {
		t.Errorf("a suite that was not offered: %+v", a)
	}
	hello.Version = TLS11
	if a, err := readAnswer(bytes.NewReader(record.AppendPlain(nil, wire.HandshakeRecord, TLS12, hello.Marshal())), o); err != nil || a.Refusal != "chooses TLS 1.1" {
		t.Errorf("another version: %+v, %v", a, err)
	}
}

// A scan ends with its context.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	time.AfterFunc(50*time.Millisecond, cancel)
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
	if _, err := Scan(ctx, dial, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzAnswer(f *testing.F) {
	hello := &wire.ServerHello{Version: TLS12, Suite: wire.AES128GCMSHA256, Selected: TLS13, RetryGroup: wire.X25519, Random: wire.RetryRandom()}
	f.Add(record.AppendPlain(nil, wire.HandshakeRecord, TLS12, hello.Marshal()))
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Add([]byte{21, 3, 3, 0, 2, 1, 112, 22, 3, 3, 0, 1, 2, 22, 3, 3, 0, 1, 0})
	offers := []Offer{{Version: TLS13, Suites: Suites(TLS13), Groups: groups}, {Version: TLS12, Suites: Suites(TLS12)}, {Version: SSL30, Suites: Suites(SSL30)}}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, o := range offers {
			r := bytes.NewReader(b)
			a, err := readAnswer(r, o)
			if a.Accepted && (err != nil || !slices.ContainsFunc(o.Suites, func(s Suite) bool { return s.ID == a.Suite })) {
				t.Errorf("%x: %+v, %v", b, a, err)
			}
			if !a.Accepted && err == nil && a.Refusal == "" {
				t.Errorf("%x is neither taken nor refused", b)
			}
			if read, _ := r.Seek(0, io.SeekCurrent); read > 2*(maxHello+record.MaxRecord) && a.Accepted {
				t.Errorf("%d octets were read", read)
			}
		}
	})
}
