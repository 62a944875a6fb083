package peertest

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Options change where and as whom a program runs. The zero value is right for
// most: as root, in the test's directory, with nothing special in place.
type Options struct {
	// Mounts puts directories of the test at other places: the key is the
	// absolute path that the program sees ("/etc/pki"), the value the directory
	// that it finds there, writable. What is written reaches the test.
	Mounts map[string]string

	// Home is a directory whose content is copied into the program's home
	// directory and there belongs to its user.
	Home string

	// Unprivileged runs the program as an ordinary user (virtls, no other
	// groups), who can read what Home brings but, as t.TempDir() is private to
	// its owner, none of the test's other files. For other users run setpriv.
	Unprivileged bool

	Hostname string    // the machine's name; empty: "peer"
	Hosts    []string  // lines for /etc/hosts: "127.0.0.1 host1.example.com"
	Env      []string  // more environment, "NAME=value"
	Dir      string    // working directory; empty: the test's
	Stdin    io.Reader // nil: empty for Run, silent but open for servers
}

// needRoot tells whether o can only be had in a root of the program's own.
func (o Options) needRoot() bool {
	return len(o.Mounts) > 0 || o.Home != "" || o.Hostname != "" || len(o.Hosts) > 0
}

const (
	searchPath      = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	unprivilegedUID = 64200
	homeDir         = "/home/virtls"
	noSandbox       = 125 // exit code of enter.sh when it could not set up
)

//go:embed enter.sh
var enterScript string

// Command returns a command that runs a program of the generation as the
// package comment says. It is killed with all it started when the test ends.
// [Generation.Run] and the servers are built on it and easier to use.
func (g Generation) Command(t testing.TB, o Options, name string, args ...string) *exec.Cmd {
	t.Helper()
	g.needProgram(t, name)
	dir := o.Dir
	if dir == "" {
		dir = workingDir(t)
	}
	var cmd *exec.Cmd
	if err := sandboxError(); err == nil {
		argv := append([]string{"-c", enterScript, "peertest"}, g.sandbox(t, o, dir)...)
		cmd = exec.CommandContext(t.Context(), "/bin/sh", append(append(argv, name), args...)...)
		cmd.Env = append(environment(homeDir), o.Env...)
		cmd.SysProcAttr = ownNamespaces()
	} else {
		if g != Host || o.needRoot() {
			g.noSandbox(t, err)
		}
		cmd = exec.CommandContext(t.Context(), programPath(name), args...)
		cmd.Dir = dir
		cmd.Env = append(environment(os.Getenv("HOME")), o.Env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.Stdin = o.Stdin
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = exitGrace
	return cmd
}

// sandbox returns the arguments of enter.sh that come before the program.
func (g Generation) sandbox(t testing.TB, o Options, dir string) []string {
	t.Helper()
	scratch := t.TempDir()
	root := scratch + "/root"
	var fstab strings.Builder
	mount := func(what, where, kind, options string) {
		if strings.ContainsAny(what+where, " \t\n\\:,") {
			t.Fatalf("peertest: cannot mount %q at %q: want paths without blanks, colons, commas and backslashes", what, where)
		}
		fmt.Fprintf(&fstab, "%s %s%s %s %s,X-mount.mkdir\n", what, root, where, kind, options)
	}
	mount("proc", "/proc", "proc", "nosuid")
	mount("/dev", "/dev", "none", "rbind")
	mount("peer", "/dev/shm", "tmpfs", "mode=1777")
	mount("/sys", "/sys", "none", "rbind")
	for _, empty := range []string{"/run", "/etc/pki", "/etc/libvirt", "/var/lib/libvirt"} {
		mount("peer", empty, "tmpfs", "mode=755")
	}
	// The one that may lie in the other comes last.
	own := map[string]string{os.TempDir(): "bind", moduleDir(t): "bind,ro"}
	for _, dir := range slices.Sorted(maps.Keys(own)) {
		mount(dir, dir, "none", own[dir])
	}
	for _, where := range slices.Sorted(maps.Keys(o.Mounts)) {
		mount(o.Mounts[where], where, "none", "bind")
	}
	uid := 0
	if o.Unprivileged {
		uid = unprivilegedUID
	}
	hostname := cmp.Or(o.Hostname, "peer")
	hosts := append([]string{"127.0.0.1 localhost", "::1 localhost", "127.0.0.1 " + hostname}, o.Hosts...)
	return []string{scratch, g.root(), fstab.String(), strings.Join(hosts, "\n") + "\n", hostname, o.Home, fmt.Sprint(uid), dir}
}

func environment(home string) []string {
	return []string{"PATH=" + searchPath, "HOME=" + home, "LC_ALL=C", "TZ=UTC"}
}

// needProgram ends the test if the generation lacks a program that it should have.
func (g Generation) needProgram(t testing.TB, name string) {
	t.Helper()
	if !filepath.IsAbs(name) && !g.Has(name) {
		g.missing(t, "there is no "+name)
	}
}

// programPath finds a program of the machine where every generation looks for
// its own, which is not always where an ordinary user's PATH leads.
func programPath(name string) string {
	for dir := range strings.SplitSeq(searchPath, ":") {
		if path := filepath.Join(dir, name); !filepath.IsAbs(name) && isFile(path) {
			return path
		}
	}
	return name
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func workingDir(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// moduleDir returns the nearest directory above the test that has a go.mod, or
// the test's own.
func moduleDir(t testing.TB) string {
	t.Helper()
	start := workingDir(t)
	for dir := start; ; dir = filepath.Dir(dir) {
		if isFile(filepath.Join(dir, "go.mod")) {
			return dir
		}
		if dir == "/" {
			return start
		}
	}
}

func ownNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		// Unshared rather than cloned, because then Go makes every mount private.
		Unshareflags: syscall.CLONE_NEWNS,
	}
}

// sandboxError tells why programs cannot have roots of their own here.
var sandboxError = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return errors.New("namespaces need root, and this is an ordinary user")
	}
	probe := exec.Command("mount", "-n", "-t", "tmpfs", "peer", os.TempDir())
	probe.SysProcAttr = ownNamespaces()
	if out, err := probe.CombinedOutput(); err != nil {
		return fmt.Errorf("namespaces need privileges that root lacks here: %v: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
})
