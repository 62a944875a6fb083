package nbd_test

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"virtls/creds"
	"virtls/internal/peertest"
	"virtls/proto/nbd"
	"virtls/session"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// value returns a function that ends the test unless what it is given came without an error.
func value[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, data, 0o600))
	return name
}

// The pre-shared key and the certificates of the tests, by file name.
const (
	pskUser  = "rich"
	pskLine  = pskUser + ":000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
	clientDN = peertest.ClientDN
)

// credDir makes a directory of QEMU's credential files, without those that are named.
func credDir(t testing.TB, without ...string) string {
	t.Helper()
	dir := peertest.WithDH(t, t.TempDir())
	for name, data := range peertest.Certificates() {
		writeFile(t, filepath.Join(dir, name), data)
	}
	writeFile(t, filepath.Join(dir, "keys.psk"), []byte(pskLine))
	for _, name := range without {
		must(t, os.Remove(filepath.Join(dir, name)))
	}
	return dir
}

// A security is one of the ways in which a server and its clients are to trust
// each other.
type security struct {
	name        string
	kind        string // of the credential object, empty for none
	server      string // further properties of the server's object
	client      string
	clientLacks []string // files
}

var securities = []security{
	{name: "plain"},
	{name: "psk", kind: "tls-creds-psk", client: "username=" + pskUser},
	{name: "x509 mutual", kind: "tls-creds-x509"},
	{name: "x509 without client certificate", kind: "tls-creds-x509", server: "verify-peer=off", clientLacks: []string{"client-cert.pem", "client-key.pem"}},
}

// qemuObject is the argument of --object for a program of QEMU's.
func (s security) qemuObject(t testing.TB, end creds.Endpoint) string {
	o := s.kind + ",id=tls0,endpoint=" + end.String()
	more, lacks := s.server, []string(nil)
	if end == creds.Client {
		more, lacks = s.client, s.clientLacks
	}
	o += ",dir=" + credDir(t, lacks...)
	if more != "" {
		o += "," + more
	}
	return o
}

// secure is our side of it.
func (s security) secure(t testing.TB, end creds.Endpoint) nbd.Secure {
	t.Helper()
	var c creds.Credentials
	var err error
	switch s.kind {
	case "":
		return nil
	case "tls-creds-psk":
		o := creds.PSKOptions{Dir: credDir(t), Endpoint: end}
		if end == creds.Client {
			o.Username = pskUser
		}
		c, _, err = creds.LoadPSK(o)
	default:
		o := creds.X509Options{Dir: credDir(t), Endpoint: end}
		if end == creds.Client {
			o.Dir = credDir(t, s.clientLacks...)
		}
		o.NoVerifyPeer = end == creds.Server && strings.Contains(s.server, "verify-peer=off")
		c, _, err = creds.LoadX509(o)
	}
	must(t, err)
	o := session.Options{Credentials: c}
	if end == creds.Client {
		o.Hostname = "localhost"
	}
	return nbd.Session(func() session.Options { return o })
}

func eachSecurity(t *testing.T, f func(t *testing.T, s security)) {
	for _, s := range securities {
		t.Run(s.name, func(t *testing.T) { f(t, s) })
	}
}

// serve serves on a port of its own until the test ends, and returns the port.
func serve(t testing.TB, s *nbd.Server) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	serveOn(t, s, l)
	return l.Addr().(*net.TCPAddr).Port
}

func serveOn(t testing.TB, s *nbd.Server, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not end")
		}
	})
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// rawFile makes a file of a size with data in its second quarter; the rest are holes.
func rawFile(t testing.TB, size int64) (path string, content []byte) {
	t.Helper()
	content = make([]byte, size)
	rand.Read(content[size/4 : size/2])
	f, err := os.Create(filepath.Join(t.TempDir(), "disk.raw"))
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(size))
	_, err = f.WriteAt(content[size/4:size/2], size/4)
	must(t, err)
	must(t, f.Sync())
	return f.Name(), content
}

func openFile(t testing.TB, path string, write bool) nbd.Device {
	t.Helper()
	d, err := nbd.OpenFile(path, nbd.FileOptions{Write: write})
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}
