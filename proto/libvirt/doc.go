// Package libvirt is what libvirt's remote protocol says on the wire: how it gets
// from TCP to TLS, and the first messages inside.
//
// A client speaks TLS at once. When the handshake is complete both ends judge
// each other's certificates; a server that accepts its client then sends one byte
// ([Confirm]), which the client waits for ([AwaitConfirmation]) before it says
// anything. A server that refuses closes the connection without a word, so that
// its log alone knows why (src/rpc/virnettlscontext.c and virnetclient.c; the
// same in libvirt 9.0 to 12.8).
package libvirt
