package validate

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/layout"
)

func TestNewMode(t *testing.T) {
	tests := []struct {
		mode fs.FileMode
		how  string
		want fs.FileMode
	}{
		{0o777, "0640", 0o640}, {0o644, "600", 0o600}, {0o644, "go=", 0o600}, {0o666, "o=", 0o660}, {0o600, "a+r", 0o644},
		{0o777, "go-w", 0o755}, {0o600, "g+rx", 0o650}, {0o600, "ug=r", 0o440}, {0o111, "u+rw", 0o711},
	}
	for _, tt := range tests {
		if got, err := newMode(tt.mode, tt.how); err != nil || got != tt.want {
			t.Errorf("%o %s: %o, %v; want %o", tt.mode, tt.how, got, err, tt.want)
		}
	}
	for _, how := range []string{"", "x", "u", "+r", "z+r", "u+z", "99", "u+s", "-1", "777777777"} {
		if got, err := newMode(0o644, how); err == nil {
			t.Errorf("%q gives %o", how, got)
		}
	}
}

func TestParseFix(t *testing.T) {
	odd := "/a b/it's"
	tests := []struct {
		fix  string
		want []modification
	}{
		{"chmod 0600 /key", []modification{{"chmod", "0600", "/key"}}},
		{"chown root:root /key && chmod go= /key", []modification{{"chown", "root:root", "/key"}, {"chmod", "go=", "/key"}}},
		{"chgrp qemu " + layout.ShellQuote(odd), []modification{{"chgrp", "qemu", odd}}},
		{"restorecon -v /key", []modification{{"restorecon", "-v", "/key"}}}, {"restorecon -Rv /etc", nil},
		{"chmod 0600 key", nil}, {"chmod 0600", nil}, {"chmod -R 0600 /", nil}, {"rm /key", nil}, {"chmod 0600 /key; rm /key", nil},
		{"chmod 0600 $(rm)", nil}, {"chmod 0600 /key && rm /key", nil}, {"chmod 0600 '/key", nil}, {"chmod what /key", nil},
		{"give the file another name", nil},
	}
	for _, tt := range tests {
		got, err := parseFix(tt.fix)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(modification{})); diff != "" || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %v\n%s", tt.fix, err, diff)
		}
	}
}

// What is wrong with the rights is mended, and nothing else is touched.
func TestMend(t *testing.T) {
	c := newCast(t)
	root := layer{}.put(t, flat(layout.QEMU), bundle(c.root), layout.Server, c.oldServer).write(t)
	// t.TempDir may lie where nobody else comes in.
	for d := root; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "creds")
	key := filepath.Join(dir, "server-key.pem")
	if err := os.Chmod(key, 0o666); err != nil {
		t.Fatal(err)
	}
	judge := func() (*Result, []string) {
		r, err := Dir(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r, codes(r)
	}
	r, before := judge()
	if !slices.Contains(before, "error key-readable-by-everybody") {
		t.Fatalf("before: %v; if other users cannot enter %s, set TMPDIR to a directory that they can", before, os.TempDir())
	}
	done, failed := Mend(Steps(r.Findings))
	if len(done) == 0 || len(failed) > 0 {
		t.Errorf("done %v, failed %v", done, failed)
	}
	if _, after := judge(); !slices.Equal(after, []string{"error cert-expired"}) {
		t.Errorf("left: %v", after)
	}
	// Nobody may write and others may not read; a group that reads may be QEMU's.
	if info, err := os.Stat(key); err != nil || info.Mode() != 0o640 {
		t.Error(info.Mode(), err)
	}
}

// Mend leaves alone what may be somebody else's file.
func TestMendRefuses(t *testing.T) {
	dir := t.TempDir()
	file, link, second := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "second")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	try := func(fix string) bool {
		done, failed := Mend(Steps([]finding.Finding{{Subject: "x", Fix: fix}}))
		for _, f := range failed {
			if f.Code != "fix-failed" || f.Fix != fix {
				t.Error(f)
			}
		}
		return len(done) == 1 && failed == nil
	}
	for _, fix := range []string{"chmod 0600 " + link, "chmod 0600 " + dir + "/nothing", "chown nobody-here " + file, "chgrp nobody-here " + file, "chmod 0600 /dev/null", "restorecon -v " + link} {
		if try(fix) {
			t.Errorf("%s was done", fix)
		}
	}
	if !try("chmod 0600 " + file) {
		t.Error("a file's mode was not changed")
	}
	if err := os.Link(file, second); err != nil {
		t.Fatal(err)
	}
	if try("chmod 0644 " + file) {
		t.Error("a file with two names was changed")
	}
	if done, failed := Mend(Steps([]finding.Finding{{Fix: "rm " + file}, {Fix: "think"}})); done != nil || failed != nil {
		t.Error(done, failed)
	}
}

func FuzzParseFix(f *testing.F) {
	f.Add("chmod 0600 '/a'\\''b'", "0644")
	f.Add("chown root:root /key && chmod go= /key", "u+rwx")
	f.Fuzz(func(t *testing.T, fix, how string) {
		if list, err := parseFix(fix); err == nil {
			for _, m := range list {
				if m.path[0] != '/' {
					t.Error(m)
				}
			}
		}
		if mode, err := newMode(0, how); err == nil && mode > fs.ModePerm {
			t.Error(mode)
		}
		if words, ok := shellWords("x " + layout.ShellQuote(how)); how != "" && (!ok || len(words) != 2 || words[1] != how) {
			t.Errorf("%q is read as %q", how, words)
		}
	})
}
