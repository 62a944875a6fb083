package creds

import (
	"fmt"

	"virtls/pki"
)

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
	c, reason, err := l.parseFirst(cString(data))
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
	certs, _, err := l.parseCertificates(cString(data))
	if err == nil {
		return certs
	}
	text := "Unable to import CA certificate list "
	if l.ParallelIdentities {
		text = "Unable to import certificate list "
	}
	l.problem(kindAnchors.Found(l.files.CA, err.Error()), text+l.files.CA)
	return nil
}

// maxSanityFile is how much of a file libvirt's sanity check reads: up to 64
// KiB (src/rpc/virnettlscert.c). QEMU has no limit.
const maxSanityFile = 1 << 16

// readForCheck reads a file for the sanity check.
func (l *loader) readForCheck(path string) ([]byte, bool) {
	data, err := l.disk.read(path)
	switch {
	case err != nil && l.isLibvirt():
		l.unreadableFile(path, err, "Failed to read file '%s'", path)
	case err != nil:
		l.unreadableFile(path, err, "Cannot load CA cert list %s: ", path)
	case l.isLibvirt() && len(data) > maxSanityFile:
		l.problem(kindTooLarge.Found(path, fmt.Sprintf("%d bytes", len(data))).WithWant(fmt.Sprintf("at most %d bytes", maxSanityFile), ""),
			fmt.Sprintf("Failed to read file '%s': Value too large for defined data type", path))
	default:
		return data, true
	}
	return nil, false
}
