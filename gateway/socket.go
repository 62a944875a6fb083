package gateway

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A socket is a TCP or UNIX connection that can read without waiting, so that
// nobody holds a buffer while nothing comes: a connection at rest costs its two
// goroutines and what its TLS session must remember.
type socket struct {
	net.Conn
	raw  syscall.RawConn
	lazy bool // Read fails with errNothing instead of waiting

	// One read at a time uses these; they spare a closure for each.
	readNow, readable func(fd uintptr) bool
	into              []byte
	n                 int
	err               error
}

// streamConn is what both kinds of connections are.
type streamConn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

func newSocket(c streamConn) (*socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: c, raw: raw}
	s.readNow = func(fd uintptr) bool {
		for {
			if s.n, s.err = unix.Read(int(fd), s.into); s.err != unix.EINTR {
				return true
			}
		}
	}
	s.readable = func(fd uintptr) bool {
		// The runtime polls edges: what came before the wait began must be asked for.
		poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		n, err := unix.Poll(poll[:], 0)
		return n != 0 || err != nil && err != unix.EINTR
	}
	return s, nil
}

// errNothing says that nothing has come yet. It counts as temporary, so that
// crypto/tls lets the read be tried again.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing has come yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if !s.lazy || len(p) == 0 {
		n, err := s.Conn.Read(p)
		s.acknowledge()
		return n, err
	}
	s.into = p
	err := s.raw.Read(s.readNow)
	s.into = nil
	switch {
	case err != nil:
		return 0, err
	case s.err == unix.EAGAIN:
		return 0, errNothing
	case s.err != nil:
		return 0, &net.OpError{Op: "read", Net: s.RemoteAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError("read", s.err)}
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// acknowledge tells the peer at once what has come. GnuTLS's clients send the end
// of their handshake in several pieces, and QEMU's keep one back until the one
// before is acknowledged (Nagle), for which Linux takes 40 ms.
func (s *socket) acknowledge() {
	if _, ok := s.Conn.(*net.TCPConn); ok {
		s.raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
}

// wait returns when something can be read, or the end or an error.
func (s *socket) wait() error { return s.raw.Read(s.readable) }

// CloseWrite ends what is sent.
func (s *socket) CloseWrite() error { return s.Conn.(streamConn).CloseWrite() }

// abort closes the connection so that a TCP peer learns that something went
// wrong: it gets a reset instead of an end.
func (s *socket) abort() {
	if t, ok := s.Conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	s.Conn.Close()
}

// keepAlive has the kernel find out about peers that are gone.
func (s *socket) keepAlive(every time.Duration) {
	if t, ok := s.Conn.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: every > 0, Idle: every, Interval: max(every/4, time.Second), Count: 4})
	}
}

// bufferSize is how much is read at once: four records of TLS.
const bufferSize = 64 << 10

// buffers are lent while bytes move.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
