package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"virtls/finding"
	"virtls/layout"
	"virtls/psk"
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

// A ManifestEntry is a layout.Entry whose mode is text, such as "0640".
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

// mode is the mode that the file is staged with: the one it has on the host, so
// that copying the tree with its modes is enough.
func (d document) mode() fs.FileMode {
	if d.loc == (layout.Location{}) {
		return 0o644
	}
	return d.entry.Mode
}

// documents returns a holder's files but its certificates and keys.
func (r *run) documents(h *Holder) ([]document, error) {
	var docs []document
	bundle, crl := r.bundle(h.PQC), r.crls[h.PQC]
	for _, loc := range h.Locations {
		if len(bundle) > 0 {
			docs = append(docs, document{loc, loc.File(loc.CA()), bundle})
		}
		if len(crl) > 0 {
			docs = append(docs, document{loc, loc.File(loc.CRL()), crl})
		}
	}
	keys, err := r.pskDocuments(h)
	if err != nil {
		return nil, err
	}
	docs = append(docs, keys...)
	manifest, err := r.manifest(h, docs)
	if err != nil {
		return nil, err
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

// manifest lists the holder's directories and files, parents first.
func (r *run) manifest(h *Holder, docs []document) ([]byte, error) {
	m := Manifest{Schema: 1, Holder: h.ID(), Person: h.client != nil && !h.client.System}
	seen := map[string]bool{}
	add := func(loc layout.Location, e layout.Entry) {
		for _, dir := range loc.Directories(e.Path) {
			if !seen[dir.Path] {
				seen[dir.Path] = true
				m.Entries = append(m.Entries, h.resolved(dir))
			}
		}
		m.Entries = append(m.Entries, h.resolved(e))
	}
	for _, d := range docs {
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
	slices.SortFunc(m.Entries, func(a, b ManifestEntry) int { return strings.Compare(a.Path, b.Path) })
	data, err := finding.JSON(m)
	if err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", h.ID(), err)
	}
	return data, nil
}

// resolved fills in the names that the fleet file or the platform knows.
func (h *Holder) resolved(e layout.Entry) ManifestEntry {
	if e.Group == layout.QEMUGroupName && h.Platform.QEMUGroup != "" {
		e.Group = h.Platform.QEMUGroup
	}
	return ManifestEntry{e, fmt.Sprintf("%04o", e.Mode)}
}

// MarshalJSON keeps the fields of both parts in one object.
func (e ManifestEntry) MarshalJSON() ([]byte, error) {
	type plain layout.Entry
	return json.Marshal(struct {
		plain
		Mode string `json:"mode"`
	}{plain(e.Entry), e.ModeText})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *ManifestEntry) UnmarshalJSON(data []byte) error {
	type plain layout.Entry
	var v struct {
		plain
		Mode string `json:"mode"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	var mode uint32
	if _, err := fmt.Sscanf(v.Mode, "%o", &mode); err != nil || mode > 0o777 {
		return fmt.Errorf("mode %q of %s: want three octal digits", v.Mode, v.Path)
	}
	e.Entry, e.ModeText = layout.Entry(v.plain), v.Mode
	e.Mode = fs.FileMode(mode)
	return nil
}

// changed returns the documents that are not staged as they should be.
func (r *run) changed(h *Holder, docs []document) ([]document, error) {
	var list []document
	for _, d := range docs {
		have, err := r.readStaged(h, d.entry.Path)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(have, d.data) {
			list = append(list, d)
		}
	}
	return list, nil
}

// A pskPair is a user at a server; each pair has a key of its own.
type pskPair struct{ user, server string }

// pskKeys are the keys known so far.
type pskKeys map[pskPair]psk.Key

// pskDocuments returns the key files of a holder: one with all users for a
// server, and one for each server that the holder connects to.
func (r *run) pskDocuments(h *Holder) ([]document, error) {
	loc := h.pskLocation()
	served := psk.File{}
	var docs []document
	users := 0
	for _, u := range r.file.PSK {
		if h.host != nil && slices.Contains(u.Servers, h.Name) {
			users++
			if err := r.setKey(&served, u.User, h.Name); err != nil {
				return nil, err
			}
		}
		if !slices.Contains(u.Holders, h.Name) {
			continue
		}
		for _, server := range u.Servers {
			if h.host != nil && server == h.Name {
				continue
			}
			var own psk.File
			if err := r.setKey(&own, u.User, server); err != nil {
				return nil, err
			}
			docs = r.mergePSK(docs, document{loc, loc.Secret(path.Join(layout.PSKClient(loc, server), layout.PSKFile)), own.Bytes()})
		}
	}
	if users > 0 {
		docs = append(docs, document{loc, loc.Secret(path.Join(layout.PSKServer(loc), layout.PSKFile)), served.Bytes()})
	}
	return docs, nil
}

// mergePSK joins the keys of several users towards one server in one file.
func (r *run) mergePSK(docs []document, d document) []document {
	for i := range docs {
		if docs[i].entry.Path == d.entry.Path {
			docs[i].data = append(docs[i].data, d.data...)
			return docs
		}
	}
	return append(docs, d)
}

// setKey enters the key of a pair that has one. In a plan some have none yet;
// their files then differ from what is staged, which is what a plan is to say.
func (r *run) setKey(f *psk.File, user, server string) error {
	key, ok := r.psk[pskPair{user, server}]
	if !ok {
		return nil
	}
	_, err := f.Set(user, key)
	return err
}

// loadPSK reads the keys that servers have. With generate it makes those that
// are missing; the servers' files are then written before any holder's, so
// that a key that is in use anywhere is known to its server.
func (r *run) loadPSK(generate bool) error {
	r.psk = pskKeys{}
	for _, u := range r.file.PSK {
		for _, server := range u.Servers {
			h, err := r.file.holderOfHost(r.file.hostNamed(server))
			if err != nil {
				return err
			}
			name := path.Join(layout.PSKServer(h.pskLocation()), layout.PSKFile)
			data, err := r.readStaged(h, name)
			if err != nil {
				return err
			}
			staged, err := psk.Parse(r.staged(h, name), data)
			if err != nil {
				return err
			}
			if key, err := staged.ServerKey(u.User); err == nil {
				r.psk[pskPair{u.User, server}] = key
				continue
			}
			if !generate {
				continue
			}
			key, err := psk.Generate(psk.DefaultKeySize)
			if err != nil {
				return err
			}
			r.psk[pskPair{u.User, server}] = key
		}
	}
	return nil
}

func (f *File) hostNamed(name string) *Host {
	for i := range f.Hosts {
		if f.Hosts[i].Name == name {
			return &f.Hosts[i]
		}
	}
	return nil
}
