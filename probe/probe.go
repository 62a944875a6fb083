// Package probe looks at a live TLS service as its clients would, stage by
// stage, and says what is wrong on either side: it resolves the name, connects,
// shakes hands, judges the server's chain and name, compares what the server asks
// of its clients with the certificate at hand, and has the service answer.
//
// A service that is neither libvirt's nor NBD's nor VNC's is left before the
// handshake is complete unless [Options.Complete] is set, so that the probe of a
// migration that waits, or of a character device, is no peer of it.
package probe

import (
	"cmp"
	"context"
	"errors"
	"image"
	"net"
	"net/netip"
	"strconv"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/pki"
	"virtls/priority"
	"virtls/proto/libvirt"
	"virtls/proto/vnc"
	"virtls/sasl"
	"virtls/session"
	"virtls/tlsengine/scan"
)

// DefaultTimeout bounds each stage.
const DefaultTimeout = 10 * time.Second

// Options say what a probe does and with what.
type Options struct {
	// Credentials are a client's. Without any a libvirt URI has the files that
	// libvirt's client would take; other services are looked at without
	// certificate, and their own is not judged.
	Credentials creds.Credentials
	Hostname    string // that the server's certificate must have; the target's host if empty

	// Complete completes the handshake with services of which it is not known
	// what they do then. libvirt's, NBD's and VNC's are always completed.
	Complete bool
	// Stranger are credentials whose certificate the server's authority issued
	// and its access list should not let in. A server that refuses them has one.
	Stranger creds.Credentials
	Expected *pki.Certificate // that the server should show, nil if it is not known
	Scan     bool             // which versions and suites are accepted

	// Login is for VNC servers that ask for one: a password, and for SASL a user.
	// Without it they are looked at up to there. Below verified TLS it is also for
	// websockets whose server asks for an account.
	Login      *sasl.Login
	Mechanisms []string // of SASL that may be used, the best first; sasl.Default if nil
	Token      []byte   // by which a gateway opens a websocket; nil if there is none
	// Kerberos, if it is set, returns what logs in to a host by SASL's GSSAPI:
	// a *gssapi.Client.
	Kerberos   func(host string) sasl.Mechanism
	Screenshot bool // of a VNC server, after the login

	Timeout time.Duration         // of each stage; DefaultTimeout if 0
	Soon    time.Duration         // what ends within this time ends soon; 30 days if 0
	Now     func() time.Time      // by which certificates are judged; time.Now if nil
	System  priority.SystemConfig // for @NAME in priority strings
	Machine libvirt.Machine       // where the files of libvirt URIs are
	Local   *Local                // what is known of this machine; nil: look
	// Allowed decides, if it is set, which addresses may be connected to.
	Allowed func(netip.Addr) bool
	// Progress, if set, is called with each stage when it has ended.
	Progress func(Stage)
}

// A Status says how a stage ended.
type Status string

// The statuses.
const (
	Passed  Status = "ok"
	Failed  Status = "failed"
	Unknown Status = "unknown" // it was passed over, or nothing can be said
)

// Names of the stages, in their order.
const (
	StageResolve   = "resolve"
	StageConnect   = "connect"
	StageUpgrade   = "upgrade"
	StageHandshake = "handshake"
	StageChain     = "chain"
	StageName      = "name"
	StageClient    = "client certificate"
	StageAnswer    = "answer"
	StagePlain     = "plain clients" // of NBD: whether the server lets them in
	StageWebsocket = "websocket"     // these are of VNC
	StageRFB       = "RFB version"
	StageSecurity  = "security types"
	StageVeNCrypt  = "VeNCrypt"
	StageLogin     = "login"
	StageScreen    = "screen"
	StageScan      = "scan"
)

// A Stage is a step of a probe.
type Stage struct {
	Name    string  `json:"stage"`
	Status  Status  `json:"status"`
	Detail  string  `json:"detail"`
	Seconds float64 `json:"seconds"`
}

// A Posture says how far a service protects its sessions.
type Posture string

// The postures, weakest first.
const (
	Plain          Posture = "plain"            // no TLS
	AnonymousTLS   Posture = "anonymous"        // TLS in which nobody proves anything
	Encrypted      Posture = "encrypted"        // TLS with a server that was not verified
	ServerVerified Posture = "server verified"  // the client knows the server
	Mutual         Posture = "mutual"           // and the server demands that it knows the client
	MutualList     Posture = "mutual with list" // and lets only some of those in
)

// Postures lists the postures, weakest first.
func Postures() []Posture {
	return []Posture{Plain, AnonymousTLS, Encrypted, ServerVerified, Mutual, MutualList}
}

// A Certificate is one of the server's chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	DaysLeft  float64   `json:"days_left"`
	Names     []string  `json:"names,omitempty"`
}

// Asked is what the server says of the certificates that it wants.
type Asked struct {
	Authorities []string `json:"authorities"` // empty: anybody's
	Schemes     []string `json:"schemes"`
}

// A Candidate is something that can be behind a refusal whose reason does not
// come over the wire.
type Candidate struct {
	Cause string `json:"cause"`
	Log   string `json:"log,omitempty"` // what the server's log says if it is this one
	Fix   string `json:"fix"`
}

// A Server is what a libvirt server says of itself.
type Server struct {
	Hostname string   `json:"hostname,omitempty"`
	Version  string   `json:"version,omitempty"`
	Auth     []string `json:"auth,omitempty"`
}

// A Result is what a probe found.
type Result struct {
	Target   string  `json:"target"`
	Address  string  `json:"address,omitempty"` // that was connected to
	Stages   []Stage `json:"stages"`
	Posture  Posture `json:"posture,omitempty"` // empty if it is not known
	Complete bool    `json:"complete"`          // the handshake was
	Version  string  `json:"version,omitempty"`
	Suite    string  `json:"suite,omitempty"`
	Group    string  `json:"group,omitempty"`

	Chain []Certificate `json:"chain,omitempty"`
	Asked *Asked        `json:"asked,omitempty"` // nil if the server asked for no certificate
	Shown string        `json:"shown,omitempty"` // DN of the client's certificate, or user of its key

	Server     *Server      `json:"server,omitempty"`
	NBD        *NBDServer   `json:"nbd,omitempty"`
	VNC        *VNCServer   `json:"vnc,omitempty"`
	Picture    *image.RGBA  `json:"-"`                    // the screen, if it was asked for
	Candidates []Candidate  `json:"candidates,omitempty"` // the most likely first
	Decides    string       `json:"decides,omitempty"`    // which log tells which of them it is
	Scan       *scan.Result `json:"scan,omitempty"`
	Seconds    float64      `json:"seconds"`

	Findings    []finding.Finding `json:"findings"`
	Unreachable bool              `json:"unreachable"`
}

// Worst returns the severity of the worst finding.
func (r *Result) Worst() finding.Severity { return finding.Worst(r.Findings) }

// prober is a probe at work.
type prober struct {
	o     Options
	t     Target
	r     *Result
	began time.Time // when the current stage did

	creds creds.Credentials
	host  string       // whom the server's certificate must name
	addrs []netip.Addr // of the target's host
	nc    *recorder

	session *session.Conn // of a handshake that succeeded
	state   session.State
	judged  error // what the session said of the server's certificate, nil if nothing
	kinds   kinds // what the server accepts, if it was asked

	rfb              *vnc.Negotiation // with a VNC server
	chosen, tlsBelow vnc.Security     // by this side; that has TLS, if any has
	account          bool             // the server of the websocket asks for one

	pending  []obstacle // why the client's certificate may be refused
	accepted bool       // the server accepted the client
	demands  bool       // the server refuses clients without certificate
}

// errStop ends a probe whose last stage has said why.
var errStop = errors.New("probe: stop")

// Run probes a service. Whatever is wrong is in the result.
func Run(ctx context.Context, t Target, o Options) *Result {
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Soon = cmp.Or(o.Soon, 30*24*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &prober{o: o, t: t, host: o.Hostname, creds: o.Credentials, r: &Result{Target: t.String(), Stages: []Stage{}, Findings: []finding.Finding{}}}
	if p.host == "" && t.NBD != nil {
		p.host = t.NBD.Hostname
	}
	p.host = cmp.Or(p.host, t.Host)
	start := time.Now()
	p.began = start
	p.run(ctx)
	if p.nc != nil {
		p.nc.Close()
	}
	p.r.Seconds = time.Since(start).Seconds()
	return p.r
}

// run goes through the stages until one ends the probe.
func (p *prober) run(ctx context.Context) {
	if err := p.prepare(); err != nil {
		return
	}
	for _, stage := range []func(context.Context) error{p.resolve, p.connect, p.upgrade, p.handshake, p.judgeServer, p.judgeClient, p.answer} {
		if err := stage(ctx); err != nil {
			break
		}
	}
	p.compareExpected()
	p.localSockets(ctx)
	p.posture(ctx)
	p.plainNBD(ctx)
	p.clients()
	if p.o.Scan && p.r.Address != "" {
		p.scan(ctx)
	}
}

// done ends a stage.
func (p *prober) done(name string, status Status, detail string) {
	now := time.Now()
	s := Stage{name, status, detail, now.Sub(p.began).Seconds()}
	p.began = now
	p.r.Stages = append(p.r.Stages, s)
	if p.o.Progress != nil {
		p.o.Progress(s)
	}
}

// findingOf returns an error as a finding, without the error behind it: it says
// the same again.
func findingOf(err error) finding.Finding {
	if f, ok := errors.AsType[*finding.Failure](err); ok {
		return f.Finding
	}
	return finding.Of(err)
}

func (p *prober) find(list ...finding.Finding) {
	for _, f := range list {
		f.Subject = cmp.Or(f.Subject, p.r.Target)
		p.r.Findings = append(p.r.Findings, f)
	}
}

// stop ends a stage, and the probe, with a finding.
func (p *prober) stop(stage string, f finding.Finding) error {
	p.done(stage, Failed, f.Text)
	p.find(f)
	return errStop
}

// prepare loads the credentials.
func (p *prober) prepare() error {
	if p.t.NBD != nil {
		return p.prepareNBD()
	}
	if p.creds != nil || p.t.URI == nil || p.t.URI.Transport != libvirt.TLS {
		return nil
	}
	m := p.o.Machine
	m.Now = p.o.Now()
	x, findings, err := p.t.URI.Credentials(m)
	p.find(findings...)
	if err != nil {
		f := findingOf(err)
		if !contains(p.r.Findings, f.Code) {
			p.find(f)
		}
		// The server can be looked at all the same.
		p.creds = nobody()
		return nil
	}
	if p.t.URI.NoVerify {
		p.find(kindNoVerify.Found(p.r.Target, "no_verify=1"))
	}
	p.creds = x
	return nil
}

// nobody are the credentials of a client without any, which takes every server.
func nobody() *creds.X509 {
	return &creds.X509{Options: creds.X509Options{Endpoint: creds.Client, NoVerifyPeer: true}}
}

func contains(list []finding.Finding, code string) bool {
	for _, f := range list {
		if f.Code == code {
			return true
		}
	}
	return false
}

// x509 returns the credentials if they are certificates, which nobody's are too.
func (p *prober) x509() *creds.X509 {
	x, _ := p.creds.(*creds.X509)
	return x
}

// address is what a stage connects to.
func (p *prober) address(a netip.Addr) string {
	return net.JoinHostPort(a.String(), strconv.Itoa(p.t.Port))
}
