package pki

import (
	"bytes"
	"encoding/asn1"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// seedForeign adds the DER of files made by real programs, those with the suffix.
func seedForeign(f testing.TB, archive, suffix string, add func(name string, pem, der []byte)) {
	f.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", "foreign", archive))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range a.Files {
		if blocks := scanPEM(file.Data); strings.HasSuffix(file.Name, suffix) && len(blocks) > 0 {
			add(file.Name, file.Data, blocks[0].der)
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	seedForeign(f, "certs-forky.txtar", ".crt", func(_ string, _, der []byte) { f.Add(der) })
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := ParseCertificate(der)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Raw, der) || !bytes.Contains(der, c.RawTBS) {
			t.Error("the certificate is not what was read")
		}
		decodeAll(c.Extensions)
		_, _ = c.CheckSignatureFrom(c), c.String()
		_, _, _ = c.Issued(c), c.SelfIssued(), c.DNSNames()
		_, err = MatchHostname(c, "host1.example.com")
		if err != nil {
			_ = err.Error()
		}
		if _, err := Verify(c, VerifyOptions{Roots: []*Certificate{c}, PartialChain: true, Hostname: "a"}); err != nil {
			_ = err.Error()
		}
		if err := PredictGnuTLS([]*Certificate{c}, GnuTLSOptions{Trusted: []*Certificate{c}, NotSame: true}); err != nil {
			_ = err.Error()
		}
	})
}

// decodeAll runs every decoder of extensions.
func decodeAll(x Extensions) {
	_, _ = x.BasicConstraints()
	_, _, _ = x.KeyUsage()
	_, _ = x.ExtKeyUsage()
	_ = x.SubjectKeyID()
	_, _ = x.AuthorityKeyID()
	_, _ = x.Policies()
	_, _ = x.certPolicies()
	_, _ = x.AuthorityInfo()
	_, _ = x.CRLDistribution()
	_, _ = x.Integer(OIDCRLNumber)
	if names, err := x.SubjectAltName(); err == nil {
		describe(names)
	}
	if names, err := x.IssuerAltName(); err == nil {
		describe(names)
	}
	if c, err := x.NameConstraints(); err == nil && c != nil {
		describe(c.Permitted)
		describe(c.Excluded)
		_, _ = c.subtrees()
	}
	for _, e := range x {
		plainDistribution(e.Value)
	}
}

func describe(names GeneralNames) {
	for _, n := range names {
		_, _ = n.IP()
		_, _ = n.Range()
		_, _, _ = n.Other()
		_, _ = n.Directory()
		_, _ = n.Text(), n.String()
	}
}

func FuzzExtensions(f *testing.F) {
	seedForeign(f, "certs-forky.txtar", ".crt", func(_ string, _, der []byte) {
		if c, err := ParseCertificate(der); err == nil {
			for _, e := range c.Extensions {
				f.Add(e.Value)
			}
		}
	})
	oids := []asn1.ObjectIdentifier{OIDSubjectKeyID, OIDKeyUsage, OIDSubjectAltName, OIDIssuerAltName, OIDBasicConstraints, OIDCRLNumber,
		OIDNameConstraints, OIDCRLDistribution, OIDCertificatePolicies, OIDPolicyMappings, OIDAuthorityKeyID, OIDPolicyConstraints,
		OIDExtKeyUsage, OIDInhibitAnyPolicy, OIDAuthorityInfo}
	f.Fuzz(func(t *testing.T, value []byte) {
		var x Extensions
		for _, oid := range oids {
			x = append(x, Extension{OID: oid, Value: value})
		}
		decodeAll(x)
	})
}

func FuzzParseRequest(f *testing.F) {
	seedForeign(f, "certs-forky.txtar", ".csr", func(_ string, _, der []byte) { f.Add(der) })
	f.Fuzz(func(t *testing.T, der []byte) {
		if r, err := ParseRequest(der); err == nil {
			decodeAll(r.Extensions)
			_ = r.CheckSignature()
		}
	})
}

func FuzzParseCRL(f *testing.F) {
	seedForeign(f, "certs-forky.txtar", ".crl", func(_ string, _, der []byte) { f.Add(der) })
	root := mold{cn: "Root"}.root(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := ParseCRL(der)
		if err != nil {
			return
		}
		decodeAll(c.Extensions)
		_ = c.Number()
		for _, r := range c.Revoked {
			_ = r.Reason().String()
			if c.Find(r.Serial) == nil {
				t.Errorf("entry %v is not found", r.Serial)
			}
		}
		_ = c.CheckSignatureFrom(root.Certificate)
		// The list is made to speak for the root, whose signature it lacks.
		c.RawIssuer = root.RawSubject
		v := newVerifier(root.Certificate, VerifyOptions{CRLs: []*CRL{c}, Roots: []*Certificate{root.Certificate}})
		v.checked[[2]any{c, v.leaf}] = nil
		v.checkRevoked(v.leaf, v.leaf)
	})
}

// cheapPasswords keeps fuzzing from spending its time on deriving keys.
func cheapPasswords(f *testing.F) {
	iterations, work := maxPBKDF2Iterations, maxScryptWork
	maxPBKDF2Iterations, maxScryptWork = 3000, 1<<10
	f.Cleanup(func() { maxPBKDF2Iterations, maxScryptWork = iterations, work })
}

func FuzzParsePrivateKeyPEM(f *testing.F) {
	cheapPasswords(f)
	seedForeign(f, "keys-forky.txtar", ".pem", func(name string, pem, _ []byte) {
		if !strings.HasPrefix(name, "certtool-p8-") { // 600000 iterations
			f.Add(pem)
		}
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := ParsePrivateKeyPEM(data, secret)
		if err != nil {
			return
		}
		form := MLDSABoth
		if _, ok := key.(*MLDSAExpandedKey); ok {
			form = MLDSAExpanded
		}
		der, err := MarshalPKCS8(key, form)
		if err != nil {
			t.Fatalf("%T cannot be written: %v", key, err)
		}
		if again, err := ParsePKCS8(der); err != nil || !SameKey(key.Public(), again) {
			t.Errorf("%T written and read again: %v", key, err)
		}
	})
}

func FuzzDecryptPKCS8(f *testing.F) {
	cheapPasswords(f)
	seedForeign(f, "keys-forky.txtar", ".pem", func(name string, _, der []byte) {
		if strings.HasPrefix(name, "openssl-p8-") {
			f.Add(der)
		}
	})
	f.Fuzz(func(t *testing.T, der []byte) {
		if plain, err := DecryptPKCS8(der, []byte("secret")); err == nil {
			_, _ = ParsePKCS8(plain)
		}
	})
}

// FuzzVerify signs three certificates with extensions that come from the
// fuzzer, so that it gets past the signatures, and judges them.
func FuzzVerify(f *testing.F) {
	var extensions [][]byte
	seedForeign(f, "certs-forky.txtar", ".crt", func(_ string, _, der []byte) {
		if c, err := ParseCertificate(der); err == nil && c.Extensions != nil {
			extensions = append(extensions, encode(c.Extensions.add))
		}
	})
	for i, x := range extensions {
		f.Add(x, extensions[(i+1)%len(extensions)], extensions[(i+2)%len(extensions)], "host1.example.com", uint8(i))
	}
	policyCase := encode(Extensions{
		BasicConstraints{CA: true, PathLen: -1}.Extension(), InhibitAnyPolicyExtension(0),
		{OIDPolicyConstraints, true, []byte{0x30, 3, 0x80, 1, 0}},
		{OIDPolicyMappings, true, []byte{0x30, 8, 0x30, 6, 6, 1, 0x2a, 6, 1, 0x2b}},
		{OIDCertificatePolicies, true, []byte{0x30, 5, 0x30, 3, 6, 1, 0x2a}}}.add)
	f.Add(policyCase, policyCase, policyCase, "x", uint8(3))
	key := sharedKey()
	f.Fuzz(func(t *testing.T, root, ica, leaf []byte, host string, profile uint8) {
		var chain []*Certificate
		var issuer *Certificate
		for i, der := range [][]byte{root, ica, leaf} {
			in := cryptobyte.String(der)
			x, ok := readExtensions(&in)
			if !ok || !in.Empty() {
				return
			}
			s := mold{cn: string(rune('a' + i)), key: key}.spec(nil)
			s.Extensions = x
			c, err := Sign(s, issuer, key, SignatureAlgorithm{})
			if err != nil {
				return
			}
			chain, issuer = append([]*Certificate{c}, chain...), c
		}
		policy := StrictPolicy()
		policy.Profile = Profile(profile % 3)
		_, err := Verify(chain[0], VerifyOptions{Roots: chain[2:], Intermediates: chain[1:2], Hostname: host, Purpose: PurposeServer,
			KeyUsage: DigitalSignature, Policy: policy, Time: testNow})
		if err != nil && (err.Error() == "" || len(err.(*VerifyError).Problems) == 0) {
			t.Error("an error that says nothing")
		}
		if err := PredictGnuTLS(chain, GnuTLSOptions{Trusted: chain[2:], Time: testNow}); err != nil {
			_ = err.Error()
		}
	})
}

func FuzzNameConstraint(f *testing.F) {
	f.Add(uint8(DNSKind), []byte("example.com"), []byte("*.example.com"))
	f.Add(uint8(EmailKind), []byte(".example.com"), []byte("a@b.example.com"))
	f.Add(uint8(URIKind), []byte("example.com"), []byte("https://example.com:1/x"))
	f.Add(uint8(IPKind), []byte{192, 0, 2, 0, 255, 255, 255, 0}, []byte{192, 0, 2, 1})
	f.Fuzz(func(t *testing.T, kind uint8, constraint, name []byte) {
		c, n := GeneralName{NameKind(kind % 9), constraint}, GeneralName{NameKind(kind % 9), name}
		x := newConstraint(c)
		permits := (&subtrees{permitted: []comparand{x}}).allows(newName(n)) == nil
		excludes := (&subtrees{excluded: []comparand{x}}).allows(newName(n)) != nil
		if !x.ok {
			return
		}
		if permits && !excludes {
			t.Errorf("%s is within %s where it is permitted and not where it is excluded", n, c)
		}
		if again, ok := reread(n); !ok || again.String() != n.String() {
			t.Errorf("%s encoded and read again is %s", n, again)
		}
	})
}

func reread(n GeneralName) (GeneralName, bool) {
	der := encodeSequence(n.add)
	in := cryptobyte.String(der)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) {
		return n, false
	}
	return readGeneralName(&seq)
}
