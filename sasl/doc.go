// Package sasl proves who a user is, as client and as server, by the mechanisms
// of RFC 4422 that QEMU and libvirt are set up with.
//
// A mechanism knows nothing of the protocol that carries it: it takes and
// returns messages, of which nil is no message and an empty one is a message
// without content, a difference that Cyrus SASL makes too.
package sasl
