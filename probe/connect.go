package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"

	"virtls/finding"
	"virtls/proto/libvirt"
)

// resolve finds the host's addresses.
func (p *prober) resolve(ctx context.Context) error {
	if p.t.local() {
		p.done(StageResolve, Passed, "a UNIX socket")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	if a, err := netip.ParseAddr(p.t.Host); err == nil {
		p.addrs = []netip.Addr{a.Unmap()}
	} else {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.t.Host)
		if err != nil {
			p.r.Unreachable = true
			return p.stop(StageResolve, kindUnresolved.Found(p.t.Host, reasonOf(err)))
		}
		for _, a := range found {
			p.addrs = append(p.addrs, a.Unmap())
		}
	}
	var names []string
	for _, a := range p.addrs {
		if p.o.Allowed != nil && !p.o.Allowed(a) {
			p.r.Unreachable = true
			return p.stop(StageResolve, kindNotAllowed.Found(p.t.Host, a.String()))
		}
		names = append(names, a.String())
	}
	p.done(StageResolve, Passed, strings.Join(names, ", "))
	return nil
}

// reasonOf leaves out what the resolver adds and others know.
func reasonOf(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	return err.Error()
}

// connect tries the addresses one after the other.
func (p *prober) connect(ctx context.Context) error {
	if p.t.local() {
		return p.connectLocal(ctx)
	}
	var last error
	for _, a := range p.addrs {
		nc, err := p.dialAddr(ctx, a)
		if err == nil {
			p.nc, p.r.Address = &recorder{Conn: nc}, p.address(a)
			p.done(StageConnect, Passed, p.r.Address)
			return nil
		}
		last = fmt.Errorf("%s: %w", p.address(a), err)
	}
	p.r.Unreachable = true
	return p.stop(StageConnect, p.unconnected(last))
}

// connectLocal connects to a UNIX socket.
func (p *prober) connectLocal(ctx context.Context) error {
	p.r.Address = p.t.socket()
	nc, err := p.again(ctx)
	if err != nil {
		p.r.Unreachable, p.r.Address = true, ""
		return p.stop(StageConnect, kindUnreachable.Found(p.r.Target, err.Error()).WithFix("start the service, or correct the path; the socket's mode and directory must let this user in"))
	}
	p.nc = &recorder{Conn: nc}
	p.done(StageConnect, Passed, p.r.Address)
	return nil
}

func (p *prober) dialAddr(ctx context.Context, a netip.Addr) (net.Conn, error) {
	d := net.Dialer{Timeout: p.o.Timeout}
	return d.DialContext(ctx, "tcp", p.address(a))
}

// again connects to where the probe has been connected before.
func (p *prober) again(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: p.o.Timeout}
	if p.t.local() {
		return d.DialContext(ctx, "unix", p.r.Address)
	}
	return d.DialContext(ctx, "tcp", p.r.Address)
}

// unconnected says why no connection came about.
func (p *prober) unconnected(err error) finding.Finding {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		p.r.Candidates = p.refusedCandidates()
		p.r.Decides = "on the server: ss -ltnp shows what listens where"
		return kindRefused.Found(p.r.Target, p.where())
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		p.r.Candidates = []Candidate{
			{Cause: "a firewall drops what is sent to this port", Fix: fmt.Sprintf("open TCP port %d on the server and between here and there (firewall-cmd --add-port=%d/tcp, nft list ruleset)", p.t.Port, p.t.Port)},
			{Cause: "the machine is down, or the address is another's", Fix: "ping " + p.t.Host + "; compare the address with the machine's (ip address)"},
			{Cause: "the service's queue is full: it hangs, or one client keeps it (a character device takes one at a time)", Fix: "on the server: ss -ltn shows Recv-Q above 0"},
		}
		p.r.Decides = "a capture on the server (tcpdump port " + fmt.Sprint(p.t.Port) + "): no SYN comes in, or no answer goes out"
		return kindTimeout.Found(p.r.Target, p.where())
	}
	return kindUnreachable.Found(p.r.Target, err.Error())
}

func (p *prober) where() string {
	var list []string
	for _, a := range p.addrs {
		list = append(list, p.address(a))
	}
	return strings.Join(list, ", ")
}

// refusedCandidates are the reasons for a refused connection.
func (p *prober) refusedCandidates() []Candidate {
	list := []Candidate{
		{Cause: "the service is not running, or listens on another port", Fix: "start it; compare the port with the service's"},
		{Cause: "it listens on another address of the machine, such as 127.0.0.1 alone", Fix: "have it listen on the address that clients use"},
		{Cause: "a firewall refuses the connection", Fix: fmt.Sprintf("open TCP port %d", p.t.Port)},
	}
	if p.t.URI != nil {
		list[0] = Candidate{
			Cause: "no libvirt daemon listens for TLS there: it does not by itself",
			Fix:   "systemctl enable --now virtproxyd-tls.socket, or libvirtd-tls.socket where libvirtd is one daemon; without socket activation listen_tls = 1 and libvirtd --listen",
		}
		if p.t.Port == libvirt.TCPPort {
			list[0].Fix = "this is the port without TLS; libvirt's TLS port is 16514"
		}
	}
	return list
}

// upgrade gets from the protocol's plain beginning to TLS. libvirt and what
// tls:// stands for have none.
func (p *prober) upgrade(ctx context.Context) error {
	if p.t.URI != nil && p.t.URI.Transport == libvirt.TCP {
		return p.plainLibvirt(ctx)
	}
	if p.t.NBD != nil {
		return p.upgradeNBD(ctx)
	}
	if p.t.VNC != nil {
		return p.upgradeVNC(ctx)
	}
	p.done(StageUpgrade, Passed, "TLS begins with the first byte")
	return nil
}

// plainLibvirt talks to a server without TLS, to see what it lets everybody do.
func (p *prober) plainLibvirt(ctx context.Context) error {
	p.r.Posture = Plain
	p.done(StageUpgrade, Failed, "the URI asks for a connection without TLS")
	p.find(kindPlainURI.Found(p.r.Target, ""))
	_ = p.callLibvirt(ctx, p.nc)
	return errStop
}

// A recorder is a connection that remembers how its peer began.
type recorder struct {
	net.Conn
	mu    sync.Mutex
	first []byte
}

// forget has it remember what comes from now on.
func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = nil
}

// maxFirst is how much is remembered.
const maxFirst = 64

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = append(r.first, b[:min(n, maxFirst-len(r.first))]...)
	return n, err
}

// heard returns how the peer began, nil if it has said nothing.
func (r *recorder) heard() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// isTLS tells whether what was heard is TLS's.
func (r *recorder) isTLS() bool {
	b := r.heard()
	return len(b) > 1 && b[0] >= 20 && b[0] <= 23 && b[1] == 3
}
