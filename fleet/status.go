package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"virtls/ca"
	"virtls/finding"
	"virtls/pki"
)

var (
	kindNotThere = finding.Define("certificate-missing", finding.Error,
		"a certificate that the fleet file asks for is not there, or not with its key", "run virtls apply")
	kindOutdated = finding.Define("certificate-outdated", finding.Error,
		"a certificate is not what the fleet file asks for", "run virtls apply")
	kindExpiredLeaf = finding.Define("certificate-expired", finding.Error,
		"a certificate has expired", "run virtls apply, which renews it, and put the new one in place")
	kindDue = finding.Define("certificate-due", finding.Warning,
		"a certificate is due for renewal", "run virtls apply, and put the new one in place")
	kindAuthorityEnds = finding.Define("authority-ends-soon", finding.Warning,
		"the authority ends within a year, and everything that it issues with it", "renew it with virtls ca renew, or replace it as docs/guide/ca.md says")
	kindAuthorityDiffers = finding.Define("authority-differs", finding.Warning,
		"the fleet file describes another authority than there is; an authority is made once, and not changed by the file",
		"correct the line, or replace the authority as docs/guide/ca.md says")
	kindFileMissing = finding.Define("staged-file-missing", finding.Error,
		"a file that the host or client needs is not there", "run virtls apply")
	kindFileOutdated = finding.Define("staged-file-outdated", finding.Error,
		"a file is not what the fleet file asks for, or was altered", "run virtls apply, and put the new one in place")
	kindFileMode = finding.Define("staged-file-mode", finding.Error,
		"a file or directory has another mode than it must have on the host", "run virtls apply")
)

// A StatusRow is one identity as it is staged.
type StatusRow struct {
	Holder   string `json:"holder"`
	Slot     string `json:"slot"`
	Path     string `json:"path"`  // staged certificate file
	State    string `json:"state"` // ok, or what it needs
	Until    string `json:"until,omitempty"`
	DaysLeft int    `json:"daysLeft"`
}

// Status yields every identity of the fleet as it is, and returns what is
// wrong with them and with every other staged file. Nothing is changed.
func Status(ctx context.Context, file *File, state *ca.State, only []string, row func(StatusRow)) ([]AuthorityRow, []finding.Finding, error) {
	r, err := newRun(file, state, Options{Only: only})
	if err != nil {
		return nil, nil, err
	}
	authorities, err := r.loadAuthorities(ctx)
	if err != nil {
		return authorities, r.findings, err
	}
	if err := r.loadStatus(ctx); err != nil {
		return authorities, r.findings, err
	}
	for h, err := range file.Holders {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return authorities, r.findings, err
		}
		if !r.selected(h) {
			continue
		}
		r.checkPQC(h)
		for i := range h.Identities {
			j, err := r.judge(ctx, h, &h.Identities[i])
			if err != nil {
				return authorities, r.findings, err
			}
			row(r.status(h, j))
		}
		if err := r.fileStatus(h); err != nil {
			return authorities, r.findings, err
		}
	}
	return authorities, r.findings, r.findOrphans()
}

// loadAuthorities loads the authorities that are there.
func (r *run) loadAuthorities(ctx context.Context) ([]AuthorityRow, error) {
	var rows []AuthorityRow
	for _, name := range r.file.authorityNames() {
		a, err := r.state.Authority(ctx, name)
		if err != nil {
			return rows, err
		}
		r.found(name, a)
		rows = append(rows, authorityRow(a))
	}
	return rows, nil
}

// found notes an authority, and what is worth knowing about it.
func (r *run) found(name string, a *ca.Authority) {
	r.ca[name] = a
	r.findings = append(r.findings, a.Findings...)
	if err := a.CheckTime(); err != nil {
		r.findings = append(r.findings, finding.Of(err))
	} else if left := a.End().Sub(r.state.Now()); left < 365*24*time.Hour {
		f := kindAuthorityEnds.Found(a.CertificatePath(), day(a.End()))
		if !a.Certificate.SelfIssued() {
			f = f.WithFix("have its parent sign a new certificate for the same key, and run: virtls ca install ANSWER PARENT...")
		}
		r.findings = append(r.findings, f)
	}
	r.compare(name, a)
	for _, c := range r.trust {
		if c.Subject.Equal(a.Certificate.Subject) && !bytes.Equal(c.PublicKey.Raw, a.Certificate.PublicKey.Raw) {
			r.findings = append(r.findings, kindTrustSameName.Found(r.file.at("authority.trust"), c.Subject.String()))
		}
	}
}

// compare says if the authority is not the one that the fleet file describes:
// it is made once, whatever is written there later. What the file does not say
// is not compared, so that one that was taken over needs no description.
func (r *run) compare(name string, a *ca.Authority) {
	spec, err := r.file.authoritySpec(name, nil)
	if err != nil {
		return
	}
	differs := func(field, have, described string) {
		if path := "authority." + field; have != described && r.file.lines[path] > 0 {
			r.findings = append(r.findings, kindAuthorityDiffers.Found(r.file.at(path), described).WithWant(have, a.CertificatePath()))
		}
	}
	differs("name", a.Certificate.Subject.CommonName(), spec.Subject.CommonName())
	if name == ClassicalAuthority {
		differs("key", pki.KeySpecOf(a.Certificate.PublicKey.Key).String(), spec.Key.String())
	}
}

// loadStatus loads what files are compared with.
func (r *run) loadStatus(ctx context.Context) error {
	if err := r.loadCRLs(); err != nil {
		return err
	}
	for _, name := range r.file.authorityNames() {
		due, err := r.ca[name].CRLDue(ctx)
		if err != nil {
			return err
		}
		if due == nil {
			continue
		}
		r.findings = append(r.findings, due.WithFix("%s", r.file.applied()))
		if due.Severity == finding.Error {
			clear(r.crls) // what belongs in the trees is known after the next list
		}
	}
	servers, err := r.neededPSKServers()
	if err != nil {
		return err
	}
	return r.loadPSK(servers)
}

// fileStatus reports the files of a holder, other than certificates and keys,
// that Apply would write, and all whose mode it would set. Of a holder that has
// nothing yet, its certificates say it.
func (r *run) fileStatus(h *Holder) error {
	if _, err := os.Stat(r.staged(h, "")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	docs, err := r.documents(h)
	if err != nil {
		return err
	}
	report := func(f finding.Finding) { r.findings = append(r.findings, f.WithFix("%s", r.file.applied())) }
	altered := false
	for _, d := range docs {
		have, err := r.readStaged(h, d.entry.Path)
		path := r.staged(h, d.entry.Path)
		switch {
		case err != nil:
			return err
		case have == nil:
			report(kindFileMissing.Found(path, "no such file"))
		case altered && d.entry.Path == manifestName:
			// It holds the others' hashes.
		case !bytes.Equal(have, d.data) && r.known(h, d):
			altered = true
			report(kindFileOutdated.Found(path, ""))
		}
	}
	wrong, err := r.wrongModes(h, h.entries(docs))
	for _, e := range wrong {
		report(kindFileMode.Found(r.staged(h, e.Path), fmt.Sprintf("mode %04o", e.have)).WithWant(fmt.Sprintf("mode %04o", e.Mode), ""))
	}
	return err
}

// known tells whether it is known before doing what a document is to be.
// Revocation lists that are yet to be signed are not, nor the manifest, which
// has their hashes.
func (r *run) known(h *Holder, d document) bool {
	return r.crls[h.PQC] != nil || d.entry.Path != manifestName && d.entry.Path != d.loc.CRL()
}

// DaysLeft counts the whole days until a time; what is over has less than none.
func DaysLeft(until, now time.Time) int {
	return int(math.Floor(until.Sub(now).Hours() / 24))
}

// status turns a judgment into a row, and into a finding if something is wrong.
func (r *run) status(h *Holder, j Judgment) StatusRow {
	path := r.staged(h, j.Identity.Places[0].Cert.Path)
	row := StatusRow{Holder: h.ID(), Slot: j.Identity.Slot, Path: path, State: "ok"}
	if j.Certificate != nil {
		row.Until = j.Certificate.NotAfter.UTC().Format(time.RFC3339)
		row.DaysLeft = DaysLeft(j.Certificate.NotAfter, r.state.Now())
	}
	if j.Verdict == Keep {
		return row
	}
	row.State = j.Why
	kind, fix := kindOutdated, r.file.applied()
	switch {
	case j.Certificate == nil:
		kind = kindNotThere
	case strings.HasPrefix(j.Why, whyExpired):
		kind, fix = kindExpiredLeaf, fix+", which renews it; then put the new one in place"
	case strings.HasPrefix(j.Why, whyDue):
		kind, fix = kindDue, fix+", which renews it; then put the new one in place"
	}
	r.findings = append(r.findings, kind.Found(path, j.Why).WithFix("%s", fix))
	return row
}
