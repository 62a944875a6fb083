package gateway

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A tap passes connections on and looks at the records of TLS 1.3 that the one
// who connects sends.
type tap struct {
	port string

	mu      sync.Mutex
	updates int
	longest int // run of records without an update
}

// In TLS 1.3 a KeyUpdate of 5 octets, its type and the tag look so from outside.
const (
	updateRecord     = 5 + 1 + 16
	handshakeRecords = 8 // that a client may encrypt, at most
)

func tapped(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	p := &tap{port: port}
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			service, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			go func() { defer from.Close(); io.Copy(from, service) }()
			go func() { defer service.(*net.TCPConn).CloseWrite(); p.pass(from, service) }()
		}
	}()
	return p
}

func (p *tap) pass(from io.Reader, to io.Writer) {
	var header [5]byte
	for run := 0; ; {
		if _, err := io.ReadFull(from, header[:]); err != nil {
			return
		}
		size := int(header[3])<<8 | int(header[4])
		if header[0] == 23 {
			if run++; size == updateRecord {
				run = 0
			}
			p.mu.Lock()
			p.longest = max(p.longest, run)
			if run == 0 {
				p.updates++
			}
			p.mu.Unlock()
		}
		if _, err := to.Write(header[:]); err != nil {
			return
		}
		if _, err := io.CopyN(to, from, int64(size)); err != nil {
			return
		}
	}
}

func (p *tap) seen() (longest, updates int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.longest, p.updates
}
