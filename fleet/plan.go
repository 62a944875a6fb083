package fleet

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"virtls/ca"
	"virtls/finding"
)

// A Change is one thing that Apply would do.
type Change struct {
	Action string `json:"action"` // create, update, issue, renew, copy
	Holder string `json:"holder,omitempty"`
	Slot   string `json:"slot,omitempty"`
	Path   string `json:"path"` // staged file
	Why    string `json:"why,omitempty"`
	Diff   string `json:"diff,omitempty"` // unified, of settings that change
}

// Plan yields what Apply would do and changes nothing. state is nil if there
// is no state directory yet; dir is where it would be. The findings are those
// known without doing.
func Plan(ctx context.Context, file *File, state *ca.State, dir string, opts Options, change func(Change)) ([]finding.Finding, error) {
	r, err := newRun(file, state, opts)
	if err != nil {
		return nil, err
	}
	r.dir = dir
	p := planner{run: r, change: change, newCRL: map[string]bool{}}
	if err := p.authorities(ctx); err != nil {
		return r.findings, err
	}
	servers, err := r.neededPSKServers()
	if err != nil {
		return r.findings, err
	}
	if err := r.loadPSK(servers); err != nil {
		return r.findings, err
	}
	for _, h := range servers {
		if r.selected(h) {
			continue
		}
		docs, err := r.pskServed(h)
		if err == nil {
			err = p.documents(h, docs)
		}
		if err != nil {
			return r.findings, err
		}
	}
	for h, err := range file.Holders {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return r.findings, err
		}
		if !r.selected(h) {
			continue
		}
		r.checkPQC(h)
		if err := p.holder(ctx, h); err != nil {
			return r.findings, err
		}
	}
	if file.PQC == PQCHybrid {
		r.findings = append(r.findings, kindDowngrade.Found(file.at("pqc"), ""))
	}
	return r.findings, r.findOrphans()
}

type planner struct {
	run    *run
	change func(Change)
	newCRL map[string]bool // authorities whose revocation list is due
}

func (p *planner) authorities(ctx context.Context) error {
	for _, name := range p.run.file.authorityNames() {
		if p.run.state != nil {
			a, err := p.run.state.Authority(ctx, name)
			if err == nil {
				p.run.found(name, a)
				due, err := a.CRLDue(ctx)
				if err != nil {
					return err
				}
				if due != nil {
					p.change(Change{Action: "update", Path: a.CRLPath(), Why: due.Got})
					p.newCRL[name] = true
				}
				continue
			}
			if !ca.IsMissing(err) {
				return err
			}
		}
		p.change(Change{Action: "create", Path: filepath.Join(p.run.dir, "ca", name+"-cert.pem"), Why: "there is no authority yet"})
	}
	if err := p.run.loadCRLs(); err != nil {
		return err
	}
	// What a list that is yet to be signed will be is not known: it differs from what is staged.
	for _, pqc := range []bool{false, true} {
		if slices.ContainsFunc(p.run.file.trusted(pqc), func(name string) bool { return p.newCRL[name] }) {
			p.run.crls[pqc] = nil
		}
	}
	return nil
}

func (p *planner) holder(ctx context.Context, h *Holder) error {
	for i := range h.Identities {
		j, err := p.run.judge(ctx, h, &h.Identities[i])
		if err != nil {
			return err
		}
		c := Change{Holder: h.ID(), Slot: j.Identity.Slot, Why: j.Why, Path: p.run.staged(h, j.Identity.Places[0].Cert.Path)}
		switch {
		case j.Verdict == Copy:
			for _, place := range j.Missing {
				c.Action, c.Path = "copy", p.run.staged(h, place.Cert.Path)
				p.change(c)
			}
		case j.Verdict == Issue && j.Certificate != nil:
			c.Action = "renew"
			p.change(c)
		case j.Verdict == Issue:
			c.Action = "issue"
			p.change(c)
		}
	}
	docs, err := p.run.documents(h)
	if err != nil {
		return err
	}
	if err := p.documents(h, docs); err != nil {
		return err
	}
	return p.modes(h, docs)
}

// documents reports the files that would be written. A file whose content is
// not known before doing is reported without it.
func (p *planner) documents(h *Holder, docs []document) error {
	docs, err := p.run.changed(h, docs)
	if err != nil {
		return err
	}
	for _, d := range docs {
		have, err := p.run.readStaged(h, d.entry.Path)
		if err != nil {
			return err
		}
		c := Change{Action: "update", Holder: h.ID(), Path: p.run.staged(h, d.entry.Path)}
		if have == nil {
			c.Action = "create"
		} else if strings.HasPrefix(d.entry.Path, activationDir+"/") {
			c.Diff = string(diff.Diff(c.Path, have, c.Path, d.data))
		}
		p.change(c)
	}
	return nil
}

// modes reports the files whose mode would be set.
func (p *planner) modes(h *Holder, docs []document) error {
	wrong, err := p.run.wrongModes(h, h.entries(docs))
	for _, e := range wrong {
		p.change(Change{Action: "update", Holder: h.ID(), Path: p.run.staged(h, e.Path), Why: fmt.Sprintf("its mode is to be %04o", e.Mode)})
	}
	return err
}

// PrintChange writes a change for people: a line, and the difference of text files.
func PrintChange(w io.Writer, c Change) error {
	mark := map[string]string{"create": "+", "issue": "+", "update": "~", "renew": "~", "copy": "+"}[c.Action]
	line := mark + " " + c.Action + " " + c.Path
	if c.Why != "" {
		line += "  (" + c.Why + ")"
	}
	if _, err := io.WriteString(w, line+"\n"); err != nil {
		return err
	}
	if c.Diff == "" {
		return nil
	}
	_, err := io.WriteString(w, c.Diff)
	return err
}
