package register

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"virtls/finding"
	"virtls/pki"
	"virtls/pki/dn"
)

var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var testKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// issue makes a certificate signed with testKey.
func issue(t testing.TB, cn string, days int, names ...pki.GeneralName) *pki.Certificate {
	t.Helper()
	spec := &pki.Spec{
		Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.OrganizationOID, "Example"), dn.Attr(dn.CommonNameOID, cn)),
		NotBefore: testNow, NotAfter: testNow.AddDate(0, 0, days), PublicKey: testKey().Public(),
	}
	if len(names) > 0 {
		spec.Extensions = pki.Extensions{pki.GeneralNames(names).Extension()}
	}
	cert, err := pki.Sign(spec, nil, testKey(), pki.SignatureAlgorithm{})
	must(t, err)
	return cert
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func openNew(t testing.TB) *DB {
	t.Helper()
	db, err := Open(filepath.Join(t.TempDir(), "register.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

var testAct = Act{By: "alice", Command: "virtls apply fleet.yaml", Kind: "issue", Note: "a note"}

// update fails the test if the act fails.
func update(t testing.TB, db *DB, f func(*Tx) error) {
	t.Helper()
	must(t, db.Update(t.Context(), testNow, testAct, f))
}

// fleet fills a register with an authority and n certificates for kvm1, kvm2, ...
func fleet(t testing.TB, db *DB, n int) (authority int64, certs []*pki.Certificate) {
	t.Helper()
	root := issue(t, "CA", 3650)
	for i := range n {
		host := fmt.Sprintf("kvm%d.example.com", i+1)
		certs = append(certs, issue(t, host, 100+i, pki.DNSName(host), pki.IPAddress(netip.MustParseAddr("192.0.2.1"))))
	}
	update(t, db, func(tx *Tx) (err error) {
		if authority, err = tx.AddAuthority("ca", root); err != nil {
			return err
		}
		for _, c := range certs {
			if _, err := tx.AddCertificate(authority, c, Apply, "host:"+c.Subject.CommonName(), "qemu/both"); err != nil {
				return err
			}
		}
		return nil
	})
	return authority, certs
}

// hosts returns the CNs of the certificates that a filter lets through.
func hosts(t *testing.T, db *DB, f Filter) []string {
	t.Helper()
	var names []string
	for c, err := range db.List(t.Context(), f) {
		must(t, err)
		_, cn, _ := strings.Cut(c.Subject, "CN=")
		names = append(names, cn)
	}
	return names
}

func TestCertificateComesBack(t *testing.T) {
	db := openNew(t)
	_, certs := fleet(t, db, 2)
	got, err := db.BySerial(t.Context(), certs[0].SerialHex())
	must(t, err)
	sum := certs[0].SHA256()
	want := &Certificate{
		ID: 1, Authority: "ca", Serial: certs[0].SerialHex(), How: Apply, Holder: "host:kvm1.example.com", Slot: "qemu/both",
		Subject: "O=Example,CN=kvm1.example.com", Names: []string{"kvm1.example.com", "192.0.2.1"}, KeyType: "p256",
		NotBefore: testNow, NotAfter: testNow.AddDate(0, 0, 100), Fingerprint: fmt.Sprintf("%x", sum), DER: certs[0].Raw,
		Event: Event{ID: 1, At: testNow, Act: testAct},
	}
	check(t, "by serial", got, want)
	byFingerprint, err := db.ByFingerprint(t.Context(), want.Fingerprint)
	must(t, err)
	check(t, "by fingerprint", byFingerprint, want)
	newest, err := db.Newest(t.Context(), want.Holder, want.Slot)
	must(t, err)
	check(t, "by holder and slot", newest, want)
	parsed, err := got.Parse()
	must(t, err)
	check(t, "parsed", pki.SameCertificate(parsed, certs[0]), true)
	for name, find := range map[string]func() (*Certificate, error){
		"serial":      func() (*Certificate, error) { return db.BySerial(t.Context(), "00") },
		"fingerprint": func() (*Certificate, error) { return db.ByFingerprint(t.Context(), "00") },
		"holder":      func() (*Certificate, error) { return db.Newest(t.Context(), want.Holder, "libvirt/both") },
	} {
		if c, err := find(); c != nil || err != nil {
			t.Errorf("unknown %s: %v, %v", name, c, err)
		}
	}
}

func TestList(t *testing.T) {
	db := openNew(t)
	authority, certs := fleet(t, db, 4)
	// kvm1 is renewed, kvm2's renewal is revoked, kvm3 is revoked, and somebody
	// without a slot has two certificates.
	renewed1, renewed2 := issue(t, "kvm1.example.com", 400), issue(t, "kvm2.example.com", 401)
	update(t, db, func(tx *Tx) error {
		_, err1 := tx.AddCertificate(authority, renewed1, Renew, "host:kvm1.example.com", "qemu/both")
		id, err2 := tx.AddCertificate(authority, renewed2, Renew, "host:kvm2.example.com", "qemu/both")
		_, err3 := tx.AddCertificate(authority, issue(t, "100%_sure", 500, pki.DNSName("Odd.example.org")), Issue, "", "")
		_, err4 := tx.AddCertificate(authority, issue(t, "loner", 500), Issue, "", "")
		return errors.Join(err1, err2, err3, err4, tx.Revoke(3, pki.KeyCompromise, testNow), tx.Revoke(id, pki.Superseded, testNow))
	})
	k := func(n int) string { return fmt.Sprintf("kvm%d.example.com", n) }
	serial := certs[3].SerialHex()
	tests := []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"all", Filter{}, []string{k(1), k(2), k(3), k(4), k(1), k(2), "100%_sure", "loner"}},
		{"valid", Filter{Valid: true}, []string{k(1), k(2), k(4), k(1), "100%_sure", "loner"}},
		{"current", Filter{Current: true}, []string{k(2), k(4), k(1), "100%_sure", "loner"}},
		{"holder", Filter{Holder: "host:" + k(1)}, []string{k(1), k(1)}},
		{"slot", Filter{Holder: "host:" + k(1), Slot: "libvirt/both"}, nil},
		{"authority", Filter{Authority: "mldsa"}, nil},
		{"event", Filter{Event: 2, Valid: true}, []string{k(1), "100%_sure", "loner"}},
		{"expiring", Filter{Current: true, ExpiresAfter: testNow, ExpiresBefore: testNow.AddDate(0, 0, 103)}, []string{k(2), k(4)}},
		{"expires exactly then", Filter{ExpiresBefore: testNow.AddDate(0, 0, 100)}, []string{k(1)}},
		{"expired before that", Filter{ExpiresBefore: testNow.AddDate(0, 0, 100).Add(-time.Second)}, nil},
		{"text in subject", Filter{Text: "VM2"}, []string{k(2), k(2)}},
		{"text in alternative name", Filter{Text: "odd.EXAMPLE.org"}, []string{"100%_sure"}},
		{"text is no pattern", Filter{Text: "0%_S"}, []string{"100%_sure"}},
		{"percent sign", Filter{Text: "%"}, []string{"100%_sure"}},
		{"address", Filter{Text: "192.0.2.1", Holder: "host:" + k(4)}, []string{k(4)}},
		{"beginning of serial", Filter{Text: serial[:12]}, []string{k(4)}},
		{"beginning of serial with colons", Filter{Text: strings.ToUpper(serial[:2] + ":" + serial[2:4] + ":" + serial[4:12])}, []string{k(4)}},
		{"middle of serial", Filter{Text: serial[5:25]}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { check(t, "found", hosts(t, db, test.filter), test.want) })
	}
	newest, err := db.Newest(t.Context(), "host:"+k(2), "qemu/both")
	must(t, err)
	check(t, "newest that is not revoked", newest.Serial, certs[1].SerialHex())
}

// A list longer than a page must come whole, in order, and let the caller write meanwhile.
func TestListIsReadInPages(t *testing.T) {
	db := openNew(t)
	cert := issue(t, "CA", 3650)
	const n = 2*pageSize + 1
	update(t, db, func(tx *Tx) error {
		authority, err := tx.AddAuthority("ca", cert)
		for i := range n {
			if _, addErr := tx.AddUnseen(authority, fmt.Sprintf("%06x", i), "", testNow); addErr != nil {
				return addErr
			}
		}
		return err
	})
	var got []string
	for c, err := range db.List(t.Context(), Filter{}) {
		must(t, err)
		if len(got) == 10 {
			update(t, db, func(tx *Tx) error { return tx.Revoke(c.ID, pki.Unspecified, testNow) })
		}
		got = append(got, c.Serial)
	}
	check(t, "number", len(got), n)
	check(t, "sorted", slices.IsSorted(got), true)
	for c, err := range db.List(t.Context(), Filter{}) {
		must(t, err)
		check(t, "first", c.Serial, "000000")
		break
	}
}

func TestSerialNumbersAreUniqueForEver(t *testing.T) {
	db := openNew(t)
	authority, certs := fleet(t, db, 1)
	var second int64
	update(t, db, func(tx *Tx) (err error) {
		second, err = tx.AddAuthority("mldsa", issue(t, "Other CA", 10))
		return err
	})
	for name, id := range map[string]int64{"same authority": authority, "other authority": second} {
		err := db.Update(t.Context(), testNow, testAct, func(tx *Tx) error {
			_, err := tx.AddCertificate(id, certs[0], Issue, "", "")
			return err
		})
		if f, ok := errors.AsType[*finding.Failure](err); !ok || f.Code != "serial-used" || f.Exit != finding.ExitUnable {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(t, "certificates", len(hosts(t, db, Filter{})), 1)
}

// What the package cannot do, nobody else shall do with the database either.
func TestHistoryIsAppendOnly(t *testing.T) {
	db := openNew(t)
	authority, certs := fleet(t, db, 1)
	crl, err := pki.SignCRL(&pki.CRLSpec{ThisUpdate: testNow, Number: big.NewInt(1)}, certs[0], testKey(), pki.SignatureAlgorithm{})
	must(t, err)
	update(t, db, func(tx *Tx) error {
		return errors.Join(tx.Revoke(1, pki.Unspecified, testNow), tx.AddCRL(authority, crl), tx.AddPending(&Placement{Paths: []string{"a"}}))
	})
	for table, column := range map[string]string{
		"events": "at", "authorities": "name", "certificates": "holder", "revocations": "reason", "crls": "number",
	} {
		for _, statement := range []string{
			fmt.Sprintf("UPDATE %s SET %s = %s", table, column, column),
			fmt.Sprintf("DELETE FROM %s", table),
			fmt.Sprintf("REPLACE INTO %s SELECT * FROM %s", table, table),
		} {
			if _, err := db.sql.Exec(statement); err == nil || !errors.Is(db.failed(err), ErrAppendOnly) {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
	if _, err := db.sql.Exec("DELETE FROM pending"); err != nil {
		t.Error(err)
	}
}

func TestRevokedAndCRLs(t *testing.T) {
	db := openNew(t)
	authority, certs := fleet(t, db, 3)
	root, err := db.AuthorityOf(t.Context(), issue(t, "stranger", 1))
	if root != nil || err != nil {
		t.Fatalf("unknown authority: %v, %v", root, err)
	}
	var keyID string
	for a, err := range db.Authorities(t.Context()) {
		must(t, err)
		check(t, "authority", [2]string{a.Name, a.Subject}, [2]string{"ca", "O=Example,CN=CA"})
		keyID = a.KeyID
	}
	update(t, db, func(tx *Tx) error {
		unseen, err := tx.AddUnseen(authority, "0a", "", time.Time{})
		return errors.Join(err, tx.Revoke(1, pki.KeyCompromise, testNow), tx.Revoke(3, pki.Unspecified, testNow.Add(time.Second)),
			tx.Revoke(unseen, pki.Superseded, testNow))
	})
	revoked := func(keyID string, last time.Time) (list []Revocation) {
		for r, err := range db.Revoked(t.Context(), keyID, last) {
			must(t, err)
			list = append(list, r)
		}
		return list
	}
	first := Revocation{certs[0].SerialHex(), pki.KeyCompromise, testNow}
	third := Revocation{certs[2].SerialHex(), pki.Unspecified, testNow.Add(time.Second)}
	unseen := Revocation{"0a", pki.Superseded, testNow}
	check(t, "revoked", revoked(keyID, time.Time{}), []Revocation{first, third, unseen})
	check(t, "listed after the first had expired", revoked(keyID, testNow.AddDate(0, 0, 101)), []Revocation{third, unseen})
	check(t, "another key's", revoked("00", time.Time{}), []Revocation(nil))

	if l, err := db.LastCRL(t.Context(), keyID); l != nil || err != nil {
		t.Fatalf("no list yet: %v, %v", l, err)
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 150)
	for _, number := range []*big.Int{big.NewInt(1), huge} {
		crl, err := pki.SignCRL(&pki.CRLSpec{ThisUpdate: testNow, NextUpdate: testNow.AddDate(0, 0, 30), Number: number}, certs[0], testKey(), pki.SignatureAlgorithm{})
		must(t, err)
		update(t, db, func(tx *Tx) error { return tx.AddCRL(authority, crl) })
		last, err := db.LastCRL(t.Context(), keyID)
		must(t, err)
		want := &CRL{Number: number, ThisUpdate: testNow, NextUpdate: testNow.AddDate(0, 0, 30), DER: crl.Raw}
		if diff := cmp.Diff(want, last, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); diff != "" {
			t.Errorf("last list (-want +got):\n%s", diff)
		}
	}
}

func TestPending(t *testing.T) {
	db := openNew(t)
	a := &Placement{Key: "hosts/.k.tmp-abcdefgh", KeyPaths: []string{"k1", "k2"}, Content: []byte("a"), Paths: []string{"c1", "c2"}}
	b := &Placement{Content: []byte("b"), Paths: []string{"/abs"}}
	update(t, db, func(tx *Tx) error { return errors.Join(tx.AddPending(a), tx.AddPending(b)) })
	pending := func() (list []Placement) {
		for p, err := range db.Pending(t.Context()) {
			must(t, err)
			list = append(list, p)
		}
		return list
	}
	check(t, "pending", pending(), []Placement{*a, *b})
	must(t, db.Done(t.Context(), []int64{a.ID}))
	check(t, "after the first is done", pending(), []Placement{*b})
	update(t, db, func(tx *Tx) error { return tx.RemovePending(b.ID) })
	check(t, "after both are gone", pending(), []Placement(nil))
	must(t, db.Done(t.Context(), nil))
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	db := openNew(t)
	sentinel := errors.New("sentinel")
	err := db.Update(t.Context(), testNow, testAct, func(tx *Tx) error {
		if _, err := tx.AddAuthority("ca", issue(t, "CA", 1)); err != nil {
			return err
		}
		return sentinel
	})
	if !errors.Is(err, sentinel) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = db.Update(ctx, testNow, testAct, func(tx *Tx) error {
		cancel()
		_, err := tx.AddAuthority("ca", issue(t, "CA", 1))
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	for e := range db.History(t.Context()) {
		t.Errorf("left in the history: %+v", e)
	}
	must(t, db.Update(t.Context(), testNow, testAct, nil))
	for e, err := range db.History(t.Context()) {
		must(t, err)
		check(t, "event", e, Event{1, testNow, testAct})
	}
}

func TestConcurrentUse(t *testing.T) {
	db := openNew(t)
	authority, _ := fleet(t, db, 0)
	var workers sync.WaitGroup
	const each, crowd = 20, 4
	for w := range crowd {
		workers.Go(func() {
			for i := range each {
				err := db.Update(t.Context(), testNow, testAct, func(tx *Tx) error {
					_, err := tx.AddUnseen(authority, fmt.Sprintf("%02x%02x", w+1, i), "", testNow)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				for _, err := range db.List(t.Context(), Filter{}) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	workers.Wait()
	check(t, "certificates", len(hosts(t, db, Filter{})), each*crowd)
}

func TestParseSerial(t *testing.T) {
	tests := []struct{ in, want string }{
		{"4F03A1", "4f03a1"},
		{"4f:03:a1", "4f03a1"},
		{"0x4f03a1", "4f03a1"},
		{"004f03a1", "4f03a1"},
		{" 4f 03 a1 ", "4f03a1"},
		{"1", "01"},
		{"0", "00"},
		{"-1F", "-1f"},
		{strings.Repeat("f", 40), strings.Repeat("f", 40)},
		{"", ""},
		{"-", ""},
		{"+1", ""},
		{"0x", ""},
		{"12g4", ""},
		{"1_2", ""},
		{strings.Repeat("f", maxSerialDigits+1), ""},
	}
	for _, test := range tests {
		got, err := ParseSerial(test.in)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("ParseSerial(%q) = %q, %v; want %q", test.in, got, err, test.want)
		}
	}
	check(t, "negative", SerialText(big.NewInt(-255)), "-ff")
}

func FuzzParseSerial(f *testing.F) {
	f.Add("4f:03:a1")
	f.Add("-0x00ff")
	f.Fuzz(func(t *testing.T, in string) {
		serial, err := ParseSerial(in)
		if err != nil {
			return
		}
		if again, err := ParseSerial(serial); err != nil || again != serial {
			t.Errorf("%q is %q, and that is %q, %v", in, serial, again, err)
		}
	})
}
