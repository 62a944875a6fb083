package layout

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"virtls/finding"
)

var (
	kindDirMissing = finding.Define("conf-dir-missing", finding.Error,
		"the directory that qemu.conf names is not there, so libvirt's QEMU driver does not start",
		"make the directory and put the credentials there, or delete the line")
	kindDirEmpty = finding.Define("service-dir-without-ca", finding.Error,
		"the service's directory has no ca-cert.pem, yet its mere existence keeps libvirt from using the default one",
		"put the service's credentials there, or remove the directory and restart the daemon")
	kindPriorityUnused = finding.Define("conf-priority-unused", finding.Warning,
		"libvirt does not pass this priority on to QEMU",
		"set default_tls_priority")
	kindSecretUnused = finding.Define("conf-secret-unused", finding.Warning,
		"the default secret is not used for a service whose directory is set",
		"set the service's own *_tls_x509_secret_uuid if its key is encrypted")
	kindVNCUnverified = finding.Define("vnc-clients-not-verified", finding.Warning,
		"VNC's clients need no certificate: without a setting libvirt verifies the clients of every service but VNC",
		"set vnc_tls_x509_verify = 1")
	kindVxHS = finding.Define("conf-vxhs-ignored", finding.Info,
		"libvirt has dropped VxHS and ignores its settings",
		"delete the line")
	kindAppArmor = finding.Define("apparmor-denies-directory", finding.Error,
		"AppArmor's profile for guests keeps QEMU from reading the directory",
		"use a directory below /etc/pki/qemu, or add a rule to the profile")
)

// Services returns what QEMU reads when libvirt runs it, for each of the
// services of libvirt that have credentials and each role they are used in
// (src/qemu/qemu_conf.c). A service's directory is the one qemu.conf sets, else
// /etc/pki/libvirt-SERVICE if it is there, else the default one.
func (l Lookup) Services() (QEMUConf, Found) {
	var f Found
	conf, wrong := ReadQEMUConf(l.View, l.config(QEMUConfFile), l.Libvirt)
	f.refuse(wrong...)
	for _, row := range services {
		if row.service == Libvirt || row.service == LibvirtRDP && !rulesOf(l.Libvirt).rdp {
			continue
		}
		c := conf.Services[row.service]
		if c.Dir.Set && !exists(l.View, c.Dir.Value) {
			text := fmt.Sprintf("%s directory '%s' does not exist", row.confKey, c.Dir.Value)
			f.refuse(kindDirMissing.Found(c.Dir.Where, c.Dir.Value).WithText("%s", text).WithFix("mkdir -m 750 -p %s", ShellQuote(c.Dir.Value)))
		}
		if row.service != QEMU {
			l.service(row, conf, &f)
		}
	}
	return conf, f
}

// service adds what one of libvirt's services reads.
func (l Lookup) service(row serviceRow, conf QEMUConf, f *Found) {
	c, base := conf.Services[row.service], conf.Services[QEMU]
	usual := cmp.Or(base.Dir.Value, System(QEMU, "").Dir)
	use := Use{Off: row.service.Enable() != "" && !c.Enable.Value, Sanity: true}
	var dir, why string
	switch {
	case c.Dir.Set:
		dir, why = c.Dir.Value, c.Dir.Where+" sets "+row.confKey
	case exists(l.View, row.dir):
		dir, why = row.dir, row.dir+" is there"
	default:
		dir, why = usual, row.confKey+" is not set and "+row.dir+" is not there"
	}
	use.Why = []string{why}
	loc := System(row.service, dir)
	if !use.Off && !c.Dir.Set && dir == row.dir && !exists(l.View, loc.CA()) && exists(l.View, System(QEMU, usual).CA()) {
		f.add(kindDirEmpty.Found(dir, "").WithWant(loc.CA(), "").WithFix("rmdir %s", ShellQuote(dir)))
	}
	if row.asQEMU() {
		l.object(row, c, base, conf.File, &use, f)
	}
	for _, role := range row.roles {
		u := use
		u.Files = loc.Files(role)
		u.Verify = use.Verify || role == Client // CVE-2017-1000256: clients always verify since 3.9
		f.Uses = append(f.Uses, u)
	}
	if !use.Off || c.Dir.Set {
		l.appArmor(dir, cmp.Or(c.Dir.Where, dir), f)
	}
}

// object resolves what libvirt says to the service's credential object besides the directory.
func (l Lookup) object(row serviceRow, c, base ServiceConf, file string, use *Use, f *Found) {
	isVNC := row.service == LibvirtVNC
	switch verify := c.Verify.or(base.Verify); {
	case verify.Set:
		use.Verify = verify.Value
	default:
		use.Verify = !isVNC
		if isVNC && !use.Off {
			f.add(kindVNCUnverified.Found(c.Enable.Where, "").WithFix("%s", appended(file, "vnc_tls_x509_verify", "1")))
		}
	}
	switch {
	case c.Secret.Set:
		use.Secret = c.Secret.Value
	case !c.Dir.Set:
		use.Secret = base.Secret.Value
	case base.Secret.Set:
		own := strings.TrimSuffix(row.confKey, "cert_dir") + "secret_uuid"
		f.add(kindSecretUnused.Found(base.Secret.Where, base.Secret.Value).
			WithText("%s is set, so default_tls_x509_secret_uuid is not used there", row.confKey).
			WithFix("%s", appended(file, own, `"`+base.Secret.Value+`"`)))
	}
	use.Priority = c.Priority.or(base.Priority)
	if isVNC {
		// Seen in 12.8: VNC's object gets the default's priority.
		use.Priority = base.Priority
		if c.Priority.Set && c.Priority.Value != use.Priority.Value {
			f.add(mended(kindPriorityUnused.Found(c.Priority.Where, c.Priority.Value), c.Priority.Drop))
		}
	}
}

// QEMU returns what programs of QEMU read that are started by hand with the
// directory that its documentation recommends for the account. They know no
// directory by themselves.
func (l Lookup) QEMU(roles ...Role) Found {
	loc, why := System(QEMU, ""), "the system's directory"
	if l.Account.UID != 0 {
		loc, why = Home(QEMU, l.Account.Home), "the directory in the home directory"
	}
	var f Found
	for _, r := range roles {
		f.Uses = append(f.Uses, Use{Files: loc.Files(r), Verify: true, Sanity: true, Why: []string{why}})
	}
	return f
}

// SELinuxType is the type that Fedora's and RHEL's policy gives a path: cert_t
// below /etc/pki and home_cert_t below a home directory's .pki. It is empty
// where the policy has no rule for certificates.
func SELinuxType(name string) string {
	switch {
	case name == "/etc/pki" || strings.HasPrefix(name, "/etc/pki/"):
		return selinuxType
	case strings.Contains(name, "/.pki/") || strings.HasSuffix(name, "/.pki"):
		return "home_cert_t"
	}
	return ""
}

// appArmorDirs are the directories that guests may read in libvirt's profile
// (abstractions/libvirt-qemu of 9.0, 11.3 and 12.8): all below them but for
// /etc/pki/CA, of which only the files.
var appArmorDirs = []string{"/etc/pki/libvirt", "/etc/pki/libvirt-spice", "/etc/pki/libvirt-vnc", "/etc/pki/qemu"}

// AppArmorAllows tells whether libvirt's profile lets guests read a file.
func AppArmorAllows(name string) bool {
	return path.Dir(name) == "/etc/pki/CA" || slices.ContainsFunc(appArmorDirs, func(d string) bool { return strings.HasPrefix(name, d+"/") })
}

// AppArmorRule is the command that lets guests read a directory.
func AppArmorRule(dir string, libvirt Version) string { return AppArmorAdd(dir+"/** r,", libvirt) }

// AppArmorAdd is the command that adds a rule to libvirt's profile for guests.
// The place for own rules is another since libvirt 9.6.
func AppArmorAdd(rule string, libvirt Version) string {
	file := "/etc/apparmor.d/local/abstractions/libvirt-qemu"
	if libvirt.AtLeast("9.6") {
		file = "/etc/apparmor.d/abstractions/libvirt-qemu.d/virtls"
	}
	return fmt.Sprintf("mkdir -p %s && echo %s >> %s", path.Dir(file), ShellQuote("  "+rule), file)
}

func (l Lookup) appArmor(dir, subject string, f *Found) {
	if l.Platform.AppArmor && !AppArmorAllows(path.Join(dir, "ca-cert.pem")) {
		f.add(AppArmorDenies(subject, dir, l.Libvirt))
	}
}

// AppArmorDenies is the finding that libvirt's profile keeps guests from reading
// a directory, which a setting names or a link leads to.
func AppArmorDenies(subject, dir string, libvirt Version) finding.Finding {
	return kindAppArmor.Found(subject, dir).WithFix("%s", AppArmorRule(dir, libvirt))
}
