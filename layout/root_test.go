package layout

import (
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRoot(t *testing.T) {
	root := tree(t, map[string]string{
		"/etc/pki/ca.pem":  "ca",
		"/etc/absolute":    "-> /etc/pki",
		"/etc/relative":    "-> pki/../pki/ca.pem",
		"/etc/up":          "-> ../../../../etc/pki/ca.pem",
		"/etc/loop":        "-> loop",
		"/etc/dangling":    "-> /nowhere",
		"/etc/chain":       "-> absolute/ca.pem",
		"/etc/slash":       "-> pki/",
		"/etc/big":         strings.Repeat("x", MaxConfSize+1),
		"/etc/passwd-link": "-> /etc/passwd",
	})
	if err := syscall.Mkfifo(filepath.Join(string(root), "etc/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/etc/pki/ca.pem":               "ca",
		"/etc/absolute/ca.pem":          "ca",
		"/etc/relative":                 "ca",
		"/etc/up":                       "ca",
		"/../../etc/pki/ca.pem":         "ca",
		"/etc/pki/../../../etc/chain":   "ca",
		"//etc//./slash/ca.pem":         "ca",
		"/etc/absolute/../pki/ca.pem":   "ca",
		"/etc/slash/../absolute/ca.pem": "ca",
	} {
		got, err := root.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{
		"/etc/none":          fs.ErrNotExist,
		"/etc/dangling":      fs.ErrNotExist,
		"/etc/passwd-link":   fs.ErrNotExist, // there is one outside the root
		"/etc/loop":          syscall.ELOOP,
		"/etc/pki/ca.pem/x":  syscall.ENOTDIR,
		"/etc/pki/ca.pem/..": syscall.ENOTDIR,
	} {
		if _, err := root.ReadFile(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if _, err := root.Stat(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	for name, want := range map[string]string{
		"/etc/fifo": "not a regular file", "/etc/pki": "not a regular file", "/etc/big": "more than", "etc/pki": "not an absolute path",
	} {
		if _, err := root.ReadFile(name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), string(root)) {
			t.Errorf("%s: %v, want %q and no path of this machine", name, err, want)
		}
	}
	real, err := root.Real("/etc/chain")
	check(t, "real path", []any{real, err}, []any{filepath.Join(string(root), "etc/pki/ca.pem"), nil})
	if _, err := Root("/nowhere/at/all").Stat("/"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Root("").Stat("/"); err != nil {
		t.Error(err)
	}
}

// A root that is itself a link is what the link points to.
func TestRootIsLink(t *testing.T) {
	outer := tree(t, map[string]string{"/real/etc/x": "x", "/link": "-> real"})
	got, err := Root(filepath.Join(string(outer), "link")).ReadFile("/etc/x")
	check(t, "file", []any{string(got), err}, []any{"x", nil})
}

// The steps of a walk: each directory, each link, the file.
func TestSteps(t *testing.T) {
	root := tree(t, map[string]string{"/a/b/file": "", "/l": "-> a/./b"})
	steps, err := root.Steps("/l/file")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range steps {
		got = append(got, s.Path+" "+s.Target)
	}
	check(t, "steps", got, []string{"/ ", "/l a/./b", "/a ", "/a/b ", "/a/b/file "})
	steps, err = root.Steps("/l/none/x")
	check(t, "steps before what is missing", []any{len(steps), errors.Is(err, fs.ErrNotExist)}, []any{4, true})
}

func TestShellQuote(t *testing.T) {
	for _, s := range []string{"", "plain", "/etc/pki/a b", "it's", "$(id)", "a\nb", "-n", "~", "é", "a;b", "*", `"`, "`id`", "\\"} {
		out, err := exec.Command("sh", "-c", "printf %s "+ShellQuote(s)).Output()
		if err != nil || string(out) != s && s != "-n" {
			t.Errorf("%q: the shell reads %q, %v", s, out, err)
		}
	}
	check(t, "what needs no quotes", ShellQuote("/etc/pki/qemu/server-key.pem"), "/etc/pki/qemu/server-key.pem")
}
