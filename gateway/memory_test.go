package gateway

import (
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"virtls/creds"
)

// memoryOf returns what the process has of the system, after all that can be
// given back was.
func memoryOf() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// Clients that connect and do nothing, that stop in the middle of a ClientHello,
// that announce the longest one, and those that send and never read cost the
// gateway no more than a stated amount each.
func TestMemoryUnderHostileClients(t *testing.T) {
	const (
		clients     = 150
		handshaking = 192 // KiB
		stalled     = 512 // with the client's end, which is in this process
	)
	dir := shared().ca.dir(t, "localhost", "ec")
	hello := append([]byte{0x16, 3, 1, 0x40, 0}, make([]byte, 1<<14)...)
	copy(hello[5:], []byte{1, 0, 0xff, 0xf0, 3, 3})
	for name, h := range map[string]*creds.Holder{"crypto_tls": holder(t, dir, creds.Server), "our engine": native(t, dir, creds.Server)} {
		for _, tt := range []struct {
			name  string
			each  int64
			send  func(net.Conn) error
			opens bool // the handshake is made first
		}{
			{"half-open", handshaking, func(net.Conn) error { return nil }, false},
			{"slow", handshaking, func(c net.Conn) error { _, err := c.Write(hello[:4000]); return err }, false},
			{"oversized", handshaking, func(c net.Conn) error {
				for range 3 {
					if _, err := c.Write(hello); err != nil {
						return err
					}
				}
				return nil
			}, false},
			{"never reads", stalled, func(c net.Conn) error {
				c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				for range 64 {
					if _, err := c.Write(make([]byte, 64<<10)); err != nil {
						break
					}
				}
				return nil
			}, true},
		} {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				n := clients
				if tt.opens {
					n = 12
				}
				gw := run(t, Options{
					Listen: Side{address(t, "tls://127.0.0.1:0"), h}, HandshakeLimit: 30 * time.Second,
					Connect: Side{Address: address(t, serve(t, "unix", func(c net.Conn) { io.Copy(c, c) }))},
				})
				// What is made once is there already.
				c, err := gw.open(t, dir)
				must(t, err)
				exchange(t, c, "hello")
				before := memoryOf()
				for range n {
					var c net.Conn
					if tt.opens {
						s, err := gw.open(t, dir)
						must(t, err)
						c = s
					} else {
						c = gw.dial(t)
					}
					must(t, tt.send(c))
				}
				for end := time.Now().Add(10 * time.Second); gw.count() < n+1 && time.Now().Before(end); {
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(300 * time.Millisecond)
				if each := (memoryOf() - before) / int64(n) >> 10; each > tt.each {
					t.Errorf("each costs %d KiB, want at most %d", each, tt.each)
				} else {
					t.Logf("each costs %d KiB", each)
				}
			})
		}
	}
}
