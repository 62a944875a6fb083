package session

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// errNothing tells that a connection has nothing to read now. It counts as
// temporary, so that crypto/tls lets the read be tried again.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// A source is a connection that is read without memory while it has nothing: a
// service with thousands of idle connections needs none for them. One goroutine
// reads at a time.
type source struct {
	r    io.Reader
	raw  syscall.RawConn // nil if the system does not tell when there is something
	take func(read func([]byte) (int, error)) (int, error)
	try  func(fd uintptr) bool // of this read, made once

	fd  uintptr
	now func([]byte) (int, error)
	n   int
	err error
}

// newSource returns a source whose bytes go where take reads them to.
func newSource(r io.Reader, take func(read func([]byte) (int, error)) (int, error)) *source {
	s := &source{r: r, take: take}
	s.now = func(p []byte) (int, error) { return readNow(s.fd, p) }
	s.try = func(fd uintptr) bool {
		s.fd = fd
		s.n, s.err = s.take(s.now)
		return s.err != errNothing
	}
	s.raw = rawConn(r)
	return s
}

// rawConn returns the system's side of a connection. A type of somebody else
// that has one may do more in its Read than the system does.
func rawConn(r io.Reader) syscall.RawConn {
	if !canReadNow {
		return nil
	}
	var raw syscall.RawConn
	var err error
	switch c := r.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		raw, err = c.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}

// read waits until there is something and takes it. more tells that it must be
// there soon, as the rest of a record is: only then, and where the system can
// tell, is memory worth its while.
func (s *source) read(more bool) (int, error) {
	if s.raw != nil {
		if err := s.raw.Read(s.try); err != nil {
			return 0, err
		}
		return s.n, s.err
	}
	if more {
		buf := copies.Get().(*[copySize]byte)
		defer copies.Put(buf)
		return s.readInto(buf[:recordSize])
	}
	var head [8]byte
	return s.readInto(head[:])
}

func (s *source) readInto(buf []byte) (int, error) {
	n, err := s.r.Read(buf)
	for taken := 0; taken < n; {
		m, err := s.take(func(p []byte) (int, error) { return copy(p, buf[taken:n]), nil })
		if m == 0 || err != nil {
			return 0, errors.Join(errTooMuch, err)
		}
		taken += m
	}
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

var errTooMuch = errors.New("session: the peer sends more than can be taken")

// recordSize is for what there is always room in an engine that needs more.
const recordSize = 16 << 10

// copySize is how much is moved at once.
const copySize = 64 << 10

var copies = sync.Pool{New: func() any { return new([copySize]byte) }}
