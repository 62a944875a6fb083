package qemuimg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"virtls/qcow2"
)

// A source is an opened disk.
type source struct {
	qcow2.Disk
	name     string // in output
	protocol string // driver of the file: "file" or "nbd"
	bare     bool   // there is no format above the protocol
}

// driver is what "file format" says.
func (s *source) driver() string {
	if s.bare {
		return s.protocol
	}
	return s.Format()
}

// openOptions say how a disk is opened beyond what its name says.
type openOptions struct {
	imageOpts bool
	format    string
	snapshot  string
	alone     bool // without its backing file
	locks     qcow2.Locks
}

func (a *arguments) opened() openOptions {
	o := openOptions{imageOpts: a.imageOpts, format: a.format}
	switch {
	case a.Has("force-share"):
		o.locks = qcow2.LockNothing
	case a.command.name == "info":
		o.locks = qcow2.LockLooking
	case a.command.name == "convert":
		o.locks = qcow2.LockAll
	}
	return o
}

// open opens a disk for reading. Errors are what follows the program's name.
func (r *run) open(name string, o openOptions) (*source, error) {
	s, err := r.openDisk(name, o)
	if err != nil {
		return nil, say("Could not open '%s': %w", name, err)
	}
	return s, nil
}

func (r *run) openDisk(name string, o openOptions) (*source, error) {
	p, err := r.place(name, o)
	if err != nil {
		return nil, err
	}
	f, err := r.openFile(p)
	if err != nil {
		return nil, err
	}
	if p.unlocked {
		o.locks = qcow2.LockNothing
	}
	if p.bare {
		p.format = "raw"
	}
	d, err := qcow2.Open(f, r.names[f], qcow2.Options{Format: p.format, Snapshot: o.snapshot, NoBacking: o.alone, Open: r.openBacking, Locks: o.locks})
	if err != nil {
		f.Close()
		return nil, err
	}
	return &source{d, r.names[f], p.protocol, p.bare}, nil
}

// openBacking opens a backing file by the name that an image has for it.
func (r *run) openBacking(name string) (qcow2.File, error) {
	p, err := r.place(name, openOptions{})
	if err != nil {
		return nil, say("Could not open '%s': %w", name, err)
	}
	f, err := r.openFile(p)
	if err != nil && p.protocol != "file" {
		return nil, say("Could not open '%s': %w", name, err)
	}
	return f, err
}

// A place is where the bytes of a disk are, and what they are taken for.
type place struct {
	protocol string // "file" or "nbd"
	path     string // of "file"
	export   export // of "nbd"
	format   string // "" for probing
	bare     bool
	unlocked bool
}

// formats are those that the real one knows, most of which are not supported.
var formats = []string{"raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "vhdx", "luks", "parallels", "bochs", "cloop", "dmg"}

// protocols are what the real one can get data through besides files and NBD.
var protocols = []string{"http", "https", "ftp", "ftps", "ssh", "iscsi", "rbd", "gluster", "nfs", "fat", "vvfat", "null-co", "null-aio", "blkdebug", "host_device", "nvme"}

// place finds out what a name on the command line, or one in an image, means.
func (r *run) place(name string, o openOptions) (place, error) {
	if o.imageOpts || strings.HasPrefix(name, "json:") {
		return placeOfOptions(name, o.format)
	}
	p := place{protocol: "file", path: name, format: o.format}
	if err := knownFormat(p.format); err != nil {
		return p, err
	}
	colon, slash := strings.IndexByte(name, ':'), strings.IndexByte(name, '/')
	if colon <= 0 || slash >= 0 && slash < colon {
		return p, nil
	}
	switch scheme := name[:colon]; {
	case scheme == "file":
		p.path = name[colon+1:]
		return p, nil
	case scheme == "nbd" || strings.HasPrefix(scheme, "nbd+"):
		p.protocol = "nbd"
		var err error
		p.export, err = exportOfName(name)
		return p, err
	default:
		return p, unknownProtocol(scheme)
	}
}

func unknownProtocol(name string) error {
	if slices.Contains(protocols, name) {
		return fmt.Errorf("the protocol '%s' is not supported by virtls", name)
	}
	return say("Unknown protocol '%s'", name)
}

// knownFormat refuses the names of formats other than raw and qcow2.
func knownFormat(format string) error {
	switch {
	case format == "" || format == "raw" || format == "qcow2":
		return nil
	case slices.Contains(formats, format):
		return fmt.Errorf("the format '%s' is not supported by virtls; there are raw and qcow2", format)
	}
	return say("Unknown driver '%s'", format)
}

func (r *run) openFile(p place) (qcow2.File, error) {
	if p.protocol == "nbd" {
		f, err := r.connect(p.export, false)
		if err != nil {
			return nil, err
		}
		r.names[f] = p.export.filename()
		return f, nil
	}
	f, err := qcow2.OpenLocal(p.path)
	if err != nil {
		return nil, localError(p.path, err)
	}
	r.names[f] = p.path
	return f, nil
}

// localError gives an error of opening a file QEMU's words.
func localError(path string, err error) error {
	var cause *fs.PathError
	if !errors.As(err, &cause) {
		return err
	}
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return fmt.Errorf("'file' driver requires '%s' to be a regular file", path)
	}
	return &qcow2.OpenError{Name: path, Err: cause.Err}
}
