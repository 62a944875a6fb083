package probe

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"virtls/sasl"
)

// A scripted server says something whatever it is told, and closes.
type scripted struct{ in *bytes.Reader }

func (s scripted) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s scripted) Close() error                     { return nil }
func (s scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s scripted) SetDeadline(time.Time) error      { return nil }
func (s scripted) SetReadDeadline(time.Time) error  { return nil }
func (s scripted) SetWriteDeadline(time.Time) error { return nil }

// What opens a websocket is in no address that a log on the way could have.
func TestWebsocketSecrets(t *testing.T) {
	const token, password = "a-token-of-somebody", "a password"
	for _, tt := range []struct {
		name  string
		token []byte
		login *sasl.Login
		want  string
	}{
		{"a token", []byte(token), nil, "Bearer " + token},
		{"a login", []byte(token), &sasl.Login{User: "fred", Password: []byte(password)}, "Basic ZnJlZDphIHBhc3N3b3Jk"},
		{"neither", nil, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			asked := make(chan *http.Request, 1)
			go func() {
				defer there.Close()
				r, err := http.ReadRequest(bufio.NewReader(there))
				if err == nil {
					asked <- r
					io.WriteString(there, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
				}
			}()
			p := &prober{o: Options{Timeout: 20 * time.Second}, t: Target{VNC: &VNCTarget{Websocket: &url.URL{Scheme: "wss", Host: "h", Path: "/websocket/vm1", RawQuery: "a=b"}}}}
			if a := p.dialWebsocket(t.Context(), here, tt.token, tt.login); a.status != http.StatusForbidden {
				t.Fatal(a.err)
			}
			if r := <-asked; r.Header.Get("Authorization") != tt.want || r.RequestURI != "/websocket/vm1?a=b" {
				t.Errorf("it asks for %s with %q", r.RequestURI, r.Header.Get("Authorization"))
			}
		})
	}
}

// A server that answers anything to a browser, or greets as anything.
func FuzzVNC(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
		"HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\n\r\n", "RFB 003.008\n\x02\x13\x01\x00\x02\x00\x01\x00\x00\x01\x04\x01", "RFB 003.003\n\x00\x00\x00\x01", "",
		"HTTP/1.1 404 \x1b[2J\r\n\r\n", "RFB 003.008\n\x01\x14\x00\x00\x00\x06GSSAPI", "RFB 003.008\n\x01\x14\x00\x00\x00\x03a\x1b,", "RFB 003.008\n\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, address := range []*url.URL{nil, {Scheme: "ws", Host: "h", Path: "/"}} {
			p := &prober{o: Options{Timeout: time.Second}, t: Target{Host: "h", VNC: &VNCTarget{Websocket: address}}, r: &Result{Target: "vnc://h"}}
			p.nc = &recorder{Conn: scripted{bytes.NewReader(data)}}
			if err := p.upgradeVNC(context.Background()); err != nil && err != errStop || len(p.r.Stages) == 0 {
				t.Errorf("%q: %v, %v", data, err, p.r.Stages)
			}
			var said []string
			for _, s := range p.r.Stages {
				said = append(said, s.Detail)
			}
			for _, f := range p.r.Findings {
				said = append(said, f.Text, f.Got)
			}
			if text := strings.Join(said, ""); strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%q says %q", data, text)
			}
		}
	})
}
