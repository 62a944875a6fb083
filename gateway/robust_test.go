package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
)

// native returns credentials that our own engine serves.
func native(t testing.TB, dir string, end creds.Endpoint) *creds.Holder {
	t.Helper()
	h, err := creds.NewHolder(t.Context(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
		c, w, err := creds.LoadX509(creds.X509Options{Dir: dir, Endpoint: end, Priority: "NORMAL"})
		if err != nil {
			return nil, nil, err
		}
		return c, w, nil
	})
	must(t, err)
	return h
}

// goroutinesEnd wants no more goroutines than there were.
func goroutinesEnd(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// Clients that send nothing, too little or nonsense are gone in time, with a line
// in the log and nothing left behind.
func TestHostileClients(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	for _, engine := range []struct {
		name   string
		holder *creds.Holder
	}{{"crypto/tls", holder(t, dir, creds.Server)}, {"our engine", native(t, dir, creds.Server)}} {
		for _, tt := range []struct {
			name string
			send func(net.Conn)
			want []string
		}{
			{"half-open", func(net.Conn) {}, []string{"verdict=refused", "code=handshake-failed", "not complete in time"}},
			{"slow", func(c net.Conn) {
				for _, b := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") {
					c.Write([]byte{b})
					time.Sleep(50 * time.Millisecond)
				}
			}, []string{"verdict=refused", "code=handshake-failed", "not complete in time"}},
			{"garbage", func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") }, []string{"verdict=refused", "code=handshake-failed"}},
			{"oversized record", func(c net.Conn) { c.Write(append([]byte{0x16, 3, 3, 0xff, 0xff}, make([]byte, 1<<16)...)) }, []string{"verdict=refused", "code=handshake-failed"}},
			{"oversized hello", func(c net.Conn) {
				record := append([]byte{0x16, 3, 3, 0x40, 0}, make([]byte, 1<<14)...)
				copy(record[5:], []byte{1, 0xff, 0xff, 0xff})
				for range 20 {
					if _, err := c.Write(record); err != nil {
						return
					}
				}
			}, []string{"verdict=refused", "code=handshake-failed"}},
			{"gone", func(c net.Conn) { c.Close() }, []string{"verdict=refused", "code=handshake-failed"}},
		} {
			t.Run(engine.name+" "+tt.name, func(t *testing.T) {
				gw := run(t, Options{
					Listen: Side{address(t, "tls://127.0.0.1:0"), engine.holder}, HandshakeLimit: 300 * time.Millisecond,
					Connect: Side{Address: address(t, "unix:///nonexistent/service")},
				})
				before := runtime.NumGoroutine()
				c := gw.dial(t)
				start := time.Now()
				go tt.send(c)
				gw.log.await(t, append(tt.want, "peer=127.0.0.1:", "mend=")...)
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				c.Close()
				goroutinesEnd(t, before)
				if n := gw.count(); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		}
	}
}

// What is no TLS after the handshake ends the connection, and the service sees
// that it was cut.
func TestGarbageAfterHandshake(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	for _, h := range []*creds.Holder{holder(t, dir, creds.Server), native(t, dir, creds.Server)} {
		ended := make(chan error, 1)
		gw := run(t, Options{
			Listen: Side{address(t, "tls://127.0.0.1:0"), h},
			Connect: Side{Address: address(t, serve(t, "tcp", func(c net.Conn) {
				_, err := io.Copy(c, c)
				ended <- err
			}))},
		})
		c, err := gw.open(t, dir)
		must(t, err)
		exchange(t, c, "hello")
		before := runtime.NumGoroutine()
		_, err = c.NetConn().Write(append([]byte{0x17, 3, 3, 0, 32}, make([]byte, 32)...))
		must(t, err)
		gw.log.await(t, "msg=closed", "reason=")
		if err := <-ended; err == nil {
			t.Error("the service takes a cut connection for one that has ended")
		}
		goroutinesEnd(t, before)
	}
}

// Half-closing passes through in both directions.
func TestHalfClose(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	gw := run(t, Options{
		Listen: Side{address(t, "tls://127.0.0.1:0"), holder(t, dir, creds.Server)},
		Connect: Side{Address: address(t, serve(t, "unix", func(c net.Conn) {
			all, err := io.ReadAll(c)
			if err == nil {
				c.Write([]byte(strings.ToUpper(string(all))))
			}
		}))},
	})
	c, err := gw.open(t, dir)
	must(t, err)
	text := strings.Repeat("a question ", 100000)
	go func() {
		io.WriteString(c, text)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	must(t, err)
	if string(got) != strings.ToUpper(text) {
		t.Errorf("got %d octets, want %d", len(got), len(text))
	}
	gw.log.await(t, "msg=closed")
}

// Limits and addresses are judged before the handshake.
func TestLimits(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	service := address(t, serve(t, "unix", echo))
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"total", Options{MaxConnections: 1}, "code=gateway-full"},
		{"per client", Options{MaxPerClient: 1}, "code=gateway-full"},
		{"idle", Options{IdleLimit: time.Second}, `reason="nothing was sent for the time`},
		{"service is gone", Options{Connect: Side{Address: address(t, "unix:///nonexistent/service")}}, "code=gateway-service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.o
			o.Listen = Side{address(t, "tls://127.0.0.1:0"), holder(t, dir, creds.Server)}
			if o.Connect.Address.url == "" {
				o.Connect.Address = service
			}
			gw := run(t, o)
			c, err := gw.open(t, dir)
			must(t, err)
			if tt.name != "service is gone" {
				exchange(t, c, "hello")
			}
			if strings.HasPrefix(tt.want, "code=gateway-full") {
				if _, err := gw.open(t, dir); err == nil {
					t.Error("a second connection is let in")
				}
				gw.log.await(t, "verdict=refused", tt.want)
				c.Close()
				gw.log.await(t, "msg=closed")
				c, err = gw.open(t, dir)
				must(t, err)
				exchange(t, c, "again")
				return
			}
			gw.log.await(t, tt.want)
		})
	}
}

// Clients wait for their own earlier connections and for nobody else's, over UNIX
// sockets, too, where they have no addresses.
func TestQueueByClient(t *testing.T) {
	var q queue
	first := q.enter("unix:pid=1,uid=0")
	if other := q.enter("unix:pid=2,uid=0"); other.ahead != nil {
		t.Error("one process waits for another")
	}
	if second := q.enter("unix:pid=1,uid=0"); second.ahead != first.done {
		t.Error("a process does not wait for its own earlier connection")
	}
	gw := run(t, Options{Listen: Side{Address: address(t, "unix://"+filepath.Join(peertest.SocketDir(t), "s"))}, Connect: Side{Address: address(t, serve(t, "unix", echo))}})
	c := gw.dial(t)
	exchange(t, c, "hello")
	if want := fmt.Sprintf("unix:pid=%d,", os.Getpid()); !strings.HasPrefix(gw.Status().Connections[0].Peer, want) {
		t.Errorf("the peer is %s, want %s", gw.Status().Connections[0].Peer, want)
	}
}

// Names and addresses of the access list.
func TestAccess(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	service := address(t, serve(t, "unix", echo))
	for _, tt := range []struct {
		name        string
		names, from []string
		want        string // empty: let in
	}{
		{"name and network", []string{"O=Example,CN=local*"}, []string{"127.0.0.0/8", "192.0.2.1"}, ""},
		{"network alone", nil, []string{"127.0.0.1"}, ""},
		{"networks with a comma", nil, []string{"192.0.2.0/24,127.0.0.1"}, ""},
		{"an IPv4 network written as an IPv6 one", nil, []string{"::ffff:127.0.0.0/104"}, ""},
		{"another network written as an IPv6 one", nil, []string{"::ffff:192.0.2.0/120"}, "code=gateway-address-denied"},
		{"another network", nil, []string{"192.0.2.0/24", "2001:db8::/32"}, "code=gateway-address-denied"},
		{"another name", []string{"O=Example,CN=other"}, nil, "code=peer-denied"},
		{"name turned round", []string{"CN=localhost,O=Example"}, nil, "turn the pattern CN=localhost,O=Example round"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			access, err := AccessFor(tt.names, tt.from)
			must(t, err)
			gw := run(t, Options{Listen: Side{address(t, "tls://127.0.0.1:0"), holder(t, dir, creds.Server)}, Connect: Side{Address: service}, Access: access})
			c, err := gw.open(t, dir)
			if err == nil {
				err = tryExchange(c, "hello")
			}
			if (err == nil) != (tt.want == "") {
				t.Fatalf("the exchange ends with %v", err)
			}
			if tt.want != "" {
				gw.log.await(t, "verdict=refused", tt.want)
			}
		})
	}
}

// What is left of rules whose values are missing does not let in everybody.
func TestAccessRefused(t *testing.T) {
	for _, tt := range []struct {
		name        string
		names, from []string
	}{
		{"an empty name", []string{""}, nil},
		{"an empty name among others", []string{"CN=a", ""}, nil},
		{"an empty name with a network", []string{""}, []string{"192.0.2.0/24"}},
		{"an empty network", nil, []string{""}},
		{"an empty network behind a comma", nil, []string{"192.0.2.1,"}},
		{"a zone", nil, []string{"fe80::1%eth0"}},
		{"bits to the right", nil, []string{"::ffff:192.0.2.1/120"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if rules, err := AccessFor(tt.names, tt.from); finding.Of(err).Code != "gateway-access" {
				t.Errorf("%v, %v", rules, err)
			}
		})
	}
}

// What a client calls itself is no line of the log, in neither form of it, and no
// command to a terminal.
func TestNamesInTheLog(t *testing.T) {
	ca := shared().ca
	const name = "eve\ntime=2030 level=INFO msg=accepted verdict=accepted \x1b]0;title\x07 \"quoted\""
	gw := run(t, Options{
		Listen:  Side{address(t, "tls://127.0.0.1:0"), holder(t, ca.dir(t, "localhost", "ec"), creds.Server)},
		Connect: Side{Address: address(t, serve(t, "unix", echo))}, Access: Access{{DN: "O=Example,CN=admin"}},
	})
	if c, err := gw.open(t, ca.dir(t, name, "ec")); err == nil {
		err = tryExchange(c, "hello")
		if err == nil {
			t.Error("the client was let in")
		}
	}
	gw.log.await(t, "verdict=refused", "code=peer-denied", "eve")
	for line := range strings.Lines(gw.log.String()) {
		if !strings.Contains(line, " gateway=tls ") || strings.HasPrefix(line, "time=2030") || strings.ContainsAny(line, "\x1b\x07") {
			t.Errorf("a line that was forged: %q", line)
		}
	}
}

// Stopping lets connections end, and cuts them only after the limit.
func TestDrain(t *testing.T) {
	dir := shared().ca.dir(t, "localhost", "ec")
	for _, patient := range []bool{true, false} {
		o := Options{Listen: Side{address(t, "tls://127.0.0.1:0"), holder(t, dir, creds.Server)}, Connect: Side{Address: address(t, serve(t, "tcp", echo))}}
		if !patient {
			o.DrainLimit = 100 * time.Millisecond
		}
		gw := run(t, o)
		c, err := gw.open(t, dir)
		must(t, err)
		exchange(t, c, "hello")
		stopped := make(chan error, 1)
		go func() { stopped <- gw.stop() }()
		gw.log.await(t, "msg=draining", "connections=1")
		if _, err := net.Dial("tcp", gw.Addr().String()); err == nil {
			t.Error("the gateway still listens")
		}
		if patient {
			exchange(t, c, "still here")
			c.Close()
		} else {
			gw.log.await(t, "msg=closed", errCut.Error())
		}
		must(t, <-stopped)
	}
}

// A socket that nobody listens on is replaced, one in use is not, and a file
// never.
func TestUNIXListener(t *testing.T) {
	path := filepath.Join(peertest.SocketDir(t), "listener")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	o := Options{Listen: Side{Address: address(t, "unix://"+path+"?mode=0600")}, Connect: Side{Address: address(t, "tcp://127.0.0.1:1")}}
	g, err := New(o)
	must(t, err)
	if err := g.Listen(t.Context()); finding.Of(err).Code != "gateway-listen" {
		t.Errorf("a socket in use: %v", err)
	}
	l.Close()
	gw := run(t, o)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	gw.dial(t)
	gw.log.await(t, "code=gateway-service", "peer=\"unix:pid=")
	must(t, gw.stop())
	must(t, os.WriteFile(path, nil, 0o600))
	if err := g.Listen(t.Context()); err == nil {
		t.Error("a file was taken for a socket")
	}
}

// A faulty listener's Accept fails in each of these ways, then takes a connection.
type faulty struct {
	net.Listener
	errs []error
}

func (f *faulty) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.Listener.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

// What is wrong with one connection, or for a while, does not end a gateway.
func TestAcceptFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		errs []error
		ends bool
	}{
		{"files", []error{syscall.EMFILE, syscall.ENFILE}, false},
		{"the connection", []error{syscall.ECONNABORTED, syscall.EPROTO}, false},
		{"the network", []error{syscall.ENETDOWN, syscall.EHOSTUNREACH}, false},
		{"a firewall", []error{syscall.EPERM, syscall.EACCES}, false},
		{"the socket", []error{syscall.EBADF}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := New(Options{Listen: Side{Address: address(t, "tcp://127.0.0.1:0")}, Connect: Side{Address: address(t, "tcp://127.0.0.1:1")}})
			must(t, err)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			c, err := net.Dial("tcp", l.Addr().String())
			must(t, err)
			defer c.Close()
			ctx, cancel := context.WithCancel(t.Context())
			came := false
			err = g.accept(ctx, &faulty{l, tt.errs}, func(nc net.Conn) {
				came = true
				nc.Close()
				cancel()
				l.Close()
			})
			cancel()
			l.Close()
			if came == tt.ends || (err != nil) != tt.ends {
				t.Errorf("a client came in: %v; %v", came, err)
			}
		})
	}
}

// A client that has a network of IPv6 addresses is one client.
func TestPerClientIPv6(t *testing.T) {
	g := &Gateway{o: Options{MaxConnections: 10, MaxPerClient: 1}, conns: map[*connection]struct{}{}, perClient: map[string]int{}}
	admit := func(addr string) (*connection, error) {
		c := &connection{g: g, addr: netip.MustParseAddr(addr)}
		return c, g.admit(c)
	}
	first, err := admit("2001:db8::1")
	must(t, err)
	if _, err := admit("2001:db8::ffff:2"); finding.Of(err).Code != "gateway-full" || !strings.Contains(err.Error(), "2001:db8::/64") {
		t.Errorf("another address of the client: %v", err)
	}
	for _, other := range []string{"2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"} {
		if _, err := admit(other); err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
	g.forget(first)
	if _, err := admit("2001:db8::ffff:2"); err != nil {
		t.Errorf("after the first has left: %v", err)
	}
}
