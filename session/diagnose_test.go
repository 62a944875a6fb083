package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtls/creds"
	"virtls/finding"
	"virtls/internal/peertest"
)

// What refuses a key of ours says so in different ways, or not at all; what is
// wrong is said in any case.
func TestPeerPSKRefused(t *testing.T) {
	const good = "rich:30313233343536373839616263646566\n"
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	write(t, dir, map[string][]byte{"keys.psk": []byte(good)})
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	wrong := map[string]string{"wrong key": "rich:40313233343536373839616263646566\n", "unknown user": "jane:30313233343536373839616263646566\n"}
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		const priority = "NORMAL" + pskSuffix
		for _, tt := range []struct {
			name   string
			server *peertest.Proc
			nbd    bool
			client string // priority of ours
			want   string
		}{
			{"GnuTLS", g.GnutlsServ(t, peertest.Options{}, "--pskpasswd", dir+"/keys.psk", "--priority", priority), false, "", "illegal_parameter"},
			{"GnuTLS with TLS 1.2", g.GnutlsServ(t, peertest.Options{}, "--pskpasswd", dir+"/keys.psk", "--priority", priority), false, "NORMAL:-VERS-TLS1.3", "bad_record_mac"},
			{"OpenSSL", g.OpensslSServer(t, peertest.Options{}, "-nocert", "-psk_identity", "rich", "-psk", "30313233343536373839616263646566", "-tls1_3"), false, "", ""},
			{"qemu-nbd", g.QemuNBD(t, peertest.Options{}, "--object", "tls-creds-psk,id=tls0,endpoint=server,dir="+dir, "--tls-creds", "tls0", "--format=raw", "--persistent", image), true, "",
				"closed the connection, as QEMU and nbdkit do"},
		} {
			tt.server.Ready()
			for name, line := range wrong {
				t.Run(tt.name+" "+name, func(t *testing.T) {
					user, _, _ := strings.Cut(line, ":")
					_, client := pskCreds(t, creds.PSKOptions{}, creds.PSKOptions{Username: user, Priority: tt.client}, good, line)
					nc := dialTCP(t, tt.server.Port)
					if tt.nbd {
						startTLS(t, nc)
					}
					_, err := Open(t.Context(), nc, Options{Credentials: client})
					nc.Close()
					if err == nil || finding.Of(err).Code != "psk-refused" || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), fmt.Sprintf("does not know user %q", user)) {
						t.Errorf("got %v, want %q", err, tt.want)
					}
				})
			}
		}
	})
}
