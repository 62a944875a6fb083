package layout

import (
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	tests := []struct {
		a, b Version
		want int
	}{
		{"11.1", "11.1", 0},
		{"11.1", "11.1.0", 0},
		{"11.1.2", "11.1", 1},
		{"9.0", "12.8", -1},
		{"10.2", "10.10", -1},
		{"7.2.22", "7.2.3", 1},
		{"", "0.1", -1},
		{"11.3-3+deb13u3", "11.3", 0},
		{"11.3-3+deb13u3", "11.4", -1},
		{"3.8.13-2", "3.8.9", 1},
		{"1:10.0", "1.1", -1},
		{"99999999999999999999.1", "1", -1},
		{"rubbish", "", 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.a+" and "+tt.b), func(t *testing.T) {
			check(t, "order", tt.a.Compare(tt.b), tt.want)
			check(t, "reverse", tt.b.Compare(tt.a), -tt.want)
			check(t, "at least", tt.a.AtLeast(tt.b), tt.want >= 0 && tt.a != "")
		})
	}
}

func TestPlatformByName(t *testing.T) {
	for _, name := range PlatformNames() {
		p, err := PlatformByName(name)
		if err != nil || p.Name != name || p.QEMUUser == "" || p.QEMUGroup == "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	_, err := PlatformByName("windows")
	if err == nil || !strings.Contains(err.Error(), `"windows"`) || !strings.Contains(err.Error(), "debian-12, ") {
		t.Errorf("got %v, want an error that lists the platforms", err)
	}
}

// The fields are those of the distributions' own os-release files.
func TestPlatformOf(t *testing.T) {
	tests := []struct {
		id, versionID, codename, like string
		name, group                   string
		modular                       bool
	}{
		{"debian", "12", "bookworm", "", "debian-12", "libvirt-qemu", false},
		{"debian", "13", "trixie", "", "debian-13", "libvirt-qemu", false},
		{"debian", "", "forky", "", "debian-forky", "libvirt-qemu", false},
		{"debian", "11", "bullseye", "", "debian", "libvirt-qemu", false},
		{"debian", "", "sid", "", "debian", "libvirt-qemu", false},
		{"raspbian", "12", "bookworm", "debian", "debian", "libvirt-qemu", false},
		{"kali", "2026.1", "kali-rolling", "debian", "debian", "libvirt-qemu", false},
		{"ubuntu", "26.04", "resolute", "debian", "ubuntu", "kvm", false},
		{"linuxmint", "22", "wilma", "ubuntu debian", "ubuntu", "kvm", false},
		{"fedora", "44", "", "", "fedora", "qemu", true},
		{"rhel", "10.1", "", "centos fedora", "rhel", "qemu", true},
		{"rocky", "9.6", "", "rhel centos fedora", "rhel", "qemu", true},
		{"centos", "10", "", "rhel fedora", "rhel", "qemu", true},
		{"opensuse-tumbleweed", "20261101", "", "opensuse suse", "suse", "qemu", true},
		{"sles", "16.0", "", "suse", "suse", "qemu", true},
		{"opensuse-leap", "16.0", "", "opensuse", "suse", "qemu", true},
		{"gentoo", "2.18", "", "", "gentoo", "qemu", false},
		{"arch", "", "", "", "arch", "libvirt-qemu", false},
		{"manjaro", "", "", "arch", "arch", "libvirt-qemu", false},
		{"alpine", "3.23", "", "", "other", "root", false},
		{"", "", "", "", "other", "root", false},
	}
	for _, tt := range tests {
		t.Run(tt.id+" "+tt.versionID, func(t *testing.T) {
			p := PlatformOf(tt.id, tt.versionID, tt.codename, tt.like)
			check(t, "name", p.Name, tt.name)
			check(t, "group", p.QEMUGroup, tt.group)
			check(t, "modular", p.Modular, tt.modular)
		})
	}
	// What a release has is not what its successors and descendants have.
	if p := PlatformOf("debian", "14", "", ""); p.QEMU != "" || p.Libvirt != "" || p.GnuTLS != "" {
		t.Errorf("an unknown release has versions: %+v", p)
	}
}

func TestParallelIdentities(t *testing.T) {
	tests := []struct {
		qemu, libvirt Version
		service       Service
		want          bool
	}{
		{"10.1", "12.8", QEMU, false},
		{"10.2", "9.0", QEMU, true},
		{"11.1", "", LibvirtVNC, true},
		{"7.2", "12.8", LibvirtMigrate, false},
		{"11.1", "11.9", Libvirt, false},
		{"7.2", "11.10", Libvirt, true},
		{"", "", QEMU, false},
		{"", "", Libvirt, false},
	}
	for _, tt := range tests {
		p := Platform{QEMU: tt.qemu, Libvirt: tt.libvirt}
		if got := p.ParallelIdentities(tt.service); got != tt.want {
			t.Errorf("QEMU %q, libvirt %q: %s reads parallel identities: %t, want %t", tt.qemu, tt.libvirt, tt.service, got, tt.want)
		}
	}
}
