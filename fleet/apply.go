package fleet

import (
	"context"
	"time"

	"virtls/ca"
	"virtls/pki"
)

// Apply makes the state directory match the fleet file. The state must be open
// for writing. What is finished when the context ends is kept.
func Apply(ctx context.Context, file *File, state *ca.State, opts Options) (*Result, error) {
	r, err := newRun(file, state, opts)
	if err != nil {
		return nil, err
	}
	result := &Result{}
	if err = unwritable(r.apply(ctx, result)); ctx.Err() != nil && err != nil {
		err = Interrupted()
	}
	result.Findings = r.findings
	return result, err
}

func (r *run) apply(ctx context.Context, result *Result) (err error) {
	if result.Authorities, err = r.makeAuthorities(ctx); err != nil {
		return err
	}
	if err := r.refreshCRLs(ctx); err != nil {
		return err
	}
	if err := r.placePSK(); err != nil {
		return err
	}
	if r.file.PQC == PQCHybrid {
		r.findings = append(r.findings, kindDowngrade.Found(r.file.at("pqc"), ""))
	}
	if err := r.applyHolders(ctx, result); err != nil {
		return err
	}
	return r.findOrphans()
}

// applyHolders works through the fleet in batches, the representatives for the
// proof first.
func (r *run) applyHolders(ctx context.Context, result *Result) error {
	first, err := r.file.representatives()
	if err != nil {
		return err
	}
	b := &batch{run: r, result: result, prover: newProver(r)}
	for _, pass := range []bool{true, false} {
		for h, err := range r.file.Holders {
			switch {
			case err != nil:
			case ctx.Err() != nil:
				err = ctx.Err()
			case first[h.ID()] != pass:
			case r.selected(h):
				err = b.add(ctx, h)
			case pass && r.opts.Prove != ProveNone:
				err = b.prover.adopt(ctx, h)
			}
			if err != nil {
				return err
			}
		}
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	if r.opts.Prove == ProveAll {
		if err := b.prover.proveAll(ctx); err != nil {
			return err
		}
	}
	result.Handshakes = b.prover.handshakes
	return nil
}

// makeAuthorities loads the authorities that the file asks for, and makes
// those that are missing.
func (r *run) makeAuthorities(ctx context.Context) ([]AuthorityRow, error) {
	var rows []AuthorityRow
	for _, name := range r.file.authorityNames() {
		a, err := r.state.Authority(ctx, name)
		made := ca.IsMissing(err)
		if made {
			spec, specErr := r.file.authoritySpec(name, r.opts.Passphrase)
			if specErr != nil {
				return rows, specErr
			}
			a, err = r.state.CreateAuthority(ctx, spec)
		}
		if err != nil {
			return rows, err
		}
		r.found(name, a)
		row := authorityRow(a)
		row.Made = made
		rows = append(rows, row)
	}
	return rows, nil
}

func authorityRow(a *ca.Authority) AuthorityRow {
	c := a.Certificate
	return AuthorityRow{
		Name: a.Name, Subject: c.Subject.String(), Path: a.CertificatePath(),
		Key: pki.KeySpecOf(c.PublicKey.Key).String(), Until: c.NotAfter.UTC().Format(time.RFC3339),
	}
}

// MakeAuthorities makes the authorities that the file asks for and the state
// directory lacks.
func MakeAuthorities(ctx context.Context, file *File, state *ca.State, pass ca.Passphrase) ([]AuthorityRow, error) {
	r, err := newRun(file, state, Options{Passphrase: pass})
	if err != nil {
		return nil, err
	}
	return r.makeAuthorities(ctx)
}

// unlocked returns an authority that can sign. The passphrase is asked for
// only by a run that has something to sign.
func (r *run) unlocked(name string) (*ca.Authority, error) {
	a := r.ca[name]
	if a.Unlocked() {
		return a, nil
	}
	return a, a.Unlock(r.opts.Passphrase)
}

// refreshCRLs signs revocation lists that are missing, out of date or past two
// thirds of their time, and collects them for the holders.
func (r *run) refreshCRLs(ctx context.Context) error {
	for _, name := range r.file.authorityNames() {
		due, err := r.ca[name].CRLDue(ctx)
		if err != nil {
			return err
		}
		if due != nil {
			a, err := r.unlocked(name)
			if err != nil {
				return err
			}
			if _, err := a.NewCRL(ctx, r.file.Authority.CRLDays); err != nil {
				return err
			}
		}
	}
	return r.loadCRLs()
}

func (r *run) loadCRLs() error {
	for _, pqc := range []bool{false, true} {
		var list []byte
		for _, name := range r.file.trusted(pqc) {
			a := r.ca[name]
			if a == nil {
				continue
			}
			data, err := readBounded(a.CRLPath())
			if err != nil {
				return err
			}
			list = append(list, data...)
		}
		r.crls[pqc] = list
	}
	return nil
}
