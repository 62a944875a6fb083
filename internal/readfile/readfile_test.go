package readfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dir has a file of each kind.
func dir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"private": 0o600, "group": 0o640, "everybody": 0o666} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("12345"), mode))
		must(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Symlink("private", filepath.Join(dir, "link")))
	return dir
}

// check compares what was read, or how the error ends.
func check(t *testing.T, got []byte, err error, want, refused string) {
	t.Helper()
	switch {
	case refused == "" && err != nil, refused != "" && (err == nil || !strings.HasSuffix(err.Error(), refused)), string(got) != want:
		t.Errorf("got %q, %v; want %q, %q", got, err, want, refused)
	}
}

func TestGuarded(t *testing.T) {
	dir := dir(t)
	for _, tt := range []struct {
		name, file string
		limit      int
		refused    fs.FileMode
		want, err  string
	}{
		{"of the size", "private", 5, 0, "12345", ""},
		{"too large", "private", 4, 0, "", "more than 4 octets"},
		{"endless device", "/dev/zero", 1000, 0o077, "", "more than 1000 octets"},
		{"a device for all", "/dev/null", 1000, 0o077, "", ""},
		{"a secret", "private", 5, 0o077, "12345", ""},
		{"a secret through a link", "link", 5, 0o077, "12345", ""},
		{"a secret of a group", "group", 5, 0o077, "", "group has the mode 0640"},
		{"a configuration of a group", "group", 5, 0o002, "12345", ""},
		{"a configuration of everybody", "everybody", 5, 0o002, "", "everybody has the mode 0666"},
		{"a directory", "dir", 5, 0, "", "is a directory"},
		{"nothing", "nothing", 5, 0, "", "no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !filepath.IsAbs(tt.file) {
				tt.file = filepath.Join(dir, tt.file)
			}
			got, err := Guarded(tt.file, tt.limit, tt.refused)
			check(t, got, err, tt.want, tt.err)
		})
	}
}

func TestKept(t *testing.T) {
	dir := dir(t)
	for _, tt := range []struct {
		name, file string
		refused    fs.FileMode
		want, err  string
	}{
		{"a secret", "private", 0o077, "12345", ""},
		{"a secret through a link", "link", 0o077, "12345", ""},
		{"a secret of a group", "group", 0o077, "", "group has the mode 0640"},
		{"a configuration of everybody", "everybody", 0o002, "", "everybody has the mode 0666"},
		{"a FIFO without writer", "fifo", 0o077, "", "not a regular file but a FIFO"},
		{"a device", "/dev/zero", 0, "", "not a regular file but a device"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !filepath.IsAbs(tt.file) {
				tt.file = filepath.Join(dir, tt.file)
			}
			got, err := Kept(tt.file, 5, tt.refused)
			check(t, got, err, tt.want, tt.err)
		})
	}
}

// What a shell's <(...) gives is read to its end.
func TestFileReadsFIFO(t *testing.T) {
	fifo := filepath.Join(dir(t), "fifo")
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(fifo, []byte("12345"), 0) }()
	got, err := File(fifo, 5)
	check(t, got, err, "12345", "")
	must(t, <-wrote)
}

func TestRegular(t *testing.T) {
	dir := dir(t)
	for _, tt := range []struct {
		name, file string
		limit      int
		flags      int
		want, err  string
	}{
		{"of the size", "private", 5, 0, "12345", ""},
		{"too large", "private", 4, 0, "", "more than 4 octets"},
		{"a link", "link", 5, 0, "12345", ""},
		{"a link not followed", "link", 5, syscall.O_NOFOLLOW, "", "too many levels of symbolic links"},
		{"a FIFO without writer", "fifo", 5, 0, "", "not a regular file but a FIFO"},
		{"a directory", "dir", 5, 0, "", "not a regular file but a directory"},
		{"a device", "/dev/zero", 5, 0, "", "not a regular file but a device"},
		{"nothing", "nothing", 5, 0, "", "no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !filepath.IsAbs(tt.file) {
				tt.file = filepath.Join(dir, tt.file)
			}
			got, info, err := Regular(tt.file, tt.limit, tt.flags)
			check(t, got, err, tt.want, tt.err)
			if tt.err == "" && (info == nil || info.Size() != 5) {
				t.Errorf("got %v", info)
			}
		})
	}
	_, _, err := Regular(filepath.Join(dir, "dir"), 5, 0)
	if kind, ok := errors.AsType[*KindError](err); !ok || !kind.Type.IsDir() {
		t.Errorf("got %v", err)
	}
}
