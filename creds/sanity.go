package creds

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"virtls/finding"
	"virtls/pki"
)

// A subject is a certificate under a sanity check.
type subject struct {
	cert *pki.Certificate
	file string // that messages name
	ca   bool   // it is to be an authority's; else one for the loader's endpoint
}

// role is what the subject is in the consumers' messages.
func (l *loader) role(s subject) string {
	if s.ca {
		return "CA"
	}
	return l.Endpoint.String()
}

// checkCertificate makes all checks of a single certificate, in the order of
// QEMU's qcrypto_tls_creds_check_cert and libvirt's virNetTLSCertCheck.
func (l *loader) checkCertificate(s subject) {
	l.checkTimes(s)
	l.checkBasicConstraints(s)
	l.checkKeyUsage(s)
	if !s.ca {
		l.checkPurpose(s)
	}
}

// checkTimes wants the present within the validity, whose ends belong to it
// (QEMU crypto/tlscredsx509.c, qcrypto_tls_creds_check_cert_times; libvirt
// src/rpc/virnettlscert.c, virNetTLSCertCheckTimes).
func (l *loader) checkTimes(s subject) {
	expired, early := kindExpired, kindNotYetValid
	if s.ca {
		expired, early = kindAnchorExpired, kindAnchorNotYetValid
	}
	if s.cert.NotAfter.Before(l.now) {
		l.problem(expired.Found(s.file, s.cert.String()+", which ended "+stamp(s.cert.NotAfter)).
			WithWant("an end after "+stamp(l.now), ""),
			fmt.Sprintf("The %s certificate %s has expired", l.role(s), s.file))
	}
	if s.cert.NotBefore.After(l.now) {
		l.problem(early.Found(s.file, s.cert.String()+", which begins "+stamp(s.cert.NotBefore)).
			WithWant("a beginning before "+stamp(l.now), ""),
			fmt.Sprintf("The %s certificate %s is not yet active", l.role(s), s.file))
	}
}

// checkBasicConstraints wants authorities to say that they are, and nobody else
// to; criticality and path length are not looked at (QEMU
// qcrypto_tls_creds_check_cert_basic_constraints; libvirt
// virNetTLSCertCheckBasicConstraints).
func (l *loader) checkBasicConstraints(s subject) {
	basic, err := s.cert.Extensions.BasicConstraints()
	switch {
	case err != nil:
		l.unreadable(s, "basic constraints")
	case basic != nil && basic.CA && !s.ca:
		l.problem(kindIsCA.Found(s.file, s.cert.String()).WithWant("a certificate for a "+l.role(s), ""),
			fmt.Sprintf("The certificate %s basic constraints show a CA, but we need one for a %s", s.file, l.role(s)))
	case basic != nil && !basic.CA && s.ca:
		l.problem(kindNotCA.Found(s.file, s.cert.String()).WithWant("basic constraints that say CA", ""),
			fmt.Sprintf("The certificate %s basic constraints do not show a CA", s.file))
	case basic == nil && s.ca:
		l.problem(kindNoConstraints.Found(s.file, s.cert.String()).WithWant("basic constraints that say CA", ""),
			fmt.Sprintf("The certificate %s is missing basic constraints for a CA", s.file))
	}
}

// checkKeyUsage wants an authority to sign certificates, and others to sign; if
// their key usage says otherwise and is critical, they are refused (QEMU
// qcrypto_tls_creds_check_cert_key_usage; libvirt virNetTLSCertCheckKeyUsage,
// which logs a warning where the usage is not critical).
func (l *loader) checkKeyUsage(s subject) {
	usage, present, err := s.cert.Extensions.KeyUsage()
	switch {
	case err != nil:
		l.unreadable(s, "key usage")
		return
	case !present:
		return
	}
	critical := s.cert.Extensions.Find(pki.OIDKeyUsage).Critical
	if s.ca {
		if usage&pki.KeyCertSign == 0 {
			l.notAllowed(s, kindCannotSign, critical, usage.String(), pki.KeyCertSign.String(), "usage does not permit certificate signing")
		}
		return
	}
	if usage&pki.DigitalSignature == 0 {
		l.notAllowed(s, kindNoSignature, critical, usage.String(), pki.DigitalSignature.String(), "usage does not permit digital signature")
	}
	if usage&pki.KeyEncipherment == 0 && l.Encipherment.has(s.cert.PublicKey.Algorithm) {
		l.notAllowed(s, kindNoEncipherment, critical, usage.String(), pki.KeyEncipherment.String(), "usage does not permit key encipherment")
	}
}

// noPurposes is a list of key purposes that is empty, DER.
const noPurposes = "\x30\x00"

// checkPurpose wants the own certificate's key purposes to allow the role; a
// critical extension that does not is refused. QEMU lets "any" stand for both
// purposes and passes over unknown ones (qcrypto_tls_creds_check_cert_key_purpose).
// libvirt has the condition inverted: "any" stands for nothing, and every
// purpose that it does not know for both (virNetTLSCertCheckKeyPurpose, 9.0 to 12.8).
func (l *loader) checkPurpose(s subject) {
	purposes, err := s.cert.Extensions.ExtKeyUsage()
	switch {
	case err != nil && string(s.cert.Extensions.Find(pki.OIDExtKeyUsage).Value) == noPurposes:
		return // GnuTLS takes an empty list for none
	case err != nil:
		l.unreadable(s, "key purpose")
		return
	case purposes == nil:
		return
	}
	wanted, other, text := pki.PurposeServer, pki.PurposeClient, "purpose does not allow use with a TLS "
	if l.Endpoint == Client {
		wanted, other = other, wanted
	}
	if l.isLibvirt() {
		text = "purpose does not allow use for with a TLS " // sic
	}
	for _, p := range purposes {
		if p.Equal(wanted) {
			return
		}
		any := p.Equal(pki.PurposeAny)
		if !l.isLibvirt() && any || l.isLibvirt() && !any && !p.Equal(other) {
			return
		}
	}
	critical := s.cert.Extensions.Find(pki.OIDExtKeyUsage).Critical
	l.notAllowed(s, kindPurpose, critical, fmt.Sprint(purposes), "TLS "+l.Endpoint.String()+"s", text+l.Endpoint.String())
}

// notAllowed notes that an extension does not allow what is wanted. Only a
// critical one makes the consumer refuse the certificate.
func (l *loader) notAllowed(s subject, kind *finding.Kind, critical bool, got, want, text string) {
	f := kind.Found(s.file, got).WithWant(want, "")
	text = fmt.Sprintf("Certificate %s %s", s.file, text)
	if !critical {
		f = f.WithSeverity(finding.Warning).WithWant(want, "strict TLS implementations")
		if !l.isLibvirt() {
			text = ""
		}
	}
	l.problem(f, text)
}

// unreadable notes an extension that does not decode.
func (l *loader) unreadable(s subject, extension string) {
	colon := ":"
	if l.isLibvirt() {
		colon = ""
	}
	l.problem(kindExtension.Found(s.file, s.cert.String()+": its "+extension),
		fmt.Sprintf("Unable to query certificate %s %s%s", s.file, extension, colon))
}

// checkOwn wants an authority of the CA file to have issued the own chain
// (gnutls_x509_crt_list_verify, called by QEMU qcrypto_tls_creds_check_cert_pair
// and libvirt virNetTLSCertCheckPair). The last reason that fits is told. There
// were refusals when the chain's own checks began: what these have found is not
// told again as its consequence.
func (l *loader) checkOwn(chain, anchors []*pki.Certificate, file string, refusals int) {
	err := remember(l.disk.cache.chains, chainInput{chain[0], anchors[0], len(chain), len(anchors), l.MLDSA}, func() error {
		return pki.PredictGnuTLS(chain, pki.GnuTLSOptions{Trusted: anchors, Own: true, Time: l.now, MLDSA: l.MLDSA})
	})
	var verr *pki.VerifyError
	if !errors.As(err, &verr) {
		return
	}
	kind, reason, dot := kindUntrusted, "The certificate is not trusted", "."
	if verr.Has(pki.UnknownIssuer) {
		kind, reason = kindUnknownIssuer, "The certificate hasn't got a known issuer"
	}
	if verr.Has(pki.WeakHash, pki.WeakKey) {
		kind, reason, dot = kindWeak, "The certificate uses an insecure algorithm", ""
	}
	if l.refusals() > refusals && (kind != kindUnknownIssuer || l.has(kindNoRoot)) {
		return
	}
	if l.isLibvirt() {
		reason += dot
	}
	l.problem(kind.Found(file, verr.Problems[0].String()).WithWant("a chain to an authority in "+l.files.CA, ""),
		fmt.Sprintf("Our own certificate %s failed validation against %s: %s", file, l.files.CA, reason))
}

func (l *loader) has(kind *finding.Kind) bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Finding.Code == kind.Code })
}

// checkWholeChain wants each certificate of the own file to be issued by the
// next, and the last by authorities in the CA file up to one that is its own
// issuer; all of these are checked, and no others (QEMU 10.2,
// qcrypto_tls_creds_check_authority_chain). An issuer is told by names and key
// identifiers alone.
func (l *loader) checkWholeChain(chain []*pki.Certificate) {
	for i, c := range chain[:len(chain)-1] {
		if next := chain[i+1]; !next.Issued(c) {
			l.problem(kindUnordered.Found(l.files.Dir, next.String()+" behind "+c.String()).WithWant("its issuer, "+c.Issuer.String(), ""),
				fmt.Sprintf("Cert '%s' does not match issuer of cert '%s'", next.Subject, c.Subject))
			return
		}
	}
	last, seen := chain[len(chain)-1], map[*pki.Certificate]bool{}
	for !last.Issued(last) {
		i := slices.IndexFunc(l.x.Anchors, func(ca *pki.Certificate) bool { return ca.Issued(last) })
		if i < 0 || seen[l.x.Anchors[i]] {
			l.problem(kindNoRoot.Found(l.files.CA, "no issuer of "+last.String()).WithWant("the certificate of "+last.Issuer.String(), ""),
				fmt.Sprintf("Cert '%s' has no issuer in CA chain", last.Subject))
			return
		}
		last = l.x.Anchors[i]
		seen[last] = true
		l.checkCertificate(subject{last, l.files.CA, true})
	}
	if !seen[last] {
		l.checkCertificate(subject{last, l.files.CA, true})
	}
}

// stamp writes a time as findings have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
