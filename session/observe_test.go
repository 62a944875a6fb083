package session

import (
	"errors"
	"io"
	"testing"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/tlsengine"
)

// A client that only looks judges the server, sees what it asks for, and is no
// peer of it.
func TestObserve(t *testing.T) {
	ca, foreign := newAuthority(t, ""), newAuthority(t, "")
	good := ca.dir(want{})
	for _, tt := range []struct {
		name, server, priority, version, code string
	}{
		{"TLS 1.3", good, "", "TLS 1.3", ""},
		{"TLS 1.2", good, "NORMAL:-VERS-TLS1.3", "TLS 1.2", ""},
		{"foreign server", foreign.dir(want{}), "", "TLS 1.3", "peer-untrusted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := peertest.Pair(t)
			served := make(chan error, 1)
			go func() {
				_, err := Open(t.Context(), a, Options{Credentials: load(t, creds.X509Options{Dir: tt.server, Endpoint: creds.Server, Priority: tt.priority})})
				served <- err
			}()
			c, err := NewConn(b, Options{Credentials: load(t, creds.X509Options{Dir: good}), Hostname: "localhost", Observe: true})
			must(t, err)
			err = c.Handshake(t.Context())
			if tt.code == "" {
				must(t, err)
			} else if finding.Of(err).Code != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
			s := c.State()
			if s.Version != tt.version || len(s.PeerChain) != 1 || s.Request == nil || len(s.Request.Authorities) != 1 || s.Identity != nil {
				t.Errorf("%+v", s)
			}
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("something could be written")
			}
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("something could be read: %v", err)
			}
			b.Close()
			if err := <-served; err == nil {
				t.Error("the server believes in a session")
			}
		})
	}
	if _, err := NewConn(nil, Options{Credentials: load(t, creds.X509Options{Dir: good, Endpoint: creds.Server}), Observe: true}); err == nil {
		t.Error("a server looks")
	}
}

// The state of a handshake that failed says how far it came.
func TestStateOfFailure(t *testing.T) {
	good := newAuthority(t, "").dir(want{})
	a, b := peertest.Pair(t)
	go func() {
		Open(t.Context(), a, Options{Credentials: load(t, creds.X509Options{Dir: good, Endpoint: creds.Server, Priority: "NORMAL:-VERS-TLS1.3"})})
		a.Close()
	}()
	c, err := NewConn(b, Options{Credentials: load(t, creds.X509Options{Dir: good, Priority: "NORMAL:-VERS-ALL:+VERS-TLS1.3"}), Hostname: "localhost", Engine: Native})
	must(t, err)
	err = c.Handshake(t.Context())
	if alert, ok := errors.AsType[*tlsengine.AlertError](err); !ok || alert.Alert.String() != "protocol_version" {
		t.Errorf("got %v", err)
	}
	if s := c.State(); s.Version != "" || s.PeerChain != nil {
		t.Errorf("%+v", s)
	}
}
