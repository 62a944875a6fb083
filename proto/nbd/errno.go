package nbd

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// An Errno is an error as it goes over the wire, and what [Client] returns when
// a server refused a request. errors.Is compares it with the [syscall.Errno] of
// the same name.
type Errno uint32

// The errors (proto.md, "Error values").
const (
	EPERM     Errno = 1
	EIO       Errno = 5
	ENOMEM    Errno = 12
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	EOVERFLOW Errno = 75
	ENOTSUP   Errno = 95
	ESHUTDOWN Errno = 108
)

var errnos = map[Errno]syscall.Errno{
	EPERM: syscall.EPERM, EIO: syscall.EIO, ENOMEM: syscall.ENOMEM, EINVAL: syscall.EINVAL, ENOSPC: syscall.ENOSPC,
	EOVERFLOW: syscall.EOVERFLOW, ENOTSUP: syscall.ENOTSUP, ESHUTDOWN: syscall.ESHUTDOWN,
}

// Error says what the error means.
func (e Errno) Error() string {
	if sys, ok := errnos[e]; ok {
		return sys.Error()
	}
	return fmt.Sprintf("NBD error %d", uint32(e))
}

// Is makes errors.Is know the system's error of the same meaning.
func (e Errno) Is(target error) bool {
	sys, ok := errnos[e]
	return ok && target == error(sys)
}

// errnoOf returns what a client is told of an error of a device.
func errnoOf(err error) Errno {
	var e Errno
	if errors.As(err, &e) {
		return e
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return ENOTSUP
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return EPERM
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return ENOSPC
	case errors.Is(err, syscall.ENOMEM):
		return ENOMEM
	case errors.Is(err, syscall.EINVAL):
		return EINVAL
	}
	return EIO
}

// A RequestError is a server's refusal of a request.
type RequestError struct {
	Command string // "read"
	Offset  uint64
	Length  uint64
	Errno   Errno
	Text    string // what the server says about it, often nothing
}

// Error says what was refused and why.
func (e *RequestError) Error() string {
	text := fmt.Sprintf("nbd: %s of %d octets at %d: %v", e.Command, e.Length, e.Offset, e.Errno)
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Unwrap returns the Errno.
func (e *RequestError) Unwrap() error { return e.Errno }
