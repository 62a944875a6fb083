package creds

import (
	"fmt"

	"virtls/internal/strerror"
	"virtls/layout"
	"virtls/pki"
)

// loadOldLibvirt loads as libvirt up to 11.9 does (src/rpc/virnettlscontext.c,
// virNetTLSContextNew): the sanity check first, which passes over what cannot
// be read, then the files.
func (l *loader) loadOldLibvirt() {
	plain := l.plain()
	if l.sanity {
		l.checkFirst(true, true, plain.Cert)
	}
	if l.files.CA != "" {
		if l.cannotRead("CA certificate", l.files.CA, true) {
			return
		}
		l.trustFile("Unable to set x509 CA certificate: %s: %s")
	}
	if l.disk.stat(l.files.CRL) == nil {
		l.loadCRL("Unable to set x509 certificate revocation list: %s: %s")
	}
	if plain.Cert == "" || plain.Key == "" {
		return // a configuration with empty paths: nothing is loaded
	}
	if server := l.Endpoint == Server; !l.cannotRead("certificate", plain.Cert, server) && !l.cannotRead("private key", plain.Key, server) {
		l.keyFile(plain, fmt.Sprintf("Unable to set x509 key and certificate: %s, %s: ", plain.Key, plain.Cert))
	}
}

// cannotRead tells whether a file is not there. Of a needed one that is a problem.
func (l *loader) cannotRead(what, path string, needed bool) bool {
	err := l.disk.stat(path)
	if err != nil && needed {
		l.problem(kindMissing.Found(path, strerror.Of(err)), fmt.Sprintf("Cannot read %s '%s': %s", what, path, strerror.Of(err)))
	}
	return err != nil
}

// loadLibvirt loads as libvirt 11.10 and newer do (src/rpc/virnettlsconfig.c,
// virnettlscontext.c): it looks for the files, makes the sanity check and has
// GnuTLS load them.
func (l *loader) loadLibvirt() {
	if err := l.disk.stat(l.files.CA); err != nil {
		l.problem(kindMissing.Found(l.files.CA, strerror.Of(err)), fmt.Sprintf("CA certificate '%s' does not exist: %s", l.files.CA, strerror.Of(err)))
	}
	crl := l.files.CRL != "" && (l.files.CRLNamed || l.disk.stat(l.files.CRL) == nil)
	pairs := l.findPairs()
	if l.refused() {
		return
	}
	if l.sanity {
		l.checkLibvirt(pairs)
	}
	l.trustFile("Unable to set x509 CA certificate: %s: %s")
	if crl {
		l.loadCRL("Unable to set x509 certificate revocation list: %s: %s")
	}
	for _, p := range pairs {
		l.keyFile(p, fmt.Sprintf("Unable to set x509 key and certificate: %s, %s: ", p.Key, p.Cert))
	}
}

// findPairs returns the pairs that libvirt finds, in the order in which it loads
// them: the plain one, and those of index 0 and on up to the first that is not
// there. Named ones must all be there, and so must a server's plain one if it
// has no other.
func (l *loader) findPairs() (found []layout.Pair) {
	if l.files.Named {
		for _, p := range l.files.Pairs {
			if l.pairThere(p, true) {
				found = append(found, p)
			}
		}
		return found
	}
	for _, p := range l.files.Pairs {
		if p.Index == layout.NoIndex {
			continue
		}
		if !l.pairThere(p, false) {
			break
		}
		found = append(found, p)
	}
	if plain := l.plain(); l.pairThere(plain, l.Endpoint == Server && found == nil) {
		found = append([]layout.Pair{plain}, found...)
	}
	return found
}

// pairThere tells whether a pair is there. Half a pair is a problem, and so is
// none if it is needed (virNetTLSConfigCheckIdentity).
func (l *loader) pairThere(p layout.Pair, needed bool) bool {
	cert, key := l.disk.stat(p.Cert), l.disk.stat(p.Key)
	switch {
	case cert == nil && key == nil:
		return true
	case cert == nil:
		l.problem(kindHalfPair.Found(p.Cert, "no key").WithWant(p.Key, ""),
			fmt.Sprintf("Key '%s' does not exist, but certificate '%s' does: %s", p.Key, p.Cert, strerror.Of(key)))
	case key == nil:
		text := fmt.Sprintf("Certificate '%s' does not exist, but key '%s' does: %s", p.Cert, p.Key, strerror.Of(cert))
		if needed {
			text = fmt.Sprintf("Certificate '%s' does not exist: %s", p.Cert, strerror.Of(cert))
		}
		l.problem(kindHalfPair.Found(p.Key, "no certificate").WithWant(p.Cert, ""), text)
	case needed:
		l.problem(kindNoIdentity.Found(p.Cert, "").WithWant(p.Cert+" and "+p.Key, ""),
			fmt.Sprintf("Certificate '%s' does not exist: %s", p.Cert, strerror.Of(cert)))
	}
	return false
}

// checkLibvirt makes the sanity check of libvirt 11.10 and newer: of the first
// certificate of every own file, of every authority, and of the former by the latter.
func (l *loader) checkLibvirt(pairs []layout.Pair) {
	type own struct {
		*pki.Certificate
		file string
	}
	var leaves []own
	for _, p := range pairs {
		if l.disk.readable(p.Cert) != nil {
			continue
		}
		if c := l.firstCertificate(p.Cert); c != nil {
			leaves = append(leaves, own{c, p.Cert})
		}
	}
	if l.disk.readable(l.files.CA) == nil {
		l.x.Anchors = l.anchorList()
	}
	before := l.refusals()
	for _, c := range leaves {
		l.checkCertificate(subject{c.Certificate, c.file, false})
	}
	anchors := l.checkedAnchors()
	for _, c := range anchors {
		l.checkCertificate(subject{c, l.files.CA, true})
	}
	for _, c := range leaves {
		if anchors != nil {
			l.checkOwn([]*pki.Certificate{c.Certificate}, anchors, c.file, before)
		}
	}
}
