package fleet

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"virtls/internal/atomicfile"
	"virtls/layout"
)

// findOrphans reports what is staged and not asked for: holders that are no
// longer in the file, and files that a holder no longer has a use for. Nothing
// is deleted: the credentials may still be in use where they were taken.
func (r *run) findOrphans() error {
	for _, kind := range []string{"host", "client"} {
		entries, err := os.ReadDir(filepath.Join(r.dir, kind+"s"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return kindStagedUnreadable.Found(filepath.Join(r.dir, kind+"s"), "").Unable(err)
		}
		for _, e := range entries {
			if !r.file.hasKind(kind, e.Name()) {
				dir := filepath.Join(r.dir, kind+"s", e.Name())
				r.findings = append(r.findings, kindNotInFile.Found(dir, "").
					WithFix("put %s back into the file, or run: virtls revoke %s:%s && rm -r %s", e.Name(), kind, e.Name(), layout.ShellQuote(dir)))
			}
		}
	}
	for h, err := range r.file.Holders {
		if err != nil {
			return err
		}
		if !r.selected(h) || r.made[h.Dir()] {
			continue
		}
		if err := r.findStrays(h); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) hasKind(kind, name string) bool {
	if kind == "host" {
		return f.hosts[name] != nil
	}
	return f.clients[name] != nil
}

// findStrays reports the files of a holder's tree that are not asked for.
func (r *run) findStrays(h *Holder) error {
	wanted := r.wanted(h)
	root := r.staged(h, "")
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel := strings.TrimPrefix(p, root+string(filepath.Separator))
		if !wanted[rel] && !atomicfile.IsTemp(e.Name()) {
			r.findings = append(r.findings, kindFileNotWanted.Found(p, "").WithFix("if %s no longer needs it: rm %s", h.Name, layout.ShellQuote(p)))
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return kindStagedUnreadable.Found(root, "").Unable(err)
	}
	return nil
}

// wanted lists the files of a holder's tree, relative to it.
func (r *run) wanted(h *Holder) map[string]bool {
	files := map[string]bool{manifestName: true}
	add := func(p string) { files[strings.TrimPrefix(p, "/")] = true }
	for _, loc := range h.Locations {
		add(loc.CA())
		add(loc.CRL())
	}
	for _, id := range h.Identities {
		for _, p := range id.Places {
			add(p.Cert.Path)
			add(p.Key.Path)
		}
	}
	for name := range r.file.activation(h) {
		add(activationPath(name))
	}
	loc := h.pskLocation()
	for _, u := range r.file.PSK {
		if slices.Contains(u.Servers, h.Name) {
			add(path.Join(layout.PSKServer(loc), layout.PSKFile))
		}
		for _, s := range h.pskServers(&u) {
			add(path.Join(layout.PSKClient(loc, s), layout.PSKFile))
		}
	}
	return files
}
