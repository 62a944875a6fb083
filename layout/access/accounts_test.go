package access

import (
	"os"
	"path/filepath"
	"testing"

	"virtls/layout"
)

const passwd = `root:x:0:0:root:/root:/bin/bash
libvirt-qemu:x:64055:107:Libvirt Qemu:/var/lib/libvirt:/usr/sbin/nologin
+::::::
broken:x:abc:1::/:
short:x:1:1
huge:x:99999999999:1::/:/bin/sh
u:x:1000:1000::/home/u:/bin/sh
`

const groupFile = `root:x:0:
kvm:x:107:u
libvirt-qemu:x:64055:libvirt-qemu,u
u:x:1000:
bad:x:y:
`

// machine makes a tree with accounts.
func machine(t *testing.T) *Host {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{"etc/passwd": passwd, "etc/group": groupFile} {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h, err := Open(layout.Root(root))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestReadAccounts(t *testing.T) {
	a := machine(t).Accounts
	check(t, "users", a.Users, []User{{"root", 0, 0, "/root"}, {"libvirt-qemu", 64055, 107, "/var/lib/libvirt"}, {"u", 1000, 1000, "/home/u"}})
	check(t, "groups", len(a.Groups), 4)
	u, _ := a.User("u")
	check(t, "credential", a.Credential(u, u.GID), Credential{Name: "u", UID: 1000, GID: 1000, Groups: []int{107, 64055}})
	check(t, "owner", []string{a.Owner(64055, 107), a.Owner(0, 77), Accounts{}.Owner(0, 0)}, []string{"libvirt-qemu:kvm", "root:77", "root:root"})
	none, err := ReadAccounts(layout.Root(t.TempDir()))
	if err != nil || none.Users != nil {
		t.Errorf("a tree without accounts: %v, %v", none, err)
	}
	loop := t.TempDir()
	if err := os.MkdirAll(filepath.Join(loop, "etc/passwd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(layout.Root(loop)); err == nil {
		t.Error("a directory was read as /etc/passwd")
	}
}

func TestQEMUAccount(t *testing.T) {
	set := func(v string) layout.Key[string] {
		return layout.Key[string]{Set: v != "", Where: "qemu.conf:1", Value: v}
	}
	debian, _ := layout.PlatformByName("debian-12")
	other, _ := layout.PlatformByName("other")
	fedora, _ := layout.PlatformByName("fedora")
	tests := []struct {
		name, user, group string
		platform          layout.Platform
		want              Credential
		unknown           int
	}{
		{"distribution", "", "", debian, Credential{Name: "libvirt-qemu", UID: 64055, GID: 64055, Groups: []int{107}}, 0},
		{"not installed", "", "", fedora, stranger, 2},
		{"other distribution", "", "", other, Credential{Name: "root"}, 0},
		{"names", "u", "kvm", debian, Credential{Name: "u", UID: 1000, GID: 107, Groups: []int{1000, 64055}}, 0},
		{"numbers", "1000", "107", debian, Credential{Name: "u", UID: 1000, GID: 107, Groups: []int{1000, 64055}}, 0},
		{"numbers with a sign", "+64055", "+0", debian, Credential{Name: "libvirt-qemu", UID: 64055, GID: 0, Groups: []int{107, 64055}}, 0},
		{"number without an account", "4321", "4321", debian, Credential{UID: 4321, GID: 4321}, 0},
		{"a sign before a name", "+u", "kvm", debian, stranger, 1},
		{"unknown user", "nova", "kvm", debian, stranger, 1},
		{"unknown group", "u", "nova", debian, stranger, 1},
	}
	a := machine(t).Accounts
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			got, list, ok := a.QEMU(layout.QEMUConf{File: "qemu.conf", User: set(c.user), Group: set(c.group)}, c.platform)
			check(t, "credential", got, c.want)
			check(t, "unknown", len(list), c.unknown)
			check(t, "ok", ok, c.unknown == 0)
			for _, f := range list {
				check(t, "code", f.Code, "qemu-account-unknown")
			}
		})
	}
}
