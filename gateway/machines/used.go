package machines

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/internal/readfile"
	"virtls/layout"
)

var kindUsed = finding.Define("gateway-used-tokens", finding.Error,
	"a gateway cannot keep in mind which tokens were used",
	"name a directory in which the gateway's user, and nobody else, may write")

// Used are the tokens that may be used once and were. It may be used by any number
// of goroutines. All of a process share what is in its memory; a directory keeps it
// beyond its end, and for all processes that have the same one.
type Used struct{ dir string }

// inMemory has the hashes of used tokens, and when they end: the zero time is never.
var inMemory = struct {
	sync.Mutex
	ends  map[[sha256.Size]byte]time.Time
	swept time.Time
}{ends: map[[sha256.Size]byte]time.Time{}}

// How used tokens are kept in a directory: the hash is in the name, and in the
// file is when it ends.
const (
	usedFile   = "used-"
	never      = "never"
	sweepEvery = time.Hour
)

// OpenUsed returns the used tokens that a directory has; without one they are
// forgotten at the process's end. It fails where others may write, because they
// could have a token used again. The error is a *finding.Failure.
func OpenUsed(dir string) (Used, error) {
	if dir == "" {
		return Used{}, nil
	}
	unable := func(err error) (Used, error) { return Used{}, kindUsed.Found(dir, "").Unable(err) }
	info, err := os.Stat(dir)
	if err != nil {
		return unable(err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return Used{}, kindUsed.Found(dir, fmt.Sprintf("mode %04o", mode)).WithFix("chmod go-w %s", layout.ShellQuote(dir)).Wrong()
	}
	// Better known now than when the first token is shown.
	f, err := os.CreateTemp(dir, ".try-")
	if err != nil {
		return unable(err)
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return unable(err)
	}
	return Used{dir}, nil
}

// Dir returns the directory, empty if there is none.
func (u Used) Dir() string { return u.dir }

func (u Used) file(t *Token) string {
	return filepath.Join(u.dir, usedFile+hex.EncodeToString(t.hash[:]))
}

// check returns [ErrUsed] if the token was used.
func (u Used) check(t *Token) error {
	inMemory.Lock()
	defer inMemory.Unlock()
	if _, was := inMemory.ends[t.hash]; was {
		return ErrUsed
	}
	if u.dir == "" {
		return nil
	}
	switch _, err := os.Lstat(u.file(t)); {
	case err == nil:
		return ErrUsed
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// use has the token used, or returns [ErrUsed] if it was. Of any number of
// processes with the directory one has it. It is on stable storage when use
// returns.
func (u Used) use(t *Token, now time.Time) error {
	inMemory.Lock()
	defer inMemory.Unlock()
	if _, was := inMemory.ends[t.hash]; was {
		return ErrUsed
	}
	if now.Sub(inMemory.swept) > sweepEvery {
		inMemory.swept = now
		u.sweep(now)
	}
	if u.dir != "" {
		if err := u.keep(t); err != nil {
			return err
		}
	}
	inMemory.ends[t.hash] = t.Expires
	return nil
}

func (u Used) keep(t *Token) error {
	f, err := os.OpenFile(u.file(t), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return ErrUsed
	}
	if err != nil {
		return err
	}
	ends := never
	if !t.Expires.IsZero() {
		ends = t.Expires.UTC().Format(time.RFC3339)
	}
	_, err = f.WriteString(ends + "\n")
	return errors.Join(err, f.Sync(), f.Close(), atomicfile.SyncDir(u.dir))
}

// sweep forgets tokens that have ended: they open nothing, used or not.
func (u Used) sweep(now time.Time) {
	for hash, ends := range inMemory.ends {
		if !ends.IsZero() && now.After(ends.Add(sweepEvery)) {
			delete(inMemory.ends, hash)
		}
	}
	if u.dir == "" {
		return
	}
	names, _ := named(u.dir, usedFile, "")
	for _, name := range names {
		text, err := readfile.File(name, len(time.RFC3339)+1)
		if err != nil {
			continue
		}
		// An hour, because other processes' clocks may be slow.
		if ends, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text))); err == nil && now.After(ends.Add(sweepEvery)) {
			os.Remove(name)
		}
	}
}
