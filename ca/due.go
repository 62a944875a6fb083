package ca

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"virtls/finding"
	"virtls/pki"
)

// IsMissing tells whether an error of [State.Authority] means that there is no
// authority of that name, not even one whose request waits for its parent.
func IsMissing(err error) bool { return isKind(err, kindAuthorityMissing) }

// Unlocked tells whether the authority's key is loaded.
func (a *Authority) Unlocked() bool { return a.key != nil }

// RenewalPoint returns when something valid from one time to another is to be
// renewed: at two thirds of its life.
func RenewalPoint(from, to time.Time) time.Time {
	return from.Add(to.Sub(from) / 3 * 2)
}

// CRLDue returns why a new revocation list must be signed, nil if none must: it
// is past two thirds of its time, which is a warning, or there is none that the
// authority signed and that has every certificate revoked since, which is an error.
func (a *Authority) CRLDue(ctx context.Context) (*finding.Finding, error) {
	bad := func(kind *finding.Kind, got string) (*finding.Finding, error) {
		f := kind.Found(a.CRLPath(), got)
		return &f, nil
	}
	data, err := readFile(a.CRLPath())
	if errors.Is(err, fs.ErrNotExist) {
		return bad(kindCRLWrong, "no such file")
	}
	if err != nil {
		return nil, kindAuthorityUnreadable.Found(a.CRLPath(), "").Unable(err)
	}
	crls, err := pki.ParseCRLsPEM(data)
	if err != nil {
		return bad(kindCRLWrong, err.Error())
	}
	crl := crls[0]
	if err := crl.CheckSignatureFrom(a.Certificate); err != nil {
		return bad(kindCRLWrong, err.Error())
	}
	spec, err := a.crlSpec(ctx, DefaultCRLDays)
	if err != nil {
		return nil, err
	}
	for _, r := range spec.Revoked {
		if crl.Find(r.Serial) == nil {
			return bad(kindCRLWrong, "a list that lacks a revoked certificate")
		}
	}
	if due := RenewalPoint(crl.ThisUpdate, crl.NextUpdate); !crl.NextUpdate.IsZero() && a.state.Now().After(due) {
		return bad(kindCRLDue, "a list that ends "+crl.NextUpdate.UTC().Format(time.DateOnly))
	}
	return nil, nil
}
