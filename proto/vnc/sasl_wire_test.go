package vnc

import (
	"net"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/session"
)

// plainWith is the choice of PLAIN with initial data, whose length is part of it.
func plainWith(data string) string { return "\x00\x00\x00\x05PLAIN" + data }

// saslRefusals are refusals octet by octet, below VeNCrypt with certificates:
// what a client says, and all that comes back after the list of mechanisms. QEMU
// tells nothing of a failed exchange (ui/vnc-auth-sasl.c).
var saslRefusals = []struct{ name, says, answer string }{
	{"no mechanism", "\x00\x00\x00\x00", ""},
	{"unknown mechanism", "\x00\x00\x00\x04NOPE", ""},
	{"part of a name", "\x00\x00\x00\x05SCRAM", ""},
	// QEMU takes any part of its list between commas for a name, and Cyrus SASL refuses it.
	{"two names", "\x00\x00\x00\x13SCRAM-SHA-256,PLAIN" + "\x00\x00\x00\x00", ""},
	{"lower case", "\x00\x00\x00\x05plain", ""},
	{"name of 101 octets", "\x00\x00\x00\x65" + strings.Repeat("P", 101), ""},
	{"name of 4 GiB", "\xff\xff\xff\xff", ""},
	{"message without NUL", plainWith("\x00\x00\x00\x02xy"), ""},
	{"message of more than a MiB", plainWith("\x00\x10\x00\x01"), ""},
	{"wrong password", plainWith("\x00\x00\x00\x0c\x00fred\x00f4lse\x00"), ""},
	{"empty password", plainWith("\x00\x00\x00\x07\x00fred\x00\x00"), ""},
	{"as another user", plainWith("\x00\x00\x00\x13root\x00fred\x00" + password + "\x00"), ""},
	{"no user", plainWith("\x00\x00\x00\x01\x00"), ""},
}

// belowTLS goes as far as to the list of mechanisms, which it returns as it came.
func belowTLS(t testing.TB, c net.Conn, x func() session.Options) (tls net.Conn, list string) {
	t.Helper()
	n, err := Begin(t.Context(), c, Options{})
	must(t, err)
	_, err = n.Subtypes(t.Context())
	must(t, err)
	must(t, n.Choose(t.Context(), X509SASL))
	s, err := session.Open(t.Context(), c, x())
	must(t, err)
	w := wire{Conn: s}
	size := w.bytes(4)
	return s, string(append(size, w.bytes(int(size[3]))...))
}

func TestPeerSASLRefusalsOnTheWire(t *testing.T) {
	x := x509Options(t, creds.Client, "localhost")
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		q := startQEMU(t, g, cyrus(t, g, "scram-sha-256 plain"), ",tls-creds=tls0,sasl=on", object(t, "x509", ""))
		for _, tt := range saslRefusals {
			t.Run(tt.name, func(t *testing.T) {
				c, list := belowTLS(t, q.open(t), x)
				if list != "\x00\x00\x00\x13SCRAM-SHA-256,PLAIN" {
					t.Errorf("a list %q", list)
				}
				wantAnswer(t, c, tt.says, tt.answer)
			})
		}
	})
}

// Our server answers as QEMU does.
func TestServerSASLRefusalsOnTheWire(t *testing.T) {
	x := x509Options(t, creds.Client, "localhost")
	o := ServerOptions{X509: x509Options(t, creds.Server, ""), SASL: saslServer(t)}
	for _, tt := range saslRefusals {
		t.Run(tt.name, func(t *testing.T) {
			address, result := accept(t, o)
			nc, err := net.Dial("tcp", address)
			must(t, err)
			defer nc.Close()
			c, _ := belowTLS(t, nc, x)
			wantAnswer(t, c, tt.says, tt.answer)
			if err := <-result; err == nil || strings.Contains(err.Error(), "f4lse") {
				t.Errorf("the server says %v", err)
			}
		})
	}
}
