package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"virtls/creds"
	"virtls/internal/peertest"
)

var engines = []EngineChoice{Std, Native}

// noneLeft fails the test if a goroutine of a session is left at its end.
func noneLeft(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			left := sessionGoroutines()
			if len(left) == 0 {
				return
			}
			if time.Now().After(end) {
				t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
				return
			}
		}
	})
}

// sessionGoroutines are those that run code of this package or of an engine,
// tests' own apart.
func sessionGoroutines() (list []string) {
	buf := make([]byte, 4<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		for _, line := range strings.Split(g, "\n") {
			if strings.HasPrefix(line, "\t") && !strings.Contains(line, "_test.go") &&
				(strings.Contains(line, "/session/") || strings.Contains(line, "/tlsengine/") || strings.Contains(line, "/crypto/tls/")) {
				list = append(list, g)
				break
			}
		}
	}
	return list
}

// twoWay is a net.Conn of two pipes.
type twoWay struct{ r, w *os.File }

func (c twoWay) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c twoWay) Write(p []byte) (int, error) { return c.w.Write(p) }
func (c twoWay) Close() error                { return errors.Join(c.r.Close(), c.w.Close()) }
func (c twoWay) LocalAddr() net.Addr         { return bridgeAddr{} }
func (c twoWay) RemoteAddr() net.Addr        { return bridgeAddr{} }
func (c twoWay) SetDeadline(t time.Time) error {
	return errors.Join(c.r.SetDeadline(t), c.w.SetDeadline(t))
}
func (c twoWay) SetReadDeadline(t time.Time) error  { return c.r.SetReadDeadline(t) }
func (c twoWay) SetWriteDeadline(t time.Time) error { return c.w.SetWriteDeadline(t) }

// slow brings and takes one octet at a time.
type slow struct{ net.Conn }

func (c slow) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(1, len(p))]) }

func (c slow) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		_, err = c.Conn.Write(p[n : n+1])
		n++
	}
	return n, err
}

// transports make connected ends.
var transports = []struct {
	name string
	make func(testing.TB) (a, b net.Conn)
}{
	{"TCP", peertest.Pair},
	{"UNIX", connectedUnix},
	{"pipes", func(t testing.TB) (a, b net.Conn) {
		r1, w1, err := os.Pipe()
		must(t, err)
		r2, w2, err := os.Pipe()
		must(t, err)
		a, b = twoWay{r1, w2}, twoWay{r2, w1}
		t.Cleanup(func() { a.Close(); b.Close() })
		return a, b
	}},
	{"memory", func(t testing.TB) (a, b net.Conn) {
		a, b = net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		return a, b
	}},
	{"websocket", connectedWeb},
	{"an octet at a time", func(t testing.TB) (a, b net.Conn) {
		a, b = connectedUnix(t)
		return slow{a}, slow{b}
	}},
}

func connectedUnix(t testing.TB) (a, b net.Conn) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", name)
	must(t, err)
	defer l.Close()
	a, err = net.Dial("unix", name)
	must(t, err)
	b, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func connectedWeb(t testing.TB) (a, b net.Conn) {
	t.Helper()
	accepted, over := make(chan net.Conn), make(chan struct{})
	server := httptest.NewServer(http.Handler(websocket.Server{Handler: func(c *websocket.Conn) {
		c.PayloadType = websocket.BinaryFrame
		accepted <- c
		<-over
	}}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(over) })
	c, err := websocket.Dial("ws"+strings.TrimPrefix(server.URL, "http"), "", server.URL)
	must(t, err)
	c.PayloadType = websocket.BinaryFrame
	t.Cleanup(func() { c.Close() })
	return c, <-accepted
}

// both makes sessions at both ends.
func both(t testing.TB, a, b net.Conn, server, client Options) (s, c *Conn) {
	t.Helper()
	var wg sync.WaitGroup
	var serverErr, clientErr error
	wg.Go(func() { s, serverErr = Open(t.Context(), a, server) })
	wg.Go(func() { c, clientErr = Open(t.Context(), b, client) })
	wg.Wait()
	must(t, errors.Join(serverErr, clientErr))
	return s, c
}

// x509Pair are options for both ends of sessions with an engine.
func x509Pair(t testing.TB, engine EngineChoice) (server, client Options) {
	t.Helper()
	dir := newAuthority(t, "").dir(want{})
	return Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine},
		Options{Credentials: load(t, creds.X509Options{Dir: dir}), Engine: engine, Hostname: "localhost"}
}

// A session knows no transport.
func TestTransports(t *testing.T) {
	for _, engine := range engines {
		server, client := x509Pair(t, engine)
		for _, tr := range transports {
			t.Run(string(engine)+" "+tr.name, func(t *testing.T) {
				noneLeft(t)
				a, b := tr.make(t)
				s, c := both(t, a, b, server, client)
				size := 200_000
				if _, ok := a.(slow); ok {
					size = 2000
				}
				exchangeSome(t, s, c, size)
				copied(t, s, c, size)
				copied(t, c, s, size)
				go s.Close()
				if _, err := c.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("after the peer's goodbye: %v", err)
				}
				c.Close()
			})
		}
	}
}

// copied sends through ReadFrom what the other end gets through WriteTo, with
// pauses in which nothing is there.
func copied(t testing.TB, from, to *Conn, size int) {
	t.Helper()
	a, b := connectedUnix(t)
	data := []byte(strings.Repeat("a line of text\n", size/15))
	go func() {
		for i, part := range [][]byte{data[:1], data[1:2], data[2:100], data[100:]} {
			time.Sleep(time.Duration(i) * time.Millisecond)
			b.Write(part)
		}
		b.Close()
	}()
	sent := make(chan error, 1)
	go func() {
		n, err := from.ReadFrom(a)
		if err == nil && n != int64(len(data)) {
			err = errors.New("ReadFrom tells another number of octets")
		}
		sent <- err
	}()
	var got bytes.Buffer
	_, err := to.WriteTo(&limited{&got, len(data)})
	if !errors.Is(err, errEnough) {
		t.Fatalf("WriteTo: %v after %d octets", err, got.Len())
	}
	must(t, <-sent)
	if !bytes.Equal(got.Bytes(), data) {
		t.Error("other bytes came than were sent")
	}
}

// limited takes so many octets, and then no more.
type limited struct {
	io.Writer
	left int
}

var errEnough = errors.New("enough")

func (l *limited) Write(p []byte) (int, error) {
	n, _ := l.Writer.Write(p)
	if l.left -= n; l.left <= 0 {
		return n, errEnough
	}
	return n, nil
}

// Copying ends with the peer's goodbye, and with the other side's end.
func TestCopyEnds(t *testing.T) {
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			noneLeft(t)
			a, b := peertest.Pair(t)
			server, client := x509Pair(t, engine)
			s, c := both(t, a, b, server, client)
			ended := make(chan error, 1)
			var got bytes.Buffer
			go func() {
				_, err := s.WriteTo(&got)
				ended <- err
			}()
			n, err := c.ReadFrom(strings.NewReader(greeting))
			must(t, err)
			must(t, c.CloseWrite())
			must(t, <-ended)
			if got.String() != greeting || n != int64(len(greeting)) {
				t.Errorf("got %q of %d octets", got.String(), n)
			}
			// From one session to another.
			a2, b2 := peertest.Pair(t)
			s2, c2 := both(t, a2, b2, server, client)
			go func() {
				_, err := c2.ReadFrom(c)
				ended <- err
			}()
			go func() {
				s.Write([]byte(greeting))
				s.CloseWrite()
			}()
			buf := make([]byte, len(greeting))
			_, err = io.ReadFull(s2, buf)
			must(t, err)
			must(t, <-ended)
		})
	}
}

// Memory that a copy has given back, because nothing came, is not given back again
// when the wait ends: two connections would have it.
func TestCopyGivesMemoryBackOnce(t *testing.T) {
	a, _ := peertest.Pair(t)
	must(t, a.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	buf, n, err := readCopy(a, rawConn(a))
	if buf != nil || n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got memory: %v, %d octets, %v", buf != nil, n, err)
	}
}

// What waits ends with its deadline, its context, or when the session is closed.
func TestWaitingEnds(t *testing.T) {
	cause := errors.New("the service stops")
	soon := func() time.Time { return time.Now().Add(20 * time.Millisecond) }
	read := func(c *Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	write := func(c *Conn) error {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	bind := func(c *Conn) {
		ctx, cancel := context.WithCancelCause(context.Background())
		c.Bind(ctx)
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	}
	tests := []struct {
		name  string
		end   func(*Conn)
		waits func(*Conn) error
		want  error
	}{
		{"reading, a deadline", func(c *Conn) { c.SetReadDeadline(soon()) }, read, os.ErrDeadlineExceeded},
		{"copying, a deadline", func(c *Conn) { c.SetReadDeadline(soon()) }, func(c *Conn) error { _, err := c.WriteTo(io.Discard); return err }, os.ErrDeadlineExceeded},
		{"writing, a deadline", func(c *Conn) { c.SetWriteDeadline(soon()) }, write, os.ErrDeadlineExceeded},
		{"reading, a context", bind, read, cause},
		{"writing, a context", bind, write, cause},
		{"reading, closed", func(c *Conn) { time.AfterFunc(20*time.Millisecond, func() { c.Close() }) }, read, net.ErrClosed},
		{"writing, closed", func(c *Conn) { time.AfterFunc(20*time.Millisecond, func() { c.Close() }) }, write, net.ErrClosed},
	}
	for _, engine := range engines {
		server, client := x509Pair(t, engine)
		for _, tt := range tests {
			t.Run(string(engine)+" "+tt.name, func(t *testing.T) {
				noneLeft(t)
				a, b := peertest.Pair(t)
				s, c := both(t, a, b, server, client)
				tt.end(c)
				if err := tt.waits(c); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				c.Close()
				s.Close()
			})
		}
	}
}

// After Bind has ended a session no deadline revives it; what was undone ends nothing.
func TestBind(t *testing.T) {
	for _, engine := range engines {
		noneLeft(t)
		a, b := peertest.Pair(t)
		server, client := x509Pair(t, engine)
		s, c := both(t, a, b, server, client)
		ctx, cancel := context.WithCancel(t.Context())
		if stop := s.Bind(ctx); !stop() {
			t.Error("Bind cannot be undone")
		}
		c.Bind(ctx)
		cancel()
		for c.cause.Load() == nil {
			time.Sleep(time.Millisecond)
		}
		must(t, c.SetDeadline(time.Now().Add(time.Hour)))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", engine, err)
		}
		must(t, s.SetReadDeadline(time.Now().Add(time.Millisecond)))
		if _, err := s.Read(make([]byte, 1)); errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", engine, err)
		}
		c.Close()
		s.Close()
	}
}

// Nothing can be read or written before the peer has been checked, by whatever
// way.
func TestUnchecked(t *testing.T) {
	for _, engine := range engines {
		_, b := peertest.Pair(t)
		_, client := x509Pair(t, engine)
		c, err := NewConn(b, client)
		must(t, err)
		_, err1 := c.Read(make([]byte, 1))
		_, err2 := c.Write([]byte("x"))
		_, err3 := c.WriteTo(io.Discard)
		_, err4 := c.ReadFrom(strings.NewReader("x"))
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, errUnchecked) {
				t.Errorf("%s, way %d: %v", engine, i, err)
			}
		}
	}
}

// Pending tells what Read would bring at once, also where crypto/tls does not.
func TestPending(t *testing.T) {
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			noneLeft(t)
			server, client := x509Pair(t, engine)
			s, c := shaken(t, server, client)
			if n := s.Pending(); n != 0 {
				t.Errorf("Pending before anything came: %d", n)
			}
			for range 2 {
				_, err := c.Write([]byte(greeting))
				must(t, err)
			}
			carryAll(c, s)
			if n := s.Pending(); n != len(greeting) {
				t.Errorf("Pending: %d, want %d", n, len(greeting))
			}
			buf := make([]byte, 5)
			for want := 2 * len(greeting); want > 0; {
				n, err := s.Read(buf)
				must(t, err)
				if want -= n; (s.Pending() > 0) != (want > 0) {
					t.Errorf("Pending is %d while %d octets are to come", s.Pending(), want)
				}
			}
			if _, err := s.Read(buf); !errors.Is(err, ErrWantInput) {
				t.Errorf("Read without input: %v", err)
			}
			s.Close()
			c.Close()
		})
	}
}

// shaken returns sessions whose handshake is complete and whose peers have been checked.
func shaken(t testing.TB, server, client Options) (s, c *Session) {
	t.Helper()
	s, err := New(server)
	must(t, err)
	c, err = New(client)
	must(t, err)
	for {
		a, err := c.Handshake()
		must(t, err)
		b, err := s.Handshake()
		must(t, err)
		if a == Complete && b == Complete {
			break
		}
		carryAll(c, s)
		carryAll(s, c)
	}
	must(t, errors.Join(s.CheckPeer(), c.CheckPeer()))
	return s, c
}

// carryAll brings what one session has to send to another.
func carryAll(from, to *Session) {
	for out := from.Output(); len(out) > 0; out = from.Output() {
		n := to.Feed(out)
		from.Sent(n)
		if n == 0 {
			return
		}
	}
}
