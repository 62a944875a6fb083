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
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/internal/peertest"
	"virtls/pki/dn"
)

// printedBy runs a shell command for the certificate of each subject, in the
// file $f, and returns what it prints. The command may fail: some names are
// there to be refused.
func printedBy(t *testing.T, g peertest.Generation, subjects []dn.Name, program, command string) []string {
	t.Helper()
	g.Run(t, peertest.Options{}, program, "--help") // deals with a missing program
	dir := t.TempDir()
	var printed []string
	for part := range slices.Chunk(subjects, 250) {
		for i, cert := range certificates(t, part) {
			write(t, fmt.Sprintf("%s/%d.pem", dir, i), cert)
		}
		script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do f=$i.pem; %s >$i.out 2>&1; i=$((i+1)); done", len(part), command)
		if r := g.Run(t, peertest.Options{Dir: dir, Env: []string{"LC_ALL=C.UTF-8"}}, "sh", "-c", script); r.Code > 1 {
			t.Fatal(r)
		}
		for i := range part {
			out, err := os.ReadFile(fmt.Sprintf("%s/%d.out", dir, i))
			if err != nil {
				t.Fatal(err)
			}
			printed = append(printed, string(out))
		}
	}
	return printed
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
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

func printers(t *testing.T, g peertest.Generation) []printer {
	opensslDefault := dn.NameOneline
	if g.Version(t, peertest.OpenSSL).AtLeast("3.2") {
		opensslDefault = dn.NameDefault
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

// onPeers runs a subtest for every printer of every generation that is wanted.
func onPeers(t *testing.T, subjects []dn.Name, want func(peertest.Generation, printer) bool, check func(t *testing.T, p printer, printed []string)) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, p := range printers(t, g) {
			if !want(g, p) {
				continue
			}
			t.Run(p.name, func(t *testing.T) {
				printed := printedBy(t, g, subjects, p.program, p.command)
				for i := range printed {
					printed[i] = p.subject(printed[i])
				}
				check(t, p, printed)
			})
		}
	})
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
	all := func(peertest.Generation, printer) bool { return true }
	onPeers(t, subjects, all, func(t *testing.T, p printer, printed []string) {
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
	// The others print values as these do, and OpenSSL 3.0 is slow to start.
	few := func(g peertest.Generation, p printer) bool {
		return p.name == "certtool" || p.name == "openssl RFC2253" && g != peertest.Host
	}
	onPeers(t, subjects, few, func(t *testing.T, p printer, printed []string) {
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
	gnutls := func(_ peertest.Generation, p printer) bool { return p.program != "openssl" }
	onPeers(t, subjects, gnutls, func(t *testing.T, p printer, printed []string) {
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
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		if r := g.Run(t, peertest.Options{Dir: dir}, "certtool", "--generate-privkey", "--key-type", "ecdsa", "--outfile", "key.pem"); r.Code != 0 {
			t.Fatal(r)
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				write(t, filepath.Join(dir, "t.tmpl"), []byte(tt.template+"\nexpiration_days = 2\n"))
				r := g.Run(t, peertest.Options{Dir: dir}, "certtool", "--generate-self-signed", "--load-privkey", "key.pem", "--template", "t.tmpl")
				block, _ := pem.Decode([]byte(r.Stdout))
				if block == nil {
					t.Fatal(r)
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

// TestOpenSSLNames compares the names of attributes with openssl's own list.
func TestOpenSSLNames(t *testing.T) {
	line := regexp.MustCompile(`(?m)^(\S+) = (?:.*, )?((?:2\.5\.4|0\.9\.2342\.19200300\.100\.1|1\.2\.840\.113549\.1\.9|1\.3\.6\.1\.5\.5\.7\.9)\.\d+|` +
		`1\.3\.6\.1\.4\.1\.311\.60\.2\.1\.\d+|1\.3\.6\.1\.5\.5\.7\.8\.5|1\.2\.643\.100\.[135]|1\.2\.643\.3\.131\.1\.1)$`)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		r := g.Run(t, peertest.Options{}, "openssl", "list", "-objects")
		listed := line.FindAllStringSubmatch(r.Stdout, -1)
		if len(listed) < 100 {
			t.Fatalf("found %d attributes, wanted more than 100: %v", len(listed), r)
		}
		for _, l := range listed {
			if got, want := dn.New(value(oid(l[2]), utf8Tag, "x")).OpenSSL(), l[1]+" = x"; got != want {
				t.Errorf("%s: got %q, want %q", l[2], got, want)
			}
			if n, err := dn.ParseOpenSSL(l[1] + "=x"); err != nil || !n[0][0].Type.Equal(oid(l[2])) {
				t.Errorf("ParseOpenSSL(%q) = %v, %v; want the type %s", l[1]+"=x", n, err, l[2])
			}
		}
	})
}

const allNames = "placeOfBirth=a,gender=a,countryOfCitizenship=a,countryOfResidence=a,C=a,street=a,title=a,O=a,OU=a,CN=a,L=a,ST=a,description=a," +
	"serialNumber=a,telephoneNumber=a,surName=a,initials=a,generationQualifier=a,givenName=a,pseudonym=a,dnQualifier=a,postalCode=a,name=a,businessCategory=a," +
	"DC=a,UID=a,userPrincipalName=a,jurisdictionOfIncorporationLocalityName=a,jurisdictionOfIncorporationStateOrProvinceName=a," +
	"jurisdictionOfIncorporationCountryName=a,EMAIL=a,XmppAddr=a,OGRN=a,SNILS=a,OGRNIP=a,INN=a"
