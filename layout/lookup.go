package layout

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"virtls/finding"
)

// A Lookup asks what the consumers on one host read. Its methods look at the
// host's files only to see which are there, and at the configuration.
type Lookup struct {
	View     View    // the host as Account sees it
	Account  Account // whom the consumer runs as
	Platform Platform
	Libvirt  Version // which release's rules apply; empty: the oldest known
	Config   string  // a configuration file other than the consumer's usual one

	// PKIPath is the pkipath of a client's URI: its only place then.
	PKIPath string
}

// An Account is a user as far as the search for files depends on it.
type Account struct {
	UID  int
	Home string
}

// A Use is a set of files that a consumer reads, and what it does with them.
type Use struct {
	Files
	// Why tells, a sentence each, how CA, CRL and identity were found.
	Why []string
	// Off tells that a service's TLS is not switched on in the configuration:
	// its files would be read if it were.
	Off bool
	// Verify and Sanity tell whether the peer and the own files are checked.
	Verify, Sanity bool
	Priority       Key[string]   // not set: the build's default
	Secret         string        // UUID of the libvirt secret with the keys' password
	AllowedDN      Key[[]string] // tls_allowed_dn_list of a daemon
}

// A Found is a lookup's answer.
type Found struct {
	Uses     []Use
	Findings []finding.Finding
	// Refused are the codes among Findings for which the consumer, in the
	// version asked for, does not start at all.
	Refused []string
}

func (f *Found) add(list ...finding.Finding) { f.Findings = append(f.Findings, list...) }

// refuse adds findings that keep the consumer from starting.
func (f *Found) refuse(list ...finding.Finding) {
	for _, x := range list {
		f.add(x)
		if x.Severity == finding.Error && !slices.Contains(f.Refused, x.Code) {
			f.Refused = append(f.Refused, x.Code)
		}
	}
}

// LibvirtServer returns what libvirtd or virtproxyd reads for its TLS port
// (src/remote/remote_daemon.c): what its configuration names, else the system's
// places for root, and the own before the system's for everybody else.
func (l Lookup) LibvirtServer() Found {
	var f Found
	conf, wrong := ReadDaemonConf(l.View, l.daemonConf(), l.Libvirt)
	f.refuse(wrong...)
	var use Use
	if named, ok := l.namedFiles(conf, &f); ok {
		use = named
	} else {
		use = l.libvirtFiles(Server, &f)
		l.ignoredCRL(conf, use, &f)
	}
	use.Off = conf.ListenTLS.Set && !conf.ListenTLS.Value || l.Platform.Modular && !conf.ListenTLS.Set
	use.Verify, use.Sanity = !conf.NoVerify.Value, !conf.NoSanity.Value
	use.Priority, use.AllowedDN = conf.Priority, conf.AllowedDN
	judgeDaemon(conf, &f)
	f.Uses = []Use{use}
	return f
}

// daemonConf is the file of the daemon that owns the TLS port.
func (l Lookup) daemonConf() string {
	name := LibvirtdConf
	if l.Platform.Modular {
		name = VirtproxydConf
	}
	return l.config(name)
}

// config is where the account's programs look for one of libvirt's files.
func (l Lookup) config(name string) string {
	switch {
	case l.Config != "":
		return l.Config
	case l.Account.UID != 0:
		return path.Join(l.Account.Home, ".config/libvirt", path.Base(name))
	}
	return name
}

// LibvirtClient returns what libvirt's clients (virsh) read for a URI with TLS:
// PKIPath alone if it is given, else the system's places for root, and the own
// before the system's for everybody else.
func (l Lookup) LibvirtClient() Found {
	var f Found
	conf, wrong := ReadClientConf(l.View, l.config(LibvirtConf))
	f.refuse(wrong...)
	use := l.libvirtFiles(Client, &f)
	use.Verify, use.Sanity, use.Priority = true, true, conf.Priority
	f.Uses = []Use{use}
	return f
}

// libvirtFiles searches for the files of libvirt's own sockets
// (src/rpc/virnettlscontext.c, virnettlsconfig.c since 11.10): the CA, the CRL
// and the identities each on their own.
func (l Lookup) libvirtFiles(r Role, f *Found) Use {
	if l.PKIPath != "" && r == Client {
		only := System(Libvirt, l.PKIPath)
		l.unread(only, r, f)
		return Use{Files: l.trim(only.Files(r)), Why: []string{"the URI's pkipath is " + l.PKIPath + ": nothing else is looked at"}}
	}
	system := System(Libvirt, "")
	l.unread(system, r, f)
	use := Use{Files: l.trim(system.Files(r))}
	if l.Account.UID == 0 {
		use.Why = []string{"root reads the system's files only"}
		l.unreadHome(f)
		return use
	}
	home := Home(Libvirt, l.Account.Home)
	l.unread(home, r, f)
	own := l.trim(home.Files(r))
	choose := func(what, mine, theirs string) string {
		if !exists(l.View, mine) {
			use.Why = append(use.Why, fmt.Sprintf("%s: %s, as %s is not there", what, theirs, mine))
			return theirs
		}
		use.Why = append(use.Why, fmt.Sprintf("%s: %s is there and goes before %s", what, mine, theirs))
		if exists(l.View, theirs) {
			f.add(shadowing(mine, theirs))
		}
		return mine
	}
	use.CA = choose("CA", own.CA, use.CA)
	use.CRL = choose("CRL", own.CRL, use.CRL)
	if l.hasIdentity(own, f) {
		if l.hasIdentity(use.Files, &Found{}) {
			first := own.Pairs[max(0, slices.IndexFunc(own.Pairs, func(p Pair) bool { return exists(l.View, p.Cert) }))]
			x := shadowing(first.Cert, "the system's identity")
			f.add(x.WithFix("%s && mv %s %s", x.Fix, ShellQuote(first.Key), ShellQuote(first.Key+".unused")))
		}
		use.Pairs, use.Why = own.Pairs, append(use.Why, "identity: "+own.Dir+" has one, so the system's are not looked at")
	} else {
		use.Why = append(use.Why, "identity: the system's, as "+own.Dir+" has none")
	}
	use.Dir = placeOf(use.Files, own, system.Dir)
	return use
}

// shadowing is the finding that one place goes before another.
func shadowing(mine, theirs string) finding.Finding {
	return kindHomeShadows.Found(mine, "").WithText("it goes before %s, which is there, too, and not read", theirs).
		WithFix("mv %s %s", ShellQuote(mine), ShellQuote(mine+".unused"))
}

// unread finds files of names that only look as if libvirt read them: indexed
// ones before 11.10, /etc/pki/CA/crl.pem, which the comments in libvirtd.conf
// name, and $HOME/.pki/cacert.pem, which libvirt's documentation names.
func (l Lookup) unread(loc Location, r Role, f *Found) {
	names := map[string]string{}
	if !rulesOf(l.Libvirt).indexed {
		names[loc.Cert(r, 0)], names[loc.Key(r, 0)] = loc.Cert(r, NoIndex), loc.Key(r, NoIndex)
	}
	names[path.Join(path.Dir(loc.CRL()), "crl.pem")] = loc.CRL()
	if loc.reader == HolderOnly {
		names[path.Join(path.Dir(loc.Dir), "cacert.pem")] = loc.CA()
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if want := names[name]; exists(l.View, name) && !exists(l.View, want) {
			f.add(kindUnread.Found(name, "").WithWant(want, l.by()).WithFix("mv %s %s", ShellQuote(name), ShellQuote(want)))
		}
	}
}

// by names the consumer whose rules are applied.
func (l Lookup) by() string { return strings.TrimSpace("libvirt " + string(l.Libvirt)) }

// placeOf is the directory that all of the files come from, if there is one.
func placeOf(f, own Files, system string) string {
	switch mine := slices.Equal(f.Pairs, own.Pairs); {
	case mine && f.CA == own.CA:
		return own.Dir
	case !mine && f.CA != own.CA:
		return system
	}
	return ""
}

// trim leaves out what the release does not read.
func (l Lookup) trim(f Files) Files {
	if !rulesOf(l.Libvirt).indexed {
		f.Pairs = f.Pairs[:1]
	}
	return f
}

// hasIdentity tells whether the files hold an identity for the release, which
// keeps the search from going on: a pair, or since 11.10 half of one, which is
// refused later. An index counts only without a gap before it.
func (l Lookup) hasIdentity(f Files, found *Found) bool {
	for _, p := range f.Pairs {
		cert, key := exists(l.View, p.Cert), exists(l.View, p.Key)
		switch {
		case cert && key, (cert || key) && rulesOf(l.Libvirt).halfPairsCount:
			return true
		case cert || key:
			there, missing := p.Cert, p.Key
			if key {
				there, missing = p.Key, p.Cert
			}
			found.add(kindHalfSkipped.Found(there, "").WithWant(missing, l.by()))
		case p.Index != NoIndex:
			return false
		}
	}
	return false
}

// unreadHome tells root about files in root's home directory.
func (l Lookup) unreadHome(f *Found) {
	if l.Account.Home == "" {
		return
	}
	if ca := Home(Libvirt, l.Account.Home).CA(); exists(l.View, ca) {
		f.add(kindHomeUnread.Found(ca, ""))
	}
}
