// Package layout knows where each consumer of credentials looks for them: the
// directories and file names of QEMU and libvirt, and who may own, read and
// label each file. What differs between consumers, distributions and versions is
// data in tables here.
//
// A [Lookup] finds what a consumer on one host reads: it looks at libvirt's
// configuration files there and at which files exist, through a [View] of the
// host, and changes nothing.
package layout

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A Role is the end of a connection that a credential serves.
type Role int

// The roles.
const (
	Server Role = iota
	Client
)

// String returns "server" or "client", as the file names have it.
func (r Role) String() string { return [...]string{"server", "client"}[r] }

// A Service is a consumer of credentials by the name the fleet file uses.
type Service string

// The services. LibvirtVNC and the rest are the per-service directories that
// libvirt passes to QEMU (qemu.conf, libvirt 12.8); their files are named and
// read as QEMU's.
const (
	QEMU           Service = "qemu"
	Libvirt        Service = "libvirt"
	LibvirtVNC     Service = "libvirt-vnc"
	LibvirtSPICE   Service = "libvirt-spice"
	LibvirtRDP     Service = "libvirt-rdp"
	LibvirtChardev Service = "libvirt-chardev"
	LibvirtNBD     Service = "libvirt-nbd"
	LibvirtMigrate Service = "libvirt-migrate"
	LibvirtBackup  Service = "libvirt-backup"
)

// serviceRow is what is known of a service.
type serviceRow struct {
	service Service
	dir     string // default directory on the host
	confKey string // setting that names another one: libvirtd.conf's for Libvirt, else qemu.conf's
	roles   []Role // those in which it can be used
}

var services = []serviceRow{
	{QEMU, "/etc/pki/qemu", "default_tls_x509_cert_dir", []Role{Server, Client}},
	{Libvirt, "/etc/pki", "", []Role{Server, Client}},
	{LibvirtVNC, "/etc/pki/libvirt-vnc", "vnc_tls_x509_cert_dir", []Role{Server}},
	{LibvirtSPICE, "/etc/pki/libvirt-spice", "spice_tls_x509_cert_dir", []Role{Server}},
	{LibvirtRDP, "/etc/pki/libvirt-rdp", "rdp_tls_x509_cert_dir", []Role{Server}},
	{LibvirtChardev, "/etc/pki/libvirt-chardev", "chardev_tls_x509_cert_dir", []Role{Server, Client}},
	{LibvirtNBD, "/etc/pki/libvirt-nbd", "nbd_tls_x509_cert_dir", []Role{Client}},
	{LibvirtMigrate, "/etc/pki/libvirt-migrate", "migrate_tls_x509_cert_dir", []Role{Server, Client}},
	{LibvirtBackup, "/etc/pki/libvirt-backup", "backup_tls_x509_cert_dir", []Role{Server}},
}

// Services lists all services.
func Services() []Service {
	var list []Service
	for _, s := range services {
		list = append(list, s.service)
	}
	return list
}

func (s Service) row() serviceRow {
	for _, row := range services {
		if row.service == s {
			return row
		}
	}
	return serviceRow{}
}

// Known tells whether there is such a service.
func (s Service) Known() bool { return s.row().service != "" }

// Roles lists the roles in which the service can be used.
func (s Service) Roles() []Role { return s.row().roles }

// ConfKey returns the qemu.conf setting that names the service's directory,
// empty for [Libvirt], whose paths libvirtd.conf names one by one.
func (s Service) ConfKey() string { return s.row().confKey }

// Enable returns the qemu.conf setting that turns TLS on for the service,
// empty where none is needed (migration and backup ask for TLS per job).
func (s Service) Enable() string {
	switch s {
	case LibvirtVNC, LibvirtSPICE, LibvirtChardev, LibvirtNBD:
		return strings.TrimPrefix(string(s), "libvirt-") + "_tls"
	}
	return ""
}

// A Reader is who must be able to read a file besides root.
type Reader int

// The readers.
const (
	Everybody  Reader = iota // certificates, CA bundles, CRLs
	RootOnly                 // keys of daemons that run as root
	QEMUGroup                // keys that QEMU reads after it has dropped its privileges
	HolderOnly               // a person's files
)

// MaxIndex is the highest index of a parallel identity (QEMU 10.2, libvirt 11.10).
const MaxIndex = 3

// NoIndex stands for the plain file names.
const NoIndex = -1

// A Location is one place where one consumer looks, on a host or in a home directory.
type Location struct {
	Service Service
	Dir     string // where the files are, absolute; for libvirt's system layout the parent of CA/ and libvirt/
	naming  naming
	reader  Reader
}

// naming is a scheme of file names below a location's directory.
type naming int

const (
	qemuNames    naming = iota // flat: ca-cert.pem server-cert.pem server-key.pem
	libvirtTree                // CA/cacert.pem libvirt/servercert.pem libvirt/private/serverkey.pem
	libvirtNames               // flat: cacert.pem servercert.pem serverkey.pem
)

// System returns where a service looks on a host. dir overrides the default
// directory; libvirt's files lie flat in an overriding directory.
func System(s Service, dir string) Location {
	row := s.row()
	loc := Location{Service: s, Dir: row.dir, reader: QEMUGroup}
	if s == Libvirt {
		loc.naming, loc.reader = libvirtTree, RootOnly
	}
	if dir != "" {
		loc.Dir = path.Clean(dir)
		if s == Libvirt {
			loc.naming = libvirtNames
		}
	}
	return loc
}

// Home returns where a service looks below a home directory: .pki/libvirt for
// libvirt's clients, .pki/qemu as QEMU's documentation recommends.
func Home(s Service, home string) Location {
	if s == Libvirt {
		return Location{Service: s, Dir: path.Join(home, ".pki/libvirt"), naming: libvirtNames, reader: HolderOnly}
	}
	return Location{Service: s, Dir: path.Join(home, ".pki/qemu"), naming: qemuNames, reader: HolderOnly}
}

// CA returns the path of the trust anchors.
func (l Location) CA() string {
	return path.Join(l.Dir, [...]string{"ca-cert.pem", "CA/cacert.pem", "cacert.pem"}[l.naming])
}

// CRL returns the path of the revocation lists.
func (l Location) CRL() string {
	return path.Join(l.Dir, [...]string{"ca-crl.pem", "CA/cacrl.pem", "cacrl.pem"}[l.naming])
}

// DH returns the path of QEMU's Diffie-Hellman parameters (deprecated in 10.2).
func (l Location) DH() string { return path.Join(l.Dir, "dh-params.pem") }

// Cert returns the path of a certificate. index is [NoIndex] or 0 to [MaxIndex].
func (l Location) Cert(r Role, index int) string { return l.identity(r, index, "cert", "") }

// Key returns the path of the private key of [Location.Cert].
func (l Location) Key(r Role, index int) string { return l.identity(r, index, "key", "private") }

func (l Location) identity(r Role, index int, what, sub string) string {
	n, dash := "", ""
	if index != NoIndex {
		n = fmt.Sprint(index)
		dash = "-"
	}
	switch l.naming {
	case libvirtTree:
		return path.Join(l.Dir, "libvirt", sub, r.String()+what+n+".pem")
	case libvirtNames:
		return path.Join(l.Dir, r.String()+what+n+".pem")
	}
	return path.Join(l.Dir, r.String()+"-"+what+dash+n+".pem")
}

// PSKServer returns the directory whose keys.psk a server on this host reads.
// It is below QEMU's directory because AppArmor's profile for guests (libvirt
// 9.0 to 12.8) allows nothing else.
func PSKServer(l Location) string { return path.Join(l.Dir, "psk-server") }

// PSKClient returns the directory whose keys.psk a client uses towards one
// server. Each server has a directory and a key of its own: a key known to two
// servers lets either pose as the other.
func PSKClient(l Location, server string) string { return path.Join(l.Dir, "psk-client", server) }

// PSKFile is the name of a file of pre-shared keys (QEMU, crypto/tlscredspsk.c).
const PSKFile = "keys.psk"

// An Entry says how a file or directory must be on the host.
type Entry struct {
	Path    string      `json:"path"`            // absolute on a host, relative to the home directory of a person
	Type    string      `json:"type"`            // "file" or "directory"
	Owner   string      `json:"owner"`           // user name; [HolderUser] for the person
	Group   string      `json:"group"`           // group name; [QEMUGroupName] where only the host knows it
	Mode    fs.FileMode `json:"-"`               // permission bits
	SELinux string      `json:"selinux"`         // type; empty below a home directory
	Secret  bool        `json:"secret"`          // holds a private key
	SHA256  string      `json:"sha256,omitzero"` // of a public file's content
}

// Placeholders in entries, resolved where the files are installed.
const (
	QEMUGroupName = "@qemu" // the group that QEMU runs as, from qemu.conf or the distribution
	HolderUser    = "@user" // the person whose home directory it is
)

// selinuxType is the label of everything below /etc/pki in Fedora's and RHEL's policy.
const selinuxType = "cert_t"

// File returns how a public file of the location must be.
func (l Location) File(p string) Entry { return l.entry(p, "file", false) }

// Secret returns how a private file of the location must be.
func (l Location) Secret(p string) Entry { return l.entry(p, "file", true) }

// Directories returns the directories that lead to p and that belong to the
// location, parents first: those from [Location.Dir] down, and /etc/pki, which
// no distribution's package makes. What is above them is not the location's.
func (l Location) Directories(p string) []Entry {
	const pkiDir = "/etc/pki"
	home := ".pki"
	if l.reader == HolderOnly {
		home = path.Dir(l.Dir)
	}
	var dirs []Entry
	for d := path.Dir(p); (d == l.Dir || strings.HasPrefix(d, l.Dir+"/") || d == home) && d != path.Dir(d); d = path.Dir(d) {
		dirs = append(dirs, l.entry(d, "directory", false))
	}
	if l.Dir != pkiDir && strings.HasPrefix(l.Dir, pkiDir+"/") {
		dirs = append(dirs, Location{reader: RootOnly}.entry(pkiDir, "directory", false))
	}
	slices.Reverse(dirs)
	return dirs
}

// Conflict finds the first path at which two of the locations, used on one
// host, want different things: one file for both, or a directory with different
// rights. It returns an empty path if they go together.
func Conflict(locations []Location) (at string, a, b Service) {
	type claim struct {
		entry   Entry
		service Service
	}
	claims := map[string]claim{}
	for _, l := range locations {
		var mine []Entry
		for _, file := range l.files() {
			mine = append(append(mine, file), l.Directories(file.Path)...)
		}
		for _, e := range mine {
			had, taken := claims[e.Path]
			if taken && had.service != l.Service && (e.Type == "file" || had.entry != e) {
				return e.Path, had.service, l.Service
			}
			claims[e.Path] = claim{e, l.Service}
		}
	}
	return "", "", ""
}

// files lists every file that the location may hold.
func (l Location) files() []Entry {
	files := []Entry{l.File(l.CA()), l.File(l.CRL())}
	for _, r := range l.Service.Roles() {
		for i := NoIndex; i <= MaxIndex; i++ {
			files = append(files, l.File(l.Cert(r, i)), l.Secret(l.Key(r, i)))
		}
	}
	if l.Service == QEMU {
		files = append(files, l.Secret(path.Join(PSKServer(l), PSKFile)))
	}
	return files
}

// entry decides owner, group and mode. Directories of keys that QEMU reads are
// closed to all but its group; libvirt's stay 0755, which virt-pki-validate
// (libvirt 12.8) demands, and its server key 0600.
func (l Location) entry(p, typ string, secret bool) Entry {
	e := Entry{Path: p, Type: typ, Owner: "root", Group: "root", SELinux: selinuxType, Secret: secret && typ == "file", Mode: 0o644}
	switch {
	case l.reader == HolderOnly:
		e.Owner, e.Group, e.SELinux = HolderUser, HolderUser, ""
		e.Mode = 0o600
	case secret && l.reader == QEMUGroup:
		e.Group, e.Mode = QEMUGroupName, 0o640
	case secret:
		e.Mode = 0o600
	}
	if typ == "directory" {
		e.Mode = 0o755
		switch {
		case l.reader == HolderOnly:
			e.Mode = 0o700
		case l.reader == QEMUGroup:
			e.Group, e.Mode = QEMUGroupName, 0o750
		}
	}
	return e
}
