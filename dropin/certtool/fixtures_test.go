package certtool

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/dropin"
)

// fixtureFiles are templates, and files with something wrong in them.
var fixtureFiles = map[string]string{
	"ca.tmpl":     "cn = Example CA\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 3650\n",
	"server.tmpl": "cn = host1.example.com\ndns_name = host1\ndns_name = host1.example.com\nip_address = 10.0.0.74\ntls_www_server\nsigning_key\nencryption_key\n",
	"client.tmpl": "country = GB\norganization = Example Org\ncn = client1\ntls_www_client\nsigning_key\n",
	"fixed.tmpl": "organization = Example Org\ncn = fixed\nserial = 0x0123\nactivation_date = \"2026-01-01 00:00:00 UTC\"\n" +
		"expiration_date = \"2036-01-01 00:00:00 UTC\"\ndns_name = fixed\nuri = http://fixed/\nemail = a@example.com\ntls_www_client\nsigning_key\n" +
		"crl_this_update_date = \"2026-01-01 00:00:00 UTC\"\ncrl_next_update_date = \"2027-01-01 00:00:00 UTC\"\n" +
		"crl_revocation_date = \"2026-01-01 00:00:00 UTC\"\ncrl_number = 7\n",
	"fixedca.tmpl": "cn = Fixed CA\nserial = 1\nactivation_date = \"2026-01-01 00:00:00 UTC\"\nexpiration_date = \"2036-01-01 00:00:00 UTC\"\n" +
		"ca\npath_len = 1\ncert_signing_key\ncrl_signing_key\n",
	"challenge.tmpl": "cn = x\ndns_name = x\nchallenge_password = secret\n",
	"int.tmpl": "cn = Example Intermediate\nserial = 2\nactivation_date = \"2026-01-01 00:00:00 UTC\"\nexpiration_date = \"2035-01-01 00:00:00 UTC\"\n" +
		"ca\ncert_signing_key\n",
	"leaf.tmpl": "cn = leaf.example.com\nserial = 3\nactivation_date = \"2026-01-01 00:00:00 UTC\"\nexpiration_date = \"2034-01-01 00:00:00 UTC\"\n" +
		"dns_name = leaf.example.com\nip_address = 10.0.0.1\nemail = leaf@example.com\ntls_www_client\n",
	"old.tmpl":      "cn = old\nserial = 4\nactivation_date = \"2020-01-01 00:00:00 UTC\"\nexpiration_date = \"2021-01-01 00:00:00 UTC\"\n",
	"future.tmpl":   "cn = future\nserial = 5\nactivation_date = \"2040-01-01 00:00:00 UTC\"\nexpiration_date = \"2041-01-01 00:00:00 UTC\"\n",
	"pass.tmpl":     "cn = pass\npassword = secret\npkcs12_key_name = my key\n",
	"request.tmpl":  "cn = request\ndns_name = request.example.com\ntls_www_server\nencryption_key\nsigning_key\n",
	"honor.tmpl":    "honor_crq_extensions\nexpiration_days = 10\n",
	"badip.tmpl":    "cn = x\nip_address = 10.0.0.0/8\n",
	"baddate.tmpl":  "cn = x\nactivation_date = \"no date\"\n",
	"badserial":     "cn = x\nserial = zz\n",
	"longserial":    "cn = x\nserial = 0x0102030405060708090a0b0c0d0e0f101112131415\n",
	"badhex.tmpl":   "cn = x\nsubject_unique_id = zz\n",
	"badpair.tmpl":  "cn = x\ndn_oid = 1.2.3\n",
	"baddn.tmpl":    "dn = \"CN=a,FOO\"\n",
	"emptycn.tmpl":  "cn =\n",
	"unknown.tmpl":  "cn = x\nnosuch = 1\nCN = y\ncn = z\n",
	"badoid.tmpl":   "cn = x\nadd_extension = \"5.6.7.8 0x0500\"\n",
	"empty":         "",
	"garbage":       "garbage\n",
	"truncated.pem": "-----BEGIN CERTIFICATE-----\nMIIB\n",
}

// fixtureCommands make the other fixtures, in order.
var fixtureCommands = []string{
	"--generate-privkey --bits 2048 --outfile rsa.pem",
	"--generate-privkey --bits 2048 --key-type rsa-pss --outfile pss.pem",
	"--generate-privkey --bits 2048 --key-type rsa-pss --hash sha256 --salt-size 32 --outfile pss256.pem",
	"--generate-privkey --key-type ecdsa --outfile ec.pem",
	"--generate-privkey --key-type ecdsa --outfile ec2.pem",
	"--generate-privkey --key-type ed25519 --outfile ed.pem",
	"--generate-privkey --key-type x25519 --outfile x25519.pem",
	"--generate-privkey --key-type mldsa65 --outfile ml.pem",
	"--generate-privkey --bits 2048 --password secret --outfile enc.pem",
	"--generate-privkey --key-type ecdsa --pkcs8 --password secret --pkcs-cipher none --outfile ec8.pem",
	"--pubkey-info --load-privkey ec.pem --no-text --outfile pub.pem",
	"--generate-self-signed --load-privkey rsa.pem --template fixedca.tmpl --outfile ca.pem",
	"--generate-self-signed --load-privkey ec.pem --template fixedca.tmpl --outfile ecca.pem",
	"--generate-self-signed --load-privkey ec2.pem --template fixedca.tmpl --outfile otherca.pem",
	"--generate-certificate --load-ca-privkey rsa.pem --load-ca-certificate ca.pem --load-privkey ec.pem --template int.tmpl --outfile int.pem",
	"--generate-certificate --load-ca-privkey ec.pem --load-ca-certificate int.pem --load-privkey ed.pem --template leaf.tmpl --outfile leaf.pem",
	"--generate-certificate --load-ca-privkey rsa.pem --load-ca-certificate ca.pem --load-privkey ed.pem --template leaf.tmpl --outfile direct.pem",
	"--generate-certificate --load-ca-privkey rsa.pem --load-ca-certificate ca.pem --load-privkey ed.pem --template leaf.tmpl --hash sha1 --outfile sha1.pem",
	"--generate-certificate --load-ca-privkey rsa.pem --load-ca-certificate ca.pem --load-privkey ed.pem --template old.tmpl --outfile old.pem",
	"--generate-certificate --load-ca-privkey rsa.pem --load-ca-certificate ca.pem --load-privkey ed.pem --template future.tmpl --outfile future.pem",
	"--generate-certificate --load-ca-privkey ed.pem --load-ca-certificate direct.pem --load-privkey ec2.pem --template fixed.tmpl --outfile undernotca.pem",
	"--generate-request --load-privkey ed.pem --template fixed.tmpl --no-text --outfile req.pem",
	"--generate-request --load-privkey rsa.pem --template request.tmpl --no-text --outfile rsareq.pem",
	"--generate-crl --load-ca-privkey rsa.pem --load-ca-certificate ca.pem --load-certificate direct.pem --template fixed.tmpl --no-text --outfile crl.pem",
	"--generate-crl --load-ca-privkey rsa.pem --load-ca-certificate ca.pem --template fixed.tmpl --no-text --outfile emptycrl.pem",
	"--generate-crl --load-ca-privkey ec2.pem --load-ca-certificate otherca.pem --template fixed.tmpl --no-text --outfile othercrl.pem",
	"--certificate-info --infile direct.pem --outder --outfile direct.der",
	"--key-info --infile rsa.pem --outder --outfile rsa.der",
	"--to-p8 --load-privkey rsa.pem --password secret --outder --outfile enc.der",
	"--crq-info --infile req.pem --outder --outfile req.der",
	"--crl-info --infile crl.pem --outder --outfile crl.der",
	"--to-p12 --load-privkey ed.pem --load-certificate direct.pem --load-ca-certificate ca.pem --load-crl crl.pem --password secret --p12-name host --outfile all.p12",
	"--get-dh-params --bits 2048 --outfile dh.pem",
}

// concatenated are fixtures made of others.
var concatenated = map[string][]string{
	"chain.pem":      {"leaf.pem", "int.pem", "ca.pem"},
	"chain2.pem":     {"leaf.pem", "int.pem"},
	"chaincrl.pem":   {"leaf.pem", "int.pem", "ca.pem", "crl.pem"},
	"notcachain.pem": {"undernotca.pem", "direct.pem"},
	"two.pem":        {"direct.pem", "ca.pem"},
	"keys.pem":       {"ec.pem", "ed.pem"},
	"twocas.pem":     {"otherca.pem", "ca.pem"},
}

// fixtures makes the directory in which steps begin.
func fixtures(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range fixtureFiles {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	t.Chdir(dir)
	for _, line := range fixtureCommands {
		runHere(t, line)
	}
	for name, parts := range concatenated {
		var all []byte
		for _, part := range parts {
			data, err := os.ReadFile(part)
			must(t, err)
			all = append(all, data...)
		}
		must(t, os.WriteFile(name, all, 0o644))
	}
	return dir
}

// runHere runs certtool in this process, which must succeed.
func runHere(t *testing.T, line string) (stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := Run(strings.Fields(line), dropin.IO{In: strings.NewReader(""), Out: &out, Err: &errs}); code != 0 {
		t.Fatalf("certtool %s: exit code %d\n%s", line, code, errs.String())
	}
	return out.String()
}
