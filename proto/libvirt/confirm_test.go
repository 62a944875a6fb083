package libvirt

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"virtls/finding"
)

// connected returns the ends of a TCP connection.
func connected(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestConfirmation(t *testing.T) {
	tests := []struct {
		name   string
		server func(net.Conn)
		code   string // of the failure, empty for none
	}{
		{"accepted", func(c net.Conn) { Confirm(t.Context(), c) }, ""},
		{"closed", func(c net.Conn) { c.Close() }, "libvirt-unconfirmed"},
		{"another byte", func(c net.Conn) { c.Write([]byte{0}) }, "libvirt-confirmation-wrong"},
		{"nothing", func(net.Conn) {}, "libvirt-confirmation-late"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, server := connected(t)
			tt.server(server)
			limit := 5 * time.Second
			if tt.code == kindConfirmationLate.Code {
				limit = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := AwaitConfirmation(ctx, client)
			code := ""
			if f, ok := errors.AsType[*finding.Failure](err); ok {
				code = f.Code
			}
			if code != tt.code || (err == nil) != (code == "") {
				t.Errorf("got %v, want %q", err, tt.code)
			}
		})
	}
}

// A cancelled wait ends at once, and leaves a connection that can be used.
func TestConfirmationCancelled(t *testing.T) {
	client, server := connected(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := AwaitConfirmation(ctx, client); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := Confirm(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	if err := AwaitConfirmation(t.Context(), client); err != nil {
		t.Fatal(err)
	}
}
