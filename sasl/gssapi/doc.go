// Package gssapi is SASL's mechanism GSSAPI with Kerberos (RFC 4752), as client
// and as server, in the way of Cyrus SASL, which QEMU, libvirt and gtk-vnc use.
//
// [Client] and [Server] are values for the fields GSSAPI of package sasl: who
// does not want Kerberos does not import this package and does not link it.
//
// Tickets and keys are those of gokrb5. What it lacks is here: the server's half
// of a context, the negotiation of a security layer, and sealed messages
// (RFC 4121, 4.2.4). Contexts are mutual, and keys are of AES: the older types of
// encryption are refused by name.
package gssapi
