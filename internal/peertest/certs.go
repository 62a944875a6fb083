package peertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"
)

// ClientDN is the client's name in [Certificates], as access lists have it.
const ClientDN = "O=Example,CN=client1"

// Certificates returns QEMU's credential files by their names: an authority, a
// server localhost and 127.0.0.1, and a client with the name [ClientDN], with P-256
// keys, made once. Nobody is to change them.
var Certificates = sync.OnceValue(func() map[string][]byte {
	files := map[string][]byte{}
	var caKey *ecdsa.PrivateKey
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	issue := func(name string, c *x509.Certificate) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		if c.IsCA {
			caKey = key
		}
		c.SerialNumber = big.NewInt(int64(len(files) + 1))
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
		if err != nil {
			panic(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err)
		}
		files[name+"-cert.pem"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		files[name+"-key.pem"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	}
	leaf := func(name pkix.Name, usage x509.ExtKeyUsage) *x509.Certificate {
		return &x509.Certificate{Subject: name, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	}
	issue("ca", ca)
	server := leaf(pkix.Name{CommonName: "localhost"}, x509.ExtKeyUsageServerAuth)
	server.DNSNames, server.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	issue("server", server)
	issue("client", leaf(pkix.Name{Organization: []string{"Example"}, CommonName: "client1"}, x509.ExtKeyUsageClientAuth))
	delete(files, "ca-key.pem")
	return files
})
