package sasl

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// A Seal encrypts what follows a login, where nothing below does: it is what a
// mechanism's security layer (RFC 4422, 3.7) is made of. Wrap may be called
// while Unwrap is, but neither twice at a time.
type Seal interface {
	// SSF is the strength, in bits of the key.
	SSF() int
	// MaxPlain is how many octets at most Wrap takes: those that the other end's
	// buffer has room for.
	MaxPlain() int
	// Wrap encrypts a message, and Unwrap decrypts the next one of the other end.
	// It fails for any other than that.
	Wrap(message []byte) ([]byte, error)
	Unwrap(sealed []byte) ([]byte, error)
}

// MaxSealed bounds the sealed messages, in octets, that an end takes, and which
// its mechanism tells the other end. Cyrus SASL takes 8 KiB from QEMU's clients.
const MaxSealed = 64 << 10

// A SealedConn protects what it carries by a Seal, framed as RFC 4422, 3.7 has it:
// each message behind its length. After an error other than a deadline that has
// passed nothing is read, or written, any more. One goroutine may read while
// another one writes.
type SealedConn struct {
	net.Conn
	seal Seal

	reading sync.Mutex
	size    [4]byte // of the message that is being read, and
	sealed  []byte  // as much of it as has come, nil before its length is known
	have    int     // octets that have come, of the length or of the message
	plain   []byte  // decrypted and not yet read
	broken  error   // of what was read

	writing sync.Mutex
	failed  error // of what was written
}

// SealConn puts a seal on a connection.
func SealConn(c net.Conn, s Seal) *SealedConn { return &SealedConn{Conn: c, seal: s} }

// NetConn returns the connection below.
func (c *SealedConn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *SealedConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.await(); err != nil {
		return 0, err
	}
	n := copy(p, c.plain)
	c.took(n)
	return n, nil
}

// took notes that octets were read. What was read to its end takes no memory any more.
func (c *SealedConn) took(n int) {
	if c.plain = c.plain[n:]; len(c.plain) == 0 {
		c.plain = nil
	}
}

// WriteTo implements io.WriterTo. While nothing comes it has no memory of its own.
func (c *SealedConn) WriteTo(w io.Writer) (n int64, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if err := c.await(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		m, err := w.Write(c.plain)
		n += int64(m)
		c.took(m)
		if err != nil {
			return n, err
		}
	}
}

// await reads until there is something to be read.
func (c *SealedConn) await() error {
	for len(c.plain) == 0 {
		if c.broken != nil {
			return c.broken
		}
		plain, err := c.next()
		if e, ok := err.(net.Error); ok && e.Timeout() {
			return err // the rest may come later
		}
		c.plain, c.broken = plain, err
	}
	return nil
}

// next reads one message, or goes on with it. The connection ends well between
// two only.
func (c *SealedConn) next() ([]byte, error) {
	if c.sealed == nil {
		if err := c.fill(c.size[:]); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(c.size[:])
		if n > MaxSealed {
			return nil, fmt.Errorf("a sealed message of %d octets; at most %d are taken", n, MaxSealed)
		}
		c.sealed, c.have = make([]byte, n), 0
	}
	if err := c.fill(c.sealed); err != nil {
		return nil, err
	}
	sealed := c.sealed
	c.sealed, c.have = nil, 0
	return c.seal.Unwrap(sealed)
}

// fill reads what is missing of a length or of a message.
func (c *SealedConn) fill(p []byte) error {
	n, err := io.ReadFull(c.Conn, p[c.have:])
	c.have += n
	if err == io.ErrUnexpectedEOF || err == io.EOF && (c.have > 0 || c.sealed != nil) {
		return fmt.Errorf("a sealed message is cut off: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// Write implements net.Conn.
func (c *SealedConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	done := 0
	for done < len(p) && c.failed == nil {
		n := min(len(p)-done, c.seal.MaxPlain())
		sealed, err := c.seal.Wrap(p[done : done+n])
		if err == nil {
			_, err = c.Conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(sealed))), sealed...))
		}
		if c.failed = err; err == nil {
			done += n
		}
	}
	return done, c.failed
}
