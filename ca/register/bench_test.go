package register

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"virtls/pki"
)

// BenchmarkInsert adds certificates in transactions of 10,000 to a register on
// the disk; the figure wanted is certificates per second.
func BenchmarkInsert(b *testing.B) {
	cert := issue(b, "kvm1.example.com", 365, pki.DNSName("kvm1.example.com"), pki.DNSName("kvm1"))
	db := openNew(b)
	authority, _ := fleet(b, db, 0)
	const batch = 10_000
	b.ResetTimer()
	for done := 0; done < b.N; done += batch {
		update(b, db, func(tx *Tx) error {
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
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "certificates/s")
}

// BenchmarkQuery asks a register of 100,000 certificates.
func BenchmarkQuery(b *testing.B) {
	const n = 100_000
	db := openNew(b)
	cert := issue(b, "kvm1.example.com", 365, pki.DNSName("kvm1.example.com"), pki.DNSName("kvm1"))
	authority, _ := fleet(b, db, 0)
	update(b, db, func(tx *Tx) error {
		for i := range n {
			raw := append([]byte(nil), cert.Raw...)
			rand.Read(raw[len(raw)-32:])
			c := *cert
			c.Raw, c.Serial, c.NotAfter = raw, pki.NewSerial(), testNow.Add(time.Duration(i)*time.Minute)
			if _, err := tx.AddCertificate(authority, &c, Apply, fmt.Sprintf("host:kvm%d.example.com", i), "qemu/both"); err != nil {
				return err
			}
		}
		return nil
	})
	for name, f := range map[string]Filter{
		"all":        {},
		"current":    {Current: true},
		"text":       {Text: "kvm99999"},
		"expiring":   {Current: true, ExpiresAfter: testNow, ExpiresBefore: testNow.Add(100 * time.Minute)},
		"unexpired":  {ExpiresAfter: testNow},
		"all expire": {ExpiresAfter: testNow, ExpiresBefore: testNow.AddDate(9, 0, 0)},
		"holder":     {Holder: "host:kvm99999.example.com"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				rows := 0
				for _, err := range db.List(b.Context(), f) {
					must(b, err)
					rows++
				}
				b.ReportMetric(float64(rows), "rows")
			}
		})
	}
	b.Run("newest", func(b *testing.B) {
		for b.Loop() {
			_, err := db.Newest(b.Context(), "host:kvm5000.example.com", "qemu/both")
			must(b, err)
		}
	})
}
