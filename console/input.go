package console

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An input is a file that is read until somebody stops it: a read from a
// terminal cannot be ended otherwise.
type input struct {
	f          *os.File
	fd         int32
	wake, stir *os.File      // ends of a pipe
	stopped    chan struct{} // closed by stop
}

func newInput(f *os.File) (*input, error) {
	wake, stir, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &input{f: f, fd: int32(f.Fd()), wake: wake, stir: stir, stopped: make(chan struct{})}, nil
}

// read reads what there is, and io.EOF when the input has ended or was stopped.
func (in *input) read(p []byte) (int, error) {
	fds := []unix.PollFd{{Fd: in.fd, Events: unix.POLLIN}, {Fd: int32(in.wake.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("poll", err)
		}
		if fds[1].Revents != 0 {
			return 0, io.EOF
		}
		if fds[0].Revents != 0 {
			n, err := unix.Read(int(in.fd), p)
			switch {
			case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
				continue
			case err != nil:
				return 0, os.NewSyscallError("read", err)
			case n == 0:
				return 0, io.EOF
			}
			return n, nil
		}
	}
}

// sleep waits, and tells whether the input was stopped meanwhile.
func (in *input) sleep(d time.Duration) (stopped bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return false
	case <-in.stopped:
		return true
	}
}

// stop ends a read that waits.
func (in *input) stop() {
	close(in.stopped)
	in.stir.Close()
}

// close gives back what the input needed. Nobody reads any more.
func (in *input) close() { in.wake.Close() }
