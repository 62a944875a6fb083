package main

import (
	"virtls/ca"
	"virtls/ca/register"
	"virtls/fleet"
	"virtls/pki"
)

type renewCmd struct {
	Name  []string `arg:"" optional:"" help:"Hosts and clients; all if none is named." complete:"name"`
	Fleet string   `help:"Fleet file." default:"fleet.yaml" placeholder:"FILE"`
	Rekey bool     `help:"Make new keys instead of keeping the present ones."`
	File  string   `help:"Renew one certificate in a file of its own instead, as issue wrote it." placeholder:"CERT"`
	Key   string   `help:"With --file and --rekey: where the new private key goes." placeholder:"FILE"`
	Days  int      `help:"With --file: life in days (default: as long as before)." placeholder:"DAYS"`
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
	file, err := a.load(c.Fleet)
	if err != nil {
		return err
	}
	return a.apply(g, file, c.Fleet, c.PassphraseFlags, fleet.Options{Renew: true, Rekey: c.Rekey, Only: c.Name}, nil)
}

// renewFile renews a certificate that belongs to no fleet file.
func (c *renewCmd) renewFile(a *app, g *Globals) error {
	if c.Rekey && c.Key == "" {
		return kindUsage.Found("--rekey", "").WithText("a new key needs a place").WithFix("say where it goes with --key FILE").Usage()
	}
	old, err := a.certificate(c.File)
	if err != nil {
		return err
	}
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	entry, err := a.registered(state, c.File, old)
	if err != nil {
		return err
	}
	authority, err := state.Authority(a.ctx, entry.Authority)
	if err != nil {
		return err
	}
	order := ca.Order{How: register.Renew, Holder: entry.Holder, Slot: entry.Slot, Days: c.Days,
		Place: &register.Placement{Paths: []string{absolute(c.File)}}}
	if order.Days == 0 {
		order.Days = int(old.NotAfter.Sub(old.NotBefore).Hours()/24 + 0.5)
	}
	key, err := c.specify(&order, old)
	if err != nil {
		return err
	}
	return a.issueOne(state, authority, c.PassphraseFlags, order, key)
}

// specify fills in what is to be issued, and makes a new key if one is asked for.
func (c *renewCmd) specify(order *ca.Order, old *pki.Certificate) (key newKey, err error) {
	if !c.Rekey {
		order.Spec, err = ca.RenewalSpec(old, nil)
		return key, err
	}
	signer, err := pki.GenerateSigner(pki.KeySpecOf(old.PublicKey.Key))
	if err != nil {
		return key, err
	}
	order.Spec, err = ca.RenewalSpec(old, signer.Public())
	return newKey{signer.(pki.PrivateKey), absolute(c.Key)}, err
}
