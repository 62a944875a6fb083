package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"virtls/ca"
	"virtls/finding"
	"virtls/fleet"
	"virtls/layout"
)

var kindFleetExists = finding.Define("fleet-file-exists", finding.Error,
	"there is a fleet file already, and it is not overwritten",
	"edit it and run virtls apply, or give another name with --file")

type initCmd struct {
	Org    string   `help:"Name of the organization." required:"" placeholder:"NAME"`
	Host   []string `help:"A host to begin with: its name, then addresses, separated by commas. Once for each host." placeholder:"NAME[,ADDRESS]" sep:"none"`
	Client []string `help:"A client to begin with: a person or a program." placeholder:"NAME"`
	Key    string   `help:"Key type of authority, hosts and clients: ec (P-256), p384, p521, rsa (3072 bits), rsa2048 to rsa8192 or ed25519." default:"ec" placeholder:"TYPE" complete:"key"`
	PQC    string   `name:"pqc" help:"Post-quantum signatures (ML-DSA): off, hybrid (beside classical ones) or exclusive." enum:"off,hybrid,exclusive" default:"off" placeholder:"MODE"`
	File   string   `help:"Fleet file to write." default:"fleet.yaml" placeholder:"FILE"`
	PassphraseFlags
}

func (*initCmd) Help() string {
	return `Writes a fleet file to begin with and makes the authority in the directory pki beside it. The
authority's key is encrypted; the passphrase comes from the terminal, a file, a file descriptor or the
environment variable VIRTLS_PASSPHRASE.

Examples:
  virtls init --org "Example Org"
  virtls init --org "Example Org" --host kvm1.example.com,192.0.2.11 --host kvm2.example.com --client admin`
}

func (c *initCmd) Run(a *app, g *Globals) error {
	if _, err := os.Lstat(c.File); !errors.Is(err, fs.ErrNotExist) {
		return kindFleetExists.Found(c.File, "").Unable(err)
	}
	text := c.fleetFile()
	file, err := fleet.Parse(c.File, []byte(text))
	if err != nil {
		return c.refused(err)
	}
	state, err := a.open(g, g.stateDir(c.File), ca.Options{Create: true})
	if err != nil {
		return err
	}
	defer state.Close()
	authorities, err := fleet.MakeAuthorities(a.ctx, file, state, a.passphrase(c.PassphraseFlags, true))
	if err != nil {
		return err
	}
	if err := write(c.File, []byte(text), 0o644); err != nil {
		return err
	}
	findings := state.Findings()
	if a.json {
		if err := a.printJSON(initReport{finding.NewReport(findings), c.File, authorities}); err != nil {
			return err
		}
		return a.judge(findings)
	}
	printAuthorities(a.stdout, authorities)
	a.printf("\n%s written. ", c.File)
	if len(c.Host) == 0 {
		a.printf("Name your hosts in it, then run: virtls apply %s\n", layout.ShellQuote(c.File))
	} else {
		a.printf("Run: virtls apply %s\n", layout.ShellQuote(c.File))
	}
	return a.judge(findings)
}

// refused turns what is wrong with the fleet file, which nobody has seen yet,
// into what is wrong with the flags that it was made of.
func (c *initCmd) refused(err error) error {
	f := finding.Of(err)
	return kindUsage.Found("virtls init", "").WithText("%s", f.Text).Usage()
}

type initReport struct {
	finding.Report
	File        string               `json:"file"`
	Authorities []fleet.AuthorityRow `json:"authorities"`
}

// scalar writes text as YAML has it: quoted, unless it can be nothing but text.
func scalar(text string) string {
	out, err := yaml.Marshal(text)
	if err != nil || strings.Count(string(out), "\n") != 1 {
		return strconv.Quote(text)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// fleetFile writes the first fleet file. What was not given stands there as a comment.
func (c *initCmd) fleetFile() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The fleet. Every field is described in docs/fleet-file.md.\n\norganization: %s\n", strconv.Quote(c.Org))
	if c.PQC != "off" {
		fmt.Fprintf(&b, "pqc: %s\n", c.PQC)
	}
	if c.Key != "ec" {
		fmt.Fprintf(&b, "\nauthority:\n  key: %s\n", scalar(c.Key))
	}
	b.WriteString("\ndefaults:\n  uses: {libvirt: both, qemu: both}\n")
	if c.Key != "ec" {
		fmt.Fprintf(&b, "  key: %s\n", scalar(c.Key))
	}
	b.WriteString("  # platform: debian-12   # what hosts run, if it is the same everywhere\n")
	b.WriteString("\nhosts:\n")
	for _, h := range c.Host {
		parts := strings.Split(h, ",")
		fmt.Fprintf(&b, "  - name: %s\n", scalar(parts[0]))
		if len(parts) > 1 {
			quoted := make([]string, len(parts)-1)
			for i, p := range parts[1:] {
				quoted[i] = strconv.Quote(strings.TrimSpace(p))
			}
			fmt.Fprintf(&b, "    addresses: [%s]\n", strings.Join(quoted, ", "))
		}
	}
	if len(c.Host) == 0 {
		b.WriteString("  # - name: kvm1.example.com\n  #   addresses: [192.0.2.11, \"2001:db8::11\"]\n")
	}
	b.WriteString("\nclients:\n")
	for _, name := range c.Client {
		fmt.Fprintf(&b, "  - name: %s\n", scalar(name))
	}
	if len(c.Client) == 0 {
		b.WriteString("  # - name: admin\n")
	}
	return b.String()
}
