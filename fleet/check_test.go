package fleet

import (
	"fmt"
	"strings"
	"testing"

	"virtls/finding"
)

// Values that could not work, or that would be dangerous as paths, in
// configuration files or in a shell, are refused where they stand.
func TestCheckErrors(t *testing.T) {
	long := strings.Repeat("x", 200)
	tests := []struct {
		name, text string
		line       int
		want       string
	}{
		{"no organization", "hosts: []", 0, "organization: is missing"},
		{"long organization", "organization: " + long, 1, "organization: " + fmt.Sprintf("%q is longer than 128", long)},
		{"organization too long for a CN", "organization: " + long[:62], 1, "give the authority a name of its own with authority.name"},
		{"organization with a newline", `organization: "A\nhosts_allow = 1"`, 1, "characters that cannot be printed"},
		{"organization with a wildcard", "organization: 'A*'", 1, "wildcards"},
		{"organization of blanks", "organization: '  '", 1, "organization: \"  \" has blanks"},
		{"invisible organization", `organization: "A\u202eB"`, 1, "cannot be printed"},
		{"authority's name", "organization: A\nauthority: {name: " + long[:65] + "}", 2, "authority.name: "},
		{"authority's name with a wildcard", "organization: A\nauthority: {name: 'C?'}", 2, "authority.name: \"C?\" holds * or ?"},
		{"authority's country", "organization: A\nauthority:\n  country: Germany", 3, `authority.country: "Germany" is not a country: want two capital letters`},
		{"authority's key", "organization: A\nauthority: {key: dsa}", 2, "authority.key: "},
		{"post-quantum key", "organization: A\ndefaults: {key: mldsa65}", 2, "asked for with the field pqc"},
		{"weak key", "organization: A\ndefaults: {key: rsa1024}", 2, "defaults.key: "},
		{"default platform", "organization: A\ndefaults: {platform: debian-21}", 2, `unknown platform "debian-21": want one of debian-12, debian-13, debian-forky`},
		{"nearest platform", "organization: A\ndefaults: {platform: fedroa}", 2, `did you mean "fedora"?`},
		{"state", "organization: A\ndefaults: {state: " + long + "}", 2, "defaults.state: "},
		{"locality", "organization: A\ndefaults:\n  locality: 'Ham*'", 3, "defaults.locality: "},
		{"unit", `organization: A` + "\n" + `defaults: {unit: "\x7f"}`, 2, "defaults.unit: "},

		{"host without name", "organization: A\nhosts:\n  - names: [a.b]", 3, "hosts[0].name: is missing"},
		{"null host", "organization: A\nhosts: [~]", 2, "hosts[0].name: is missing"},
		{"host twice", "organization: A\nhosts:\n  - name: a.b\n  - name: A.B", 4, `hosts[1].name: "A.B" is already the name of hosts[0]`},
		{"client and host", "organization: A\nhosts: [{name: a.b}]\nclients: [{name: a.b}]", 3, `clients[0].name: "a.b" is already the name of hosts[0]`},
		{"long host", "organization: A\nhosts: [{name: " + long[:30] + "." + long[:40] + "}]", 2, "use a shorter name here and put the long one into names"},
		{"host with a dot at the end", "organization: A\nhosts: [{name: a.b.}]", 2, "ends in a dot"},
		{"host that is no DNS name", "organization: A\nhosts: [{name: a:b}]", 2, "is not a DNS name"},
		{"wildcard host", "organization: A\nhosts: [{name: '*.a.b'}]", 2, "may hold only letters, digits"},
		{"international host", "organization: A\nhosts: [{name: käse.de}]", 2, "may hold only letters, digits"},
		{"long label", "organization: A\nhosts: [{name: a.b, names: [" + long[:64] + ".c]}]", 2, "is not a DNS name"},
		{"long name", "organization: A\nhosts: [{name: a.b, names: [" + strings.Repeat("abc.", 63) + "de]}]", 2, "longer than 253"},
		{"empty name", "organization: A\nhosts: [{name: a.b, names: ['']}]", 2, "hosts[0].names[0]: "},
		{"dot alone", "organization: A\nhosts: [{name: a.b, names: ['.']}]", 2, "hosts[0].names[0]: "},
		{"address among names", "organization: A\nhosts: [{name: a.b, names: [192.0.2.1]}]", 2, "addresses go into addresses"},
		{"wildcard with two labels", "organization: A\nhosts: [{name: a.b, names: ['*.b']}]", 2, "a wildcard matches only"},
		{"wildcard inside", "organization: A\nhosts: [{name: a.b, names: ['a.*.b']}]", 2, "a wildcard matches only"},
		{"half a wildcard", "organization: A\nhosts: [{name: a.b, names: ['a*.b.c']}]", 2, "is not a DNS name"},
		{"name among addresses", "organization: A\nhosts: [{name: a.b, addresses: [c.d]}]", 2, "host names go into names"},
		{"network among addresses", "organization: A\nhosts: [{name: a.b, addresses: [192.0.2.0/24]}]", 2, "is not an IPv4 or IPv6 address"},
		{"zone", "organization: A\nhosts: [{name: a.b, addresses: ['fe80::1%eth0']}]", 2, "has a zone"},
		{"unspecified address", "organization: A\nhosts: [{name: a.b, addresses: ['::']}]", 2, "is no address that anybody connects to"},
		{"host's key", "organization: A\nhosts: [{name: a.b, key: ed448}]", 2, "hosts[0].key: "},
		{"host's days", "organization: A\nhosts: [{name: a.b, days: 99999}]", 2, "hosts[0].days: 99999 days: want 1 to"},
		{"host's platform", "organization: A\nhosts: [{name: a.b, platform: debian}]", 2, "hosts[0].platform: unknown platform"},
		{"version", "organization: A\nhosts: [{name: a.b, qemu: v11}]", 2, `hosts[0].qemu: "v11" is not a version number`},
		{"libvirt's version", "organization: A\nhosts: [{name: a.b, libvirt: 12.x}]", 2, "hosts[0].libvirt: "},
		{"GnuTLS's version", "organization: A\nhosts: [{name: a.b, gnutls: '3.8.'}]", 2, "hosts[0].gnutls: "},
		{"user", "organization: A\nhosts: [{name: a.b, qemu-user: 'root;id'}]", 2, "hosts[0].qemu-user: "},
		{"group", `organization: A` + "\n" + `hosts: [{name: a.b, qemu-group: "a\nb"}]`, 2, "hosts[0].qemu-group: "},
		{"group with a command", "organization: A\nhosts: [{name: a.b, qemu-group: '$(id)'}]", 2, "is not a user or group name"},

		{"allow", "organization: A\nhosts:\n  - name: a.b\n    allow: [admni]\nclients: [{name: admin}]", 4, `hosts[0].allow[0]: there is no client or host "admni" in this file; did you mean "admin"?`},
		{"allow by the short name", "organization: A\nhosts: [{name: kvm1.a.b, allow: [kvm2]}, {name: kvm2.a.b}]", 2, `there is no client or host "kvm2" in this file; did you mean "kvm2.a.b"?`},
		{"allow in another case", "organization: A\nhosts: [{name: a.b, allow: [A.B]}]", 2, `there is no client or host "A.B" in this file; did you mean "a.b"?`},
		{"allow twice", "organization: A\nhosts: [{name: a.b, allow: [a.b, a.b]}]", 2, `hosts[0].allow[1]: "a.b" is listed twice`},

		{"psk without user", "organization: A\nhosts: [{name: h}]\npsk: [{servers: [h], holders: [h]}]", 3, "psk[0].user: "},
		{"psk user with a colon", "organization: A\nhosts: [{name: h}]\npsk: [{user: 'a:b', servers: [h], holders: [h]}]", 3, "psk[0].user: "},
		{"psk user twice", "organization: A\nhosts: [{name: h}, {name: i}]\npsk:\n  - {user: a, servers: [h], holders: [i]}\n  - {user: a, servers: [i], holders: [h]}", 5, `psk[1].user: "a" is listed twice`},
		{"psk without servers", "organization: A\nhosts: [{name: h}]\npsk: [{user: a, holders: [h]}]", 3, "psk[0].servers: is missing"},
		{"psk without holders", "organization: A\nhosts: [{name: h}]\npsk: [{user: a, servers: [h]}]", 3, "psk[0].holders: is missing"},
		{"psk server", "organization: A\nhosts: [{name: host}]\nclients: [{name: c}]\npsk: [{user: a, servers: [hots], holders: [c]}]", 4, `psk[0].servers[0]: there is no host "hots" in this file; did you mean "host"?`},
		{"psk server that is a client", "organization: A\nhosts: [{name: h}]\nclients: [{name: c}]\npsk: [{user: a, servers: [c], holders: [h]}]", 4, "psk[0].servers[0]: there is no host"},
		{"psk holder", "organization: A\nhosts: [{name: h}]\npsk: [{user: a, servers: [h], holders: [H]}]", 3, `psk[0].holders[0]: there is no client or host "H"`},
		{"psk server twice", "organization: A\nhosts: [{name: h}, {name: i}]\npsk: [{user: a, servers: [h, h], holders: [i]}]", 3, "psk[0].servers[1]: \"h\" is listed twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("fleet.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("accepted")
			}
			checkFailure(t, err, kindFleetValue, finding.ExitWrong)
			f := failure(t, err)
			want := "fleet.yaml"
			if tt.line > 0 {
				want += fmt.Sprintf(":%d", tt.line)
			}
			check(t, "subject", f.Subject, want)
			if !strings.Contains(f.Text, tt.want) {
				t.Errorf("text %q, want %q in it", f.Text, tt.want)
			}
		})
	}
}

// Names become directories and entries of access lists.
func TestDangerousNames(t *testing.T) {
	for _, name := range []string{
		".", "..", "...", "../x", "a/b", "/etc", "a/../b", `a\b`, "-rf", ".hidden", "a b", "a\tb", "a'b", `a"b`, "a;b", "a$b", "a`b`", "a*", "a?",
		"a\x00b", "a\nb", "a,b", "CN=a", "a&b", "a|b", "<a>", "a#b", "~root", "%s", "ä", "a\u200bb", "!a", "(a)", "[a]", "{a}", "a=b", "a+b",
	} {
		for _, text := range []string{"clients: [{name: %s}]", "hosts: [{name: %s}]", "hosts: [{name: h, names: [%s]}]"} {
			if _, err := Parse("f", []byte("organization: A\n"+fmt.Sprintf(text, quoteYAML(name)))); err == nil {
				t.Errorf("%s is accepted as %q", text, name)
			}
		}
	}
	for _, name := range []string{"admin", "backup-2", "eve@example.com", "node_7", "a", "A.B", "x:y", "0"} {
		if _, err := Parse("f", []byte("organization: A\nclients: [{name: "+quoteYAML(name)+"}]")); err != nil {
			t.Errorf("client %q: %v", name, err)
		}
	}
	for _, name := range []string{"kvm1", "kvm1.example.com", "KVM-1.Example.COM", "kvm_1.a", "192.0.2.1", "2001:db8::1", "xn--kse-qla.de"} {
		if _, err := Parse("f", []byte("organization: A\nhosts: [{name: "+quoteYAML(name)+"}]")); err != nil {
			t.Errorf("host %q: %v", name, err)
		}
	}
}

// quoteYAML writes a string as YAML's double-quoted form.
func quoteYAML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r < ' ' || r == '"' || r == '\\' || r > '~' {
			fmt.Fprintf(&b, `\U%08x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// Directories become parts of settings, arguments and commands, and their owner
// and mode are set.
func TestDirectories(t *testing.T) {
	tests := []struct{ uses, want string }{
		{"{qemu: {dir: /}}", "/ belongs to others too"},
		{"{qemu: {dir: /etc}}", "/etc belongs to others too"},
		{"{qemu: {dir: /activate}}", "belongs to others too"},
		{"{qemu: {dir: //etc/pki/}}", "/etc/pki belongs to others too"},
		{"{qemu: {dir: /a/../etc/./pki}}", "/etc/pki belongs to others too"},
		{"{qemu: {dir: /a/../..}}", "belongs to others too"},
		{"{libvirt: {dir: /etc/ssl/certs}}", "belongs to others too"},
		{`{qemu: {dir: "/srv/a b"}}`, "may hold only letters"},
		{`{qemu: {dir: "/srv/a\nb"}}`, "may hold only letters"},
		{`{qemu: {dir: '/srv/a"b'}}`, "may hold only letters"},
		{`{qemu: {dir: "/srv/a'b"}}`, "may hold only letters"},
		{"{qemu: {dir: '/srv/a,b'}}", "may hold only letters"},
		{"{qemu: {dir: '/srv/$(id)'}}", "may hold only letters"},
		{"{qemu: {dir: /srv/a}, libvirt-vnc: {dir: /srv/a}}", "qemu and libvirt-vnc both have /srv/a/ca-cert.pem"},
		{"{libvirt: both, qemu: {dir: /etc/pki/libvirt}}", "libvirt and qemu both have /etc/pki/libvirt"},
		{"{libvirt-vnc: server, qemu: {dir: /etc/pki/libvirt-vnc}}", "both have /etc/pki/libvirt-vnc/ca-cert.pem"},
		{"{qemu: {dir: /srv/a}, libvirt: {dir: /srv/b}, libvirt-vnc: {dir: /srv/a/vnc}}", ""},
		{"{qemu: {dir: /etc/pki/virtls-1.0/qemu_x+y}}", ""},
	}
	for _, tt := range tests {
		t.Run(tt.uses, func(t *testing.T) {
			for i, text := range []string{"organization: A\nhosts:\n  - name: h\n    uses: " + tt.uses, "organization: A\ndefaults:\n  uses: " + tt.uses} {
				_, err := Parse("fleet.yaml", []byte(text))
				if tt.want == "" {
					must(t, err)
					continue
				}
				if err == nil {
					t.Fatal("accepted")
				}
				checkFailure(t, err, kindFleetValue, finding.ExitWrong)
				f := failure(t, err)
				check(t, "subject", f.Subject, fmt.Sprintf("fleet.yaml:%d", 4-i))
				if !strings.Contains(f.Text, tt.want) {
					t.Errorf("text %q, want %q in it", f.Text, tt.want)
				}
			}
		})
	}
}
