package session

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var authorities atomic.Int32 // made so far; each has a name of its own

// An authority that issues certificates for tests.
type authority struct {
	t    testing.TB
	cert *pki.Certificate
	key  crypto.Signer
}

// What a certificate is to be.
type want struct {
	key      string // ec if empty
	names    pki.GeneralNames
	subject  dn.Name
	noNames  bool           // no alternative names
	issuer   *authority     // another than the one that is asked
	encipher bool           // key usage as libvirt 9.0 wants it
	purpose  *pki.Extension // key purposes
	from, to time.Duration
}

func newKey(t testing.TB, spec string) crypto.Signer {
	t.Helper()
	if spec == "" {
		spec = "ec"
	}
	ks, err := pki.ParseKeySpec(spec)
	must(t, err)
	key, err := pki.GenerateSigner(ks)
	must(t, err)
	return key
}

func newAuthority(t testing.TB, key string) *authority {
	t.Helper()
	k := newKey(t, key)
	c, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.CommonNameOID, fmt.Sprintf("Test CA %d", authorities.Add(1)))), PublicKey: k.Public(),
		NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		Extensions: pki.Extensions{pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true)},
	}, nil, k, pki.SignatureAlgorithm{})
	must(t, err)
	return &authority{t, c, k}
}

// issue returns a certificate and key in PEM form, and the certificate.
func (a *authority) issue(w want) (cert *pki.Certificate, certPEM, keyPEM []byte) {
	a.t.Helper()
	k := newKey(a.t, w.key)
	if w.subject == nil {
		w.subject = dn.New(dn.Attr(dn.CommonNameOID, "peer"))
	}
	if w.names == nil {
		w.names = pki.GeneralNames{pki.DNSName("localhost"), pki.IPAddress(netip.MustParseAddr("127.0.0.1"))}
	}
	if w.to == 0 {
		w.from, w.to = -time.Hour, time.Hour
	}
	s := &pki.Spec{
		Serial: pki.NewSerial(), Subject: w.subject, PublicKey: k.Public(), NotBefore: time.Now().Add(w.from), NotAfter: time.Now().Add(w.to),
		Extensions: pki.Extensions{pki.BasicConstraints{}.Extension(), pki.DigitalSignature.Extension(true), w.names.Extension()},
	}
	if w.encipher {
		s.Extensions[1] = (pki.DigitalSignature | pki.KeyEncipherment).Extension(true)
	}
	if w.noNames {
		s.Extensions = s.Extensions[:len(s.Extensions)-1]
	}
	if w.purpose != nil {
		s.Extensions = append(s.Extensions, *w.purpose)
	}
	c, err := pki.Sign(s, a.cert, a.key, pki.SignatureAlgorithm{})
	must(a.t, err)
	pem, err := pki.EncodePrivateKeyPEM(k.(pki.PrivateKey), pki.MLDSABoth)
	must(a.t, err)
	return c, c.PEM(), pem
}

// dir writes a credential directory that trusts the authority, with a
// certificate for both ends.
func (a *authority) dir(w want) string {
	a.t.Helper()
	_, cert, key := a.issue(w)
	return a.trusting(cert, key)
}

func (a *authority) trusting(cert, key []byte) string {
	a.t.Helper()
	dir := a.t.TempDir()
	files := map[string][]byte{"ca-cert.pem": a.cert.PEM()}
	for _, end := range []string{"server", "client"} {
		if cert != nil {
			files[end+"-cert.pem"], files[end+"-key.pem"] = cert, key
		}
	}
	write(a.t, dir, files)
	return dir
}

func write(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
}

func load(t testing.TB, o creds.X509Options) creds.Credentials {
	t.Helper()
	o.NoSanityCheck = true
	x, _, err := creds.LoadX509(o)
	must(t, err)
	return x
}

func pskCreds(t testing.TB, server creds.PSKOptions, client creds.PSKOptions, text, clientText string) (s, c creds.Credentials) {
	t.Helper()
	for _, end := range []struct {
		o    *creds.PSKOptions
		text string
	}{{&server, text}, {&client, clientText}} {
		end.o.Dir = t.TempDir()
		write(t, end.o.Dir, map[string][]byte{"keys.psk": []byte(end.text)})
	}
	server.Endpoint = creds.Server
	a, _, err := creds.LoadPSK(server)
	must(t, err)
	b, _, err := creds.LoadPSK(client)
	must(t, err)
	return a, b
}

// An end's session and what became of it.
type outcome struct {
	*Conn
	err error
}

// open makes sessions at both ends of a pipe.
func open(t testing.TB, server, client Options) (s, c outcome) {
	t.Helper()
	a, b := peertest.Pair(t)
	var wg sync.WaitGroup
	for _, end := range []struct {
		nc  net.Conn
		o   Options
		out *outcome
	}{{a, server, &s}, {b, client, &c}} {
		wg.Go(func() {
			end.out.Conn, end.out.err = Open(t.Context(), end.nc, end.o)
			if end.out.err != nil {
				end.nc.Close()
			}
		})
	}
	wg.Wait()
	return s, c
}

func exchange(t testing.TB, a, b io.ReadWriter) {
	t.Helper()
	exchangeSome(t, a, b, 200_000)
}

func exchangeSome(t testing.TB, a, b io.ReadWriter, size int) {
	t.Helper()
	for _, end := range []struct{ from, to io.ReadWriter }{{a, b}, {b, a}} {
		data := make([]byte, size)
		rand.Read(data)
		done := make(chan error, 1)
		go func() { _, err := end.from.Write(data); done <- err }()
		got := make([]byte, len(data))
		_, err := io.ReadFull(end.to, got)
		must(t, errors.Join(err, <-done))
		if !bytes.Equal(got, data) {
			t.Fatal("other bytes came than were sent")
		}
	}
}

func TestOpen(t *testing.T) {
	classical, pqc := newAuthority(t, ""), newAuthority(t, "mldsa65")
	dir := classical.dir(want{})
	x509 := func(dir, priority string) (s, c creds.Credentials) {
		return load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server, Priority: priority}), load(t, creds.X509Options{Dir: dir, Priority: priority})
	}
	const key = "rich:30313233343536373839616263646566"
	tests := []struct {
		name         string
		creds        func() (s, c creds.Credentials)
		engine       EngineChoice
		wantEngine   string
		suite, group string
		peer         string
	}{
		{"x509", func() (s, c creds.Credentials) { return x509(dir, "") }, Auto, "crypto/tls", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "CN=peer"},
		{"x509, our engine", func() (s, c creds.Credentials) { return x509(dir, "") }, Native, "virtls", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "CN=peer"},
		{"x509, a priority", func() (s, c creds.Credentials) {
			return x509(dir, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP384R1")
		}, Auto,
			"virtls", "TLS_AES_256_GCM_SHA384", "secp384r1", "CN=peer"},
		{"ML-DSA", func() (s, c creds.Credentials) { return x509(pqc.dir(want{key: "mldsa65"}), "") }, Auto, "virtls", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "CN=peer"},
		{"psk", func() (s, c creds.Credentials) {
			return pskCreds(t, creds.PSKOptions{}, creds.PSKOptions{Username: "rich"}, key, key)
		}, Auto, "virtls", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "rich"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := tt.creds()
			s, c := open(t, Options{Credentials: server, Engine: tt.engine}, Options{Credentials: client, Engine: tt.engine, Hostname: "localhost"})
			must(t, errors.Join(s.err, c.err))
			exchange(t, s, c)
			for _, st := range []State{s.State(), c.State()} {
				if st.Engine != tt.wantEngine || st.Version != "TLS 1.3" || st.Suite != tt.suite || st.Group != tt.group || !st.Authenticated {
					t.Errorf("%+v", st)
				}
			}
			if got := s.State().PeerName; got != tt.peer {
				t.Errorf("the server knows the client as %q, want %q", got, tt.peer)
			}
			must(t, c.CloseWrite())
			if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the goodbye: %d, %v", n, err)
			}
		})
	}
}

// Without certificates and keys there is encryption and nothing else.
func TestAnonymous(t *testing.T) {
	server, _, err := creds.LoadAnon(creds.AnonOptions{Endpoint: creds.Server})
	must(t, err)
	client, _, err := creds.LoadAnon(creds.AnonOptions{})
	must(t, err)
	s, c := open(t, Options{Credentials: server}, Options{Credentials: client})
	must(t, errors.Join(s.err, c.err))
	exchange(t, s, c)
	for _, st := range []State{s.State(), c.State()} {
		if st.Version != "TLS 1.2" || st.Suite != "TLS_DH_anon_WITH_AES_128_GCM_SHA256" || st.Authenticated || st.PeerName != "" {
			t.Errorf("%+v", st)
		}
	}
	if _, err := New(Options{Credentials: server, Authorizer: authz.DNList{"*"}}); err == nil || finding.Of(err).Code != "session-credentials" {
		t.Errorf("an access list for nobody's names: %v", err)
	}
}

// Whatever an end dislikes about its peer it says in QEMU's or libvirt's words.
func TestPeerRefused(t *testing.T) {
	ca, foreign := newAuthority(t, ""), newAuthority(t, "")
	good := ca.dir(want{})
	revokedCert, certPEM, keyPEM := ca.issue(want{})
	revoked := ca.trusting(certPEM, keyPEM)
	crl, err := pki.SignCRL(&pki.CRLSpec{
		Number: pki.NewSerial(), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		Revoked: []pki.RevokedCertificate{{Serial: revokedCert.Serial, RevokedAt: time.Now().Add(-time.Hour)}},
	}, ca.cert, ca.key, pki.SignatureAlgorithm{})
	must(t, err)
	withCRL := ca.dir(want{})
	write(t, withCRL, map[string][]byte{"ca-crl.pem": crl.PEM()})
	deny := authz.DNList{"CN=somebody else"}
	allow := authz.DNList{"CN=pe*"}

	tests := []struct {
		name           string
		server, client string // directories
		list           authz.Authorizer
		host           string
		refuses        creds.Endpoint
		code           string
		qemu, libvirt  string
	}{
		{"nothing", good, good, allow, "localhost", 0, "", "", ""},
		{"an address", good, good, nil, "127.0.0.1", 0, "", "", ""},
		{"no client certificate", good, ca.trusting(nil, nil), nil, "localhost", creds.Server, "peer-no-certificate",
			"Verify failed: No certificate was found.", "Unable to verify TLS peer: No certificate was found."},
		{"foreign client", good, mixed(ca, foreign), nil, "localhost", creds.Server, "peer-no-certificate",
			"Verify failed: No certificate was found.", "Unable to verify TLS peer: No certificate was found."}, // it keeps its certificate back
		{"expired client", good, ca.dir(want{from: -2 * time.Hour, to: -time.Hour}), nil, "localhost", creds.Server, "peer-expired",
			"The certificate is not trusted.", "Certificate failed validation: The certificate is not trusted."},
		{"expired server", ca.dir(want{from: -2 * time.Hour, to: -time.Hour}), good, nil, "localhost", creds.Client, "peer-expired",
			"The certificate is not trusted.", "Certificate failed validation: The certificate is not trusted."},
		{"foreign server", mixed(ca, foreign), good, nil, "localhost", creds.Client, "peer-untrusted",
			"The certificate hasn't got a known issuer.", "Certificate failed validation: The certificate hasn't got a known issuer."},
		{"revoked client", withCRL, revoked, nil, "localhost", creds.Server, "peer-revoked",
			"The certificate has been revoked.", "Certificate failed validation: The certificate has been revoked."},
		{"not on the list", good, good, deny, "localhost", creds.Server, "peer-denied",
			"TLS x509 authz check for CN=peer is denied", "Client's Distinguished Name is not on the list of allowed clients"},
		{"another name", good, good, nil, "example.com", creds.Client, "peer-name-mismatch",
			"Certificate does not match the hostname example.com", "Certificate [session] owner does not match the hostname example.com"},
	}
	for _, tt := range tests {
		for _, rules := range []Rules{QEMU, Libvirt} {
			for _, engine := range []EngineChoice{Std, Native} {
				t.Run(fmt.Sprintf("%s, rules %d, %s", tt.name, rules, engine), func(t *testing.T) {
					noneLeft(t)
					s, c := open(t,
						Options{Credentials: load(t, creds.X509Options{Dir: tt.server, Endpoint: creds.Server}), Authorizer: tt.list, Rules: rules, Engine: engine},
						Options{Credentials: load(t, creds.X509Options{Dir: tt.client}), Hostname: tt.host, Rules: rules, Engine: engine})
					if tt.code == "" {
						must(t, errors.Join(s.err, c.err))
						return
					}
					err, text := s.err, tt.qemu
					if tt.refuses == creds.Client {
						err = c.err
					}
					if rules == Libvirt {
						text = tt.libvirt
					}
					if err == nil {
						t.Fatal("nobody was refused")
					}
					if f := finding.Of(err); f.Code != tt.code || !strings.Contains(f.Text, text) {
						t.Errorf("%s: %s, want %s: %s", f.Code, f.Text, tt.code, text)
					} else if f.Fix == "" && !slices.ContainsFunc(finding.Catalogue(), func(k finding.Kind) bool { return k.Code == f.Code && k.Cure != "" }) {
						t.Errorf("%s does not say what to do about it", f.Code)
					}
					if s.Conn != nil {
						s.Close()
					}
					if c.Conn != nil {
						c.Close()
					}
				})
			}
		}
	}
}

// mixed is a directory that trusts one authority and has a certificate of another.
func mixed(trusted, issuer *authority) string {
	issuer.t.Helper()
	_, cert, key := issuer.issue(want{})
	return trusted.trusting(cert, key)
}

// What libvirt refuses and QEMU lets pass: there it is a warning.
func TestPeerUsage(t *testing.T) {
	ca := newAuthority(t, "")
	good := ca.dir(want{})
	forClients := func(critical bool) string {
		purpose, err := pki.ExtKeyUsageExtension([]asn1.ObjectIdentifier{pki.PurposeClient}, critical)
		must(t, err)
		return ca.dir(want{purpose: &purpose})
	}
	for _, tt := range []struct {
		name, server string
		rules        Rules
		refused      string // code
		warning      string // code
	}{
		{"nothing", good, QEMU, "", ""},
		{"a client's, critical, QEMU", forClients(true), QEMU, "", "peer-purpose"},
		{"a client's, critical, libvirt", forClients(true), Libvirt, "peer-usage", ""},
		{"a client's, libvirt", forClients(false), Libvirt, "", "peer-purpose"},
		{"a name in the CN alone", ca.dir(want{noNames: true, subject: dn.New(dn.Attr(dn.CommonNameOID, "localhost"))}), QEMU, "", "peer-name-from-cn"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := open(t, Options{Credentials: load(t, creds.X509Options{Dir: tt.server, Endpoint: creds.Server, NoVerifyPeer: true}), Rules: tt.rules},
				Options{Credentials: load(t, creds.X509Options{Dir: good}), Hostname: "localhost", Rules: tt.rules})
			if tt.refused != "" {
				if c.err == nil || finding.Of(c.err).Code != tt.refused {
					t.Errorf("got %v, want %s", c.err, tt.refused)
				}
				return
			}
			must(t, c.err)
			var got string
			for _, w := range c.State().Warnings {
				got += w.Code
			}
			if got != tt.warning {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
		})
	}
}

func TestPSKRefused(t *testing.T) {
	const good, other = "rich:30313233343536373839616263646566", "rich:40313233343536373839616263646566"
	for _, tt := range []struct {
		name           string
		server, client string
		list           authz.Authorizer
		want           string // of what the server says
	}{
		{"wrong key", good, other, nil, `user "rich" has another key than this side's`},
		{"unknown user", "poor:3031", good, nil, `user "rich" is not known here`},
		{"not on the list", good, good, authz.DNList{"poor"}, "TLS x509 authz check for rich is denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := pskCreds(t, creds.PSKOptions{}, creds.PSKOptions{Username: "rich"}, tt.server, tt.client)
			s, c := open(t, Options{Credentials: server, Authorizer: tt.list}, Options{Credentials: client})
			if s.err == nil || !strings.Contains(s.err.Error(), tt.want) {
				t.Errorf("got %v, want %q", s.err, tt.want)
			}
			if tt.list == nil && (finding.Of(s.err).Code != "psk-refused" || finding.Of(c.err).Code != "psk-refused" || !strings.Contains(c.err.Error(), "has another key for this user")) {
				t.Errorf("server %v, client %v", s.err, c.err)
			}
		})
	}
}

// What could only become an oversight is refused before the first byte.
func TestRefusedAtOnce(t *testing.T) {
	ca := newAuthority(t, "")
	dir := ca.dir(want{})
	list := authz.DNList{"*"}
	server := load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server})
	client := load(t, creds.X509Options{Dir: dir})
	psk, _ := pskCreds(t, creds.PSKOptions{}, creds.PSKOptions{}, "qemu:30313233", "qemu:30313233")
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"nothing", Options{}, "session-credentials"},
		{"no host name", Options{Credentials: client}, "no-hostname"},
		{"a client's access list", Options{Credentials: client, Hostname: "a", Authorizer: list}, "session-credentials"},
		{"an access list without a check", Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server, NoVerifyPeer: true}), Authorizer: list}, "session-credentials"},
		{"PSK with crypto/tls", Options{Credentials: psk, Engine: Std}, "engine-cannot"},
		{"a priority with crypto/tls", Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server, Priority: "NORMAL"}), Engine: Std}, "engine-cannot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.o)
			if err == nil || finding.Of(err).Code != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if _, err := New(Options{Credentials: server}); err != nil {
		t.Error(err)
	}
}

// The state machine works an octet at a time, with either engine.
func TestSession(t *testing.T) {
	ca := newAuthority(t, "")
	dir := ca.dir(want{})
	for _, engine := range []EngineChoice{Std, Native} {
		t.Run(string(engine), func(t *testing.T) {
			s, err := New(Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine})
			must(t, err)
			c, err := New(Options{Credentials: load(t, creds.X509Options{Dir: dir}), Engine: engine, Hostname: "localhost"})
			must(t, err)
			defer s.Close()
			defer c.Close()
			if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, ErrWantInput) {
				t.Errorf("Read before the check: %v", err)
			}
			carry := func(from, to *Session) bool {
				out := from.Output()
				if len(out) == 0 {
					return false
				}
				from.Sent(to.Feed(out[:1]))
				return true
			}
			for {
				a, err := c.Handshake()
				must(t, err)
				b, err := s.Handshake()
				must(t, err)
				if a == Complete && b == Complete {
					break
				}
				carry(c, s)
				carry(s, c)
			}
			must(t, s.CheckPeer())
			must(t, c.CheckPeer())
			_, err = c.Write([]byte("good morning"))
			must(t, err)
			for carry(c, s) {
			}
			buf := make([]byte, 100)
			n, err := s.Read(buf)
			must(t, err)
			if string(buf[:n]) != "good morning" {
				t.Errorf("read %q", buf[:n])
			}
			if _, err := s.Read(buf); !errors.Is(err, ErrWantInput) {
				t.Errorf("Read without input: %v", err)
			}
			if got := c.Bye(); got != Sending {
				t.Errorf("Bye: %s", got)
			}
			for carry(c, s) {
			}
			if _, err := s.Read(buf); err != io.EOF {
				t.Errorf("after Bye: %v", err)
			}
		})
	}
}

// A handshake that never comes ends with the context, and leaves nothing behind.
func TestHandshakeLimit(t *testing.T) {
	ca := newAuthority(t, "")
	dir := ca.dir(want{})
	for _, engine := range []EngineChoice{Std, Native} {
		noneLeft(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		a, b := net.Pipe()
		defer b.Close()
		_, err := Open(ctx, a, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine})
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "in time") {
			t.Errorf("%s: %v", engine, err)
		}
	}
}
