package pki_test

import (
	"crypto"
	"fmt"
	"log"
	"net/netip"
	"time"

	"virtls/pki"
	"virtls/pki/dn"
)

// An authority and a host's certificate, and what a client makes of it.
func Example() {
	now := time.Now()
	issue := func(subject string, days int, issuer *pki.Certificate, by crypto.Signer, x ...pki.Extension) (*pki.Certificate, crypto.Signer) {
		name, err := dn.Parse(subject) // in the order of the certificate
		if err != nil {
			log.Fatal(err)
		}
		kind, err := pki.ParseKeySpec("ec")
		if err != nil {
			log.Fatal(err)
		}
		key, err := pki.GenerateSigner(kind)
		if err != nil {
			log.Fatal(err)
		}
		if by == nil {
			by = key
		}
		cert, err := pki.Sign(&pki.Spec{
			Serial: pki.NewSerial(), Subject: name, PublicKey: key.Public(),
			NotBefore: now.Add(-5 * time.Minute), NotAfter: now.AddDate(0, 0, days), Extensions: x,
		}, issuer, by, pki.SignatureAlgorithm{})
		if err != nil {
			log.Fatal(err)
		}
		return cert, key
	}
	root, rootKey := issue("O=Example Org,CN=Example CA", 3650, nil, nil,
		pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true))
	host, _ := issue("O=Example Org,CN=kvm1.example.com", 365, root, rootKey,
		pki.BasicConstraints{}.Extension(), pki.DigitalSignature.Extension(true),
		pki.GeneralNames{pki.DNSName("kvm1.example.com"), pki.IPAddress(netip.MustParseAddr("192.0.2.11"))}.Extension())

	for _, name := range []string{"kvm1.example.com", "192.0.2.11", "kvm2.example.com"} {
		_, err := pki.Verify(host, pki.VerifyOptions{Roots: []*pki.Certificate{root}, Hostname: name})
		fmt.Println(name, err == nil)
	}
	// Output:
	// kvm1.example.com true
	// 192.0.2.11 true
	// kvm2.example.com false
}
