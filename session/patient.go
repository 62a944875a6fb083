package session

import (
	"net"
	"sync"
	"syscall"
)

// A patient is the connection below crypto/tls. It can read without waiting, and
// gathers what is written record by record, so that the system is asked once for
// several of them. It has memory for that only while there is something in it.
type patient struct {
	net.Conn
	raw     syscall.RawConn // nil if the system does not tell when there is something
	shaking bool            // the handshake is not complete

	// Guarded by Conn.reading.
	instant bool // reads do not wait
	drained bool // the last read brought all there was

	mu     sync.Mutex
	gather bool // writes wait for release
	out    *[gatherSize]byte
	n      int
	lost   error // what release failed with
}

// gatherSize has room for the records of writeSize octets.
const gatherSize = writeSize + 1<<10

var gathered = sync.Pool{New: func() any { return new([gatherSize]byte) }}

func newPatient(nc net.Conn) *patient {
	return &patient{Conn: nc, raw: rawConn(nc), shaking: true}
}

// Read implements net.Conn.
func (p *patient) Read(b []byte) (n int, err error) {
	switch {
	case p.raw == nil:
		return p.Conn.Read(b)
	case p.instant:
		n, err = p.readNow(b)
	default:
		n, err = p.Conn.Read(b)
	}
	p.drained = n < len(b)
	if p.shaking {
		acknowledge(p.Conn, p.raw)
	}
	return n, err
}

func (p *patient) readNow(b []byte) (n int, err error) {
	if p.drained {
		return 0, errNothing
	}
	rawErr := p.raw.Read(func(fd uintptr) bool {
		n, err = readNow(fd, b)
		return true
	})
	if rawErr != nil {
		return 0, rawErr
	}
	return n, err
}

// Write implements net.Conn.
func (p *patient) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost != nil {
		return 0, p.lost
	}
	if !p.gather {
		return p.Conn.Write(b)
	}
	if p.n+len(b) > gatherSize {
		if err := p.send(); err != nil {
			return 0, err
		}
	}
	if len(b) > gatherSize {
		return p.Conn.Write(b)
	}
	if p.out == nil {
		p.out = gathered.Get().(*[gatherSize]byte)
	}
	p.n += copy(p.out[p.n:], b)
	return len(b), nil
}

// hold has what is written wait for release.
func (p *patient) hold() {
	p.mu.Lock()
	p.gather = true
	p.mu.Unlock()
}

// release sends what has waited.
func (p *patient) release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gather = false
	return p.send()
}

func (p *patient) send() error {
	if p.n > 0 && p.lost == nil {
		_, p.lost = p.Conn.Write(p.out[:p.n])
	}
	if p.out != nil {
		gathered.Put(p.out)
		p.out, p.n = nil, 0
	}
	return p.lost
}
