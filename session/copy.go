package session

import (
	"cmp"
	"io"
	"syscall"
)

// WriteTo implements io.WriterTo: it copies what the peer sends until the end.
// It has no memory of its own while it waits for the peer, where the system
// can tell that there is something to read. On an error of w bytes are lost.
func (c *Conn) WriteTo(w io.Writer) (total int64, err error) {
	if !c.s.checked() {
		return 0, errUnchecked
	}
	c.reading.Lock()
	defer c.doneReading()
	for err == nil {
		var n int
		if c.std != nil {
			n, err = c.copyStd(w)
		} else {
			n, err = c.copyNative(w)
		}
		total += int64(n)
	}
	if err == io.EOF {
		err = nil
	}
	return total, c.ended(err)
}

// copyNative copies a record from where it was decrypted, or several that have
// come together in one piece.
func (c *Conn) copyNative(w io.Writer) (n int, err error) {
	var data []byte
	if err := c.await(func() error { data, err = c.native.Peek(); return err }); err != nil {
		return 0, err
	}
	if !c.native.Partial() {
		n, err = w.Write(data)
		c.native.Discard(len(data))
		return n, err
	}
	buf := copies.Get().(*[copySize]byte)
	defer copies.Put(buf)
	have := 0
	for have < len(buf) && err == nil {
		n, err = c.s.Read(buf[have:]) // an error comes again
		have += n
	}
	return w.Write(buf[:have])
}

// copyStd copies what there is. One octet is awaited; then there is memory for
// what has come along with it.
func (c *Conn) copyStd(w io.Writer) (int, error) {
	var first [1]byte
	have := 0
	if c.patient.raw != nil {
		n, err := c.std.Read(first[:])
		if n == 0 {
			return 0, err
		}
		have = n
	}
	buf := copies.Get().(*[copySize]byte)
	defer copies.Put(buf)
	copy(buf[:], first[:have])
	c.patient.instant = have > 0
	defer func() { c.patient.instant = false }()
	for have < len(buf) {
		n, err := c.std.Read(buf[have:])
		have += n
		if err != nil {
			if have == 0 {
				return 0, err
			}
			break // an error comes again
		}
		if !c.patient.instant {
			break
		}
	}
	c.patient.instant = false
	return w.Write(buf[:have])
}

// ReadFrom implements io.ReaderFrom: it sends what it reads until the end. It
// has no memory of its own while it waits for r, if that is a TCP or UNIX
// connection or a Conn.
func (c *Conn) ReadFrom(r io.Reader) (total int64, err error) {
	if from, ok := r.(*Conn); ok {
		return from.WriteTo(onlyWriter{c})
	}
	raw := rawConn(r)
	for err == nil {
		var buf *[copySize]byte
		var n int
		if buf, n, err = readCopy(r, raw); n > 0 {
			var writeErr error
			n, writeErr = c.Write(buf[:n])
			total += int64(n)
			err = cmp.Or(writeErr, err)
		}
		if buf != nil {
			copies.Put(buf)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return total, err
}

// readCopy reads what there is, into memory that it takes when there is
// something, if the system can tell.
func readCopy(r io.Reader, raw syscall.RawConn) (buf *[copySize]byte, n int, err error) {
	if raw == nil {
		buf = copies.Get().(*[copySize]byte)
		n, err = r.Read(buf[:])
		return buf, n, err
	}
	rawErr := raw.Read(func(fd uintptr) bool {
		buf = copies.Get().(*[copySize]byte)
		if n, err = readNow(fd, buf[:]); err != errNothing {
			return true
		}
		copies.Put(buf)
		buf = nil // somebody else's, and this is not called again if the connection is closed meanwhile
		return false
	})
	return buf, n, cmp.Or(rawErr, err)
}

// onlyWriter hides that a Conn can read from something.
type onlyWriter struct{ io.Writer }
