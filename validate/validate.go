package validate

import (
	"cmp"
	"context"
	"time"

	"virtls/finding"
	"virtls/layout"
	"virtls/layout/access"
)

// Options say what is judged, for whom and when. The zero value is right for most.
type Options struct {
	For     []string // consumers by their names; none: those whose files are there
	Against []string // versions of them, such as "11.1" or "libvirt 12.8"; none: every one that is known

	Now  time.Time     // by which validity is judged; the present if zero
	Soon time.Duration // what ends within this time ends soon; 30 days if zero, and never more than a third of its life

	// Hostnames are the names and addresses by which peers reach the host, each
	// of which a server's certificate should have. Machine adds the machine's.
	Hostnames []string

	As       string         // the user as whom consumers run, instead of the usual one
	Profile  access.Profile // an opinion on owners and modes; none: only what they bring about
	Password []byte         // of encrypted keys, which QEMU can be told
	MLDSA    bool           // the consumers' GnuTLS can compute ML-DSA

	Root layout.Root // where Machine's root directory is; "/" if empty
}

// A Verdict is what one consumer makes of one set of files.
type Verdict struct {
	Subject  string   `json:"subject"`  // the directory
	Consumer string   `json:"consumer"` // "qemu-server" and so on
	Version  string   `json:"version"`
	Accepted bool     `json:"accepted"`
	Because  []string `json:"because"`        // codes of the findings for which it is refused
	Says     string   `json:"says,omitempty"` // what the program says then
}

// A Certificate is one that was found on the way.
type Certificate struct {
	File     string    `json:"file"`
	Use      string    `json:"use"` // "server", "client", "authority", "revocation list"
	Subject  string    `json:"subject"`
	Serial   string    `json:"serial,omitempty"`
	NotAfter time.Time `json:"notAfter"` // of a revocation list: when the next one is due
	DaysLeft float64   `json:"daysLeft"`
}

// A Result is all that was found.
type Result struct {
	Verdicts     []Verdict
	Findings     []finding.Finding
	Certificates []Certificate
	Hosts        int      // how many roots and directories were looked at
	Unjudged     []string // files that this process may not read, for which there is no verdict
}

// Accepted tells whether there are verdicts, all of them good.
func (r *Result) Accepted() bool {
	for _, v := range r.Verdicts {
		if !v.Accepted {
			return false
		}
	}
	return len(r.Verdicts) > 0
}

// With returns the results of two looks as one. r may be nil.
func (r *Result) With(more *Result) *Result {
	if r == nil {
		return more
	}
	r.Verdicts = append(r.Verdicts, more.Verdicts...)
	r.Findings = append(r.Findings, more.Findings...)
	r.Certificates = append(r.Certificates, more.Certificates...)
	r.Unjudged = append(r.Unjudged, more.Unjudged...)
	r.Hosts += more.Hosts
	return r
}

// usualSoon is the time before its end in which something ends soon.
const usualSoon = 30 * 24 * time.Hour

// A run is one call of Machine or Dir.
type run struct {
	ctx  context.Context
	o    Options
	rows rows
}

func newRun(ctx context.Context, o Options) (*run, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Soon == 0 {
		o.Soon = usualSoon
	}
	table, err := o.table()
	if err != nil {
		return nil, err
	}
	return &run{ctx, o, table}, nil
}

// Machine judges what is on a machine: libvirt's and QEMU's credentials, those
// of libvirt's services and those in home directories. The error is a
// *[finding.Failure].
func Machine(ctx context.Context, o Options) (*Result, error) {
	r, err := newRun(ctx, o)
	if err != nil {
		return nil, err
	}
	t, err := r.tree(cmp.Or(o.Root, "/"))
	if err != nil {
		return nil, err
	}
	if t.root == "/" {
		t.names = append(t.names, machineNames()...)
	}
	t.judgeHost()
	if t.empty() {
		t.note(kindNothing.Found(string(t.root), "").WithSeverity(finding.Info))
	}
	r.judgeFleet([]*tree{t})
	return r.result([]*tree{t}), ctx.Err()
}
