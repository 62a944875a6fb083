package console

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"virtls/finding"
	"virtls/internal/peertest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRunScript(t *testing.T) {
	echo := func(c net.Conn) { io.Copy(c, c) }
	broken, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		input  string // \xff: stays open
		peer   func(net.Conn)
		end    End
		shown  string
		failed string
	}{
		{"answers", t.Context(), "one\x1dtwo\n", echo, Said, "one\x1dtwo\n", ""},
		{"a hangup", t.Context(), "\xff", func(c net.Conn) { io.WriteString(c, "bye"); c.Close() }, Hangup, "bye", ""},
		{"a hangup without a word", t.Context(), "\xff", func(c net.Conn) { c.Close() }, Hangup, "", ""},
		{"nothing to say", t.Context(), "", func(c net.Conn) { io.WriteString(c, "welcome"); io.Copy(io.Discard, c) }, Said, "welcome", ""},
		{"the context", broken, "\xff", echo, 0, "", "enough"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go tt.peer(theirs)
			defer theirs.Close()
			in, keyboard, err := os.Pipe()
			must(t, err)
			defer in.Close()
			defer keyboard.Close()
			if tt.input != "\xff" {
				keyboard.WriteString(tt.input)
				keyboard.Close()
			}
			var out peertest.Log
			end, n, err := Run(tt.ctx, ours, Options{In: in, Out: &out, Escape: DefaultEscape, Linger: 50 * time.Millisecond})
			if tt.failed != "" {
				if err == nil || err.Error() != tt.failed {
					t.Errorf("got %v", err)
				}
				return
			}
			must(t, err)
			if end != tt.end || out.String() != tt.shown || n != int64(len(tt.shown)) {
				t.Errorf("end %d, %q of %d octets", end, out.String(), n)
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		code       byte
	}{{"^]", "^]", 0x1d}, {"^a", "^A", 1}, {"^@", "^@", 0}, {"~", "~", '~'}, {"none", "none", 0}} {
		k, err := ParseKey(tt.text)
		if err != nil || k.String() != tt.want || tt.text != "none" && !k.is(tt.code) || tt.text == "none" && k.is(0) {
			t.Errorf("%q: %v, %v", tt.text, k, err)
		}
	}
	for _, text := range []string{"", "^", "^1", "ab", "^]]", "é", "\x1d", " "} {
		if k, err := ParseKey(text); err == nil {
			t.Errorf("%q is read as %v", text, k)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"tls://host:1", "tcp://[::1]:2", "unix:///a", "tls://", "unix://a", "http://x:1", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if (err == nil) != (a.network != "") || err != nil && finding.Of(err).Code != "console-address" {
			t.Errorf("%q: %+v, %v", text, a, err)
		}
	})
}

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct{ text, network, address, host string }{
		{"tls://kvm1.example.com:5555", "tcp", "kvm1.example.com:5555", "kvm1.example.com"},
		{"tcp://[::1]:5555", "tcp", "[::1]:5555", "::1"},
		{"unix:///run/vm.sock", "unix", "/run/vm.sock", ""},
	} {
		a, err := ParseAddress(tt.text)
		if err != nil || a.network != tt.network || a.address != tt.address || a.host != tt.host {
			t.Errorf("%s: %+v, %v", tt.text, a, err)
		}
	}
	for _, text := range []string{"", "host:5555", "tls://host", "tls://:1", "tls://host:1/x", "tls://u@host:1", "unix://run/x", "nbd://host:1"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q is read as %+v", text, a)
		}
	}
	_, err := ParseAddress("localhost:5555")
	if f := finding.Of(err); f.Fix != "tls://localhost:5555 with TLS, tcp://localhost:5555 without" {
		t.Errorf("%+v", f)
	}
}

func TestDialRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l.Close()
	for _, tt := range []struct{ url, code string }{
		{"tcp://" + l.Addr().String(), "console-connect"},
		{"unix:///nowhere", "console-connect"},
		{"tls://" + l.Addr().String(), "console-address"},
	} {
		a, err := ParseAddress(tt.url)
		must(t, err)
		if _, err := Dial(t.Context(), a, nil, ""); err == nil || finding.Of(err).Code != tt.code {
			t.Errorf("%s: %v, want %s", tt.url, err, tt.code)
		}
	}
}
