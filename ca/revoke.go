package ca

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"time"

	"virtls/ca/register"
	"virtls/pki"
)

// Revoke marks certificates as revoked, given by serial number as people write
// it ([register.ParseSerial]): all or none. Those that are revoked already stay
// as they are. It returns all of them as they are now. The next
// [Authority.NewCRL] lists them; no key is needed before that.
func (s *State) Revoke(ctx context.Context, serials []string, reason pki.RevocationReason) ([]register.Certificate, error) {
	if reason == pki.RemoveFromCRL {
		return nil, kindOrder.Found(reason.String(), "").WithText("a certificate cannot be revoked for this reason").Usage()
	}
	certs := make([]register.Certificate, len(serials))
	fresh := map[int64]bool{}
	for i, serial := range serials {
		c, err := s.find(ctx, serial)
		if err != nil {
			return nil, err
		}
		certs[i] = *c
		if c.Revoked == nil {
			fresh[c.ID] = true
		}
	}
	if len(fresh) == 0 {
		return certs, nil
	}
	now := s.Now().UTC().Truncate(time.Second)
	err := s.update(ctx, "revoke", reason.String(), func(tx *register.Tx) error {
		for id := range fresh {
			if err := tx.Revoke(id, reason, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range certs {
		if fresh[certs[i].ID] {
			certs[i].Revoked = &register.Revocation{Serial: certs[i].Serial, Reason: reason, At: now}
		}
	}
	return certs, nil
}

// find returns the certificate with a serial number as people write it.
func (s *State) find(ctx context.Context, serial string) (*register.Certificate, error) {
	text, err := register.ParseSerial(serial)
	if err != nil {
		return nil, kindUnknown.Found(fmt.Sprintf("%.60q", serial), "").WithText("%v", err).Usage()
	}
	c, err := s.register.BySerial(ctx, text)
	if err == nil && c == nil {
		err = kindUnknown.Found("serial number "+text, "").Wrong()
	}
	return c, err
}

// NewCRL signs a list of all revoked certificates of the authority, registers
// it and writes it to [Authority.CRLPath]. days is the time until the next list
// is due, DefaultCRLDays if 0. The authority must be unlocked.
func (a *Authority) NewCRL(ctx context.Context, days int) (*pki.CRL, error) {
	if err := a.ready(); err != nil {
		return nil, err
	}
	if days < 0 {
		return nil, kindOrder.Found(a.CRLPath(), "").WithText("the next revocation list would be due %d days ago", -days).Usage()
	}
	spec, err := a.crlSpec(ctx, cmp.Or(days, DefaultCRLDays))
	if err != nil {
		return nil, err
	}
	crl, err := pki.SignCRL(spec, a.Certificate, a.key, pki.SignatureAlgorithm{})
	if err != nil {
		return nil, err
	}
	place := &register.Placement{Content: crl.PEM(), Paths: []string{a.CRLPath()}}
	err = a.state.update(ctx, "crl", fmt.Sprintf("number %v, %d revoked", spec.Number, len(spec.Revoked)), func(tx *register.Tx) error {
		if err := tx.AddCRL(a.row.ID, crl); err != nil {
			return err
		}
		return a.state.journal(tx, []*register.Placement{place})
	})
	if err != nil {
		return nil, err
	}
	return crl, a.state.Place(ctx, []*register.Placement{place})
}

func (a *Authority) crlSpec(ctx context.Context, days int) (*pki.CRLSpec, error) {
	now := a.state.Now().Truncate(time.Second)
	// GnuTLS refuses peers by a list that is issued in its future.
	spec := &pki.CRLSpec{ThisUpdate: now.Add(-backdate), NextUpdate: endAfter(now, days), Number: big.NewInt(1)}
	last, err := a.state.register.LastCRL(ctx, a.row.KeyID)
	if err != nil {
		return nil, err
	}
	var lastUpdate time.Time
	if last != nil {
		lastUpdate = last.ThisUpdate
		spec.Number.Add(last.Number, spec.Number)
		if spec.ThisUpdate.Before(lastUpdate) {
			spec.ThisUpdate = lastUpdate
		}
	}
	for r, err := range a.state.register.Revoked(ctx, a.row.KeyID, lastUpdate) {
		if err != nil {
			return nil, err
		}
		serial, ok := new(big.Int).SetString(r.Serial, 16)
		if !ok {
			return nil, fmt.Errorf("the register holds %q as a serial number", r.Serial)
		}
		entry := pki.RevokedCertificate{Serial: serial, RevokedAt: r.At}
		if r.Reason != pki.Unspecified {
			entry.Extensions = pki.Extensions{r.Reason.Extension()}
		}
		spec.Revoked = append(spec.Revoked, entry)
	}
	return spec, nil
}
