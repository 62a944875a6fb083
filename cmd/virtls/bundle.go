package main

import (
	"errors"
	"path/filepath"

	"virtls/ca"
	"virtls/finding"
	"virtls/fleet"
)

type bundleCmd struct {
	Host   string `arg:"" help:"Host or client." complete:"name"`
	Output string `short:"o" help:"File to write (default: HOST.tar)." placeholder:"FILE"`
	Fleet  string `help:"Fleet file, beside which the state directory is." default:"fleet.yaml" placeholder:"FILE"`
}

func (*bundleCmd) Help() string {
	return `Packs what apply staged for a host into a tar file that only you can read, with an installer that
needs nothing but a shell. What is not as the fleet file asks for is not packed: run virtls apply first.
On the host, as root:

  tar -xpf HOST.tar && sh HOST/install.sh

The installer finds out the group that QEMU runs as, sets owners, modes and SELinux labels, and can be
run again: what is right is left alone. The files of a person need none: in the home directory,

  tar -xpf NAME.tar --strip-components=1 NAME/.pki

Examples:
  virtls bundle kvm1.example.com
  virtls bundle kvm1.example.com -o /media/stick/kvm1.tar`
}

func (c *bundleCmd) Run(a *app, g *Globals) error {
	if c.Output == "" {
		c.Output = c.Host + ".tar"
	}
	file, err := a.load(c.Fleet)
	if err != nil {
		return err
	}
	// For writing, so that what a killed run left is finished, and nobody changes the tree meanwhile.
	state, err := a.open(g, g.stateDir(c.Fleet), ca.Options{})
	if err != nil {
		return err
	}
	defer state.Close()
	a.found = state.Findings()
	manifest, err := fleet.Bundle(a.ctx, file, state, c.Host, c.Output)
	if _, ok := errors.AsType[*finding.Failure](err); err != nil && !ok {
		err = kindUnwritable.Found(c.Output, "").Unable(err)
	}
	if err != nil {
		return err
	}
	if a.json {
		err := a.printJSON(struct {
			finding.Report
			File string `json:"file"`
		}{finding.NewReport(a.found), absolute(c.Output)})
		if err != nil {
			return err
		}
		return a.judge(a.found)
	}
	name := filepath.Base(c.Output)
	a.printf("%s written.\n", c.Output)
	if manifest.Person {
		a.printf("In %s's home directory: tar -xpf %s --strip-components=1 %s/.pki\n", c.Host, name, c.Host)
	} else {
		a.printf("On %s, as root: tar -xpf %s && sh %s/install.sh\n", c.Host, name, c.Host)
	}
	return a.judge(a.found)
}

// install puts one holder's tree on this machine.
func (a *app) install(file *fleet.File, state *ca.State, holder, root string, report *applyReport) error {
	findings, err := fleet.Installer{Root: root}.Install(a.ctx, file, state, holder, func(i fleet.Installed) {
		report.Installed = append(report.Installed, i)
		if !a.json {
			a.printf("%s: %s\n", i.Path, i.Did)
		}
	})
	a.found = append(a.found, findings...)
	if err == nil && !a.json {
		a.printf("%s on this machine for %s. What makes the files live is in %s.\n",
			count(len(report.Installed), "change", "changes"), holder, tilde(filepath.Join(state.Dir(), "hosts", holder, "activate")))
	}
	return err
}
