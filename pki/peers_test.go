package pki

import (
	"bytes"
	"crypto"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/internal/peertest"
)

// ourKeys are the kinds of keys that real programs are shown.
var ourKeys = []struct {
	name string
	spec KeySpec
	gtls string // the oldest GnuTLS that takes it, "" if none does
	ssl  string // the oldest OpenSSL
}{
	{"rsa2048", KeySpec{RSA, 2048}, "3.7", "3.0"},
	{"rsapss", KeySpec{RSAPSS, 2048}, "3.7", "3.0"},
	{"rsaoaep", KeySpec{RSAOAEP, 2048}, "3.8.4", "9"}, // OpenSSL has no such keys
	{"p224", KeySpec{ECDSA, 224}, "3.7", "3.0"},
	{"p256", KeySpec{ECDSA, 256}, "3.7", "3.0"},
	{"p384", KeySpec{ECDSA, 384}, "3.7", "3.0"},
	{"p521", KeySpec{ECDSA, 521}, "3.7", "3.0"},
	{"ed25519", KeySpec{Algorithm: Ed25519}, "3.7", "3.0"},
	{"ed448", KeySpec{Algorithm: Ed448}, "3.7", "3.0"},
	{"x25519", KeySpec{Algorithm: X25519}, "3.7", "3.0"},
	{"x448", KeySpec{Algorithm: X448}, "3.7", "3.0"},
	{"mldsa44", KeySpec{Algorithm: MLDSA44}, "", "3.5"},
	{"mldsa65", KeySpec{Algorithm: MLDSA65}, "", "3.5"},
	{"mldsa87", KeySpec{Algorithm: MLDSA87}, "", "3.5"},
}

// takes tells whether a generation's program is new enough.
func takes(t *testing.T, g peertest.Generation, p peertest.Program, since string) bool {
	t.Helper()
	return since != "" && g.Version(t, p).AtLeast(since)
}

// script collects commands whose exit codes say whether a program takes what
// we made. One shell runs all of them.
type script struct {
	names    []string
	commands strings.Builder
}

func (s *script) add(name, format string, args ...any) {
	s.names = append(s.names, name)
	fmt.Fprintf(&s.commands, "{ "+format+"; } >out 2>&1; echo \"$? $(tail -c 300 out | tr '\\n' ' ')\"\n", args...)
}

// run reports the commands that fail.
func (s *script) run(t *testing.T, g peertest.Generation, dir string) {
	t.Helper()
	out := shell(t, g, dir, s.commands.String())
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(s.names) {
		t.Fatal(out)
	}
	for i, line := range lines {
		if code, _, _ := strings.Cut(line, " "); code != "0" {
			t.Errorf("%s: exit code %s", s.names[i], line)
		}
	}
}

// TestPeersReadOurKeys shows our keys, plain and encrypted, to both programs
// and compares the public keys that they see in them.
func TestPeersReadOurKeys(t *testing.T) {
	files := map[string][]byte{}
	add := func(name string, key PrivateKey, form MLDSAForm) {
		pemKey, err := EncodePrivateKeyPEM(key, form)
		if err != nil {
			t.Fatal(err)
		}
		public, err := MarshalPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		files[name+".key"], files[name+".pub"] = pemKey, EncodePEM(PEMPublicKey, public)
	}
	for _, k := range ourKeys {
		key, err := GenerateKey(k.spec)
		if err != nil {
			t.Fatal(err)
		}
		add(k.name, key, MLDSABoth)
		if k.spec.Algorithm.IsMLDSA() {
			add(k.name+"-seed", key, MLDSASeed)
			add(k.name+"-expanded", key, MLDSAExpanded)
		}
		if pss, ok := key.(*PSSKey); ok {
			add("rsapss-limited", &PSSKey{PrivateKey: pss.PrivateKey, Hash: crypto.SHA384, SaltLength: 48}, MLDSABoth)
		}
		der, err := MarshalPKCS8(key, MLDSABoth)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range Ciphers {
			if k.name != "p256" && (k.name != "mldsa65" || c.Name != AES256.Name) {
				continue // what is encrypted is all the same
			}
			encrypted, err := EncryptPKCS8(der, []byte("secret"), c, 1000)
			if err != nil {
				t.Fatal(err)
			}
			files[k.name+"-"+c.Name+".key"] = EncodePEM(PEMEncryptedKey, encrypted)
			files[k.name+"-"+c.Name+".pub"] = files[k.name+".pub"]
		}
	}
	dir := writeFiles(t, files)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		var s script
		for _, k := range ourKeys {
			for file := range files {
				name, isKey := strings.CutSuffix(file, ".key")
				if kind, _, _ := strings.Cut(name, "-"); !isKey || kind != k.name {
					continue
				}
				if takes(t, g, peertest.OpenSSL, k.ssl) {
					compare := "cmp pub " + name + ".pub"
					if name == "rsapss-limited" {
						compare = "true" // OpenSSL adds NULLs to the parameters
					}
					s.add("openssl: "+name, "openssl pkey -in %s.key -passin pass:secret -pubout -out pub && %s", name, compare)
					if !slices.Contains([]string{"x25519", "x448"}, k.name) {
						s.add("openssl check: "+name, "openssl pkey -in %s.key -passin pass:secret -check -noout", name)
					}
				}
				if takes(t, g, peertest.GnuTLS, k.gtls) {
					s.add("certtool: "+name, "certtool --load-privkey %s.key --password secret --pubkey-info --outfile pub && sed -n '/BEGIN/,$p' pub | cmp - %s.pub", name, name)
					s.add("certtool info: "+name, "certtool --key-info --infile %s.key --password secret --outfile info", name)
				}
			}
		}
		s.run(t, g, dir)
	})
}

// TestPeersReadOurCertificates has both programs verify a chain, a request and
// a CRL of each kind of key.
func TestPeersReadOurCertificates(t *testing.T) {
	files := map[string][]byte{}
	add := func(name string, key crypto.Signer, alg SignatureAlgorithm) {
		ca := mold{cn: "CA " + name, key: key, alg: alg}.root(t)
		leaf := mold{cn: "leaf", key: key, alg: alg, usage: DigitalSignature, names: dnsNames("host.example.com")}.by(t, ca)
		request, err := SignRequest(&RequestSpec{Subject: leaf.Subject, Extensions: Extensions{dnsNames("host.example.com").Extension()}, ChallengePassword: "x"}, key, alg)
		if err != nil {
			t.Fatal(err)
		}
		crl, err := SignCRL(&CRLSpec{ThisUpdate: testNow.Add(-time.Minute), NextUpdate: testNow.Add(time.Hour), Number: big.NewInt(7),
			Revoked: []RevokedCertificate{{Serial: big.NewInt(5), RevokedAt: testNow, Extensions: Extensions{Superseded.Extension()}}}}, ca.Certificate, key, alg)
		if err != nil {
			t.Fatal(err)
		}
		files[name+".ca"], files[name+".crt"], files[name+".csr"], files[name+".crl"] = ca.PEM(), leaf.PEM(), request.PEM(), crl.PEM()
	}
	type kind struct{ name, gtls, ssl string }
	var kinds []kind
	for _, k := range ourKeys {
		if k.spec.Algorithm == X25519 || k.spec.Algorithm == X448 || k.spec.Algorithm == RSAOAEP {
			continue
		}
		add(k.name, signerOf(t, k.spec), SignatureAlgorithm{})
		kinds = append(kinds, kind{k.name, k.gtls, k.ssl})
	}
	rsa := rsaKey(t, 2048)
	limited := &PSSKey{PrivateKey: rsa, Hash: crypto.SHA384, SaltLength: 48}
	add("rsapss-limited", limited, SignatureAlgorithm{})
	kinds = append(kinds, kind{"rsapss-limited", "3.7", "3.0"})
	for _, h := range []crypto.Hash{crypto.SHA224, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512} {
		name := strings.ToLower(HashName(h))
		add("rsa-"+name, rsa, SignatureAlgorithm{Key: RSA, Hash: h})
		kinds = append(kinds, kind{"rsa-" + name, "3.7", "3.0"})
		add("ecdsa-"+name, newP256(), SignatureAlgorithm{Key: ECDSA, Hash: h})
		ssl := "3.0"
		if strings.HasPrefix(name, "sha3") {
			ssl = "3.5" // OpenSSL 3.0 knows SHA-3 with RSA only
		}
		kinds = append(kinds, kind{"ecdsa-" + name, "3.7", ssl})
		if h == crypto.SHA384 || h == crypto.SHA512 {
			add("pss-"+name, rsa, SignatureAlgorithm{RSAPSS, h, h.Size()})
			kinds = append(kinds, kind{"pss-" + name, "3.7", "3.0"})
		}
	}
	dir := writeFiles(t, files)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		var s script
		for _, k := range kinds {
			n := k.name
			if takes(t, g, peertest.OpenSSL, k.ssl) {
				s.add("openssl verify: "+n, "openssl verify -x509_strict -CAfile %s.ca -verify_hostname host.example.com -purpose sslserver %s.crt", n, n)
				s.add("openssl req: "+n, "openssl req -verify -noout -in %s.csr && grep -q 'verify OK' out", n)
				s.add("openssl crl: "+n, "openssl crl -CAfile %s.ca -noout -in %s.crl && grep -q 'verify OK' out", n, n)
				s.add("openssl verify with CRL: "+n, "cat %s.ca %s.crl >both && openssl verify -crl_check -CAfile both %s.crt", n, n, n)
			}
			if takes(t, g, peertest.GnuTLS, k.gtls) {
				s.add("certtool verify: "+n, "certtool --verify --verify-profile low --load-ca-certificate %s.ca --verify-hostname host.example.com --infile %s.crt", n, n)
				s.add("certtool request: "+n, "certtool --crq-info --infile %s.csr && grep -q 'Self signature: verified' out", n)
				if n != "rsapss" { // certtool refuses its own as well if the key is not limited to a hash
					s.add("certtool CRL: "+n, "certtool --verify-crl --load-ca-certificate %s.ca --infile %s.crl", n, n)
				}
			}
		}
		s.run(t, g, dir)
	})
	for name, data := range files {
		if !strings.HasSuffix(name, ".crt") {
			continue
		}
		certs, err := ParseCertificatesPEM(data)
		if err != nil || !bytes.Equal(rebuild(t, certs[0]), certs[0].RawTBS) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
