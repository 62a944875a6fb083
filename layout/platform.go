package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Version is a dotted version number, compared number by number. The empty
// version is unknown, and older than all others.
type Version string

// Compare returns -1, 0 or 1. Anything after the numbers is ignored.
func (v Version) Compare(w Version) int {
	a, b := v.numbers(), w.numbers()
	for i := range max(len(a), len(b)) {
		var x, y int
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

func (v Version) numbers() (n []int) {
	for part := range strings.SplitSeq(string(v), ".") {
		digits := part
		if end := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
			digits = part[:end]
		}
		x, err := strconv.Atoi(digits)
		if err != nil {
			return n
		}
		if n = append(n, x); digits != part {
			return n
		}
	}
	return n
}

// AtLeast tells whether v is known and not older than w.
func (v Version) AtLeast(w Version) bool { return v != "" && v.Compare(w) >= 0 }

// A Platform is what a host runs, as far as credentials are concerned. An
// unknown version is taken for an old one.
type Platform struct {
	Name      string
	QEMUUser  string // the user and group that QEMU runs as unless qemu.conf says otherwise
	QEMUGroup string
	QEMU      Version
	Libvirt   Version
	GnuTLS    Version
	MLDSA     bool // GnuTLS is built so that it loads ML-DSA keys (3.8.10 or later with leancrypto)
	Modular   bool // virtproxyd owns libvirt's TLS socket instead of libvirtd
	AppArmor  bool // guests may read only the directories named in libvirt's profile
	SystemPri bool // GnuTLS knows the priority keyword @SYSTEM
}

// platforms are the distributions whose facts are known (spec: QEMU's and
// libvirt's builds there). Those without versions get the cautious choice.
var platforms = []Platform{
	{Name: "debian-12", QEMUUser: "libvirt-qemu", QEMUGroup: "libvirt-qemu", QEMU: "7.2", Libvirt: "9.0", GnuTLS: "3.7.9", AppArmor: true},
	{Name: "debian-13", QEMUUser: "libvirt-qemu", QEMUGroup: "libvirt-qemu", QEMU: "10.0", Libvirt: "11.3", GnuTLS: "3.8.9", AppArmor: true},
	{Name: "debian-forky", QEMUUser: "libvirt-qemu", QEMUGroup: "libvirt-qemu", QEMU: "11.1", Libvirt: "12.8", GnuTLS: "3.8.13", AppArmor: true},
	{Name: "ubuntu", QEMUUser: "libvirt-qemu", QEMUGroup: "kvm", AppArmor: true},
	{Name: "fedora", QEMUUser: "qemu", QEMUGroup: "qemu", Modular: true, SystemPri: true},
	{Name: "rhel", QEMUUser: "qemu", QEMUGroup: "qemu", Modular: true, SystemPri: true},
	{Name: "suse", QEMUUser: "qemu", QEMUGroup: "qemu", Modular: true},
	{Name: "gentoo", QEMUUser: "qemu", QEMUGroup: "qemu"},
	{Name: "arch", QEMUUser: "libvirt-qemu", QEMUGroup: "libvirt-qemu"},
	{Name: "other", QEMUUser: "root", QEMUGroup: "root"},
}

// PlatformNames lists the names that [PlatformByName] knows.
func PlatformNames() []string {
	var names []string
	for _, p := range platforms {
		names = append(names, p.Name)
	}
	return names
}

// PlatformByName finds a platform.
func PlatformByName(name string) (Platform, error) {
	for _, p := range platforms {
		if p.Name == name {
			return p, nil
		}
	}
	return Platform{}, fmt.Errorf("unknown platform %q: want one of %s", name, strings.Join(PlatformNames(), ", "))
}

// PlatformOf finds the platform of an os-release file's ID, VERSION_ID,
// VERSION_CODENAME and ID_LIKE fields.
func PlatformOf(id, versionID, codename, idLike string) Platform {
	for _, name := range append([]string{id + "-" + versionID, id + "-" + codename, id}, strings.Fields(idLike)...) {
		if p, err := PlatformByName(name); err == nil {
			return p
		}
	}
	family := id + " " + idLike
	switch {
	case strings.Contains(family, "suse"):
		p, _ := PlatformByName("suse")
		return p
	case slices.Contains(strings.Fields(family), "debian"):
		// A release that is not in the table, or a descendant: what all of Debian has in common.
		p, _ := PlatformByName("debian-forky")
		p.Name, p.QEMU, p.Libvirt, p.GnuTLS = "debian", "", "", ""
		return p
	}
	p, _ := PlatformByName("other")
	return p
}

// ParallelIdentities tells whether a service on the platform reads the indexed
// files: QEMU since 10.2, libvirt since 11.10. libvirt's per-service
// directories are read by QEMU.
func (p Platform) ParallelIdentities(s Service) bool {
	if s == Libvirt {
		return p.Libvirt.AtLeast("11.10")
	}
	return p.QEMU.AtLeast("10.2")
}
