package ca

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"virtls/ca/register"
	"virtls/internal/atomicfile"
)

// unpackDir holds a backup while it is unpacked and checked. It becomes
// restoreDir when it is complete, and its files move to their places from there.
const unpackDir = ".restore"

// Bounds on what a backup may hold besides the register.
const (
	maxManifest      = 1 << 20
	maxAuthorityFile = 64 << 20 // a long revocation list
	maxBackupFiles   = 1000
)

// Restore makes a state directory of what [State.Export] wrote. A directory
// that has an authority is refused. A restore that was killed has either not
// begun or is finished by the next OpenState.
func Restore(ctx context.Context, backup, dir string, opts Options) error {
	opts.ReadOnly, opts.Create = false, true
	s, err := OpenState(ctx, dir, opts)
	if err != nil {
		return err
	}
	return errors.Join(s.restore(ctx, backup), s.discardUnpacked(), s.Close())
}

// tarName is how many octets at the beginning of a tar file are a name.
const tarName = 100

// namesManifest tells whether a file, which may be cut short, begins with the
// name of the manifest, or of a header for more of the manifest's attributes.
func namesManifest(begin []byte) bool {
	name, _, whole := strings.Cut(string(begin), "\x00")
	if !whole {
		return strings.HasPrefix(manifestName, name) || strings.HasPrefix("PaxHeaders.0/"+manifestName, name)
	}
	return path.Base(name) == manifestName
}

func (s *State) restore(ctx context.Context, backup string) error {
	// Neither a FIFO that nobody writes to nor a pipe that nobody fills keeps it waiting for longer than ctx.
	in, err := os.OpenFile(backup, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return kindNoBackup.Found(backup, "").WithText("the backup cannot be read").Unable(err)
	}
	defer in.Close()
	defer context.AfterFunc(ctx, func() { in.SetReadDeadline(time.Unix(1, 0)) })()
	data := bufio.NewReader(in)
	if begin, _ := data.Peek(tarName); !namesManifest(begin) {
		return kindNoBackup.Found(backup, "no "+manifestName+" at its beginning").Unable(nil)
	}
	archive := tar.NewReader(data)
	head, err := archive.Next()
	switch {
	case err == nil && head.Name != manifestName, errors.Is(err, tar.ErrHeader):
		return kindNoBackup.Found(backup, "no "+manifestName+" at its beginning").Unable(nil)
	case err != nil:
		return kindBackup.Found(backup, "its end before its manifest").Unable(nil)
	}
	list, err := io.ReadAll(io.LimitReader(archive, maxManifest))
	if err != nil {
		return kindBackup.Found(backup, "its end in the middle of its manifest").Unable(nil)
	}
	if bytes.Equal(list, s.restored) {
		return nil // a killed Restore of the same backup, which OpenState has finished
	}
	if err := s.checkEmpty(ctx); err != nil {
		return err
	}
	if err := s.discardUnpacked(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.path(unpackDir, authorityDir), 0o700); err != nil {
		return unwritable(err)
	}
	if err := atomicfile.Write(s.path(unpackDir, manifestName), list, 0o600); err != nil {
		return unwritable(err)
	}
	if err := s.unpack(ctx, backup, list, archive); err != nil {
		return err
	}
	if err := s.checkUnpacked(ctx, backup); err != nil {
		return err
	}
	if err := s.register.Close(); err != nil {
		return err
	}
	s.register = nil
	if err := os.Rename(s.path(unpackDir), s.path(restoreDir)); err != nil {
		return unwritable(err)
	}
	if err := atomicfile.SyncDir(s.dir); err != nil {
		return unwritable(err)
	}
	step("restore")
	return s.finishRestore()
}

// checkEmpty refuses a state that has had an authority.
func (s *State) checkEmpty(ctx context.Context) error {
	entries, err := os.ReadDir(s.path(authorityDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return kindAuthorityUnreadable.Found(s.path(authorityDir), "").Unable(err)
	}
	for _, e := range entries {
		return kindAuthorityExists.Found(s.path(authorityDir, e.Name()), "").WithFix("restore into another directory: --state DIR").Unable(nil)
	}
	for a, err := range s.register.Authorities(ctx) {
		if err != nil {
			return err
		}
		return kindAuthorityExists.Found(s.path(registerFile), a.Subject).WithFix("restore into another directory: --state DIR").Unable(nil)
	}
	return nil
}

// unpack writes a backup's files and compares them with its manifest.
func (s *State) unpack(ctx context.Context, backup string, list []byte, in *tar.Reader) error {
	damaged := func(format string, args ...any) error {
		return kindBackup.Found(backup, fmt.Sprintf(format, args...)).Unable(nil)
	}
	var m manifest
	if err := json.Unmarshal(list, &m); err != nil {
		return damaged("a manifest that is no JSON: %v", err)
	}
	if m.Schema > backupSchema {
		return kindBackupTooNew.Found(backup, fmt.Sprintf("version %d", m.Schema)).
			WithWant(fmt.Sprintf("version %d or lower", backupSchema), "this version of virtls").Unable(nil)
	}
	if m.Schema < 1 || len(m.Files) > maxBackupFiles {
		return damaged("a manifest of %d files, version %d", len(m.Files), m.Schema)
	}
	for _, want := range m.Files {
		if want.Name != registerFile && (!authorityFile.MatchString(want.Name) || want.Size > maxAuthorityFile) {
			return damaged("a file %.80q of %d octets", want.Name, want.Size)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		head, err := in.Next()
		if err != nil {
			return damaged("its end before %s: %v", want.Name, err)
		}
		if head.Name != want.Name || head.Size != want.Size || head.Typeflag != tar.TypeReg {
			return damaged("%.80q of %d octets instead of %s of %d", head.Name, head.Size, want.Name, want.Size)
		}
		sum, err := s.unpackFile(want.Name, in)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return damaged("its end in the middle of %s", want.Name)
		}
		if err != nil {
			return unwritable(err)
		}
		if sum != want.SHA256 {
			return damaged("another %s than was backed up", want.Name)
		}
	}
	if _, err := in.Next(); err != io.EOF {
		return damaged("more than its manifest lists")
	}
	return nil
}

// unpackFile writes one file to the disk and returns its hash.
func (s *State) unpackFile(name string, in io.Reader) (string, error) {
	mode := fs.FileMode(0o600)
	if name != registerFile && !strings.HasSuffix(name, "-key.pem") {
		mode = PublicMode
	}
	out, err := os.OpenFile(s.path(unpackDir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return "", err
	}
	defer out.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, sum), in); err != nil {
		return "", err
	}
	if err := out.Chmod(mode); err != nil {
		return "", err
	}
	if err := out.Sync(); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), out.Close()
}

// checkUnpacked opens the unpacked register, brings it up to date, and looks
// for damage that was there when the backup was made.
func (s *State) checkUnpacked(ctx context.Context, backup string) error {
	dir := s.path(unpackDir)
	if _, err := os.Lstat(filepath.Join(dir, registerFile)); err != nil {
		return kindBackup.Found(backup, "no "+registerFile).Unable(nil)
	}
	db, err := register.Open(filepath.Join(dir, registerFile))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Check(ctx); err != nil {
		return err
	}
	if err := db.Update(ctx, s.Now(), s.act("restore", backup), nil); err != nil {
		return err
	}
	// Export leaves the journal out. What it says is done without a question, anywhere on the machine.
	for p, err := range db.Pending(ctx) {
		if err != nil {
			return err
		}
		return kindBackup.Found(backup, fmt.Sprintf("files that are to be placed, such as %.200q", strings.Join(p.Paths, ", "))).
			WithWant("a register with an empty journal", "virtls ca export").Unable(nil)
	}
	if err := db.Close(); err != nil {
		return err
	}
	return unwritable(errors.Join(atomicfile.SyncDir(filepath.Join(dir, authorityDir)), atomicfile.SyncDir(dir)))
}

// discardUnpacked removes what a killed restore had unpacked.
func (s *State) discardUnpacked() error { return unwritable(os.RemoveAll(s.path(unpackDir))) }

// finishRestore moves the files of a complete backup to their places.
func (s *State) finishRestore() error {
	list, err := os.ReadFile(s.path(restoreDir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is none
	}
	if err != nil {
		return unwritable(err)
	}
	if err := s.makeAuthorityDir(); err != nil {
		return err
	}
	// The register comes first: it knows what is in the files that follow. A
	// journal of the empty one before it must not be taken for its own.
	if _, err := os.Lstat(s.path(restoreDir, registerFile)); err == nil {
		if err := os.Remove(s.path(registerFile + "-journal")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(err)
		}
		if err := os.Rename(s.path(restoreDir, registerFile), s.path(registerFile)); err != nil {
			return unwritable(err)
		}
		step("restore register")
	}
	entries, err := os.ReadDir(s.path(restoreDir, authorityDir))
	if err != nil {
		return unwritable(err)
	}
	for _, e := range entries {
		if err := os.Rename(s.path(restoreDir, authorityDir, e.Name()), s.path(authorityDir, e.Name())); err != nil {
			return unwritable(err)
		}
		step("restore file")
	}
	if err := errors.Join(atomicfile.SyncDir(s.path(authorityDir)), atomicfile.SyncDir(s.dir)); err != nil {
		return unwritable(err)
	}
	step("restored")
	// At once, so that nobody sees half of it.
	if err := os.Rename(s.path(restoreDir), s.path(unpackDir)); err != nil {
		return unwritable(err)
	}
	s.restored = list
	return s.discardUnpacked()
}
