package probe

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
	"virtls/pki/dn"
	"virtls/tlsengine"
)

// namesOf lists the alternative names of a certificate.
func namesOf(c *pki.Certificate) []string {
	names, err := c.Extensions.SubjectAltName()
	if err != nil {
		return nil
	}
	var list []string
	for _, n := range names {
		list = append(list, n.String())
	}
	return list
}

func authorityNames(list [][]byte) []string {
	names := []string{}
	for _, der := range list {
		name := fmt.Sprintf("%x", der)
		if n, err := dn.ParseDER(der); err == nil {
			name = n.String()
		}
		names = append(names, name)
	}
	return names
}

// ofName are the codes of the session's findings that are about the name.
const ofName = "peer-name-mismatch"

// judgeServer says what is to be said of the server's chain and name.
func (p *prober) judgeServer(context.Context) error {
	x := p.x509()
	if x == nil {
		p.nameless()
		return nil
	}
	for _, w := range p.state.Warnings {
		p.find(w)
	}
	p.ends()
	var verdict finding.Finding
	if p.judged != nil {
		verdict = findingOf(p.judged)
	}
	switch {
	case !x.VerifyPeer():
		p.done(StageChain, Unknown, "nobody to judge it by: "+p.brief())
		p.notJudged()
	case p.judged != nil && verdict.Code != ofName:
		p.find(verdict.WithFix("%s", p.mendChain(verdict)))
		p.done(StageChain, Failed, verdict.Text)
	default:
		p.done(StageChain, Passed, p.brief())
	}
	p.judgeName(x, verdict)
	return nil
}

// nameless is a session without certificates.
func (p *prober) nameless() {
	detail := "no certificates: a pre-shared key proves both ends"
	if _, anonymous := p.creds.(*creds.Anon); anonymous {
		detail = "no certificates: nobody proves anything"
		f := kindAnonymous.Found("", p.state.Suite)
		if p.t.VNC != nil {
			f = f.WithFix("give the server tls-creds-x509: libvirt's vnc_tls = 1 does; VNC has no pre-shared keys")
		}
		p.find(f)
	}
	p.done(StageChain, Unknown, detail)
	p.done(StageName, Unknown, detail)
}

// brief says what the server's certificate is.
func (p *prober) brief() string {
	if len(p.r.Chain) == 0 {
		return "no certificate"
	}
	c := p.r.Chain[0]
	return fmt.Sprintf("%s, issued by %s, %s", c.Subject, c.Issuer, daysLeft(c.DaysLeft))
}

func daysLeft(days float64) string {
	switch {
	case days < 0:
		return fmt.Sprintf("ended %.0f days ago", -days)
	case days < 2:
		return fmt.Sprintf("%.0f hours left", days*24)
	}
	return fmt.Sprintf("%d days left", int(days))
}

// notJudged is a server that nobody has judged.
func (p *prober) notJudged() {
	if p.t.URI == nil && p.o.Credentials == nil {
		p.find(kindNotJudged.Found("", ""))
	}
}

// ends warns of certificates that end soon.
func (p *prober) ends() {
	for i, c := range p.state.PeerChain {
		left := c.NotAfter.Sub(p.o.Now())
		if left > 0 && left < p.o.Soon {
			p.find(kindEndsSoon.Found("", fmt.Sprintf("%s, which ends %s (%s)", c.Subject, c.NotAfter.UTC().Format(time.RFC3339), daysLeft(p.r.Chain[i].DaysLeft))))
		}
	}
}

// mendChain says how a chain is mended that the session refused.
func (p *prober) mendChain(f finding.Finding) string {
	c := p.state.PeerChain
	if len(c) == 0 {
		return f.Fix
	}
	now := p.o.Now()
	switch {
	case f.Code == "peer-expired" && now.After(c[0].NotAfter):
		return "renew the server's certificate (virtls renew) and have the service load it; a service may hold an old one in memory: compare with the file (virtls show); libvirtd needs virt-admin server-update-tls, most others a restart"
	case f.Code == "peer-expired":
		return "set the clock of the machine that is wrong, or wait until the certificate begins"
	case f.Code == "peer-untrusted" && p.sameIssuerName(c[len(c)-1]):
		return "the issuer has the name of an authority in this side's CA file and another key: the authority was made anew; issue the server's certificate again, or bring the new CA certificate here"
	case f.Code == "peer-untrusted" && len(c) == 1 && !c[0].SelfIssued():
		return fmt.Sprintf("add the CA certificate of %s to this side's CA file, or issue the server's certificate by an authority that is there; an intermediate authority belongs behind the certificate on the server", c[0].Issuer)
	}
	return f.Fix
}

func (p *prober) sameIssuerName(c *pki.Certificate) bool {
	return slices.ContainsFunc(p.x509().Anchors, func(a *pki.Certificate) bool { return bytes.Equal(a.RawSubject, c.RawIssuer) })
}

// judgeName judges the name also where the chain was refused before.
func (p *prober) judgeName(x *creds.X509, verdict finding.Finding) {
	names := ""
	if len(p.r.Chain) > 0 {
		if names = strings.Join(p.r.Chain[0].Names, ", "); names == "" {
			names = "no alternative names"
		}
	}
	mismatch := verdict.Code == ofName
	if len(p.state.PeerChain) > 0 && !mismatch {
		_, err := pki.MatchHostname(p.state.PeerChain[0], p.host)
		mismatch = err != nil
	}
	switch {
	case len(p.state.PeerChain) == 0:
		p.done(StageName, Unknown, "no certificate")
	case p.host == "":
		p.done(StageName, Unknown, "there is no name to compare with; --tls-hostname has one")
	case mismatch && !x.VerifyPeer():
		p.done(StageName, Failed, fmt.Sprintf("%s is not in the certificate: %s", p.host, names))
		p.find(kindOtherName.Found("", names).WithWant(p.host, ""))
	case mismatch:
		p.done(StageName, Failed, fmt.Sprintf("%s is not in the certificate: %s", p.host, names))
		f := kindOtherName.Found("", names).WithWant(p.host, "").WithSeverity(finding.Error)
		if verdict.Code == ofName {
			f = verdict.WithWant(p.host, "")
			f.Got = names
		}
		p.find(f)
	default:
		p.done(StageName, Passed, p.host)
	}
}

// An obstacle is a reason why this side's certificate is kept back or refused.
type obstacle struct {
	finding finding.Finding
	kept    bool // it is kept back: the server does not get to see it
}

// obstacles compares the certificates at hand with what the server asked for:
// those of the first one that fits, or of the first one if none does.
func (p *prober) obstacles() (list []obstacle) {
	x, r := p.x509(), p.state.Request
	if x == nil || r == nil || len(x.Identities) == 0 {
		return nil
	}
	for i := range x.Identities {
		of := p.obstaclesOf(&x.Identities[i], r)
		if i == 0 || len(of) == 0 {
			list = of
		}
		if len(of) == 0 {
			break
		}
	}
	return list
}

func (p *prober) obstaclesOf(id *creds.Identity, r *tlsengine.CertificateRequest) (list []obstacle) {
	leaf := id.Chain[0]
	add := func(kept bool, f finding.Finding) { list = append(list, obstacle{f, kept}) }
	if len(r.Authorities) > 0 && !slices.ContainsFunc(id.Chain, func(c *pki.Certificate) bool {
		return slices.ContainsFunc(r.Authorities, func(n []byte) bool { return bytes.Equal(n, c.RawIssuer) })
	}) {
		add(true, kindForeignClient.Found(id.CertFile, leaf.String()+", issued by "+leaf.Issuer.String()).
			WithWant("one issued by "+strings.Join(authorityNames(r.Authorities), ", or by "), "the server"))
	}
	if !signs(leaf.PublicKey.Algorithm, r.Schemes) {
		add(true, kindClientScheme.Found(id.CertFile, "a key of type "+leaf.PublicKey.Algorithm.String()).WithWant("one for "+strings.Join(texts(r.Schemes), ", "), "the server"))
	} else if leaf.PublicKey.Algorithm == pki.RSA && p.state.Version == "TLS 1.3" && len(r.Authorities) > 0 && !hasPKCS1(r.Schemes) {
		p.find(kindKeepsRSA.Found(id.CertFile, strings.Join(texts(r.Schemes), ", ")).WithWant("rsa_pkcs1_sha256 among them, or a request that names no authorities", "GnuTLS before 3.8.13"))
	}
	now := p.o.Now()
	switch {
	case now.After(leaf.NotAfter):
		add(false, kindClientTime.Found(id.CertFile, "an end at "+leaf.NotAfter.UTC().Format(time.RFC3339)))
	case now.Before(leaf.NotBefore):
		add(false, kindClientTime.Found(id.CertFile, "a beginning at "+leaf.NotBefore.UTC().Format(time.RFC3339)).WithText("the client's certificate is not yet valid"))
	}
	consumer, err := creds.ConsumerFor(creds.LibvirtServer, "")
	if err != nil {
		return list
	}
	for _, problem := range consumer.JudgePeer(leaf, now).Problems {
		f := problem.Finding
		switch {
		case f.Code == "cert-expired" || f.Code == "cert-not-yet-valid": // said above
		case f.Severity == finding.Error && p.t.URI != nil:
			add(false, kindClientUsage.Found(id.CertFile, f.Got).WithText("a libvirt server refuses the client's certificate: %s", problem.Text).WithWant(f.Want, "libvirt"))
		default:
			p.find(kindClientPurpose.Found(id.CertFile, f.Got).WithWant(f.Want, ""))
		}
	}
	return list
}

func findings(list []obstacle) (out []finding.Finding) {
	for _, o := range list {
		out = append(out, o.finding)
	}
	return out
}

// signs tells whether a kind of key can sign with one of the schemes.
func signs(a pki.KeyAlgorithm, schemes []tlsengine.SignatureScheme) bool {
	return slices.ContainsFunc(schemes, func(s tlsengine.SignatureScheme) bool {
		name := s.String()
		switch a {
		case pki.RSA:
			return strings.HasPrefix(name, "rsa_pss_rsae") || strings.HasPrefix(name, "rsa_pkcs1")
		case pki.RSAPSS:
			return strings.HasPrefix(name, "rsa_pss_pss")
		case pki.ECDSA:
			return strings.HasPrefix(name, "ecdsa")
		case pki.Ed25519:
			return name == "ed25519"
		}
		return strings.EqualFold(strings.ReplaceAll(a.String(), "-", ""), name)
	})
}

func hasPKCS1(schemes []tlsengine.SignatureScheme) bool {
	return slices.ContainsFunc(schemes, func(s tlsengine.SignatureScheme) bool { return strings.HasPrefix(s.String(), "rsa_pkcs1") })
}

// judgeClient compares what the server asks for with the certificate at hand. A
// handshake that was completed shows in the next stage what the server made of it.
func (p *prober) judgeClient(context.Context) error {
	x := p.x509()
	switch {
	case x == nil && p.complete() && p.t.VNC == nil:
		return nil // the answer shows whether the key is accepted
	case x == nil:
		p.done(StageClient, Unknown, "no certificates")
		return nil
	case p.state.Request == nil:
		p.done(StageClient, Unknown, "the server asks for none")
		p.find(kindNotAsked.Found("", ""))
		return nil
	case len(x.Identities) == 0:
		p.clientStage("the server asks for one, and this side has none")
		return nil
	}
	list := p.obstacles()
	if len(list) == 0 {
		p.clientStage(fmt.Sprintf("%s fits what the server asks for", x.Identities[0].Chain[0].Subject))
		return nil
	}
	if p.complete() {
		p.pending = list
		return nil
	}
	p.find(findings(list)...)
	p.done(StageClient, Failed, list[0].finding.Text)
	return nil
}

// clientStage ends the stage for a probe that cannot see the server's verdict.
func (p *prober) clientStage(detail string) {
	if p.complete() {
		return
	}
	p.done(StageClient, Unknown, detail+"; whether the server accepts it shows only a complete handshake (--complete)")
}
