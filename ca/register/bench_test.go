package register

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"virtls/pki"
	"virtls/pki/dn"
)

// BenchmarkInsert adds certificates in transactions of 10,000 to a register on
// the disk; the figure wanted is certificates per second.
func BenchmarkInsert(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	cert := testCertificate(b, key, "host", nil, pki.NewSerial())
	db, err := Open(filepath.Join(b.TempDir(), "register.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var authority int64
	if err := db.Update(b.Context(), time.Now(), Act{}, func(tx *Tx) (err error) {
		authority, err = tx.AddAuthority("ca", cert)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	const batch = 10_000
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		err := db.Update(b.Context(), time.Now(), Act{}, func(tx *Tx) error {
			for i := range min(batch, b.N-done) {
				// Rows as a fleet's, with random serial numbers and fingerprints as signing makes them.
				raw := append([]byte(nil), cert.Raw...)
				rand.Read(raw[len(raw)-32:])
				c := *cert
				c.Raw, c.Serial = raw, pki.NewSerial()
				if _, err := tx.AddCertificate(authority, &c, Apply, fmt.Sprintf("host:kvm%d.example.com", done+i), "qemu/both"); err != nil {
					return err
				}
				if err := tx.AddPending(&Placement{Key: "/hosts/kvm/etc/pki/qemu/.server-key.pem.tmp-abcdefgh",
					KeyPaths: []string{"hosts/kvm/etc/pki/qemu/server-key.pem", "hosts/kvm/etc/pki/qemu/client-key.pem"},
					Paths:    []string{"hosts/kvm/etc/pki/qemu/server-cert.pem", "hosts/kvm/etc/pki/qemu/client-cert.pem"}, Content: cert.PEM()}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certificates/s")
}

func testCertificate(t testing.TB, key *ecdsa.PrivateKey, cn string, names pki.GeneralNames, serial any) *pki.Certificate {
	spec := &pki.Spec{Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.OrganizationOID, "Example"), dn.Attr(dn.CommonNameOID, cn)),
		NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), PublicKey: key.Public(), Extensions: pki.Extensions{
			pki.GeneralNames{pki.DNSName("kvm1.example.com"), pki.DNSName("kvm1")}.Extension()}}
	cert, err := pki.Sign(spec, nil, key, pki.SignatureAlgorithm{})
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
