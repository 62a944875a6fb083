package validate

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"virtls/internal/peertest"
	"virtls/layout"
)

// TestAs has real programs run as a user who may not read everything, and asks
// what becomes of them.
func TestAs(t *testing.T) {
	peertest.NeedRoot(t, "making files of others")
	const uid = 64200
	c := newCast(t)
	cases := []struct {
		name string
		mode map[string]os.FileMode // of the files of root, by role-less name
	}{
		{"all can be read", nil},
		{"key", map[string]os.FileMode{"server-key.pem": 0o600, "client-key.pem": 0o600}},
		{"certificate", map[string]os.FileMode{"server-cert.pem": 0o600, "client-cert.pem": 0o600}},
		{"CA", map[string]os.FileMode{"ca-cert.pem": 0o600}},
		{"directory", map[string]os.FileMode{".": 0o700}},
		{"directory that can be entered", map[string]os.FileMode{".": 0o711}},
	}
	base := t.TempDir()
	for i, tt := range cases {
		dir := filepath.Join(base, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		files := layer{}.put(t, flat(layout.QEMU), bundle(c.root), layout.Server, c.server)
		files.put(t, flat(layout.QEMU), bundle(c.root), layout.Client, c.client)
		files["/creds/dh-params.pem"] = []byte(peertest.DHParams)
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for name, mode := range tt.mode {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// The test's own directories are private.
	for dir := base; dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		version := g.Version(t, peertest.QEMU).Package
		for _, c := range consumers[:2] {
			var script strings.Builder
			fmt.Fprintf(&script, "%s", c.ask)
			for i := range cases {
				fmt.Fprintf(&script, "echo '@@@'; ask %s\n", filepath.Join(base, fmt.Sprint(i)))
			}
			r := g.Run(t, peertest.Options{Unprivileged: true, Dir: "/"}, "sh", "-c", strings.ReplaceAll(script.String(), "--socket=/run/nbd", "--socket=/home/virtls/nbd"))
			answers := strings.Split(r.Stdout, "@@@\n")[1:]
			if len(answers) != len(cases) {
				t.Fatal(r)
			}
			for i, tt := range cases {
				text, accepted := c.judge(answers[i])
				got, err := Dir(t.Context(), filepath.Join(base, fmt.Sprint(i)), Options{For: []string{c.name}, Against: []string{version}, As: fmt.Sprint(uid)})
				if err != nil {
					t.Fatal(err)
				}
				if got.Accepted() != accepted {
					t.Errorf("%s: %s: the program says %t %s, we %+v %v", c.name, tt.name, accepted, text, got.Verdicts, got.Findings)
				}
				if !accepted && !slices.Contains(got.Verdicts[0].Because, kindDenied) {
					t.Errorf("%s: %s: %+v", c.name, tt.name, got.Verdicts)
				}
			}
		}
	})
}

// What the caller may not read is not judged, rather than judged wrongly.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		asUser(t)
		return
	}
	c := newCast(t)
	root := host().put(t, libvirtAt, bundle(c.root), layout.Server, c.server).write(t)
	if err := os.Chmod(filepath.Join(root, "etc/pki/libvirt/private"), 0); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(root, "etc/pki/libvirt/private")
	t.Cleanup(func() { os.Chmod(private, 0o700) })
	r, err := Machine(t.Context(), Options{Root: layout.Root(root)})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Verdicts) > 0 || len(r.Unjudged) == 0 {
		t.Errorf("verdicts %v, not judged %v", r.Verdicts, r.Unjudged)
	}
	found(t, r, "file-not-judged")

	// Nor is a configuration that only its daemon may read wrong for that.
	root = host().put(t, libvirtAt, bundle(c.root), layout.Server, c.server).put(t, qemuAt, bundle(c.root), layout.Server, c.server).write(t)
	for _, conf := range []string{layout.QEMUConfFile, layout.LibvirtdConf} {
		file := filepath.Join(root, conf)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	r, err = Machine(t.Context(), Options{Root: layout.Root(root)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Code == "conf-unreadable" {
			t.Errorf("%+v", f)
		}
	}
	for _, v := range r.Verdicts {
		if v.Consumer == "libvirt-server" {
			t.Errorf("%+v", v)
		}
	}
	found(t, r, "file-not-judged")
}

// asUser runs the test anew as an ordinary user, for whom there is something
// that cannot be read.
func asUser(t *testing.T) {
	t.Helper()
	const uid = 64200
	dir, err := os.MkdirTemp("", "validate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "test")
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(binary, self, 0o755), os.Chown(dir, uid, uid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, []string{"TMPDIR=" + dir, "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}
