package pki

import (
	"crypto"
	"testing"
)

var benchKeys = []string{"p256", "p384", "rsa2048", "rsa3072", "ed25519", "mldsa44", "mldsa65", "mldsa87"}

func eachKey(b *testing.B, f func(b *testing.B, spec KeySpec)) {
	for _, name := range benchKeys {
		spec, err := ParseKeySpec(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) { f(b, spec) })
	}
}

func BenchmarkGenerateKey(b *testing.B) {
	eachKey(b, func(b *testing.B, spec KeySpec) {
		for b.Loop() {
			if _, err := GenerateKey(spec); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSign makes a whole certificate, with the check of its signature.
func BenchmarkSign(b *testing.B) {
	eachKey(b, func(b *testing.B, spec KeySpec) {
		ca := mold{cn: "CA", key: signerOf(b, spec)}.root(b)
		leaf := mold{cn: "leaf", key: signerOf(b, spec), names: dnsNames("host.example.com")}.spec(ca)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Sign(leaf, ca.Certificate, ca.key, SignatureAlgorithm{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseCertificate(b *testing.B) {
	leaf := mold{cn: "leaf", names: dnsNames("host.example.com")}.by(b, mold{cn: "CA"}.root(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCertificate(leaf.Raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePrivateKey(b *testing.B) {
	eachKey(b, func(b *testing.B, spec KeySpec) {
		key, err := EncodePrivateKeyPEM(signerOf(b, spec), MLDSABoth)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := ParsePrivateKeyPEM(key, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkVerify judges a chain of three certificates.
func BenchmarkVerify(b *testing.B) {
	eachKey(b, func(b *testing.B, spec KeySpec) {
		key := func() crypto.Signer { return signerOf(b, spec) }
		root := mold{cn: "Root", key: key()}.root(b)
		ica := mold{cn: "ICA", ca: true, key: key()}.by(b, root)
		leaf := mold{cn: "leaf", key: key(), names: dnsNames("host.example.com")}.by(b, ica)
		o := VerifyOptions{Roots: unwrap([]*entity{root}), Intermediates: unwrap([]*entity{ica}), Hostname: "host.example.com", Purpose: PurposeServer}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Verify(leaf.Certificate, o); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPredictGnuTLS(b *testing.B) {
	root := mold{cn: "Root"}.root(b)
	leaf := mold{cn: "leaf"}.by(b, root)
	o := GnuTLSOptions{Trusted: unwrap([]*entity{root})}
	for b.Loop() {
		if err := PredictGnuTLS(unwrap([]*entity{leaf}), o); err != nil {
			b.Fatal(err)
		}
	}
}
