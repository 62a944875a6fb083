package ca

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/finding"
	"virtls/internal/peertest"
)

// Whoever owns a state directory decides what whoever opens it does. So root
// opens none of others, except of who calls it through sudo.
func TestForeignStateDirectory(t *testing.T) {
	peertest.NeedRoot(t, "giving a directory to another user")
	const eve = 4711
	for name, opts := range map[string]Options{"writer": {}, "maker": {Create: true}, "reader": {ReadOnly: true}} {
		t.Run(name, func(t *testing.T) {
			dir := stateDir(t)
			open(t, dir, Options{}).Close()
			must(t, os.Chown(dir, eve, eve))
			_, err := OpenState(t.Context(), dir, opts)
			checkFailure(t, err, kindStateOwner, finding.ExitUnable)
			check(t, "found", finding.Of(err).Got, "user 4711")
			t.Setenv("SUDO_UID", strconv.Itoa(eve+1))
			_, err = OpenState(t.Context(), dir, opts)
			checkFailure(t, err, kindStateOwner, finding.ExitUnable)
			t.Setenv("SUDO_UID", strconv.Itoa(eve))
			open(t, dir, opts)
		})
	}
}

// What lies in the lock's place is neither emptied nor waited for.
func TestLockIsNoFile(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, victim, lock string)
	}{
		{"a link", func(t *testing.T, victim, lock string) { must(t, os.Symlink(victim, lock)) }},
		{"a link that leads nowhere", func(t *testing.T, victim, lock string) { must(t, os.Symlink(victim+"2", lock)) }},
		{"a FIFO", func(t *testing.T, _, lock string) { must(t, unix.Mkfifo(lock, 0o600)) }},
		{"a directory", func(t *testing.T, _, lock string) { must(t, os.Mkdir(lock, 0o700)) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := stateDir(t)
			open(t, dir, Options{}).Close()
			victim := write(t, t.TempDir(), "victim", []byte("precious"))
			must(t, os.Remove(filepath.Join(dir, lockFile)))
			test.make(t, victim, filepath.Join(dir, lockFile))
			_, err := OpenState(t.Context(), dir, Options{})
			checkFailure(t, err, kindStateUnwritable, finding.ExitUnable)
			check(t, "victim", string(read(t, victim)), "precious")
			if _, err := os.Lstat(victim + "2"); err == nil {
				t.Error("a file was made where the link leads")
			}
		})
	}
}
