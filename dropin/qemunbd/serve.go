package qemunbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/imagelock"
	"virtls/internal/strerror"
	"virtls/internal/unixsocket"
	"virtls/proto/nbd"
	"virtls/qcow2"
)

// serve serves the disk until the context or the last client ends.
func (r *run) serve(ctx context.Context) error {
	secure, err := r.secure(creds.Server)
	if err != nil {
		return err
	}
	device, closer, err := r.open(r.Operands[0])
	if err != nil {
		return say("Failed to blk_new_open '%s': %w", r.Operands[0], err)
	}
	defer closer.Close()
	export := nbd.Export{Device: device, ReadOnly: r.Has("read-only")}
	export.Name, _ = r.Last("export-name")
	export.Description, _ = r.Last("description")
	l, err := r.listen(ctx)
	if err != nil {
		return err
	}
	if file, ok := r.Last("pid-file"); ok {
		if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
			return say("cannot create PID file: %v", err)
		}
		defer os.Remove(file)
	}
	r.ready()
	s := clients{run: r, persistent: r.Has("persistent")}
	s.Server = nbd.Server{Exports: []nbd.Export{export}, Secure: secure, Log: s.log,
		Limits: nbd.Limits{Connections: r.shared, Handshake: r.limit}}
	return s.accept(ctx, l)
}

// listen opens the socket, in place of one that nobody listens on any more.
func (r *run) listen(ctx context.Context) (net.Listener, error) {
	network, address := r.address()
	var config net.ListenConfig
	var l net.Listener
	var err error
	if network == "unix" {
		l, err = unixsocket.Listen(ctx, config, address, 0)
	} else {
		if strings.HasPrefix(address, "0.0.0.0:") {
			network = "tcp4"
		}
		l, err = config.Listen(ctx, network, address)
	}
	if err != nil {
		what := "bind socket"
		switch {
		case network == "unix":
			what += " to " + address
		case errors.Is(err, syscall.EADDRINUSE):
			what = "find an available port"
		}
		return nil, say("Failed to %s: %s", what, strerror.Of(err))
	}
	return l, nil
}

// A clients is the time from the first client to the last.
type clients struct {
	*run
	nbd.Server
	persistent bool
	mu         sync.Mutex
	open       int  // clients that use the export
	served     bool // there was one
	finish     context.CancelFunc
}

// accept serves clients, at most as many at once as are allowed; others wait.
func (s *clients) accept(ctx context.Context, l net.Listener) error {
	ctx, s.finish = context.WithCancel(ctx)
	defer s.finish()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	slots := make(chan struct{}, s.shared)
	var running sync.WaitGroup
	defer running.Wait()
	defer s.finish()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return say("accept: %s", strerror.Of(err))
		}
		running.Go(func() {
			defer func() { <-slots }()
			_ = s.ServeConn(ctx, c) // log has said why it ended
		})
	}
}

// log tells of clients that were sent away, and ends the program after the last one.
func (s *clients) log(e nbd.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Kind {
	case nbd.Opened:
		s.open, s.served = s.open+1, true
	case nbd.Closed:
		if s.open--; s.open == 0 && !s.persistent {
			s.finish()
		}
	case nbd.Refused:
		fmt.Fprintf(s.Err, "qemu-nbd: %s\n", refusal(e.Err))
	}
}

// refusal says in the real one's words why a client was sent away: the cause alone
// where a list of who may come could not be asked, and that it was in the negotiation.
func refusal(err error) string {
	const where = "option negotiation failed: "
	text := err.Error()
	for f, ok := errors.AsType[*finding.Failure](err); ok; f, ok = errors.AsType[*finding.Failure](f.Cause) {
		text = plain(f).Error()
	}
	if strings.HasPrefix(err.Error(), where) && !strings.HasPrefix(text, where) {
		return where + text
	}
	return text
}

// open opens the disk. A format that was not named is guessed, with warnings.
func (r *run) open(name string) (nbd.Device, io.Closer, error) {
	format, named := r.Last("format")
	if !named {
		f, err := qcow2.OpenLocal(name)
		if err != nil {
			return nil, nil, &qcow2.OpenError{Name: name, Err: cause(err)}
		}
		format, err = qcow2.Probe(f)
		f.Close()
		if err != nil {
			return nil, nil, err
		}
	}
	switch format {
	case "raw":
		f, err := nbd.OpenFile(name, nbd.FileOptions{Write: !r.Has("read-only")})
		if used, ok := errors.AsType[*imagelock.Error](err); ok {
			return nil, nil, used
		}
		if err != nil {
			return nil, nil, &qcow2.OpenError{Name: name, Err: cause(err)}
		}
		if named || r.Has("read-only") {
			return f, f, nil
		}
		fmt.Fprintf(r.Err, "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"+
			"         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n"+
			"         Specify the 'raw' format explicitly to remove the restrictions.\n", name)
		d, ok := f.(writable)
		if !ok {
			f.Close()
			return nil, nil, errors.New("this device is not guessed by virtls: name the format with -f")
		}
		return &guarded{d}, f, nil
	case "qcow2":
		d, err := qcow2.OpenFile(name, qcow2.Options{Format: format})
		if err != nil {
			if path, ok := errors.AsType[*fs.PathError](err); ok {
				err = &qcow2.OpenError{Name: name, Err: path.Err}
			}
			return nil, nil, err
		}
		if !r.Has("read-only") {
			fmt.Fprintf(r.Err, "qemu-nbd: '%s' is served read-only: virtls does not write to qcow2 images\n", name)
		}
		return nbd.Disk(d), d, nil
	}
	return nil, nil, fmt.Errorf("the format '%s' is not supported by virtls; there are raw and qcow2", format)
}

// A guarded disk was guessed to be raw. Nobody may write to its first sector
// what would make it look like something else the next time.
type guarded struct{ writable }

// writable is what a file opened for writing can do.
type writable interface {
	nbd.Device
	nbd.Flusher
	nbd.Trimmer
	nbd.Zeroer
	nbd.Cacher
	nbd.Extenter
	io.WriterAt
}

// sector is what a format is guessed by.
const sector = 512

// WriteAt implements io.WriterAt.
func (g *guarded) WriteAt(p []byte, off int64) (int, error) {
	if off < sector && len(p) > 0 {
		start := make([]byte, sector)
		if _, err := g.writable.ReadAt(start[:min(sector, g.Size())], 0); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		copy(start[off:], p)
		if format, err := qcow2.Probe(bytesFile(start)); err != nil || format != "raw" {
			return 0, fs.ErrPermission
		}
	}
	return g.writable.WriteAt(p, off)
}

// bytesFile is a file in memory. It implements qcow2.File.
type bytesFile []byte

func (b bytesFile) ReadAt(p []byte, off int64) (int, error) { return copy(p, b[off:]), nil }
func (b bytesFile) Size() int64                             { return int64(len(b)) }
func (bytesFile) Close() error                              { return nil }

// cause returns the system's error.
func cause(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// forked is set in the environment of the process that goes on in the
// background; its file descriptor 3 tells the first one that it is ready.
const forked = "VIRTLS_QEMU_NBD_FORKED"

// fork starts the program again in the background and waits until it is ready.
func (r *run) fork() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	c := exec.Command("/proc/self/exe")
	c.Args = os.Args // the name may be what makes the program a qemu-nbd
	c.Env = append(os.Environ(), forked+"=1")
	c.ExtraFiles = []*os.File{write}
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = c.Start()
	write.Close()
	if err != nil {
		return err
	}
	if n, _ := read.Read(make([]byte, 1)); n == 1 {
		return c.Process.Release()
	}
	if err := c.Wait(); err != nil {
		return say("Failed to start in the background: %v", err)
	}
	return nil
}

// ready tells the process that waits in fork, and lets go of its terminal.
func (r *run) ready() {
	if os.Getenv(forked) == "" {
		return
	}
	// Whoever reads standard error would wait for the end of it.
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		_ = unix.Dup3(int(null.Fd()), 2, 0)
		null.Close()
	}
	pipe := os.NewFile(3, "ready")
	_, _ = pipe.Write([]byte{1}) // without a reader there is nobody to tell
	pipe.Close()
	r.Err = io.Discard
}
