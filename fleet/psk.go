package fleet

import (
	"path"
	"slices"

	"virtls/layout"
	"virtls/psk"
)

// A pskPair is a user at a server; each pair has a key of its own.
type pskPair struct{ user, server string }

// pskKeys are the keys known so far.
type pskKeys map[pskPair]psk.Key

// pskDocuments returns the key files of a holder: one with all users for a
// server, and one for each server that the holder connects to.
func (r *run) pskDocuments(h *Holder) ([]document, error) {
	docs, err := r.pskServed(h)
	if err != nil {
		return nil, err
	}
	loc := h.pskLocation()
	for _, u := range r.file.PSK {
		for _, server := range h.pskServers(&u) {
			var own psk.File
			if err := r.setKey(&own, u.User, server); err != nil {
				return nil, err
			}
			docs = mergePSK(docs, document{loc, loc.Secret(path.Join(layout.PSKClient(loc, server), layout.PSKFile)), own.Bytes()})
		}
	}
	return docs, nil
}

// pskServers lists the servers to which the holder connects as a user.
func (h *Holder) pskServers(u *PSKUser) (servers []string) {
	if !slices.Contains(u.Holders, h.Name) {
		return nil
	}
	for _, s := range u.Servers {
		if s != h.Name {
			servers = append(servers, s)
		}
	}
	return servers
}

// pskServed returns the file of users of a server, nothing if the holder is none.
func (r *run) pskServed(h *Holder) ([]document, error) {
	var served psk.File
	serves := false
	for _, u := range r.file.PSK {
		if slices.Contains(u.Servers, h.Name) {
			serves = true
			if err := r.setKey(&served, u.User, h.Name); err != nil {
				return nil, err
			}
		}
	}
	if !serves {
		return nil, nil
	}
	loc := h.pskLocation()
	return []document{{loc, loc.Secret(path.Join(layout.PSKServer(loc), layout.PSKFile)), served.Bytes()}}, nil
}

// mergePSK joins the keys of several users towards one server in one file.
func mergePSK(docs []document, d document) []document {
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

// neededPSKServers lists the servers whose file of users a run sees to: those
// that are selected, and those that somebody selected connects to.
func (r *run) neededPSKServers() ([]*Holder, error) {
	var list []*Holder
	seen := map[string]bool{}
	for _, u := range r.file.PSK {
		for _, server := range u.Servers {
			if seen[server] || !r.selectedName(server) && !slices.ContainsFunc(u.Holders, r.selectedName) {
				continue
			}
			seen[server] = true
			h, err := r.file.holderOfHost(r.file.hosts[server])
			if err != nil {
				return nil, err
			}
			list = append(list, h)
		}
	}
	return list, nil
}

// loadPSK reads the keys that servers have.
func (r *run) loadPSK(servers []*Holder) error {
	r.psk = pskKeys{}
	for _, h := range servers {
		name := path.Join(layout.PSKServer(h.pskLocation()), layout.PSKFile)
		data, err := r.readStaged(h, name)
		if err != nil {
			return err
		}
		staged, err := psk.Parse(r.staged(h, name), data)
		if err != nil {
			return err
		}
		for _, u := range r.file.PSK {
			if key, err := staged.ServerKey(u.User); err == nil && slices.Contains(u.Servers, h.Name) {
				r.psk[pskPair{u.User, h.Name}] = key
			}
		}
	}
	return nil
}

// placePSK makes missing pre-shared keys and writes the servers' files: before
// any holder's, so that a key that is in use anywhere is known to its server.
func (r *run) placePSK() error {
	servers, err := r.neededPSKServers()
	if err != nil {
		return err
	}
	if err := r.loadPSK(servers); err != nil {
		return err
	}
	for _, h := range servers {
		if err := r.generatePSK(h); err != nil {
			return err
		}
		docs, err := r.pskServed(h)
		if err != nil {
			return err
		}
		if docs, err = r.changed(h, docs); err != nil {
			return err
		}
		if err := r.write(h, docs); err != nil {
			return err
		}
	}
	return nil
}

// generatePSK makes the keys that a server lacks.
func (r *run) generatePSK(server *Holder) error {
	for _, u := range r.file.PSK {
		pair := pskPair{u.User, server.Name}
		if _, ok := r.psk[pair]; ok || !slices.Contains(u.Servers, server.Name) {
			continue
		}
		key, err := psk.Generate(psk.DefaultKeySize)
		if err != nil {
			return err
		}
		r.psk[pair] = key
	}
	return nil
}
