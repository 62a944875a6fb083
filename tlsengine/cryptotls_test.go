package tlsengine

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"virtls/internal/peertest"
	"virtls/tlsengine/internal/wire"
)

// stdConfig is crypto/tls with an identity and an authority.
func stdConfig(ca, id issued) *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.Chain[0].PEM())
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{id.Chain[0].Raw}, PrivateKey: id.Key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, ServerName: "localhost", MinVersion: tls.VersionTLS13,
	}
}

// meetCryptoTLS has our engine and crypto/tls talk, in both roles, each with a
// certificate. The configurations are made for each role.
func meetCryptoTLS(t *testing.T, what string, configs func() (Config, *tls.Config), want State) {
	t.Helper()
	for _, role := range []string{"client", "server"} {
		ours, std := configs()
		start, peer := Client, tls.Server
		if role == "server" {
			start, peer = Server, tls.Client
		}
		ok := t.Run(what+" "+role, func(t *testing.T) {
			a, b := peertest.TimedPair(t)
			e, err := start(&ours)
			must(t, err)
			other := peer(b, std)
			done := make(chan error, 1)
			go func() {
				_, err := other.Write([]byte(greeting))
				if err == nil {
					_, err = other.Read(make([]byte, len(greeting)))
				}
				done <- err
			}()
			c := conn{a, e}
			must(t, c.handshake())
			buf := make([]byte, len(greeting))
			n, err := c.Read(buf)
			must(t, err)
			_, err = c.Write(buf[:n])
			must(t, err)
			must(t, <-done)
			s := e.State()
			if len(s.PeerChain) == 0 || s.Version != want.Version || want.Suite != 0 && s.Suite != want.Suite || want.Group != 0 && s.Group != want.Group {
				t.Errorf("%s %s %s with %d certificates", s.Version, s.Suite, s.Group, len(s.PeerChain))
			}
		})
		result := "ok"
		if !ok {
			result = "FAILED"
		}
		noteMeeting(peertest.Host.Name, "crypto/tls", role, want.Version.String()+" "+what, result)
	}
}

func TestCryptoTLS(t *testing.T) {
	ca := newCA(t, "ec")
	for _, v := range []Version{TLS13, TLS12} {
		// pair returns configurations with a certificate, for one version.
		pair := func(spec string) (Config, *tls.Config) {
			id := ca.newLeaf(t, spec)
			std := stdConfig(ca, id)
			std.MinVersion, std.MaxVersion = uint16(v), uint16(v)
			return Config{Identities: []Identity{id.Identity}, RequestCertificate: true}, std
		}
		for _, spec := range keySpecs[:5] {
			meetCryptoTLS(t, "certificates "+spec, func() (Config, *tls.Config) { return pair(spec) }, State{Version: v})
		}
		for _, s := range allSuites {
			if isTLS13(s) != (v == TLS13) || s.kx != nil && s.kx != ecdheECDSA && s.kx != ecdheRSA {
				continue // crypto/tls has no others
			}
			meetCryptoTLS(t, s.id.String(), func() (Config, *tls.Config) {
				spec := "ec"
				if s.kx == ecdheRSA {
					spec = "rsa2048"
				}
				ours, std := pair(spec)
				ours.Suites = []Suite{s.id}
				return ours, std
			}, State{Version: v, Suite: s.id})
		}
		for _, g := range Groups() {
			if g.IsFFDHE() || v == TLS12 && g.IsHybrid() {
				continue
			}
			meetCryptoTLS(t, g.String(), func() (Config, *tls.Config) {
				ours, std := pair("ec")
				std.CurvePreferences = []tls.CurveID{tls.CurveID(g), tls.CurveP256} // the certificates' curve in TLS 1.2
				ours.Groups = []Group{g}
				if v == TLS12 && g != wire.P256 {
					ours.Groups = append(ours.Groups, wire.P256)
				}
				return ours, std
			}, State{Version: v, Group: g})
		}
		if v == TLS13 {
			meetCryptoTLS(t, "HelloRetryRequest", func() (Config, *tls.Config) {
				ours, std := pair("ec")
				std.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}
				ours.Groups = []Group{wire.P521, wire.P384}
				return ours, std
			}, State{Version: v, Group: wire.P384})
		}
	}
}
