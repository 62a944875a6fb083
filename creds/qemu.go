package creds

import (
	"fmt"

	"virtls/finding"
	"virtls/internal/strerror"
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
	l.problem(kind.Found(path, strerror.Of(err)),
		fmt.Sprintf("Unable to access credentials %s: %s", path, strerror.Of(err)))
	return false
}

// certificates reads a file of certificates, nil if it cannot be used.
func (l *loader) certificates(kind *finding.Kind, path string) []*pki.Certificate {
	data, err := l.disk.read(path)
	if err != nil {
		l.unreadableFile(path, err, "Cannot load CA cert list %s: ", path)
		return nil
	}
	certs, reason, err := l.parseCertificates(cString(data))
	if err != nil {
		l.problem(kind.Found(path, err.Error()), fmt.Sprintf("Unable to import certificate %s: %s", path, reason))
		return nil
	}
	return certs
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
