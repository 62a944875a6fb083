package session

import (
	"errors"
	"fmt"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
)

// Rules are whose peer check a session makes: the order of the checks, and the
// words in which they refuse.
type Rules int

// The rules.
const (
	QEMU    Rules = iota // crypto/tlssession.c, qcrypto_tls_session_check_certificate, QEMU 11.1
	Libvirt              // src/rpc/virnettlscontext.c, virNetTLSContextValidCertificate, libvirt 12.8
)

// words are the texts of a set of rules.
type words struct {
	noCertificate string
	untrusted     string // of the chain, with the reason
	denied        string // with the name
	name          string // with the host
}

var texts = [...]words{
	QEMU: {
		noCertificate: "Verify failed: No certificate was found.", untrusted: "%s",
		denied: "TLS x509 authz check for %s is denied", name: "Certificate does not match the hostname %s",
	},
	Libvirt: {
		noCertificate: "Unable to verify TLS peer: No certificate was found.", untrusted: "Certificate failed validation: %s",
		denied: "Client's Distinguished Name is not on the list of allowed clients (tls_allowed_dn_list): %s", name: "Certificate [session] owner does not match the hostname %s",
	},
}

// reasons are GnuTLS's of a chain that it does not trust, as QEMU and libvirt
// print them; the last that applies counts.
var reasons = []struct {
	text string
	of   []pki.Reason
}{
	{"The certificate hasn't got a known issuer.", []pki.Reason{pki.UnknownIssuer}},
	{"The certificate has been revoked.", []pki.Reason{pki.Revoked}},
	{"The certificate uses an insecure algorithm", []pki.Reason{pki.WeakHash, pki.WeakKey}},
}

// checkPeer makes the checks in the order of the rules.
func (s *Session) checkPeer() error {
	x, ok := s.o.Credentials.(*creds.X509)
	if !ok {
		return s.checkNameless()
	}
	if len(s.state.PeerChain) > 0 {
		s.state.PeerName = s.state.PeerChain[0].Subject.String()
	}
	if !x.VerifyPeer() {
		return nil
	}
	now := s.o.Now().Truncate(time.Second)
	if err := s.checkChain(x, now); err != nil {
		return err
	}
	checks := []func() error{s.checkAccess, func() error { return s.checkHostname(x, now) }, func() error { return s.checkLeaf(now) }}
	if s.o.Rules == Libvirt {
		// Times come first, the rest of the leaf's own last.
		checks = append([]func() error{s.checkSubject}, checks...)
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	s.state.Authenticated = true
	return nil
}

// checkNameless judges sessions without certificates. Pre-shared keys have
// proved themselves in the handshake; a user's name is judged by the list, which
// QEMU does not do.
func (s *Session) checkNameless() error {
	if _, ok := s.o.Credentials.(*creds.PSK); !ok {
		return nil
	}
	if s.o.Authorizer != nil {
		if err := s.checkAccess(); err != nil {
			return err
		}
	}
	s.state.Authenticated = true
	return nil
}

func (s *Session) text() words { return texts[s.o.Rules] }

// peer names the peer's certificate in findings.
func (s *Session) peer() string {
	if len(s.state.PeerChain) == 0 {
		return s.state.subject()
	}
	return "certificate of the peer, " + s.state.PeerChain[0].String()
}

// checkChain wants a chain from the peer's certificate to an authority of ours,
// none of whose members is revoked or out of its time.
func (s *Session) checkChain(x *creds.X509, now time.Time) error {
	chain := s.state.PeerChain
	if len(chain) == 0 {
		return kindNoPeerCertificate.Found(s.peer(), "").WithText("%s", s.text().noCertificate).Wrong()
	}
	if err := s.verify(x, now, ""); err != nil {
		return s.untrusted(err)
	}
	for _, c := range chain {
		switch {
		case now.After(c.NotAfter):
			return kindPeerExpired.Found(s.peer(), c.String()+", ended "+c.NotAfter.UTC().Format(time.RFC3339)).WithText("The certificate has expired").Wrong()
		case now.Before(c.NotBefore):
			return kindPeerExpired.Found(s.peer(), c.String()+", begins "+c.NotBefore.UTC().Format(time.RFC3339)).WithText("The certificate is not yet activated").Wrong()
		}
	}
	return nil
}

// verify judges the peer's chain, for a host if one is named.
func (s *Session) verify(x *creds.X509, now time.Time, host string) error {
	chain := s.state.PeerChain
	_, err := pki.Verify(chain[0], pki.VerifyOptions{
		Roots: x.Anchors, PartialChain: true, Intermediates: chain[1:], CRLs: x.CRLs, AllowStaleCRL: true,
		Time: now, Policy: pki.GnuTLSPolicy(), Hostname: host,
	})
	return err
}

// untrusted turns the verifier's opinion into the rules' words, and keeps what
// it says: GnuTLS's own reasons tell little.
func (s *Session) untrusted(err error) error {
	kind, reason := kindPeerUntrusted, "The certificate is not trusted."
	var v *pki.VerifyError
	if errors.As(err, &v) {
		for _, r := range reasons {
			if v.Has(r.of...) {
				reason = r.text
			}
		}
		switch {
		case v.Has(pki.Revoked):
			kind = kindPeerRevoked
		case v.Has(pki.Expired, pki.NotYetValid):
			kind = kindPeerExpired
		}
	}
	return wrong(kind.Found(s.peer(), err.Error()).WithText(s.text().untrusted, reason), err)
}

// checkSubject wants a name: libvirt cannot do without one
// (virNetTLSContextCheckCertDN).
func (s *Session) checkSubject() error {
	if len(s.state.PeerChain[0].Subject) == 0 {
		return kindPeerUntrusted.Found(s.peer(), "an empty subject").WithWant("a subject with a name", "libvirt").
			WithText("Failed to get certificate [session] distinguished name: The requested data were not available.").Wrong()
	}
	return nil
}

// checkAccess asks the access list. It denies what it cannot answer.
func (s *Session) checkAccess() error {
	if s.o.Authorizer == nil {
		return nil
	}
	name := s.state.PeerName
	allowed, err := s.o.Authorizer.Allowed(name)
	if allowed && err == nil {
		return nil
	}
	f := kindPeerDenied.Found(s.peer(), name).WithText(s.text().denied, name)
	if err != nil {
		f.Got = fmt.Sprintf("%s; %v", name, err)
	}
	return wrong(f, err)
}

// checkHostname wants a server's certificate to be for the host that was asked for.
func (s *Session) checkHostname(x *creds.X509, now time.Time) error {
	if s.o.Hostname == "" {
		return nil
	}
	match, err := pki.MatchHostname(s.state.PeerChain[0], s.o.Hostname)
	if err != nil {
		return wrong(kindPeerName.Found(s.peer(), err.Error()).WithText(s.text().name, s.o.Hostname), err)
	}
	if match == pki.ByCommonName {
		// The authorities' name constraints hold for a common name too, once it is
		// taken for the name of a host.
		if err := s.verify(x, now, s.o.Hostname); err != nil {
			return s.untrusted(err)
		}
		s.warn(kindNameFromCN.Found(s.peer(), s.o.Hostname))
	}
	return nil
}

// checkLeaf makes the checks of the peer's certificate by itself that libvirt
// makes; where QEMU makes none, what is wrong is a warning.
func (s *Session) checkLeaf(now time.Time) error {
	name := creds.LibvirtServer
	if s.state.Endpoint == creds.Client {
		name = creds.LibvirtClient
	}
	consumer, err := creds.ConsumerFor(name, "")
	if err != nil {
		return err
	}
	for _, p := range consumer.JudgePeer(s.state.PeerChain[0], now).Problems {
		if s.o.Rules == Libvirt && p.Finding.Severity == finding.Error {
			return kindPeerUsage.Found(s.peer(), p.Finding.Got).WithWant(p.Finding.Want, consumer.String()).WithText("%s", p.Text).Wrong()
		}
		s.warn(kindPeerPurpose.Found(s.peer(), p.Finding.Got).WithWant(p.Finding.Want, consumer.String()))
	}
	return nil
}

func (s *Session) warn(f finding.Finding) { s.state.Warnings = append(s.state.Warnings, f) }
