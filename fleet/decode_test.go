package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"virtls/finding"
	"virtls/layout"
)

const everyField = `organization: Example Org
authority:
  name: Example Authority
  country: DE
  state: Hessen
  locality: Kassel
  organization: Example Trust
  unit: PKI
  key: p384
  days: 7300
  crl-days: 7
  trust: [old-ca.pem]
pqc: hybrid
defaults:
  country: GB
  state: Kent
  locality: Dover
  organization: Example Ltd
  unit: Cloud
  key: ed25519
  days: 90
  uses: [libvirt, qemu]
  platform: debian-13
hosts:
  - name: kvm1.example.com
    names: [migration.example.com, "*.example.net"]
    addresses: [192.0.2.1, "2001:db8::1"]
    country: FR
    state: Nord
    locality: Lille
    organization: Example SA
    unit: Lab
    uses:
      libvirt: server
      qemu: {roles: [server, client], dir: /srv/tls/qemu}
      libvirt-vnc:
    key: rsa4096
    days: 30
    allow: [admin, kvm1.example.com]
    platform: fedora
    qemu: 11.1
    libvirt: 12.8
    gnutls: 3.8.13
    ml-dsa: true
    qemu-user: kvm-user
    qemu-group: kvm-group
clients:
  - name: admin
    country: ES
    state: Jaen
    locality: Ubeda
    organization: Example SL
    unit: Ops
    uses: [qemu]
    system: true
    key: p521
    days: 7
    ml-dsa: true
psk:
  - user: rich
    servers: [kvm1.example.com]
    holders: [admin]
`

func TestEveryField(t *testing.T) {
	yes := true
	got := parse(t, everyField)
	want := &File{
		Organization: "Example Org",
		Authority: Authority{
			Name: "Example Authority", Key: "p384", Days: 7300, CRLDays: 7, Trust: []string{"old-ca.pem"},
			Subject: Subject{Country: "DE", State: "Hessen", Locality: "Kassel", Organization: "Example Trust", Unit: "PKI"},
		},
		PQC: PQCHybrid,
		Defaults: Defaults{
			Subject: Subject{Country: "GB", State: "Kent", Locality: "Dover", Organization: "Example Ltd", Unit: "Cloud"},
			Key:     "ed25519", Days: 90, Platform: "debian-13",
			Uses: Uses{
				{Service: "libvirt", Roles: []layout.Role{layout.Server, layout.Client}, Shared: true},
				{Service: "qemu", Roles: []layout.Role{layout.Server, layout.Client}, Shared: true},
			},
		},
		Hosts: []Host{{
			Name: "kvm1.example.com", Names: []string{"migration.example.com", "*.example.net"}, Addresses: []string{"192.0.2.1", "2001:db8::1"},
			Subject: Subject{Country: "FR", State: "Nord", Locality: "Lille", Organization: "Example SA", Unit: "Lab"},
			Uses: Uses{
				{Service: "libvirt", Roles: []layout.Role{layout.Server}},
				{Service: "qemu", Roles: []layout.Role{layout.Server, layout.Client}, Dir: "/srv/tls/qemu"},
				{Service: "libvirt-vnc", Roles: []layout.Role{layout.Server}},
			},
			Key: "rsa4096", Days: 30, Allow: []string{"admin", "kvm1.example.com"}, Platform: "fedora",
			QEMU: "11.1", Libvirt: "12.8", GnuTLS: "3.8.13", MLDSA: &yes, QEMUUser: "kvm-user", QEMUGroup: "kvm-group",
		}},
		Clients: []Client{{
			Name: "admin", Subject: Subject{Country: "ES", State: "Jaen", Locality: "Ubeda", Organization: "Example SL", Unit: "Ops"},
			Uses: ClientUse{"qemu"}, System: true, Key: "p521", Days: 7, MLDSA: &yes,
		}},
		PSK: []PSKUser{{User: "rich", Servers: []string{"kvm1.example.com"}, Holders: []string{"admin"}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(File{})); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	for _, path := range zeroFields(reflect.ValueOf(*got), "") {
		t.Errorf("%s is not tested: everyField does not set it", path)
	}
}

// zeroFields lists the YAML fields of a struct that have no value.
func zeroFields(v reflect.Value, path string) (list []string) {
	switch v.Kind() {
	case reflect.Struct:
		for name, f := range fieldsOf(v) {
			list = append(list, zeroFields(f, join(path, name))...)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return []string{path}
		}
		if v.Type() != reflect.TypeFor[Uses]() {
			return zeroFields(v.Index(0), path+"[0]")
		}
	default:
		if v.IsZero() {
			return []string{path}
		}
	}
	return list
}

func TestDefaults(t *testing.T) {
	f := parse(t, "organization: Acme\nhosts: [{name: h}]\nclients: [{name: c}]\n")
	both := []layout.Role{layout.Server, layout.Client}
	check(t, "authority", f.Authority, Authority{Name: "Acme CA", Key: "ec", Days: 3650, CRLDays: 30})
	check(t, "pqc", f.PQC, PQCOff)
	check(t, "host", f.Hosts[0], Host{
		Name: "h", Subject: Subject{Organization: "Acme"}, Key: "ec", Days: 365,
		Uses: Uses{{Service: "libvirt", Roles: both, Shared: true}, {Service: "qemu", Roles: both, Shared: true}},
	})
	check(t, "client", f.Clients[0], Client{Name: "c", Subject: Subject{Organization: "Acme"}, Key: "ec", Days: 365, Uses: ClientUse{"libvirt", "qemu"}})
}

// What each field may be written as.
func TestForms(t *testing.T) {
	server, client := layout.Server, layout.Client
	both := []layout.Role{server, client}
	uses := map[string]Uses{
		"[libvirt, libvirt-nbd]":            {{Service: "libvirt", Roles: both, Shared: true}, {Service: "libvirt-nbd", Roles: []layout.Role{client}}},
		"qemu":                              {{Service: "qemu", Roles: both, Shared: true}},
		"{qemu: both}":                      {{Service: "qemu", Roles: both, Shared: true}},
		"{qemu: }":                          {{Service: "qemu", Roles: both, Shared: true}},
		"{qemu: {}}":                        {{Service: "qemu", Roles: both, Shared: true}},
		"{qemu: {roles: ~, dir: /srv/x/y}}": {{Service: "qemu", Roles: both, Shared: true, Dir: "/srv/x/y"}},
		"{qemu: client}":                    {{Service: "qemu", Roles: []layout.Role{client}}},
		"{qemu: [client, server]}":          {{Service: "qemu", Roles: []layout.Role{client, server}}},
		"{libvirt-vnc: server, libvirt: {roles: both}}": {{Service: "libvirt-vnc", Roles: []layout.Role{server}}, {Service: "libvirt", Roles: both, Shared: true}},
		"[]": {},
	}
	for text, want := range uses {
		check(t, "uses: "+text, parse(t, "organization: A\nhosts: [{name: h, uses: "+text+"}]").Hosts[0].Uses, want)
	}
	for text, want := range map[string]PQC{"off": PQCOff, "'off'": PQCOff, "no": PQCOff, "false": PQCOff, "~": PQCOff, "hybrid": PQCHybrid, "exclusive": PQCExclusive} {
		check(t, "pqc: "+text, parse(t, "organization: A\npqc: "+text).PQC, want)
	}
	// YAML would make other things of these.
	f := parse(t, "organization: 1e3\nhosts: [{name: 0x10, country: 'NO', libvirt: 9.10, unit: yes}]")
	check(t, "texts", []string{f.Organization, f.Hosts[0].Name, f.Hosts[0].Subject.Country, f.Hosts[0].Libvirt, f.Hosts[0].Subject.Unit},
		[]string{"1e3", "0x10", "NO", "9.10", "yes"})
	// Anchors may stand for anything.
	f = parse(t, `
organization: &o A
defaults: {uses: &u {libvirt: &r [server], qemu: *r}, unit: *o}
hosts: [&h {name: h, names: &n [a.b]}, {name: i, names: *n, uses: *u}]
`)
	check(t, "uses by alias", f.Hosts[1].Uses, Uses{{Service: "libvirt", Roles: []layout.Role{server}}, {Service: "qemu", Roles: []layout.Role{server}}})
	check(t, "names by alias", f.Hosts[1].Names, []string{"a.b"})
	check(t, "unit by alias", f.Hosts[0].Subject.Unit, "A")
}

// bomb is a file that grows to 10^9 hosts.
func bomb() string {
	text := "organization: A\nauthority: {trust: &a0 [x]}\n"
	for i := range 9 {
		name := string(rune('0' + i))
		text += "hosts" + name + ": &a" + string(rune('1'+i)) + " [" + strings.Repeat("*a"+name+",", 10) + "]\n"
	}
	return text
}

// Every error names file, line and what was meant.
func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, text string
		at         string // subject of the finding
		kind       *finding.Kind
		want       string // in its text
	}{
		{"empty", "", "fleet.yaml:1", kindFleetSyntax, "not valid YAML: the file is empty"},
		{"comment alone", "# nothing\n", "fleet.yaml:1", kindFleetSyntax, "not valid YAML: the file is empty"},
		{"unclosed list", "a: [b\n", "fleet.yaml:1", kindFleetSyntax, "not valid YAML: did not find expected ',' or ']'"},
		{"unclosed list below", "a: [b,\n  c]\nd: 1\ne: [f,\n  g\nh: 2\n", "fleet.yaml:5", kindFleetSyntax, "did not find expected ',' or ']'"},
		{"unclosed quote", "a: 1\nb: \"c\nd: 2\n", "fleet.yaml:2", kindFleetSyntax, "unexpected end of stream"},
		{"tab", "a:\n\tb: c\n", "fleet.yaml:2", kindFleetSyntax, "cannot start any token"},
		{"bad indentation", "a: 1\nb:\n  - c: 1\n    d: 2\n   e: 3\n", "fleet.yaml:5", kindFleetSyntax, "did not find expected"},
		{"less indentation", "hosts:\n    - name: h\n  days: 3\n", "fleet.yaml:3", kindFleetSyntax, "did not find expected"},
		{"colon in text", "a: 1\nb: c: d\n", "fleet.yaml:2", kindFleetSyntax, "mapping values are not allowed"},
		{"in the first line", "a: b: c\n", "fleet.yaml:1", kindFleetSyntax, "mapping values are not allowed"},
		{"in the last line, without its end", "a: 1\nb: c: d", "fleet.yaml:2", kindFleetSyntax, "mapping values are not allowed"},
		{"unknown anchor", "a: 1\nb: *c\n", "fleet.yaml:2", kindFleetSyntax, "unknown anchor 'c'"},
		{"no UTF-8", "a: 1\nb: \xff\n", "fleet.yaml:2", kindFleetSyntax, "UTF-8"},
		{"control character", "a: 1\n\nb: \x01\n", "fleet.yaml:3", kindFleetSyntax, "control characters"},
		{"two documents", "organization: A\n---\norganization: B\n", "fleet.yaml:2", kindFleetSyntax, "a second document follows"},
		{"broken second document", "organization: A\n---\n\na: b: c\n", "fleet.yaml:4", kindFleetSyntax, "mapping values"},
		{"a list", "- a\n", "fleet.yaml:1", kindFleetValue, "the file: found a list, want a map of fields"},
		{"a word", "hello\n", "fleet.yaml:1", kindFleetValue, `the file: found "hello", want a map`},
		{"deep", strings.Repeat("[", 80) + strings.Repeat("]", 80), "fleet.yaml:1", kindFleetSyntax, "nested too deeply"},
		{"alias of itself", "organization: A\nhosts: &a [*a]\n", "fleet.yaml:2", kindFleetSyntax, "aliases make it too large"},
		{"alias bomb", bomb(), "fleet.yaml:2", kindFleetSyntax, "aliases make it too large"},

		{"unknown field", "organisation: A\n", "fleet.yaml:1", kindFleetField, `unknown field "organisation"; did you mean "organization"?`},
		{"unknown field below", "organization: A\nhosts:\n  - name: h\n    adresses: []\n", "fleet.yaml:4", kindFleetField, `unknown field "adresses" in hosts[0]; did you mean "addresses"?`},
		{"swapped letters", "organization: A\ndefaults:\n  dyas: 3\n", "fleet.yaml:3", kindFleetField, `did you mean "days"?`},
		{"wrong case", "organization: A\ndefaults:\n  Country: GB\n", "fleet.yaml:3", kindFleetField, `did you mean "country"?`},
		{"nothing near", "organization: A\nzzzzzz: 1\n", "fleet.yaml:2", kindFleetField, `unknown field "zzzzzz"`},
		{"merge key", "organization: A\ndefaults: {<<: {days: 1}}\n", "fleet.yaml:2", kindFleetField, `unknown field "<<" in defaults`},
		{"field twice", "organization: A\ndefaults:\n  days: 1\n  days: 2\n", "fleet.yaml:4", kindFleetField, `field "days" stands here and in line 3`},
		{"map for a list", "organization: A\nhosts:\n  name: h\n", "fleet.yaml:3", kindFleetValue, "hosts: found a map, want a list"},
		{"list for a map", "organization: A\nauthority: []\n", "fleet.yaml:2", kindFleetValue, "authority: found a list, want a map of fields"},
		{"text for a host", "organization: A\nhosts: [kvm1]\n", "fleet.yaml:2", kindFleetValue, `hosts[0]: found "kvm1", want a map of fields: {name: kvm1}`},
		{"text for a list", "organization: A\nhosts: [{name: h, addresses: 192.0.2.1}]\n", "fleet.yaml:2", kindFleetValue, `found "192.0.2.1", want a list: [192.0.2.1]`},
		{"list for text", "organization: [A]\n", "fleet.yaml:1", kindFleetValue, "organization: found a list, want text"},
		{"text for a number", "organization: A\ndefaults: {days: many}\n", "fleet.yaml:2", kindFleetValue, `defaults.days: found "many", want a whole number`},
		{"fraction", "organization: A\ndefaults: {days: 1.5}\n", "fleet.yaml:2", kindFleetValue, `found "1.5", want a whole number`},
		{"no days", "organization: A\ndefaults: {days: 0}\n", "fleet.yaml:2", kindFleetValue, `found "0", want a whole number, 1 or more`},
		{"negative days", "organization: A\nauthority: {days: -1}\n", "fleet.yaml:2", kindFleetValue, `authority.days: found "-1"`},
		{"too many days", "organization: A\nauthority: {crl-days: 1000000}\n", "fleet.yaml:2", kindFleetValue, "authority.crl-days: 1000000 days: want 1 to 36600"},
		{"text for a choice", "organization: A\nclients: [{name: c, system: maybe}]\n", "fleet.yaml:2", kindFleetValue, `found "maybe", want true or false`},
		{"text for ml-dsa", "organization: A\nhosts: [{name: h, ml-dsa: perhaps}]\n", "fleet.yaml:2", kindFleetValue, `hosts[0].ml-dsa: found "perhaps"`},

		{"pqc misspelt", "organization: A\npqc: hybird\n", "fleet.yaml:2", kindFleetValue, `pqc: unknown choice "hybird"; did you mean "hybrid"?`},
		{"pqc list", "organization: A\npqc: [hybrid]\n", "fleet.yaml:2", kindFleetValue, "pqc: found a list, want off, hybrid or exclusive"},
		{"pqc empty", "organization: A\npqc: ''\n", "fleet.yaml:2", kindFleetValue, `pqc: unknown choice ""`},

		{"service misspelt", "organization: A\nhosts:\n  - name: h\n    uses:\n      - libvrt\n", "fleet.yaml:5", kindFleetValue, `hosts[0].uses: unknown service "libvrt"; did you mean "libvirt"?`},
		{"service twice", "organization: A\ndefaults:\n  uses: [qemu,\n    qemu]\n", "fleet.yaml:4", kindFleetValue, "service qemu is listed twice"},
		{"service in a list with roles", "organization: A\ndefaults: {uses: [{qemu: server}]}\n", "fleet.yaml:2", kindFleetValue, "found a map, want the name of a service"},
		{"role misspelt", "organization: A\ndefaults: {uses: {qemu: sever}}\n", "fleet.yaml:2", kindFleetValue, `unknown role "sever"; did you mean "server"?`},
		{"role list in a list", "organization: A\ndefaults: {uses: {qemu: [[server]]}}\n", "fleet.yaml:2", kindFleetValue, "unknown role a list"},
		{"role twice", "organization: A\ndefaults: {uses: {qemu: [server, server]}}\n", "fleet.yaml:2", kindFleetValue, "role server is listed twice"},
		{"no role", "organization: A\ndefaults: {uses: {qemu: []}}\n", "fleet.yaml:2", kindFleetValue, "qemu has no roles"},
		{"role never used", "organization: A\ndefaults: {uses: {libvirt-nbd: server}}\n", "fleet.yaml:2", kindFleetValue, "libvirt-nbd is never used as server"},
		{"both of one", "organization: A\ndefaults: {uses: {libvirt-vnc: both}}\n", "fleet.yaml:2", kindFleetValue, "libvirt-vnc is used as server only"},
		{"use field misspelt", "organization: A\ndefaults:\n  uses:\n    qemu:\n      rols: both\n", "fleet.yaml:5", kindFleetValue, `unknown field "rols" in qemu; did you mean "roles"?`},
		{"use field twice", "organization: A\ndefaults:\n  uses:\n    qemu: {roles: both, roles: server}\n", "fleet.yaml:4", kindFleetValue, `field "roles" stands twice in qemu`},
		{"relative dir", "organization: A\ndefaults: {uses: {qemu: {dir: pki}}}\n", "fleet.yaml:2", kindFleetValue, `dir: found "pki", want an absolute path`},
		{"list for dir", "organization: A\ndefaults: {uses: {qemu: {dir: [/x/y]}}}\n", "fleet.yaml:2", kindFleetValue, "dir: found a list, want an absolute path"},
		{"client's service", "organization: A\nclients: [{name: c, uses: [libvirt-vnc]}]\n", "fleet.yaml:2", kindFleetValue, "a client uses libvirt, qemu or both"},
		{"client's service twice", "organization: A\nclients: [{name: c, uses: [qemu, qemu]}]\n", "fleet.yaml:2", kindFleetValue, "service qemu is listed twice"},
		{"client's uses as a map", "organization: A\nclients: [{name: c, uses: {libvirt: qemu}}]\n", "fleet.yaml:2", kindFleetValue, "found a map, want a list of services"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("fleet.yaml", []byte(tt.text))
			if err == nil {
				t.Fatal("accepted")
			}
			checkFailure(t, err, tt.kind, finding.ExitWrong)
			f := failure(t, err)
			check(t, "subject", f.Subject, tt.at)
			if !strings.Contains(f.Text, tt.want) {
				t.Errorf("text %q, want %q in it", f.Text, tt.want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	f, err := Load(exampleFile)
	must(t, err)
	check(t, "hosts and clients", []int{len(f.Hosts), len(f.Clients), len(f.PSK)}, []int{2, 2, 1})
	_, err = Load(filepath.Join(t.TempDir(), "none.yaml"))
	checkFailure(t, err, kindFleetUnreadable, finding.ExitUnable)
	_, err = Load(t.TempDir())
	checkFailure(t, err, kindFleetUnreadable, finding.ExitUnable)
	large := filepath.Join(t.TempDir(), "large.yaml")
	must(t, os.WriteFile(large, nil, 0o600))
	must(t, os.Truncate(large, maxFleetFile+1))
	_, err = Load(large)
	checkFailure(t, err, kindFleetUnreadable, finding.ExitWrong)
}

// The nearest line that is in the file stands for a field that is not.
func TestLines(t *testing.T) {
	f := parse(t, everyField)
	lines := strings.Split(everyField, "\n")
	for path, want := range map[string]string{
		"pqc": "pqc: hybrid", "hosts[0].name": "kvm1", "hosts[0].addresses[1]": "2001:db8", "clients[0].system": "system: true",
		"psk[0].holders[0]": "holders:", "hosts[0].uses.nothing": "uses:",
	} {
		at := strings.TrimPrefix(f.at(path), "fleet.yaml:")
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, want) })
		if want == "uses:" {
			i += slices.IndexFunc(lines[i+1:], func(l string) bool { return strings.Contains(l, want) }) + 1
		}
		if at != strconv.Itoa(i+1) {
			t.Errorf("%s is in line %s, want %d", path, at, i+1)
		}
	}
	check(t, "nowhere", f.at("nothing"), "fleet.yaml")
}

// Aliases may share what many hosts have; they may not make much of little.
func TestAliasGrowth(t *testing.T) {
	shared := "organization: A\ndefaults: {uses: &u {qemu: both, libvirt: both, libvirt-vnc: {roles: server}, libvirt-spice: {roles: server}, libvirt-nbd: {roles: client}}}\nhosts:\n"
	for i := range 2000 {
		shared += fmt.Sprintf("  - {name: h%d, uses: *u}\n", i)
	}
	check(t, "hosts", len(parse(t, shared).Hosts), 2000)

	names := "[" + strings.Repeat("a.b,", 1000) + "]"
	large := "organization: A\nhosts:\n  - {name: h, names: &n " + names + "}\n" + strings.Repeat("  - {name: h, names: *n}\n", 1000)
	_, err := Parse("fleet.yaml", []byte(large))
	checkFailure(t, err, kindFleetSyntax, finding.ExitWrong)
}
