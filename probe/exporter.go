package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"virtls/internal/promtext"
	"virtls/proto/nbd"
)

// An Exporter answers /probe?target=URL with the metrics of a probe, as
// Prometheus's own exporters do, and /metrics with its own. Whoever can reach it
// has this machine connect to addresses: it probes only what is allowed.
type Exporter struct {
	Options Options // of every probe
	// Refresh, if it is set, is called with the options of each probe, to enter
	// credentials that were renewed meanwhile.
	Refresh func(*Options)
	// Allow lists the networks that may be probed; none if it is empty.
	Allow []netip.Prefix
	// Schemes lists what targets may begin with, such as "tls" or "qemu+tls"; if
	// it is empty, all, without parameters that name files, and without UNIX sockets.
	Schemes []string
	// Limit is how many probes may run at once; 8 if 0. More are refused.
	Limit int
	// Timeout bounds a probe as a whole; 30 seconds if 0.
	Timeout time.Duration

	running, done, refused atomic.Int64
}

const (
	defaultLimit        = 8
	defaultProbeTimeout = 30 * time.Second
	maxTarget           = 2000 // octets of a target
)

// Serve answers requests until the context ends, and then what it has begun.
func (e *Exporter) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		Handler: e, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		WriteTimeout: e.timeout() + 10*time.Second, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Shutdown(limited)
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (e *Exporter) timeout() time.Duration { return cmp.Or(e.Timeout, defaultProbeTimeout) }

// toAnswer is left of the time that Prometheus waits, for the answer.
const toAnswer = 500 * time.Millisecond

// within is how long a probe may take: less than Prometheus waits for it, which
// would otherwise know nothing of a service that hangs.
func (e *Exporter) within(h http.Header) time.Duration {
	limit := e.timeout()
	s, err := strconv.ParseFloat(h.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(s > 0 && s < limit.Seconds()) {
		return limit
	}
	asked := time.Duration(s * float64(time.Second))
	return max(asked-toAnswer, asked/2)
}

// ServeHTTP implements http.Handler.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		http.Error(w, "only GET is understood", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/probe":
		e.probe(w, r)
	case "/metrics":
		w.Header().Set("Content-Type", promtext.ContentType)
		_ = e.metrics(w) // the client has gone if it fails
	default:
		http.NotFound(w, r)
	}
}

// metrics writes the exporter's own metrics.
func (e *Exporter) metrics(w io.Writer) error {
	m := promtext.NewWriter(w)
	m.Family("virtls_exporter_probes_total", promtext.Counter, "Probes made.")
	m.Sample(float64(e.done.Load()))
	m.Family("virtls_exporter_refused_total", promtext.Counter, "Requests refused: too many at once, or not allowed.")
	m.Sample(float64(e.refused.Load()))
	m.Family("virtls_exporter_running", promtext.Gauge, "Probes that are running.")
	m.Sample(float64(e.running.Load()))
	return m.Flush()
}

func (e *Exporter) probe(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, text string) {
		e.refused.Add(1)
		http.Error(w, text, status)
	}
	text := r.URL.Query().Get("target")
	if text == "" || len(text) > maxTarget {
		refuse(http.StatusBadRequest, "/probe?target=URL names one target")
		return
	}
	t, err := ParseTarget(text)
	if err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	if why := e.forbids(t); why != "" {
		refuse(http.StatusForbidden, why)
		return
	}
	limit := int64(cmp.Or(e.Limit, defaultLimit))
	defer e.running.Add(-1)
	if e.running.Add(1) > limit {
		refuse(http.StatusServiceUnavailable, fmt.Sprintf("%d probes are running already", limit))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), e.within(r.Header))
	defer cancel()
	o := e.Options
	if e.Refresh != nil {
		e.Refresh(&o)
	}
	o.Progress = nil
	o.Allowed = e.allows
	result := Run(ctx, t, o)
	e.done.Add(1)
	w.Header().Set("Content-Type", promtext.ContentType)
	_ = Prometheus(w, []*Result{result}) // the client has gone if it fails
}

// forbids says why a target may not be probed whatever its address is.
func (e *Exporter) forbids(t Target) string {
	switch {
	case len(e.Schemes) > 0 && !slices.Contains(e.Schemes, t.Scheme()):
		return fmt.Sprintf("targets of %s:// are not allowed here", t.Scheme())
	case t.NBD != nil:
		return forbidsNBD(*t.NBD)
	case t.VNC != nil:
		return forbidsVNC(t)
	case t.URI == nil:
		return ""
	case t.URI.PKIPath != "" || t.URI.NoVerify || t.URI.NoSanity || t.URI.Priority != "":
		return "a target's parameters may not choose files or turn checks off here"
	case t.URI.Name != "":
		// Some of libvirt's drivers connect to where a URI says, from the server.
		return "a target may not have the server open another URI"
	}
	return ""
}

// forbidsVNC keeps whoever asks from sockets of this machine, and from having it
// ask for any page of any web server.
func forbidsVNC(t Target) string {
	u := t.VNC.Websocket
	switch {
	case t.local():
		return "targets may not be sockets of this machine here"
	case u != nil && (u.RawQuery != "" || path.Clean("/"+u.Path) != "/"+strings.Trim(u.Path, "/") || u.Path != "" && u.Path != "/" && !strings.HasPrefix(u.Path, "/websocket/")):
		return "a websocket's path is / or /websocket/NAME here, without parameters"
	}
	return ""
}

// forbidsNBD keeps whoever asks from choosing files and sockets of this machine,
// and from turning checks off.
func forbidsNBD(a nbd.Target) string {
	switch {
	case a.Network != "tcp":
		return "targets may not be sockets of this machine here"
	case a.Certificates != "" || a.PSKFile != "" || a.Type != "" || a.Username != "" || a.NoVerifyPeer:
		return "a target's parameters may not choose files or turn checks off here"
	}
	return ""
}

// allows tells whether an address may be connected to. Names are judged by what
// they resolve to, in the same look-up by which the connection is made.
func (e *Exporter) allows(a netip.Addr) bool {
	return slices.ContainsFunc(e.Allow, func(p netip.Prefix) bool { return p.Contains(a) })
}
