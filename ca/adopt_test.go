package ca

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
)

// adopted checks an authority that was taken over: it issues, and its lists
// continue the old ones.
func adopted(t *testing.T, g peertest.Generation, a *Authority) {
	t.Helper()
	o := order(t, "new.example.com")
	cert := issueOne(t, a, o)
	file := write(t, t.TempDir(), "new.pem", cert.PEM())
	run(t, g, "certtool", "--verify", "--load-ca-certificate", a.CertificatePath(), "--infile", file)
	run(t, g, "openssl", "verify", "-CAfile", a.CertificatePath(), file)
	old, err := a.state.register.LastCRL(t.Context(), a.row.KeyID)
	must(t, err)
	crl, err := a.NewCRL(t.Context(), 0)
	must(t, err)
	if old != nil && crl.Number().Cmp(old.Number) <= 0 {
		t.Errorf("list number %v after %v", crl.Number(), old.Number)
	}
}

func TestAdoptFromCerttool(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		// The documentation of libvirt makes an authority like this.
		write(t, dir, "ca.info", []byte("cn = Name of your organization\nca\ncert_signing_key\nexpiration_days = 3650\n"))
		run(t, g, "certtool", "--generate-privkey", "--outfile", dir+"/cakey.pem")
		run(t, g, "certtool", "--generate-self-signed", "--load-privkey", dir+"/cakey.pem", "--template", dir+"/ca.info", "--outfile", dir+"/cacert.pem")
		s := open(t, stateDir(t), Options{})
		a, err := s.AdoptAuthority(t.Context(), Adoption{
			Certificate: read(t, dir+"/cacert.pem"), Key: read(t, dir+"/cakey.pem"), Passphrase: secret,
		})
		must(t, err)
		check(t, "findings", codes(a.Findings), []string{kindNoCRLSign.Code})
		if bytes.Contains(read(t, a.KeyPath()), []byte("BEGIN PRIVATE KEY")) {
			t.Error("the key is not encrypted")
		}
		adopted(t, g, a)
	})
}

const opensslConf = `
[ca]
default_ca = d
[d]
dir = %[1]s
database = $dir/index.txt
new_certs_dir = $dir/newcerts
certificate = $dir/ca.pem
private_key = $dir/key.pem
serial = $dir/serial
crlnumber = $dir/crlnumber
default_md = sha256
default_days = 30
default_crl_days = 7
policy = p
unique_subject = no
[p]
organizationName = optional
commonName = supplied
`

func TestAdoptFromOpenSSL(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		conf := write(t, dir, "ca.cnf", fmt.Appendf(nil, opensslConf, dir))
		write(t, dir, "index.txt", nil)
		write(t, dir, "serial", []byte("0FFF\n"))
		write(t, dir, "crlnumber", []byte("A0\n"))
		must(t, os.Mkdir(dir+"/newcerts", 0o700))
		run(t, g, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", dir+"/key.pem", "-passout", "pass:open barley",
			"-out", dir+"/ca.pem", "-subj", "/O=Example, Inc./CN=Old CA", "-days", "100",
			"-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign")
		ca := func(args ...string) {
			run(t, g, "openssl", append([]string{"ca", "-batch", "-config", conf, "-passin", "pass:open barley"}, args...)...)
		}
		for i, name := range []string{"one", "two", "three"} {
			req := fmt.Sprintf("%s/%d.csr", dir, i)
			run(t, g, "openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", dir+"/leaf.pem", "-out", req,
				"-subj", "/O=Example, Inc./CN="+name+".example.com")
			ca("-notext", "-in", req, "-out", fmt.Sprintf("%s/%d.pem", dir, i))
		}
		ca("-revoke", dir+"/0.pem", "-crl_reason", "CACompromise")
		ca("-revoke", dir+"/1.pem", "-crl_compromise", "20261001120000Z")
		ca("-gencrl", "-out", dir+"/crl.pem")
		must(t, os.Remove(dir+"/newcerts/1001.pem"))

		s := open(t, stateDir(t), Options{})
		index, err := os.Open(dir + "/index.txt")
		must(t, err)
		defer index.Close()
		a, err := s.AdoptAuthority(t.Context(), Adoption{
			Certificate: read(t, dir+"/ca.pem"), Key: read(t, dir+"/key.pem"), KeyPassword: wrong,
			Index: index, CRL: read(t, dir+"/crl.pem"),
			Issued: func(serial string) []byte {
				data, _ := os.ReadFile(filepath.Join(dir, "newcerts", serial+".pem"))
				return data
			},
		})
		must(t, err)
		check(t, "findings", codes(a.Findings), []string(nil))
		var got []string
		for _, c := range certificates(t, s.Register(), filterAll) {
			revoked := "valid"
			if c.Revoked != nil {
				revoked = c.Revoked.Reason.String()
			}
			got = append(got, fmt.Sprint(c.Serial, " ", c.Subject, " ", revoked, " ", c.How, " ", c.DER != nil, " ", c.NotAfter.IsZero()))
		}
		check(t, "register", got, []string{
			`0fff O=Example\, Inc.,CN=one.example.com cACompromise import true false`,
			`1000 O=Example\, Inc.,CN=two.example.com keyCompromise import true false`,
			`1001 O=Example\, Inc.,CN=three.example.com valid import false false`,
		})
		adopted(t, g, a)
		last, err := s.Register().LastCRL(t.Context(), a.row.KeyID)
		must(t, err)
		check(t, "number of the next list", last.Number.Int64(), int64(0xa1))
		crl, err := pki.ParseCRL(last.DER)
		must(t, err)
		check(t, "revoked in it", len(crl.Revoked), 2)
		// Nothing is ever issued with a number that is taken.
		o := order(t, "taken.example.com")
		o.Spec.Serial = big.NewInt(0x1001)
		if _, err := a.Issue(t.Context(), []Order{o}); err == nil || !strings.Contains(err.Error(), "1001") {
			t.Errorf("a taken serial number: %v", err)
		}
	})
}

func TestAdoptFromEasyRSA(t *testing.T) {
	const easyrsa = "/usr/share/easy-rsa/easyrsa"
	peertest.NeedProgram(t, easyrsa, "easy-rsa")
	g := peertest.Host
	dir := t.TempDir()
	rsa := func(args ...string) {
		t.Helper()
		env := []string{"EASYRSA_BATCH=1", "EASYRSA_PKI=" + dir + "/pki", "EASYRSA=/usr/share/easy-rsa",
			"EASYRSA_PASSIN=pass:open barley", "EASYRSA_PASSOUT=pass:open barley"}
		if args[0] == "build-ca" {
			env = append(env, "EASYRSA_REQ_CN=Easy CA")
		}
		r := g.Run(t, peertest.Options{Dir: dir, Env: env}, easyrsa, args...)
		if r.Code != 0 {
			t.Fatal(r)
		}
	}
	rsa("init-pki")
	rsa("build-ca")
	rsa("build-server-full", "kvm1.example.com", "nopass")
	rsa("build-client-full", "alice", "nopass")
	rsa("revoke", "alice", "keyCompromise")
	rsa("gen-crl")
	index, err := os.Open(dir + "/pki/index.txt")
	must(t, err)
	defer index.Close()
	s := open(t, stateDir(t), Options{})
	a, err := s.AdoptAuthority(t.Context(), Adoption{
		Certificate: read(t, dir+"/pki/ca.crt"), Key: read(t, dir+"/pki/private/ca.key"), KeyPassword: wrong, Passphrase: secret,
		Index: index, CRL: read(t, dir+"/pki/crl.pem"),
		Issued: func(serial string) []byte {
			data, err := os.ReadFile(filepath.Join(dir, "pki/certs_by_serial", serial+".pem"))
			if err != nil {
				data, _ = os.ReadFile(filepath.Join(dir, "pki/revoked/certs_by_serial", serial+".crt"))
			}
			return data
		},
	})
	must(t, err)
	var got []string
	for _, c := range certificates(t, s.Register(), filterAll) {
		got = append(got, fmt.Sprint(c.Subject, " ", c.Names, " ", c.KeyType, " ", c.Revoked != nil))
	}
	check(t, "register", got, []string{"CN=kvm1.example.com [kvm1.example.com] rsa2048 false", "CN=alice [] rsa2048 true"})
	adopted(t, g, a)
}

func TestAdoptRefuses(t *testing.T) {
	now := time.Now()
	key, other := newKey(t, "ec"), newKey(t, "ec")
	sign := func(change func(*pki.Spec)) []byte {
		spec := &pki.Spec{Serial: pki.NewSerial(), Subject: cn("Old CA"), NotBefore: now, NotAfter: now.AddDate(1, 0, 0), PublicKey: key.Public(),
			Extensions: pki.Extensions{pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true)}}
		change(spec)
		cert, err := pki.Sign(spec, nil, key, pki.SignatureAlgorithm{})
		must(t, err)
		return cert.PEM()
	}
	keyPEM := func(k pki.PrivateKey) []byte {
		data, err := pki.EncodePrivateKeyPEM(k, pki.MLDSABoth)
		must(t, err)
		return data
	}
	locked, err := encryptQuickly(key, []byte("open sesame"))
	must(t, err)
	good := sign(func(*pki.Spec) {})
	exchange, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.X25519})
	must(t, err)
	_, stranger := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	strangerCRL, err := stranger.NewCRL(t.Context(), 0)
	must(t, err)
	twice := "V\t271122120000Z\t\t01\tunknown\t/CN=a\n"
	tests := []struct {
		name string
		ad   Adoption
		code string
		exit int
	}{
		{"another key's certificate", Adoption{Certificate: good, Key: keyPEM(other)}, kindKeyMismatch.Code, finding.ExitWrong},
		{"a leaf", Adoption{Certificate: sign(func(s *pki.Spec) { s.Extensions = nil }), Key: keyPEM(key)}, kindNotAuthority.Code, finding.ExitWrong},
		{"version 1", Adoption{Certificate: sign(func(s *pki.Spec) { s.Version, s.Extensions = 1, nil }), Key: keyPEM(key)}, kindNotAuthority.Code, finding.ExitWrong},
		{"no keyCertSign", Adoption{Certificate: sign(func(s *pki.Spec) { s.Extensions.Set(pki.DigitalSignature.Extension(true)) }), Key: keyPEM(key)}, kindNoCertSign.Code, finding.ExitWrong},
		{"no certificate", Adoption{Certificate: keyPEM(key), Key: keyPEM(key)}, kindForeignFile.Code, finding.ExitUnable},
		{"no key", Adoption{Certificate: good, Key: good}, kindForeignFile.Code, finding.ExitUnable},
		{"key that cannot sign", Adoption{Certificate: good, Key: keyPEM(exchange)}, kindForeignFile.Code, finding.ExitWrong},
		{"locked key", Adoption{Certificate: good, Key: locked}, kindForeignPassphrase.Code, finding.ExitUnable},
		{"locked key, wrong passphrase", Adoption{Certificate: good, Key: locked, KeyPassword: wrong}, kindForeignPassphrase.Code, finding.ExitUnable},
		{"expired", Adoption{Certificate: sign(func(s *pki.Spec) { s.NotBefore, s.NotAfter = now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0) }), Key: keyPEM(key)}, kindExpired.Code, finding.ExitWrong},
		{"garbage in DER's place", Adoption{Certificate: []byte{0x30, 0x80}, Key: keyPEM(key)}, kindForeignFile.Code, finding.ExitUnable},
		{"name", Adoption{Name: "a/b", Certificate: good, Key: keyPEM(key)}, kindAuthorityName.Code, finding.ExitUsage},
		{"foreign list", Adoption{Certificate: good, Key: keyPEM(key), CRL: strangerCRL.PEM()}, kindForeignCRL.Code, finding.ExitWrong},
		{"list that is none", Adoption{Certificate: good, Key: keyPEM(key), CRL: []byte("no list")}, kindForeignCRL.Code, finding.ExitWrong},
		{"index that is none", Adoption{Certificate: good, Key: keyPEM(key), Index: strings.NewReader("no index\n")}, kindIndex.Code, finding.ExitWrong},
		{"serial number twice", Adoption{Certificate: good, Key: keyPEM(key), Index: strings.NewReader(twice + twice)}, "serial-used", finding.ExitUnable},
	}
	s := open(t, stateDir(t), Options{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := s.AdoptAuthority(t.Context(), test.ad)
			checkFailure(t, err, &finding.Kind{Code: test.code}, test.exit)
		})
	}
	check(t, "left behind", names(t, s.Dir()), []string{"./ 0700", "ca/ 0700", "version 0600"})
	// After all this the good one is taken, with a list in DER form.
	certs, err := pki.ParseCertificatesPEM(good)
	must(t, err)
	crl, err := pki.SignCRL(&pki.CRLSpec{ThisUpdate: now, Number: big.NewInt(1)}, certs[0], key, pki.SignatureAlgorithm{})
	must(t, err)
	_, err = s.AdoptAuthority(t.Context(), Adoption{Certificate: good, Key: keyPEM(key), CRL: crl.Raw, Index: strings.NewReader(twice)})
	must(t, err)
	_, err = s.AdoptAuthority(t.Context(), Adoption{Certificate: good, Key: keyPEM(key)})
	checkFailure(t, err, kindAuthorityExists, finding.ExitUnable)
}

func TestReadIndex(t *testing.T) {
	end := time.Date(2027, 11, 22, 12, 0, 0, 0, time.UTC)
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	revoked := func(reason pki.RevocationReason) *register.Revocation {
		return &register.Revocation{Reason: reason, At: at}
	}
	tests := []struct {
		line string
		want indexEntry // zero for an error
	}{
		{"V\t271122120000Z\t\t0FFF\tunknown\t/C=GB/O=Example/CN=a", indexEntry{"0fff", "0FFF", "C=GB,O=Example,CN=a", end, nil}},
		{"V\t20271122120000Z\t\t01\tunknown\t/CN=a\r", indexEntry{"01", "01", "CN=a", end, nil}},
		{"V\t500101000000Z\t\t01\tunknown\t/CN=a", indexEntry{"01", "01", "CN=a", time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC), nil}},
		{"E\t271122120000Z\t\t01\tunknown\tno name at all", indexEntry{"01", "01", "no name at all", end, nil}},
		{"R\t271122120000Z\t261122120000Z\t01\tunknown\t/CN=a", indexEntry{"01", "01", "CN=a", end, revoked(pki.Unspecified)}},
		{"R\t271122120000Z\t261122120000Z,CACompromise\t01\tunknown\t/CN=a", indexEntry{"01", "01", "CN=a", end, revoked(pki.CACompromise)}},
		{"R\t271122120000Z\t20261122120000Z,superseded\t01\tunknown\t/CN=a", indexEntry{"01", "01", "CN=a", end, revoked(pki.Superseded)}},
		{"R\t271122120000Z\t261122120000Z,holdInstruction,holdInstructionReject\t01\tx\t/CN=a", indexEntry{"01", "01", "CN=a", end, revoked(pki.CertificateHold)}},
		{"R\t271122120000Z\t261122120000Z,keyTime,20260101000000Z\t01\tx\t/CN=a", indexEntry{"01", "01", "CN=a", end, revoked(pki.KeyCompromise)}},
		{"R\t271122120000Z\t261122120000Z,CAkeyTime,20260101000000Z\t01\tx\t/CN=a", indexEntry{"01", "01", "CN=a", end, revoked(pki.CACompromise)}},
		{"R\t271122120000Z\t\t01\tunknown\t/CN=a", indexEntry{}},
		{"R\t271122120000Z\t261122120000Z,boredom\t01\tunknown\t/CN=a", indexEntry{}},
		{"R\t271122120000Z\t261122120000Z,removeFromCRL\t01\tunknown\t/CN=a", indexEntry{}},
		{"X\t271122120000Z\t\t01\tunknown\t/CN=a", indexEntry{}},
		{"V\t271122120000\t\t01\tunknown\t/CN=a", indexEntry{}},
		{"V\t271122120000Z\t\tserial\tunknown\t/CN=a", indexEntry{}},
		{"V\t271122120000Z\t\t01\tunknown", indexEntry{}},
		{"V\t271122120000Z\t\t01\tunknown\t/CN=a\tmore", indexEntry{}},
		{strings.Repeat("x", maxIndexLine+1), indexEntry{}},
	}
	for _, test := range tests {
		var got []indexEntry
		var failure error
		for e, err := range readIndex("index.txt", strings.NewReader("\n"+test.line+"\n")) {
			if failure = err; err == nil {
				got = append(got, e)
			}
		}
		if test.want.serial == "" {
			checkFailure(t, failure, kindIndex, finding.ExitCode(failure))
			if failure != nil && !strings.Contains(failure.Error(), "index.txt:2") {
				t.Errorf("%.80q: the error does not name the line: %v", test.line, failure)
			}
		} else if failure != nil || len(got) != 1 || fmt.Sprint(got[0].revoked) != fmt.Sprint(test.want.revoked) {
			t.Errorf("%q: %v, %v", test.line, got, failure)
		} else {
			got[0].revoked, test.want.revoked = nil, nil
			if got[0] != test.want {
				t.Errorf("%q: %+v, want %+v", test.line, got[0], test.want)
			}
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add("V\t271122120000Z\t\t0FFF\tunknown\t/C=GB/O=Example/CN=a\nR\t271122120000Z\t261122120000Z,keyTime,20260101000000Z\t01\tx\t/CN=a\n")
	f.Fuzz(func(t *testing.T, text string) {
		for e, err := range readIndex("index.txt", strings.NewReader(text)) {
			if err != nil {
				break
			}
			if again, err := register.ParseSerial(e.serial); err != nil || again != e.serial {
				t.Errorf("serial %q is read back as %q, %v", e.serial, again, err)
			}
		}
	})
}
