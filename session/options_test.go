package session

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/creds"
)

// Secrets are written for whoever asks, and for nobody else, by either engine.
func TestKeyLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	t.Setenv("SSLKEYLOGFILE", file)
	dir := newAuthority(t, "").dir(want{})
	for _, engine := range []EngineChoice{Std, Native} {
		var server, client bytes.Buffer
		for _, logs := range [][2]*bytes.Buffer{{}, {&server, &client}} {
			o := Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), Engine: engine}
			p := Options{Credentials: load(t, creds.X509Options{Dir: dir}), Engine: engine, Hostname: "localhost"}
			if logs[0] != nil {
				o.KeyLog, p.KeyLog = logs[0], logs[1]
			}
			s, c := open(t, o, p)
			must(t, errors.Join(s.err, c.err))
		}
		for _, label := range []string{"CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 "} {
			if !strings.Contains(server.String(), label) || !strings.Contains(client.String(), label) {
				t.Errorf("%s: no %s in\n%s%s", engine, label, &server, &client)
			}
		}
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an environment variable had secrets written: %v", err)
	}
}

// A server with two certificates shows the ML-DSA one only to clients that have
// ML-KEM, too, unless it is told to believe them; its state says why.
func TestStrictPQC(t *testing.T) {
	classical, pqc := newAuthority(t, ""), newAuthority(t, "mldsa65")
	_, cert, key := classical.issue(want{})
	_, pqCert, pqKey := pqc.issue(want{key: "mldsa65"})
	both := classical.cert.PEM()
	both = append(both, pqc.cert.PEM()...)
	files := map[string][]byte{"ca-cert.pem": both, "server-cert.pem": pqCert, "server-key.pem": pqKey, "server-cert-0.pem": cert, "server-key-0.pem": key}
	dir := t.TempDir()
	write(t, dir, files)
	clientFiles := maps.Clone(files)
	clientFiles["client-cert.pem"], clientFiles["client-key.pem"] = cert, key
	clientDir := t.TempDir()
	write(t, clientDir, clientFiles)
	const noKEM = "NORMAL:-GROUP-ALL:+GROUP-X25519"
	for _, tt := range []struct {
		name, client string
		strict       bool
		scheme       string
		reason       string
	}{
		{"ML-KEM", "", false, "mldsa65", ""},
		{"no ML-KEM", noKEM, false, "ecdsa_secp256r1_sha256", "ML-DSA without ML-KEM"},
		{"no ML-KEM, strict", noKEM, true, "mldsa65", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := open(t, Options{Credentials: load(t, creds.X509Options{Dir: dir, Endpoint: creds.Server}), StrictPQC: tt.strict},
				Options{Credentials: load(t, creds.X509Options{Dir: clientDir, Priority: tt.client}), Hostname: "localhost", Engine: Native})
			must(t, errors.Join(s.err, c.err))
			if st := s.State(); st.Scheme != tt.scheme || !strings.Contains(st.Reason, tt.reason) || tt.reason == "" && st.Reason != "" {
				t.Errorf("%s because %q, want %s because %q", st.Scheme, st.Reason, tt.scheme, tt.reason)
			}
		})
	}
}
