package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"virtls/finding"
	"virtls/internal/imagelock"
	"virtls/proto/nbd"
	"virtls/qcow2"
)

var (
	kindNBDFailed = finding.Define("nbd-failed", finding.Error,
		"a disk could not be read, written or served", "the text says which, where and why")
	kindNBDRequest = finding.Define("nbd-request-refused", finding.Error,
		"a server refuses to read or write a part of a disk", "the log of the server says more; a disk may be served read-only, be full, or be failing")
	kindNBDInUse = finding.Define("nbd-disk-in-use", finding.Error,
		"another process uses a disk in a way that does not go together with this", "end the guest or program that uses it, or have that QEMU serve the disk itself (nbd-server-start, block-export-add)")
	kindDiskFormat = finding.Define("disk-format", finding.Error,
		"a disk image has a format that virtls does not read", "qemu-img convert -O qcow2 IMAGE NEW copies it into one that is; --format raw serves the octets of the file as they are")
	kindDiskLooks = finding.Define("disk-copied-as-it-is", finding.Warning,
		"a file looks like a disk image with a format; the octets of the file are copied, not what a guest sees", "virtls nbd serve FILE serves what a guest sees, from where it can be copied")
	kindImageDamaged = finding.Define("qcow2-damaged", finding.Error,
		"a qcow2 image contradicts itself: it is damaged, cut off, or made to harm", "name the format if it is not qcow2; else qemu-img check IMAGE tells more, and a copy of the image is needed")
	kindImageUnsupported = finding.Define("qcow2-unsupported", finding.Error,
		"a qcow2 image has a feature that virtls does not read", "qemu-img convert -O qcow2 IMAGE NEW makes a copy without it; or have QEMU's own qemu-nbd serve it")
	kindBacking = finding.Define("qcow2-backing", finding.Error,
		"an image is built on another one, which cannot be used", "put the backing file where the image says, or name the right one: qemu-img rebase -u -b FILE -F FORMAT IMAGE")
	kindSnapshot = finding.Define("qcow2-snapshot-unknown", finding.Error,
		"an image has no internal snapshot of that name or id", "qemu-img snapshot -l IMAGE lists them")
)

// nbdFailure makes a finding of what went wrong with a disk.
func nbdFailure(subject string, err error) error {
	if _, ok := errors.AsType[*finding.Failure](err); ok || err == nil {
		return err
	}
	if backing, ok := errors.AsType[*qcow2.BackingError](err); ok {
		return backingFailure(subject, backing)
	}
	if used, ok := errors.AsType[*imagelock.Error](err); ok {
		return kindNBDInUse.Found(subject, used.File).WithText("%v", used).Unable(err)
	}
	if image, ok := errors.AsType[*qcow2.Error](err); ok {
		kind := kindImageDamaged
		if image.Unsupported {
			kind = kindImageUnsupported
		}
		return kind.Found(subject, "").WithText("%v", image).WithWant(image.Want, "").Unable(err)
	}
	if snapshot, ok := errors.AsType[*qcow2.SnapshotError](err); ok {
		var there []string
		for _, s := range snapshot.There {
			there = append(there, fmt.Sprintf("%s (id %s)", s.Name, s.ID))
		}
		return kindSnapshot.Found(subject, "").WithText("%v", snapshot).WithWant(strings.Join(there, ", "), "").Unable(err)
	}
	if _, ok := errors.AsType[nbd.Errno](err); ok {
		return kindNBDRequest.Found(subject, "").WithText("%v", err).Unable(err)
	}
	if size, ok := errors.AsType[*nbd.SizeError](err); ok {
		return kindNBDFailed.Found(subject, octets(size.Destination)).WithText("the destination is smaller than the source").
			WithWant(fmt.Sprintf("%s (%d octets) or more", octets(size.Source), size.Source), "").
			WithFix("make the destination larger: truncate -s %d FILE, lvextend or qemu-img resize where it is served", size.Source).Unable(nil)
	}
	f := kindNBDFailed.Found(subject, "").WithText("%v", err)
	if path, ok := errors.AsType[*fs.PathError](err); ok && path.Path == subject {
		f.Text, err = fmt.Sprintf("cannot %s it: %v", path.Op, path.Err), path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f = f.WithFix("check the name and its directory")
	case errors.Is(err, errSameFile):
		f = f.WithFix("name another destination")
	case errors.Is(err, syscall.EISDIR):
		f = f.WithFix("name a file in this directory")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		f = f.WithFix("make room, and run the command again; with --resume FILE it goes on from where it was")
	case errors.Is(err, fs.ErrPermission):
		f = f.WithFix("run virtls as a user who may use it, or let this user")
	}
	return f.Unable(err)
}

// backingFailure tells of the lowest image of a chain that could be found, and
// of those above it.
func backingFailure(subject string, b *qcow2.BackingError) error {
	chain := []string{subject}
	for {
		below, ok := errors.AsType[*qcow2.BackingError](b.Err)
		if !ok {
			break
		}
		chain, b = append(chain, b.Name), below
	}
	got := "the backing file of " + chain[len(chain)-1]
	if len(chain) > 1 {
		got += fmt.Sprintf(", %d images below %s", len(chain), subject)
	}
	f := kindBacking.Found(b.Name, got).WithText("%v", b.Err)
	if image, ok := errors.AsType[*qcow2.Error](b.Err); ok {
		f = f.WithWant(image.Want, "")
	}
	return f.Unable(b.Err)
}
