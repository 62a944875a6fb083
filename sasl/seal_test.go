package sasl

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// plainSeal frames and checks, and encrypts nothing.
type plainSeal struct{}

func (plainSeal) SSF() int                      { return 0 }
func (plainSeal) MaxPlain() int                 { return 100 }
func (plainSeal) Wrap(p []byte) ([]byte, error) { return append([]byte("!"), p...), nil }
func (plainSeal) Unwrap(p []byte) ([]byte, error) {
	if len(p) == 0 || p[0] != '!' || len(p) > 101 {
		return nil, errors.New("forged")
	}
	return p[1:], nil
}

// stream is a connection that says something and ends.
type stream struct {
	net.Conn
	io.Reader
	written bytes.Buffer
}

func (s *stream) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s *stream) Write(p []byte) (int, error) { return s.written.Write(p) }

// Whatever a peer sends is read up to the first frame that is bad, and written
// it is read again.
func FuzzSealConn(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03!ab\x00\x00\x00\x01!\x00\x00\x00\x02!c"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out stream
		c := SealConn(&out, plainSeal{})
		if n, err := c.Write(data); n != len(data) || err != nil {
			t.Fatalf("%d octets of %d, %v", n, len(data), err)
		}
		got, err := io.ReadAll(SealConn(&stream{Reader: &out.written}, plainSeal{}))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%q comes back as %q, %v", data, got, err)
		}
		c = SealConn(&stream{Reader: bytes.NewReader(data)}, plainSeal{})
		got, err = io.ReadAll(c)
		if len(got) > len(data) {
			t.Errorf("%d octets are %d", len(data), len(got))
		}
		if n, again := c.Read(make([]byte, 1)); err != nil && (n != 0 || again != err) {
			t.Errorf("after %v comes %d, %v", err, n, again)
		}
	})
}

// Offers and choices of the mechanism that a program gives.
func TestMechanismThatIsGiven(t *testing.T) {
	get := accounts(t)
	for _, tt := range []struct {
		name   string
		server Server
		layer  Layer
		want   []string
	}{
		{"alone", Server{GSSAPI: noMechanism{}}, Layer{}, []string{GSSAPI}},
		{"below TLS", Server{GSSAPI: noMechanism{}, Accounts: get}, secure, append([]string{GSSAPI}, Default...)},
		{"without TLS", Server{GSSAPI: noMechanism{}, Accounts: get}, Layer{}, []string{GSSAPI}},
		{"not listed", Server{GSSAPI: noMechanism{}, Accounts: get, Mechanisms: []string{ScramSHA256}}, secure, []string{ScramSHA256}},
		{"listed and not given", Server{Accounts: get, Mechanisms: []string{GSSAPI, ScramSHA256}}, secure, []string{ScramSHA256}},
		{"ANONYMOUS without accounts", Server{Mechanisms: []string{Anonymous, Plain}}, secure, []string{Anonymous}},
	} {
		if got := tt.server.Offer(tt.layer); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q; want %q", tt.name, got, tt.want)
		}
	}
	if _, err := NewClient([]string{GSSAPI}, secure, ClientOptions{GSSAPI: noMechanism{}, Subject: "host"}); err == nil || err.Error() != "host: a SASL exchange failed: found GSSAPI: no ticket" {
		t.Errorf("got %v", err)
	}
	if err := (&Server{}).Check(Login{"fred", []byte(secret)}); err == nil {
		t.Error("a server without accounts lets somebody in")
	}
}

type noMechanism struct{}

func (noMechanism) Start(Layer) (Steps, error) { return nil, errors.New("no ticket") }

// A deadline that passes in the middle of a message loses nothing of it.
func TestSealConnDeadline(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	message := []byte("\x00\x00\x00\x03!ab")
	go func() {
		for _, octet := range message {
			a.Write([]byte{octet})
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		a.Close()
	}()
	c := SealConn(b, plainSeal{})
	var got bytes.Buffer
	waits := 0
	for {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := c.WriteTo(&got)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if c.plain != nil {
			t.Fatal("while it waits it keeps what was read")
		}
		waits++
	}
	if got.String() != "ab" || waits == 0 {
		t.Errorf("got %q after %d waits", got.String(), waits)
	}
}

// What no layer protects is not gone on with when the mechanism seals nothing.
func TestMechanismMustSeal(t *testing.T) {
	for _, tt := range []struct {
		name  string
		layer Layer
		seal  Seal
		fine  bool
	}{
		{"no layer and no seal", Layer{}, nil, false},
		{"no layer and a weak seal", Layer{}, plainSeal{}, false},
		{"TLS", secure, nil, true},
		{"a UNIX socket", Layer{Local: true}, nil, true},
	} {
		s := Server{GSSAPI: seals{tt.seal}}
		e, err := s.Start(GSSAPI, tt.layer)
		must(t, err)
		if _, done, err := e.Step([]byte("x")); done != tt.fine || (err == nil) != tt.fine {
			t.Errorf("%s: the server: %v, %v", tt.name, done, err)
		}
		c, err := NewClient([]string{GSSAPI}, tt.layer, ClientOptions{GSSAPI: seals{tt.seal}})
		must(t, err)
		if _, err := c.Step(nil); (err == nil) != tt.fine {
			t.Errorf("%s: the client: %v", tt.name, err)
		}
	}
}

// seals is a mechanism of one step.
type seals struct{ seal Seal }

func (s seals) Start(Layer) (Steps, error)                   { return s, nil }
func (s seals) Step([]byte) (out []byte, ok bool, err error) { return nil, true, nil }
func (s seals) User() string                                 { return "fred" }
func (s seals) Seal() Seal                                   { return s.seal }
