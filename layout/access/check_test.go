package access

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/finding"
	"virtls/layout"
)

// In these tests QEMU runs as daemon, whom every Unix has as 1, and bin (2) is
// somebody else.
const people = "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nbin:x:2:2::/home/bin:/bin/sh\n"
const groupsOf = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:bin\n"

var (
	qemu   = Credential{Name: "daemon", UID: 1, GID: 1}
	person = Credential{Name: "bin", UID: 2, GID: 2, Groups: []int{3}}
)

// build makes a tree. Each line is PATH OWNER:GROUP MODE [ACL ENTRY,...]; a path
// that ends with a slash is a directory. Directories that have no line are
// root's and 0755.
func build(t *testing.T, lines string) *Host {
	t.Helper()
	needRoot(t, "setfacl", "chown")
	root := t.TempDir()
	run := func(name string, args ...string) {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	for line := range strings.Lines("/etc/passwd root:root 644\n/etc/group root:root 644\n" + lines) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		p := filepath.Join(root, f[0])
		dir := strings.HasSuffix(f[0], "/")
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, link := strings.CutPrefix(f[2], "->"); link {
			if err := os.Symlink(target, p); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if dir {
			run("mkdir", "-p", p)
		} else if err := os.WriteFile(p, []byte(map[string]string{"/etc/passwd": people, "/etc/group": groupsOf}[f[0]]), 0o644); err != nil {
			t.Fatal(err)
		}
		run("chown", f[1], p)
		run("chmod", f[2], p)
		for _, entry := range f[3:] {
			run("setfacl", "-m", entry, p)
		}
	}
	h, err := Open(layout.Root(root))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const (
	goodQEMU = `
/etc/pki/qemu/ root:daemon 750
/etc/pki/qemu/ca-cert.pem root:root 644
/etc/pki/qemu/server-cert.pem root:root 644
/etc/pki/qemu/server-key.pem root:daemon 640
`
	goodLibvirt = `
/etc/pki/CA/cacert.pem root:root 644
/etc/pki/libvirt/servercert.pem root:root 644
/etc/pki/libvirt/private/serverkey.pem root:root 600
`
)

var (
	qemuFiles    = layout.System(layout.QEMU, "").Files(layout.Server)
	libvirtFiles = layout.System(layout.Libvirt, "").Files(layout.Server)
	clientFiles  = layout.System(layout.Libvirt, "").Files(layout.Client)
	homeFiles    = layout.Home(layout.Libvirt, "/home/bin").Files(layout.Client)
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		tree  string
		check Check
		want  []string // CODE SUBJECT
		stays bool     // the fixes do not make everything good, as the profile wants it so
	}{
		{name: "QEMU's, good", tree: goodQEMU, check: Check{Files: qemuFiles, Who: qemu, Profile: GroupReadable}},
		{name: "libvirt's, good", tree: goodLibvirt, check: Check{Files: libvirtFiles, Who: RootUser, Profile: GroupReadable}},
		{name: "nothing there", check: Check{Files: qemuFiles, Who: qemu, Profile: Wiki}},
		{
			name: "key for root alone", tree: goodQEMU + "/etc/pki/qemu/server-key.pem root:root 600", check: Check{Files: qemuFiles, Who: qemu},
			want: []string{"consumer-cannot-read /etc/pki/qemu/server-key.pem"},
		},
		{
			name: "closed directory", tree: goodQEMU + "/etc/pki/ root:root 700", check: Check{Files: qemuFiles, Who: qemu},
			want: []string{"consumer-cannot-read /etc/pki"},
		},
		{
			name: "closed certificate", tree: goodQEMU + "/etc/pki/qemu/server-cert.pem bin:bin 600", check: Check{Files: qemuFiles, Who: qemu},
			want: []string{"consumer-cannot-read /etc/pki/qemu/server-cert.pem", "credential-writable-by-others /etc/pki/qemu/server-cert.pem"},
		},
		{
			name: "a link into a closed directory", tree: goodQEMU + "/etc/pki/qemu/client-cert.pem root:root ->/etc/secret/x.pem\n/etc/secret/x.pem root:root 644\n/etc/secret/ root:root 700",
			check: Check{Files: layout.System(layout.QEMU, "").Files(layout.Client), Who: qemu}, want: []string{"consumer-cannot-read /etc/secret"},
		},
		{
			name: "ACL without effect for its mask", tree: goodQEMU + "/etc/pki/qemu/server-key.pem root:root 600 u:daemon:r m::-", check: Check{Files: qemuFiles, Who: qemu},
			want: []string{"consumer-cannot-read /etc/pki/qemu/server-key.pem"},
		},
		{name: "ACL", tree: goodQEMU + "/etc/pki/qemu/server-key.pem root:root 600 u:daemon:r", check: Check{Files: qemuFiles, Who: qemu}},
		{
			name: "key for everybody", tree: goodQEMU + "/etc/pki/qemu/ root:root 755\n/etc/pki/qemu/server-key.pem root:daemon 644", check: Check{Files: qemuFiles, Who: qemu},
			want: []string{"key-readable-by-everybody /etc/pki/qemu/server-key.pem"},
		},
		{name: "key for everybody in a closed directory", tree: goodQEMU + "/etc/pki/qemu/server-key.pem root:daemon 644", check: Check{Files: qemuFiles, Who: qemu}},
		{
			name: "key for another by ACL", tree: goodQEMU + "/etc/pki/qemu/ root:root 755\n/etc/pki/qemu/server-key.pem daemon:daemon 600 u:bin:r", check: Check{Files: qemuFiles, Who: qemu},
			want: []string{"credential-writable-by-others /etc/pki/qemu/server-key.pem", "key-readable-by-others /etc/pki/qemu/server-key.pem"},
		},
		{
			name: "libvirt's key for a group", tree: goodLibvirt + "/etc/pki/libvirt/private/serverkey.pem root:sys 640", check: Check{Files: libvirtFiles, Who: RootUser},
			want: []string{"key-readable-by-others /etc/pki/libvirt/private/serverkey.pem"},
		},
		{
			name: "CA that a group can write", tree: goodLibvirt + "/etc/pki/CA/cacert.pem root:sys 664", check: Check{Files: libvirtFiles, Who: RootUser},
			want: []string{"credential-writable-by-others /etc/pki/CA/cacert.pem"},
		},
		{
			name: "directory that everybody can write", tree: goodLibvirt + "/etc/pki/CA/ root:root 777", check: Check{Files: libvirtFiles, Who: RootUser},
			want: []string{"credential-writable-by-others /etc/pki/CA"},
		},
		{name: "sticky directory", tree: goodLibvirt + "/etc/pki/CA/ root:root 1777", check: Check{Files: libvirtFiles, Who: RootUser}},
		{
			name: "owner and mode", tree: goodLibvirt + "/etc/pki/CA/cacert.pem bin:root 600", check: Check{Files: libvirtFiles, Who: RootUser, Profile: Strict},
			want: []string{"credential-writable-by-others /etc/pki/CA/cacert.pem", "mode-differs /etc/pki/CA/cacert.pem", "owner-differs /etc/pki/CA/cacert.pem"},
		},
		{
			name: "the wiki's", tree: goodLibvirt, check: Check{Files: libvirtFiles, Who: RootUser, Profile: Wiki, QEMUGroup: "daemon"},
			want: []string{
				"mode-differs /etc/pki/CA/cacert.pem", "mode-differs /etc/pki/libvirt/private", "mode-differs /etc/pki/libvirt/private/serverkey.pem", "mode-differs /etc/pki/libvirt/servercert.pem",
				"owner-differs /etc/pki/libvirt", "owner-differs /etc/pki/libvirt/private", "owner-differs /etc/pki/libvirt/private/serverkey.pem", "owner-differs /etc/pki/libvirt/servercert.pem",
			},
		},
		{
			name: "the wiki's for QEMU", tree: goodQEMU, check: Check{Files: qemuFiles, Who: qemu, Profile: Wiki},
			want: []string{
				"mode-differs /etc/pki/qemu/ca-cert.pem", "mode-differs /etc/pki/qemu/server-cert.pem", "mode-differs /etc/pki/qemu/server-key.pem",
				"owner-differs /etc/pki/qemu/ca-cert.pem", "owner-differs /etc/pki/qemu/server-cert.pem",
			},
		},
		{name: "strict says nothing new of QEMU's", tree: goodQEMU, check: Check{Files: qemuFiles, Who: qemu, Profile: Strict}},
		{
			name: "strict wants the client's key open", tree: "/etc/pki/libvirt/private/clientkey.pem root:root 644", check: Check{Files: clientFiles, Who: RootUser, Profile: Strict},
			want: []string{"key-readable-by-everybody /etc/pki/libvirt/private/clientkey.pem"}, stays: true,
		},
		{
			name: "the system's key for a person", tree: "/etc/pki/libvirt/private/clientkey.pem root:root 600", check: Check{Files: clientFiles, Who: person},
			want: []string{"consumer-cannot-read /etc/pki/libvirt/private/clientkey.pem"},
		},
		{
			name: "a person's, good", tree: "/home/bin/ bin:bin 700\n/home/bin/.pki/ bin:bin 755\n/home/bin/.pki/libvirt/ bin:bin 700\n/home/bin/.pki/libvirt/clientkey.pem bin:bin 600",
			check: Check{Files: homeFiles, Who: person, Home: "/home/bin", Profile: Strict},
		},
		{
			name: "a person's made by root", tree: "/home/bin/.pki/libvirt/ bin:bin 700\n/home/bin/.pki/libvirt/clientkey.pem root:root 600",
			check: Check{Files: homeFiles, Who: person, Home: "/home/bin", Profile: GroupReadable},
			want:  []string{"consumer-cannot-read /home/bin/.pki/libvirt/clientkey.pem", "owner-differs /home/bin/.pki/libvirt/clientkey.pem"},
		},
		{
			name: "a person's for everybody", tree: "/home/bin/.pki/libvirt/ bin:bin 755\n/home/bin/.pki/libvirt/clientkey.pem bin:bin 644",
			check: Check{Files: homeFiles, Who: person, Home: "/home/bin"},
			want:  []string{"key-readable-by-everybody /home/bin/.pki/libvirt/clientkey.pem"},
		},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			h := build(t, c.tree)
			list := h.Check(c.check)
			check(t, "findings", brief(list), c.want)
			if c.stays {
				return
			}
			for _, f := range list {
				if out, err := exec.Command("sh", "-c", f.Fix).CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", f.Fix, err, out)
				}
			}
			check(t, "findings after the fixes", brief(h.Check(c.check)), []string(nil))
		})
	}
}

func brief(list []finding.Finding) (out []string) {
	for _, f := range list {
		out = append(out, f.Code+" "+f.Subject)
	}
	slices.Sort(out)
	return out
}

// fakeLabels are labels by the end of a path.
type fakeLabels map[string]string

func (l fakeLabels) Label(real string) (string, error) {
	for end, label := range l {
		if strings.HasSuffix(real, end) {
			return label, nil
		}
	}
	return "system_u:object_r:cert_t:s0", nil
}

func TestLabels(t *testing.T) {
	h := build(t, goodQEMU+"/opt/pki/ca-cert.pem root:root 644")
	c := Check{Files: qemuFiles, Who: qemu}
	h.Labels = fakeLabels{"/server-key.pem": "unconfined_u:object_r:user_home_t:s0"}
	list := h.Check(c)
	check(t, "findings", brief(list), []string{"selinux-label /etc/pki/qemu/server-key.pem"})
	check(t, "fix", list[0].Fix, "restorecon -v "+string(h.Root)+"/etc/pki/qemu/server-key.pem")

	h.Labels = fakeLabels{"/opt/pki/ca-cert.pem": "system_u:object_r:usr_t:s0"}
	list = h.Check(Check{Files: layout.System(layout.QEMU, "/opt/pki").Files(layout.Server), Who: qemu})
	check(t, "findings", brief(list), []string{"selinux-label /opt/pki/ca-cert.pem"})
	check(t, "fix", list[0].Fix, "semanage fcontext -a -t cert_t '/opt/pki(/.*)?' && restorecon -Rv "+string(h.Root)+"/opt/pki")

	h.Labels = FileLabels{}
	check(t, "without SELinux", brief(h.Check(c)), []string(nil))
	h.Labels = fakeLabels{"": "short"}
	check(t, "a label without a type", len(h.Check(c)), 5)
}

func TestReaders(t *testing.T) {
	h := build(t, goodQEMU+`
/etc/pki/qemu/a root:sys 640
/etc/pki/qemu/b root:root 644
/srv/b root:root 644
/srv/c 4711:root 600 u:daemon:r g:sys:r u:4712:r
/srv/d/ root:sys 750
/srv/d/e root:root 644
`)
	for name, want := range map[string]Readers{
		"/etc/pki/qemu/server-key.pem": {Users: []string{"daemon"}, Groups: []string{"daemon"}},
		"/etc/pki/qemu/a":              {}, // bin is in sys, but cannot enter the directory
		"/etc/pki/qemu/b":              {Users: []string{"daemon"}, Groups: []string{"daemon"}},
		"/srv/b":                       {Everybody: true, Users: []string{"bin", "daemon"}},
		"/srv/c":                       {Users: []string{"4711", "4712", "bin", "daemon"}, Groups: []string{"sys"}},
		"/srv/d/e":                     {Users: []string{"bin"}, Groups: []string{"sys"}},
	} {
		got, err := h.Readers(name)
		if err != nil {
			t.Fatal(err)
		}
		check(t, name, got, want)
	}
	if _, err := h.Readers("/srv/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A lookup in the place of somebody else takes what lies behind a closed
// directory for missing.
func TestAs(t *testing.T) {
	h := build(t, "/home/bin/ bin:bin 700\n/home/bin/x bin:bin 644\n/home/bin/y root:root 600\n/home/bin/link root:root ->x\n/home/none bin:bin ->/nowhere")
	daemon, owner := h.As(qemu), h.As(person)
	for name, want := range map[string]error{"/home/bin/x": fs.ErrPermission, "/home/bin/nothing": fs.ErrPermission, "/home/bin": nil, "/home/none": fs.ErrNotExist, "/home/bin/x/y": fs.ErrPermission} {
		if _, err := daemon.Stat(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := owner.Stat("/home/bin/y"); err != nil {
		t.Error(err)
	}
	if _, err := owner.ReadFile("/home/bin/link"); err != nil {
		t.Error(err)
	}
	_, err := owner.ReadFile("/home/bin/y")
	var denial *Denial
	if !errors.As(err, &denial) || denial.Error() != "bin cannot read /home/bin/y (root:root 0600)" {
		t.Error(err)
	}
	if _, err = owner.Stat("/home/bin/x/y"); err == nil || errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file taken for a directory: %v", err)
	}
	check(t, "denial", h.CanRead(qemu, "/home/bin/x").Error(), "daemon cannot enter /home/bin (bin:bin 0700)")
}

// AppArmor judges where links end.
func TestLinksAndAppArmor(t *testing.T) {
	h := build(t, goodQEMU+`
/etc/pki/libvirt/clientcert.pem root:root 644
/opt/tls/client.key root:daemon 640
/etc/pki/qemu/client-cert.pem root:root ->../libvirt/clientcert.pem
/etc/pki/qemu/client-key.pem root:root ->/opt/tls/client.key
`)
	c := Check{Files: layout.System(layout.QEMU, "").Files(layout.Client), Who: qemu, AppArmor: true, Libvirt: "12.8"}
	list := h.Check(c)
	check(t, "findings", brief(list), []string{"apparmor-denies-directory /etc/pki/qemu/client-key.pem"})
	check(t, "fix", list[0].Fix, layout.AppArmorRule("/opt/tls", "12.8"))
	c.AppArmor = false
	check(t, "findings without AppArmor", brief(h.Check(c)), []string(nil))
}

func TestUnseen(t *testing.T) {
	h := build(t, "/etc/pki/qemu/ca-cert.pem root:root ->ca-cert.pem")
	check(t, "findings", brief(h.Check(Check{Files: qemuFiles, Who: qemu})), []string{"rights-unreadable /etc/pki/qemu/ca-cert.pem"})
}
