package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/layout"
)

// manifestName lists, beside a holder's tree, how each of its files must be on the host.
const manifestName = "manifest.json"

// A Manifest says how the files of a staged tree must be where they are used.
type Manifest struct {
	Schema  int             `json:"schema"`
	Holder  string          `json:"holder"`
	Person  bool            `json:"person"` // paths are relative to a home directory
	Entries []ManifestEntry `json:"entries"`
}

// A ManifestEntry is a layout.Entry whose mode is text, such as "0640". In JSON
// the fields of both are those of one object.
type ManifestEntry struct {
	layout.Entry
	ModeText string `json:"mode"`
}

// A document is a staged file that is made anew from the fleet file and the
// authorities: everything but certificates and their keys.
type document struct {
	loc   layout.Location // zero for what is not installed
	entry layout.Entry    // how it is on the host; only Path counts for what is not installed
	data  []byte
}

// installed tells whether the file goes to the host.
func (d document) installed() bool { return d.loc != (layout.Location{}) }

// mode is the mode that the file is staged with: the one it has on the host, so
// that copying the tree with its modes is enough.
func (d document) mode() fs.FileMode {
	if !d.installed() {
		return 0o644
	}
	return d.entry.Mode
}

// documents returns a holder's files but its certificates and keys.
func (r *run) documents(h *Holder) ([]document, error) {
	var docs []document
	trusted := len(r.file.trusted(h.PQC)) > 0
	for _, loc := range h.Locations {
		if trusted || len(r.trust) > 0 {
			docs = append(docs, document{loc, loc.File(loc.CA()), r.bundle(h.PQC)})
		}
		if trusted {
			docs = append(docs, document{loc, loc.File(loc.CRL()), r.crls[h.PQC]})
		}
	}
	keys, err := r.pskDocuments(h)
	if err != nil {
		return nil, err
	}
	docs = append(docs, keys...)
	manifest, err := finding.JSON(h.manifest(docs))
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", h.ID(), err)
	}
	docs = append(docs, document{entry: layout.Entry{Path: manifestName}, data: manifest})
	activation := r.file.activation(h)
	for _, name := range sortedKeys(activation) {
		docs = append(docs, document{entry: layout.Entry{Path: activationPath(name)}, data: []byte(activation[name])})
	}
	return docs, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// manifest lists the holder's directories and files.
func (h *Holder) manifest(docs []document) Manifest {
	m := Manifest{Schema: 1, Holder: h.ID(), Person: h.person()}
	for _, e := range h.entries(docs) {
		m.Entries = append(m.Entries, h.resolved(e))
	}
	return m
}

// person tells whether the holder's files go into a home directory.
func (h *Holder) person() bool { return h.client != nil && !h.client.System }

// entries lists the holder's directories and files, parents first. docs are
// those of its files that are neither certificates nor their keys.
func (h *Holder) entries(docs []document) []layout.Entry {
	var list []layout.Entry
	seen := map[string]bool{}
	add := func(loc layout.Location, e layout.Entry) {
		for _, dir := range loc.Directories(e.Path) {
			if !seen[dir.Path] {
				seen[dir.Path] = true
				list = append(list, dir)
			}
		}
		list = append(list, e)
	}
	for _, d := range docs {
		if !d.installed() {
			continue
		}
		if !d.entry.Secret {
			sum := sha256.Sum256(d.data)
			d.entry.SHA256 = hex.EncodeToString(sum[:])
		}
		add(d.loc, d.entry)
	}
	for _, id := range h.Identities {
		for _, p := range id.Places {
			add(p.Location, p.Cert)
			add(p.Location, p.Key)
		}
	}
	slices.SortFunc(list, func(a, b layout.Entry) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// A wrongMode is an entry with the mode that it has.
type wrongMode struct {
	layout.Entry
	have fs.FileMode
}

// wrongModes returns the staged files and directories of a holder that have
// another mode than they are to have on the host.
func (r *run) wrongModes(h *Holder, entries []layout.Entry) ([]wrongMode, error) {
	var list []wrongMode
	for _, e := range entries {
		info, err := os.Lstat(r.staged(h, e.Path))
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink != 0 {
			continue // what a link leads to is not the tree's
		}
		if err != nil {
			return nil, kindStagedUnreadable.Found(r.staged(h, e.Path), "").Unable(err)
		}
		if info.Mode().Perm() != e.Mode {
			list = append(list, wrongMode{e, info.Mode().Perm()})
		}
	}
	return list, nil
}

// mendModes makes it so that copying the tree with its modes is enough.
func (r *run) mendModes(h *Holder, entries []layout.Entry) error {
	wrong, err := r.wrongModes(h, entries)
	if err != nil {
		return err
	}
	for _, e := range wrong {
		if err := os.Chmod(r.staged(h, e.Path), e.Mode); err != nil {
			return kindStagedUnwritable.Found(r.staged(h, e.Path), "").Unable(err)
		}
	}
	return nil
}

// resolved fills in the names that the fleet file or the platform knows.
func (h *Holder) resolved(e layout.Entry) ManifestEntry {
	if e.Group == layout.QEMUGroupName && h.Platform.QEMUGroup != "" {
		e.Group = h.Platform.QEMUGroup
	}
	return ManifestEntry{e, fmt.Sprintf("%04o", e.Mode)}
}

// changed returns the documents that are not staged as they should be.
func (r *run) changed(h *Holder, docs []document) ([]document, error) {
	var list []document
	for _, d := range docs {
		have, err := r.readStaged(h, d.entry.Path)
		if err != nil {
			return nil, err
		}
		if have == nil || !bytes.Equal(have, d.data) {
			list = append(list, d)
		}
	}
	return list, nil
}
