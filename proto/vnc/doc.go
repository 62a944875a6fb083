// Package vnc is the part of the RFB protocol (RFC 6143) that decides who may
// see a screen, at both ends: versions 3.3, 3.7 and 3.8, the security types
// None, VNC password and SASL, and VeNCrypt 0.2 with TLS from package session,
// as QEMU 7.2 to 11.1 serves them and gtk-vnc and TigerVNC ask for them.
//
// [Dial] takes a connection to a server up to where the client's first message
// is due, [Accept] a connection of a viewer. From there on all versions and
// security types are the same, so what follows can be handed from one [Conn] to
// another. [NewScreen] goes on as a viewer that takes one picture.
//
// Every length that a peer names is checked before it is used, and every wait
// ends with the context, or after [DefaultLimit] if it has no deadline.
package vnc
