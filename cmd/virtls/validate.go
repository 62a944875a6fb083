package main

import (
	"strings"
	"time"

	"virtls/finding"
	"virtls/layout"
	"virtls/layout/access"
	"virtls/validate"
)

type validateCmd struct {
	Dir []string `arg:"" optional:"" help:"A host's root (it has etc/pki), a home (it has .pki), a staged fleet, or a directory of credentials. Without any: this machine."`

	For     []string `help:"Only for these consumers: qemu-server, qemu-client, libvirt-server, libvirt-client." placeholder:"CONSUMER" complete:"consumer"`
	Against []string `help:"Only against these versions, such as 11.1, 7.2.22 or 11.3-3+deb13u3; libvirt-12.8 says of which program. Default: every version that is known to differ." placeholder:"VERSION"`

	Hostname []string `help:"A name or address by which peers reach the host; server certificates should have it. Of this machine its own are known." placeholder:"NAME"`
	As       string   `help:"Judge as if the consumer ran as this user." placeholder:"USER"`
	Profile  string   `help:"Also compare owners and modes with a profile: strict (virt-pki-validate's), wiki (libvirt's wiki), group (what virtls lays out)." enum:",strict,wiki,group" default:"" placeholder:"PROFILE"`
	Soon     string   `help:"What ends within this time ends soon; of what lives for less than three times as long, the last third of its life." default:"30d" placeholder:"TIME"`
	KeyPass  string   `name:"key-passphrase-file" help:"File with the passphrase of encrypted keys in its first line: QEMU can be told one." placeholder:"FILE"`
	MLDSA    bool     `name:"ml-dsa" help:"The consumers' GnuTLS can compute ML-DSA; those of distributions cannot."`

	Fix        bool `help:"Print a shell script that mends what was found." xor:"output"`
	Now        bool `name:"run" help:"With --fix: do what is safe, which is modes, owners and labels, instead of printing, then judge again."`
	Prometheus bool `help:"Print metrics for the textfile collector of Prometheus's node exporter." xor:"output"`
	SASLConf   bool `name:"sasl-conf" help:"Print a configuration of Cyrus SASL for QEMU that is right for this machine or the root that is named." xor:"output"`
}

func (*validateCmd) Help() string {
	return `Judges certificates, keys, revocation lists and pre-shared keys as each version of QEMU and libvirt would when
it loads them, and by more that only shows later: names, dates, rights, settings. It also judges how QEMU has
Cyrus SASL let VNC's clients log in. Nothing is started or asked.

Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage, 3 it could not be judged. With both --for and
--against the verdicts alone decide.

Examples:
  sudo virtls validate
  virtls validate pki/hosts/kvm1.example.com
  virtls validate /etc/pki/qemu --as libvirt-qemu
  virtls validate --for libvirt-server --against 9.0 pki/hosts/kvm1.example.com
  virtls validate --fix > mend.sh
  sudo virtls validate --fix --run
  sudo virtls validate --sasl-conf > qemu.conf
  virtls validate --prometheus > /var/lib/prometheus/node-exporter/virtls.prom`
}

type validateReport struct {
	finding.Report
	Verdicts     []validate.Verdict     `json:"verdicts"`
	Certificates []validate.Certificate `json:"certificates"`
	Steps        []validate.Step        `json:"steps,omitempty"` // of --fix
}

func (c *validateCmd) Run(a *app) error {
	switch {
	case c.Now && !c.Fix:
		return kindUsage.Found("--run", "").WithText("--run goes with --fix").Usage()
	case c.Prometheus && a.json:
		return kindUsage.Found("--prometheus", "").WithText("metrics are not JSON: --prometheus and --json exclude each other").Usage()
	}
	if c.SASLConf {
		return c.printSASLConf(a)
	}
	r, err := c.result(a)
	if err != nil {
		return err
	}
	var steps []validate.Step
	if c.Fix {
		steps = validate.Steps(r.Findings)
	}
	if c.Now {
		if r, err = c.mend(a, steps); err != nil {
			return err
		}
	}
	switch {
	case a.json:
		err = a.printJSON(validateReport{finding.NewReport(r.Findings), r.Verdicts, r.Certificates, steps})
	case c.Fix && !c.Now:
		return validate.Script(a.stdout, steps)
	case c.Prometheus:
		err = r.Prometheus(a.stdout)
	default:
		err = r.Print(a.stdout)
	}
	if err != nil {
		return err
	}
	return c.verdict(r)
}

// printSASLConf prints a configuration of Cyrus SASL.
func (c *validateCmd) printSASLConf(a *app) error {
	switch {
	case len(c.Dir) > 1:
		return kindUsage.Found("--sasl-conf", strings.Join(c.Dir, ", ")).WithText("--sasl-conf is for one host at a time").Usage()
	case a.json:
		return kindUsage.Found("--sasl-conf", "").WithText("a configuration is not JSON: --sasl-conf and --json exclude each other").Usage()
	}
	o, err := c.options(a)
	if err != nil {
		return err
	}
	if len(c.Dir) == 1 {
		o.Root = layout.Root(c.Dir[0])
	}
	text, err := validate.SASLConf(a.ctx, o)
	if err == nil {
		a.printf("%s", text)
	}
	return err
}

// mend makes what is safe and judges again. What could not be made is a finding.
func (c *validateCmd) mend(a *app, steps []validate.Step) (*validate.Result, error) {
	done, failed := validate.Mend(steps)
	if !a.json {
		for _, s := range done {
			a.printf("done: %s\n", s.Command)
		}
		if len(done) > 0 {
			a.printf("\n")
		}
	}
	r, err := c.result(a)
	if err != nil {
		return nil, err
	}
	r.Findings = append(r.Findings, failed...)
	return r, nil
}

// verdict turns a result into how the command ends.
func (c *validateCmd) verdict(r *validate.Result) error {
	if len(c.For) > 0 && len(r.Unjudged) > 0 {
		return kindUnreadable.Found(strings.Join(r.Unjudged, ", "), "").WithFix("run the command as root, or name what you may read").Unable(nil)
	}
	wrong := finding.Worst(r.Findings) == finding.Error
	if len(c.For) > 0 && len(c.Against) > 0 {
		wrong = !r.Accepted()
	}
	if wrong {
		return errWrong
	}
	return nil
}

func (c *validateCmd) options(a *app) (validate.Options, error) {
	o := validate.Options{
		For: c.For, Against: c.Against, Hostnames: c.Hostname,
		As: c.As, Profile: access.Profile(c.Profile), MLDSA: c.MLDSA, Now: time.Now(),
	}
	var err error
	if o.Soon, err = parseSpan(c.Soon); err != nil {
		return o, kindUsage.Found("--soon", "").WithText("%v", err).Usage()
	}
	if c.KeyPass != "" {
		if o.Password, err = a.secretIn(c.KeyPass, aPassphrase); err != nil {
			return o, err
		}
	}
	return o, nil
}

// result judges everything that was named.
func (c *validateCmd) result(a *app) (*validate.Result, error) {
	o, err := c.options(a)
	if err != nil {
		return nil, err
	}
	if len(c.Dir) == 0 {
		return validate.Machine(a.ctx, o)
	}
	var all *validate.Result
	for _, dir := range c.Dir {
		r, err := validate.Dir(a.ctx, dir, o)
		if err != nil {
			return nil, err
		}
		all = all.With(r)
	}
	return all, nil
}
