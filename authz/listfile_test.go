package authz

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/internal/qjson"
)

const (
	goodList = `{"rules": [{"match": "C=GB,*", "policy": "allow", "format": "glob"}]}`
	badList  = `{"rules": [`
)

func TestLoadList(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	malformed, array := write(t, badList), write(t, "[]")
	large := write(t, strings.Repeat(" ", qjson.MaxSize+1))
	tests := []struct {
		name, path, want string
	}{
		{"missing", missing, "Unable to read '" + missing + "': No such file or directory"},
		{"directory", dir, "Unable to read '" + dir + "': Is a directory"},
		{"FIFO", fifo, "Unable to read '" + fifo + "': Not a regular file but a FIFO"},
		{"too large", large, fmt.Sprintf("Unable to read '%s': More than %d octets", large, qjson.MaxSize)},
		{"malformed", malformed, malformed + ": 1:12: JSON parse error, premature end of input"},
		{"list", array, "File '" + array + "' must contain a JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := LoadList(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			if f, err := OpenListFile(tt.path, true, nil); f != nil || err == nil {
				t.Error("it can be opened to be read again")
			}
			if f, err := OpenListFile(tt.path, false, nil); f != nil || err == nil {
				t.Error("it can be opened to be read once")
			}
		})
	}
}

func TestRelativeName(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("list.json", []byte(goodList), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenListFile("list.json", true, nil); code(err) != "authz-file-relative" || !strings.Contains(err.Error(), "Filename must be an absolute path") {
		t.Error(err)
	}
	f, err := OpenListFile("list.json", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Allowed(fred); !ok || err != nil {
		t.Error(ok, err)
	}
	f.Close()
}

func TestRefresh(t *testing.T) {
	path := write(t, goodList)
	reports := make(chan error)
	f, err := OpenListFile(path, true, func(err error) { reports <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	replace := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	wantDenied := func(wantCode string) {
		t.Helper()
		// A change may be seen in more than one step.
		for code(<-reports) != wantCode {
		}
		if ok, err := f.Allowed(fred); ok || code(err) != wantCode {
			t.Errorf("allowed %v, error %v; want %s", ok, err, wantCode)
		}
		if l, err := f.Current(); l != nil || code(err) != wantCode {
			t.Errorf("list %v, error %v", l, err)
		}
	}
	wantAllowed := func() {
		t.Helper()
		for <-reports != nil {
		}
		if ok, err := f.Allowed(fred); !ok || err != nil {
			t.Errorf("allowed %v, error %v", ok, err)
		}
	}
	if ok, err := f.Allowed(fred); !ok || err != nil {
		t.Fatal(ok, err)
	}
	replace(badList)
	wantDenied("authz-file-malformed")
	replace(goodList)
	wantAllowed()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantDenied("authz-file-unreadable")
	replace(goodList)
	wantAllowed()

	f.Close()
	f.Close()
	replace(badList)
	if ok, err := f.Allowed(fred); !ok || err != nil {
		t.Errorf("a closed list was read again: %v, %v", ok, err)
	}
}

func TestCurrent(t *testing.T) {
	f, err := OpenListFile(write(t, goodList), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := f.Current(); err != nil || len(l.Rules) != 1 {
		t.Error(l, err)
	}
}
