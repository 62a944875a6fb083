package fleet

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"virtls/ca"
	"virtls/finding"
	"virtls/internal/peertest"
)

// An installation goes below a directory, for accounts that exist nowhere.
type installation struct {
	t      *testing.T
	root   string
	owners map[string]int // ids of the accounts
	labels map[string]string
	in     Installer
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	peertest.NeedRoot(t, "giving files to others")
	i := &installation{t: t, root: t.TempDir(), owners: map[string]int{"root": 0, "libvirt-qemu": 64055, "kvm": 107}, labels: map[string]string{}}
	i.in = Installer{
		Root: i.root,
		Lookup: func(owner, group string) (int, int, error) {
			uid, ok := i.owners[owner]
			gid, ok2 := i.owners[group]
			if !ok || !ok2 {
				return 0, 0, errors.New("no such account")
			}
			return uid, gid, nil
		},
		Label: func(path, typ string) error { i.labels[strings.TrimPrefix(path, i.root)] = typ; return nil },
	}
	return i
}

func (i *installation) file(name, text string) {
	i.t.Helper()
	must(i.t, os.MkdirAll(filepath.Dir(filepath.Join(i.root, name)), 0o755))
	must(i.t, os.WriteFile(filepath.Join(i.root, name), []byte(text), 0o644))
}

// install returns "PATH DID" of everything done.
func (i *installation) install(s *site, holder string) (did []string, findings []finding.Finding, err error) {
	i.t.Helper()
	s.open(ca.Options{ReadOnly: true}, func(state *ca.State) {
		findings, err = i.in.Install(i.t.Context(), s.file, state, holder, func(d Installed) { did = append(did, d.Path+" "+d.Did) })
	})
	return did, findings, err
}

// checkRights wants every entry of the manifest below root, as it says, with
// the group that it leaves to the host.
func checkRights(t *testing.T, s *site, holder, root string, group int) {
	t.Helper()
	dir, m, err := readManifest(s.dir, holder)
	must(t, err)
	for _, e := range m.Entries {
		info, err := os.Lstat(filepath.Join(root, e.Path))
		must(t, err)
		uid, gid := ownerOf(info)
		want := 0
		if e.Group != "root" {
			want = group
		}
		if uid != 0 || gid != want || info.Mode().Perm() != e.Mode || info.IsDir() != (e.Type == "directory") {
			t.Errorf("%s is %v %d:%d, want %04o 0:%d", e.Path, info.Mode(), uid, gid, e.Mode, want)
		}
		if e.Type == "file" {
			check(t, e.Path, string(read(t, filepath.Join(root, e.Path))), string(read(t, filepath.Join(dir, e.Path))))
		}
	}
}

func TestInstall(t *testing.T) {
	const host = "kvm1.example.com"
	i := newInstallation(t)
	i.file("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
	s := staged(t, example(t))
	defer syscall.Umask(syscall.Umask(0o077))
	did, findings, err := i.install(s, host)
	must(t, err)
	check(t, "findings", codes(findings), []string(nil))
	_, m, err := readManifest(s.dir, host)
	must(t, err)
	check(t, "created", len(did), len(m.Entries))
	checkRights(t, s, host, i.root, 64055)
	for _, e := range m.Entries {
		check(t, "label of "+e.Path, i.labels[e.Path], "cert_t")
	}
	did, _, err = i.install(s, host)
	must(t, err)
	check(t, "the second time", did, []string(nil))

	// What was changed since is set right, and only that.
	qemu := filepath.Join(i.root, "etc/pki/qemu")
	must(t, os.Chmod(qemu+"/server-key.pem", 0o644))
	must(t, os.Chown(qemu, 0, 5))
	must(t, os.Remove(qemu+"/ca-cert.pem"))
	must(t, os.WriteFile(qemu+"/client-cert.pem", []byte("old"), 0o600))
	must(t, os.Chown(qemu+"/ca-crl.pem", 5, 5))
	other := filepath.Join(i.root, "other-name.pem") // of a file with two names only one is replaced
	must(t, os.Link(qemu+"/ca-crl.pem", other))
	did, _, err = i.install(s, host)
	must(t, err)
	check(t, "set right", did, []string{
		"/etc/pki/qemu owner set", "/etc/pki/qemu/ca-cert.pem created", "/etc/pki/qemu/ca-crl.pem owner set", "/etc/pki/qemu/client-cert.pem replaced", "/etc/pki/qemu/server-key.pem mode set",
	})
	info, err := os.Stat(other)
	must(t, err)
	uid, _ := ownerOf(info)
	check(t, "owner of the other name", uid, 5)
	checkRights(t, s, host, i.root, 64055)
}

// Directories above those of the manifest are open to all, whatever the umask.
func TestInstallParents(t *testing.T) {
	i := newInstallation(t)
	i.file("etc/os-release", "ID=debian\n")
	s := staged(t, parse(t, "organization: A\nhosts: [{name: h, uses: {qemu: {dir: /srv/a/b/tls}}}]"))
	defer syscall.Umask(syscall.Umask(0o077))
	_, _, err := i.install(s, "h")
	must(t, err)
	for _, dir := range []string{"srv", "srv/a", "srv/a/b"} {
		check(t, dir, shape(t, i.root)[dir+"/"], "0755")
	}
	check(t, "the directory", shape(t, i.root)["srv/a/b/tls/"], "0750")
}

// The group that QEMU runs as is found out in the same way by both installers.
func TestQEMUGroup(t *testing.T) {
	tests := []struct {
		name, release, conf, want string
	}{
		{"Debian 12", "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n", "", "libvirt-qemu"},
		{"Debian sid", "PRETTY_NAME=\"Debian\"\nID=debian\n", "", "libvirt-qemu"},
		{"Raspbian", "ID=raspbian\nID_LIKE=debian\n", "", "libvirt-qemu"},
		{"Ubuntu", "ID=ubuntu\nID_LIKE=debian\n", "", "kvm"},
		{"Mint", "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "", "kvm"},
		{"Fedora", "ID=fedora\n", "", "qemu"},
		{"Rocky", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "", "qemu"},
		{"Tumbleweed", "ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n", "", "qemu"},
		{"Gentoo", "ID=gentoo\n", "", "qemu"},
		{"Arch", "ID=arch\n", "", "libvirt-qemu"},
		{"Manjaro", "ID='manjaro'\nID_LIKE='arch'\n", "", "libvirt-qemu"},
		{"Alpine", "ID=alpine\n", "", "root"},
		{"qemu.conf", "ID=debian\n", "group = \"kvm\"\n", "kvm"},
		{"qemu.conf without quotes", "ID=debian\n", "group=kvm\n", "kvm"},
		{"qemu.conf with a comment", "ID=debian\n", " group = 'kvm' # since \"ever\"\n", "kvm"},
		{"qemu.conf's default", "ID=debian\n", "#group = \"kvm\"\n", "libvirt-qemu"},
		{"qemu.conf's last", "ID=debian\n", "group = \"root\"\ngroup = \"kvm\"\n", "kvm"},
		{"qemu.conf's number", "ID=debian\n", "group = \"+0\"\n", "root"},
		{"other settings", "ID=debian\n", "default_group = \"kvm\"\ngroups = \"kvm\"\n", "libvirt-qemu"},
	}
	script := installScript[:strings.Index(installScript, "fail() {")] + installScript[strings.Index(installScript, "name=$(getent"):strings.Index(installScript, "@LIST@")] + "\nprintf %s \"$qemu_group\"\n"
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			i := &installation{t: t, root: root}
			i.file("etc/os-release", tt.release)
			if tt.conf != "" {
				i.file("etc/libvirt/qemu.conf", tt.conf)
			}
			check(t, "virtls", Installer{Root: root}.qemuGroup(), tt.want)
			cmd := exec.Command("/bin/sh", "-c", "getent() { case $2 in 0) echo root:x:0: ;; *) echo \"$2:x:1:\" ;; esac; }\n"+script)
			cmd.Env = append(os.Environ(), "DESTDIR="+root)
			out, err := cmd.CombinedOutput()
			must(t, err)
			check(t, "install.sh", string(out), tt.want)
		})
	}
}

// What a manifest leaves open, or the machine lacks, or somebody changed.
func TestInstallErrors(t *testing.T) {
	const host = "kvm1.example.com"
	unknown := func(t *testing.T) *File {
		return parse(t, "organization: A\nhosts: [{name: "+host+"}]\nclients: [{name: eve}]")
	}
	tests := []struct {
		name   string
		file   func(t *testing.T) *File
		holder string
		change func(i *installation, s *site)
		kind   *finding.Kind
		exit   int
	}{
		{"no such host", unknown, "kvm9", nil, kindNoHolder, finding.ExitUsage},
		{"a path for a name", unknown, "../hosts/" + host, nil, kindNoHolder, finding.ExitUsage},
		{"a person", unknown, "eve", nil, kindPerson, finding.ExitUsage},
		{"no group", unknown, host, nil, kindNoAccount, finding.ExitUnable},
		{"an account that is not there", unknown, host, func(i *installation, _ *site) { i.file("etc/os-release", "ID=fedora\n") }, kindNoAccount, finding.ExitUnable},
		{"a host that was added since", example0, host, func(_ *installation, s *site) { must(s.t, os.RemoveAll(s.host(host))) }, kindNotStaged, finding.ExitUnable},
		{"a directory in the way", example0, host, func(i *installation, _ *site) {
			i.file("etc/pki/qemu/ca-cert.pem/x", "")
		}, kindPlaceTaken, finding.ExitUnable},
		{"a file in the way", example0, host, func(i *installation, _ *site) { i.file("etc/pki", "") }, kindPlaceTaken, finding.ExitUnable},
		{"a read-only place", example0, host, func(i *installation, _ *site) {
			must(i.t, unix.Mount("none", i.root, "tmpfs", unix.MS_RDONLY, ""))
			i.t.Cleanup(func() { unix.Unmount(i.root, 0) })
		}, kindNotInstalled, finding.ExitUnable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := newInstallation(t)
			s := staged(t, tt.file(t))
			if tt.change != nil {
				tt.change(i, s)
			}
			_, _, err := i.install(s, tt.holder)
			if err == nil {
				t.Fatal("installed")
			}
			checkFailure(t, err, tt.kind, tt.exit)
			check(t, "installed", shape(t, i.root)["etc/pki/qemu/server-cert.pem"], "")
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		i := newInstallation(t)
		_, err := i.in.Install(ctx, example(t), nil, host, func(Installed) {})
		check(t, "error", errors.Is(err, context.Canceled), true)
	})
}

func example0(t *testing.T) *File { return example(t) }

// The fleet file's group is used, and it is said that the machine has another.
func TestInstallGroupDiffers(t *testing.T) {
	i := newInstallation(t)
	i.file("etc/libvirt/qemu.conf", "group = \"kvm\"\n")
	s := staged(t, example(t))
	_, findings, err := i.install(s, "kvm1.example.com")
	must(t, err)
	check(t, "findings", codes(findings), []string{"qemu-group-differs"})
	checkRights(t, s, "kvm1.example.com", i.root, 64055)
}

// A client with a system tree is installed as a host is.
func TestInstallClient(t *testing.T) {
	i := newInstallation(t)
	i.file("etc/os-release", "ID=debian\n")
	s := staged(t, example(t))
	_, _, err := i.install(s, "backup")
	must(t, err)
	checkRights(t, s, "backup", i.root, 64055)
}

// unpacked is a bundle's content.
type unpacked struct {
	mode  int64
	data  string
	isDir bool
}

func (s *site) bundle(holder, path string) (err error) {
	s.open(ca.Options{ReadOnly: true}, func(state *ca.State) { _, err = Bundle(s.t.Context(), s.file, state, holder, path) })
	return err
}

func bundle(t *testing.T, s *site, holder string) (path string, content map[string]unpacked) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "bundle.tar")
	must(t, s.bundle(holder, path))
	content = map[string]unpacked{}
	r := tar.NewReader(bytes.NewReader(read(t, path)))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return path, content
		}
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		name, ok := strings.CutPrefix(h.Name, holder+"/")
		if !ok {
			t.Errorf("%s is not below %s", h.Name, holder)
		}
		content[name] = unpacked{h.Mode, string(data), h.Typeflag == tar.TypeDir}
	}
}

// A bundle holds what the manifest lists, what activates it and an installer,
// and nothing else that lies beside them.
func TestBundle(t *testing.T) {
	s := staged(t, example(t))
	const host = "kvm1.example.com"
	path, before := bundle(t, s, host)
	check(t, "mode", shape(t, filepath.Dir(path))["bundle.tar"], "0600")
	stray := "etc/pki/qemu/stray-ca-key.pem"
	must(t, os.WriteFile(s.host(host, stray), read(t, s.path("ca/ca-key.pem")), 0o600))
	must(t, os.Symlink(s.path("ca/ca-key.pem"), s.host(host, "etc/pki/qemu/link.pem")))
	again, content := bundle(t, s, host)
	check(t, "the same tree gives the same file", bytes.Equal(read(t, path), read(t, again)), true)
	check(t, "what lies about", len(content), len(before))

	_, m, err := readManifest(s.dir, host)
	must(t, err)
	want := []string{"", "install.sh", manifestName}
	for _, e := range m.Entries {
		name := strings.TrimPrefix(e.Path, "/")
		if e.Type == "directory" {
			name += "/"
		} else {
			check(t, name, content[name].data, string(read(t, s.host(host, name))))
		}
		check(t, "mode of "+name, content[name].mode, int64(e.Mode))
		want = append(want, name)
	}
	for name := range s.file.activation(must1(s.file.holderOfHost(&s.file.Hosts[0]))) {
		want = append(want, activationPath(name))
	}
	slices.Sort(want)
	check(t, "content", sortedKeys(content), want)

	_, person := bundle(t, s, "admin")
	if _, ok := person["install.sh"]; ok {
		t.Error("a person's bundle has an installer")
	}
	check(t, "a person's key", person[".pki/libvirt/clientkey.pem"].mode, int64(0o600))

	checkFailure(t, s.bundle("kvm9", path), kindNoHolder, finding.ExitUsage)
	must(t, os.RemoveAll(s.host("kvm2.example.com")))
	checkFailure(t, s.bundle("kvm2.example.com", path), kindNotStaged, finding.ExitUnable)
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// install.sh installs what the Go installer installs, twice without a change,
// and mends what was changed.
func TestInstallScript(t *testing.T) {
	i := newInstallation(t)
	const host = "kvm1.example.com"
	s := staged(t, parse(t, "organization: A\nhosts: [{name: "+host+", uses: {qemu: both, libvirt: both, libvirt-vnc: {dir: /srv/tls/vnc}}}]\npsk: [{user: u, servers: ["+host+"], holders: ["+host+"]}]"))
	path, _ := bundle(t, s, host)
	dir := filepath.Join(t.TempDir(), "with 'blanks'")
	must(t, os.Mkdir(dir, 0o700))
	out, err := exec.Command("tar", "-xpf", path, "-C", dir).CombinedOutput()
	must(t, errors.Join(err, ifAny(out)))
	run := func(env ...string) string {
		t.Helper()
		cmd := exec.Command("/bin/sh", filepath.Join(dir, host, "install.sh"))
		cmd.Env = append(append(os.Environ(), "DESTDIR="+i.root, "QEMU_GROUP=daemon"), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	daemon := 1 // Debian's base-passwd
	if got := run(); strings.HasPrefix(got, "0 ") || !strings.Contains(got, " changes. What makes the files live is in "+dir) {
		t.Errorf("the first time: %s", got)
	}
	checkRights(t, s, host, i.root, daemon)
	for _, d := range []string{"srv/", "srv/tls/"} {
		check(t, d, shape(t, i.root)[d], "0755")
	}
	if got := run(); !strings.HasPrefix(got, "0 changes.") {
		t.Errorf("the second time: %s", got)
	}
	qemu := filepath.Join(i.root, "etc/pki/qemu")
	must(t, os.Chmod(qemu+"/server-key.pem", 0o644))
	must(t, os.Chown(qemu, 0, 5))
	must(t, os.Remove(qemu+"/ca-cert.pem"))
	must(t, os.WriteFile(qemu+"/client-cert.pem", []byte("old"), 0o600))
	if got := run(); !strings.HasPrefix(got, "4 changes.") {
		t.Errorf("after four changes: %s", got)
	}
	checkRights(t, s, host, i.root, daemon)
	if got := run("QEMU_GROUP=nobody-has-this"); !strings.Contains(got, "exit status 3") || !strings.Contains(got, "there is no group nobody-has-this") {
		t.Errorf("an unknown group: %s", got)
	}
	must(t, os.Remove(filepath.Join(dir, host, "etc/pki/qemu/server-cert.pem")))
	must(t, os.Remove(qemu+"/server-cert.pem"))
	if got := run(); !strings.Contains(got, "exit status 3") || !strings.Contains(got, "cannot install") {
		t.Errorf("a missing file: %s", got)
	}
	noLeftovers, err := filepath.Glob(qemu + "/.virtls.*")
	must(t, err)
	check(t, "temporary files", noLeftovers, []string(nil))
}

// ifAny makes an error of output.
func ifAny(out []byte) error {
	if len(out) == 0 {
		return nil
	}
	return errors.New(string(out))
}
