package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"virtls/ca"
	"virtls/finding"
	"virtls/fleet"
)

type statusCmd struct {
	Fleet string   `arg:"" help:"Fleet file." default:"fleet.yaml" placeholder:"FLEET"`
	All   bool     `help:"List every identity of a large fleet, not only those that need something."`
	Only  []string `help:"Only these hosts and clients." placeholder:"NAME" complete:"name"`
}

func (*statusCmd) Help() string {
	return `Reads the staged trees and the register, changes nothing and needs no passphrase. Exits with 1 if
something is missing, expired, revoked or not as the fleet file says; what is only due for renewal is a
warning.

Examples:
  virtls status fleet.yaml
  virtls status --json fleet.yaml`
}

type statusReport struct {
	finding.Report
	Authorities []fleet.AuthorityRow `json:"authorities"`
	Identities  []fleet.StatusRow    `json:"identities"`
}

func (c *statusCmd) Run(a *app, g *Globals) error {
	file, err := a.load(c.Fleet)
	if err != nil {
		return err
	}
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer state.Close()
	report := statusReport{Identities: []fleet.StatusRow{}}
	total := 0
	holders := len(file.Hosts) + len(file.Clients)
	if len(c.Only) > 0 {
		holders = len(c.Only)
	}
	small := c.All || a.json || 2*holders <= tableRows
	authorities, findings, err := fleet.Status(a.ctx, file, state, c.Only, func(row fleet.StatusRow) {
		total++
		if small || row.State != "ok" {
			report.Identities = append(report.Identities, row)
		}
	})
	if err != nil {
		return err
	}
	report.Report, report.Authorities = finding.NewReport(findings), authorities
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
		return a.judge(findings)
	}
	printAuthorities(a.stdout, authorities)
	writeStatus(a.stdout, report.Identities)
	a.printf("\n%s%s.\n", count(total, "identity", "identities"), left(total-len(report.Identities)))
	return a.judge(findings)
}

// left says what the table of a large fleet leaves out.
func left(ok int) string {
	if ok == 0 {
		return ""
	}
	return fmt.Sprintf(", of which %d are ok and not listed; --all lists them, too", ok)
}

func printAuthorities(w io.Writer, authorities []fleet.AuthorityRow) {
	for _, authority := range authorities {
		made := ""
		if authority.Made {
			made = ", made now"
		}
		fmt.Fprintf(w, "authority %s (%s%s)\n  %s, until %s\n", oneLine(authority.Subject), authority.Key, made, tilde(authority.Path), day(authority.Until))
	}
}

func writeStatus(out io.Writer, rows []fleet.StatusRow) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOLDER\tIDENTITY\tUNTIL\tDAYS\tSTATE\tFILE")
	for _, r := range rows {
		days := fmt.Sprint(r.DaysLeft)
		if r.Until == "" {
			days = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", holderName(r.Holder), r.Slot, day(r.Until), days, r.State, tilde(r.Path))
	}
	w.Flush()
}
