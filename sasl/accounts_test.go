package sasl

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"virtls/finding"
	"virtls/internal/peertest"
)

func TestAccountsFileContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	a := NewAccounts()
	for _, user := range []string{"fred", "a b"} {
		must(t, a.Set(user, []byte(secret)))
	}
	must(t, a.Save(path))
	data, err := os.ReadFile(path)
	must(t, err)
	if strings.Contains(string(data), secret) {
		t.Error("the file has a password")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	b, err := LoadAccounts(path)
	must(t, err)
	if got := b.Users(); !slices.Equal(got, []string{"a b", "fred"}) || string(b.Marshal()) != string(data) {
		t.Errorf("read back as %q", got)
	}
	if !b.check("a b", []byte(secret)) || b.check("a b", []byte("wrong")) {
		t.Error("passwords do not count")
	}
	if !b.Remove("fred") || b.Remove("fred") || b.check("fred", []byte(secret)) {
		t.Error("a removed account is there")
	}
	must(t, os.Chmod(path, 0o640))
	if _, err := LoadAccounts(path); finding.Of(err).Code != "sasl-accounts" || !strings.Contains(err.Error(), "0640") {
		t.Errorf("a file that others read: %v", err)
	}
	if _, err := LoadAccounts(path + "x"); err == nil || finding.Of(err).Code != "sasl-accounts" {
		t.Errorf("no file: %v", err)
	}
}

func TestAccountsRefuse(t *testing.T) {
	for _, user := range []string{"", "#x", " x", "x\n", "\xff", strings.Repeat("x", 257)} {
		if err := NewAccounts().Set(user, []byte(secret)); err == nil {
			t.Errorf("user %q is taken", user)
		}
	}
	if err := NewAccounts().Set("fred", nil); err == nil {
		t.Error("no password is taken")
	}
	a := NewAccounts()
	must(t, a.Set("fred", []byte(secret)))
	good := strings.SplitAfter(string(a.Marshal()), "\n")[2] // SCRAM-SHA-256
	for _, tt := range []struct{ name, text string }{
		{"no blank", "fred"},
		{"clear password", "fred " + secret},
		{"twice", good + good},
		{"few iterations", strings.Replace(good, "$15000:", "$100:", 1)},
		{"many iterations", strings.Replace(good, "$15000:", "$100000000:", 1)},
		{"another hash", strings.Replace(good, "SHA-256", "SHA-512", 1)},
		{"unknown hash", strings.Replace(good, "SHA-256", "MD5", 1)},
		{"salts of nobody", guiseLine + "AAAA\n"},
		{"not base64", strings.Replace(good, "=", "*", 1)},
	} {
		if _, err := ParseAccounts([]byte(tt.text)); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if b, err := ParseAccounts([]byte("# comment\n\n" + good)); err != nil || len(b.Users()) != 1 {
		t.Errorf("comments: %v", err)
	}
}

func FuzzParseAccounts(f *testing.F) {
	a := NewAccounts()
	must(f, a.Set("fred", []byte(secret)))
	f.Add(a.Marshal())
	f.Add([]byte("# x\nfred SCRAM-SHA-1$4096:QQ==$:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAccounts(data)
		if err != nil {
			return
		}
		b, err := ParseAccounts(a.Marshal())
		if err != nil || string(b.Marshal()) != string(a.Marshal()) {
			t.Errorf("what was read is written otherwise: %v", err)
		}
	})
}

// Edits at the same time lose nothing.
func TestEditAccounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	if err := EditAccounts(t.Context(), path, false, func(*Accounts) error { return nil }); finding.Of(err).Code != "sasl-accounts" {
		t.Errorf("no file: %v", err)
	}
	var all sync.WaitGroup
	for _, user := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			if err := EditAccounts(t.Context(), path, true, func(a *Accounts) error { return a.Set(user, []byte(secret)) }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	a, err := LoadAccounts(path)
	must(t, err)
	if len(a.Users()) != 4 {
		t.Errorf("accounts of %q", a.Users())
	}
	again, err := LoadAccounts(path)
	must(t, err)
	if a, b := a.verifier("nobody", ScramSHA256), again.verifier("nobody", ScramSHA256); a.Salt != b.Salt {
		t.Error("the salts of users that are not there change when the file is read again, and those of others do not")
	}
}

// An edit that fails leaves nothing behind, and does not wait for ever.
func TestEditAccountsFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	if err := EditAccounts(t.Context(), path, true, func(a *Accounts) error { return a.Set("", nil) }); err == nil {
		t.Error("a user without a name")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a file is left: %v", err)
	}
	must(t, NewAccounts().Save(path))
	f, _, err := lock(t.Context(), path, false)
	must(t, err)
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := EditAccounts(ctx, path, true, func(*Accounts) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A link to a file of accounts stays one, and an edit by whatever name is one of the same file.
func TestEditAccountsThroughALink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "accounts"), filepath.Join(dir, "link")
	must(t, os.Symlink("accounts", link))
	for user, name := range map[string]string{"a": link, "b": path, "c": link} {
		must(t, EditAccounts(t.Context(), name, true, func(a *Accounts) error { return a.Set(user, []byte(secret)) }))
	}
	for _, name := range []string{path, link} {
		a, err := LoadAccounts(name)
		must(t, err)
		if len(a.Users()) != 3 {
			t.Errorf("%s has accounts of %q", name, a.Users())
		}
	}
}

// An edit that fails leaves a file that was there, even if it was empty.
func TestEditAccountsKeepsAnEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	must(t, os.WriteFile(path, nil, 0o600))
	no := errors.New("no")
	if err := EditAccounts(t.Context(), path, true, func(*Accounts) error { return no }); err != no {
		t.Error(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// An administrator's edit leaves the file to the service that reads it.
func TestEditKeepsTheOwner(t *testing.T) {
	peertest.NeedRoot(t, "giving a file to another user")
	path := filepath.Join(t.TempDir(), "accounts")
	set := func(a *Accounts) error { return a.Set("alice", []byte(secret)) }
	must(t, EditAccounts(t.Context(), path, true, set))
	must(t, os.Chown(path, 12345, 23456))
	must(t, EditAccounts(t.Context(), path, false, set))
	info, err := os.Stat(path)
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 || info.Mode().Perm() != 0o600 {
		t.Errorf("owner %d:%d, mode %v", st.Uid, st.Gid, info.Mode())
	}
}
