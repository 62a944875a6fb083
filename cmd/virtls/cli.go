package main

import (
	"path/filepath"
	"strings"
	"time"

	"virtls/ca"
)

// Globals are the flags that every command takes.
type Globals struct {
	JSON  bool          `help:"Print facts and findings as JSON on standard output."`
	State string        `help:"State directory (default: pki beside the fleet file, or in this directory)." placeholder:"DIR" env:"VIRTLS_STATE"`
	Wait  time.Duration `help:"How long to wait while another virtls holds the state directory." default:"10s" placeholder:"TIME"`
}

type cli struct {
	Globals

	Init   initCmd   `cmd:"" help:"Make an authority and a fleet file in this directory." group:"The fleet"`
	Plan   planCmd   `cmd:"" help:"Show what apply would do, and change nothing." group:"The fleet"`
	Apply  applyCmd  `cmd:"" help:"Make, lay out and prove everything that the fleet file asks for." group:"The fleet"`
	Status statusCmd `cmd:"" help:"Show what is where, until when, and what is wrong." group:"The fleet"`
	Renew  renewCmd  `cmd:"" help:"Renew certificates before their time." group:"The fleet"`
	Revoke revokeCmd `cmd:"" help:"Revoke certificates and sign a new revocation list." group:"The fleet"`
	Bundle bundleCmd `cmd:"" help:"Pack a host's tree with an installer, for carrying by hand." group:"The fleet"`

	Issue issueCmd `cmd:"" help:"Issue one certificate, from flags, a template or a request." group:"Certificates"`
	List  listCmd  `cmd:"" help:"List and search what was issued." group:"Certificates"`
	Show  showCmd  `cmd:"" help:"Say what a certificate, key, request, CRL or PSK file is." group:"Certificates"`
	CA    caCmd    `cmd:"" name:"ca" help:"The authority: show it, back it up, take one over, have it signed, renew it." group:"Certificates"`

	Validate validateCmd `cmd:"" help:"Judge credentials as each version of QEMU and libvirt would, and say how to mend them." group:"Trouble"`
	Probe    probeCmd    `cmd:"" help:"Look at a live service: libvirt, NBD, VNC, a character device, a migration, anything with TLS." group:"Trouble"`
	Explain  explainCmd  `cmd:"" help:"Say what is behind a text that QEMU, libvirt, GnuTLS or OpenSSL printed." group:"Trouble"`

	Gateway gatewayCmd `cmd:"" help:"TLS in front of a service that has none, or off in front of a program that cannot speak it." group:"Network"`
	Console consoleCmd `cmd:"" help:"Talk to a character device of QEMU's from a terminal or a script." group:"Network"`
	NBD     nbdCmd     `cmd:"" name:"nbd" help:"Network block devices: serve disks, look at them, copy them." group:"Network"`
	Passwd  passwdCmd  `cmd:"" help:"Accounts of SASL users, without their passwords." group:"Network"`

	Certtool    dropinCmd `cmd:"" help:"GnuTLS's certtool, word for word." group:"As other programs" passthrough:""`
	Psktool     dropinCmd `cmd:"" help:"GnuTLS's psktool, word for word." group:"As other programs" passthrough:""`
	QemuImg     dropinCmd `cmd:"" name:"qemu-img" help:"QEMU's qemu-img for raw and qcow2 images, in files and over NBD." group:"As other programs" passthrough:""`
	QemuNBD     dropinCmd `cmd:"" name:"qemu-nbd" help:"QEMU's qemu-nbd for raw files, devices and, read-only, qcow2 images." group:"As other programs" passthrough:""`
	PKIQueryDN  dropinCmd `cmd:"" name:"virt-pki-query-dn" help:"libvirt's virt-pki-query-dn, word for word." group:"As other programs" passthrough:""`
	PKIValidate dropinCmd `cmd:"" name:"virt-pki-validate" help:"libvirt's virt-pki-validate, without its mistakes." group:"As other programs" passthrough:""`

	Version    versionCmd    `cmd:"" help:"Print the version." group:"Other"`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell." group:"Other"`
}

// dropinCmd is listed in the help; run takes the imitated programs before
// kong sees their arguments.
type dropinCmd struct {
	Args []string `arg:"" optional:""`
}

func (*dropinCmd) Run(a *app) error {
	return kindUsage.Found("virtls", "").WithText("flags of virtls do not go with an imitated program").
		WithFix("write the program's name first: virtls certtool ARGUMENT...").Usage()
}

// stateDir returns the state directory that goes with a fleet file.
func (g *Globals) stateDir(fleetFile string) string {
	if g.State != "" {
		return g.State
	}
	return filepath.Join(filepath.Dir(fleetFile), "pki")
}

// open opens a state directory.
func (a *app) open(g *Globals, dir string, opts ca.Options) (*ca.State, error) {
	opts.Wait = g.Wait
	opts.Command = "virtls " + strings.Join(a.args, " ")
	state, err := ca.OpenState(a.ctx, dir, opts)
	if err == nil {
		a.found = state.Findings()
	}
	return state, err
}
