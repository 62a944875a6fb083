package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"virtls/finding"
	"virtls/proto/nbd"
	"virtls/tlsengine"
)

// A TLSPolicy is what a server of NBD does about TLS.
type TLSPolicy string

// The policies.
const (
	TLSOff      TLSPolicy = "off"
	TLSOptional TLSPolicy = "optional" // clients may do without
	TLSRequired TLSPolicy = "required"
)

// An NBDServer is what an NBD server says of itself.
type NBDServer struct {
	TLS     TLSPolicy   `json:"tls,omitempty"` // empty if it is not known
	Exports []NBDExport `json:"exports"`       // that this client may see
	// PlainExports are those that clients without TLS see, too.
	PlainExports []string `json:"plain_exports,omitempty"`
}

// An NBDExport is an export.
type NBDExport struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Size        int64  `json:"size"` // octets; -1 if the server does not tell
	ReadOnly    bool   `json:"read_only"`
	Refused     string `json:"refused,omitempty"` // why the server does not tell more
}

func exportsOf(list []nbd.Info) []NBDExport {
	exports := []NBDExport{}
	for _, i := range list {
		exports = append(exports, NBDExport{i.Name, i.Description, i.Size, i.Flags.Has(nbd.ReadOnly), i.Refused})
	}
	return exports
}

// prepareNBD loads the credentials that the address names. Without any the
// server is looked at as by a client without certificate.
func (p *prober) prepareNBD() error {
	a := p.t.NBD
	p.r.NBD = &NBDServer{Exports: []NBDExport{}}
	named := a.Type != "" || a.Certificates != "" || a.PSKFile != ""
	if p.creds != nil || !a.TLS || !named {
		return nil
	}
	c, err := a.Credentials()
	if err != nil {
		return p.stop(StageResolve, findingOf(err))
	}
	p.creds, p.o.Credentials = c, c
	return nil
}

// upgradeNBD asks the server for TLS, or goes without where the address does.
func (p *prober) upgradeNBD(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	if !p.t.NBD.TLS {
		return p.goPlain(ctx)
	}
	if err := nbd.Upgrade(ctx, p.nc, p.r.Target); err != nil {
		f := findingOf(err)
		if f.Code != "nbd-tls-missing" {
			return p.notNBD(f)
		}
		p.r.Posture, p.r.NBD.TLS = Plain, TLSOff
		return p.stop(StageUpgrade, f)
	}
	p.nc.forget()
	p.done(StageUpgrade, Passed, "the server goes over to TLS when it is asked (STARTTLS)")
	return nil
}

// goPlain finds out whether the server would have TLS, and goes without: the
// question of who is let in is answered at the end.
func (p *prober) goPlain(ctx context.Context) error {
	err := nbd.Upgrade(ctx, p.nc, p.r.Target)
	p.nc.Close()
	switch code := finding.Of(err).Code; {
	case err == nil:
		p.done(StageUpgrade, Unknown, "the server would go over to TLS; the address asks for a connection without")
	case code == "nbd-tls-missing":
		p.r.NBD.TLS = TLSOff
		p.done(StageUpgrade, Failed, "the server has no TLS: "+findingOf(err).Text)
	default:
		return p.notNBD(findingOf(err))
	}
	return errStop
}

// notNBD is a service that does not get as far as TLS, after which there is
// nothing to ask of it.
func (p *prober) notNBD(f finding.Finding) error {
	p.r.NBD = nil
	heard := p.nc.heard()
	switch {
	case len(heard) == 0:
		p.r.Candidates = []Candidate{
			{Cause: "the service speaks another protocol, and waits for its client's first words", Fix: "NBD's port is 10809 unless the server was told otherwise; ss -ltnp on the server shows what listens where"},
			{Cause: "another client is connected: qemu-nbd serves one at a time unless it is told otherwise", Fix: "qemu-nbd --shared=8"},
			{Cause: "the service hangs, or what forwards to it does", Fix: "look at the service on its machine"},
		}
		p.r.Decides = "on the server: ss -tnp shows whether the connection was accepted, and by which process"
		return p.stop(StageUpgrade, kindSilent.Found("", "no greeting"))
	case !bytes.HasPrefix(heard, []byte("NBDMAGIC")):
		is := "something else"
		for _, g := range greetings {
			if bytes.HasPrefix(heard, []byte(g.begins)) {
				is = g.is
			}
		}
		return p.stop(StageUpgrade, kindNotNBD.Found("", fmt.Sprintf("%q", heard[:min(len(heard), 24)])).WithText("the service does not speak NBD on this port, but %s", is))
	}
	return p.stop(StageUpgrade, f)
}

// exports has the server list its exports, by which it accepts the client.
func (p *prober) exports(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	list, err := nbd.Look(ctx, p.session, nbd.Options{Export: p.t.NBD.Export, Upgraded: true, Subject: p.r.Target})
	f := findingOf(err)
	if err != nil && f.Code == "nbd-protocol" && ctx.Err() == nil {
		return p.unanswered(err)
	}
	p.accepted = true
	p.find(findings(p.pending)...) // what the server lets pass all the same
	p.done(StageClient, Passed, p.acceptedHow())
	p.r.NBD.Exports = exportsOf(list)
	if err != nil {
		return p.stop(StageAnswer, f)
	}
	p.done(StageAnswer, Passed, brief(p.r.NBD.Exports))
	return nil
}

// unanswered is a server that ends the connection after the handshake, which is
// how it refuses a client.
func (p *prober) unanswered(err error) error {
	how := "the server closes the connection after the handshake"
	if alert, ok := errors.AsType[*tlsengine.AlertError](err); ok {
		how = "alert " + alert.Alert.String()
	}
	if p.psk() == nil && p.x509() == nil {
		return p.stop(StageAnswer, kindClosed.Found("", how))
	}
	return p.refusedClient(StageClient, how)
}

// brief says what exports there are.
func brief(list []NBDExport) string {
	switch len(list) {
	case 0:
		return "the server lists no exports"
	case 1:
		return "1 export: " + list[0].String()
	}
	return fmt.Sprintf("%d exports", len(list))
}

// String describes the export in a line.
func (e NBDExport) String() string {
	text := fmt.Sprintf("%q", e.Name)
	switch {
	case e.Refused != "":
		return text + ", of which the server tells nothing: " + e.Refused
	case e.Size >= 0:
		text += fmt.Sprintf(", %d octets", e.Size)
	}
	if e.ReadOnly {
		return text + ", read-only"
	}
	return text + ", writable"
}

// plainNBD finds out what the server lets clients without TLS do.
func (p *prober) plainNBD(ctx context.Context) {
	if p.r.NBD == nil || p.r.Address == "" {
		return
	}
	if p.session != nil {
		p.session.Close() // some services take one client at a time
	}
	p.nc.Close()
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	nc, err := p.again(ctx)
	if err != nil {
		p.done(StagePlain, Unknown, err.Error())
		return
	}
	export := p.t.NBD.Export
	if p.t.NBD.TLS {
		export = ""
	}
	list, err := nbd.Look(ctx, nc, nbd.Options{Export: export, Subject: p.r.Target})
	p.judgePlain(list, err)
}

// judgePlain says what a client without TLS got.
func (p *prober) judgePlain(list []nbd.Info, err error) {
	s, f := p.r.NBD, findingOf(err)
	switch {
	case err != nil && f.Code == "nbd-tls-required":
		s.TLS = TLSRequired
		p.done(StagePlain, Passed, "refused: "+f.Text)
		if !p.t.NBD.TLS {
			p.find(f)
		}
		return
	case err != nil && f.Code != "nbd-export-unknown":
		p.done(StagePlain, Unknown, f.Text)
		if !p.t.NBD.TLS {
			p.find(f)
		}
		return
	}
	for _, i := range list {
		s.PlainExports = append(s.PlainExports, i.Name)
	}
	if len(s.Exports) == 0 {
		s.Exports = exportsOf(list)
	}
	p.done(StagePlain, Failed, "let in: "+brief(exportsOf(list)))
	if err != nil {
		p.find(f)
	}
	if s.TLS == TLSOff {
		p.r.Posture = Plain
		if !p.t.NBD.TLS {
			p.find(kindNBDPlain.Found("", ""))
		}
		return
	}
	s.TLS = TLSOptional
	switch {
	case !p.t.NBD.TLS:
		p.r.Posture = Plain
	case p.r.Posture == Mutual || p.r.Posture == MutualList:
		p.r.Posture = ServerVerified // it demands nothing of whoever leaves TLS out
	}
	p.find(kindNBDOptional.Found("", brief(exportsOf(list))))
}
