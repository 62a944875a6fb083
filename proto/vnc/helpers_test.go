package vnc

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/session"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// credDir makes a directory of QEMU's credential files, without those that are
// named.
func credDir(t testing.TB, without ...string) string {
	t.Helper()
	dir := peertest.WithDH(t, t.TempDir())
	for name, data := range peertest.Certificates() {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	for _, name := range without {
		must(t, os.Remove(filepath.Join(dir, name)))
	}
	return dir
}

// x509Options are those of a session with certificates at one end.
func x509Options(t testing.TB, end creds.Endpoint, host string, without ...string) func() session.Options {
	t.Helper()
	c, _, err := creds.LoadX509(creds.X509Options{Dir: credDir(t, without...), Endpoint: end})
	must(t, err)
	return func() session.Options { return session.Options{Credentials: c, Hostname: host} }
}

func anonOptions(t testing.TB, end creds.Endpoint) func() session.Options {
	t.Helper()
	c, _, err := creds.LoadAnon(creds.AnonOptions{Endpoint: end})
	must(t, err)
	return func() session.Options { return session.Options{Credentials: c} }
}

// A qemu is a QEMU that serves an empty screen.
type qemu struct {
	*peertest.Proc
	network, address string
}

// startQEMU starts QEMU with options of -vnc, and with objects.
func startQEMU(t *testing.T, g peertest.Generation, o peertest.Options, vnc string, objects ...string) *qemu {
	t.Helper()
	port := peertest.FreePort(t)
	args := []string{"-nodefaults", "-machine", "none", "-accel", "tcg", "-monitor", "none"}
	for _, object := range objects {
		args = append(args, "-object", object)
	}
	// QEMU counts displays from port 5900 on; the kernel's free ports are higher.
	args = append(args, "-vnc", fmt.Sprintf("127.0.0.1:%d%s", port-5900, vnc))
	p := g.Start(t, o, peertest.Listening(port), "qemu-system-x86_64", args...).Ready()
	t.Cleanup(func() { secrets.Check(t, p.Stdout(), p.Stderr()) })
	return &qemu{p, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
}

// object is an argument of -object for the server's credentials.
func object(t testing.TB, kind, more string) string {
	return fmt.Sprintf("tls-creds-%s,id=tls0,endpoint=server,dir=%s%s", kind, credDir(t), more)
}

// open connects without a login.
func (q *qemu) open(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial(q.network, q.address)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// dial logs in.
func (q *qemu) dial(t testing.TB, o Options) (*Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return Dial(ctx, q.open(t), o)
}

// wantCode ends the test unless an error is a finding of that code; empty is no error.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	secrets.Check(t, err, finding.Of(err))
	switch {
	case code == "" && err != nil:
		t.Fatalf("got %v (%s); want none", err, finding.Of(err).Code)
	case code != "" && (err == nil || finding.Of(err).Code != code):
		t.Fatalf("got %v; want %s", err, code)
	}
}
