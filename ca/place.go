package ca

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"virtls/ca/register"
	"virtls/internal/atomicfile"
	"virtls/internal/parallel"
	"virtls/pki"
)

// PublicMode is the mode of what placements hold beside keys: certificates,
// requests and revocation lists. Keys keep the mode they were staged with.
const PublicMode = 0o644

// Place brings journalled files to their places, durably, and removes them
// from the journal. Their directories must exist. After an error the journal
// keeps what is missing, and the next OpenState places it.
func (s *State) Place(ctx context.Context, placements []*register.Placement) error {
	staged := make([][]*atomicfile.Staged, len(placements))
	defer func() {
		for i, files := range staged {
			discardCopies(files, placements[i].Key)
		}
	}()
	err := parallel.For(ctx, len(placements), func(i int) (err error) {
		staged[i], err = stage(placements[i])
		return err
	})
	if err != nil {
		return unwritable(err)
	}
	var batch []*atomicfile.Staged
	var ids []int64
	for i, files := range staged {
		batch = append(batch, files...)
		ids = append(ids, placements[i].ID)
	}
	if err := atomicfile.CommitAll(batch); err != nil {
		return unwritable(err)
	}
	step("placed")
	err = s.register.Done(ctx, ids)
	step("done")
	return err
}

// stage returns a placement's files in the order in which they take their
// places. The staged key itself comes after its copies: as long as it is there
// nothing is lost.
func stage(p *register.Placement) (files []*atomicfile.Staged, err error) {
	if p.Key != "" {
		if files, err = stageKey(p); err != nil {
			return files, err
		}
	}
	for _, path := range p.Paths {
		f, err := atomicfile.Stage(path, p.Content, PublicMode)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}

func stageKey(p *register.Placement) (files []*atomicfile.Staged, err error) {
	own := ownPlace(p)
	for _, path := range p.KeyPaths {
		if path == own {
			continue
		}
		info, err := os.Stat(p.Key)
		if err != nil {
			return files, err
		}
		key, err := readFile(p.Key)
		if err != nil {
			return files, err
		}
		f, err := atomicfile.Stage(path, key, info.Mode().Perm())
		clear(key)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return append(files, atomicfile.Resume(p.Key, own)), nil
}

// ownPlace returns the place to which the staged key is renamed: the one
// beside it, as other places may be in other file systems.
func ownPlace(p *register.Placement) string {
	for _, path := range p.KeyPaths {
		if filepath.Dir(path) == filepath.Dir(p.Key) {
			return path
		}
	}
	return p.KeyPaths[len(p.KeyPaths)-1]
}

// discardCopies removes what was staged and not committed, except the key's only copy.
func discardCopies(files []*atomicfile.Staged, key string) {
	for _, f := range files {
		if f.Temp() != key {
			f.Discard()
		}
	}
}

// journalled returns a placement as the journal holds it: paths within the
// state relative to its directory, which may be moved, others absolute.
func (s *State) journalled(p *register.Placement) (*register.Placement, error) {
	if p.Key != "" && len(p.KeyPaths) == 0 {
		return nil, errors.New("a placement with a staged key and no place for it")
	}
	var errs []error
	j := withPaths(p, func(path string) string {
		abs, err := filepath.Abs(path)
		errs = append(errs, err)
		if inside, err := filepath.Rel(s.dir, abs); err == nil && filepath.IsLocal(inside) {
			return inside
		}
		return abs
	})
	return j, errors.Join(errs...)
}

// resolved returns a placement of the journal with absolute paths.
func (s *State) resolved(p *register.Placement) *register.Placement {
	return withPaths(p, func(path string) string {
		if filepath.IsAbs(path) {
			return filepath.Clean(path)
		}
		return filepath.Join(s.dir, path)
	})
}

// withPaths returns a copy of a placement whose paths have gone through f.
func withPaths(p *register.Placement, f func(string) string) *register.Placement {
	c := *p
	if p.Key != "" {
		c.Key = f(p.Key)
	}
	c.KeyPaths, c.Paths = nil, nil
	for _, path := range p.KeyPaths {
		c.KeyPaths = append(c.KeyPaths, f(path))
	}
	for _, path := range p.Paths {
		c.Paths = append(c.Paths, f(path))
	}
	return &c
}

// recoverBatch is how many placements are finished at a time.
const recoverBatch = 500

// finishPending places what the journal holds, and removes temporary files
// that nothing refers to any more.
func (s *State) finishPending(ctx context.Context, crashed bool) error {
	var batch []*register.Placement
	finished := 0
	flush := func() error {
		finished += len(batch)
		err := s.Place(ctx, batch)
		batch = nil
		return err
	}
	for p, err := range s.register.Pending(ctx) {
		if err != nil {
			return err
		}
		place := s.resolved(&p)
		ready, err := s.revive(ctx, place)
		switch {
		case err != nil:
			return err
		case ready && s.outside(place):
			if err := s.Place(ctx, []*register.Placement{place}); err != nil {
				if err := s.giveUp(ctx, place, err.Error()); err != nil {
					return err
				}
				continue
			}
			finished++
		case ready:
			batch = append(batch, place)
		}
		if len(batch) == recoverBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if finished > 0 {
		s.findings = append(s.findings, kindFinished.Found(s.dir, fmt.Sprintf("%d sets of files", finished)))
	}
	if crashed || finished > 0 {
		return s.sweep()
	}
	return nil
}

// outside tells whether a placement has files outside the state. What is wrong
// there must not keep anybody from using the state.
func (s *State) outside(p *register.Placement) bool {
	for _, path := range slices.Concat(p.KeyPaths, p.Paths) {
		if !strings.HasPrefix(path, s.dir+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// revive prepares a placement of a killed run to be placed. It reports false
// for one that cannot be placed any more, which leaves the journal. The journal
// may come from a backup, or have been changed: what this package never writes
// there is not done either, whoever wants it.
func (s *State) revive(ctx context.Context, p *register.Placement) (bool, error) {
	isTemp := func(path string) bool { return atomicfile.IsTempOf(p.Key, path) }
	switch {
	case !isPublicPEM(p.Content):
		return false, s.giveUp(ctx, p, "an entry of the journal that holds no certificate, request or revocation list")
	case p.Key != "" && !slices.ContainsFunc(p.KeyPaths, isTemp):
		key := p.Key
		p.Key = ""
		return false, s.giveUp(ctx, p, key+", which is no file that virtls has staged for this place")
	case p.Key != "":
		switch info, err := os.Lstat(p.Key); {
		case errors.Is(err, fs.ErrNotExist) && keyInPlace(p):
			p.Key = ""
		case errors.Is(err, fs.ErrNotExist):
			return false, s.giveUp(ctx, p, p.Key+" is gone")
		case err == nil && !info.Mode().IsRegular():
			return false, s.giveUp(ctx, p, p.Key+" is not a regular file")
		case err != nil && !s.outside(p):
			return false, unwritable(err)
		}
	}
	for _, path := range p.Paths {
		if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			return false, s.giveUp(ctx, p, filepath.Dir(path)+" is gone")
		}
	}
	if !s.outside(p) {
		return true, nil
	}
	if path := occupied(p); path != "" {
		return false, s.giveUp(ctx, p, path+" is there, and outside the state directory only the command itself replaces a file")
	}
	return true, nil
}

// isPublicPEM tells whether a placement's content is what they all have, in the
// form in which this package writes it, and nothing beside that.
func isPublicPEM(content []byte) bool {
	if certs, err := pki.ParseCertificatesPEM(content); err == nil {
		return bytes.Equal(encodePEM(certs), content)
	}
	if crls, err := pki.ParseCRLsPEM(content); err == nil {
		var all []byte
		for _, crl := range crls {
			all = append(all, crl.PEM()...)
		}
		return bytes.Equal(all, content)
	}
	request, err := pki.ParseRequestPEM(content)
	return err == nil && bytes.Equal(request.PEM(), content)
}

// occupied returns the first place of a placement that holds something else
// than is to be there, empty if there is none. What is there already is taken
// out of Paths.
func occupied(p *register.Placement) string {
	holds := func(path string, want []byte) (there, same bool) {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return false, false
		}
		if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(want)) {
			return true, false
		}
		have, err := readFile(path)
		defer clear(have)
		return true, err == nil && bytes.Equal(have, want)
	}
	if p.Key != "" {
		key, err := readFile(p.Key)
		if err != nil {
			return "" // placing it fails in the same way, and says why
		}
		defer clear(key)
		for _, path := range p.KeyPaths {
			if there, same := holds(path, key); there && !same {
				return path
			}
		}
	}
	var missing []string
	for _, path := range p.Paths {
		switch there, same := holds(path, p.Content); {
		case there && !same:
			return path
		case !there:
			missing = append(missing, path)
		}
	}
	p.Paths = missing
	return ""
}

// keyInPlace tells whether the staged key's own place holds a key that belongs
// to the placement's content.
func keyInPlace(p *register.Placement) bool {
	data, err := readFile(ownPlace(p))
	if err != nil {
		return false
	}
	defer clear(data)
	key, err := pki.ParsePrivateKeyPEM(data, nil)
	if errors.Is(err, pki.ErrNoPassword) {
		return true // nobody can tell; an authority's key is never replaced
	}
	if err != nil {
		return false
	}
	if certs, err := pki.ParseCertificatesPEM(p.Content); err == nil {
		return pki.SameKey(certs[0].PublicKey.Key, key)
	}
	request, err := pki.ParseRequestPEM(p.Content)
	return err == nil && pki.SameKey(request.PublicKey.Key, key)
}

// giveUp takes a placement out of the journal, and says so in the history.
func (s *State) giveUp(ctx context.Context, p *register.Placement, why string) error {
	what := strings.Join(p.Paths, ", ")
	if certs, err := pki.ParseCertificatesPEM(p.Content); err == nil {
		what = fmt.Sprintf("%s for %s", certs[0], what)
	}
	f := kindAbandoned.Found(what, why)
	if _, err := os.Lstat(p.Key); err == nil && s.outside(p) {
		f = f.WithFix("the key is in %s: move it to %s, and write the certificate from the register", p.Key, strings.Join(p.KeyPaths, ", "))
	}
	s.findings = append(s.findings, f)
	return s.update(ctx, "abandon", what+": "+why, func(tx *register.Tx) error { return tx.RemovePending(p.ID) })
}

// sweep removes the temporary files of killed runs everywhere in the state.
func (s *State) sweep() error {
	if err := s.discardUnpacked(); err != nil {
		return err
	}
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		_, err = atomicfile.Sweep(path)
		return err
	})
	if err != nil {
		return unwritable(err)
	}
	return nil
}

// unwritable makes an error of the file system a finding.
func unwritable(err error) error {
	if err == nil || isFailure(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return notWritten("", err)
}
