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

	Plan  planCmd  `cmd:"" help:"Show what apply would do, and change nothing." group:"fleet"`
	Apply applyCmd `cmd:"" help:"Make, lay out and prove everything that the fleet file asks for." group:"fleet"`

	Psktool dropinCmd `cmd:"" help:"GnuTLS's psktool, word for word." group:"as other programs" passthrough:""`
}

// dropinCmd is listed in the help; run takes the imitated programs before
// kong sees their arguments.
type dropinCmd struct {
	Args []string `arg:"" optional:""`
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
	return ca.OpenState(a.ctx, dir, opts)
}
