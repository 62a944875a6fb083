package session

import (
	"errors"
	"fmt"
	"strings"
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
	expired       string // of a certificate that GnuTLS had no need of
	early         string
}

var texts = [...]words{
	QEMU: {
		noCertificate: "Verify failed: No certificate was found.", untrusted: "%s",
		denied: "TLS x509 authz check for %s is denied", name: "Certificate does not match the hostname %s",
		expired: "The certificate has expired", early: "The certificate is not yet activated",
	},
	Libvirt: {
		noCertificate: "Unable to verify TLS peer: No certificate was found.", untrusted: "Certificate failed validation: %s",
		denied: "Client's Distinguished Name is not on the list of allowed clients (tls_allowed_dn_list): %s", name: "Certificate [session] owner does not match the hostname %s",
		expired: "The WHO certificate [session] has expired", early: "The WHO certificate [session] is not yet active",
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
	j := judge{s, x, s.o.Now().Truncate(time.Second)}
	for _, check := range orders[s.o.Rules] {
		if err := check(j); err != nil {
			return err
		}
	}
	s.state.Authenticated = true
	return nil
}

// Judge judges the certificates that the peer has shown by credentials, a list of
// names and a time that may be others than those of the handshake: whether it could
// come in now. The session goes on, whatever the outcome.
func (c *Conn) Judge(o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Session{o: o, state: c.State()}
	s.state.Warnings = nil
	return s.checkPeer()
}

// A judge judges a peer's certificates at a time.
type judge struct {
	*Session
	x   *creds.X509
	now time.Time
}

// orders are the checks of the rules, one after the other. What QEMU does not
// check is a warning there.
var orders = [...][]func(judge) error{
	QEMU:    {judge.checkChain, judge.checkLeafTimes, judge.checkAccess, judge.checkHostname, judge.checkIssuersTimes, judge.checkUsage},
	Libvirt: {judge.checkChain, judge.checkLeafTimes, judge.checkSubject, judge.checkAccess, judge.checkHostname, judge.checkUsage, judge.checkIssuersTimes},
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
func (j judge) checkChain() error {
	if len(j.state.PeerChain) == 0 {
		return kindNoPeerCertificate.Found(j.peer(), "").WithText("%s", j.text().noCertificate).Wrong()
	}
	if err := j.verify(""); err != nil {
		return j.untrusted(err)
	}
	return nil
}

func (j judge) checkLeafTimes() error { return j.checkTimes(j.state.PeerChain[0], false) }

// checkIssuersTimes looks at what the peer sent behind its certificate: at
// those that the chain has no need of, because the others have been looked at.
func (j judge) checkIssuersTimes() error {
	for _, c := range j.state.PeerChain[1:] {
		if err := j.checkTimes(c, true); err != nil {
			return err
		}
	}
	return nil
}

func (j judge) checkTimes(c *pki.Certificate, issuer bool) error {
	who := "client"
	switch {
	case issuer:
		who = "CA"
	case j.state.Endpoint == creds.Client:
		who = "server"
	}
	switch {
	case j.now.After(c.NotAfter):
		return j.outOfTime(c, "ended "+c.NotAfter.UTC().Format(time.RFC3339), j.text().expired, who)
	case j.now.Before(c.NotBefore):
		return j.outOfTime(c, "begins "+c.NotBefore.UTC().Format(time.RFC3339), j.text().early, who)
	}
	return nil
}

func (j judge) outOfTime(c *pki.Certificate, when, text, who string) error {
	return kindPeerExpired.Found(j.peer(), c.String()+", "+when).WithText("%s", strings.ReplaceAll(text, "WHO", who)).Wrong()
}

// verify judges the peer's chain, for a host if one is named.
func (j judge) verify(host string) error {
	chain := j.state.PeerChain
	_, err := pki.Verify(chain[0], pki.VerifyOptions{
		Roots: j.x.Anchors, PartialChain: true, Intermediates: chain[1:], CRLs: j.x.CRLs, AllowStaleCRL: true,
		Time: j.now, Policy: pki.GnuTLSPolicy(), Hostname: host, Signatures: sharedBy(j.x).known(),
	})
	return err
}

// untrusted turns the verifier's opinion into the rules' words, and keeps what
// it says: GnuTLS's own reasons tell little.
func (j judge) untrusted(err error) error {
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
	return wrong(kind.Found(j.peer(), err.Error()).WithText(j.text().untrusted, reason), err)
}

// checkSubject wants a name: libvirt cannot do without one
// (virNetTLSContextCheckCertDN).
func (j judge) checkSubject() error {
	if len(j.state.PeerChain[0].Subject) == 0 {
		return kindPeerUntrusted.Found(j.peer(), "an empty subject").WithWant("a subject with a name", "libvirt").
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
func (j judge) checkHostname() error {
	if j.o.Hostname == "" {
		return nil
	}
	match, err := pki.MatchHostname(j.state.PeerChain[0], j.o.Hostname)
	if err != nil {
		return wrong(kindPeerName.Found(j.peer(), err.Error()).WithText(j.text().name, j.o.Hostname), err)
	}
	if match == pki.ByCommonName {
		// The authorities' name constraints hold for a common name too, once it is
		// taken for the name of a host.
		if err := j.verify(j.o.Hostname); err != nil {
			return j.untrusted(err)
		}
		j.warn(kindNameFromCN.Found(j.peer(), j.o.Hostname))
	}
	return nil
}

// checkUsage makes the checks of the peer's certificate by itself that libvirt
// makes; where QEMU makes none, what is wrong is a warning.
func (j judge) checkUsage() error {
	name := creds.LibvirtServer
	if j.state.Endpoint == creds.Client {
		name = creds.LibvirtClient
	}
	consumer, err := creds.ConsumerFor(name, "")
	if err != nil {
		return err
	}
	for _, p := range consumer.JudgePeer(j.state.PeerChain[0], j.now).Problems {
		if j.o.Rules == Libvirt && p.Finding.Severity == finding.Error {
			return kindPeerUsage.Found(j.peer(), p.Finding.Got).WithWant(p.Finding.Want, consumer.String()).WithText("%s", p.Text).Wrong()
		}
		j.warn(kindPeerPurpose.Found(j.peer(), p.Finding.Got).WithWant(p.Finding.Want, consumer.String()))
	}
	return nil
}

func (s *Session) warn(f finding.Finding) { s.state.Warnings = append(s.state.Warnings, f) }
