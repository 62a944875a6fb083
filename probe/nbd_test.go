package probe

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/proto/nbd"
	"virtls/session"
)

// nothing is a device of zeroes.
type nothing int64

func (n nothing) Size() int64 { return int64(n) }
func (n nothing) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// nobodyOnTheList lets nobody in.
type nobodyOnTheList struct{}

func (nobodyOnTheList) Allowed(string) (bool, error) { return false, nil }

type everybodyOnTheList struct{}

func (everybodyOnTheList) Allowed(string) (bool, error) { return true, nil }

// nbdSocket serves a public, a private and a hidden export on a UNIX socket, with
// TLS for those who want it, and returns what an address of it ends with.
func nbdSocket(t *testing.T) (suffix string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	x, _, err := creds.LoadX509(creds.X509Options{Dir: server.write(t), Endpoint: creds.Server})
	must(t, err)
	s := &nbd.Server{
		AllowPlain: true, Secure: nbd.Session(func() session.Options { return session.Options{Credentials: x} }),
		Exports: []nbd.Export{
			{Name: "public", Device: nothing(1 << 20)},
			{Name: "private", Description: "of a guest", Device: nothing(2 << 20), Access: everybodyOnTheList{}},
			{Name: "hidden", Device: nothing(1), Access: nobodyOnTheList{}},
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return "?socket=" + path
}

// TestNBDSocket looks at a server on a UNIX socket that does not insist on TLS.
func TestNBDSocket(t *testing.T) {
	suffix, files := nbdSocket(t), peer.write(t)
	for _, tt := range []struct {
		address string
		codes   string
		posture Posture
		exports int
	}{
		{"nbds+unix:///" + suffix + "&tls-hostname=localhost&tls-certificates=" + files, "probe-nbd-optional", ServerVerified, 2},
		{"nbds+unix:///private" + suffix + "&tls-hostname=localhost&tls-certificates=" + files, "probe-nbd-optional", ServerVerified, 2},
		{"nbds+unix:///hidden" + suffix + "&tls-hostname=localhost&tls-certificates=" + files, "nbd-export-unknown probe-nbd-optional", ServerVerified, 2},
		{"nbds+unix:///" + suffix + "&tls-hostname=other&tls-certificates=" + files, "peer-name-mismatch probe-nbd-optional", Encrypted, 1},
		{"nbds+unix:///" + suffix, "probe-not-judged probe-client-missing probe-nbd-optional", Encrypted, 1},
		{"nbd+unix:///" + suffix, "probe-nbd-optional", Plain, 1},
		{"nbd+unix:///private" + suffix, "nbd-export-unknown probe-nbd-optional", Plain, 1},
		{"nbds+unix:///" + suffix + "&tls-certificates=/nonexistent", "credential-missing", "", 0},
	} {
		t.Run(tt.address[:strings.Index(tt.address, "?")], func(t *testing.T) {
			target, err := ParseTarget(tt.address)
			must(t, err)
			r := Run(t.Context(), target, Options{Timeout: 20 * time.Second})
			got := codesOf(r)
			if tt.exports == 0 && got == tt.codes {
				return
			}
			if got != tt.codes || r.Posture != tt.posture {
				t.Errorf("found %q, posture %q; want %q, %q", got, r.Posture, tt.codes, tt.posture)
			}
			if r.NBD.TLS != TLSOptional || len(r.NBD.Exports) != tt.exports || !slices.Equal(r.NBD.PlainExports, []string{"public"}) {
				t.Errorf("%+v", r.NBD)
			}
			if e := r.NBD.Exports[len(r.NBD.Exports)-1]; tt.exports == 2 && (e != NBDExport{Name: "private", Description: "of a guest", Size: 2 << 20, ReadOnly: true}) {
				t.Errorf("%+v", e)
			}
			var metrics bytes.Buffer
			must(t, Prometheus(&metrics, []*Result{r}))
			if !strings.Contains(metrics.String(), `tls="optional"} 1`) || !strings.Contains(metrics.String(), `export="public",read_only="true"} 1048576`) {
				t.Errorf("metrics:\n%s", &metrics)
			}
		})
	}
	target, err := ParseTarget("nbds+unix:///?socket=/nonexistent/socket")
	must(t, err)
	if r := Run(t.Context(), target, Options{}); !r.Unreachable || codesOf(r) != "probe-unreachable" {
		t.Errorf("a socket that is not there: %q", codesOf(r))
	}
}

// TestNBDScan scans through STARTTLS.
func TestNBDScan(t *testing.T) {
	target, err := ParseTarget("nbds+unix:///" + nbdSocket(t) + "&tls-hostname=localhost&tls-certificates=" + peer.write(t))
	must(t, err)
	r := Run(t.Context(), target, Options{Scan: true, Timeout: 20 * time.Second})
	if r.Scan == nil || len(r.Scan.Versions) == 0 || !r.Scan.Versions[0].Accepted && !r.Scan.Versions[len(r.Scan.Versions)-1].Accepted {
		t.Errorf("%+v", r.Scan)
	}
}
