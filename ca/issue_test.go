package ca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
)

func TestIssuedCertificate(t *testing.T) {
	now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 500, time.UTC)}
	s, a := newCA(t, stateDir(t), Options{Now: now.now, User: "alice", Command: "virtls issue"}, AuthoritySpec{})
	now.Time = now.Add(time.Hour)
	o := order(t, "kvm1.example.com")
	o.How = ""
	issued, err := a.Issue(t.Context(), []Order{o})
	must(t, err)
	c := issued[0].Certificate
	check(t, "findings", codes(issued[0].Findings), []string(nil))
	check(t, "subject", c.Subject.String(), "O=Example,CN=kvm1.example.com")
	check(t, "begin", c.NotBefore, time.Date(2026, 11, 22, 12, 55, 0, 0, time.UTC))
	check(t, "end", c.NotAfter, time.Date(2027, 11, 22, 13, 0, 0, 0, time.UTC))
	check(t, "octets of the serial number", len(c.RawSerial), 20)
	check(t, "version", c.Version, 3)
	must(t, c.CheckSignatureFrom(a.Certificate))
	id, err := pki.KeyIDFor(o.Spec.PublicKey)
	must(t, err)
	check(t, "subject key identifier", c.Extensions.SubjectKeyID(), id)
	aki, err := c.Extensions.AuthorityKeyID()
	must(t, err)
	check(t, "authority key identifier", aki.KeyID, a.Certificate.Extensions.SubjectKeyID())
	var oids []asn1.ObjectIdentifier
	for _, e := range c.Extensions {
		oids = append(oids, e.OID)
	}
	check(t, "extensions, in certtool's order", oids, []asn1.ObjectIdentifier{pki.OIDBasicConstraints, pki.OIDExtKeyUsage, pki.OIDSubjectAltName,
		pki.OIDKeyUsage, pki.OIDSubjectKeyID, pki.OIDAuthorityKeyID})

	row := certificates(t, s.Register(), filterAll)[0]
	check(t, "how", row.How, register.Issue)
	check(t, "holder", row.Holder+" "+row.Slot, "host:kvm1.example.com qemu/both")
	check(t, "event", row.Event, register.Event{ID: 2, At: now.UTC().Truncate(time.Second),
		Act: register.Act{By: "alice", Command: "virtls issue", Kind: "issue", Note: "1 certificates"}})
	check(t, "DER", bytes.Equal(row.DER, c.Raw), true)
}

// What key usage says decides whether libvirt before 11.6 takes a certificate
// (spec of libvirt's sanity check); see leafUsage.
func TestLeafKeyUsage(t *testing.T) {
	_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	for _, test := range []struct {
		key      string
		usage    pki.KeyUsage
		critical bool
	}{
		{"rsa2048", pki.DigitalSignature | pki.KeyEncipherment, true},
		{"ec", pki.DigitalSignature, false},
		{"ed25519", pki.DigitalSignature, false},
		{"mldsa44", pki.DigitalSignature, false},
	} {
		spec, err := Leaf(cn("kvm1"), pki.GeneralNames{pki.DNSName("kvm1")}, Server, newKey(t, test.key).Public())
		must(t, err)
		c := issueOne(t, a, Order{Spec: spec})
		usage, _, err := c.Extensions.KeyUsage()
		must(t, err)
		check(t, test.key, usage, test.usage)
		check(t, test.key+" critical", c.Extensions.Find(pki.OIDKeyUsage).Critical, test.critical)
		check(t, test.key+" critical purposes", c.Extensions.Find(pki.OIDExtKeyUsage).Critical, false)
	}
	for uses, want := range map[Uses][]asn1.ObjectIdentifier{
		Server: {pki.PurposeServer}, Client: {pki.PurposeClient}, Server | Client: {pki.PurposeClient, pki.PurposeServer},
	} {
		spec, err := Leaf(cn("kvm1"), nil, uses, newKey(t, "ec").Public())
		must(t, err)
		purposes, err := spec.Extensions.ExtKeyUsage()
		must(t, err)
		check(t, "purposes", purposes, want)
	}
	_, err := Leaf(cn("kvm1"), nil, 0, newKey(t, "ec").Public())
	checkFailure(t, err, kindOrder, finding.ExitUsage)
}

func TestTimes(t *testing.T) {
	now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	_, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{Days: 100})
	begin, end := a.Certificate.NotBefore, a.Certificate.NotAfter
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	tests := []struct {
		name   string
		change func(o *Order)
		begin  time.Time
		end    time.Time
		codes  []string
	}{
		{"default is cut to the authority's end", func(o *Order) {}, begin, end, []string{kindClamped.Code}},
		{"days", func(o *Order) { o.Days = 99 }, begin, day(99), nil},
		{"exactly the authority's end", func(o *Order) { o.Days = 100 }, begin, end, nil},
		{"given times", func(o *Order) { o.Spec.NotBefore, o.Spec.NotAfter = day(1), day(2) }, day(1), day(2), nil},
		{"begins before the authority", func(o *Order) { o.Spec.NotBefore, o.Days = day(-10), 5 }, begin, day(5), nil},
		{"never ends", func(o *Order) { o.Spec.NotAfter = pki.NeverExpires }, begin, end, []string{kindClamped.Code}},
		{"days beyond the calendar", func(o *Order) { o.Days = 1 << 40 }, begin, end, []string{kindClamped.Code}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := order(t, "kvm1")
			test.change(&o)
			issued, err := a.Issue(t.Context(), []Order{o})
			must(t, err)
			check(t, "begin", issued[0].Certificate.NotBefore, test.begin)
			check(t, "end", issued[0].Certificate.NotAfter, test.end)
			check(t, "findings", codes(issued[0].Findings), test.codes)
		})
	}
}

func TestOrderRefused(t *testing.T) {
	_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	p224, err := pki.GenerateSigner(pki.KeySpec{Algorithm: pki.ECDSA, Bits: 224})
	must(t, err)
	x25519, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.X25519})
	must(t, err)
	odd := rsa.PublicKey{N: newKey(t, "rsa2048").Public().(*rsa.PublicKey).N, E: 1}
	set := func(e pki.Extension) func(o *Order) { return func(o *Order) { o.Spec.Extensions.Set(e) } }
	tests := []struct {
		name   string
		change func(o *Order)
		kind   *finding.Kind
	}{
		{"RSA of 1024 bits", func(o *Order) { o.Spec.PublicKey = small.Public() }, kindWeakKey},
		{"RSA for PSS of 1024 bits", func(o *Order) { o.Spec.PublicKey = (&pki.PSSKey{PrivateKey: small}).Public() }, kindWeakKey},
		{"RSA with exponent 1", func(o *Order) { o.Spec.PublicKey = &odd }, kindWeakKey},
		{"P-224", func(o *Order) { o.Spec.PublicKey = p224.Public() }, kindWeakKey},
		{"key exchange key", func(o *Order) { o.Spec.PublicKey = x25519.Public() }, kindWeakKey},
		{"no key", func(o *Order) { o.Spec.PublicKey = nil }, kindWeakKey},
		{"the authority's own key", func(o *Order) { o.Spec.PublicKey = a.Certificate.PublicKey.Key }, kindWeakKey},
		{"an authority", set(pki.BasicConstraints{CA: true, PathLen: -1}.Extension()), kindOrder},
		{"an authority below a path length of 0", func(o *Order) {
			o.Subordinate = true
			o.Spec.Extensions = pki.Extensions{pki.BasicConstraints{CA: true}.Extension(), pki.KeyCertSign.Extension(true)}
		}, kindOrder},
		{"signs certificates without being an authority", set((pki.KeyCertSign | pki.DigitalSignature).Extension(true)), kindOrder},
		{"malformed basic constraints", set(pki.Extension{OID: pki.OIDBasicConstraints, Value: []byte{5, 0}}), kindOrder},
		{"malformed key usage", set(pki.Extension{OID: pki.OIDKeyUsage, Value: []byte{5, 0}}), kindOrder},
		{"malformed purposes", set(pki.Extension{OID: pki.OIDExtKeyUsage, Value: []byte{5, 0}}), kindOrder},
		{"malformed names", set(pki.Extension{OID: pki.OIDSubjectAltName, Value: []byte{5, 0}}), kindOrder},
		{"critical extension that nobody knows", set(pki.Extension{OID: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}), kindOrder},
		{"extension twice", func(o *Order) { o.Spec.Extensions = append(o.Spec.Extensions, o.Spec.Extensions[0]) }, kindOrder},
		{"ML-DSA with keyEncipherment", func(o *Order) {
			o.Spec.PublicKey = newKey(t, "mldsa44").Public()
			o.Spec.Extensions.Set((pki.DigitalSignature | pki.KeyEncipherment).Extension(false))
		}, kindOrder},
		{"nobody", func(o *Order) { o.Spec.Subject = nil; o.Spec.Extensions.Remove(pki.OIDSubjectAltName) }, kindOrder},
		{"negative life", func(o *Order) { o.Days = -1 }, kindOrder},
		{"ended", func(o *Order) { o.Spec.NotAfter = time.Now().Add(-time.Second) }, kindOrder},
		{"huge serial number", func(o *Order) { o.Spec.Serial = new(big.Int).Lsh(big.NewInt(1), 200) }, kindOrder},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := order(t, "kvm1.example.com")
			test.change(&o)
			good := order(t, "kvm2.example.com")
			issued, err := a.Issue(t.Context(), []Order{good, o})
			f, ok := errors.AsType[*finding.Failure](err)
			if !ok || f.Code != test.kind.Code || issued != nil {
				t.Fatalf("error %v, want finding %s", err, test.kind.Code)
			}
			if o.Spec.Subject != nil && !strings.Contains(f.Subject, "kvm1.example.com") {
				t.Errorf("the finding names %q", f.Subject)
			}
		})
	}
	check(t, "certificates registered", len(certificates(t, a.state.Register(), filterAll)), 0)
}

func TestNamelessServer(t *testing.T) {
	_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	names := func(list ...pki.GeneralName) pki.GeneralNames { return list }
	ip := pki.IPAddress(netip.MustParseAddr("2001:db8::1"))
	for _, test := range []struct {
		cn    string
		names pki.GeneralNames
		uses  Uses
		want  bool
	}{
		{"kvm1", nil, Server, true},
		{"kvm1", nil, Client, false},
		{"kvm1", names(pki.DNSName("kvm2")), Server, true},
		{"kvm1", names(pki.DNSName("KVM1")), Server, false},
		{"2001:DB8:0::1", names(ip), Server, false},
		{"2001:db8::2", names(ip), Server, true},
		{"Storage server", names(pki.DNSName("kvm1")), Server, false},
		{"Storage server", names(pki.Email("a@example.com")), Server, true},
		{"", names(pki.DNSName("kvm1")), Server, false},
	} {
		subject := dn.New(dn.Attr(dn.OrganizationOID, "Example"))
		if test.cn != "" {
			subject = cn(test.cn)
		}
		spec, err := Leaf(subject, test.names, test.uses, newKey(t, "ec").Public())
		must(t, err)
		issued, err := a.Issue(t.Context(), []Order{{Spec: spec}})
		must(t, err)
		if got := len(issued[0].Findings) > 0; got != test.want {
			t.Errorf("CN %q, names %v: findings %v", test.cn, test.names, issued[0].Findings)
		}
	}
}

func TestIssueInterrupted(t *testing.T) {
	s, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Issue(ctx, []Order{order(t, "kvm1")}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	check(t, "certificates", len(certificates(t, s.Register(), filterAll)), 0)
}

func TestSerialIsNeverUsedTwice(t *testing.T) {
	_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	o := order(t, "kvm1")
	o.Spec.Serial = big.NewInt(4711)
	issueOne(t, a, o)
	_, err := a.Issue(t.Context(), []Order{o})
	if f, ok := errors.AsType[*finding.Failure](err); !ok || f.Code != "serial-used" {
		t.Errorf("error %v", err)
	}
}

func TestRequestMadeElsewhere(t *testing.T) {
	_, a := newCA(t, stateDir(t), Options{}, AuthoritySpec{})
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		dir := t.TempDir()
		run(t, g, "openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", dir+"/key.pem", "-out", dir+"/req.pem",
			"-subj", "/O=Example/CN=kvm1.example.com", "-addext", "subjectAltName=DNS:kvm1.example.com", "-addext", "basicConstraints=CA:TRUE")
		request, err := pki.ParseRequestPEM(read(t, dir+"/req.pem"))
		must(t, err)
		must(t, CheckRequest("req.pem", request))
		granted, err := request.Extensions.SubjectAltName()
		must(t, err)
		spec, err := Leaf(request.Subject, granted, Server, request.PublicKey.Key)
		must(t, err)
		cert := issueOne(t, a, Order{Spec: spec, How: register.Request})
		check(t, "an authority, as asked for", cert.IsCA(), false)
		write(t, dir, "cert.pem", cert.PEM())
		run(t, g, "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "kvm1.example.com",
			"-CAfile", a.CertificatePath(), dir+"/cert.pem")

		run(t, g, "openssl", "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", dir+"/key.pem", "-out", dir+"/req.pem", "-subj", "/CN=kvm1")
		weak, err := pki.ParseRequestPEM(read(t, dir+"/req.pem"))
		must(t, err)
		checkFailure(t, CheckRequest("req.pem", weak), kindWeakKey, finding.ExitWrong)
	})
	request, err := pki.SignRequest(&pki.RequestSpec{Subject: cn("kvm1")}, newKey(t, "ec"), pki.SignatureAlgorithm{})
	must(t, err)
	forged := bytes.Replace(request.Raw, []byte("kvm1"), []byte("kvm2"), 1)
	request, err = pki.ParseRequest(forged)
	must(t, err)
	checkFailure(t, CheckRequest("req.pem", request), kindRequest, finding.ExitWrong)
}

func TestRenew(t *testing.T) {
	now := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	s, a := newCA(t, stateDir(t), Options{Now: now.now}, AuthoritySpec{})
	o := order(t, "kvm1.example.com")
	o.Spec.Extensions = append(o.Spec.Extensions, pki.CRLDistributionExtension([]string{"http://ca.example.com/crl"}))
	old := issueOne(t, a, o)
	now.Time = now.AddDate(0, 8, 0)
	value := func(c *pki.Certificate, oid asn1.ObjectIdentifier) []byte { return c.Extensions.Find(oid).Value }
	for _, test := range []struct {
		name  string
		key   string // "" for the same
		usage pki.KeyUsage
	}{
		{"same key", "", pki.DigitalSignature},
		{"new key of the same type", "ec", pki.DigitalSignature},
		{"new key of another type", "rsa2048", pki.DigitalSignature | pki.KeyEncipherment},
	} {
		t.Run(test.name, func(t *testing.T) {
			var spec pki.Spec
			var err error
			if test.key == "" {
				spec, err = RenewalSpec(old, nil)
			} else {
				spec, err = RenewalSpec(old, newKey(t, test.key).Public())
			}
			must(t, err)
			c := issueOne(t, a, Order{Spec: spec, How: register.Renew, Holder: o.Holder, Slot: o.Slot})
			check(t, "subject", c.Subject.Equal(old.Subject), true)
			for _, oid := range []asn1.ObjectIdentifier{pki.OIDSubjectAltName, pki.OIDExtKeyUsage, pki.OIDCRLDistribution, pki.OIDBasicConstraints} {
				check(t, oid.String(), value(c, oid), value(old, oid))
			}
			usage, _, err := c.Extensions.KeyUsage()
			must(t, err)
			check(t, "key usage", usage, test.usage)
			check(t, "same key", bytes.Equal(c.PublicKey.Raw, old.PublicKey.Raw), test.key == "")
			check(t, "same serial number", c.Serial.Cmp(old.Serial) == 0, false)
			check(t, "end", c.NotAfter, now.AddDate(0, 0, DefaultDays))
			newest, err := s.Register().Newest(t.Context(), o.Holder, o.Slot)
			must(t, err)
			check(t, "newest", newest.Serial, c.SerialHex())
		})
	}
	_, err := RenewalSpec(a.Certificate, nil)
	checkFailure(t, err, kindOrder, finding.ExitWrong)
}
