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

// A socket is a TCP or UNIX connection that has no memory while nothing comes: a
// connection at rest costs its two goroutines and what its TLS session must
// remember.
type socket struct {
	streamConn
	raw syscall.RawConn

	// One copy at a time uses these; they spare a closure for each read.
	try func(fd uintptr) bool
	buf *[bufferSize]byte
	n   int
	err error
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
	s := &socket{streamConn: c, raw: raw}
	s.try = func(fd uintptr) bool {
		s.buf = buffers.Get().(*[bufferSize]byte)
		for {
			if s.n, s.err = unix.Read(int(fd), s.buf[:]); s.err != unix.EINTR {
				break
			}
		}
		if s.err == unix.EAGAIN {
			s.release()
			return false
		}
		return true
	}
	return s, nil
}

func (s *socket) release() {
	buffers.Put(s.buf)
	s.buf = nil
}

// WriteTo copies what comes until the end, as [session.Conn.WriteTo] does.
func (s *socket) WriteTo(w io.Writer) (total int64, err error) {
	for err == nil {
		var n int
		if n, err = s.copy(w); err == io.EOF {
			return total, nil
		}
		total += int64(n)
	}
	return total, err
}

// copy waits for something and copies it.
func (s *socket) copy(w io.Writer) (int, error) {
	if err := s.raw.Read(s.try); err != nil {
		return 0, err
	}
	defer s.release()
	switch {
	case s.err != nil:
		return 0, &net.OpError{Op: "read", Net: s.RemoteAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError("read", s.err)}
	case s.n == 0:
		return 0, io.EOF
	}
	return w.Write(s.buf[:s.n])
}

// abort closes the connection so that a TCP peer learns that something went
// wrong: it gets a reset instead of an end.
func (s *socket) abort() {
	if t, ok := s.streamConn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	s.Close()
}

// keepAlive has the kernel find out about peers that are gone.
func (s *socket) keepAlive(every time.Duration) {
	if t, ok := s.streamConn.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: every > 0, Idle: every, Interval: max(every/4, time.Second), Count: 4})
	}
}

// bufferSize is how much is read at once: four records of TLS.
const bufferSize = 64 << 10

// buffers are lent while bytes move.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}
