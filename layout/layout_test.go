package layout

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// The names of every file that a consumer reads, in each kind of place.
func TestPaths(t *testing.T) {
	tests := []struct {
		name string
		loc  Location
		want []string // CA, CRL, then certificates and keys: server, client, server 0, client 3
	}{
		{"qemu", System(QEMU, ""), []string{
			"/etc/pki/qemu/ca-cert.pem", "/etc/pki/qemu/ca-crl.pem",
			"/etc/pki/qemu/server-cert.pem", "/etc/pki/qemu/server-key.pem",
			"/etc/pki/qemu/client-cert.pem", "/etc/pki/qemu/client-key.pem",
			"/etc/pki/qemu/server-cert-0.pem", "/etc/pki/qemu/server-key-0.pem",
			"/etc/pki/qemu/client-cert-3.pem", "/etc/pki/qemu/client-key-3.pem",
		}},
		{"libvirt", System(Libvirt, ""), []string{
			"/etc/pki/CA/cacert.pem", "/etc/pki/CA/cacrl.pem",
			"/etc/pki/libvirt/servercert.pem", "/etc/pki/libvirt/private/serverkey.pem",
			"/etc/pki/libvirt/clientcert.pem", "/etc/pki/libvirt/private/clientkey.pem",
			"/etc/pki/libvirt/servercert0.pem", "/etc/pki/libvirt/private/serverkey0.pem",
			"/etc/pki/libvirt/clientcert3.pem", "/etc/pki/libvirt/private/clientkey3.pem",
		}},
		{"libvirt elsewhere", System(Libvirt, "/srv/tls/libvirt/"), []string{
			"/srv/tls/libvirt/cacert.pem", "/srv/tls/libvirt/cacrl.pem",
			"/srv/tls/libvirt/servercert.pem", "/srv/tls/libvirt/serverkey.pem",
			"/srv/tls/libvirt/clientcert.pem", "/srv/tls/libvirt/clientkey.pem",
			"/srv/tls/libvirt/servercert0.pem", "/srv/tls/libvirt/serverkey0.pem",
			"/srv/tls/libvirt/clientcert3.pem", "/srv/tls/libvirt/clientkey3.pem",
		}},
		{"qemu elsewhere", System(QEMU, "/srv/tls/../tls/qemu"), []string{
			"/srv/tls/qemu/ca-cert.pem", "/srv/tls/qemu/ca-crl.pem",
			"/srv/tls/qemu/server-cert.pem", "/srv/tls/qemu/server-key.pem",
			"/srv/tls/qemu/client-cert.pem", "/srv/tls/qemu/client-key.pem",
			"/srv/tls/qemu/server-cert-0.pem", "/srv/tls/qemu/server-key-0.pem",
			"/srv/tls/qemu/client-cert-3.pem", "/srv/tls/qemu/client-key-3.pem",
		}},
		{"libvirt at home", Home(Libvirt, ""), []string{
			".pki/libvirt/cacert.pem", ".pki/libvirt/cacrl.pem",
			".pki/libvirt/servercert.pem", ".pki/libvirt/serverkey.pem",
			".pki/libvirt/clientcert.pem", ".pki/libvirt/clientkey.pem",
			".pki/libvirt/servercert0.pem", ".pki/libvirt/serverkey0.pem",
			".pki/libvirt/clientcert3.pem", ".pki/libvirt/clientkey3.pem",
		}},
		{"qemu at home", Home(QEMU, "/home/eve"), []string{
			"/home/eve/.pki/qemu/ca-cert.pem", "/home/eve/.pki/qemu/ca-crl.pem",
			"/home/eve/.pki/qemu/server-cert.pem", "/home/eve/.pki/qemu/server-key.pem",
			"/home/eve/.pki/qemu/client-cert.pem", "/home/eve/.pki/qemu/client-key.pem",
			"/home/eve/.pki/qemu/server-cert-0.pem", "/home/eve/.pki/qemu/server-key-0.pem",
			"/home/eve/.pki/qemu/client-cert-3.pem", "/home/eve/.pki/qemu/client-key-3.pem",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := []string{tt.loc.CA(), tt.loc.CRL()}
			for _, index := range []int{NoIndex, 0, 3} {
				for _, r := range []Role{Server, Client} {
					if index == 0 && r == Client || index == 3 && r == Server {
						continue
					}
					got = append(got, tt.loc.Cert(r, index), tt.loc.Key(r, index))
				}
			}
			check(t, "paths", got, tt.want)
		})
	}
}

// What libvirt's qemu.conf calls each service, and where it looks by default.
func TestServices(t *testing.T) {
	type row struct {
		Service          Service
		Dir, Conf, Turns string
		Roles            string
	}
	var got []row
	for _, s := range Services() {
		got = append(got, row{s, path.Dir(System(s, "").Cert(Server, NoIndex)), s.ConfKey(), s.Enable(), fmt.Sprint(s.Roles())})
	}
	check(t, "services", got, []row{
		{QEMU, "/etc/pki/qemu", "default_tls_x509_cert_dir", "", "[server client]"},
		{Libvirt, "/etc/pki/libvirt", "", "", "[server client]"},
		{LibvirtVNC, "/etc/pki/libvirt-vnc", "vnc_tls_x509_cert_dir", "vnc_tls", "[server]"},
		{LibvirtSPICE, "/etc/pki/libvirt-spice", "spice_tls_x509_cert_dir", "spice_tls", "[server]"},
		{LibvirtRDP, "/etc/pki/libvirt-rdp", "rdp_tls_x509_cert_dir", "", "[server]"},
		{LibvirtChardev, "/etc/pki/libvirt-chardev", "chardev_tls_x509_cert_dir", "chardev_tls", "[server client]"},
		{LibvirtNBD, "/etc/pki/libvirt-nbd", "nbd_tls_x509_cert_dir", "nbd_tls", "[client]"},
		{LibvirtMigrate, "/etc/pki/libvirt-migrate", "migrate_tls_x509_cert_dir", "", "[server client]"},
		{LibvirtBackup, "/etc/pki/libvirt-backup", "backup_tls_x509_cert_dir", "", "[server]"},
	})
	if Service("gopher").Known() || !QEMU.Known() {
		t.Error("qemu is a service, gopher is none")
	}
}

// describe writes an entry in one line: PATH OWNER:GROUP MODE LABEL.
func describe(e Entry) string {
	line := fmt.Sprintf("%s %s:%s %04o %s", e.Path, e.Owner, e.Group, e.Mode, e.SELinux)
	if e.Type == "directory" {
		line = strings.Replace(line, " ", "/ ", 1)
	}
	if e.Secret {
		line += " secret"
	}
	return strings.TrimSpace(line)
}

// Who may read what: keys of QEMU by its group, of libvirt by root, of a
// person by that person.
func TestEntries(t *testing.T) {
	tests := []struct {
		name string
		loc  Location
		want []string // directories that lead to the server's key, its certificate, the key
	}{
		{"qemu", System(QEMU, ""), []string{
			"/etc/pki/ root:root 0755 cert_t",
			"/etc/pki/qemu/ root:@qemu 0750 cert_t",
			"/etc/pki/qemu/server-cert.pem root:root 0644 cert_t",
			"/etc/pki/qemu/server-key.pem root:@qemu 0640 cert_t secret",
		}},
		{"libvirt", System(Libvirt, ""), []string{
			"/etc/pki/ root:root 0755 cert_t",
			"/etc/pki/libvirt/ root:root 0755 cert_t",
			"/etc/pki/libvirt/private/ root:root 0755 cert_t",
			"/etc/pki/libvirt/servercert.pem root:root 0644 cert_t",
			"/etc/pki/libvirt/private/serverkey.pem root:root 0600 cert_t secret",
		}},
		{"vnc", System(LibvirtVNC, ""), []string{
			"/etc/pki/ root:root 0755 cert_t",
			"/etc/pki/libvirt-vnc/ root:@qemu 0750 cert_t",
			"/etc/pki/libvirt-vnc/server-cert.pem root:root 0644 cert_t",
			"/etc/pki/libvirt-vnc/server-key.pem root:@qemu 0640 cert_t secret",
		}},
		{"elsewhere", System(QEMU, "/srv/tls/qemu"), []string{
			"/srv/tls/qemu/ root:@qemu 0750 cert_t",
			"/srv/tls/qemu/server-cert.pem root:root 0644 cert_t",
			"/srv/tls/qemu/server-key.pem root:@qemu 0640 cert_t secret",
		}},
		{"home", Home(Libvirt, ""), []string{
			".pki/ @user:@user 0700",
			".pki/libvirt/ @user:@user 0700",
			".pki/libvirt/servercert.pem @user:@user 0600",
			".pki/libvirt/serverkey.pem @user:@user 0600  secret",
		}},
		{"a home directory", Home(QEMU, "/home/eve"), []string{
			"/home/eve/.pki/ @user:@user 0700",
			"/home/eve/.pki/qemu/ @user:@user 0700",
			"/home/eve/.pki/qemu/server-cert.pem @user:@user 0600",
			"/home/eve/.pki/qemu/server-key.pem @user:@user 0600  secret",
		}},
		{"the root directory", System(QEMU, "/"), []string{
			"/server-cert.pem root:root 0644 cert_t",
			"/server-key.pem root:@qemu 0640 cert_t secret",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			key := tt.loc.Key(Server, NoIndex)
			for _, e := range tt.loc.Directories(key) {
				got = append(got, describe(e))
			}
			got = append(got, describe(tt.loc.File(tt.loc.Cert(Server, NoIndex))), describe(tt.loc.Secret(key)))
			check(t, "entries", got, tt.want)
		})
	}
}

func TestPSKPlaces(t *testing.T) {
	loc := System(QEMU, "")
	check(t, "server", PSKServer(loc)+"/"+PSKFile, "/etc/pki/qemu/psk-server/keys.psk")
	check(t, "client", PSKClient(loc, "kvm1.example.com")+"/"+PSKFile, "/etc/pki/qemu/psk-client/kvm1.example.com/keys.psk")
	check(t, "person", PSKClient(Home(QEMU, ""), "kvm1"), ".pki/qemu/psk-client/kvm1")
	var got []string
	for _, d := range loc.Directories(PSKServer(loc) + "/" + PSKFile) {
		got = append(got, describe(d))
	}
	check(t, "directories", got, []string{
		"/etc/pki/ root:root 0755 cert_t", "/etc/pki/qemu/ root:@qemu 0750 cert_t", "/etc/pki/qemu/psk-server/ root:@qemu 0750 cert_t",
	})
}

func TestConflict(t *testing.T) {
	tests := []struct {
		name      string
		locations []Location
		at        string
	}{
		{name: "nothing"},
		{name: "defaults", locations: allDefaults()},
		{name: "elsewhere", locations: []Location{System(Libvirt, "/srv/a/libvirt"), System(QEMU, "/srv/a/qemu"), System(LibvirtVNC, "/srv/a/vnc")}},
		{name: "the same", locations: []Location{System(QEMU, "/srv/a"), System(LibvirtVNC, "/srv/a")}, at: "/srv/a/ca-cert.pem"},
		{name: "below one that others may not enter", locations: []Location{System(QEMU, "/srv/a"), System(LibvirtVNC, "/srv/a/vnc")}},
		{name: "one directory, two modes", locations: []Location{System(QEMU, "/srv/a"), System(Libvirt, "/srv/a")}, at: "/srv/a"},
		{name: "libvirt's own", locations: []Location{System(Libvirt, ""), System(QEMU, "/etc/pki/libvirt")}, at: "/etc/pki/libvirt"},
		{name: "the parent of libvirt's", locations: []Location{System(QEMU, "/etc/pki"), System(Libvirt, "")}, at: "/etc/pki"},
		{name: "a file of the other", locations: []Location{System(QEMU, "/srv/a"), System(LibvirtVNC, "/srv/a/ca-cert.pem")}, at: "/srv/a/ca-cert.pem"},
		{name: "the pre-shared keys", locations: []Location{System(QEMU, "/srv/a"), System(Libvirt, "/srv/a/psk-server/keys.psk")}, at: "/srv/a/psk-server/keys.psk"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, a, b := Conflict(tt.locations)
			check(t, "conflict", at, tt.at)
			if (at == "") != (a == "" && b == "") {
				t.Errorf("conflict at %q between %q and %q", at, a, b)
			}
		})
	}
}

func allDefaults() (all []Location) {
	for _, s := range Services() {
		all = append(all, System(s, ""))
	}
	return all
}
