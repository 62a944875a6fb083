package validate

import (
	"path"
	"strings"

	"virtls/finding"
	"virtls/pki"
)

var (
	kindCAKey = finding.Define("ca-key-on-host", finding.Error,
		"an authority's private key is where no authority is: whoever reads it can issue certificates for anybody",
		"move the key to where certificates are issued, and delete it here; if others could read it, replace the authority")
	kindCAKeyName = finding.Define("ca-key-on-host-encrypted", finding.Warning,
		"by its name this is an authority's private key; it is encrypted, and does not belong here",
		"move the key to where certificates are issued, and delete it here")
	kindUnread = finding.Define("file-not-judged", finding.Warning,
		"the file could not be read, so it was not judged", "run the command as root")
)

// maxKeySize bounds, in octets, what is looked at as a private key.
const maxKeySize = 1 << 16

// authorityKeys looks for private keys of authorities below the host's places.
func (t *tree) authorityKeys() { t.authorityKeysBelow("/etc/pki", 4) }

func (t *tree) authorityKeysBelow(dir string, depth int) {
	t.authorityKeysIn(dir)
	if depth == 0 {
		return
	}
	for _, e := range t.entries(dir) {
		if e.IsDir() {
			t.authorityKeysBelow(path.Join(dir, e.Name()), depth-1)
		}
	}
}

// authorityKeysIn looks at the files of one directory.
func (t *tree) authorityKeysIn(dir string) {
	if t.view.exists(path.Join(dir, "../register.db")) {
		return // the authority's own place, where virtls issues
	}
	for _, name := range t.list(dir) {
		file := path.Join(dir, name)
		if info, err := t.view.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxKeySize {
			continue
		}
		data := read(t.view, file)
		if !pki.HasPrivateKey(data) {
			continue
		}
		key, err := pki.ParsePrivateKeyPEM(data, nil)
		switch {
		case err == nil && t.isAuthority(key):
			t.note(kindCAKey.Found(file, "").WithWant("the authority's certificate alone", "").WithFix("if the authority has another copy: shred -u %s; if not, move this one to where certificates are issued", quoted(t.at(file))))
		case err != nil && strings.Contains(strings.ToLower(name), "ca") && !t.ofSet(file):
			t.note(kindCAKeyName.Found(file, name))
		}
	}
}

// isAuthority tells whether a key is that of an authority which is trusted here.
func (t *tree) isAuthority(key pki.PrivateKey) bool {
	for _, s := range t.sets {
		for _, ca := range s.inv.anchors {
			if ca.IsCA() && pki.SameKey(ca.PublicKey.Key, key) {
				return true
			}
		}
	}
	return false
}

// ofSet tells whether a file is one of those that were judged as an identity's.
func (t *tree) ofSet(file string) bool {
	for _, s := range t.sets {
		if s.inv.pairOf(file) != nil {
			return true
		}
	}
	return false
}
