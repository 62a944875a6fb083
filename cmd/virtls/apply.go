package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"virtls/ca"
	"virtls/finding"
	"virtls/fleet"
	"virtls/layout"
)

type applyCmd struct {
	Fleet string   `arg:"" help:"Fleet file." default:"fleet.yaml" placeholder:"FLEET"`
	Prove string   `help:"Handshakes that prove the result: each identity once in each role with a representative of its peers, all pairs, or none." enum:"each,all,none" default:"each" placeholder:"WHICH"`
	Only  []string `help:"Only these hosts and clients." placeholder:"NAME" complete:"name"`

	Install string `help:"Put this host's staged tree on this machine when all is done, with owners, modes and labels." placeholder:"HOST" complete:"name"`
	Root    string `help:"With --install: the root directory to install below." default:"/" placeholder:"DIR"`
	PassphraseFlags
}

func (*applyCmd) Help() string {
	return `Makes the state directory match the fleet file: makes the authority if there is none, issues what is
missing or due, lays it out as QEMU and libvirt want it under STATE/hosts/HOST and STATE/clients/NAME,
writes beside it what activates it, and proves the credentials by TLS handshakes.

It can be run again at any time: what is right is left alone. A run that is interrupted or killed leaves
nothing half done, and the next one does the rest.

Examples:
  virtls apply fleet.yaml
  virtls apply --no-passphrase examples/fleet.yaml
  virtls apply --only kvm1.example.com --prove all fleet.yaml
  virtls apply --install kvm1.example.com fleet.yaml`
}

func (c *applyCmd) Run(a *app, g *Globals) error {
	file, err := a.load(c.Fleet)
	if err != nil {
		return err
	}
	switch {
	case c.Install != "":
		if err := file.CheckHolder(c.Install); err != nil {
			return err
		}
		if info, err := os.Stat(c.Root); err != nil || !info.IsDir() {
			return kindUnreadable.Found(c.Root, "").WithText("the root directory to install below is not there").WithFix("name a directory that is there with --root").Unable(err)
		}
	case c.Root != "/":
		return kindUsage.Found("--root", "").WithText("--root is the directory to install below, and nothing is to be installed").
			WithFix("name the host with --install HOST").Usage()
	}
	return a.apply(g, file, c.Fleet, c.PassphraseFlags, fleet.Options{Prove: fleet.ProveLevel(c.Prove), Only: c.Only},
		func(state *ca.State, report *applyReport) error {
			if c.Install == "" {
				return nil
			}
			return a.install(file, state, c.Install, c.Root, report)
		})
}

// apply is what apply and renew do. name is the file's. after is called when all went well, and
// may add to the report; it may be nil.
func (a *app) apply(g *Globals, file *fleet.File, name string, pass PassphraseFlags, opts fleet.Options, after func(*ca.State, *applyReport) error) error {
	state, err := a.open(g, g.stateDir(name), ca.Options{Create: true})
	if err != nil {
		return err
	}
	defer state.Close()
	names, err := state.Authorities()
	if err != nil {
		return err
	}
	opts.Passphrase = a.passphrase(pass, len(names) == 0)
	progress := newProgress(a, file)
	opts.Report = progress.report
	result, err := fleet.Apply(a.ctx, file, state, opts)
	progress.done()
	if result != nil {
		a.found = result.Findings
	}
	if err != nil {
		return err
	}
	report := &applyReport{Result: result, Rows: progress.rows}
	if !a.json {
		progress.table(result)
	}
	if after != nil && finding.Worst(a.found) < finding.Error {
		if err := after(state, report); err != nil {
			return err
		}
	}
	if a.json {
		report.Report = finding.NewReport(a.found)
		if err := a.printJSON(report); err != nil {
			return err
		}
	}
	return a.judge(a.found)
}

// An applyReport is the JSON document of apply and renew.
type applyReport struct {
	finding.Report
	*fleet.Result
	Rows      []fleet.Row       `json:"rows"`
	Installed []fleet.Installed `json:"installed,omitempty"`
}

// tableRows is how many identities a table may have before a summary is better.
const tableRows = 60

// progress shows how far an apply is: a line that is rewritten on a terminal,
// a line for each holder elsewhere, nothing for a fleet that fits in a table.
type progress struct {
	app        *app
	total      int
	count      int
	rows       []fleet.Row // for the table or the JSON document
	proved     int
	identities int
	live       bool // standard error is a terminal
	small      bool
	start      time.Time
}

func newProgress(a *app, file *fleet.File) *progress {
	total := len(file.Hosts) + len(file.Clients)
	return &progress{app: a, total: total, live: term.IsTerminal(int(a.terminal.Fd())), small: total*2 <= tableRows, start: time.Now()}
}

func (p *progress) report(row fleet.Row) {
	p.count++
	for _, id := range row.Identities {
		p.identities++
		if id.Proved {
			p.proved++
		}
	}
	if p.small || p.app.json {
		p.rows = append(p.rows, row)
	}
	switch {
	case p.live:
		fmt.Fprintf(p.app.terminal, "%s%d of %d done, %s", clearLine, p.count, p.total, p.left())
	case !p.small && !p.app.json:
		p.app.printf("%s: %d issued, %d files written, %s\n", holderName(row.Holder), row.Issued, row.Written, proofOf(row))
	}
}

// left estimates the time that the rest takes.
func (p *progress) left() string {
	spent := time.Since(p.start)
	if spent < time.Second {
		return "a moment left"
	}
	left := spent / time.Duration(p.count) * time.Duration(p.total-p.count)
	return left.Round(time.Second).String() + " left"
}

func proofOf(row fleet.Row) string {
	n := 0
	for _, id := range row.Identities {
		if id.Proved {
			n++
		}
	}
	if n == len(row.Identities) {
		return "proved"
	}
	return fmt.Sprintf("%d of %d proved", n, len(row.Identities))
}

// clearLine goes to the beginning of a terminal's line and empties it.
const clearLine = "\r\033[K"

// done clears the progress line.
func (p *progress) done() {
	if p.live {
		fmt.Fprint(p.app.terminal, clearLine)
	}
}

func holderName(id string) string { return strings.Replace(id, ":", " ", 1) }

// table prints what was made, where it lies, until when, and whether it was proved.
func (p *progress) table(result *fleet.Result) {
	out := p.app.stdout
	printAuthorities(out, result.Authorities)
	if p.total == 0 {
		fmt.Fprintln(out, "\nThe fleet file names no hosts and no clients yet.")
		return
	}
	if p.small {
		fmt.Fprintln(out)
		writeRows(out, p.rows)
	}
	fmt.Fprintf(out, "\n%s, %s issued, %s written, %d of %d identities proved by %s.\n",
		count(result.Holders, "host or client", "hosts and clients"), count(result.Issued, "certificate", "certificates"),
		count(result.Written, "other file", "other files"), p.proved, p.identities, count(result.Handshakes, "TLS handshake", "TLS handshakes"))
}

func writeRows(out io.Writer, rows []fleet.Row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOLDER\tIDENTITY\tKEY\tCERTIFICATE\tUNTIL\tNOW\tPROOF")
	for _, row := range rows {
		for _, id := range row.Identities {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", holderName(row.Holder), id.Slot, id.Key, id.Path, day(id.Until), happened(id), id.Proof)
		}
	}
	w.Flush()
	if len(rows) > 0 {
		fmt.Fprintln(out, "\nstaged under:")
		for _, row := range rows {
			fmt.Fprintf(out, "  %s\n", tilde(row.Dir))
		}
	}
}

// happened says what a run did about an identity, and why if that is not plain.
func happened(id fleet.IdentityRow) string {
	switch {
	case id.Did == "":
		return "-"
	case id.Why == "" || id.Why == "missing" || id.Did == "copied":
		return id.Did
	}
	return id.Did + " (" + id.Why + ")"
}

// day cuts a time to its date.
func day(t string) string {
	if len(t) < len(time.DateOnly) {
		return "-"
	}
	return t[:len(time.DateOnly)]
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// tilde shortens a path below the working directory.
func tilde(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, ok := strings.CutPrefix(path, wd+"/"); ok {
		return rel
	}
	return path
}

type planCmd struct {
	Fleet    string   `arg:"" help:"Fleet file." default:"fleet.yaml" placeholder:"FLEET"`
	ExitCode bool     `help:"Exit with 1 if apply would change something."`
	Only     []string `help:"Only these hosts and clients." placeholder:"NAME" complete:"name"`
}

func (*planCmd) Help() string {
	return `Lists every certificate that apply would issue and every file that it would write, with the reason and,
for text files that change, the difference. Nothing is changed, no passphrase is needed.

Examples:
  virtls plan fleet.yaml
  virtls plan --exit-code --json fleet.yaml`
}

type planReport struct {
	finding.Report
	Changes []fleet.Change `json:"changes"`
}

func (c *planCmd) Run(a *app, g *Globals) error {
	file, err := a.load(c.Fleet)
	if err != nil {
		return err
	}
	dir := absolute(g.stateDir(c.Fleet))
	var state *ca.State
	if _, err := os.Stat(dir); err == nil {
		if state, err = a.open(g, dir, ca.Options{ReadOnly: true}); err != nil {
			return err
		}
		defer state.Close()
	}
	report := planReport{Changes: []fleet.Change{}}
	n := 0
	findings, err := fleet.Plan(a.ctx, file, state, dir, fleet.Options{Only: c.Only}, func(change fleet.Change) {
		n++
		if a.json {
			report.Changes = append(report.Changes, change)
			return
		}
		change.Path = tilde(change.Path)
		fleet.PrintChange(a.stdout, change)
	})
	if err != nil {
		return err
	}
	if a.json {
		report.Report = finding.NewReport(findings)
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else if n == 0 {
		a.printf("Nothing to do.\n")
	} else {
		a.printf("\n%s. Run: virtls apply %s\n", count(n, "change", "changes"), layout.ShellQuote(c.Fleet))
	}
	if !a.json {
		a.printFindings(findings)
	}
	if c.ExitCode && n > 0 {
		return errWrong
	}
	return nil
}
