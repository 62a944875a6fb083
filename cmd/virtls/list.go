package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/fleet"
	"virtls/layout"
)

type listCmd struct {
	Text           string `arg:"" optional:"" help:"Part of a holder, subject or name, or the beginning of a serial number."`
	ExpiringWithin string `help:"Only what is valid and ends within a time, such as 30d or 12h." placeholder:"TIME"`
	Holder         string `help:"Only the certificates of a holder, such as host:kvm1.example.com." placeholder:"HOLDER" complete:"holder"`
	Current        bool   `help:"Only the newest certificate of each identity."`
	Valid          bool   `help:"Only what is neither revoked nor expired."`
	Fleet          string `help:"Fleet file, beside which the state directory is." default:"fleet.yaml" placeholder:"FILE"`
}

func (*listCmd) Help() string {
	return `Reads the register, in which every certificate that was ever issued stands, with who asked for it and
how. It can be read while another virtls works.

Examples:
  virtls list
  virtls list kvm1
  virtls list --expiring-within 30d --current --json`
}

type listRow struct {
	Serial      string    `json:"serial"`
	Holder      string    `json:"holder,omitempty"`
	Slot        string    `json:"slot,omitempty"`
	Subject     string    `json:"subject"`
	Names       []string  `json:"names,omitempty"`
	Key         string    `json:"key,omitempty"`
	Authority   string    `json:"authority"`
	NotBefore   time.Time `json:"notBefore,omitzero"` // unknown of what was seen in another's list alone
	NotAfter    time.Time `json:"notAfter,omitzero"`
	DaysLeft    *int      `json:"daysLeft,omitempty"`
	Fingerprint string    `json:"sha256,omitempty"`
	How         string    `json:"how"`
	By          string    `json:"by"`
	Command     string    `json:"command"`
	Revoked     string    `json:"revoked,omitempty"` // reason
	RevokedAt   string    `json:"revokedAt,omitempty"`
	State       string    `json:"state"` // valid, expired, or "revoked: REASON"
}

func rowOf(c *register.Certificate, now time.Time) listRow {
	row := listRow{
		Serial: c.Serial, Holder: c.Holder, Slot: c.Slot, Subject: c.Subject, Names: c.Names, Key: c.KeyType,
		Authority: c.Authority, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Fingerprint: c.Fingerprint, How: string(c.How), By: c.Event.By, Command: c.Event.Command, State: "valid",
	}
	if !c.NotAfter.IsZero() {
		days := fleet.DaysLeft(c.NotAfter, now)
		row.DaysLeft = &days
	}
	switch {
	case c.Revoked != nil:
		row.Revoked, row.RevokedAt = c.Revoked.Reason.String(), c.Revoked.At.UTC().Format(time.RFC3339)
		row.State = "revoked: " + row.Revoked
	case now.After(c.NotAfter):
		row.State = "expired"
	}
	return row
}

func (c *listCmd) Run(a *app, g *Globals) error {
	now := time.Now()
	filter := register.Filter{Text: c.Text, Holder: c.Holder, Current: c.Current, Valid: c.Valid || c.ExpiringWithin != ""}
	if filter.Valid {
		filter.ExpiresAfter = now
	}
	if c.ExpiringWithin != "" {
		within, err := parseSpan(c.ExpiringWithin)
		if err != nil {
			return kindUsage.Found("--expiring-within", "").WithText("%v", err).Usage()
		}
		filter.ExpiresBefore = now.Add(within)
	}
	if c.Holder != "" && !strings.Contains(c.Holder, ":") {
		return kindUsage.Found("--holder", "").WithText("%.80q has neither host: nor client: before it", c.Holder).
			WithFix("virtls list --holder %s, or virtls list %[2]s for all that has to do with it",
				layout.ShellQuote("host:"+c.Holder), layout.ShellQuote(c.Holder)).Usage()
	}
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer state.Close()
	out := newListWriter(a, state.Findings())
	for entry, err := range state.Register().List(a.ctx, filter) {
		if err != nil {
			if out.n > 0 {
				out.end()
			}
			return err
		}
		if err := out.add(rowOf(&entry, now)); err != nil {
			return err
		}
	}
	if err := out.end(); err != nil {
		return err
	}
	return a.judge(state.Findings())
}

// maxDays are those that time.Duration can hold.
const maxDays = float64(math.MaxInt64 / (24 * time.Hour))

// parseSpan reads a time span: Go's forms, and days.
func parseSpan(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err == nil && n >= 0 && n <= maxDays {
			return time.Duration(n * 24 * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a time span: want something like 30d, 12h or 90m", s)
	}
	return d, nil
}

// A listWriter prints rows as they come, so that a register of any size can be
// listed. Columns are as wide as their usual content.
type listWriter struct {
	app      *app
	findings []finding.Finding
	table    *tabwriter.Writer // nil for JSON
	n        int
}

func newListWriter(a *app, findings []finding.Finding) *listWriter {
	w := &listWriter{app: a, findings: findings}
	if !a.json {
		w.table = tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	}
	return w
}

// begin writes what stands before the rows of a JSON document.
func (w *listWriter) begin() error {
	head, err := finding.JSON(finding.NewReport(w.findings))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.app.stdout, "%s,\n  \"certificates\": [", bytes.TrimSuffix(head, []byte("\n}\n")))
	return err
}

func (w *listWriter) add(row listRow) error {
	w.n++
	if w.table != nil {
		// A block at a time, so that memory does not grow with the list.
		if w.n%1000 == 1 {
			w.table.Flush()
			fmt.Fprintln(w.table, listHeader)
		}
		return writeListRow(w.table, row)
	}
	sep := ",\n    "
	if w.n == 1 {
		if err := w.begin(); err != nil {
			return err
		}
		sep = "\n    "
	}
	b, err := json.Marshal(row)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.app.stdout, "%s%s", sep, b)
	return err
}

func (w *listWriter) end() error {
	if w.table == nil {
		if w.n == 0 {
			if err := w.begin(); err != nil {
				return err
			}
		}
		_, err := fmt.Fprint(w.app.stdout, "\n  ]\n}\n")
		return err
	}
	if w.n == 0 {
		w.app.printf("Nothing found.\n")
	}
	return w.table.Flush()
}

const listHeader = "SERIAL\tHOLDER\tIDENTITY\tSUBJECT\tUNTIL\tDAYS\tHOW\tSTATE"

func writeListRow(w io.Writer, r listRow) error {
	until, days := "-", "-"
	if r.DaysLeft != nil {
		until, days = r.NotAfter.UTC().Format(time.DateOnly), strconv.Itoa(*r.DaysLeft)
	}
	// A certificate that another authority's index brought along may have any subject.
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Serial, cmp.Or(oneLine(r.Holder), "-"), cmp.Or(r.Slot, "-"), cmp.Or(oneLine(r.Subject), "-"), until, days, r.How, r.State)
	return err
}

func writeList(out io.Writer, rows []listRow) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, listHeader)
	for _, r := range rows {
		writeListRow(w, r)
	}
	w.Flush()
}
