package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"virtls/ca"
	"virtls/finding"
	"virtls/internal/readfile"
	"virtls/internal/wait"
	"virtls/pki"
	"virtls/pki/dn"
)

type caCmd struct {
	Fleet string `help:"Fleet file, beside which the state directory is." default:"fleet.yaml" placeholder:"FILE"`

	Show    caShowCmd    `cmd:"" help:"Show the authorities."`
	Export  caExportCmd  `cmd:"" help:"Back up authorities and register to one file."`
	Import  caImportCmd  `cmd:"" help:"Restore a backup, or take over an authority made by certtool, OpenSSL or easy-rsa."`
	Request caRequestCmd `cmd:"" help:"Make an intermediate authority's key and a request for its parent to sign."`
	Install caInstallCmd `cmd:"" help:"Install the parent's answer to a request."`
	Renew   caRenewCmd   `cmd:"" help:"Give a root a new certificate for the same key."`
	CRL     caCRLCmd     `cmd:"" name:"crl" help:"Sign a new revocation list now."`
}

type caShowCmd struct{}

func (*caShowCmd) Help() string {
	return `Shows the certificate of each authority with its chain, whether its key is encrypted, and its newest
revocation list. No passphrase is needed.

Example:
  virtls ca show`
}

type caShowReport struct {
	finding.Report
	Authorities []item `json:"authorities"`
}

func (c *caShowCmd) Run(a *app, g *Globals, parent *caCmd) error {
	state, err := a.open(g, g.stateDir(parent.Fleet), ca.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer state.Close()
	names, err := state.Authorities()
	if err != nil {
		return err
	}
	report := caShowReport{Authorities: []item{}}
	findings, err := state.Absent(a.ctx)
	if err != nil {
		return err
	}
	findings = append(state.Findings(), findings...)
	for _, name := range names {
		authority, err := state.Authority(a.ctx, name)
		if err != nil {
			return err
		}
		findings = append(findings, authority.Findings...)
		for _, path := range []string{authority.CertificatePath(), authority.KeyPath(), authority.CRLPath()} {
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				continue // the list comes with the first apply; a key may be kept elsewhere
			}
			data, err := a.input(path)
			if err != nil {
				return err
			}
			items, more, err := examine(path, data, time.Now())
			clear(data)
			if err != nil {
				return err
			}
			report.Authorities, findings = append(report.Authorities, items...), append(findings, more...)
		}
	}
	if a.json {
		report.Report = finding.NewReport(findings)
		if err := a.printJSON(report); err != nil {
			return err
		}
		return a.judge(findings)
	}
	if len(names) == 0 {
		a.printf("There is no authority yet.\n")
	}
	for i := range report.Authorities {
		report.Authorities[i].File = tilde(report.Authorities[i].File)
	}
	printItems(a.stdout, report.Authorities)
	return a.judge(findings)
}

type caExportCmd struct {
	File string `arg:"" help:"File to write; only you will be able to read it." placeholder:"FILE"`
}

func (*caExportCmd) Help() string {
	return `Writes a tar file with the authorities' certificates, keys (encrypted as they are) and a consistent
copy of the register. virtls ca import restores it into an empty state directory.

Example:
  virtls ca export /media/safe/ca-backup.tar`
}

func (c *caExportCmd) Run(a *app, g *Globals, parent *caCmd) error {
	if err := checkDir(c.File); err != nil {
		return err
	}
	state, err := a.open(g, g.stateDir(parent.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	if err := state.Export(a.ctx, c.File); err != nil {
		return err
	}
	return a.said(state.Findings(), doneReport{File: absolute(c.File)}, "%s written.\n", c.File)
}

type caImportCmd struct {
	Backup  string   `arg:"" optional:"" help:"Backup made by ca export." placeholder:"FILE"`
	Cert    string   `help:"Certificate of an authority to take over, with its chain if it has one." placeholder:"FILE"`
	Key     string   `help:"Its private key." placeholder:"FILE"`
	KeyPass string   `name:"key-passphrase-file" help:"File with the passphrase that opens the key now." placeholder:"FILE"`
	Index   string   `help:"OpenSSL's or easy-rsa's index.txt: what was issued and revoked so far." placeholder:"FILE"`
	Certs   []string `help:"Directories with the certificates in the index, named SERIAL.pem or SERIAL.crt." placeholder:"DIR"`
	CRL     string   `name:"crl" help:"Newest revocation list." placeholder:"FILE"`
	Name    string   `help:"Name of the authority's files." default:"ca" placeholder:"NAME"`
	PassphraseFlags
}

func (*caImportCmd) Help() string {
	return `Restores a backup into an empty state directory, or takes over an authority made elsewhere. A key
that does not belong to the certificate, and a certificate that is no authority's, are refused. From
then on the key is encrypted with a passphrase of your choice.

Examples:
  virtls ca import /media/safe/ca-backup.tar
  virtls ca import --cert cacert.pem --key cakey.pem
  virtls ca import --cert pki/ca.crt --key pki/private/ca.key \
    --index pki/index.txt --certs pki/certs_by_serial,pki/revoked/certs_by_serial`
}

func (c *caImportCmd) Run(a *app, g *Globals, parent *caCmd) error {
	dir := g.stateDir(parent.Fleet)
	if c.Backup != "" {
		if c.Cert+c.Key+c.KeyPass+c.Index+c.CRL != "" || c.Certs != nil {
			return kindUsage.Found("virtls ca import", "").WithText("a backup holds certificate and key itself").WithFix("give either FILE, or --cert and --key").Usage()
		}
		if err := ca.Restore(a.ctx, c.Backup, dir, ca.Options{Wait: g.Wait, Command: "virtls ca import"}); err != nil {
			return err
		}
		return a.said(nil, doneReport{File: absolute(dir)}, "%s restored to %s.\n", c.Backup, dir)
	}
	switch {
	case c.Cert == "" && c.Key == "":
		return kindUsage.Found("virtls ca import", "").WithText("there is nothing to import").WithFix("give a backup, or --cert FILE and --key FILE").Usage()
	case c.Cert == "":
		return kindUsage.Found("--cert", "").WithText("the authority's certificate is missing").WithFix("give --cert FILE").Usage()
	case c.Key == "":
		return kindUsage.Found("--key", "").WithText("the authority's private key is missing").
			WithFix("give --key FILE; without its key an authority cannot issue, and is named under authority.trust in the fleet file instead").Usage()
	}
	adoption := ca.Adoption{Name: c.Name, Passphrase: a.passphrase(c.PassphraseFlags, true)}
	if err := c.read(a, &adoption); err != nil {
		return err
	}
	defer clear(adoption.Key)
	state, err := a.open(g, dir, ca.Options{Create: true})
	if err != nil {
		return err
	}
	defer state.Close()
	authority, err := state.AdoptAuthority(a.ctx, adoption)
	if err != nil {
		return err
	}
	return a.said(append(state.Findings(), authority.Findings...), ofAuthority(authority), "%s taken over, until %s.\n",
		authority.Certificate.Subject, authority.Certificate.NotAfter.UTC().Format(time.DateOnly))
}

// read collects the files of the authority to take over.
func (c *caImportCmd) read(a *app, ad *ca.Adoption) (err error) {
	if ad.Certificate, err = a.input(c.Cert); err != nil {
		return err
	}
	if ad.Key, err = a.input(c.Key); err != nil {
		return err
	}
	ad.CertificateFile, ad.KeyFile, ad.IndexFile, ad.CRLFile = c.Cert, c.Key, c.Index, c.CRL
	ad.KeyPassword = a.keyPassphrase(c.Key, c.KeyPass)
	if c.CRL != "" {
		if ad.CRL, err = a.input(c.CRL); err != nil {
			return err
		}
	}
	if c.Index != "" {
		index, err := wait.For(a.ctx, func() (*os.File, error) { return os.Open(c.Index) })
		if err != nil {
			return kindUnreadable.Found(c.Index, "").Unable(err)
		}
		context.AfterFunc(a.ctx, func() { index.Close() })
		ad.Index = index // closed with the process, which ends with the import
	}
	for _, dir := range c.Certs {
		if _, err := os.ReadDir(dir); err != nil {
			return kindUnreadable.Found(dir, "").WithFix("name directories that are there and that you may read").Unable(err)
		}
	}
	ad.Issued = c.issued
	return nil
}

// issued finds a certificate by its serial number, nil if it is in none of the directories.
func (c *caImportCmd) issued(serial string) []byte {
	for _, dir := range c.Certs {
		for _, suffix := range []string{".pem", ".crt"} {
			if data, _, err := readfile.Regular(filepath.Join(dir, filepath.Base(serial)+suffix), pki.MaxFileSize, 0); err == nil {
				return data
			}
		}
	}
	return nil
}

type caRequestCmd struct {
	Org  string `help:"Name of the organization." required:"" placeholder:"NAME"`
	CN   string `name:"cn" help:"Name of the authority (default: ORGANIZATION CA)." placeholder:"NAME"`
	Key  string `help:"Key type: ec (P-256), p384, p521, rsa (3072 bits), rsa2048 to rsa8192, ed25519, mldsa44, mldsa65 or mldsa87." default:"ec" placeholder:"TYPE" complete:"any key"`
	Name string `help:"Name of the authority's files." default:"ca" placeholder:"NAME"`
	Out  string `short:"o" help:"File for the request." default:"ca-request.pem" placeholder:"FILE"`
	PassphraseFlags
}

func (*caRequestCmd) Help() string {
	return `For an intermediate authority: makes its key, and a certificate request for the parent to sign. The
parent's answer goes to virtls ca install.

Example:
  virtls ca request --org "Example Org" --cn "Example Org virtualization CA"`
}

func (c *caRequestCmd) Run(a *app, g *Globals, parent *caCmd) error {
	key, err := pki.ParseKeySpec(c.Key)
	if err != nil {
		return kindUsage.Found("--key", "").WithText("%v", err).Usage()
	}
	if c.CN == "" {
		c.CN = c.Org + " CA"
	}
	state, err := a.open(g, g.stateDir(parent.Fleet), ca.Options{Create: true})
	if err != nil {
		return err
	}
	defer state.Close()
	request, err := state.RequestAuthority(a.ctx, ca.AuthoritySpec{
		Name: c.Name, Subject: dn.New(dn.Attr(dn.OrganizationOID, c.Org), dn.Attr(dn.CommonNameOID, c.CN)),
		Key: key, PathLen: -1, Passphrase: a.passphrase(c.PassphraseFlags, true),
	})
	if err != nil {
		return err
	}
	if err := write(c.Out, request.PEM(), 0o644); err != nil {
		return err
	}
	return a.said(state.Findings(), doneReport{File: absolute(c.Out), Subject: request.Subject.String()}, "%s written. Have the parent sign it as an authority, then run: virtls ca install ANSWER PARENT...\n", c.Out)
}

type caInstallCmd struct {
	File []string `arg:"" help:"The signed certificate, then the parents' certificates up to the root, in one file or several."`
	Name string   `help:"Name of the authority's files." default:"ca" placeholder:"NAME"`
	PassphraseFlags
}

func (*caInstallCmd) Help() string {
	return `Checks that the answer is a certificate for the key that virtls ca request made, and that the chain
reaches a root. The authority can issue from then on.

Example:
  virtls ca install signed.pem root.pem`
}

func (c *caInstallCmd) Run(a *app, g *Globals, parent *caCmd) error {
	var certs []*pki.Certificate
	for _, path := range c.File {
		data, err := a.input(path)
		if err != nil {
			return err
		}
		more, err := pki.ParseCertificatesPEM(data)
		if err != nil {
			return kindMalformed.Found(path, "").Unable(err)
		}
		certs = append(certs, more...)
	}
	state, err := a.open(g, g.stateDir(parent.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	authority, err := state.InstallAuthority(a.ctx, c.Name, certs, a.passphrase(c.PassphraseFlags, false))
	if err != nil {
		return err
	}
	return a.said(append(state.Findings(), authority.Findings...), ofAuthority(authority), "%s installed, until %s.\n",
		authority.Certificate.Subject, authority.Certificate.NotAfter.UTC().Format(time.DateOnly))
}

type caRenewCmd struct {
	Days int    `help:"Life in days (default: as long as before)." placeholder:"DAYS"`
	Name string `help:"Authority." default:"ca" placeholder:"NAME"`
	PassphraseFlags
}

func (*caRenewCmd) Help() string {
	return `Before an authority ends: signs a new certificate for it, with the same name and key. What it has issued
stays good, beside the old certificate and the new one. Run virtls apply afterwards, which puts the new
one into every tree and prolongs what was cut short by the old end.

An intermediate is renewed by its parent; hand the answer to virtls ca install. For a new key see
docs/guide/ca.md.

Example:
  virtls ca renew --days 3650`
}

func (c *caRenewCmd) Run(a *app, g *Globals, parent *caCmd) error {
	state, err := a.open(g, g.stateDir(parent.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	authority, err := state.RenewAuthority(a.ctx, c.Name, c.Days, a.passphrase(c.PassphraseFlags, false))
	if err != nil {
		return err
	}
	return a.said(append(state.Findings(), authority.Findings...), ofAuthority(authority), "%s renewed, until %s. Run virtls apply, and put the trees in place.\n",
		authority.Certificate.Subject, authority.Certificate.NotAfter.UTC().Format(time.DateOnly))
}

type caCRLCmd struct {
	Days int    `help:"Days until the next list is due." default:"30" placeholder:"DAYS"`
	Name string `help:"Authority." default:"ca" placeholder:"NAME"`
	PassphraseFlags
}

func (*caCRLCmd) Help() string {
	return `apply signs revocation lists by itself when they are due. This signs one now.

Example:
  virtls ca crl --days 7`
}

func (c *caCRLCmd) Run(a *app, g *Globals, parent *caCmd) error {
	state, err := a.open(g, g.stateDir(parent.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	authority, err := state.Authority(a.ctx, c.Name)
	if err != nil {
		return err
	}
	if err := authority.Unlock(a.passphrase(c.PassphraseFlags, false)); err != nil {
		return err
	}
	if _, err := authority.NewCRL(a.ctx, c.Days); err != nil {
		return err
	}
	return a.said(state.Findings(), doneReport{File: authority.CRLPath()}, "%s written.\n", tilde(authority.CRLPath()))
}

// A doneReport is the JSON document of a command that does one thing.
type doneReport struct {
	finding.Report
	File     string     `json:"file,omitempty"`    // what was written
	Subject  string     `json:"subject,omitempty"` // of the authority
	NotAfter *time.Time `json:"notAfter,omitempty"`
}

// ofAuthority is the document of a command that has brought an authority in.
func ofAuthority(authority *ca.Authority) doneReport {
	c := authority.Certificate
	return doneReport{File: authority.CertificatePath(), Subject: c.Subject.String(), NotAfter: &c.NotAfter}
}

// said ends a command that has one thing to say.
func (a *app) said(findings []finding.Finding, done doneReport, format string, args ...any) error {
	if a.json {
		done.Report = finding.NewReport(findings)
		if err := a.printJSON(done); err != nil {
			return err
		}
	} else {
		a.printf(format, args...)
	}
	return a.judge(findings)
}
