package creds

import (
	"virtls/finding"
	"virtls/layout"
)

// AnonOptions are the properties of a tls-creds-anon object; the zero value of
// each is QEMU's default.
type AnonOptions struct {
	Dir          string // of a server's dh-params.pem; may be empty
	Endpoint     Endpoint
	NoVerifyPeer bool   // verify-peer=off, which changes nothing
	Priority     string // a GnuTLS priority string, empty for the default
}

var kindAnonymous = finding.Define("credential-anonymous", finding.Warning,
	"anonymous credentials keep out listeners but nobody who sits between the peers, and everybody may connect",
	"use tls-creds-psk or tls-creds-x509")

// An Anon is no credentials at all: sessions are encrypted, but nobody knows
// with whom. It is immutable.
type Anon struct {
	Options AnonOptions
	DH      *DHParams // of a server that still has them, else nil
}

// LoadAnon loads a tls-creds-anon object as the newest QEMU does
// (crypto/tlscredsanon.c). The findings and the error are as with [LoadX509].
func LoadAnon(o AnonOptions) (*Anon, []finding.Finding, error) {
	l := newObjectLoader(o.Endpoint, o.Dir)
	if o.Dir != "" {
		l.dh()
	}
	if err := l.failure(); err != nil {
		return nil, nil, err
	}
	return &Anon{o, l.x.DH}, append(l.warnings(), kindAnonymous.Found(o.Dir, "")), nil
}

// Endpoint implements [Credentials].
func (a *Anon) Endpoint() Endpoint { return a.Options.Endpoint }

// Type returns "tls-creds-anon".
func (a *Anon) Type() string { return "tls-creds-anon" }

// Priority implements [Credentials].
func (a *Anon) Priority() string { return a.Options.Priority }

// VerifyPeer implements [Credentials].
func (a *Anon) VerifyPeer() bool { return !a.Options.NoVerifyPeer }

// Files implements [Credentials].
func (a *Anon) Files() []string {
	if a.Options.Endpoint == Client || a.Options.Dir == "" {
		return nil
	}
	return []string{layout.System(layout.QEMU, a.Options.Dir).DH()}
}
