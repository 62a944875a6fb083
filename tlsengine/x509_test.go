package tlsengine

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"virtls/internal/peertest"
	"virtls/pki"
	"virtls/pki/dn"
	"virtls/tlsengine/internal/wire"
)

// An issued identity with what it takes to make others.
type issued struct {
	Identity
	key pki.PrivateKey
}

// newCA makes an authority, newLeaf a certificate of one, good for both roles.
func newCA(t testing.TB, spec string) issued { return newCertificate(t, spec, nil) }

func (ca issued) newLeaf(t testing.TB, spec string) issued { return newCertificate(t, spec, &ca) }

var keys sync.Map // RSA keys take long

func newCertificate(t testing.TB, spec string, ca *issued) issued {
	t.Helper()
	ks, err := pki.ParseKeySpec(spec)
	must(t, err)
	id := fmt.Sprint(spec, ca == nil)
	k, ok := keys.Load(id)
	if !ok {
		made, err := pki.GenerateKey(ks)
		must(t, err)
		k, _ = keys.LoadOrStore(id, made)
	}
	key, signer := k.(pki.PrivateKey), k.(crypto.Signer)
	now := time.Now()
	s := &pki.Spec{
		Serial: pki.NewSerial(), PublicKey: signer.Public(), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		Subject: dn.New(dn.Attr(dn.CommonNameOID, spec+" CA")),
		Extensions: pki.Extensions{
			pki.BasicConstraints{CA: true, PathLen: -1}.Extension(), (pki.KeyCertSign | pki.CRLSign).Extension(true),
		},
	}
	var parent *pki.Certificate
	by := signer
	if ca != nil {
		s.Subject = dn.New(dn.Attr(dn.CommonNameOID, "localhost"))
		s.Extensions = pki.Extensions{
			pki.BasicConstraints{}.Extension(), pki.DigitalSignature.Extension(true), pki.GeneralNames{pki.DNSName("localhost")}.Extension(),
		}
		parent, by = ca.Chain[0], ca.Key
	}
	c, err := pki.Sign(s, parent, by, pki.SignatureAlgorithm{})
	must(t, err)
	return issued{Identity{Chain: []*pki.Certificate{c}, Key: signer}, key}
}

// files writes the identity and its authority where programs can read them.
func (id issued) files(t testing.TB, ca issued) (cert, key, anchor string) {
	t.Helper()
	dir := t.TempDir()
	pem, err := pki.EncodePrivateKeyPEM(id.key, pki.MLDSABoth)
	must(t, err)
	for name, data := range map[string][]byte{"cert.pem": id.Chain[0].PEM(), "key.pem": pem, "ca.pem": ca.Chain[0].PEM()} {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	must(t, os.Chmod(dir, 0o755))
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
}

var keySpecs = []string{"ec", "p384", "p521", "rsa2048", "ed25519", "mldsa44", "mldsa65", "mldsa87"}

func TestX509Handshake(t *testing.T) {
	ca := newCA(t, "ec")
	for _, spec := range keySpecs {
		t.Run(spec, func(t *testing.T) {
			server, client := ca.newLeaf(t, spec), ca.newLeaf(t, spec)
			p := newPair(t, Config{Identities: []Identity{client.Identity}, ServerName: "localhost"},
				Config{Identities: []Identity{server.Identity}, RequestCertificate: true, Authorities: [][]byte{ca.Chain[0].RawSubject}})
			a, b := p.shake(1)
			must(t, errors.Join(a, b))
			c, s := p.client.State(), p.server.State()
			if !bytes.Equal(c.PeerChain[0].Raw, server.Chain[0].Raw) || !bytes.Equal(s.PeerChain[0].Raw, client.Chain[0].Raw) {
				t.Error("the ends see other certificates")
			}
			if c.Scheme != s.PeerScheme || s.Scheme != c.PeerScheme || c.Scheme == 0 || s.ServerName != "localhost" {
				t.Errorf("client %+v, server %+v", c, s)
			}
			transfer(t, p.client, p.server, random(50_000))
		})
	}
}

func TestIdentityChoice(t *testing.T) {
	ec, pqc := newCA(t, "ec"), newCA(t, "mldsa65")
	classical, hybrid := ec.newLeaf(t, "ec").Identity, pqc.newLeaf(t, "mldsa65").Identity
	both := []Identity{hybrid, classical}
	noPQC := []SignatureScheme{wire.ECDSAP256, wire.Ed25519}
	tests := []struct {
		name           string
		client, server Config
		want           int // -1: refused
		reason         string
	}{
		{"first", Config{}, Config{Identities: both}, 0, ""},
		{"no ML-DSA", Config{Schemes: noPQC}, Config{Identities: both}, 1, "the key"},
		{"ML-DSA without ML-KEM", Config{Groups: []Group{wire.X25519}}, Config{Identities: both}, 1, "without ML-KEM"},
		{"ML-DSA without ML-KEM, strict", Config{Groups: []Group{wire.X25519}}, Config{Identities: both, StrictPQC: true}, 0, ""},
		{"ML-DSA without ML-KEM, nothing else", Config{Groups: []Group{wire.X25519}}, Config{Identities: both[:1]}, 0, ""},
		{"a chain that cannot be verified", Config{Schemes: noPQC}, Config{Identities: []Identity{pqc.newLeaf(t, "ec").Identity, classical}}, 1, "the chain"},
		{"only a chain that cannot be verified", Config{Schemes: noPQC}, Config{Identities: []Identity{pqc.newLeaf(t, "ec").Identity}}, 0, ""},
		{"none", Config{Schemes: noPQC}, Config{Identities: both[:1]}, -1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, tt.client, tt.server)
			clientErr, serverErr := p.shake(1 << 20)
			if tt.want < 0 {
				if serverErr == nil || clientErr == nil {
					t.Errorf("client %v, server %v", clientErr, serverErr)
				}
				return
			}
			must(t, errors.Join(clientErr, serverErr))
			if s := p.server.State(); s.Identity != tt.want || !strings.Contains(s.Reason, tt.reason) || tt.reason == "" && s.Reason != "" {
				t.Errorf("identity %d because %q, want %d because %q", s.Identity, s.Reason, tt.want, tt.reason)
			}
		})
	}
}

func TestClientIdentityChoice(t *testing.T) {
	ours, theirs := newCA(t, "ec"), newCA(t, "p384")
	a, b := theirs.newLeaf(t, "ec").Identity, ours.newLeaf(t, "ec").Identity
	a.MatchIssuer, b.MatchIssuer = true, true
	server := Config{Identities: []Identity{b}, RequestCertificate: true, Authorities: [][]byte{ours.Chain[0].RawSubject}}
	for _, tt := range []struct {
		name   string
		client []Identity
		want   int
	}{
		{"one", []Identity{b}, 0},
		{"the one of the server's authority", []Identity{a, b}, 1},
		{"none of the server's authority", []Identity{a}, -1},
		{"none", nil, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, Config{Identities: tt.client}, server).shaken(t)
			if got := p.client.State().Identity; got != tt.want {
				t.Errorf("identity %d, want %d", got, tt.want)
			}
			if got := p.server.State().PeerChain; (got == nil) != (tt.want < 0) {
				t.Errorf("the server sees %v", got)
			}
		})
	}
}

func TestVerifyPeer(t *testing.T) {
	ca := newCA(t, "ec")
	id := []Identity{ca.newLeaf(t, "ec").Identity}
	refuse := func(err error) func([]*pki.Certificate) error { return func([]*pki.Certificate) error { return err } }
	for _, tt := range []struct {
		name           string
		client, server Config
		alert          Alert
	}{
		{"server", Config{VerifyPeer: refuse(errors.New("no"))}, Config{Identities: id}, wire.BadCertificate},
		{"server, own alert", Config{VerifyPeer: refuse(&Error{Alert: wire.UnknownCA})}, Config{Identities: id}, wire.UnknownCA},
		{"client", Config{Identities: id}, Config{Identities: id, RequestCertificate: true, VerifyPeer: refuse(errors.New("no"))}, wire.BadCertificate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, tt.client, tt.server)
			clientErr, serverErr := p.shake(1 << 20)
			if tt.client.VerifyPeer == nil {
				// The client is through before the server judges it: it learns from its first read.
				must(t, clientErr)
				_, clientErr = p.client.Read(make([]byte, 1))
				clientErr, serverErr = serverErr, clientErr
			}
			var alert *AlertError
			if clientErr == nil || !errors.As(serverErr, &alert) || alert.Alert != tt.alert {
				t.Errorf("refusing: %v, refused: %v, want the alert %s", clientErr, serverErr, tt.alert)
			}
		})
	}
}

func TestPeerX509GnutlsServer(t *testing.T) {
	ca := newCA(t, "ec")
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, spec := range keySpecs[:5] {
			t.Run(spec, func(t *testing.T) {
				met(t, g, peertest.GnuTLS, "gnutls-serv", "client", "TLS 1.3 certificates "+spec)
				cert, key, anchor := ca.newLeaf(t, spec).files(t, ca)
				server := g.GnutlsServ(t, peertest.Options{}, "--echo", "--x509certfile", cert, "--x509keyfile", key, "--x509cafile", anchor, "--require-client-cert").Ready()
				c := dial(t, server.Port, Config{Identities: []Identity{ca.newLeaf(t, spec).Identity}, KeyShares: 4})
				must(t, c.handshake())
				echo(t, c)
			})
		}
	})
}

func TestPeerX509GnutlsClient(t *testing.T) {
	ca := newCA(t, "ec")
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, spec := range keySpecs[:5] {
			t.Run(spec, func(t *testing.T) {
				met(t, g, peertest.GnuTLS, "gnutls-cli", "server", "TLS 1.3 certificates "+spec)
				id := ca.newLeaf(t, spec)
				cert, key, anchor := id.files(t, ca)
				port, errs := serve(t, Config{Identities: []Identity{id.Identity}, RequestCertificate: true, VerifyPeer: wantChain})
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "gnutls-cli", "--x509cafile", anchor, "--x509certfile", cert, "--x509keyfile", key,
					"-p", fmt.Sprint(port), "localhost")
				if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
					t.Errorf("%v\n%s", err, r)
				}
			})
		}
	})
}

func wantChain(chain []*pki.Certificate) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	return nil
}

// opensslSpecs are what a generation's OpenSSL can verify.
func opensslSpecs(t *testing.T, g peertest.Generation) []string {
	if g.Version(t, peertest.OpenSSL).AtLeast("3.5") {
		return keySpecs
	}
	return keySpecs[:5]
}

func TestPeerX509OpensslServer(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, spec := range opensslSpecs(t, g) {
			t.Run(spec, func(t *testing.T) {
				met(t, g, peertest.OpenSSL, "openssl s_server", "client", "TLS 1.3 certificates "+spec)
				ca := newCA(t, spec)
				cert, key, anchor := ca.newLeaf(t, spec).files(t, ca)
				server := g.OpensslSServer(t, peertest.Options{}, "-cert", cert, "-key", key, "-CAfile", anchor, "-Verify", "3", "-verify_return_error", "-tls1_3", "-rev").Ready()
				c := dial(t, server.Port, Config{Identities: []Identity{ca.newLeaf(t, spec).Identity}, KeyShares: 4})
				must(t, c.handshake())
				_, err := c.Write([]byte("abc\n"))
				must(t, err)
				buf := make([]byte, 100)
				n, err := c.Read(buf)
				must(t, err)
				if string(buf[:n]) != "cba\n" {
					t.Errorf("got %q", buf[:n])
				}
			})
		}
	})
}

func TestPeerX509OpensslClient(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, spec := range opensslSpecs(t, g) {
			t.Run(spec, func(t *testing.T) {
				met(t, g, peertest.OpenSSL, "openssl s_client", "server", "TLS 1.3 certificates "+spec)
				ca := newCA(t, spec)
				id := ca.newLeaf(t, spec)
				cert, key, anchor := id.files(t, ca)
				port, errs := serve(t, Config{Identities: []Identity{id.Identity}, RequestCertificate: true, VerifyPeer: wantChain})
				r := g.Run(t, peertest.Options{Stdin: strings.NewReader(greeting)}, "openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port),
					"-CAfile", anchor, "-cert", cert, "-key", key, "-verify_return_error", "-verify_hostname", "localhost", "-tls1_3", "-ign_eof")
				if err := <-errs; err != nil || !strings.Contains(r.Stdout, greeting) {
					t.Errorf("%v\n%s", err, r)
				}
			})
		}
	})
}
