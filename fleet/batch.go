package fleet

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/internal/atomicfile"
	"virtls/internal/parallel"
	"virtls/layout"
	"virtls/pki"
)

// batchIdentities is how many certificates are signed, registered and placed
// together. One transaction and one pair of directory syncs serve them all; a
// run that is killed loses at most the work of one batch.
const batchIdentities = 256

// A batch collects holders until there is enough to do.
type batch struct {
	run     *run
	result  *Result
	prover  *prover
	holders []*work
	issues  int
}

// work is what a batch does for one holder.
type work struct {
	holder    *Holder
	judgments []Judgment
	row       Row
}

func (b *batch) add(ctx context.Context, h *Holder) error {
	b.run.checkPQC(h)
	if err := b.run.markNew(h); err != nil {
		return err
	}
	w := &work{holder: h, row: Row{Holder: h.ID(), Dir: filepath.Join(b.run.dir, h.Dir())}}
	for i := range h.Identities {
		j, err := b.run.judge(ctx, h, &h.Identities[i])
		if err != nil {
			return err
		}
		if j.Verdict == Issue {
			b.issues++
		}
		w.judgments = append(w.judgments, j)
	}
	b.holders = append(b.holders, w)
	if b.issues >= b.limit() || len(b.holders) >= batchIdentities {
		return b.flush(ctx)
	}
	return nil
}

// limit is smaller for keys that take long to make, so that progress shows and
// little is lost when the run is killed.
func (b *batch) limit() int {
	for _, w := range b.holders {
		for _, j := range w.judgments {
			if j.Verdict == Issue && j.Key == nil && j.Identity.Key.Algorithm == pki.RSA {
				return 4 * runtime.GOMAXPROCS(0)
			}
		}
	}
	return batchIdentities
}

func (b *batch) flush(ctx context.Context) error {
	if err := b.makeKeys(ctx); err != nil {
		return err
	}
	for _, name := range b.run.file.authorityNames() {
		if err := b.issue(ctx, name); err != nil {
			return err
		}
	}
	if err := b.finish(); err != nil {
		return err
	}
	clear(b.run.empty)
	clear(b.run.dirs)
	if err := b.prover.prove(ctx, b.holders); err != nil {
		return err
	}
	for _, w := range b.holders {
		b.result.Holders++
		b.result.Issued += w.row.Issued
		b.result.Written += w.row.Written
		if b.run.opts.Report != nil {
			b.run.opts.Report(w.row)
		}
	}
	b.holders, b.issues = b.holders[:0], 0
	return nil
}

// toIssue returns the judgments of the batch that need a new certificate.
func (b *batch) toIssue() []issuing {
	var list []issuing
	for _, w := range b.holders {
		for i := range w.judgments {
			if w.judgments[i].Verdict == Issue {
				list = append(list, issuing{w, &w.judgments[i]})
			}
		}
	}
	return list
}

type issuing struct {
	work *work
	*Judgment
}

// makeKeys makes the missing keys on all cores.
func (b *batch) makeKeys(ctx context.Context) error {
	list := b.toIssue()
	return parallel.For(ctx, len(list), func(i int) error {
		if list[i].Key != nil {
			return nil
		}
		key, err := pki.GenerateSigner(list[i].Identity.Key)
		list[i].Key = key
		return err
	})
}

// issue has one authority sign what the batch needs of it, and places keys and
// certificates: keys are staged first, certificates come after the register
// has them (package ca says why).
func (b *batch) issue(ctx context.Context, name string) error {
	var list []issuing
	for _, i := range b.toIssue() {
		if i.Identity.PQC == (name == PQCAuthority) {
			list = append(list, i)
		}
	}
	if len(list) == 0 {
		return nil
	}
	authority, err := b.run.unlocked(name)
	if err != nil {
		return err
	}
	if err := b.run.makeDirs(list); err != nil {
		return err
	}
	orders := make([]ca.Order, len(list))
	staged := make([]*atomicfile.Staged, len(list))
	defer func() { discard(staged) }()
	err = parallel.For(ctx, len(list), func(i int) (err error) {
		orders[i], staged[i], err = b.run.order(list[i])
		return err
	})
	if err != nil {
		return err
	}
	if err := atomicfile.Sync(staged); err != nil {
		return err
	}
	issued, err := authority.Issue(ctx, orders)
	if err != nil {
		return err
	}
	clear(staged) // from here on the journal knows them
	placements := make([]*register.Placement, len(issued))
	for i, done := range issued {
		list[i].Certificate = done.Certificate
		list[i].work.row.Issued++
		placements[i] = done.Place
		b.run.findings = append(b.run.findings, done.Findings...)
	}
	return b.run.state.Place(ctx, placements)
}

func discard(staged []*atomicfile.Staged) {
	for _, s := range staged {
		if s != nil {
			s.Discard()
		}
	}
}

// order stages an identity's key and writes the order for its certificate.
func (r *run) order(i issuing) (ca.Order, *atomicfile.Staged, error) {
	h, id := i.work.holder, i.Identity
	spec, err := r.spec(h, id, i.Key.Public())
	if err != nil {
		return ca.Order{}, nil, err
	}
	place := &register.Placement{}
	for _, p := range id.Places {
		place.KeyPaths = append(place.KeyPaths, r.staged(h, p.Key.Path))
		place.Paths = append(place.Paths, r.staged(h, p.Cert.Path))
	}
	pem, err := pki.EncodePrivateKeyPEM(i.Key.(pki.PrivateKey), pki.MLDSABoth)
	if err != nil {
		return ca.Order{}, nil, err
	}
	defer clear(pem)
	staged, err := atomicfile.Stage(place.KeyPaths[0], pem, id.Places[0].Key.Mode, r.how(h)...)
	if err != nil {
		return ca.Order{}, nil, err
	}
	place.Key = staged.Temp()
	how := register.Apply
	if i.Certificate != nil {
		how = register.Renew
	}
	return ca.Order{Spec: spec, Days: h.Days, How: how, Holder: h.ID(), Slot: id.Slot, Place: place}, staged, nil
}

// makeDirs makes the directories of the identities' files.
func (r *run) makeDirs(list []issuing) error {
	for _, i := range list {
		for _, p := range i.Identity.Places {
			for _, e := range []layout.Entry{p.Cert, p.Key} {
				if err := r.makeDir(i.work.holder, p.Location, e.Path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// makeDir makes the directories that lead to a staged file, with the modes
// they have on the host.
func (r *run) makeDir(h *Holder, loc layout.Location, p string) error {
	parent := r.staged(h, path.Dir(p))
	if r.dirs[parent] {
		return nil
	}
	if !r.empty[h.Dir()] {
		if _, err := os.Stat(parent); err == nil {
			r.dirs[parent] = true
			return nil
		}
	}
	if root := r.staged(h, ""); !r.dirs[root] {
		if err := r.makeOne(filepath.Dir(root), 0o700); err != nil {
			return err
		}
		if err := r.makeOne(root, 0o700); err != nil {
			return err
		}
	}
	rights := loc.Directories(p)
	for i := 1; i <= len(p); i++ { // each directory above p, from the top
		end := strings.IndexByte(p[i:], '/')
		if end < 0 {
			break
		}
		i += end
		mode := fs.FileMode(0o755)
		if at := slices.IndexFunc(rights, func(e layout.Entry) bool { return e.Path == p[:i] }); at >= 0 {
			mode = rights[at].Mode
		}
		if err := r.makeOne(r.staged(h, p[:i]), mode); err != nil {
			return err
		}
	}
	return nil
}

// makeOne makes a directory unless it is there.
func (r *run) makeOne(dir string, mode fs.FileMode) error {
	if r.dirs[dir] {
		return nil
	}
	err := os.Mkdir(dir, mode)
	if err == nil {
		err = os.Chmod(dir, mode) // the umask may have kept it from that
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	r.dirs[dir] = true
	return nil
}

// how tells how a holder's file is to be staged.
func (r *run) how(h *Holder) []atomicfile.Option {
	if r.empty[h.Dir()] {
		return []atomicfile.Option{atomicfile.Absent()}
	}
	return nil
}

// finish writes the copies and documents of the batch's holders.
func (b *batch) finish() error {
	var staged []*atomicfile.Staged
	entries := make([][]layout.Entry, len(b.holders))
	for i, w := range b.holders {
		files, all, err := b.run.stageRest(w)
		staged = append(staged, files...)
		if err != nil {
			discard(staged)
			return err
		}
		entries[i] = all
		w.row.Written = len(files)
	}
	if err := atomicfile.CommitAll(staged); err != nil {
		return err
	}
	for i, w := range b.holders {
		if err := b.run.mendModes(w.holder, entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// stageRest stages what a holder lacks besides the certificates just issued,
// and returns how those of its files are to be whose modes may be others.
func (r *run) stageRest(w *work) (files []*atomicfile.Staged, entries []layout.Entry, err error) {
	docs, err := r.documents(w.holder)
	if err != nil {
		return nil, nil, err
	}
	entries = w.holder.entries(docs)
	if r.empty[w.holder.Dir()] {
		entries = w.holder.privateCertificates() // all others are made with their modes
	}
	if docs, err = r.changed(w.holder, docs); err != nil {
		return nil, nil, err
	}
	copies, err := r.copies(w)
	if err != nil {
		return nil, nil, err
	}
	files, err = r.stage(w.holder, append(docs, copies...))
	return files, entries, err
}

// privateCertificates returns the certificates that are not for everybody, as
// package ca makes them.
func (h *Holder) privateCertificates() (list []layout.Entry) {
	for _, id := range h.Identities {
		for _, p := range id.Places {
			if p.Cert.Mode != ca.PublicMode {
				list = append(list, p.Cert)
			}
		}
	}
	return list
}

// copies returns the files of identities that lack one of their places.
func (r *run) copies(w *work) ([]document, error) {
	var docs []document
	for _, j := range w.judgments {
		if j.Verdict != Copy {
			continue
		}
		key, err := r.readStaged(w.holder, j.Source.Key.Path)
		if err != nil {
			return nil, err
		}
		cert, err := r.readStaged(w.holder, j.Source.Cert.Path)
		if err != nil {
			return nil, err
		}
		for _, p := range j.Missing {
			docs = append(docs, document{p.Location, p.Key, key}, document{p.Location, p.Cert, cert})
		}
	}
	return docs, nil
}

func (r *run) write(h *Holder, docs []document) error {
	staged, err := r.stage(h, docs)
	if err != nil {
		discard(staged)
		return err
	}
	return atomicfile.CommitAll(staged)
}

func (r *run) stage(h *Holder, docs []document) ([]*atomicfile.Staged, error) {
	var staged []*atomicfile.Staged
	for _, d := range docs {
		if err := r.makeDir(h, d.loc, d.entry.Path); err != nil {
			return staged, err
		}
		s, err := atomicfile.Stage(r.staged(h, d.entry.Path), d.data, d.mode(), r.how(h)...)
		if err != nil {
			return staged, err
		}
		staged = append(staged, s)
	}
	return staged, nil
}
