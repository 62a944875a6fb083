package page

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"virtls/internal/peertest"
)

// A checkout is the part of the tree that scripts/novnc works on.
type checkout struct {
	t    *testing.T
	root string
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	peertest.NeedProgram(t, "bash", "bash")
	c := checkout{t, t.TempDir()}
	for from, to := range map[string]string{
		"../../scripts/novnc": "scripts/novnc", "novnc/README": "gateway/page/novnc/README",
		"package.json": "gateway/page/package.json", "package-lock.json": "gateway/page/package-lock.json",
	} {
		data, err := os.ReadFile(from)
		must(t, err)
		c.write(to, string(data))
	}
	return c
}

func (c checkout) write(name, text string) {
	c.t.Helper()
	name = filepath.Join(c.root, name)
	must(c.t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(c.t, os.WriteFile(name, []byte(text), 0o755))
}

// run runs the script. npm and sleep are those of bin, if they are there.
func (c checkout) run(args ...string) (string, error) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(c.root, "scripts/novnc"), args...)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(c.root, "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// has returns the text of a file of what was put into the tree.
func (c checkout) has(name string) string {
	data, _ := os.ReadFile(filepath.Join(c.root, "gateway/page/novnc", name))
	return string(data)
}

// novnc writes what npm's package and Debian's have in common.
func (c checkout) novnc(dir, version string) {
	c.write(dir+"/core/rfb.js", version)
	c.write(dir+"/vendor/pako/index.js", "")
	c.write(dir+"/docs/LICENSE.MPL-2.0", "the licence")
	c.write(dir+"/docs/API.md", "not needed")
	c.write(dir+"/LICENSE.txt", "who wrote what")
	c.write(dir+"/package.json", `{"version": "`+version+`"}`)
}

func TestNoVNCFromDirectory(t *testing.T) {
	c := newCheckout(t)
	c.write("bin/npm", "#!/bin/sh\necho npm was asked; exit 1\n")
	c.novnc("mine", "1.3.0")
	if out, err := c.run(filepath.Join(c.root, "mine")); err != nil || out != "" {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		"core/rfb.js": "1.3.0", "docs/LICENSE.MPL-2.0": "the licence", "docs/API.md": "", "LICENSE.txt": "who wrote what", "package.json": `{"version": "1.3.0"}`,
	} {
		if got := c.has(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if c.has("README") == "" {
		t.Error("README is gone")
	}
	if out, err := c.run(); err != nil || out != "" || c.has("core/rfb.js") != "1.3.0" {
		t.Errorf("what was chosen does not stay: %v, %s", err, out)
	}
	if out, err := c.run(c.root); err == nil || !strings.Contains(out, "holds no noVNC") || c.has("core/rfb.js") != "1.3.0" {
		t.Errorf("a directory without noVNC: %v, %s", err, out)
	}
}

func TestNoVNCFromNPM(t *testing.T) {
	c := newCheckout(t)
	c.novnc("package", "1.7.0")
	c.write("bin/npm", "#!/bin/sh\n"+`[ "$1" = ci ] && case " $* " in *" --ignore-scripts "*) ;; *) exit 1;; esac
cmp package-lock.json `+c.root+`/gateway/page/package-lock.json && mkdir -p node_modules/@novnc && cp -R `+c.root+"/package node_modules/@novnc/novnc\n")
	if out, err := c.run(); err != nil || out != "" {
		t.Fatalf("%v: %s", err, out)
	}
	if c.has("core/rfb.js") != "1.7.0" || c.has("package-lock.json") == "" {
		t.Error("it is not there")
	}
	// Another version in the lock file is fetched, the same is not.
	c.novnc("package", "1.8.0")
	if out, err := c.run(); err != nil || c.has("core/rfb.js") != "1.7.0" {
		t.Errorf("%v: %s", err, out)
	}
	c.write("gateway/page/package-lock.json", "{}")
	if out, err := c.run(); err != nil || c.has("core/rfb.js") != "1.8.0" {
		t.Errorf("%v: %s", err, out)
	}
}

// Without npm Debian's noVNC is taken, if it is installed.
func TestNoVNCWithoutNPM(t *testing.T) {
	c := newCheckout(t)
	c.write("bin/npm", "#!/bin/sh\nexit 1\n")
	c.write("bin/sleep", "#!/bin/sh\n")
	out, err := c.run()
	if _, debian := os.Stat("/usr/share/novnc"); debian == nil {
		if err != nil || !strings.Contains(out, "taking Debian's noVNC") || c.has("core/rfb.js") == "" {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	if err == nil || !strings.Contains(out, "install npm or Debian's package novnc, or name a directory") {
		t.Errorf("%v: %s", err, out)
	}
	if c.has("package.json") != "" {
		t.Error("something is there all the same")
	}
}

// npm compares what it gets with the lock file, if that has a checksum.
func TestNoVNCLock(t *testing.T) {
	data, err := os.ReadFile("package-lock.json")
	must(t, err)
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	must(t, json.Unmarshal(data, &lock))
	if p := lock.Packages["node_modules/@novnc/novnc"]; p.Version == "" || !strings.HasPrefix(p.Integrity, "sha512-") {
		t.Errorf("the lock file has %+v", p)
	}
	for name, p := range lock.Packages {
		if name != "" && !strings.HasPrefix(p.Integrity, "sha512-") {
			t.Errorf("%s has no checksum", name)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
