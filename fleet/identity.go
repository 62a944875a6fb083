package fleet

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"virtls/ca"
	"virtls/internal/readfile"
	"virtls/layout"
	"virtls/pki"
)

// A Verdict says what an identity needs.
type Verdict int

// The verdicts.
const (
	Keep  Verdict = iota // it is as it should be
	Copy                 // it is, but not in all its places
	Issue                // a new certificate, for the key that is there if Key is set
)

// did says what became of an identity with this verdict.
func (v Verdict) did() string { return [...]string{"unchanged", "copied", "issued"}[v] }

// A Judgment is what is to be done about one identity, and why.
type Judgment struct {
	Identity    *Identity
	Verdict     Verdict
	Why         string           // empty for Keep
	Certificate *pki.Certificate // the present one; nil if there is none
	Key         crypto.Signer    // the present key, if it can stay
	Source      *Place           // where the present certificate and key were found
	Missing     []Place          // places without them, for Copy
}

// judge compares what is staged for an identity with what should be.
func (r *run) judge(ctx context.Context, h *Holder, id *Identity) (Judgment, error) {
	j := Judgment{Identity: id, Verdict: Issue, Why: whyMissing}
	for i := range id.Places {
		p := &id.Places[i]
		cert, key, err := r.readPair(h, p)
		if err != nil {
			return j, err
		}
		if cert != nil && key != nil && pki.SameKey(cert.PublicKey.Key, key) {
			j.Certificate, j.Key, j.Source = cert, key, p
			break
		}
		switch {
		case key != nil && j.Key == nil && cert == nil:
			j.Key, j.Why = key, "there is a key, and no certificate that can be read"
		case key != nil && j.Key == nil:
			j.Key, j.Why = key, "key and certificate do not belong together"
		case cert != nil && j.Key == nil:
			j.Why = "there is a certificate, and no key that can be read"
		}
	}
	if j.Key != nil && pki.KeySpecOf(j.Key.Public()) != id.Key {
		j.Why = fmt.Sprintf("key type changed from %s to %s", pki.KeySpecOf(j.Key.Public()), id.Key)
		j.Key = nil
		return j, nil
	}
	if j.Source == nil {
		return j, nil
	}
	why, err := r.outdated(ctx, h, id, j.Certificate)
	if err != nil || why != "" {
		j.Why = why
		// Why a certificate was revoked is seldom known for certain; its key is not used again.
		if r.opts.Rekey || strings.HasPrefix(why, whyRevoked) {
			j.Key = nil
		}
		return j, err
	}
	j.Missing, err = r.missingCopies(h, id, j.Source)
	j.Verdict, j.Why = Keep, ""
	if len(j.Missing) > 0 {
		j.Verdict, j.Why = Copy, "a copy is missing"
	}
	return j, err
}

// Reasons that others look for.
const (
	whyMissing = "missing"
	whyRevoked = "revoked"
	whyExpired = "expired"
	whyDue     = "due for renewal"
	whyAsked   = "renewal asked for"
)

// outdated returns why a certificate must be replaced, empty if it need not be.
func (r *run) outdated(ctx context.Context, h *Holder, id *Identity, c *pki.Certificate) (string, error) {
	authority := r.authority(id.PQC)
	if authority == nil || !bytes.Equal(c.RawIssuer, authority.Certificate.RawSubject) || !authority.Certificate.Issued(c) {
		return "another authority's", nil
	}
	sum := c.SHA256()
	entry, err := r.state.Register().ByFingerprint(ctx, hex.EncodeToString(sum[:]))
	switch {
	case err != nil:
		return "", err
	case entry == nil:
		return "not in the register", nil
	case entry.Revoked != nil:
		return whyRevoked + ": " + entry.Revoked.Reason.String(), nil
	case entry.Holder != h.ID():
		return "issued for " + entry.Holder, nil
	}
	want, err := r.spec(h, id, c.PublicKey.Key)
	if err != nil {
		return "", err
	}
	switch {
	case !c.Subject.Equal(want.Subject):
		return fmt.Sprintf("subject changed from %s to %s", c.Subject, want.Subject), nil
	case !sameExtension(c.Extensions, want.Extensions, pki.OIDSubjectAltName):
		return "names or addresses changed", nil
	case !sameExtension(c.Extensions, want.Extensions, pki.OIDExtKeyUsage):
		return "roles changed", nil
	}
	now := r.state.Now()
	switch due := ca.RenewalPoint(c.NotBefore, c.NotAfter); {
	case now.After(c.NotAfter):
		return whyExpired + " " + day(c.NotAfter), nil
	case now.After(due) && authority.Certificate.NotAfter.After(c.NotAfter):
		return whyDue + " since " + day(due), nil
	case r.opts.Renew:
		return whyAsked, nil
	}
	return "", nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func sameExtension(a, b pki.Extensions, oid []int) bool {
	x, y := a.Find(oid), b.Find(oid)
	if x == nil || y == nil {
		return x == y
	}
	return bytes.Equal(x.Value, y.Value)
}

// spec returns the certificate that an identity should be.
func (r *run) spec(h *Holder, id *Identity, key crypto.PublicKey) (pki.Spec, error) {
	var uses ca.Uses
	for _, role := range id.Roles {
		if role == layout.Server {
			uses |= ca.Server
		} else {
			uses |= ca.Client
		}
	}
	return ca.Leaf(h.Subject, h.Names, uses, key)
}

// readPair reads the certificate and key at a place; nil for what is not there
// or cannot be understood, because it will be replaced. Other errors, such as a
// file that may not be read, are returned.
func (r *run) readPair(h *Holder, p *Place) (*pki.Certificate, crypto.Signer, error) {
	var cert *pki.Certificate
	var key crypto.Signer
	data, err := r.readStaged(h, p.Cert.Path)
	if err != nil {
		return nil, nil, err
	}
	if certs, err := pki.ParseCertificatesPEM(data); err == nil {
		cert = certs[0]
	}
	if data, err = r.readStaged(h, p.Key.Path); err != nil {
		return nil, nil, err
	}
	if k, err := pki.ParsePrivateKeyPEM(data, nil); err == nil {
		key, _ = k.(crypto.Signer)
	}
	clear(data)
	return cert, key, nil
}

// missingCopies returns the places whose files differ from the source's.
func (r *run) missingCopies(h *Holder, id *Identity, source *Place) ([]Place, error) {
	cert, err := r.readStaged(h, source.Cert.Path)
	if err != nil {
		return nil, err
	}
	key, err := r.readStaged(h, source.Key.Path)
	if err != nil {
		return nil, err
	}
	var missing []Place
	for _, p := range id.Places {
		c, err := r.readStaged(h, p.Cert.Path)
		if err != nil {
			return nil, err
		}
		k, err := r.readStaged(h, p.Key.Path)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(c, cert) || !bytes.Equal(k, key) {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// staged returns where a holder's file is staged, whose path is one of package
// layout's and thus clean; empty for the holder's directory. It is asked for
// some dozens of times for each host.
func (r *run) staged(h *Holder, path string) string {
	at := h.Dir()
	if r.dir != "" {
		at = r.dir + "/" + at
	}
	if path = strings.Trim(path, "/"); path == "" {
		return at
	}
	return at + "/" + path
}

// markNew notes a holder that has no directory, so that nothing is looked for
// in it: most of the work of a first run would be that.
func (r *run) markNew(h *Holder) error {
	root := r.staged(h, "")
	switch _, err := os.Lstat(root); {
	case errors.Is(err, fs.ErrNotExist):
		r.empty[h.Dir()], r.made[h.Dir()] = true, true
	case err != nil:
		return kindStagedUnreadable.Found(root, "").Unable(err)
	}
	return nil
}

// readStaged reads a staged file, nil if there is none.
func (r *run) readStaged(h *Holder, path string) ([]byte, error) {
	if r.empty[h.Dir()] {
		return nil, nil
	}
	return readBounded(r.staged(h, path))
}

// readBounded reads a file of the size that keys and certificates have at most,
// nil if there is none.
func readBounded(path string) ([]byte, error) {
	data, err := readRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// readRegular is readBounded for a file that must be there. It does not wait
// for what is no regular file.
func readRegular(path string) ([]byte, error) {
	data, _, err := readfile.Regular(path, pki.MaxFileSize, 0)
	if err != nil {
		return nil, kindStagedUnreadable.Found(path, "").Unable(err)
	}
	return data, nil
}

// roles names an identity's roles for people.
func (id *Identity) roles() string {
	var names []string
	for _, r := range id.Roles {
		names = append(names, r.String())
	}
	slices.Sort(names)
	if len(names) == 2 {
		return "server and client"
	}
	return names[0]
}
