package access

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"virtls/layout"
)

// A Profile is an opinion on who must own files and which mode bits they must
// have. It says more than security and the consumers need: Host.Check finds
// what they need without one.
type Profile string

// The profiles.
const (
	// NoProfile looks at what owners and modes bring about only.
	NoProfile Profile = ""
	// Strict is what virt-pki-validate of libvirt 10.5 to 12.8 demands. It knows
	// libvirt's own files; for QEMU's the profile is GroupReadable.
	Strict Profile = "strict"
	// Wiki is the set of libvirt's wiki, in which QEMU's group reads all.
	Wiki Profile = "wiki"
	// GroupReadable is what virtls lays out: libvirt's key for root alone, QEMU's for its group.
	GroupReadable Profile = "group"
)

// A class is what a path is for, as far as profiles tell.
type class int

const (
	baseDir class = iota // /etc/pki, or the one directory of a home's or pkipath's files
	caDir                // /etc/pki/CA
	certDir              // /etc/pki/libvirt
	keyDir               // /etc/pki/libvirt/private
	qemuDir              // a flat directory that QEMU reads
	caFile               // and CRL and DH parameters
	serverCert
	clientCert
	serverKey
	clientKey
)

// An object is one path of a set of files.
type object struct {
	path  string
	class class
}

// key tells whether the object holds a secret.
func (c class) key() bool { return c == serverKey || c == clientKey }

func (c class) dir() bool { return c <= qemuDir }

// wanted is an opinion on one class: whether QEMU's group is to own it (root's
// otherwise) and its mode.
type wanted struct {
	qemu  bool
	mode  fs.FileMode
	owner string // USER:GROUP, when it is known
}

// libvirtWants are the opinions on libvirt's system files.
var libvirtWants = map[Profile]map[class]wanted{
	Strict: {
		baseDir: {mode: 0o755}, caDir: {mode: 0o755}, certDir: {mode: 0o755}, keyDir: {mode: 0o755},
		caFile: {mode: 0o644}, serverCert: {mode: 0o644}, clientCert: {mode: 0o644},
		serverKey: {mode: 0o600}, clientKey: {mode: 0o644},
	},
	Wiki: {
		baseDir: {mode: 0o755}, caDir: {mode: 0o755}, certDir: {qemu: true, mode: 0o755}, keyDir: {qemu: true, mode: 0o750},
		caFile: {mode: 0o444}, serverCert: {qemu: true, mode: 0o440}, clientCert: {mode: 0o400},
		serverKey: {qemu: true, mode: 0o440}, clientKey: {mode: 0o400},
	},
	GroupReadable: {
		baseDir: {mode: 0o755}, caDir: {mode: 0o755}, certDir: {mode: 0o755}, keyDir: {mode: 0o755},
		caFile: {mode: 0o644}, serverCert: {mode: 0o644}, clientCert: {mode: 0o644},
		serverKey: {mode: 0o600}, clientKey: {mode: 0o600},
	},
}

// qemuWants are those on directories that QEMU reads.
var qemuWants = map[Profile]map[class]wanted{
	Wiki: {
		baseDir: {mode: 0o755}, qemuDir: {qemu: true, mode: 0o750}, caFile: {qemu: true, mode: 0o440},
		serverCert: {qemu: true, mode: 0o440}, clientCert: {qemu: true, mode: 0o440},
		serverKey: {qemu: true, mode: 0o440}, clientKey: {qemu: true, mode: 0o440},
	},
	GroupReadable: {
		baseDir: {mode: 0o755}, qemuDir: {qemu: true, mode: 0o750}, caFile: {mode: 0o644},
		serverCert: {mode: 0o644}, clientCert: {mode: 0o644},
		serverKey: {qemu: true, mode: 0o640}, clientKey: {qemu: true, mode: 0o640},
	},
}

// want returns what the profile says of an object of a system's files.
func (p Profile) want(s layout.Service, c class) (wanted, bool) {
	table := libvirtWants[p]
	if s != layout.Libvirt {
		if p == Strict {
			p = GroupReadable
		}
		table = qemuWants[p]
	}
	w, ok := table[c]
	return w, ok
}

// objects lists the directories and files of a set, directories first.
func objects(f layout.Files) []object {
	var list []object
	have := map[string]bool{}
	add := func(p string, c class) {
		if p != "" && !have[p] {
			have[p] = true
			list = append(list, object{p, c})
		}
	}
	const pki = "/etc/pki"
	if strings.HasPrefix(f.CA, pki+"/") {
		add(pki, baseDir)
	}
	switch {
	case f.Service == layout.Libvirt && f.CA == pki+"/CA/cacert.pem":
		add(path.Dir(f.CA), caDir)
	case f.Service == layout.Libvirt:
		add(f.Dir, baseDir)
	default:
		add(f.Dir, qemuDir)
	}
	certs, keys := [...]class{serverCert, clientCert}[f.Role], [...]class{serverKey, clientKey}[f.Role]
	for _, p := range f.Pairs {
		if p.Key == path.Join(pki, "libvirt/private", path.Base(p.Key)) {
			add(path.Dir(p.Cert), certDir)
			add(path.Dir(p.Key), keyDir)
		}
	}
	for _, p := range []string{f.CA, f.CRL, f.DH} {
		add(p, caFile)
	}
	for _, p := range f.Pairs {
		add(p.Cert, certs)
		add(p.Key, keys)
	}
	return list
}

func modeText(m fs.FileMode) string { return fmt.Sprintf("%04o", m.Perm()) }
