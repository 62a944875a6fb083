package vnc

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/sasl"
	"virtls/session"
)

// quick keeps failed logins of tests from taking a second each.
func quick() *sasl.Throttle { return &sasl.Throttle{Delay: time.Millisecond} }

// saslServer knows the user of the tests.
func saslServer(t testing.TB) *sasl.Server {
	t.Helper()
	a := sasl.NewAccounts()
	must(t, a.Set(user, []byte(password)))
	return &sasl.Server{Accounts: func() *sasl.Accounts { return a }}
}

func passwordOf(text string) func() []byte { return func() []byte { return []byte(text) } }

// accept serves one connection on loopback, and returns where and what came of it.
func accept(t testing.TB, o ServerOptions) (address string, result <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	if o.Throttle == nil {
		o.Throttle = quick()
	}
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			var in *Conn
			if in, err = Accept(context.Background(), c, o); err == nil {
				_, err = in.Write(serverInit)
				io.Copy(io.Discard, in)
			}
		}
		done <- err
	}()
	return l.Addr().String(), done
}

// serverInit is a screen of no pixels.
var serverInit = append(make([]byte, 4+pixelFormatSize), 0, 0, 0, 4, 't', 'e', 's', 't')

func TestServer(t *testing.T) {
	x509, anon := x509Options(t, creds.Server, ""), anonOptions(t, creds.Server)
	clientX509, clientAnon := x509Options(t, creds.Client, "localhost"), anonOptions(t, creds.Client)
	accounts := saslServer(t)
	only := &sasl.Server{Accounts: accounts.Accounts, Access: &authz.List{}}
	good, bad := login(user, password), login(user, wrongPassword)
	for _, tt := range []struct {
		name    string
		server  ServerOptions
		client  Options
		want    Security
		code    string // of the client's error
		because string // in the server's error
	}{
		{"nothing", ServerOptions{}, Options{}, None, "", ""},
		{"password", ServerOptions{Password: passwordOf(password)}, Options{Password: []byte(password)}, Password, "", ""},
		{"password for None", ServerOptions{}, Options{Password: []byte(password)}, None, "", ""},
		{"wrong password", ServerOptions{Password: passwordOf(password)}, Options{Password: []byte(wrongPassword)}, 0, "vnc-refused", "password is wrong"},
		{"no password is set", ServerOptions{Password: passwordOf("")}, Options{Password: []byte{}}, 0, "vnc-refused", "password is wrong"},
		{"anonymous", ServerOptions{Anon: anon}, Options{Anon: clientAnon}, TLSNone, "", ""},
		{"anonymous and password", ServerOptions{Anon: anon, Password: passwordOf(password)}, Options{Anon: clientAnon, Password: []byte(password)}, TLSPassword, "", ""},
		{"x509", ServerOptions{X509: x509}, Options{X509: clientX509}, X509None, "", ""},
		{"x509 and password", ServerOptions{X509: x509, Password: passwordOf(password)}, Options{X509: clientX509, Password: []byte(password)}, X509Password, "", ""},
		{"x509 and SASL", ServerOptions{X509: x509, SASL: accounts}, Options{X509: clientX509, Login: good}, X509SASL, "", ""},
		{"x509 and SASL PLAIN", ServerOptions{X509: x509, SASL: accounts}, Options{X509: clientX509, Login: good, Mechanisms: []string{sasl.Plain}}, X509SASL, "", ""},
		{"x509 and Plain", ServerOptions{X509: x509, SASL: accounts}, Options{X509: clientX509, Login: good, Allow: []Security{X509Plain}}, X509Plain, "", ""},
		{"anonymous and Plain when both ask for it", ServerOptions{Anon: anon, SASL: accounts, Offer: []Security{TLSPlain}}, Options{Anon: clientAnon, Login: good, Allow: []Security{TLSPlain}}, TLSPlain, "", ""},
		{"anonymous and Plain when the server does not", ServerOptions{Anon: anon, SASL: accounts}, Options{Anon: clientAnon, Login: good, Allow: []Security{TLSPlain}}, 0, "vnc-refused", "no way in which a client may log in"},
		{"anonymous and Plain when the client does not", ServerOptions{Anon: anon, SASL: accounts, Offer: []Security{TLSPlain}}, Options{Anon: clientAnon, Login: good}, 0, "vnc-no-security", ""},
		{"SASL with TLS below", ServerOptions{SASL: accounts, Below: sasl.Layer{SSF: 256}}, Options{Login: good, Below: sasl.Layer{SSF: 256}}, SASL, "", ""},
		{"Plain when the server is not verified", ServerOptions{X509: x509, SASL: accounts}, Options{X509: unverified(t), Login: good, Allow: []Security{X509Plain}}, 0, "vnc-no-security", ""},
		{"SASL when the server is not verified", ServerOptions{X509: x509, SASL: accounts}, Options{X509: unverified(t), Login: good}, 0, "sasl-no-mechanism", ""},
		{"SASL without TLS", ServerOptions{SASL: accounts}, Options{Login: good}, 0, "vnc-refused", "no way in which a client may log in"},
		{"wrong SASL password", ServerOptions{X509: x509, SASL: accounts}, Options{X509: clientX509, Login: bad}, 0, "vnc-closed", "password is wrong"},
		{"wrong Plain password", ServerOptions{X509: x509, SASL: accounts}, Options{X509: clientX509, Login: bad, Allow: []Security{X509Plain}}, 0, "vnc-refused", "password is wrong"},
		{"SASL user not on the list", ServerOptions{X509: x509, SASL: only}, Options{X509: clientX509, Login: good}, 0, "vnc-refused", "does not let in"},
		{"Plain user not on the list", ServerOptions{X509: x509, SASL: only}, Options{X509: clientX509, Login: good, Allow: []Security{X509Plain}}, 0, "vnc-refused", "does not let in"},
		{"no login where one is due", ServerOptions{X509: x509, SASL: accounts}, Options{X509: clientX509}, 0, "vnc-no-security", ""},
		{"no TLS where it is due", ServerOptions{X509: x509}, Options{}, 0, "vnc-no-security", ""},
		{"DN not on the list", ServerOptions{X509: with(x509, &authz.List{})}, Options{X509: clientX509}, 0, "vnc-closed", "CN=client1"},
		{"both kinds of TLS", ServerOptions{X509: x509, Anon: anon}, Options{Anon: clientAnon}, TLSNone, "", ""},
	} {
		for _, v := range []Version{RFB33, RFB37, RFB38} {
			if v == RFB33 && (tt.server.X509 != nil || tt.server.Anon != nil || tt.server.SASL != nil) {
				continue
			}
			t.Run(fmt.Sprintf("%s RFB %v", tt.name, v), func(t *testing.T) {
				address, result := accept(t, tt.server)
				nc, err := net.Dial("tcp", address)
				must(t, err)
				defer nc.Close()
				tt.client.Version = v
				c, err := Dial(t.Context(), nc, tt.client)
				if err == nil {
					// A client of TLS 1.3 is told of a refusal when it reads.
					var s *Screen
					if s, err = NewScreen(t.Context(), c, true); err == nil && (s.Name != "test" || c.Security != tt.want || c.Version != v) {
						t.Errorf("%q by %v in RFB %v", s.Name, c.Security, c.Version)
					}
				}
				wantCode(t, err, tt.code)
				nc.Close()
				served := <-result
				for _, err := range []error{err, served} {
					if text := fmt.Sprintf("%v %+v", err, err); secrets.In(text) != "" {
						t.Errorf("a password is in %s", text)
					}
				}
				if tt.because != "" && (served == nil || !strings.Contains(served.Error(), tt.because)) {
					t.Errorf("the server says %v; want %q", served, tt.because)
				}
			})
		}
	}
}

// unverified are a client's options that trust everybody.
func unverified(t testing.TB) func() session.Options {
	t.Helper()
	c, _, err := creds.LoadX509(creds.X509Options{Dir: credDir(t), Endpoint: creds.Client, NoVerifyPeer: true})
	must(t, err)
	return func() session.Options { return session.Options{Credentials: c} }
}

// with adds an access list.
func with(o func() session.Options, list authz.Authorizer) func() session.Options {
	return func() session.Options {
		s := o()
		s.Authorizer = list
		return s
	}
}

// The server's refusals are QEMU's, octet by octet.
func TestServerRefusalsOnTheWire(t *testing.T) {
	for _, tt := range wireRefusals {
		t.Run(tt.name, func(t *testing.T) {
			o := ServerOptions{Password: passwordOf(password)}
			if tt.vencrypt {
				o = ServerOptions{X509: x509Options(t, creds.Server, "")}
			}
			address, result := accept(t, o)
			c, err := net.Dial("tcp", address)
			must(t, err)
			defer c.Close()
			wantAnswer(t, c, tt.says, rfb38+tt.answer)
			if err := <-result; err == nil {
				t.Error("the server lets the client in")
			}
		})
	}
}

// A client or server that says nothing, or too much, or something else.
func TestBadPeers(t *testing.T) {
	x509 := ServerOptions{X509: x509Options(t, creds.Server, "")}
	for _, tt := range []struct {
		name   string
		server ServerOptions
		says   string
		code   string
	}{
		{"silent", ServerOptions{}, "", "vnc-late"},
		{"slow", ServerOptions{}, "RFB 003.0", "vnc-late"},
		{"half a password", ServerOptions{Password: passwordOf(password)}, rfb38 + "\x020123", "vnc-late"},
		{"HTTP", ServerOptions{}, "GET / HTTP/1.1\r\n", "vnc-protocol"},
		{"no TLS", x509, rfb38 + "\x13\x00\x02\x00\x00\x01\x04GET / HTTP/1.1\r\n", "handshake-failed"},
	} {
		t.Run("client "+tt.name, func(t *testing.T) {
			near, far := peertest.Pair(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience(tt.code))
			defer cancel()
			_, err := io.WriteString(far, tt.says)
			must(t, err)
			_, err = Accept(ctx, near, tt.server)
			wantCode(t, err, tt.code)
		})
	}
	for _, tt := range []struct {
		name   string
		client Options
		says   string
		code   string
	}{
		{"silent", Options{}, "", "vnc-late"},
		{"HTTP", Options{}, "HTTP/1.1 400 Bad Request\r\n", "vnc-not-rfb"},
		{"version 2", Options{}, "RFB 002.000\n", "vnc-not-rfb"},
		{"a reason of 4 GiB", Options{}, rfb38 + "\x00\xff\xff\xff\xff", "vnc-refused"},
		{"another SecurityResult", Options{}, rfb38 + "\x01\x01\x00\x00\x00\x07", "vnc-protocol"},
		{"too many attempts", Options{}, rfb38 + "\x01\x01\x00\x00\x00\x02\x00\x00\x00\x03now", "vnc-refused"},
		{"unknown types", Options{}, rfb38 + "\x02\x05\x10", "vnc-no-security"},
		{"VeNCrypt 0.1", Options{X509: x509.X509}, rfb38 + "\x01\x13\x00\x01", "vnc-protocol"},
		{"VeNCrypt 0.2 refused", Options{X509: x509.X509}, rfb38 + "\x01\x13\x00\x02\x01", "vnc-protocol"},
		{"a subtype refused", Options{X509: x509.X509}, rfb38 + "\x01\x13\x00\x02\x00\x01\x00\x00\x01\x04\x00", "vnc-protocol"},
		{"X509Plain as a type", Options{X509: x509.X509, Login: login(user, password)}, "RFB 003.003\n\x00\x00\x01\x06", "vnc-protocol"},
		{"None as a subtype", Options{X509: x509.X509, Allow: []Security{X509None, None}}, rfb38 + "\x02\x01\x13\x00\x02\x00\x01\x00\x00\x00\x01", "vnc-no-security"},
		{"VeNCrypt's types at once", Options{X509: x509.X509, Allow: []Security{X509None, None}}, rfb38 + "\x02\x01\x13\x00\x02\x01", "vnc-protocol"},
		{"a reason with an escape", Options{}, rfb38 + "\x01\x01\x00\x00\x00\x01\x00\x00\x00\x01\x1b", "vnc-refused"},
		{"SASL list of 4 GiB", Options{Login: login(user, password)}, rfb38 + "\x01\x14\xff\xff\xff\xff", "vnc-protocol"},
	} {
		t.Run("server "+tt.name, func(t *testing.T) {
			near, far := peertest.Pair(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience(tt.code))
			defer cancel()
			_, err := io.WriteString(far, tt.says)
			must(t, err)
			_, err = Dial(ctx, near, tt.client)
			wantCode(t, err, tt.code)
			if strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("an escape is in %q", err)
			}
		})
	}
}

// patience is how long a test waits for what ends it: a slow machine gets time,
// unless it is the end of the time that is to come.
func patience(code string) time.Duration {
	if code == "vnc-late" {
		return 300 * time.Millisecond
	}
	return 20 * time.Second
}

// Who has failed too often is not heard for a while, on whatever connection.
func TestServerIsNotGuessed(t *testing.T) {
	throttle := &sasl.Throttle{Delay: time.Hour}
	for _, want := range []string{"the password is wrong", "too many logins from somebody have failed"} {
		near, far := peertest.Pair(t)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := io.WriteString(far, rfb38+"\x02"+"0123456789abcdef")
		must(t, err)
		_, err = Accept(ctx, near, ServerOptions{Password: passwordOf(password), Throttle: throttle, Client: "somebody"})
		wantCode(t, err, "vnc-denied")
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
	if throttle.Failures() != 1 {
		t.Errorf("%d failures", throttle.Failures())
	}
}
