package creds

import (
	"bytes"
	"errors"
	"fmt"

	"virtls/finding"
	"virtls/internal/strerror"
	"virtls/layout"
	"virtls/pki"
)

// unreadableFile notes a file that cannot be read; format makes what the
// consumer says before it gives a reason.
func (l *loader) unreadableFile(path string, err error, format string, args ...any) {
	f := kindUnreadable.Found(path, strerror.Of(err))
	if errors.Is(err, errTooLarge) {
		f = kindTooLarge.Found(path, "more than the limit").WithWant(fmt.Sprintf("at most %d bytes", pki.MaxFileSize), "virtls")
	}
	l.problem(f, fmt.Sprintf(format, args...))
}

// trustFile has GnuTLS load the CA file (gnutls_certificate_set_x509_trust_file),
// which takes one without any certificate, and then trusts nobody.
func (l *loader) trustFile(format string) {
	if l.x.Anchors != nil {
		return // it was read for the sanity check
	}
	data, err := l.disk.read(l.files.CA)
	if err != nil {
		l.unreadableFile(l.files.CA, err, format, l.files.CA, gnutlsFile)
		return
	}
	certs, reason, err := l.parseCertificates(data)
	switch {
	case reason == pki.GnuTLSNoCertificate:
		l.problem(kindAnchors.Found(l.files.CA, err.Error()).WithSeverity(finding.Warning), "")
	case err != nil:
		l.problem(kindAnchors.Found(l.files.CA, err.Error()), fmt.Sprintf(format, l.files.CA, reason))
	}
	l.x.Anchors = certs
}

// keyFile has GnuTLS load a key and its certificate, in this order
// (gnutls_certificate_set_x509_key_file2).
func (l *loader) keyFile(p layout.Pair, prefix string) {
	id := Identity{Index: p.Index, CertFile: p.Cert, KeyFile: p.Key}
	keyData, err := l.disk.read(p.Key)
	if err != nil {
		l.unreadableFile(p.Key, err, "%s%s", prefix, gnutlsFile)
		return
	}
	var reason error
	if id.Key, reason, err = l.parseKey(keyData); err != nil {
		l.problem(keyProblem(p.Key, err), prefix+reason.Error())
	}
	certData, err := l.disk.read(p.Cert)
	if err != nil {
		l.unreadableFile(p.Cert, err, "%s%s", prefix, gnutlsFile)
		return
	}
	if id.Chain, reason, err = l.parseCertificates(certData); err != nil {
		if reason == pki.GnuTLSNoCertificate {
			reason = gnutlsBase64
		}
		l.problem(kindCert.Found(p.Cert, err.Error()), prefix+reason.Error())
	}
	if id.Chain != nil && id.Key != nil && l.match(&id, prefix) {
		l.x.Identities = append(l.x.Identities, id)
	}
}

// keyProblem says why a private key cannot be used.
func keyProblem(path string, err error) finding.Finding {
	switch {
	case errors.Is(err, pki.ErrNoPassword):
		return kindKeyEncrypted.Found(path, "")
	case errors.Is(err, pki.ErrPassword):
		return kindKeyPassword.Found(path, "")
	}
	return kindKey.Found(path, err.Error())
}

// maxSortedChain is how many certificates GnuTLS puts in order by itself
// (gnutls_pcert_import_x509_list, 3.7.9 to 3.8.13); a longer chain must be.
const maxSortedChain = 16

// match tells whether the key is that of the identity's first certificate, as
// GnuTLS tries it when it is given both. prefix is what the consumer says
// before GnuTLS's reason.
func (l *loader) match(id *Identity, prefix string) bool {
	leaf := id.Chain[0]
	if n := len(id.Chain); n > maxSortedChain {
		if !l.WholeChain {
			id.Chain = id.Chain[:maxSortedChain] // the rest is never read
		} else if !sorted(id.Chain) {
			l.problem(kindUnordered.Found(id.CertFile, fmt.Sprintf("%d certificates", n)).WithWant(fmt.Sprintf("at most %d that are not in order", maxSortedChain), ""),
				prefix+"The provided X.509 certificate list is not sorted")
			return false
		}
	}
	if pki.SameKey(leaf.PublicKey.Key, id.Key) {
		return true
	}
	l.problem(kindKeyMismatch.Found(id.KeyFile, "a key that is not that of "+leaf.String()).WithWant("the key of "+id.CertFile, ""),
		prefix+gnutlsMismatch.Error())
	return false
}

// sorted tells whether each certificate names the next one as its issuer.
func sorted(chain []*pki.Certificate) bool {
	for i, c := range chain[1:] {
		if !bytes.Equal(chain[i].RawIssuer, c.RawSubject) {
			return false
		}
	}
	return true
}

// loadCRL reads the revocation lists, which nobody judges.
func (l *loader) loadCRL(format string) {
	data, err := l.disk.read(l.files.CRL)
	if err != nil {
		l.unreadableFile(l.files.CRL, err, format, l.files.CRL, gnutlsFile)
		return
	}
	if l.x.CRLs, err = pki.ParseCRLsPEM(data); err != nil {
		reason := gnutlsDamaged
		var noPEM *pki.ErrNoPEM
		if errors.As(err, &noPEM) {
			reason = gnutlsBase64
		}
		l.problem(kindCRL.Found(l.files.CRL, err.Error()), fmt.Sprintf(format, l.files.CRL, reason))
	}
}
