package nbd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// minStream is the size from which on it pays to send data while they are read.
const minStream = 32 << 10

// streamSize is how much of a file is read, encrypted and sent at a time: a core
// still has it in its cache when it sends it.
const streamSize = 64 << 10

// streams have room for that, for a rest that is not worth a write of its own, and
// for what ends a reply.
var streams = sync.Pool{New: func() any { return new([streamSize + 2*headRoom]byte) }}

// streamable returns the file whose data can be sent while they are read, nil if
// that cannot be.
func (t *transmission) streamable(r *request, size int) *File {
	if f, ok := t.dev.Device.(interface{ file() *File }); ok && size >= minStream && t.mode != simple && r.flags&dontFrag == 0 {
		return f.file()
	}
	return nil
}

func (d *File) file() *File { return d }

// stream answers by a piece of a file. The data come first, and an end of the
// reply follows that says whether they are good: what cannot be read is made up
// by zeroes.
func (t *transmission) stream(r *request, d *File, off, stop, end int64) error {
	// What is not in memory is fetched before other replies have to wait for it.
	// It is a hint: that it fails does no harm.
	_ = d.Cache(off, stop-off)
	var room [2 * headRoom]byte
	head := t.appendChunk(room[:0:headRoom], r, 0, chunkData, uint64(8+stop-off))
	head = be.AppendUint64(head, uint64(off))
	tail := func(readErr error) []byte {
		b := room[headRoom:headRoom]
		switch {
		case readErr != nil:
			b = t.appendChunk(b, r, chunkDone, chunkError, 6)
			b = be.AppendUint32(b, uint32(errnoOf(readErr)))
			return be.AppendUint16(b, 0)
		case stop == end:
			return t.appendChunk(b, r, chunkDone, chunkNone, 0)
		}
		return nil
	}
	send := t.pump
	if _, ok := t.conn.(*net.TCPConn); ok {
		send = t.sendfile
	}
	t.out.Lock()
	defer t.out.Unlock()
	t.writeWithin(t.limits.Stall)
	t.cork(1)
	defer t.cork(0)
	readErr, err := send(d, head, off, stop, tail)
	switch {
	case err != nil:
		return endOf(err, "a reply")
	case readErr != nil:
		return errAnswered
	}
	return nil
}

// cork has the kernel send whole segments only, and what is left when it ends:
// replies are written in pieces that are none.
func (t *transmission) cork(on int) {
	if raw := t.tcp; raw != nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on) })
	}
}

// pump sends a range of a file, over TLS say, between a head and the tail for how
// reading went.
func (t *transmission) pump(d *File, head []byte, off, stop int64, tail func(error) []byte) (readErr, err error) {
	mem := streams.Get().(*[streamSize + 2*headRoom]byte)
	defer streams.Put(mem)
	for b := append(mem[:0], head...); off < stop; b = mem[:0] {
		n := int(min(int64(streamSize-len(b)), stop-off))
		if rest := int(stop-off) - n; rest <= headRoom {
			n += rest
		}
		piece := b[len(b):][:n]
		if readErr == nil {
			readErr = d.readFull(piece, off)
		}
		if readErr != nil {
			clear(piece)
		}
		b, off = b[:len(b)+n], off+int64(n)
		if off == stop {
			b = append(b, tail(readErr)...)
		}
		if _, err := t.conn.Write(b); err != nil {
			return nil, err
		}
	}
	return readErr, nil
}

func (d *File) readFull(p []byte, off int64) error {
	n, err := d.f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		err = endsAt(off + int64(n))
	}
	return err
}

func endsAt(off int64) error { return fmt.Errorf("the file ends at %d: %w", off, io.ErrUnexpectedEOF) }

// sendfile is pump for a connection without TLS, to which the kernel can send the
// file by itself.
func (t *transmission) sendfile(d *File, head []byte, off, stop int64, tail func(error) []byte) (readErr, err error) {
	raw, err := t.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := sendMore(raw, head); err != nil {
		return nil, err
	}
	sent, readErr, err := d.sendTo(raw, off, stop-off)
	if err == nil && readErr != nil {
		_, err = io.CopyN(t.conn, zeroReader{}, stop-off-sent)
	}
	if b := tail(readErr); err == nil && b != nil {
		_, err = t.conn.Write(b)
	}
	return readErr, err
}

// sendMore sends what more will follow.
func sendMore(raw syscall.RawConn, b []byte) (err error) {
	werr := raw.Write(func(fd uintptr) bool {
		for len(b) > 0 {
			var n int
			n, err = unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			if err == unix.EAGAIN {
				return false
			}
			if err != nil && err != unix.EINTR {
				return true
			}
			b = b[max(n, 0):]
		}
		err = nil
		return true
	})
	if werr != nil {
		return werr
	}
	return err
}

// sendTo sends a range of the file. readErr says why it could not all be read.
func (d *File) sendTo(raw syscall.RawConn, off, length int64) (sent int64, readErr, err error) {
	callErr := d.call(func(in int) error {
		return raw.Write(func(out uintptr) bool {
			for sent < length {
				n, serr := unix.Sendfile(int(out), in, &off, int(length-sent))
				switch {
				case serr == unix.EAGAIN:
					return false
				case serr == unix.EINTR:
				case serr == unix.EIO || serr == unix.EINVAL || serr == unix.ENOMEM:
					readErr = serr
					return true
				case serr != nil:
					err = serr
					return true
				case n == 0:
					readErr = endsAt(off)
					return true
				default:
					sent += int64(n)
				}
			}
			return true
		})
	})
	if err == nil {
		err = callErr
	}
	return sent, readErr, err
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
