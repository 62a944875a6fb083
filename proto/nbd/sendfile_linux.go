package nbd

import (
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// minSendfile is the size from which on it pays to let the kernel send a file.
const minSendfile = 32 << 10

// canSendfile reports whether the kernel can send data from the device to the
// client by itself: from a file, over a connection without TLS.
func (t *transmission) canSendfile(size int) bool {
	if t.mode == simple || size < minSendfile || t.below != nil {
		return false
	}
	_, isFile := t.dev.Device.(interface{ file() *File })
	_, isTCP := t.conn.(*net.TCPConn)
	return isFile && isTCP
}

func (d *File) file() *File { return d }

// sendfile answers by a piece of a file. The data come first, and an end of the
// reply follows that says whether they are good: what cannot be read is made up
// by zeroes.
func (t *transmission) sendfile(r *request, off, stop, end int64) error {
	d := t.dev.Device.(interface{ file() *File }).file()
	raw, err := t.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	// What is not in memory is fetched before other replies have to wait for it.
	// It is a hint: that it fails does no harm.
	_ = d.Cache(off, stop-off)
	var head [headRoom]byte
	h := t.appendChunk(head[:0], r, 0, chunkData, uint64(8+stop-off))
	h = be.AppendUint64(h, uint64(off))

	t.out.Lock()
	defer t.out.Unlock()
	t.writeWithin(t.limits.Stall)
	if err := sendMore(raw, h); err != nil {
		return endOf(err, "a reply")
	}
	sent, readErr, err := d.sendTo(raw, off, stop-off)
	if err != nil {
		return endOf(err, "a reply")
	}
	if readErr != nil {
		if _, err := io.CopyN(t.conn, zeroReader{}, stop-off-sent); err != nil {
			return endOf(err, "a reply")
		}
		b := t.appendChunk(nil, r, chunkDone, chunkError, 6)
		b = be.AppendUint32(b, uint32(errnoOf(readErr)))
		if _, err = t.conn.Write(be.AppendUint16(b, 0)); err != nil {
			return endOf(err, "a reply")
		}
		return errAnswered
	}
	if stop < end {
		return nil
	}
	if _, err := t.conn.Write(t.appendChunk(head[:0], r, chunkDone, chunkNone, 0)); err != nil {
		return endOf(err, "a reply")
	}
	return nil
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
					readErr = fmt.Errorf("the file ends at %d: %w", off, io.ErrUnexpectedEOF)
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
