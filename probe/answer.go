package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/proto/libvirt"
	"virtls/proto/nbd"
	"virtls/session"
	"virtls/tlsengine"
)

// answer has the service say its first words, by which it accepts the client.
func (p *prober) answer(ctx context.Context) error {
	switch {
	case !p.complete():
		return nil
	case p.judged != nil:
		p.find(findings(p.pending)...)
		p.done(StageAnswer, Unknown, "not waited for: the server is not to be trusted")
		return errStop
	case p.t.NBD != nil:
		return p.exports(ctx)
	case p.t.VNC != nil:
		return p.answerVNC(ctx)
	case p.t.URI == nil:
		return p.listen()
	}
	limited, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	if err := libvirt.AwaitConfirmation(limited, p.session); err != nil {
		return p.unconfirmed(err)
	}
	p.accepted = true
	p.find(findings(p.pending)...) // what the server lets pass all the same
	p.done(StageClient, Passed, p.acceptedHow())
	return p.callLibvirt(ctx, p.session)
}

// acceptedHow says with what the client was accepted.
func (p *prober) acceptedHow() string {
	switch {
	case p.r.Shown != "":
		return p.r.Shown + " is accepted"
	case p.x509() == nil:
		return "no certificates"
	}
	return "the server accepts a client without certificate"
}

func (p *prober) unconfirmed(err error) error {
	f := findingOf(err)
	if f.Code == "libvirt-unconfirmed" {
		how := closedHow(err)
		if alert, ok := errors.AsType[*tlsengine.AlertError](err); ok {
			how = "alert " + alert.Alert.String()
		} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			how = "the server closes the connection after the handshake"
		}
		return p.refusedClient(StageClient, how)
	}
	p.r.Candidates = []Candidate{
		{Cause: "a TLS proxy stands in front of the server and does not send libvirt's byte: one made for any protocol does not know it", Fix: "put virtls gateway libvirt in its place, or have libvirtd listen for TLS itself"},
		{Cause: "it is no libvirt server", Fix: "libvirt's TLS port is 16514"},
		{Cause: "the server hangs", Fix: "look at it on its machine: systemctl status libvirtd virtproxyd"},
	}
	p.r.Decides = "on the server: ss -ltnp shows which program listens on the port"
	p.find(findings(p.pending)...)
	f.Subject = p.r.Target
	return p.stop(StageAnswer, f)
}

// callLibvirt makes the first calls of libvirt's clients.
func (p *prober) callLibvirt(ctx context.Context, nc net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	c := libvirt.NewClient(nc)
	s := &Server{}
	auth, err := c.AuthList(ctx)
	if err != nil {
		return p.stop(StageAnswer, kindNoAnswer.Found("", "AUTH_LIST: "+closedHow(err)))
	}
	p.r.Server = s
	for _, a := range auth {
		s.Auth = append(s.Auth, a.String())
		if a != libvirt.AuthNone {
			p.done(StageAnswer, Passed, "the server wants its clients to authenticate ("+a.String()+"), where the probe ends")
			return nil
		}
	}
	if err := c.Open(ctx, p.t.URI.Remote(), true); err != nil {
		return p.stop(StageAnswer, kindNotOpened.Found("", p.t.URI.Remote()).WithText("%s", closedHow(err)))
	}
	if s.Hostname, err = c.Hostname(ctx); err == nil {
		var v libvirt.LibVersion
		if v, err = c.LibVersion(ctx); err == nil {
			s.Version = v.String()
		}
	}
	if err != nil {
		return p.stop(StageAnswer, kindNoAnswer.Found("", closedHow(err)))
	}
	_ = c.Close(ctx) // a courtesy
	p.done(StageAnswer, Passed, fmt.Sprintf("libvirt %s on %s", s.Version, s.Hostname))
	return nil
}

// listenLimit is how long the probe of a service of which nothing is known waits
// for it to refuse. QEMU does so at once.
const listenLimit = 2 * time.Second

// listen waits whether the server closes the connection.
func (p *prober) listen() error {
	p.session.SetReadDeadline(time.Now().Add(min(listenLimit, p.o.Timeout)))
	buf := make([]byte, 512)
	n, err := p.session.Read(buf)
	switch {
	case n > 0 || errors.Is(err, os.ErrDeadlineExceeded):
	case err != nil:
		how := "the server closes the connection after the handshake"
		if alert, ok := errors.AsType[*tlsengine.AlertError](err); ok {
			how = "alert " + alert.Alert.String()
		}
		if p.x509() == nil {
			return p.stop(StageAnswer, kindClosed.Found("", how))
		}
		return p.refusedClient(StageClient, how)
	}
	p.accepted = true
	p.find(findings(p.pending)...)
	p.done(StageClient, Passed, p.acceptedHow())
	detail := "the server keeps the connection open"
	if n > 0 {
		detail = fmt.Sprintf("the server begins with %q", buf[:min(n, 32)])
	}
	p.done(StageAnswer, Passed, detail)
	return nil
}

// ofAlert says what an alert tells of the client's certificate.
var ofAlert = map[string]string{
	"certificate_expired":     "it has expired, or the server's clock is wrong",
	"certificate_revoked":     "it is on the server's revocation list",
	"unknown_ca":              "the server does not know its issuer: the server's CA file lacks it, or has another authority of the same name",
	"access_denied":           "the server's access list does not have its name",
	"certificate_required":    "the server demands one",
	"unsupported_certificate": "its key or its purposes are not for a client",
	"decrypt_error":           "the signature with its key is wrong: certificate and key do not belong together",
}

// refusedClient says why the server refused the client, as far as it can be
// known, and else everything it can be.
func (p *prober) refusedClient(stage, how string) error {
	if p.psk() != nil {
		return p.refusedKey(how)
	}
	if p.pending == nil {
		p.pending = p.obstacles()
	}
	alert := strings.TrimPrefix(how, "alert ")
	x := p.x509()
	switch {
	case x != nil && p.state.Identity == nil && len(x.Identities) == 0:
		p.demands = true
		f := kindClientMissing.Found("", how)
		if p.t.URI != nil {
			f = f.WithFix("put a client's certificate in place (pkipath, ~/.pki/libvirt or /etc/pki/libvirt), issued by %s", p.byWhom())
		}
		return p.stop(stage, f)
	case len(p.pending) > 0:
		p.demands = true
		f := p.pending[0].finding
		p.find(findings(p.pending[1:])...)
		return p.stop(stage, f)
	case x != nil && ofAlert[alert] != "":
		p.demands = true
		return p.stop(stage, kindClientRefused.Found(p.r.Shown, how).WithText("the server refuses the client's certificate: %s", ofAlert[alert]))
	}
	p.r.Candidates, p.r.Decides = p.hidden(), p.serverLog()
	return p.stop(stage, kindClientRefused.Found(p.r.Shown, how))
}

func (p *prober) byWhom() string {
	if p.r.Asked == nil || len(p.r.Asked.Authorities) == 0 {
		return "an authority that the server trusts"
	}
	return strings.Join(p.r.Asked.Authorities, ", or by ")
}

// hidden are the reasons for refusing a certificate that nothing is wrong with
// as far as this side can see.
func (p *prober) hidden() []Candidate {
	name := p.r.Shown
	list := []Candidate{
		{Cause: "the access list of the server lacks " + name, Log: "TLS x509 authz check for " + name + " is denied", Fix: "add the name in exactly this order to the object that tls-authz names"},
		{Cause: "the certificate is on the server's revocation list", Log: "The certificate has been revoked", Fix: "issue another certificate if the client is to come in"},
		{Cause: "the server's CA file has another authority of the same name, or none that issued it", Log: "The certificate hasn't got a known issuer", Fix: "bring the CA certificate that issued it into the server's ca-cert.pem, and restart the service"},
		{Cause: "the server's clock is wrong, or an authority in its CA file has expired", Log: "The certificate is not trusted", Fix: "compare the clocks; virtls validate on the server"},
		{Cause: "the server holds an older CA file, revocation list or access list in memory than is on its disk", Log: "as one of those above", Fix: "restart the service, or have it load the files again"},
	}
	if p.t.VNC != nil {
		list[4].Fix = displayReload("")
	}
	if p.t.URI != nil {
		list[0].Log, list[0].Fix = "Client's Distinguished Name is not on the list of allowed clients (tls_allowed_dn_list)", `add "`+name+`" to tls_allowed_dn_list in libvirtd.conf and restart the daemon; an empty list lets nobody in`
		list[2].Fix = "bring the CA certificate that issued it into the server's cacert.pem, then virt-admin server-update-tls libvirtd"
		list[4].Fix = "virt-admin server-update-tls libvirtd (or virtproxyd)"
	}
	return list
}

// refuses tells whether the server refuses other credentials.
func (p *prober) refuses(ctx context.Context, c creds.Credentials) (refused, known bool) {
	nc, err := p.againToTLS(ctx)
	if err != nil {
		return false, false
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	conn, err := session.Open(ctx, nc, p.options(c))
	if err != nil {
		return true, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isAlert(err)
	}
	if p.t.URI != nil {
		err := libvirt.AwaitConfirmation(ctx, conn)
		return err != nil, err == nil || finding.Of(err).Code == "libvirt-unconfirmed"
	}
	if p.t.NBD != nil {
		_, err := nbd.Look(ctx, conn, nbd.Options{Upgraded: true})
		return err != nil, err == nil || finding.Of(err).Code == "nbd-protocol"
	}
	if p.t.VNC != nil && p.t.VNC.Websocket != nil {
		return !p.acceptsBrowser(ctx, conn), true
	}
	conn.SetReadDeadline(time.Now().Add(listenLimit))
	n, err := conn.Read(make([]byte, 1))
	return n == 0 && !errors.Is(err, os.ErrDeadlineExceeded), true
}

func isAlert(err error) bool {
	_, ok := errors.AsType[*tlsengine.AlertError](err)
	return ok
}

// notDemanded is a server that lets in clients without certificate.
func (p *prober) notDemanded() {
	f := kindNotDemanded.Found("", "")
	if v := p.r.VNC; v != nil {
		v.Clients = "optional"
		if password, user := p.chosen.Asks(); password || user || p.webLogin() {
			return // they have to log in
		}
		f = f.WithFix("libvirt: vnc_tls_x509_verify = 1 in qemu.conf; QEMU: verify-peer=on; or have clients log in (SASL)")
	}
	p.find(f)
}

// posture says how far the service protects its sessions.
func (p *prober) posture(ctx context.Context) {
	x := p.x509()
	_, anonymous := p.creds.(*creds.Anon)
	switch {
	case p.r.Posture != "" || p.session == nil:
		return
	case anonymous:
		p.r.Posture = AnonymousTLS
		return
	case p.psk() != nil:
		p.r.Posture = Mutual
		return
	case len(p.r.Chain) == 0:
		return
	case x == nil || !x.VerifyPeer() || p.judged != nil:
		p.r.Posture = Encrypted
		return
	}
	p.r.Posture = ServerVerified
	p.session.Close() // some services take one client at a time
	if p.accepted && p.state.Identity != nil {
		bare := *x
		bare.Identities = nil
		if refused, known := p.refuses(ctx, &bare); known && refused {
			p.demands = true
		} else if known {
			p.notDemanded()
		}
	} else if p.accepted && p.r.Asked != nil {
		p.notDemanded()
	}
	if p.demands {
		p.r.Posture = Mutual
	}
	if p.o.Stranger == nil || !p.demands || !p.accepted {
		return
	}
	if refused, known := p.refuses(ctx, p.o.Stranger); known && refused {
		p.r.Posture = MutualList
	} else if known {
		p.find(kindStranger.Found("", ""))
	}
}
