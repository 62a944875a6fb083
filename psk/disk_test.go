package psk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/internal/peertest"
)

func add(user string) func(*File) error {
	return func(f *File) error {
		_, err := f.Set(user, NewKey(make([]byte, MinKeySize)))
		return err
	}
}

const zeros = ":00000000000000000000000000000000\n"

func TestUpdate(t *testing.T) {
	tests := []struct {
		name        string
		update      func(string, func(*File) error) error
		before      fs.FileMode // 0 for no file
		after       fs.FileMode
		umask       int
		withContent string
	}{
		{name: "new", update: Update, after: 0o600, umask: 0},
		{name: "new under a tight umask", update: Update, after: 0o600, umask: 0o777},
		{name: "private stays", update: Update, before: 0o600, after: 0o600},
		{name: "group stays", update: Update, before: 0o640, after: 0o640},
		{name: "read-only stays", update: Update, before: 0o400, after: 0o400},
		{name: "others go", update: Update, before: 0o644, after: 0o640},
		{name: "all goes", update: Update, before: 0o777, after: 0o640},
		{name: "new keeping mode", update: UpdateKeepingMode, after: 0o600, umask: 0},
		{name: "wide keeping mode", update: UpdateKeepingMode, before: 0o666, after: 0o666, umask: 0o077},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir() + "/keys.psk"
			want := "b" + zeros
			if test.before != 0 {
				must(t, os.WriteFile(path, []byte("# comment\na:11\n"), 0o600))
				must(t, os.Chmod(path, test.before))
				want = "# comment\na:11\n" + want
			}
			defer syscall.Umask(syscall.Umask(test.umask))
			err := test.update(path, add("b"))
			if test.before != 0 && test.before&0o200 == 0 && os.Getuid() != 0 {
				check(t, "code", code(err), "psk-unwritable")
				return
			}
			must(t, err)
			f, err := Read(path)
			must(t, err)
			check(t, "file", string(f.Bytes()), want)
			info, err := os.Stat(path)
			must(t, err)
			check(t, "mode", info.Mode(), test.after)
			checkAlone(t, path)
		})
	}
}

// checkAlone fails the test if anything lies beside path.
func checkAlone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(strings.TrimSuffix(path, "/keys.psk"))
	must(t, err)
	for _, e := range entries {
		if e.Name() != "keys.psk" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestUpdateFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/real", 0o700))
	must(t, os.Symlink("real/keys.psk", dir+"/keys.psk"))
	for _, user := range []string{"a", "b"} { // a dangling link, then a good one
		must(t, Update(dir+"/keys.psk", add(user)))
	}
	data, err := os.ReadFile(dir + "/real/keys.psk")
	must(t, err)
	check(t, "file", string(data), "a"+zeros+"b"+zeros)
	checkAlone(t, dir+"/real/keys.psk")
}

func TestUpdateKeepsOwner(t *testing.T) {
	peertest.NeedRoot(t, "giving files away")
	path := t.TempDir() + "/keys.psk"
	must(t, os.WriteFile(path, []byte("a:11\n"), 0o640))
	must(t, os.Chown(path, 123, 456))
	must(t, Update(path, add("b")))
	info, err := os.Stat(path)
	must(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	check(t, "owner", fmt.Sprint(stat.Uid, stat.Gid), "123 456")
}

func TestUpdateErrors(t *testing.T) {
	mine := errors.New("mine")
	tests := []struct {
		name   string
		setup  func(dir string) error
		path   string
		change func(*File) error
		code   string
		exit   int
		text   string
	}{
		{name: "missing directory", path: "none/keys.psk", code: "psk-lock-failed", exit: finding.ExitUnable, text: "no such file or directory"},
		{name: "locked", setup: func(dir string) error { return os.WriteFile(dir+"/keys.psk.tmp", nil, 0o600) },
			code: "psk-locked", exit: finding.ExitWrong, text: "keys.psk.tmp"},
		{name: "directory", setup: func(dir string) error { return os.Mkdir(dir+"/keys.psk", 0o700) },
			code: "psk-unreadable", exit: finding.ExitUnable, text: "not a regular file but a directory"},
		{name: "FIFO", setup: func(dir string) error { return syscall.Mkfifo(dir+"/keys.psk", 0o600) },
			code: "psk-unreadable", exit: finding.ExitUnable, text: "not a regular file but a FIFO"},
		{name: "endless link", setup: func(dir string) error { return os.Symlink("keys.psk", dir+"/keys.psk") },
			code: "psk-unreadable", exit: finding.ExitUnable, text: "too many levels of symbolic links"},
		{name: "too large", setup: func(dir string) error { return os.WriteFile(dir+"/keys.psk", make([]byte, MaxFileSize+1), 0o600) },
			code: "psk-too-large", exit: finding.ExitWrong, text: "at most 1048576 bytes"},
		{name: "refused name", change: add("a:b"), code: "psk-user-name", exit: finding.ExitUsage, text: "colon"},
		{name: "link into a missing directory", setup: func(dir string) error { return os.Symlink("none/keys.psk", dir+"/keys.psk") },
			code: "psk-unwritable", exit: finding.ExitUnable, text: "create a temporary file in "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.setup != nil {
				must(t, test.setup(dir))
			}
			path, change := dir+"/keys.psk", test.change
			if test.path != "" {
				path = dir + "/" + test.path
			}
			if change == nil {
				change = add("a")
			}
			before, _ := os.ReadDir(dir)
			err := Update(path, change)
			check(t, "code", code(err), test.code)
			check(t, "exit", finding.ExitCode(err), test.exit)
			if !strings.Contains(fmt.Sprint(err), test.text) {
				t.Errorf("error %v, want %q", err, test.text)
			}
			after, _ := os.ReadDir(dir)
			check(t, "files", fmt.Sprint(after), fmt.Sprint(before))
		})
	}
	if err := Update(t.TempDir()+"/keys.psk", func(*File) error { return mine }); err != mine {
		t.Errorf("the change's own error came back as %v", err)
	}
	if _, err := Read(t.TempDir() + "/keys.psk"); code(err) != "psk-unreadable" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: error %v", err)
	}
}

// While one update is at work, others refuse; nothing it does is lost.
func TestUpdateExcludesOthers(t *testing.T) {
	path := t.TempDir() + "/keys.psk"
	must(t, Update(path, func(f *File) error {
		check(t, "second update", code(Update(path, add("b"))), "psk-locked")
		return add("a")(f)
	}))
	must(t, Update(path, add("c")))
	f, err := Read(path)
	must(t, err)
	check(t, "file", string(f.Bytes()), "a"+zeros+"c"+zeros)
}

// The file is whole at every step of its replacement.
func TestUpdateIsAtomic(t *testing.T) {
	path := t.TempDir() + "/keys.psk"
	must(t, Update(path, add("a")))
	seen := map[string]bool{}
	atomicfile.SetStepHook(func(string, string) {
		data, _ := os.ReadFile(path)
		seen[string(data)] = true
	})
	defer atomicfile.SetStepHook(nil)
	must(t, Update(path, add("b")))
	check(t, "seen", seen, map[string]bool{"a" + zeros: true, "a" + zeros + "b" + zeros: true})
}
