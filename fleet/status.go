package fleet

import (
	"context"
	"math"
	"strings"
	"time"

	"virtls/ca"
	"virtls/finding"
)

var (
	kindNotThere = finding.Define("certificate-missing", finding.Error,
		"a certificate that the fleet file asks for is not there", "run virtls apply")
	kindOutdated = finding.Define("certificate-outdated", finding.Error,
		"a certificate is not what the fleet file asks for", "run virtls apply")
	kindExpiredLeaf = finding.Define("certificate-expired", finding.Error,
		"a certificate has expired", "run virtls apply, which renews it, and put the new one in place")
	kindDue = finding.Define("certificate-due", finding.Warning,
		"a certificate is due for renewal", "run virtls apply, and put the new one in place")
	kindAuthorityEnds = finding.Define("authority-ends-soon", finding.Warning,
		"the authority ends within a year, and everything that it issues with it", "plan its replacement: virtls ca show tells when it ends")
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
// wrong. Nothing is changed.
func Status(ctx context.Context, file *File, state *ca.State, only []string, row func(StatusRow)) ([]AuthorityRow, []finding.Finding, error) {
	r, err := newRun(file, state, Options{Only: only})
	if err != nil {
		return nil, nil, err
	}
	authorities, err := r.loadAuthorities(ctx)
	if err != nil {
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
		r.ca[name] = a
		r.findings = append(r.findings, a.Findings...)
		rows = append(rows, authorityRow(a))
		if left := a.Certificate.NotAfter.Sub(r.state.Now()); left < 365*24*time.Hour {
			r.findings = append(r.findings, kindAuthorityEnds.Found(a.CertificatePath(), day(a.Certificate.NotAfter)))
		}
	}
	return rows, nil
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
	kind := kindOutdated
	switch {
	case j.Certificate == nil:
		kind = kindNotThere
	case strings.HasPrefix(j.Why, whyExpired):
		kind = kindExpiredLeaf
	case strings.HasPrefix(j.Why, whyDue):
		kind = kindDue
	}
	r.findings = append(r.findings, kind.Found(path, j.Why))
	return row
}
