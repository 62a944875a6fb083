// Package strerror says the system's errors in C's words, for messages that are to
// be those of a C program.
package strerror

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// Of returns what strerror(3) says of an error, without the operation and the path
// that Go puts before it.
func Of(err error) string {
	text := err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		text = errno.Error()
	} else if errors.Is(err, fs.ErrPermission) { // of who judges rights by itself
		text = syscall.EACCES.Error()
	} else if path, ok := errors.AsType[*fs.PathError](err); ok {
		text = path.Err.Error()
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
