package ca

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/atomicfile"
)

func TestOpenStateRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, dir string)
		opts Options
		kind *finding.Kind
	}{
		{"missing", func(*testing.T, string) {}, Options{}, kindStateMissing},
		{"missing for a reader", func(*testing.T, string) {}, Options{ReadOnly: true}, kindStateMissing},
		{"empty", func(t *testing.T, dir string) { must(t, os.Mkdir(dir, 0o700)) }, Options{}, kindStateMissing},
		{"a file", func(t *testing.T, dir string) { must(t, os.WriteFile(dir, nil, 0o600)) }, Options{Create: true}, kindStateForeign},
		{"easy-rsa's directory", func(t *testing.T, dir string) {
			must(t, os.MkdirAll(dir+"/private", 0o700))
			must(t, os.WriteFile(dir+"/ca.crt", nil, 0o600))
		}, Options{Create: true}, kindStateForeign},
		{"somebody's open directory", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o755))
			must(t, os.WriteFile(dir+"/cat.jpg", nil, 0o600))
		}, Options{Create: true}, kindStateForeign},
		{"somebody's open directory, for a reader", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o755))
			must(t, os.WriteFile(dir+"/cat.jpg", nil, 0o600))
		}, Options{ReadOnly: true}, kindStateForeign},
		{"an open directory with nothing in it", func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o755))
		}, Options{Create: true}, kindStateMode},
		{"open to the group", func(t *testing.T, dir string) {
			open(t, dir, Options{}).Close()
			must(t, os.Chmod(dir, 0o750))
		}, Options{}, kindStateMode},
		{"open to all, for a reader", func(t *testing.T, dir string) {
			open(t, dir, Options{}).Close()
			must(t, os.Chmod(dir, 0o755))
		}, Options{ReadOnly: true}, kindStateMode},
		{"newer", func(t *testing.T, dir string) {
			open(t, dir, Options{}).Close()
			must(t, os.WriteFile(dir+"/version", []byte("2\n"), 0o600))
		}, Options{Create: true}, register.KindTooNew},
		{"newer, for a reader", func(t *testing.T, dir string) {
			open(t, dir, Options{}).Close()
			must(t, os.WriteFile(dir+"/version", []byte("2\n"), 0o600))
		}, Options{ReadOnly: true}, register.KindTooNew},
		{"no version", func(t *testing.T, dir string) {
			open(t, dir, Options{}).Close()
			must(t, os.WriteFile(dir+"/version", []byte("one"), 0o600))
		}, Options{}, kindStateForeign},
		{"register lost", func(t *testing.T, dir string) {
			s, _ := newCA(t, dir, Options{}, AuthoritySpec{})
			must(t, s.Close())
			must(t, os.Remove(dir+"/register.db"))
		}, Options{Create: true}, kindAuthorityUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := stateDir(t)
			test.make(t, dir)
			s, err := OpenState(t.Context(), dir, test.opts)
			if err == nil {
				s.Close()
			}
			checkFailure(t, err, test.kind, finding.ExitUnable)
			if f := finding.Of(err); f.Fix == "" {
				t.Errorf("nothing says how to mend it: %+v", f)
			}
		})
	}
}

func TestStateDirectory(t *testing.T) {
	dir := stateDir(t)
	s := open(t, dir, Options{})
	check(t, "files", names(t, dir), []string{"./ 0700", "version 0600"})
	if text := string(read(t, dir+"/lock")); !strings.Contains(text, "virtls test, process ") {
		t.Errorf("the lock says %q", text)
	}
	must(t, s.Close())
	check(t, "lock after closing", string(read(t, dir+"/lock")), "")

	_, a := newCA(t, dir, Options{}, AuthoritySpec{Passphrase: secret})
	check(t, "files with an authority", names(t, dir), []string{
		"./ 0700", "ca/ 0700", "ca/ca-cert.pem 0644", "ca/ca-key.pem 0600", "version 0600"})
	check(t, "name", a.Name, "ca")
	info, err := os.Stat(dir + "/register.db")
	must(t, err)
	check(t, "mode of the register", info.Mode().Perm(), os.FileMode(0o600))
}

// A reader works beside a writer, takes no lock and leaves nothing behind.
func TestReadOnlyState(t *testing.T) {
	dir := stateDir(t)
	writer, a := newCA(t, dir, Options{}, AuthoritySpec{})
	issueOne(t, a, order(t, "kvm1.example.com"))
	before := tree(t, dir)
	reader := open(t, dir, Options{ReadOnly: true})
	check(t, "certificates", len(certificates(t, reader.Register(), filterAll)), 1)
	loaded, err := reader.Authority(t.Context(), "ca")
	must(t, err)
	must(t, loaded.Unlock(nil))
	_, err = loaded.Issue(t.Context(), []Order{order(t, "kvm2.example.com")})
	checkFailure(t, err, kindStateUnwritable, finding.ExitUnable)
	check(t, "tree", tree(t, dir), before)
	issueOne(t, a, order(t, "kvm3.example.com"))
	check(t, "certificates later", len(certificates(t, reader.Register(), filterAll)), 2)
	must(t, reader.Close())
	must(t, writer.Close())
	check(t, "tree after all", tree(t, dir), before)
}

func TestLock(t *testing.T) {
	dir := stateDir(t)
	holder := open(t, dir, Options{User: "alice", Command: "virtls apply\nfleet.yaml"})
	_, err := OpenState(t.Context(), dir, Options{})
	checkFailure(t, err, kindStateLocked, finding.ExitUnable)
	for _, want := range []string{"virtls apply fleet.yaml, process ", " of alice, since 20"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenState(ctx, dir, Options{Wait: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting and interrupted: %v", err)
	}
	var waiter sync.WaitGroup
	waiter.Go(func() {
		s, err := OpenState(t.Context(), dir, Options{Wait: time.Minute})
		if err != nil {
			t.Error(err)
			return
		}
		s.Close()
	})
	must(t, holder.Close())
	waiter.Wait()
}

// What a killed process staged and never journalled goes; what is not ours stays.
func TestSweep(t *testing.T) {
	dir := stateDir(t)
	s, a := newCA(t, dir, Options{}, AuthoritySpec{})
	must(t, os.MkdirAll(dir+"/hosts/kvm1/etc/pki", 0o700))
	staged, err := atomicfile.Stage(dir+"/hosts/kvm1/etc/pki/key.pem", []byte("x"), 0o600)
	must(t, err)
	ours := write(t, dir+"/hosts/kvm1/etc/pki", "mine.tmp", nil)
	// A command that ends in good order leaves nothing, so that nobody looks.
	must(t, s.Close())
	s = open(t, dir, Options{})
	if _, err := os.Stat(staged.Temp()); err != nil {
		t.Error("swept although nobody had been killed")
	}
	s.abandon()
	s = open(t, dir, Options{})
	if _, err := os.Stat(staged.Temp()); err == nil {
		t.Error("not swept after a kill")
	}
	if _, err := os.Stat(ours); err != nil {
		t.Error("swept what is not ours")
	}
	check(t, "findings", codes(s.Findings()), []string(nil))
	_ = a
}

// The directory may be moved: nothing in it knows its path.
func TestStateMoves(t *testing.T) {
	dir := stateDir(t)
	s, a := newCA(t, dir, Options{}, AuthoritySpec{})
	o := orderWithFiles(t, s, "kvm1.example.com")
	cert := issueOne(t, a, o)
	s.abandon()
	moved := filepath.Join(t.TempDir(), "elsewhere")
	must(t, os.Rename(dir, moved))
	s = open(t, moved, Options{})
	check(t, "findings", codes(s.Findings()), []string{kindFinished.Code})
	checkPlaced(t, moved, "kvm1.example.com", cert)
}
