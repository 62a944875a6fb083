package ca

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/peertest"
)

// mounted runs a scenario as a child in a mount namespace of its own.
func mounted(t *testing.T, scenario string) {
	t.Helper()
	peertest.NeedRoot(t, "mounting a small file system")
	cmd := child(t.Context(), scenario, t.TempDir(), 0)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%v: %s", exit, out)
	} else if err != nil {
		peertest.Missing(t, "no mount namespace can be had: "+err.Error(), "run the test as root with CAP_SYS_ADMIN")
	}
}

// mountTmpfs puts an empty file system at dir.
func mountTmpfs(dir, options string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("tmpfs", dir, "tmpfs", 0, options)
}

func wantFailure(err error, codes ...string) error {
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok || !slices.Contains(codes, f.Code) || f.Exit != finding.ExitUnable || f.Fix == "" {
		return fmt.Errorf("error %v (%+v), want finding %v", err, f, codes)
	}
	return nil
}

func TestFullDisk(t *testing.T) { mounted(t, "fulldisk") }

// fullDiskScenario fills the file system at every step of issuing, and wants
// a finding, nothing half-written and, with room again, the work done.
func fullDiskScenario(ctx context.Context, dir string) error {
	if err := mountTmpfs(dir, "size=4m"); err != nil {
		return err
	}
	state := filepath.Join(dir, "pki")
	s, err := OpenState(ctx, state, Options{Create: true})
	if err != nil {
		return err
	}
	a, err := s.CreateAuthority(ctx, AuthoritySpec{Subject: cn("Example CA")})
	if err != nil {
		return err
	}
	fill := filepath.Join(dir, "fill")
	for free := 0; ; free += 4096 {
		orders, err := missing(s)
		if err != nil {
			return err
		}
		if err := fillDisk(fill, free); err != nil {
			return err
		}
		issued, err := a.Issue(ctx, orders)
		if err == nil {
			var places []*register.Placement
			for _, i := range issued {
				places = append(places, i.Place)
			}
			err = s.Place(ctx, places)
		}
		if err == nil {
			break
		}
		if err := wantFailure(err, "register-unusable", "state-unwritable"); err != nil {
			return fmt.Errorf("with %d octets free: %w", free, err)
		}
		s.abandon()
		// Still full: the next run says so, or has managed with what there is.
		if s, err = OpenState(ctx, state, Options{}); err == nil {
			s.abandon()
		} else if err := wantFailure(err, "register-unusable", "state-unwritable"); err != nil {
			return fmt.Errorf("opened with %d octets free: %w", free, err)
		}
		if err := os.Remove(fill); err != nil {
			return err
		}
		if s, err = OpenState(ctx, state, Options{}); err != nil {
			return err
		}
		if a, err = s.Authority(ctx, "ca"); err != nil {
			return err
		}
		if err := a.Unlock(nil); err != nil {
			return err
		}
		for p, err := range s.Register().Pending(ctx) {
			return fmt.Errorf("still pending: %v, %v", p, err)
		}
		if len(issued) > 0 {
			// What was issued is in place; begin again from nothing.
			if left, err := missing(s); err != nil || len(left) > 0 {
				return fmt.Errorf("%d certificates are missing after recovery (%v)", len(left), err)
			}
		}
		if err := os.RemoveAll(filepath.Join(state, "hosts")); err != nil {
			return err
		}
		if free > 1<<20 {
			return errors.New("the disk is never large enough")
		}
	}
	return s.Close()
}

// fillDisk leaves about so many octets free.
func fillDisk(path string, free int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			return err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate(max(0, info.Size()-int64(free)))
}

func TestReadOnlyDirectory(t *testing.T) { mounted(t, "readonly") }

// readOnlyScenario wants writers refused and readers served on a read-only file system.
func readOnlyScenario(ctx context.Context, dir string) error {
	if err := mountTmpfs(dir, ""); err != nil {
		return err
	}
	state := filepath.Join(dir, "pki")
	s, err := OpenState(ctx, state, Options{Create: true})
	if err != nil {
		return err
	}
	if _, err := s.CreateAuthority(ctx, AuthoritySpec{Subject: cn("Example CA")}); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	for _, opts := range []Options{{}, {Create: true}} {
		if _, err := OpenState(ctx, state, opts); wantFailure(err, "state-unwritable") != nil {
			return wantFailure(err, "state-unwritable")
		}
	}
	if _, err := OpenState(ctx, filepath.Join(dir, "new"), Options{Create: true}); wantFailure(err, "state-unwritable") != nil {
		return wantFailure(err, "state-unwritable")
	}
	if s, err = OpenState(ctx, state, Options{ReadOnly: true}); err != nil {
		return err
	}
	if _, err := s.Authority(ctx, "ca"); err != nil {
		return err
	}
	return s.Close()
}
