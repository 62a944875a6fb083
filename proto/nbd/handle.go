package nbd

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// pieceSize is how much of a long read is sent at once where replies may come in
// pieces.
const pieceSize = 1 << 20

// maxExtents bounds the answer to one request for the block status.
const maxExtents = 2048

// A deviceError is what the client is told, in distinction from what ends its
// connection.
type deviceError struct{ error }

func (e deviceError) Unwrap() error { return e.error }

// errAnswered ends the work on a request about which the client has been told
// all.
var errAnswered = errors.New("the client has been told")

// handle serves one request. An error ends the connection.
func (t *transmission) handle(r *request, refusal error) error {
	var err error
	switch {
	case refusal != nil:
		err = deviceError{refusal}
	case r.command == cmdRead:
		err = t.read(r)
	case r.command == cmdBlockStatus:
		err = t.blockStatus(r)
	default:
		if err = t.act(r); err == nil {
			return t.acknowledge(r)
		}
		err = deviceError{err}
	}
	if errors.Is(err, errAnswered) {
		return nil
	}
	var told deviceError
	if errors.As(err, &told) {
		return t.refuse(r, told.error)
	}
	return err
}

// act does what is answered by a yes or no.
func (t *transmission) act(r *request) error {
	off, length := int64(r.offset), int64(r.length)
	var err error
	switch r.command {
	case cmdWrite:
		if length > 0 {
			_, err = t.dev.write.WriteAt(r.payload.data(int(length)), off)
		}
	case cmdFlush:
		if t.dev.flush != nil {
			err = t.dev.flush.Flush()
		}
		return err
	case cmdTrim:
		err = t.dev.trim.Trim(off, length)
	case cmdCache:
		return t.dev.cache.Cache(off, length)
	case cmdWriteZeroes:
		err = t.dev.zero.WriteZeroes(off, length, r.flags&(NoHole|FastZero))
	}
	if err == nil && r.flags&FUA != 0 {
		err = t.dev.flush.Flush()
	}
	return err
}

// read answers a read: whole, or in pieces of data and holes where that is
// allowed.
func (t *transmission) read(r *request) error {
	off, end := int64(r.offset), int64(r.offset+r.length)
	switch {
	case t.mode == simple || r.flags&dontFrag != 0:
		return t.readData(r, off, end, end)
	case r.length == 0:
		return t.acknowledge(r)
	}
	for off < end {
		extents, err := t.extents(off, end-off)
		if err != nil {
			return deviceError{err}
		}
		for _, e := range extents {
			stop := min(off+e.Length, end)
			if e.Zero {
				err = t.readHole(r, off, stop, end)
			} else {
				err = t.readPieces(r, off, stop, end)
			}
			if err != nil {
				return err
			}
			off = stop
		}
	}
	return nil
}

// extents describes a range, as data where nothing is known of it.
func (t *transmission) extents(off, length int64) ([]Extent, error) {
	if t.dev.extents == nil {
		return []Extent{{Length: length}}, nil
	}
	list, err := t.dev.extents.Extents(off, length, maxExtents)
	for _, e := range list {
		if e.Length <= 0 {
			err = fmt.Errorf("extent of %d octets", e.Length)
		}
	}
	if len(list) == 0 && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return list, err
}

// readPieces sends data of a read that ends at end.
func (t *transmission) readPieces(r *request, off, stop, end int64) error {
	for off < stop {
		next := min(off+pieceSize, stop)
		if err := t.readData(r, off, next, end); err != nil {
			return err
		}
		off = next
	}
	return nil
}

// readData sends one piece of data.
func (t *transmission) readData(r *request, off, stop, end int64) error {
	size := int(stop - off)
	if d := t.streamable(r, size); d != nil {
		return t.stream(r, d, off, stop, end)
	}
	b := getBuffer(size)
	defer b.put()
	if n, err := t.dev.ReadAt(b.data(size), off); n < size {
		if err == nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("the device ends at %d: %w", off+int64(n), io.ErrUnexpectedEOF)
		}
		return deviceError{err}
	}
	if t.mode == simple {
		return t.send(b.message(len(appendSimple(b.head(simpleSize), r.cookie, 0)), size))
	}
	room := t.mode.replySize() + 8
	h := t.appendChunk(b.head(room), r, doneIf(stop == end), chunkData, uint64(8+size))
	be.AppendUint64(h, uint64(off))
	return t.send(b.message(room, size))
}

// readHole sends word of zeroes.
func (t *transmission) readHole(r *request, off, stop, end int64) error {
	b := t.appendChunk(nil, r, doneIf(stop == end), chunkHole, 12)
	b = be.AppendUint64(b, uint64(off))
	return t.send(be.AppendUint32(b, uint32(stop-off)))
}

// blockStatus answers by what base:allocation says of the range.
func (t *transmission) blockStatus(r *request) error {
	extents, err := t.extents(int64(r.offset), int64(r.length))
	if err != nil {
		return deviceError{err}
	}
	if r.flags&reqOne != 0 {
		extents = extents[:1]
	}
	last := &extents[len(extents)-1]
	var before int64
	for _, e := range extents[:len(extents)-1] {
		before += e.Length
	}
	last.Length = min(last.Length, int64(r.length)-before)
	if t.mode == extended {
		b := t.appendChunk(nil, r, chunkDone, chunkStatusExt, uint64(8+16*len(extents)))
		b = be.AppendUint32(b, 0) // the context's id
		b = be.AppendUint32(b, uint32(len(extents)))
		for _, e := range extents {
			b = be.AppendUint64(b, uint64(e.Length))
			b = be.AppendUint64(b, uint64(e.status()))
		}
		return t.send(b)
	}
	b := t.appendChunk(nil, r, chunkDone, chunkStatus, uint64(4+8*len(extents)))
	b = be.AppendUint32(b, 0)
	for _, e := range extents {
		b = be.AppendUint32(b, uint32(e.Length))
		b = be.AppendUint32(b, e.status())
	}
	return t.send(b)
}

// acknowledge says that a request was served.
func (t *transmission) acknowledge(r *request) error {
	if t.mode == simple {
		return t.send(appendSimple(nil, r.cookie, 0))
	}
	return t.send(t.appendChunk(nil, r, chunkDone, chunkNone, 0))
}

// refuse tells the client why a request was not served.
func (t *transmission) refuse(r *request, err error) error {
	e := errnoOf(err)
	if t.mode == simple {
		return t.send(appendSimple(nil, r.cookie, e))
	}
	var text string
	var said *refusalError
	if errors.As(err, &said) {
		text = said.text // an error of the system may name files
	}
	b := t.appendChunk(nil, r, chunkDone, chunkError, uint64(6+len(text)))
	b = be.AppendUint32(b, uint32(e))
	b = be.AppendUint16(b, uint16(len(text)))
	return t.send(append(b, text...))
}

func doneIf(last bool) uint16 {
	if last {
		return chunkDone
	}
	return 0
}

func appendSimple(b []byte, cookie uint64, e Errno) []byte {
	b = be.AppendUint32(b, magicSimple)
	b = be.AppendUint32(b, uint32(e))
	return be.AppendUint64(b, cookie)
}

// appendChunk appends the header of a structured reply.
func (t *transmission) appendChunk(b []byte, r *request, flags, kind uint16, length uint64) []byte {
	magic := uint32(magicStructured)
	if t.mode == extended {
		magic = magicExtReply
	}
	b = be.AppendUint32(b, magic)
	b = be.AppendUint16(b, flags)
	b = be.AppendUint16(b, kind)
	b = be.AppendUint64(b, r.cookie)
	if t.mode == extended {
		b = be.AppendUint64(b, r.offset)
		return be.AppendUint64(b, length)
	}
	return be.AppendUint32(b, uint32(length))
}

// send writes a reply.
func (t *transmission) send(b []byte) error {
	t.out.Lock()
	defer t.out.Unlock()
	t.writeWithin(t.limits.Stall)
	if _, err := t.conn.Write(b); err != nil {
		return endOf(err, "a reply")
	}
	return nil
}

// writeWithin bounds the next write, unless the connection has failed.
func (t *transmission) writeWithin(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure == nil {
		t.plain.SetWriteDeadline(time.Now().Add(d))
	}
}
