package scan

import (
	"context"
	"crypto"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
	"virtls/priority"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// identity writes a self-signed certificate and its key; both kinds are made once.
func identity(t testing.TB, spec string) (cert, key string) {
	t.Helper()
	pems := identities[spec]()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(cert, pems[0], 0o600))
	must(t, os.WriteFile(key, pems[1], 0o600))
	return cert, key
}

var identities = map[string]func() [2][]byte{
	"ec":  sync.OnceValue(func() [2][]byte { return newIdentity("p256") }),
	"rsa": sync.OnceValue(func() [2][]byte { return newIdentity("rsa2048") }),
}

func newIdentity(spec string) (pems [2][]byte) {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	ks, err := pki.ParseKeySpec(spec)
	check(err)
	key, err := pki.GenerateKey(ks)
	check(err)
	signer := key.(crypto.Signer)
	c, err := pki.Sign(&pki.Spec{
		Serial: pki.NewSerial(), Subject: dn.New(dn.Attr(dn.CommonNameOID, "localhost")), PublicKey: signer.Public(),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		Extensions: pki.Extensions{(pki.DigitalSignature | pki.KeyEncipherment).Extension(true), pki.GeneralNames{pki.DNSName("localhost")}.Extension()},
	}, nil, signer, pki.SignatureAlgorithm{})
	check(err)
	pem, err := pki.EncodePrivateKeyPEM(key, pki.MLDSABoth)
	check(err)
	return [2][]byte{c.PEM(), pem}
}

func dialer(port int) Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
	}
}

func scanned(t testing.TB, port int) *Result {
	t.Helper()
	r, err := Scan(t.Context(), dialer(port), nil)
	must(t, err)
	return r
}

// found lists what was accepted as "VERSION SUITE", in no order.
func (r *Result) found() (list []string) {
	for _, v := range r.Versions {
		for _, s := range v.Suites {
			list = append(list, fmt.Sprintf("%s 0x%04x", v.Version, s.ID))
		}
	}
	slices.Sort(list)
	return list
}

func (r *Result) codes() (list []string) {
	for _, f := range r.Findings {
		list = append(list, f.Code)
	}
	return list
}

// keyExchanges are those that a gnutls-serv can do with its credentials.
var keyExchanges = map[string][]string{
	"rsa":  {"RSA", "DHE-RSA", "ECDHE-RSA"},
	"ec":   {"ECDHE-ECDSA"},
	"psk":  {"PSK", "DHE-PSK", "ECDHE-PSK"},
	"anon": {"ANON-DH", "ANON-ECDH"},
}

var gnutlsCases = []struct {
	creds, priority string
	codes           []string
}{
	{"ec", "NORMAL", []string{"scan-old-version", "scan-cbc"}},
	{"rsa", "NORMAL", []string{"scan-old-version", "scan-no-forward-secrecy", "scan-cbc"}},
	{"rsa", "SECURE256:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.3:-RSA", nil},
	{"rsa", "NONE:+VERS-TLS1.0:+RSA:+DHE-RSA:+3DES-CBC:+ARCFOUR-128:+AES-128-CBC:+SHA1:+MD5:+COMP-NULL:+GROUP-ALL:+SIGN-ALL:%VERIFY_ALLOW_SIGN_WITH_SHA1",
		[]string{"scan-broken-suite", "scan-old-version", "scan-no-forward-secrecy", "scan-cbc", "scan-no-tls13"}},
	{"ec", "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP384R1:+GROUP-FFDHE3072", nil},
	{"ec", "PFS:-VERS-TLS1.3:-VERS-TLS1.1:-VERS-TLS1.0:-CIPHER-ALL:+AES-256-GCM", []string{"scan-no-tls13"}},
	{"rsa", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:+NULL", []string{"scan-broken-suite", "scan-no-forward-secrecy", "scan-no-tls13"}},
	{"psk", "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK:-VERS-TLS1.3", []string{"scan-old-version", "scan-no-forward-secrecy", "scan-cbc", "scan-no-tls13"}},
	{"anon", "NORMAL:-KX-ALL:+ANON-DH:+ANON-ECDH", []string{"scan-anonymous", "scan-old-version", "scan-no-tls13"}},
}

// What a scan finds is what gnutls-serv was told to accept.
func TestPeerGnutls(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		build, err := priority.BuildFor(g.Version(t, peertest.GnuTLS).Upstream)
		must(t, err)
		for i, tt := range gnutlsCases {
			if i > 1 && g != peertest.Host && !full() {
				continue
			}
			t.Run(fmt.Sprint(i, " ", tt.creds), func(t *testing.T) {
				args := []string{"--echo", "--priority", tt.priority}
				switch tt.creds {
				case "psk":
					keys := filepath.Join(t.TempDir(), "keys.psk")
					must(t, os.WriteFile(keys, []byte("rich:30313233343536373839616263646566\n"), 0o600))
					args = append(args, "--pskpasswd", keys)
				case "anon":
				default:
					cert, key := identity(t, tt.creds)
					args = append(args, "--x509certfile", cert, "--x509keyfile", key)
				}
				r := scanned(t, g.GnutlsServ(t, peertest.Options{}, args...).Ready().Port)
				p, err := priority.Parse(tt.priority)
				must(t, err)
				list, err := p.Expand(build, priority.SystemConfig{})
				must(t, err)
				if diff := cmp.Diff(expected(list, keyExchanges[tt.creds]), r.found()); diff != "" {
					t.Errorf("%s: what was to be accepted (-) and what a scan found (+):\n%s", tt.priority, diff)
				}
				if diff := cmp.Diff(tt.codes, r.codes(), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("findings: %s", diff)
				}
				checkGroups(t, list, r)
			})
		}
	})
}

func full() bool { return os.Getenv("VIRTLS_INTEROP") == "full" }

// expected lists what GnuTLS accepts by a list of priorities.
func expected(l *priority.List, kx []string) (want []string) {
	for _, v := range l.Versions {
		if !strings.HasPrefix(v.Name, "TLS") && !strings.HasPrefix(v.Name, "VERS-TLS") {
			continue
		}
		for _, s := range l.Suites {
			is13 := s.KeyExchange == ""
			if is13 != (Version(v.ID) == TLS13) || !is13 && (!slices.Contains(kx, s.KeyExchange) || s.MinVersion > v.ID) {
				continue
			}
			if is13 && !slices.Contains(kx, "ECDHE-ECDSA") && !slices.Contains(kx, "ECDHE-RSA") {
				continue // TLS 1.3 with a pre-shared key is not seen without it
			}
			want = append(want, fmt.Sprintf("%s 0x%04x", Version(v.ID), s.ID))
		}
	}
	slices.Sort(want)
	return want
}

// checkGroups compares the groups of TLS 1.3 with those of a list.
func checkGroups(t *testing.T, l *priority.List, r *Result) {
	t.Helper()
	if !r.Versions[0].Accepted {
		return
	}
	var want []string
	for _, e := range l.NegotiatedGroups {
		want = append(want, groupName(Group(e.ID)))
	}
	got := slices.Clone(r.Versions[0].Groups)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups that were to be accepted (-) and were found (+):\n%s", diff)
	}
}

// And what openssl s_server was told to accept.
func TestPeerOpenssl(t *testing.T) {
	for _, tt := range []struct {
		creds, version, ciphers string
		versions                []Version
	}{
		{"rsa", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", []Version{TLS12}},
		{"rsa", "-tls1", "ALL:@SECLEVEL=0", []Version{TLS10}},
		{"rsa", "-tls1_1", "AES128-SHA:ECDHE-RSA-AES256-SHA:@SECLEVEL=0", []Version{TLS11}},
		{"ec", "-tls1_2", "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE-ECDSA-AES128-SHA", []Version{TLS12}},
		{"ec", "-tls1_3", "", []Version{TLS13}},
	} {
		peertest.Each(t, func(t *testing.T, g peertest.Generation) {
			if g != peertest.Host && tt.version != "-tls1_3" && !full() {
				t.Skip("VIRTLS_INTEROP=full asks this generation, too")
			}
			t.Run(tt.creds+tt.version, func(t *testing.T) {
				cert, key := identity(t, tt.creds)
				args, list := []string{"-cert", cert, "-key", key, tt.version}, []string{"ciphers", "-s", "-V", tt.version}
				if tt.ciphers != "" {
					args, list = append(args, "-cipher", tt.ciphers), append(list, tt.ciphers)
				}
				r := scanned(t, g.OpensslSServer(t, peertest.Options{}, args...).Ready().Port)
				want := opensslExpected(t, g.Run(t, peertest.Options{}, "openssl", list...).Stdout, tt.creds, tt.versions[0])
				if diff := cmp.Diff(want, r.found()); diff != "" {
					t.Errorf("what was to be accepted (-) and what a scan found (+):\n%s", diff)
				}
			})
		})
	}
}

// opensslExpected reads what "openssl ciphers -V" lists, without the suites for
// which the server has no key.
func opensslExpected(t *testing.T, out, key string, v Version) (want []string) {
	t.Helper()
	auth := map[string]string{"rsa": "Au=RSA", "ec": "Au=ECDSA"}[key]
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		if v != TLS13 && (!strings.Contains(line, auth) && !strings.Contains(line, "Au=None") || strings.Contains(line, "SRP") || strings.Contains(line, "PSK")) {
			continue
		}
		id, err := strconv.ParseUint(strings.ReplaceAll(strings.TrimPrefix(f[0], "0x"), ",0x", ""), 16, 16)
		must(t, err)
		want = append(want, fmt.Sprintf("%s 0x%04x", v, id))
	}
	if len(want) == 0 {
		t.Fatalf("openssl lists nothing:\n%s", out)
	}
	slices.Sort(want)
	return want
}
