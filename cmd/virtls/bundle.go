package main

import (
	"errors"
	"path/filepath"

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
needs nothing but a shell. On the host, as root:

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
	manifest, err := fleet.Bundle(g.stateDir(c.Fleet), c.Host, c.Output)
	if _, ok := errors.AsType[*finding.Failure](err); err != nil && !ok {
		err = kindUnwritable.Found(c.Output, "").Unable(err)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			finding.Report
			File string `json:"file"`
		}{finding.NewReport(nil), absolute(c.Output)})
	}
	name := filepath.Base(c.Output)
	a.printf("%s written.\n", c.Output)
	if manifest.Person {
		a.printf("In %s's home directory: tar -xpf %s --strip-components=1 %s/.pki\n", c.Host, name, c.Host)
	} else {
		a.printf("On %s, as root: tar -xpf %s && sh %s/install.sh\n", c.Host, name, c.Host)
	}
	return nil
}

// install puts one holder's tree on this machine.
func (a *app) install(stateDir, holder, root string, report *applyReport) error {
	findings, err := fleet.Installer{Root: root}.Install(a.ctx, stateDir, holder, func(i fleet.Installed) {
		report.Installed = append(report.Installed, i)
		if !a.json {
			a.printf("%s: %s\n", i.Path, i.Did)
		}
	})
	report.Result.Findings = append(report.Result.Findings, findings...)
	if err == nil && !a.json {
		a.printf("%s on this machine for %s. What makes the files live is in %s.\n",
			count(len(report.Installed), "change", "changes"), holder, tilde(filepath.Join(stateDir, "hosts", holder, "activate")))
	}
	return err
}
