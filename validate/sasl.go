package validate

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/layout"
	"virtls/sasl"
	"virtls/sasl/cyrus"
)

var (
	kindSASLUnread = finding.Define("sasl-conf-unreadable", finding.Error,
		"QEMU cannot read its configuration of Cyrus SASL, which goes on as if there were none", "let QEMU's user read the file")
	kindNoMechList = finding.Define("sasl-mech-list-missing", finding.Error,
		"no mechanisms are chosen, so QEMU offers all that are installed", "set mech_list: scram-sha-256 with TLS, gssapi without")
	kindAnonymous = finding.Define("sasl-anonymous", finding.Error,
		"whoever says ANONYMOUS is logged in, below TLS with certificates", "take anonymous out of mech_list")
	kindMechWeak = finding.Define("sasl-mechanism-weak", finding.Warning,
		"the mechanism is not to be used", "take it out of mech_list; scram-sha-256 takes its place, with TLS")
	kindMechUnknown = finding.Define("sasl-mechanism-unknown", finding.Warning,
		"QEMU cannot offer a mechanism of that name", "correct the name; blanks separate names, commas do not")
	kindMechAbsent = finding.Define("sasl-plugin-missing", finding.Warning,
		"the mechanism's plugin is not installed, so it is never offered", "install it: libsasl2-modules, libsasl2-modules-gssapi-mit and libsasl2-modules-db on Debian, cyrus-sasl-scram and so on elsewhere")
	kindNeedsTLS = finding.Define("sasl-needs-tls", finding.Error,
		"QEMU does not offer the mechanism without TLS with certificates below, because it encrypts nothing", "set vnc_tls = 1 in /etc/libvirt/qemu.conf, or use gssapi")
	kindNothingOffered = finding.Define("sasl-nothing-offered", finding.Error,
		"no mechanism is left that QEMU could offer, so it closes every connection", "virtls validate --sasl-conf prints a configuration that works")
	kindDBMissing = finding.Define("sasl-db-missing", finding.Error,
		"the database of passwords is not there, so nobody can log in", "saslpasswd2 makes it with its first account")
	kindDBClear = finding.Define("sasl-db-clear", finding.Info,
		"the database holds passwords in clear, whichever mechanism they are for: whoever gets a copy has them", "keep it to QEMU's user; a gateway of virtls keeps verifiers instead, and takes the accounts over with virtls passwd import")
	kindKeytabMissing = finding.Define("sasl-keytab-missing", finding.Error,
		"the keytab of GSSAPI is not there, so nobody can log in with Kerberos", "have the KDC write the keys of vnc/ and the host's name into it, and name it by its path alone")
	kindKeytabBad = finding.Define("sasl-keytab-malformed", finding.Error,
		"the keytab of GSSAPI cannot be read as one, so every login fails", "write it anew: ktadd -k FILE vnc/HOST in kadmin")
	kindReplayCache = finding.Define("sasl-replay-cache", finding.Warning,
		"AppArmor's profile for guests keeps QEMU from writing Kerberos's replay cache in /var/tmp, and without it every login with GSSAPI fails",
		"add a rule for the file to the profile, or set default_rcache_name = none: in /etc/krb5.conf")
	kindKeytabPrincipal = finding.Define("sasl-keytab-principal", finding.Error,
		"the keytab has no key of the principal that QEMU is: its service is vnc, whatever the file is called", "in kadmin: addprinc -randkey vnc/HOST and ktadd -k FILE vnc/HOST")
)

// Paths that Cyrus SASL has for what its configuration does not name.
const (
	usualSASLDB = "/etc/sasldb2"
	usualKeytab = "/etc/krb5.keytab"
)

// A saslSetup is how a host's QEMU lets VNC's clients log in.
type saslSetup struct {
	*tree
	conf    *cyrus.Config // nil if there is none
	plugins cyrus.Plugins // nil if unknown
	vnc     layout.VNCConf
	tls     layout.Key[bool] // vnc_tls
}

// sasl judges QEMU's set-up of SASL, if there is one.
func (t *tree) sasl() {
	s, err := t.saslSetup()
	switch {
	case err != nil:
		t.note(finding.Of(err))
	case s.conf == nil && s.vnc.SASL.Value:
		t.note(cyrus.NotFound("qemu"))
	case s.conf != nil:
		s.judge()
	}
}

func (t *tree) saslSetup() (s saslSetup, err error) {
	conf, _ := layout.ReadQEMUConf(t.view, layout.QEMUConfFile, t.platform.Libvirt)
	s = saslSetup{tree: t, vnc: conf.VNC, tls: conf.Services[layout.LibvirtVNC].Enable, plugins: cyrus.FindPlugins(t.list)}
	s.conf, err = cyrus.Find(t.view, s.vnc.SASLDir.Value, "qemu")
	return s, err
}

func (s saslSetup) judge() {
	s.found = true
	if !s.readable(s.conf.File) {
		s.note(kindSASLUnread.Found(s.conf.File, "").WithFix("chmod a+r %s", quoted(s.conf.File)))
	}
	s.noteAll(s.conf.Check())
	list := s.conf.Mechanisms()
	if !s.chosen() {
		list = s.installed()
		s.note(kindNoMechList.Found(s.conf.File, strings.Join(list, ", ")).WithWant("mech_list: scram-sha-256, or gssapi", "virtls"))
	}
	where := s.conf.File
	if set, ok := s.conf.Get("mech_list"); ok {
		where = s.conf.Where(set)
	}
	var left []cyrus.Mechanism
	for _, name := range list {
		if m, ok := s.mechanism(where, name); ok {
			left = append(left, m)
		}
	}
	if len(left) == 0 {
		s.note(kindNothingOffered.Found(where, cmp.Or(strings.Join(list, ", "), "nothing")).WithWant("a mechanism that is installed, and TLS or gssapi", "QEMU"))
	}
	if slices.ContainsFunc(left, func(m cyrus.Mechanism) bool { return m.Secrets }) {
		s.database()
	}
	if slices.ContainsFunc(left, func(m cyrus.Mechanism) bool { return m.Plugin == "libgssapiv2" }) {
		s.keytab()
	}
}

// chosen tells whether there is a list of mechanisms. Without one nothing is said
// of what only some of them lack.
func (s saslSetup) chosen() bool {
	_, ok := s.conf.Get("mech_list")
	return ok
}

// installed lists the mechanisms of the plugins that are installed.
func (s saslSetup) installed() (list []string) {
	for _, name := range cyrus.Names() {
		if m, _ := cyrus.MechanismOf(name); s.plugins != nil && s.plugins.Has(m.Plugin) {
			list = append(list, name)
		}
	}
	return list
}

// mechanism judges one of the list, and tells whether QEMU offers it.
func (s saslSetup) mechanism(where, name string) (m cyrus.Mechanism, offered bool) {
	m, known := cyrus.MechanismOf(name)
	chosen := s.chosen()
	switch why := sasl.Refused(name); {
	case !known:
		want := finding.Nearest(name, cyrus.Names())
		if strings.Contains(name, ",") {
			want = strings.ReplaceAll(name, ",", " ")
		}
		s.note(kindMechUnknown.Found(where, name).WithWant(cmp.Or(want, "a mechanism of Cyrus SASL"), "Cyrus SASL"))
		return m, false
	case !s.plugins.Has(m.Plugin):
		s.note(kindMechAbsent.Found(where, name).WithWant(m.Plugin+".so in one of Cyrus SASL's directories", "Cyrus SASL"))
		return m, false
	case name == "ANONYMOUS" && s.open():
		s.note(kindAnonymous.Found(where, name))
	case why != "" && chosen:
		s.note(kindMechWeak.Found(where, name).WithText("%s: %s", name, why))
	}
	return m, m.Seals || s.layered(where, m, chosen)
}

// open tells whether logins may go on below TLS or on UNIX sockets, where QEMU
// offers everything.
func (s saslSetup) open() bool { return !s.vnc.SASL.Value || s.tls.Value || s.vnc.Unix.Value }

// layered tells whether a mechanism that does not encrypt is offered. Whether
// there is TLS only libvirt's configuration tells.
func (s saslSetup) layered(where string, m cyrus.Mechanism, chosen bool) bool {
	if s.open() && s.vnc.SASL.Value {
		return true
	}
	f := kindNeedsTLS.Found(where, m.Name).WithWant("VNC with TLS and certificates", "QEMU")
	if !s.vnc.SASL.Value {
		f = f.WithSeverity(finding.Info) // guests that something else than libvirt starts may have TLS
	}
	if chosen {
		s.note(f)
	}
	return !s.vnc.SASL.Value
}

// database judges the passwords that mechanisms but GSSAPI need.
func (s saslSetup) database() {
	if plugin := s.conf.Value("auxprop_plugin"); plugin != "" && !strings.Contains(strings.ToLower(plugin), "sasldb") {
		return // they are in SQL or LDAP
	}
	if !s.plugins.Has("libsasldb") {
		s.note(kindMechAbsent.Found(s.conf.File, "sasldb").WithSeverity(finding.Error).WithWant("libsasldb.so in one of Cyrus SASL's directories", "Cyrus SASL"))
	}
	file := cmp.Or(s.conf.Value("sasldb_path"), usualSASLDB)
	if _, err := s.view.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if !s.chosen() {
			return
		}
		s.note(kindDBMissing.Found(file, "no such file").WithFix("saslpasswd2 -a qemu -f %s USER", quoted(file)))
		return
	}
	s.note(kindDBClear.Found(file, ""))
	s.keyFiles = append(s.keyFiles, file)
	s.confined(file)
}

// confined finds what AppArmor's profile keeps libvirt's guests from reading. It
// lets them read /etc/sasl2 and the usual keytab, as it does everybody who looks
// up names (abstractions/ldapclient and kerberosclient of AppArmor 3.0).
func (s saslSetup) confined(file string) {
	if s.platform.AppArmor && s.vnc.SASL.Value && !layout.AppArmorAllows(file) && path.Dir(file) != "/etc/sasl2" && file != usualKeytab {
		s.note(layout.AppArmorDenies(file, path.Dir(file), s.platform.Libvirt))
	}
}

// replayCache finds that Kerberos cannot write under AppArmor: not even into
// /var/tmp, where MIT's Kerberos has its replay cache.
func (s saslSetup) replayCache(keytab string) {
	const rule = "owner /{,var/}tmp/krb5_*.rcache2 rwk,"
	if !s.platform.AppArmor || !s.vnc.SASL.Value {
		return
	}
	for _, file := range []string{"/etc/apparmor.d/local/abstractions/libvirt-qemu", "/etc/apparmor.d/abstractions/libvirt-qemu.d/virtls", "/etc/krb5.conf"} {
		if strings.Contains(string(read(s.view, file)), "rcache") {
			return
		}
	}
	s.note(kindReplayCache.Found(keytab, "").WithWant(rule, "MIT Kerberos in QEMU").WithFix("%s", layout.AppArmorAdd(rule, s.platform.Libvirt)))
}

// keytab judges the keys of GSSAPI.
func (s saslSetup) keytab() {
	file := cmp.Or(s.conf.Value("keytab"), usualKeytab)
	want := "vnc/" + s.hostname()
	if !path.IsAbs(file) {
		s.note(kindKeytabMissing.Found(file, "no absolute path").WithWant("a path such as /etc/qemu/krb5.tab, without FILE:", "Cyrus SASL"))
		return
	}
	data, err := s.view.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !s.chosen():
		return
	case errors.Is(err, fs.ErrNotExist):
		s.note(kindKeytabMissing.Found(file, "no such file").WithWant("the keys of "+want, "QEMU"))
		return
	case err != nil:
		return // which view has noticed
	}
	s.keyFiles = append(s.keyFiles, file)
	s.confined(file)
	s.replayCache(file)
	names, err := cyrus.Principals(data)
	if err != nil {
		s.note(kindKeytabBad.Found(file, err.Error()))
		return
	}
	if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "vnc/") }) {
		s.note(kindKeytabPrincipal.Found(file, cmp.Or(strings.Join(names, ", "), "no keys")).WithWant(want, "QEMU").
			WithFix("run in kadmin: addprinc -randkey %[1]s, ktadd -k %[2]s %[1]s", want, file))
	}
}

// hostname is this machine's name, if it is the one that is judged.
func (s saslSetup) hostname() string {
	if name, err := os.Hostname(); err == nil && s.root == "/" {
		return name
	}
	return "HOST"
}

// readable tells whether QEMU's user can read a file, as far as is known.
func (s saslSetup) readable(file string) bool {
	who := s.qemuUser
	if s.as != nil {
		who = s.as
	}
	return s.staged || who == nil || s.host.CanRead(*who, file) == nil
}
