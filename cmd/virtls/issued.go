package main

import (
	"os"
	"path/filepath"
	"time"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/internal/atomicfile"
	"virtls/pki"
)

// A newKey is a private key that has no file yet; none if it is zero.
type newKey struct {
	key  pki.PrivateKey
	path string
}

// stage puts the key beside its place, where it waits for its certificate.
func (k newKey) stage(place *register.Placement) (*atomicfile.Staged, error) {
	pem, err := pki.EncodePrivateKeyPEM(k.key, pki.MLDSABoth)
	if err != nil {
		return nil, err
	}
	defer clear(pem)
	// What a killed run left there belongs to no certificate: the journal is done.
	if err := atomicfile.SweepFile(k.path); err != nil {
		return nil, kindUnwritable.Found(k.path, "").Unable(err)
	}
	staged, err := atomicfile.Stage(k.path, pem, 0o600)
	if err != nil {
		return nil, kindUnwritable.Found(k.path, "").Unable(err)
	}
	if err := atomicfile.Sync([]*atomicfile.Staged{staged}); err != nil {
		staged.Discard()
		return nil, kindUnwritable.Found(k.path, "").Unable(err)
	}
	place.Key, place.KeyPaths = staged.Temp(), []string{k.path}
	return staged, nil
}

// checkDir refuses a file whose directory is not there, before anything is
// issued for it.
func checkDir(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return kindUnwritable.Found(path, dir+", which is no directory").Unable(nil)
	}
	if err != nil {
		return kindUnwritable.Found(path, "").Unable(err)
	}
	return nil
}

type issueReport struct {
	finding.Report
	Serial   string    `json:"serial"`
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"notAfter"`
	Files    []string  `json:"files"`
}

// issueOne issues a certificate with the key's and its own file, and says so.
// What it has found until then is in a.found.
func (a *app) issueOne(state *ca.State, authority *ca.Authority, pass PassphraseFlags, order ca.Order, key newKey) error {
	if err := authority.Unlock(a.passphrase(pass, false)); err != nil {
		return err
	}
	discard := func() {}
	if key.key != nil {
		staged, err := key.stage(order.Place)
		if err != nil {
			return err
		}
		discard = staged.Discard
	}
	issued, err := authority.Issue(a.ctx, []ca.Order{order})
	if err != nil {
		discard()
		return err
	}
	// From here on the journal knows the key.
	done := issued[0]
	if err := state.Place(a.ctx, []*register.Placement{done.Place}); err != nil {
		return err
	}
	findings := append(a.found, done.Findings...)
	c, files := done.Certificate, append(done.Place.Paths, done.Place.KeyPaths...)
	if a.json {
		if err := a.printJSON(issueReport{finding.NewReport(findings), register.SerialText(c.Serial), c.Subject.String(), c.NotAfter, files}); err != nil {
			return err
		}
		return a.judge(findings)
	}
	a.printf("%s, until %s, serial %s\n", oneLine(c.Subject.String()), c.NotAfter.UTC().Format(time.DateOnly), register.SerialText(c.Serial))
	for _, path := range files {
		a.printf("  %s\n", tilde(path))
	}
	return a.judge(findings)
}
