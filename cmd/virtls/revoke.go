package main

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"virtls/ca"
	"virtls/ca/register"
	"virtls/finding"
	"virtls/fleet"
	"virtls/internal/atomicfile"
	"virtls/pki"
)

type renewCmd struct {
	Name  []string `arg:"" optional:"" help:"Hosts and clients; all if none is named."`
	Fleet string   `help:"Fleet file." default:"fleet.yaml" placeholder:"FILE"`
	Rekey bool     `help:"Make new keys instead of keeping the present ones."`
	File  string   `help:"Renew one certificate in a file of its own instead, as issue wrote it." placeholder:"CERT"`
	Key   string   `help:"With --file and --rekey: where the new private key goes." placeholder:"FILE"`
	Days  int      `help:"With --file: life in days (default: as long as before)."`
	PassphraseFlags
}

func (*renewCmd) Help() string {
	return `Renews certificates now, with the same subject, names and uses, and for the same keys unless --rekey
is given. apply renews by itself what is past two thirds of its life; renew is for doing it earlier.

Examples:
  virtls renew kvm1.example.com
  virtls renew --rekey --fleet /srv/fleet.yaml
  virtls renew --file cert.pem --days 90`
}

func (c *renewCmd) Run(a *app, g *Globals) error {
	if c.File != "" {
		return c.renewFile(a, g)
	}
	return a.apply(g, c.Fleet, c.PassphraseFlags, fleet.Options{Renew: true, Rekey: c.Rekey, Only: c.Name}, nil)
}

// renewFile renews a certificate that belongs to no fleet file.
func (c *renewCmd) renewFile(a *app, g *Globals) error {
	if c.Rekey && c.Key == "" {
		return kindUsage.Found("--rekey", "").WithText("a new key needs a place").WithFix("say where it goes with --key FILE").Usage()
	}
	old, err := readCertificate(c.File)
	if err != nil {
		return err
	}
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	sum := old.SHA256()
	entry, err := state.Register().ByFingerprint(a.ctx, hex.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	if entry == nil {
		return kindNotOurs.Found(c.File, old.String()).Wrong()
	}
	order := ca.Order{How: register.Renew, Holder: entry.Holder, Slot: entry.Slot, Days: c.Days,
		Place: &register.Placement{Paths: []string{absolute(c.File)}}}
	if order.Days == 0 {
		order.Days = int(old.NotAfter.Sub(old.NotBefore).Hours()/24 + 0.5)
	}
	if err := c.specify(&order, old); err != nil {
		return err
	}
	return a.issueOne(state, entry.Authority, c.PassphraseFlags, order)
}

// specify fills in what is to be issued, and stages a new key if one is asked for.
func (c *renewCmd) specify(order *ca.Order, old *pki.Certificate) (err error) {
	if !c.Rekey {
		order.Spec, err = ca.RenewalSpec(old, nil)
		return err
	}
	key, err := pki.GenerateSigner(pki.KeySpecOf(old.PublicKey.Key))
	if err != nil {
		return err
	}
	if order.Spec, err = ca.RenewalSpec(old, key.Public()); err != nil {
		return err
	}
	return stageKey(order.Place, absolute(c.Key), key)
}

type revokeCmd struct {
	What   []string `arg:"" help:"What to revoke: serial numbers, certificate files, or holders such as host:kvm1.example.com and client:admin, which means all their certificates."`
	Reason string   `help:"Why: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn, aACompromise." default:"unspecified" placeholder:"REASON"`
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
}

func (c *revokeCmd) Run(a *app, g *Globals) error {
	reason, err := pki.ParseRevocationReason(c.Reason)
	if err != nil {
		return kindUsage.Found("--reason", "").WithText("%v", err).Usage()
	}
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	var serials []string
	for _, what := range c.What {
		found, err := a.serialsOf(state, what)
		if err != nil {
			return err
		}
		serials = append(serials, found...)
	}
	revoked, err := state.Revoke(a.ctx, serials, reason)
	if err != nil {
		return err
	}
	report := revokeReport{Report: finding.NewReport(state.Findings())}
	authorities := map[string]bool{}
	for i := range revoked {
		report.Revoked = append(report.Revoked, rowOf(&revoked[i], time.Now()))
		authorities[revoked[i].Authority] = true
	}
	for name := range authorities {
		if err := a.newCRL(state, name, c.PassphraseFlags, 0); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(report)
	}
	writeList(a.stdout, report.Revoked)
	a.printf("\nThe new revocation list counts where it is installed: run virtls apply, then put the trees in place.\n")
	return nil
}

// serialsOf finds the certificates that an argument of revoke means.
func (a *app) serialsOf(state *ca.State, what string) ([]string, error) {
	if kind, name, ok := strings.Cut(what, ":"); ok && (kind == "host" || kind == "client") {
		var serials []string
		for entry, err := range state.Register().List(a.ctx, register.Filter{Holder: kind + ":" + name, Valid: true}) {
			if err != nil {
				return nil, err
			}
			serials = append(serials, entry.Serial)
		}
		if len(serials) == 0 {
			return nil, kindNothingFound.Found(what, "").Wrong()
		}
		return serials, nil
	}
	if _, err := os.Stat(what); errors.Is(err, fs.ErrNotExist) {
		return []string{what}, nil
	}
	cert, err := readCertificate(what)
	if err != nil {
		return nil, err
	}
	return []string{register.SerialText(cert.Serial)}, nil
}

func (a *app) newCRL(state *ca.State, name string, pass PassphraseFlags, days int) error {
	authority, err := state.Authority(a.ctx, name)
	if err != nil {
		return err
	}
	if err := authority.Unlock(a.passphrase(pass, false)); err != nil {
		return err
	}
	_, err = authority.NewCRL(a.ctx, days)
	return err
}

func readCertificate(path string) (*pki.Certificate, error) {
	data, err := readInput(path)
	if err != nil {
		return nil, err
	}
	certs, err := pki.ParseCertificatesPEM(data)
	if err != nil {
		return nil, kindUnreadable.Found(path, "").Unable(err)
	}
	return certs[0], nil
}

// stageKey stages a new private key for an order.
func stageKey(place *register.Placement, path string, key any) error {
	pem, err := pki.EncodePrivateKeyPEM(key.(pki.PrivateKey), pki.MLDSABoth)
	if err != nil {
		return err
	}
	defer clear(pem)
	staged, err := atomicfile.Stage(path, pem, 0o600)
	if err != nil {
		return err
	}
	if err := atomicfile.Sync([]*atomicfile.Staged{staged}); err != nil {
		staged.Discard()
		return err
	}
	place.Key, place.KeyPaths = staged.Temp(), []string{path}
	return nil
}
