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

// sealedConn carries messages with their lengths before them.
type sealedConn struct {
	net.Conn
	seal Seal

	reading sync.Mutex
	plain   []byte // decrypted and not yet read
	broken  error  // of what was read

	writing sync.Mutex
	failed  error // of what was written
}

// SealConn returns a connection whose content the seal protects, framed as
// RFC 4422, 3.7 has it. After an error nothing is read, or written, any more.
func SealConn(c net.Conn, s Seal) net.Conn { return &sealedConn{Conn: c, seal: s} }

func (c *sealedConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for len(c.plain) == 0 && len(p) > 0 {
		if c.broken != nil {
			return 0, c.broken
		}
		c.plain, c.broken = c.next()
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// next reads one message. The connection ends well between two only.
func (c *sealedConn) next() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > MaxSealed {
		return nil, fmt.Errorf("a sealed message of %d octets; at most %d are taken", n, MaxSealed)
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(c.Conn, sealed); err != nil {
		return nil, fmt.Errorf("a sealed message is cut off: %w", err)
	}
	return c.seal.Unwrap(sealed)
}

func (c *sealedConn) Write(p []byte) (int, error) {
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
