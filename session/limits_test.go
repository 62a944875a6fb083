package session

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
)

// record is a TLS record.
func record(typ byte, content []byte) []byte {
	return append([]byte{typ, 3, 3, byte(len(content) >> 8), byte(len(content))}, content...)
}

// What a peer sends that is no handshake ends it soon, with bounded memory, an
// alert where that can be, and no goroutine left.
func TestBadPeers(t *testing.T) {
	huge := append([]byte{1, 0xff, 0xff, 0xff}, make([]byte, 16000)...) // a ClientHello of 16 MiB
	for _, tt := range []struct {
		name string
		says []byte
		many bool // again and again, until nobody reads
		want string
	}{
		{"nothing, and it goes", nil, false, "EOF"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), false, ""},
		{"NBD", []byte("NBDMAGICIHAVEOPT"), false, ""},
		{"zeros", make([]byte, 1000), false, ""},
		{"a record that is too long", []byte{22, 3, 3, 0xff, 0xff, 0}, false, ""},
		{"half a record", record(22, make([]byte, 100))[:50], false, "EOF"},
		{"a message that is too long", record(22, huge), true, ""},
		{"empty records", record(22, nil), true, ""},
		{"warnings", record(21, []byte{1, 90}), true, ""},
		{"a fatal alert", record(21, []byte{2, 40}), false, ""},
		{"application data", record(23, make([]byte, 100)), false, ""},
		{"change_cipher_spec", record(20, []byte{1}), true, ""},
	} {
		for _, engine := range engines {
			for _, end := range []creds.Endpoint{creds.Server, creds.Client} {
				t.Run(tt.name+" "+string(engine)+" "+end.String(), func(t *testing.T) {
					noneLeft(t)
					server, client := x509Pair(t, engine)
					o := server
					if end == creds.Client {
						o = client
					}
					a, b := peertest.Pair(t)
					sent := make(chan int, 1)
					go func() {
						total := 0
						b.SetDeadline(time.Now().Add(10 * time.Second))
						for first := true; first || tt.many; first = false {
							n, err := b.Write(tt.says)
							if total += n; err != nil || total > 8<<20 {
								break
							}
						}
						b.(*net.TCPConn).CloseWrite()
						io.Copy(io.Discard, b)
						sent <- total
					}()
					start := time.Now()
					_, err := Open(t.Context(), a, o)
					a.Close()
					if err == nil || !strings.Contains(err.Error(), tt.want) || codeOf(err) != "handshake-failed" {
						t.Errorf("got %v", err)
					}
					if d := time.Since(start); d > 5*time.Second {
						t.Errorf("it took %v", d)
					}
					<-sent
				})
			}
		}
	}
}

// Garbage instead of records, after the handshake: Read says so, and the
// session is over.
func TestGarbageLater(t *testing.T) {
	for _, engine := range engines {
		for _, garbage := range [][]byte{[]byte("NBDMAGIC"), record(23, make([]byte, 100)), record(23, make([]byte, 5)), {23, 3, 3, 0xff, 0xff, 1}} {
			noneLeft(t)
			server, client := x509Pair(t, engine)
			a, b := peertest.Pair(t)
			s, c := both(t, a, b, server, client)
			_, err := b.Write(garbage)
			must(t, err)
			b.(*net.TCPConn).CloseWrite()
			must(t, s.SetDeadline(time.Now().Add(5*time.Second)))
			if n, err := s.Read(make([]byte, 100)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("%s: %q: %d, %v", engine, garbage[:5], n, err)
			}
			s.Close()
			c.Close()
		}
	}
}

// FuzzSession feeds a session what a peer might say: it neither panics nor
// hangs, nor does it believe anybody.
func FuzzSession(f *testing.F) {
	dir := newAuthority(f, "").dir(want{})
	server, client := load(f, creds.X509Options{Dir: dir, Endpoint: creds.Server}), load(f, creds.X509Options{Dir: dir})
	hello, err := New(Options{Credentials: client, Hostname: "localhost", Engine: Native})
	must(f, err)
	_, err = hello.Handshake()
	must(f, err)
	f.Add(bytes.Clone(hello.Output()), 7, true, true)
	f.Add([]byte("NBDMAGIC"), 1, false, true)
	f.Add(record(22, make([]byte, 100)), 200, true, false)
	f.Fuzz(func(t *testing.T, data []byte, step int, std, isServer bool) {
		o := Options{Credentials: client, Hostname: "localhost", Engine: Native}
		if isServer {
			o = Options{Credentials: server, Engine: Native}
		}
		if std {
			o.Engine = Std
		}
		s, err := New(o)
		must(t, err)
		defer s.Close()
		step = max(1, step)
		for {
			status, err := s.Handshake()
			s.Sent(len(s.Output()))
			if err != nil {
				return
			}
			if status == Complete {
				t.Fatal("a handshake with nobody is complete")
			}
			n := s.Feed(data[:min(step, len(data))])
			if data = data[n:]; n == 0 {
				return
			}
		}
	})
}
