package gateway

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"virtls/sasl"
	"virtls/session"
)

// A side is one of the two connections of a relay.
type side struct {
	*socket
	tls *session.Conn // nil if plain
	web *webStream    // nil if no websocket
	// sealed is what a login has put on top, Kerberos where there is no TLS with
	// certificates; nil without.
	sealed *sasl.SealedConn
}

// A stream is where the bytes of users are read and written. It has no memory of
// its own while it waits for them.
type stream interface {
	io.WriterTo
	io.Writer
}

func (s side) stream() stream {
	switch {
	case s.sealed != nil:
		return s.sealed
	case s.web != nil:
		return s.web
	case s.tls != nil:
		return s.tls
	}
	return s.socket
}

// conn is the connection on which the protocol begins.
func (s side) conn() net.Conn {
	if s.tls != nil {
		return s.tls
	}
	return s.streamConn
}

// closeWrite tells the peer that nothing more comes: by TLS's close_notify, and
// by TCP's FIN behind it, for peers that heed only that.
func (s side) closeWrite() error {
	if s.web != nil {
		return s.web.CloseWrite()
	}
	if s.tls != nil {
		if err := s.tls.CloseWrite(); err != nil {
			return err
		}
	}
	return s.socket.CloseWrite()
}

// A relay passes bytes both ways until both ends have ended, or one fails.
type relay struct {
	client, server side
	idle           time.Duration // without a byte in either direction; 0: for ever
	lingering      time.Duration // the same when one direction has ended
	moved          func(up bool, n int)
	done           func(err error) // called once, when both directions have ended

	active atomic.Int64 // when a byte moved last, in nanoseconds
	ends   atomic.Int32 // directions that have ended
	once   sync.Once
	err    error
}

// start begins with goroutines of its own, whose stacks have not grown in a
// handshake, and returns.
func (r *relay) start() {
	r.active.Store(time.Now().UnixNano())
	go r.direction(r.client, r.server, true)
	go r.direction(r.server, r.client, false)
}

func (r *relay) direction(from, to side, up bool) {
	err := r.pass(from, to, up)
	if err == nil {
		err = to.closeWrite()
		if isGone(err) {
			// Whoever has said everything and left need not be told.
			err = nil
		}
	}
	if err != nil {
		r.stop(err)
	}
	if r.ends.Add(1) == 2 {
		r.stop(nil)
		r.done(r.err)
		return
	}
	if r.lingering > 0 {
		// The other direction may be waiting without a limit.
		to.SetReadDeadline(time.Now().Add(r.lingering))
	}
}

// isGone tells whether an error means that the peer is not there any more.
func isGone(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN)
}

// stop ends both directions. After an error both ends see that the connection
// was cut, and not an end that could be taken for the whole.
func (r *relay) stop(err error) {
	r.once.Do(func() {
		r.err = err
		for _, s := range []side{r.client, r.server} {
			if err != nil {
				s.abort()
			} else {
				s.Close()
			}
		}
	})
}

var errIdle = errors.New("nothing was sent for the time that a connection may be idle")

// pass passes bytes in one direction until they end.
func (r *relay) pass(from, to side, up bool) error {
	out := &meter{r, to, up}
	if r.idle > 0 && from.web == nil {
		// A websocket ends with its deadline. The other direction watches over both.
		from.SetReadDeadline(r.limit())
	}
	for {
		if _, err := from.stream().WriteTo(out); !timedOut(err) {
			return err
		}
		end := r.limit()
		if !end.IsZero() && !time.Now().Before(end) {
			return errIdle
		}
		from.SetReadDeadline(end)
	}
}

// A meter sends bytes to a side and counts them.
type meter struct {
	r  *relay
	to side
	up bool
}

// Write sends bytes, for as long as that may take.
func (m *meter) Write(p []byte) (int, error) {
	r := m.r
	if r.idle > 0 {
		m.to.SetWriteDeadline(time.Now().Add(r.idle))
	}
	n, err := m.to.stream().Write(p)
	if r.idle > 0 {
		if timedOut(err) {
			err = errIdle
		}
		m.to.SetWriteDeadline(time.Time{})
	}
	r.active.Store(time.Now().UnixNano())
	r.moved(m.up, n)
	return n, err
}

// limit returns until when bytes may be waited for.
func (r *relay) limit() time.Time {
	limit := r.idle
	if r.ends.Load() > 0 && r.lingering > 0 && (limit == 0 || r.lingering < limit) {
		limit = r.lingering
	}
	if limit == 0 {
		return time.Time{}
	}
	return time.Unix(0, r.active.Load()).Add(limit)
}

// timedOut tells whether nothing came, now or in time.
func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
