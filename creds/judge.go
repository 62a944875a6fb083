package creds

import (
	"slices"
	"strings"
	"time"

	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// JudgeOptions say under which circumstances a consumer is to load files.
type JudgeOptions struct {
	Now  time.Time // by which validity is judged; the present if zero
	Root string    // where the consumer's root directory is; "/" if empty. Findings name paths below it

	// View shows the files, in the place of Root, as another user sees them.
	View layout.View

	Cache *Cache // of several judgements of the same files; may be nil

	Password      []byte // of encrypted keys, nil for none; QEMU's passwordid. libvirt takes none
	NoSanityCheck bool   // QEMU's sanity-check=off, libvirt's tls_no_sanity_certificate and no_sanity
}

// A Judgement is what a consumer makes of credential files.
type Judgement struct {
	Accepted bool      // the consumer loads them
	Problems []Problem // in the order in which the consumer would meet them
}

// A Problem is one thing that a consumer dislikes about credential files. A
// finding of severity error makes it refuse them: the real program stops at
// the first of those. Others it lets pass.
type Problem struct {
	Finding finding.Finding
	Text    string // what the consumer says of it, without what comes before and after; empty if nothing
}

// Refused returns the problem because of which the consumer refuses the files,
// nil if it accepts them.
func (j Judgement) Refused() *Problem {
	i := slices.IndexFunc(j.Problems, Problem.refuses)
	if i < 0 {
		return nil
	}
	return &j.Problems[i]
}

func (p Problem) refuses() bool { return p.Finding.Severity == finding.Error }

// Judge predicts whether the consumer would load the files, and what it would
// say of them: at the making of a credential object (QEMU), at the start of the
// daemon or before a client connects (libvirt). Unless there is a View it reads
// the files with the rights of the calling process. Sessions may still fail for
// other reasons.
func (c Consumer) Judge(f layout.Files, o JudgeOptions) Judgement {
	_, j := c.Load(f, o)
	return j
}

// Load is [Consumer.Judge] that also returns what could be loaded, so that more
// can be said of it: see [X509.Check]. A consumer that refuses the files uses
// nothing of it.
func (c Consumer) Load(f layout.Files, o JudgeOptions) (*X509, Judgement) {
	l := newLoader(c, f, o)
	l.load()
	l.x.Options = X509Options{Endpoint: c.Endpoint, NoSanityCheck: o.NoSanityCheck, Files: &f, Now: o.Now}
	return &l.x, l.judgement()
}

func (l *loader) judgement() Judgement {
	return Judgement{Accepted: !l.refused(), Problems: l.problems}
}

// A loader is the loading of files by a consumer. It goes on after problems as
// far as that makes sense, so that all are told at once.
type loader struct {
	Consumer
	files    layout.Files
	disk     disk
	now      time.Time
	password []byte
	sanity   bool

	x        X509
	problems []Problem
}

func newLoader(c Consumer, f layout.Files, o JudgeOptions) *loader {
	view, cache := o.View, o.Cache
	if cache == nil {
		cache = NewCache()
	}
	switch {
	case view != nil:
	case o.Root != "":
		view = layout.Root(o.Root)
	default:
		view = here{}
	}
	l := &loader{Consumer: c, files: f, disk: disk{view, cache}, now: o.Now, sanity: !o.NoSanityCheck}
	if !c.isLibvirt() {
		l.password = o.Password
	}
	if l.now.IsZero() {
		l.now = time.Now()
	}
	l.now = l.now.Truncate(time.Second)
	return l
}

func (l *loader) load() {
	switch {
	case l.isLibvirt() && l.ParallelIdentities:
		l.loadLibvirt()
	case l.isLibvirt():
		l.loadOldLibvirt()
	case l.WholeChain:
		l.loadQEMU()
	default:
		l.loadOldQEMU()
	}
}

func (l *loader) refused() bool { return l.refusals() > 0 }

// plain is the pair of the plain file names.
func (l *loader) plain() layout.Pair {
	if len(l.files.Pairs) == 0 {
		return layout.Pair{Index: layout.NoIndex}
	}
	return l.files.Pairs[0]
}

// problem notes a problem that the consumer has with a file, once.
func (l *loader) problem(f finding.Finding, text string) {
	if f.By == "" && f.Severity == finding.Error {
		f.By = l.Consumer.String()
	}
	if slices.ContainsFunc(l.problems, func(p Problem) bool {
		return p.Finding.Code == f.Code && p.Finding.Subject == f.Subject && p.Finding.Got == f.Got
	}) {
		return
	}
	l.problems = append(l.problems, Problem{f, strings.TrimSuffix(text, ": ")})
}

// refusals counts the problems that refuse the files, so that a check can tell
// whether those before it have found the cause of what it finds.
func (l *loader) refusals() (n int) {
	for _, p := range l.problems {
		if p.refuses() {
			n++
		}
	}
	return n
}

// checkedAnchors are the certificates that the sanity check looks at.
func (l *loader) checkedAnchors() []*pki.Certificate {
	if n := l.CheckedAnchors; n > 0 && len(l.x.Anchors) > n {
		return l.x.Anchors[:n]
	}
	return l.x.Anchors
}
