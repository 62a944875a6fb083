package pki

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"virtls/pki/dn"
)

// many makes n of something.
func many[T any](n int, f func(int) T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = f(i)
	}
	return list
}

// A hostileCase is a set of certificates that somebody made to take more time
// or memory than it has octets.
type hostileCase struct {
	name string
	make func(t *testing.T) (leaf *Certificate, o VerifyOptions)
	want Reason // among the reasons
}

// below makes root, authority and leaf of molds with the most common names.
func below(t *testing.T, ica, leaf mold) (*Certificate, VerifyOptions) {
	t.Helper()
	root := mold{cn: "Root", key: sharedKey()}.root(t)
	ica.ca, ica.cn, ica.key = true, "ICA", sharedKey()
	if leaf.cn == "" && leaf.subject == nil {
		leaf.cn = "leaf"
	}
	i := ica.by(t, root)
	o := trust(root)
	o.Intermediates = []*Certificate{i.Certificate}
	return leaf.by(t, i).Certificate, o
}

func constraints(permitted, excluded GeneralNames) Extensions {
	return Extensions{NameConstraints{Permitted: permitted, Excluded: excluded}.Extension()}
}

const hostileSize = 20_000 // of things in one certificate; some of them have 5 octets

var hostileCases = []hostileCase{
	{"malformed long constraint, many names", func(t *testing.T) (*Certificate, VerifyOptions) {
		return below(t, mold{extensions: constraints(dnsNames(strings.Repeat("\x00", 80_000)), nil)},
			mold{names: many(8000, func(int) GeneralName { return DNSName("a") })})
	}, Malformed},
	{"many constraints, many names", func(t *testing.T) (*Certificate, VerifyOptions) {
		return below(t, mold{extensions: constraints(many(2000, func(i int) GeneralName { return DNSName(fmt.Sprintf("host%d.example", i)) }), nil)},
			mold{names: many(100, func(int) GeneralName { return DNSName("a") })})
	}, NameNotPermitted},
	{"too many constraints and names", func(t *testing.T) (*Certificate, VerifyOptions) {
		return below(t, mold{extensions: constraints(nil, many(hostileSize, func(i int) GeneralName { return DNSName("a.b") }))},
			mold{names: many(hostileSize, func(int) GeneralName { return DNSName("a") })})
	}, TooComplex},
	{"long directory name, many names", func(t *testing.T) (*Certificate, VerifyOptions) {
		rdn := many(hostileSize, func(int) dn.Attribute { return dn.Attr(dn.CommonNameOID, "a") })
		unread := DirectoryName(dn.New(dn.Attribute{Type: dn.CommonNameOID, Tag: asn1.TagBoolean, Value: []byte{1}}))
		return below(t, mold{extensions: constraints(nil, GeneralNames{DirectoryName(dn.Name{rdn})})},
			mold{names: many(hostileSize, func(int) GeneralName { return unread })})
	}, TooComplex},
	{"long directory names", func(t *testing.T) (*Certificate, VerifyOptions) {
		long := DirectoryName(dn.New(many(500, func(int) dn.Attribute { return dn.Attr(dn.CommonNameOID, "a") })...))
		return below(t, mold{extensions: constraints(nil, many(40, func(int) GeneralName { return long }))},
			mold{names: many(40, func(int) GeneralName { return long })})
	}, TooComplex},
	{"many critical extensions", func(t *testing.T) (*Certificate, VerifyOptions) {
		s := mold{cn: "x", key: sharedKey()}.spec(nil)
		for i := range hostileSize {
			s.Extensions = append(s.Extensions, Extension{asn1.ObjectIdentifier{1, 2, 3, i}, true, nil})
		}
		return belowRoot(t, s)
	}, UnknownCritical},
	{"an extension very often", func(t *testing.T) (*Certificate, VerifyOptions) {
		s := mold{cn: "x", key: sharedKey()}.spec(nil)
		for range hostileSize {
			s.Extensions = append(s.Extensions, Extension{asn1.ObjectIdentifier{1, 2, 3}, false, nil})
		}
		return belowRoot(t, s)
	}, Malformed},
	{"long object identifier", func(t *testing.T) (*Certificate, VerifyOptions) {
		s := mold{cn: "x", key: sharedKey()}.spec(nil)
		oid := asn1.ObjectIdentifier(append([]int{1, 2}, many(hostileSize, func(int) int { return 1 << 30 })...))
		s.Extensions = append(s.Extensions, Extension{oid, true, nil})
		return belowRoot(t, s)
	}, UnknownCritical},
	{"many purposes", func(t *testing.T) (*Certificate, VerifyOptions) {
		purposes := many(hostileSize, func(int) asn1.ObjectIdentifier { return PurposeClient })
		leaf, o := below(t, mold{purposes: purposes}, mold{purposes: purposes})
		o.Purpose = PurposeServer
		return leaf, o
	}, WrongPurpose},
	{"long names", func(t *testing.T) (*Certificate, VerifyOptions) {
		long := strings.Repeat("ü", 10*hostileSize)
		leaf, o := below(t, mold{}, mold{cn: long, names: dnsNames(long, long)})
		o.Hostname, o.Roots = "host.example.com", nil
		return leaf, o
	}, NameMismatch},
	{"many names", func(t *testing.T) (*Certificate, VerifyOptions) {
		leaf, o := below(t, mold{}, mold{names: many(hostileSize, func(i int) GeneralName { return DNSName(fmt.Sprint(i)) })})
		o.Hostname = "host.example.com"
		return leaf, o
	}, NameMismatch},
	{"long serial number", func(t *testing.T) (*Certificate, VerifyOptions) {
		root := mold{cn: "Root", key: sharedKey()}.root(t)
		s := mold{cn: "x", key: sharedKey(), notAfter: testNow.Add(-time.Minute)}.spec(root)
		s.Serial = new(big.Int).Lsh(big.NewInt(1), 50*hostileSize)
		return foreign(t, s, root), trust(root)
	}, Expired},
	{"many names that break a rule", func(t *testing.T) (*Certificate, VerifyOptions) {
		leaf, o := below(t, mold{}, mold{names: many(hostileSize, func(int) GeneralName { return DNSName("_") })})
		o.Policy = StrictPolicy()
		o.Policy.Profile = RFC5280
		return leaf, o
	}, Nonconformant},
	{"many CNs that are no names", func(t *testing.T) (*Certificate, VerifyOptions) {
		leaf, o := below(t, mold{}, mold{
			subject: dn.New(many(hostileSize, func(int) dn.Attribute { return dn.Attr(dn.CommonNameOID, "a") })...),
			names:   many(hostileSize, func(i int) GeneralName { return DNSName(fmt.Sprint(i)) })})
		o.Policy = StrictPolicy()
		o.Policy.Profile = WebPKI
		return leaf, o
	}, Nonconformant},
	{"many authorities of one name, long key identifier", func(t *testing.T) (*Certificate, VerifyOptions) {
		id := AuthorityKeyID{}.Extension()
		id.Value = encodeSequence(func(b *cryptobyte.Builder) {
			b.AddASN1(ctx(1), func(b *cryptobyte.Builder) {
				for range hostileSize {
					DNSName("a").add(b)
				}
			})
		})
		other := newP256()
		namesakes := many(300, func(int) *Certificate { return mold{cn: "ICA", key: other}.root(t).Certificate })
		leaf, o := below(t, mold{}, mold{extensions: Extensions{id}})
		o.Roots, o.Intermediates = append(namesakes[:150], o.Roots...), append(namesakes[150:], o.Intermediates...)
		return leaf, o
	}, TooComplex},
	{"long key identifiers", func(t *testing.T) (*Certificate, VerifyOptions) {
		id := AuthorityKeyID{KeyID: make([]byte, 10*hostileSize)}.Extension()
		leaf, o := below(t, mold{}, mold{extensions: Extensions{id}})
		return leaf, o
	}, UnknownIssuer},
	{"many ways up", func(t *testing.T) (*Certificate, VerifyOptions) {
		// On each of eight levels every authority has issued every one below, and no root is trusted.
		return ladder(t, 8, 6, mold{})
	}, TooComplex},
	{"many ways up with long names", func(t *testing.T) (*Certificate, VerifyOptions) {
		return ladder(t, 4, 5, mold{extensions: constraints(nil, many(1000, func(i int) GeneralName { return DNSName("a.b") })),
			names: many(1000, func(int) GeneralName { return DNSName("a") })})
	}, UnknownIssuer},
	{"many ways up with many policies", func(t *testing.T) (*Certificate, VerifyOptions) {
		policies, err := PoliciesExtension(many(hostileSize, func(i int) PolicyInformation {
			return PolicyInformation{OID: asn1.ObjectIdentifier{1, 2, i}}
		}))
		if err != nil {
			t.Fatal(err)
		}
		leaf, o := ladder(t, 3, 5, mold{extensions: Extensions{policies}})
		root := mold{cn: "3", key: sharedKey(), notAfter: testNow.Add(-time.Minute)}.root(t)
		o.Roots = []*Certificate{root.Certificate}
		return leaf, o
	}, Expired},
	{"many ways up, self-issued with long names", func(t *testing.T) (*Certificate, VerifyOptions) {
		long := dn.New(dn.Attr(dn.CommonNameOID, strings.Repeat("a", 20_000)))
		var o VerifyOptions
		for range 12 {
			o.Intermediates = append(o.Intermediates, mold{subject: long, without: []asn1.ObjectIdentifier{OIDAuthorityKeyID, OIDSubjectKeyID}}.root(t).Certificate)
		}
		last := mold{subject: long, key: sharedKey(), without: []asn1.ObjectIdentifier{OIDSubjectKeyID}}.root(t)
		return mold{cn: "leaf", without: []asn1.ObjectIdentifier{OIDAuthorityKeyID}}.by(t, last).Certificate, o
	}, BadSignature},
	{"many revocation lists", func(t *testing.T) (*Certificate, VerifyOptions) {
		leaf, o := below(t, mold{}, mold{})
		forger := &entity{o.Intermediates[0], newP256()}
		spec := &CRLSpec{ThisUpdate: testNow, NextUpdate: testNow.Add(time.Hour)}
		forged := mold{cn: "ICA", key: forger.key}.root(t)
		for range 300 {
			crl, err := SignCRL(spec, forged.Certificate, forger.key, SignatureAlgorithm{})
			if err != nil {
				t.Fatal(err)
			}
			o.CRLs = append(o.CRLs, crl)
		}
		o.Roots = append(o.Roots, many(50, func(int) *Certificate { return mold{cn: "ICA"}.root(t).Certificate })...)
		return leaf, o
	}, TooComplex},
	{"revocation lists that keep the last from being looked at", func(t *testing.T) (*Certificate, VerifyOptions) {
		leaf, o := below(t, mold{}, mold{})
		list := func(revoked ...RevokedCertificate) *CRL {
			crl, err := SignCRL(&CRLSpec{ThisUpdate: testNow, NextUpdate: testNow.Add(time.Hour), Revoked: revoked}, o.Intermediates[0], sharedKey(), SignatureAlgorithm{})
			if err != nil {
				t.Fatal(err)
			}
			return crl
		}
		good := list()
		o.CRLs = append(many(maxSignatureChecks, func(int) *CRL {
			copied := *good
			return &copied
		}), list(RevokedCertificate{Serial: leaf.Serial, RevokedAt: testNow}))
		return leaf, o
	}, TooComplex},
	{"long revocation list with critical extensions", func(t *testing.T) (*Certificate, VerifyOptions) {
		leaf, o := below(t, mold{}, mold{})
		spec := &CRLSpec{ThisUpdate: testNow, NextUpdate: testNow.Add(time.Hour)}
		for i := range hostileSize {
			spec.Revoked = append(spec.Revoked, RevokedCertificate{Serial: big.NewInt(int64(i)), RevokedAt: testNow, Extensions: unknownCritical})
		}
		crl, err := SignCRL(spec, o.Intermediates[0], sharedKey(), SignatureAlgorithm{})
		if err != nil {
			t.Fatal(err)
		}
		o.CRLs = []*CRL{crl}
		return leaf, o
	}, CRLUnusable},
}

// belowRoot makes a root and a leaf below it as s says, whatever that is.
func belowRoot(t *testing.T, s *Spec) (*Certificate, VerifyOptions) {
	t.Helper()
	root := mold{cn: "Root", key: sharedKey()}.root(t)
	return foreign(t, s, root), trust(root)
}

// foreign signs what [Sign] may refuse to.
func foreign(t *testing.T, s *Spec, issuer *entity) *Certificate {
	t.Helper()
	der, err := signDER(issuer.key, SignatureAlgorithm{}, func(b *cryptobyte.Builder, id AlgorithmIdentifier) { s.addTBS(b, id, issuer.RawSubject) })
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ladder makes a leaf named "leaf" below so many levels of width authorities.
// All have one key, so that each has issued all of the level below. They are
// otherwise as m says.
func ladder(t *testing.T, levels, width int, m mold) (*Certificate, VerifyOptions) {
	t.Helper()
	var o VerifyOptions
	m.key, m.without = sharedKey(), []asn1.ObjectIdentifier{OIDAuthorityKeyID, OIDSubjectKeyID}
	above := func(i int) *entity {
		return mold{cn: fmt.Sprint(i), key: sharedKey(), without: m.without}.root(t)
	}
	for i := range levels {
		issuer := above(i + 1)
		for range width {
			m.cn, m.ca = fmt.Sprint(i), true
			o.Intermediates = append(o.Intermediates, m.by(t, issuer).Certificate)
		}
	}
	m.cn, m.ca = "leaf", false
	return m.by(t, above(0)).Certificate, o
}

// TestHostileCertificates: what is said of certificates is bounded, and so is
// what judging them takes. Where it once was not, this test does not end.
func TestHostileCertificates(t *testing.T) {
	const maxText = 8 << 10
	for _, tt := range hostileCases {
		t.Run(tt.name, func(t *testing.T) {
			leaf, o := tt.make(t)
			o.Time = testNow
			_, err := Verify(leaf, o)
			predicted := PredictGnuTLS(append([]*Certificate{leaf}, o.Intermediates[:min(len(o.Intermediates), 15)]...),
				GnuTLSOptions{Trusted: o.Roots, CRLs: o.CRLs, Time: testNow})
			var ve *VerifyError
			if !errors.As(err, &ve) || !ve.Has(tt.want) {
				t.Errorf("got %v, want %v", reasons(err), tt.want)
			}
			for _, err := range []error{err, predicted} {
				if !errors.As(err, &ve) {
					continue
				}
				if n := len(ve.Problems); n > 64 {
					t.Errorf("got %d problems", n)
				}
				for _, p := range ve.Problems {
					if text := p.String(); len(text) > maxText {
						t.Errorf("got a text of %d octets: %.200s...", len(text), text)
					}
				}
			}
		})
	}
}
