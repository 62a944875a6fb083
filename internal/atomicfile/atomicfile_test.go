package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"virtls/internal/peertest"

	"github.com/google/go-cmp/cmp"
)

// tree lists what is below dir as "name mode content", links as "name -> target".
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			list = append(list, name+" -> "+target)
			return err
		}
		data, err := os.ReadFile(path)
		list = append(list, fmt.Sprintf("%s %04o %s", name, info.Mode().Perm(), data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWrite(t *testing.T) {
	long := strings.Repeat("n", 255) // NAME_MAX
	tests := []struct {
		name  string
		setup func(dir string) error
		file  string
		mode  fs.FileMode
		umask int
		want  []string
	}{
		{name: "new", file: "key", mode: 0o600, umask: 0o022, want: []string{"key 0600 new"}},
		{name: "new under a tight umask", file: "cert", mode: 0o644, umask: 0o777, want: []string{"cert 0644 new"}},
		{name: "new under no umask", file: "key", mode: 0o640, umask: 0, want: []string{"key 0640 new"}},
		{name: "read-only for its owner", file: "key", mode: 0o400, umask: 0o022, want: []string{"key 0400 new"}},
		{
			name:  "replaces a file and its mode",
			setup: func(dir string) error { return os.WriteFile(dir+"/key", []byte("a longer old content"), 0o644) },
			file:  "key", mode: 0o600, umask: 0o022, want: []string{"key 0600 new"},
		},
		{
			name: "replaces a link, not what it leads to",
			setup: func(dir string) error {
				return errors.Join(os.WriteFile(dir+"/real", []byte("old"), 0o600), os.Symlink("real", dir+"/key"))
			},
			file: "key", mode: 0o600, umask: 0o022, want: []string{"key 0600 new", "real 0600 old"},
		},
		{name: "longest name", file: long, mode: 0o600, umask: 0o022, want: []string{long + " 0600 new"}},
		{name: "name beginning with a dot", file: ".key", mode: 0o600, umask: 0o022, want: []string{".key 0600 new"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if test.setup != nil {
				must(t, test.setup(dir))
			}
			defer syscall.Umask(syscall.Umask(test.umask))
			must(t, Write(filepath.Join(dir, test.file), []byte("new"), test.mode))
			check(t, "tree", tree(t, dir), test.want)
		})
	}
}

func TestWriteInWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, Write("key", []byte("new"), 0o600))
	check(t, "tree", tree(t, "."), []string{"key 0600 new"})
}

// A file must never be seen with content and a wider mode or another owner
// than it ends with.
func TestNeverWiderThanItsMode(t *testing.T) {
	dir := t.TempDir()
	defer syscall.Umask(syscall.Umask(0))
	var steps []string
	SetStepHook(func(step, path string) {
		steps = append(steps, step)
		for _, line := range tree(t, dir) {
			name, rest, _ := strings.Cut(line, " ")
			mode, content, _ := strings.Cut(rest, " ")
			switch {
			case mode != "0600" && mode != "0640":
				t.Errorf("after %s: %s has mode %s", step, name, mode)
			case content != "" && mode != "0640":
				t.Errorf("after %s: %s has content and mode %s", step, name, mode)
			case content != "" && content != "secret":
				t.Errorf("after %s: %s holds %q", step, name, content)
			}
		}
	})
	defer SetStepHook(nil)
	must(t, Write(filepath.Join(dir, "key"), []byte("secret"), 0o640, Owner(-1, os.Getgid())))
	check(t, "steps", steps, []string{StepCreate, StepOwner, StepMode, StepWrite, StepSync, StepRename, StepSyncDir})
}

func TestOwner(t *testing.T) {
	peertest.NeedRoot(t, "giving files away")
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	SetStepHook(func(step, _ string) {
		if step != StepMode {
			return
		}
		temps, _ := filepath.Glob(dir + "/.key.tmp-*")
		if len(temps) != 1 {
			t.Fatalf("temporary files: %q", temps)
		}
		checkOwner(t, temps[0], 123, 456)
	})
	defer SetStepHook(nil)
	must(t, Write(path, []byte("new"), 0o640, Owner(123, 456)))
	checkOwner(t, path, 123, 456)
}

func checkOwner(t *testing.T, path string, uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	check(t, "owner of "+path, [2]uint32{stat.Uid, stat.Gid}, [2]uint32{uid, gid})
}

func TestRefusedTargets(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/folder", 0o700))
	must(t, syscall.Mkfifo(dir+"/fifo", 0o600))
	tests := []struct{ name, path, want string }{
		{"directory", dir + "/folder", "look at the target: is a directory"},
		{"fifo", dir + "/fifo", "look at the target: not a regular file but p---------"},
		{"device", "/dev/null", "look at the target: not a regular file but Dc---------"},
		{"empty", "", `look at the target: "" names no file`},
		{"slash at the end", dir + "/new/", "names no file"},
		{"dot", dir + "/.", "names no file"},
		{"below a file", "/dev/null/key", "look at the target: not a directory"},
		{"missing directory", dir + "/none/key", "create a temporary file in " + dir + "/none: no such file or directory"},
		{"name too long", dir + "/" + strings.Repeat("n", 256), "look at the target: file name too long"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Write(test.path, []byte("new"), 0o600)
			if err == nil || !strings.HasPrefix(err.Error(), "write "+test.path+": ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if err := Write(dir+"/key", nil, 0o4755); err == nil || !strings.Contains(err.Error(), "set mode") {
		t.Errorf("a setuid file: error %v", err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestCommitAll(t *testing.T) {
	for _, count := range []int{1, 3, manyFiles + 10} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			dir := t.TempDir()
			var steps []string
			SetStepHook(func(step, path string) {
				name, _ := filepath.Rel(dir, path)
				steps = append(steps, step+" "+name)
			})
			defer SetStepHook(nil)

			var batch []*Staged
			var want, sync, rename, syncDir []string
			for i := range count {
				sub := fmt.Sprintf("d%03d", i)
				must(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
				for _, name := range []string{"cert", "key"} {
					s, err := Stage(filepath.Join(dir, sub, name), []byte(sub), 0o600)
					must(t, err)
					batch = append(batch, s)
					want = append(want, sub+"/"+name+" 0600 "+sub)
					sync = append(sync, StepSync+" "+sub+"/"+name)
					rename = append(rename, StepRename+" "+sub+"/"+name)
				}
				syncDir = append(syncDir, StepSyncDir+" "+sub)
			}
			steps = nil
			must(t, CommitAll(batch))
			check(t, "tree", tree(t, dir), want)
			check(t, "steps", steps, append(append(sync, rename...), syncDir...))

			steps = nil
			must(t, CommitAll(batch))
			check(t, "steps of a second commit", steps, []string(nil))
		})
	}
}

// A rename that fails leaves the files before it new, those after it old, and
// the batch can be committed again.
func TestCommitAllGoesOn(t *testing.T) {
	dir := t.TempDir()
	var batch []*Staged
	for _, name := range []string{"a", "b", "c"} {
		s, err := Stage(filepath.Join(dir, name), []byte("new"), 0o600)
		must(t, err)
		batch = append(batch, s)
	}
	must(t, os.Mkdir(dir+"/b", 0o700))
	err := CommitAll(batch)
	if err == nil || !strings.Contains(err.Error(), "write "+dir+"/b: rename over the old file: ") {
		t.Fatalf("error %v", err)
	}
	check(t, "after the failure", len(tree(t, dir)), 3)
	must(t, os.Remove(dir+"/b"))
	must(t, CommitAll(batch))
	check(t, "tree", tree(t, dir), []string{"a 0600 new", "b 0600 new", "c 0600 new"})
}

func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	s, err := Stage(dir+"/key", []byte("new"), 0o600)
	must(t, err)
	check(t, "path", s.Path(), dir+"/key")
	if !IsTemp(filepath.Base(s.Temp())) {
		t.Errorf("temporary name %s", s.Temp())
	}
	s.Discard()
	s.Discard()
	check(t, "tree", tree(t, dir), []string(nil))
	if err := s.Commit(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("commit after discard: error %v", err)
	}

	must(t, Write(dir+"/key", []byte("new"), 0o600))
	s, err = Stage(dir+"/key", []byte("newer"), 0o600)
	must(t, err)
	must(t, s.Commit())
	s.Discard()
	check(t, "tree", tree(t, dir), []string{"key 0600 newer"})
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		".key.tmp-abcdefgh", "..key.tmp-22222222", // ours
		"key", ".key", "key.tmp", "key.tmp-abcdefgh", ".key.tmp-", ".key.tmp-abcdefg", ".key.tmp-abcdefg1", ".key.tmp-ABCDEFGH", ".key.tmp-abcdefgh.pem",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	must(t, os.Mkdir(dir+"/.dir.tmp-abcdefgh", 0o700))
	must(t, os.Symlink("key", dir+"/.link.tmp-abcdefgh"))
	removed, err := Sweep(dir)
	must(t, err)
	check(t, "removed", removed, []string{"..key.tmp-22222222", ".key.tmp-abcdefgh"})
	check(t, "left", len(tree(t, dir)), 10)

	if _, err := Sweep(dir + "/none"); err == nil || err.Error() != "sweep "+dir+"/none: no such file or directory" {
		t.Errorf("error %v", err)
	}
}

func TestSweepFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".key.tmp-abcdefgh", ".key.tmp-22222222", ".key2.tmp-abcdefgh", ".key.tmp-x.tmp-abcdefgh", "key", ".key"} {
		must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	t.Chdir(dir)
	must(t, SweepFile("key"))
	check(t, "left", tree(t, dir), []string{".key 0600 ", ".key.tmp-x.tmp-abcdefgh 0600 ", ".key2.tmp-abcdefgh 0600 ", "key 0600 "})
	must(t, SweepFile(dir+"/key2"))
	check(t, "left", len(tree(t, dir)), 3)
}

func TestResolveLink(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/real/sub", 0o700))
	for link, target := range map[string]string{
		"abs":          dir + "/real/file",
		"rel":          "real/file",
		"chain":        "rel",
		"dangling":     "nowhere/file",
		"linked":       "real/sub",
		"real/sub/up":  "../file",
		"throughdotdt": "linked/../file",
		"loop":         "loop",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	must(t, os.WriteFile(dir+"/real/file", []byte("old"), 0o600))
	tests := []struct{ path, want string }{
		{"real/file", "real/file"},
		{"none", "none"},
		{"abs", "real/file"},
		{"rel", "real/file"},
		{"chain", "real/file"},
		{"dangling", "nowhere/file"},
		{"linked/up", "real/file"},
		{"throughdotdt", "real/file"},
	}
	for _, test := range tests {
		got, err := ResolveLink(filepath.Join(dir, test.path))
		must(t, err)
		want := filepath.Join(dir, test.want)
		gotInfo, gotErr := os.Stat(got)
		wantInfo, wantErr := os.Stat(want)
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && !os.SameFile(gotInfo, wantInfo) || gotErr != nil && got != want {
			t.Errorf("%s leads to %s, want %s", test.path, got, want)
		}
	}
	if _, err := ResolveLink(dir + "/loop"); !errors.Is(err, syscall.ELOOP) || !strings.Contains(err.Error(), dir+"/loop") {
		t.Errorf("loop: error %v", err)
	}
}

func BenchmarkBatch(b *testing.B) {
	data := make([]byte, 1000)
	for b.Loop() {
		dir := b.TempDir()
		batch := make([]*Staged, 0, 8000)
		for i := range cap(batch) {
			s, err := Stage(fmt.Sprintf("%s/f%d", dir, i), data, 0o600)
			if err != nil {
				b.Fatal(err)
			}
			batch = append(batch, s)
		}
		if err := CommitAll(batch); err != nil {
			b.Fatal(err)
		}
	}
}
