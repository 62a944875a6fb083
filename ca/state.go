package ca

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/layout"
)

// Names in a state directory that belong to this package. Everything else in
// it is its caller's: hosts/, clients/ and so on.
const (
	authorityDir = "ca"
	registerFile = "register.db"
	lockFile     = "lock"
	versionFile  = "version"
	restoreDir   = "restore" // complete, and waits to be moved into place
)

// stateVersion is the version of the directory's layout; the register's schema
// has one of its own.
const stateVersion = 1

// Options tell how a state directory is opened. The zero value opens an
// existing one for writing and does not wait for its lock.
type Options struct {
	ReadOnly bool             // take no lock and change nothing
	Create   bool             // make the directory if there is none
	Wait     time.Duration    // how long to wait for another process's lock
	Command  string           // for the history: the command line, without secrets
	User     string           // for the history; the user of the operating system if empty
	Now      func() time.Time // time.Now if nil
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.User == "" {
		o.User = currentUser()
	}
	return o
}

// currentUser returns the user's name, behind sudo also who called it.
func currentUser() string {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if caller := os.Getenv("SUDO_USER"); caller != "" && os.Getuid() == 0 {
		return fmt.Sprintf("%s (sudo by %s)", name, caller)
	}
	return name
}

// A State is an open state directory. Its methods may be called by several
// goroutines at once.
type State struct {
	dir      string // absolute
	opts     Options
	lock     *lock // nil if read-only
	register *register.DB
	findings []finding.Finding
	restored []byte // manifest of the restore that this OpenState finished, if any
}

// OpenState opens a state directory. For writing it takes the lock, and
// finishes what a killed process left unfinished ([State.Findings] tells what).
// The caller closes the state.
//
// Reading takes no lock, so that what it sees may change meanwhile. It writes
// only if a killed process left a state that cannot be read otherwise.
func OpenState(ctx context.Context, dir string, opts Options) (*State, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &State{dir: abs, opts: opts.withDefaults()}
	if opts.ReadOnly {
		err = s.openReadOnly(ctx)
	} else {
		err = s.openWriter(ctx)
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (s *State) openReadOnly(ctx context.Context) error {
	if err := s.checkDir(); err != nil {
		return err
	}
	if err := s.checkVersion(); err != nil {
		return err
	}
	if err := s.checkMode(); err != nil {
		return err
	}
	var err error
	if _, statErr := os.Lstat(s.path(restoreDir)); statErr == nil {
		err = register.ErrNeedsWriter
	} else {
		s.register, err = register.OpenReadOnly(s.path(registerFile))
	}
	if errors.Is(err, register.ErrNeedsWriter) {
		mending := s.opts
		mending.ReadOnly = false
		writer, err := OpenState(ctx, s.dir, mending)
		if err != nil {
			return err
		}
		s.findings = writer.findings
		if err := writer.Close(); err != nil {
			return err
		}
		s.register, err = register.OpenReadOnly(s.path(registerFile))
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for p, err := range s.register.Pending(ctx) {
		if err != nil {
			return err
		}
		s.findings = append(s.findings, kindStateUnfinished.Found(s.dir, strings.Join(p.Paths, ", ")))
		break
	}
	return nil
}

func (s *State) openWriter(ctx context.Context) error {
	if err := s.makeDir(); err != nil {
		return err
	}
	if err := s.checkDir(); err != nil {
		return err
	}
	if err := s.checkVersion(); err != nil && !(s.opts.Create && isKind(err, kindStateMissing)) {
		return err
	}
	if err := s.checkMode(); err != nil {
		return err
	}
	l, crashed, err := acquire(ctx, s.path(lockFile), s.opts.Wait, s.holder())
	if err != nil {
		return err
	}
	s.lock = l
	// Again: it may have been made, or written by a newer version, meanwhile.
	if err := s.checkVersion(); isKind(err, kindStateMissing) && s.opts.Create {
		err = atomicfile.Write(s.path(versionFile), []byte(strconv.Itoa(stateVersion)+"\n"), 0o600)
		if err != nil {
			return notWritten(s.dir, err)
		}
	} else if err != nil {
		return err
	}
	if err := s.finishRestore(); err != nil {
		return err
	}
	if err := s.openRegister(); err != nil {
		return err
	}
	return s.finishPending(ctx, crashed)
}

// openRegister opens the register, and makes it where there is no authority
// yet. An authority whose register is gone is in no state to issue.
func (s *State) openRegister() error {
	_, err := os.Lstat(s.path(registerFile))
	if errors.Is(err, fs.ErrNotExist) {
		names, err := s.Authorities()
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return kindAuthorityUnknown.Found(s.path(registerFile), "no such file").Unable(nil)
		}
	}
	s.register, err = register.Open(s.path(registerFile))
	return err
}

// holder is what the lock file says.
func (s *State) holder() string {
	command := strings.Join(strings.Fields(s.opts.Command), " ")
	if command == "" {
		command = filepath.Base(os.Args[0])
	}
	return fmt.Sprintf("%s, process %d of %s, since %s", command, os.Getpid(), s.opts.User, time.Now().UTC().Format(time.RFC3339))
}

// makeDir makes the directory if it may.
func (s *State) makeDir() error {
	_, err := os.Stat(s.dir)
	if !errors.Is(err, fs.ErrNotExist) || !s.opts.Create {
		return nil // checkDir says what is wrong
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return notWritten(s.dir, err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(s.dir)); err != nil {
		return notWritten(s.dir, err)
	}
	return nil
}

func (s *State) checkDir() error {
	switch info, err := os.Stat(s.dir); {
	case errors.Is(err, fs.ErrNotExist):
		return kindStateMissing.Found(s.dir, "no such directory").Unable(nil)
	case err != nil:
		return notRead(s.dir, err)
	case !info.IsDir():
		return kindStateForeign.Found(s.dir, "a file").Unable(nil)
	case !TrustedOwner(info):
		owner := info.Sys().(*syscall.Stat_t).Uid
		return kindStateOwner.Found(s.dir, fmt.Sprintf("user %d", owner)).
			WithFix("run the command as that user, or name another directory with --state; if all that is in it is yours: chown -R %d %s", os.Geteuid(), layout.ShellQuote(s.dir)).Unable(nil)
	}
	return nil
}

// TrustedOwner tells whether what a file or directory holds can be relied upon
// because of whose it is: root's, that of who runs this, or of who called it
// through sudo. Anybody else could have written there what this process would
// then do with more rights than they have.
func TrustedOwner(info fs.FileInfo) bool {
	uid := info.Sys().(*syscall.Stat_t).Uid
	return uid == 0 || uid == uint32(os.Geteuid()) ||
		os.Geteuid() == 0 && os.Getenv("SUDO_UID") == strconv.FormatUint(uint64(uid), 10)
}

// checkMode comes after checkVersion: the mode of a directory that holds
// something else is not to be changed.
func (s *State) checkMode() error {
	info, err := os.Stat(s.dir)
	if err != nil {
		return notRead(s.dir, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return kindStateMode.Found(s.dir, fmt.Sprintf("mode %04o", info.Mode().Perm())).
			WithWant("mode 0700", "virtls").WithFix("chmod 700 %s", layout.ShellQuote(s.dir)).Unable(nil)
	}
	return nil
}

// checkVersion reads the version file. Its absence is a finding of kind
// state-missing if the directory is as good as empty.
func (s *State) checkVersion() error {
	text, err := os.ReadFile(s.path(versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			return notRead(s.dir, err)
		}
		for _, e := range entries {
			if e.Name() != lockFile && !atomicfile.IsTemp(e.Name()) {
				return kindStateForeign.Found(s.dir, e.Name()).WithWant("a file named version", "virtls").Unable(nil)
			}
		}
		return kindStateMissing.Found(s.dir, "an empty directory").Unable(nil)
	}
	if err != nil {
		return notRead(s.path(versionFile), err)
	}
	version, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || version < 1 {
		return kindStateForeign.Found(s.path(versionFile), fmt.Sprintf("%.20q", text)).WithWant("a version number", "virtls").Unable(nil)
	}
	if version > stateVersion {
		return register.KindTooNew.Found(s.dir, fmt.Sprintf("version %d", version)).
			WithWant(fmt.Sprintf("version %d or lower", stateVersion), "this version of virtls").Unable(nil)
	}
	return nil
}

// notRead says why a state directory cannot be looked at: without the right to
// it nothing is known of what is there.
func notRead(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return kindStateUnreadable.Found(path, "").Unable(err)
	}
	return kindStateMissing.Found(path, "").Unable(err)
}

// notWritten says why the state cannot be written, and who could.
func notWritten(path string, err error) error {
	f := kindStateUnwritable.Found(path, "")
	if errors.Is(err, fs.ErrPermission) {
		f = f.WithFix("run the command as the owner of the directory, such as with sudo, or name another directory with --state")
	}
	return f.Unable(err)
}

func isFailure(err error) bool {
	_, ok := errors.AsType[*finding.Failure](err)
	return ok
}

func isKind(err error, kind *finding.Kind) bool {
	f, ok := errors.AsType[*finding.Failure](err)
	return ok && f.Code == kind.Code
}

// Close releases the lock. Work that was journalled and not placed is left to
// the next run.
func (s *State) Close() error {
	var errs []error
	if s.register != nil {
		errs = append(errs, s.register.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// abandon closes a state that could not be brought in order; the next run tries again.
func (s *State) abandon() {
	if s.register != nil {
		s.register.Close()
	}
	if s.lock != nil {
		s.lock.abandon()
	}
}

// Dir returns the directory's absolute path.
func (s *State) Dir() string { return s.dir }

// Register returns the register, for queries.
func (s *State) Register() *register.DB { return s.register }

// Findings returns what OpenState found unfinished, and what became of it.
func (s *State) Findings() []finding.Finding { return slices.Clone(s.findings) }

// Now returns the time by the state's clock.
func (s *State) Now() time.Time { return s.opts.Now() }

// path returns the path of a name in the directory.
func (s *State) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// update does one act on the register.
func (s *State) update(ctx context.Context, kind, note string, f func(*register.Tx) error) error {
	if s.lock == nil {
		return kindStateUnwritable.Found(s.dir, "a state opened for reading").Unable(nil)
	}
	step("transaction")
	err := s.register.Update(ctx, s.Now(), s.act(kind, note), f)
	if err == nil {
		step("committed")
	}
	return err
}

func (s *State) act(kind, note string) register.Act {
	return register.Act{By: s.opts.User, Command: s.opts.Command, Kind: kind, Note: note}
}

// stepHook is called at the steps of an act on the register, as atomicfile's
// hook is at those of files. It is for tests.
var stepHook func(step string)

func step(name string) {
	if stepHook != nil {
		stepHook(name)
	}
}
