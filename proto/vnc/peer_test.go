package vnc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
)

const password = "s3cretpw"

// passwordFrom are a secret object with the password in a file, and QEMU's
// option for it.
func passwordFrom(t testing.TB) (object, option string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pw")
	must(t, os.WriteFile(file, []byte(password), 0o600))
	return "secret,id=pw,file=" + file, ",password-secret=pw"
}

// takePicture takes a picture of QEMU's screen without a guest: there is text on it.
func takePicture(t testing.TB, c *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := NewScreen(ctx, c, true)
	must(t, err)
	if s.Name != "QEMU" || s.Width != 640 || s.Height != 480 {
		t.Errorf("a screen %q of %d by %d", s.Name, s.Width, s.Height)
	}
	p, err := s.Picture(ctx)
	must(t, err)
	colours := map[any]int{}
	for y := range s.Height {
		for x := range s.Width {
			colours[p.At(x, y)]++
		}
	}
	if len(colours) < 2 {
		t.Errorf("a picture of one colour: %v", colours)
	}
}

// Every row of QEMU's mapping that needs no SASL, in every version of RFB that
// the row can be had in.
func TestPeerMapping(t *testing.T) {
	withX509 := Options{X509: x509Options(t, creds.Client, "localhost")}
	withAnon := Options{Anon: anonOptions(t, creds.Client)}
	for _, row := range []struct {
		name, kind string
		password   bool
		client     Options
		want       Security
	}{
		{"nothing", "", false, Options{}, None},
		{"password", "", true, Options{}, Password},
		{"anonymous", "anon", false, withAnon, TLSNone},
		{"anonymous and password", "anon", true, withAnon, TLSPassword},
		{"x509", "x509", false, withX509, X509None},
		{"x509 and password", "x509", true, withX509, X509Password},
	} {
		t.Run(row.name, func(t *testing.T) {
			peertest.Each(t, func(t *testing.T, g peertest.Generation) {
				var objects []string
				option, o := "", row.client
				if row.kind != "" {
					objects, option = append(objects, object(t, row.kind, "")), ",tls-creds=tls0"
				}
				if row.password {
					object, more := passwordFrom(t)
					objects, option = append(objects, object), option+more
					o.Password = []byte(password)
				}
				q := startQEMU(t, g, peertest.Options{}, option, objects...)
				for _, v := range []Version{RFB33, RFB37, RFB38} {
					if o.Version = v; v == RFB33 && row.kind != "" {
						_, err := q.dial(t, o) // QEMU sends 0 and closes
						wantCode(t, err, "vnc-refused")
						continue
					}
					c, err := q.dial(t, o)
					must(t, err)
					if c.Security != row.want || c.Version != v || (c.TLS != nil) != (row.kind != "") {
						t.Errorf("RFB %v: %v, RFB %v, %v", v, c.Security, c.Version, c.TLS)
					}
					takePicture(t, c)
				}
				if row.password {
					for version, reason := range map[Version]string{RFB38: "Authentication failed", RFB37: ""} {
						o.Password, o.Version = []byte(wrongPassword), version
						_, err := q.dial(t, o)
						wantRefusal(t, err, reason, row.want)
					}
				}
			})
		})
	}
}

func wantRefusal(t testing.TB, err error, reason string, s Security) {
	t.Helper()
	wantCode(t, err, "vnc-refused")
	want := fmt.Sprintf("(%v)", s)
	if reason != "" {
		want = reason + " " + want
	}
	if got := findingOf(err).Got; got != want {
		t.Errorf("refused with %q; want %q", got, want)
	}
}

// What a server or a client with certificates refuses.
func TestPeerRefusals(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		q := startQEMU(t, g, peertest.Options{}, ",tls-creds=tls0,tls-authz=acl", object(t, "x509", ""), "authz-simple,id=acl,identity="+"O=Example,,CN=client1")
		denied := startQEMU(t, g, peertest.Options{}, ",tls-creds=tls0,tls-authz=acl", object(t, "x509", ""), "authz-simple,id=acl,identity=CN=other")
		good := x509Options(t, creds.Client, "localhost")
		for _, tt := range []struct {
			name   string
			server *qemu
			client Options
			code   string
		}{
			{"client on the list", q, Options{X509: good}, ""},
			{"client not on the list", denied, Options{X509: good}, "vnc-closed"},
			{"no client certificate", q, Options{X509: x509Options(t, creds.Client, "localhost", "client-cert.pem", "client-key.pem")}, "vnc-closed"},
			{"another host", q, Options{X509: x509Options(t, creds.Client, "elsewhere")}, "peer-name-mismatch"},
			{"no TLS wanted", q, Options{}, "vnc-no-security"},
			{"anonymous TLS wanted", q, Options{Anon: anonOptions(t, creds.Client)}, "vnc-no-security"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c, err := tt.server.dial(t, tt.client)
				wantCode(t, err, tt.code)
				if err == nil {
					takePicture(t, c)
				}
			})
		}
	})
}

// A client with credentials does not go on without TLS.
func TestPeerNoDowngrade(t *testing.T) {
	q := startQEMU(t, peertest.Host, peertest.Options{}, "")
	x := x509Options(t, creds.Client, "localhost")
	_, err := q.dial(t, Options{X509: x})
	wantCode(t, err, "vnc-no-security")
	c, err := q.dial(t, Options{X509: x, Allow: []Security{X509None, None}})
	must(t, err)
	if c.Security != None || c.TLS != nil {
		t.Errorf("got %v", c.Security)
	}
}

const rfb38 = "RFB 003.008\n"

const failed = "\x00\x00\x00\x01" + "\x00\x00\x00\x16" + "Authentication failed\x00"

// wireRefusals are refusals octet by octet: what a client says, and all that
// comes back after the server's version. The server wants VeNCrypt's subtype
// X509None, or a password.
var wireRefusals = []struct {
	name         string
	vencrypt     bool
	says, answer string
}{
	{"version 3.6", false, "RFB 003.006\n", "\x00\x00\x00\x00"},
	{"version 3.889", false, "RFB 003.889\n", "\x00\x00\x00\x00"},
	{"VeNCrypt in 3.3", true, "RFB 003.003\n", "\x00\x00\x00\x00"},
	{"another type", false, rfb38 + "\x01", "\x01\x02" + failed},
	{"another type in 3.7", false, "RFB 003.007\n\x01", "\x01\x02" + failed[:4]},
	{"wrong password", false, rfb38 + "\x02" + "0123456789abcdef", "\x01\x02" + "CHALLENGE" + failed},
	{"wrong password in 3.7", false, "RFB 003.007\n" + "\x02" + "0123456789abcdef", "\x01\x02" + "CHALLENGE" + failed[:4]},
	{"wrong password in 3.5, which is 3.3", false, "RFB 003.005\n" + "0123456789abcdef", "\x00\x00\x00\x02" + "CHALLENGE" + failed[:4]},
	{"wrong password in 3.4, which is 3.3", false, "RFB 003.004\n" + "0123456789abcdef", "\x00\x00\x00\x02" + "CHALLENGE" + failed[:4]},
	{"wrong password in 3.3", false, "RFB 003.003\n" + "0123456789abcdef", "\x00\x00\x00\x02" + "CHALLENGE" + failed[:4]},
	{"VeNCrypt 0.1", true, rfb38 + "\x13\x00\x01", "\x01\x13\x00\x02\x01"},
	{"another subtype", true, rfb38 + "\x13\x00\x02\x00\x00\x01\x01", "\x01\x13\x00\x02\x00\x01\x00\x00\x01\x04\x00"},
}

// QEMU sends these refusals.
func TestPeerRefusalsOnTheWire(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		secret, option := passwordFrom(t)
		vencrypt := startQEMU(t, g, peertest.Options{}, ",tls-creds=tls0", object(t, "x509", ""))
		plain := startQEMU(t, g, peertest.Options{}, option, secret)
		for _, tt := range wireRefusals {
			t.Run(tt.name, func(t *testing.T) {
				server := plain
				if tt.vencrypt {
					server = vencrypt
				}
				wantAnswer(t, server.open(t), tt.says, rfb38+tt.answer)
			})
		}
	})
}
