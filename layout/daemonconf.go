package layout

import (
	"cmp"
	"slices"
	"strings"

	"virtls/finding"
)

var (
	kindHomeShadows = finding.Define("home-file-shadows", finding.Warning,
		"the file in the home directory is read instead of the system's",
		"rename it if the system's file is meant")
	kindHomeUnread = finding.Define("home-file-unread", finding.Warning,
		"root's programs do not look for libvirt's files in root's home directory",
		"put the files into /etc/pki, or give clients ?pkipath=DIR")
	kindUnread = finding.Define("file-not-read", finding.Warning,
		"nothing reads a file of this name",
		"give it the name that is read")
	kindHalfSkipped = finding.Define("half-pair-skipped", finding.Warning,
		"a certificate without its key, or a key without its certificate, counts as absent, so the system's identity is used",
		"add the missing half or delete the other; libvirt 11.10 and later refuse half a pair")
	kindCRLIgnored = finding.Define("conf-crl-ignored", finding.Error,
		"crl_file is ignored, and so is every revocation in it, because ca_file, cert_file and key_file are not set",
		"set those three as well, or move the list to /etc/pki/CA/cacrl.pem")
	kindCRLUnread = finding.Define("conf-crl-unread", finding.Warning,
		"the revocation list in the usual place is not read, because the configuration names the other files",
		"name it with crl_file")
	kindPathsIncomplete = finding.Define("conf-paths-incomplete", finding.Error,
		"ca_file, cert_file and key_file must be set together; the daemon does not start",
		"set all of them or none")
	kindPathEmpty = finding.Define("conf-path-empty", finding.Error,
		"the path is empty: libvirt before 11.10 loads nothing for it, later ones fail because no such file exists",
		"name a file or delete the line")
	kindExclusive = finding.Define("conf-keys-exclusive", finding.Error,
		"cert_file and key_file exclude cert_files and key_files; the daemon does not start",
		"keep one form")
	kindCounts = finding.Define("conf-identity-count", finding.Error,
		"there must be as many certificates as keys; the daemon does not start",
		"list the certificates and their keys in the same order")
	kindNoIdentity = finding.Define("conf-identity-none", finding.Error,
		"the lists of certificates and keys are empty: the daemon starts and no client can connect",
		"name at least one certificate and its key")
	kindNotReloaded = finding.Define("conf-paths-not-reloaded", finding.Warning,
		"virt-admin server-update-tls forgets the paths in the configuration and loads the usual ones",
		"put the files into the usual places, or restart the daemon after each renewal")
	kindAuth = finding.Define("conf-auth-unknown", finding.Error,
		"libvirt knows no such authentication; the daemon does not start",
		"set auth_tls to \"none\" or \"sasl\"")
	kindDNListEmpty = finding.Define("dn-list-empty", finding.Error,
		"the list of allowed names is empty: nobody may connect",
		"list the clients' names, or delete the line to let in every client of the CA")
	kindDNListOff = finding.Define("dn-list-not-enforced", finding.Error,
		"tls_no_verify_certificate switches the list of allowed names off, too: everybody is let in",
		"delete tls_no_verify_certificate")
	kindNoVerify = finding.Define("clients-not-verified", finding.Warning,
		"clients are let in without a certificate",
		"delete tls_no_verify_certificate, or demand a password with auth_tls = \"sasl\"")
)

// namedFiles returns what the configuration names, false if it names nothing.
// One setting demands the others (src/remote/remote_daemon.c; texts of libvirt
// 11.3 and 12.8).
func (l Lookup) namedFiles(c DaemonConf, f *Found) (Use, bool) {
	rule := rulesOf(l.Libvirt)
	certs, keys := l.identities(c, f)
	if !c.CAFile.Set && !certs.Set && !keys.Set {
		return Use{}, false
	}
	incomplete := func(text string) {
		where := cmp.Or(c.CAFile.Where, certs.Where, keys.Where)
		f.refuse(kindPathsIncomplete.Found(where, "").WithText("%s", text))
	}
	switch s := rule.plural(); {
	case len(certs.Value) != len(keys.Value) && rule.indexed: // judged already
	case !c.CAFile.Set:
		incomplete("No CA certificate path set to match server key" + s + "/cert" + s)
	case !certs.Set:
		incomplete("No server certificate path" + s + " set to match server key" + s)
	case !keys.Set:
		incomplete("No server key path" + s + " set to match server cert" + s)
	case len(certs.Value) == 0:
		f.add(kindNoIdentity.Found(certs.Where, ""))
	}
	use := Use{Files: Files{
		Service: Libvirt, Role: Server, CA: c.CAFile.Value, CRL: c.CRLFile.Value,
		Named: true, CRLNamed: c.CRLFile.Set && !rule.crlOptional,
	}}
	for i := range min(len(certs.Value), len(keys.Value)) {
		use.Pairs = append(use.Pairs, Pair{Index: i + NoIndex, Cert: certs.Value[i], Key: keys.Value[i]})
	}
	use.Why = []string{c.File + " names the files: nothing else is looked at"}
	l.judgePaths(c, certs, keys, f)
	return use, true
}

// identities returns the certificates and the keys that the configuration
// names. Since 11.10 there are two forms, which may be mixed, a certificate in
// one and its key in the other, but not both for one of them.
func (l Lookup) identities(c DaemonConf, f *Found) (certs, keys Key[[]string]) {
	certs, keys = asList(c.CertFile), asList(c.KeyFile)
	if c.CertFile.Set && c.CertFiles.Set || c.KeyFile.Set && c.KeyFiles.Set {
		f.refuse(kindExclusive.Found(cmp.Or(c.CertFiles.Where, c.KeyFiles.Where), "").
			WithText("cert_file/key_file are mutually exclusive with cert_files/key_files"))
		return certs, keys
	}
	if c.CertFiles.Set {
		certs = c.CertFiles
	}
	if c.KeyFiles.Set {
		keys = c.KeyFiles
	}
	if rulesOf(l.Libvirt).indexed && len(certs.Value) != len(keys.Value) {
		f.refuse(kindCounts.Found(cmp.Or(certs.Where, keys.Where), "").
			WithText("Number of certificates (%d) must match number of keys (%d)", len(certs.Value), len(keys.Value)))
	}
	return certs, keys
}

func (r rules) plural() string {
	if r.indexed {
		return "(s)"
	}
	return ""
}

func asList(k Key[string]) Key[[]string] {
	list := Key[[]string]{Set: k.Set, Where: k.Where}
	if k.Set {
		list.Value = []string{k.Value}
	}
	return list
}

// judgePaths judges paths that the configuration names.
func (l Lookup) judgePaths(c DaemonConf, certs, keys Key[[]string], f *Found) {
	empty := func(where string) {
		x := kindPathEmpty.Found(where, `""`).WithWant("the path of a file", "libvirt 11.10 and later")
		if rulesOf(l.Libvirt).emptyPathIsNone {
			f.add(x.WithSeverity(finding.Warning))
			return
		}
		f.refuse(x)
	}
	for _, k := range []Key[string]{c.CAFile, c.CRLFile} {
		if k.Set && k.Value == "" {
			empty(k.Where)
		}
	}
	for _, k := range []Key[[]string]{certs, keys} {
		if slices.Contains(k.Value, "") {
			empty(k.Where)
		}
	}
	usual := System(Libvirt, "")
	if !c.CRLFile.Set && exists(l.View, usual.CRL()) {
		f.add(kindCRLUnread.Found(usual.CRL(), "").WithFix("%s", appended(c.File, "crl_file", `"`+usual.CRL()+`"`)))
	}
	named := append(append([]string{c.CAFile.Value}, certs.Value...), keys.Value...)
	if len(f.Refused) == 0 && !slices.Equal(named, []string{usual.CA(), usual.Cert(Server, NoIndex), usual.Key(Server, NoIndex)}) {
		f.add(kindNotReloaded.Found(cmp.Or(c.CAFile.Where, certs.Where, keys.Where), strings.Join(named, ", ")))
	}
}

// ignoredCRL finds a list that is named in vain.
func (l Lookup) ignoredCRL(c DaemonConf, use Use, f *Found) {
	if named := c.CRLFile.Value; named != "" && named != use.CRL {
		f.add(kindCRLIgnored.Found(c.CRLFile.Where, named).WithWant(use.CRL, l.by()).
			WithFix("install -D -m 644 %s %s", ShellQuote(named), ShellQuote(use.CRL)))
	}
}

// judgeDaemon judges whom the daemon lets in.
func judgeDaemon(c DaemonConf, f *Found) {
	if auth := c.AuthTLS; auth.Set && auth.Value != "none" && auth.Value != "sasl" {
		f.refuse(kindAuth.Found(auth.Where, auth.Value).WithText("auth_tls: unsupported auth %s", auth.Value).WithWant("none or sasl", ""))
	}
	if c.AllowedDN.Set && len(c.AllowedDN.Value) == 0 {
		f.add(kindDNListEmpty.Found(c.AllowedDN.Where, "[]"))
	}
	switch {
	case !c.NoVerify.Value:
	case c.AllowedDN.Set:
		f.add(mended(kindDNListOff.Found(c.NoVerify.Where, ""), c.NoVerify.Drop))
	case c.AuthTLS.Value != "sasl":
		f.add(mended(kindNoVerify.Found(c.NoVerify.Where, ""), c.NoVerify.Drop))
	}
}
