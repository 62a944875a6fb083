package pki

import (
	"encoding/asn1"
	"testing"
)

// TestSignatureCache shows that the cache spares work and never makes a wrong
// signature right.
func TestSignatureCache(t *testing.T) {
	without := []asn1.ObjectIdentifier{OIDSubjectKeyID, OIDAuthorityKeyID}
	issuer := mold{cn: "Cache CA", without: without}.root(t)
	other := mold{cn: "Cache CA", without: without}.root(t) // the same name with another key
	leaf := mold{cn: "leaf", without: without}.by(t, issuer)
	foreign := mold{cn: "leaf", without: without}.by(t, other)

	var cache SignatureCache
	verify := func(leaf *Certificate, root *entity) error {
		_, err := Verify(leaf, VerifyOptions{Roots: []*Certificate{root.Certificate}, Time: testNow, Signatures: &cache})
		return err
	}
	for range 2 {
		if err := verify(leaf.Certificate, issuer); err != nil {
			t.Fatal(err)
		}
		if err := verify(foreign.Certificate, issuer); err == nil {
			t.Fatal("another authority's signature passes")
		}
		if err := verify(leaf.Certificate, other); err == nil {
			t.Fatal("a signature found right with one key passes with another of the same name")
		}
	}

	damaged := append([]byte(nil), leaf.Raw...)
	damaged[len(damaged)-1] ^= 1
	broken, err := ParseCertificate(damaged)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(broken, issuer); err == nil {
		t.Fatal("a damaged signature passes")
	}
	cache.Add(broken, issuer.Certificate)
	if err := verify(broken, issuer); err != nil {
		t.Fatalf("a signature that the caller vouches for is checked all the same: %v", err)
	}
}
