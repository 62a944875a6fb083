package certtool

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"virtls/internal/atomicfile"
)

// An output is where the result goes. A file is put in place by commit, and
// not before; everything else is written as it comes.
type output struct {
	w      io.Writer
	err    error         // the first that a write met with
	device *os.File      // --outfile that is no regular file
	buffer *bytes.Buffer // of a file, nil for anything else
	path   string        // of the file, links resolved
	mode   fs.FileMode
}

// accessWrite is W_OK of access(2).
const accessWrite = 2

// openOutput finds out, before anything is done, whether the result can be written.
func (c *command) openOutput() (*output, error) {
	name, ok := c.Last("outfile")
	if !ok {
		return &output{w: c.std.Out}, nil
	}
	cannot := fail("Cannot open %s for writing", name)
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return nil, cannot
		}
		return &output{w: f, device: f}, nil
	}
	path, err := atomicfile.ResolveLink(name)
	if err != nil || syscall.Access(filepath.Dir(path), accessWrite) != nil {
		return nil, cannot
	}
	o := &output{buffer: new(bytes.Buffer), path: path, mode: fileMode(path, c.outputIsSecret())}
	o.w = o.buffer
	return o, nil
}

// outputIsSecret tells whether the result will hold a private key.
func (c *command) outputIsSecret() bool {
	for _, name := range writesKeys {
		if c.Has(name) {
			return true
		}
	}
	return false
}

// fileMode returns the permissions of a new file at path: those of the old
// one, or what the umask leaves; for secrets nothing beyond the owner's.
func fileMode(path string, secret bool) fs.FileMode {
	mode := 0o666 &^ umask()
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if secret {
		mode &= 0o600
	}
	return mode | 0o400
}

// umask reads the process's file mode creation mask without changing it, which
// the system call cannot do.
func umask() fs.FileMode {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0o022
	}
	_, line, _ := strings.Cut(string(status), "\nUmask:\t")
	line, _, _ = strings.Cut(line, "\n")
	mask, err := strconv.ParseUint(line, 8, 32)
	if err != nil {
		return 0o022
	}
	return fs.FileMode(mask) & fs.ModePerm
}

// Write remembers the first error for commit, so that not every line of text
// has to be checked.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// commit puts the file in place, and tells whether all was written.
func (o *output) commit() error {
	switch {
	case o == nil:
	case o.err != nil:
		return fail("certtool: cannot write the output: %v", o.err)
	case o.device != nil:
		return o.device.Close()
	case o.buffer != nil:
		if err := atomicfile.Write(o.path, o.buffer.Bytes(), o.mode, owner(o.path)...); err != nil {
			return errors.Join(fail("Cannot open %s for writing", o.path), err)
		}
	}
	return nil
}

// owner keeps the owner of a file that is replaced, where that can be done.
func owner(path string) []atomicfile.Option {
	info, err := os.Stat(path)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return []atomicfile.Option{atomicfile.Owner(int(stat.Uid), int(stat.Gid))}
}
