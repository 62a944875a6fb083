package gateway

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
	"virtls/session"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An authority issues certificates for tests.
type authority struct {
	name string
	cert *pki.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB, spec string) crypto.Signer {
	t.Helper()
	ks, err := pki.ParseKeySpec(spec)
	must(t, err)
	key, err := pki.GenerateSigner(ks)
	must(t, err)
	return key
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key := newKey(t, "ec")
	cert, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.CommonNameOID, name)), PublicKey: key.Public(),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		Extensions: pki.Extensions{pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true)},
	}, nil, key, pki.SignatureAlgorithm{})
	must(t, err)
	return &authority{name, cert, key}
}

// issue returns a certificate for localhost and its key as PEM, for both ends.
func (a *authority) issue(t testing.TB, cn, keyType string) (cert *pki.Certificate, key []byte) {
	t.Helper()
	k := newKey(t, keyType)
	// keyEncipherment is for libvirt before 11.5.
	usage := pki.DigitalSignature | pki.KeyEncipherment
	cert, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.OrganizationOID, "Example"), dn.Attr(dn.CommonNameOID, cn)), PublicKey: k.Public(),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour),
		Extensions: pki.Extensions{
			pki.BasicConstraints{}.Extension(), usage.Extension(true),
			pki.GeneralNames{pki.DNSName("localhost"), pki.DNSName("peer"), pki.IPAddress(netip.MustParseAddr("127.0.0.1")), pki.IPAddress(netip.MustParseAddr("::1"))}.Extension(),
		},
	}, a.cert, a.key, pki.SignatureAlgorithm{})
	must(t, err)
	pem, err := pki.EncodePrivateKeyPEM(k.(pki.PrivateKey), pki.MLDSABoth)
	must(t, err)
	return cert, pem
}

// dir writes QEMU's files for both ends into a new directory; an empty name is
// for no certificate.
func (a *authority) dir(t testing.TB, cn, keyType string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "ca-cert.pem"), a.cert.PEM(), 0o644))
	if cn != "" {
		a.renew(t, dir, cn, keyType)
	}
	return dir
}

func (a *authority) renew(t testing.TB, dir, cn, keyType string) *pki.Certificate {
	t.Helper()
	cert, key := a.issue(t, cn, keyType)
	for _, role := range []string{"server", "client"} {
		must(t, os.WriteFile(filepath.Join(dir, role+"-key.pem"), key, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, role+"-cert.pem"), cert.PEM(), 0o644))
	}
	return cert
}

// revoke puts certificates on a list beside a server's credentials.
func (a *authority) revoke(t testing.TB, dir string, certs ...*pki.Certificate) {
	t.Helper()
	spec := &pki.CRLSpec{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(100 * time.Hour)}
	for _, c := range certs {
		spec.Revoked = append(spec.Revoked, pki.RevokedCertificate{Serial: c.Serial, RevokedAt: time.Now().Add(-time.Minute)})
	}
	crl, err := pki.SignCRL(spec, a.cert, a.key, pki.SignatureAlgorithm{})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "ca-crl.pem"), crl.PEM(), 0o644))
}

// shared are made once for all tests.
var shared = sync.OnceValue(func() (s struct {
	ca, foreign *authority
}) {
	s.ca, s.foreign = newAuthority(fatal{}, "Test CA"), newAuthority(fatal{}, "Foreign CA")
	return s
})

// fatal is a testing.TB outside any test.
type fatal struct{ testing.TB }

func (fatal) Helper()           {}
func (fatal) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func holder(t testing.TB, dir string, end creds.Endpoint) *creds.Holder {
	t.Helper()
	h, err := creds.NewHolder(t.Context(), func(context.Context) (creds.Credentials, []finding.Finding, error) {
		c, w, err := creds.LoadX509(creds.X509Options{Dir: dir, Endpoint: end})
		if err != nil {
			return nil, nil, err
		}
		return c, w, nil
	})
	must(t, err)
	return h
}

// A journal is a log that tests can look at.
type journal struct{ peertest.Log }

// await waits until the log has a line with all the texts, and returns it.
func (j *journal) await(t testing.TB, texts ...string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
	lines:
		for line := range strings.Lines(j.String()) {
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue lines
				}
			}
			return line
		}
		if time.Now().After(end) {
			t.Fatalf("the log has no line with %q:\n%s", texts, j)
		}
	}
}

// A running is a gateway that serves until its test ends.
type running struct {
	*Gateway
	log  *journal
	stop func() error
}

// run starts a gateway, after it was prepared.
func run(t testing.TB, o Options, prepare ...func(*Gateway)) *running {
	t.Helper()
	r := &running{log: &journal{}}
	o.Log = slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	r.Gateway, err = New(o)
	must(t, err)
	for _, f := range prepare {
		f(r.Gateway)
	}
	ctx, cancel := context.WithCancel(context.Background())
	must(t, r.Listen(ctx))
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", r.log)
		}
		r.cut()
		must(t, r.stop())
		for _, secret := range testSecrets {
			if strings.Contains(r.log.String(), secret) {
				t.Errorf("the log has the password %q", secret)
			}
		}
	})
	return r
}

func address(t testing.TB, text string) Address {
	t.Helper()
	a, err := ParseAddress(text, "")
	must(t, err)
	return a
}

func (r *running) dial(t testing.TB) net.Conn {
	t.Helper()
	nc, err := net.Dial(r.Addr().Network(), r.Addr().String())
	must(t, err)
	t.Cleanup(func() { nc.Close() })
	must(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	return nc
}

// open opens a TLS session with the gateway.
func (r *running) open(t testing.TB, dir string) (*session.Conn, error) {
	t.Helper()
	return session.Open(t.Context(), r.dial(t), session.Options{Credentials: holder(t, dir, creds.Client).Current(), Hostname: "localhost"})
}

// serve answers connections with a function until the test ends, and returns
// where it listens.
func serve(t testing.TB, network string, answer func(net.Conn)) string {
	t.Helper()
	at := peertest.Serve(t, network, answer)
	if network == "unix" {
		return "unix://" + at.String()
	}
	return "tcp://" + at.String()
}

func echo(c net.Conn) { io.Copy(c, c) }

// exchange sends a text and wants it back.
func exchange(t testing.TB, c io.ReadWriter, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	must(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(c, got)
	must(t, err)
	if string(got) != text {
		t.Fatalf("sent %q, got %q", text, got)
	}
}

// TLS in front of a plain service, and taken off again by a second gateway.
func TestBothWays(t *testing.T) {
	ca := shared().ca
	dir := ca.dir(t, "localhost", "ec")
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			front := run(t, Options{
				Listen:  Side{address(t, "tls://[::1]:0"), holder(t, dir, creds.Server)},
				Connect: Side{Address: address(t, serve(t, network, echo))},
			})
			listen := "tcp://127.0.0.1:0"
			if network == "unix" {
				listen = "unix://" + filepath.Join(peertest.SocketDir(t), "front")
			}
			back := run(t, Options{
				Listen:   Side{Address: address(t, listen)},
				Connect:  Side{address(t, "tls://"+front.Addr().String()), holder(t, dir, creds.Client)},
				Hostname: "localhost",
			})
			c := back.dial(t)
			for _, text := range []string{"hello", strings.Repeat("a longer text ", 50000), "!"} {
				exchange(t, c, text)
			}
			must(t, c.(interface{ CloseWrite() error }).CloseWrite())
			if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
				t.Errorf("after the end: %q, %v", rest, err)
			}
			front.log.await(t, "accepted", `dn="O=Example,CN=localhost"`, "TLS 1.3")
			front.log.await(t, "closed", "up=700006", "down=700006")
		})
	}
}
