package layout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// said shows what libvirt says to QEMU about a service: directory, verify-peer,
// password, priority.
func said(u Use) string {
	off := ""
	if u.Off {
		off = " off"
	}
	return fmt.Sprintf("%s %s %s verify=%t secret=%s priority=%s%s", u.Service, u.Role, u.Dir, u.Verify, u.Secret, u.Priority.Value, off)
}

const (
	uuid1 = "11111111-1111-1111-1111-111111111111"
	uuid2 = "22222222-2222-2222-2222-222222222222"
)

// serviceCases are qemu.conf, what else is on the host, and a part of what
// libvirt 12.8 says to QEMU.
var serviceCases = []struct {
	name, conf string
	files      []string
	platform   Platform
	version    Version // 12.8 if empty
	want       []string
	codes      []string
	refused    string
}{
	{
		name: "nothing", want: []string{
			"libvirt-vnc server /etc/pki/qemu verify=false secret= priority= off",
			"libvirt-spice server /etc/pki/qemu verify=false secret= priority= off",
			"libvirt-rdp server /etc/pki/qemu verify=false secret= priority=",
			"libvirt-chardev server /etc/pki/qemu verify=true secret= priority= off",
			"libvirt-chardev client /etc/pki/qemu verify=true secret= priority= off",
			"libvirt-nbd client /etc/pki/qemu verify=true secret= priority= off",
			"libvirt-migrate server /etc/pki/qemu verify=true secret= priority=",
			"libvirt-migrate client /etc/pki/qemu verify=true secret= priority=",
			"libvirt-backup server /etc/pki/qemu verify=true secret= priority=",
		},
	},
	{
		name: "a directory that is there goes before the default one", conf: "vnc_tls = 1\nchardev_tls = 1\ndefault_tls_x509_cert_dir = '/etc/pki/mine'\nvnc_tls_x509_verify = 1",
		files: []string{"/etc/pki/mine/", "/etc/pki/libvirt-chardev/ca-cert.pem"}, want: []string{
			"libvirt-vnc server /etc/pki/mine verify=true secret= priority=",
			"libvirt-chardev server /etc/pki/libvirt-chardev verify=true secret= priority=",
			"libvirt-nbd client /etc/pki/mine verify=true secret= priority= off",
		},
	},
	{
		name: "so does one without a CA", conf: "chardev_tls = 1", files: []string{"/etc/pki/qemu/ca-cert.pem", "/etc/pki/libvirt-chardev/"},
		want: []string{"libvirt-chardev client /etc/pki/libvirt-chardev verify=true secret= priority="}, codes: []string{"service-dir-without-ca"},
	},
	{
		name: "explicit directories", conf: "nbd_tls = 1\nnbd_tls_x509_cert_dir = '/srv/nbd'\nnbd_tls_x509_secret_uuid = '" + uuid2 + "'\ndefault_tls_x509_secret_uuid = '" + uuid1 + "'",
		files: []string{"/srv/nbd/", "/etc/pki/libvirt-nbd/"}, want: []string{
			"libvirt-nbd client /srv/nbd verify=true secret=" + uuid2 + " priority=",
			"libvirt-migrate client /etc/pki/qemu verify=true secret=" + uuid1 + " priority=",
		},
	},
	{
		name: "the default secret is not for explicit directories", conf: "chardev_tls = 1\nchardev_tls_x509_cert_dir = '/srv/c'\ndefault_tls_x509_secret_uuid = '" + uuid1 + "'",
		files: []string{"/srv/c/"}, want: []string{"libvirt-chardev server /srv/c verify=true secret= priority="}, codes: []string{"conf-secret-unused"},
	},
	{
		name: "VNC's clients", conf: "vnc_tls = 1", want: []string{"libvirt-vnc server /etc/pki/qemu verify=false secret= priority="}, codes: []string{"vnc-clients-not-verified"},
	},
	{
		name: "verification", conf: "vnc_tls = 1\nchardev_tls = 1\ndefault_tls_x509_verify = 1\nchardev_tls_x509_verify = 0", want: []string{
			"libvirt-vnc server /etc/pki/qemu verify=true secret= priority=",
			"libvirt-chardev server /etc/pki/qemu verify=false secret= priority=",
			"libvirt-chardev client /etc/pki/qemu verify=true secret= priority=",
		},
	},
	{
		name: "priorities", conf: "vnc_tls = 1\nvnc_tls_x509_verify = 1\nvnc_tls_priority = 'SECURE256'\nnbd_tls = 1\nnbd_tls_priority = 'SECURE128'\nchardev_tls=1\ndefault_tls_priority = 'NORMAL'", want: []string{
			"libvirt-vnc server /etc/pki/qemu verify=true secret= priority=NORMAL",
			"libvirt-chardev server /etc/pki/qemu verify=true secret= priority=NORMAL",
			"libvirt-nbd client /etc/pki/qemu verify=true secret= priority=SECURE128",
		}, codes: []string{"conf-priority-unused"},
	},
	{
		name: "priorities before 11.6", conf: "default_tls_priority = 'NORMAL'\nnbd_tls = 1\nnbd_tls_priority = 5", version: "11.3",
		want: []string{"libvirt-nbd client /etc/pki/qemu verify=true secret= priority="}, codes: []string{"conf-key-too-new", "conf-key-too-new"},
	},
	{
		name: "no RDP in 9.0", conf: "rdp_tls_x509_cert_dir = '/srv/none'", version: "9.0",
		want: []string{"libvirt-migrate client /etc/pki/qemu verify=true secret= priority="}, codes: []string{"conf-key-too-new"},
	},
	{name: "missing directory", conf: "vnc_tls_x509_cert_dir = '/srv/none'", codes: []string{"conf-dir-missing"}, refused: "conf-dir-missing"},
	{name: "missing default directory", conf: "default_tls_x509_cert_dir = '/srv/none'", codes: []string{"conf-dir-missing"}, refused: "conf-dir-missing"},
	{name: "text for a truth value", conf: "vnc_tls = 'yes'", codes: []string{"conf-type"}, refused: "conf-type"},
	{name: "syntax", conf: "vnc_tls", codes: []string{"conf-syntax"}, refused: "conf-syntax"},
	{name: "unknown and dropped", conf: "spice_tls_x509_verify = 1\nvxhs_tls = 1\nvnc_password = 'x'", codes: []string{"conf-key-unknown", "conf-vxhs-ignored"}},
	{
		name: "AppArmor", conf: "nbd_tls = 1\nvnc_tls = 1\nvnc_tls_x509_verify = 1", platform: Platform{AppArmor: true},
		files: []string{"/etc/pki/libvirt-nbd/ca-cert.pem", "/etc/pki/libvirt-vnc/ca-cert.pem", "/etc/pki/libvirt-chardev/ca-cert.pem"},
		want:  []string{"libvirt-nbd client /etc/pki/libvirt-nbd verify=true secret= priority="}, codes: []string{"apparmor-denies-directory"},
	},
}

func TestLookupServices(t *testing.T) {
	for _, c := range serviceCases {
		t.Run(c.name, func(t *testing.T) {
			files := touch(c.files...)
			files[QEMUConfFile] = c.conf
			version := c.version
			if version == "" {
				version = "12.8"
			}
			_, found := Lookup{View: tree(t, files), Platform: c.platform, Libvirt: version}.Services()
			var got []string
			for _, u := range found.Uses {
				if len(u.Why) == 0 {
					t.Errorf("no reason is given for %s", u.Service)
				}
				got = append(got, said(u))
			}
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, strings.Join(got, "\n"))
				}
			}
			if rdp := strings.Contains(strings.Join(got, " "), "libvirt-rdp"); rdp != rulesOf(version).rdp {
				t.Errorf("RDP is there: %t", rdp)
			}
			check(t, "codes", codes(found.Findings), c.codes)
			check(t, "refused", strings.Join(found.Refused, " "), c.refused)
		})
	}
}

func TestSessionQEMUConf(t *testing.T) {
	view := tree(t, map[string]string{"/home/u/.config/libvirt/qemu.conf": "user = 'root'\ngroup = \"+12\"\nmigrate_tls_force = 1\n"})
	conf, _ := Lookup{View: view, Account: user}.Services()
	check(t, "settings", []any{conf.User.Value, conf.Group.Value, conf.Group.Where, conf.MigrateForce.Value}, []any{"root", "+12", "/home/u/.config/libvirt/qemu.conf:2", true})
}

func TestQEMU(t *testing.T) {
	for _, c := range []struct {
		account Account
		want    string
	}{{root, "/etc/pki/qemu"}, {user, "/home/u/.pki/qemu"}} {
		found := Lookup{View: tree(t, nil), Account: c.account}.QEMU(Server, Client)
		check(t, "uses", []any{len(found.Uses), found.Uses[0].Dir, found.Uses[1].Role}, []any{2, c.want, Client})
	}
}

// libnbdCases are directories with something in them, and what a user's client reads.
var libnbdCases = []struct {
	name  string
	files []string
	want  string // the CA; empty: the machine's
	codes []string
}{
	{"nothing", nil, "", nil},
	{"first", []string{"/home/u/.pki/libnbd/ca-cert.pem", "/home/u/.config/pki/libnbd/ca-cert.pem"}, "/home/u/.pki/libnbd/ca-cert.pem", nil},
	{"second", []string{"/home/u/.pki/libnbd/client-cert.pem", "/home/u/.config/pki/libnbd/ca-cert.pem"}, "/home/u/.config/pki/libnbd/ca-cert.pem", nil},
	{"the system's is root's", []string{"/etc/pki/libnbd/ca-cert.pem"}, "", []string{"libnbd-ca-missing"}},
	{"no CA", []string{"/home/u/.config/pki/libnbd/client-cert.pem"}, "", []string{"libnbd-ca-missing"}},
}

func TestLibNBD(t *testing.T) {
	for _, c := range libnbdCases {
		t.Run(c.name, func(t *testing.T) {
			view := tree(t, touch(c.files...))
			found := Lookup{View: view, Account: user}.LibNBD()
			check(t, "codes", codes(found.Findings), c.codes)
			if ca := only(t, found).CA; exists(view, ca) != (c.want != "") || c.want != "" && ca != c.want {
				t.Errorf("CA is %s, want %q", ca, c.want)
			}
		})
	}
	found := Lookup{View: tree(t, touch("/etc/pki/libnbd/ca-cert.pem"))}.LibNBD()
	check(t, "root's files", only(t, found).Files, Files{
		Service: LibNBD, Role: Client, Dir: "/etc/pki/libnbd", CA: "/etc/pki/libnbd/ca-cert.pem", CRL: "/etc/pki/libnbd/ca-crl.pem",
		Pairs: []Pair{{NoIndex, "/etc/pki/libnbd/client-cert.pem", "/etc/pki/libnbd/client-key.pem"}},
	})
	check(t, "root's findings", codes(found.Findings), []string(nil))
}

func TestLabelsAndRules(t *testing.T) {
	for name, want := range map[string]string{
		"/etc/pki": "cert_t", "/etc/pki/qemu/server-key.pem": "cert_t", "/home/u/.pki/qemu/client-key.pem": "home_cert_t", "/home/u/.pki": "home_cert_t", "/opt/pki/x.pem": "", "/etc/pkix": "",
	} {
		check(t, "type of "+name, SELinuxType(name), want)
	}
	for name, want := range map[string]bool{
		"/etc/pki/CA/cacert.pem": true, "/etc/pki/CA/private/x.pem": false, "/etc/pki/qemu/a/b.pem": true, "/etc/pki/libvirt/private/serverkey.pem": true,
		"/etc/pki/libvirt-vnc/ca-cert.pem": true, "/etc/pki/libvirt-migrate/ca-cert.pem": false, "/etc/pki/qemu2/x": false, "/srv/x": false,
	} {
		check(t, "AppArmor on "+name, AppArmorAllows(name), want)
	}
	check(t, "rule", AppArmorRule("/srv/it's", "12.8"),
		`mkdir -p /etc/apparmor.d/abstractions/libvirt-qemu.d && echo '  /srv/it'\''s/** r,' >> /etc/apparmor.d/abstractions/libvirt-qemu.d/virtls`)
	check(t, "rule", AppArmorRule("/srv/x", "9.0"),
		"mkdir -p /etc/apparmor.d/local/abstractions && echo '  /srv/x/** r,' >> /etc/apparmor.d/local/abstractions/libvirt-qemu")
}
