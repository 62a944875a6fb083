package tlsengine

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"virtls/tlsengine/internal/kex"
	"virtls/tlsengine/internal/record"
	"virtls/tlsengine/internal/wire"
)

// vectors reads a file of named octets: a name and a colon, then lines of hex
// digits that are indented.
func vectors(t testing.TB, file string) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	all := map[string][]byte{}
	name := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "  "):
			octets, err := hex.DecodeString(strings.TrimSpace(line))
			must(t, err)
			all[name] = append(all[name], octets...)
		case strings.HasSuffix(line, ":"):
			name = strings.TrimSuffix(line, ":")
		}
	}
	return all
}

// A trace is a handshake of RFC 8448.
type trace struct {
	t      *testing.T
	all    map[string][]byte
	prefix string
	e      *Engine
}

func (tr trace) get(name string) []byte {
	tr.t.Helper()
	v := tr.all[tr.prefix+" "+name]
	if v == nil {
		tr.t.Fatalf("the trace %s has no %s", tr.prefix, name)
	}
	return v
}

// hello has the client send a ClientHello of the trace, which has another form
// than ours.
func (tr trace) hello(name string) wire.Message {
	tr.t.Helper()
	m := wire.Message(tr.get("record " + name)[record.HeaderSize:])
	h, err := wire.ParseClientHello(m.Body())
	must(tr.t, err)
	tr.e.hs.hello = h
	return m
}

func (tr trace) key(g Group, name string) kex.Exchange {
	tr.t.Helper()
	x, err := kex.New(g, bytes.NewReader(tr.get(name)))
	must(tr.t, err)
	return x
}

// sent checks what the client has to say against a record of the trace.
func (tr trace) sent(name string) {
	tr.t.Helper()
	out := tr.e.Output()
	if want := tr.get("record " + name); !bytes.Equal(out, want) {
		tr.t.Fatalf("%s:\n%x, want\n%x", name, out, want)
	}
	tr.e.Sent(len(out))
}

func (tr trace) received(names ...string) {
	tr.t.Helper()
	for _, name := range names {
		tr.e.Feed(tr.get("record " + name))
		if _, err := tr.e.Handshake(); err != nil {
			tr.t.Fatalf("%s: %v", name, err)
		}
	}
}

func newTrace(t *testing.T, prefix string) trace {
	t.Helper()
	e, err := Client(&Config{Suites: []Suite{wire.AES128GCMSHA256}, Groups: []Group{wire.X25519, wire.P256, wire.P384}, Versions: []Version{TLS13}})
	must(t, err)
	tr := trace{t, vectors(t, "testdata/rfc8448.txt"), prefix, e}
	// The trace is without the compatibility mode.
	e.hs.started, e.hs.helloSeen, e.hs.compatible = true, true, true
	e.hs.shares = map[Group]kex.Exchange{wire.X25519: tr.key(wire.X25519, "client x25519 private key")}
	e.send(tr.hello("client_hello"))
	if share := e.hs.hello.KeyShares[0]; !bytes.Equal(share.Data, e.hs.shares[wire.X25519].Share()) {
		t.Errorf("the share is %x, want %x", e.hs.shares[wire.X25519].Share(), share.Data)
	}
	tr.sent("client_hello")
	return tr
}

// flight checks the server's side: what it says, protected with its secret, is
// the record of the trace.
func (tr trace) flight() {
	tr.t.Helper()
	keys, err := newTrafficKeys(tr.e.hs.suite, tr.e.hs.server)
	must(tr.t, err)
	messages := slices.Concat(tr.get("message encrypted_extensions"), tr.get("message certificate"), tr.get("message certificate_verify"), tr.get("message finished"))
	rec, err := keys.Append(nil, wire.HandshakeRecord, messages)
	must(tr.t, err)
	if want := tr.get("record server flight"); !bytes.Equal(rec, want) {
		tr.t.Fatalf("the server's flight is\n%x, want\n%x", rec, want)
	}
}

// The handshakes of RFC 8448, sections 3 and 5, byte for byte.
func TestRFC8448(t *testing.T) {
	t.Run("simple 1-RTT", func(t *testing.T) {
		tr := newTrace(t, "1-rtt")
		tr.received("server_hello")
		tr.flight()
		tr.received("server flight")
		tr.sent("client finished")
		data := make([]byte, 50)
		for i := range data {
			data[i] = byte(i)
		}
		tr.e.Feed(tr.get("record ticket"))
		if _, err := tr.e.Read(make([]byte, 1)); !errors.Is(err, ErrWantInput) {
			t.Fatalf("after the ticket: %v", err)
		}
		_, err := tr.e.Write(data)
		must(t, err)
		tr.sent("client data")
		tr.e.Feed(tr.get("record server data"))
		got := make([]byte, 100)
		n, err := tr.e.Read(got)
		must(t, err)
		if !bytes.Equal(got[:n], data) {
			t.Errorf("read %x", got[:n])
		}
		tr.e.CloseWrite()
		tr.sent("client close_notify")
		tr.e.Feed(tr.get("record server close_notify"))
		if _, err := tr.e.Read(got); err != io.EOF {
			t.Errorf("after close_notify: %v", err)
		}
	})
	t.Run("retry", func(t *testing.T) {
		tr := newTrace(t, "retry")
		e := tr.e
		first, retry := tr.get("record client_hello")[record.HeaderSize:], tr.get("record hello_retry_request")[record.HeaderSize:]
		e.cfg.Rand = bytes.NewReader(tr.get("client P-256 private key"))
		tr.received("hello_retry_request")
		own := e.hs.hello
		e.Sent(len(e.Output())) // ours; the trace's has padding
		second := tr.hello("second client_hello")
		if !bytes.Equal(own.Cookie, e.hs.hello.Cookie) || !bytes.Equal(own.KeyShares[0].Data, e.hs.hello.KeyShares[0].Data) {
			t.Errorf("cookie %x and share %x, want %x and %x", own.Cookie, own.KeyShares[0].Data, e.hs.hello.Cookie, e.hs.hello.KeyShares[0].Data)
		}
		e.hs.transcript = transcript{}
		e.hs.transcript.add(first)
		e.hs.transcript.retried(suiteByID(wire.AES128GCMSHA256).hash)
		e.hs.transcript.add(retry)
		e.hs.transcript.add(second)
		tr.received("server_hello")
		tr.flight()
		tr.received("server flight")
		tr.sent("client finished")
		e.CloseWrite()
		tr.sent("client close_notify")
		e.Feed(tr.get("record server close_notify"))
		if _, err := e.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after close_notify: %v", err)
		}
	})
}
