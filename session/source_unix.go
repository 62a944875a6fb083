//go:build unix

package session

import (
	"io"
	"os"
	"syscall"
)

const canReadNow = true

// readNow reads what a connection has, without waiting.
func readNow(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, errTooMuch
	}
	for {
		switch n, err := syscall.Read(int(fd), p); {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, errNothing
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
