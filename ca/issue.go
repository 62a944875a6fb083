package ca

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/parallel"
	"virtls/pki"
)

// An Issued certificate is in the register; its files, if it has any, are
// journalled and not yet in place.
type Issued struct {
	Certificate *pki.Certificate
	Place       *register.Placement // the order's, with ID and Content; for [State.Place]
	Findings    []finding.Finding   // what is worth knowing, such as a life cut to the authority's
}

// Issue signs all orders, on all cores, and registers them in one transaction:
// all or none. When it returns without error, the certificates and the files
// to be placed are in the register, durably; see the package comment for what
// follows. The authority must be unlocked.
//
// A batch lives in memory: for many thousands, call Issue for some at a time.
func (a *Authority) Issue(ctx context.Context, orders []Order) ([]Issued, error) {
	if err := a.ready(); err != nil {
		return nil, err
	}
	issued := make([]Issued, len(orders))
	err := parallel.For(ctx, len(orders), func(i int) (err error) {
		issued[i], err = a.sign(&orders[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	err = a.state.update(ctx, "issue", fmt.Sprintf("%d certificates", len(orders)), func(tx *register.Tx) error {
		var places []*register.Placement
		for i, o := range orders {
			if _, err := tx.AddCertificate(a.row.ID, issued[i].Certificate, cmp.Or(o.How, register.Issue), o.Holder, o.Slot); err != nil {
				return err
			}
			if o.Place != nil {
				places = append(places, o.Place)
			}
		}
		return a.state.journal(tx, places)
	})
	if err != nil {
		return nil, err
	}
	return issued, nil
}

// sign makes the certificate for one order, and proves that it is good.
func (a *Authority) sign(o *Order) (Issued, error) {
	findings, err := o.check()
	if err != nil {
		return Issued{}, err
	}
	if pki.SameKey(o.Spec.PublicKey, a.key) {
		return Issued{}, kindWeakKey.Found(o.name(), "the authority's own key").WithWant("a key of its own", "").Wrong()
	}
	spec, clamped, err := a.complete(o)
	if err != nil {
		return Issued{}, err
	}
	cert, err := pki.Sign(&spec, a.Certificate, a.key, pki.SignatureAlgorithm{})
	if err != nil {
		return Issued{}, kindOrder.Found(o.name(), "").Unable(err)
	}
	if err := a.prove(cert); err != nil {
		return Issued{}, kindOrder.Found(o.name(), "").WithText("nobody would accept this certificate: %v", err).Wrong()
	}
	if o.Place != nil {
		o.Place.Content = encodePEM(append([]*pki.Certificate{cert}, a.intermediates()...))
	}
	return Issued{Certificate: cert, Place: o.Place, Findings: append(findings, clamped...)}, nil
}

// complete returns the order's certificate with everything that the issuer decides.
func (a *Authority) complete(o *Order) (pki.Spec, []finding.Finding, error) {
	spec := o.Spec
	if spec.Serial == nil {
		spec.Serial = pki.NewSerial()
	}
	now := a.state.Now().Truncate(time.Second)
	if spec.NotBefore.IsZero() {
		spec.NotBefore = now.Add(-backdate)
	}
	if spec.NotAfter.IsZero() {
		spec.NotAfter = endAfter(now, cmp.Or(o.Days, DefaultDays))
	}
	// A certificate is good only while its authority is.
	if begin := a.Certificate.NotBefore; spec.NotBefore.Before(begin) {
		spec.NotBefore = begin
	}
	var findings []finding.Finding
	if end := a.End(); spec.NotAfter.After(end) {
		f := kindClamped.Found(o.name(), "").
			WithText("the certificate ends with its authority on %s, not on %s as asked for", end.Format(time.DateOnly), spec.NotAfter.Format(time.DateOnly))
		if !a.Certificate.SelfIssued() {
			f = f.WithFix("shorten its life, or have the parent sign a longer one for the authority, and run: virtls ca install ANSWER PARENT...")
		}
		findings = append(findings, f)
		spec.NotAfter = end
	}
	if !spec.NotAfter.After(now) {
		return spec, nil, kindOrder.Found(o.name(), "").WithText("the certificate would have expired on %s", spec.NotAfter.Format(time.RFC3339)).Wrong()
	}
	var err error
	spec.Extensions, err = a.extensions(&spec)
	return spec, findings, err
}

// extensions returns the certificate's extensions in certtool's order: basic
// constraints first, key identifiers last.
func (a *Authority) extensions(spec *pki.Spec) (pki.Extensions, error) {
	id, err := pki.KeyIDFor(spec.PublicKey)
	if err != nil {
		return nil, err
	}
	var x pki.Extensions
	if spec.Extensions.Find(pki.OIDBasicConstraints) == nil {
		x = append(x, pki.BasicConstraints{}.Extension())
	}
	x = append(x, spec.Extensions...)
	if x.Find(pki.OIDSubjectKeyID) == nil {
		x = append(x, pki.SubjectKeyIDExtension(id))
	}
	x.Remove(pki.OIDAuthorityKeyID)
	if issuer := a.Certificate.Extensions.SubjectKeyID(); issuer != nil {
		x = append(x, pki.AuthorityKeyID{KeyID: issuer}.Extension())
	}
	return x, nil
}

// prove verifies a certificate as its peers will once it is valid, name
// constraints and path lengths included.
func (a *Authority) prove(cert *pki.Certificate) error {
	certs := a.certificates()
	if cert.IsCA() {
		// The path length concerns only what that authority will issue.
		for i, c := range certs {
			if bc, err := c.Extensions.BasicConstraints(); err == nil && bc.PathLen >= 0 && bc.PathLen <= i {
				return fmt.Errorf("%s may have no more than %d authorities below it", c, bc.PathLen)
			}
		}
	}
	now := a.state.Now()
	if cert.NotBefore.After(now) {
		now = cert.NotBefore
	}
	// This signature was just made, and those above it were checked when the authority was loaded.
	made := new(pki.SignatureCache)
	for i, issuer := range certs {
		made.Add(append([]*pki.Certificate{cert}, certs...)[i], issuer)
	}
	_, err := pki.Verify(cert, pki.VerifyOptions{
		Roots: certs[len(certs)-1:], PartialChain: true, Intermediates: certs[:len(certs)-1], Time: now, Signatures: made,
	})
	return err
}
