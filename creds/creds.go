// Package creds loads TLS credentials from their files, judges them as QEMU and
// libvirt judge their own, and keeps them fresh.
//
// [X509], [PSK] and [Anon] are QEMU's credential objects of the same names, and
// [Secret] is the object that holds their passwords. They load what the newest
// QEMU loads, from the same files in the same order, refuse what it refuses in
// its words, and warn of more. Loaded credentials are immutable, so one set
// serves any number of sessions; a [Holder] puts a new set in the place of the
// old one in one step, or keeps the old one if the new one is bad.
//
// A [Consumer] is one release of QEMU or libvirt at one end of a connection.
// [Consumer.Judge] tells whether that program would load a set of files, and
// what it would say. What differs between releases is a row of capabilities in
// a table; each check is a function of its own that names its source.
package creds

import "virtls/layout"

// An Endpoint is the end of connections that credentials are for.
type Endpoint int

// The endpoints. As in QEMU, credentials are a client's unless told otherwise.
const (
	Client Endpoint = iota
	Server
)

// String returns "client" or "server", as the property endpoint has it.
func (e Endpoint) String() string { return [...]string{"client", "server"}[e] }

// Role returns the role by which package layout names the endpoint's files.
func (e Endpoint) Role() layout.Role {
	if e == Server {
		return layout.Server
	}
	return layout.Client
}

// Credentials are a loaded credential object: *[X509], *[PSK] or *[Anon]. They
// are immutable and may be used by any number of goroutines.
type Credentials interface {
	Endpoint() Endpoint
	Type() string     // the type's name in QEMU: "tls-creds-x509"
	Priority() string // GnuTLS priority string, empty for the default
	VerifyPeer() bool // whether peers must prove who they are; means nothing to PSK and anonymous credentials
	Files() []string  // whose change is a reason to load anew, also those that may be missing
}
