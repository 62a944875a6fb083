package fleet

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"virtls/ca"
	"virtls/finding"
	"virtls/pki"
)

var kindStagedForeign = finding.Define("staged-file-foreign", finding.Error,
	"what is staged is a link, or belongs to somebody else, who decides what it is",
	"remove it and run virtls apply, which makes it anew")

// A delivery is a holder's staged tree as it is handed on, to be installed or
// packed: everything that the fleet file asks for, and nothing else. What root
// writes where follows from the fleet file; that it is staged so is checked, and
// not believed.
type delivery struct {
	run      *run
	holder   *Holder
	manifest Manifest
	files    map[string][]byte // content by the path of the manifest's entry
	beside   []document        // the manifest and what activates the files; not installed
}

// deliver collects what is staged for a host or client.
func deliver(ctx context.Context, file *File, state *ca.State, name string) (*delivery, error) {
	r, err := newRun(file, state, Options{Only: []string{name}})
	if err != nil {
		return nil, err
	}
	h, err := file.holder(name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(r.staged(h, "")); errors.Is(err, fs.ErrNotExist) {
		return nil, kindNotStaged.Found(r.staged(h, ""), "").WithFix("%s", file.applied()).Unable(nil)
	}
	docs, err := r.deliverable(ctx, h)
	if err != nil {
		return nil, err
	}
	d := &delivery{run: r, holder: h, manifest: h.manifest(docs), files: map[string][]byte{}}
	for _, doc := range docs {
		if err := d.addDocument(doc); err != nil {
			return nil, err
		}
	}
	for i := range h.Identities {
		for j := range h.Identities[i].Places {
			if err := d.addPair(ctx, &h.Identities[i], &h.Identities[i].Places[j]); err != nil {
				return nil, err
			}
		}
	}
	return d, nil
}

// holder returns the host or client of a name.
func (f *File) holder(name string) (*Holder, error) {
	if err := f.CheckHolder(name); err != nil {
		return nil, err
	}
	if h := f.hosts[name]; h != nil {
		return f.holderOfHost(h)
	}
	return f.holderOfClient(f.clients[name])
}

// deliverable returns a holder's documents as they should be staged.
func (r *run) deliverable(ctx context.Context, h *Holder) ([]document, error) {
	if _, err := r.loadAuthorities(ctx); err != nil {
		return nil, err
	}
	if err := r.loadCRLs(); err != nil {
		return nil, err
	}
	servers, err := r.neededPSKServers()
	if err != nil {
		return nil, err
	}
	if err := r.loadPSK(servers); err != nil {
		return nil, err
	}
	return r.documents(h)
}

// addDocument adds a file that is made from the fleet file and the authorities.
func (d *delivery) addDocument(doc document) error {
	have, err := d.read(doc.entry.Path)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, doc.data) {
		return d.failed(kindFileOutdated.Found(d.run.staged(d.holder, doc.entry.Path), ""))
	}
	if doc.installed() {
		d.files[doc.entry.Path] = have
	} else {
		d.beside = append(d.beside, doc)
	}
	return nil
}

// addPair adds a certificate and its key.
func (d *delivery) addPair(ctx context.Context, id *Identity, p *Place) error {
	cert, err := d.read(p.Cert.Path)
	if err != nil {
		return err
	}
	key, err := d.read(p.Key.Path)
	if err != nil {
		return err
	}
	d.files[p.Cert.Path], d.files[p.Key.Path] = cert, key
	at := d.run.staged(d.holder, p.Cert.Path)
	certs, err := pki.ParseCertificatesPEM(cert)
	if err != nil {
		return d.failed(kindNotThere.Found(at, err.Error()))
	}
	private, err := pki.ParsePrivateKeyPEM(key, nil)
	if err != nil {
		return d.failed(kindNotThere.Found(d.run.staged(d.holder, p.Key.Path), err.Error()))
	}
	if !pki.SameKey(certs[0].PublicKey.Key, private) {
		return d.failed(kindNotThere.Found(at, "").WithText("certificate and key do not belong together"))
	}
	why, err := d.run.outdated(ctx, d.holder, id, certs[0])
	if err == nil && why != "" && !strings.HasPrefix(why, whyDue) {
		err = d.failed(kindOutdated.Found(at, why))
	}
	return err
}

func (d *delivery) failed(f finding.Finding) error {
	return f.WithFix("%s", d.run.file.applied()).Wrong()
}

// read returns the content of a staged file. It and the directories that lead
// to it from the holder's are real, and belong to whom the state belongs.
func (d *delivery) read(name string) ([]byte, error) {
	at := d.run.staged(d.holder, "")
	for part := range strings.SplitSeq(filepath.Clean("/"+name), "/") {
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, d.failed(kindFileMissing.Found(at, "no such file"))
		case err != nil:
			return nil, kindStagedUnreadable.Found(at, "").Unable(err)
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, kindStagedForeign.Found(at, "a symbolic link").Wrong()
		case !ca.TrustedOwner(info):
			uid, _ := ownerOf(info)
			return nil, kindStagedForeign.Found(at, "").WithText("what is staged belongs to user %d, who decides what it is", uid).Wrong()
		}
	}
	return readRegular(at)
}

// clear forgets the keys.
func (d *delivery) clear() {
	for _, data := range d.files {
		clear(data)
	}
}
