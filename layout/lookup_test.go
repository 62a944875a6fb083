package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"virtls/finding"
)

// tree makes a host of files. A name that ends with a slash is a directory, a
// text that begins with "-> " a link.
func tree(t *testing.T, files map[string]string) Root {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		p := filepath.Join(root, name)
		dir := filepath.Dir(p)
		if strings.HasSuffix(name, "/") {
			dir = p
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(text, "-> "); link {
			err = os.Symlink(target, p)
		} else if dir != p {
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Root(root)
}

// touch lists empty files.
func touch(names ...string) map[string]string {
	files := map[string]string{}
	for _, name := range names {
		files[name] = ""
	}
	return files
}

func codes(list []finding.Finding) []string {
	var codes []string
	for _, f := range list {
		codes = append(codes, f.Code)
	}
	slices.Sort(codes)
	return codes
}

// only returns the one use of an answer.
func only(t *testing.T, f Found) Use {
	t.Helper()
	if len(f.Uses) != 1 {
		t.Fatalf("%d uses, want one", len(f.Uses))
	}
	return f.Uses[0]
}

var (
	user = Account{UID: 1000, Home: "/home/u"}
	root = Account{UID: 0, Home: "/root"}
)

const own = "/home/u/.pki/libvirt/"

var clientCases = []struct {
	name    string
	files   []string
	account Account
	version Version
	pkipath string
	ca, crl string // read
	cert    string // the plain pair's
	dir     string
	codes   []string
}{
	{name: "root", account: root, ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki"},
	{
		name: "root has files in its home", files: []string{"/root/.pki/libvirt/cacert.pem"}, account: root,
		ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki", codes: []string{"home-file-unread"},
	},
	{name: "user with nothing", account: user, ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki"},
	{
		name: "user with all", files: []string{own + "cacert.pem", own + "cacrl.pem", own + "clientcert.pem", own + "clientkey.pem"}, account: user,
		ca: own + "cacert.pem", crl: own + "cacrl.pem", cert: own + "clientcert.pem", dir: "/home/u/.pki/libvirt",
	},
	{
		name: "user's CA only", files: []string{own + "cacert.pem", "/etc/pki/CA/cacert.pem"}, account: user,
		ca: own + "cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", codes: []string{"home-file-shadows"},
	},
	{
		name: "user's CRL only", files: []string{own + "cacrl.pem"}, account: user,
		ca: "/etc/pki/CA/cacert.pem", crl: own + "cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki",
	},
	{
		name:    "user's identity shadows the system's",
		files:   []string{own + "clientcert.pem", own + "clientkey.pem", "/etc/pki/libvirt/clientcert.pem", "/etc/pki/libvirt/private/clientkey.pem"},
		account: user, ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: own + "clientcert.pem", codes: []string{"home-file-shadows"},
	},
	{
		name: "half a pair before 11.10", files: []string{own + "clientcert.pem"}, account: user, version: "11.3",
		ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki", codes: []string{"half-pair-skipped"},
	},
	{
		name: "half a pair since", files: []string{own + "clientkey.pem"}, account: user, version: "12.8",
		ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: own + "clientcert.pem",
	},
	{
		name: "index 0 before 11.10", files: []string{own + "clientcert0.pem", own + "clientkey0.pem"}, account: user, version: "11.3",
		ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki", codes: []string{"file-not-read", "file-not-read"},
	},
	{
		name: "index 0 since", files: []string{own + "clientcert0.pem", own + "clientkey0.pem"}, account: user, version: "11.10",
		ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: own + "clientcert.pem",
	},
	{
		name: "index 1 behind a gap", files: []string{own + "clientcert1.pem", own + "clientkey1.pem"}, account: user, version: "12.8",
		ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki",
	},
	{
		name: "pkipath", files: []string{own + "cacert.pem"}, account: user, pkipath: "/srv/tls",
		ca: "/srv/tls/cacert.pem", crl: "/srv/tls/cacrl.pem", cert: "/srv/tls/clientcert.pem", dir: "/srv/tls",
	},
	{
		name: "names from documentation", files: []string{"/home/u/.pki/cacert.pem", "/etc/pki/CA/crl.pem"}, account: user,
		ca: "/etc/pki/CA/cacert.pem", crl: "/etc/pki/CA/cacrl.pem", cert: "/etc/pki/libvirt/clientcert.pem", dir: "/etc/pki", codes: []string{"file-not-read", "file-not-read"},
	},
}

func TestLibvirtClient(t *testing.T) {
	for _, c := range clientCases {
		t.Run(c.name, func(t *testing.T) {
			found := Lookup{View: tree(t, touch(c.files...)), Account: c.account, Libvirt: c.version, PKIPath: c.pkipath}.LibvirtClient()
			use := only(t, found)
			check(t, "CA, CRL, certificate, directory", []string{use.CA, use.CRL, use.Pairs[0].Cert, use.Dir}, []string{c.ca, c.crl, c.cert, c.dir})
			check(t, "codes", codes(found.Findings), c.codes)
			pairs := 1
			if c.version.AtLeast("11.10") {
				pairs = 5
			}
			check(t, "pairs", len(use.Pairs), pairs)
			if len(use.Why) == 0 {
				t.Error("no reason is given")
			}
		})
	}
}

// daemonCases are libvirtd.conf and what becomes of it: why the daemon does not
// start and what else is said, before 11.10 and since. @ stands for the
// directory of working files; DIR/none.pem is not there. The same cases are
// tried with real daemons.
var daemonCases = []struct {
	name, conf          string
	oldRefused, oldSaid string
	newRefused, newSaid string
	oldText, newText    string // libvirt's words where it does not start
}{
	{name: "all three", conf: "ca_file='@/cacert.pem'\ncert_file='@/servercert.pem'\nkey_file='@/serverkey.pem'",
		oldSaid: "conf-paths-not-reloaded", newSaid: "conf-paths-not-reloaded"},
	{name: "CA alone", conf: "ca_file='@/cacert.pem'",
		oldRefused: "conf-paths-incomplete", oldText: "No server certificate path set to match server key",
		newRefused: "conf-paths-incomplete", newText: "No server certificate path(s) set to match server key(s)"},
	{name: "certificate alone", conf: "cert_file='@/servercert.pem'",
		oldRefused: "conf-paths-incomplete", oldText: "No CA certificate path set to match server key/cert",
		newRefused: "conf-identity-count", newText: "Number of certificates (1) must match number of keys (0)"},
	{name: "key alone", conf: "key_file='@/serverkey.pem'",
		oldRefused: "conf-paths-incomplete", oldText: "No CA certificate path set to match server key/cert",
		newRefused: "conf-identity-count", newText: "Number of certificates (0) must match number of keys (1)"},
	{name: "no key", conf: "ca_file='@/cacert.pem'\ncert_file='@/servercert.pem'",
		oldRefused: "conf-paths-incomplete", oldText: "No server key path set to match server cert",
		newRefused: "conf-identity-count", newText: "Number of certificates (1) must match number of keys (0)"},
	{name: "no certificate", conf: "ca_file='@/cacert.pem'\nkey_file='@/serverkey.pem'",
		oldRefused: "conf-paths-incomplete", oldText: "No server certificate path set to match server key",
		newRefused: "conf-identity-count", newText: "Number of certificates (0) must match number of keys (1)"},
	{name: "no CA", conf: "cert_file='@/servercert.pem'\nkey_file='@/serverkey.pem'",
		oldRefused: "conf-paths-incomplete", oldText: "No CA certificate path set to match server key/cert",
		newRefused: "conf-paths-incomplete", newText: "No CA certificate path set to match server key(s)/cert(s)"},
	{name: "empty CA", conf: "ca_file=''\ncert_file='@/servercert.pem'\nkey_file='@/serverkey.pem'",
		oldSaid: "conf-path-empty conf-paths-not-reloaded", newRefused: "conf-path-empty", newText: "CA certificate '' does not exist"},
	{name: "empty identity", conf: "ca_file='@/cacert.pem'\ncert_file=''\nkey_file=''",
		oldSaid: "conf-path-empty conf-path-empty conf-paths-not-reloaded", newRefused: "conf-path-empty", newText: "Certificate '' does not exist"},
	{name: "empty CRL", conf: "ca_file='@/cacert.pem'\ncert_file='@/servercert.pem'\nkey_file='@/serverkey.pem'\ncrl_file=''",
		oldSaid: "conf-path-empty conf-paths-not-reloaded", newRefused: "conf-path-empty", newText: "Unable to set x509 certificate revocation list: : Error while reading file."},
	{name: "CRL without the rest", conf: "crl_file='@/none.pem'", oldSaid: "conf-crl-ignored", newSaid: "conf-crl-ignored"},
	{name: "both forms", conf: "ca_file='@/cacert.pem'\ncert_file='@/servercert.pem'\nkey_file='@/serverkey.pem'\ncert_files=['@/servercert.pem']",
		oldSaid: "conf-key-too-new conf-paths-not-reloaded", newRefused: "conf-keys-exclusive", newText: "cert_file/key_file are mutually exclusive with cert_files/key_files"},
	{name: "mixed forms", conf: "ca_file='@/cacert.pem'\ncert_files=['@/servercert.pem']\nkey_file='@/serverkey.pem'",
		oldRefused: "conf-paths-incomplete", oldText: "No server certificate path set to match server key", oldSaid: "conf-key-too-new", newSaid: "conf-paths-not-reloaded"},
	{name: "lists", conf: "ca_file='@/cacert.pem'\ncert_files=['@/servercert.pem', '@/servercert.pem']\nkey_files=['@/serverkey.pem', '@/serverkey.pem']",
		oldRefused: "conf-paths-incomplete", oldText: "No server certificate path set to match server key", oldSaid: "conf-key-too-new conf-key-too-new", newSaid: "conf-paths-not-reloaded"},
	{name: "lists of unequal length", conf: "ca_file='@/cacert.pem'\ncert_files=['@/servercert.pem']\nkey_files=[]",
		oldRefused: "conf-paths-incomplete", oldText: "No server certificate path set to match server key", oldSaid: "conf-key-too-new conf-key-too-new",
		newRefused: "conf-identity-count", newText: "Number of certificates (1) must match number of keys (0)"},
	{name: "empty lists", conf: "ca_file='@/cacert.pem'\ncert_files=[]\nkey_files=[]",
		oldRefused: "conf-paths-incomplete", oldText: "No server certificate path set to match server key", oldSaid: "conf-key-too-new conf-key-too-new",
		newSaid: "conf-identity-none conf-paths-not-reloaded"},
	{name: "empty lists alone", conf: "cert_files=[]\nkey_files=[]", oldSaid: "conf-key-too-new conf-key-too-new",
		newRefused: "conf-paths-incomplete", newText: "No CA certificate path set to match server key(s)/cert(s)"},
	{name: "one empty list", conf: "ca_file='@/cacert.pem'\ncert_files=[]",
		oldRefused: "conf-paths-incomplete", oldText: "No server certificate path set to match server key", oldSaid: "conf-key-too-new",
		newRefused: "conf-paths-incomplete", newText: "No server key path(s) set to match server cert(s)"},
	{name: "text instead of a list", conf: "cert_files='@/servercert.pem'",
		oldSaid: "conf-key-too-new", newRefused: "conf-type", newText: "expected a string list for 'cert_files' parameter"},
	{name: "number in a list", conf: "tls_allowed_dn_list=['CN=a', 1]",
		oldRefused: "conf-type", oldText: "expected a string list for 'tls_allowed_dn_list' parameter", newRefused: "conf-type", newText: "expected a string list for 'tls_allowed_dn_list' parameter"},
	{name: "text for a list of names", conf: "tls_allowed_dn_list='CN=a'",
		oldRefused: "conf-type", oldText: "expected a string list for 'tls_allowed_dn_list' parameter", newRefused: "conf-type", newText: "expected a string list for 'tls_allowed_dn_list' parameter"},
	{name: "two as a truth value", conf: "tls_no_sanity_certificate=2",
		oldRefused: "conf-type", oldText: "value for 'tls_no_sanity_certificate' parameter must be 0 or 1", newRefused: "conf-type", newText: "value for 'tls_no_sanity_certificate' parameter must be 0 or 1"},
	{name: "negative truth value", conf: "tls_no_sanity_certificate=-1",
		oldRefused: "conf-type", oldText: "expected a bool for 'tls_no_sanity_certificate' parameter", newRefused: "conf-type", newText: "expected a bool for 'tls_no_sanity_certificate' parameter"},
	{name: "text for a truth value", conf: "tls_no_sanity_certificate='1'",
		oldRefused: "conf-type", oldText: "expected a bool for 'tls_no_sanity_certificate' parameter", newRefused: "conf-type", newText: "expected a bool for 'tls_no_sanity_certificate' parameter"},
	{name: "number for a port", conf: "tls_port=16514",
		oldRefused: "conf-type", oldText: "expected a string for 'tls_port' parameter", newRefused: "conf-type", newText: "expected a string for 'tls_port' parameter"},
	{name: "list for a path", conf: "crl_file=['a']",
		oldRefused: "conf-type", oldText: "expected a string for 'crl_file' parameter", newRefused: "conf-type", newText: "expected a string for 'crl_file' parameter"},
	{name: "syntax", conf: "tls_port=yes",
		oldRefused: "conf-syntax", oldText: "expecting a value", newRefused: "conf-syntax", newText: "expecting a value"},
	{name: "unknown authentication", conf: "auth_tls='pam'",
		oldRefused: "conf-auth-unknown", oldText: "auth_tls: unsupported auth pam", newRefused: "conf-auth-unknown", newText: "auth_tls: unsupported auth pam"},
	{name: "unknown setting", conf: "tls_priorities='NORMAL'", oldSaid: "conf-key-unknown", newSaid: "conf-key-unknown"},
	{name: "not ours", conf: "max_clients=20\nadmin_max_clients=2"},
	{name: "set twice", conf: "auth_tls='none'\nauth_tls='pam'", oldSaid: "conf-set-twice", newSaid: "conf-set-twice"},
	{name: "empty list of names", conf: "tls_allowed_dn_list=[]", oldSaid: "dn-list-empty", newSaid: "dn-list-empty"},
	{name: "list of names not enforced", conf: "tls_allowed_dn_list=['CN=a']\ntls_no_verify_certificate=1", oldSaid: "dn-list-not-enforced", newSaid: "dn-list-not-enforced"},
	{name: "no verification", conf: "tls_no_verify_certificate=1", oldSaid: "clients-not-verified", newSaid: "clients-not-verified"},
	{name: "no verification but SASL", conf: "tls_no_verify_certificate=1\nauth_tls='sasl'"},
}

func TestLibvirtServerConf(t *testing.T) {
	for _, c := range daemonCases {
		t.Run(c.name, func(t *testing.T) {
			conf := strings.ReplaceAll(c.conf, "@", "/srv/tls")
			view := tree(t, map[string]string{LibvirtdConf: conf})
			for _, v := range []struct {
				version       Version
				refused, said string
				text          string
			}{{"9.0", c.oldRefused, c.oldSaid, c.oldText}, {"11.3", c.oldRefused, c.oldSaid, c.oldText}, {"12.8", c.newRefused, c.newSaid, c.newText}} {
				found := Lookup{View: view, Account: root, Libvirt: v.version}.LibvirtServer()
				check(t, string(v.version)+" refused", strings.Join(found.Refused, " "), v.refused)
				var said, texts []string
				for _, f := range found.Findings {
					texts = append(texts, f.Text)
					if !slices.Contains(found.Refused, f.Code) {
						said = append(said, f.Code)
					}
				}
				slices.Sort(said)
				check(t, string(v.version)+" said", strings.Join(said, " "), v.said)
				if v.refused != "" && v.refused != "conf-path-empty" && !strings.Contains(strings.Join(texts, "\n"), v.text) {
					t.Errorf("%s: texts are %q, want %q", v.version, texts, v.text)
				}
				if len(found.Uses) != 1 {
					t.Errorf("%d uses", len(found.Uses))
				}
			}
		})
	}
}

func TestLibvirtServer(t *testing.T) {
	view := tree(t, map[string]string{
		LibvirtdConf:            "ca_file = '/a/ca.pem'\ncert_files = ['/a/1.pem', '/a/2.pem']\nkey_files = ['/b/1.pem', '/b/2.pem']\ntls_priority = 'NORMAL'\ntls_allowed_dn_list = ['CN=x']\ntls_no_sanity_certificate = 1\n",
		VirtproxydConf:          "listen_tls = 1\nca_file = '/a/ca.pem'\ncert_file = '/a/1.pem'\nkey_file = '/b/1.pem'\ncrl_file = '/a/crl.pem'\n",
		"/etc/pki/CA/cacrl.pem": "",
	})
	found := Lookup{View: view, Libvirt: "12.8"}.LibvirtServer()
	use := only(t, found)
	check(t, "files", use.Files, Files{Service: Libvirt, Role: Server, CA: "/a/ca.pem", Named: true, Pairs: []Pair{{NoIndex, "/a/1.pem", "/b/1.pem"}, {0, "/a/2.pem", "/b/2.pem"}}})
	check(t, "rest", []any{use.Off, use.Verify, use.Sanity, use.Priority.Value, use.AllowedDN.Value}, []any{false, true, false, "NORMAL", []string{"CN=x"}})
	check(t, "codes", codes(found.Findings), []string{"conf-crl-unread", "conf-paths-not-reloaded"})

	modular := Platform{Modular: true}
	use = only(t, Lookup{View: view, Libvirt: "12.8", Platform: modular}.LibvirtServer())
	check(t, "virtproxyd's files", use.Files, Files{Service: Libvirt, Role: Server, CA: "/a/ca.pem", CRL: "/a/crl.pem", Named: true, CRLNamed: true, Pairs: []Pair{{NoIndex, "/a/1.pem", "/b/1.pem"}}})
	check(t, "a CRL may be missing before 11.10", only(t, Lookup{View: view, Libvirt: "11.3", Platform: modular}.LibvirtServer()).CRLNamed, false)

	empty := tree(t, nil)
	check(t, "virtproxyd is off unless it is switched on", only(t, Lookup{View: empty, Platform: modular}.LibvirtServer()).Off, true)
	check(t, "libvirtd is on", only(t, Lookup{View: empty}.LibvirtServer()).Off, false)

	usual := tree(t, map[string]string{LibvirtdConf: "ca_file='/etc/pki/CA/cacert.pem'\ncert_file='/etc/pki/libvirt/servercert.pem'\nkey_file='/etc/pki/libvirt/private/serverkey.pem'"})
	check(t, "naming the usual files does no harm", codes(Lookup{View: usual}.LibvirtServer().Findings), []string(nil))

	session := tree(t, map[string]string{"/home/u/.config/libvirt/libvirtd.conf": "listen_tls = 0", own + "servercert.pem": "", own + "serverkey.pem": ""})
	use = only(t, Lookup{View: session, Account: user}.LibvirtServer())
	check(t, "an unprivileged daemon's", []any{use.Off, use.Pairs[0].Cert, use.CA}, []any{true, own + "servercert.pem", "/etc/pki/CA/cacert.pem"})
}

func TestLibvirtClientConf(t *testing.T) {
	view := tree(t, map[string]string{
		LibvirtConf:                            "tls_priority = \"@SYSTEM\"\nuri_default = 'qemu+tls://h/system'\n",
		"/home/u/.config/libvirt/libvirt.conf": "tls_priority = 5",
	})
	check(t, "root's priority", only(t, Lookup{View: view}.LibvirtClient()).Priority.Value, "@SYSTEM")
	check(t, "user's", Lookup{View: view, Account: user}.LibvirtClient().Refused, []string{"conf-type"})
}

func TestConfUnreadable(t *testing.T) {
	view := tree(t, map[string]string{LibvirtConf + "/": "", LibvirtdConf: "-> libvirtd.conf"})
	check(t, "a directory", Lookup{View: view}.LibvirtClient().Refused, []string{"conf-unreadable"})
	check(t, "a loop", Lookup{View: view}.LibvirtServer().Refused, []string{"conf-unreadable"})
}

// The commands that mend a configuration do so, and change nothing else.
func TestConfFixes(t *testing.T) {
	const before = `tls_priorities = "NORMAL"
cert_files = [
  'a',
  'b'
]
tls_port = "1"
tls_port = "2"
auth_tls = "sasl"
auth_tls = "none"; vxhs = 1
tls_no_verify_certificate = 1 # for tests
tls_allowed_dn_list = ["CN=a"]
`
	const after = `tls_priority = "NORMAL"
#cert_files = [
#  'a',
#  'b'
#]
tls_port = "1"
#tls_port = "2"
auth_tls = "sasl"
auth_tls = "none"; vxhs = 1
#tls_no_verify_certificate = 1 # for tests
tls_allowed_dn_list = ["CN=a"]
`
	dir := filepath.Join(t.TempDir(), "it's")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "libvirtd.conf")
	if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	found := Lookup{View: Root("/"), Config: file, Libvirt: "9.0"}.LibvirtServer()
	for _, f := range found.Findings {
		if !strings.HasPrefix(f.Fix, "sed ") {
			continue
		}
		if out, err := exec.Command("sh", "-c", f.Fix).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", f.Fix, err, out)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "file", string(got), after)
}
