package libvirt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func reply(procedure, serial uint32, body func(*xdrWriter)) []byte {
	var w xdrWriter
	if body != nil {
		body(&w)
	}
	m := Message{Header{RemoteProgram, RemoteVersion, procedure, Reply, serial, OK}, w}
	return m.Append(nil)
}

func failure(procedure, serial uint32, e RemoteError) []byte {
	m := Message{Header{RemoteProgram, RemoteVersion, procedure, Reply, serial, Failed}, e.body()}
	return m.Append(nil)
}

func TestMessages(t *testing.T) {
	m := Message{Header{RemoteProgram, RemoteVersion, procHostname, Call, 7, OK}, []byte("body")}
	got, err := ReadMessage(bytes.NewReader(m.Append(nil)), MaxMessage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, *got); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct{ name, bytes, want string }{
		{"nothing", "", "EOF"},
		{"half a length", "\x00\x00", "unexpected EOF"},
		{"too short", "\x00\x00\x00\x1b", "28 are the least"},
		{"too long", "\x00\x10\x00\x01", "at most 1048576"},
		{"TLS", "\x15\x03\x03\x00\x02\x02\x28", "at most 1048576"},
		{"HTTP", "HTTP/1.1 400 Bad Request", "at most 1048576"},
		{"cut off", "\x00\x00\x00\x20" + strings.Repeat("\x00", 27), "unexpected EOF"},
	} {
		if _, err := ReadMessage(strings.NewReader(tt.bytes), maxReply); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// answer plays a server that answers every call with the next of the answers.
func answer(t *testing.T, c net.Conn, answers ...[]byte) {
	t.Helper()
	go func() {
		for _, a := range answers {
			if _, err := ReadMessage(c, MaxMessage); err != nil {
				return
			}
			c.Write(a)
		}
	}()
}

func TestClient(t *testing.T) {
	ours, theirs := connected(t)
	ping := Message{Header{KeepaliveProgram, KeepaliveVersion, procPing, Event, 0, OK}, nil}
	event := Message{Header{RemoteProgram, RemoteVersion, 333, Event, 0, OK}, []byte("whatever")}
	answer(t, theirs,
		reply(procAuthList, 0, func(w *xdrWriter) { w.uint32(2); w.uint32(0); w.uint32(1) }),
		reply(procOpen, 1, nil),
		append(ping.Append(nil), event.Append(nil)...), // answers procHostname with a ping, which is answered
		reply(procHostname, 2, func(w *xdrWriter) { w.string("kvm1") }),
		reply(procLibVersion, 3, func(w *xdrWriter) { w.uint64(12_008_000) }),
		failure(procClose, 4, RemoteError{Code: 1, Message: "no"}))
	ctx := t.Context()
	c := NewClient(ours)
	auth, err := c.AuthList(ctx)
	if err != nil || len(auth) != 2 || auth[0] != AuthNone || auth[1].String() != "sasl" {
		t.Errorf("%v, %v", auth, err)
	}
	if err := c.Open(ctx, "test:///default", true); err != nil {
		t.Error(err)
	}
	if name, err := c.Hostname(ctx); err != nil || name != "kvm1" {
		t.Errorf("%q, %v", name, err)
	}
	if v, err := c.LibVersion(ctx); err != nil || v.String() != "12.8.0" {
		t.Errorf("%s, %v", v, err)
	}
	var remote *RemoteError
	if err := c.Close(ctx); !errors.As(err, &remote) || remote.Error() != "the libvirt server says: no" {
		t.Errorf("%v", err)
	}
}

// What a server may answer is bounded, in time too.
func TestClientRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer []byte
		want   string
	}{
		{"another procedure", reply(procClose, 0, nil), "a reply to call"},
		{"another call", reply(procAuthList, 9, nil), "a reply to call"},
		{"too many kinds", reply(procAuthList, 0, func(w *xdrWriter) { w.uint32(1000) }), "1000 kinds"},
		{"too few", reply(procAuthList, 0, func(w *xdrWriter) { w.uint32(3) }), "0 octets are left"},
		{"too much", reply(procAuthList, 0, func(w *xdrWriter) { w.uint32(0); w.uint32(0) }), "4 octets are left over"},
		{"a broken error", append(failure(procAuthList, 0, RemoteError{})[:28], 0, 0, 0, 0)[:28], "EOF"},
		{"events for ever", bytes.Repeat((&Message{Header: Header{RemoteProgram, 1, 333, Event, 0, OK}}).Append(nil), 200), "answer no call"},
		{"nothing", nil, "deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := connected(t)
			answer(t, theirs, tt.answer)
			if tt.want == "EOF" {
				theirs.(*net.TCPConn).SetLinger(0)
				go func() { time.Sleep(50 * time.Millisecond); theirs.Close() }()
				tt.want = ""
			}
			limit := 20 * time.Second
			if tt.want == "deadline" {
				limit = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if list, err := NewClient(ours).AuthList(ctx); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v, want %q", list, err, tt.want)
			}
		})
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(reply(procHostname, 2, func(w *xdrWriter) { w.string("kvm1") }))
	f.Add(failure(procOpen, 1, RemoteError{Code: 38, Domain: 7, Message: "no such driver"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadMessage(bytes.NewReader(b), maxReply)
		if err != nil {
			return
		}
		if again := m.Append(nil); !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("written again it is %x", again)
		}
		if e, err := parseRemoteError(m.Body); err == nil && len(e.Message) > maxText {
			t.Error("an error without bounds")
		}
		r := xdrReader{rest: m.Body}
		r.string(MaxString)
		r.optional(maxText)
		r.uint64()
		r.bool()
		_ = r.end()
	})
}

// A client survives whatever a server answers.
func FuzzClient(f *testing.F) {
	f.Add(append(reply(procAuthList, 0, func(w *xdrWriter) { w.uint32(1); w.uint32(0) }), reply(procHostname, 1, func(w *xdrWriter) { w.string("x") })...))
	f.Add(failure(procAuthList, 0, RemoteError{Message: "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewClient(scripted{Reader: bytes.NewReader(b)})
		_, _ = c.AuthList(t.Context())
		_, _ = c.Hostname(t.Context())
		_, _ = c.LibVersion(t.Context())
	})
}

// scripted is a connection whose peer's words are known.
type scripted struct {
	net.Conn
	io.Reader
}

func (s scripted) Read(b []byte) (int, error) { return s.Reader.Read(b) }
func (scripted) Write(b []byte) (int, error)  { return len(b), nil }
func (scripted) SetDeadline(time.Time) error  { return nil }
