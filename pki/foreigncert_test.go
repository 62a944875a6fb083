package pki

import (
	"bytes"
	"encoding/asn1"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
)

func TestForeignCertificates(t *testing.T) {
	eachForeign(t, "certs", func(t *testing.T, files map[string][]byte) {
		certs := map[string]*Certificate{}
		for file, data := range files {
			if name, ok := strings.CutSuffix(file, ".crt"); ok {
				list, err := ParseCertificatesPEM(data)
				if err != nil || len(list) != 1 {
					t.Errorf("%s: got %d certificates and %v", file, len(list), err)
					continue
				}
				certs[name] = list[0]
			}
		}
		kinds := map[string]int{}
		for name, c := range certs {
			kinds["crt"]++
			issuer := certs[strings.TrimSuffix(name, "-server")]
			if strings.HasPrefix(name, "openssl-v1") {
				issuer = certs["openssl-P-256"]
			}
			if issuer == nil || !issuer.Issued(c) {
				t.Errorf("%s: %v is not taken for its issuer", name, issuer)
			} else if err := c.CheckSignatureFrom(issuer); err != nil {
				t.Errorf("%s: %s: %v", name, c.SignatureAlgorithm(), err)
			}
			if name != "openssl-v1" || c.Version != 1 {
				checkEncodings(t, name, c.Extensions)
			}
			if got := rebuild(t, c); !bytes.Equal(got, c.RawTBS) {
				t.Errorf("%s: made anew it is\n%x, not\n%x", name, got, c.RawTBS)
			}
		}
		for file, data := range files {
			name, kind, _ := strings.Cut(file, ".")
			switch kinds[kind]++; kind {
			case "csr":
				checkForeignRequest(t, name, data)
			case "crl":
				checkForeignCRL(t, name, data, certs)
			}
		}
		if kinds["crt"] < 30 || kinds["csr"] < 10 || kinds["crl"] < 10 {
			t.Errorf("only %v", kinds)
		}
	})
}

// rebuild makes the signed part of a certificate from what was read of it.
func rebuild(t *testing.T, c *Certificate) []byte {
	t.Helper()
	s := &Spec{Version: c.Version, Serial: c.Serial, Subject: c.Subject, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		PublicKey: c.PublicKey.Key, Extensions: c.Extensions, IssuerUniqueID: c.IssuerUniqueID, SubjectUniqueID: c.SubjectUniqueID}
	var b cryptobyte.Builder
	s.addTBS(&b, c.TBSAlgorithm, c.RawIssuer)
	der, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// checkEncodings decodes the extensions that have a form of their own and
// encodes them again.
func checkEncodings(t *testing.T, name string, x Extensions) {
	t.Helper()
	compare := func(oid asn1.ObjectIdentifier, again func() (Extension, error)) {
		old := x.Find(oid)
		if old == nil {
			return
		}
		e, err := again()
		if err != nil {
			t.Errorf("%s: extension %v: %v", name, oid, err)
		} else if !bytes.Equal(e.Value, old.Value) {
			t.Errorf("%s: extension %v encoded again is\n%x, not\n%x", name, oid, e.Value, old.Value)
		}
	}
	compare(OIDBasicConstraints, func() (Extension, error) { v, err := x.BasicConstraints(); return v.Extension(), err })
	compare(OIDKeyUsage, func() (Extension, error) { v, _, err := x.KeyUsage(); return v.Extension(true), err })
	compare(OIDExtKeyUsage, func() (Extension, error) {
		v, err := x.ExtKeyUsage()
		if err != nil {
			return Extension{}, err
		}
		return ExtKeyUsageExtension(v, false)
	})
	compare(OIDSubjectAltName, func() (Extension, error) { v, err := x.SubjectAltName(); return v.Extension(), err })
	compare(OIDNameConstraints, func() (Extension, error) { v, err := x.NameConstraints(); return v.Extension(), err })
	compare(OIDSubjectKeyID, func() (Extension, error) { return SubjectKeyIDExtension(x.SubjectKeyID()), nil })
	compare(OIDAuthorityInfo, func() (Extension, error) { v, err := x.AuthorityInfo(); return AuthorityInfoExtension(v), err })
	if strings.HasPrefix(name, "certtool") {
		compare(OIDAuthorityKeyID, func() (Extension, error) { v, err := x.AuthorityKeyID(); return v.Extension(), err })
		compare(OIDCertificatePolicies, func() (Extension, error) {
			v, err := x.Policies()
			if err != nil {
				return Extension{}, err
			}
			return PoliciesExtension(v)
		})
		compare(OIDTLSFeature, func() (Extension, error) { return TLSFeatureExtension([]int64{5}), nil })
		compare(OIDCRLDistribution, func() (Extension, error) { return CRLDistributionExtension([]string{"http://example.com/crl"}), nil })
	}
	if _, err := x.certPolicies(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if points, err := x.CRLDistribution(); err != nil || points != nil && points[0].FullName[0].Text() != "http://example.com/crl" {
		t.Errorf("%s: CRL distribution points %v, %v", name, points, err)
	}
	if aki, err := x.AuthorityKeyID(); err != nil || aki != nil && aki.KeyID == nil {
		t.Errorf("%s: authority key identifier %v, %v", name, aki, err)
	}
}

func checkForeignRequest(t *testing.T, name string, data []byte) {
	t.Helper()
	r, err := ParseRequestPEM(data)
	if err != nil {
		t.Errorf("%s.csr: %v", name, err)
		return
	}
	if err := r.CheckSignature(); err != nil {
		t.Errorf("%s.csr: %v", name, err)
	}
	names, err := r.Extensions.SubjectAltName()
	if err != nil || len(names) == 0 || names[0].Text() != "host1.example.com" {
		t.Errorf("%s.csr: names %v, %v", name, names, err)
	}
	if len(r.Subject) == 0 || !bytes.Equal(r.Subject.DER(), r.RawSubject) {
		t.Errorf("%s.csr: subject %s", name, r.Subject)
	}
	again, err := ParseRequestPEM(r.PEM())
	if err != nil || !bytes.Equal(again.Raw, r.Raw) {
		t.Errorf("%s.csr: %v", name, err)
	}
}

func checkForeignCRL(t *testing.T, name string, data []byte, certs map[string]*Certificate) {
	t.Helper()
	crls, err := ParseCRLsPEM(data)
	if err != nil || len(crls) != 1 {
		t.Errorf("%s.crl: got %d and %v", name, len(crls), err)
		return
	}
	crl, issuer, server := crls[0], certs[name], certs[name+"-server"]
	if err := crl.CheckSignatureFrom(issuer); err != nil {
		t.Errorf("%s.crl: %v", name, err)
	}
	want := Unspecified
	if strings.HasPrefix(name, "openssl") {
		want = KeyCompromise
	}
	if r := crl.Find(server.Serial); r == nil || r.Reason() != want || !bytes.Equal(r.RawSerial, server.RawSerial) {
		t.Errorf("%s.crl: got entry %v, want reason %s", name, r, want)
	}
	if crl.Find(issuer.Serial) != nil && issuer.Serial.Cmp(server.Serial) != 0 {
		t.Errorf("%s.crl: the issuer is revoked", name)
	}
	if crl.Version != 2 || crl.Number() == nil || !crl.NextUpdate.After(crl.ThisUpdate) {
		t.Errorf("%s.crl: version %d, number %v, from %v to %v", name, crl.Version, crl.Number(), crl.ThisUpdate, crl.NextUpdate)
	}
	result, err := Verify(server, VerifyOptions{Roots: []*Certificate{issuer}, Intermediates: nil, CRLs: crls, Time: server.NotBefore})
	if !(&VerifyError{Problems: problemsOf(err)}).Has(Revoked) {
		t.Errorf("%s.crl: Verify finds %v, %v", name, result, err)
	}
}

func problemsOf(err error) []Problem {
	if ve, ok := err.(*VerifyError); ok {
		return ve.Problems
	}
	return nil
}
