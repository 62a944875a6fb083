package priority

import (
	"fmt"
	"slices"
	"strings"

	"virtls/finding"
)

// SystemFile is where GnuTLS looks for the system's configuration unless the
// environment variable GNUTLS_SYSTEM_PRIORITY_FILE names another file.
const SystemFile = "/etc/gnutls/config"

// A SystemConfig is what the system's configuration file says about
// priorities: named strings for @NAME, and what the whole system allows.
// The zero value is that of a system without such a file. It is immutable.
type SystemConfig struct {
	file     string
	settings []setting
}

var (
	kindConfig = finding.Define("priority-config", finding.Error,
		"the file is no configuration file, so GnuTLS ignores all of it",
		"mend or remove the line")
	kindConfigCut = finding.Define("priority-config-cut", finding.Error,
		"the line is too long, and GnuTLS takes the rest of it for another line",
		"shorten the line: \"-VERS-ALL:+VERS-TLS1.3\" says more than many exclusions")
	kindConfigIgnored = finding.Define("priority-config-ignored", finding.Warning,
		"GnuTLS ignores this setting",
		"correct or remove the line")
)

// ParseSystem reads the text of a configuration file in the way of GnuTLS
// 3.7.9 to 3.8.13 (GnuTLS manual, "System-wide configuration of the library").
// File is the name that findings give it. What is wrong with the file never
// stops GnuTLS: it ignores a setting or the whole file, and so does this;
// the findings tell.
func ParseSystem(data []byte, file string) (SystemConfig, []finding.Finding) {
	c := SystemConfig{file: file}
	var found []finding.Finding
	settings, broken := parseINI(data, func(line int) {
		found = append(found, kindConfigCut.Found(c.at(line), "").WithWant(fmt.Sprintf("at most %d characters", iniLine), "GnuTLS"))
	})
	if broken != nil {
		return c, append(found, kindConfig.Found(c.at(broken.line), broken.text).WithWant("[SECTION] or NAME = VALUE", "GnuTLS"))
	}
	c.settings = settings
	newest := c.policy(anyBuild)
	for _, s := range newest.ignored {
		found = append(found, kindConfigIgnored.Found(c.at(s.line), clip(s.name+" = "+s.value)))
	}
	return c, found
}

func (c SystemConfig) at(line int) string { return fmt.Sprintf("%s:%d", c.file, line) }

// Default returns the string that GnuTLS uses for who asks for none: NORMAL, or
// the system's own.
func (c SystemConfig) Default() string {
	switch p := c.policy(anyBuild); {
	case p.allowlist:
		return "@" + systemName
	case p.defaultString != "":
		return p.defaultString
	}
	return "NORMAL"
}

// Names returns the names that @ can ask for.
func (c SystemConfig) Names() []string {
	p := c.policy(anyBuild)
	var names []string
	for _, s := range p.strings {
		if !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	if p.allowlist && !slices.Contains(names, systemName) {
		names = append(names, systemName)
	}
	return names
}

// systemName is the name whose string is made of the allowed algorithms where
// the file is a list of what is allowed.
const systemName = "SYSTEM"

// A policy is a system's configuration as one build understands it. In a
// policy that is an allowlist the lists hold what is allowed, else what is
// disabled.
type policy struct {
	allowlist     bool
	strings       []setting // of [priorities] and before any section
	defaultString string
	minProfile    profile
	sessionHash   string // "request", "require" or nothing

	hashes, signatures, certSignatures, versions, curves []algorithm
	ciphers, macs, groups, keyExchanges                  []algorithm

	ignored []setting
}

// curveDisabled tells whether the system has done away with a curve.
func (p policy) curveDisabled(name string) bool {
	return lists(p.curves, name) != p.allowlist
}

// hashInsecure tells whether the system has done away with a hash for the key
// derivation of suites.
func (p policy) hashInsecure(name string) bool {
	return lists(p.hashes, name) != p.allowlist
}

func lists(l []algorithm, name string) bool {
	return slices.ContainsFunc(l, func(a algorithm) bool { return a.name == name })
}

// hashes are those that insecure-hash and secure-hash know.
var hashes = []algorithm{
	{name: "SHA1"}, {name: "SHA256"}, {name: "SHA384"}, {name: "SHA512"}, {name: "SHA224"},
	{name: "SHA3-224"}, {name: "SHA3-256"}, {name: "SHA3-384"}, {name: "SHA3-512"}, {name: "SHAKE-128"}, {name: "SHAKE-256"},
	{name: "MD2"}, {name: "MD5"}, {name: "RIPEMD160"}, {name: "GOSTR341194"}, {name: "STREEBOG-256"}, {name: "STREEBOG-512"},
}

// policy applies the settings as a build does.
func (c SystemConfig) policy(b Build) policy {
	var p policy
	for _, s := range c.settings {
		if sameName(s.section, "global") {
			p.applyGlobal(s)
		}
	}
	for _, s := range c.settings {
		switch {
		case sameName(s.section, "global"):
		case s.section == "" || sameName(s.section, "priorities"):
			p.strings = append(p.strings, s)
		case sameName(s.section, "overrides"):
			if !p.override(s, b) {
				p.ignored = append(p.ignored, s)
			}
		case sameName(s.section, "provider"):
		default:
			p.ignored = append(p.ignored, s)
		}
	}
	return p
}

func (p *policy) applyGlobal(s setting) {
	word := firstWord(s.value)
	switch {
	case sameName(s.name, "override-mode") && sameName(word, "allowlist"):
		p.allowlist = true
	case sameName(s.name, "override-mode") && sameName(word, "blocklist"):
		p.allowlist = false
	case sameName(s.name, "ktls") && (sameName(word, "true") || sameName(word, "false")):
	default:
		p.ignored = append(p.ignored, s)
	}
}

// override applies a line of [overrides] and tells whether it had an effect.
func (p *policy) override(s setting, b Build) bool {
	word := firstWord(s.value)
	switch {
	case sameName(s.name, "default-priority-string"):
		p.defaultString = word
		return word != ""
	case sameName(s.name, "min-verification-profile"):
		for i, known := range profiles {
			if i != int(profileUnset) && sameName(s.value, string(known.name)) {
				p.minProfile = profile(i)
				return true
			}
		}
		return false
	case sameName(s.name, "tls-session-hash") && b.release >= r389:
		if !sameName(s.value, "request") && !sameName(s.value, "require") {
			return false
		}
		p.sessionHash = strings.ToLower(s.value)
		return true
	case sameName(s.name, "allow-rsa-pkcs1-encrypt"), sameName(s.name, "cert-compression-alg"):
		return true // nothing to do with priorities
	}
	return p.overrideList(s, word, b)
}

// overrideList applies a line that allows or disables one algorithm. Lines of
// the other mode have no effect.
func (p *policy) overrideList(s setting, word string, b Build) bool {
	for _, o := range []struct {
		allow, block string
		list         *[]algorithm
		table        []algorithm
	}{
		{"secure-hash", "insecure-hash", &p.hashes, hashes},
		{"secure-sig", "insecure-sig", &p.signatures, signatures},
		{"secure-sig-for-cert", "insecure-sig-for-cert", &p.certSignatures, signatures},
		{"enabled-version", "disabled-version", &p.versions, versions},
		{"enabled-curve", "disabled-curve", &p.curves, curves},
		{"tls-enabled-cipher", "tls-disabled-cipher", &p.ciphers, ciphers},
		{"tls-enabled-mac", "tls-disabled-mac", &p.macs, macs},
		{"tls-enabled-group", "tls-disabled-group", &p.groups, groups},
		{"tls-enabled-kx", "tls-disabled-kx", &p.keyExchanges, keyExchanges},
	} {
		if name := map[bool]string{true: o.allow, false: o.block}[p.allowlist]; !sameName(s.name, name) {
			continue
		}
		if o.list == &p.groups {
			word, _ = cutPrefixFold(word, "GROUP-")
		}
		a, ok := find(o.table, word, b)
		if !ok || a.role == noEffect {
			return false
		}
		*o.list = append(*o.list, a)
		return true
	}
	return false
}

// lookup returns the string behind @NAME as a setting, and whether there is one.
// In an allowlist SYSTEM is made of what is allowed.
func (p policy) lookup(name string) (setting, bool) {
	if p.allowlist && name == systemName {
		return setting{name: name, value: p.allowed()}, true
	}
	i := slices.IndexFunc(p.strings, func(s setting) bool { return s.name == name })
	if i < 0 {
		return setting{}, false
	}
	return p.strings[i], true
}

// allowed returns the string that brings everything that is allowed and nothing else.
func (p policy) allowed() string {
	words := []string{none}
	for _, l := range []struct {
		prefix string
		list   []algorithm
	}{
		{"", p.keyExchanges}, {"GROUP-", p.groups}, {"", p.ciphers}, {"", p.macs}, {"SIGN-", p.signatures}, {"VERS-", p.versions},
	} {
		for _, a := range l.list {
			words = append(words, "+"+l.prefix+a.name)
		}
	}
	return strings.Join(words, ":")
}
