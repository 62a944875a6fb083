package certtemplate

import (
	"crypto"
	"fmt"
	"math/big"
	"time"

	"virtls/pki"
)

// CertInput is what certtool knows besides the template when it makes a
// certificate.
type CertInput struct {
	Clock

	PublicKey crypto.PublicKey // of a type of package pki; not used if there is a Request
	Issuer    *pki.Certificate // nil for a self-signed certificate
	Request   *pki.Request     // the subject and the key come from it; nil if there is none
	Version1  bool             // certtool --v1
}

// Certificate compiles the template into a certificate. The Spec has no serial
// number if the template has none: [pki.NewSerial] makes one like certtool's.
//
// notes are the lines that certtool prints to its standard error while it does
// this, on success and before an error. An error is an [*Error] with
// certtool's words.
//
// As certtool, it does not judge what it makes: the certificate may outlive
// its issuer, whose key may not even be allowed to sign certificates.
// [Template.Lint] does.
func (t *Template) Certificate(in CertInput) (spec *pki.Spec, notes []string, err error) {
	b := &builder{t: t, in: in, spec: &pki.Spec{PublicKey: in.PublicKey}}
	err = b.certificate()
	b.spec.Extensions = b.ext
	return b.spec, b.notes, err
}

// A builder makes a certificate or a request in certtool's order, in which
// extensions come into being and errors are found.
type builder struct {
	t          *Template
	in         CertInput
	isRequest  bool
	spec       *pki.Spec
	ext        pki.Extensions
	challenge  string // password of a request
	notes      []string
	unsignable error // what certtool finds wrong only when it signs
}

func (b *builder) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

func (b *builder) certificate() error {
	for _, step := range []func() error{
		b.identity,
		b.setSerial,
		b.setValidity,
		b.honorAll,
		b.addRaw,
		b.version3,
		b.addCRLDistribution,
		b.checkVersion,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return b.unsignable
}

// identity sets subject and key. Both come from the request if there is one,
// and nothing of them from the template then.
func (b *builder) identity() (err error) {
	if b.in.Request != nil {
		return b.fromRequest()
	}
	if b.spec.Subject, err = b.t.subject(false); err != nil {
		return err
	}
	if err := b.addPurposes(); err != nil {
		return err
	}
	if b.spec.Subject, err = b.t.addEmail(b.spec.Subject); err != nil {
		return err
	}
	return b.addTLSFeatures()
}

func (b *builder) fromRequest() error {
	r := b.in.Request
	if r.CheckSignature() != nil {
		return fail("set_crq: Public key signature verification has failed.")
	}
	b.spec.Subject = r.Subject
	b.spec.PublicKey = r.PublicKey.Key
	for _, oid := range b.t.all("honor_crq_ext") {
		for _, e := range r.Extensions {
			if e.OID.String() == oid {
				b.ext.Set(e)
			}
		}
	}
	return nil
}

// setSerial checks the template's serial number as certtool 3.8 does; 3.7
// writes a negative one.
func (b *builder) setSerial() error {
	octets, ok, err := b.t.integer("serial")
	if !ok || err != nil {
		return err
	}
	b.spec.Serial, err = checkedNumber(octets, "certificate's serial number", "4.1.2.2")
	if err == nil && b.spec.Serial.Sign() == 0 {
		return fail("serial: %s", errInvalidRequest)
	}
	return err
}

func checkedNumber(octets []byte, label, section string) (*big.Int, error) {
	const most = 20
	switch {
	case len(octets) > most:
		return nil, quit("maximum %d octets allowed for %s!", most, label)
	case len(octets) == most && octets[0] >= 0x80:
		return nil, quit("%s would be encoded in more than %d bytes,see RFC 5280, section %s", label, most, section)
	case octets[0] >= 0x80:
		return nil, quit("%s serial number is negative, see RFC 5280, section %s", label, section)
	}
	return new(big.Int).SetBytes(octets), nil
}

// setValidity sets the times, with the warning that certtool gives, and no
// more, when the certificate outlives its issuer.
func (b *builder) setValidity() error {
	from, err := b.t.date("activation_date", b.in.Clock)
	if err != nil {
		return err
	}
	until, err := b.t.dateOrDays("expiration_date", "expiration_days", b.in.Clock)
	if err != nil {
		return err
	}
	b.spec.NotBefore, b.spec.NotAfter = timeOf(from), timeOf(until)
	if issuer := b.in.Issuer; issuer != nil && until > issuer.NotAfter.Unix() {
		const ctime = "Mon Jan _2 15:04:05 2006"
		loc := b.in.location()
		b.note("")
		b.note("Expiration time: %s", time.Unix(until, 0).In(loc).Format(ctime))
		b.note("CA expiration time: %s", issuer.NotAfter.In(loc).Format(ctime))
		b.note("Warning: The time set exceeds the CA's expiration time")
	}
	return nil
}

func (b *builder) honorAll() error {
	if b.in.Request != nil && b.t.has("honor_crq_extensions") {
		b.ext.SetAll(b.in.Request.Extensions)
	}
	return nil
}

// version3 adds what certificates of version 1 do not have.
func (b *builder) version3() error {
	if b.in.Version1 {
		return nil
	}
	b.ext.Set(b.basicConstraints())
	for _, step := range []func() error{
		b.addClientPurpose,
		b.setUniqueIDs,
		b.addHostNames,
		b.addOtherNames,
		b.addPolicies,
		b.addServerPurpose,
		b.addOtherPurposes,
		b.addConstraints,
		b.addAccess,
		b.addUsage,
		b.addKeyIDs,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) basicConstraints() pki.Extension {
	return pki.BasicConstraints{CA: b.t.has("ca"), PathLen: int(b.t.number("path_len", -1))}.Extension()
}

func (b *builder) addClientPurpose() error {
	return b.addPurposeOptions(purposeOption{"tls_www_client", pki.PurposeClient})
}

// addServerPurpose adds the server's key purpose. A server's certificate has
// no e-mail addresses; any other one gets them here.
func (b *builder) addServerPurpose() error {
	if b.t.has("tls_www_server") {
		return b.addPurposeOptions(purposeOption{"tls_www_server", pki.PurposeServer})
	}
	return b.addEmails()
}

func (b *builder) addOtherPurposes() error {
	options := []purposeOption{
		{"ocsp_signing_key", pki.PurposeOCSPSigning},
		{"code_signing_key", pki.PurposeCodeSigning},
		{"time_stamping_key", pki.PurposeTimeStamping},
		{"email_protection_key", pki.PurposeEmailProtection},
	}
	if b.isEndEntity() {
		options = append([]purposeOption{{"ipsec_ike_key", pki.PurposeIPsecIKE}}, options...)
	}
	return b.addPurposeOptions(options...)
}

// isEndEntity reports whether certtool treats the key as one that is used for
// more than signing certificates.
func (b *builder) isEndEntity() bool { return !b.t.has("ca") || b.t.has("tls_www_server") }

// setUniqueIDs leaves identifiers of no octets out.
func (b *builder) setUniqueIDs() (err error) {
	for _, id := range []struct {
		option string
		field  *[]byte
	}{{"subject_unique_id", &b.spec.SubjectUniqueID}, {"issuer_unique_id", &b.spec.IssuerUniqueID}} {
		octets, _, err := b.t.hex(id.option)
		if err != nil {
			return err
		}
		if len(octets) > 0 {
			*id.field = octets
		}
	}
	return nil
}

// addUsage adds the key usage, unless there is none.
func (b *builder) addUsage() error {
	if u := b.usage(); u != 0 {
		b.ext.Set(u.Extension(true))
	}
	return nil
}

// usage returns the key usage. Only an RSA key signs or encrypts as the
// template says; any other one always signs and never encrypts, unless it can
// only agree on keys.
func (b *builder) usage() (u pki.KeyUsage) {
	set := func(option string, bit pki.KeyUsage) {
		if b.t.has(option) {
			u |= bit
		}
	}
	switch alg := pki.AlgorithmOf(b.spec.PublicKey); {
	case !b.isEndEntity():
		set("signing_key", pki.DigitalSignature)
	case alg == pki.RSA:
		set("signing_key", pki.DigitalSignature)
		set("encryption_key", pki.KeyEncipherment)
	case alg == pki.X25519 || alg == pki.X448:
		u = pki.KeyAgreement
	default:
		u = pki.DigitalSignature
	}
	set("key_agreement", pki.KeyAgreement)
	set("data_encipherment", pki.DataEncipherment)
	set("non_repudiation", pki.NonRepudiation)
	if b.t.has("ca") {
		set("cert_signing_key", pki.KeyCertSign)
		set("crl_signing_key", pki.CRLSign)
	}
	// RFC 4945, 5.1.3.2: with any key usage, IKE wants one of the two that sign.
	if u != 0 && b.t.has("ipsec_ike_key") && !b.t.has("signing_key") {
		u |= pki.NonRepudiation
	}
	return u
}

// addKeyIDs adds the subject's and the issuer's key identifier. certtool
// refuses to replace one that a request or the template brought in.
func (b *builder) addKeyIDs() error {
	id, err := pki.KeyIDFor(b.spec.PublicKey)
	if err != nil {
		return fail("set_key: %s", errInvalidRequest)
	}
	if b.ext.Find(pki.OIDSubjectKeyID) != nil {
		return fail("set_subject_key_id: %s", errInvalidRequest)
	}
	b.ext.Set(pki.SubjectKeyIDExtension(id))
	if b.in.Issuer == nil {
		return nil
	}
	if id = b.in.Issuer.Extensions.SubjectKeyID(); id == nil {
		return nil
	}
	if b.ext.Find(pki.OIDAuthorityKeyID) != nil {
		return fail("error setting authority key id: %s", errInvalidRequest)
	}
	b.ext.Set(pki.AuthorityKeyID{KeyID: id}.Extension())
	return nil
}

// checkVersion refuses extensions in a certificate of version 1.
func (b *builder) checkVersion() error {
	if !b.in.Version1 {
		return nil
	}
	b.spec.Version = 1
	if len(b.ext) > 0 {
		return fail("crt_sign: Error in the certificate.")
	}
	return nil
}
