package validate

import (
	"maps"
	"slices"

	"virtls/creds"
	"virtls/finding"
	"virtls/layout"
)

// judge asks every release about a set and notes what they say.
func (t *tree) judge(s *set) {
	list := t.rows[s.consumer]
	if len(list) == 0 {
		return
	}
	t.sets = append(t.sets, s)
	view := t.viewOf(s.who)
	var judged []judgement
	var last judgement
	for i, row := range list {
		use, said, refused := s.use(row)
		if slices.ContainsFunc(said, t.keptFrom) {
			// Where its files are is not known.
			if s.inv == nil {
				s.inv = newInventory(use.Files, view, t.o.Password)
			}
			return
		}
		for _, f := range said {
			t.noteBy(f, s.consumer, i)
		}
		if s.inv == nil || !sameFiles(s.inv.files, use.Files) {
			s.inv = newInventory(use.Files, view, t.o.Password)
		}
		last = judgement{caps: s.inv.relevant(row.Capabilities), inv: s.inv, by: row.String()}
		if at := slices.IndexFunc(judged, func(j judgement) bool { return j.caps == last.caps && j.inv == last.inv }); at >= 0 {
			last = judged[at]
		} else {
			last.x, last.Judgement = row.Load(use.Files, creds.JudgeOptions{Now: t.o.Now, View: view, Cache: view.loads, Password: t.o.Password, NoSanityCheck: !use.Sanity})
			judged = append(judged, last)
		}
		t.verdict(s, i, last, refused)
	}
	if t.unseen(s.inv.files) {
		return
	}
	for _, f := range last.x.Check(t.o.Now) {
		switch {
		case f.Code == "cert-subject-empty": // of names, checkPair says more
		case f.Code == "crl-foreign" && s.inv.anchors == nil: // which is told
		default:
			t.note(f)
		}
	}
	t.check(s, s.inv)
}

// A judgement is that of all releases with the same capabilities.
type judgement struct {
	creds.Judgement
	x    *creds.X509
	caps creds.Capabilities
	inv  *inventory
	by   string // the first of them, by which its findings are
}

// verdict notes one release's judgement.
func (t *tree) verdict(s *set, i int, j judgement, refused []string) {
	row, inv := t.rows[s.consumer][i], j.inv
	if t.unseen(inv.files) {
		return
	}
	v := Verdict{Subject: t.at(s.dir), Consumer: s.consumer, Version: row.label, Accepted: j.Accepted && len(refused) == 0, Because: slices.Clone(refused)}
	if v.Because == nil {
		v.Because = []string{}
	}
	if p := j.Refused(); p != nil {
		v.Says = p.Text
	}
	for _, p := range hide(refine(j.Problems, row, inv), inv.files) {
		f := p.Finding
		denied := f.Code == "credential-unreadable" && t.denied(s, f.Subject)
		if denied {
			f.Code = kindDenied
		}
		if p.refuses && !slices.Contains(v.Because, f.Code) {
			v.Because = append(v.Because, f.Code)
		}
		if denied {
			continue // the rights are judged on their own
		}
		if f.By != "" && f.By != j.by {
			t.note(f)
			continue
		}
		f.By = ""
		t.noteBy(f, s.consumer, i)
	}
	t.verdicts = append(t.verdicts, v)
}

func sameFiles(a, b layout.Files) bool {
	same := slices.Equal(a.Pairs, b.Pairs)
	a.Pairs, b.Pairs = nil, nil
	return same && a.Service == b.Service && a.Role == b.Role && a.Dir == b.Dir && a.CA == b.CA && a.CRL == b.CRL && a.DH == b.DH &&
		a.Named == b.Named && a.CRLNamed == b.CRLNamed
}

// unseen tells whether this process was kept from a file that counts.
func (t *tree) unseen(f layout.Files) bool {
	return slices.ContainsFunc(t.unjudged(), func(name string) bool {
		return name == f.CA || slices.ContainsFunc(f.Pairs, func(p layout.Pair) bool { return p.Cert == name || p.Key == name })
	})
}

// keptFrom tells whether a finding says no more than that this process may not
// read a configuration, which its daemon can.
func (t *tree) keptFrom(f finding.Finding) bool {
	return f.Code == "conf-unreadable" && slices.Contains(t.unjudged(), f.Subject)
}

// unjudged are the files that this process was kept from. A single directory is
// judged with the rights of whoever asks.
func (t *tree) unjudged() []string {
	if t.plain && t.as == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(t.view.blind))
}
