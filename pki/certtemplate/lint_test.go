package certtemplate

import (
	"bytes"
	"crypto"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/pki"
)

var update = flag.Bool("update", false, "write testdata/lint.golden anew")

var lintNow = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

// lintCases are templates with something wrong in each, by what that is.
var lintCases = []struct{ name, key, text string }{
	{"nothing wrong", "ec", "cn = host.example.com\ndns_name = host.example.com\ndns_name = *.example.com\nip_address = 10.0.0.1\ntls_www_server\nsigning_key\nexpiration_date = \"2027-12-31 UTC\"\n"},
	{"authority", "ec", "cn = CA\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 3000\n"},

	{"section", "ec", "cn = a\n[server]\ntls_www_server\n"},
	{"digit", "ec", "cn = a\n\n2nd = x\n"},
	{"byte order mark", "ec", "\ufeffcn = a\n"},
	{"open quote", "ec", "cn = \"a\nca\n"},
	{"open escape", "ec", "cn = \"a\\"},
	{"text behind quotes", "ec", "cn = \"a\" organization = b\n"},
	{"comment behind quotes", "ec", "cn = \"a\" # fine\n"},
	{"lost backslash", "ec", "cn = a\\b\n"},
	{"windows", "ec", "cn = a\r\norganization = b\r\ntls_www_client\r\n"},
	{"blank at the end", "ec", "cn = a \n"},
	{"blank in quotes", "ec", "cn = \"a \"\n"},
	{"continued line", "ec", "cn = a\\\nb\n"},

	{"unknown option", "ec", "cn = a\ndnsname = b\n"},
	{"unknown option far from all", "ec", "cn = a\nvalidity = 10\n"},
	{"unknown option with dashes", "ec", "tls-www-server\n"},
	{"colon without blank", "ec", "cn:host\n"},
	{"policy name", "ec", "policy9 = 1.2.3\n"},
	{"case", "ec", "CN = a\nCA\nDns_Name = b\n"},
	{"repeated", "ec", "cn = a\ncn = b\nexpiration_days = 1\nexpiration_days = 2\n"},
	{"too many names", "ec", strings.Repeat("dns_name = a\n", 129)},
	{"too many pairs", "ec", strings.Repeat("other_name_utf8 = 1.2.3 a\n", 65)},
	{"hidden alias", "ec", "organization = a\no = b\n"},

	{"boolean false", "ec", "ca = false\ntls_www_client = yes\n"},
	{"boolean text", "ec", "signing_key = digital\n"},
	{"no value", "ec", "cn =\n"},
	{"country", "ec", "country = GBR\n"},
	{"country case", "ec", "country = gb\n"},
	{"days with unit", "ec", "expiration_days = 10y\n"},
	{"days zero", "ec", "expiration_days = 0\n"},
	{"days never", "ec", "expiration_days = -1\n"},
	{"days past", "ec", "expiration_days = -2\n"},
	{"local time", "ec", "expiration_date = \"2027-06-01 12:00\"\n"},
	{"relative time", "ec", "expiration_date = +3 months\n"},
	{"bad date", "ec", "expiration_date = soon\n"},
	{"address with length", "ec", "ip_address = 10.0.0.0/8\n"},
	{"address as name", "ec", "dns_name = 10.0.0.1\n"},
	{"url as name", "ec", "dns_name = https://host/\n"},
	{"wildcard beyond ascii", "ec", "dns_name = *.ünï.example\n"},
	{"underscore beyond ascii", "ec", "dns_name = a_b.ünï.example\n"},
	{"name beyond ascii", "ec", "dns_name = ünï.example\n"},
	{"range with host bits", "ec", "ca\ncert_signing_key\nnc_permit_ip = 10.1.2.3/8\n"},
	{"values", "ec", "uri = host\nemail = x\nkey_purpose_oid = server\ntls_feature = ocsp\nserial = 0xff\nadd_extension = 5.6.7.8 00\nother_name = 1.2.3 x\ndn_oid = 1.2.3 x\ndn = CN=a+O=b\nkrb5_principal = x\nsubject_unique_id = 1\ncrl_number = 0\npolicy1 = x\npolicy1_url = x\nip_address = x\nxmpp_name = a-.ü\ndn_oid = x\nnc_permit_dns = a..b\nadd_critical_extension = 1.2.3 x\ninhibit_anypolicy_skip_certs = -1\n"},

	{"signing without ca", "ec", "cert_signing_key\npath_len = 1\nnc_permit_dns = a\n"},
	{"ca without signing", "ec", "ca\n"},
	{"ca with other uses", "ec", "ca\ncrl_signing_key\n"},
	{"encryption with ec", "ec", "encryption_key\nsigning_key\n"},
	{"encryption with rsa", "rsa", "encryption_key\nsigning_key\n"},
	{"agreement with ml-dsa", "mldsa", "key_agreement\ndata_encipherment\n"},
	{"agreement with ed25519", "ed25519", "key_agreement\n"},
	{"encipherment with ec", "ec", "data_encipherment\nkey_agreement\n"},
	{"email with server", "ec", "cn = a\ndns_name = a\ntls_www_server\nemail = a@b\n"},
	{"server without names", "ec", "cn = host1\ntls_www_server\n"},
	{"common name not named", "ec", "cn = host.example.com\ndns_name = other.example.com\n"},
	{"purpose twice", "ec", "tls_www_client\nkey_purpose_oid = 1.3.6.1.5.5.7.3.2\n"},
	{"policy gap", "ec", "policy1 = 1.2.3\npolicy3 = 1.2.4\npolicy2_txt = x\n"},
	{"extension replaced", "ec", "add_extension = 2.5.29.19 3000\n"},
	{"fixed serial", "ec", "serial = 5\n"},
	{"two expirations", "ec", "expiration_days = 5\nexpiration_date = \"2027-02-01 UTC\"\n"},
	{"outlives its authority", "ec", "cn = a\nexpiration_days = 4000\n"},
	{"outlives its authority by default", "ec-short", "cn = a\n"},
	{"ended", "ec", "activation_date = \"2020-01-01 UTC\"\nexpiration_date = \"2021-01-01 UTC\"\n"},
	{"ends before it begins", "ec", "activation_date = \"2029-01-01 UTC\"\nexpiration_date = \"2028-01-01 UTC\"\n"},
	{"without a request", "ec", "honor_crq_extensions\n"},
	{"with a request", "request", "cn = a\nhonor_crq_ext = 2.5.29.17\nkey_purpose_oid = 1.2.3\n"},
	{"rejected", "request", "honor_crq_extensions\nadd_extension = 1.2.3.4 0500\nadd_extension = 2.5.29.37 0102\ntls_www_client\n"},
	{"passwords", "ec", "Password = geheim \npasswd = geheim\npassword:geheim\nchallenge_password = geheim \npassword = geheim\\x\n2password = geheim\n"},
	{"without a key", "none", "encryption_key\nca = no\n"},
}

// lintInput returns what a certificate is made from in a case.
func (w *world) lintInput(t *testing.T, key string) CertInput {
	t.Helper()
	in := CertInput{Clock: Clock{Now: lintNow, Location: time.UTC}}
	ca, err := w.sign("cn = CA\nca\ncert_signing_key\nserial = 1\nexpiration_date = \"2036-12-31 UTC\"\n", lintNow)
	if key == "ec-short" {
		key = "ec"
		ca, err = w.sign("cn = CA\nca\ncert_signing_key\nserial = 1\nexpiration_date = \"2027-04-01 UTC\"\n", lintNow)
	}
	if err != nil {
		t.Fatal(err)
	}
	in.Issuer = ca
	switch key {
	case "none":
	case "request":
		in.Request = w.request
	case "mldsa":
		k, err := pki.GenerateSigner(pki.KeySpec{Algorithm: pki.MLDSA65})
		if err != nil {
			t.Fatal(err)
		}
		in.PublicKey = k.Public()
	default:
		in.PublicKey = w.keys[key].(crypto.Signer).Public()
	}
	return in
}

// TestLint compares all findings, as they are printed, with testdata/lint.golden.
func TestLint(t *testing.T) {
	w := newWorld(t)
	var got bytes.Buffer
	for _, c := range lintCases {
		tmpl, _ := Parse("t.tmpl", []byte(c.text))
		fmt.Fprintf(&got, "== %s (%s)\n", c.name, c.key)
		if len(c.text) < 200 {
			fmt.Fprintf(&got, "%s\n", strings.ReplaceAll(strings.TrimSuffix(c.text, "\n"), "\r", "<CR>"))
		}
		fmt.Fprintf(&got, "--\n")
		if err := finding.Print(&got, tmpl.Lint(w.lintInput(t, c.key))); err != nil {
			t.Fatal(err)
		}
	}
	const golden = "testdata/lint.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, golden)), got.String()); diff != "" {
		t.Errorf("%s (-) and what is found now (+) differ; look at it and run with -update:\n%s", golden, diff)
	}
}

// TestLintFindsEveryKind sees to it that no kind of finding is without a case.
func TestLintFindsEveryKind(t *testing.T) {
	golden := string(readFile(t, "testdata/lint.golden"))
	for _, k := range finding.Catalogue() {
		if strings.HasPrefix(k.Code, "template-") && !strings.Contains(golden, "["+k.Code+"]") {
			t.Errorf("no case has a finding %s", k.Code)
		}
	}
}

// TestLintHidesPasswords wants no password in a finding, however it is misspelt.
func TestLintHidesPasswords(t *testing.T) {
	w := newWorld(t)
	for _, c := range lintCases {
		if c.name != "passwords" {
			continue
		}
		tmpl, _ := Parse("t.tmpl", []byte(c.text))
		findings := tmpl.Lint(w.lintInput(t, c.key))
		if len(findings) == 0 {
			t.Error("nothing is found")
		}
		for _, f := range findings {
			if text := fmt.Sprintf("%+v", f); strings.Contains(text, "geheim") {
				t.Errorf("a finding gives the password away: %s", text)
			}
		}
	}
}

// TestLintAcceptsTheDocumentation lints what QEMU's and libvirt's documentation
// have people write: with the RSA keys that it has them make, nothing in it is wrong.
func TestLintAcceptsTheDocumentation(t *testing.T) {
	w := newWorld(t)
	files, err := filepath.Glob("testdata/templates/documented-*.tmpl")
	if err != nil || len(files) == 0 {
		t.Fatal("no templates", err)
	}
	for _, f := range files {
		data := readFile(t, f)
		tmpl, err := Parse(f, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range tmpl.Lint(w.lintInput(t, "rsa")) {
			// The documentation writes "country = Country" and "GB".
			if found.Severity == finding.Error && found.Code != "template-country" {
				t.Errorf("%s", found)
			}
		}
	}
}
