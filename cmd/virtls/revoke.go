package main

import (
	"encoding/hex"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/pki"
)

var kindStillInFile = finding.Define("revoked-still-in-file", finding.Warning,
	"the holder of what was revoked is still in the fleet file, so the next apply issues a new certificate",
	"if access is to end, take it out of the fleet file before virtls apply")

type revokeCmd struct {
	What   []string `arg:"" help:"What to revoke: serial numbers, certificate files, or holders such as host:kvm1.example.com and client:admin, which means all their certificates." complete:"holder"`
	Reason string   `help:"Why: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn, aACompromise." default:"unspecified" placeholder:"REASON" complete:"reason"`
	Fleet  string   `help:"Fleet file, beside which the state directory is." default:"fleet.yaml" placeholder:"FILE"`
	PassphraseFlags
}

func (*revokeCmd) Help() string {
	return `Marks certificates as revoked and signs a new revocation list. The list counts on a host once it is
there: apply puts it into every staged tree. QEMU and libvirt read it when they load credentials.

Examples:
  virtls revoke client:admin --reason keyCompromise
  virtls revoke host:kvm9.example.com --reason cessationOfOperation
  virtls revoke 5f3a0c29d1...`
}

type revokeReport struct {
	finding.Report
	Revoked []listRow `json:"revoked"`
	Lists   []string  `json:"lists"` // files of the new revocation lists
}

func (c *revokeCmd) Run(a *app, g *Globals) error {
	for r := pki.Unspecified; r <= pki.AACompromise; r++ {
		if strings.EqualFold(c.Reason, r.String()) {
			c.Reason = r.String() // nobody remembers its capital letters
		}
	}
	reason, err := pki.ParseRevocationReason(c.Reason)
	if err != nil {
		return kindUsage.Found("--reason", "").WithText("%v", err).Usage()
	}
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	serials, authorities, err := a.toRevoke(state, c.What)
	if err != nil {
		return err
	}
	// The keys first: nothing is revoked that no list says.
	for _, authority := range authorities {
		if err := authority.Unlock(a.passphrase(c.PassphraseFlags, false)); err != nil {
			return err
		}
	}
	revoked, err := state.Revoke(a.ctx, serials, reason)
	if err != nil {
		return err
	}
	report := revokeReport{Report: finding.NewReport(append(state.Findings(), c.stillInFile(a, reason, revoked)...)), Revoked: []listRow{}}
	for i := range revoked {
		report.Revoked = append(report.Revoked, rowOf(&revoked[i], time.Now()))
	}
	for _, authority := range authorities {
		if _, err := authority.NewCRL(a.ctx, 0); err != nil {
			return err
		}
		report.Lists = append(report.Lists, authority.CRLPath())
	}
	if a.json {
		if err := a.printJSON(report); err != nil {
			return err
		}
		return a.judge(report.Findings)
	}
	writeList(a.stdout, report.Revoked)
	a.printf("\n")
	for _, path := range report.Lists {
		a.printf("%s written.\n", tilde(path))
	}
	a.printf("It counts where it is installed: run virtls apply, then put the trees in place.\n")
	return a.judge(report.Findings)
}

// stillInFile warns of holders who will get new certificates although the
// reason says that they are not to have any.
func (c *revokeCmd) stillInFile(a *app, reason pki.RevocationReason, revoked []register.Certificate) (list []finding.Finding) {
	switch reason {
	case pki.KeyCompromise, pki.CACompromise, pki.AACompromise, pki.Superseded:
		return nil // new ones are what is wanted
	}
	file, err := a.load(c.Fleet)
	if err != nil {
		return nil // certificates may be issued without a file
	}
	seen := map[string]bool{}
	for _, entry := range revoked {
		_, name, ok := strings.Cut(entry.Holder, ":")
		if ok && !seen[entry.Holder] && file.CheckHolder(name) == nil {
			list = append(list, kindStillInFile.Found(c.Fleet, entry.Holder).
				WithFix("if access is to end, take %s out of %s, and then run virtls apply", name, c.Fleet))
		}
		seen[entry.Holder] = true
	}
	return list
}

// toRevoke finds the certificates that the arguments of revoke mean, and the
// authorities that issued them.
func (a *app) toRevoke(state *ca.State, args []string) (serials []string, authorities []*ca.Authority, err error) {
	names := map[string]bool{}
	for _, what := range args {
		entries, err := a.entriesOf(state, what)
		if err != nil {
			return nil, nil, err
		}
		for _, entry := range entries {
			serials = append(serials, entry.Serial)
			if names[entry.Authority] {
				continue
			}
			names[entry.Authority] = true
			authority, err := state.Authority(a.ctx, entry.Authority)
			if err != nil {
				return nil, nil, err
			}
			authorities = append(authorities, authority)
		}
	}
	return serials, authorities, nil
}

// entriesOf finds the certificates that an argument of revoke means: a
// holder's that are valid, a file's, or the one with a serial number.
func (a *app) entriesOf(state *ca.State, what string) (entries []register.Certificate, err error) {
	if kind, name, ok := strings.Cut(what, ":"); ok && (kind == "host" || kind == "client") {
		for entry, err := range state.Register().List(a.ctx, register.Filter{Holder: kind + ":" + name, Valid: true}) {
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry)
		}
		if entries == nil {
			return nil, a.meant(state, what, kindNothingFound.Found(what, "").WithText("the register has no valid certificate of this holder")).Wrong()
		}
		return entries, nil
	}
	entry, err := a.entryOf(state, what)
	if err != nil {
		return nil, err
	}
	return []register.Certificate{*entry}, nil
}

// meant returns f with a cure that names the holder that was probably meant,
// if there is one like it.
func (a *app) meant(state *ca.State, what string, f finding.Finding) finding.Finding {
	holders := map[string]bool{}
	for entry, err := range state.Register().List(a.ctx, register.Filter{Valid: true}) {
		if err != nil {
			return f
		}
		holders[entry.Holder] = true
		if strings.HasSuffix(entry.Holder, ":"+what) {
			return f.WithFix("if you meant %s: virtls revoke %s", entry.Holder, entry.Holder)
		}
	}
	if near := finding.Nearest(what, slices.Collect(maps.Keys(holders))); near != "" {
		return f.WithFix("if you meant %s: virtls revoke %s", near, near)
	}
	return f
}

func (a *app) entryOf(state *ca.State, what string) (*register.Certificate, error) {
	if _, err := os.Lstat(what); err == nil {
		cert, err := a.certificate(what)
		if err != nil {
			return nil, err
		}
		return a.registered(state, what, cert)
	}
	serial, err := register.ParseSerial(what)
	if err != nil {
		return nil, a.meant(state, what, kindUsage.Found(what, "").WithText("this is neither a serial number, nor a file that is there, nor a holder").
			WithFix("virtls list shows serial numbers and holders, such as host:kvm1.example.com")).Usage()
	}
	entry, err := state.Register().BySerial(a.ctx, serial)
	if err != nil || entry != nil {
		return entry, err
	}
	f := kindNothingFound.Found(what, "").WithText("no certificate with this serial number is in the register")
	var begins []register.Certificate
	for entry, err := range state.Register().List(a.ctx, register.Filter{Text: what}) {
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(entry.Serial, strings.ToLower(what)) {
			begins = append(begins, entry)
		}
	}
	if len(begins) == 1 {
		f = f.WithText("this is the beginning of a serial number, and revoke wants the whole").
			WithFix("if you meant %s: virtls revoke %s", oneLine(begins[0].Subject), begins[0].Serial)
	}
	return nil, f.Wrong()
}

// registered returns the register's entry of a certificate that it must know.
func (a *app) registered(state *ca.State, path string, cert *pki.Certificate) (*register.Certificate, error) {
	sum := cert.SHA256()
	entry, err := state.Register().ByFingerprint(a.ctx, hex.EncodeToString(sum[:]))
	if err == nil && entry == nil {
		err = kindNotOurs.Found(path, cert.String()).Wrong()
	}
	return entry, err
}

func readCertificate(path string) (*pki.Certificate, error) {
	data, err := readInput(path)
	if err != nil {
		return nil, err
	}
	certs, err := pki.ParseCertificatesPEM(data)
	if err != nil {
		return nil, kindMalformed.Found(path, "").Unable(err)
	}
	return certs[0], nil
}
