package session

import (
	"net"
	"syscall"
)

// acknowledge tells a TCP peer at once what has come. GnuTLS's clients send the
// end of their handshake in several pieces, and QEMU's keep one back until the one
// before is acknowledged (Nagle), for which Linux takes 40 ms.
func acknowledge(nc net.Conn, raw syscall.RawConn) {
	if _, ok := nc.(*net.TCPConn); ok {
		raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) })
	}
}
