package validate

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"virtls/layout"
	"virtls/sasl/cyrus"
)

// Where new files are to be: AppArmor's profile for guests lets QEMU read what is
// beside the configuration, and not what is in /etc/qemu, where QEMU's
// documentation has them.
const (
	newSASLDB = "/etc/sasl2/qemu-passwd.db"
	newKeytab = "/etc/sasl2/qemu.keytab"
	docKeytab = "/etc/qemu/krb5.tab"
)

// SASLConf writes a configuration of Cyrus SASL for the QEMU of a host, whose
// root o.Root is: SCRAM-SHA-256 where its VNC servers have TLS, GSSAPI where they
// have not, or where there is a keytab for it. Files that the present
// configuration names stay where they are. Nothing of it is secret. The error is
// a *[finding.Failure].
func SASLConf(ctx context.Context, o Options) (string, error) {
	r, err := newRun(ctx, o)
	if err != nil {
		return "", err
	}
	t, err := r.tree(cmp.Or(o.Root, "/"))
	if err != nil {
		return "", err
	}
	s, _ := t.saslSetup() // of a file that is malformed nothing is kept
	conf, _ := layout.ReadQEMUConf(t.view, layout.QEMUConfFile, t.platform.Libvirt)
	who, _, ok := t.host.Accounts.QEMU(conf, t.platform)
	group := "QEMU'S-GROUP"
	if ok {
		group = t.host.Accounts.GroupName(who.GID)
	}
	return s.write(group), nil
}

// write returns the text of a configuration.
func (s saslSetup) write(group string) string {
	var b strings.Builder
	keytab, found := s.newKeytab()
	scram, gssapi := s.hasTLS(), found || !s.hasTLS()
	fmt.Fprintf(&b, "# How QEMU lets VNC's clients log in: configuration of Cyrus SASL, as virtls\n# validate --sasl-conf has written it. It belongs into %s.\n", s.place())
	var mechanisms []string
	if scram {
		mechanisms = append(mechanisms, "scram-sha-256")
	}
	if gssapi {
		mechanisms = append(mechanisms, "gssapi")
	}
	fmt.Fprintf(&b, "\nmech_list: %s\n", strings.Join(mechanisms, " "))
	if scram {
		db := cmp.Or(s.conf.Value("sasldb_path"), newSASLDB)
		fmt.Fprintf(&b, "\n# Accounts. SCRAM needs TLS with certificates below: vnc_tls = 1 in %s.\n#   saslpasswd2 -a qemu -f %[2]s USER\n#   chown root:%[3]s %[2]s && chmod 0640 %[2]s\nsasldb_path: %[2]s\nauxprop_plugin: sasldb\npwcheck_method: auxprop\n",
			layout.QEMUConfFile, db, group)
	}
	if gssapi {
		fmt.Fprintf(&b, "\n# Kerberos. QEMU's principal is vnc/%[1]s. In kadmin:\n#   addprinc -randkey vnc/%[1]s\n#   ktadd -k %[2]s vnc/%[1]s\n# and then:\n#   chown root:%[3]s %[2]s && chmod 0640 %[2]s\nkeytab: %[2]s\n", s.hostname(), keytab, group)
	}
	if other := s.others(); other != nil {
		fmt.Fprintf(&b, "\n# Left out, with their values: %s.\n", strings.Join(other, ", "))
	}
	return b.String()
}

// place is where a new configuration belongs.
func (s saslSetup) place() string {
	return path.Join(cmp.Or(s.vnc.SASLDir.Value, "/etc/sasl2"), "qemu.conf")
}

// hasTLS tells whether VNC has TLS: as qemu.conf says, else if there is a
// server's certificate for it.
func (s saslSetup) hasTLS() bool {
	if s.tls.Set {
		return s.tls.Value
	}
	return slices.ContainsFunc([]layout.Service{layout.LibvirtVNC, layout.QEMU}, func(service layout.Service) bool {
		return s.view.exists(layout.System(service, "").Cert(layout.Server, layout.NoIndex))
	})
}

// newKeytab returns the keytab that has QEMU's principal, or else the path that
// one is to have.
func (s saslSetup) newKeytab() (file string, found bool) {
	own := s.conf.Value("keytab")
	for _, file := range []string{own, newKeytab, docKeytab, usualKeytab} {
		if data := read(s.view, file); path.IsAbs(file) && data != nil {
			names, err := cyrus.Principals(data)
			if err == nil && slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "vnc/") }) {
				return file, true
			}
		}
	}
	if path.IsAbs(own) {
		return own, false
	}
	return newKeytab, false
}

// others are the settings that a new configuration does not have.
func (s saslSetup) others() (keys []string) {
	if s.conf == nil {
		return nil
	}
	for _, set := range s.conf.Settings {
		if !slices.Contains([]string{"mech_list", "sasldb_path", "auxprop_plugin", "pwcheck_method", "keytab"}, set.Key) && !slices.Contains(keys, set.Key) {
			keys = append(keys, set.Key)
		}
	}
	return keys
}
