package certtemplate

import (
	"crypto"

	"golang.org/x/text/secure/precis"

	"virtls/pki"
)

// RequestInput is what certtool knows besides the template when it makes a
// certificate request.
type RequestInput struct {
	PublicKey    crypto.PublicKey
	NoExtensions bool // certtool --no-crq-extensions, which leaves alternative names and raw extensions in
}

// Request compiles the template into a certificate request. notes and errors
// are as with [Template.Certificate]. Options that a request cannot hold
// (times, the serial number, `key_agreement`, ...) are passed over, as certtool does.
func (t *Template) Request(in RequestInput) (spec *pki.RequestSpec, notes []string, err error) {
	b := &builder{t: t, isRequest: true, spec: &pki.Spec{PublicKey: in.PublicKey}}
	err = b.request(in)
	return &pki.RequestSpec{Subject: b.spec.Subject, Extensions: b.ext, ChallengePassword: b.challenge}, b.notes, err
}

func (b *builder) request(in RequestInput) (err error) {
	if b.spec.Subject, err = b.t.subject(true); err != nil {
		return err
	}
	for _, step := range []func() error{b.addHostNames, b.addEmails, b.addOtherNames, b.addRaw, b.setChallenge} {
		if err := step(); err != nil {
			return err
		}
	}
	if in.NoExtensions {
		return nil
	}
	b.ext.Set(b.basicConstraints())
	if err := b.addPurposeOptions(
		purposeOption{"code_signing_key", pki.PurposeCodeSigning},
		purposeOption{"time_stamping_key", pki.PurposeTimeStamping},
		purposeOption{"email_protection_key", pki.PurposeEmailProtection},
		purposeOption{"ipsec_ike_key", pki.PurposeIPsecIKE},
		purposeOption{"ocsp_signing_key", pki.PurposeOCSPSigning},
	); err != nil {
		return err
	}
	b.ext.Set(b.requestUsage().Extension(true))
	if err := b.addPurposeOptions(
		purposeOption{"tls_www_client", pki.PurposeClient},
		purposeOption{"tls_www_server", pki.PurposeServer},
	); err != nil {
		return err
	}
	if err := b.addPurposes(); err != nil {
		return err
	}
	return b.addTLSFeatures()
}

// setChallenge brings the challenge password into the form that passwords have
// (OpaqueString of RFC 8265, 4.2), as GnuTLS does.
func (b *builder) setChallenge() (err error) {
	b.challenge = b.t.ChallengePassword()
	if b.challenge == "" {
		return nil
	}
	if b.challenge, err = precis.OpaqueString.String(b.challenge); err != nil {
		return fail("set_pass: The given password contains invalid characters.")
	}
	return nil
}

// requestUsage returns the key usage that is asked for: something always is,
// and only an RSA key encrypts.
func (b *builder) requestUsage() (u pki.KeyUsage) {
	t := b.t
	encrypts := t.has("encryption_key")
	rsa := pki.AlgorithmOf(b.spec.PublicKey) == pki.RSA
	if rsa && encrypts {
		u = pki.KeyEncipherment
	}
	if !rsa || !encrypts || t.has("signing_key") {
		u |= pki.DigitalSignature
	}
	if !rsa && encrypts {
		b.note("warning: this algorithm does not support encryption; disabling the encryption flag")
	}
	if t.has("ca") && t.has("cert_signing_key") {
		u |= pki.KeyCertSign
	}
	if t.has("ca") && t.has("crl_signing_key") {
		u |= pki.CRLSign
	}
	return u
}
