package certtool

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"virtls/pki"
	"virtls/pki/dn"
)

// systemBundles are where distributions keep the authorities that everybody trusts.
var systemBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// trusted are the authorities to verify against and their revocation lists.
type trusted struct {
	anchors []*pki.Certificate
	crls    []*pki.CRL
}

func (c *command) verifyChain() error {
	if c.Has("load-ca-certificate") {
		return fail("This option cannot be combined with --load-ca-certificate")
	}
	data, err := c.input()
	if err != nil {
		return err
	}
	list, err := chainOf(data)
	if err != nil {
		return err
	}
	t := trusted{anchors: list[len(list)-1:]}
	ders, _ := blocks(data, false, pki.PEMCRL)
	for _, der := range ders {
		if crl, err := pki.ParseCRL(der); err == nil {
			t.crls = append(t.crls, crl)
		}
	}
	return c.judge(list, t)
}

func (c *command) verifyCertificate() error {
	data, err := c.input()
	if err != nil {
		return err
	}
	t, err := c.loadTrusted()
	if err != nil {
		return err
	}
	list, err := chainOf(data)
	if err != nil {
		return err
	}
	return c.judge(list, t)
}

func chainOf(data []byte) ([]*pki.Certificate, error) {
	list, why := certificates(data, false)
	if why != "" {
		return nil, fail("error parsing CRTs: %s", why)
	}
	return list, nil
}

// loadTrusted loads --load-ca-certificate and --load-crl, or the system's authorities.
func (c *command) loadTrusted() (t trusted, err error) {
	data, err := c.load("load-ca-certificate")
	if err != nil {
		return t, err
	}
	if data == nil {
		t.anchors = systemTrust()
		fmt.Fprintf(c.std.Err, "Loaded system trust (%d CAs available)\n", len(t.anchors))
		return t, nil
	}
	anchors, why := certificates(data, c.Enabled("inder"))
	if why != "" && c.Enabled("inder") {
		anchors, why = certificates(data, false)
	}
	if why != "" {
		return t, fail("gnutls_x509_trust_add_trust_file: %s", why)
	}
	t.anchors = anchors
	if t.crls, err = c.loadCRLs(); err != nil {
		return t, err
	}
	fmt.Fprintf(c.std.Err, "Loaded CAs (%d available)\n", len(t.anchors)+len(t.crls))
	return t, nil
}

func systemTrust() []*pki.Certificate {
	for _, path := range systemBundles {
		data, err := fileContents(path, maxInput)
		if err != nil {
			continue
		}
		ders, _ := blocks(data, false, certificateLabels...)
		var certs []*pki.Certificate
		for _, der := range ders {
			if cert, err := pki.ParseCertificate(der); err == nil {
				certs = append(certs, cert)
			}
		}
		return certs
	}
	return nil
}

// A verdict is a set of reasons not to trust; none of them is trust.
type verdict map[pki.Reason]bool

func (v verdict) add(problems ...pki.Problem) {
	for _, p := range problems {
		v[p.Reason] = true
	}
}

// reasonTexts are GnuTLS's sentences, in its order. What has none here is
// plain distrust.
var reasonTexts = []struct {
	text    string
	reasons []pki.Reason
}{
	{"The certificate chain is revoked. ", []pki.Reason{pki.Revoked}},
	{"The certificate issuer is unknown. ", []pki.Reason{pki.UnknownIssuer}},
	{"The certificate issuer is not a CA. ", []pki.Reason{pki.NotCA}},
	{"The certificate chain uses insecure algorithm. ", []pki.Reason{pki.WeakKey, pki.WeakHash}},
	{"The certificate chain violates the signer's constraints. ", []pki.Reason{pki.PathTooLong, pki.WrongKeyUsage, pki.NameNotPermitted, pki.PolicyNotMet}},
	{"The certificate chain does not match the intended purpose. ", []pki.Reason{pki.WrongPurpose}},
	{"The certificate chain uses not yet valid certificate. ", []pki.Reason{pki.NotYetValid}},
	{"The certificate chain uses expired certificate. ", []pki.Reason{pki.Expired}},
	{"The signature in the certificate is invalid. ", []pki.Reason{pki.BadSignature}},
	{"The name in the certificate does not match the expected. ", []pki.Reason{pki.NameMismatch}},
	{"The certificate contains an unknown critical extension. ", []pki.Reason{pki.UnknownCritical}},
}

func (v verdict) has(reasons ...pki.Reason) bool {
	return slices.ContainsFunc(reasons, func(r pki.Reason) bool { return v[r] })
}

func (v verdict) String() string {
	if len(v) == 0 {
		return "Verified. The certificate is trusted. "
	}
	text := "Not verified. The certificate is NOT trusted. "
	for _, t := range reasonTexts {
		if v.has(t.reasons...) {
			text += t.text
		}
	}
	return text
}

// profiles are the names of --verify-profile, the sizes of keys that each
// demands, and the weakest hash functions.
var profiles = []struct {
	name    string
	rsa, ec int
	hashes  []crypto.Hash
}{
	{"very weak", 767, 0, nil},
	{"low", 1024, 160, nil},
	{"legacy", 1776, 192, nil},
	{"medium", 2048, 224, nil},
	{"high", 3072, 256, []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512}},
	{"ultra", 8192, 384, []crypto.Hash{crypto.SHA384, crypto.SHA512, crypto.SHA3_384, crypto.SHA3_512}},
	{"future", 15360, 512, []crypto.Hash{crypto.SHA512, crypto.SHA3_512}},
}

// policy is what GnuTLS demands of keys and signatures: nothing of keys, and
// no hash function that is broken, unless the options say otherwise.
func (c *command) policy() *pki.Policy {
	p := &pki.Policy{AnyPSSSalt: true, Hashes: []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512,
		crypto.SHA3_224, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512}}
	if c.Has("verify-allow-broken") {
		p.Hashes = nil
	}
	for _, profile := range profiles {
		if strings.EqualFold(profile.name, c.value("verify-profile")) {
			p.MinRSABits, p.MinECBits = profile.rsa, profile.ec
			if profile.hashes != nil {
				p.Hashes = profile.hashes
			}
		}
	}
	return p
}

// judge verifies a chain and prints what certtool prints.
func (c *command) judge(list []*pki.Certificate, t trusted) error {
	o := pki.VerifyOptions{
		Roots: t.anchors, PartialChain: true, Intermediates: list[1:], AllowStaleCRL: true,
		Time: c.clock.Today, Policy: c.policy(), MaxIntermediates: 16,
	}
	// A certificate is not trusted for being on the list of authorities itself
	// unless it is self-issued.
	if !list[0].SelfIssued() {
		o.Roots = slices.DeleteFunc(slices.Clone(o.Roots), func(a *pki.Certificate) bool { return bytes.Equal(a.Raw, list[0].Raw) })
	}
	host, hasHost := c.Last("verify-hostname")
	o.Hostname = host
	j := &judgement{out: c.out, list: list}
	problems, chain := problemsOf(pki.Verify(list[0], o))
	// certtool says at the end only that the name is another.
	final := j.links(slices.DeleteFunc(problems, func(p pki.Problem) bool { return p.Reason == pki.NameMismatch }), chain)
	o.Hostname = ""
	if text, ok := c.Last("verify-purpose"); ok {
		purpose, err := dn.ParseOID(text)
		if err != nil {
			return fail("certtool: --verify-purpose: %v", err)
		}
		o.Purpose = purpose
		problems, _ := problemsOf(pki.Verify(list[0], o))
		final.add(slices.DeleteFunc(problems, func(p pki.Problem) bool { return p.Reason != pki.WrongPurpose })...)
	}
	if hasHost {
		if _, err := pki.MatchHostname(list[0], host); err != nil {
			final[pki.NameMismatch] = true
		}
	}
	if email, ok := c.Last("verify-email"); ok && !matchEmail(list[0], email) {
		final[pki.NameMismatch] = true
	}
	if len(final) == 0 && len(t.crls) > 0 {
		o.CRLs = t.crls
		problems, _ := problemsOf(pki.Verify(list[0], o))
		final.add(j.revocation(problems, t.crls)...)
	}
	fmt.Fprintf(c.out, "Chain verification output: %s\n\n", final)
	if len(final) > 0 {
		return &failure{keep: true}
	}
	return nil
}

// problemsOf returns what is wrong with a chain, and the chain, leaf first.
func problemsOf(r *pki.Result, err error) ([]pki.Problem, []*pki.Certificate) {
	if wrong, ok := errors.AsType[*pki.VerifyError](err); ok {
		return wrong.Problems, wrong.Chain
	}
	return nil, r.Chain
}

// A judgement prints the links of a chain.
type judgement struct {
	out      io.Writer
	list     []*pki.Certificate // as given
	chain    []*pki.Certificate // as built, leaf first
	problems []pki.Problem      // of the chain
	shown    int                // octets of text
}

// maxShown bounds the text of the links of a chain: 16 MiB of input can hold a
// name of 8 MiB and thousands of revocation lists to show it with. It is a
// variable for tests alone.
var maxShown = 64 << 20

// show prints a link: a certificate and what it was checked against, if anything.
func (j *judgement) show(cert, issuer *pki.Certificate, crl *pki.CRL, v verdict) {
	if j.shown > maxShown {
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\tSubject: %s\n\tIssuer: %s\n", cert.Subject.RFC4514(), cert.Issuer.RFC4514())
	if issuer != nil {
		fmt.Fprintf(&text, "\tChecked against: %s\n", issuer.Subject.RFC4514())
	}
	algorithm := cert.Algorithm.OID.String()
	if alg := cert.SignatureAlgorithm(); alg.Key != pki.UnknownKey {
		algorithm = alg.String()
	}
	fmt.Fprintf(&text, "\tSignature algorithm: %s\n", algorithm)
	if crl != nil {
		number := "unnumbered"
		if n, err := crl.Extensions.Integer(pki.OIDCRLNumber); err == nil && n != nil {
			number = fmt.Sprintf("%x", n)
		}
		fmt.Fprintf(&text, "\tChecked against CRL[%s] of: %s\n", number, crl.Issuer.RFC4514())
	}
	fmt.Fprintf(&text, "\tOutput: %s\n\n", v)
	if j.shown += text.Len(); j.shown > maxShown {
		text.WriteString("\t... (more links than certtool of virtls shows)\n\n")
	}
	io.WriteString(j.out, text.String())
}

// links prints the links of a chain from the top, up to the first that is
// wrong, and returns what is.
func (j *judgement) links(problems []pki.Problem, chain []*pki.Certificate) verdict {
	j.chain, j.problems = chain, problems
	top := len(chain) - 1
	if v := verdictOf(problems, pki.UnknownIssuer); len(v) > 0 {
		v.add(about(problems, chain[top], false)...)
		j.show(chain[top], nil, nil, v)
		j.again(chain[top], v)
		return v
	}
	j.showAnchor(chain[top])
	for i := max(top-1, 0); i >= 0; i-- {
		issuer := chain[min(i+1, top)]
		v := verdict{}
		v.add(about(problems, chain[i], false)...)
		v.add(about(problems, issuer, true)...)
		if i+1 == top {
			v.add(about(problems, issuer, false)...)
		}
		j.show(chain[i], issuer, nil, v)
		if len(v) > 0 {
			j.again(chain[i], v)
			return v
		}
	}
	return verdictOf(problems)
}

// verdictOf returns those problems that have one of the reasons, all if none is given.
func verdictOf(problems []pki.Problem, reasons ...pki.Reason) verdict {
	v := verdict{}
	for _, p := range problems {
		if len(reasons) == 0 || slices.Contains(reasons, p.Reason) {
			v.add(p)
		}
	}
	return v
}

// issuerReasons are found on a certificate because of what it has issued.
var issuerReasons = []pki.Reason{pki.NotCA, pki.PathTooLong, pki.WrongKeyUsage}

// about returns the problems of a certificate, either those it has as an
// issuer or the others.
func about(problems []pki.Problem, cert *pki.Certificate, asIssuer bool) (found []pki.Problem) {
	for _, p := range problems {
		if p.Certificate == cert && p.Reason != pki.UnknownIssuer && slices.Contains(issuerReasons, p.Reason) == asIssuer {
			found = append(found, p)
		}
	}
	return found
}

// again prints the second look that GnuTLS takes at the last certificate of a
// chain, among the authorities of its own name, when its issuer is unknown,
// old or weak.
func (j *judgement) again(last *pki.Certificate, v verdict) {
	if last.SelfIssued() || !v.has(pki.UnknownIssuer, pki.Expired, pki.WeakKey, pki.WeakHash) {
		return
	}
	own := verdict{pki.UnknownIssuer: true}
	own.add(about(j.problems, last, false)...)
	j.show(last, nil, nil, own)
}

// showAnchor prints the two looks that GnuTLS takes at an anchor that is not
// self-signed: its issuer is unknown, but it is known itself.
func (j *judgement) showAnchor(anchor *pki.Certificate) {
	if anchor.SelfIssued() || len(j.chain) == 1 {
		return
	}
	for _, cert := range j.list[1:] {
		if bytes.Equal(cert.Raw, anchor.Raw) {
			j.show(anchor, nil, nil, verdict{pki.UnknownIssuer: true})
			j.show(anchor, anchor, nil, verdict{})
			return
		}
	}
}

// revocation prints what the lists say of each certificate below the anchor,
// up to the first that is revoked, and returns what is wrong.
func (j *judgement) revocation(problems []pki.Problem, crls []*pki.CRL) []pki.Problem {
	below := j.chain[:max(len(j.chain)-1, 1)]
	order := append([]*pki.Certificate{below[len(below)-1]}, below[:len(below)-1]...)
	for _, cert := range order {
		for _, crl := range crls {
			if !bytes.Equal(crl.RawIssuer, cert.RawIssuer) {
				continue
			}
			v := verdict{}
			v.add(about(problems, cert, false)...)
			j.show(cert, nil, crl, v)
			if len(v) > 0 {
				return problems
			}
		}
	}
	return problems
}
