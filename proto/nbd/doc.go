// Package nbd is the Network Block Device protocol with TLS, server and client,
// as the NBD project's document doc/proto.md has it and as QEMU 7.2 to 11.1,
// nbdkit and libnbd speak it.
//
// A [Server] serves [Export]s. What an export is made of is a [Device]: anything
// that has a size and can be read at an offset. More is optional, and found out
// by asking whether the device also implements [io.WriterAt], [Flusher],
// [Trimmer], [Zeroer], [Cacher], [Extenter] or [BlockSizer]; the server announces
// to its clients what is there. [OpenFile] makes a device of a raw file or a
// block device.
//
//	disk, err := nbd.OpenFile("disk.raw", nbd.FileOptions{Write: true})
//	...
//	server := &nbd.Server{Exports: []nbd.Export{{Name: "disk", Device: disk}}}
//	err = server.Serve(ctx, listener)
//
// A [Client] is one connection to one export. It implements [io.ReaderAt] and
// [io.WriterAt] and may be used by any number of goroutines, whose requests are
// in flight at the same time. [Query] asks a server what it has without using
// it, and [Copy] copies whole devices over several connections.
//
// # TLS
//
// NBD goes over to TLS inside the protocol, by its option STARTTLS. Both sides
// take a function for that, a [Secure]; [Session] makes one of package session.
// A server with one insists on TLS unless told otherwise, a client with one
// always does. Nothing that was said or sent before counts afterwards: both
// sides begin anew, and neither reads a byte too many in plain text.
//
// # Limits
//
// Every length that a peer names is checked before it is used. What a
// connection can make a server hold in memory is bounded by [Limits].Window.
package nbd
