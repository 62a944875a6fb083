package machines

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// restart forgets what a process that begins anew does not know.
func restart() {
	inMemory.Lock()
	defer inMemory.Unlock()
	clear(inMemory.ends)
	inMemory.swept = time.Time{}
}

func TestUsedTokens(t *testing.T) {
	machines, now := t.TempDir(), time.Now()
	write(t, filepath.Join(machines, "m.yaml"), two)
	add := func(expires time.Time) string {
		token, text := NewToken("vm1", expires, true)
		must(t, AddToken(machines, token, now))
		return text
	}
	for _, tt := range []struct {
		name  string
		kept  bool // in a directory
		ends  time.Time
		after error // of the second use, after a restart
	}{
		{"in memory", false, now.Add(time.Hour), nil},
		{"in a directory", true, now.Add(time.Hour), ErrUsed},
		{"in a directory for ever", true, time.Time{}, ErrUsed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := ""
			if tt.kept {
				dir = t.TempDir()
			}
			used, err := OpenUsed(dir)
			must(t, err)
			text := add(tt.ends)
			s, err := Open(machines, used, nil)
			must(t, err)
			try := func(f func(machine, token string, now time.Time) (string, error), want error) {
				t.Helper()
				if _, err := f("vm1", text, now); !errors.Is(err, want) || (err == nil) != (want == nil) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			try(s.Valid, nil)
			try(s.Use, nil)
			try(s.Valid, ErrUsed)
			try(s.Use, ErrUsed)
			restart()
			try(s.Valid, tt.after)
			try(s.Use, tt.after)
		})
	}
}

// Of many processes that share the directory one has the token.
func TestUsedTokensOfManyProcesses(t *testing.T) {
	used, err := OpenUsed(t.TempDir())
	must(t, err)
	token, _ := NewToken("vm1", time.Now().Add(time.Hour), true)
	var had atomic.Int32
	done := make(chan bool)
	for range 20 {
		go func() {
			if used.keep(&token) == nil { // past the memory, which processes do not share
				had.Add(1)
			}
			done <- true
		}()
	}
	for range 20 {
		<-done
	}
	if had.Load() != 1 {
		t.Errorf("%d had it", had.Load())
	}
}

// A token is refused if it cannot be kept that it was used.
func TestUsedTokensWithoutDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "used")
	must(t, os.Mkdir(dir, 0o700))
	used, err := OpenUsed(dir)
	must(t, err)
	must(t, os.Remove(dir))
	token, _ := NewToken("vm1", time.Now().Add(time.Hour), true)
	if err := used.use(&token, time.Now()); err == nil || errors.Is(err, ErrUsed) {
		t.Errorf("got %v", err)
	}
}

// Tokens that have ended are forgotten, and others are not.
func TestUsedTokensEnd(t *testing.T) {
	defer restart()
	restart()
	dir, now := oddDir(t), time.Now()
	used, err := OpenUsed(dir)
	must(t, err)
	use := func(expires time.Time, at time.Time) *Token {
		token, _ := NewToken("vm1", expires, true)
		must(t, used.use(&token, at))
		return &token
	}
	ending, later, lasting := use(now.Add(time.Minute), now), use(now.Add(6*time.Hour), now), use(time.Time{}, now)
	foreign := write(t, filepath.Join(dir, usedFile+"foreign"), strings.Repeat("x", 1000))
	use(time.Time{}, now.Add(3*time.Hour))
	for _, tt := range []struct {
		name string
		file string
		want bool
	}{{"ended", used.file(ending), false}, {"to end", used.file(later), true}, {"lasting", used.file(lasting), true}, {"foreign", foreign, true}} {
		if _, err := os.Stat(tt.file); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, was := inMemory.ends[ending.hash]; was || len(inMemory.ends) != 3 {
		t.Errorf("%d in memory", len(inMemory.ends))
	}
}

func TestOpenUsedRefuses(t *testing.T) {
	open := t.TempDir()
	must(t, os.Chmod(open, 0o777))
	for name, want := range map[string]string{
		filepath.Join(open, "missing"): "no such file",
		open:                           "mode 0777",
		write(t, filepath.Join(t.TempDir(), "f"), ""): "not a directory",
	} {
		if _, err := OpenUsed(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
