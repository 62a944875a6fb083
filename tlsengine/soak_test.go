package tlsengine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// A duplex is an engine on a connection that one goroutine reads and another
// writes.
type duplex struct {
	conn
	writing sync.Mutex
}

func (d *duplex) Read(p []byte) (int, error) {
	for {
		n, err := d.Engine.Read(p)
		if !errors.Is(err, ErrWantInput) {
			return n, err
		}
		if d.writing.TryLock() { // an answer may be owed; a writer at work sends it too
			err := d.flush()
			d.writing.Unlock()
			if err != nil {
				return 0, err
			}
		}
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
}

func (d *duplex) Write(p []byte) (int, error) {
	d.writing.Lock()
	defer d.writing.Unlock()
	return d.conn.Write(p)
}

// soakTime is how long each soak test runs.
func soakTime() time.Duration {
	if full() {
		return 2 * time.Minute
	}
	return time.Second
}

const (
	soakRecords = 64   // under one key
	soakLine    = 1000 // octets of a record
)

// soakLimits change the key every 64 records.
var soakLimits = Limits{RecordsPerKey: soakRecords}

// soak writes lines for a time, at most so many a second, while
// what comes back is read and compared. Twice a second the peer is asked for
// another key, too: an answer more often than [Limits] has it is a flood.
func soak(t *testing.T, d *duplex, perSecond int, lasts time.Duration) {
	t.Helper()
	var written atomic.Int64
	end := time.Now().Add(lasts)
	must(t, d.SetDeadline(end.Add(30*time.Second)))
	wrote := make(chan error, 1)
	line := func(n int64) []byte {
		text := fmt.Sprintf("%d ", n)
		return append([]byte(text), append(bytes.Repeat([]byte{'x'}, soakLine-1-len(text)), '\n')...)
	}
	go func() {
		wrote <- func() error {
			asked := time.Now()
			for n := int64(0); n < 3*soakRecords || time.Now().Before(end); n++ { // however slow the machine
				if time.Since(asked) > time.Second/2 {
					asked = time.Now()
					if err := d.KeyUpdate(true); err != nil {
						return err
					}
				}
				if _, err := d.Write(line(n)); err != nil {
					return err
				}
				written.Store(n + 1)
				if perSecond > 0 {
					time.Sleep(time.Second / time.Duration(perSecond))
				}
			}
			return nil
		}()
	}()
	got, done := make([]byte, soakLine), false
	for n := int64(0); ; n++ {
		for !done && n == written.Load() {
			select {
			case err := <-wrote:
				must(t, err)
				done = true
			case <-time.After(time.Millisecond):
			}
		}
		if done && n == written.Load() {
			break
		}
		if _, err := io.ReadFull(d, got); err != nil {
			t.Fatalf("after %d lines: %v", n, err)
		}
		if !bytes.Equal(got, line(n)) {
			t.Fatalf("line %d is %.40q", n, got)
		}
	}
	d.out.mu.Lock()
	defer d.out.mu.Unlock()
	if n := written.Load(); n < 2*soakRecords || d.out.keys.Sealed() > soakRecords {
		t.Errorf("%d records written, %d under the last key", n, d.out.keys.Sealed())
	}
	t.Logf("%d records of %d octets, a key for %d", written.Load(), soakLine, soakRecords)
}

// crypto/tls answers an asked-for KeyUpdate, in both roles.
func TestSoakCryptoTLS(t *testing.T) {
	ca := newCA(t, "ec")
	id := ca.newLeaf(t, "ec")
	for _, ourServer := range []bool{false, true} {
		t.Run(fmt.Sprintf("our server %v", ourServer), func(t *testing.T) {
			a, b := peertest.Pair(t)
			cfg := Config{Identities: []Identity{id.Identity}, RequestCertificate: true, Limits: soakLimits}
			start, peer := Client, tls.Server
			if ourServer {
				start, peer = Server, tls.Client
			}
			e, err := start(&cfg)
			must(t, err)
			std := peer(b, stdConfig(ca, id))
			var echoes sync.WaitGroup
			echoes.Go(func() { io.Copy(std, std); std.Close() })
			d := &duplex{conn: conn{a, e}}
			must(t, d.handshake())
			soak(t, d, 0, soakTime())
			a.Close()
			echoes.Wait()
		})
	}
}

// Both ends are ours, and both change their keys. The clock of the receiving
// half runs ahead: what is a flood for others is meant here.
func TestSoakOwn(t *testing.T) {
	var ticks atomic.Int64
	fast := func() time.Time { return time.Unix(ticks.Add(1), 0) }
	a, b := peertest.Pair(t)
	client, err := Client(&Config{PSK: testPSK, Limits: soakLimits, Time: fast})
	must(t, err)
	server, err := Server(&Config{FindPSK: findPSK(testPSK), Limits: soakLimits, Time: fast})
	must(t, err)
	d, s := &duplex{conn: conn{a, client}}, &duplex{conn: conn{b, server}}
	var echoes sync.WaitGroup
	echoes.Go(func() {
		if err := s.handshake(); err == nil {
			io.Copy(s, s)
		}
		b.Close()
	})
	must(t, d.handshake())
	soak(t, d, 0, soakTime())
	a.Close()
	echoes.Wait()
}

// GnuTLS takes at most 8 KeyUpdates in a second, so there are 250 records in one:
// 6 KeyUpdates with those that ask for an answer, and some to spare for a GnuTLS
// that has to catch up.
func TestSoakGnutls(t *testing.T) {
	dir := keysFile(t, testPSK)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		t.Run("our client", func(t *testing.T) {
			met(t, g, peertest.GnuTLS, "gnutls-serv", "client", "soak: a key for 64 records")
			server := g.GnutlsServ(t, peertest.Options{}, "--echo", "--pskpasswd", dir+"/keys.psk", "--priority", qemuPriority).Ready()
			// gnutls-serv ends every connection after 30 to 45 seconds, busy or not.
			const most = 20 * time.Second
			for left := soakTime(); left > 0; left -= most {
				d := &duplex{conn: dial(t, server.Port, Config{PSK: testPSK, Limits: soakLimits})}
				must(t, d.handshake())
				soak(t, d, 250, min(left, most))
				d.Conn.Close()
			}
		})
		t.Run("our server", func(t *testing.T) {
			met(t, g, peertest.GnuTLS, "gnutls-cli", "server", "soak: a key for 64 records")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			must(t, err)
			defer l.Close()
			const lines = 300
			got := make(chan error, 1)
			go func() {
				got <- func() error {
					nc, err := l.Accept()
					if err != nil {
						return err
					}
					defer nc.Close()
					nc.SetDeadline(time.Now().Add(25 * time.Second))
					e, err := Server(&Config{FindPSK: findPSK(testPSK), Limits: soakLimits})
					if err != nil {
						return err
					}
					d := &duplex{conn: conn{nc, e}}
					if err := d.handshake(); err != nil {
						return err
					}
					wrote := make(chan error, 1)
					go func() { // while what the client sends is read
						var err error
						for n := 0; n < lines && err == nil; n++ {
							_, err = fmt.Fprintf(d, "line %d\n", n)
							time.Sleep(time.Second / 250)
						}
						wrote <- err
					}()
					if _, err := io.CopyN(io.Discard, d, 100_000); err != nil {
						return errors.Join(err, errors.New("reading"))
					}
					err = <-wrote
					d.CloseWrite()
					return errors.Join(err, d.flush())
				}()
			}()
			text := strings.Repeat(strings.Repeat("x", 99)+"\n", 1000)
			r := g.Run(t, peertest.Options{Stdin: strings.NewReader(text)}, "gnutls-cli", "--pskusername", string(testPSK.Identity),
				"--pskkey", fmt.Sprintf("%x", testPSK.Key), "--priority", qemuPriority, "-p", fmt.Sprint(l.Addr().(*net.TCPAddr).Port), "127.0.0.1")
			if err := <-got; err != nil || !strings.Contains(r.Stdout, fmt.Sprintf("line %d\n", lines-1)) {
				t.Errorf("%v\n%s\n%s", err, r.Stderr, r.Stdout[max(0, len(r.Stdout)-200):])
			}
		})
	})
}
