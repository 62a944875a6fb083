package vnc

import (
	"context"
	"net"
	"slices"
	"testing"

	"virtls/authz"
	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/sasl"
	"virtls/session"
)

// negotiate goes through the steps of a login with the best that is offered.
func negotiate(ctx context.Context, c net.Conn, o Options) (*Conn, *Negotiation, error) {
	n, err := Begin(ctx, c, o)
	if err != nil {
		return nil, n, err
	}
	offered := n.Types
	if slices.Contains(offered, VeNCrypt) {
		if offered, err = n.Subtypes(ctx); err != nil {
			return nil, n, err
		}
	}
	s, ok := first(strongest, offered)
	if !ok {
		s = VeNCrypt // which cannot be chosen
	}
	if err := n.Choose(ctx, s); err != nil {
		return nil, n, err
	}
	var state *session.State
	if below, certificates := s.TLS(); below {
		options := o.Anon
		if certificates {
			options = o.X509
		}
		t, err := session.Open(ctx, c, options())
		if err != nil {
			return nil, n, err
		}
		c, state = t, new(t.State())
	}
	if err := n.Await(ctx, c, state); err != nil {
		return nil, n, err
	}
	login, err := n.Login(ctx)
	return login, n, err
}

func TestNegotiation(t *testing.T) {
	x509, anon := x509Options(t, creds.Server, ""), anonOptions(t, creds.Server)
	accounts := saslServer(t)
	all := Options{X509: x509Options(t, creds.Client, "localhost"), Anon: anonOptions(t, creds.Client), Password: []byte(password), Login: login(user, password)}
	bad := all
	bad.Password, bad.Login = []byte(wrongPassword), login(user, wrongPassword)
	old := all
	old.Version = RFB33
	wanted := all
	wanted.Allow = []Security{TLSPlain}
	plain := ServerOptions{Anon: anon, SASL: accounts, Offer: []Security{TLSPlain}}
	for _, tt := range []struct {
		name   string
		server ServerOptions
		client Options
		want   Security
		code   string
	}{
		{"nothing", ServerOptions{}, all, None, ""},
		{"nothing in RFB 3.3", ServerOptions{}, old, None, ""},
		{"password", ServerOptions{Password: passwordOf(password)}, all, Password, ""},
		{"password in RFB 3.3", ServerOptions{Password: passwordOf(password)}, old, Password, ""},
		{"wrong password", ServerOptions{Password: passwordOf(password)}, bad, Password, "vnc-refused"},
		{"anonymous", ServerOptions{Anon: anon}, all, TLSNone, ""},
		{"x509", ServerOptions{X509: x509}, all, X509None, ""},
		{"x509 and password", ServerOptions{X509: x509, Password: passwordOf(password)}, all, X509Password, ""},
		{"x509 and Plain", ServerOptions{X509: x509, SASL: accounts, Offer: []Security{X509Plain}}, all, X509Plain, ""},
		{"x509 and SASL", ServerOptions{X509: x509, SASL: accounts}, all, X509SASL, ""},
		{"x509 and wrong SASL password", ServerOptions{X509: x509, SASL: accounts}, bad, X509SASL, "vnc-closed"},
		{"Plain to whoever is there", plain, all, TLSPlain, "vnc-no-security"},
		{"Plain to whoever is there, as asked", plain, wanted, TLSPlain, ""},
		{"DN not on the list", ServerOptions{X509: with(x509, &authz.List{})}, all, X509None, "vnc-closed"},
		{"nothing is offered", ServerOptions{SASL: accounts}, all, 0, "vnc-refused"},
		{"VeNCrypt in RFB 3.3", ServerOptions{X509: x509}, old, 0, "vnc-refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address, result := accept(t, tt.server)
			nc, err := net.Dial("tcp", address)
			must(t, err)
			defer nc.Close()
			c, n, err := negotiate(t.Context(), nc, tt.client)
			wantCode(t, err, tt.code)
			if n.Server != "RFB 003.008" || n.chosen != tt.want {
				t.Errorf("%q, %v", n.Server, n.chosen)
			}
			if tt.want == X509SASL && !slices.Equal(n.Mechanisms(), sasl.Default) {
				t.Errorf("mechanisms %v", n.Mechanisms())
			}
			if err == nil {
				s, err := NewScreen(t.Context(), c, true)
				must(t, err)
				if s.Name != "test" || c.Security != tt.want || (c.TLS != nil) != (tt.want > 255) {
					t.Errorf("%q by %v, %v", s.Name, c.Security, c.TLS)
				}
			}
			nc.Close()
			<-result
		})
	}
}

// What is not offered cannot be chosen, and nothing outside of VeNCrypt once
// that has been chosen.
func TestNegotiationChoosesWhatIsOffered(t *testing.T) {
	for _, tt := range []struct {
		subtypes bool
		choose   Security
	}{{false, Password}, {false, X509None}, {false, VeNCrypt}, {true, None}, {true, TLSNone}} {
		near, far := peertest.Pair(t)
		_, err := far.Write([]byte(rfb38 + "\x02\x13\x01" + "\x00\x02\x00\x02\x00\x00\x01\x04\x00\x00\x00\x01"))
		must(t, err)
		n, err := Begin(t.Context(), near, Options{})
		must(t, err)
		if tt.subtypes {
			_, err := n.Subtypes(t.Context())
			must(t, err)
		}
		wantCode(t, n.Choose(t.Context(), tt.choose), "vnc-no-security")
	}
}
