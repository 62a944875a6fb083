package peertest

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Serve listens on network, "tcp" on loopback or "unix", until the test ends, and
// has answer talk to each client in a goroutine of its own. It closes what answer
// leaves open.
func Serve(t testing.TB, network string, answer func(net.Conn)) net.Addr {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(SocketDir(t), "service")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return l.Addr()
}

// ServePort is [Serve] on TCP, for those who want the port.
func ServePort(t testing.TB, answer func(net.Conn)) int {
	t.Helper()
	return Serve(t, "tcp", answer).(*net.TCPAddr).Port
}

// Pair returns both ends of a TCP connection, on which each end may write
// without the other's reading, unlike those of [net.Pipe].
func Pair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far
}

// TimedPair is [Pair] with a deadline for both ends, so that no test hangs.
func TimedPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	near, far = Pair(t)
	for _, c := range []net.Conn{near, far} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return near, far
}

// SocketDir returns a directory whose name is short enough for UNIX sockets (107
// octets in all), which t.TempDir()'s need not be.
func SocketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A Log keeps what is written to it. It may be read meanwhile.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
