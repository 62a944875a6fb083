package libvirt

import (
	"cmp"
	"os"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
)

// A Machine is where a client looks for its files.
type Machine struct {
	View    layout.View    // nil: this machine, with the rights of this process
	Account layout.Account // used with View; otherwise whoever runs this process
	Now     time.Time      // by which validity is judged; the present if zero
}

// Credentials loads what libvirt's client would use for the URI: pkipath alone
// if it is given, else the user's files before the system's, and the system's
// alone for root (see [layout.Lookup]). The findings are what libvirt's newest
// client dislikes about the files; those of severity error make it give up
// before it connects, and what could be loaded is returned all the same, so that
// more can be said. The error is that nothing could.
func (u *URI) Credentials(m Machine) (*creds.X509, []finding.Finding, error) {
	consumer, err := creds.ConsumerFor(creds.LibvirtClient, "")
	if err != nil {
		return nil, nil, err
	}
	if m.View == nil {
		m.View = layout.Root("/")
		m.Account.UID = os.Geteuid()
		m.Account.Home, _ = os.UserHomeDir() // without one there are the system's files
	}
	lookup := layout.Lookup{View: m.View, Account: m.Account, Libvirt: layout.Version(consumer.Version), PKIPath: u.PKIPath}
	found := lookup.LibvirtClient()
	use := found.Uses[0]
	consumer.MLDSA = pki.MLDSAUsable // which this side is, whatever libvirt's GnuTLS can
	x, judged := consumer.Load(use.Files, creds.JudgeOptions{View: m.View, Now: m.Now, NoSanityCheck: u.NoSanity})
	x.Options.Priority = cmp.Or(u.Priority, use.Priority.Value)
	x.Options.NoVerifyPeer = u.NoVerify
	findings := found.Findings
	for _, p := range judged.Problems {
		f := p.Finding
		if p.Text != "" && f.Severity == finding.Error {
			f = f.WithText("%s", p.Text)
		}
		findings = append(findings, f)
	}
	if len(x.Anchors) == 0 && !u.NoVerify {
		if p := judged.Refused(); p != nil {
			return nil, findings, p.Finding.WithText("%s", p.Text).Wrong()
		}
	}
	return x, findings, nil
}
