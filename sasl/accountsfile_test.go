package sasl

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"virtls/finding"
)

// A server's accounts follow their file; a file that cannot be used changes nothing.
func TestAccountsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	if _, err := OpenAccounts(path); finding.Of(err).Code != "sasl-accounts" {
		t.Errorf("no file: %v", err)
	}
	set := func(user, password string) {
		t.Helper()
		must(t, EditAccounts(t.Context(), path, true, func(a *Accounts) error { return a.Set(user, []byte(password)) }))
	}
	set("fred", secret)
	f, err := OpenAccounts(path)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan error, 16), make(chan struct{})
	go func() {
		f.Watch(ctx, func(err error) { told <- err })
		close(ended)
	}()
	next := func() error {
		t.Helper()
		select {
		case err := <-told:
			return err
		case <-time.After(30 * time.Second):
			t.Fatal("a change went unnoticed")
			return nil
		}
	}
	must(t, next())
	s := &Server{Accounts: f.Current}
	try := func(password string) error {
		_, err := exchange(s, ClientOptions{Login: &Login{"fred", []byte(password)}}, secure)
		return err
	}
	must(t, try(secret))
	set("fred", otherSecret)
	for try(otherSecret) != nil {
		must(t, next())
	}
	if err := try(secret); err == nil {
		t.Error("the old password is good after it was changed")
	}
	must(t, os.WriteFile(path, []byte("fred "+secret+"\n"), 0o600))
	err = next()
	for err == nil {
		err = next()
	}
	if finding.Of(err).Code != "sasl-accounts" || strings.Contains(err.Error(), secret) {
		t.Errorf("a bad file: %v", err)
	}
	must(t, try(otherSecret))
	cancel()
	<-ended
}

// What is no regular file keeps nobody waiting.
func TestAccountsFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	must(t, syscall.Mkfifo(path, 0o600))
	if _, err := OpenAccounts(path); finding.Of(err).Code != "sasl-accounts" || !strings.Contains(err.Error(), "a FIFO") {
		t.Error(err)
	}
}

// A reload that began before a change does not undo what one that began after it has
// read.
func TestAccountsReloadsInOrder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "accounts")
	old := NewAccounts()
	must(t, old.Set("fred", []byte(secret)))
	must(t, old.Save(path))
	f, err := OpenAccounts(path)
	must(t, err)
	read, goOn := make(chan bool), make(chan bool)
	var first atomic.Bool
	f.load = func(path string) (*Accounts, error) {
		a, err := LoadAccounts(path)
		if first.CompareAndSwap(false, true) {
			read <- true
			<-goOn
		}
		return a, err
	}
	done := make(chan error, 2)
	go func() { done <- f.Reload() }()
	<-read
	must(t, NewAccounts().Save(path))
	go func() { done <- f.Reload() }()
	time.Sleep(50 * time.Millisecond)
	close(goOn)
	must(t, <-done)
	must(t, <-done)
	if users := f.Current().Users(); len(users) > 0 {
		t.Errorf("accounts of %q, which were removed", users)
	}
}
