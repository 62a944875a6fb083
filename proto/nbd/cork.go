package nbd

import (
	"net"
	"sync"
)

// corkSize is how much a corked connection gathers: what the kernel takes at once.
const corkSize = 256 << 10

// A corked connection gathers what is written while it is corked. TLS writes
// each record of 16 KiB by itself, which costs more than the copy that this one
// makes.
type corked struct {
	net.Conn

	mu  sync.Mutex
	on  bool
	buf []byte
}

// Write implements net.Conn.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return c.Conn.Write(p)
	}
	if len(c.buf)+len(p) > corkSize {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if c.buf == nil {
		c.buf = make([]byte, 0, corkSize)
	}
	if len(p) > corkSize {
		return c.Conn.Write(p)
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}

func (c *corked) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}

// cork gathers from now on.
func (c *corked) cork() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = true
}

// uncork sends what was gathered.
func (c *corked) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	return c.flush()
}
