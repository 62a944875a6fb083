package ca

import (
	"context"
	"errors"
	"io/fs"
	"time"

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

// CRLDue tells whether a new revocation list must be signed: there is none, it
// is past two thirds of its time, or it lacks a certificate revoked since.
func (a *Authority) CRLDue(ctx context.Context) (bool, error) {
	data, err := readFile(a.CRLPath())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, kindAuthorityUnreadable.Found(a.CRLPath(), "").Unable(err)
	}
	crls, err := pki.ParseCRLsPEM(data)
	if err != nil {
		return true, nil
	}
	if crl := crls[0]; !crl.NextUpdate.IsZero() && a.state.Now().After(RenewalPoint(crl.ThisUpdate, crl.NextUpdate)) {
		return true, nil
	}
	spec, err := a.crlSpec(ctx, DefaultCRLDays)
	if err != nil {
		return false, err
	}
	for _, r := range spec.Revoked {
		if crls[0].Find(r.Serial) == nil {
			return true, nil
		}
	}
	return false, nil
}
