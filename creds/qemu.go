package creds

import (
	"bytes"
	"errors"
	"fmt"

	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// loadQEMU loads as QEMU 10.2 and newer do (crypto/tlscredsx509.c,
// qcrypto_tls_creds_x509_load).
func (l *loader) loadQEMU() {
	if l.present(l.files.CA, true) {
		l.x.Anchors = l.certificates(kindAnchors, l.files.CA)
	}
	for _, p := range l.files.Pairs {
		if there := l.loadPair(p); !there && p.Index != layout.NoIndex {
			break
		}
	}
	if len(l.x.Identities) == 0 && l.Endpoint == Server && !l.refused() {
		plain := l.plain()
		l.problem(kindNoIdentity.Found(plain.Cert, "").WithWant(plain.Cert+" and "+plain.Key, ""),
			fmt.Sprintf("Missing server cert '%s' & key '%s'", plain.Cert, plain.Key))
	}
	crl, dh := l.present(l.files.CRL, l.files.CRLNamed), l.present(l.files.DH, false)
	if l.sanity {
		for _, id := range l.x.Identities {
			l.checkIdentity(id)
		}
	}
	if crl {
		l.loadCRL("Cannot load CRL '%s': %s")
	}
	if dh {
		l.loadDH()
	}
}

// checkIdentity makes QEMU 10.2's sanity check of one identity
// (qcrypto_tls_creds_x509_sanity_check_identity).
func (l *loader) checkIdentity(id Identity) {
	before := l.refusals()
	for i, c := range id.Chain {
		l.checkCertificate(subject{c, id.CertFile, i > 0})
	}
	if l.x.Anchors == nil {
		return
	}
	l.checkWholeChain(id.Chain)
	l.checkOwn(id.Chain, l.x.Anchors, id.CertFile, before)
}

// loadPair loads a certificate and its key, and tells whether either is there.
func (l *loader) loadPair(p layout.Pair) (there bool) {
	cert, key := l.present(p.Cert, l.files.Named), l.present(p.Key, l.files.Named)
	switch {
	case !cert && !key:
		return false
	case !key:
		if l.halfMissing(p.Key) {
			l.problem(kindHalfPair.Found(p.Cert, "no key").WithWant(p.Key, ""),
				fmt.Sprintf("Cert '%s' without corresponding key '%s'", p.Cert, p.Key))
		}
		return true
	case !cert:
		if l.halfMissing(p.Cert) {
			l.problem(kindHalfPair.Found(p.Key, "no certificate").WithWant(p.Cert, ""),
				fmt.Sprintf("Key '%s' without corresponding cert '%s'", p.Key, p.Cert))
		}
		return true
	}
	id := Identity{Index: p.Index, CertFile: p.Cert, KeyFile: p.Key}
	id.Chain = l.certificates(kindCert, p.Cert)
	id.Key = l.privateKey(p.Key)
	if id.Chain == nil || id.Key == nil {
		return true
	}
	if l.match(&id, fmt.Sprintf("Cannot set certificate '%s' & key '%s': ", p.Cert, p.Key)) {
		l.x.Identities = append(l.x.Identities, id)
	}
	return true
}

// halfMissing tells whether the other half of a pair is just not there, which
// has not been told as a problem of its own yet.
func (l *loader) halfMissing(path string) bool {
	return isMissing(l.disk.readable(path)) && !l.files.Named
}

// present tells whether QEMU finds a file that it may read. What is in the way
// of any file, or of a needed one, is a problem (crypto/tlscreds.c,
// qcrypto_tls_creds_get_path).
func (l *loader) present(path string, needed bool) bool {
	if path == "" && !needed {
		return false
	}
	err := l.disk.readable(path)
	if !l.WholeChain {
		err = l.disk.stat(path)
	}
	if err == nil {
		return true
	}
	kind := kindUnreadable
	if isMissing(err) {
		if !needed {
			return false
		}
		kind = kindMissing
	}
	l.problem(kind.Found(path, strerror(err)),
		fmt.Sprintf("Unable to access credentials %s: %s", path, strerror(err)))
	return false
}

// certificates reads a file of certificates, nil if it cannot be used.
func (l *loader) certificates(kind *finding.Kind, path string) []*pki.Certificate {
	data, err := l.disk.read(path)
	if err != nil {
		l.unreadableFile(path, err, "Cannot load CA cert list %s: ", path)
		return nil
	}
	certs, reason, err := parseCertificates(cString(data))
	if err != nil {
		l.problem(kind.Found(path, err.Error()), fmt.Sprintf("Unable to import certificate %s: %s", path, reason))
		return nil
	}
	return certs
}

// unreadableFile notes a file that cannot be read; format makes what the
// consumer says before it gives a reason.
func (l *loader) unreadableFile(path string, err error, format string, args ...any) {
	f := kindUnreadable.Found(path, strerror(err))
	if errors.Is(err, errTooLarge) {
		f = kindTooLarge.Found(path, "more than the limit").WithWant(fmt.Sprintf("at most %d bytes", pki.MaxFileSize), "virtls")
	}
	l.problem(f, fmt.Sprintf(format, args...))
}

// privateKey reads a private key, nil if it cannot be used.
func (l *loader) privateKey(path string) pki.PrivateKey {
	data, err := l.disk.read(path)
	if err != nil {
		l.unreadableFile(path, err, "Cannot load private key %s: ", path)
		return nil
	}
	key, _, err := l.parseKey(cString(data))
	if err != nil {
		l.problem(keyProblem(path, err), "Unable to import private key "+path)
	}
	return key
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

// loadOldQEMU loads as QEMU up to 10.1 does: all paths are looked up, then the
// sanity check is made, then GnuTLS loads the files itself.
func (l *loader) loadOldQEMU() {
	server, plain := l.Endpoint == Server, l.plain()
	ca := l.present(l.files.CA, true)
	crl := l.present(l.files.CRL, l.files.CRLNamed)
	cert := l.present(plain.Cert, server)
	key := l.present(plain.Key, server)
	dh := l.present(l.files.DH, false)
	if l.refused() {
		return
	}
	if l.sanity {
		l.checkFirst(ca, cert, plain.Cert)
	}
	if ca {
		l.trustFile("Cannot load CA certificate '%s': %s")
	}
	if cert && key {
		l.keyFile(plain, fmt.Sprintf("Cannot load certificate '%s' & key '%s': ", plain.Cert, plain.Key))
	}
	if crl {
		l.loadCRL("Cannot load CRL '%s': %s")
	}
	if dh {
		l.loadDH()
	}
}

// checkFirst makes the sanity check of QEMU up to 10.1 and libvirt up to 11.9
// (qcrypto_tls_creds_x509_sanity_check, virNetTLSCertSanityCheck): of the own
// file's first certificate, of every authority, and of the one by the others.
// Files that cannot be read are passed over.
func (l *loader) checkFirst(ca, cert bool, file string) {
	var leaf *pki.Certificate
	if cert && l.disk.readable(file) == nil {
		if leaf = l.firstCertificate(file); leaf == nil {
			return
		}
	}
	if ca && l.disk.readable(l.files.CA) == nil {
		if l.x.Anchors = l.anchorList(); l.x.Anchors == nil {
			return
		}
	}
	before := l.refusals()
	if leaf != nil {
		l.checkCertificate(subject{leaf, file, false})
	}
	anchors := l.checkedAnchors()
	for _, c := range anchors {
		l.checkCertificate(subject{c, l.files.CA, true})
	}
	if leaf != nil && anchors != nil {
		l.checkOwn([]*pki.Certificate{leaf}, anchors, file, before)
	}
}

// firstCertificate reads the own file's first certificate for the sanity check.
func (l *loader) firstCertificate(path string) *pki.Certificate {
	data, ok := l.readForCheck(path)
	if !ok {
		return nil
	}
	c, reason, err := parseFirst(cString(data))
	if err == nil {
		return c
	}
	text := fmt.Sprintf("Unable to import %s certificate %s", l.Endpoint, path)
	if !l.isLibvirt() {
		text += ": " + reason.Error()
	}
	l.problem(kindCert.Found(path, err.Error()), text)
	return nil
}

// anchorList reads the CA file for the sanity check.
func (l *loader) anchorList() []*pki.Certificate {
	data, ok := l.readForCheck(l.files.CA)
	if !ok {
		return nil
	}
	certs, _, err := parseCertificates(cString(data))
	if err == nil {
		return certs
	}
	text := "Unable to import CA certificate list "
	if l.PairsComplete {
		text = "Unable to import certificate list "
	}
	l.problem(kindAnchors.Found(l.files.CA, err.Error()), text+l.files.CA)
	return nil
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
	certs, reason, err := parseCertificates(data)
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
	if id.Chain, reason, err = parseCertificates(certData); err != nil {
		if reason == pki.GnuTLSNoCertificate {
			reason = gnutlsBase64
		}
		l.problem(kindCert.Found(p.Cert, err.Error()), prefix+reason.Error())
	}
	if id.Chain != nil && id.Key != nil && l.match(&id, prefix) {
		l.x.Identities = append(l.x.Identities, id)
	}
}
