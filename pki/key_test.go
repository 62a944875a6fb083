package pki

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"virtls/pki/dn"
)

func TestKeySpec(t *testing.T) {
	for text, want := range map[string]KeySpec{
		"ec": {ECDSA, 256}, "P-256": {ECDSA, 256}, "p384": {ECDSA, 384}, "P521": {ECDSA, 521}, "rsa": {RSA, 3072}, "RSA-2048": {RSA, 2048},
		"rsa8192": {RSA, 8192}, "Ed25519": {Algorithm: Ed25519}, "ml-dsa-65": {Algorithm: MLDSA65}, "mldsa44": {Algorithm: MLDSA44},
	} {
		got, err := ParseKeySpec(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
		if again, err := ParseKeySpec(got.String()); err != nil || again != got {
			t.Errorf("%s is printed as %s, which is %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "dsa", "rsa1024", "rsa9000", "rsa2049", "rsa-1", "p257", "ec256", "mldsa"} {
		if got, err := ParseKeySpec(text); err == nil {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
	for _, spec := range []KeySpec{{RSA, 1024}, {RSA, 1 << 20}, {ECDSA, 255}, {Algorithm: DSA}, {}} {
		if _, err := GenerateKey(spec); err == nil {
			t.Errorf("a key of type %+v was made", spec)
		}
	}
	if _, err := GenerateSigner(KeySpec{Algorithm: X25519}); err == nil {
		t.Error("an X25519 key is said to sign")
	}
}

func TestSignatureAlgorithms(t *testing.T) {
	for _, s := range signatureOIDs {
		id, ok := s.alg.Identifier()
		if !ok {
			t.Errorf("%s has no identifier", s.alg)
		}
		if back, ok := ParseSignatureAlgorithm(id); !ok || back != s.alg {
			t.Errorf("%s is read back as %s", s.alg, back)
		}
		id.Parameters = []byte{4, 0}
		if _, ok := ParseSignatureAlgorithm(id); ok {
			t.Errorf("%s is taken with parameters that it does not have", s.alg)
		}
	}
	for _, alg := range []SignatureAlgorithm{{RSAPSS, crypto.SHA256, 32}, {RSAPSS, crypto.SHA1, 20}, {RSAPSS, crypto.SHA3_512, 0}} {
		id, _ := alg.Identifier()
		if back, ok := ParseSignatureAlgorithm(id); !ok || back != alg {
			t.Errorf("%s is read back as %+v", alg, back)
		}
	}
	for name, der := range map[string][]byte{
		"nothing": nil, "null": {5, 0}, "trailing": {0x30, 0, 0}, "negative salt": {0x30, 5, 0xa2, 3, 2, 1, 0xff}, "huge salt": {0x30, 7, 0xa2, 5, 2, 3, 1, 0, 0},
		"trailer 2": {0x30, 5, 0xa3, 3, 2, 1, 2}, "other hash for the mask": append([]byte{0x30, 17, 0xa0, 15}, encodeSequence(func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1})
			b.AddBytes(derNull)
		})...),
	} {
		if alg, ok := ParseSignatureAlgorithm(AlgorithmIdentifier{RSAPSS.OID(), der}); ok {
			t.Errorf("PSS parameters, %s: got %+v", name, alg)
		}
	}
	if alg, ok := ParseSignatureAlgorithm(AlgorithmIdentifier{RSAPSS.OID(), []byte{0x30, 0}}); !ok || alg.Hash != crypto.SHA1 || alg.SaltLength != 20 {
		t.Errorf("default PSS parameters: got %+v", alg)
	}
}

// TestPublicKeyNotUsable has keys that can be shown and not used: they are no error.
func TestPublicKeyNotUsable(t *testing.T) {
	spki := func(oid asn1.ObjectIdentifier, params, key []byte) []byte {
		return encodeSequence(func(b *cryptobyte.Builder) {
			AlgorithmIdentifier{oid, params}.add(b)
			b.AddASN1BitString(key)
		})
	}
	p256 := []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}
	for name, der := range map[string][]byte{
		"unknown algorithm": spki(asn1.ObjectIdentifier{1, 2, 3}, nil, []byte{1}),
		"DSA":               spki(DSA.OID(), []byte{0x30, 0}, []byte{2, 1, 1}),
		"unknown curve":     spki(ECDSA.OID(), []byte{6, 1, 42}, []byte{4, 1, 1}),
		"explicit curve":    spki(ECDSA.OID(), []byte{0x30, 0}, []byte{4, 1, 1}),
		"no curve":          spki(ECDSA.OID(), nil, []byte{4, 1, 1}),
		"point at infinity": spki(ECDSA.OID(), p256, []byte{0}),
		"short point":       spki(ECDSA.OID(), p256, []byte{4, 1}),
		"point off curve":   spki(ECDSA.OID(), p256, append([]byte{4}, bytes.Repeat([]byte{1}, 64)...)),
		"no point":          spki(ECDSA.OID(), p256, nil),
		"short Ed25519":     spki(Ed25519.OID(), nil, make([]byte, 31)),
		"Ed25519 parameter": spki(Ed25519.OID(), derNull, make([]byte, 32)),
		"short ML-DSA":      spki(MLDSA65.OID(), nil, make([]byte, 32)),
		"RSA nonsense":      spki(RSA.OID(), derNull, []byte{1, 2, 3}),
		"RSA zero":          spki(RSA.OID(), derNull, []byte{0x30, 6, 2, 1, 0, 2, 1, 3}),
		"RSA negative":      spki(RSA.OID(), derNull, []byte{0x30, 6, 2, 1, 0x80, 2, 1, 3}),
		"RSA-PSS nonsense":  spki(RSAPSS.OID(), derNull, []byte{0x30, 6, 2, 1, 9, 2, 1, 3}),
	} {
		k, err := ParsePublicKey(der)
		if err != nil || k.Key != nil || k.Err == nil {
			t.Errorf("%s: got %+v and %v, want a key that cannot be used", name, k, err)
			continue
		}
		if k.Size() != 0 || !bytes.Equal(k.Raw, der) || k.ID() == nil {
			t.Errorf("%s: got size %d", name, k.Size())
		}
	}
	for name, der := range map[string][]byte{"nothing": {}, "null": {5, 0}, "trailing": append(spki(asn1.ObjectIdentifier{1, 2, 3}, nil, nil), 0)} {
		if k, err := ParsePublicKey(der); err == nil {
			t.Errorf("%s: got %+v", name, k)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	other := newP256()
	good := func() *Spec { return mold{cn: "x", key: sharedKey()}.spec(root) }
	for name, tt := range map[string]struct {
		change func(*Spec)
		key    crypto.Signer
		want   string
	}{
		"wrong key":            {func(*Spec) {}, other, "does not belong"},
		"no serial":            {func(s *Spec) { s.Serial = nil }, root.key, "serial number"},
		"serial zero":          {func(s *Spec) { s.Serial = big.NewInt(0) }, root.key, "serial number"},
		"negative serial":      {func(s *Spec) { s.Serial = big.NewInt(-1) }, root.key, "serial number"},
		"serial of 21 octets":  {func(s *Spec) { s.Serial = new(big.Int).Lsh(big.NewInt(1), 160) }, root.key, "serial number"},
		"serial of 20 and bit": {func(s *Spec) { s.Serial = new(big.Int).Lsh(big.NewInt(1), 159) }, root.key, "serial number"},
		"ends before it":       {func(s *Spec) { s.NotAfter = s.NotBefore }, root.key, "before it begins"},
		"year 10000":           {func(s *Spec) { s.NotAfter = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, root.key, "year 9999"},
		"no key":               {func(s *Spec) { s.PublicKey = nil }, root.key, "cannot be written"},
		"version 1 extensions": {func(s *Spec) { s.Version = 1 }, root.key, "no extensions"},
	} {
		s := good()
		tt.change(s)
		if _, err := Sign(s, root.Certificate, tt.key, SignatureAlgorithm{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	s := good()
	if _, err := Sign(s, nil, other, SignatureAlgorithm{}); err == nil {
		t.Error("a certificate was self-signed with another key")
	}
	if _, err := Sign(s, root.Certificate, root.key, SignatureAlgorithm{Key: RSA, Hash: crypto.SHA256}); err == nil {
		t.Error("an EC key made an RSA signature")
	}
	if _, err := SignCRL(&CRLSpec{ThisUpdate: testNow}, root.Certificate, other, SignatureAlgorithm{}); err == nil {
		t.Error("a CRL was signed with another key")
	}
	if _, err := SignCRL(&CRLSpec{ThisUpdate: testNow, NextUpdate: testNow}, root.Certificate, root.key, SignatureAlgorithm{}); err == nil {
		t.Error("a CRL was made that ends as it begins")
	}
}

func TestTimesAndNumbers(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	for _, year := range []int{1950, 1999, 2049, 2050, 9999} {
		s := mold{cn: "x", key: sharedKey()}.spec(root)
		s.NotBefore = time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC)
		s.NotAfter = time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC)
		c, err := Sign(s, root.Certificate, root.key, SignatureAlgorithm{})
		if err != nil || !c.NotAfter.Equal(s.NotAfter) || !c.NotBefore.Equal(s.NotBefore) {
			t.Errorf("%d: got %v to %v, %v", year, c.NotBefore, c.NotAfter, err)
		}
		if generalized := bytes.Contains(c.RawTBS, []byte{0x18, 15}); generalized != (year >= 2050) {
			t.Errorf("%d: GeneralizedTime is %t", year, generalized)
		}
	}
	for range 100 {
		n := NewSerial()
		if n.Sign() <= 0 || len(n.Bytes()) != 20 || n.Bytes()[0]&0xc0 != 0x40 {
			t.Fatalf("serial number %x", n)
		}
	}
	for text, want := range map[string]int64{"\x00": 0, "\x7f": 127, "\x00\x80": 128, "\x80": -128, "\xff": -1, "\xff\x7f": -129} {
		if got := signedInt([]byte(text)); got.Int64() != want {
			t.Errorf("%x is read as %v, want %d", text, got, want)
		}
	}
}

func TestUniqueIDs(t *testing.T) {
	root := mold{cn: "Root"}.root(t)
	s := mold{cn: "x", key: sharedKey()}.spec(root)
	s.IssuerUniqueID, s.SubjectUniqueID = []byte{1, 2}, []byte{3}
	c, err := Sign(s, root.Certificate, root.key, SignatureAlgorithm{})
	if err != nil || !bytes.Equal(c.IssuerUniqueID, s.IssuerUniqueID) || !bytes.Equal(c.SubjectUniqueID, s.SubjectUniqueID) {
		t.Errorf("got %x and %x, %v", c.IssuerUniqueID, c.SubjectUniqueID, err)
	}
}

func TestRevocationReasons(t *testing.T) {
	for r := range reasonNames {
		got, err := ParseRevocationReason(r.String())
		if r == RemoveFromCRL {
			if err == nil {
				t.Error("removeFromCRL is taken for a reason to revoke")
			}
			continue
		}
		if err != nil || got != r {
			t.Errorf("%s is read as %v, %v", r, got, err)
		}
	}
	if _, err := ParseRevocationReason("keycompromise"); err == nil {
		t.Error("reasons are read whatever their case")
	}
}

func TestRequestChallenge(t *testing.T) {
	r, err := SignRequest(&RequestSpec{Subject: dn.New(dn.Attr(dn.CommonNameOID, "x")), ChallengePassword: "secret"}, sharedKey(), SignatureAlgorithm{})
	if err != nil || len(r.Attributes) != 1 || !r.Attributes[0].OID.Equal(OIDChallengePassword) || r.Version != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if !bytes.HasSuffix(r.Attributes[0].Values, []byte("secret")) {
		t.Errorf("got %q", r.Attributes[0].Values)
	}
	if err := r.CheckSignature(); err != nil {
		t.Error(err)
	}
	r.RawTBS = append(bytes.Clone(r.RawTBS[:len(r.RawTBS)-1]), r.RawTBS[len(r.RawTBS)-1]^1)
	if r.CheckSignature() == nil {
		t.Error("a changed request verifies")
	}
}
