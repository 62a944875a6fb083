package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"virtls/creds"
	"virtls/finding"
	"virtls/session"
	"virtls/tlsengine"
)

// complete tells whether the handshake is to be completed.
// A server of NBD counts no client that leaves before it has chosen an export.
func (p *prober) complete() bool {
	return p.o.Complete || p.t.URI != nil || p.t.NBD != nil || p.t.VNC != nil
}

// options are the session's with credentials.
func (p *prober) options(c creds.Credentials) session.Options {
	o := session.Options{Credentials: c, Engine: session.Native, Observe: !p.complete(), System: p.o.System, Now: p.o.Now}
	if p.t.URI != nil {
		o.Rules = session.Libvirt
	}
	if x, ok := c.(*creds.X509); ok && x.VerifyPeer() {
		o.Hostname = p.host
	}
	return o
}

// handshake shakes hands. What the session says of the server's certificate is
// kept for the next stage: the handshake itself has succeeded then.
func (p *prober) handshake(ctx context.Context) error {
	if p.creds == nil {
		p.creds = nobody()
	}
	conn, err := session.NewConn(p.nc, p.options(p.creds))
	if err != nil {
		return p.stop(StageHandshake, findingOf(err))
	}
	limited, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	err = conn.Handshake(limited)
	p.state = conn.State()
	p.note()
	if err != nil && slices.Contains([]string{"handshake-failed", "psk-refused"}, finding.Of(err).Code) {
		return p.failedHandshake(ctx, err)
	}
	p.judged, p.r.Complete = err, p.complete()
	detail := fmt.Sprintf("%s, %s", p.state.Version, p.state.Suite)
	if p.state.Group != "" {
		detail += ", " + p.state.Group
	}
	if !p.complete() {
		detail += "; left before its end"
	}
	p.done(StageHandshake, Passed, detail)
	p.session = conn
	return nil
}

// note enters what the handshake showed.
func (p *prober) note() {
	s := p.state
	p.r.Version, p.r.Suite, p.r.Group = s.Version, s.Suite, s.Group
	now := p.o.Now()
	for _, c := range s.PeerChain {
		p.r.Chain = append(p.r.Chain, Certificate{
			Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: c.SerialHex(),
			NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), DaysLeft: c.NotAfter.Sub(now).Hours() / 24, Names: namesOf(c),
		})
	}
	if s.Request != nil {
		p.r.Asked = &Asked{Authorities: authorityNames(s.Request.Authorities), Schemes: texts(s.Request.Schemes)}
	}
	switch {
	case s.Identity != nil:
		p.r.Shown = s.Identity.Chain[0].Subject.String()
	case p.psk() != nil:
		p.r.Shown = p.psk().Username()
	}
}

func (p *prober) psk() *creds.PSK {
	c, _ := p.creds.(*creds.PSK)
	return c
}

func texts[T fmt.Stringer](list []T) []string {
	out := []string{}
	for _, v := range list {
		out = append(out, v.String())
	}
	return out
}

// failedHandshake says why there was no handshake.
func (p *prober) failedHandshake(ctx context.Context, err error) error {
	p.nc.Close()
	heard := p.nc.heard()
	alert, alerted := errors.AsType[*tlsengine.AlertError](err)
	own, ours := errors.AsType[*tlsengine.Error](err)
	var timeout net.Error
	switch {
	case len(heard) > 0 && !p.nc.isTLS():
		p.r.Posture = Plain
		return p.stop(StageHandshake, notTLS(heard))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return p.silent(heard)
	case alerted:
		return p.alerted(ctx, alert.Alert)
	case ours:
		return p.stop(StageHandshake, kindServerWrong.Found("", own.Reason))
	case len(heard) == 0:
		return p.closedAtOnce(ctx, err)
	}
	return p.closedLater(ctx, err)
}

// greetings tell what a service speaks that does not speak TLS.
var greetings = []struct{ begins, is, fix string }{
	{"NBDMAGIC", "NBD", "the NBD protocol gets to TLS by STARTTLS: probe nbds://HOST:PORT"},
	{"RFB ", "VNC", "VNC gets to TLS by VeNCrypt, inside its own protocol: probe vnc://HOST:PORT"},
	{"SSH-", "SSH", "this is an SSH server: the port is wrong"},
	{"HTTP/", "HTTP", "this is a web server: the port is wrong"},
	{"QEVM", "QEMU's migration stream, without TLS", "set tls-creds on both ends before the migration begins"},
	{"\x00\x00\x00", "libvirt's protocol, without TLS", "libvirt's TLS port is 16514; 16509 is the one without"},
}

func notTLS(heard []byte) finding.Finding {
	f := kindNotTLS.Found("", fmt.Sprintf("%q", heard[:min(len(heard), 24)]))
	for _, g := range greetings {
		if bytes.HasPrefix(heard, []byte(g.begins)) {
			return f.WithText("the service does not speak TLS on this port, but %s", g.is).WithFix("%s", g.fix)
		}
	}
	return f
}

// silent is a server that took the connection and the ClientHello, and says nothing.
func (p *prober) silent(heard []byte) error {
	if len(heard) > 0 {
		p.r.Decides = p.serverLog()
		return p.stop(StageHandshake, kindHangs.Found("", ""))
	}
	p.r.Candidates = []Candidate{
		{Cause: "the service speaks no TLS and waits for its client's next words: a character device without tls-creds takes a ClientHello for data", Fix: "give it tls-creds (QEMU: -chardev socket,...,tls-creds=ID; libvirt: tls='yes' and chardev_tls)"},
		{Cause: "another client is connected: a character device serves one at a time and lets the others wait", Fix: "end the other client; ss -tnp on the server shows it"},
		{Cause: "the service hangs, or what forwards to it does", Fix: "look at the service on its machine"},
	}
	if p.t.URI != nil {
		p.r.Candidates = p.r.Candidates[2:]
	}
	p.r.Decides = "on the server: ss -tnp shows whether the connection was accepted, and by which process"
	return p.stop(StageHandshake, kindSilent.Found("", fmt.Sprintf("nothing within %v", p.o.Timeout)))
}

// closedAtOnce is a server that answers a ClientHello by closing the connection.
func (p *prober) closedAtOnce(ctx context.Context, err error) error {
	if p.ask(ctx); p.kinds.any() {
		return p.mismatch(ctx, nil)
	}
	p.r.Candidates = []Candidate{
		{Cause: "the service speaks no TLS on this port and dislikes what it got", Log: plainLog(p.t), Fix: "turn TLS on for it; a plain migration that waited has ended by this"},
		{Cause: "the service's TLS cannot start a session: no certificate that it can use, or a priority string that its GnuTLS does not know, such as @SYSTEM on Debian",
			Log: "Unable to set TLS session priority, or: Failed to set TLS session priority, or: no or insufficient priorities were set", Fix: "take the priority string away, or write NORMAL"},
		{Cause: "too many clients wait for their handshake (libvirt: max_anonymous_clients)", Log: "Too many active clients", Fix: "wait, and probe again"},
	}
	p.r.Decides = p.serverLog()
	return p.stop(StageHandshake, kindClosed.Found("", closedHow(err)))
}

func plainLog(t Target) string {
	if t.URI != nil {
		return "packet ... too large, or: An unexpected TLS packet was received"
	}
	return "unknown channel magic, or: Not a migration stream"
}

func closedHow(err error) string {
	for _, end := range []error{syscall.ECONNRESET, syscall.EPIPE, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, end) { // which of them it is, is a matter of timing
			return "end of the connection"
		}
	}
	return strings.TrimPrefix(err.Error(), "TLS handshake failed: ")
}

// closedLater is a server that closes the connection in the middle of the
// handshake without an alert, as QEMU's do.
func (p *prober) closedLater(ctx context.Context, err error) error {
	if p.state.Request != nil || p.state.Version == "TLS 1.2" {
		return p.refusedClient(StageHandshake, closedHow(err))
	}
	if p.ask(ctx); p.kinds.any() {
		return p.mismatch(ctx, nil)
	}
	p.r.Decides = p.serverLog()
	return p.stop(StageHandshake, kindClosed.Found("", closedHow(err)))
}

// serverLog says which log has the server's side of it.
func (p *prober) serverLog() string {
	if p.t.URI != nil {
		return "the log of the server: journalctl -u libvirtd -u virtproxyd (log_filters=\"1:rpc\" tells more)"
	}
	if p.t.NBD != nil {
		return "the log of the server: the standard error of qemu-nbd or QEMU (of a libvirt guest /var/log/libvirt/qemu/GUEST.log); nbdkit says more with -f -v"
	}
	if p.t.VNC != nil {
		return "the log of a gateway; of a libvirt guest /var/log/libvirt/qemu/GUEST.log, when virsh qemu-monitor-command GUEST --hmp 'trace-event vnc_auth_fail on' has had QEMU log why logins fail (not those of websockets), and the probe has been made again; of a QEMU without libvirt its standard error, with -trace vnc_auth_fail"
	}
	return "the log of the server: of a libvirt guest /var/log/libvirt/qemu/GUEST.log, else the standard error of QEMU; for a character device QEMU logs nothing unless -trace 'chr_socket_tls*,qcrypto_tls*' is set"
}
