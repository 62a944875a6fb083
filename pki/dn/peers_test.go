package dn_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/pki/dn"
)

// A tree is a root directory with real programs in it: "/" or a chroot tree.
type tree struct{ name, root string }

// trees are the generations of programs that the tests compare with.
func trees() []tree {
	cache := os.Getenv("VIRTLS_CACHE")
	if cache == "" {
		dir, _ := os.UserCacheDir()
		cache = filepath.Join(dir, "virtls")
	}
	return []tree{
		{"host", "/"},
		{"trixie", filepath.Join(cache, "roots", "trixie")},
		{"forky", filepath.Join(cache, "roots", "forky")},
	}
}

// need skips the test unless the tree has the program.
func (tr tree) need(t *testing.T, program string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(tr.root, "usr/bin", program)); err != nil {
		t.Skipf("%s is missing below %s; get it with scripts/peers all", program, tr.root)
	}
	if tr.root != "/" && os.Getuid() != 0 {
		t.Skipf("entering %s needs root; run the test as root", tr.root)
	}
}

// run runs a shell script in a new directory of the tree that holds files, and
// returns what it prints on either output.
func (tr tree) run(t *testing.T, files map[string][]byte, script string) string {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Join(tr.root, "tmp"), "virtls-dn-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	argv := []string{"sh", "-c", "cd /tmp/" + filepath.Base(dir) + " && " + script}
	if tr.root != "/" {
		argv = append([]string{"chroot", tr.root}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// each runs a shell command for the certificate of each subject, in the file
// $f, and returns what it prints. The command may fail: some names are there
// to be refused.
func (tr tree) each(t *testing.T, subjects []dn.Name, command string) []string {
	t.Helper()
	const end = "\x00END\x00"
	files := map[string][]byte{}
	for i, cert := range certificates(t, subjects) {
		files[fmt.Sprintf("%05d.pem", i)] = cert
	}
	out := tr.run(t, files, "for f in *.pem; do "+command+` 2>&1; printf '\0END\0'; done`)
	answers := strings.Split(strings.TrimSuffix(out, end), end)
	if len(answers) != len(subjects) {
		t.Fatalf("%d answers for %d certificates", len(answers), len(subjects))
	}
	return answers
}

// certificates returns a PEM certificate for each subject.
func certificates(t *testing.T, subjects []dn.Name) [][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var certs [][]byte
	for i, subject := range subjects {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)),
			RawSubject:   subject.DER(),
			NotBefore:    time.Now().Add(-time.Hour),
			NotAfter:     time.Now().Add(24 * time.Hour),
		}
		issuer := &x509.Certificate{RawSubject: cn("issuer").DER()}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), key)
		if err != nil {
			t.Fatalf("subject %x: %v", template.RawSubject, err)
		}
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return certs
}

// A printer is a program that prints the subject of a certificate.
type printer struct {
	name    string
	program string
	command string
	subject func(output string) string // picks the name out of the output, or "error: ..."
	format  func(dn.Name) string       // what this package prints
}

func printers(tr tree) []printer {
	opensslDefault := dn.NameDefault
	if tr.name == "host" {
		opensslDefault = dn.NameOneline // until OpenSSL 3.1
	}
	openssl := func(name, nameopt string, opt dn.NameOption) printer {
		return printer{name, "openssl", "openssl x509 -in $f -noout -subject " + nameopt, opensslSubject,
			func(n dn.Name) string { return n.FormatOpenSSL(opt) }}
	}
	return []printer{
		{"virt-pki-query-dn", "virt-pki-query-dn", "virt-pki-query-dn $f", querySubject, dn.Name.String},
		{"certtool", "certtool", "certtool -i --infile $f", certtoolSubject, dn.Name.RFC4514},
		openssl("openssl", "", opensslDefault),
		openssl("openssl oneline", "-nameopt oneline", dn.NameOneline),
		openssl("openssl RFC2253", "-nameopt RFC2253", dn.NameRFC2253),
	}
}

func querySubject(out string) string {
	if failure, found := strings.CutPrefix(out, "Failed to get distinguished name: "); found {
		return "error: " + failure
	}
	return strings.TrimSuffix(out, "\n")
}

func certtoolSubject(out string) string {
	_, out, _ = strings.Cut(out, "\n\t\tNot After: ") // the issuer is printed before
	out, _, found := strings.Cut(out, "\n\tSubject Public Key Algorithm: ")
	_, out, _ = strings.Cut(out, "\n")
	if subject, ok := strings.CutPrefix(out, "\tSubject:"); ok && found {
		return strings.TrimPrefix(subject, " ")
	}
	return "error: " + out
}

func opensslSubject(out string) string {
	subject, found := strings.CutPrefix(out, "subject=")
	if !found {
		return "error: " + out
	}
	return strings.TrimSuffix(subject, "\n")
}

// onPeers runs a subtest for every printer of every tree, but for those left out.
func onPeers(t *testing.T, subjects []dn.Name, without []string, check func(t *testing.T, p printer, printed []string)) {
	for _, tr := range trees() {
		for _, p := range printers(tr) {
			if slices.Contains(without, p.name) {
				continue
			}
			t.Run(tr.name+"/"+p.name, func(t *testing.T) {
				tr.need(t, p.program)
				printed := tr.each(t, subjects, p.command)
				for i := range printed {
					printed[i] = p.subject(printed[i])
				}
				check(t, p, printed)
			})
		}
	}
}

// compare reports whether the program printed what this package prints.
func (p printer) compare(t *testing.T, name string, subject dn.Name, printed string) {
	t.Helper()
	ours := p.format(subject)
	if p.program == "openssl" && strings.HasPrefix(printed, "error: Could not") {
		// OpenSSL does not load it: then this package printed the value as digits.
		if !strings.Contains(ours, "#") {
			t.Errorf("%s: openssl does not load the certificate, and this package prints %q", name, ours)
		}
		return
	}
	if diff := cmp.Diff(printed, ours); diff != "" {
		t.Errorf("%s (-%s +ours):\n%s", name, p.name, diff)
	}
}

func TestPrintAsPeers(t *testing.T) {
	var subjects []dn.Name
	for _, tt := range names {
		subjects = append(subjects, tt.dn)
	}
	onPeers(t, subjects, nil, func(t *testing.T, p printer, printed []string) {
		for i, tt := range names {
			p.compare(t, tt.name, tt.dn, printed[i])
		}
	})
}

// TestStringTypesAsPeers tries every string type, and others, with contents
// that fit and do not fit it, in attributes that want different types.
func TestStringTypesAsPeers(t *testing.T) {
	texts := []string{"a", "ab", "#ab", " a ", `,+"\<>;=/`, "\n", "\x00", "a\x00", "\x00a", "ü", "\xff", "\xd8\x00", "\xd8\x3d\xde\x00", "\x00a\x00\x00", "\x00\x00\x00\x00",
		"\x00\x00\x20\xac", "\x00\x10\xff\xff", "\x00\x11\x00\x00", "\x00\x00\xd8\x00", "abcd"}
	var subjects []dn.Name
	for _, typ := range []string{"2.5.4.3", "2.5.4.6", "1.2.840.113549.1.9.20", unknownOID.String()} {
		for _, tag := range []int{utf8Tag, printableTag, t61Tag, ia5Tag, universalTag, bmpTag, numericTag, asn1.TagOctetString, asn1.TagBitString} {
			for _, text := range texts {
				subjects = append(subjects, dn.New(value(oid(typ), tag, text)))
			}
		}
	}
	// The others print values as these do, and some are slow.
	onPeers(t, subjects, []string{"virt-pki-query-dn", "openssl", "openssl oneline"}, func(t *testing.T, p printer, printed []string) {
		for i, subject := range subjects {
			p.compare(t, fmt.Sprintf("%x", subject.DER()), subject, printed[i])
		}
	})
}

// TestCheckAsPeers shows that the names of which Check reports an error, and
// no others, have no text in GnuTLS.
func TestCheckAsPeers(t *testing.T) {
	var subjects []dn.Name
	for _, tt := range checks {
		subjects = append(subjects, tt.dn)
	}
	onPeers(t, subjects, []string{"openssl", "openssl oneline", "openssl RFC2253"}, func(t *testing.T, p printer, printed []string) {
		for i, tt := range checks {
			if p.program == "certtool" && len(tt.dn) == 0 {
				continue // certtool prints the empty name as it is
			}
			found := tt.dn.Check("")
			if isError(found) != strings.HasPrefix(printed[i], "error: ") {
				t.Errorf("%s: %s prints %q, and Check finds %v", tt.name, p.name, printed[i], found)
			}
		}
	})
}

// TestAttrAsCerttool compares the string types with those in certificates that
// certtool makes. Its templates drop backslashes, so dn has no escapes here.
func TestAttrAsCerttool(t *testing.T) {
	tests := []struct{ name, template, want string }{
		{"usual", "dn = 'CN=host1,OU=Virt,O=Example Org,L=City,ST=London,C=GB'",
			"CN=host1,OU=Virt,O=Example Org,L=City,ST=London,C=GB"},
		{"case of names", "dn = 'cn=a,Serialnumber=1,STREET=x,email=a@b'", "cn=a,Serialnumber=1,STREET=x,email=a@b"},
		{"not printable", "dn = \"CN=O'Brien,O=a@b,OU=ünï,L=a_b,ST=a*b\"", "CN=O'Brien,O=a@b,OU=ünï,L=a_b,ST=a*b"},
		{"printable", "dn = 'CN=a b (c)-,O=d.e/f:g=h?'", "CN=a b (c)-,O=d.e/f:g=h?"},
		{"own types", "dn = 'C=ü,serialNumber=*,dnQualifier=_,telephoneNumber=@,DC=ü,EMAIL=ü,XmppAddr=a,OGRN=x,gender=_,countryOfCitizenship=*'",
			"C=ü,serialNumber=*,dnQualifier=_,telephoneNumber=@,DC=ü,EMAIL=ü,XmppAddr=a,OGRN=x,gender=_,countryOfCitizenship=*"},
		{"blanks", "dn = ' CN = a ,  O = b  '", " CN = a ,  O = b  "},
		{"dotted", "dn = '2.5.4.3=a,2.5.4.6=GB,1.2.840.113549.1.9.7=pw'", "2.5.4.3=a,2.5.4.6=GB,1.2.840.113549.1.9.7=pw"},
		{"digits", "dn = 'CN=#0c0161,2.5.4.97=#0c054e54522d31,C=#0C024742'", "CN=#0c0161,2.5.4.97=#0c054e54522d31,C=#0C024742"},
		{"all names", "dn = '" + allNames + "'", allNames},
		{"escaped", "organization = 'Name, Of \"Org\"'\ncn = '#a+ '\nunit = ';<=>'", `CN=\#a\+\ ,OU=\;\<=\>,O=Name\, Of \"Org\"`},
		{"fields", "country = ü\nuid = a@b\npkcs9_email = a@b\ndc = ü\ndn_oid = '2.5.4.12 Dr.'", "EMAIL=a@b,title=Dr.,DC=ü,UID=a@b,C=ü"},
	}
	for _, tr := range trees() {
		t.Run(tr.name, func(t *testing.T) {
			tr.need(t, "certtool")
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					out := tr.run(t, map[string][]byte{"t.tmpl": []byte(tt.template + "\nexpiration_days = 2\n")},
						"certtool --generate-privkey --key-type ecdsa --outfile key.pem 2>/dev/null && certtool --generate-self-signed --load-privkey key.pem --template t.tmpl 2>&1")
					_, cert, _ := strings.Cut(out, "-----BEGIN CERTIFICATE")
					block, _ := pem.Decode([]byte("-----BEGIN CERTIFICATE" + cert))
					if block == nil {
						t.Fatal(out)
					}
					want, err := dn.ParseRFC4514(tt.want)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Contains(block.Bytes, want.DER()) {
						t.Errorf("ours %x\nnot in %x", want.DER(), block.Bytes)
					}
				})
			}
		})
	}
}

const allNames = "placeOfBirth=a,gender=a,countryOfCitizenship=a,countryOfResidence=a,C=a,street=a,title=a,O=a,OU=a,CN=a,L=a,ST=a,description=a," +
	"serialNumber=a,telephoneNumber=a,surName=a,initials=a,generationQualifier=a,givenName=a,pseudonym=a,dnQualifier=a,postalCode=a,name=a,businessCategory=a," +
	"DC=a,UID=a,userPrincipalName=a,jurisdictionOfIncorporationLocalityName=a,jurisdictionOfIncorporationStateOrProvinceName=a," +
	"jurisdictionOfIncorporationCountryName=a,EMAIL=a,XmppAddr=a,OGRN=a,SNILS=a,OGRNIP=a,INN=a"
