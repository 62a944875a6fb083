package session

import (
	"fmt"
	"testing"
	"time"

	"virtls/authz"
	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/pki"
)

// A peer that was let in is judged again, by what has come since; its session goes on.
func TestJudgeAgain(t *testing.T) {
	ca, other := newAuthority(t, ""), newAuthority(t, "")
	server := func(dir string) creds.Credentials {
		return load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server})
	}
	cert, certPEM, keyPEM := ca.issue(want{})
	crl, err := pki.SignCRL(&pki.CRLSpec{
		Number: pki.NewSerial(), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		Revoked: []pki.RevokedCertificate{{Serial: cert.Serial, RevokedAt: time.Now().Add(-time.Hour)}},
	}, ca.cert, ca.key, pki.SignatureAlgorithm{})
	must(t, err)
	withCRL := ca.dir(want{})
	write(t, withCRL, map[string][]byte{"ca-crl.pem": crl.PEM()})
	now := server(ca.dir(want{}))
	for _, engine := range []EngineChoice{Std, Native} {
		a, b := peertest.Pair(t)
		s, c := both(t, a, b, Options{Credentials: now, Engine: engine},
			Options{Credentials: load(t, creds.X509Options{Dir: ca.trusting(certPEM, keyPEM)}), Hostname: "localhost", Engine: engine})
		for _, tt := range []struct {
			name, code string
			o          Options
		}{
			{"as before", "", Options{Credentials: now}},
			{"on the list", "", Options{Credentials: now, Authorizer: authz.DNList{"CN=peer"}}},
			{"not on the list", "peer-denied", Options{Credentials: now, Authorizer: authz.DNList{"CN=else"}}},
			{"revoked", "peer-revoked", Options{Credentials: server(withCRL)}},
			{"of an authority that is gone", "peer-untrusted", Options{Credentials: server(other.dir(want{}))}},
			{"ended", "peer-expired", Options{Credentials: now, Now: func() time.Time { return time.Now().Add(2 * time.Hour) }}},
		} {
			t.Run(fmt.Sprintf("%s %s", tt.name, engine), func(t *testing.T) {
				err := s.Judge(tt.o)
				if tt.code == "" && err != nil || tt.code != "" && finding.Of(err).Code != tt.code {
					t.Errorf("got %v; want %q", err, tt.code)
				}
			})
		}
		exchange(t, s, c)
		must(t, s.Close())
		must(t, c.Close())
	}
}
