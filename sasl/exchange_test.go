package sasl

import (
	"fmt"
	"strings"
	"testing"

	"virtls/authz"
	"virtls/finding"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func accounts(t testing.TB) func() *Accounts {
	t.Helper()
	a := NewAccounts()
	must(t, a.Set("fred", []byte(secret)))
	return func() *Accounts { return a }
}

var secure = Layer{SSF: 128}

// exchange runs both ends against each other.
func exchange(s *Server, o ClientOptions, l Layer) (user string, err error) {
	c, err := NewClient(s.Offer(l), l, o)
	if err != nil {
		return "", err
	}
	e, err := s.Start(c.Mechanism, l)
	if err != nil {
		return "", err
	}
	out, err := c.Step(nil)
	for err == nil {
		in, done, err := e.Step(out)
		if err != nil {
			return "", err
		}
		if in != nil {
			if out, err = c.Step(in); err != nil {
				return "", err
			}
		}
		if done {
			if err := c.Finish(); err != nil {
				return "", err
			}
			return e.User, e.Admit()
		}
	}
	return "", err
}

func TestExchange(t *testing.T) {
	get := accounts(t)
	only := &authz.List{Rules: []authz.Rule{{Match: "other", Policy: authz.Allow}}}
	for _, tt := range []struct {
		name   string
		server *Server
		layer  Layer
		user   string
		pw     string
		client []string
		want   string // in the error
	}{
		{"strongest", &Server{}, secure, "fred", secret, nil, ""},
		{"SHA-512", &Server{}, secure, "fred", secret, []string{ScramSHA512}, ""},
		{"SHA-256", &Server{}, secure, "fred", secret, []string{ScramSHA256}, ""},
		{"SHA-1", &Server{}, secure, "fred", secret, []string{ScramSHA1}, ""},
		{"PLAIN", &Server{}, secure, "fred", secret, []string{Plain}, ""},
		{"UNIX socket", &Server{}, Layer{Local: true}, "fred", secret, nil, ""},
		{"no TLS", &Server{}, Layer{}, "fred", secret, nil, "no mechanism is offered"},
		{"weak TLS", &Server{}, Layer{SSF: 40}, "fred", secret, nil, "no mechanism is offered"},
		{"wrong password", &Server{}, secure, "fred", wrongSecret, nil, "the password is wrong"},
		{"unknown user", &Server{}, secure, "nobody", secret, nil, "the password is wrong"},
		{"PLAIN wrong password", &Server{}, secure, "fred", wrongSecret, []string{Plain}, "the password is wrong"},
		{"PLAIN unknown user", &Server{}, secure, "nobody", secret, []string{Plain}, "the password is wrong"},
		{"PLAIN empty password", &Server{}, secure, "fred", "", []string{Plain}, "the password is wrong"},
		{"ANONYMOUS not offered", &Server{}, secure, "fred", secret, []string{Anonymous}, "PLAIN was not asked for"},
		{"ANONYMOUS on request", &Server{Mechanisms: []string{Anonymous}}, secure, "", "", []string{Anonymous}, ""},
		{"ANONYMOUS not asked for", &Server{Mechanisms: []string{Anonymous}}, secure, "fred", secret, nil, "ANONYMOUS was not asked for"},
		{"DIGEST-MD5 is not offered", &Server{Mechanisms: []string{"DIGEST-MD5"}}, secure, "fred", secret, nil, "no mechanism is offered"},
		{"access list", &Server{Access: only}, secure, "fred", secret, nil, "does not let in"},
		{"NUL in a password", &Server{}, secure, "fred", "a\x00b", []string{Plain}, "no NUL"},
		{"what SASLprep forbids", &Server{}, secure, "fred", "a\x07b", nil, "SASLprep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.Accounts = get
			user, err := exchange(tt.server, ClientOptions{Login: &Login{tt.user, []byte(tt.pw)}, Mechanisms: tt.client}, tt.layer)
			secrets.Check(t, err, finding.Of(err))
			switch {
			case tt.want == "":
				must(t, err)
				if want := map[bool]string{true: "anonymous", false: tt.user}[tt.user == ""]; user != want {
					t.Errorf("logged in as %q", user)
				}
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %v; want %q", err, tt.want)
			}
		})
	}
}

// Servers that a client must not fall for.
func TestClientRefuses(t *testing.T) {
	login := &Login{"fred", []byte(secret)}
	for _, tt := range []struct {
		name, code, want string
		offered          []string
		layer            Layer
		said             []string // by the server; "" is the end
	}{
		{"DIGEST-MD5", "sasl-no-mechanism", "RFC 6331", []string{"DIGEST-MD5"}, secure, nil},
		{"nothing", "sasl-no-mechanism", "no mechanism is offered", nil, secure, nil},
		{"no TLS", "sasl-no-mechanism", "needs encryption of 56 bits", []string{ScramSHA256, Plain}, Layer{}, nil},
		{"too early", "sasl-failed", "before it has proved", []string{ScramSHA256}, secure, []string{""}},
		{"costly", "sasl-failed", "iterations", []string{ScramSHA256}, secure, []string{"r=x,s=QUJD,i=2000000000"}},
		{"cheap", "sasl-failed", "SCRAM-SHA-256", []string{ScramSHA256}, secure, []string{"r=x,s=QUJD,i=1"}},
		{"another nonce", "sasl-failed", "SCRAM-SHA-256", []string{ScramSHA256}, secure, []string{"r=x,s=QUJD,i=4096"}},
		{"goes on after the end", "sasl-failed", "after the last one", []string{Plain}, secure, []string{"more"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewClient(tt.offered, tt.layer, ClientOptions{Login: login})
			if err == nil {
				_, err = c.Step(nil)
			}
			for _, text := range tt.said {
				if must(t, err); text == "" {
					err = c.Finish()
				} else {
					_, err = c.Step([]byte(text))
				}
			}
			secrets.Check(t, err, finding.Of(err))
			if err == nil || finding.Of(err).Code != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want %s with %q", err, tt.code, tt.want)
			}
		})
	}
}

// What a client says to a server that must not be taken.
func TestServerRefuses(t *testing.T) {
	s := &Server{Accounts: accounts(t)}
	for _, tt := range []struct {
		name, mechanism string
		says            []string
	}{
		{"PLAIN without NUL", Plain, []string{"fred" + secret}},
		{"PLAIN as another", Plain, []string{"root\x00fred\x00" + secret}},
		{"PLAIN after the end", Plain, []string{"\x00fred\x00" + secret, "\x00fred\x00" + secret}},
		{"SCRAM garbage", ScramSHA256, []string{"garbage"}},
		{"SCRAM with channel binding", ScramSHA256, []string{"p=tls-exporter,,n=fred,r=abc"}},
		{"SCRAM without a proof", ScramSHA256, []string{"n,,n=fred,r=abc", "c=biws,r=abc"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := s.Start(tt.mechanism, secure)
			must(t, err)
			for i, text := range tt.says {
				_, _, err = e.Step([]byte(text))
				if i < len(tt.says)-1 {
					must(t, err)
				}
			}
			secrets.Check(t, err)
			if err == nil {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := s.Start("DIGEST-MD5", secure); err == nil || !strings.Contains(err.Error(), "RFC 6331") {
		t.Errorf("DIGEST-MD5: %v", err)
	}
	if _, err := s.Start("scram-sha-256", secure); err == nil {
		t.Error("a mechanism in another case is taken; QEMU takes exact names only")
	}
	e, err := s.Start(ScramSHA256, secure)
	must(t, err)
	if err := e.Admit(); err == nil {
		t.Error("somebody is let in who has proved nothing")
	}
}

// A client cannot tell users that are known from others.
func TestUnknownUsersLookKnown(t *testing.T) {
	s := &Server{Accounts: accounts(t)}
	first := func(user string) string {
		e, err := s.Start(ScramSHA256, secure)
		must(t, err)
		out, _, err := e.Step(fmt.Appendf(nil, "n,,n=%s,r=abc", user))
		must(t, err)
		_, salt, _ := strings.Cut(string(out), ",")
		return salt
	}
	for _, user := range []string{"fred", "nobody"} {
		if a, b := first(user), first(user); a != b || len(a) != len("s=,i=15000")+24 {
			t.Errorf("%s: %q and %q", user, a, b)
		}
	}
}
