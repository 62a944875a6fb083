package certtemplate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// brokenTemplates are refused by certtool. The actions are as in [actions].
var brokenTemplates = []struct{ name, do, text string }{
	{"open escape", "self", "cn = \"abc\\"},
	{"open escape behind warnings", "self", "foo = x\ncn = 'abc\\"},
	{"warnings first", "self", "foo = x\nbar\ncn = a\ncn = b\nserial = x\n"},

	{"empty name", "self csr", "cn =\n"},
	{"empty country", "self csr", "country =\n"},
	{"empty state", "self csr", "state = \n"},
	{"empty locality", "self csr", "locality = ''\n"},
	{"empty organization", "self csr", "organization = a\norganization =\n"},
	{"empty unit", "self csr", "unit =\n"},
	{"empty alias", "self csr", "ou =\n"},
	{"empty uid", "self csr", "uid =\n"},
	{"empty dc", "self csr", "dc =\n"},
	{"empty email", "self", "pkcs9_email =\n"},
	{"dn plus", "self csr", "dn = CN=a+O=b\n"},
	{"dn plus later", "self", "dn = CN=a,O=b+c\n"},
	{"dn unknown name", "self csr", "dn = \"C=GB, foo=bar,CN=a\"\n"},
	{"dn no value", "self", "dn = \"CN=a,,O=b\"\n"},
	{"dn no equals", "self", "dn = CN=a,O\n"},
	{"dn newline", "self", "dn = \"CN=a\nO=ignored\"\n"},
	{"dn unknown oid", "self", "dn = 1.2.3=x\n"},
	{"dn bad hex", "self", "dn = CN=#1\n"},
	{"dn raw garbage", "self", "dn = CN=#0101\n"},
	{"dn_oid unknown", "self csr", "dn_oid = 1.2.3.4 abc\n"},
	{"dn_oid malformed", "self", "dn_oid = abc def\n"},
	{"dn_oid alone", "self", "dn_oid = 2.5.4.3\n"},
	{"dn_oid blank", "self", "dn_oid = 2.5.4.3  \n"},

	{"other_name alone", "self", "other_name = 1.2.3\n"},
	{"other_name hex", "self csr", "other_name = 1.2.3 zz\n"},
	{"other_name oid", "self csr", "other_name_utf8 = 5.2.3 abc\n"},
	{"other_name_octet", "self", "other_name_octet = x\n"},
	{"other_name_utf8 tab", "self", "other_name_utf8 = x\t\n"},
	{"ipv4", "self csr", "ip_address = 10.0.0.256\n"},
	{"ipv4 leading zero", "self", "ip_address = 010.0.0.1\n"},
	{"ipv4 short", "self", "ip_address = 10.1\n"},
	{"ipv4 cidr", "self", "ip_address = 10.0.0.0/8\n"},
	{"ipv4 long", "self", "ip_address = 255.255.255.255/32\n"},
	{"ipv4 blank", "self", "ip_address = 10.0.0.1 \n"},
	{"ipv4 empty", "self", "ip_address =\n"},
	{"ipv6", "self csr", "ip_address = fe80::1%eth0\n"},
	{"ipv6 brackets", "self", "ip_address = [::1]\n"},
	{"empty dns_name first", "self csr", "dns_name =\ndns_name = a\n"},
	{"empty uri first", "self", "uri =\nip_address = 1.2.3.4\n"},
	{"email", "ca csr", "email = jü@x\n"},
	{"uri", "self csr", "uri = http://ü/\n"},
	{"xmpp", "self", "xmpp_name = a-.ü\n"},
	{"krb5 no realm", "self csr", "krb5_principal = abc\n"},
	{"krb5 seven parts", "self", "krb5_principal = a/b/c/d/e/f/g@R\n"},

	{"key purpose", "self csr", "key_purpose_oid = 5.6.7\n"},
	{"key purpose text", "self csr", "key_purpose_oid = server\n"},
	{"tls_feature", "self csr", "tls_feature = 65536\n"},
	{"tls_feature negative", "self", "tls_feature = -1\n"},
	{"tls_feature 65", "self csr", strings.Repeat("tls_feature = 5\n", 65)},
	{"extension oid", "self csr", "add_extension = 5.6.7.8 0102\n"},
	{"extension hex", "self csr", "add_extension = 1.2.3 zz\n"},
	{"extension hex odd", "self", "add_critical_extension = 1.2.3 0x012\n"},
	{"extension function", "self", "add_extension = 1.2.3 foo(01)\n"},
	{"extension parenthesis", "self", "add_extension = 1.2.3 octet_string(01\n"},
	{"extension alone", "self", "add_extension = 1.2.3\n"},
	{"extension key id", "self ca", "add_extension = 2.5.29.14 0401aa\n"},
	{"extension issuer key id", "ca", "add_extension = 2.5.29.35 30038001aa\n"},
	{"extension garbled names", "self", "dns_name = x\nadd_extension = 2.5.29.17 0102\n"},
	{"policy", "self", "policy1 = 9.9\n"},
	{"policy notice", "self", "policy1 = 1.2.3\npolicy1_txt = " + strings.Repeat("x", 201) + "\n"},
	{"policy empty notice", "self", "policy1 = 1.2.3\npolicy1_txt =\npolicy2 = 1.2.4\n"},
	{"constraint no length", "self", "ca\nnc_permit_ip = 1.2.3.4\n"},
	{"constraint length", "self", "ca\nnc_permit_ip = 1.2.3.4/33\n"},
	{"constraint negative", "self", "ca\nnc_exclude_ip = 1.2.3.4/-1\n"},
	{"constraint text", "self", "ca\nnc_exclude_ip = 1.2.3.4/x\n"},
	{"constraint address", "self", "ca\nnc_permit_ip = 1.2.3/8\n"},
	{"constraint dots", "self", "ca\nnc_permit_dns = a..b\n"},
	{"constraint dot", "self", "ca\nnc_exclude_email = .\n"},
	{"ocsp", "self", "ocsp_uri = http://ü/\n"},
	{"issuers", "self", "ca_issuers_uri = http://ü/\n"},
	{"unique id", "self", "subject_unique_id = 12x\n"},
	{"issuer unique id", "self", "issuer_unique_id = 123\n"},

	{"serial zero", "self", "serial = 0\n"},
	{"serial negative", "self", "serial = -5\n"},
	{"serial text", "self", "serial = abc\n"},
	{"serial garbage", "self", "serial = 12z\n"},
	{"serial blank", "self", "serial = 12 \n"},
	{"serial empty", "self", "serial =\n"},
	{"serial large", "self", "serial = 9223372036854775807\n"},
	{"serial huge", "self", "serial = 99999999999999999999\n"},
	{"serial no digits", "self", "serial = 0x\n"},
	{"serial bad digits", "self", "serial = 0xfg\n"},
	{"serial upper case", "self", "serial = 0X1f\n"},
	{"serial hex zero", "self", "serial = 0x00\n"},
	{"serial sign bit", "self", "serial = 0xff\n"},
	{"serial 20 octets and a sign bit", "self", "serial = 0xff11223344556677889900112233445566778899\n"},
	{"serial 21 octets", "self", "serial = 0x001122334455667788990011223344556677889900\n"},
	{"crl number", "crl", "crl_number = 0\n"},
	{"crl number sign bit", "crl", "crl_number = 0xff\n"},
	{"crl number 21 octets", "crl", "crl_number = 0x001122334455667788990011223344556677889900\n"},

	{"activation", "self", "activation_date = foo\n"},
	{"expiration", "self", "expiration_date = 2027-02-30\n"},
	{"expiration twice", "self", "expiration_date = 2027-01-01 2028-01-01\n"},
	{"challenge tab", "csr", "challenge_password = a\tb\n"},
	{"challenge joiner", "csr", "challenge_password = a\u200db\n"},
	{"challenge unassigned", "csr", "challenge_password = \u0378\n"},
	{"challenge soft hyphen", "csr", "challenge_password = a\u00adb\nca\nkey_purpose_oid = x\n"},

	{"crl date", "crl", "crl_this_update_date = never\n"},
	{"crl next date", "crl", "crl_next_update_date = 32 Jan\n"},
	{"crl revocation date", "crl", "crl_revocation_date = 10:60\n"},
	{"late warning", "ca", "expiration_days = 9000\ndns_name = ünï\nuri = ü\n"},

	{"request key id", "request-id", "honor_crq_extensions\nadd_extension = 2.5.29.14 0401aa\n"},
}

// brokenDifferences are the templates that a generation takes all the same, or
// refuses in other words.
var brokenDifferences = map[string]string{
	"serial sign bit host":           "GnuTLS 3.7 writes a negative number",
	"crl number sign bit host":       "GnuTLS 3.7 writes a negative number",
	"extension garbled names host":   garbled,
	"extension garbled names trixie": garbled,
	"extension garbled names forky":  garbled,
}

const garbled = "the words tell at which octet libtasn1 gave up on an extension that the template garbled"

func TestBrokenTemplatesAgainstCerttool(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		w := newWorld(t)
		type test struct {
			*job
			action
			text   string
			reason string
		}
		var tests []test
		var jobs []*job
		for _, b := range brokenTemplates {
			for do := range strings.FieldsSeq(strings.TrimSuffix(b.do, "-id")) {
				a := action{do, "ec", "UTC"}
				j := w.job(t, b.name, a, []byte(b.text))
				tests = append(tests, test{j, a, b.text, brokenDifferences[b.name+" "+g.Name]})
				jobs = append(jobs, j)
			}
		}
		runCerttool(t, g, jobs)
		for _, tt := range tests {
			t.Run(tt.job.name, func(t *testing.T) { w.compareError(t, tt.job, tt.action, tt.text, tt.reason) })
		}
	})
}

var firstLine = map[string]string{
	"self":    "Generating a self signed certificate...\n",
	"ca":      "Generating a signed certificate...\n",
	"request": "Generating a signed certificate...\n",
	"csr":     "Generating a PKCS #10 certificate request...\n",
	"crl":     "Generating a signed CRL...\n",
}

func (w *world) compareError(t *testing.T, j *job, a action, text, reason string) {
	var why *Error
	var want, got string
	_, statErr := os.Stat(filepath.Join(j.dir, "out.pem"))
	for now := j.from.Truncate(time.Second); !now.After(j.to); now = now.Add(time.Second) {
		want, why = w.expectError(t, a, text, now)
		got = j.log
		if strings.HasPrefix(why.Text, "crt_sign: ") {
			// It comes behind the text of the certificate, which is not made here.
			want = why.Text + "\n"
			got = got[strings.LastIndex(strings.TrimSuffix(got, "\n"), "\n")+1:]
		}
		if got == want {
			break
		}
	}
	same := j.code == "1" && got == want && (statErr == nil) == why.LeavesFile
	if same && why.LeavesFile && len(readFile(t, j.dir, "out.pem")) > 0 {
		t.Errorf("certtool leaves a file that is not empty")
	}
	if same != (reason == "") {
		t.Errorf("certtool ends with %s, leaves a file: %v, and says\n%s\nwe leave a file: %v, and say\n%s\n(known difference: %q)",
			j.code, statErr == nil, got, why.LeavesFile, want, reason)
	}
}

// expectError returns our error, and all that we would print.
func (w *world) expectError(t *testing.T, a action, text string, now time.Time) (log string, why *Error) {
	t.Helper()
	tmpl, err := Parse("template", []byte(text))
	for _, line := range tmpl.Warnings {
		log += line + "\n"
	}
	if err == nil {
		o := w.compile([]byte(text), a, now, nil)
		if err = o.err; err == nil {
			t.Fatal("we take it")
		}
		log += firstLine[a.name] + strings.Join(append(o.notes, ""), "\n")
	}
	if !errors.As(err, &why) {
		t.Fatalf("our error is %T: %v", err, err)
	}
	return log + why.Text + "\n", why
}
