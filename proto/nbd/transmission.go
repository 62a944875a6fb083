package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"
)

// A transmission is the server's side of a connection to an export.
type transmission struct {
	conn   net.Conn
	plain  net.Conn        // below conn
	tcp    syscall.RawConn // of plain, nil if it is something else
	export *Export
	dev    *abilities
	mode   mode
	status bool // base:allocation was chosen

	limits Limits
	in     *bufio.Reader
	work   chan work           // for one who is free to serve a request
	window *semaphore.Weighted // octets

	out sync.Mutex // held while a reply is written

	mu       sync.Mutex
	failure  error // the first one
	stopping bool
}

// A request is what a client wants.
type request struct {
	flags          CommandFlag
	command        command
	cookie         uint64
	offset, length uint64
	payload        *buffer // of a write
	cost           int64   // of the window
}

// readAhead is the size of the buffer that requests are read through. What is
// larger goes past it.
const readAhead = 16 << 10

// errGoodbye ends a transmission that the client ended.
var errGoodbye = errors.New("the client said goodbye")

// run serves requests until the client goes or the context ends.
func (t *transmission) run(ctx context.Context, limits Limits) error {
	t.limits = limits
	t.in = bufio.NewReaderSize(t.conn, readAhead)
	t.work = make(chan work)
	if c, ok := t.plain.(*net.TCPConn); ok {
		t.tcp, _ = c.SyscallConn()
	}
	t.window = semaphore.NewWeighted(limits.Window)
	defer context.AfterFunc(ctx, t.stop)()
	var running sync.WaitGroup
	err := t.serve(&running)
	if !errors.Is(err, errGoodbye) && !t.isStopping() {
		t.fail(err)
	}
	running.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failure
}

// stop lets no more requests in.
func (t *transmission) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	t.plain.SetReadDeadline(time.Unix(1, 0))
}

func (t *transmission) isStopping() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}

// readWithin sets how long reading may take from now on, 0 for ever.
func (t *transmission) readWithin(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping {
		return
	}
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	t.plain.SetReadDeadline(deadline)
}

// fail ends the connection.
func (t *transmission) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure == nil {
		t.failure = err
		t.plain.SetDeadline(time.Unix(1, 0))
	}
}

// work is a request and what the client is to be told of it at once, if anything.
type work struct {
	*request
	refusal error
}

// serve reads requests and gives each to somebody who is free to serve it.
func (t *transmission) serve(running *sync.WaitGroup) error {
	defer close(t.work)
	for workers := 0; ; {
		r, err := t.readRequest()
		if err != nil {
			return err
		}
		if r.command == cmdDisc {
			return errGoodbye
		}
		r.cost = t.costOf(r)
		// It waits for requests that end, or fail when the connection does.
		_ = t.window.Acquire(context.Background(), r.cost)
		refusal, err := t.readPayload(r)
		if err != nil {
			t.done(r)
			return err
		}
		w := work{r, refusal}
		select {
		case t.work <- w:
			continue
		default:
		}
		if workers < t.limits.Requests {
			workers++
			running.Go(t.serveWork)
		}
		t.work <- w
	}
}

// serveWork serves requests until there are no more.
func (t *transmission) serveWork() {
	for w := range t.work {
		if err := t.handle(w.request, w.refusal); err != nil {
			t.fail(err)
		}
		t.done(w.request)
	}
}

func (t *transmission) done(r *request) {
	if r.payload != nil {
		r.payload.put()
	}
	t.window.Release(r.cost)
}

// readRequest reads a request's header. It waits for it for ever, but not for
// the rest of it.
func (t *transmission) readRequest() (*request, error) {
	size := t.mode.requestSize()
	if t.in.Buffered() < size {
		if _, err := t.in.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("the client left without a goodbye: %w", err)
		}
		t.readWithin(t.limits.Stall)
		defer t.readWithin(0)
	}
	b, err := t.in.Peek(size)
	if err != nil {
		return nil, endOf(err, "a request")
	}
	r, err := parseRequest(b, t.mode)
	t.in.Discard(size)
	return r, err
}

// parseRequest reads a request's header, whose size is right.
func parseRequest(b []byte, m mode) (*request, error) {
	magic := uint32(magicRequest)
	if m == extended {
		magic = magicExtRequest
	}
	if got := be.Uint32(b); got != magic {
		return nil, fmt.Errorf("invalid magic of a request (got 0x%x, want 0x%x)", got, magic)
	}
	r := &request{
		flags: CommandFlag(be.Uint16(b[4:])), command: command(be.Uint16(b[6:])),
		cookie: be.Uint64(b[8:]), offset: be.Uint64(b[16:]),
	}
	if m == extended {
		r.length = be.Uint64(b[24:])
	} else {
		r.length = uint64(be.Uint32(b[24:]))
	}
	return r, nil
}

// hasPayload reports whether data follows the request. In extended mode clients
// must say so of a write; QEMU, too, forgives those that do not.
func (t *transmission) hasPayload(r *request) bool {
	return r.command == cmdWrite || t.mode == extended && r.flags&payloadFlag != 0
}

// costOf returns what of the window the request needs.
func (t *transmission) costOf(r *request) int64 {
	switch {
	case r.command == cmdWrite && r.length <= maxPayload:
		return int64(r.length)
	case r.command == cmdRead && (t.mode == simple || r.flags&dontFrag != 0):
		return int64(min(r.length, maxPayload))
	case r.command == cmdRead:
		return int64(min(r.length, pieceSize))
	}
	return 0
}

// readPayload reads what follows a request. A refusal is what the client is to
// be told; an error ends the connection.
func (t *transmission) readPayload(r *request) (refusal, err error) {
	refusal = t.check(r)
	if !t.hasPayload(r) || r.length == 0 {
		return refusal, nil
	}
	if r.length > maxPayload {
		return nil, fmt.Errorf("a request brings %d octets, want at most %d", r.length, maxPayload)
	}
	if uint64(t.in.Buffered()) < r.length {
		t.readWithin(t.limits.Stall)
		defer t.readWithin(0)
	}
	if refusal != nil || r.command != cmdWrite {
		_, err := io.CopyN(io.Discard, t.in, int64(r.length))
		if err != nil {
			err = endOf(err, "a request's data")
		}
		return refusal, err
	}
	r.payload = getBuffer(int(r.length))
	if _, err := io.ReadFull(t.in, r.payload.data(int(r.length))); err != nil {
		return nil, endOf(err, "a request's data")
	}
	return nil, nil
}

// A refusalError is an error with words for the client.
type refusalError struct {
	Errno
	text string
}

func (e *refusalError) Error() string { return e.text }
func (e *refusalError) Unwrap() error { return e.Errno }

func refused(e Errno, format string, args ...any) error {
	return &refusalError{e, fmt.Sprintf(format, args...)}
}

// allowedFlags are the flags that each command may have.
var allowedFlags = map[command]CommandFlag{
	cmdRead: FUA | dontFrag, cmdWrite: FUA | payloadFlag, cmdFlush: FUA, cmdTrim: FUA, cmdCache: FUA,
	cmdWriteZeroes: FUA | NoHole | FastZero, cmdBlockStatus: FUA | reqOne,
}

// check returns why a request cannot be served, nil if it can.
func (t *transmission) check(r *request) error {
	allowed, known := allowedFlags[r.command]
	writes := r.command == cmdWrite || r.command == cmdTrim || r.command == cmdWriteZeroes
	size := uint64(t.dev.Size())
	switch {
	case !known || t.lacks(r.command):
		return refused(EINVAL, "unsupported request %d", r.command)
	case writes && t.dev.write == nil:
		return refused(EPERM, "export is read-only")
	case r.flags&^allowed != 0, r.flags&FUA != 0 && writes && t.dev.flush == nil, r.flags&dontFrag != 0 && t.mode == simple:
		return refused(EINVAL, "unsupported flags for request %d (got 0x%x)", r.command, uint16(r.flags))
	case r.command == cmdFlush:
		return nil
	case r.offset > size || r.length > size-r.offset:
		if writes && r.command != cmdTrim {
			return refused(ENOSPC, "operation past the end: from %d, len %d, size %d", r.offset, r.length, size)
		}
		return refused(EINVAL, "operation past the end: from %d, len %d, size %d", r.offset, r.length, size)
	case (r.command == cmdRead || r.command == cmdWrite) && r.length > maxPayload:
		return refused(EINVAL, "len (%d) is larger than max len (%d)", r.length, maxPayload)
	case (r.offset|r.length)&uint64(t.dev.sizes.Min-1) != 0:
		return refused(EINVAL, "unaligned request: from %d, len %d, minimum block size %d", r.offset, r.length, t.dev.sizes.Min)
	case r.command == cmdBlockStatus && r.length == 0:
		return refused(EINVAL, "need non-zero length")
	}
	return nil
}

// lacks reports whether a command was not announced.
func (t *transmission) lacks(c command) bool {
	switch c {
	case cmdFlush:
		return t.dev.write != nil && t.dev.flush == nil
	case cmdTrim:
		return t.dev.write != nil && t.dev.trim == nil
	case cmdWriteZeroes:
		return t.dev.write != nil && t.dev.zero == nil
	case cmdCache:
		return t.dev.cache == nil
	case cmdBlockStatus:
		return !t.status
	}
	return false
}
