// Package unixsocket listens on UNIX sockets as services want it: with exactly
// the rights that they are to have, and in the place of a dead one.
package unixsocket

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// Listen listens on a path. It takes the place of a socket that nobody listens on
// any more, and of nothing else. Mode 0 leaves the rights to the umask; with
// another one the socket has exactly these, and never more.
func Listen(ctx context.Context, lc net.ListenConfig, path string, mode fs.FileMode) (net.Listener, error) {
	l, err := bind(ctx, lc, path, mode)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		l, err = bind(ctx, lc, path, mode)
	}
	if err != nil || mode == 0 {
		return l, err
	}
	// The umask may have taken something away.
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// bind makes the socket. On Linux the mode of the socket itself, less the umask,
// is that of the file which bind(2) makes (unix_bind_bsd, net/unix/af_unix.c).
func bind(ctx context.Context, lc net.ListenConfig, path string, mode fs.FileMode) (net.Listener, error) {
	if mode != 0 {
		lc.Control = func(_, _ string, c syscall.RawConn) (err error) {
			failed := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), uint32(mode)) })
			return errors.Join(failed, err)
		}
	}
	return lc.Listen(ctx, "unix", path)
}

// abandoned tells whether the path is a socket without a listener.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
