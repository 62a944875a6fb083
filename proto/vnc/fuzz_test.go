package vnc

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"virtls/finding"
	"virtls/sasl"
	"virtls/session"
)

// A script is a peer that says something whatever it is told, and then closes.
type script struct {
	net.Conn
	in *bytes.Reader
}

func (s script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s script) Write(p []byte) (int, error) { return len(p), nil }
func (s script) SetDeadline(time.Time) error { return nil }
func (s script) LocalAddr() net.Addr         { return &net.UnixAddr{Net: "unix"} }
func (s script) RemoteAddr() net.Addr        { return &net.UnixAddr{Net: "unix"} }
func scripted(data []byte) script            { return script{in: bytes.NewReader(data)} }
func noTLS() session.Options                 { return session.Options{} }
func checkError(t *testing.T, err error, in []byte) {
	if err != nil && finding.Of(err).Code == "" {
		t.Errorf("an error that is no finding after %q: %v", in, err)
	}
}

// A server that says anything: RFB, VeNCrypt and SASL up to a picture.
func FuzzDial(f *testing.F) {
	f.Add([]byte(rfb38 + "\x01\x01" + "\x00\x00\x00\x00" + string(serverInit)))
	f.Add([]byte("RFB 003.003\n\x00\x00\x00\x02" + "0123456789abcdef" + "\x00\x00\x00\x01"))
	f.Add([]byte(rfb38 + "\x02\x13\x02" + "\x00\x02\x00\x01\x00\x00\x01\x04\x01"))
	f.Add([]byte(rfb38 + "\x01\x14" + "\x00\x00\x00\x05PLAIN" + "\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00" + string(serverInit)))
	f.Add([]byte(rfb38 + "\x01\x14" + "\x00\x00\x00\x0dSCRAM-SHA-256" + "\x00\x00\x00\x10r=x,s=QUJD,i=10\x00\x00"))
	f.Add([]byte(rfb38 + "\x01\x01" + "\x00\x00\x00\x00" + "\x00\x01\x00\x01" + string(make([]byte, pixelFormatSize)) + "\x00\x00\x00\x00" +
		"\x02\x03\x00\x00\x00\x00\x00\x00\x01x" + "\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00" + "abcd"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, err := negotiate(context.Background(), scripted(data), Options{X509: noTLS, Anon: noTLS, Password: []byte(password), Login: login(user, password)})
		checkError(t, err, data)
		for _, o := range []Options{
			{Password: []byte(password), Login: login(user, password)},
			{X509: noTLS, Login: login(user, password)},
			{X509: noTLS, Login: login(user, password), Allow: []Security{X509Plain, None, SASL}},
		} {
			c, err := Dial(context.Background(), scripted(data), o)
			if checkError(t, err, data); err != nil {
				continue
			}
			if securities[c.Security].layer != bare && c.TLS == nil {
				t.Errorf("%v without TLS after %q", c.Security, data)
			}
			s, err := NewScreen(context.Background(), c, true)
			if checkError(t, err, data); err == nil && s.Width*s.Height < 1<<16 {
				_, err = s.Picture(context.Background())
				checkError(t, err, data)
			}
		}
	})
}

// A client that says anything. It is let in only if it has the password.
func FuzzAccept(f *testing.F) {
	f.Add([]byte(rfb38 + "\x02" + "0123456789abcdef"))
	f.Add([]byte("RFB 003.003\n" + "0123456789abcdef"))
	f.Add([]byte(rfb38 + "\x13\x00\x02\x00\x00\x01\x04\x16\x03\x01"))
	f.Add([]byte(rfb38 + "\x14" + "\x00\x00\x00\x05PLAIN" + "\x00\x00\x00\x0d\x00fred\x00s3cret\x00"))
	f.Add([]byte(rfb38 + "\x14" + "\x00\x00\x00\x0dSCRAM-SHA-256" + "\x00\x00\x00\x11n,,n=fred,r=abcd\x00"))
	accounts := sasl.NewAccounts()
	must(f, accounts.Set(user, []byte(password)))
	server := &sasl.Server{Accounts: func() *sasl.Accounts { return accounts }}
	throttle := &sasl.Throttle{Delay: 1, MaxDelay: 1}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []ServerOptions{
			{Password: passwordOf(password)}, {SASL: server}, {X509: noTLS},
		} {
			o.Throttle = throttle
			_, err := Accept(context.Background(), scripted(data), o)
			checkError(t, err, data)
			if err == nil && !bytes.Contains(data, []byte(password)) {
				t.Errorf("let in by %q", data)
			}
		}
	})
}

// What frame makes, readMessage reads.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{"", "\x00\x00\x00\x00", "\x00\x00\x00\x01\x00", "\x00\x00\x00\x02xy", "\xff\xff\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := wire{Conn: scripted(data)}
		message := w.readMessage()
		if out := frame(message); w.err == nil && !bytes.HasPrefix(data, out[:4+len(message)]) {
			t.Errorf("%q is read from %q, and written as %q", message, data, out)
		}
		if w := (wire{Conn: scripted(frame(data))}); !bytes.Equal(w.readMessage(), data) && len(data) < maxMessage {
			t.Errorf("%q does not come back: %v", data, w.err)
		}
	})
}
