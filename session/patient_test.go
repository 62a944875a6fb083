package session

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"virtls/internal/peertest"
)

// counted counts the writes to a connection.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Several records are sent at once, whichever engine makes them.
func TestWritesAreGathered(t *testing.T) {
	for _, engine := range engines {
		a, b := peertest.Pair(t)
		server, client := x509Pair(t, engine)
		below := &counted{Conn: b}
		s, c := both(t, a, below, server, client)
		data := bytes.Repeat([]byte("sixteen octets. "), 256<<10/16)
		for _, tt := range []struct{ size, want int }{{0, 0}, {1, 1}, {recordSize, 1}, {recordSize + 1, 1}, {writeSize, 1}, {256 << 10, 4}} {
			before := below.writes.Load()
			got := make([]byte, tt.size)
			read := make(chan error, 1)
			go func() { _, err := io.ReadFull(s, got); read <- err }()
			n, err := c.Write(data[:tt.size])
			must(t, err)
			must(t, <-read)
			if wrote := int(below.writes.Load() - before); n != tt.size || !bytes.Equal(got, data[:tt.size]) || wrote != tt.want && tt.size > 0 {
				t.Errorf("%s: %d octets were sent in %d writes, want %d", engine, n, wrote, tt.want)
			}
		}
		if c.patient != nil && c.patient.out != nil {
			t.Error("memory is kept")
		}
		c.Close()
		s.Close()
	}
}
