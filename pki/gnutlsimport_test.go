package pki

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"virtls/internal/peertest"
)

// odd makes a certificate that [Sign] would not: the signature is right, and
// outer replaces the algorithm outside the signed part unless it is nil.
func odd(t *testing.T, issuer *entity, change func(*Spec), outer *AlgorithmIdentifier) *Certificate {
	t.Helper()
	s := mold{cn: "leaf", key: sharedKey()}.spec(issuer)
	change(s)
	der, err := signDER(issuer.key, SignatureAlgorithm{}, func(b *cryptobyte.Builder, id AlgorithmIdentifier) { s.addTBS(b, id, issuer.RawSubject) })
	if err != nil {
		t.Fatal(err)
	}
	parts, err := readSigned(der)
	if err != nil {
		t.Fatal(err)
	}
	if outer != nil {
		der = encodeSequence(func(b *cryptobyte.Builder) {
			b.AddBytes(parts.raw)
			outer.add(b)
			b.AddASN1BitString(parts.signature)
		})
	}
	c, err := ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPredictGnuTLSImport(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	rsaRoot := mold{cn: "RSA", key: rsaKey(t, 2048)}.root(t)
	extension := func(e ...Extension) func(*Spec) {
		return func(s *Spec) { s.Extensions = append(s.Extensions, e...) }
	}
	null := []byte{5, 0}
	names := func(content []byte) []byte {
		return encode(func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(content) })
		})
	}
	cases := []struct {
		name string
		cert *Certificate
		want error
	}{
		{"nothing odd", odd(t, root, func(*Spec) {}, nil), nil},
		{"extension twice", odd(t, root, extension(dnsNames("a").Extension(), dnsNames("b").Extension()), nil), GnuTLSDuplicateExtension},
		{"unknown extension twice", odd(t, root, extension(Extension{OID: under(idCE, 99), Value: null}, Extension{OID: under(idCE, 99), Value: null}), nil), GnuTLSDuplicateExtension},
		{"other algorithm outside", odd(t, root, func(*Spec) {}, &AlgorithmIdentifier{OID: under(x962, 3)}), GnuTLSCertificateError},
		{"NULL outside only", odd(t, root, func(*Spec) {}, &AlgorithmIdentifier{under(x962, 2), derNull}), nil},
		{"RSA without NULL outside", odd(t, rsaRoot, func(*Spec) {}, &AlgorithmIdentifier{OID: under(pkcs1, 11)}), nil},
		{"bad subject names", odd(t, root, extension(Extension{OID: OIDSubjectAltName, Value: null}), nil), GnuTLSParseError},
		{"bad issuer names", odd(t, root, extension(Extension{OID: OIDIssuerAltName, Value: null}), nil), GnuTLSParseError},
		{"no names", odd(t, root, extension(Extension{OID: OIDSubjectAltName, Value: names(nil)}), nil), nil},
		{"address of 5 octets", odd(t, root, extension(Extension{OID: OIDSubjectAltName, Value: names([]byte{0x87, 5, 1, 2, 3, 4, 5})}), nil), nil},
		{"name of unknown kind", odd(t, root, extension(Extension{OID: OIDSubjectAltName, Value: names([]byte{0x89, 1, 1})}), nil), GnuTLSParseError},
		{"registered ID", odd(t, root, extension(Extension{OID: OIDSubjectAltName, Value: names([]byte{0x88, 1, 42})}), nil), nil},
		{"other name of nothing", odd(t, root, extension(Extension{OID: OIDSubjectAltName, Value: names([]byte{0xa0, 0})}), nil), GnuTLSParseError},
		{"bad critical basic constraints", odd(t, root, extension(Extension{OIDBasicConstraints, true, null}), nil), nil},
		{"bad critical key usage", odd(t, root, extension(Extension{OIDKeyUsage, true, null}), nil), nil},
		{"unique identifiers in version 3", odd(t, root, func(s *Spec) { s.SubjectUniqueID = []byte{1} }, nil), nil},
		{"negative serial", odd(t, root, func(s *Spec) { s.Serial = big.NewInt(-5) }, nil), nil},
		{"serial zero", odd(t, root, func(s *Spec) { s.Serial = new(big.Int) }, nil), nil},
		{"serial of 40 octets", odd(t, root, func(s *Spec) { s.Serial = new(big.Int).Lsh(big.NewInt(1), 310) }, nil), nil},
	}
	// addTBS knows versions 1 and 3 only.
	versions := []struct {
		name    string
		version byte
		change  func(*Spec)
		want    error
	}{
		{"version 1 with extensions", 0, func(*Spec) {}, GnuTLSCertificateError},
		{"version 2 with extensions", 1, func(*Spec) {}, GnuTLSCertificateError},
		{"version 2 with unique identifiers", 1, func(s *Spec) { s.Extensions, s.IssuerUniqueID = nil, []byte{1} }, nil},
		{"version 1 with unique identifiers", 0, func(s *Spec) { s.Extensions, s.IssuerUniqueID = nil, []byte{1} }, GnuTLSCertificateError},
	}
	for _, v := range versions {
		der := bytes.Replace(odd(t, root, v.change, nil).Raw, []byte{0xa0, 3, 2, 1, 2}, []byte{0xa0, 3, 2, 1, v.version}, 1)
		c, err := ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, struct {
			name string
			cert *Certificate
			want error
		}{v.name, c, v.want})
	}
	files := map[string][]byte{}
	var s strings.Builder
	for i, tt := range cases {
		if got := PredictGnuTLSImport(tt.cert); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		files[fmt.Sprint(i)] = tt.cert.PEM()
		fmt.Fprintf(&s, "certtool --certificate-info --infile %d 2>&1 >/dev/null | grep error: || echo loaded\n", i)
	}
	dir := writeFiles(t, files)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		lines := strings.Split(strings.TrimSpace(shell(t, g, dir, s.String())), "\n")
		for i, tt := range cases {
			want := "loaded"
			if tt.want == GnuTLSParseError {
				want = "ASN1 parser: "
			} else if tt.want != nil {
				want = tt.want.Error()
			}
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: certtool says %q, want %q", tt.name, lines[i], want)
			}
		}
	})
}
