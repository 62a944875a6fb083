package ca

import (
	"cmp"
	"context"
	"encoding/asn1"
	"io"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// An Adoption is an authority that another program made: certtool, OpenSSL,
// easy-rsa.
type Adoption struct {
	Name        string           // DefaultName if empty
	Certificate []byte           // PEM: the authority's certificate, then its chain; or one certificate in DER form
	Key         []byte           // PEM or DER
	KeyPassword pki.PasswordFunc // opens Key; nil if it is not encrypted
	Passphrase  Passphrase       // protects the key from now on; nil leaves it unencrypted

	// Index is the index.txt of `openssl ca` or easy-rsa, from which what was
	// issued and revoked is taken over. nil if there is none: certtool has none.
	Index io.Reader

	// Issued returns the PEM form of a certificate in the index by its serial
	// number as the index writes it, nil if it cannot be had. May be nil.
	// openssl keeps them as newcerts/SERIAL.pem, easy-rsa 3.1 as
	// certs_by_serial/SERIAL.pem or revoked/certs_by_serial/SERIAL.crt.
	Issued func(serial string) []byte

	// CRL is the newest revocation list, PEM or DER; nil if there is none.
	CRL []byte

	// The names of the files, for messages.
	CertificateFile, KeyFile, IndexFile, CRLFile string
}

// AdoptAuthority takes over an authority. It is unlocked. One that the register
// knows, because it has lost its files, gets them again; what it had issued and
// revoked is known better here than in Index and CRL.
func (s *State) AdoptAuthority(ctx context.Context, ad Adoption) (*Authority, error) {
	ad.CertificateFile = cmp.Or(ad.CertificateFile, "the authority's certificate")
	ad.KeyFile = cmp.Or(ad.KeyFile, "the authority's key")
	ad.IndexFile = cmp.Or(ad.IndexFile, "the index")
	ad.CRLFile = cmp.Or(ad.CRLFile, "the authority's revocation list")
	a := &Authority{Name: cmp.Or(ad.Name, DefaultName)}
	if err := checkName(a.Name); err != nil {
		return nil, err
	}
	certs, err := ad.certificates()
	if err != nil {
		return nil, err
	}
	a.Certificate, a.Chain = certs[0], certs[1:]
	if err := s.vacant(ctx, a.Name, register.KeyID(a.Certificate)); err != nil {
		return nil, err
	}
	if _, err := checkAuthority(ad.CertificateFile, certs); err != nil {
		return nil, err
	}
	if err := checkTime(ad.CertificateFile, certs, s.Now()); isKind(err, kindExpired) {
		return nil, finding.Of(err).WithFix("renew it first, for the same key, with the program that made it, such as: openssl x509 -in %s -signkey KEY -days 3650 -out NEW.pem", layout.ShellQuote(ad.CertificateFile)).Wrong()
	}
	if a.key, err = foreignFiles.parseKey(ad.KeyFile, ad.Key, ad.KeyPassword); err != nil {
		return nil, err
	}
	if !pki.SameKey(a.Certificate.PublicKey.Key, a.key) {
		return nil, kindKeyMismatch.Found(ad.KeyFile, "").WithWant("the key of "+a.Certificate.String(), "").Wrong()
	}
	crl, err := a.foreignCRL(ad.CRLFile, ad.CRL)
	if err != nil {
		return nil, err
	}
	return s.enter(ctx, "import", a, ad.Passphrase, func(tx *register.Tx, id int64) ([]*register.Placement, error) {
		if ad.Index != nil {
			if err := a.adoptIndex(tx, id, ad); err != nil {
				return nil, err
			}
		}
		if crl == nil {
			return nil, nil
		}
		return []*register.Placement{{Content: crl.PEM(), Paths: []string{s.crlPath(a.Name)}}}, adoptCRL(tx, id, crl)
	})
}

// certificates reads the authority's certificate and its chain.
func (ad *Adoption) certificates() ([]*pki.Certificate, error) {
	certs, err := pki.ParseCertificatesPEM(ad.Certificate)
	if err != nil && !pki.IsPEM(ad.Certificate) {
		if cert, derErr := pki.ParseCertificate(ad.Certificate); derErr == nil {
			return []*pki.Certificate{cert}, nil
		}
	}
	if err != nil {
		return nil, foreignFiles.unreadable(ad.CertificateFile, ad.Certificate).Unable(err)
	}
	return certs, nil
}

// isPKCS12 tells whether a file is a PFX (RFC 7292, 4): a SEQUENCE that begins
// with the version 3.
func isPKCS12(data []byte) bool {
	var outer asn1.RawValue
	var version int
	if _, err := asn1.Unmarshal(data, &outer); err != nil || outer.Tag != asn1.TagSequence {
		return false
	}
	_, err := asn1.Unmarshal(outer.Bytes, &version)
	return err == nil && version == 3
}

// foreignCRL reads the authority's newest list.
func (a *Authority) foreignCRL(file string, data []byte) (*pki.CRL, error) {
	if data == nil {
		return nil, nil
	}
	refuse := func(got string) error {
		return kindForeignCRL.Found(file, got).WithWant("a list of "+a.Certificate.Subject.String(), "").Wrong()
	}
	var crl *pki.CRL
	var err error
	if pki.IsPEM(data) {
		var crls []*pki.CRL
		if crls, err = pki.ParseCRLsPEM(data); err == nil {
			crl = crls[0]
		}
	} else {
		crl, err = pki.ParseCRL(data)
	}
	if err != nil {
		return nil, refuse(err.Error())
	}
	if err := crl.CheckSignatureFrom(a.Certificate); err != nil {
		return nil, refuse("a list of " + crl.Issuer.String() + ": " + err.Error())
	}
	return crl, nil
}

// adoptIndex registers what the index lists.
func (a *Authority) adoptIndex(tx *register.Tx, id int64, ad Adoption) error {
	own := register.SerialText(a.Certificate.Serial)
	for e, err := range readIndex(ad.IndexFile, ad.Index) {
		if err != nil {
			return err
		}
		if e.serial == own && a.Certificate.SelfIssued() {
			continue // `openssl ca -selfsign` lists the authority itself
		}
		var row int64
		if cert := a.indexed(e, ad.Issued); cert != nil {
			row, err = tx.AddCertificate(id, cert, register.Import, "", "")
		} else {
			row, err = tx.AddUnseen(id, e.serial, e.subject, e.notAfter)
		}
		if err == nil && e.revoked != nil {
			err = tx.Revoke(row, e.revoked.Reason, e.revoked.At)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// indexed returns the certificate of an entry, nil if what is found for it is
// not the one that the authority signed.
func (a *Authority) indexed(e indexEntry, find func(string) []byte) *pki.Certificate {
	if find == nil {
		return nil
	}
	certs, err := pki.ParseCertificatesPEM(find(e.written))
	if err != nil {
		return nil
	}
	// easy-rsa and openssl write one certificate to a file.
	if cert := certs[0]; register.SerialText(cert.Serial) == e.serial && cert.CheckSignatureFrom(a.Certificate) == nil {
		return cert
	}
	return nil
}

// adoptCRL registers what the list has and the index had not, and the list
// itself, so that the next one has a higher number.
func adoptCRL(tx *register.Tx, authority int64, crl *pki.CRL) error {
	for i := range crl.Revoked {
		r := &crl.Revoked[i]
		serial := register.SerialText(r.Serial)
		id, revoked, err := tx.FindSerial(serial)
		if err == nil && id == 0 {
			id, err = tx.AddUnseen(authority, serial, "", time.Time{})
		}
		if err == nil && !revoked {
			err = tx.Revoke(id, knownReason(r.Reason()), r.RevokedAt)
		}
		if err != nil {
			return err
		}
	}
	if crl.Number() == nil {
		return nil
	}
	return tx.AddCRL(authority, crl)
}

// knownReason returns r, or what stands for reasons that do not exist.
func knownReason(r pki.RevocationReason) pki.RevocationReason {
	if _, err := pki.ParseRevocationReason(r.String()); err != nil {
		return pki.Unspecified
	}
	return r
}
