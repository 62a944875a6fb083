package cyrus

import (
	"path"
	"slices"
	"strings"
)

// A Mechanism is what Cyrus SASL knows of one.
type Mechanism struct {
	Name    string
	Plugin  string // begins the name of the file that it is in
	Seals   bool   // it can encrypt the connection by itself, with 56 bits or more
	Secrets bool   // it needs the users' passwords, from a database
}

// mechanisms are those of Cyrus SASL 2.1.28 that QEMU can offer: not EXTERNAL, for
// which QEMU names nobody. DIGEST-MD5 seals with RC4 at best.
var mechanisms = []Mechanism{
	{"SCRAM-SHA-512", "libscram", false, true}, {"SCRAM-SHA-384", "libscram", false, true}, {"SCRAM-SHA-256", "libscram", false, true},
	{"SCRAM-SHA-224", "libscram", false, true}, {"SCRAM-SHA-1", "libscram", false, true},
	{"GSSAPI", "libgssapiv2", true, false}, {"GSS-SPNEGO", "libgssapiv2", true, false}, {"GS2-KRB5", "libgs2", false, false}, {"GS2-IAKERB", "libgs2", false, false},
	{"PLAIN", "libplain", false, true}, {"LOGIN", "liblogin", false, true}, {"ANONYMOUS", "libanonymous", false, false},
	{"DIGEST-MD5", "libdigestmd5", true, true}, {"CRAM-MD5", "libcrammd5", false, true}, {"NTLM", "libntlm", false, true},
	{"OTP", "libotp", false, true}, {"SRP", "libsrp", true, true}, {"PASSDSS-3DES-1", "libpassdss", true, false}, {"OAUTHBEARER", "liboauthbearer", false, false},
}

// MechanismOf finds a mechanism by its name in upper case.
func MechanismOf(name string) (Mechanism, bool) {
	at := slices.IndexFunc(mechanisms, func(m Mechanism) bool { return m.Name == name })
	if at < 0 {
		return Mechanism{Name: name}, false
	}
	return mechanisms[at], true
}

// Names lists the mechanisms that Cyrus SASL knows.
func Names() (list []string) {
	for _, m := range mechanisms {
		list = append(list, m.Name)
	}
	return list
}

// Plugins are what is installed: the beginnings of files' names, such as
// "libscram".
type Plugins []string

// PluginDirs are where distributions install plugins, below /usr.
var PluginDirs = []string{"/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib/aarch64-linux-gnu/sasl2", "/usr/lib/powerpc64le-linux-gnu/sasl2",
	"/usr/lib/s390x-linux-gnu/sasl2", "/usr/lib/riscv64-linux-gnu/sasl2", "/usr/lib64/sasl2", "/usr/lib/sasl2"}

// FindPlugins lists the plugins of a host, whose directories' files list tells.
// Without any of them nothing is known: the host has no Cyrus SASL, or is not
// here as a whole.
func FindPlugins(list func(dir string) []string) (found Plugins) {
	for _, dir := range PluginDirs {
		for _, name := range list(dir) {
			if stem, ok := strings.CutSuffix(path.Base(name), ".so"); ok && !slices.Contains(found, stem) {
				found = append(found, stem)
			}
		}
	}
	return found
}

// Has tells whether a plugin is installed, or nothing is known.
func (p Plugins) Has(plugin string) bool {
	return p == nil || slices.Contains(p, plugin)
}
