package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path"
	"strings"
	"time"

	"virtls/finding"
	"virtls/layout"
	"virtls/pki"
	"virtls/proto/libvirt"
)

// Local is what is known of the machine that the probe runs on.
type Local struct {
	View  layout.View  // its files
	Addrs []netip.Addr // its addresses
	Proc  string       // where its processes are (proc(5)); empty: they are not looked at
	// Systemctl runs systemctl with arguments; nil where there is no systemd.
	Systemctl func(ctx context.Context, args ...string) (string, error)
}

// systemctlLimit bounds a question to systemd, which may hang.
const systemctlLimit = 5 * time.Second

// ThisMachine looks at the machine.
func ThisMachine() *Local {
	l := &Local{View: layout.Root("/"), Proc: "/proc"}
	if list, err := net.InterfaceAddrs(); err == nil {
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.Addrs = append(l.Addrs, p.Addr().Unmap())
			}
		}
	}
	if _, err := l.View.Stat("/run/systemd/system"); err != nil {
		return l // sd_booted(3)
	}
	if name, err := exec.LookPath("systemctl"); err == nil {
		l.Systemctl = func(ctx context.Context, args ...string) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, systemctlLimit)
			defer cancel()
			out, err := exec.CommandContext(ctx, name, args...).Output()
			return string(out), err
		}
	}
	return l
}

// has tells whether an address is the machine's.
func (l *Local) has(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	for _, own := range l.Addrs {
		if own == a {
			return true
		}
	}
	return false
}

// A tlsSocket is a unit that has libvirt listen for TLS.
type tlsSocket struct{ unit, start string }

// tlsSockets are those of the daemons that can own the port. The service must
// not run when its socket is started.
var tlsSockets = []tlsSocket{
	{"virtproxyd-tls.socket", "systemctl enable --now virtproxyd-tls.socket"},
	{"libvirtd-tls.socket", "systemctl stop libvirtd.service && systemctl enable --now libvirtd-tls.socket && systemctl start libvirtd.service"},
}

var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// state returns "active", "inactive", "failed" and so on, empty for a unit that
// is not there or of which nothing is known.
func (l *Local) state(ctx context.Context, unit string) string {
	if l.Systemctl == nil {
		for _, dir := range unitDirs {
			if _, err := l.View.Stat(path.Join(dir, unit)); err == nil {
				return "installed; whether it is active is not known without systemd"
			}
		}
		return ""
	}
	out, err := l.Systemctl(ctx, "show", "--property=LoadState,ActiveState", unit)
	if err != nil {
		return ""
	}
	loaded, active := "", ""
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "LoadState":
			loaded = value
		case "ActiveState":
			active = value
		}
	}
	if loaded != "loaded" {
		return ""
	}
	return active
}

// local returns what is known of this machine if the target is on it.
func (p *prober) local() *Local {
	if p.t.VNC == nil && (p.t.URI == nil || p.t.URI.Transport != libvirt.TLS) || len(p.addrs) == 0 && !p.t.local() {
		return nil
	}
	if p.o.Local == nil {
		p.o.Local = ThisMachine()
	}
	for _, a := range p.addrs {
		if !p.o.Local.has(a) {
			return nil
		}
	}
	return p.o.Local
}

// localSockets reports TLS sockets of this machine that are not active, if
// nothing listens or something else than they does.
func (p *prober) localSockets(ctx context.Context) {
	l := p.local()
	if l == nil || p.t.URI == nil || p.t.Port != libvirt.TLSPort {
		return
	}
	var idle []finding.Finding
	for _, s := range tlsSockets {
		switch state := l.state(ctx, s.unit); state {
		case "":
		case "active":
			return
		default:
			idle = append(idle, kindSocket.Found(s.unit, state).WithFix("%s", s.start))
		}
	}
	for _, f := range idle {
		if !p.r.Unreachable {
			f = f.WithSeverity(finding.Info).WithText("the socket is not active; something else listens on the port, such as libvirtd --listen")
		}
		p.find(f)
	}
}

// compareExpected compares the certificate that the server shows with the one it
// should show: the one that was named, or those in the files of this machine.
func (p *prober) compareExpected() {
	if len(p.state.PeerChain) == 0 {
		return
	}
	served := p.state.PeerChain[0]
	if want := p.o.Expected; want != nil {
		if !pki.SameCertificate(served, want) {
			p.find(p.stale(served, want, "the certificate that was expected", ""))
		}
		return
	}
	if p.t.VNC != nil {
		p.expectQEMU()
		return
	}
	l := p.local()
	if l == nil || p.t.Port != libvirt.TLSPort {
		return
	}
	var pairs []layout.Pair
	for _, use := range (layout.Lookup{View: l.View, Libvirt: "12.8"}).LibvirtServer().Uses {
		pairs = append(pairs, use.Pairs...)
	}
	p.compareFiles([]layout.View{l.View}, pairs, "")
}

// compareFiles reports a certificate that none of the files has, if there is one
// of them in one of the views. The guest is whose VNC server it is.
func (p *prober) compareFiles(views []layout.View, pairs []layout.Pair, guest string) {
	var found *pki.Certificate
	var file string
	for _, view := range views {
		for _, pair := range pairs {
			data, err := view.ReadFile(pair.Cert)
			if err != nil {
				continue
			}
			chain, err := pki.ParseCertificatesPEM(data)
			if err != nil || len(chain) == 0 {
				continue
			}
			if pki.SameCertificate(p.state.PeerChain[0], chain[0]) {
				return
			}
			found, file = chain[0], pair.Cert
		}
		if found != nil {
			break
		}
	}
	if found != nil {
		p.find(p.stale(p.state.PeerChain[0], found, file, guest))
	}
}

func (p *prober) stale(served, want *pki.Certificate, where, guest string) finding.Finding {
	text := func(c *pki.Certificate) string {
		return fmt.Sprintf("%s, from %s to %s", c, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	}
	f := kindStale.Found("", text(served)).WithWant(text(want)+" ("+where+")", "")
	switch {
	case p.t.VNC != nil:
		return f.WithFix("%s", displayReload(guest))
	case p.t.URI == nil:
		return f.WithFix("have the service load its files: QEMU's VNC by display-reload, other parts of QEMU, qemu-nbd and nbdkit by a restart")
	}
	return f
}
