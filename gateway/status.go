package gateway

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/promtext"
)

var kindStatus = finding.Define("gateway-status-open", finding.Error,
	"the status page would listen where other machines reach it, and tells whoever asks which clients are connected",
	"listen on 127.0.0.1 or [::1], or say --status-anywhere")

// A Status is what the status page says.
type Status struct {
	Schema      int                `json:"schema"`
	Gateways    []GatewayStatus    `json:"gateways"`
	Credentials []CredentialStatus `json:"credentials"`
}

// A GatewayStatus is what is known of a gateway.
type GatewayStatus struct {
	Name        string             `json:"name"`
	Protocol    Protocol           `json:"protocol"`
	Listen      string             `json:"listen"`
	Connect     string             `json:"connect"`
	Accepted    int64              `json:"accepted"`
	Refused     map[string]int64   `json:"refused"` // by the finding's code
	Open        int                `json:"open"`
	Up          int64              `json:"up"` // octets from clients
	Down        int64              `json:"down"`
	Failed      uint64             `json:"failedLogins"` // with accounts, passwords and tokens, of VNC
	Handshakes  int64              `json:"handshakes"`
	Seconds     float64            `json:"handshakeSeconds"` // that they took together
	Connections []ConnectionStatus `json:"connections"`      // the oldest maxListed
}

// A ConnectionStatus is what is known of a connection.
type ConnectionStatus struct {
	ID     uint64    `json:"id"`
	Peer   string    `json:"peer"`
	Client string    `json:"client,omitempty"` // of the proxy that the peer is, of VNC
	DN     string    `json:"dn,omitempty"`
	User   string    `json:"user,omitempty"`    // whose account it has, of VNC
	To     string    `json:"machine,omitempty"` // that it sees, of VNC
	Since  time.Time `json:"since"`
	Up     int64     `json:"up"`
	Down   int64     `json:"down"`
}

// A CredentialStatus is what is known of credentials.
type CredentialStatus struct {
	ID       string     `json:"id"`
	Type     string     `json:"type"`
	Identity string     `json:"identity,omitempty"`
	NotAfter *time.Time `json:"notAfter,omitempty"` // of the first identity to end
	Reloads  int64      `json:"reloads"`
	Failures int64      `json:"reloadFailures"`
	Error    string     `json:"error,omitempty"` // of the last reload
}

// maxListed bounds the list of connections.
const maxListed = 1000

// Status tells how the gateway is.
func (g *Gateway) Status() GatewayStatus {
	s := GatewayStatus{
		Name: g.o.Name, Protocol: g.o.Protocol, Listen: g.o.from(), Connect: g.o.to(),
		Accepted: g.stats.accepted.Load(), Up: g.stats.up.Load(), Down: g.stats.down.Load(),
	}
	s.Failed = g.throttle.Failures()
	g.stats.mu.Lock()
	s.Refused, s.Handshakes, s.Seconds = maps.Clone(g.stats.refused), g.stats.handshakes, g.stats.seconds
	g.stats.mu.Unlock()
	g.mu.Lock()
	open := slices.Collect(maps.Keys(g.conns))
	g.mu.Unlock()
	s.Open = len(open)
	slices.SortFunc(open, func(a, b *connection) int { return int(int64(a.id) - int64(b.id)) })
	s.Connections = []ConnectionStatus{}
	for _, c := range open[:min(len(open), maxListed)] {
		cs := ConnectionStatus{ID: c.id, Peer: c.peer, Since: c.began.UTC(), Up: c.up.Load(), Down: c.down.Load()}
		if a := c.forwarded.Load(); a != nil {
			cs.Client = a.String()
		}
		if name := c.name.Load(); name != nil {
			cs.DN = *name
		}
		if user := c.user.Load(); user != nil {
			cs.User = *user
		}
		if machine := c.machine.Load(); machine != nil {
			cs.To = *machine
		}
		s.Connections = append(s.Connections, cs)
	}
	return s
}

// Status tells how everything is.
func (r *Runner) Status() Status {
	s := Status{Schema: 1, Gateways: []GatewayStatus{}, Credentials: []CredentialStatus{}}
	for _, g := range r.Gateways {
		s.Gateways = append(s.Gateways, g.Status())
	}
	for _, c := range r.Credentials {
		now := c.Holder.Current()
		cs := r.outcome(c.ID)
		cs.ID, cs.Type = c.ID, now.Type()
		if x, ok := now.(*creds.X509); ok && len(x.Identities) > 0 {
			cs.Identity = x.Identities[0].Chain[0].Subject.String()
			for _, id := range x.Identities {
				if end := id.Chain[0].NotAfter.UTC(); cs.NotAfter == nil || end.Before(*cs.NotAfter) {
					cs.NotAfter = &end
				}
			}
		}
		s.Credentials = append(s.Credentials, cs)
	}
	return s
}

// Check finds what would keep the runner from beginning, as far as that shows
// without listening.
func (r *Runner) Check() error {
	if r.Process.Status == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(r.Process.Status)
	if err != nil {
		return kindAddress.Found(r.Process.Status, "").WithText("the status page listens at HOST:PORT").WithFix("write 127.0.0.1:PORT").Usage()
	}
	if !IsLoopback(host) && !r.Process.StatusAnywhere {
		return kindStatus.Found(r.Process.Status, "").Usage()
	}
	return nil
}

// listenStatus opens the status page's socket.
func (r *Runner) listenStatus(ctx context.Context) (net.Listener, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", r.Process.Status)
	if err != nil {
		return nil, cannotListen(r.Process.Status, "the status page cannot listen", err)
	}
	return l, nil
}

// serveStatus serves the status page until ctx ends.
func (r *Runner) serveStatus(ctx context.Context, l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", promtext.ContentType)
		_ = r.Status().writeMetrics(w) // the client has gone if it fails
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.Encode(r.Status())
	})
	server := http.Server{
		Handler: r.named(mux), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		r.Log.Error("the status page has ended", "error", err.Error())
	}
}

// named refuses requests for another name than the machine's own, unless the
// page is for everybody: a page of somebody else's whose name has come to stand
// for this address could otherwise read it with a browser (DNS rebinding).
func (r *Runner) named(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		host := req.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if !r.Process.StatusAnywhere && host != "" && host != "localhost" && err != nil {
			http.Error(w, "ask by address", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, req)
	})
}

// writeMetrics writes the status in the text format of Prometheus.
func (s Status) writeMetrics(w io.Writer) error {
	m := promtext.NewWriter(w)
	each := func(name string, kind promtext.Kind, help string, samples func(g GatewayStatus)) {
		m.Family(name, kind, help)
		for _, g := range s.Gateways {
			samples(g)
		}
	}
	each("virtls_gateway_connections", promtext.Gauge, "Connections that are open.", func(g GatewayStatus) {
		m.Sample(float64(g.Open), "gateway", g.Name)
	})
	each("virtls_gateway_accepted_total", promtext.Counter, "Clients that were let in.", func(g GatewayStatus) {
		m.Sample(float64(g.Accepted), "gateway", g.Name)
	})
	each("virtls_gateway_refused_total", promtext.Counter, "Clients that were not let in, by the code of the finding.", func(g GatewayStatus) {
		for _, code := range slices.Sorted(maps.Keys(g.Refused)) {
			m.Sample(float64(g.Refused[code]), "gateway", g.Name, "code", code)
		}
	})
	each("virtls_gateway_bytes_total", promtext.Counter, "Octets of payload, up from clients and down to them.", func(g GatewayStatus) {
		m.Sample(float64(g.Up), "gateway", g.Name, "direction", "up")
		m.Sample(float64(g.Down), "gateway", g.Name, "direction", "down")
	})
	each("virtls_gateway_handshakes_total", promtext.Counter, "TLS handshakes with clients that were completed.", func(g GatewayStatus) {
		m.Sample(float64(g.Handshakes), "gateway", g.Name)
	})
	each("virtls_gateway_handshake_seconds_total", promtext.Counter, "Time that they took together.", func(g GatewayStatus) {
		m.Sample(g.Seconds, "gateway", g.Name)
	})
	each("virtls_gateway_failed_logins_total", promtext.Counter, "Logins of VNC that failed: with accounts, passwords and tokens.", func(g GatewayStatus) {
		if g.Protocol == VNC {
			m.Sample(float64(g.Failed), "gateway", g.Name)
		}
	})
	m.Family("virtls_credentials_not_after_seconds", promtext.Gauge, "When the first certificate of the credentials ends, in seconds since 1970.")
	for _, c := range s.Credentials {
		if c.NotAfter != nil {
			m.Sample(float64(c.NotAfter.Unix()), "id", c.ID)
		}
	}
	m.Family("virtls_credentials_reloads_total", promtext.Counter, "Reloads of credentials, by outcome.")
	for _, c := range s.Credentials {
		m.Sample(float64(c.Reloads), "id", c.ID, "outcome", "loaded")
		m.Sample(float64(c.Failures), "id", c.ID, "outcome", "failed")
	}
	return m.Flush()
}
