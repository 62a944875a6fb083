package gateway

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/sasl/gssapi"
)

// hesitant writes what it is given in pieces.
type hesitant struct {
	*net.TCPConn
	piece int // octets, 0 for no pieces
}

func (h *hesitant) Write(p []byte) (n int, err error) {
	for h.piece > 0 && err == nil && len(p)-n > h.piece {
		m, failed := h.TCPConn.Write(p[n : n+h.piece])
		n, err = n+m, failed
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return n, err
	}
	m, err := h.TCPConn.Write(p[n:])
	return n + m, err
}

// Both sides of a relay sealed by Kerberos: messages that come in pieces arrive,
// ends are ends, and whatever else a viewer does ends its connection alone.
func TestVNCSealedRelay(t *testing.T) {
	const idle = 1500 * time.Millisecond // in which a busy machine, too, comes to the next octet
	k, keytab := realm(t)
	own := k.Keytab("gateway")
	cache := k.Login("alice", passwordOfAlice, "-S", "vnc/peer")
	back := screen(t, "tcp", vnc.ServerOptions{SASL: &sasl.Server{GSSAPI: &gssapi.Server{Keytab: keytab}}})
	r := runVNC(t, Options{
		Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Connect: Side{Address: back}, Hostname: "peer", IdleLimit: idle,
		VNC: Screens{Kerberos: &gssapi.Server{Keytab: keytab}, Login: login{principal: "gateway", keytab: own}},
	})
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, v *vnc.Conn, below *hesitant)
		ends string // in the log
	}{
		{"pieces", func(t *testing.T, v *vnc.Conn, below *hesitant) {
			below.piece = 50
			exchange(t, v, strings.Repeat("a text ", 20))
			below.piece = 0
			exchange(t, v, strings.Repeat("a longer text ", 20000))
			must(t, below.CloseWrite())
			if rest, err := io.ReadAll(v); err != nil || len(rest) > 0 {
				t.Errorf("at the end: %q, %v", rest, err)
			}
		}, "up=280140"},
		{"nothing", func(*testing.T, *vnc.Conn, *hesitant) {}, errIdle.Error()},
		{"half a length", func(t *testing.T, _ *vnc.Conn, below *hesitant) { below.Write([]byte{0, 0}) }, errIdle.Error()},
		{"half a message", func(t *testing.T, _ *vnc.Conn, below *hesitant) { below.Write([]byte{0, 0, 1, 0, 5, 4}) }, errIdle.Error()},
		{"half a message and the end", func(t *testing.T, _ *vnc.Conn, below *hesitant) {
			below.Write([]byte{0, 0, 1, 0, 5, 4})
			below.CloseWrite()
		}, "a sealed message is cut off"},
		{"too long", func(t *testing.T, _ *vnc.Conn, below *hesitant) { below.Write([]byte{1, 0, 0, 0}) }, "at most 65536 are taken"},
		{"no octets", func(t *testing.T, _ *vnc.Conn, below *hesitant) { below.Write([]byte{0, 0, 0, 0}) }, "with 0 octets"},
		{"forged", func(t *testing.T, _ *vnc.Conn, below *hesitant) {
			below.Write(append([]byte{0, 0, 0, 100}, make([]byte, 100)...))
		}, "that begins with 00000000"},
		{"a reader who sleeps", func(t *testing.T, v *vnc.Conn, below *hesitant) {
			below.SetReadBuffer(4 << 10)
			for {
				if _, err := v.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, errIdle.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, seen := runtime.NumGoroutine(), len(r.log.String())
			below := &hesitant{TCPConn: r.dial(t).(*net.TCPConn)}
			v, err := vnc.Dial(t.Context(), below, vnc.Options{GSSAPI: &gssapi.Client{Host: "peer", Cache: cache}})
			must(t, err)
			if v.SSF != 256 {
				t.Errorf("SSF %d", v.SSF)
			}
			tt.do(t, v, below)
			for end := time.Now().Add(10 * time.Second); !strings.Contains(r.log.String()[seen:], "msg=closed"); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it does not end")
				}
			}
			if !strings.Contains(r.log.String()[seen:], tt.ends) {
				t.Errorf("it ended otherwise than with %q: %s", tt.ends, r.log.String()[seen:])
			}
			below.Close()
			goroutinesEnd(t, before)
		})
	}
}
