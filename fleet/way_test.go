package fleet

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/finding"
)

const eve = 4711 // a user

// wayTests are what an installer may find on its way.
var wayTests = []struct {
	name   string
	change func(i *installation, outside string)
	kind   *finding.Kind // nil if it goes well
	where  string        // of the QEMU server's key below the root, if not in its usual place
}{
	{"a link out of the root", func(i *installation, outside string) { i.link("etc/pki", outside) }, kindPlaceTaken, ""},
	{"a link up and out of the root", func(i *installation, outside string) {
		i.link("etc/pki", "../../../../../../../../../.."+outside)
	}, kindPlaceTaken, ""},
	{"a link out of the root in a directory's place", func(i *installation, outside string) { i.link("etc/pki/qemu", outside) }, kindPlaceTaken, ""},
	{"a link to a directory below the root", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/srv/pki", 0o755))
		i.link("etc/pki", "/srv/pki")
	}, nil, "srv/pki/qemu/server-key.pem"},
	{"a relative link to a directory below the root", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/srv/qemu", 0o755))
		i.link("etc/pki/qemu", "../../srv/qemu")
	}, nil, "srv/qemu/server-key.pem"},
	{"a link to somebody's directory", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/home/eve/pki", 0o755))
		must(i.t, os.Chown(i.root+"/home/eve", eve, eve))
		i.link("etc/pki", "/home/eve/pki")
	}, kindPlaceForeign, ""},
	{"somebody's link", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/srv/pki", 0o755))
		i.link("etc/pki", "/srv/pki")
		must(i.t, os.Lchown(i.root+"/etc/pki", eve, eve))
	}, kindPlaceForeign, ""},
	{"somebody's directory", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/etc/pki/qemu", 0o755))
		must(i.t, os.Chown(i.root+"/etc/pki/qemu", eve, eve))
	}, kindPlaceForeign, ""},
	{"somebody's root", func(i *installation, _ string) { must(i.t, os.Chown(i.root, eve, eve)) }, kindPlaceForeign, ""},
	{"everybody's directory", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/etc/pki", 0o755))
		must(i.t, os.Chmod(i.root+"/etc/pki", 0o777))
	}, kindPlaceForeign, ""},
	{"a file that is a link, as CloudStack's agent makes them", func(i *installation, _ string) {
		i.file("etc/cloudstack/agent/cloud.crt", "CloudStack's")
		i.link("etc/pki/libvirt/servercert.pem", "/etc/cloudstack/agent/cloud.crt")
	}, kindPlaceTaken, ""},
	{"a FIFO in a file's place", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/etc/pki/qemu", 0o755))
		must(i.t, unix.Mkfifo(i.root+"/etc/pki/qemu/server-key.pem", 0o644))
	}, kindPlaceTaken, ""},
	{"a device in a file's place", func(i *installation, _ string) {
		must(i.t, os.MkdirAll(i.root+"/etc/pki/qemu", 0o755))
		must(i.t, unix.Mknod(i.root+"/etc/pki/qemu/server-key.pem", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	}, kindPlaceTaken, ""},
	{"a directory in a file's place", func(i *installation, _ string) { i.file("etc/pki/qemu/server-key.pem/x", "") }, kindPlaceTaken, ""},
	{"a file in a directory's place", func(i *installation, _ string) { i.file("etc/pki/qemu", "") }, kindPlaceTaken, ""},
	{"links to each other", func(i *installation, _ string) {
		i.link("etc/pki", "/etc/pkj")
		i.link("etc/pkj", "/etc/pki")
	}, kindNotInstalled, ""},
}

// The installer writes nowhere but below its root, gives nothing away that is
// not its own, and goes no way that somebody else could change under it.
func TestInstallWay(t *testing.T) {
	const host = "kvm1.example.com"
	s := staged(t, example(t))
	for _, tt := range wayTests {
		t.Run(tt.name, func(t *testing.T) {
			i := newInstallation(t)
			outside := t.TempDir()
			must(t, os.WriteFile(outside+"/precious", nil, 0o644))
			i.file("etc/libvirt/qemu.conf", "group = \"kvm\"\n")
			tt.change(i, outside)
			before, beyond := shape(t, i.root), shape(t, outside)
			_, _, err := i.install(s, host)
			check(t, "outside", shape(t, outside), beyond)
			if tt.kind == nil {
				must(t, err)
				check(t, "key", string(read(t, filepath.Join(i.root, tt.where))), string(read(t, s.host(host, "etc/pki/qemu/server-key.pem"))))
				did, _, err := i.install(s, host)
				must(t, err)
				check(t, "the second time", did, []string(nil))
				return
			}
			exit := finding.ExitUnable
			if tt.kind == kindPlaceForeign {
				exit = finding.ExitWrong
			}
			checkFailure(t, err, tt.kind, exit)
			check(t, "nothing is done if something is in the way", shape(t, i.root), before)
			if f := failure(t, err); f.Fix == "" || !strings.HasPrefix(f.Subject, i.root) {
				t.Errorf("the finding does not say where it is or how it is mended: %+v", f)
			}
		})
	}
}

// Nor does install.sh, except that it takes absolute links as this machine does.
func TestInstallScriptWay(t *testing.T) {
	const host = "kvm1.example.com"
	s := staged(t, example(t))
	path, _ := bundle(t, s, host)
	dir := t.TempDir()
	out, err := exec.Command("tar", "-xpf", path, "-C", dir).CombinedOutput()
	must(t, errors.Join(err, ifAny(out)))
	for _, tt := range wayTests {
		t.Run(tt.name, func(t *testing.T) {
			i := newInstallation(t)
			outside := t.TempDir()
			must(t, os.WriteFile(outside+"/precious", nil, 0o644))
			tt.change(i, outside)
			beyond := shape(t, outside)
			run := func() (string, error) {
				cmd := exec.CommandContext(t.Context(), "/bin/sh", filepath.Join(dir, host, "install.sh"))
				cmd.Env = append(os.Environ(), "DESTDIR="+i.root, "QEMU_GROUP=daemon", "SUDO_UID=")
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			said, err := run()
			check(t, "outside", shape(t, outside), beyond)
			if tt.kind == nil && tt.name != "a link to a directory below the root" {
				must(t, err)
				check(t, "key", string(read(t, filepath.Join(i.root, tt.where))), string(read(t, s.host(host, "etc/pki/qemu/server-key.pem"))))
				again, err := run()
				must(t, err)
				check(t, "the second time", strings.HasPrefix(again, "0 changes."), true)
				return
			}
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
				t.Fatalf("%v: %s", err, said)
			}
			if !strings.HasPrefix(said, "install.sh: ") || strings.Count(said, "\n") != 1 || !strings.Contains(said, i.root) {
				t.Errorf("it says %q", said)
			}
			left, err := filepath.Glob(i.root + "/etc/pki/*/.virtls.*")
			must(t, err)
			check(t, "temporary files", left, []string(nil))
		})
	}
}

func (i *installation) link(name, target string) {
	i.t.Helper()
	must(i.t, os.MkdirAll(filepath.Dir(filepath.Join(i.root, name)), 0o755))
	must(i.t, os.Symlink(target, filepath.Join(i.root, name)))
}
