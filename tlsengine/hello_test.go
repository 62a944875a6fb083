package tlsengine

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"virtls/internal/peertest"
	"virtls/tlsengine/internal/wire"
)

var update = flag.Bool("update", false, "write testdata/hellos.txt anew")

// helloConfig has a client that says the same each time.
func helloConfig(groups ...Group) Config {
	return Config{PSK: testPSK, Rand: newSteady(1), Suites: []Suite{wire.AES128GCMSHA256}, Groups: groups, Versions: []Version{TLS13}}
}

// listen records the ClientHellos of an engine.
func listen(e *Engine) *[][]byte {
	var sent [][]byte
	e.out.twist = func(m wire.Message) []byte {
		if m.Type() == wire.TypeClientHello {
			sent = append(sent, bytes.Clone(m))
		}
		return m
	}
	return &sent
}

// kept compares ClientHellos with those that are kept.
func kept(t *testing.T, all map[string][]byte, name string, sent [][]byte, want int) {
	t.Helper()
	if len(sent) != want {
		t.Fatalf("%d ClientHellos, want %d", len(sent), want)
	}
	for i, m := range sent {
		key := fmt.Sprintf("%s, client_hello %d", name, i+1)
		if !bytes.Equal(m, all[key]) {
			t.Errorf("%s is\n%x, want\n%x", key, m, all[key])
		}
	}
}

// helloCases are the ClientHellos with binders that are kept: the second one's
// covers the first and the HelloRetryRequest.
var helloCases = []struct {
	name   string
	groups []Group
	hellos int
}{
	{"binder", []Group{wire.P384}, 1},
	{"binder after hello_retry_request", []Group{wire.X25519, wire.P384}, 2},
}

// The octets of binders, with and without a HelloRetryRequest, are those that
// GnuTLS and OpenSSL have accepted: see TestPeerHellos.
func TestHellos(t *testing.T) {
	var text strings.Builder
	text.WriteString("# ClientHellos of the key in engine_test.go, which GnuTLS's and OpenSSL's servers accept.\n\n")
	for _, tt := range helloCases {
		p := newPair(t, helloConfig(tt.groups...), Config{FindPSK: findPSK(testPSK), Groups: []Group{wire.P384}})
		sent := listen(p.client)
		p.shaken(t)
		for i, m := range *sent {
			fmt.Fprintf(&text, "%s, client_hello %d:\n", tt.name, i+1)
			for digits := hex.EncodeToString(m); len(digits) > 0; digits = digits[min(96, len(digits)):] {
				fmt.Fprintf(&text, "  %s\n", digits[:min(96, len(digits))])
			}
		}
		if !*update {
			kept(t, vectors(t, "testdata/hellos.txt"), tt.name, *sent, tt.hellos)
		}
	}
	if *update {
		must(t, os.WriteFile("testdata/hellos.txt", []byte(text.String()), 0o644))
	}
}

// Two others accept the binders that are kept: their servers choose P-384 alone.
// OpenSSL's HelloRetryRequest has the same octets as ours. GnuTLS's has its
// extensions in another order, so that the second binder is another; it judges
// that one, too.
func TestPeerHellos(t *testing.T) {
	all := vectors(t, "testdata/hellos.txt")
	dir := keysFile(t, testPSK)
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		ports := map[string]int{
			"GnuTLS": g.GnutlsServ(t, peertest.Options{}, "--echo", "--pskpasswd", dir+"/keys.psk", "--priority", qemuPriority+":-GROUP-ALL:+GROUP-SECP384R1").Ready().Port,
			"OpenSSL": g.OpensslSServer(t, peertest.Options{}, "-nocert", "-psk", hex.EncodeToString(testPSK.Key), "-psk_identity", string(testPSK.Identity),
				"-tls1_3", "-groups", "P-384", "-ciphersuites", "TLS_AES_128_GCM_SHA256").Ready().Port,
		}
		for name, port := range ports {
			for _, tt := range helloCases {
				t.Run(name+" "+tt.name, func(t *testing.T) {
					c := dial(t, port, helloConfig(tt.groups...))
					sent := listen(c.Engine)
					must(t, c.handshake())
					if c.State().Retried != (tt.hellos == 2) {
						t.Errorf("retried %v", c.State().Retried)
					}
					if name == "GnuTLS" {
						kept(t, all, tt.name, (*sent)[:1], 1)
						return
					}
					kept(t, all, tt.name, *sent, tt.hellos)
				})
			}
		}
	})
}
